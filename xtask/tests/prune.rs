//! `images` and `prune` with a made-up `google`.

mod support;

use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use support::{World, stderr, stdout};

const BUCKET: &str = "gs://acme-data-science-workspace-images";

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// An image `days` old.
fn image(name: &str, family: &str, days: u64, used_by: &[&str]) -> Value {
    json!({
        "name": name, "family": family, "status": "READY", "created": now() - days * 86400 - 60,
        "archiveSizeBytes": 3_u64 << 29, "deprecated": null, "usedBy": used_by,
        "labels": {"derivation": "d", "flake-revision": "0123456789abcdef0123"},
    })
}

fn object(name: &str, days: u64) -> Value {
    json!({"name": name, "size": 1 << 20, "created": now() - days * 86400 - 60})
}

/// A project with these images, the newest first, and these objects.
fn world(images: &Value, objects: &Value) -> World {
    let world = World::new();
    world.program(
        "google",
        &format!(
            "case \"$1 $2\" in\n'images list') echo '{images}' ;;\n'objects list') echo '{objects}' ;;\nesac"
        ),
    );
    world
}

fn some() -> World {
    let mut foreign = image("golden", "golden", 900, &[]);
    foreign["labels"] = json!({});
    let mut failed = image("base-ffffffffffff", "base", 1, &[]);
    failed["status"] = "FAILED".into();
    let mut retired = image("cuda-222222222222", "cuda", 2, &[]);
    retired["deprecated"] = json!({"state": "DEPRECATED"});
    world(
        &json!([
            image("base-333333333333", "base", 0, &[]),
            failed,
            image("base-222222222222", "base", 2, &[]),
            retired,
            image("base-111111111111", "base", 30, &["alice", "bob"]),
            image("cuda-111111111111", "cuda", 40, &[]),
            image("base-000000000000", "base", 50, &[]),
            foreign,
        ]),
        &json!([
            object("base-333333333333-aaaaaaaaaaaa.tar.gz", 0),
            object("base-222222222222-aaaaaaaaaaaa.tar.gz", 2),
            object("base-000000000000-aaaaaaaaaaaa.tar.gz", 50),
            object("base-999999999999-aaaaaaaaaaaa.tar.gz", 0),
            object("base-888888888888-aaaaaaaaaaaa.tar.gz", 2),
            object("somebody-elses.tar.gz", 100),
        ]),
    )
}

#[test]
fn prune_keeps_what_is_in_use_and_the_newest_of_each_family() {
    let world = some();
    let done = world.xtask(&["prune", "--keep", "1"]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(
        stdout(&done),
        "\
NAME               AGE    VERDICT
base-333333333333  1 min  kept: newest of base
base-ffffffffffff  24 h   deleted
base-222222222222  2 d    deleted
cuda-222222222222  2 d    kept: one of the 1 newest of cuda
base-111111111111  30 d   kept: used by alice, bob
cuda-111111111111  40 d   kept: newest of cuda
base-000000000000  50 d   deleted
3 images and 3 uploads deleted, 4.5 GiB freed
"
    );
    assert_eq!(
        world.calls()[2..],
        [
            "google images delete --project acme-data-science base-ffffffffffff \
             base-222222222222 base-000000000000"
                .to_owned(),
            format!(
                "google objects delete {BUCKET}/base-222222222222-aaaaaaaaaaaa.tar.gz \
                 {BUCKET}/base-000000000000-aaaaaaaaaaaa.tar.gz \
                 {BUCKET}/base-888888888888-aaaaaaaaaaaa.tar.gz"
            ),
        ]
    );
}

#[test]
fn a_dry_run_of_prune_only_looks() {
    let world = some();
    let done = world.xtask(&["prune", "--dry-run"]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(
        stdout(&done),
        format!(
            "google images delete --project acme-data-science base-ffffffffffff base-000000000000\n\
             google objects delete {BUCKET}/base-000000000000-aaaaaaaaaaaa.tar.gz \
             {BUCKET}/base-888888888888-aaaaaaaaaaaa.tar.gz\n"
        )
    );
    assert_eq!(world.calls().len(), 2, "two lists");
}

#[test]
fn keeping_none_is_wrong_usage() {
    let done = some().xtask(&["prune", "--keep", "0"]);
    assert_eq!(done.status.code(), Some(2));
}

#[test]
fn images_are_a_table_within_80_columns() {
    let world = some();
    let done = world.xtask(&["images"]);
    let table = stdout(&done);
    let mut lines = table.lines();
    assert_eq!(
        lines.next(),
        Some("NAME               FAMILY  AGE    SIZE     REVISION  USED BY")
    );
    assert_eq!(
        lines.next(),
        Some("base-333333333333  base    1 min  1.5 GiB  01234567")
    );
    assert_eq!(
        lines.next(),
        Some("base-ffffffffffff  base    24 h   FAILED   01234567")
    );
    assert_eq!(
        table.lines().nth(5),
        Some("base-111111111111  base    30 d   1.5 GiB  01234567  alice, bob")
    );
    assert!(!table.contains("golden"));
    assert!(table.lines().all(|line| line.len() <= 80));
    let json = world.xtask(&["images", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["images"][4]["used_by"], json!(["alice", "bob"]));
}

#[test]
fn a_refusal_of_the_cloud_is_told_once_and_ends_with_4() {
    let world = World::new();
    world.program("google", "echo 'error: No. Ask.' >&2; exit 4");
    let done = world.xtask(&["images"]);
    assert_eq!(done.status.code(), Some(4));
    let errors = stderr(&done).matches("error:").count();
    assert_eq!(errors, 1, "{}", stderr(&done));
}
