//! `google`: what the fleet's orchestrator asks of Google Cloud, one call a command. Results are
//! JSON on standard output, everything for people is on standard error.

mod meter;

use clap::{Args, Parser, Subcommand};
use google::{
    Client, Crc32c, Error, Location, NewImage, NewSnapshot, Place, Power, Result, Setting, Upload,
};
use meter::Meter;
use serde::Serialize;
use serde_json::json;
use std::{
    io::Read as _,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

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
    /// Nix's binary cache in a bucket
    #[command(subcommand)]
    Cache(Cache),
    /// Machines of Compute Engine
    #[command(subcommand)]
    Instances(Instances),
    /// Disks of Compute Engine
    #[command(subcommand)]
    Disks(Disks),
    /// Snapshots of disks
    #[command(subcommand)]
    Snapshots(Snapshots),
    /// Secrets of Secret Manager; what they hold goes through standard input and output
    #[command(subcommand)]
    Secrets(Secrets),
    /// Prints what a project has and may have: billing, APIs, Compute Engine's quotas
    ///
    /// What the caller may not read is null or left out.
    Inspect {
        #[command(flatten)]
        of: Project,
        /// The region whose quotas are wanted
        #[arg(long)]
        region: String,
    },
    /// Prints a region's zones, each with what it has of these types
    ///
    /// A zone that has a type may have no room for one now.
    Zones {
        #[command(flatten)]
        of: Project,
        /// The region
        #[arg(long)]
        region: String,
        /// A machine type; repeat for more
        #[arg(long = "machine-type", value_name = "TYPE")]
        machine_types: Vec<String>,
        /// A type of GPU to attach; repeat for more
        #[arg(long = "accelerator-type", value_name = "TYPE")]
        accelerator_types: Vec<String>,
    },
    /// Waits until pages answer over a valid certificate
    Reach {
        /// https://…, one or more
        #[arg(required = true)]
        urls: Vec<String>,
        /// Seconds to wait in all
        #[arg(long, value_name = "SECONDS", default_value_t = 900)]
        within: u64,
    },
    /// Prints the access token, as `{"token": …}`, for other programs that call Google Cloud
    Token,
}

#[derive(Subcommand)]
enum Buckets {
    /// Prints a bucket, `null` when the project has none of this name
    Get {
        /// Its name
        name: String,
        #[command(flatten)]
        of: Project,
    },
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
        /// Keep what is overwritten or deleted in it
        #[arg(long)]
        versioned: bool,
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
enum Cache {
    /// Uploads the store paths of a folder that the bucket lacks, and prints `{"paths": …, "bytes": …}`
    ///
    /// The folder is what `nix copy --to file://FOLDER` makes.
    Push {
        /// The folder
        folder: PathBuf,
        /// The bucket's name
        bucket: String,
    },
    /// Prints a store path and all that it refers to, each as `{"path": …, "size": …}`; `null` when it is not there
    Closure {
        /// The bucket's name
        bucket: String,
        /// The store path
        path: String,
    },
    /// Deletes what no kept store path needs, and prints `{"paths": …, "objects": …, "bytes": …, "kept": …}`
    ///
    /// Systems in objects under deploying/, one path a line, are kept for a week as well.
    Prune {
        /// The bucket's name
        bucket: String,
        /// A store path that is kept with all that it refers to; repeat for more
        #[arg(long, value_name = "PATH")]
        keep: Vec<String>,
        /// Keep what is younger
        #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
        older_than: i64,
        /// Delete nothing
        #[arg(long)]
        dry_run: bool,
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

#[derive(Subcommand)]
enum Instances {
    /// Prints the machines of every zone
    List {
        #[command(flatten)]
        of: Project,
    },
    /// Prints when Google took Spot machines back, as `[{"name": …, "zone": …, "at": …}]`, in the last two weeks
    Preemptions {
        #[command(flatten)]
        of: Project,
    },
    /// Starts machines, several at once, and waits until they run
    ///
    /// Prints `{"withoutRoom": […]}`, the names of those that their zones have no room for now, and then fails.
    Start {
        #[command(flatten)]
        of: Project,
        /// ZONE/NAME, one or more
        #[arg(required = true)]
        at: Vec<Place>,
    },
    /// Stops machines, several at once, and waits until they have stopped
    Stop {
        #[command(flatten)]
        of: Project,
        /// ZONE/NAME, one or more
        #[arg(required = true)]
        at: Vec<Place>,
    },
    /// Deletes machines unless they are gone, and the disks that are to go with them
    Delete {
        #[command(flatten)]
        of: Project,
        /// ZONE/NAME, one or more
        #[arg(required = true)]
        at: Vec<Place>,
    },
    /// Resets machines, several at once, and waits until it is done
    Reset {
        #[command(flatten)]
        of: Project,
        /// ZONE/NAME, one or more
        #[arg(required = true)]
        at: Vec<Place>,
    },
    /// Sets a key of machines' metadata, several at once; prints whether each had another value, or why it failed
    SetMetadata {
        #[command(flatten)]
        of: Project,
        /// The key
        #[arg(long)]
        key: String,
        /// By the same write, keep in this key what the other one held, where that changes
        #[arg(long, value_name = "KEY")]
        keep_in: Option<String>,
        /// By the same write, add a line with the time and the value to this key, which keeps the last ten
        #[arg(long, value_name = "KEY")]
        log_in: Option<String>,
        /// ZONE/NAME=VALUE, one or more
        #[arg(required = true, value_name = "ZONE/NAME=VALUE", value_parser = place_value)]
        at: Vec<(Place, String)>,
    },
    /// Prints the guest attributes of machines, several at once, or why they cannot be read
    GuestAttributes {
        #[command(flatten)]
        of: Project,
        /// Of this namespace
        #[arg(long, default_value = "workspace")]
        namespace: String,
        /// ZONE/NAME, one or more
        #[arg(required = true)]
        at: Vec<Place>,
    },
    /// Prints what a machine wrote to its serial port, and where to go on from, as `{"contents": …, "next": …}`
    Serial {
        #[command(flatten)]
        of: Project,
        /// ZONE/NAME
        at: Place,
        /// From this byte on
        #[arg(long, default_value_t = 0)]
        start: i64,
    },
}

#[derive(Subcommand)]
enum Disks {
    /// Prints the disks of every zone and region
    List {
        #[command(flatten)]
        of: Project,
    },
    /// Makes a disk that holds what a snapshot does, unless there is one of this name, and prints it
    Restore {
        #[command(flatten)]
        of: Project,
        /// ZONE/NAME
        at: Place,
        /// The snapshot's name
        #[arg(long)]
        snapshot: String,
        /// Its type, such as pd-balanced
        #[arg(long = "type")]
        r#type: String,
        /// A label; repeat for more
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
        labels: Vec<(String, String)>,
    },
    /// Sets and removes labels, keeping those of other keys
    Label {
        #[command(flatten)]
        of: Project,
        /// ZONE/NAME
        at: Place,
        /// A label
        #[arg(value_name = "KEY=VALUE", value_parser = key_value)]
        labels: Vec<(String, String)>,
        /// The key of a label that goes; repeat for more
        #[arg(long, value_name = "KEY")]
        remove: Vec<String>,
    },
    /// Deletes disks unless they are gone
    Delete {
        #[command(flatten)]
        of: Project,
        /// ZONE/NAME, one or more
        #[arg(required = true)]
        at: Vec<Place>,
    },
}

#[derive(Subcommand)]
enum Snapshots {
    /// Prints a snapshot, `null` when there is none
    Get {
        #[command(flatten)]
        of: Project,
        /// Its name
        name: String,
    },
    /// Makes a snapshot of a disk unless there is one of this name, waits until it is READY, and prints it
    Make {
        #[command(flatten)]
        of: Project,
        /// Its name
        name: String,
        /// The disk, ZONE/NAME
        #[arg(long, value_name = "ZONE/NAME")]
        disk: Place,
        /// Region or multi-region to keep it in
        #[arg(long)]
        location: String,
        /// What it says of itself
        #[arg(long, default_value = "")]
        description: String,
        /// A label; repeat for more
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
        labels: Vec<(String, String)>,
    },
    /// Deletes a snapshot unless it is gone
    Delete {
        #[command(flatten)]
        of: Project,
        /// Its name
        name: String,
    },
}

#[derive(Subcommand)]
enum Secrets {
    /// Makes a secret that holds nothing, unless there is one of this name
    Make {
        #[command(flatten)]
        of: Project,
        /// Its name
        name: String,
    },
    /// Prints what a secret holds, as `{"text": …}`; `null` when it holds nothing yet
    Access {
        #[command(flatten)]
        of: Project,
        /// Its name
        name: String,
    },
    /// Gives a secret that holds nothing what is on standard input, and prints `{"made": …}`
    Ensure {
        #[command(flatten)]
        of: Project,
        /// Its name
        name: String,
    },
    /// Gives a secret what is on standard input, and destroys what it held before
    Replace {
        #[command(flatten)]
        of: Project,
        /// Its name
        name: String,
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
        On::Buckets(Buckets::Get { name, of }) => print(&cloud.bucket_of(&of.project, &name)?),
        On::Buckets(Buckets::Ensure {
            name,
            of,
            location,
            versioned,
        }) => {
            let bucket = cloud.ensure_bucket(&of.project, &name, &location)?;
            print(&if versioned {
                cloud.ensure_versions(bucket)?
            } else {
                bucket
            });
        }
        On::Objects(verb) => objects(&cloud, verb)?,
        On::Images(verb) => images(&cloud, verb)?,
        On::Cache(Cache::Push { folder, bucket }) => print(&cloud.push_cache(&folder, &bucket)?),
        On::Cache(Cache::Closure { bucket, path }) => {
            print(&cloud.cached_closure(&bucket, &path)?);
        }
        On::Cache(Cache::Prune {
            bucket,
            keep,
            older_than,
            dry_run,
        }) => print(&cloud.prune_cache(&bucket, &keep, older_than, dry_run)?),
        On::Instances(verb) => instances(&cloud, verb)?,
        On::Disks(verb) => disks(&cloud, verb)?,
        On::Snapshots(verb) => snapshots(&cloud, verb)?,
        On::Secrets(verb) => secrets(&cloud, verb)?,
        On::Inspect { of, region } => print(&cloud.project(&of.project, &region)?),
        On::Zones {
            of,
            region,
            machine_types,
            accelerator_types,
        } => print(&cloud.zones(&of.project, &region, &machine_types, &accelerator_types)?),
        On::Reach { urls, within } => {
            let end = Instant::now() + Duration::from_secs(within);
            for url in urls {
                cloud.reach(&url, end.saturating_duration_since(Instant::now()))?;
            }
        }
        On::Token => print(&json!({"token": cloud.token()?})),
    }
    Ok(())
}

fn instances(cloud: &Client, verb: Instances) -> Result<()> {
    match verb {
        Instances::List { of } => print(&cloud.list_instances(&of.project)?),
        Instances::Preemptions { of } => print(&cloud.list_preemptions(&of.project)?),
        Instances::Start { of, at } => {
            let done = cloud.power(&of.project, &at, Power::Start);
            if let Err(error) = &done {
                print(&json!({"withoutRoom": error.without_room}));
            }
            done?;
        }
        Instances::Stop { of, at } => cloud.power(&of.project, &at, Power::Stop)?,
        Instances::Delete { of, at } => {
            for at in at {
                cloud.delete_instance(&of.project, &at)?;
            }
        }
        Instances::Reset { of, at } => cloud.power(&of.project, &at, Power::Reset)?,
        Instances::SetMetadata {
            of,
            key,
            keep_in,
            log_in,
            at,
        } => {
            let setting = Setting {
                key: &key,
                keep_in: keep_in.as_deref(),
                log_in: log_in.as_deref(),
            };
            print(&cloud.set_metadata_of(&of.project, setting, &at));
        }
        Instances::GuestAttributes { of, namespace, at } => {
            print(&cloud.guest_attributes_of(&of.project, &namespace, &at));
        }
        Instances::Serial { of, at, start } => {
            let (contents, next) = cloud.serial_output(&of.project, &at, start)?;
            print(&json!({"contents": contents, "next": next}));
        }
    }
    Ok(())
}

fn disks(cloud: &Client, verb: Disks) -> Result<()> {
    match verb {
        Disks::List { of } => print(&cloud.list_disks(&of.project)?),
        Disks::Restore {
            of,
            at,
            snapshot,
            r#type,
            labels,
        } => {
            let labels = labels.into_iter().collect();
            print(&cloud.ensure_disk(&of.project, &at, &snapshot, &r#type, &labels)?);
        }
        Disks::Label {
            of,
            at,
            labels,
            remove,
        } => cloud.label_disk(&of.project, &at, &labels.into_iter().collect(), &remove)?,
        Disks::Delete { of, at } => {
            for at in at {
                cloud.delete_disk(&of.project, &at)?;
            }
        }
    }
    Ok(())
}

fn snapshots(cloud: &Client, verb: Snapshots) -> Result<()> {
    match verb {
        Snapshots::Get { of, name } => print(&cloud.snapshot(&of.project, &name)?),
        Snapshots::Make {
            of,
            name,
            disk,
            location,
            description,
            labels,
        } => {
            let new = NewSnapshot {
                of: disk,
                location,
                description,
                labels: labels.into_iter().collect(),
            };
            print(&cloud.ensure_snapshot(&of.project, &name, &new)?);
        }
        Snapshots::Delete { of, name } => cloud.delete_snapshot(&of.project, &name)?,
    }
    Ok(())
}

fn secrets(cloud: &Client, verb: Secrets) -> Result<()> {
    match verb {
        Secrets::Access { of, name } => {
            let data = cloud.secret(&of.project, &name)?;
            let text = data.map(String::from_utf8).transpose().map_err(|_| {
                Error::failed(
                    format!("Secret {name} holds no text"),
                    "Give it a new version",
                )
            })?;
            print(&text.map(|text| json!({"text": text})));
        }
        Secrets::Make { of, name } => cloud.make_secret(&of.project, &name)?,
        Secrets::Ensure { of, name } => {
            let made = cloud.ensure_secret(&of.project, &name, &standard_input()?)?;
            print(&json!({"made": made}));
        }
        Secrets::Replace { of, name } => {
            cloud.replace_secret(&of.project, &name, &standard_input()?)?;
        }
    }
    Ok(())
}

/// A secret for a command line would be in the list of processes.
fn standard_input() -> Result<Vec<u8>> {
    let mut data = Vec::new();
    std::io::stdin().read_to_end(&mut data).map_err(|error| {
        Error::failed(
            format!("Standard input cannot be read ({error})"),
            "Pipe the secret in",
        )
    })?;
    if data.is_empty() {
        return Err(Error::input(
            "There is nothing on standard input",
            "Pipe the secret in",
        ));
    }
    Ok(data)
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

fn place_value(text: &str) -> std::result::Result<(Place, String), String> {
    let (place, value) = key_value(text)?;
    Ok((place.parse()?, value))
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
