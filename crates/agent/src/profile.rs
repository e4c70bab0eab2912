//! The system profile: the generations that the machine can boot.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{Error, Result, System, process};

/// The profile of the whole system.
pub struct Profile {
    link: PathBuf,
}

/// A system that was committed once and can be booted from the boot menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// What it is.
    pub system: System,
    /// When it was committed.
    pub since: SystemTime,
    /// Whether the profile stands on it: what boots next unless somebody chooses another.
    pub current: bool,
}

impl Profile {
    /// The machine's.
    pub fn of_machine() -> Self {
        Self::at("/nix/var/nix/profiles/system")
    }

    /// One whose link is elsewhere.
    pub fn at(link: impl Into<PathBuf>) -> Self {
        Self { link: link.into() }
    }

    /// Its generations, the oldest first.
    ///
    /// # Errors
    /// The folder of the profile cannot be read.
    pub fn generations(&self) -> Result<Vec<Generation>> {
        let folder = self.link.parent().unwrap_or(Path::new("/"));
        let current = fs::read_link(&self.link).ok();
        let error = |cause| Error::file(folder, &cause);
        let mut generations = Vec::new();
        let entries = match fs::read_dir(folder) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(generations),
            entries => entries.map_err(error)?,
        };
        for entry in entries {
            let entry = entry.map_err(error)?;
            let name = entry.file_name();
            let Some(number) = self.number(Path::new(&name)) else {
                continue;
            };
            let target = fs::read_link(entry.path()).map_err(error)?;
            let Some(system) = target.to_str().and_then(|target| target.parse().ok()) else {
                continue;
            };
            let since = entry.path().symlink_metadata().and_then(|m| m.modified());
            generations.push(Generation {
                number,
                system,
                since: since.unwrap_or(SystemTime::UNIX_EPOCH),
                current: current.as_ref().and_then(|link| self.number(link)) == Some(number),
            });
        }
        generations.sort_by_key(|generation| generation.number);
        Ok(generations)
    }

    /// The generation that it stands on.
    ///
    /// # Errors
    /// As [`Self::generations`].
    pub fn current(&self) -> Result<Option<Generation>> {
        let generations = self.generations()?;
        Ok(generations.into_iter().find(|g| g.current))
    }

    /// Makes it stand on a system: on the latest generation that is it, or else on a new one.
    ///
    /// # Errors
    /// Nix refuses.
    pub fn set(&self, system: &System) -> Result<()> {
        let generations = self.generations()?;
        let latest = generations.iter().rev().find(|g| g.system == *system);
        process::read("nix-env", |nix_env| {
            process::without_daemon(nix_env)
                .arg("--profile")
                .arg(&self.link);
            match latest {
                Some(latest) => nix_env.args(["--switch-generation", &latest.number.to_string()]),
                None => nix_env.arg("--set").arg(system.path()),
            };
        })?;
        Ok(())
    }

    /// Removes what was made of a system after the generation that it stands on.
    ///
    /// # Errors
    /// Nix refuses.
    pub fn drop_later(&self, system: &System) -> Result<()> {
        let generations = self.generations()?;
        let later = generations.iter().rev().take_while(|g| !g.current);
        let numbers: Vec<_> = later
            .filter(|g| g.system == *system)
            .map(|g| g.number.to_string())
            .collect();
        if numbers.is_empty() {
            return Ok(());
        }
        process::read("nix-env", |nix_env| {
            process::without_daemon(nix_env)
                .arg("--profile")
                .arg(&self.link);
            nix_env.arg("--delete-generations").args(numbers);
        })?;
        Ok(())
    }

    /// `system-12-link` → 12.
    fn number(&self, link: &Path) -> Option<u64> {
        let profile = self.link.file_name()?.to_str()?;
        let rest = link.file_name()?.to_str()?.strip_prefix(profile)?;
        rest.strip_prefix('-')?.strip_suffix("-link")?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn generations_come_in_order_and_strangers_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let target = |c: char| format!("/nix/store/{}-nixos-system", c.to_string().repeat(32));
        symlink(target('a'), at("system-9-link")).unwrap();
        symlink(target('b'), at("system-10-link")).unwrap();
        symlink("system-9-link", at("system")).unwrap();
        symlink("/somewhere", at("system-3-link")).unwrap();
        symlink(target('c'), at("system-x-link")).unwrap();
        symlink(target('c'), at("per-user-1-link")).unwrap();
        let profile = Profile::at(at("system"));
        let generations = profile.generations().unwrap();
        let seen: Vec<_> = generations
            .iter()
            .map(|g| (g.number, g.system.to_string(), g.current))
            .collect();
        assert_eq!(seen, [(9, target('a'), true), (10, target('b'), false)]);
        assert_eq!(profile.current().unwrap().unwrap().number, 9);
    }

    #[test]
    fn a_machine_without_the_profile_has_no_current_generation() {
        let folder = tempfile::tempdir().unwrap();
        for link in ["system", "none/system"] {
            let profile = Profile::at(folder.path().join(link));
            assert_eq!(profile.current().unwrap(), None);
        }
    }
}
