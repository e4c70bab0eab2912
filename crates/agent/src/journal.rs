//! What the agent is doing, written down before it does it, so that whoever comes after a kill or a
//! power cut knows where to go on.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Error, Result, System};

/// Where it is kept.
pub const FOLDER: &str = "/var/lib/workspace-agent";

/// All that the agent must not forget.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// The system that the fleet wants here, as last seen.
    pub wanted: Option<System>,
    /// What is under way.
    pub task: Option<Task>,
    /// Why the system that was tried last is not the one that runs.
    pub refused: Option<Refused>,
}

/// A change from one system to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// To go back to.
    pub old: System,
    /// To be tried.
    pub new: System,
    /// Who wants it.
    pub origin: Origin,
    /// How far it is.
    pub phase: Phase,
    /// The boot during which it got there.
    pub boot: String,
    /// How often the machine restarted while the new system was on trial.
    pub restarts: u8,
    /// What was wrong before, and is not the new system's fault.
    pub known: Vec<String>,
}

/// Who wants a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The fleet's operators, by the machine's metadata.
    Fleet,
    /// The machine's owner, by a command on it.
    Owner,
}

/// A step of a task, written down before it is taken. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Its closure comes from the cache. Nothing has changed.
    Fetching,
    /// It waits for an idle moment to reboot. Nothing has changed.
    Waiting {
        /// When it waits no longer.
        until: u64,
        /// Whether those on the machine were told that the time is near.
        warned: bool,
    },
    /// The boot menu gets an entry that is chosen once. The next boot may bring either system.
    Arming,
    /// The machine reboots into the new system. If the old one comes up, the new one could not.
    Rebooting,
    /// It is being activated. A reboot brings the old one.
    Testing,
    /// It runs on trial. A reboot brings the old one.
    Watching {
        /// Since when.
        since: u64,
    },
    /// It is being made the one that boots. A reboot may bring either.
    Committing,
    /// The old one is being activated and made the one that boots.
    Returning {
        /// Why.
        reason: String,
        /// Whether the new one may be tried once more.
        again: bool,
    },
}

/// A system that is not to be tried, or not yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Which.
    pub system: System,
    /// Why, for people.
    pub reason: String,
    /// When, in seconds since 1970.
    pub at: u64,
    /// Whether it was tried and did not stand, rather than not got at all.
    pub tried: bool,
    /// When it is tried again, in seconds since 1970; never, unless wanted anew, if there is none.
    pub again: Option<u64>,
    /// How often it could not be got.
    pub times: u32,
}

/// The file of a journal.
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// In this folder, which must exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.join("journal.json")
    }

    /// What it holds; an empty journal if there is none.
    ///
    /// One that cannot be read as a journal is put aside: the agent then judges by what it sees.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn load(&self) -> Result<Journal> {
        Ok(read(&self.file())?.unwrap_or_default())
    }

    /// Writes it so that after a power cut there is the old or the new one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, journal: &Journal) -> Result<()> {
        write(&self.file(), journal)
    }

    /// Waits for whoever else is taking a step: the service, or a command of the owner's.
    ///
    /// # Errors
    /// The lock cannot be made.
    pub fn lock(&self) -> Result<File> {
        let file = self.folder.join("lock");
        // Where the service does not run, on a laptop, nobody else has made the folder.
        fs::create_dir_all(&self.folder)
            .and_then(|()| File::create(&file))
            .and_then(|lock| lock.lock().map(|()| lock))
            .map_err(|cause| Error::file(&file, &cause))
    }
}

/// What a file holds, if there is one. One that makes no sense is put aside.
pub(crate) fn read<T: DeserializeOwned>(file: &Path) -> Result<Option<T>> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(Error::file(file, &cause)),
    };
    serde_json::from_slice(&text).map(Some).or_else(|cause| {
        let aside = file.with_extension("unreadable");
        eprintln!("{} is unreadable ({cause}), put aside", file.display());
        fs::rename(file, aside).map_err(|cause| Error::file(file, &cause))?;
        Ok(None)
    })
}

/// Writes a file so that after a power cut there is the old or the new one.
pub(crate) fn write(file: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).expect("plain data");
    replace(file, &text).map_err(|cause| Error::file(file, &cause))
}

fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let unfinished = file.with_extension("new");
    let mut new = File::create(&unfinished)?;
    new.write_all(text)?;
    new.sync_all()?;
    fs::rename(&unfinished, file)?;
    File::open(file.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        assert_eq!(store.load().unwrap(), Journal::default());
        let system = |c: &str| -> System {
            format!("/nix/store/{}-nixos", c.repeat(32))
                .parse()
                .unwrap()
        };
        let journal = Journal {
            wanted: Some(system("a")),
            task: Some(Task {
                old: system("b"),
                new: system("a"),
                origin: Origin::Fleet,
                phase: Phase::Watching { since: 7 },
                boot: "boot".into(),
                restarts: 1,
                known: vec!["unit a.service failed".into()],
            }),
            refused: None,
        };
        store.save(&journal).unwrap();
        assert_eq!(store.load().unwrap(), journal);
    }

    #[test]
    fn one_that_is_no_journal_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        fs::write(store.file(), "{\"of a later\": \"version\"}").unwrap();
        assert_eq!(store.load().unwrap(), Journal::default());
        assert!(folder.path().join("journal.unreadable").exists());
        assert_eq!(store.load().unwrap(), Journal::default());
    }
}
