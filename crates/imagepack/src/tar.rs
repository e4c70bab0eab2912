//! The tar around the disk: one GNU ("oldgnu") header before it, zeroes after it.
//!
//! Google Compute Engine imports an image from a gzip'd tar in the oldgnu format whose only member
//! is named `disk.raw`. The bytes here are those of
//! `tar --format=oldgnu --owner=0 --group=0 --numeric-owner --mode=0644 --mtime=@0`.

/// A header's length, in bytes; also the block a tar is made of.
pub const HEADER_LEN: usize = 512;
const BLOCK: u64 = HEADER_LEN as u64;
/// GNU tar writes whole records of 20 blocks.
const RECORD: u64 = 20 * BLOCK;

/// The header of a `disk.raw` of `size` bytes.
pub fn header(size: u64) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"disk.raw");
    put(100, b"0000644\0"); // mode
    put(108, b"0000000\0"); // uid
    put(116, b"0000000\0"); // gid
    put(124, &size_field(size));
    put(136, b"00000000000\0"); // mtime
    put(148, b"        "); // the checksum counts itself as spaces
    put(156, b"0"); // a regular file
    put(257, b"ustar  \0"); // oldgnu's magic and version

    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}

/// Eleven octal digits hold up to 8 GiB - 1; from there on GNU tar sets the top bit and writes the
/// size as a big-endian number.
fn size_field(size: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if size < 1 << 33 {
        field[..11].copy_from_slice(format!("{size:011o}").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&size.to_be_bytes());
    }
    field
}

/// How many zeroes follow a disk of `size` bytes: the two blocks that end a tar, and the rest of
/// the last record. `size` is a multiple of the block.
pub fn trailer_len(size: u64) -> usize {
    let end = BLOCK + size + 2 * BLOCK;
    (end.next_multiple_of(RECORD) - BLOCK - size) as usize
}
