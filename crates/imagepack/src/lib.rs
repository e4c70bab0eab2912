//! Packs a raw disk into the file that Google Compute Engine imports as an image: `disk.raw` in an
//! oldgnu tar in one standard gzip member.
//!
//! The disk is cut into chunks of 1 MiB that are compressed on all cores and written in order.
//! Chunks of zeroes are compressed once; those in holes of a sparse file are not even read. The
//! bytes depend on the disk's content and the level alone: not on the number of threads, nor on
//! whether zeroes are holes.
//!
//! # Memory
//! At most `2 * threads` chunks of data are under way, each compressed to about 1.13 MiB at worst,
//! and each thread holds one chunk and a compressor of about 300 KiB: less than 4 MiB a thread,
//! whatever the disk's size.

mod disk;
mod error;
mod gzip;
mod output;
mod tar;

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
};

use serde::{Serialize, Serializer};

use disk::{CHUNK, Disk, Span};
pub use error::Error;
use gzip::{Deflater, Segment};
use output::Output;

/// How to pack.
#[derive(Clone, Debug)]
pub struct Options {
    /// zlib's compression level, 1 (fastest) to 9 (smallest).
    pub level: u32,
    /// How many threads compress.
    pub threads: NonZeroUsize,
    /// Raise it to make [`pack`] remove what it wrote and return [`Error::Interrupted`].
    pub stop: Arc<AtomicBool>,
}

impl Options {
    /// The level that packs a system's disk at several times gzip's speed to about its size.
    pub const DEFAULT_LEVEL: u32 = 2;
}

impl Default for Options {
    /// [`Options::DEFAULT_LEVEL`] on all cores.
    fn default() -> Self {
        Self {
            level: Self::DEFAULT_LEVEL,
            threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            stop: Arc::default(),
        }
    }
}

/// How far a run is. All numbers are bytes.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The part of the disk outside holes, in whole chunks: what there is to compress.
    pub data_bytes: u64,
    /// How much of [`Self::data_bytes`] is compressed and written.
    pub data_done: u64,
    /// The size of the packed file so far.
    pub file_bytes: u64,
}

/// A packed disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Packed {
    /// The file, as the caller named it.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// The raw disk's size in bytes.
    pub disk_bytes: u64,
    /// The file's size in bytes.
    pub file_bytes: u64,
    /// The file's SHA-256 in hexadecimal.
    pub sha256: String,
    /// The file's CRC32C in base64, as Google Cloud Storage prints it.
    pub crc32c: String,
}

/// A path that is no UTF-8 is still worth reporting.
fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// A chunk to compress, and where to send what comes of it.
struct Job {
    offset: u64,
    segment: Segment,
    done: SyncSender<Result<Compressed, Error>>,
}

enum Compressed {
    Data(Segment),
    /// A chunk of zeroes that is no hole, and the unused segment.
    Zeroes(Segment),
}

/// What is to be written next.
enum Pending {
    Zeroes { chunks: u64 },
    Chunk(Receiver<Result<Compressed, Error>>),
}

/// Packs the raw disk `input` into the file `output`, which it replaces once all is written.
///
/// `progress` is called before the first chunk and after every one, on the calling thread.
///
/// # Errors
/// See [`Error`]; after any of them `output` is what it was before, and nothing else is left.
pub fn pack(
    input: &Path,
    output: &Path,
    options: &Options,
    mut progress: impl FnMut(Progress),
) -> Result<Packed, Error> {
    if !(1..=9).contains(&options.level) {
        return Err(Error::refused(
            format!("{} is no compression level", options.level),
            "Choose one from 1 to 9",
        ));
    }
    let disk = Disk::open(input)?;
    let mut out = Output::create(output, &disk)?;

    let mut state = Progress {
        data_bytes: 0,
        data_done: 0,
        file_bytes: 0,
    };
    for span in disk.spans() {
        if let Span::Data(_) = span? {
            state.data_bytes += CHUNK;
        }
    }
    progress(state);

    let mut deflater = Deflater::new(options.level);
    let mut segment = Segment::default();
    let mut crc = crc32fast::Hasher::new();
    let zero_chunk = zero_chunk();

    out.write(&gzip::HEADER)?;
    deflater.segment(&tar::header(disk.size()), &mut segment);
    out.write(&segment.deflated)?;
    crc.combine(&segment.crc);

    let (jobs, queue) = mpsc::channel::<Job>();
    let queue = Mutex::new(queue);
    thread::scope(|scope| {
        // Moved in here so that the threads end when this closure does, however it ends.
        let jobs = jobs;
        for _ in 0..options.threads.get() {
            scope.spawn(|| compress_chunks(&disk, options.level, &queue));
        }

        let mut spans = disk.spans();
        let mut pending = VecDeque::new();
        let mut under_way = 0;
        let mut spare = Vec::new();
        loop {
            while under_way < 2 * options.threads.get() {
                match spans.next().transpose()? {
                    None => break,
                    Some(Span::Hole(chunks)) => pending.push_back(Pending::Zeroes { chunks }),
                    Some(Span::Data(offset)) => {
                        let (done, result) = mpsc::sync_channel(1);
                        let segment = spare.pop().unwrap_or_default();
                        jobs.send(Job {
                            offset,
                            segment,
                            done,
                        })
                        .expect("the queue outlives this scope");
                        pending.push_back(Pending::Chunk(result));
                        under_way += 1;
                    }
                }
            }

            let mut write = |segment: &Segment| {
                if options.stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                crc.combine(&segment.crc);
                out.write(&segment.deflated)
            };
            match pending.pop_front() {
                None => return Ok(()),
                Some(Pending::Zeroes { chunks }) => {
                    for _ in 0..chunks {
                        write(&zero_chunk)?;
                    }
                }
                Some(Pending::Chunk(result)) => {
                    let compressed = result.recv().expect("a compressing thread panicked")?;
                    spare.push(match compressed {
                        Compressed::Data(segment) => {
                            write(&segment)?;
                            segment
                        }
                        Compressed::Zeroes(segment) => {
                            write(&zero_chunk)?;
                            segment
                        }
                    });
                    under_way -= 1;
                    state.data_done += CHUNK;
                }
            }
            state.file_bytes = out.bytes();
            progress(state);
        }
    })?;

    let end = vec![0; tar::trailer_len(disk.size())];
    deflater.last_segment(&end, &mut segment);
    out.write(&segment.deflated)?;
    crc.combine(&segment.crc);
    let tar_len = tar::HEADER_LEN as u64 + disk.size() + end.len() as u64;
    out.write(&gzip::trailer(crc, tar_len))?;

    disk.check_unchanged()?;
    out.sync()?;
    if options.stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    let written = out.publish()?;
    Ok(Packed {
        path: output.to_owned(),
        disk_bytes: disk.size(),
        file_bytes: written.bytes,
        sha256: written.sha256,
        crc32c: written.crc32c,
    })
}

/// A thread's work until no jobs are left.
fn compress_chunks(disk: &Disk, level: u32, queue: &Mutex<Receiver<Job>>) {
    let mut deflater = Deflater::new(level);
    let mut buffer = vec![0; CHUNK as usize];
    loop {
        let job = queue.lock().expect("no thread panics holding it").recv();
        let Ok(mut job) = job else { return };
        let result = disk.read_chunk(job.offset, &mut buffer).map(|()| {
            if is_zero(&buffer) {
                Compressed::Zeroes(job.segment)
            } else {
                deflater.segment(&buffer, &mut job.segment);
                Compressed::Data(job.segment)
            }
        });
        // Nobody waits for it after an error elsewhere.
        let _ = job.done.send(result);
    }
}

/// A chunk of zeroes, as small as it gets whatever the level of the rest.
fn zero_chunk() -> Segment {
    let mut segment = Segment::default();
    Deflater::new(9).segment(&vec![0; CHUNK as usize], &mut segment);
    segment
}

fn is_zero(bytes: &[u8]) -> bool {
    // Without an early exit inside a block it is compiled to vector instructions.
    bytes
        .chunks(64)
        .all(|block| block.iter().fold(0, |any, byte| any | byte) == 0)
}
