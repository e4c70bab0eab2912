//! `cloudsim`: serves the simulated cloud until it is told to stop.

use anyhow::Context as _;
use clap::Parser;
use cloudsim::{Agents, Options, Sim};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Serve a simulated Google Cloud on 127.0.0.1
///
/// For tests and rehearsals. Prints its address on stdout once it accepts connections, and serves until SIGINT or
/// SIGTERM. What it serves, and the format of a fault plan: docs/cloudsim.md.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Port to listen on; 0 takes a free one
    #[arg(long, value_name = "P", default_value_t = 0)]
    port: u16,
    /// Keep the state in this file, and object bytes in FILE.objects/
    ///
    /// Without it the state ends with the process.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Strike calls with the faults of this plan (JSON)
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Refuse what these settings say: quotas, rates, stock-outs, APIs that are not enabled (JSON)
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Append every request to this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Decides how many polls operations take, and which machines fail
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Give machines agents that act on `workspace-system`: so many of them, all without a number
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1000000")]
    agents: Option<usize>,
    /// About so many of a hundred machines take no new system
    #[arg(long, value_name = "P%", default_value = "0%", value_parser = percent, requires = "agents")]
    failing: f64,
    /// Seconds of the agents' that pass in one of ours
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), requires = "agents")]
    pace: u32,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok();
    let number = number.filter(|number| (0.0..=100.0).contains(number));
    number.ok_or_else(|| "write it as 3%".to_owned())
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let read = || {
        anyhow::Ok((
            read_or_default(cli.faults.as_deref())?,
            read_or_default(cli.settings.as_deref())?,
        ))
    };
    let (faults, settings) = match read() {
        Ok(read) => read,
        Err(error) => {
            eprintln!(
                "cloudsim: {error:#}\nThe formats of fault plans and settings are in docs/cloudsim.md."
            );
            return ExitCode::from(2);
        }
    };
    match serve(Options {
        port: cli.port,
        state: cli.state,
        log: cli.log,
        faults,
        seed: cli.seed,
        settings,
        agents: cli.agents.map(|most| Agents {
            most,
            failing_percent: cli.failing,
            seed: cli.seed,
            pace: cli.pace,
        }),
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!(
                "cloudsim: {error:#}\nGive another --port, --state or --log, or end what holds it."
            );
            ExitCode::FAILURE
        }
    }
}

fn read_or_default<T: Default + DeserializeOwned>(path: Option<&Path>) -> anyhow::Result<T> {
    let Some(path) = path else {
        return Ok(T::default());
    };
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not valid", path.display()))
}

fn serve(options: Options) -> anyhow::Result<()> {
    let sim = Sim::start(options)?;
    println!("{}", sim.url());
    let signals = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    signals.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}
