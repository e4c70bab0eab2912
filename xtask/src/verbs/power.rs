//! `start` and `stop`: the power of machines.

use anyhow::Result;
use serde::Deserialize;
use serde_json::json;

use crate::{
    argv,
    cli::{Cli, NamesArgs},
    cloud::Machine,
    error::Kind,
    output,
    process::Argv,
    stack::{self, Stack},
};

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Switch on.
    Start,
    /// Shut down.
    Stop,
}

impl Power {
    fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }

    /// Whether a machine is not as it will be.
    fn is_for(self, machine: &Machine) -> bool {
        match self {
            Self::Start => !machine.is_on(),
            Self::Stop => machine.status != "TERMINATED",
        }
    }
}

/// Starts or stops those that are not so already.
pub fn run(cli: &Cli, args: &NamesArgs, power: Power) -> Result<()> {
    let stack = Stack::read(cli)?;
    for name in &args.names {
        stack.workspace(name)?;
    }
    let names: Vec<_> = if args.all {
        stack.fleet.workspaces.keys().collect()
    } else {
        args.names.iter().collect()
    };
    if cli.dry_run {
        let places: Vec<_> = names.iter().map(|name| format!("ZONE/{name}")).collect();
        let calls = [
            stack.cloud.machines_command(),
            command(&stack, power, &places),
        ];
        output::plan(cli, &calls.map(|words| stack.cloud.command(words)));
        return Ok(());
    }
    let machines = stack.cloud.machines()?;
    let mut chosen = Vec::new();
    for name in names {
        match machines.iter().find(|machine| machine.name == *name) {
            Some(machine) if power.is_for(machine) => chosen.push(machine.place()),
            Some(_) => {}
            // Of all, those that there are.
            None if args.all => {}
            None => return Err(stack::no_machine(name)),
        }
    }
    if chosen.is_empty() {
        eprintln!("nothing to do: no such machine is to {}", power.verb());
    } else {
        let (said, done) = stack.cloud.tell_why(command(&stack, power, &chosen))?;
        refuse_without_room(&stack, &said)?;
        done?;
    }
    if cli.json {
        let names: Vec<_> = chosen
            .iter()
            .filter_map(|place| place.split('/').next_back())
            .collect();
        println!("{}", json!({ "changed": names }));
    }
    Ok(())
}

/// Names the way out for machines that their zones have no room for.
fn refuse_without_room(stack: &Stack, said: &str) -> Result<()> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Said {
        without_room: Vec<String>,
    }
    let names = serde_json::from_str(said).map_or(Vec::new(), |said: Said| said.without_room);
    if names.is_empty() {
        return Ok(());
    }
    let what: Vec<_> = names
        .iter()
        .map(|name| {
            let machine_type = stack
                .workspace(name)
                .map(|workspace| workspace.machine_type.as_str());
            format!("no {} for {name}", machine_type.unwrap_or("machine"))
        })
        .collect();
    let moves: Vec<_> = names
        .iter()
        .map(|name| format!("cargo xtask move {name}"))
        .collect();
    Err(Kind::Refused.error(
        format!("there is {} now in its zone", what.join(" and ")),
        format!(
            "Run this again later, or move to another zone, files and all: {}",
            moves.join("; ")
        ),
    ))
}

fn command(stack: &Stack, power: Power, places: &[String]) -> Argv {
    let mut command = argv!["instances", power.verb(), "--project", &stack.cloud.project];
    command.extend(places.iter().map(Into::into));
    command
}
