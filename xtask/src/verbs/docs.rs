//! `docs`: the reference of the modules' options, from the modules themselves.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{
    argv,
    cli::{Cli, DocsArgs},
    error::Kind,
    output,
    process::{self, Argv},
    verbs::image,
};

/// In the repository.
const FILE: &str = "docs/options.md";

/// Writes the file unless it is what it should be; with `--check` it only looks.
pub fn run(cli: &Cli, args: &DocsArgs) -> Result<()> {
    let root = image::repository(cli)?;
    if cli.dry_run {
        output::plan(cli, &[command()]);
        return Ok(());
    }
    image::need_nix()?;
    let text = process::read(&root, &command())? + "\n";
    let file = root.join(FILE);
    let changed = fs::read_to_string(&file).ok().as_deref() != Some(&text);
    if changed && args.check {
        return Err(Kind::Failed.error(
            format!("{FILE} is not what the modules say"),
            "Write it anew: cargo xtask docs",
        ));
    }
    if changed {
        write(&file, &text)?;
        eprintln!("written anew");
    } else {
        eprintln!("nothing has changed");
    }
    if cli.json {
        println!("{}", json!({"path": file, "changed": changed}));
    } else {
        println!("{}", file.display());
    }
    Ok(())
}

/// Whole or not at all.
fn write(file: &Path, text: &str) -> Result<()> {
    let unfinished = file.with_extension("md.new");
    fs::write(&unfinished, text)
        .and_then(|()| fs::rename(&unfinished, file))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Evaluates, builds nothing: so any platform will do.
fn command() -> Argv {
    argv![
        "nix",
        "eval",
        "--extra-experimental-features",
        "nix-command flakes",
        "--raw",
        ".#packages.x86_64-linux.docs.text",
    ]
}
