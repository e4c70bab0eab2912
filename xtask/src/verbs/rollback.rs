//! `rollback`: machines go back to the system that they ran before.

use anyhow::Result;

use crate::{
    cli::{Cli, RollbackArgs},
    cloud::Machine,
    error::Kind,
    output,
    rollout::{self, Outcome, Rollout},
    stack::Stack,
};

/// Tells, and waits. Nothing is built or uploaded: what a machine ran is still on its disk, and in the bucket.
pub fn run(cli: &Cli, args: &RollbackArgs) -> Result<()> {
    let stack = Stack::read(cli)?;
    let names = rollout::names(&stack, &args.names)?;
    if cli.dry_run {
        let mut commands = vec![stack.cloud.command(stack.cloud.machines_command())];
        commands.extend(rollout::commands(&stack, &names, "PREVIOUS", false));
        output::plan(cli, &commands);
        return Ok(());
    }
    let machines = rollout::machines(&stack, &names, args.names.all)?;
    let (machines, none): (Vec<_>, Vec<_>) = machines
        .into_iter()
        .partition(|machine| machine.previous().is_some());
    if !args.names.all && !none.is_empty() {
        let names: Vec<_> = none.iter().map(|machine| machine.name.as_str()).collect();
        return Err(Kind::Failed.error(
            format!("nothing is known to go back to: {}", names.join(", ")),
            "It is once a second system was deployed. Deploy an older revision: git checkout REVISION, cargo xtask deploy NAME",
        ));
    }
    // A second run finds the same: what a machine can go back to stays so when it has gone there.
    let systems = machines.iter().filter_map(target).collect();
    let rollout = Rollout {
        systems,
        keep: false,
    };
    let mut outcomes = rollout::roll_out(&stack, &args.rollout, &machines, &rollout)?;
    outcomes.extend(none.into_iter().map(|machine| Outcome {
        name: machine.name,
        result: "left out",
        note: "nothing is known to go back to".to_owned(),
    }));
    outcomes.sort_by(|a, b| a.name.cmp(&b.name));
    rollout::report(cli, &outcomes)
}

fn target(machine: &Machine) -> Option<(&str, &str)> {
    Some((machine.name.as_str(), machine.previous()?))
}
