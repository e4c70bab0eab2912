//! A machine made anew from a new image, with the real terraform against the simulated cloud; skipped where terraform
//! cannot get its provider.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod stage;
mod support;

use serde_json::Value;
use shop::{PROJECT, Shop, Store, assert_ok};
use stage::{json, missing, stage};
use support::stderr;

/// A later state of the flake.
const DERIVATION: &str = "/nix/store/eeeeeeeeeeee0123456789abcdfghijk-image-base.drv";

/// The ids of a workspace's machine, home disk and address, and the image of its boot disk.
fn parts(shop: &Shop, name: &str) -> [Value; 4] {
    let records = shop.records();
    let compute = format!("compute/projects/{PROJECT}");
    let zone = format!("{compute}/zones/europe-west4-a");
    let of = |key: String, field: &str| records[&key][field].clone();
    [
        of(format!("{zone}/instances/{name}"), "id"),
        of(format!("{zone}/disks/home-{name}"), "id"),
        of(
            format!("{compute}/regions/europe-west4/addresses/workspace-{name}"),
            "id",
        ),
        of(format!("{zone}/disks/{name}"), "sourceImage"),
    ]
}

#[test]
fn a_machine_is_replaced_by_name_and_its_home_stays() {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return;
    }
    let store = Store::new(0);
    let shop = stage(&store);
    assert_ok(&shop.xtask(&["up"]));
    let (alice, bob) = (parts(&shop, "alice"), parts(&shop, "bob"));
    assert!(
        alice.iter().chain(&bob).all(Value::is_string),
        "{alice:?} {bob:?}"
    );

    // A new image alone is for new machines.
    store.evaluates(&shop, DERIVATION);
    let seen = shop.writes().len();
    assert_ok(&shop.xtask(&["up"]));
    assert_eq!(shop.writes().len(), seen, "a new image changed a machine");

    let unknown = shop.xtask(&["apply", "--replace-workspaces", "alise"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        stderr(&unknown).contains("Did you mean alice?"),
        "{}",
        stderr(&unknown)
    );
    let plan = json(&shop, &["plan", "--replace-workspaces", "alice", "--json"]);
    let changes = plan["changes"]["fleet"].as_array().unwrap();
    let machines: Vec<_> = changes
        .iter()
        .filter(|change| change["type"] == "google_compute_instance")
        .map(|change| {
            (
                change["name"].as_str().unwrap(),
                change["action"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(machines, [("alice", "replace")], "{plan}");
    assert_eq!(plan["refused"], serde_json::json!([]), "{plan}");

    assert_ok(&shop.xtask(&["up", "--replace-workspaces", "alice"]));
    let after = parts(&shop, "alice");
    assert_ne!(after[0], alice[0], "it is the same machine");
    assert_eq!(
        after[1..3],
        alice[1..3],
        "its home or its address is another one"
    );
    let image = after[3].as_str().unwrap();
    assert!(image.ends_with("/base-eeeeeeeeeeee"), "it boots {image}");
    assert_eq!(parts(&shop, "bob"), bob, "another machine was touched");
    assert_eq!(json(&shop, &["plan", "--json"])["clean"], true);
}
