//! What a killed run left, mended: locks, resources that were made and not recorded; and APIs that are not ready yet.

use std::{
    collections::BTreeSet,
    process::ExitStatus,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    Root, Terraform,
    diagnostic::{Diagnostic, in_words},
    lock::{Lock, is_alive, who},
    plan::{Change, Plan},
};
use crate::{
    argv,
    cloud::Cloud,
    error::Kind,
    process::{self, Argv},
};

/// A new API answers 403 for up to ten minutes. <https://cloud.google.com/service-usage/docs/enable-disable>
const API_PATIENCE: Duration = Duration::from_secs(600);
const API_PAUSE: Duration = Duration::from_secs(15);

/// What a killed run asked for goes on without it: most of it for seconds, a machine's for minutes.
const RESOURCE_PATIENCE: Duration = Duration::from_secs(300);
const RESOURCE_PAUSE: Duration = Duration::from_secs(5);

/// What was mended in one run of a root, so that nothing is tried for ever.
pub struct Healer<'a> {
    terraform: &'a Terraform<'a>,
    root: Root,
    imported: BTreeSet<String>,
    unlocked: BTreeSet<String>,
    since: Instant,
}

impl<'a> Healer<'a> {
    /// For one run.
    pub fn new(terraform: &'a Terraform<'a>, root: Root) -> Self {
        Self {
            terraform,
            root,
            imported: BTreeSet::new(),
            unlocked: BTreeSet::new(),
            since: Instant::now(),
        }
    }

    /// Mends what these errors come from, if that can be mended.
    ///
    /// # Errors
    /// The errors in words when nothing of it can.
    pub fn heal(&mut self, errors: &[Diagnostic], plan: Option<&Plan>) -> Result<()> {
        let mut healed = false;
        for error in errors {
            if let Some(lock) = Lock::of(error) {
                self.unlock(&lock)?;
                healed = true;
            }
            if let (true, Some(address), Some(plan)) =
                (error.already_exists(), &error.address, plan)
            {
                healed |= self.import(address, plan)?;
            }
        }
        if healed || self.wait(errors) {
            Ok(())
        } else {
            Err(in_words(self.root, errors))
        }
    }

    /// Waits a little, if that is all that these errors need and it did not last too long.
    fn wait(&self, errors: &[Diagnostic]) -> bool {
        let all = |is: fn(&Diagnostic) -> bool| !errors.is_empty() && errors.iter().all(is);
        let (what, pause, patience) = if all(Diagnostic::api_not_ready) {
            let what = "Google is still enabling an API, which takes up to ten minutes";
            (what, API_PAUSE, API_PATIENCE)
        } else if all(Diagnostic::resource_not_ready) {
            let what = "Google is still busy with what an earlier run asked for";
            (what, RESOURCE_PAUSE, RESOURCE_PATIENCE)
        } else {
            return false;
        };
        if self.since.elapsed() > patience {
            return false;
        }
        eprintln!("{what}; next attempt in {} s", pause.as_secs());
        sleep(pause);
        true
    }

    /// Breaks the lock of a run that was killed on this machine.
    ///
    /// # Errors
    /// [`Kind::Failed`] if it is somebody else's, or cannot be broken.
    pub fn unlock(&mut self, lock: &Lock) -> Result<()> {
        let commands = self.terraform.commands(self.root);
        // Without a state force-unlock wants to make one, which needs the lock.
        let unlock = if lock.is_of_init() {
            let object = format!("{}/default.tflock", self.root.name());
            let url = format!("gs://{}/{object}", self.terraform.cloud.state_bucket());
            self.terraform
                .cloud
                .command(argv!["objects", "delete", url])
        } else {
            commands.unlock(&lock.id)
        };
        let writer = lock.writer(&commands.folder);
        let ours = lock.who.as_deref() == Some(&who()) && writer.is_some();
        if !ours || !self.unlocked.insert(lock.id.clone()) {
            let since = format!(
                "by {} since {}",
                lock.who.as_deref().unwrap_or("somebody"),
                lock.created
            );
            return Err(Kind::Failed.error(
                format!("the state of {} is locked {since}", self.root.name()),
                format!(
                    "Wait until that run ends. If it was killed, break its lock: {}",
                    process::display(&unlock)
                ),
            ));
        }
        let process = writer.expect("it is ours").process;
        if is_alive(process) {
            eprintln!(
                "waiting for process {process}, which an earlier run started and which still writes"
            );
            while is_alive(process) {
                sleep(Duration::from_millis(500));
            }
            return Ok(());
        }
        eprintln!(
            "an earlier run was killed and left the state of {} locked: breaking its lock",
            self.root.name()
        );
        self.quiet(&unlock).map(drop)
    }

    /// Records a resource that an earlier run made; whether it was done.
    fn import(&mut self, address: &str, plan: &Plan) -> Result<bool> {
        let change = plan.changes.iter().find(|change| change.address == address);
        let id = change.and_then(|change| import_id(change, self.terraform.cloud));
        let Some(id) = id else { return Ok(false) };
        if !self.imported.insert(address.to_owned()) {
            return Ok(false);
        }
        eprintln!("{address} exists and is not recorded: the next plan records it");
        self.terraform.record(self.root, address, &id)?;
        Ok(true)
    }

    fn quiet(&self, argv: &Argv) -> Result<ExitStatus> {
        let variables = self.terraform.variables();
        process::lines(self.terraform.root, argv, &variables, |_| Ok(()), |_| {})
    }
}

/// What terraform calls a resource that is imported: one that a plan makes; none for those that are made twice without harm.
fn import_id(change: &Change, cloud: &Cloud) -> Option<String> {
    let project = &cloud.project;
    let text = |field: &str| change.after[field].as_str().map(str::to_owned);
    let last =
        |field: &str| text(field).map(|url| url.rsplit('/').next().unwrap_or_default().to_owned());
    let region = || last("region").or_else(|| Some(cloud.region.clone()));
    let scoped = |scope: &str, place: Option<String>, collection: &str| {
        Some(format!(
            "projects/{project}/{scope}/{}/{collection}/{}",
            place?,
            text("name")?
        ))
    };
    match change.r#type.as_str() {
        "google_compute_disk" => scoped("zones", last("zone"), "disks"),
        "google_compute_instance" => scoped("zones", last("zone"), "instances"),
        "google_compute_address" => scoped("regions", region(), "addresses"),
        "google_compute_subnetwork" => scoped("regions", region(), "subnetworks"),
        "google_compute_router" => scoped("regions", region(), "routers"),
        "google_compute_resource_policy" => scoped("regions", region(), "resourcePolicies"),
        "google_compute_network" => Some(format!(
            "projects/{project}/global/networks/{}",
            text("name")?
        )),
        "google_compute_firewall" => Some(format!(
            "projects/{project}/global/firewalls/{}",
            text("name")?
        )),
        "google_compute_router_nat" => Some(format!(
            "{project}/{}/{}/{}",
            region()?,
            text("router")?,
            text("name")?
        )),
        "google_compute_disk_resource_policy_attachment" => Some(format!(
            "{project}/{}/{}/{}",
            last("zone")?,
            text("disk")?,
            text("name")?
        )),
        "google_storage_bucket" => text("name"),
        "google_service_account" => {
            let account = text("account_id")?;
            Some(format!(
                "projects/{project}/serviceAccounts/{account}@{project}.iam.gserviceaccount.com"
            ))
        }
        "google_secret_manager_secret" => {
            Some(format!("projects/{project}/secrets/{}", text("secret_id")?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::terraform::Action;

    #[test]
    fn what_exists_already_is_recognised_and_named_as_import_wants_it() {
        let exists = |summary: &str| {
            Diagnostic {
                summary: summary.to_owned(),
                ..Diagnostic::default()
            }
            .already_exists()
        };
        assert!(exists(
            "Error creating Disk: googleapi: Error 409: The resource 'x' already exists, alreadyExists"
        ));
        assert!(exists(
            "googleapi: Error 409: Your previous request to create the named bucket succeeded and you already own it."
        ));
        assert!(!exists(
            "googleapi: Error 409: There were concurrent policy changes, aborted"
        ));
        assert!(!exists("googleapi: Error 403: already exists"));

        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let fleet = crate::fleet::Fleet::read(&root.join("fleet.toml")).unwrap();
        let cloud = Cloud::of(&fleet, &root, &crate::cli::BucketArg { bucket: None });
        let id = |r#type: &str, after: Value| {
            let change = Change {
                action: Action::Make,
                address: format!("{type}.x"),
                r#type: r#type.to_owned(),
                name: "x".to_owned(),
                details: Vec::new(),
                after,
            };
            import_id(&change, &cloud)
        };
        let p = "projects/acme-data-science";
        for (r#type, after, expected) in [
            (
                "google_compute_disk",
                json!({"name": "home-bob", "zone": "europe-west4-a"}),
                format!("{p}/zones/europe-west4-a/disks/home-bob"),
            ),
            (
                "google_compute_address",
                json!({"name": "a"}),
                format!("{p}/regions/europe-west4/addresses/a"),
            ),
            (
                "google_compute_network",
                json!({"name": "n"}),
                format!("{p}/global/networks/n"),
            ),
            (
                "google_service_account",
                json!({"account_id": "w"}),
                format!("{p}/serviceAccounts/w@acme-data-science.iam.gserviceaccount.com"),
            ),
            (
                "google_secret_manager_secret",
                json!({"secret_id": "s"}),
                format!("{p}/secrets/s"),
            ),
        ] {
            assert_eq!(id(r#type, after).as_deref(), Some(expected.as_str()));
        }
        assert_eq!(id("google_project_iam_member", json!({"role": "r"})), None);
    }
}
