//! `deploy`: gives machines the system of this checkout, and tells which of them kept it.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{
    cli::{Cli, DeployArgs},
    output,
    rollout::{self, Rollout},
    stack::Stack,
    systems,
};

/// Builds, signs, uploads, tells, and waits.
pub fn run(cli: &Cli, args: &DeployArgs) -> Result<()> {
    let stack = Stack::read(cli)?;
    let names = rollout::names(&stack, &args.names)?;
    if cli.dry_run {
        let mut commands = vec![
            systems::eval_command(&names),
            stack.cloud.command(stack.cloud.machines_command()),
        ];
        commands.extend(rollout::commands(&stack, &names, "SYSTEM", true));
        output::plan(cli, &commands);
        return Ok(());
    }
    let machines = rollout::machines(&stack, &names, args.names.all)?;
    let names: Vec<_> = machines
        .iter()
        .map(|machine| machine.name.as_str())
        .collect();
    if names.is_empty() {
        eprintln!("nothing to do: no workspace has a machine");
        return Ok(());
    }
    let built = systems::build(&stack, &names)?;
    let systems: BTreeMap<_, _> = built
        .iter()
        .map(|(name, system)| (name.as_str(), system.out_path.as_str()))
        .collect();
    // What machines are told already is kept for them.
    let news = machines
        .iter()
        .any(|machine| machine.wanted() != systems.get(machine.name.as_str()).copied());
    let hold = news.then(|| systems::hold(&stack, &systems.values().copied().collect()));
    let hold = hold.transpose()?;
    if let Err(error) = systems::publish(&stack, &built) {
        // Nobody was told.
        if let Some(hold) = hold {
            let _ = systems::release(&stack, &hold);
        }
        return Err(error);
    }
    let rollout = Rollout {
        systems,
        keep: true,
    };
    let outcomes = rollout::roll_out(&stack, &args.rollout, &machines, &rollout)?;
    if let Some(hold) = hold {
        systems::release(&stack, &hold)?;
    }
    rollout::report(cli, &outcomes)
}
