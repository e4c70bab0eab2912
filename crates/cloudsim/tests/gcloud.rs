//! Google's own command agrees: gcloud finds here what it expects of the real service.

mod common;

use common::{Client, start};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Gcloud {
    dir: tempfile::TempDir,
    url: String,
}

impl Gcloud {
    /// Runs gcloud against a simulated cloud and returns its stdout; it must succeed.
    fn run(&self, arguments: &[&str]) -> String {
        let token = self.dir.path().join("token");
        std::fs::write(&token, "deployer").unwrap();
        let output = Command::new("gcloud")
            .args(arguments)
            .env("CLOUDSDK_CONFIG", self.dir.path().join("config"))
            .env("CLOUDSDK_CORE_PROJECT", "demo")
            .env("CLOUDSDK_CORE_DISABLE_PROMPTS", "1")
            .env("CLOUDSDK_CORE_DISABLE_USAGE_REPORTING", "true")
            .env("CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK", "true")
            .env("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", token)
            .env(
                "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE",
                format!("{}/storage/v1/", self.url),
            )
            .env(
                "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE",
                format!("{}/compute/v1/", self.url),
            )
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gcloud {arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A file of the given length in the scratch folder.
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// An archive as Google's guide makes one: `tar --format=oldgnu -Sczf`.
fn pack(dir: &Path, name: &str) -> PathBuf {
    File::create(dir.join("disk.raw"))
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    let packed = Command::new("tar")
        .current_dir(dir)
        .args(["--format=oldgnu", "-Sczf", name, "disk.raw"])
        .status()
        .unwrap();
    assert!(packed.success());
    dir.join(name)
}

fn gcloud(url: String) -> Option<Gcloud> {
    if Command::new("gcloud")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return Some(Gcloud {
            dir: tempfile::tempdir().unwrap(),
            url,
        });
    }
    // Not by a macro: what those print in a test that passes is not shown.
    let _ = writeln!(
        std::io::stderr(),
        "skipped: gcloud is not on PATH (https://cloud.google.com/sdk/docs/install)"
    );
    None
}

#[test]
fn gcloud_storage_copies_both_ways_and_lists() {
    let (sim, client) = start();
    let Some(gcloud) = gcloud(sim.url()) else {
        return;
    };
    gcloud.run(&[
        "storage",
        "buckets",
        "create",
        "gs://images",
        "--uniform-bucket-level-access",
        "--location=europe-west4",
    ]);
    // gcloud sends the first as multipart and the second as a resumable upload.
    let (small, large) = (common::bytes(100_000), common::bytes(10 << 20));
    let [small_path, large_path] = [gcloud.file("small", &small), gcloud.file("large", &large)];
    gcloud.run(&[
        "storage",
        "cp",
        small_path.to_str().unwrap(),
        large_path.to_str().unwrap(),
        "gs://images/a/",
    ]);
    let resumed = |entry: &cloudsim::Entry| entry.path.starts_with("/resumable/upload/");
    assert!(sim.log().iter().any(resumed));
    assert_eq!(client.bytes_of("images", "a%2Fsmall"), small);
    assert_eq!(client.bytes_of("images", "a%2Flarge"), large);
    assert_eq!(
        gcloud.run(&["storage", "ls", "gs://images/a"]),
        "gs://images/a/large\ngs://images/a/small\n"
    );
    let back = gcloud.dir.path().join("back");
    gcloud.run(&[
        "storage",
        "cp",
        "gs://images/a/large",
        back.to_str().unwrap(),
    ]);
    assert_eq!(std::fs::read(back).unwrap(), large);
}

#[test]
fn gcloud_compute_creates_lists_and_deletes_images() {
    let (sim, client): (_, Client) = start();
    let Some(gcloud) = gcloud(sim.url()) else {
        return;
    };
    client.make_bucket("images");
    let archive = pack(gcloud.dir.path(), "base.tar.gz");
    client.put_object("images", "base.tar.gz", &std::fs::read(archive).unwrap());
    gcloud.run(&[
        "compute",
        "images",
        "create",
        "base-1",
        "--source-uri=gs://images/base.tar.gz",
        "--family=base",
        "--guest-os-features=UEFI_COMPATIBLE,GVNIC",
        "--labels=profile=base",
    ]);
    let list = |filter: &str| {
        let filter = format!("--filter={filter}");
        gcloud.run(&[
            "compute",
            "images",
            "list",
            "--no-standard-images",
            "--format=value(name,family,status)",
            &filter,
        ])
    };
    assert_eq!(list("family=base"), "base-1\tbase\tREADY\n");
    assert_eq!(list("family=cuda"), "");
    gcloud.run(&["compute", "images", "delete", "base-1", "--quiet"]);
    assert_eq!(list("family=base"), "");
}
