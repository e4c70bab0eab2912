//! A shop with machines, and a made-up nix that builds, signs and packs their systems.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    fs,
    process::Output,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::shop::{IMAGE, PROJECT, Shop, Store, assert_ok, common};

pub const CACHE: &str = "acme-data-science-workspace-cache";

/// The system of a workspace, unless [`builds`] says otherwise; its closure is itself and one path that all have.
pub fn system(name: &str) -> String {
    let first = &name[..1];
    format!("/nix/store/{}-nixos-system-{name}", first.repeat(32))
}

/// A later system of a workspace: its number is 2 or more.
pub fn later(name: &str, number: usize) -> String {
    let hash = format!("{}{number}", &name[..1].repeat(31));
    format!("/nix/store/{hash}-nixos-system-{name}")
}

/// Deploys a system to a machine that takes it.
pub fn deploys(shop: &Shop, name: &str, system: &str) {
    assert_ok(&deploys_to(shop, name, system, system, "current"));
}

/// Deploys a system to a machine that says this once it has been told: what it runs, and how that came.
pub fn deploys_to(shop: &Shop, name: &str, system: &str, runs: &str, state: &str) -> Output {
    builds(shop, name, system);
    let deploy = shop.spawn_group(&["deploy", name, "--look", "1"]);
    let start = Instant::now();
    while metadata(shop, name, "workspace-system").as_deref() != Some(system) {
        assert!(start.elapsed() < Duration::from_secs(60), "never told");
        sleep(Duration::from_millis(20));
    }
    reports(shop, name, system, runs, state, "why");
    deploy.wait_with_output().unwrap()
}

/// A cloud in which alice and bob have machines.
pub fn shop(store: &Store) -> Shop {
    let shop = store.shop();
    assert_ok(&shop.xtask(&["push"]));
    shop.network();
    let region = "europe-west4";
    shop.google(&[
        "buckets",
        "ensure",
        CACHE,
        "--project",
        PROJECT,
        "--location",
        region,
    ]);
    let image = format!("projects/{PROJECT}/global/images/{IMAGE}");
    for name in ["alice", "bob"] {
        let machine = json!({
            "name": name, "machineType": "zones/europe-west4-a/machineTypes/n2-standard-8",
            "labels": {"workspace": name},
            "metadata": {"items": [{"key": "enable-guest-attributes", "value": "TRUE"}, {"key": "kept", "value": "yes"}]},
            "disks": [{"boot": true, "initializeParams": {"sourceImage": image, "diskSizeGb": "10"}}],
            "networkInterfaces": [{"subnetwork": "regions/europe-west4/subnetworks/s"}],
        });
        shop.change("POST", "instances", &machine);
    }
    shop
}

/// Makes the checkout have this system for a workspace.
pub fn builds(shop: &Shop, name: &str, system: &str) {
    fs::write(shop.world.path("systems").join(name), format!("{system}\n")).unwrap();
}

/// What the agent of a machine says that was told to run its first system.
pub fn says(shop: &Shop, name: &str, state: &str, reason: &str) {
    let wanted = system(name);
    let runs = if state == "current" {
        wanted.clone()
    } else {
        common()
    };
    reports(shop, name, &wanted, &runs, state, reason);
}

/// What the agent of a machine says.
pub fn reports(shop: &Shop, name: &str, wanted: &str, runs: &str, state: &str, reason: &str) {
    for (key, value) in [
        ("wanted", wanted),
        ("system", runs),
        ("reason", reason),
        ("state", state),
    ] {
        shop.says(name, key, value);
    }
}

pub fn objects(shop: &Shop) -> Vec<String> {
    let objects = shop.google(&["objects", "list", &format!("gs://{CACHE}")]);
    let objects = objects.as_array().unwrap();
    objects
        .iter()
        .map(|object| object["name"].as_str().unwrap().to_owned())
        .collect()
}

pub fn metadata(shop: &Shop, name: &str, key: &str) -> Option<String> {
    let records = shop.records();
    let machine = format!("compute/projects/{PROJECT}/zones/europe-west4-a/instances/{name}");
    let items = records[&machine]["metadata"]["items"]
        .as_array()
        .unwrap()
        .clone();
    let item = items.into_iter().find(|item| item["key"] == key)?;
    Some(item["value"].as_str().unwrap().to_owned())
}
