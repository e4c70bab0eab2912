//! `test`: the lanes, one after another, and a table of what became of them.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::{Serialize, Serializer};
use serde_json::json;

use crate::{
    argv,
    cli::{Cli, LaneChoice, TestArgs},
    error::Kind,
    lanes::terraform,
    output::{self, table},
    process::{self, Argv},
    project,
};

/// A group of tests that needs the same programs.
struct Lane {
    name: &'static str,
    choice: LaneChoice,
    /// Whether it runs when no lane is named.
    by_default: bool,
    /// Why it has to be skipped in this repository on this machine.
    hindrance: fn(&Path) -> Option<String>,
    steps: &'static [Steps],
}

/// The commands of a lane; all run, even if one fails.
enum Steps {
    /// These.
    Known(fn() -> Vec<Argv>),
    /// Builds of the attributes of this set of the flake's, so many at once.
    Each(&'static str, usize),
}

const LANES: [Lane; 6] = [
    Lane {
        name: "rust",
        choice: LaneChoice::Rust,
        by_default: true,
        hindrance: |_| absent("cargo"),
        steps: &[Steps::Known(cargo_commands)],
    },
    Lane {
        name: "nix",
        choice: LaneChoice::Nix,
        by_default: true,
        hindrance: no_builds,
        // As `nix flake check`; but that holds all that it evaluates, which is more memory than most machines have.
        steps: &[Steps::Known(evaluations), Steps::Each(CHECKS, 12)],
    },
    Lane {
        name: "terraform",
        choice: LaneChoice::Terraform,
        by_default: true,
        hindrance: terraform::hindrance,
        steps: &[Steps::Known(terraform::commands)],
    },
    Lane {
        name: "rehearse",
        choice: LaneChoice::Rehearse,
        by_default: true,
        hindrance: no_rehearsal,
        steps: &[Steps::Known(|| vec![argv!["cargo", "xtask", "rehearse"]])],
    },
    Lane {
        name: "vm",
        choice: LaneChoice::Vm,
        by_default: false,
        hindrance: no_builds,
        steps: &[Steps::Each(VM_TESTS, 1)],
    },
    Lane {
        name: "reboot",
        choice: LaneChoice::Reboot,
        by_default: false,
        hindrance: no_builds,
        steps: &[Steps::Each(REBOOT_TESTS, 1)],
    },
];

const CHECKS: &str = ".#checks.x86_64-linux";
const VM_TESTS: &str = ".#legacyPackages.x86_64-linux.vmTests";
const REBOOT_TESTS: &str = ".#legacyPackages.x86_64-linux.rebootTests";

fn absent(program: &str) -> Option<String> {
    let found = which::which(program).is_ok();
    (!found).then(|| format!("no {program} on this machine: cargo xtask doctor"))
}

fn no_nix(root: &Path) -> Option<String> {
    absent("nix").or_else(|| {
        let found = root.join("flake.nix").is_file();
        (!found).then(|| "no flake.nix beside the fleet file".to_owned())
    })
}

fn no_rehearsal(root: &Path) -> Option<String> {
    absent("cargo").or_else(|| {
        let found = root.join("crates/cloudsim").is_dir();
        (!found).then(|| "no crates/cloudsim beside the fleet file".to_owned())
    })
}

fn no_builds(root: &Path) -> Option<String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Some("this is not x86-64 Linux".to_owned());
    }
    no_nix(root)
}

fn cargo_commands() -> Vec<Argv> {
    vec![
        argv!["cargo", "fmt", "--check"],
        argv![
            "cargo",
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings"
        ],
        argv!["cargo", "test", "--workspace"],
    ]
}

/// A nix command that works where the configuration has not switched flakes on.
fn nix(verb: &[&str], rest: &[&str]) -> Argv {
    let features = ["--extra-experimental-features", "nix-command flakes"];
    let words = ["nix"].iter().chain(verb).chain(&features).chain(rest);
    words.map(Into::into).collect()
}

/// Of what the flake has beside checks, systems and modules, which checks build, that it evaluates.
fn evaluations() -> Vec<Argv> {
    let derivations = "builtins.mapAttrs (_: output: output.drvPath)";
    let all = |set| nix(&["eval"], &["--json", set, "--apply", derivations]);
    vec![
        all(".#packages.x86_64-linux"),
        all(".#devShells.x86_64-linux"),
        nix(&["eval"], &["--json", ".#formatter.x86_64-linux.drvPath"]),
    ]
}

fn list(set: &str) -> Argv {
    nix(&["eval"], &["--json", set, "--apply", "builtins.attrNames"])
}

fn build(set: &str, names: &[String]) -> Argv {
    let mut words = nix(
        &["build"],
        &["--print-build-logs", "--keep-going", "--no-link"],
    );
    words.extend(names.iter().map(|name| format!("{set}.{name}").into()));
    words
}

/// What became of a lane.
#[derive(Serialize)]
struct Outcome {
    lane: &'static str,
    result: Verdict,
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    time: Option<Duration>,
    /// Why it failed or was skipped.
    reason: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Passed,
    Failed,
    Skipped,
}

fn as_seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}

/// Runs the verb.
pub fn run(cli: &Cli, args: &TestArgs) -> Result<()> {
    let root = project::root(cli)?;
    if cli.dry_run {
        let chosen = LANES.iter().filter(|lane| lane.chosen(args));
        let commands: Vec<_> = chosen.flat_map(|lane| lane.plan()).collect();
        output::plan(cli, &commands);
        return Ok(());
    }
    let outcomes: Vec<_> = LANES.iter().map(|lane| lane.run(&root, args)).collect();
    let count = |verdict| outcomes.iter().filter(|o| o.result == verdict).count();
    let (passed, failed) = (count(Verdict::Passed), count(Verdict::Failed));
    let skipped = count(Verdict::Skipped);
    if cli.json {
        let totals =
            json!({ "lanes": outcomes, "passed": passed, "failed": failed, "skipped": skipped });
        println!("{}", serde_json::to_string_pretty(&totals)?);
    } else {
        print!(
            "\n{}\n{passed} passed, {failed} failed, {skipped} skipped\n",
            text(&outcomes)
        );
    }
    if failed == 0 {
        return Ok(());
    }
    let failed: Vec<_> = outcomes
        .iter()
        .filter(|o| o.result == Verdict::Failed)
        .collect();
    let names: Vec<_> = failed.iter().map(|outcome| outcome.lane).collect();
    Err(Kind::Failed.error(
        format!("failed: {}", names.join(", ")),
        format!("Run it alone: cargo xtask test --lane {}", names[0]),
    ))
}

impl Lane {
    fn named_in(&self, lanes: &[LaneChoice]) -> bool {
        lanes.contains(&self.choice) || lanes.contains(&LaneChoice::All)
    }

    fn chosen(&self, args: &TestArgs) -> bool {
        let by_default = args.lanes.is_empty() && self.by_default;
        by_default || self.named_in(&args.lanes) || self.named_in(&args.required)
    }

    fn plan(&self) -> Vec<Argv> {
        let commands = self.steps.iter().flat_map(|steps| match steps {
            Steps::Known(commands) => commands(),
            Steps::Each(set, _) => vec![list(set), build(set, &["NAME".to_owned()])],
        });
        commands.collect()
    }

    fn run(&self, root: &Path, args: &TestArgs) -> Outcome {
        let outcome = |result, time, reason| Outcome {
            lane: self.name,
            result,
            time,
            reason,
        };
        if !self.chosen(args) {
            let reason = format!("not asked for: --lane {}", self.name);
            return outcome(Verdict::Skipped, None, Some(reason));
        }
        if let Some(reason) = (self.hindrance)(root) {
            return if self.named_in(&args.required) {
                outcome(
                    Verdict::Failed,
                    None,
                    Some(format!("required, but {reason}")),
                )
            } else {
                outcome(Verdict::Skipped, None, Some(reason))
            };
        }
        eprintln!("== {}", self.name);
        let start = Instant::now();
        let failures = self.failures(root);
        let time = Some(start.elapsed());
        if failures.is_empty() {
            outcome(Verdict::Passed, time, None)
        } else {
            outcome(Verdict::Failed, time, Some(failures.join("; ")))
        }
    }

    fn failures(&self, root: &Path) -> Vec<String> {
        let errors = self.steps.iter().flat_map(|steps| {
            let commands = match steps {
                Steps::Known(commands) => commands(),
                Steps::Each(set, at_once) => match each(root, set, *at_once) {
                    Ok(commands) => commands,
                    Err(error) => return vec![error],
                },
            };
            let results = commands.iter().map(|command| run_step(root, command));
            results.filter_map(Result::err).collect()
        });
        let errors = errors.inspect(|error| eprintln!("error: {error:#}"));
        errors.map(|error| format!("{error:#}")).collect()
    }
}

/// How often a command is run whose builds the machine killed, for that says nothing of them.
const ATTEMPTS: usize = 6;

/// Runs a command of a lane; of a `nix` that failed, the error names the builds that did.
fn run_step(root: &Path, command: &Argv) -> Result<()> {
    if command[0] != "nix" {
        return process::run(root, command);
    }
    let mut attempt = 1;
    loop {
        let mut builds = FailedBuilds::default();
        let Err(error) = process::run_watched(root, command, |line| builds.read(line)) else {
            return Ok(());
        };
        if builds.killed && attempt < ATTEMPTS {
            attempt += 1;
            eprintln!("The machine killed a build: once more.");
            continue;
        }
        if builds.names.is_empty() {
            return Err(error);
        }
        let names = builds.names.join(", ");
        let mend = "Their logs are above, each line after the name.";
        return Err(Kind::Failed.error(format!("nix could not build {names}"), mend));
    }
}

/// What `nix`'s messages say of builds that failed by themselves, not for one that they need.
#[derive(Default)]
struct FailedBuilds {
    names: Vec<String>,
    /// Whether one of them was killed: nearly always for want of memory.
    killed: bool,
    /// The build that the next line tells more of.
    last: Option<String>,
}

impl FailedBuilds {
    fn read(&mut self, line: &str) {
        if let Some((_, rest)) = line.split_once("error: Cannot build '/nix/store/") {
            // The hash has 32 characters.
            let name = rest
                .split_once(".drv'")
                .and_then(|(path, _)| path.get(33..));
            self.last = name.map(str::to_owned);
        } else if let Some((_, reason)) = line.split_once("Reason: builder failed") {
            self.names.extend(self.last.take());
            self.killed |= reason.contains("due to signal 9");
        }
    }
}

fn each(root: &Path, set: &str, at_once: usize) -> Result<Vec<Argv>> {
    let names: Vec<String> = serde_json::from_str(&process::read(root, &list(set))?)?;
    Ok(names
        .chunks(at_once)
        .map(|names| build(set, names))
        .collect())
}

fn text(outcomes: &[Outcome]) -> String {
    let mut rows = vec![["LANE", "RESULT", "TIME", "REASON"].map(String::from)];
    rows.extend(outcomes.iter().map(|outcome| {
        let result = match outcome.result {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Skipped => "skipped",
        };
        let time = outcome.time.map_or("-".to_owned(), output::seconds);
        let reason = outcome.reason.clone().unwrap_or_default();
        [outcome.lane.to_owned(), result.to_owned(), time, reason]
    }));
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::display;

    fn lines(lane: &str) -> Vec<String> {
        let lane = LANES.iter().find(|l| l.name == lane).unwrap();
        lane.plan().iter().map(|command| display(command)).collect()
    }

    #[test]
    fn nix_messages_name_the_builds_that_failed() {
        let mut builds = FailedBuilds::default();
        let said = [
            "error: Cannot build '/nix/store/4ln8nb6ca4jbzdmrh2887i06y0hdkm59-workspace-0.1.0.drv'.",
            "       Reason: builder failed due to signal 9 (Killed).",
            "       Output paths:",
            "error: Cannot build '/nix/store/s5hmb5715mqhp0n7s7ggqjbc6701gzqi-system-path.drv'.",
            "       Reason: 1 dependency failed.",
            "error: Cannot build '/nix/store/618d6s04jfszapysk1rn54mddla2ix2g-nixfmt.drv'.",
            "       Reason: builder failed with exit code 1.",
        ];
        for line in said {
            builds.read(line);
        }
        assert_eq!(builds.names, ["workspace-0.1.0", "nixfmt"]);
        assert!(builds.killed);
    }

    #[test]
    fn each_lane_runs_exactly_its_commands() {
        assert_eq!(
            lines("rust"),
            [
                "cargo fmt --check",
                "cargo clippy --workspace --all-targets -- -D warnings",
                "cargo test --workspace",
            ]
        );
        let features = "--extra-experimental-features 'nix-command flakes'";
        assert_eq!(lines("rehearse"), ["cargo xtask rehearse"]);
        for output in ["packages", "devShells", "formatter"] {
            let evaluation = format!(" .#{output}.x86_64-linux");
            assert!(lines("nix").iter().any(|line| line.contains(&evaluation)));
        }
        for (lane, set) in [("nix", CHECKS), ("vm", VM_TESTS), ("reboot", REBOOT_TESTS)] {
            let lines = lines(lane);
            assert_eq!(
                lines[lines.len() - 2..],
                [
                    format!("nix eval {features} --json {set} --apply builtins.attrNames"),
                    format!(
                        "nix build {features} --print-build-logs --keep-going --no-link {set}.NAME"
                    ),
                ]
            );
        }
    }
}
