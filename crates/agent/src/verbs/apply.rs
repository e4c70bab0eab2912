//! `apply`: a NixOS module of the owner's.

use std::{
    env, fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command},
};

use agent::{
    Error, Kind, Result,
    own::{self, Ground, Own, Request},
};

/// Flags of `apply`.
#[derive(clap::Args)]
pub struct Args {
    /// A NixOS module: a file, or a folder with a default.nix. It is copied. The present one is tried again unless given
    #[arg(value_name = "FILE", conflicts_with = "none")]
    module: Option<PathBuf>,

    /// Go without a module of your own
    #[arg(long)]
    none: bool,
}

/// Tries it, and keeps it if the machine stays well.
pub fn run(args: &Args) -> Result<()> {
    let module = args.module.as_deref().map(checked).transpose()?;
    become_root(module.as_deref(), args.none)?;
    let mut own = Own::new()?;
    match (module, args.none) {
        (Some(module), _) => {
            let number = own.copy(&module)?;
            let asked = ask(&mut own, Request::Take(number));
            if own.load()?.wanted != Some(number) && own.request()?.is_none() {
                // The owner has the original.
                own.forget_after(Some(number - 1))?;
            }
            asked
        }
        (None, true) => {
            ask(&mut own, Request::Drop)?;
            own.forget_after(None)
        }
        (None, false) => ask(&mut own, Request::TryAgain),
    }
}

/// Back to the module before the present one, or to none; whether there is a present one.
pub fn roll_back() -> Result<bool> {
    let mut own = Own::new()?;
    let Some(present) = own.load()?.wanted else {
        return Ok(false);
    };
    let earlier = own.modules()?.into_iter().rfind(|module| *module < present);
    let request = earlier.map_or(Request::Drop, Request::Take);
    ask(&mut own, request)?;
    own.forget_after(earlier)?;
    Ok(true)
}

fn ask(own: &mut Own, request: Request) -> Result<()> {
    let mut log = follow_log();
    let state = own.ask(request);
    if let Some(log) = &mut log {
        let _ = log.kill();
        let _ = log.wait();
    }
    let state = state?;
    let failure = match request {
        Request::Take(module) if state.wanted == Some(module) => None,
        Request::Take(_) => state.refused,
        Request::TryAgain => state.failed,
        Request::Drop => None,
    };
    if let Some(failure) = failure {
        return Err(Kind::Failed.error(
            failure.reason,
            "Mend the module and apply it again; the machine runs as it did before",
        ));
    }
    match state.wanted {
        Some(module) => println!(
            "runs with your module, copied to {}",
            own.module(module).display()
        ),
        None => println!("runs as deployed, without a module of yours"),
    }
    Ok(())
}

/// Without these nothing would be tried.
fn checked(module: &Path) -> Result<PathBuf> {
    let absolute = fs::canonicalize(module).map_err(|cause| Error {
        kind: Kind::Usage,
        ..Error::file(module, &cause)
    })?;
    if absolute.is_dir() && !absolute.join("default.nix").is_file() {
        return Err(Kind::Usage.error(
            format!("{} has no default.nix", module.display()),
            "Name the file, or name the one that imports the others default.nix",
        ));
    }
    Ok(absolute)
}

/// Starts anew as root, unless this is root.
fn become_root(module: Option<&Path>, none: bool) -> Result<()> {
    let process = Path::new("/proc/self");
    let metadata = fs::metadata(process).map_err(|cause| Error::file(process, &cause))?;
    if metadata.uid() == 0 {
        return Ok(());
    }
    let program = env::current_exe().map_err(|cause| Error::file(process, &cause))?;
    let mut sudo = Command::new("sudo");
    sudo.arg(program).arg("apply").args(module);
    if none {
        sudo.arg("--none");
    }
    let cause = sudo.exec();
    Err(Kind::Missing.error(format!("sudo cannot be run ({cause})"), "Run it as root"))
}

/// What is being done, for who waits.
fn follow_log() -> Option<Child> {
    let mut journalctl = Command::new("journalctl");
    journalctl.args(["--follow", "--lines=0", "--output=cat", "--unit", own::UNIT]);
    journalctl.spawn().ok()
}
