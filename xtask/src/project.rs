//! Where the repository is.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{argv, cli::Cli, error::Kind, process::Argv};

/// The fleet file: the one that was named, else the nearest `fleet.toml`.
///
/// # Errors
/// [`Kind::Usage`] if none was named and there is none.
pub fn fleet_file(cli: &Cli) -> Result<PathBuf> {
    if let Some(file) = &cli.fleet {
        return Ok(file.clone());
    }
    let here = env::current_dir()?;
    let found = here.ancestors().map(|dir| dir.join("fleet.toml"));
    let found = found.into_iter().find(|file| file.is_file());
    let found = found.map(|file| file.strip_prefix(&here).map(Path::to_owned).unwrap_or(file));
    found.ok_or_else(|| {
        Kind::Usage.error(
            "there is no fleet.toml in this folder or above it",
            "Run inside the repository, or name the file with --fleet.",
        )
    })
}

/// The repository: the folder of the fleet file.
///
/// # Errors
/// As [`fleet_file`].
pub fn root(cli: &Cli) -> Result<PathBuf> {
    let file = std::path::absolute(fleet_file(cli)?)?;
    Ok(file.parent().expect("a file has a folder").to_owned())
}

/// A program of this project: built from its crate by the cargo that runs xtask, else the one installed beside xtask,
/// else the one on PATH.
pub fn program(root: &Path, name: &str) -> Argv {
    let crates = root.join("crates").join(name).join("Cargo.toml");
    if !crates.is_file() || env::var_os("CARGO").is_none() {
        return installed_beside(name).map_or_else(|| argv![name], |file| argv![file]);
    }
    // Unoptimised, what handles whole disks would take many times as long.
    argv![
        "cargo",
        "run",
        "--quiet",
        "--release",
        "--package",
        name,
        "--"
    ]
}

/// The program in xtask's own folder, which `nix run` puts on no PATH. In cargo's target folders, which are not called
/// bin, it may be an unoptimised one.
fn installed_beside(name: &str) -> Option<PathBuf> {
    let own = env::current_exe().ok()?;
    let folder = own.parent().filter(|folder| folder.ends_with("bin"))?;
    Some(folder.join(name)).filter(|file| file.is_file())
}
