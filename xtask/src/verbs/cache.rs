//! `cache key`: the key that systems are signed with. `cache prune`: what no machine needs any more.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    agents, argv,
    cli::{CachePruneArgs, Cli},
    error::Kind,
    output,
    process::{self, Argv},
    stack::Stack,
    systems::{self, PUBLIC_KEY, SECRET},
    verbs::image,
};

/// Makes the key unless there is one, and writes its public half where the machines' configuration finds it.
pub fn key(cli: &Cli) -> Result<()> {
    let stack = Stack::read(cli)?;
    if cli.dry_run {
        output::plan(cli, &key_commands(&stack));
        return Ok(());
    }
    let public = make_key(&stack)?;
    if cli.json {
        println!("{}", json!({ "public_key": public }));
    } else {
        println!("{public}");
    }
    Ok(())
}

/// Makes the key if the repository does not have its public half.
///
/// # Errors
/// As [`key`].
pub fn ensure_key(stack: &Stack) -> Result<()> {
    if stack.root.join(PUBLIC_KEY).is_file() {
        return track(stack);
    }
    make_key(stack).map(drop)
}

/// What [`ensure_key`] runs; what only earlier commands tell is in capitals.
pub fn ensure_key_commands(stack: &Stack) -> Vec<Argv> {
    if stack.root.join(PUBLIC_KEY).is_file() {
        return Vec::new();
    }
    key_commands(stack)
}

fn key_commands(stack: &Stack) -> Vec<Argv> {
    let project = &stack.cloud.project;
    let google = |verb| {
        stack
            .cloud
            .command(argv!["secrets", verb, SECRET, "--project", project])
    };
    vec![
        google("make"),
        google("access"),
        systems::generate_key_command(&key_name(stack)),
        google("ensure"),
        systems::public_key_command(),
    ]
}

fn key_name(stack: &Stack) -> String {
    format!("{}-1", stack.cloud.project)
}

/// Makes the key unless there is one, and writes its public half into the repository. Gives that half.
fn make_key(stack: &Stack) -> Result<String> {
    #[derive(Deserialize)]
    struct Secret {
        text: String,
    }
    image::need_nix()?;
    let project = &stack.cloud.project;
    stack
        .cloud
        .tell(argv!["secrets", "make", SECRET, "--project", project])?;
    let access = argv!["secrets", "access", SECRET, "--project", project];
    let mut secret: Option<Secret> = stack.cloud.ask(access.clone())?;
    if secret.is_none() {
        let made = systems::generate_key(stack, &key_name(stack))?;
        let ensure = argv!["secrets", "ensure", SECRET, "--project", project];
        stack.cloud.tell_with(ensure, &made)?;
        // Somebody else may have been quicker.
        secret = stack.cloud.ask(access)?;
    }
    let secret = secret.context("Secret Manager does not give back what was put there")?;
    let public = systems::public_key(stack, &secret.text)?;
    let file = stack.root.join(PUBLIC_KEY);
    let context = || format!("cannot write {}", file.display());
    fs::create_dir_all(file.parent().unwrap_or(&stack.root)).with_context(context)?;
    fs::write(&file, format!("{public}\n")).with_context(context)?;
    eprintln!(
        "written to {PUBLIC_KEY}; commit it: machines accept what is signed with its secret half"
    );
    track(stack)?;
    Ok(public)
}

/// Lets Nix see the public half before it is committed: of a git work tree a flake has what git tracks.
fn track(stack: &Stack) -> Result<()> {
    let in_work_tree = stack
        .root
        .ancestors()
        .any(|folder| folder.join(".git").exists());
    if !in_work_tree || which::which("git").is_err() {
        return Ok(());
    }
    let git = |words: Argv| {
        let mut command = argv!["git", "-C", &stack.root];
        command.extend(words);
        command
    };
    let known = process::probe(&git(argv!["ls-files", "--error-unmatch", PUBLIC_KEY]))?;
    if known.status.success() {
        return Ok(());
    }
    process::run(
        &stack.root,
        &git(argv!["add", "--intent-to-add", PUBLIC_KEY]),
    )
}

/// Deletes from the bucket what no machine runs, is to run, or can go back to.
pub fn prune(cli: &Cli, args: &CachePruneArgs) -> Result<()> {
    #[derive(Serialize, Deserialize)]
    struct Pruned {
        paths: usize,
        objects: usize,
        bytes: u64,
        kept: usize,
    }
    let stack = Stack::read(cli)?;
    let bucket = stack.cloud.cache_bucket();
    let mut words = argv![
        "cache",
        "prune",
        &bucket,
        "--older-than",
        (args.older_than * 3600).to_string(),
    ];
    for system in needed(&stack)? {
        words.extend(argv!["--keep", system]);
    }
    if cli.dry_run {
        let command = stack.cloud.command(words.clone());
        words.extend(argv!["--dry-run"]);
        let pruned: Pruned = stack.cloud.ask(words)?;
        eprintln!(
            "would delete {}, {}; {} stay",
            output::count(pruned.paths, "store path"),
            output::bytes(pruned.bytes),
            pruned.kept
        );
        output::plan(cli, &[command]);
        return Ok(());
    }
    let pruned: Pruned = stack.cloud.ask(words)?;
    if cli.json {
        println!("{}", serde_json::to_string(&pruned)?);
    } else {
        println!(
            "deleted {}, {}; {} stay",
            output::count(pruned.paths, "store path"),
            output::bytes(pruned.bytes),
            pruned.kept
        );
    }
    Ok(())
}

/// The systems that machines run, are to run, and can go back to, whether fleet.toml has them or not.
fn needed(stack: &Stack) -> Result<BTreeSet<String>> {
    let machines = stack.cloud.machines()?;
    let mut needed = BTreeSet::new();
    for machine in &machines {
        let told = [machine.wanted(), machine.previous()];
        needed.extend(told.into_iter().flatten().map(str::to_owned));
    }
    let all: Vec<_> = machines.iter().collect();
    let mut answers = agents::answers(&stack.cloud, &all)?;
    for machine in &machines {
        match answers.remove(&machine.name) {
            Some(Ok(Some(report))) if report.system.starts_with("/nix/store/") => {
                needed.insert(report.system);
            }
            Some(Err(why)) if machine.is_on() => {
                return Err(Kind::Refused.error(
                    format!("what {} runs cannot be read: {why}", machine.name),
                    "Nothing was deleted. Run this again when it can.",
                ));
            }
            // It runs what it was told, now or before.
            _ => {}
        }
    }
    Ok(needed)
}
