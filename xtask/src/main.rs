//! Builds, ships and tests the fleet: `cargo xtask --help`.

mod agents;
mod cli;
mod cloud;
mod error;
mod fleet;
mod lanes;
mod output;
mod placement;
mod process;
mod project;
mod rollout;
mod stack;
mod standing;
mod systems;
mod terraform;
mod tools;
mod verbs;

use std::{
    panic,
    process::{ExitCode, exit},
};

use anyhow::Result;
use clap::Parser;

use crate::{
    cli::{CacheVerb, Cli, Verb},
    error::{Error, Kind, Told},
    verbs::{
        apply, cache, deploy, destroy, diff, docs, doctor, image, images, logs, move_, open,
        password, plan, power, prune, push, rehearse, rollback, ssh, status, test, up, vm,
    },
};

fn main() -> ExitCode {
    end_when_nobody_reads();
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(Told(status)) = error.downcast_ref() {
                return ExitCode::from(*status);
            }
            eprintln!("error: {error:#}");
            let kind = match error.downcast_ref::<Error>() {
                Some(error) => {
                    eprintln!("{}", error.mend);
                    error.kind
                }
                None => Kind::Failed,
            };
            ExitCode::from(kind as u8)
        }
    }
}

/// Whoever reads what is printed may have had enough of it, as `head` has: no reason to panic, as `println!` does. Ends
/// as a program that SIGPIPE ends, to which Rust's are deaf.
fn end_when_nobody_reads() {
    let otherwise = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let message = panic.payload().downcast_ref::<String>();
        if message.is_some_and(|it| it.starts_with("failed printing to stdout: Broken pipe")) {
            exit(128 + 13);
        }
        otherwise(panic);
    }));
}

fn run(cli: &Cli) -> Result<()> {
    match &cli.verb {
        Verb::Fleet => verbs::fleet::run(cli),
        Verb::Doctor(args) => doctor::run(cli, args),
        Verb::Image(args) => image::run(cli, args),
        Verb::Push(args) => push::run(cli, args),
        Verb::Images => images::run(cli),
        Verb::Prune(args) => prune::run(cli, args),
        Verb::Plan(args) => plan::run(cli, args),
        Verb::Apply(args) => apply::run(cli, args),
        Verb::Deploy(args) => deploy::run(cli, args),
        Verb::Rollback(args) => rollback::run(cli, args),
        Verb::Diff(args) => diff::run(cli, args),
        Verb::Cache(CacheVerb::Key) => cache::key(cli),
        Verb::Cache(CacheVerb::Prune(args)) => cache::prune(cli, args),
        Verb::Up(args) => up::run(cli, args),
        Verb::Status(args) => status::run(cli, args),
        Verb::Start(args) => power::run(cli, args, power::Power::Start),
        Verb::Stop(args) => power::run(cli, args, power::Power::Stop),
        Verb::Move(args) => move_::run(cli, args),
        Verb::Password(args) => password::run(cli, args),
        Verb::Open(args) => open::run(cli, args),
        Verb::Vm(args) => vm::run(cli, args),
        Verb::Ssh(args) => ssh::run(cli, args),
        Verb::Logs(args) => logs::run(cli, args),
        Verb::Destroy(args) => destroy::run(cli, args),
        Verb::Rehearse => rehearse::run(cli),
        Verb::Docs(args) => docs::run(cli, args),
        Verb::Test(args) => test::run(cli, args),
    }
}
