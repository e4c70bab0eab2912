//! The lock of a state, and whose it is.

use std::{fs, path::Path};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::diagnostic::Diagnostic;
use crate::{
    argv,
    process::{self, Argv},
};

/// The lock of a state, as terraform's error tells it.
pub struct Lock {
    pub id: String,
    /// What its holder did: `init`, `OperationTypeApply` and others.
    pub operation: String,
    pub who: Option<String>,
    pub created: String,
}

impl Lock {
    /// Read from the error.
    pub fn of(error: &Diagnostic) -> Option<Self> {
        if !error.summary.contains("state lock") {
            return None;
        }
        Self::read(&error.detail)
    }

    /// Read from what terraform says for people.
    pub fn read(text: &str) -> Option<Self> {
        if !text.contains("Lock Info:") {
            return None;
        }
        let field = |name: &str| {
            let lines = text.lines().map(str::trim);
            lines
                .filter_map(|line| line.strip_prefix(name))
                .map(|value| value.trim().to_owned())
                .next()
        };
        Some(Self {
            id: field("ID:")?,
            operation: field("Operation:").unwrap_or_default(),
            who: field("Who:"),
            created: field("Created:").unwrap_or_else(|| "an unknown time".to_owned()),
        })
    }

    /// Whether it is of the one who makes the state, which is then not there yet.
    pub fn is_of_init(&self) -> bool {
        self.operation == "init"
    }

    /// Who could have left it, of this checkout.
    pub fn writer(&self, folder: &Path) -> Option<Writer> {
        let file = if self.is_of_init() { INIT } else { APPLY };
        serde_json::from_slice(&fs::read(folder.join(file)).ok()?).ok()
    }
}

/// Where the last process is noted that could make the state, and the last one that could change it: one does not
/// tell whether the other still runs.
pub const INIT: &str = "init.json";
pub const APPLY: &str = "apply.json";

/// The process that last wrote to a state from this checkout, so that a lock it left can be told from one in use.
#[derive(Serialize, Deserialize)]
pub struct Writer {
    pub process: u32,
}

impl Writer {
    /// Notes it in a root's folder, before it can have a lock.
    pub fn note(self, folder: &Path, file: &str) -> Result<()> {
        Ok(fs::write(folder.join(file), serde_json::to_vec(&self)?)?)
    }
}

/// As terraform writes it into a lock.
pub fn who() -> String {
    let answer = |argv: &Argv| {
        let output = process::probe(argv).ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let user = answer(&argv!["id", "-un"]).unwrap_or_default();
    let host = answer(&argv!["uname", "-n"]).unwrap_or_default();
    format!("{user}@{host}")
}

/// Whether a process of this machine still runs.
pub fn is_alive(process: u32) -> bool {
    let command = argv!["sh", "-c", "kill -0 \"$1\"", "sh", process.to_string()];
    process::probe(&command).is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_read_from_terraforms_error() {
        let detail = "Error message: writing \"gs://b/fleet/default.tflock\" failed\nLock Info:\n  ID:        1795\n  \
                      Path:      gs://b/fleet/default.tflock\n  Operation: OperationTypeApply\n  Who:       root@host\n  \
                      Version:   1.11.4\n  Created:   2026-11-24 21:00:00 +0000 UTC\n  Info:      \n";
        let summary = "Error acquiring the state lock".to_owned();
        let lock = Lock::of(&Diagnostic {
            summary,
            detail: detail.to_owned(),
            ..Diagnostic::default()
        })
        .unwrap();
        assert_eq!(
            (lock.id.as_str(), lock.who.as_deref()),
            ("1795", Some("root@host"))
        );
        assert_eq!(lock.created, "2026-11-24 21:00:00 +0000 UTC");
        assert!(!lock.is_of_init());
        assert!(Lock::of(&Diagnostic::default()).is_none());
        let said = format!("Error: {detail}").replace("OperationTypeApply", "init");
        assert!(Lock::read(&said).unwrap().is_of_init());
    }
}
