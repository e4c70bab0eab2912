use std::{fmt, io, path::Path};

/// What kind of failure it is; decides the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something went wrong.
    Failed = 1,
    /// What was asked for makes no sense.
    Usage = 2,
    /// This machine lacks something.
    Missing = 3,
}

/// One sentence of what happened and one of what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind of failure it is.
    pub kind: Kind,
    /// What happened, without a full stop.
    pub what: String,
    /// What to do, without a full stop.
    pub mend: String,
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Kind {
    /// An error of this kind.
    pub fn error(self, what: impl Into<String>, mend: impl Into<String>) -> Error {
        Error {
            kind: self,
            what: what.into(),
            mend: mend.into(),
        }
    }
}

impl Error {
    /// A file that cannot be read or written.
    pub fn file(path: &Path, cause: &io::Error) -> Self {
        let mend = match cause.kind() {
            io::ErrorKind::PermissionDenied => "Run it as root: sudo workspace …",
            io::ErrorKind::StorageFull => "Make room: sudo nix-collect-garbage",
            _ => "Look at the path and at what is wrong with its disk",
        };
        Kind::Failed.error(format!("{}: {cause}", path.display()), mend)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. {}.", self.what, self.mend)
    }
}

impl std::error::Error for Error {}
