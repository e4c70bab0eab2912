//! The file is what GNU tar and gzip would have made, and what others read.

mod common;

use std::{io::ErrorKind, path::Path, process::Command};

use common::{GIB, MIB, Random, TAR, disk, imagepack, sh};
use tempfile::tempdir;

fn pack(dir: &Path) -> serde_json::Value {
    let output = imagepack(dir, &["disk.raw", "-o", "out.tar.gz", "--json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_tar_is_byte_for_byte_gnu_tars() {
    let dir = tempdir().unwrap();
    let mut random = Random(1);
    let extents = [
        (0, random.bytes(512)),
        (5 * MIB - 7, b"text ".repeat(100_000)),
        (300 * MIB, vec![0; 3 << 20]),
        (GIB - 4096, random.bytes(4096)),
    ];
    disk(dir.path(), GIB, &extents);
    pack(dir.path());
    sh(
        dir.path(),
        &format!("gzip -t out.tar.gz && cmp <(gzip -dc out.tar.gz) <({TAR})"),
    );
    assert_eq!(
        sh(dir.path(), "tar -tvf out.tar.gz"),
        "-rw-r--r-- 0/0      1073741824 1970-01-01 00:00 disk.raw\n"
    );
}

#[test]
fn the_header_is_gnu_tars_below_and_from_8_gib() {
    for size in [7, 8, 20] {
        let dir = tempdir().unwrap();
        disk(dir.path(), size * GIB, &[]);
        pack(dir.path());
        // `head` ends both before they have written it all.
        let compare = format!(
            "set +o pipefail; cmp <(gzip -dc out.tar.gz | head -c 512) <({TAR} | head -c 512)"
        );
        sh(dir.path(), &compare);
    }
}

#[test]
fn python_reads_one_member_in_one_gzip_member() {
    let dir = tempdir().unwrap();
    disk(dir.path(), GIB, &[(7 * MIB, Random(2).bytes(3 << 20))]);
    pack(dir.path());
    let python = Command::new("python3")
        .current_dir(dir.path())
        .args(["-c", PYTHON])
        .output();
    match python {
        Err(error) if error.kind() == ErrorKind::NotFound => eprintln!("skipped: no python3 here"),
        python => assert!(python.as_ref().unwrap().status.success(), "{python:?}"),
    }
}

const PYTHON: &str = r#"
import hashlib, tarfile, zlib

gzip = zlib.decompressobj(wbits=31)
with open("out.tar.gz", "rb") as file:
    while block := file.read(1 << 20):
        gzip.decompress(block)
assert gzip.eof and not gzip.unused_data, "not one gzip member"

def digest(file):
    return hashlib.file_digest(file, "sha256").hexdigest()

with tarfile.open("out.tar.gz", "r:gz") as tar, open("disk.raw", "rb") as disk:
    (member,) = tar.getmembers()
    assert (member.name, member.size, member.type) == ("disk.raw", 1 << 30, b"0"), member.get_info()
    assert digest(tar.extractfile(member)) == digest(disk)
"#;

#[test]
fn the_result_names_the_files_own_size_and_checksums() {
    let dir = tempdir().unwrap();
    disk(dir.path(), GIB, &[(0, Random(3).bytes(100_000))]);
    let packed = pack(dir.path());
    let file = std::fs::read(dir.path().join("out.tar.gz")).unwrap();
    assert_eq!(packed["path"], "out.tar.gz");
    assert_eq!(packed["disk_bytes"], GIB);
    assert_eq!(packed["file_bytes"], file.len());
    let sha256 = sh(dir.path(), "sha256sum < out.tar.gz");
    assert_eq!(packed["sha256"], sha256[..64]);
    // Google's documented form: base64 of the big-endian value.
    let crc32c = crc32c::crc32c(&file).to_be_bytes();
    let encoded = sh(
        dir.path(),
        &format!("printf '{}' | base64", escaped(&crc32c)),
    );
    assert_eq!(packed["crc32c"], encoded.trim());
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}
