//! The real world: this machine, its systemd, its Nix.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    Error, Kind, Profile, Result, System,
    config::Config,
    journal::{FOLDER, Journal, Store},
    machine::World,
    menu,
    metadata::Metadata,
    own, process,
    report::{self, Report},
    switch,
};

/// Where the module `cuda` puts what the last test of the GPUs said.
const GPU: &str = "/run/workspace/gpu";

/// This machine.
pub struct Host {
    config: Config,
    store: Store,
    profile: Profile,
    metadata: Metadata,
}

impl Host {
    /// As its configuration is now.
    ///
    /// # Errors
    /// It has none for the agent.
    pub fn new() -> Result<Self> {
        Ok(Self {
            config: Config::read()?,
            store: Store::new(FOLDER),
            profile: Profile::of_machine(),
            metadata: Metadata::from_env(),
        })
    }

    /// Reads the configuration again: that of the system that runs by now.
    ///
    /// # Errors
    /// The system has none for the agent.
    pub fn refresh(&mut self) -> Result<()> {
        self.config = Config::read()?;
        Ok(())
    }

    /// What the configuration says.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The journal.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The generations.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The metadata server.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// How the machine stands.
    ///
    /// # Errors
    /// The journal or the profile cannot be read.
    pub fn report(&self) -> Result<Report> {
        let journal = self.store.load()?;
        let running = self.running().ok();
        let (state, reason) = report::state(&journal, running.as_ref());
        Ok(Report {
            wanted: journal.wanted,
            system: running,
            state,
            reason,
            generation: self.profile.current()?.map(|generation| generation.number),
            boot: booted_at()?,
            module: own::standing(),
            gpu: fs::read_to_string(GPU)
                .ok()
                .map(|line| line.trim().to_owned()),
        })
    }

    /// The units that have failed, or are failing again and again, and should not.
    fn failed_units(&self) -> Result<Vec<String>> {
        let text = process::read("systemctl", |systemctl| {
            systemctl.args(["list-units", "--state=failed,auto-restart", "--plain"]);
            systemctl.args(["--no-legend", "--no-pager"]);
        })?;
        // Neither of these tells how well a system is.
        let ours = [switch::UNIT, own::UNIT];
        let may_fail = |unit: &str| self.config.may_fail.iter().any(|name| name == unit);
        let units = text
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        Ok(units
            .filter(|unit| !ours.contains(unit) && !may_fail(unit))
            .map(|unit| format!("unit {unit}: it failed"))
            .collect())
    }
}

impl World for Host {
    fn now(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.unwrap_or_default().as_secs()
    }

    fn boot(&self) -> Result<String> {
        let file = Path::new("/proc/sys/kernel/random/boot_id");
        let id = fs::read_to_string(file).map_err(|cause| Error::file(file, &cause))?;
        Ok(id.trim().to_owned())
    }

    fn running(&self) -> Result<System> {
        // A module of the owner's may be layered on it: see `own`.
        system_at("/run/current-system/deployed").or_else(|_| system_at("/run/current-system"))
    }

    fn booting(&self) -> Result<Option<System>> {
        Ok(self.profile.current()?.map(|generation| generation.system))
    }

    fn problems(&mut self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Err(problem) = self.metadata.reach() {
            problems.push(format!("network: {problem}"));
        }
        match self.failed_units() {
            Ok(units) => problems.extend(units),
            Err(error) => problems.push(format!("systemd: {}", error.what)),
        }
        for (name, check) in &self.config.checks {
            let output = process::run("timeout", |timeout| {
                timeout
                    .arg("--kill-after=5")
                    .arg(check.timeout_seconds.to_string());
                timeout.arg(&check.command);
            });
            match output {
                Ok(output) if output.status.success() => {}
                Ok(output) => {
                    let said = if output.stderr.is_empty() {
                        output.stdout
                    } else {
                        output.stderr
                    };
                    problems.push(format!("check {name}: {}", process::last_line(&said)));
                }
                Err(error) => problems.push(format!("check {name}: {}", error.what)),
            }
        }
        problems
    }

    fn idle(&mut self) -> bool {
        let status = Command::new(&self.config.idle).status();
        status.is_ok_and(|status| status.success())
    }

    fn needs_reboot(&self, new: &System) -> bool {
        let differs = |old: &str, parts: &[&str], same: fn(&Path, &Path) -> bool| {
            let old = Path::new(old);
            parts
                .iter()
                .any(|part| !same(&old.join(part), &new.path().join(part)))
        };
        differs("/run/booted-system", &["kernel", "initrd", "kernel-modules"], |a, b| {
            fs::canonicalize(a).ok() == fs::canonicalize(b).ok()
        })
            // What switch-to-configuration would refuse to change under a running system.
            || differs("/run/current-system", &["switch-inhibitors"], |a, b| {
                fs::read(a).ok() == fs::read(b).ok()
            })
    }

    fn load(&self) -> Result<Journal> {
        self.store.load()
    }

    fn save(&mut self, journal: &Journal) -> Result<()> {
        self.store.save(journal)
    }

    fn fetch(&mut self, system: &System) -> Result<()> {
        realise(system)?;
        let switch = system.path().join("bin/switch-to-configuration");
        if switch.exists() {
            return Ok(());
        }
        Err(Kind::Failed.error(
            format!("{system} is no system that can be switched to"),
            "Deploy a system of this flake: cargo xtask deploy",
        ))
    }

    fn activate(&mut self, system: &System) -> Result<Vec<String>> {
        if switch::activate(system)? {
            return Ok(Vec::new());
        }
        // The new one knows which may fail.
        self.refresh()?;
        self.failed_units()
    }

    fn commit(&mut self, system: &System, instead_of: Option<&System>) -> Result<()> {
        self.profile.set(system)?;
        if let Some(dropped) = instead_of {
            self.profile.drop_later(dropped)?;
        }
        switch::install_boot_entry(system)?;
        own::kick();
        Ok(())
    }

    fn boot_once(&mut self, new: &System, old: &System) -> Result<()> {
        // The boot menu has an entry for each generation of the profile; its default is the system
        // whose installer runs.
        self.profile.set(new)?;
        let installed = switch::install_boot_entry(old);
        self.profile.set(old)?;
        installed?;
        menu::choose_once(new)
    }

    fn reboot(&mut self) -> Result<()> {
        process::read("systemctl", |systemctl| {
            systemctl.arg("reboot");
        })?;
        Ok(())
    }

    fn announce(&mut self, text: &str) {
        self.say(text);
        // Nobody may be there to read it.
        let _ = process::run("wall", |wall| {
            wall.arg(text);
        });
    }

    fn say(&mut self, text: &str) {
        eprintln!("{text}");
    }
}

/// Gets a closure, and holds it against the garbage collector.
fn realise(system: &System) -> Result<()> {
    let mut nix = process::without_daemon(&mut Command::new("nix-store"))
        .args(["--realise", system.as_str()])
        .args(["--add-root", &format!("{FOLDER}/trial")])
        // A path that was missing a minute ago may be there now.
        .args(["--option", "narinfo-cache-negative-ttl", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|cause| {
            Kind::Missing.error(
                format!("nix-store cannot be run ({cause})"),
                "Run this on a workspace's machine",
            )
        })?;
    let mut reason = None;
    let mut last = String::new();
    for line in BufReader::new(nix.stderr.take().expect("it is piped")).lines() {
        let Ok(line) = line else { break };
        // To the journal: it is the progress.
        eprintln!("{line}");
        let line = line.trim().to_owned();
        if reason.is_none() && says_why(&line) {
            reason = Some(line);
        } else if !line.is_empty() {
            last = line;
        }
    }
    match nix.wait() {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Kind::Failed.error(
            format!("it cannot be fetched: {}", reason.unwrap_or(last)),
            "Look at the log: journalctl --unit workspace-agent",
        )),
    }
}

/// Nix ends with the news that a path cannot be had; why, it says before.
fn says_why(line: &str) -> bool {
    [
        "signed by",
        "signature",
        "hash mismatch",
        "corrupt",
        "truncated",
        "unexpected end",
        "HTTP error",
    ]
    .iter()
    .any(|why| line.contains(why))
}

/// Those that failed, and those that fail again and again.
pub(crate) fn system_at(link: &str) -> Result<System> {
    let path = Path::new(link);
    let target = fs::canonicalize(path).map_err(|cause| Error::file(path, &cause))?;
    let target = target.to_string_lossy().into_owned();
    target
        .try_into()
        .map_err(|what| Kind::Missing.error(format!("{link}: {what}"), "Run this on NixOS"))
}

/// When the machine booted, in seconds since 1970, from `btime` of proc(5).
fn booted_at() -> Result<u64> {
    let file = Path::new("/proc/stat");
    let text = fs::read_to_string(file).map_err(|cause| Error::file(file, &cause))?;
    let time = text.lines().find_map(|line| line.strip_prefix("btime "));
    Ok(time.and_then(|time| time.trim().parse().ok()).unwrap_or(0))
}
