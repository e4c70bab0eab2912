//! Machines are told what to run, wave by wave, and tell whether they kept it.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use crate::{
    agents, argv,
    cli::{Cli, NamesArgs, RolloutArgs},
    cloud::Machine,
    error::{Kind, Told},
    output,
    process::Argv,
    stack::{self, Stack},
};

/// How a machine took it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The workspace.
    pub name: String,
    /// current, told, failed, silent, left out.
    pub result: &'static str,
    /// Why, or what is to come.
    pub note: String,
}

impl Outcome {
    fn has_failed(&self) -> bool {
        matches!(self.result, "failed" | "silent")
    }
}

/// What machines are told.
pub struct Rollout<'a> {
    /// The system of each.
    pub systems: BTreeMap<&'a str, &'a str>,
    /// Whether what they were to run until now becomes what they can go back to.
    pub keep: bool,
}

/// The names that were given, once the fleet is known to have them.
///
/// # Errors
/// As [`Stack::workspace`].
pub fn names<'a>(stack: &'a Stack, args: &'a NamesArgs) -> Result<Vec<&'a str>> {
    if args.all {
        return Ok(stack.fleet.workspaces.keys().map(String::as_str).collect());
    }
    for name in &args.names {
        stack.workspace(name)?;
    }
    Ok(args.names.iter().map(String::as_str).collect())
}

/// The machines of these workspaces, in this order; of all workspaces, those that have one.
///
/// # Errors
/// A workspace that was named has no machine; as [`crate::process::ask`].
pub fn machines(stack: &Stack, names: &[&str], all: bool) -> Result<Vec<Machine>> {
    let mut there: BTreeMap<_, _> = stack
        .cloud
        .machines()?
        .into_iter()
        .map(|machine| (machine.name.clone(), machine))
        .collect();
    let mut machines = Vec::new();
    for name in names {
        match there.remove(*name) {
            Some(machine) => machines.push(machine),
            None if all => {}
            None => return Err(stack::no_machine(name)),
        }
    }
    Ok(machines)
}

/// All commands of a rollout, without what comes before; what only earlier ones tell is in capitals.
pub fn commands(stack: &Stack, names: &[&str], system: &str, keep: bool) -> Vec<Argv> {
    let places: Vec<_> = names.iter().map(|name| format!("ZONE/{name}")).collect();
    let wishes: Vec<_> = places
        .iter()
        .map(|place| format!("{place}={system}"))
        .collect();
    let cloud = &stack.cloud;
    vec![
        cloud.command(agents::want_command(cloud, &wishes, keep)),
        cloud.command(agents::reports_command(cloud, &places)),
    ]
}

/// Prints how the machines took it.
///
/// # Errors
/// [`Told`] if one did not take it.
pub fn report(cli: &Cli, outcomes: &[Outcome]) -> Result<()> {
    let failures = outcomes
        .iter()
        .filter(|outcome| outcome.has_failed())
        .count();
    if cli.json {
        println!("{}", json!({ "machines": outcomes, "failures": failures }));
    } else {
        print!("{}", text(outcomes));
    }
    if failures == 0 {
        return Ok(());
    }
    eprintln!(
        "error: {failures} of {} did not take it",
        output::count(outcomes.len(), "machine")
    );
    eprintln!(
        "They run what they ran before. Read more on one: cargo xtask ssh NAME -- workspace why"
    );
    Err(Told(Kind::Failed as u8).into())
}

/// How often a silent machine is reset. After the first its agent tries the new system once more, for
/// it may have been the power; if that makes the machine hang again, the second one ends the trial.
const RESETS: u32 = 2;

/// Tells machines what to run and waits until they have decided, a wave after the other.
///
/// # Errors
/// As [`crate::process::ask`].
pub fn roll_out(
    stack: &Stack,
    args: &RolloutArgs,
    machines: &[Machine],
    rollout: &Rollout,
) -> Result<Vec<Outcome>> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    let waves: Vec<_> = machines.chunks(args.wave.size(machines.len())).collect();
    for (number, wave) in waves.iter().enumerate() {
        let failures = outcomes
            .iter()
            .filter(|outcome| outcome.has_failed())
            .count();
        if args.max_failures.is_some_and(|most| failures > most) {
            outcomes.extend(
                waves[number..]
                    .iter()
                    .copied()
                    .flatten()
                    .map(|machine| Outcome {
                        name: machine.name.clone(),
                        result: "left out",
                        note: format!("{failures} machines before it failed"),
                    }),
            );
            break;
        }
        eprintln!(
            "wave {} of {}: {}",
            number + 1,
            waves.len(),
            output::count(wave.len(), "machine")
        );
        outcomes.extend(one_wave(stack, args, wave, rollout)?);
    }
    outcomes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(outcomes)
}

fn one_wave(
    stack: &Stack,
    args: &RolloutArgs,
    wave: &[Machine],
    rollout: &Rollout,
) -> Result<Vec<Outcome>> {
    let outcome = |machine: &Machine, result, note: &str| Outcome {
        name: machine.name.clone(),
        result,
        note: note.to_owned(),
    };
    let wanted = |machine: &Machine| {
        let system = rollout.systems.get(machine.name.as_str());
        system.copied().unwrap_or_default()
    };
    let untold = tell(stack, wave, rollout, wanted)?;
    let mut outcomes = Vec::new();
    let mut open: Vec<&Machine> = Vec::new();
    for machine in wave {
        match untold.get(&machine.name) {
            Some(error) => outcomes.push(outcome(machine, "failed", error)),
            None if machine.is_on() => open.push(machine),
            None => outcomes.push(outcome(
                machine,
                "told",
                "it is off, and takes it when it starts",
            )),
        }
    }
    for resets in 0..=RESETS {
        let end = Instant::now() + Duration::from_secs(args.within * 60);
        // Most have decided by the first look; each look costs a call a machine.
        let mut pause = Duration::from_secs(args.look);
        while !open.is_empty() {
            thread::sleep(pause.min(end.saturating_duration_since(Instant::now())));
            pause *= 2;
            let reports = agents::reports(&stack.cloud, &open)?;
            open.retain(|machine| {
                let report = reports.get(&machine.name);
                let verdict = report.and_then(|report| report.verdict(wanted(machine)));
                match &verdict {
                    Some(Ok(note)) => outcomes.push(outcome(machine, "current", note)),
                    Some(Err(why)) => outcomes.push(outcome(machine, "failed", why)),
                    None => {}
                }
                verdict.is_none()
            });
            if Instant::now() >= end {
                break;
            }
        }
        if open.is_empty() {
            return Ok(outcomes);
        }
        if resets < RESETS {
            let places: Vec<_> = open.iter().map(|machine| machine.place()).collect();
            eprintln!(
                "silent for {} minutes, reset {} of {RESETS}: {}",
                args.within,
                resets + 1,
                places.join(", ")
            );
            let mut reset = argv!["instances", "reset", "--project", &stack.cloud.project];
            reset.extend(places.iter().map(Into::into));
            stack.cloud.tell(reset)?;
        }
    }
    let silent = format!(
        "no word within {} minutes, nor after {RESETS} resets",
        args.within
    );
    outcomes.extend(
        open.into_iter()
            .map(|machine| outcome(machine, "silent", &silent)),
    );
    Ok(outcomes)
}

/// Tells machines what to run; those that could not be told, and why.
fn tell<'a>(
    stack: &Stack,
    wave: &[Machine],
    rollout: &Rollout,
    wanted: impl Fn(&Machine) -> &'a str,
) -> Result<BTreeMap<String, String>> {
    let wish = |machine| (machine, wanted(machine));
    if !rollout.keep {
        let wishes: Vec<_> = wave.iter().map(wish).collect();
        return agents::want(&stack.cloud, &wishes, false);
    }
    // Only of what is about to be replaced it must be known whether it is worth keeping.
    let asked: Vec<_> = wave
        .iter()
        .filter(|machine| machine.wanted().is_some_and(|old| old != wanted(machine)))
        .collect();
    let reports = agents::reports(&stack.cloud, &asked)?;
    let (keep, not): (Vec<_>, Vec<_>) = wave
        .iter()
        .partition(|machine| machine.proved(reports.get(&machine.name)));
    let keep: Vec<_> = keep.into_iter().map(wish).collect();
    let not: Vec<_> = not.into_iter().map(wish).collect();
    let mut untold = agents::want(&stack.cloud, &keep, true)?;
    untold.extend(agents::want(&stack.cloud, &not, false)?);
    Ok(untold)
}

fn text(outcomes: &[Outcome]) -> String {
    let mut rows = vec![["NAME", "RESULT", "NOTE"].map(String::from)];
    rows.extend(outcomes.iter().map(|outcome| {
        [
            outcome.name.clone(),
            outcome.result.to_owned(),
            // A machine that is current has no more to say.
            Some(outcome.note.clone())
                .filter(|note| note != outcome.result)
                .unwrap_or_default(),
        ]
    }));
    output::table_wrapped(&rows, output::terminal().map(|(columns, _)| columns))
}
