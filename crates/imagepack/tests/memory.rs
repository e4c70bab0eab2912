//! Alone in its process, whose peak memory it looks at.

mod common;

use common::{GIB, MIB, Random, disk};
use imagepack::{Options, pack};
use tempfile::tempdir;

#[test]
fn a_disk_of_10_gib_is_packed_in_less_than_100_mb() {
    let dir = tempdir().unwrap();
    let extents: Vec<_> = (0..64)
        .map(|extent| (extent * 160 * MIB, Random(extent + 1).bytes(MIB)))
        .collect();
    let disk = disk(dir.path(), 10 * GIB, &extents);
    drop(extents);

    // What the test itself needed must not count.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak_kib();
    pack(
        &disk,
        &dir.path().join("out.tar.gz"),
        &Options::default(),
        |_| {},
    )
    .unwrap();
    println!("peak {} KiB, {before} KiB of them before", peak_kib());
    assert!(peak_kib() < 100_000);
}

/// The peak of this process's resident memory.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}
