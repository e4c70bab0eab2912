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
    stack::Stack,
    systems::{self, PUBLIC_KEY, SECRET},
    verbs::image,
};

/// Makes the key unless there is one, and writes its public half where the machines' configuration finds it.
pub fn key(cli: &Cli) -> Result<()> {
    #[derive(Deserialize)]
    struct Secret {
        text: String,
    }
    let stack = Stack::read(cli)?;
    image::need_nix()?;
    let project = &stack.cloud.project;
    stack
        .cloud
        .tell(argv!["secrets", "make", SECRET, "--project", project])?;
    let access = argv!["secrets", "access", SECRET, "--project", project];
    let mut secret: Option<Secret> = stack.cloud.ask(access.clone())?;
    if secret.is_none() {
        let made = systems::generate_key(&stack, &format!("{project}-1"))?;
        let ensure = argv!["secrets", "ensure", SECRET, "--project", project];
        stack.cloud.tell_with(ensure, &made)?;
        // Somebody else may have been quicker.
        secret = stack.cloud.ask(access)?;
    }
    let secret = secret.context("Secret Manager does not give back what was put there")?;
    let public = systems::public_key(&stack, &secret.text)?;
    let file = stack.root.join(PUBLIC_KEY);
    let context = || format!("cannot write {}", file.display());
    fs::create_dir_all(file.parent().unwrap_or(&stack.root)).with_context(context)?;
    fs::write(&file, format!("{public}\n")).with_context(context)?;
    eprintln!(
        "written to {PUBLIC_KEY}; commit it: machines accept what is signed with its secret half"
    );
    if cli.json {
        println!("{}", json!({ "public_key": public }));
    } else {
        println!("{public}");
    }
    Ok(())
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
            "would delete {} store paths, {}; {} are kept",
            pruned.paths,
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
            "{} store paths deleted, {} freed; {} are kept",
            pruned.paths,
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
