//! `ssh`: a shell on a workspace's machine, through IAP's tunnel: there is no other way in.

use anyhow::Result;

use crate::{
    argv,
    cli::{Cli, SshArgs},
    output,
    process::{self, Argv},
    stack::Stack,
};

/// Hands the terminal to gcloud's ssh.
pub fn run(cli: &Cli, args: &SshArgs) -> Result<()> {
    let stack = Stack::read(cli)?;
    stack.workspace(&args.name)?;
    if cli.dry_run {
        let list = stack.cloud.command(stack.cloud.machines_command());
        output::plan(cli, &[list, command(&stack, args, "ZONE")]);
        return Ok(());
    }
    let machine = stack.machine(&args.name)?;
    process::interact(&command(&stack, args, &machine.zone))
}

fn command(stack: &Stack, args: &SshArgs, zone: &str) -> Argv {
    let mut command = argv![
        "gcloud",
        "compute",
        "ssh",
        &args.name,
        "--tunnel-through-iap",
        format!("--zone={zone}"),
        format!("--project={}", stack.cloud.project),
    ];
    if !args.command.is_empty() {
        command.push("--".into());
        command.extend(args.command.iter().map(Into::into));
    }
    command
}
