//! `push`: an image of the flake becomes an image of the project.
//!
//! Its name carries the hash of its derivation, so that one that exists need not be made again. The object that it is
//! made from carries the hash of its bytes, so that two runs only ever write the same bytes under one name. It is kept
//! until `prune` deletes the image: it costs little, and whoever asks can compare what was registered with what was built.

use std::{collections::BTreeMap, path::Path, path::PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    argv,
    cli::{Cli, PushArgs},
    cloud::{Cloud, DERIVATION, Image, REVISION},
    error::Kind,
    fleet::Fleet,
    output,
    process::{self, Argv},
    project,
    verbs::image,
};

/// What the guest's kernel can do. <https://cloud.google.com/compute/docs/images/create-custom#guest-os-features>
const FEATURES: [&str; 4] = ["UEFI_COMPATIBLE", "GVNIC", "VIRTIO_SCSI_MULTIQUEUE", "IDPF"];

/// Makes the image unless the project has it, and prints its path.
pub fn run(cli: &Cli, args: &PushArgs) -> Result<()> {
    let fleet = Fleet::read(&project::fleet_file(cli)?)?;
    image::check_name(&args.name, &fleet)?;
    let root = image::repository(cli)?;
    let cloud = Cloud::of(&fleet, &root, &args.bucket);
    let name = &args.name;
    if cli.dry_run {
        output::plan(cli, &plan(&fleet, &cloud, &root, name));
        return Ok(());
    }
    let (image, made) = ensure_image(&fleet, &cloud, &root, name)?;
    report(cli, &cloud, &image, made)
}

/// Makes the image of a profile or workspace unless the project has it; whether it had to be made.
///
/// # Errors
/// As [`image::make`] and [`process::ask`].
pub fn ensure_image(
    fleet: &Fleet,
    cloud: &Cloud,
    root: &Path,
    name: &str,
) -> Result<(Image, bool)> {
    image::need_nix()?;
    let (derivation, output): (PathBuf, PathBuf) = read_json(root, &derivation_command(name))?;
    let hash = image::store_hash(&derivation)?;
    let image_name = image_name(name, hash);
    let found: Option<Image> = cloud.ask(get(cloud, &image_name))?;
    if let Some(found) = found.filter(|image| image.status == "READY") {
        eprintln!("nothing to do: the project has this image");
        return Ok((found, false));
    }

    let artefact = image::make(root, name, &image::default_folder(root))?;
    if artefact.store_path != output {
        return Err(Kind::Failed.error(
            "the flake changed while its image was being built",
            "Run this again when nothing writes to the repository.",
        ));
    }
    let metadata: Value = read_json(root, &metadata_command())?;
    let archive = Archive {
        file: artefact.pack.path,
        url: cloud.url(&object_name(&image_name, &artefact.pack.sha256)),
        crc32c: artefact.pack.crc32c,
    };
    cloud.tell(ensure(cloud))?;
    cloud.tell(archive.upload())?;
    let labels = labels(fleet, name, hash, &metadata);
    let made: Image = cloud.ask(archive.insert(cloud, name, &image_name, &labels))?;
    Ok((made, true))
}

/// A packed image, here and in the bucket.
struct Archive {
    file: PathBuf,
    url: String,
    crc32c: String,
}

impl Archive {
    fn upload(&self) -> Argv {
        // The name is that of these bytes: an object with other bytes is damaged.
        let words = argv!["objects", "upload", "--replace", &self.file, &self.url];
        with(words, "--crc32c", [&self.crc32c])
    }

    fn insert(
        &self,
        cloud: &Cloud,
        name: &str,
        image: &str,
        labels: &BTreeMap<&str, String>,
    ) -> Argv {
        let words = argv!["images", "insert", image, "--project", &cloud.project];
        let words = with(words, "--family", [name]);
        let words = with(words, "--source", [&self.url]);
        let words = with(words, "--crc32c", [&self.crc32c]);
        let labels = labels.iter().map(|(key, value)| format!("{key}={value}"));
        let words = with(words, "--label", labels);
        with(words, "--feature", FEATURES)
    }
}

/// A flag before each of its values.
fn with(
    mut words: Argv,
    flag: &str,
    values: impl IntoIterator<Item = impl Into<std::ffi::OsString>>,
) -> Argv {
    for value in values {
        words.extend([flag.into(), value.into()]);
    }
    words
}

fn derivation_command(name: &str) -> Argv {
    argv![
        "nix",
        "eval",
        "--extra-experimental-features",
        "nix-command flakes",
        "--json",
        format!(".#packages.x86_64-linux.image-{name}"),
        "--apply",
        "image: [ image.drvPath image.outPath ]",
    ]
}

fn metadata_command() -> Argv {
    argv![
        "nix",
        "flake",
        "metadata",
        "--extra-experimental-features",
        "nix-command flakes",
        "--json",
    ]
}

fn get(cloud: &Cloud, image: &str) -> Argv {
    argv!["images", "get", image, "--project", &cloud.project]
}

fn ensure(cloud: &Cloud) -> Argv {
    argv![
        "buckets",
        "ensure",
        &cloud.bucket,
        "--project",
        &cloud.project,
        "--location",
        &cloud.region,
    ]
}

/// All commands in their order; what only earlier ones tell is in capitals.
pub fn plan(fleet: &Fleet, cloud: &Cloud, root: &Path, name: &str) -> Vec<Argv> {
    let image = format!("{name}-HASH");
    let archive = Archive {
        file: image::default_folder(root).join(format!("{name}-HASH.tar.gz")),
        url: cloud.url(&object_name(&image, "SHA256")),
        crc32c: "CRC32C".to_owned(),
    };
    let labels = BTreeMap::from([
        (DERIVATION, "HASH".to_owned()),
        (REVISION, "REVISION".to_owned()),
        ("nixpkgs-revision", "REVISION".to_owned()),
    ]);
    let labels = labels.into_iter().chain(of_fleet(fleet, name)).collect();
    let mut commands = vec![derivation_command(name), cloud.command(get(cloud, &image))];
    commands.extend(image::commands(root, name, &image::default_folder(root)));
    commands.push(metadata_command());
    for words in [
        ensure(cloud),
        archive.upload(),
        archive.insert(cloud, name, &image, &labels),
    ] {
        commands.push(cloud.command(words));
    }
    commands
}

/// At most 40 + 1 + 12 characters of the 63 that Compute Engine takes.
fn image_name(name: &str, hash: &str) -> String {
    format!("{name}-{}", &hash[..12])
}

fn object_name(image: &str, sha256: &str) -> String {
    format!("{image}-{}.tar.gz", sha256.get(..12).unwrap_or(sha256))
}

fn labels<'a>(
    fleet: &Fleet,
    name: &str,
    hash: &str,
    metadata: &Value,
) -> BTreeMap<&'a str, String> {
    let mut labels: BTreeMap<_, _> = of_fleet(fleet, name).into_iter().collect();
    labels.insert(DERIVATION, hash.to_owned());
    // Neither outside a git repository.
    let revision = metadata["revision"].as_str();
    if let Some(revision) = revision.or(metadata["dirtyRevision"].as_str()) {
        labels.insert(REVISION, label(revision));
    }
    let nodes = &metadata["locks"]["nodes"];
    let nixpkgs = nodes["root"]["inputs"]["nixpkgs"].as_str();
    if let Some(revision) = nixpkgs.and_then(|node| nodes[node]["locked"]["rev"].as_str()) {
        labels.insert("nixpkgs-revision", label(revision));
    }
    labels
}

/// The profile, and the workspace if it is one's own image.
fn of_fleet(fleet: &Fleet, name: &str) -> Vec<(&'static str, String)> {
    match fleet.workspaces.get(name) {
        Some(workspace) => vec![
            ("profile", workspace.image.name().to_owned()),
            ("workspace", name.to_owned()),
        ],
        None => vec![("profile", name.to_owned())],
    }
}

/// A value as Compute Engine takes it: at most 63 of `a-z0-9_-`.
/// <https://cloud.google.com/compute/docs/labeling-resources#requirements>
fn label(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    let text = text.to_ascii_lowercase();
    let fit = text.chars().map(|c| if allowed(c) { c } else { '-' });
    fit.take(63).collect()
}

fn read_json<T: serde::de::DeserializeOwned>(root: &Path, argv: &Argv) -> Result<T> {
    let text = process::read(root, argv)?;
    serde_json::from_str(&text).with_context(|| format!("{} is unreadable", process::display(argv)))
}

fn report(cli: &Cli, cloud: &Cloud, image: &Image, made: bool) -> Result<()> {
    let path = format!("projects/{}/global/images/{}", cloud.project, image.name);
    eprintln!("family  {}", image.family.as_deref().unwrap_or_default());
    eprintln!("size    {}", output::bytes(image.archive_size_bytes));
    eprintln!("next    cargo xtask images");
    if cli.json {
        let result = json!({
            "path": path,
            "name": image.name,
            "family": image.family,
            "status": image.status,
            "bytes": image.archive_size_bytes,
            "labels": image.labels,
            "made": made,
        });
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        println!("{path}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_as_compute_engine_takes_them() {
        assert_eq!(label("b18a4b9-dirty"), "b18a4b9-dirty");
        assert_eq!(label("Größe 1.0"), "gr--e-1-0");
        assert_eq!(label(&"a".repeat(70)).len(), 63);
    }

    #[test]
    fn revisions_come_from_the_flakes_metadata() {
        let fleet =
            Fleet::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fleet.toml")).unwrap();
        let metadata = json!({
            "dirtyRevision": "abc-dirty",
            "locks": {"nodes": {
                "root": {"inputs": {"nixpkgs": "nixpkgs_2"}},
                "nixpkgs_2": {"locked": {"rev": "def"}},
            }},
        });
        let labels = labels(&fleet, "cuda", "0123", &metadata);
        assert_eq!(labels[REVISION], "abc-dirty");
        assert_eq!(labels["nixpkgs-revision"], "def");
        assert_eq!(labels["profile"], "cuda");
    }
}
