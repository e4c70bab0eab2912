//! The fleet: what `fleet.toml` says, with its defaults filled in.
//!
//! `hosts/fleet.nix` is the other reader of that file and must give the same verdict and the same structure, which the
//! corpus in `tests/fleet` holds both to: change them together.

mod machine_types;
mod problem;
mod reader;
mod rules;
mod toml_1_0;

use std::{collections::BTreeMap, fs, io::ErrorKind, path::Path};

use anyhow::Result;
use serde::Serialize;

use crate::error::Kind;

pub use reader::did_you_mean;

/// A whole fleet.
#[derive(Debug, Serialize)]
pub struct Fleet {
    /// Where it runs.
    pub google: Google,
    /// How its workspaces are reached.
    pub access: Access,
    /// The workspaces by name.
    pub workspaces: BTreeMap<String, Workspace>,
}

/// The place in Google Cloud.
#[derive(Debug, Serialize)]
pub struct Google {
    /// The project's id.
    pub project: String,
    /// The region of everything that has one.
    pub region: String,
    /// Zones of the region, in the order in which they are tried.
    pub zones: Vec<String>,
}

/// How workspaces are reached.
#[derive(Debug, Serialize)]
pub struct Access {
    /// From where.
    pub exposure: Exposure,
    /// How people log in; none with [`Exposure::Private`], where IAP's tunnel decides.
    pub login: Option<Login>,
    /// Whom the certificate authority writes to; always there with [`Exposure::Public`].
    pub acme_email: Option<String>,
    /// The certificate authority's directory URL; none means Let's Encrypt.
    pub acme_server: Option<String>,
}

/// From where workspaces are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exposure {
    /// A static address, a DNS name, a certificate.
    Public,
    /// No public address: only through IAP's tunnel.
    Private,
}

/// How people log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Login {
    /// A password from Secret Manager.
    Password,
    /// The owner's Google account, by an OAuth client made by hand.
    Google,
}

/// What an image holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// No driver.
    Base,
    /// NVIDIA's driver and CUDA. A workspace has this profile if, and only if, its machine has a GPU.
    Cuda,
}

impl Profile {
    /// Every profile under the name that it has in files and on the command line.
    pub const ALL: [(&str, Profile); 2] = [("base", Profile::Base), ("cuda", Profile::Cuda)];

    /// The name that it has there.
    pub fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(_, profile)| *profile == self);
        named.expect("all profiles are listed").0
    }
}

/// GPUs to attach to a machine that has none built in.
#[derive(Clone, Debug, Serialize)]
pub struct Gpu {
    /// Google's name of the type, such as `nvidia-tesla-t4`.
    pub r#type: String,
    /// How many.
    pub count: i64,
}

/// One data scientist's machine.
#[derive(Debug, Serialize)]
pub struct Workspace {
    /// An RFC 1035 label of at most 40 characters.
    pub name: String,
    /// The owner's e-mail address: a plain one in lower case.
    pub owner: String,
    /// Whose Google accounts may sign in beside the owner's; only with [`Login::Google`].
    pub allowed_emails: Vec<String>,
    /// Its DNS name; none with [`Exposure::Private`].
    pub domain: Option<String>,
    /// The profile of its image.
    pub image: Profile,
    /// Google's name of the machine type.
    pub machine_type: String,
    /// What to attach to it.
    pub gpu: Option<Gpu>,
    /// Whether it is a Spot machine, which Google may take back at any time.
    /// <https://cloud.google.com/compute/docs/instances/spot>
    pub spot: bool,
    /// Size of the boot disk in GB, as Google counts them (2^30 bytes).
    pub boot_disk_gb: i64,
    /// Size of the home disk in GB (2^30 bytes).
    pub home_disk_gb: i64,
    /// Minutes without use after which the machine stops; 0 is never.
    pub idle_stop_minutes: i64,
    /// The id of another project, in which it may make machines; none where it may not.
    pub scale_out_project: Option<String>,
}

impl Fleet {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the file cannot be read or is refused; the text then lists every problem with its position.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let source = fs::read(path).map_err(|e| {
            let why = match e.kind() {
                ErrorKind::NotFound => "there is no such file".to_owned(),
                ErrorKind::IsADirectory => "it is a folder".to_owned(),
                _ => e.to_string(),
            };
            Kind::Usage.error(
                format!("the fleet file {name} cannot be read: {why}"),
                "Name a fleet.toml that is there with --fleet, or run inside the repository without it.",
            )
        })?;
        let source = String::from_utf8(source).map_err(|_| {
            Kind::Usage.error(format!("{name} is not UTF-8 text"), "Save it as UTF-8.")
        })?;
        rules::read(&source).map_err(|problems| {
            Kind::Usage.error(
                problem::render(&name.to_string(), &source, problems),
                "docs/fleet.md explains every key.",
            )
        })
    }
}
