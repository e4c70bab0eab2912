//! The crate's own lock file, by which the machines' program is built, agrees with the repository's,
//! by which it is tested.

use std::{collections::BTreeSet, fs, path::Path};

/// The packages of a lock file, by name, version and checksum. This crate has no checksum.
fn packages(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap();
    let packages = text.split("[[package]]").skip(1);
    packages
        .map(|package| {
            let lines = package.lines();
            let told = |line: &&str| {
                ["name = ", "version = ", "checksum = "]
                    .iter()
                    .any(|key| line.starts_with(key))
            };
            lines.filter(told).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn what_is_shipped_is_what_is_tested() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = packages(&crate_folder.join("Cargo.lock"));
    let all = packages(&crate_folder.join("../../Cargo.lock"));
    let strangers: Vec<_> = own.difference(&all).collect();
    assert!(
        strangers.is_empty(),
        "crates/agent/Cargo.lock has {strangers:?}, which Cargo.lock has not: copy Cargo.toml, src and ../../Cargo.lock \
         to an empty folder, run `cargo metadata` there, and take its Cargo.lock"
    );
}
