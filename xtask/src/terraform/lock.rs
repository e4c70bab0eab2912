//! The lock of a state, and whose it is.

use serde::{Deserialize, Serialize};

use super::diagnostic::Diagnostic;
use crate::{
    argv,
    process::{self, Argv},
};

/// The lock of a state, as terraform's error tells it.
pub struct Lock {
    pub id: String,
    pub who: Option<String>,
    pub created: String,
}

impl Lock {
    /// Read from the error.
    pub fn of(error: &Diagnostic) -> Option<Self> {
        if !error.summary.contains("state lock") {
            return None;
        }
        let field = |name: &str| {
            let lines = error.detail.lines().map(str::trim);
            lines
                .filter_map(|line| line.strip_prefix(name))
                .map(|value| value.trim().to_owned())
                .next()
        };
        Some(Self {
            id: field("ID:")?,
            who: field("Who:"),
            created: field("Created:").unwrap_or_else(|| "an unknown time".to_owned()),
        })
    }
}

/// The process that last wrote to a state from this checkout, so that a lock it left can be told from one in use.
#[derive(Serialize, Deserialize)]
pub struct Writer {
    pub process: u32,
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
        assert!(Lock::of(&Diagnostic::default()).is_none());
    }
}
