//! The real ground: this machine, its Nix, its systemd, and the folder on the disk that outlives it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Output,
    thread,
    time::{Duration, Instant},
};

use super::{Fault, Ground, Layer, Module, Request, Standing, State};
use crate::{
    Error, Kind, Result, System,
    host::{self, Host},
    journal::{self, Phase},
    machine::{World, news},
    process,
};

/// Where the modules and the state are. It outlives the machine.
const FOLDER: &str = "/var/lib/workspace-own/module";

/// How the module stands, for everybody.
const STANDING: &str = "/run/workspace-own.json";

/// The unit that settles.
pub const UNIT: &str = "workspace-own.service";

/// How a system says from where it can be evaluated again.
const EVALUATE: &str = "etc/workspace-own.nix";

/// Without these a machine would neither be patched nor fall back.
const UNITS: [&str; 2] = [UNIT, "workspace-agent.service"];

/// Holds what runs against the garbage collector.
const ROOTS: &str = "/nix/var/nix/gcroots/workspace-own";

/// The owner waits for it: no more than so long without a problem is well, and within so long, in seconds.
const PATIENCE: (u64, u64) = (20, 120);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// This machine.
pub struct Own {
    folder: PathBuf,
    host: Host,
    /// Keeps the agent from changing the system.
    turn: Option<File>,
}

/// Has the module put on what runs by now. Most machines have none.
pub fn kick() {
    // One that settles, or is about to end, would not see what has changed: it may be killed at any time.
    let _ = process::run("systemctl", |systemctl| {
        systemctl.args(["restart", "--no-block", UNIT]);
    });
}

/// How the module stands, if there is one.
pub fn standing() -> Option<Standing> {
    let text = fs::read(STANDING).ok()?;
    serde_json::from_slice(&text).ok()
}

impl Own {
    /// As its configuration is now.
    ///
    /// # Errors
    /// It has none.
    pub fn new() -> Result<Self> {
        Ok(Self {
            folder: FOLDER.into(),
            host: Host::new()?,
            turn: None,
        })
    }

    /// The folder of a module's copy.
    pub fn module(&self, module: Module) -> PathBuf {
        self.folder.join(module.to_string())
    }

    /// The numbers of the copies that there are, the oldest first.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn modules(&self) -> Result<Vec<Module>> {
        let error = |cause| Error::file(&self.folder, &cause);
        let mut modules = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            modules.extend(name.to_str().and_then(|name| name.parse::<Module>().ok()));
        }
        modules.sort_unstable();
        Ok(modules)
    }

    /// Removes the copies of modules that came after this one.
    ///
    /// # Errors
    /// They cannot be removed.
    pub fn forget_after(&self, module: Option<Module>) -> Result<()> {
        for later in self.modules()? {
            if module.is_none_or(|module| later > module) {
                let folder = self.module(later);
                fs::remove_dir_all(&folder).map_err(|cause| Error::file(&folder, &cause))?;
            }
        }
        Ok(())
    }

    /// Copies a module, a file or a folder with a `default.nix`. One that is cut short leaves no number.
    ///
    /// # Errors
    /// It cannot be read or copied, or there is no place for it.
    pub fn copy(&self, from: &Path) -> Result<Module> {
        self.place()?;
        // Never one that is gone: what is remembered of it would be taken for this one.
        let state = self.load()?;
        let healthy = state.healthy.map(|healthy| healthy.layer.module);
        let failures = [state.failed, state.refused].into_iter().flatten();
        let remembered = failures.map(|failure| failure.layer.module).chain(healthy);
        let last = self.modules()?.into_iter().chain(remembered).max();
        let number = last.map_or(1, |last| last + 1);
        let new = self.folder.join("new");
        let file = |cause| Error::file(&new, &cause);
        if new.exists() {
            fs::remove_dir_all(&new).map_err(file)?;
        }
        let to = if from.is_dir() {
            new.clone()
        } else {
            fs::create_dir(&new).map_err(file)?;
            new.join("default.nix")
        };
        process::read("cp", |cp| {
            cp.args(["--recursive", "--dereference", "--no-target-directory"]);
            cp.arg("--").arg(from).arg(&to);
        })?;
        process::read("sync", |sync| {
            sync.arg("--file-system").arg(&new);
        })?;
        fs::rename(&new, self.module(number)).map_err(file)?;
        Ok(number)
    }

    /// The unit makes it, on the right disk.
    fn place(&self) -> Result<()> {
        if self.folder.exists() {
            return Ok(());
        }
        Err(Kind::Missing.error(
            "there is no place for a module: the disk that keeps it is missing, or this machine's system takes none",
            format!("Look at what the unit says: systemctl status {UNIT}"),
        ))
    }

    /// Asks for something, and waits for what comes of it.
    ///
    /// # Errors
    /// Nobody could settle it, or there is no place for it.
    pub fn ask(&mut self, request: Request) -> Result<State> {
        self.place()?;
        journal::write(&self.folder.join("request.json"), &request)?;
        // One that was about to end has not seen it.
        for _ in 0..3 {
            process::read("systemctl", |systemctl| {
                systemctl.args(["start", "--no-block", UNIT]);
            })?;
            while settles() {
                thread::sleep(PAUSE);
            }
            if self.request()?.is_none() {
                return self.load();
            }
        }
        Err(Kind::Failed.error(
            "it was not looked at: another system was activated by hand, or the disk is missing",
            format!("It will be, at the next start; the log is in journalctl --unit {UNIT}"),
        ))
    }

    fn hold(&self, system: &System) -> Result<()> {
        let (root, new) = (
            Path::new(ROOTS).join("healthy"),
            Path::new(ROOTS).join("new"),
        );
        let link = || {
            fs::create_dir_all(ROOTS)?;
            if new.symlink_metadata().is_ok() {
                fs::remove_file(&new)?;
            }
            symlink(system.path(), &new)?;
            fs::rename(&new, &root)
        };
        link().map_err(|cause| Error::file(&root, &cause))
    }
}

impl Ground for Own {
    fn load(&self) -> Result<State> {
        Ok(journal::read(&self.folder.join("state.json"))?.unwrap_or_default())
    }

    fn save(&mut self, state: &State) -> Result<()> {
        if let Some(healthy) = &state.healthy {
            self.hold(&healthy.system)?;
        }
        journal::write(&self.folder.join("state.json"), state)
    }

    fn request(&self) -> Result<Option<Request>> {
        journal::read(&self.folder.join("request.json"))
    }

    fn answered(&mut self, request: Request) -> Result<()> {
        let file = self.folder.join("request.json");
        if self.request()? == Some(request) {
            fs::remove_file(&file).map_err(|cause| Error::file(&file, &cause))?;
        }
        Ok(())
    }

    fn boot(&self) -> Result<String> {
        self.host.boot()
    }

    fn deployed(&self) -> Result<System> {
        // A machine that was started from elsewhere has no profile.
        match self.host.booting()? {
            Some(system) => Ok(system),
            None => host::system_at("/run/booted-system"),
        }
    }

    fn running(&self) -> Result<System> {
        host::system_at("/run/current-system")
    }

    fn has(&self, system: &System) -> bool {
        system.path().exists()
    }

    fn wait_for_turn(&mut self) -> Result<bool> {
        loop {
            if self.turn.is_none() {
                self.turn = Some(self.host.store().lock()?);
            }
            let task = self.host.load()?.task.map(|task| task.phase);
            // As long as it fetches, or waits for an idle moment, nothing has changed.
            if matches!(task, None | Some(Phase::Fetching | Phase::Waiting { .. })) {
                return Ok(self.host.running()? == self.deployed()?);
            }
            self.turn = None;
            thread::sleep(PAUSE);
        }
    }

    fn build(&mut self, layer: &Layer) -> std::result::Result<System, Fault> {
        self.turn = None;
        let evaluate = layer.deployed.path().join(EVALUATE);
        let (derivation, system) = (
            Path::new(ROOTS).join("derivation"),
            Path::new(ROOTS).join("trial"),
        );
        let fault = |reason, passing| Fault { reason, passing };
        if !evaluate.exists() {
            return Err(fault("the deployed system takes no modules".into(), false));
        }
        let said = process::run("nix-instantiate", |nix| {
            nix.arg(&evaluate).arg("--add-root").arg(&derivation);
            nix.arg("--argstr").arg("module");
            nix.arg(self.module(layer.module));
            nix.arg("--argstr").arg("deployed");
            nix.arg(layer.deployed.path());
        });
        let said = said.map_err(|error| fault(error.what, true))?;
        if !said.status.success() {
            return Err(fault(nix_error(&said), false));
        }
        let said = process::run("nix-store", |nix| {
            nix.arg("--realise").arg(&derivation);
            nix.arg("--add-root").arg(&system);
        });
        let said = said.map_err(|error| fault(error.what, true))?;
        if !said.status.success() {
            // 100: a build failed; else something could not be had, nix-store(1).
            return Err(fault(nix_error(&said), said.status.code() != Some(100)));
        }
        let system =
            host::system_at(&system.to_string_lossy()).map_err(|error| fault(error.what, false))?;
        let has = |system: &System, unit: &str| {
            let units = system.path().join("etc/systemd/system");
            units.join(unit).exists()
        };
        let needed = |unit: &&&str| has(&layer.deployed, unit) && !has(&system, unit);
        match UNITS.iter().find(needed) {
            Some(unit) => Err(fault(
                format!("it takes away {unit}, without which this machine could not go back"),
                false,
            )),
            None => Ok(system),
        }
    }

    fn activate(&mut self, system: &System) -> Result<Vec<String>> {
        self.host.activate(system)
    }

    fn problems(&mut self) -> Vec<String> {
        // The checks are those of the system that runs by now.
        match self.host.refresh() {
            Ok(()) => self.host.problems(),
            Err(error) => vec![error.what],
        }
    }

    fn watch(&mut self, known: &[String]) -> Vec<String> {
        let begin = Instant::now();
        let patience = self.host.config().patience();
        let grace = Duration::from_secs(patience.grace.min(PATIENCE.0));
        let trial = Duration::from_secs(patience.trial.min(PATIENCE.1));
        let mut well_since = None;
        loop {
            let problems = news(&self.problems(), known);
            let now = Instant::now();
            if !problems.is_empty() {
                well_since = None;
                if now - begin > trial {
                    return problems;
                }
            } else if now - *well_since.get_or_insert(now) >= grace {
                return problems;
            }
            thread::sleep(Duration::from_secs(2));
        }
    }

    fn tell(&mut self, standing: Option<&Standing>) -> Result<()> {
        process::read("workspace-notice", |notice| {
            notice.arg("own-module");
            if let Some(reason) = standing.and_then(|standing| standing.left_out.as_ref()) {
                notice.arg("Your own configuration is left out of this machine's system.");
                // Strangers read it.
                notice.arg("Everything else runs as ever. Terminals say why.");
                notice.arg(format!(
                    "{reason}\nMend your module, then: workspace apply FILE. To try it as it is: workspace apply. To do without: workspace apply --none"
                ));
            }
        })?;
        let file = Path::new(STANDING);
        match standing {
            Some(standing) => journal::write(file, standing),
            None => match fs::remove_file(file) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                    Err(Error::file(file, &cause))
                }
                _ => Ok(()),
            },
        }
    }

    fn say(&mut self, text: &str) {
        eprintln!("{text}");
    }
}

/// Whether the unit runs or is about to. While systemd starts itself anew, in the midst of a switch, it cannot be asked.
fn settles() -> bool {
    let said = process::read("systemctl", |systemctl| {
        systemctl.args(["show", UNIT, "--property=ActiveState,Job"]);
    });
    let Ok(text) = said else {
        return true;
    };
    let mut properties = text.lines().filter_map(|line| line.split_once('='));
    properties.any(|(key, value)| match key {
        "Job" => value.parse::<u32>().is_ok_and(|job| job != 0),
        _ => matches!(value, "activating" | "deactivating"),
    })
}

/// The last error that Nix wrote, and where it is.
fn nix_error(said: &Output) -> String {
    let text = String::from_utf8_lossy(&said.stderr);
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let Some(begin) = lines.iter().rposition(|line| line.starts_with("error:")) else {
        return process::last_line(&said.stderr);
    };
    let first = lines[begin].trim_start_matches("error:").trim();
    // What follows is the place and, numbered, what stands there.
    let numbered = |line: &str| line.starts_with(|c: char| c.is_ascii_digit() || c == '|');
    let rest = lines[begin + 1..]
        .iter()
        .take_while(|line| !line.is_empty() && !numbered(line))
        .take(4);
    let words: Vec<_> = std::iter::once(first)
        .chain(rest.copied())
        .filter(|line| !line.is_empty())
        .collect();
    words.join(" ").trim_end_matches(':').to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn error_of(stderr: &str) -> String {
        nix_error(&Output {
            status: std::process::ExitStatus::from_raw(256),
            stdout: Vec::new(),
            stderr: stderr.into(),
        })
    }

    #[test]
    fn of_what_nix_writes_the_last_error_and_its_place_are_the_reason() {
        let undefined = "error:\n       … while calling the 'head' builtin\n         at /nix/store/x/lib.nix:1:2:\n\n       error: undefined variable 'pkg'\n       at /var/lib/workspace-own/module/2/default.nix:2:14:\n            1| { pkgs, ... }:\n";
        assert_eq!(
            error_of(undefined),
            "undefined variable 'pkg' at /var/lib/workspace-own/module/2/default.nix:2:14"
        );
        let assertion = "error:\n       … while x\n\n       error:\n       Failed assertions:\n       - workspace.name: too long\n";
        assert_eq!(
            error_of(assertion),
            "Failed assertions: - workspace.name: too long"
        );
        assert_eq!(error_of("killed\n"), "killed");
    }
}
