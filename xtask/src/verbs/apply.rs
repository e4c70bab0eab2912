//! `apply`: makes Google Cloud what fleet.toml says.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::{
    cli::{Cli, ReplaceArg},
    error::Kind,
    output,
    placement::Placement,
    process::Argv,
    stack::{self, Stack},
    terraform::{self, Mode, ROOTS, Root, Terraform},
};

/// Applies the three roots.
pub fn run(cli: &Cli, args: &ReplaceArg) -> Result<()> {
    let stack = Stack::read(cli)?;
    stack::need_sources(&stack.root)?;
    let replace = stack.addresses(&args.replace_workspaces)?;
    if cli.dry_run {
        output::plan(cli, &commands(&stack, &replace));
        return Ok(());
    }
    let terraform = stack.terraform()?;
    terraform.ensure_bucket()?;
    let foundation = root(&terraform, Root::Foundation, &stack.foundation(), &replace)?;
    let workspaces = machines(
        &stack,
        &terraform,
        &foundation,
        stack.newest_images()?,
        BTreeMap::new(),
        &replace,
    )?;
    if cli.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&json!({ "workspaces": workspaces }))?
        );
    }
    eprintln!("next    cargo xtask status");
    Ok(())
}

/// How a root is planned when the machines at these addresses are replaced.
pub fn mode(root: Root, replace: &[String]) -> Mode<'_> {
    match root {
        Root::Fleet => Mode::Normal { replace },
        Root::Foundation | Root::Homes => Mode::NORMAL,
    }
}

/// All commands in their order.
pub fn commands(stack: &Stack, replace: &[String]) -> Vec<Argv> {
    let mut commands = vec![stack.cloud.command(stack.cloud.state_bucket_command())];
    for root in ROOTS {
        if root == Root::Homes {
            commands.push(stack.cloud.command(stack.cloud.list_command()));
            commands.push(stack.cloud.command(stack.cloud.disks_command()));
        }
        commands.extend(terraform::plan_commands(
            &stack.cloud,
            &stack.root,
            root,
            mode(root, replace),
            true,
        ));
    }
    commands
}

/// Applies one root, unless its plan loses what may not be lost. Its changes are told before it is.
///
/// # Errors
/// As [`Terraform::apply`] and [`stack::judge`].
pub fn root(
    terraform: &Terraform,
    root: Root,
    variables: &Value,
    replace: &[String],
) -> Result<Map<String, Value>> {
    terraform.init(root)?;
    terraform.apply(root, variables, mode(root, replace), |plan| {
        if plan.changes.is_empty() {
            eprintln!("{}: nothing changes", root.name());
        } else {
            eprint!("{}", output::table(&terraform::rows(root, plan)));
        }
        stack::judge(root, plan, replace)
    })
}

/// Applies home disks and machines, and gives terraform's output of the latter. Of a new workspace, both go to the next
/// zone while one has no machine left. Of machines that are made, `systems` are what they are to run; one that is made
/// anew and is not among these is to run what it was.
///
/// # Errors
/// [`Kind::Failed`] when a new machine has no image to boot from; as [`root`] and [`Placement::go_on`].
pub fn machines(
    stack: &Stack,
    terraform: &Terraform,
    foundation: &Map<String, Value>,
    images: BTreeMap<String, Option<String>>,
    systems: BTreeMap<String, String>,
    replace: &[String],
) -> Result<Value> {
    let there = stack.cloud.machines()?;
    let mut wishes = stack::wishes(&there);
    wishes.extend(systems);
    let images = images.into_iter().map(|(name, image)| match image {
        Some(image) => Ok((name, image)),
        // A machine that stays keeps what it booted from.
        None if there.iter().any(|machine| machine.name == name)
            && !replace.contains(&stack::address(&name)) =>
        {
            Ok((name, "none-is-left".to_owned()))
        }
        None => Err(Kind::Failed.error(
            format!("{} has no image for {name}", stack.cloud.project),
            format!("Bring one: cargo xtask push {name}, or let cargo xtask up do all of it."),
        )),
    });
    let images = images.collect::<Result<BTreeMap<_, _>>>()?;
    let mut placement = Placement::default();
    loop {
        let homes = stack.homes(&stack.cloud.settled_disks()?, &placement.zones)?;
        let homes = root(terraform, Root::Homes, &homes, replace)?;
        let variables = stack.fleet(foundation, &homes, &images, &wishes);
        match root(terraform, Root::Fleet, &variables, replace) {
            Ok(outputs) => {
                let is_new = |name: &&String| !there.iter().any(|machine| machine.name == **name);
                let new = images.keys().filter(is_new);
                say_unnamed(
                    stack,
                    new.filter(|name| !wishes.contains_key(*name)),
                    &images,
                );
                return Ok(outputs.get("workspaces").cloned().unwrap_or_default());
            }
            Err(error) => placement.go_on(stack, error)?,
        }
    }
}

/// Says which of these new machines, which were not told what to run, have booted an image that is nobody's.
fn say_unnamed<'a>(
    stack: &Stack,
    names: impl Iterator<Item = &'a String>,
    images: &BTreeMap<String, String>,
) {
    let nobodys = |name: &&String| {
        let workspace = stack.fleet.workspaces.get(*name);
        let profile = workspace.map(|workspace| format!("{}-", workspace.image.name()));
        profile.is_some_and(|profile| images[*name].starts_with(&profile))
    };
    let names: Vec<_> = names.filter(nobodys).map(String::as_str).collect();
    if !names.is_empty() {
        eprintln!(
            "{0} booted an image that is nobody's; give them a system: cargo xtask deploy {1}",
            names.join(", "),
            names.join(" ")
        );
    }
}
