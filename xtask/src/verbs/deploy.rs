//! `deploy`: gives machines their system, wave by wave, and tells which of them kept it.

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
    cli::{Cli, DeployArgs},
    cloud::Machine,
    error::{Kind, Told},
    output,
    stack::{self, Stack},
    systems::{self, System},
};

/// How a machine took it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Outcome {
    name: String,
    /// current, told, failed, silent, left out.
    result: &'static str,
    /// Why, or what is to come.
    note: String,
}

impl Outcome {
    fn has_failed(&self) -> bool {
        matches!(self.result, "failed" | "silent")
    }
}

/// Builds, signs, uploads, tells, and waits.
pub fn run(cli: &Cli, args: &DeployArgs) -> Result<()> {
    let stack = Stack::read(cli)?;
    for name in &args.names.names {
        stack.workspace(name)?;
    }
    let names: Vec<&str> = if args.names.all {
        stack.fleet.workspaces.keys().map(String::as_str).collect()
    } else {
        args.names.names.iter().map(String::as_str).collect()
    };
    if cli.dry_run {
        let place = |name: &&str| format!("ZONE/{name}");
        let places: Vec<_> = names.iter().map(place).collect();
        let wishes: Vec<_> = names
            .iter()
            .map(|name| format!("ZONE/{name}=SYSTEM"))
            .collect();
        let commands = [
            systems::eval_command(&names),
            stack.cloud.command(stack.cloud.machines_command()),
            stack
                .cloud
                .command(agents::want_command(&stack.cloud, &wishes)),
            stack
                .cloud
                .command(agents::reports_command(&stack.cloud, &places)),
        ];
        output::plan(cli, &commands);
        return Ok(());
    }
    let machines = machines(&stack, &names, args.names.all)?;
    let names: Vec<_> = machines
        .iter()
        .map(|machine| machine.name.as_str())
        .collect();
    if names.is_empty() {
        eprintln!("nothing to do: no workspace has a machine");
        return Ok(());
    }
    let systems = systems::build(&stack, &names)?;
    systems::publish(&stack, &systems)?;
    let outcomes = roll_out(&stack, args, &machines, &systems)?;
    let failures = outcomes
        .iter()
        .filter(|outcome| outcome.has_failed())
        .count();
    if cli.json {
        println!("{}", json!({ "machines": outcomes, "failures": failures }));
    } else {
        print!("{}", text(&outcomes));
    }
    if failures == 0 {
        return Ok(());
    }
    eprintln!(
        "error: {failures} of {} machines did not take it",
        outcomes.len()
    );
    eprintln!(
        "They run what they ran before. Read more on one: cargo xtask ssh NAME -- workspace why"
    );
    Err(Told(Kind::Failed as u8).into())
}

/// The machines of these workspaces, in the fleet's order; of all workspaces, those that have one.
fn machines(stack: &Stack, names: &[&str], all: bool) -> Result<Vec<Machine>> {
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

fn roll_out(
    stack: &Stack,
    args: &DeployArgs,
    machines: &[Machine],
    systems: &BTreeMap<String, System>,
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
            "wave {} of {}: {} machines",
            number + 1,
            waves.len(),
            wave.len()
        );
        outcomes.extend(one_wave(stack, args, wave, systems)?);
    }
    outcomes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(outcomes)
}

fn one_wave(
    stack: &Stack,
    args: &DeployArgs,
    wave: &[Machine],
    systems: &BTreeMap<String, System>,
) -> Result<Vec<Outcome>> {
    let outcome = |machine: &Machine, result, note: &str| Outcome {
        name: machine.name.clone(),
        result,
        note: note.to_owned(),
    };
    let wanted = |machine: &Machine| {
        systems
            .get(&machine.name)
            .map_or("", |s| s.out_path.as_str())
    };
    let wishes: Vec<_> = wave
        .iter()
        .map(|machine| (machine, wanted(machine)))
        .collect();
    let untold = agents::want(&stack.cloud, &wishes)?;
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
    for patience in ["first", "last"] {
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
        if patience == "first" {
            let places: Vec<_> = open.iter().map(|machine| machine.place()).collect();
            eprintln!(
                "silent for {} minutes, reset once: {}",
                args.within,
                places.join(", ")
            );
            let mut reset = argv!["instances", "reset", "--project", &stack.cloud.project];
            reset.extend(places.iter().map(Into::into));
            stack.cloud.tell(reset)?;
        }
    }
    let silent = format!("no word within {} minutes, nor after a reset", args.within);
    outcomes.extend(
        open.into_iter()
            .map(|machine| outcome(machine, "silent", &silent)),
    );
    Ok(outcomes)
}

fn text(outcomes: &[Outcome]) -> String {
    let mut rows = vec![["NAME", "RESULT", "NOTE"].map(String::from)];
    rows.extend(outcomes.iter().map(|outcome| {
        [
            outcome.name.clone(),
            outcome.result.to_owned(),
            outcome.note.clone(),
        ]
    }));
    output::table(&rows)
}
