//! `destroy`: the machines go, home disks stay; a home disk goes only by its workspace's name.

use std::io::{self, BufRead, Write};

use anyhow::Result;
use serde_json::json;

use crate::{
    argv,
    cli::{Cli, DestroyArgs},
    cloud::Disk,
    error::Kind,
    output,
    process::Argv,
    stack::{self, Stack},
    terraform::{self, Mode, Root},
    verbs::plan,
};

/// Destroys what the answers name.
pub fn run(cli: &Cli, args: &DestroyArgs) -> Result<()> {
    let stack = Stack::read(cli)?;
    if args.destroy_home_disks.is_empty() {
        machines(cli, args, &stack)
    } else {
        home_disks(cli, args, &stack)
    }
}

fn machines(cli: &Cli, args: &DestroyArgs, stack: &Stack) -> Result<()> {
    stack::need_sources(&stack.root)?;
    if cli.dry_run {
        let plans = [
            (Root::Foundation, Mode::NORMAL, false),
            (Root::Homes, Mode::NORMAL, false),
            (Root::Fleet, Mode::Destroy, true),
        ];
        let commands = plans.map(|(root, mode, apply)| {
            terraform::plan_commands(&stack.cloud, &stack.root, root, mode, apply)
        });
        output::plan(cli, &commands.concat());
        return Ok(());
    }
    if !stack.cloud.has_state()? {
        eprintln!(
            "nothing to do: nothing has been applied in {}",
            stack.cloud.project
        );
        return Ok(());
    }
    let terraform = stack.terraform()?;
    let (plans, variables) = stack.plan(&terraform, Mode::Destroy)?;
    let fleet = plans.into_iter().last().expect("it plans the fleet last");
    let changes = fleet.1.changes.len();
    if changes > 0 {
        eprint!("{}", plan::text(&[fleet]));
        eprintln!("home disks stay, and so do the network and the buckets");
        confirm(args, &stack.cloud.project, "the project's id")?;
        terraform.apply(Root::Fleet, &variables, Mode::Destroy, |_| Ok(()))?;
    } else {
        eprintln!("nothing to do: there are no machines");
    }
    if cli.json {
        println!("{}", json!({ "destroyed": changes }));
    }
    Ok(())
}

/// Deletes the disks themselves. The next `apply` finds them gone, and has nothing to destroy.
fn home_disks(cli: &Cli, args: &DestroyArgs, stack: &Stack) -> Result<()> {
    let names = &args.destroy_home_disks;
    if cli.dry_run {
        let places: Vec<_> = names
            .iter()
            .map(|name| format!("ZONE/home-{name}"))
            .collect();
        let calls = [stack.cloud.disks_command(), delete(stack, &places)];
        output::plan(cli, &calls.map(|words| stack.cloud.command(words)));
        return Ok(());
    }
    let disks = stack.cloud.disks()?;
    let homes = names
        .iter()
        .map(|name| homes(name, &disks))
        .collect::<Result<Vec<_>>>()?;
    for (name, disks) in names.iter().zip(&homes) {
        for disk in disks {
            let owner = disk.labels.get("owner").map_or("", String::as_str);
            eprintln!(
                "home disk {}: {} GB in {}, of {owner}; its files are gone for good",
                disk.name, disk.size_gb, disk.zone
            );
        }
        confirm(args, name, "the workspace's name")?;
    }
    let places: Vec<_> = homes.iter().flatten().map(|disk| disk.place()).collect();
    stack.cloud.tell(delete(stack, &places))?;
    if cli.json {
        println!("{}", json!({ "destroyed": places.len() }));
    }
    Ok(())
}

/// The home of a workspace, and those that it left in other zones.
fn homes<'a>(name: &str, disks: &'a [Disk]) -> Result<Vec<&'a Disk>> {
    let named = |disk: &&Disk| disk.named_home_of() == Some(name);
    let homes: Vec<_> = disks.iter().filter(named).collect();
    if homes.is_empty() {
        return Err(Kind::Usage.error(
            format!("there is no home disk of {name:?}"),
            "See which there are: cargo xtask status",
        ));
    }
    for disk in &homes {
        if let Some(user) = disk.users.first() {
            return Err(Kind::Failed.error(
                format!("the machine {user} has the home disk {}", disk.name),
                "Take the workspace out of fleet.toml and run cargo xtask apply first, which destroys its machine alone.",
            ));
        }
    }
    Ok(homes)
}

fn delete(stack: &Stack, places: &[String]) -> Argv {
    let mut command = argv!["disks", "delete", "--project", &stack.cloud.project];
    command.extend(places.iter().map(Into::into));
    command
}

/// Has a person, or the script that is trusted, name what goes.
fn confirm(args: &DestroyArgs, expected: &str, what: &str) -> Result<()> {
    if args.confirm.iter().any(|answer| answer == expected) {
        return Ok(());
    }
    eprint!("type {what} to destroy it: ");
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if line.trim() == expected {
        return Ok(());
    }
    eprintln!();
    Err(Kind::Usage.error(
        "nothing was destroyed: the answer is another one",
        format!("Type {expected} when asked, or add --confirm {expected}."),
    ))
}
