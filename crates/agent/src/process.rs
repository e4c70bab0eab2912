//! Running other programs.

use std::{
    io,
    process::{Command, Output},
};

use crate::{Kind, Result};

/// Runs a program to its end; its standard output, or the last of what it said if it failed.
///
/// # Errors
/// It is not there or it failed.
pub fn read(program: &str, with: impl FnOnce(&mut Command)) -> Result<String> {
    let output = run(program, with)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = last_line(&output.stderr);
    Err(Kind::Failed.error(
        format!("{program} failed ({}): {said}", output.status),
        "Look at the log: journalctl --unit workspace-agent",
    ))
}

/// Has Nix use the store itself, as root may: going back must not need the daemon of a system that
/// is on trial.
pub fn without_daemon(nix: &mut Command) -> &mut Command {
    nix.env_remove("NIX_REMOTE")
}

/// Runs a program to its end, whatever its status.
///
/// # Errors
/// It is not there.
pub fn run(program: &str, with: impl FnOnce(&mut Command)) -> Result<Output> {
    let mut command = Command::new(program);
    with(&mut command);
    command.output().map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => Kind::Missing.error(
            format!("there is no {program} on this machine"),
            "Run this on a workspace's machine",
        ),
        _ => Kind::Failed.error(
            format!("{program} cannot be run ({cause})"),
            "Look at this machine's memory and disks",
        ),
    })
}

/// The last line with something on it.
pub fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.unwrap_or("it said nothing").trim().to_owned()
}
