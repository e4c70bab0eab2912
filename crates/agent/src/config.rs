//! What the machine's configuration says to the agent: the file that the NixOS module writes.
//!
//! It changes with the system, so it is read before each step.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use serde::Deserialize;

use crate::{Error, Kind, Result, machine::Patience};

/// Where it is.
pub const FILE: &str = "/etc/workspace-agent.json";

/// The file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The bucket of the fleet's binary cache.
    pub bucket: Option<String>,
    /// The port on 127.0.0.1 at which Nix finds that cache.
    pub port: u16,
    /// How long a new system must be healthy without a break.
    pub grace_seconds: u64,
    /// Within which time it must have been so.
    pub trial_seconds: u64,
    /// How long a reboot waits for an idle moment.
    pub reboot_seconds: u64,
    /// Succeeds when nobody is at work.
    pub idle: PathBuf,
    /// Units whose failure tells nothing of a system.
    #[serde(default)]
    pub may_fail: Vec<String>,
    /// Succeed when something is as it should be.
    pub checks: BTreeMap<String, Check>,
}

/// One check of the machine's health.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Check {
    /// The program.
    pub command: PathBuf,
    /// How long it may take.
    pub timeout_seconds: u64,
}

impl Config {
    /// Reads it.
    ///
    /// # Errors
    /// There is none, or it is none.
    pub fn read() -> Result<Self> {
        let text = fs::read(FILE).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => Kind::Missing.error(
                "this machine's system has no agent",
                "Add the NixOS module `agent` to it",
            ),
            _ => Error::file(FILE.as_ref(), &cause),
        })?;
        serde_json::from_slice(&text).map_err(|cause| {
            Kind::Failed.error(
                format!("{FILE} makes no sense ({cause})"),
                "Build the system with the NixOS module of this agent's version",
            )
        })
    }

    /// How patient the state machine is.
    pub fn patience(&self) -> Patience {
        Patience {
            grace: self.grace_seconds,
            trial: self.trial_seconds,
            reboot: self.reboot_seconds,
        }
    }
}
