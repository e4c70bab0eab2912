//! `up`: from nothing, or from wherever an earlier run stopped, to workspaces that answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::Value;

use crate::{
    argv,
    cli::{Cli, StatusArgs, UpArgs},
    cloud::Cloud,
    error::Kind,
    fleet::Login,
    output,
    process::Argv,
    stack::{self, Stack},
    systems,
    terraform::Root,
    verbs::{apply, cache, image, password, push, status},
};

/// Longest wait for machines to run, and for their pages to answer: a first boot gets its certificate as well.
const PATIENCE: Duration = Duration::from_secs(900);

/// Does all of it.
pub fn run(cli: &Cli, args: &UpArgs) -> Result<()> {
    let stack = Stack::read(cli)?;
    stack::need_sources(&stack.root)?;
    let replace = stack.addresses(&args.replace.replace_workspaces)?;
    if cli.dry_run {
        output::plan(cli, &commands(&stack, args, &replace));
        return Ok(());
    }
    let terraform = stack.terraform()?;
    terraform.ensure_bucket()?;
    let foundation = apply::root(&terraform, Root::Foundation, &stack.foundation(), &replace)?;
    let (images, systems) = images(&stack, args)?;
    let workspaces = apply::machines(&stack, &terraform, &foundation, images, systems, &replace)?;
    // The next verb in this checkout need not wait for pages to answer.
    drop(terraform);
    secrets(&stack, &workspaces)?;
    wait(&stack, &workspaces)?;
    if cli.json {
        status::run(cli, &StatusArgs { watch: None })?;
    }
    report(&stack, &workspaces);
    Ok(())
}

/// By workspace.
type Images = BTreeMap<String, Option<String>>;
type Systems = BTreeMap<String, String>;

/// The image of each workspace, which is its profile's, and the system that its machine is to fetch when it first boots.
/// For machines that exist nothing is built: they would boot nothing of it.
fn images(stack: &Stack, args: &UpArgs) -> Result<(Images, Systems)> {
    let mut images = stack.newest_images()?;
    if args.no_build {
        return Ok((images, Systems::new()));
    }
    let there = stack.cloud.machines()?;
    let is_new = |name: &&str| {
        !there.iter().any(|machine| machine.name == **name)
            || args.replace.replace_workspaces.iter().any(|it| it == name)
    };
    let names = stack.fleet.workspaces.keys().map(String::as_str);
    let new: Vec<_> = names.filter(is_new).collect();
    if new.is_empty() {
        return Ok((images, Systems::new()));
    }
    // An image accepts what is signed by the keys that were in the repository when it was built.
    image::need_nix()?;
    cache::ensure_key(stack)?;
    let mut made = BTreeMap::new();
    for name in &new {
        let profile = stack.fleet.workspaces[*name].image.name();
        if !made.contains_key(profile) {
            let (image, _) = push::ensure_image(&stack.fleet, &stack.cloud, &stack.root, profile)?;
            made.insert(profile, image.name);
        }
        images.insert((*name).to_owned(), made.get(profile).cloned());
    }
    let built = systems::build(stack, &new)?;
    systems::publish(stack, &built)?;
    let systems = built.into_iter();
    Ok((
        images,
        systems
            .map(|(name, system)| (name, system.out_path))
            .collect(),
    ))
}

/// Gives each login that has none a password; an OAuth client is made by hand.
fn secrets(stack: &Stack, workspaces: &Value) -> Result<()> {
    for name in stack.fleet.workspaces.keys() {
        let Some(secret) = workspaces[name]["secret"].as_str() else {
            continue;
        };
        match stack.fleet.access.login {
            Some(Login::Password) => password::ensure(stack, secret)?,
            Some(Login::Google) => {
                let words = argv![
                    "secrets",
                    "access",
                    secret,
                    "--project",
                    &stack.cloud.project
                ];
                if stack.cloud.ask::<Option<Value>>(words)?.is_none() {
                    eprintln!(
                        "{name} has no OAuth client yet: docs/up.md tells how to make one; then\n  \
                         gcloud secrets versions add {secret} --project {} --data-file client_secret.json",
                        stack.cloud.project
                    );
                }
            }
            None => {}
        }
    }
    Ok(())
}

/// Waits until the machines that are on run, and their pages answer. A simulated machine has no page.
///
/// # Errors
/// [`Kind::Refused`] if one does not within [`PATIENCE`]; as [`Cloud::tell`].
pub fn wait(stack: &Stack, workspaces: &Value) -> Result<()> {
    let started = Instant::now();
    let on = loop {
        let mut machines = stack.cloud.machines()?;
        machines.retain(|machine| {
            stack.fleet.workspaces.contains_key(&machine.name) && machine.is_on()
        });
        let starting: Vec<_> = machines
            .iter()
            .filter(|machine| machine.status != "RUNNING")
            .map(|machine| machine.name.clone())
            .collect();
        if starting.is_empty() {
            break machines;
        }
        if started.elapsed() > PATIENCE {
            return Err(Kind::Refused.error(
                format!(
                    "still not running after {} minutes: {}",
                    PATIENCE.as_secs() / 60,
                    starting.join(", ")
                ),
                "See what they say: cargo xtask logs NAME",
            ));
        }
        sleep(Duration::from_secs(2));
    };
    if Cloud::is_simulated() {
        return Ok(());
    }
    // Without a login's secret nothing answers, and an OAuth client comes by hand.
    if stack.fleet.access.login != Some(Login::Password) {
        return Ok(());
    }
    let urls: Vec<_> = on
        .iter()
        .filter_map(|machine| workspaces[&machine.name]["url"].as_str())
        .collect();
    if urls.is_empty() {
        return Ok(());
    }
    eprintln!("waiting for {} to answer", urls.join(", "));
    let mut words = argv!["reach", "--within", PATIENCE.as_secs().to_string()];
    words.extend(urls.iter().map(Into::into));
    stack.cloud.tell(words)
}

fn report(stack: &Stack, workspaces: &Value) {
    for name in stack.fleet.workspaces.keys() {
        match workspaces[name]["url"].as_str() {
            Some(url) => eprintln!("{name}  {url}"),
            None => eprintln!("{name}  cargo xtask open {name}"),
        }
    }
    if stack.fleet.access.login == Some(Login::Password) {
        eprintln!("next    cargo xtask password NAME, cargo xtask status");
    } else {
        eprintln!("next    cargo xtask status");
    }
}

/// All commands in their order; what only earlier ones tell is in capitals.
fn commands(stack: &Stack, args: &UpArgs, replace: &[String]) -> Vec<Argv> {
    let mut commands = apply::commands(stack, replace);
    if !args.no_build {
        let workspaces = stack.fleet.workspaces.values();
        let profiles: BTreeSet<_> = workspaces.map(|workspace| workspace.image.name()).collect();
        let mut pushes = cache::ensure_key_commands(stack);
        pushes.extend(
            profiles
                .iter()
                .flat_map(|profile| push::plan(&stack.fleet, &stack.cloud, &stack.root, profile)),
        );
        pushes.extend(systems::commands(stack));
        // After foundation, which makes the bucket: five commands.
        commands.splice(5..5, pushes);
    }
    let google = |words| stack.cloud.command(words);
    if stack.fleet.access.login == Some(Login::Password) {
        let secrets = stack
            .fleet
            .workspaces
            .keys()
            .map(|name| format!("workspace-{name}-password"));
        commands.extend(secrets.map(|secret| google(password::ensure_words(stack, &secret))));
    }
    commands.push(google(stack.cloud.machines_command()));
    let domains: Vec<_> = stack
        .fleet
        .workspaces
        .values()
        .filter_map(|workspace| workspace.domain.as_ref())
        .collect();
    if stack.fleet.access.login == Some(Login::Password)
        && !domains.is_empty()
        && !Cloud::is_simulated()
    {
        let mut words = argv!["reach", "--within", PATIENCE.as_secs().to_string()];
        words.extend(
            domains
                .iter()
                .map(|domain| format!("https://{domain}").into()),
        );
        commands.push(google(words));
    }
    commands
}
