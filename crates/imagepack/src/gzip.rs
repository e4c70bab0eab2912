//! One gzip member made of segments that were compressed apart from each other.
//!
//! A segment is raw deflate that starts with an empty window and ends with a sync flush, hence on
//! a byte boundary and without a final block: segments can be concatenated. Their CRC-32s combine
//! to that of the whole.

use flate2::{Compress, Compression, FlushCompress, Status};

/// RFC 1952: deflate, no flags, no time, no extra flags, unknown operating system.
pub const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A piece of the deflate stream and what it stands for.
#[derive(Default)]
pub struct Segment {
    /// Raw deflate.
    pub deflated: Vec<u8>,
    /// CRC-32 and length of the uncompressed bytes.
    pub crc: crc32fast::Hasher,
}

/// Compresses segments one after another, reusing its memory (about 300 KiB).
pub struct Deflater(Compress);

impl Deflater {
    /// `level` is zlib's, 1 to 9.
    pub fn new(level: u32) -> Self {
        Self(Compress::new(Compression::new(level), false))
    }

    /// Fills `segment` with `bytes`, ready for another segment to follow.
    pub fn segment(&mut self, bytes: &[u8], segment: &mut Segment) {
        self.run(bytes, FlushCompress::Sync, segment);
    }

    /// Fills `segment` with `bytes` and ends the deflate stream.
    pub fn last_segment(&mut self, bytes: &[u8], segment: &mut Segment) {
        self.run(bytes, FlushCompress::Finish, segment);
    }

    fn run(&mut self, bytes: &[u8], flush: FlushCompress, segment: &mut Segment) {
        segment.crc = crc32fast::Hasher::new();
        segment.crc.update(bytes);

        let out = &mut segment.deflated;
        out.clear();
        // Level 1 writes nine bits for a byte at worst; a reserve that always holds the segment
        // keeps the output independent of how often the buffer had to grow.
        out.reserve(bytes.len() + bytes.len() / 8 + 1024);
        self.0.reset();
        loop {
            let read = self.0.total_in() as usize;
            let status = self
                .0
                .compress_vec(&bytes[read..], out, flush)
                .expect("the stream was just reset and is never misused");
            let flushed = self.0.total_in() as usize == bytes.len() && out.len() < out.capacity();
            if status == Status::StreamEnd || (flush == FlushCompress::Sync && flushed) {
                return;
            }
            out.reserve(bytes.len());
        }
    }
}

/// The eight bytes after the deflate stream: CRC-32 and length modulo 2^32 of what it holds.
pub fn trailer(crc: crc32fast::Hasher, len: u64) -> [u8; 8] {
    let mut trailer = [0; 8];
    trailer[..4].copy_from_slice(&crc.finalize().to_le_bytes());
    trailer[4..].copy_from_slice(&(len as u32).to_le_bytes());
    trailer
}
