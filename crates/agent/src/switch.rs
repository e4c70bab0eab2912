//! Activating a system, in a transient unit of its own: the switch may restart the agent, the
//! terminal that asked for it or the network, and must go on all the same.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{Kind, Result, System, process};

/// The unit. One at a time: systemd refuses a second of this name.
pub const UNIT: &str = "workspace-switch.service";

/// Longest that an activation may take before systemd ends it.
const LIMIT: &str = "20min";

/// Between two looks at the unit.
const PAUSE: Duration = Duration::from_millis(500);

/// How long systemd may give no answer: a switch makes it execute itself anew.
const SILENCE: Duration = Duration::from_secs(60);

/// Activates a system without making it the one that boots. Says whether all its units came up.
///
/// An activation of the same system that is under way, or that ended unseen, is taken for this one.
///
/// # Errors
/// The switch failed.
pub fn activate(system: &System) -> Result<bool> {
    let mut unit = Unit::look()?;
    while unit.runs() && unit.description != description(system) {
        thread::sleep(PAUSE);
        unit = Unit::look()?;
    }
    if unit.description != description(system) || !(unit.runs() || unit.has_ended()) {
        forget()?;
        start(system)?;
    }
    let begun = Instant::now();
    loop {
        unit = Unit::look()?;
        if unit.has_ended() {
            break;
        }
        // It is there a moment after it was asked for.
        if !unit.runs() && begun.elapsed() > SILENCE {
            return Err(Kind::Failed.error(
                "the switch vanished",
                format!("Look at the log: journalctl --unit {UNIT}"),
            ));
        }
        thread::sleep(PAUSE);
    }
    let result = unit.result();
    forget()?;
    result
}

/// Makes a system the one that boots.
///
/// # Errors
/// The boot loader's installer failed.
pub fn install_boot_entry(system: &System) -> Result<()> {
    let program = system.path().join("bin/switch-to-configuration");
    process::read(&program.to_string_lossy(), |switch| {
        switch.arg("boot");
    })?;
    Ok(())
}

fn description(system: &System) -> String {
    format!("Switch to {system}")
}

fn start(system: &System) -> Result<()> {
    process::read("systemd-run", |run| {
        run.arg(format!("--unit={UNIT}"));
        run.arg(format!("--description={}", description(system)));
        run.args(["--quiet", "--no-block", "--service-type=oneshot"]);
        // Its result must be there for an agent that was restarted meanwhile.
        run.arg("--remain-after-exit");
        run.arg(format!("--property=TimeoutStartSec={LIMIT}"));
        run.arg(system.path().join("bin/switch-to-configuration"));
        run.arg("test");
    })?;
    Ok(())
}

/// Lets go of a unit that has ended.
fn forget() -> Result<()> {
    process::run("systemctl", |systemctl| {
        systemctl.args(["stop", UNIT]);
    })?;
    process::run("systemctl", |systemctl| {
        systemctl.args(["reset-failed", UNIT]);
    })?;
    Ok(())
}

/// What systemd knows of the unit.
#[derive(Default)]
struct Unit {
    description: String,
    active: String,
    result: String,
    status: String,
}

impl Unit {
    fn look() -> Result<Self> {
        let since = Instant::now();
        loop {
            let text = process::read("systemctl", |systemctl| {
                systemctl.args(["show", UNIT]);
                systemctl.arg("--property=Description,ActiveState,Result,ExecMainStatus");
            });
            match text {
                Ok(text) => return Ok(Self::parse(&text)),
                Err(error) if error.kind != Kind::Failed || since.elapsed() > SILENCE => {
                    return Err(error);
                }
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }

    fn parse(text: &str) -> Self {
        let mut unit = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let field = match key {
                "Description" => &mut unit.description,
                "ActiveState" => &mut unit.active,
                "Result" => &mut unit.result,
                "ExecMainStatus" => &mut unit.status,
                _ => continue,
            };
            value.clone_into(field);
        }
        unit
    }

    fn runs(&self) -> bool {
        matches!(
            self.active.as_str(),
            "activating" | "deactivating" | "reloading"
        )
    }

    fn has_ended(&self) -> bool {
        matches!(self.active.as_str(), "active" | "failed")
    }

    fn result(&self) -> Result<bool> {
        let what = match (self.result.as_str(), self.status.as_str()) {
            ("success", "0") => return Ok(true),
            // Documented in nixpkgs' switch-to-configuration.
            ("exit-code", "4") => return Ok(false),
            ("timeout", _) => format!("the switch took longer than {LIMIT}"),
            ("exit-code", status) => format!("the switch failed with status {status}"),
            (result, _) => format!("the switch ended by {result}"),
        };
        Err(Kind::Failed.error(what, format!("Look at the log: journalctl --unit {UNIT}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_told_apart() {
        let of = |result, status| {
            let text = format!("Result={result}\nActiveState=failed\nExecMainStatus={status}\n");
            Unit::parse(&text).result().map_err(|error| error.what)
        };
        assert_eq!(of("success", "0"), Ok(true));
        assert_eq!(of("exit-code", "4"), Ok(false));
        assert!(of("exit-code", "1").unwrap_err().contains("status 1"));
        assert!(of("timeout", "15").unwrap_err().contains("longer"));
        assert!(of("signal", "9").unwrap_err().contains("signal"));
    }
}
