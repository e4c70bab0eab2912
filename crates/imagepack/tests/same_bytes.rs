//! Equal disks give equal files, and every file gives its disk back.

mod common;

use std::{num::NonZeroUsize, path::Path};

use common::{GIB, MIB, Random, disk, sh};
use imagepack::{Options, Packed, pack};
use tempfile::tempdir;

/// Past the header, the tar holds the disk and then zeroes.
const SAME_DISK: &str = "cmp disk.raw <(gzip -dc out.tar.gz | tail -c +513 | head -c 1G)";

fn packed(disk: &Path, threads: usize) -> Packed {
    let options = Options {
        threads: NonZeroUsize::new(threads).unwrap(),
        ..Options::default()
    };
    pack(disk, &disk.with_file_name("out.tar.gz"), &options, |_| {}).unwrap()
}

/// Extents that begin, end and meet anywhere; some hold zeroes, text or noise.
fn random_extents(random: &mut Random) -> Vec<(u64, Vec<u8>)> {
    (0..1 + random.below(12))
        .map(|_| {
            let len = 1 + random.below(2 * MIB);
            let offset = match random.below(4) {
                0 => 0,
                1 => GIB - len,
                2 => random.below(64) * MIB,
                _ => random.below(GIB - len),
            };
            let bytes = match random.below(3) {
                0 => vec![0; len as usize],
                1 => b"a line of text\n".repeat(len as usize / 15),
                _ => random.bytes(len),
            };
            (offset, bytes)
        })
        .collect()
}

#[test]
fn any_layout_of_holes_comes_back_whatever_the_threads_and_the_holes() {
    let mut random = Random(0x5eed);
    for round in 0..4 {
        let dir = tempdir().unwrap();
        let extents = random_extents(&mut random);
        let sparse = disk(dir.path(), GIB, &extents);
        let first = packed(&sparse, 1);
        sh(dir.path(), SAME_DISK);
        assert_eq!(packed(&sparse, 7), first, "round {round}, more threads");

        let zeroes = std::iter::once((0, vec![0; 80 << 20]));
        let filled = disk(dir.path(), GIB, &zeroes.chain(extents).collect::<Vec<_>>());
        assert_eq!(packed(&filled, 2), first, "round {round}, fewer holes");
    }
}

#[test]
fn noise_at_the_level_that_grows_it_most_comes_back() {
    let dir = tempdir().unwrap();
    let noise = disk(dir.path(), GIB, &[(0, Random(9).bytes(3 * MIB))]);
    let options = Options {
        level: 1,
        ..Options::default()
    };
    pack(&noise, &dir.path().join("out.tar.gz"), &options, |_| {}).unwrap();
    sh(dir.path(), SAME_DISK);
}
