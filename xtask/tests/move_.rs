//! A workspace goes to another zone, with the real terraform against the simulated cloud; skipped where terraform cannot
//! get its provider. Kills at every call: `cargo bench -p xtask --bench kill -- --move`.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod stage;
mod support;

use std::{fs, sync::OnceLock};

use cloudsim::{Fault, Rule};
use shop::{PROJECT, Shop, Store, assert_ok};
use stage::{Stuck, json, kill_verb_when_struck, missing, moved, out_of_stock};
use support::stderr;

const A: &str = "europe-west4-a";
const B: &str = "europe-west4-b";

/// Where bob's machine is off and his zone has no room for it; none where it cannot be shown.
fn stuck() -> Option<&'static (Store, Stuck)> {
    static STUCK: OnceLock<Option<(Store, Stuck)>> = OnceLock::new();
    let made = STUCK.get_or_init(|| {
        if let Some(why) = missing() {
            println!("skipped: {why}");
            return None;
        }
        let store = Store::new(0);
        let stuck = Stuck::new(&store);
        Some((store, stuck))
    });
    made.as_ref()
}

fn disk(shop: &Shop, zone: &str, field: &str) -> serde_json::Value {
    shop.records()[format!("compute/projects/{PROJECT}/zones/{zone}/disks/home-bob")][field].take()
}

#[test]
fn a_workspace_without_room_goes_to_the_next_zone_with_its_home() {
    let Some((store, stuck)) = stuck() else {
        return;
    };
    let (shop, _folder) = stuck.stage(store);
    let refused = shop.xtask(&["start", "bob"]);
    assert_eq!(refused.status.code(), Some(4), "{}", stderr(&refused));
    let said = stderr(&refused);
    assert!(
        said.contains("there is no g2-standard-16 for bob now in its zone"),
        "{said}"
    );
    assert!(
        said.trim_end().ends_with(": cargo xtask move bob"),
        "{said}"
    );

    assert_ok(&shop.xtask(&["move", "bob"]));
    stuck.moved(&shop).unwrap();
    let plan = json(&shop, &["plan", "--json"]);
    assert_eq!(plan["clean"], true, "{plan}");
    // A workspace that runs stays, unless a zone is named.
    let seen = shop.writes().len();
    assert_ok(&shop.xtask(&["move", "bob"]));
    assert_ok(&shop.xtask(&["move", "bob", "--zone", B]));
    assert_eq!(shop.writes().len(), seen, "something was left to do");
    assert_ok(&shop.xtask(&["move", "bob", "--destroy-old-disk"]));
    assert!(disk(&shop, A, "id").is_null(), "the old disk is there");
    assert!(disk(&shop, B, "id").is_string(), "the home is gone");
}

#[test]
fn where_no_zone_has_room_the_home_stays_where_it_is() {
    let Some((store, stuck)) = stuck() else {
        return;
    };
    let (shop, _folder) = stuck.stage(store);
    let home = disk(&shop, A, "id");
    out_of_stock(&shop, &["*"]);
    let refused = shop.xtask(&["move", "bob"]);
    assert_eq!(refused.status.code(), Some(4), "{}", stderr(&refused));
    let said = stderr(&refused);
    assert!(
        said.contains("its home is in europe-west4-a as before"),
        "{said}"
    );
    assert_eq!(disk(&shop, A, "id"), home);
    assert!(disk(&shop, A, "labels").get("move").is_none());
    assert!(disk(&shop, B, "id").is_null(), "a copy is left");

    // What is yet to be applied for others is not touched.
    let fleet = shop.world.path("repo/fleet.toml");
    let text = fs::read_to_string(&fleet).unwrap();
    let (begin, end) = (
        text.find("[workspaces.alice]").unwrap(),
        text.find("[workspaces.bob]").unwrap(),
    );
    fs::write(&fleet, format!("{}{}", &text[..begin], &text[end..])).unwrap();
    out_of_stock(&shop, &[A]);
    assert_ok(&shop.xtask(&["move", "bob"]));
    moved(&shop, A, B).unwrap();
    let machine = format!("compute/projects/{PROJECT}/zones/{A}/instances/alice");
    assert_eq!(shop.records()[machine]["status"], "RUNNING");
}

#[test]
fn a_move_that_was_killed_is_finished_by_the_next_one() {
    let Some((store, stuck)) = stuck() else {
        return;
    };
    for (method, path) in [
        // The first lock is the one under which the state forgets the old home.
        ("POST", "/upload/storage/v1/b/*-workspace-state/o"),
        ("POST", "*/europe-west4-b/disks/home-bob/setLabels"),
        ("POST", "*/europe-west4-b/instances"),
    ] {
        let rule = Rule::nth(1, Fault::NoReply).of(method, path);
        if let Err(wrong) = stuck.killed(store, rule) {
            panic!("killed at {method} {path}: {wrong}");
        }
    }
}

#[test]
fn what_was_written_after_a_killed_move_goes_along() {
    let Some((store, stuck)) = stuck() else {
        return;
    };
    let (shop, _folder) = stuck.stage(store);
    let rule = Rule::nth(1, Fault::NoReply).of("POST", "*/zones/europe-west4-b/disks");
    let struck = kill_verb_when_struck(&shop, &["move", "bob"], rule);
    assert_eq!(struck, Ok(true));
    let stale = disk(&shop, B, "sourceSnapshotId");
    assert!(stale.is_string());
    out_of_stock(&shop, &[]);
    assert_ok(&shop.xtask(&["start", "bob"]));
    assert_ok(&shop.xtask(&["stop", "bob"]));
    out_of_stock(&shop, &[A]);
    assert_ok(&shop.xtask(&["move", "bob"]));
    stuck.moved(&shop).unwrap();
    assert_ne!(
        disk(&shop, B, "sourceSnapshotId"),
        stale,
        "the home is of before"
    );
}
