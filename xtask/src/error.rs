//! Errors that say what happened, what to do, and which exit status that is.

use std::fmt;

/// What kind of failure it is: the exit status of xtask.
///
/// clap ends with 2 for a wrong command line, as [`Kind::Usage`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Something ran and failed.
    Failed = 1,
    /// The command line or a file is wrong.
    Usage = 2,
    /// A program or the platform is missing on this machine.
    Missing = 3,
    /// The cloud refused: credentials, quota, stock-out.
    Refused = 4,
}

impl Kind {
    /// A failure of this kind: what happened, and what to do about it.
    pub fn error(self, what: impl Into<String>, mend: impl Into<String>) -> anyhow::Error {
        let (kind, what, mend) = (self, what.into(), mend.into());
        anyhow::Error::new(Error { kind, what, mend })
    }
}

/// A failure: one sentence what happened, one what to do.
#[derive(Debug)]
pub struct Error {
    /// The exit status.
    pub kind: Kind,
    /// What happened.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Error {}

/// A program of this project ended with this status and has said why: there is nothing to add, and the status means
/// the same here.
#[derive(Debug)]
pub struct Told(pub u8);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended with status {}", self.0)
    }
}

impl std::error::Error for Told {}
