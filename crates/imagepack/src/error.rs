//! What can go wrong, in two sentences each: what happened, what to do.

use std::{io, path::PathBuf};

/// Why a disk was not packed. Its text is one sentence of what happened and one of what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input or the output is not one that can be packed; nothing was written.
    #[error("{what}. {mend}.")]
    Refused {
        /// What is wrong.
        what: String,
        /// What mends it.
        mend: String,
    },
    /// Another process holds the partial file of this output.
    #[error("{output} is being written by another process. Wait for it or choose another output.")]
    Busy {
        /// The output both want to write.
        output: PathBuf,
    },
    /// The disk's size or modification time changed while it was read.
    #[error(
        "{disk} changed while it was being packed. Stop whatever writes to it, then pack it again."
    )]
    Changed {
        /// The disk.
        disk: PathBuf,
    },
    /// The caller raised [`Options::stop`](crate::Options::stop).
    #[error("packing was interrupted and left no file. Run it again.")]
    Interrupted,
    /// The disk could not be read.
    #[error("{disk} could not be read: {source}. Check its permissions and the medium it is on.")]
    Read {
        /// The disk.
        disk: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The output could not be written.
    #[error(
        "{output} could not be written: {source}. Make room and check the permissions there, or choose another output."
    )]
    Write {
        /// The output.
        output: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    /// The exit status that tells a script which kind of failure this is: 2 for an input or output
    /// to be mended by the caller, 1 for everything else.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Refused { .. } => 2,
            _ => 1,
        }
    }

    pub(crate) fn refused(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Refused {
            what: what.into(),
            mend: mend.into(),
        }
    }
}
