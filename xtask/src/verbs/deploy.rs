//! `deploy`: gives machines the system of this checkout, and tells which of them kept it.

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
    let systems = systems::build(&stack, &names)?;
    systems::publish(&stack, &systems)?;
    let systems = systems
        .iter()
        .map(|(name, system)| (name.as_str(), system.out_path.as_str()))
        .collect();
    let rollout = Rollout {
        systems,
        keep: true,
    };
    let outcomes = rollout::roll_out(&stack, &args.rollout, &machines, &rollout)?;
    rollout::report(cli, &outcomes)
}
