//! `doctor`: what this machine has of what is needed.

mod cloud;

use std::fs::OpenOptions;

use anyhow::Result;
use serde::Serialize;

use crate::{
    argv,
    cli::{Cli, DoctorArgs},
    error::Kind,
    output::{self, table},
    process::{self, Argv},
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
pub fn run(cli: &Cli, args: &DoctorArgs) -> Result<()> {
    if args.cloud {
        return cloud::run(cli);
    }
    if cli.dry_run {
        let programs = TOOLS.iter().flat_map(|tool| tool.programs);
        let versions = programs.map(|program| argv![*program, "--version"]);
        let commands: Vec<_> = versions.chain([nix_settings_command()]).collect();
        output::plan(cli, &commands);
        return Ok(());
    }
    let platform = Platform::here();
    let mut checks: Vec<_> = TOOLS.iter().map(|tool| check(tool, platform)).collect();
    checks.push(container_builds(platform));
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
        format!("no workspace can be shipped without {}", names.join(", ")),
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

fn nix_settings_command() -> Argv {
    let features = ["--extra-experimental-features", "nix-command"];
    argv!["nix", "config", "show", features[0], features[1]]
}

/// Whether Nix may run the tests in containers, whose builds want a range of user ids.
fn container_builds(platform: Platform) -> Check {
    let settings = process::probe(&nix_settings_command()).ok();
    let settings = settings.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let lines = settings.as_deref().unwrap_or("").lines();
    let features = lines.filter_map(|line| line.strip_prefix("system-features = "));
    let allowed = features
        .flat_map(str::split_whitespace)
        .any(|f| f == "uid-range");
    let mend = match platform {
        _ if settings.is_none() => "Get nix first.",
        Platform::MacOs => "Run these tests on Linux.",
        Platform::NixOs => {
            "nix.settings = { experimental-features = [ \"auto-allocate-uids\" \"cgroups\" ]; \
             auto-allocate-uids = true; system-features = [ \"uid-range\" ]; };"
        }
        Platform::Debian => {
            "printf '%s\\n' 'extra-experimental-features = auto-allocate-uids cgroups' \
             'auto-allocate-uids = true' 'extra-system-features = uid-range' \
             | sudo tee -a /etc/nix/nix.conf && sudo systemctl restart nix-daemon"
        }
    };
    Check {
        name: "nix: uid-range",
        required: false,
        state: if allowed {
            State::Found
        } else {
            State::Missing
        },
        version: None,
        at_least: None,
        path: None,
        why: "lets nix flake check run the tests in containers",
        mend: (!allowed).then_some(mend),
    }
}

fn kvm(platform: Platform) -> Check {
    let device = "/dev/kvm";
    let (state, says, mend) = match OpenOptions::new().read(true).write(true).open(device) {
        Ok(_) => (State::Found, None, None),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            let mend = "sudo usermod --append --groups kvm $USER   # then log in again";
            (State::Broken, Some("no access"), Some(mend))
        }
        Err(_) => {
            let mend = match platform {
                Platform::MacOs => "Run these tests on Linux.",
                _ => "sudo modprobe -a kvm_intel kvm_amd   # virtualisation is on in the firmware?",
            };
            (State::Missing, None, Some(mend))
        }
    };
    Check {
        name: "kvm",
        required: false,
        state,
        version: says.map(str::to_owned),
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
