//! The packed file, which appears under its name only when it is whole.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufWriter, ErrorKind, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

use crate::{Error, disk::Disk};

/// A file being written as `.NAME.partial` beside its final name.
///
/// The name is fixed so that what a killed run left is taken over by the next one instead of
/// piling up, and locked so that two runs never write to it at once. Dropping it removes it.
pub struct Output {
    path: PathBuf,
    partial: PathBuf,
    file: BufWriter<File>,
    sha256: Sha256,
    crc32c: u32,
    bytes: u64,
    published: bool,
}

/// What was written.
pub struct Written {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// CRC32C of the big-endian value in base64, as Google Cloud Storage prints it.
    pub crc32c: String,
}

impl Output {
    /// Makes the partial file of `path`, a file that may exist already but is not `disk`.
    pub fn create(path: &Path, disk: &Disk) -> Result<Self, Error> {
        let name = path.display();
        let write = |source| Error::Write {
            output: path.to_owned(),
            source,
        };
        let same = || {
            Error::refused(
                format!("{name} is the disk itself or would overwrite it"),
                "Choose another output",
            )
        };
        // A link is not followed: renaming onto it would replace it, `/dev/stdout` for one.
        match path.symlink_metadata() {
            Ok(existing) if disk.is(&existing) => return Err(same()),
            Ok(existing) if existing.is_dir() => {
                return Err(Error::refused(
                    format!("{name} is a directory"),
                    "Name a file in it",
                ));
            }
            Ok(existing) if !existing.is_file() => {
                return Err(Error::refused(
                    format!("{name} is not a regular file and would be replaced by one"),
                    "Choose another output",
                ));
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(write(error)),
            _ => {}
        }
        let Some(file_name) = path.file_name() else {
            return Err(Error::refused(
                format!("{name} names no file"),
                "Name the file to write",
            ));
        };
        if !directory(path).is_dir() {
            return Err(Error::refused(
                format!("{} is no directory", directory(path).display()),
                "Make it first or choose another output",
            ));
        }

        let mut partial = OsString::from(".");
        partial.push(file_name);
        partial.push(".partial");
        let partial = path.with_file_name(partial);
        let file = loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false) // It may be another run's until it is locked.
                .write(true)
                .open(&partial)
                .map_err(write)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Busy {
                        output: path.to_owned(),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(write(error)),
            }
            let opened = file.metadata().map_err(write)?;
            if disk.is(&opened) {
                return Err(same());
            }
            // Another run may have renamed or removed it between the opening and the lock.
            match fs::metadata(&partial) {
                Ok(named) if named.ino() == opened.ino() => break file,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(write(error)),
            }
        };
        file.set_len(0).map_err(write)?;

        Ok(Self {
            path: path.to_owned(),
            partial,
            file: BufWriter::with_capacity(1 << 18, file),
            sha256: Sha256::new(),
            crc32c: 0,
            bytes: 0,
            published: false,
        })
    }

    /// Appends `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.sha256.update(bytes);
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        self.bytes += bytes.len() as u64;
        self.file
            .write_all(bytes)
            .map_err(|source| self.unwritable(source))
    }

    /// How many bytes were written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Puts what was written onto the disk without giving it its name.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .map_err(|source| self.unwritable(source))
    }

    /// Gives the synced file its name.
    pub fn publish(mut self) -> Result<Written, Error> {
        fs::rename(&self.partial, &self.path).map_err(|source| self.unwritable(source))?;
        self.published = true;
        File::open(directory(&self.path))
            .and_then(|directory| directory.sync_all())
            .map_err(|source| self.unwritable(source))?;
        Ok(Written {
            bytes: self.bytes,
            sha256: self
                .sha256
                .clone()
                .finalize()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            crc32c: BASE64_STANDARD.encode(self.crc32c.to_be_bytes()),
        })
    }

    fn unwritable(&self, source: io::Error) -> Error {
        Error::Write {
            output: self.path.clone(),
            source,
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // The lock still holds here; once published, the name may be another run's.
        if !self.published {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}
