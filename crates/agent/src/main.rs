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
    /// List the generations that this machine can go back to
    History,
    /// Go back to an earlier generation, now and at the next boot
    Rollback(verbs::rollback::Args),
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
