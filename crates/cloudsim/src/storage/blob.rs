//! Bytes on their way to disk, in constant memory.

use super::objects::Content;
use crate::error::{ApiError, Result};
use crate::http::Call;
use bytes::Bytes;
use md5::{Digest, Md5};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{OwnedMutexGuard, mpsc};

/// A resumable upload in progress; whoever appends holds the lock, and others wait for what it says.
pub type Upload = Arc<tokio::sync::Mutex<Option<Blob>>>;

/// The service keeps whole multiples of this of an upload that is not finished.
pub const GRAIN: u64 = 256 << 10;

/// Pieces in memory between the socket and the disk; hyper's are at most 120 KiB.
const QUEUE: usize = 8;

/// An object of at most this size gets an MD5 though nobody asks for one. MD5 does some 600 MB/s: of a larger one it
/// would be the slowest part of an upload.
const MD5_LIMIT: u64 = 64 << 20;

/// A file that grows, with its checksum.
pub struct Blob {
    path: PathBuf,
    file: File,
    pub size: u64,
    crc32c: u32,
    /// The checksum up to the last whole multiple of `GRAIN`.
    grain_crc32c: u32,
}

impl Blob {
    /// Opens or makes the file; what it already holds is read for its checksum.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)?;
        let mut blob = Self {
            path: path.to_owned(),
            file: file.try_clone()?,
            size: 0,
            crc32c: 0,
            grain_crc32c: 0,
        };
        let mut buffer = vec![0; GRAIN as usize];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => blob.count(&buffer[..n]),
            }
        }
        blob.align()?;
        Ok(blob)
    }

    fn count(&mut self, data: &[u8]) {
        let end = self.size + data.len() as u64;
        let grain = end - end % GRAIN;
        let (before, after) =
            data.split_at(grain.saturating_sub(self.size).min(data.len() as u64) as usize);
        self.crc32c = crc32c::crc32c_append(self.crc32c, before);
        if grain > self.size {
            self.grain_crc32c = self.crc32c;
        }
        self.crc32c = crc32c::crc32c_append(self.crc32c, after);
        self.size = end;
    }

    pub fn append(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all(data)?;
        self.count(data);
        Ok(())
    }

    /// Forgets what goes beyond the last whole multiple of `GRAIN`.
    pub fn align(&mut self) -> io::Result<()> {
        self.size -= self.size % GRAIN;
        self.crc32c = self.grain_crc32c;
        self.file.set_len(self.size)
    }

    /// What it came to. Reads it again for the MD5 when `want_md5` or when it is small.
    pub fn content(&self, want_md5: bool) -> io::Result<Content> {
        let md5 = (want_md5 || self.size <= MD5_LIMIT)
            .then(|| md5_of(&self.path))
            .transpose()?;
        let file = self
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(Content {
            file,
            size: self.size,
            crc32c: self.crc32c,
            md5,
        })
    }
}

fn md5_of(path: &Path) -> io::Result<[u8; 16]> {
    let mut file = File::open(path)?;
    let mut md5 = Md5::new();
    let mut buffer = vec![0; GRAIN as usize];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(md5.finalize().into()),
            n => md5.update(&buffer[..n]),
        }
    }
}

enum Piece {
    Data(Bytes),
    /// The body came to its end; without this the client went away.
    End,
}

/// Where the bytes of a body go: a thread of its own writes them while the socket is read.
pub struct Writer {
    pieces: mpsc::Sender<Piece>,
    thread: tokio::task::JoinHandle<io::Result<OwnedMutexGuard<Option<Blob>>>>,
}

impl Writer {
    /// The guard must hold a blob.
    pub fn new(mut guard: OwnedMutexGuard<Option<Blob>>) -> Self {
        let (pieces, mut incoming) = mpsc::channel(QUEUE);
        let thread = tokio::task::spawn_blocking(move || {
            let blob = guard.as_mut().ok_or(io::ErrorKind::NotFound)?;
            let mut complete = false;
            while let Some(piece) = incoming.blocking_recv() {
                match piece {
                    Piece::Data(data) => blob.append(&data)?,
                    Piece::End => complete = true,
                }
            }
            if !complete {
                blob.align()?;
            }
            Ok(guard)
        });
        Self { pieces, thread }
    }

    pub async fn write(&self, data: Bytes) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        // It fails only when the thread has ended early, by an error that `finish` returns.
        self.pieces
            .send(Piece::Data(data))
            .await
            .map_err(|_| ApiError::of_status(500))
    }

    /// Ends without the rest of the body: what came is cut to whole multiples of `GRAIN`.
    pub async fn abandon(self) -> Result<()> {
        drop(self.pieces);
        self.thread.await.map_err(io::Error::other)??;
        Ok(())
    }

    /// The blob once all is written.
    pub async fn finish(self) -> Result<OwnedMutexGuard<Option<Blob>>> {
        let _ = self.pieces.send(Piece::End).await;
        drop(self.pieces);
        self.thread
            .await
            .map_err(io::Error::other)?
            .map_err(Into::into)
    }
}

/// A file that becomes an object in one request, or vanishes.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(call: &Call) -> Self {
        let id = call.world.store().next();
        Self(call.world.objects.join(format!("scratch-{id}")))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Gone already when it has become an object.
        let _ = std::fs::remove_file(&self.0);
    }
}
