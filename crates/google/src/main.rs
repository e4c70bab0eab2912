//! `google`: what the fleet's orchestrator asks of Google Cloud, one call a command. Results are
//! JSON on standard output, everything for people is on standard error.

mod meter;

use clap::{Args, Parser, Subcommand};
use google::{Client, Crc32c, Location, NewImage, Result, Upload};
use meter::Meter;
use serde::Serialize;
use std::{path::PathBuf, process::ExitCode, time::Duration};

/// Talks to Cloud Storage and Compute Engine
///
/// Credentials: GOOGLE_OAUTH_ACCESS_TOKEN, else gcloud's, else those of the machine it runs on.
/// Exit status: 1 failed, 2 wrong usage or input, 4 refused by the cloud.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Seconds to go on trying while the cloud does not answer
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 300)]
    patience: u64,
    #[command(subcommand)]
    on: On,
}

#[derive(Subcommand)]
enum On {
    /// Buckets of Cloud Storage
    #[command(subcommand)]
    Buckets(Buckets),
    /// Objects in buckets
    #[command(subcommand)]
    Objects(Objects),
    /// Images of Compute Engine
    #[command(subcommand)]
    Images(Images),
}

#[derive(Subcommand)]
enum Buckets {
    /// Makes a private bucket unless it is there
    ///
    /// Uniform access, public access prevented, no soft delete. A bucket of this name in another
    /// project is refused.
    Ensure {
        /// Its name
        name: String,
        #[command(flatten)]
        of: Project,
        /// Region or multi-region
        #[arg(long)]
        location: String,
    },
}

#[derive(Subcommand)]
enum Objects {
    /// Uploads a file, going on where an earlier run stopped
    ///
    /// Writes nothing when the object has these bytes already. What is needed to go on is kept
    /// beside the file, its name with `.upload` added.
    Upload {
        /// The file
        file: PathBuf,
        /// gs://BUCKET/NAME
        to: Location,
        /// What the file is known to hold, as base64; without it the file is read once more
        #[arg(long)]
        crc32c: Option<Crc32c>,
        /// Where to keep what is needed to go on
        #[arg(long, value_name = "FILE")]
        session: Option<PathBuf>,
        /// Replace an object of other bytes
        #[arg(long)]
        replace: bool,
    },
    /// Prints an object's metadata, `null` when there is none
    Stat {
        /// gs://BUCKET/NAME
        at: Location,
    },
    /// Prints the metadata of all objects under a prefix
    List {
        /// gs://BUCKET or gs://BUCKET/PREFIX
        under: Location,
    },
    /// Downloads an object, whole and verified or not at all
    Download {
        /// gs://BUCKET/NAME
        from: Location,
        /// The file
        to: PathBuf,
    },
    /// Makes one object of others of its bucket
    Compose {
        /// gs://BUCKET/NAME
        to: Location,
        /// Names of objects in the same bucket, at most 32
        #[arg(required = true)]
        sources: Vec<String>,
    },
    /// Deletes objects unless they are gone
    Delete {
        /// gs://BUCKET/NAME, one or more
        #[arg(required = true)]
        at: Vec<Location>,
    },
}

#[derive(Subcommand)]
enum Images {
    /// Prints an image, `null` when there is none
    Get {
        #[command(flatten)]
        of: Project,
        /// Its name
        #[arg(required_unless_present = "family")]
        name: Option<String>,
        /// Instead: the image that a new machine of this family would get
        #[arg(long, conflicts_with = "name")]
        family: Option<String>,
    },
    /// Prints all images, each with when it was made and who uses it
    ///
    /// `created` is in seconds since 1970; `usedBy` names the machines and loose disks made from it.
    List {
        #[command(flatten)]
        of: Project,
    },
    /// Makes an image of an uploaded archive and waits until it is READY
    ///
    /// One that exists is left as it is, one that another run is making is waited for.
    Insert {
        #[command(flatten)]
        of: Project,
        /// Its name
        name: String,
        /// Its family
        #[arg(long)]
        family: String,
        /// One line for people
        #[arg(long, default_value = "")]
        description: String,
        /// A label; repeat for more
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
        labels: Vec<(String, String)>,
        /// A guest OS feature such as UEFI_COMPATIBLE; repeat for more
        #[arg(long = "feature", value_name = "FEATURE")]
        features: Vec<String>,
        /// The archive, gs://BUCKET/NAME
        #[arg(long)]
        source: Location,
        /// What the archive must hold, as base64
        #[arg(long)]
        crc32c: Crc32c,
    },
    /// Sets labels, keeping those of other keys
    Label {
        #[command(flatten)]
        of: Project,
        /// Its name
        name: String,
        /// A label
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = key_value)]
        labels: Vec<(String, String)>,
    },
    /// Sets whether new machines may use it
    Deprecate {
        #[command(flatten)]
        of: Project,
        /// Its name
        name: String,
        /// ACTIVE, DEPRECATED or OBSOLETE
        #[arg(long, default_value = "DEPRECATED")]
        state: String,
    },
    /// Deletes images unless they are gone
    Delete {
        #[command(flatten)]
        of: Project,
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
}

#[derive(Args)]
struct Project {
    /// The project it belongs to
    #[arg(long)]
    project: String,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let cloud = Client::from_env()?
        .with_patience(Duration::from_secs(cli.patience))
        .with_notice(meter::say);
    match cli.on {
        On::Buckets(Buckets::Ensure { name, of, location }) => {
            print(&cloud.ensure_bucket(&of.project, &name, &location)?);
        }
        On::Objects(verb) => objects(&cloud, verb)?,
        On::Images(verb) => images(&cloud, verb)?,
    }
    Ok(())
}

fn objects(cloud: &Client, verb: Objects) -> Result<()> {
    match verb {
        Objects::Upload {
            file,
            to,
            crc32c,
            session,
            replace,
        } => {
            let mut upload = Upload::new(&file, to, crc32c)?.replacing(replace);
            if let Some(session) = session {
                upload = upload.with_session(session);
            }
            let mut meter = Meter::new("uploading");
            let object = cloud.upload(&upload, &mut |done, total| meter.update(done, total));
            drop(meter);
            print(&object?);
        }
        Objects::Stat { at } => print(&cloud.object(&at)?),
        Objects::List { under } => print(&cloud.objects(&under)?),
        Objects::Download { from, to } => {
            let mut meter = Meter::new("downloading");
            let object = cloud.download(&from, &to, &mut |done, total| meter.update(done, total));
            drop(meter);
            print(&object?);
        }
        Objects::Compose { to, sources } => print(&cloud.compose(&sources, &to)?),
        Objects::Delete { at } => {
            for at in at {
                cloud.delete_object(&at, None)?;
            }
        }
    }
    Ok(())
}

fn images(cloud: &Client, verb: Images) -> Result<()> {
    match verb {
        Images::Get { of, name, family } => print(&match (name, family) {
            (Some(name), _) => cloud.image(&of.project, &name)?,
            (None, family) => cloud.image_of_family(&of.project, &family.unwrap_or_default())?,
        }),
        Images::List { of } => print(&cloud.list_images(&of.project)?),
        Images::Insert {
            of,
            name,
            family,
            description,
            labels,
            features,
            source,
            crc32c,
        } => {
            let new = NewImage {
                name,
                family,
                description,
                labels: labels.into_iter().collect(),
                guest_os_features: features,
                source,
                crc32c,
            };
            print(&cloud.ensure_image(&of.project, &new)?);
        }
        Images::Label { of, name, labels } => {
            cloud.label_image(&of.project, &name, &labels.into_iter().collect())?;
        }
        Images::Deprecate { of, name, state } => {
            cloud.deprecate_image(&of.project, &name, &state)?;
        }
        Images::Delete { of, names } => {
            for name in names {
                cloud.delete_image(&of.project, &name)?;
            }
        }
    }
    Ok(())
}

fn key_value(text: &str) -> std::result::Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "write it as KEY=VALUE".to_owned())
}

fn print(result: &impl Serialize) {
    println!(
        "{}",
        serde_json::to_string_pretty(result).expect("plain data")
    );
}
