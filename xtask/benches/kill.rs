//! Kills `up`, or `move`, at its calls, each time in a new simulated cloud:
//! `cargo bench -p xtask --bench kill -- [--move] [--every K | --changes]`.
//!
//! Needs terraform and its provider. Prints what the next run did not mend, then how many calls, failures and seconds.

#[path = "../tests/shop/mod.rs"]
mod shop;
#[path = "../tests/stage/mod.rs"]
mod stage;
#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use clap::Parser;
use cloudsim::{Fault, Rule};

/// Kill `up` at its calls, and see the next one finish it
#[derive(Parser)]
struct Args {
    /// Kill `move` instead, of a workspace whose zone has no room
    #[arg(long = "move")]
    moves: bool,
    /// Kill at every Kth call; 1 is the full matrix
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    every: u16,
    /// Leave out the calls that find the cloud as the one before did: those that only read, but for the first after each
    /// that writes
    #[arg(long, conflicts_with = "every")]
    changes: bool,
    /// Kill at this call and no other; may be given several times
    #[arg(long, value_name = "CALL", conflicts_with_all = ["every", "changes"])]
    at: Vec<usize>,
    /// How many clouds at once
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// cargo adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(why) = stage::missing() {
        eprintln!("cannot run here: {why}");
        return ExitCode::from(3);
    }
    let store = shop::Store::new(0);
    let undisturbed = (!args.moves).then(|| stage::undisturbed(&store));
    let stuck = args.moves.then(|| stage::Stuck::new(&store));
    let log = match (&undisturbed, &stuck) {
        (Some(up), _) => &up.log,
        (_, Some(stuck)) => &stuck.log(&store),
        _ => unreachable!("it is one or the other"),
    };
    let total = log.len();
    let writes = |call: usize| log[call - 1].method != "GET";
    let finds_another = |call: usize| call == 1 || writes(call) || writes(call - 1);
    let killed_at = |call: usize| match (&undisturbed, &stuck) {
        (Some(up), _) => stage::killed_at(&store, call, up),
        (_, Some(stuck)) => stuck.killed(&store, Rule::nth(call as u64, Fault::NoReply)),
        _ => unreachable!("it is one or the other"),
    };
    let started = Instant::now();
    let calls: Vec<usize> = if !args.at.is_empty() {
        args.at
    } else if args.changes {
        (1..=total).filter(|&call| finds_another(call)).collect()
    } else {
        (1..=total).step_by(args.every.into()).collect()
    };
    let (next, run, failures) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                while let Some(&call) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(wrong) = killed_at(call) {
                        failures.fetch_add(1, Ordering::Relaxed);
                        println!("killed at call {call}: {wrong}");
                    }
                    let run = run.fetch_add(1, Ordering::Relaxed) + 1;
                    eprintln!(
                        "{run} of {} done, the last at call {call} of {total}",
                        calls.len()
                    );
                }
            });
        }
    });
    let failures = failures.into_inner();
    println!(
        "killed at {} of {} calls, {failures} failures, {} s",
        run.into_inner(),
        total,
        started.elapsed().as_secs()
    );
    ExitCode::from(u8::from(failures > 0))
}
