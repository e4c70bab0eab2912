//! `doctor`: what this machine has of what is needed.

use std::fs::OpenOptions;

use anyhow::Result;
use serde::Serialize;

use crate::{
    argv,
    cli::Cli,
    error::Kind,
    output::{self, table},
    tools::{self, Found, Platform, TOOLS, Tool},
};

/// One line of the result.
#[derive(Serialize)]
struct Check {
    name: &'static str,
    required: bool,
    state: State,
    version: Option<String>,
    at_least: Option<String>,
    path: Option<String>,
    why: &'static str,
    /// What gets it, unless it is found.
    mend: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Found,
    TooOld,
    Broken,
    Missing,
}

impl State {
    fn words(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::TooOld => "too old",
            Self::Broken => "broken",
            Self::Missing => "missing",
        }
    }
}

/// Runs the verb.
pub fn run(cli: &Cli) -> Result<()> {
    if cli.dry_run {
        let programs = TOOLS.iter().flat_map(|tool| tool.programs);
        let commands: Vec<_> = programs
            .map(|program| argv![*program, "--version"])
            .collect();
        output::plan(cli, &commands);
        return Ok(());
    }
    let platform = Platform::here();
    let mut checks: Vec<_> = TOOLS.iter().map(|tool| check(tool, platform)).collect();
    checks.push(kvm(platform));
    let lacking: Vec<_> = checks
        .iter()
        .filter(|c| c.required && c.state != State::Found)
        .collect();
    if cli.json {
        let result = serde_json::json!({ "ok": lacking.is_empty(), "checks": checks });
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        print!("{}", text(&checks));
    }
    if lacking.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = lacking.iter().map(|check| check.name).collect();
    Err(Kind::Missing.error(
        format!("nothing works here without {}", names.join(", ")),
        "Run the command that gets it, then cargo xtask doctor again.",
    ))
}

fn check(tool: &Tool, platform: Platform) -> Check {
    let (state, path, version) = match tools::find(tool) {
        Found::Good(path, version) => (State::Found, Some(path), Some(version)),
        Found::TooOld(path, version) => (State::TooOld, Some(path), Some(version)),
        Found::Broken(path, what) => (State::Broken, Some(path), Some(what)),
        Found::Missing => (State::Missing, None, None),
    };
    Check {
        name: tool.name,
        required: tool.required,
        state,
        version,
        at_least: Some(format!("{}.{}", tool.at_least.0, tool.at_least.1)),
        path: path.map(|path| path.display().to_string()),
        why: tool.why,
        mend: (state != State::Found).then(|| tool.mend(platform)),
    }
}

fn kvm(platform: Platform) -> Check {
    let device = "/dev/kvm";
    let (state, mend) = match OpenOptions::new().read(true).write(true).open(device) {
        Ok(_) => (State::Found, None),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            let mend = "sudo usermod --append --groups kvm $USER   # then log in again";
            (State::Broken, Some(mend))
        }
        Err(_) => {
            let mend = match platform {
                Platform::MacOs => "Run these tests on Linux.",
                _ => "sudo modprobe -a kvm_intel kvm_amd   # virtualisation is on in the firmware?",
            };
            (State::Missing, Some(mend))
        }
    };
    Check {
        name: "kvm",
        required: false,
        state,
        version: None,
        at_least: None,
        path: (state != State::Missing).then(|| device.to_owned()),
        why: "makes tests in virtual machines fast",
        mend,
    }
}

fn text(checks: &[Check]) -> String {
    let rows: Vec<_> = checks
        .iter()
        .map(|check| {
            let version = check.version.clone().unwrap_or_else(|| "-".to_owned());
            [
                check.name.to_owned(),
                check.state.words().to_owned(),
                version,
                check.why.to_owned(),
            ]
        })
        .collect();
    let mut text = table(&rows);
    for check in checks {
        let Some(mend) = check.mend else { continue };
        let state = check.state.words();
        let at_least = check.at_least.as_ref();
        let version = at_least.map_or(String::new(), |v| format!("; {v} or newer is needed"));
        let optional = if check.required { "" } else { " (optional)" };
        text.push_str(&format!(
            "\n{}{optional} is {state}{version}:\n  {mend}\n",
            check.name
        ));
    }
    text
}
