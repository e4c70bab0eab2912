//! The raw disk: what is accepted, and where its data is.

use std::{
    fs::{File, Metadata},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};

use crate::Error;

/// A disk is compressed in chunks of this many bytes, counted from its start.
pub const CHUNK: u64 = 1 << 20;
/// Google Compute Engine imports whole GiB only.
const GIB: u64 = 1 << 30;

/// An open disk and its state when it was opened.
pub struct Disk {
    path: PathBuf,
    file: File,
    metadata: Metadata,
}

/// The next part of a disk.
pub enum Span {
    /// This many chunks of zeroes that need not be read.
    Hole(u64),
    /// One chunk to read, at this offset in bytes.
    Data(u64),
}

impl Disk {
    /// Opens a regular file of one or more whole GiB and refuses anything else.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let name = path.display();
        let read = |source| Error::Read {
            disk: path.to_owned(),
            source,
        };
        // Looked at before it is opened: opening a pipe waits for a writer.
        let metadata = path.metadata().map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::refused(
                format!("{name} does not exist"),
                "Name the raw disk to pack",
            ),
            _ => read(error),
        })?;
        if !metadata.is_file() {
            return Err(Error::refused(
                format!("{name} is not a regular file"),
                "Name a file that holds the raw disk; copy a device into one first",
            ));
        }
        let file = File::open(path).map_err(read)?;
        let metadata = file.metadata().map_err(read)?;
        match metadata.len() {
            0 => Err(Error::refused(
                format!("{name} is empty"),
                "Name the raw disk to pack",
            )),
            size if size % GIB != 0 => Err(Error::refused(
                format!(
                    "{name} holds {size} bytes, and Google Compute Engine imports only disks of whole GiB"
                ),
                format!(
                    "Grow it with `truncate -s %1G {name}` and let its last partition or its backup GPT follow"
                ),
            )),
            _ => Ok(Self {
                path: path.to_owned(),
                file,
                metadata,
            }),
        }
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.metadata.len()
    }

    /// Whether `other` is this very file, by whatever name.
    pub fn is(&self, other: &Metadata) -> bool {
        (self.metadata.dev(), self.metadata.ino()) == (other.dev(), other.ino())
    }

    /// The whole disk, in order. Neighbouring holes come as one.
    pub fn spans(&self) -> impl Iterator<Item = Result<Span, Error>> {
        let mut at = 0;
        let mut data_end = 0;
        std::iter::from_fn(move || {
            if at == self.size() {
                return None;
            }
            if at == data_end {
                let (start, end) = match self.next_data(at) {
                    Ok(data) => data,
                    Err(source) => return Some(Err(self.unreadable(source))),
                };
                data_end = end;
                if start > at {
                    let chunks = (start - at) / CHUNK;
                    at = start;
                    // A hole up to the disk's end leaves no data after it.
                    return Some(Ok(Span::Hole(chunks)));
                }
            }
            at += CHUNK;
            Some(Ok(Span::Data(at - CHUNK)))
        })
    }

    /// Start and end, in whole chunks, of the first data at or after `at`.
    fn next_data(&self, at: u64) -> io::Result<(u64, u64)> {
        let start = match seek(&self.file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok((self.size(), self.size())),
            // A file system that cannot tell holes from data.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok((at, self.size())),
            Err(error) => return Err(error.into()),
        };
        let end = seek(&self.file, SeekFrom::Hole(start))?;
        // The file may have grown meanwhile; `check_unchanged` will say so.
        let end = end.next_multiple_of(CHUNK).min(self.size());
        Ok(((start / CHUNK * CHUNK).min(end), end))
    }

    /// Reads the chunk at `offset`.
    pub fn read_chunk(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => self.changed(),
                _ => self.unreadable(error),
            })
    }

    /// Fails if the disk was written to since it was opened, as far as its size and modification
    /// time tell.
    pub fn check_unchanged(&self) -> Result<(), Error> {
        let now = self
            .file
            .metadata()
            .map_err(|error| self.unreadable(error))?;
        let state = |metadata: &Metadata| (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
        if state(&now) == state(&self.metadata) {
            Ok(())
        } else {
            Err(self.changed())
        }
    }

    fn changed(&self) -> Error {
        Error::Changed {
            disk: self.path.clone(),
        }
    }

    fn unreadable(&self, source: io::Error) -> Error {
        Error::Read {
            disk: self.path.clone(),
            source,
        }
    }
}
