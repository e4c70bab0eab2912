//! The command line of the packer.

mod report;

use std::{
    io::{self, IsTerminal},
    num::NonZeroUsize,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use clap::{Parser, Subcommand};
use imagepack::{Error, Options, Packed};
use signal_hook::{consts::TERM_SIGNALS, flag, low_level::emulate_default_handler};

use report::Report;

/// Packs raw disks into images for Google Compute Engine
///
/// Exit status: 0 packed, 1 failed, 2 wrong usage or input.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Pack(Pack),
}

/// Pack a raw disk into one tar.gz
///
/// The file is a standard gzip of an oldgnu tar whose only member is disk.raw. It appears under its
/// name only when it is whole, and equal disks give equal files. Progress goes to stderr, the
/// result to stdout.
#[derive(clap::Args)]
struct Pack {
    /// The raw disk: a regular file of whole GiB, sparse or not
    disk: PathBuf,
    /// The file to write; one that exists is replaced
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// zlib's compression level, from 1 (fastest) to 9 (smallest)
    #[arg(long, value_name = "N", default_value_t = Options::DEFAULT_LEVEL,
          value_parser = clap::value_parser!(u32).range(1..=9))]
    level: u32,
    /// How many threads compress [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let Verb::Pack(args) = Cli::parse().verb;
    let signal = Arc::new(AtomicUsize::new(0));
    match run(&args, &signal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if matches!(error, Error::Interrupted) {
                // The parent must see that the signal ended this process.
                let _ = emulate_default_handler(signal.load(Ordering::SeqCst) as i32);
            }
            ExitCode::from(error.exit_status())
        }
    }
}

fn run(args: &Pack, signal: &Arc<AtomicUsize>) -> Result<(), Error> {
    let mut options = Options {
        level: args.level,
        ..Options::default()
    };
    if let Some(threads) = args.threads {
        options.threads = threads;
    }
    for &number in TERM_SIGNALS {
        // Registering fails for signals that cannot be caught only, and these can.
        flag::register_usize(number, signal.clone(), number as usize)
            .and_then(|_| flag::register(number, options.stop.clone()))
            .expect("a terminating signal can be caught");
    }

    let mut report = Report::new(io::stderr().is_terminal());
    let packed = imagepack::pack(&args.disk, &args.output, &options, |progress| {
        report.update(progress);
    });
    report.finish();
    print(&packed?, args.json);
    Ok(())
}

fn print(packed: &Packed, json: bool) {
    if json {
        println!("{}", serde_json::to_string(packed).expect("plain data"));
        return;
    }
    println!("{}", packed.path.display());
    println!("  size    {} bytes", packed.file_bytes);
    println!("  disk    {} bytes", packed.disk_bytes);
    println!("  sha256  {}", packed.sha256);
    println!("  crc32c  {}", packed.crc32c);
}
