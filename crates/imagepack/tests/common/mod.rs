//! Disks to pack and tools to look at what came of it.
#![allow(dead_code, reason = "each test uses its part")]

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

/// Numbers that look random and are the same in every run (xorshift).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    pub fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len.div_ceil(8))
            .flat_map(|_| self.below(u64::MAX).to_le_bytes())
            .take(len as usize)
            .collect()
    }
}

/// A sparse disk named `disk.raw` in `dir` that holds `bytes` at each of `extents`.
pub fn disk(dir: &Path, size: u64, extents: &[(u64, Vec<u8>)]) -> PathBuf {
    let path = dir.join("disk.raw");
    let file = File::create(&path).unwrap();
    file.set_len(size).unwrap();
    for (offset, bytes) in extents {
        file.write_all_at(bytes, *offset).unwrap();
    }
    path
}

/// Runs a shell line in `dir` and returns what it printed.
pub fn sh(dir: &Path, line: &str) -> String {
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", line])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The program, told to pack.
pub fn imagepack(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imagepack"));
    command.arg("pack").args(args).current_dir(dir);
    command
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What is in `dir`, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = dir
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// GNU tar with the metadata that images have.
pub const TAR: &str =
    "tar --format=oldgnu --owner=0 --group=0 --numeric-owner --mode=0644 --mtime=@0 -cf - disk.raw";
