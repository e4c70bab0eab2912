//! How a machine stands to the system that it is to run, by its metadata, its power and what its agent says.

use serde::Serialize;

use crate::{agents::Report, cloud::Machine, output};

/// How long a machine that was started, or told something, may take to say that it knows, in seconds. A boot takes
/// minutes, and an agent that fetches a system hears of the next one when it has it.
const PATIENCE: i64 = 15 * 60;

/// How far a machine's clock may be behind Google's, in seconds.
const SKEW: i64 = 5 * 60;

/// In one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has said nothing, or not that it knows what it is to run, for so long that something is wrong.
    Silent,
    /// What its agent says cannot be read.
    Unknown,
    /// It cannot get what it is to run, and tries again.
    Failed,
    /// It went back from what it is to run, and stays there.
    Reverted,
    /// It runs something else than it is to run, and is on its way.
    Behind,
    /// It runs what it is to run, on trial: it goes back if it is not well with it.
    Testing,
    /// It was just started, and has said nothing yet.
    Starting,
    /// Nothing was deployed to it: it runs its image.
    Unassigned,
    /// It runs what it is to run.
    Current,
}

impl State {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
            Self::Reverted => "reverted",
            Self::Behind => "behind",
            Self::Testing => "testing",
            Self::Starting => "starting",
            Self::Unassigned => "unassigned",
            Self::Current => "current",
        }
    }
}

/// How a machine that is on stands. Any process on it can say what its agent says: it is advice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// In one word.
    pub state: State,
    /// How many times it was told to run another system since it was told to run the one that it runs; none if that is
    /// not known.
    pub behind: Option<usize>,
    /// When a silent machine was last started or told something, in seconds since 1970.
    pub since: Option<i64>,
    /// What it runs.
    pub runs: Option<String>,
    /// What it is to run.
    pub wanted: Option<String>,
    /// The agent's own word for what it does.
    pub says: Option<String>,
    /// Why, of a state that needs a reason.
    pub reason: Option<String>,
    /// The owner's own module, if there is one: `runs`, or `left out:` and why.
    pub module: Option<String>,
    /// What the last test of its GPUs said, of a machine that has some.
    pub gpu: Option<String>,
}

impl Standing {
    /// Of a machine that is on, by what its agent said, if anything, or why that cannot be read; at this time in seconds
    /// since 1970.
    pub fn of(
        machine: &Machine,
        answer: Option<&Result<Option<Report>, String>>,
        now: i64,
    ) -> Self {
        let wanted = machine.wanted();
        let started = machine.started.unwrap_or_default();
        let mut standing = Self {
            state: State::Unknown,
            behind: None,
            since: None,
            runs: None,
            wanted: wanted.map(str::to_owned),
            says: None,
            reason: None,
            module: None,
            gpu: None,
        };
        let report = match answer {
            Some(Ok(report)) => report.as_ref(),
            Some(Err(why)) => {
                standing.reason = some(why);
                return standing;
            }
            None => None,
        };
        // What is left of an earlier run of the machine says nothing of this one.
        let report = report.filter(|report| report.boot == 0 || report.boot + SKEW >= started);
        if let Some(report) = report {
            standing.runs = some(&report.system).filter(|system| system.starts_with("/nix/store/"));
            standing.says = some(&report.state);
            standing.reason = some(&report.reason);
            standing.gpu = some(&report.gpu);
            standing.module = some(&report.module);
        }
        let log = machine.log();
        let knows = report.is_some_and(|report| report.wanted == wanted.unwrap_or_default());
        let told = log.last().filter(|(_, system)| Some(*system) == wanted);
        let since = started.max(told.map_or(0, |(time, _)| *time));
        standing.state = match report {
            _ if !knows && since > 0 && now - since > PATIENCE => {
                standing.since = Some(since);
                State::Silent
            }
            None => State::Starting,
            Some(_) if wanted.is_none() => State::Unassigned,
            Some(report) if knows => match report.state.as_str() {
                "current" if standing.runs.as_deref() == wanted => State::Current,
                "reverted" => State::Reverted,
                "failed" => State::Failed,
                _ if standing.runs.as_deref() == wanted => State::Testing,
                _ => State::Behind,
            },
            Some(_) => State::Behind,
        };
        let runs = standing.runs.as_deref();
        // A log that does not end with what it is to run is not the whole of it.
        if told.is_some() && runs != wanted {
            let place = log.iter().rposition(|(_, system)| Some(*system) == runs);
            standing.behind = place.map(|place| log.len() - 1 - place);
        }
        standing
    }

    /// In a few words, for a table.
    pub fn words(&self) -> String {
        match (self.state, self.behind) {
            (State::Behind, Some(count)) => format!("{count} behind"),
            (state, _) => state.word().to_owned(),
        }
    }

    /// What there is to know of the system of the machine of this name, if it is not as it should be.
    pub fn note(&self, name: &str) -> Option<String> {
        let hash = |system: &Option<String>| {
            let name = system.as_deref()?.strip_prefix("/nix/store/")?;
            Some(name.get(..8)?.to_owned())
        };
        let unknown = || "what is not known".to_owned();
        let runs = hash(&self.runs).unwrap_or_else(unknown);
        let both = match hash(&self.wanted) {
            Some(wanted) if self.runs != self.wanted => format!("runs {runs}, not {wanted}"),
            _ => format!("runs {runs}"),
        };
        let reason = self.reason.as_deref().unwrap_or("without a reason");
        let note = match self.state {
            State::Silent => format!(
                "since {}; see what it wrote: cargo xtask logs {name}",
                output::utc(self.since.unwrap_or_default())
            ),
            State::Unknown => reason.to_owned(),
            State::Failed => format!("{both}, which it tries again to get: {reason}"),
            State::Reverted => format!("{both}: {reason}"),
            State::Behind => {
                let says = self.says.as_deref().filter(|says| *says != "behind");
                let says = says.map_or(String::new(), |says| format!(": {says}"));
                format!("{both}{says}")
            }
            State::Testing | State::Starting | State::Unassigned | State::Current => {
                let left_out = self.module.as_deref()?.strip_prefix("left out")?;
                return Some(format!("the owner's module is left out{left_out}"));
            }
        };
        Some(note)
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_000_000;

    fn path(letter: &str) -> String {
        format!("/nix/store/{}-nixos", letter.repeat(32))
    }

    /// A machine that was started at a time and told to run these, one a minute until just now.
    fn machine(started: i64, told: &[&str]) -> Machine {
        let times = (0..).map(|minutes| NOW - 60 * minutes);
        let log: Vec<_> = told.iter().rev().zip(times).collect();
        let lines = log.iter().rev();
        let lines: Vec<_> = lines
            .map(|(letter, time)| format!("{time} {}", path(letter)))
            .collect();
        let mut metadata = json!({ "workspace-system-log": lines.join("\n") });
        if let Some(letter) = told.last() {
            metadata["workspace-system"] = path(letter).into();
        }
        serde_json::from_value(json!({
            "name": "alice", "zone": "z", "status": "RUNNING", "machineType": "t", "started": started,
            "metadata": metadata,
        }))
        .unwrap()
    }

    fn says(wanted: &str, runs: &str, state: &str, boot: i64) -> Result<Option<Report>, String> {
        Ok(Some(Report {
            system: path(runs),
            wanted: path(wanted),
            state: state.into(),
            reason: "why".into(),
            boot,
            ..Report::default()
        }))
    }

    fn words(machine: &Machine, answer: &Result<Option<Report>, String>, now: i64) -> String {
        Standing::of(machine, Some(answer), now).words()
    }

    #[test]
    fn it_is_as_many_deploys_behind_as_came_after_what_it_runs() {
        let told = machine(NOW - 9000, &["a", "b", "c"]);
        assert_eq!(words(&told, &says("c", "c", "current", 0), NOW), "current");
        assert_eq!(
            words(&told, &says("c", "b", "fetching", 0), NOW),
            "1 behind"
        );
        assert_eq!(words(&told, &says("b", "a", "testing", 0), NOW), "2 behind");
        assert_eq!(words(&told, &says("c", "c", "testing", 0), NOW), "testing");
        // Of what is on no record nobody can say how old it is.
        assert_eq!(words(&told, &says("c", "x", "fetching", 0), NOW), "behind");
        // Deployed once more, it is the newer one.
        let again = machine(NOW - 9000, &["a", "b", "a", "c"]);
        assert_eq!(
            words(&again, &says("c", "a", "fetching", 0), NOW),
            "1 behind"
        );
        // It says so, and of what it says it runs it is not.
        assert_eq!(words(&told, &says("c", "a", "current", 0), NOW), "2 behind");
    }

    #[test]
    fn a_record_that_lacks_the_last_wish_is_not_counted_by() {
        let mut machine = machine(NOW - 9000, &["a", "b"]);
        machine
            .metadata
            .insert("workspace-system".to_owned(), path("x"));
        let standing = Standing::of(&machine, Some(&says("x", "a", "fetching", 0)), NOW);
        assert_eq!(standing.words(), "behind");
    }

    #[test]
    fn what_it_gave_up_has_a_reason() {
        let told = machine(NOW - 9000, &["a", "b"]);
        let reverted = Standing::of(&told, Some(&says("b", "a", "reverted", 0)), NOW);
        assert_eq!(reverted.state, State::Reverted);
        assert_eq!(reverted.behind, Some(1));
        assert_eq!(
            reverted.note("alice").unwrap(),
            "runs aaaaaaaa, not bbbbbbbb: why"
        );
        // Of an earlier wish.
        assert_eq!(
            words(&told, &says("a", "a", "reverted", 0), NOW),
            "1 behind"
        );
    }

    #[test]
    fn it_is_silent_when_it_had_time_to_know_what_it_is_to_run() {
        let nothing = Ok(None);
        let (soon, late) = (NOW + PATIENCE, NOW + PATIENCE + 1);
        let told = machine(NOW - 9000, &["a", "b"]);
        assert_eq!(words(&told, &nothing, soon), "starting");
        let silent = Standing::of(&told, Some(&nothing), late);
        assert_eq!((silent.state, silent.since), (State::Silent, Some(NOW)));
        // It knows of the wish before that.
        let old = says("a", "a", "current", 0);
        assert_eq!(words(&told, &old, soon), "1 behind");
        assert_eq!(words(&told, &old, late), "silent");
        // Started after it was told.
        let started = machine(NOW + 9000, &["a"]);
        assert_eq!(words(&started, &nothing, NOW + 9000 + PATIENCE), "starting");
        assert_eq!(words(&started, &nothing, NOW + 9001 + PATIENCE), "silent");
        // What is left of its earlier run.
        let left = says("a", "a", "current", NOW);
        assert_eq!(words(&started, &left, NOW + 9001 + PATIENCE), "silent");
        let fresh = says("a", "a", "current", NOW + 9000 - SKEW);
        assert_eq!(words(&started, &fresh, NOW + 9001 + PATIENCE), "current");
    }

    #[test]
    fn without_a_deploy_it_runs_its_image_and_is_silent_if_it_does_not_say_so() {
        let machine = machine(NOW, &[]);
        let mut report = Report {
            state: "unassigned".into(),
            ..Report::default()
        };
        assert_eq!(
            words(&machine, &Ok(Some(report.clone())), NOW),
            "unassigned"
        );
        assert_eq!(words(&machine, &Ok(None), NOW), "starting");
        assert_eq!(words(&machine, &Ok(None), NOW + PATIENCE + 1), "silent");
        report.module = "left out: it does not evaluate".into();
        let standing = Standing::of(&machine, Some(&Ok(Some(report))), NOW);
        assert!(
            standing
                .note("alice")
                .unwrap()
                .ends_with("left out: it does not evaluate")
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_silence() {
        let machine = machine(NOW - 9000, &["a"]);
        let standing = Standing::of(&machine, Some(&Err("403".into())), NOW + 9000);
        assert_eq!(standing.state, State::Unknown);
        assert_eq!(standing.note("alice").unwrap(), "403");
    }
}
