//! `image`: fleet.toml to one packed Compute Engine image.
//!
//! A packed image is `NAME-HASH.tar.gz`, HASH being that of the store path it was packed from, and beside it
//! `NAME-HASH.json`, which is written last: only both together mean that it is done.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    argv,
    cli::{Cli, ImageArgs},
    error::Kind,
    fleet::{Fleet, Profile, did_you_mean},
    output::{self, bytes},
    process::{self, Argv},
    project,
    tools::{NIX, Platform},
};

/// Builds anew or finds, packs or finds, and prints the result.
pub fn run(cli: &Cli, args: &ImageArgs) -> Result<()> {
    let fleet = Fleet::read(&project::fleet_file(cli)?)?;
    check_name(&args.name, &fleet)?;
    let root = repository(cli)?;
    let folder = match &args.out {
        Some(folder) => std::path::absolute(folder)?,
        None => default_folder(&root),
    };
    if cli.dry_run {
        output::plan(cli, &commands(&root, &args.name, &folder));
        return Ok(());
    }
    let artefact = make(&root, &args.name, &folder)?;
    report(cli, &artefact, &folder)
}

/// The repository, which must have a flake.
///
/// # Errors
/// [`Kind::Usage`] if it has none.
pub fn repository(cli: &Cli) -> Result<PathBuf> {
    let root = project::root(cli)?;
    if root.join("flake.nix").is_file() {
        return Ok(root);
    }
    let what = format!(
        "there is no flake.nix in {}, beside the fleet file",
        root.display()
    );
    let mend = "Run inside the repository: Nix builds what its flake makes of its fleet.toml.";
    Err(Kind::Usage.error(what, mend))
}

/// Where packed images go.
pub fn default_folder(root: &Path) -> PathBuf {
    root.join("target/images")
}

/// The commands of [`make`].
pub fn commands(root: &Path, name: &str, folder: &Path) -> [Argv; 2] {
    let file = folder.join(format!("{name}-HASH.tar.gz"));
    [
        build_command(name),
        pack_command(root, Path::new("STORE_PATH/DISK.raw"), &file),
    ]
}

/// Builds anew or finds, packs or finds.
///
/// # Errors
/// [`Kind::Missing`] where images cannot be built, [`Kind::Failed`] when a command fails.
pub fn make(root: &Path, name: &str, folder: &Path) -> Result<Artefact> {
    can_build(env::consts::OS, env::consts::ARCH)?;
    need_nix()?;
    let store_path = PathBuf::from(process::read(root, &build_command(name))?);
    let stem = format!("{name}-{}", store_hash(&store_path)?);
    let file = folder.join(format!("{stem}.tar.gz"));
    let record = folder.join(format!("{stem}.json"));
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Two runs at once: the later one waits and finds the file. The lock ends with the process.
    let lock = folder.join(".lock");
    let lock =
        fs::File::create(&lock).with_context(|| format!("cannot make {}", lock.display()))?;
    lock.lock()?;
    if let Some(artefact) = Artefact::packed_before(&file, &record) {
        eprintln!("nothing has changed: {name} is packed already");
        return Ok(artefact);
    }
    let disk = raw_disk(&store_path)?;
    let report = process::read(root, &pack_command(root, &disk, &file))?;
    let pack = serde_json::from_str(&report).context("imagepack's report is unreadable")?;
    let artefact = Artefact {
        name: name.to_owned(),
        store_path,
        pack,
    };
    artefact.record(&record)?;
    Ok(artefact)
}

/// That there is a nix.
///
/// # Errors
/// [`Kind::Missing`] if there is none.
pub fn need_nix() -> Result<()> {
    if which::which("nix").is_ok() {
        return Ok(());
    }
    let what = format!("there is no nix on this machine, which {}", NIX.why);
    let mend = format!("Get it: {}", NIX.mend(Platform::here()));
    Err(Kind::Missing.error(what, mend))
}

/// What was packed: the record beside the file, and the result for `--json`.
#[derive(Serialize, Deserialize)]
pub struct Artefact {
    /// The profile or workspace.
    pub name: String,
    /// What Nix built.
    pub store_path: PathBuf,
    /// What was made of it.
    #[serde(flatten)]
    pub pack: Pack,
}

/// imagepack's report.
#[derive(Serialize, Deserialize)]
pub struct Pack {
    /// The packed file.
    pub path: PathBuf,
    /// Size of the disk.
    pub disk_bytes: u64,
    /// Size of the packed file.
    pub file_bytes: u64,
    /// Of the packed file, in hexadecimal.
    pub sha256: String,
    /// Of the packed file, as Cloud Storage writes it.
    pub crc32c: String,
}

impl Artefact {
    /// The one of an earlier run, if its file is whole. imagepack never leaves a part of one under this name, so the
    /// size is check enough, and reading gigabytes for their hash is not worth it.
    fn packed_before(file: &Path, record: &Path) -> Option<Self> {
        let mut artefact: Self = serde_json::from_slice(&fs::read(record).ok()?).ok()?;
        // The folder may have moved since.
        artefact.pack.path = file.to_owned();
        let size = fs::metadata(file).ok()?.len();
        (size == artefact.pack.file_bytes).then_some(artefact)
    }

    fn record(&self, record: &Path) -> Result<()> {
        let unfinished = record.with_extension("json.new");
        fs::write(&unfinished, serde_json::to_vec_pretty(self)?)
            .and_then(|()| fs::rename(&unfinished, record))
            .with_context(|| format!("cannot write {}", record.display()))
    }
}

fn pack_command(root: &Path, disk: &Path, file: &Path) -> Argv {
    let mut command = project::program(root, "imagepack");
    command.extend(argv!["pack", disk, "-o", file, "--json"]);
    command
}

fn build_command(name: &str) -> Argv {
    argv![
        "nix",
        "build",
        "--extra-experimental-features",
        "nix-command flakes",
        "--no-link",
        "--print-out-paths",
        format!(".#image-{name}"),
    ]
}

/// That there is an image of this name.
///
/// # Errors
/// [`Kind::Usage`] if there is none.
pub fn check_name(name: &str, fleet: &Fleet) -> Result<()> {
    let profiles = Profile::ALL.iter().map(|(profile, _)| *profile);
    let names: Vec<_> = profiles
        .chain(fleet.workspaces.keys().map(String::as_str))
        .collect();
    if names.contains(&name) {
        return Ok(());
    }
    let near = did_you_mean(name, &names);
    let near = near.map_or(String::new(), |near| format!("Did you mean {near}? "));
    Err(Kind::Usage.error(
        format!("{name:?} is neither an image profile nor a workspace"),
        format!("{near}There are: {}.", names.join(", ")),
    ))
}

/// That this machine builds and runs what the flake makes.
///
/// # Errors
/// [`Kind::Missing`] if it does not.
pub fn can_build(os: &str, arch: &str) -> Result<()> {
    if (os, arch) == ("linux", "x86_64") {
        return Ok(());
    }
    Err(Kind::Missing.error(
        format!("workspaces and images are built on x86-64 Linux, and this machine is {arch} {os}"),
        "Run this verb on an x86-64 Linux machine; --dry-run prints its commands.",
    ))
}

/// The hash in a store path: `/nix/store/HASH-name`.
pub fn store_hash(store_path: &Path) -> Result<&str> {
    let name = store_path.file_name().and_then(|name| name.to_str());
    let hash = name
        .and_then(|name| name.split_once('-'))
        .map(|(hash, _)| hash);
    let hash = hash.filter(|h| h.len() == 32 && h.chars().all(|c| c.is_ascii_alphanumeric()));
    hash.with_context(|| format!("nix printed no store path but {store_path:?}"))
}

/// The one raw disk of an image's store path.
fn raw_disk(store_path: &Path) -> Result<PathBuf> {
    let context = || format!("cannot read {}", store_path.display());
    let entries = fs::read_dir(store_path).with_context(context)?;
    let paths: Vec<_> = entries
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    let is_raw = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "raw");
    let mut disks = paths.into_iter().filter(is_raw);
    match (disks.next(), disks.next()) {
        (Some(disk), None) => Ok(disk),
        _ => Err(Kind::Failed.error(
            format!(
                "{} does not hold exactly one raw disk",
                store_path.display()
            ),
            "The flake's image outputs must be folders with one file *.raw.",
        )),
    }
}

fn report(cli: &Cli, artefact: &Artefact, folder: &Path) -> Result<()> {
    let pack = &artefact.pack;
    let older = older_files(&artefact.name, folder, &pack.path);
    let file = pack.path.display();
    eprintln!(
        "size    {} ({} bytes)",
        bytes(pack.file_bytes),
        pack.file_bytes
    );
    eprintln!("sha256  {}", pack.sha256);
    if !older.is_empty() {
        let size = bytes(older.iter().sum());
        let (count, name) = (older.len(), &artefact.name);
        eprintln!(
            "older   {count} earlier of {name} in the same folder, {size}: nothing needs them"
        );
    }
    eprintln!("next    cargo xtask push {}", artefact.name);
    if cli.json {
        println!("{}", serde_json::to_string_pretty(artefact)?);
    } else {
        println!("{file}");
    }
    Ok(())
}

/// The sizes of the other packed images of a name.
fn older_files(name: &str, folder: &Path, current: &Path) -> Vec<u64> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let others = entries.filter(|entry| {
        let file = entry.file_name();
        let hash = file.to_str().and_then(|f| f.strip_suffix(".tar.gz"));
        let hash = hash
            .and_then(|f| f.strip_prefix(name))
            .and_then(|f| f.strip_prefix('-'));
        // A workspace's name may begin with another's: alice, alice-gpu.
        hash.is_some_and(|h| h.len() == 32 && !h.contains('-')) && entry.path() != current
    });
    others
        .filter_map(|entry| Some(entry.metadata().ok()?.len()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn nix_is_asked_for_the_image_of_that_name_and_leaves_no_link() {
        assert_eq!(
            build_command("alice"),
            argv![
                "nix",
                "build",
                "--extra-experimental-features",
                "nix-command flakes",
                "--no-link",
                "--print-out-paths",
                ".#image-alice",
            ]
        );
    }

    #[test]
    fn only_x86_64_linux_builds_images() {
        assert!(can_build("linux", "x86_64").is_ok());
        for (os, arch) in [("macos", "x86_64"), ("linux", "aarch64")] {
            let error = can_build(os, arch).unwrap_err();
            assert_eq!(error.downcast_ref::<Error>().unwrap().kind, Kind::Missing);
        }
    }

    #[test]
    fn the_hash_is_the_store_paths() {
        let path = Path::new("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-image-alice");
        assert_eq!(
            store_hash(path).unwrap(),
            "0123456789abcdfghijklmnpqrsvwxyz"
        );
        assert!(store_hash(Path::new("/nix/store/image-alice")).is_err());
        assert!(store_hash(Path::new("")).is_err());
    }
}
