//! `gpu`: whether the GPUs work.

use std::{io, os::unix::process::CommandExt, process::Command};

use agent::{Kind, Result};

/// The test that the NixOS module `cuda` brings, which also runs at boot.
const TEST: &str = "workspace-gpu";

/// Becomes the test, which prints its result and ends with status 1 if something does not work.
pub fn run() -> Result<()> {
    let cause = Command::new(TEST).arg("--steps").exec();
    Err(match cause.kind() {
        io::ErrorKind::NotFound => Kind::Missing.error(
            "this machine has no GPU, as its image is base",
            "For one, ask for a machine type with GPUs and image = \"cuda\" in fleet.toml",
        ),
        _ => Kind::Failed.error(
            format!("{TEST} cannot be run ({cause})"),
            "Look at this machine's memory and disks",
        ),
    })
}
