//! The systems of workspaces: built, signed, and put into the bucket that the machines read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{
    argv,
    cloud::Object,
    error::Kind,
    process::{self, Argv},
    stack::Stack,
    verbs::image,
};

/// The secret with the key that systems are signed with. Deployers read it, machines do not.
pub const SECRET: &str = "workspace-cache-key";

/// The public key, which the machines' configuration has. In the repository.
pub const PUBLIC_KEY: &str = "hosts/cache-key.pub";

/// A workspace's system as the flake has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct System {
    /// How it is built.
    pub drv_path: String,
    /// What is built.
    pub out_path: String,
}

/// Evaluates the systems of workspaces.
pub fn eval_command(names: &[&str]) -> Argv {
    // Quoted, as a workspace may be called `let`.
    let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let apply = format!(
        "hosts: builtins.mapAttrs (_: host: {{ inherit (host.config.system.build.toplevel) drvPath outPath; }}) \
         {{ inherit (hosts) {}; }}",
        quoted.join(" ")
    );
    let mut words = nix("eval");
    words.extend(argv!["--json", ".#nixosConfigurations", "--apply", apply]);
    words
}

/// Builds them.
pub fn build_command(systems: &BTreeMap<String, System>) -> Argv {
    let mut words = nix("build");
    words.extend(argv!["--no-link"]);
    let drvs: BTreeSet<_> = systems.values().map(|system| &system.drv_path).collect();
    words.extend(drvs.into_iter().map(|drv| format!("{drv}^out").into()));
    words
}

/// All that they consist of.
fn closure_command(outs: &BTreeSet<&str>) -> Argv {
    let mut words = nix("path-info");
    words.extend(argv!["--recursive"]);
    words.extend(outs.iter().map(Into::into));
    words
}

/// All that a system consists of, each path with its size in bytes.
pub fn sizes_command(out: &str) -> Argv {
    let mut words = nix("path-info");
    words.extend(argv!["--recursive", "--size", out]);
    words
}

/// Compresses and signs what a folder lacks of them. The key's file is named, not what it holds.
fn copy_command(folder: &Path, key: &Path, outs: &BTreeSet<&str>) -> Argv {
    let to = format!(
        "file://{}?compression=zstd&parallel-compression=true&secret-key={}",
        folder.display(),
        key.display()
    );
    let mut words = nix("copy");
    words.extend(argv!["--to", to]);
    words.extend(outs.iter().map(Into::into));
    words
}

fn nix(verb: &str) -> Argv {
    argv![
        "nix",
        verb,
        "--extra-experimental-features",
        "nix-command flakes",
    ]
}

/// Builds the systems of these workspaces.
///
/// # Errors
/// There is no nix, or it fails.
pub fn build(stack: &Stack, names: &[&str]) -> Result<BTreeMap<String, System>> {
    image::need_nix()?;
    let text = process::read(&stack.root, &eval_command(names))?;
    let systems = serde_json::from_str(&text).context("nix's answer is unreadable")?;
    process::run(&stack.root, &build_command(&systems))?;
    Ok(systems)
}

/// The commands of [`build`] and [`publish`] for all workspaces; what only earlier ones tell is in capitals.
pub fn commands(stack: &Stack) -> Vec<Argv> {
    let names: Vec<_> = stack.fleet.workspaces.keys().map(String::as_str).collect();
    let system = System {
        drv_path: "DERIVATION".to_owned(),
        out_path: "SYSTEM".to_owned(),
    };
    let bucket = stack.cloud.cache_bucket();
    let folder = stack.root.join("target/cache");
    let outs = BTreeSet::from([system.out_path.as_str()]);
    let copy = copy_command(&folder, Path::new("KEY_FILE"), &outs);
    let google = |words| stack.cloud.command(words);
    vec![
        eval_command(&names),
        build_command(&BTreeMap::from([(String::new(), system.clone())])),
        closure_command(&outs),
        google(argv!["objects", "list", format!("gs://{bucket}")]),
        copy,
        google(argv!["cache", "push", &folder, &bucket]),
    ]
}

/// Puts what the bucket lacks of them there, signed. The contents first, then what announces them.
///
/// # Errors
/// There is no key, or an upload fails.
pub fn publish(stack: &Stack, systems: &BTreeMap<String, System>) -> Result<()> {
    let outs: BTreeSet<_> = systems
        .values()
        .map(|system| system.out_path.as_str())
        .collect();
    let closure = process::read(&stack.root, &closure_command(&outs))?;
    let bucket = stack.cloud.cache_bucket();
    let objects = argv!["objects", "list", format!("gs://{bucket}")];
    let objects: Vec<Object> = stack.cloud.ask(objects)?;
    let there: BTreeSet<_> = objects.into_iter().map(|object| object.name).collect();
    let announced = |path: &&str| there.contains(&narinfo(path));
    let (known, missing): (Vec<_>, Vec<_>) = closure.lines().partition(announced);
    if missing.is_empty() {
        eprintln!("the bucket has all of it");
        return Ok(());
    }
    eprintln!(
        "{} of {} store paths go to gs://{bucket}",
        missing.len(),
        closure.lines().count()
    );

    let key = secret_key(stack)?;
    let folder = stack.root.join("target/cache");
    let unwritable = || format!("cannot write to {}", folder.display());
    fs::create_dir_all(&folder).with_context(unwritable)?;
    for path in known {
        // Nix asks of a path only whether this file is there, and then neither packs nor signs it again.
        let file = folder.join(narinfo(path));
        if !file.exists() {
            fs::write(file, "").with_context(unwritable)?;
        }
    }
    let file = KeyFile::new(&key)?;
    process::run(&stack.root, &copy_command(&folder, &file.0, &outs))?;
    drop(file);
    stack.cloud.tell(argv!["cache", "push", &folder, &bucket])?;
    // The bucket has it; what is kept here would only be old.
    fs::remove_dir_all(&folder).with_context(unwritable)
}

/// Until it is gone, `cache prune` keeps these systems: of a deploy no machine may have been told yet.
///
/// # Errors
/// As [`process::ask`].
pub fn hold(stack: &Stack, systems: &BTreeSet<&str>) -> Result<String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let name = format!(
        "{}-{}",
        since.map_or(0, |since| since.as_nanos()),
        std::process::id()
    );
    let file = stack.root.join("target").join(&name);
    let unwritable = || format!("cannot write {}", file.display());
    fs::create_dir_all(stack.root.join("target")).with_context(unwritable)?;
    let lines: Vec<_> = systems.iter().map(|system| format!("{system}\n")).collect();
    fs::write(&file, lines.concat()).with_context(unwritable)?;
    let url = format!("gs://{}/deploying/{name}", stack.cloud.cache_bucket());
    let told = stack.cloud.tell(argv!["objects", "upload", &file, &url]);
    let _ = fs::remove_file(&file);
    told.map(|()| url)
}

/// Ends a [`hold`].
///
/// # Errors
/// As [`process::ask`].
pub fn release(stack: &Stack, hold: &str) -> Result<()> {
    stack.cloud.tell(argv!["objects", "delete", hold])
}

/// `/nix/store/HASH-NAME` → `HASH.narinfo`.
fn narinfo(path: &str) -> String {
    let name = path.trim_start_matches("/nix/store/");
    format!("{}.narinfo", name.split('-').next().unwrap_or_default())
}

/// The key that systems are signed with; the repository must have its public half.
///
/// # Errors
/// [`Kind::Usage`] if there is no key, or if the machines know another one.
fn secret_key(stack: &Stack) -> Result<String> {
    #[derive(Deserialize)]
    struct Secret {
        text: String,
    }
    let words = argv![
        "secrets",
        "access",
        SECRET,
        "--project",
        &stack.cloud.project
    ];
    let make = "Run `cargo xtask cache key` and commit what it writes.";
    let file = stack.root.join(PUBLIC_KEY);
    let Ok(public) = fs::read_to_string(&file) else {
        return Err(Kind::Usage.error(format!("there is no {PUBLIC_KEY}"), make));
    };
    let secret: Option<Secret> = stack.cloud.ask(words)?;
    let secret =
        secret.ok_or_else(|| Kind::Failed.error(format!("{SECRET} holds no key"), make))?;
    if public_key(stack, &secret.text)? != public.trim() {
        let what = format!(
            "{PUBLIC_KEY} is not of the key in {SECRET}: the machines would refuse what it signs"
        );
        return Err(Kind::Usage.error(what, make));
    }
    Ok(secret.text)
}

/// The public half of a key.
///
/// # Errors
/// It is no key.
pub fn public_key(stack: &Stack, secret: &str) -> Result<String> {
    let public = process::ask_with(&stack.root, &public_key_command(), secret)?;
    Ok(public.trim().to_owned())
}

/// Prints the public half of the key on its stdin.
pub fn public_key_command() -> Argv {
    let mut words = nix("key");
    words.extend(argv!["convert-secret-to-public"]);
    words
}

/// Makes a key.
///
/// # Errors
/// There is no nix.
pub fn generate_key(stack: &Stack, name: &str) -> Result<String> {
    process::read(&stack.root, &generate_key_command(name))
}

/// Prints a new key.
pub fn generate_key_command(name: &str) -> Argv {
    let mut words = nix("key");
    words.extend(argv!["generate-secret", "--key-name", name]);
    words
}

/// A file that only this user reads, in memory where there is such a place, and gone in the end.
struct KeyFile(PathBuf);

impl KeyFile {
    fn new(key: &str) -> Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let path = folder.join(format!("workspace-cache-key-{}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        // Whoever else has made a file of this name is not trusted with it.
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let file = Self(path).written(file, key)?;
        Ok(file)
    }

    fn written(self, file: std::io::Result<fs::File>, key: &str) -> Result<Self> {
        let context = || format!("cannot write {}", self.0.display());
        let mut file = file.with_context(context)?;
        file.write_all(key.as_bytes()).with_context(context)?;
        Ok(self)
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_evaluation_gives_all_systems() {
        let words = eval_command(&["alice", "let"]);
        let apply = words.last().unwrap().to_string_lossy();
        assert!(
            apply.ends_with("{ inherit (hosts) \"alice\" \"let\"; }"),
            "{apply}"
        );
    }

    #[test]
    fn a_path_is_announced_by_its_hash() {
        assert_eq!(narinfo("/nix/store/abc-nixos-system-alice"), "abc.narinfo");
    }

    #[test]
    fn the_key_is_in_a_file_that_goes_away() {
        use std::os::unix::fs::PermissionsExt;
        let file = KeyFile::new("secret").unwrap();
        let path = file.0.clone();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap(), "secret");
        drop(file);
        assert!(!path.exists());
    }
}
