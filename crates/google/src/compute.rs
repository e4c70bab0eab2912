use crate::{
    endpoint::Service,
    error::{Error, Result},
    http::{Call, Client, Reply, encode, one_line},
    machines::Disk,
    storage::{Crc32c, Location, int64, seconds},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

const SERVICE: Service = Service::Compute;

/// Longest wait for one operation; importing a large image takes minutes.
const OPERATION: Duration = Duration::from_secs(3600);

/// Polls of an operation: the first after this, each later by half more, up to the longest.
const FIRST_POLL: Duration = Duration::from_millis(100);
const LONGEST_POLL: Duration = Duration::from_secs(5);

/// How often a person is told that an operation is still at work.
const WORD_EVERY: Duration = Duration::from_secs(30);

/// What is known of an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Its name.
    pub name: String,
    /// PENDING, READY, FAILED or DELETING.
    pub status: String,
    /// Of a family the newest image that is not deprecated is the one that new machines get.
    #[serde(default)]
    pub family: Option<String>,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// When, in seconds since 1970.
    #[serde(
        rename(deserialize = "creationTimestamp"),
        deserialize_with = "seconds"
    )]
    pub created: i64,
    /// Bytes it is billed for; 0 until it is READY.
    #[serde(deserialize_with = "int64", default)]
    pub archive_size_bytes: u64,
    /// GiB of a disk made from it.
    #[serde(deserialize_with = "int64", default)]
    pub disk_size_gb: u64,
    /// Its URL.
    #[serde(default)]
    pub self_link: String,
    /// Set when it is no longer for new machines.
    #[serde(default)]
    pub deprecated: Option<Deprecated>,
    #[serde(default, skip_serializing)]
    label_fingerprint: String,
}

/// How an image is deprecated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Deprecated {
    /// ACTIVE, DEPRECATED, OBSOLETE or DELETED.
    pub state: String,
}

/// An image to be made of an uploaded archive.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// Its name.
    pub name: String,
    /// Its family.
    pub family: String,
    /// One line for people.
    pub description: String,
    /// Labels by Compute Engine's rules: at most 63 of `a-z0-9_-`, keys beginning with a letter.
    pub labels: BTreeMap<String, String>,
    /// Such as UEFI_COMPATIBLE.
    pub guest_os_features: Vec<String>,
    /// The archive.
    pub source: Location,
    /// What the archive holds; one that holds anything else is not registered.
    pub crc32c: Crc32c,
}

/// An image and what was made from it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// The image.
    #[serde(flatten)]
    pub image: Image,
    /// The machines whose disks were made from it, and the disks that no machine has.
    pub used_by: Vec<String>,
}

/// Work that Compute Engine does after its answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Operation {
    name: String,
    status: String,
    error: Option<OperationErrors>,
    http_error_status_code: Option<u16>,
}

#[derive(Deserialize)]
struct OperationErrors {
    errors: Vec<OperationError>,
}

#[derive(Deserialize)]
struct OperationError {
    code: String,
    #[serde(default)]
    message: String,
}

impl Client {
    /// An image; `None` when there is no such image.
    ///
    /// # Errors
    /// As any call.
    pub fn image(&self, project: &str, name: &str) -> Result<Option<Image>> {
        self.image_at(project, &encode(name))
    }

    /// The image that a new machine of this family would get; `None` when there is none.
    ///
    /// # Errors
    /// As any call.
    pub fn image_of_family(&self, project: &str, family: &str) -> Result<Option<Image>> {
        self.image_at(project, &format!("family/{}", encode(family)))
    }

    fn image_at(&self, project: &str, path: &str) -> Result<Option<Image>> {
        let reply = self.call(&self.images(project, "GET", &format!("/{path}")))?;
        if reply.status == 404 {
            return Ok(None);
        }
        reply.into(SERVICE, &format!("Image {path}")).map(Some)
    }

    /// All images of a project, the newest first, and what was made from each.
    ///
    /// # Errors
    /// As any call.
    pub fn list_images(&self, project: &str) -> Result<Vec<Listed>> {
        let list = self.images(project, "GET", "");
        let pages: Vec<Vec<Image>> = self.pages(SERVICE, &list, &format!("Images of {project}"))?;
        let disks = self.list_disks(project)?;
        let listed = |image: Image| Listed {
            used_by: users_of(&image.self_link, &disks),
            image,
        };
        let mut all: Vec<Listed> = pages.into_iter().flatten().map(listed).collect();
        all.sort_by_key(|listed| std::cmp::Reverse(listed.image.created));
        Ok(all)
    }

    /// Makes sure that a READY image of this name exists, and returns it. One that exists is left as
    /// it is; one that another run is making is waited for; one that FAILED is made again.
    ///
    /// # Errors
    /// The archive is missing or not what its CRC32C says; the import fails (then no image is left);
    /// as any call.
    pub fn ensure_image(&self, project: &str, new: &NewImage) -> Result<Image> {
        let doing = format!("Image {}", new.name);
        let started = Instant::now();
        let mut pause = FIRST_POLL;
        while started.elapsed() < OPERATION {
            match self.image(project, &new.name)? {
                Some(image) if image.status == "READY" => return Ok(image),
                Some(image) if image.status == "FAILED" => self.delete_image(project, &new.name)?,
                Some(_) => sleep(&mut pause),
                None => {
                    self.verify_source(new)?;
                    let insert = self
                        .images(project, "POST", "")
                        .query("requestId", request_id())
                        .json(&json!({
                            "name": new.name,
                            "family": new.family,
                            "description": new.description,
                            "labels": new.labels,
                            "architecture": "X86_64",
                            "guestOsFeatures": new.guest_os_features.iter()
                                .map(|feature| json!({"type": feature})).collect::<Vec<_>>(),
                            "rawDisk": {"source": new.source.https(), "containerType": "TAR"},
                        }));
                    let reply = self.call(&insert)?;
                    // 409: another run was first, and its image is as good as ours.
                    if let Err(error) = self.finish(project, reply, &doing)
                        && error.status != Some(409)
                    {
                        self.discard_failed(project, &new.name);
                        return Err(error);
                    }
                }
            }
        }
        Err(Error::refused(
            format!(
                "{doing}: not READY after {} minutes",
                OPERATION.as_secs() / 60
            ),
            "Look at it with `google images get`, then run this again",
        ))
    }

    /// A machine cannot boot from a damaged archive, and nobody would know before it tries.
    fn verify_source(&self, new: &NewImage) -> Result<()> {
        let said = match self.object(&new.source)? {
            Some(object) if object.crc32c == new.crc32c => return Ok(()),
            Some(object) => format!("has CRC32C {}, not {}", object.crc32c, new.crc32c),
            None => "does not exist".to_owned(),
        };
        Err(Error::refused(
            format!("{} {said}; nothing was registered", new.source),
            "Upload the archive again, then run this again",
        ))
    }

    /// Leaves no failed image behind. Whatever goes wrong here, the next run mends as well.
    fn discard_failed(&self, project: &str, name: &str) {
        if let Ok(Some(image)) = self.image(project, name)
            && image.status == "FAILED"
        {
            let _ = self.delete_image(project, name);
        }
    }

    /// Deletes an image. One that is not there is fine.
    ///
    /// # Errors
    /// As any call; when the operation fails.
    pub fn delete_image(&self, project: &str, name: &str) -> Result<()> {
        let path = format!(
            "projects/{}/global/images/{}",
            encode(project),
            encode(name)
        );
        self.delete(project, "global", &path, &format!("Image {name}"))
    }

    /// Replaces labels of the same keys and keeps the others.
    ///
    /// # Errors
    /// There is no such image; as any call.
    pub fn label_image(
        &self,
        project: &str,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<()> {
        let doing = format!("Image {name}");
        // A stale fingerprint answers 412: somebody else changed a label in between.
        for last in [false, false, true] {
            let image = self.image(project, name)?.ok_or_else(|| missing(name))?;
            let mut all = image.labels;
            all.extend(labels.clone());
            let set = self
                .images(project, "POST", &format!("/{}/setLabels", encode(name)))
                .json(&json!({"labels": all, "labelFingerprint": image.label_fingerprint}));
            let reply = self.call(&set)?;
            if reply.status != 412 || last {
                return self.finish(project, reply, &doing);
            }
        }
        unreachable!("the last round returns")
    }

    /// Sets an image's deprecation state: ACTIVE, DEPRECATED or OBSOLETE. Deprecated images are no
    /// longer what their family stands for.
    ///
    /// # Errors
    /// There is no such image; as any call.
    pub fn deprecate_image(&self, project: &str, name: &str, state: &str) -> Result<()> {
        let deprecate = self
            .images(project, "POST", &format!("/{}/deprecate", encode(name)))
            .query("requestId", request_id())
            .json(&json!({"state": state}));
        let reply = self.call(&deprecate)?;
        self.finish(project, reply, &format!("Image {name}"))
    }

    fn images(&self, project: &str, method: &'static str, rest: &str) -> Call {
        let path = format!("projects/{}/global/images{rest}", encode(project));
        Call::new(SERVICE, method, self.endpoints.url(SERVICE, &path))
    }

    /// Deletes what is at a path, in `global` or `zones/ZONE`, unless it is gone.
    pub(crate) fn delete(&self, project: &str, scope: &str, path: &str, doing: &str) -> Result<()> {
        let call = Call::new(SERVICE, "DELETE", self.endpoints.url(SERVICE, path))
            .query("requestId", request_id());
        let reply = self.call(&call)?;
        if reply.status == 404 {
            return Ok(());
        }
        self.finish_in(project, scope, reply, doing)
    }

    /// Waits until the global operation that a reply began is done.
    fn finish(&self, project: &str, reply: Reply, doing: &str) -> Result<()> {
        self.finish_in(project, "global", reply, doing)
    }

    /// Waits until the operation that a reply began is done, in `global` or `zones/ZONE`.
    pub(crate) fn finish_in(
        &self,
        project: &str,
        scope: &str,
        reply: Reply,
        doing: &str,
    ) -> Result<()> {
        let mut operation: Operation = reply.into(SERVICE, doing)?;
        let mut waiting = Waiting::new();
        while !operation.is_done() {
            waiting.wait(self, doing)?;
            let path = format!(
                "projects/{}/{scope}/operations/{}",
                encode(project),
                encode(&operation.name)
            );
            let get = Call::new(SERVICE, "GET", self.endpoints.url(SERVICE, &path));
            operation = self.call(&get)?.into(SERVICE, doing)?;
        }
        operation.outcome(doing)
    }

    /// Waits until operations of one zone are done, each given with what it does in words, and returns these words
    /// and what became of those that failed. Lists the zone's newest operations instead of polling each: polls of
    /// hundreds of operations would use up the quota of calls a minute.
    pub(crate) fn finish_all(
        &self,
        project: &str,
        zone: &str,
        begun: Vec<(Operation, String)>,
    ) -> Result<Vec<(String, Error)>> {
        let path = format!(
            "projects/{}/zones/{}/operations",
            encode(project),
            encode(zone)
        );
        // The newest come first, so that it seldom takes a page more than those begun here fill.
        let newest = Call::new(SERVICE, "GET", self.endpoints.url(SERVICE, &path))
            .query("orderBy", "creationTimestamp desc")
            .query("maxResults", begun.len().clamp(20, 500).to_string());
        let mut failed = Vec::new();
        let mut left = HashMap::new();
        for (operation, doing) in begun {
            if operation.is_done() {
                failed.extend(operation.outcome(&doing).err().map(|error| (doing, error)));
            } else {
                left.insert(operation.name, doing);
            }
        }
        let mut waiting = Waiting::new();
        while !left.is_empty() {
            let doing = format!("{} operations in {zone}", left.len());
            waiting.wait(self, &doing)?;
            let mut unseen = left.len();
            self.pages_until(SERVICE, &newest, &doing, |page: Vec<Operation>| {
                for operation in page {
                    let Some(doing) = left.get(&operation.name) else {
                        continue;
                    };
                    unseen -= 1;
                    if operation.is_done() {
                        let name = operation.name.clone();
                        let error = operation.outcome(doing).err();
                        let doing = left.remove(&name).unwrap_or_default();
                        failed.extend(error.map(|error| (doing, error)));
                    }
                }
                unseen == 0
            })?;
        }
        Ok(failed)
    }
}

impl Operation {
    fn is_done(&self) -> bool {
        self.status == "DONE"
    }

    /// What became of one that is done.
    fn outcome(self, doing: &str) -> Result<()> {
        match self.error {
            None => Ok(()),
            Some(error) => Err(error.in_words(doing, self.http_error_status_code)),
        }
    }
}

/// Pauses between polls of operations, bounded in all.
pub(crate) struct Waiting {
    since: Instant,
    told: Instant,
    pause: Duration,
}

impl Waiting {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            since: now,
            told: now,
            pause: FIRST_POLL,
        }
    }

    /// Waits before the next poll, or says that it has taken too long.
    pub(crate) fn wait(&mut self, client: &Client, doing: &str) -> Result<()> {
        if self.told.elapsed() > WORD_EVERY {
            self.told = Instant::now();
            client.notify(&format!(
                "{doing}: still at work after {} s",
                self.since.elapsed().as_secs()
            ));
        }
        if self.since.elapsed() > OPERATION {
            return Err(Error::refused(
                format!(
                    "{doing}: not done after {} minutes",
                    OPERATION.as_secs() / 60
                ),
                "Run this again: it waits on",
            ));
        }
        sleep(&mut self.pause);
        Ok(())
    }
}

impl OperationErrors {
    fn in_words(&self, doing: &str, status: Option<u16>) -> Error {
        let (code, message) = self
            .errors
            .first()
            .map_or(("", ""), |error| (&error.code, &error.message));
        let said = match one_line(message) {
            empty if empty.is_empty() => code.to_owned(),
            text => text,
        };
        let mend = match code {
            "QUOTA_EXCEEDED" => {
                "Ask for more quota on the console's page IAM & Admin, Quotas, or delete what is not used"
            }
            "ZONE_RESOURCE_POOL_EXHAUSTED" | "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS" => {
                "Google has none left in this zone: try another zone, or later"
            }
            _ => "Run this again; should it fail the same way, act on the message",
        };
        let mut error = Error::refused(format!("{doing}: {said}"), mend);
        if code.starts_with("ZONE_RESOURCE_POOL_EXHAUSTED") {
            // `doing` is the kind and the name.
            error
                .without_room
                .extend(doing.rsplit(' ').next().map(str::to_owned));
        }
        match (code, status) {
            ("RESOURCE_ALREADY_EXISTS", _) => error.with_status(409),
            (_, Some(status)) => error.with_status(status),
            _ => error,
        }
    }
}

/// The machines that have disks made from an image, and the disks that no machine has.
fn users_of(image: &str, disks: &[Disk]) -> Vec<String> {
    let mut users: Vec<String> = disks
        .iter()
        .filter(|disk| disk.source_image.as_deref().map(resource) == Some(resource(image)))
        .flat_map(holders)
        .collect();
    users.sort();
    users.dedup();
    users
}

/// The names of the machines that have a disk, or its own.
fn holders(disk: &Disk) -> Vec<String> {
    if disk.users.is_empty() {
        vec![format!("disk {}", disk.name)]
    } else {
        disk.users.clone()
    }
}

/// A resource's path, which its URLs have in common whatever host they name.
fn resource(url: &str) -> &str {
    url.find("/projects/").map_or(url, |at| &url[at..])
}

fn missing(name: &str) -> Error {
    Error::refused(
        format!("There is no image {name}"),
        "Check the name with `google images list`",
    )
    .with_status(404)
}

fn sleep(pause: &mut Duration) {
    std::thread::sleep(*pause);
    *pause = (*pause * 3 / 2).min(LONGEST_POLL);
}

/// A random UUID (RFC 9562, version 4): Compute Engine takes a call that has the id of an earlier
/// one for the same call.
pub(crate) fn request_id() -> String {
    let id = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | 4 << 76 | 2 << 62;
    let hex = format!("{id:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_used_by_machines_and_by_disks_that_no_machine_has() {
        let image = "projects/acme/global/images/base-1";
        let disk = |name: &str, of: &str, users: &[&str]| Disk {
            name: name.to_owned(),
            source_image: Some(format!("https://www.googleapis.com/compute/v1/{of}")),
            users: users.iter().map(|name| (*name).to_owned()).collect(),
            ..Disk::default()
        };
        let disks = [
            disk("boot-bob", image, &["bob"]),
            disk("boot-alice", image, &["alice"]),
            disk("spare", image, &[]),
            disk("other", "projects/acme/global/images/base-10", &["carol"]),
            disk("foreign", "projects/other/global/images/base-1", &["dan"]),
        ];
        let url = format!("https://compute.googleapis.com/compute/v1/{image}");
        assert_eq!(users_of(&url, &disks), ["alice", "bob", "disk spare"]);
    }

    #[test]
    fn request_id_is_a_version_4_uuid() {
        let id = request_id();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]), "{id}");
        assert_ne!(id, request_id());
    }
}
