//! `status`: how the machine stands.

use agent::{
    Result,
    host::Host,
    report::{Report, State},
};
use serde_json::json;

/// Flags of `status`.
#[derive(clap::Args)]
pub struct Args {
    /// Print it as one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints it.
pub fn run(args: &Args) -> Result<()> {
    let host = Host::new()?;
    let report = host.report()?;
    if args.json {
        println!("{}", json!(report));
        return Ok(());
    }
    let system = report.system.as_ref().map_or("unknown", |s| s.as_str());
    println!("runs        {system}");
    if let Some(wanted) = report
        .wanted
        .as_ref()
        .filter(|_| report.wanted != report.system)
    {
        println!("wanted      {wanted}");
    }
    if let Some(generation) = report.generation {
        println!("generation  {generation}");
    }
    println!("state       {}", in_words(&report));
    if let Some(own) = &report.module {
        let standing = match &own.left_out {
            None => "runs on top of it".to_owned(),
            Some(reason) => format!("left out: {reason}"),
        };
        println!("own module  {}, {standing}", own.module);
    }
    if let Some(gpu) = &report.gpu {
        println!("GPU         {gpu}");
    }
    Ok(())
}

fn in_words(report: &Report) -> String {
    let words = match report.state {
        State::Unassigned => "the fleet wants no system here",
        State::Current => "runs what the fleet wants",
        State::Behind => "about to look at what the fleet wants",
        State::Fetching => "fetching what the fleet wants",
        State::RebootPending => "waits for an idle moment to restart",
        State::Rebooting => "restarting",
        State::Testing => "a new system is on trial",
        State::Reverting => "going back",
        State::Failed => "cannot get what the fleet wants, and tries again",
        State::Reverted => "went back from what the fleet wants",
    };
    if report.reason.is_empty() {
        words.to_owned()
    } else {
        format!("{words}: {}", report.reason)
    }
}
