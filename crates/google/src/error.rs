use std::{fmt, io, path::Path};

/// What kind of failure it is; decides the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something on this machine went wrong: a disk, a damaged file.
    Failed,
    /// What the caller asked for makes no sense.
    Input,
    /// Google Cloud refused, or did not answer: credentials, quota, stock-out, a 4xx.
    Refused,
}

/// One sentence of what happened and one of what to do about it.
#[derive(Debug, Clone)]
pub struct Error {
    /// What kind of failure it is.
    pub kind: Kind,
    /// What happened, without a full stop.
    pub what: String,
    /// What to do, without a full stop.
    pub mend: String,
    /// HTTP status, or that of a failed operation, where the cloud gave one.
    pub status: Option<u16>,
    /// Names of what a zone has no room for now.
    pub without_room: Vec<String>,
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Status for the process to end with: 1 failed, 2 wrong input, 4 refused by the cloud.
    pub fn exit_status(&self) -> u8 {
        match self.kind {
            Kind::Failed => 1,
            Kind::Input => 2,
            Kind::Refused => 4,
        }
    }

    /// A failure on this machine.
    pub fn failed(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Kind::Failed, what, mend)
    }

    /// Input that cannot be acted upon.
    pub fn input(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Kind::Input, what, mend)
    }

    /// A refusal by the cloud.
    pub fn refused(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Kind::Refused, what, mend)
    }

    pub(crate) fn file(path: &Path, cause: io::Error) -> Self {
        let kind = if cause.kind() == io::ErrorKind::NotFound {
            Kind::Input
        } else {
            Kind::Failed
        };
        Self::new(
            kind,
            format!("{}: {}", path.display(), plain(&cause)),
            "Check the path, its permissions and the room on its disk",
        )
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    fn new(kind: Kind, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            mend: mend.into(),
            status: None,
            without_room: Vec::new(),
        }
    }
}

/// The system's words without Rust's "(os error N)".
fn plain(cause: &io::Error) -> String {
    let text = cause.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. {}.", self.what, self.mend)
    }
}

impl std::error::Error for Error {}
