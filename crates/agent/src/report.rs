//! What the machine says of itself: to its owner, and to the operators by guest attributes.

use serde::Serialize;

use crate::{
    System,
    journal::{Journal, Phase},
    own::Standing,
};

/// Longest value of a guest attribute that is written, in characters. Google's own limit is 10 KiB.
const LONGEST: usize = 500;

/// The namespace of the guest attributes.
pub const NAMESPACE: &str = "workspace";

/// How the machine stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What the fleet wants, as far as the machine knows.
    pub wanted: Option<System>,
    /// What runs.
    pub system: Option<System>,
    /// How that came.
    pub state: State,
    /// Why, where that is a question.
    pub reason: String,
    /// The number of the generation that boots.
    pub generation: Option<u64>,
    /// When the machine booted, in seconds since 1970.
    pub boot: u64,
    /// How the owner's own module stands, if there is one.
    pub module: Option<Standing>,
    /// What the last test of the GPUs said, in one line; none where there are none.
    pub gpu: Option<String>,
}

/// In one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The fleet wants nothing of this machine.
    Unassigned,
    /// It runs what the fleet wants.
    Current,
    /// It is about to look at what the fleet wants.
    Behind,
    /// It gets what the fleet wants.
    Fetching,
    /// It waits for an idle moment to reboot.
    RebootPending,
    /// It reboots.
    Rebooting,
    /// A new system is on trial.
    Testing,
    /// It goes back.
    Reverting,
    /// It could not get what the fleet wants, and tries again.
    Failed,
    /// It went back from what the fleet wants, and stays.
    Reverted,
}

impl State {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unassigned => "unassigned",
            Self::Current => "current",
            Self::Behind => "behind",
            Self::Fetching => "fetching",
            Self::RebootPending => "reboot-pending",
            Self::Rebooting => "rebooting",
            Self::Testing => "testing",
            Self::Reverting => "reverting",
            Self::Failed => "failed",
            Self::Reverted => "reverted",
        }
    }
}

/// What the journal and the running system mean.
pub fn state(journal: &Journal, running: Option<&System>) -> (State, String) {
    let none = String::new();
    if let Some(task) = &journal.task {
        return match &task.phase {
            Phase::Fetching => (State::Fetching, none),
            Phase::Waiting { .. } => (State::RebootPending, none),
            Phase::Arming | Phase::Rebooting => (State::Rebooting, none),
            Phase::Testing | Phase::Watching { .. } | Phase::Committing => (State::Testing, none),
            Phase::Returning { reason, .. } => (State::Reverting, reason.clone()),
        };
    }
    let Some(wanted) = &journal.wanted else {
        return (State::Unassigned, none);
    };
    if running == Some(wanted) {
        return (State::Current, none);
    }
    match &journal.refused {
        Some(refused) if refused.system == *wanted => {
            let state = if refused.tried {
                State::Reverted
            } else {
                State::Failed
            };
            (state, refused.reason.clone())
        }
        _ => (State::Behind, none),
    }
}

/// Writes reports, each value only when it has changed.
#[derive(Default)]
pub struct Reporter {
    written: Vec<(&'static str, String)>,
}

impl Reporter {
    /// Hands on keys and values that have changed; the wish last, so that nothing is said of it that is of an older one.
    ///
    /// # Errors
    /// Where they are put; what was not put is, next time.
    pub fn write(
        &mut self,
        report: &Report,
        mut put: impl FnMut(&str, &str) -> Result<(), String>,
    ) -> Result<(), String> {
        let path = |system: &Option<System>| system.as_ref().map_or("", System::as_str).to_owned();
        let generation = report.generation.map(|generation| generation.to_string());
        let values = [
            ("system", path(&report.system)),
            ("generation", generation.unwrap_or_default()),
            ("boot", report.boot.to_string()),
            ("module", plain(&module(report))),
            ("gpu", plain(report.gpu.as_deref().unwrap_or_default())),
            ("reason", plain(&report.reason)),
            ("state", report.state.word().to_owned()),
            ("wanted", path(&report.wanted)),
        ];
        for (key, value) in values {
            if self.written.contains(&(key, value.clone())) {
                continue;
            }
            put(key, &value)?;
            self.written.retain(|(written, _)| *written != key);
            self.written.push((key, value));
        }
        Ok(())
    }
}

fn module(report: &Report) -> String {
    match &report.module {
        Some(Standing { left_out: None, .. }) => "runs".to_owned(),
        Some(Standing {
            left_out: Some(reason),
            ..
        }) => format!("left out: {reason}"),
        None => String::new(),
    }
}

/// One line without control characters, not too long.
pub fn plain(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Refused;

    fn system(c: &str) -> System {
        format!("/nix/store/{}-nixos", c.repeat(32))
            .parse()
            .unwrap()
    }

    #[test]
    fn the_state_is_what_the_journal_and_the_machine_say() {
        let (a, b) = (system("a"), system("b"));
        let mut journal = Journal::default();
        let of = |journal: &Journal| state(journal, Some(&a)).0.word();
        assert_eq!(of(&journal), "unassigned");
        journal.wanted = Some(a.clone());
        assert_eq!(of(&journal), "current");
        journal.wanted = Some(b.clone());
        assert_eq!(of(&journal), "behind");
        let mut refused = Refused {
            system: b,
            reason: "why".into(),
            at: 0,
            tried: false,
            again: None,
            times: 1,
        };
        journal.refused = Some(refused.clone());
        assert_eq!(of(&journal), "failed");
        refused.tried = true;
        journal.refused = Some(refused.clone());
        assert_eq!(of(&journal), "reverted");
        // Of what is no longer wanted nothing is said.
        refused.system = system("c");
        journal.refused = Some(refused);
        assert_eq!(of(&journal), "behind");
    }

    #[test]
    fn what_is_written_is_one_short_line() {
        assert_eq!(plain("a\n\u{1b}[31mb"), "a  [31mb");
        assert_eq!(plain(&"ä".repeat(600)).chars().count(), LONGEST);
    }
}
