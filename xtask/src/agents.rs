//! What the machines' agents are told and what they say, through metadata keys and guest attributes.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    argv,
    cloud::{Cloud, Machine},
    process::Argv,
};

/// The metadata key that names the system which a machine is to run.
pub const KEY: &str = "workspace-system";

/// The metadata key that names the system to go back to. Metadata, as it must be readable of a machine that is off.
pub const PREVIOUS: &str = "workspace-system-previous";

/// The metadata key with the last systems that a machine was told to run, a line each: seconds since 1970 (0 of one that
/// was there before there was a log), a space, the system. The newest is last.
pub const LOG: &str = "workspace-system-log";

/// Longest text of a machine's that is printed, in characters.
const LONGEST: usize = 200;

/// The words that an agent has for how its machine stands.
const STATES: [&str; 10] = [
    "unassigned",
    "behind",
    "fetching",
    "testing",
    "reboot-pending",
    "rebooting",
    "reverting",
    "current",
    "reverted",
    "failed",
];

/// What an agent says of its machine. Any process on the machine can say it instead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// What runs.
    pub system: String,
    /// What it knows to be wanted.
    pub wanted: String,
    /// One of [`STATES`], or empty.
    pub state: String,
    /// Why, of a state that needs a reason.
    pub reason: String,
    /// What the last test of its GPUs said; empty of a machine without.
    pub gpu: String,
    /// The owner's own module: `runs`, or `left out:` and why; empty if there is none.
    pub module: String,
    /// When the machine booted, in seconds since 1970; 0 if that is not said.
    pub boot: i64,
}

impl Report {
    /// What is said of this wish, once it has been decided; `Ok` if the machine runs it or will at its next restart.
    pub fn verdict(&self, wanted: &str) -> Option<std::result::Result<&'static str, String>> {
        if self.wanted != wanted {
            return None;
        }
        match self.state.as_str() {
            "current" if self.system == wanted => Some(Ok("current")),
            "reboot-pending" => Some(Ok("waits for a restart")),
            "reverted" | "failed" => Some(Err(format!("{}: {}", self.state, self.reason))),
            _ => None,
        }
    }
}

impl Machine {
    /// The system that it is to run.
    pub fn wanted(&self) -> Option<&str> {
        self.metadata.get(KEY).map(String::as_str)
    }

    /// The system to go back to: the last one that it was to run and that it is not known to have refused.
    pub fn previous(&self) -> Option<&str> {
        self.metadata.get(PREVIOUS).map(String::as_str)
    }

    /// The last systems that it was told to run, and when, in seconds since 1970; the newest is last.
    pub fn log(&self) -> Vec<(i64, &str)> {
        let log = self.metadata.get(LOG).map_or("", String::as_str);
        let lines = log.lines().filter_map(|line| {
            let (time, system) = line.split_once(' ')?;
            Some((time.parse().ok()?, system))
        });
        lines.collect()
    }

    /// Whether what it is to run is worth going back to, by what it says. Of a machine that says nothing it is assumed.
    pub fn proved(&self, report: Option<&Report>) -> bool {
        report.is_none_or(|report| {
            report.state == "current" && Some(report.system.as_str()) == self.wanted()
        })
    }
}

/// Text of a machine's as it may be printed: one short line of ASCII, without what a terminal would act upon, and without
/// what makes text look like other text, or wider than it is.
fn plain(text: &str) -> String {
    let clean = text.chars().map(|c| match c {
        ' '..='~' => c,
        c if c.is_control() => ' ',
        _ => '?',
    });
    clean.take(LONGEST).collect()
}

/// Asks what the agents of machines say.
pub fn reports_command(cloud: &Cloud, places: &[String]) -> Argv {
    let mut words = argv!["instances", "guest-attributes", "--project", &cloud.project];
    words.extend(places.iter().map(Into::into));
    words
}

/// Tells machines what to run, and notes it in their log: `ZONE/NAME=SYSTEM`. With `keep` what they were to run becomes what they can go back to.
pub fn want_command(cloud: &Cloud, wishes: &[String], keep: bool) -> Argv {
    let mut words = argv![
        "instances",
        "set-metadata",
        "--project",
        &cloud.project,
        "--key",
        KEY,
        "--log-in",
        LOG,
    ];
    if keep {
        words.extend(argv!["--keep-in", PREVIOUS]);
    }
    words.extend(wishes.iter().map(Into::into));
    words
}

/// What the agents of these machines say; machines that say nothing are left out.
///
/// # Errors
/// As [`crate::process::ask`].
pub fn reports(cloud: &Cloud, machines: &[&Machine]) -> Result<BTreeMap<String, Report>> {
    let answers = answers(cloud, machines)?.into_iter();
    Ok(answers
        .filter_map(|(name, answer)| Some((name, answer.ok()??)))
        .collect())
}

/// What the agent of each of these machines says, if it says anything, or why that cannot be read.
///
/// # Errors
/// As [`crate::process::ask`].
pub fn answers(
    cloud: &Cloud,
    machines: &[&Machine],
) -> Result<BTreeMap<String, std::result::Result<Option<Report>, String>>> {
    #[derive(Deserialize)]
    struct Answer {
        name: String,
        attributes: Option<BTreeMap<String, String>>,
        error: Option<String>,
    }
    if machines.is_empty() {
        return Ok(BTreeMap::new());
    }
    let places: Vec<_> = machines.iter().map(|machine| machine.place()).collect();
    let answers: Vec<Answer> = cloud.ask(reports_command(cloud, &places))?;
    let said = answers.into_iter().map(|answer| {
        let Some(attributes) = answer.attributes else {
            return (answer.name, Err(answer.error.unwrap_or_default()));
        };
        let text = |key: &str| plain(attributes.get(key).map_or("", String::as_str));
        let mut state = text("state");
        if !STATES.contains(&state.as_str()) {
            state.clear();
        }
        let report = Report {
            system: text("system"),
            wanted: text("wanted"),
            state,
            reason: text("reason"),
            gpu: text("gpu"),
            module: text("module"),
            boot: text("boot").parse().unwrap_or_default(),
        };
        let said = !report.state.is_empty();
        (answer.name, Ok(said.then_some(report)))
    });
    Ok(said.collect())
}

/// Tells machines what to run, as [`want_command`]; those that could not be told, and why.
///
/// # Errors
/// As [`crate::process::ask`].
pub fn want(
    cloud: &Cloud,
    wishes: &[(&Machine, &str)],
    keep: bool,
) -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Answer {
        name: String,
        error: Option<String>,
    }
    if wishes.is_empty() {
        return Ok(BTreeMap::new());
    }
    let wishes: Vec<_> = wishes
        .iter()
        .map(|(machine, system)| format!("{}={system}", machine.place()))
        .collect();
    let answers: Vec<Answer> = cloud.ask(want_command(cloud, &wishes, keep))?;
    let failed = answers.into_iter();
    Ok(failed.filter_map(|a| Some((a.name, a.error?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_of_this_wish_is_a_verdict() {
        let report = |wanted: &str, system: &str, state: &str| Report {
            system: system.into(),
            wanted: wanted.into(),
            state: state.into(),
            reason: "why".into(),
            ..Report::default()
        };
        assert_eq!(
            report("new", "new", "current").verdict("new"),
            Some(Ok("current"))
        );
        assert_eq!(report("old", "old", "current").verdict("new"), None);
        assert_eq!(report("old", "older", "reverted").verdict("new"), None);
        assert_eq!(report("new", "old", "testing").verdict("new"), None);
        let reverted = report("new", "old", "reverted").verdict("new");
        assert_eq!(reverted, Some(Err("reverted: why".into())));
        // It says that it is current, and of what it says it runs it is not.
        assert_eq!(report("new", "old", "current").verdict("new"), None);
    }

    #[test]
    fn what_a_machine_says_cannot_act_upon_a_terminal() {
        assert_eq!(plain("a\u{1b}]0;x\u{7}\nb"), "a ]0;x  b");
        // What comes after would be shown from right to left.
        assert_eq!(plain("\u{202e}live"), "?live");
        assert_eq!(plain(&"x".repeat(999)).len(), LONGEST);
    }
}
