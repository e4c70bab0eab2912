use crate::{
    compute::{Waiting, request_id},
    endpoint::Service,
    error::{Error, Result},
    http::{Call, Client, encode},
    machines::{Disk, Place},
    storage::seconds,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use std::collections::BTreeMap;

const SERVICE: Service = Service::Compute;

/// A disk's content at one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// CREATING, UPLOADING, READY, FAILED or DELETING.
    pub status: String,
    /// The id of the disk that it was made of. A disk made anew has another one.
    #[serde(default)]
    pub source_disk_id: String,
    /// When, in seconds since 1970.
    #[serde(
        rename(deserialize = "creationTimestamp"),
        deserialize_with = "seconds"
    )]
    pub created: i64,
    /// What it says of itself.
    #[serde(default)]
    pub description: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A snapshot that is to be made.
#[derive(Debug, Clone)]
pub struct NewSnapshot {
    /// The disk.
    pub of: Place,
    /// Region or multi-region to keep it in.
    pub location: String,
    /// What it says of itself.
    pub description: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What is made and takes a while.
trait Made {
    fn status(&self) -> &str;
}

impl Made for Snapshot {
    fn status(&self) -> &str {
        &self.status
    }
}

impl Made for Disk {
    fn status(&self) -> &str {
        &self.status
    }
}

impl Client {
    /// A snapshot; `None` when there is no such snapshot.
    ///
    /// # Errors
    /// As any call.
    pub fn snapshot(&self, project: &str, name: &str) -> Result<Option<Snapshot>> {
        self.look(&snapshot_path(project, name), &format!("Snapshot {name}"))
    }

    /// Makes sure that there is a READY snapshot of this name, and returns it. One that exists is left as it is,
    /// whatever disk it was made of.
    ///
    /// # Errors
    /// There is no such disk; it fails, and then none is left; as any call.
    pub fn ensure_snapshot(
        &self,
        project: &str,
        name: &str,
        new: &NewSnapshot,
    ) -> Result<Snapshot> {
        let doing = format!("Snapshot {name}");
        let path = format!("{}/createSnapshot", new.of.path(project, "disks"));
        let body = json!({
            "name": name,
            "description": new.description,
            "labels": new.labels,
            "storageLocations": [new.location],
        });
        self.make(project, &new.of.zone, &path, &body, &doing)?;
        let made = self.ready::<Snapshot>(&snapshot_path(project, name), &doing)?;
        if made.status == "FAILED" {
            self.delete_snapshot(project, name)?;
            return Err(Error::refused(
                format!("{doing} could not be made"),
                "Run this again",
            ));
        }
        Ok(made)
    }

    /// Deletes a snapshot. One that is not there is fine.
    ///
    /// # Errors
    /// As any call; when the operation fails.
    pub fn delete_snapshot(&self, project: &str, name: &str) -> Result<()> {
        self.delete(
            project,
            "global",
            &snapshot_path(project, name),
            &format!("Snapshot {name}"),
        )
    }

    /// Makes sure that there is a READY disk of this name, and returns it. One that exists is left as it is, whatever
    /// it was made from; a new one holds what the snapshot does.
    ///
    /// # Errors
    /// There is no such snapshot; as any call; when the operation fails.
    pub fn ensure_disk(
        &self,
        project: &str,
        at: &Place,
        snapshot: &str,
        r#type: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Disk> {
        let zone = format!("projects/{}/zones/{}", encode(project), encode(&at.zone));
        let doing = format!("Disk {}", at.name);
        let body = json!({
            "name": at.name,
            "type": format!("{zone}/diskTypes/{type}"),
            "sourceSnapshot": snapshot_path(project, snapshot),
            "labels": labels,
        });
        self.make(project, &at.zone, &format!("{zone}/disks"), &body, &doing)?;
        self.ready(&at.path(project, "disks"), &doing)
    }

    /// Sets labels of a disk and removes some, keeping those of other keys.
    ///
    /// # Errors
    /// There is no such disk; as any call.
    pub fn label_disk(
        &self,
        project: &str,
        at: &Place,
        set: &BTreeMap<String, String>,
        remove: &[String],
    ) -> Result<()> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Labelled {
            #[serde(default)]
            labels: BTreeMap<String, String>,
            label_fingerprint: String,
        }
        let doing = format!("Disk {}", at.name);
        let path = at.path(project, "disks");
        // A stale fingerprint answers 412: somebody else changed a label in between.
        for last in [false, false, true] {
            let disk: Labelled = self.look(&path, &doing)?.ok_or_else(|| gone(&doing))?;
            let mut labels = disk.labels.clone();
            labels.extend(set.clone());
            labels.retain(|key, _| !remove.contains(key));
            if labels == disk.labels {
                return Ok(());
            }
            let url = self.endpoints.url(SERVICE, &format!("{path}/setLabels"));
            let call = Call::new(SERVICE, "POST", url)
                .query("requestId", request_id())
                .json(&json!({"labels": labels, "labelFingerprint": disk.label_fingerprint}));
            let reply = self.call(&call)?;
            if reply.status != 412 || last {
                let scope = format!("zones/{}", encode(&at.zone));
                return self.finish_in(project, &scope, reply, &doing);
            }
        }
        unreachable!("the last round returns")
    }

    fn look<T: DeserializeOwned>(&self, path: &str, doing: &str) -> Result<Option<T>> {
        let reply = self.call(&Call::new(
            SERVICE,
            "GET",
            self.endpoints.url(SERVICE, path),
        ))?;
        if reply.status == 404 {
            return Ok(None);
        }
        reply.into(SERVICE, doing).map(Some)
    }

    /// Makes something in a zone. 409: another run was first, and what it made is as good.
    fn make(
        &self,
        project: &str,
        zone: &str,
        path: &str,
        body: &serde_json::Value,
        doing: &str,
    ) -> Result<()> {
        let call = Call::new(SERVICE, "POST", self.endpoints.url(SERVICE, path))
            .query("requestId", request_id())
            .json(body);
        let scope = format!("zones/{}", encode(zone));
        let reply = self.call(&call)?;
        match self.finish_in(project, &scope, reply, doing) {
            Err(error) if error.status == Some(409) => Ok(()),
            done => done,
        }
    }

    /// Waits until what another run may be making is made, or failed.
    fn ready<T: DeserializeOwned + Made>(&self, path: &str, doing: &str) -> Result<T> {
        let mut waiting = Waiting::new();
        loop {
            let made: T = self.look(path, doing)?.ok_or_else(|| gone(doing))?;
            if ["READY", "FAILED"].contains(&made.status()) {
                return Ok(made);
            }
            waiting.wait(self, doing)?;
        }
    }
}

fn snapshot_path(project: &str, name: &str) -> String {
    format!(
        "projects/{}/global/snapshots/{}",
        encode(project),
        encode(name)
    )
}

fn gone(doing: &str) -> Error {
    Error::refused(format!("{doing} is not there"), "Run this again").with_status(404)
}
