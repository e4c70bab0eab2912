//! `start` and `stop`: the power of machines.

use anyhow::Result;
use serde_json::json;

use crate::{
    argv,
    cli::{Cli, NamesArgs},
    cloud::Machine,
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
        stack.cloud.tell(command(&stack, power, &chosen))?;
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

fn command(stack: &Stack, power: Power, places: &[String]) -> Argv {
    let mut command = argv!["instances", power.verb(), "--project", &stack.cloud.project];
    command.extend(places.iter().map(Into::into));
    command
}
