//! The command `workspace` of a workspace's machine.

mod verbs;

use std::process::ExitCode;

use agent::Result;
use clap::{Parser, Subcommand};

/// Looks after this machine's system: what it runs, why, and how to go back
///
/// Exit status: 0 done, 1 something failed, 2 wrong usage, 3 something is missing on this machine.
#[derive(Parser)]
#[command(name = "workspace", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// The verbs, each in a file of its own.
#[derive(Subcommand)]
enum Verb {
    /// Say what this machine runs, and how that came
    Status(verbs::status::Args),
    /// Say why it does not run what the fleet wants
    Why,
    /// Test the GPUs: whether they work, what each step of the test found, and what mends it
    ///
    /// Exit status 1: one does not. The test also runs at boot and every hour.
    Gpu,
    /// Try what the fleet wants now, also if it was refused before
    Update,
    /// List the generations that this machine can go back to
    History,
    /// Go back: from your own module to the one before or to none; without one to an earlier generation
    ///
    /// It stays until the fleet wants something new.
    Rollback(verbs::rollback::Args),
    /// Add a NixOS module of your own to this machine, and keep it if the machine stays well
    ///
    /// It is kept when the fleet is patched, and left out, with word to you, where it no longer fits.
    Apply(verbs::apply::Args),
    /// Put the owner's module on the deployed system
    #[command(hide = true)]
    Settle,
    /// Run the service that keeps this machine on the system which the fleet wants
    Agent,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.kind as u8)
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match cli.verb {
        Verb::Status(args) => verbs::status::run(&args),
        Verb::Why => verbs::why::run(),
        Verb::Gpu => verbs::gpu::run(),
        Verb::Update => verbs::update::run(),
        Verb::Apply(args) => verbs::apply::run(&args),
        Verb::Settle => verbs::settle::run(),
        Verb::Agent => verbs::agent::run(),
        Verb::History => verbs::history::run(),
        Verb::Rollback(args) => verbs::rollback::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
