//! What the verbs ask of Google Cloud, through the program `google`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    argv,
    cli::BucketArg,
    error::Kind,
    fleet::{Fleet, Workspace},
    process::{self, Argv},
    project,
};

/// The label that marks an image as one of ours: the hash of the derivation that it was built from.
pub const DERIVATION: &str = "derivation";

/// The label with the revision of the flake.
pub const REVISION: &str = "flake-revision";

/// The label that a workspace's machine and disks have: its name.
pub const WORKSPACE: &str = "workspace";

/// The label that says which part a home disk has in a move, while there are two: [`ARRIVING`] or [`ARRIVED`] on the
/// one in the new zone, [`LEFT`] on the other, for good.
pub const MOVE: &str = "move";

/// A copy that is not the home yet.
pub const ARRIVING: &str = "arriving";

/// The home, whose machine has not been seen to work yet.
pub const ARRIVED: &str = "arrived";

/// A home no more: everything on it was moved.
pub const LEFT: &str = "left";

/// The label on the disk in the new zone: the zone that the home comes from.
pub const MOVED_FROM: &str = "moved-from";

/// Google deletes a disk within seconds.
const DELETION_PATIENCE: Duration = Duration::from_secs(300);

/// A project, and how to reach it.
pub struct Cloud {
    root: PathBuf,
    /// Its id.
    pub project: String,
    /// Where new things go.
    pub region: String,
    /// The bucket that images pass through.
    pub bucket: String,
    /// Whether questions are not echoed.
    pub quiet: bool,
}

/// An image of Compute Engine.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    pub name: String,
    /// PENDING, READY, FAILED or DELETING.
    pub status: String,
    #[serde(default)]
    pub family: Option<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Seconds since 1970.
    pub created: i64,
    #[serde(default)]
    pub archive_size_bytes: u64,
    #[serde(default)]
    pub deprecated: Option<serde_json::Value>,
    /// Machines and loose disks that were made from it.
    #[serde(default)]
    pub used_by: Vec<String>,
}

/// A machine of Compute Engine.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    pub name: String,
    pub zone: String,
    /// RUNNING, TERMINATED and others.
    pub status: String,
    pub machine_type: String,
    /// Whether Google may take it back at any time.
    #[serde(default)]
    pub spot: bool,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The keys that begin with `workspace-`.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    #[serde(default)]
    pub disks: Vec<Attached>,
    /// When it was last switched on, in seconds since 1970.
    #[serde(default)]
    pub started: Option<i64>,
}

/// That Google took a Spot machine back.
#[derive(Debug, Deserialize)]
pub struct Preemption {
    pub name: String,
    pub zone: String,
    /// In seconds since 1970.
    pub at: i64,
}

/// A zone: what it has of the workspaces' types.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Zone {
    pub name: String,
    pub machine_types: Vec<String>,
    pub accelerator_types: Vec<String>,
}

impl Zone {
    /// Whether it has a workspace's machine type and GPU.
    pub fn offers(&self, workspace: &Workspace) -> bool {
        self.machine_types.contains(&workspace.machine_type)
            && workspace
                .gpu
                .as_ref()
                .is_none_or(|gpu| self.accelerator_types.contains(&gpu.r#type))
    }
}

/// A machine's connection to a network.
#[derive(Debug, Deserialize)]
pub struct Interface {
    pub private: Option<String>,
    pub public: Vec<String>,
}

/// A disk that a machine has.
#[derive(Debug, Deserialize)]
pub struct Attached {
    pub name: String,
}

/// A disk of Compute Engine.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    pub name: String,
    /// Another disk of the same name has another one.
    #[serde(default)]
    pub id: String,
    pub zone: String,
    /// CREATING, READY, DELETING and others.
    #[serde(default)]
    pub status: String,
    pub size_gb: u64,
    pub r#type: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    pub source_image: Option<String>,
    pub source_snapshot: Option<String>,
    /// Of that snapshot; another one of the same name has another.
    pub source_snapshot_id: Option<String>,
    /// When a machine last got it, in seconds since 1970; none if no machine ever did.
    pub last_attached: Option<i64>,
    /// When a machine last lost it, in seconds since 1970.
    pub last_detached: Option<i64>,
    #[serde(default)]
    pub users: Vec<String>,
}

impl Machine {
    /// As `google` takes it.
    pub fn place(&self) -> String {
        format!("{}/{}", self.zone, self.name)
    }

    /// Whether it is on, or about to be.
    pub fn is_on(&self) -> bool {
        ["RUNNING", "PROVISIONING", "STAGING"].contains(&self.status.as_str())
    }

    /// Whether it is off because Google took it back: that came after it was last switched on.
    pub fn is_preempted(&self, preemptions: &[Preemption]) -> bool {
        let of_it = |it: &Preemption| {
            it.name == self.name
                && it.zone == self.zone
                && self.started.is_none_or(|on| it.at >= on)
        };
        !self.is_on() && preemptions.iter().any(of_it)
    }
}

impl Disk {
    /// Whether nothing can be on it: it was made of nothing, and no machine ever had it.
    pub fn is_blank(&self) -> bool {
        self.source_image.is_none() && self.source_snapshot.is_none() && self.is_untouched()
    }

    /// Whether nothing was written to it since it was made: no machine ever had it.
    pub fn is_untouched(&self) -> bool {
        self.last_attached.is_none() && self.users.is_empty()
    }

    /// The workspace whose home it is.
    pub fn home_of(&self) -> Option<&str> {
        let home = !matches!(self.part(), Some(ARRIVING | LEFT));
        self.named_home_of().filter(|_| home)
    }

    /// The workspace whose home it is, was or is to be.
    pub fn named_home_of(&self) -> Option<&str> {
        let workspace = self.labels.get(WORKSPACE)?;
        (self.name.strip_prefix("home-") == Some(workspace)).then_some(workspace)
    }

    /// Its part in a move.
    pub fn part(&self) -> Option<&str> {
        self.labels.get(MOVE).map(String::as_str)
    }

    /// As `google` takes it.
    pub fn place(&self) -> String {
        format!("{}/{}", self.zone, self.name)
    }
}

/// A home has moved from the moment that its copy is marked so: the mark on the one that it left follows, and counts as
/// set until then.
fn leave(disks: &mut [Disk]) {
    let arrived = |disk: &&Disk| disk.part() == Some(ARRIVED);
    let arrived: Vec<String> = disks
        .iter()
        .filter(arrived)
        .filter_map(|disk| disk.home_of().map(str::to_owned))
        .collect();
    let moved = |disk: &&mut Disk| {
        disk.part().is_none()
            && disk
                .home_of()
                .is_some_and(|name| arrived.iter().any(|it| it == name))
    };
    for disk in disks.iter_mut().filter(moved) {
        disk.labels.insert(MOVE.to_owned(), LEFT.to_owned());
    }
}

/// An object of Cloud Storage.
#[derive(Debug, Deserialize)]
pub struct Object {
    pub name: String,
    pub size: u64,
    /// Seconds since 1970.
    pub created: i64,
}

impl Cloud {
    /// The project of the fleet.
    pub fn of(fleet: &Fleet, root: &Path, bucket: &BucketArg) -> Self {
        let project = fleet.google.project.clone();
        let default = || format!("{project}-workspace-images");
        Self {
            root: root.to_owned(),
            bucket: bucket.bucket.clone().unwrap_or_else(default),
            quiet: false,
            region: fleet.google.region.clone(),
            project,
        }
    }

    /// `google` with these words.
    pub fn command(&self, words: Argv) -> Argv {
        let mut command = project::program(&self.root, "google");
        command.extend(words);
        command
    }

    /// What `google` answers to these words.
    ///
    /// # Errors
    /// As [`process::ask`].
    pub fn ask<T: DeserializeOwned>(&self, words: Argv) -> Result<T> {
        let command = self.command(words);
        let answer = if self.quiet {
            process::ask_quietly(&self.root, &command)?
        } else {
            process::ask(&self.root, &command)?
        };
        serde_json::from_str(&answer).context("google's answer is unreadable")
    }

    /// Has `google` do this.
    ///
    /// # Errors
    /// As [`process::ask`].
    pub fn tell(&self, words: Argv) -> Result<()> {
        process::ask(&self.root, &self.command(words)).map(drop)
    }

    /// Has `google` do this, for what it prints also when it fails: both.
    ///
    /// # Errors
    /// As [`process::ask_why`].
    pub fn tell_why(&self, words: Argv) -> Result<(String, Result<()>)> {
        process::ask_why(&self.root, &self.command(words))
    }

    /// Has `google` do this with a secret on its stdin.
    ///
    /// # Errors
    /// As [`process::ask`].
    pub fn tell_with(&self, words: Argv, secret: &str) -> Result<()> {
        process::ask_with(&self.root, &self.command(words), secret).map(drop)
    }

    /// Whether the cloud is a simulated one, on this machine. Nothing answers on its addresses.
    pub fn is_simulated() -> bool {
        let endpoint = std::env::var("GOOGLE_COMPUTE_CUSTOM_ENDPOINT").unwrap_or_default();
        ["http://127.0.0.1:", "http://[::1]:", "http://localhost:"]
            .iter()
            .any(|local| endpoint.starts_with(local))
    }

    /// The bucket of terraform's states.
    pub fn state_bucket(&self) -> String {
        format!("{}-workspace-state", self.project)
    }

    /// The bucket that machines read closures from.
    pub fn cache_bucket(&self) -> String {
        format!("{}-workspace-cache", self.project)
    }

    /// Makes the bucket of the states, which keeps every version of them.
    pub fn state_bucket_command(&self) -> Argv {
        argv![
            "buckets",
            "ensure",
            self.state_bucket(),
            "--project",
            &self.project,
            "--location",
            &self.region,
            "--versioned",
        ]
    }

    /// Whether anything has ever been applied in this project.
    ///
    /// # Errors
    /// As [`process::ask`].
    pub fn has_state(&self) -> Result<bool> {
        let words = argv![
            "buckets",
            "get",
            self.state_bucket(),
            "--project",
            &self.project
        ];
        Ok(self.ask::<Option<serde_json::Value>>(words)?.is_some())
    }

    /// An access token, for other programs that call Google Cloud.
    ///
    /// # Errors
    /// As [`process::ask`].
    pub fn token(&self) -> Result<String> {
        #[derive(Deserialize)]
        struct Answer {
            token: String,
        }
        Ok(self.ask::<Answer>(argv!["token"])?.token)
    }

    /// Lists the machines of the project.
    pub fn machines_command(&self) -> Argv {
        argv!["instances", "list", "--project", &self.project]
    }

    /// Lists the zones of the region, and what they have of these workspaces' types.
    pub fn zones_command<'a>(&self, workspaces: impl Iterator<Item = &'a Workspace>) -> Argv {
        let mut words = argv!["zones", "--project", &self.project];
        words.extend(argv!["--region", &self.region]);
        let mut types = BTreeSet::new();
        for workspace in workspaces {
            types.insert(("--machine-type", &workspace.machine_type));
            let gpus = workspace.gpu.iter();
            types.extend(gpus.map(|gpu| ("--accelerator-type", &gpu.r#type)));
        }
        words.extend(types.into_iter().flat_map(|(flag, name)| argv![flag, name]));
        words
    }

    /// Lists when Spot machines of the project were taken back.
    pub fn preemptions_command(&self) -> Argv {
        argv!["instances", "preemptions", "--project", &self.project]
    }

    /// Lists the disks of the project.
    pub fn disks_command(&self) -> Argv {
        argv!["disks", "list", "--project", &self.project]
    }

    /// The workspaces' machines; other machines of the project are left out.
    ///
    /// # Errors
    /// As [`process::ask`].
    pub fn machines(&self) -> Result<Vec<Machine>> {
        let mut machines: Vec<Machine> = self.ask(self.machines_command())?;
        machines.retain(|machine| machine.labels.get(WORKSPACE) == Some(&machine.name));
        Ok(machines)
    }

    /// When Google took back any of these machines; asked for only if it may have.
    ///
    /// # Errors
    /// As [`process::ask`].
    pub fn preemptions(&self, machines: &[Machine]) -> Result<Vec<Preemption>> {
        if machines
            .iter()
            .any(|machine| machine.spot && !machine.is_on())
        {
            self.ask(self.preemptions_command())
        } else {
            Ok(Vec::new())
        }
    }

    /// All disks of the project.
    ///
    /// # Errors
    /// As [`process::ask`].
    pub fn disks(&self) -> Result<Vec<Disk>> {
        let mut disks: Vec<Disk> = self.ask(self.disks_command())?;
        leave(&mut disks);
        Ok(disks)
    }

    /// The same, once no home disk of them is about to go, which a killed run may have asked for.
    ///
    /// # Errors
    /// As [`process::ask`]; [`Kind::Refused`] if one does not go within minutes.
    pub fn settled_disks(&self) -> Result<Vec<Disk>> {
        let since = Instant::now();
        loop {
            let disks = self.disks()?;
            let going = |disk: &&Disk| disk.named_home_of().is_some() && disk.status == "DELETING";
            let Some(disk) = disks.iter().find(going) else {
                return Ok(disks);
            };
            if since.elapsed() > DELETION_PATIENCE {
                return Err(Kind::Refused.error(
                    format!("the disk {} is being deleted and does not go", disk.name),
                    "Run this again when it is gone.",
                ));
            }
            sleep(Duration::from_secs(2));
        }
    }

    /// Lists all images of the project.
    pub fn list_command(&self) -> Argv {
        argv!["images", "list", "--project", &self.project]
    }

    /// The images that `push` made, the newest first.
    ///
    /// # Errors
    /// As [`process::ask`].
    pub fn images(&self) -> Result<Vec<Image>> {
        let mut images: Vec<Image> = self.ask(self.list_command())?;
        images.retain(|image| image.labels.contains_key(DERIVATION));
        Ok(images)
    }

    /// An object of the bucket.
    pub fn url(&self, object: &str) -> String {
        format!("gs://{}/{object}", self.bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_home_at_each_moment_of_a_move() {
        // The parts of the old disk and of the new one, and the zone of the home.
        for (old, new, home) in [
            ("", "arriving", "a"),
            ("", "arrived", "b"),
            ("left", "arrived", "b"),
            ("left", "", "b"),
        ] {
            let disk = |zone: &str, part: &str| {
                let mut disk = serde_json::json!({
                    "name": "home-bob", "zone": zone, "sizeGb": 10, "type": "pd-balanced", "labels": {"workspace": "bob"},
                });
                if !part.is_empty() {
                    disk["labels"][MOVE] = part.into();
                }
                serde_json::from_value::<Disk>(disk).unwrap()
            };
            let mut disks = [disk("a", old), disk("b", new)];
            leave(&mut disks);
            let homes = disks.iter().filter(|disk| disk.home_of() == Some("bob"));
            let zones: Vec<_> = homes.map(|disk| disk.zone.as_str()).collect();
            assert_eq!(zones, [home], "{old:?} {new:?}");
        }
    }
}
