//! Builds, ships and tests the fleet: `cargo xtask --help`.

mod cli;
mod cloud;
mod error;
mod fleet;
mod lanes;
mod output;
mod process;
mod project;
mod tools;
mod verbs;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::{
    cli::{Cli, Verb},
    error::{Error, Kind, Told},
    verbs::{doctor, image, images, prune, push, test},
};

fn main() -> ExitCode {
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

fn run(cli: &Cli) -> Result<()> {
    match &cli.verb {
        Verb::Fleet => verbs::fleet::run(cli),
        Verb::Doctor => doctor::run(cli),
        Verb::Image(args) => image::run(cli, args),
        Verb::Push(args) => push::run(cli, args),
        Verb::Images => images::run(cli),
        Verb::Prune(args) => prune::run(cli, args),
        Verb::Test(args) => test::run(cli, args),
    }
}
