//! Zones without a machine left, with the real terraform against the simulated cloud; skipped where terraform cannot get
//! its provider.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod stage;
mod support;

use std::fs;

use cloudsim::{Fault, NotOffered, Rule, Settings, StockOut};
use serde_json::Value;
use shop::{Shop, Store, assert_ok};
use stage::{json, kill_when_struck, missing, out_of_stock, stage};
use support::stderr;

/// What `status` says of a workspace.
fn row(shop: &Shop, name: &str) -> Value {
    let status = json(shop, &["status", "--json"]);
    let rows = status["workspaces"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == name).unwrap().clone()
}

fn is_in(shop: &Shop, name: &str, zone: &str) {
    let row = row(shop, name);
    assert_eq!(row["power"], "RUNNING", "{row}");
    assert_eq!(row["zone"], zone, "{row}");
    assert_eq!(row["home"]["zone"], zone, "{row}");
}

#[test]
fn a_new_workspace_goes_to_the_next_zone_and_a_used_home_to_none() {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return;
    }
    let shop = stage(&Store::new(0));
    out_of_stock(&shop, &["*"]);
    let refused = shop.xtask(&["up"]);
    assert_eq!(refused.status.code(), Some(4), "{}", stderr(&refused));
    let said = stderr(&refused);
    assert!(
        said.contains(
            "there is no g2-standard-16 for bob now in any of europe-west4-a, europe-west4-b"
        ),
        "{said}"
    );
    // The others are not held up.
    is_in(&shop, "alice", "europe-west4-a");

    out_of_stock(&shop, &["europe-west4-b"]);
    let moved = shop.xtask(&["up"]);
    assert_ok(&moved);
    let said = stderr(&moved);
    assert!(said.contains("is made anew in europe-west4-a"), "{said}");
    is_in(&shop, "bob", "europe-west4-a");
    let seen = shop.writes().len();
    assert_ok(&shop.xtask(&["up"]));
    assert_eq!(shop.writes().len(), seen, "the next up wrote");

    // bob's machine goes and comes back when there is none to have.
    let fleet = shop.world.path("repo/fleet.toml");
    let text = fs::read_to_string(&fleet).unwrap();
    fs::write(&fleet, &text[..text.find("[workspaces.bob]").unwrap()]).unwrap();
    assert_ok(&shop.xtask(&["apply"]));
    fs::write(&fleet, &text).unwrap();
    out_of_stock(&shop, &["europe-west4-a"]);
    let deleted = |shop: &Shop| {
        let disk =
            |call: &cloudsim::Entry| call.method == "DELETE" && call.path.contains("/disks/");
        shop.writes().into_iter().filter(disk).count()
    };
    let before = deleted(&shop);
    let refused = shop.xtask(&["apply"]);
    assert_eq!(refused.status.code(), Some(4), "{}", stderr(&refused));
    let said = stderr(&refused);
    assert!(
        said.contains(
            "europe-west4-a has no g2-standard-16 for bob now, and its home disk is there"
        ),
        "{said}"
    );
    assert_eq!(deleted(&shop), before, "a disk was deleted");
    out_of_stock(&shop, &["europe-west4-b"]);
    assert_ok(&shop.xtask(&["apply"]));
    is_in(&shop, "bob", "europe-west4-a");
}

#[test]
fn a_zone_that_never_has_the_machine_type_is_passed_over() {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return;
    }
    let shop = stage(&Store::new(0));
    let fleet = shop.world.path("repo/fleet.toml");
    let text = fs::read_to_string(&fleet).unwrap();
    let two = r#"["europe-west4-a", "europe-west4-b"]"#;
    let three = r#"["europe-west4-a", "europe-west4-b", "europe-west4-c"]"#;
    assert!(text.contains(two), "{text}");
    fs::write(&fleet, text.replace(two, three)).unwrap();
    let out_of = |zones: &[&str]| {
        let stock_outs = zones.iter().map(|zone| StockOut {
            zone: (*zone).to_owned(),
            machine_type: "g2-*".to_owned(),
        });
        shop.sim.set_settings(Settings {
            stock_outs: stock_outs.collect(),
            not_offered: vec![NotOffered {
                zone: "europe-west4-b".to_owned(),
                r#type: "g2-*".to_owned(),
            }],
            ..Settings::default()
        });
    };
    let in_b = |shop: &Shop| {
        let mut calls = shop.writes().into_iter();
        calls.any(|call| call.path.contains("/zones/europe-west4-b/"))
    };

    out_of(&["europe-west4-a", "europe-west4-c"]);
    let refused = shop.xtask(&["up"]);
    assert_eq!(refused.status.code(), Some(4), "{}", stderr(&refused));
    let said = stderr(&refused);
    assert!(
        said.contains(
            "for bob now in any of europe-west4-a, europe-west4-c; it is not offered in europe-west4-b"
        ),
        "{said}"
    );

    out_of(&["europe-west4-a"]);
    assert_ok(&shop.xtask(&["up"]));
    is_in(&shop, "bob", "europe-west4-c");
    assert!(!in_b(&shop), "something was made in europe-west4-b");
}

#[test]
fn a_kill_between_two_zones_is_mended_by_the_next_up() {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return;
    }
    let store = Store::new(0);
    for (method, path) in [
        ("DELETE", "*/zones/europe-west4-a/disks/home-bob"),
        ("POST", "*/zones/europe-west4-b/disks"),
        ("POST", "*/zones/europe-west4-b/instances"),
    ] {
        let shop = stage(&store);
        out_of_stock(&shop, &["europe-west4-a"]);
        let struck = kill_when_struck(&shop, Rule::nth(1, Fault::NoReply).of(method, path));
        assert_eq!(struck, Ok(true), "{method} {path}");
        let again = shop.xtask(&["up"]);
        assert!(
            again.status.success(),
            "{method} {path}: {}",
            stderr(&again)
        );
        is_in(&shop, "bob", "europe-west4-b");
        assert_eq!(
            json(&shop, &["plan", "--json"])["clean"],
            true,
            "{method} {path}"
        );
        let homes = shop.records();
        let homes = homes.as_object().unwrap().keys();
        let homes: Vec<_> = homes
            .filter(|key| key.contains("/disks/home-bob"))
            .collect();
        assert_eq!(homes.len(), 1, "{method} {path}: {homes:?}");
    }
}
