//! Spot machines that Google takes back: `status`, `start`, `move` and terraform against the simulated cloud. What needs
//! terraform is skipped where it cannot get its provider.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod stage;
mod support;

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use shop::{IMAGE, PROJECT, Shop, Store, assert_ok};
use stage::{missing, moved, out_of_stock, stage};
use support::{stderr, stdout};

/// What `status` says of a workspace: its power for people, and its row for programs.
fn status(shop: &Shop, name: &str) -> (String, Value) {
    let done = shop.xtask(&["status"]);
    assert_ok(&done);
    let text = stdout(&done);
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    let power = line.split_whitespace().nth(1).unwrap().to_owned();
    let all = stage::json(shop, &["status", "--json"]);
    let rows = all["workspaces"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == name).unwrap();
    (power, row.clone())
}

/// Waits until the clock shows another second, the finest that `status` tells times apart by.
fn next_second() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let then = now().as_secs();
    while now().as_secs() == then {
        sleep(Duration::from_millis(10));
    }
}

/// Takes a machine back and looks until it is off.
fn preempt(shop: &Shop, name: &str) {
    next_second();
    shop.preempt(name);
    let begun = Instant::now();
    while status(shop, name).1["power"] != "TERMINATED" {
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}

/// A cloud in which alice's machine is Spot and bob's is not.
fn shop(store: &Store) -> Shop {
    let shop = store.shop();
    assert_ok(&shop.xtask(&["push"]));
    shop.network();
    let image = format!("projects/{PROJECT}/global/images/{IMAGE}");
    for (name, model) in [("alice", "SPOT"), ("bob", "STANDARD")] {
        let machine = json!({
            "name": name, "machineType": "zones/europe-west4-a/machineTypes/n2-standard-8",
            "labels": {"workspace": name},
            "disks": [{"boot": true, "autoDelete": true, "initializeParams": {"sourceImage": image, "diskSizeGb": "10"}}],
            "networkInterfaces": [{"subnetwork": "regions/europe-west4/subnetworks/s"}],
            "scheduling": {"provisioningModel": model},
        });
        shop.change("POST", "instances", &machine);
    }
    shop
}

#[test]
fn a_machine_that_was_taken_back_is_shown_as_such_until_it_runs_again() {
    let shop = shop(&Store::new(0));
    let (power, row) = status(&shop, "alice");
    assert_eq!((&*power, &row["spot"]), ("running", &json!(true)));
    assert_eq!(status(&shop, "bob").1["spot"], false);

    preempt(&shop, "alice");
    let (power, row) = status(&shop, "alice");
    assert_eq!((&*power, &row["preempted"]), ("preempted", &json!(true)));
    assert_eq!(row["power"], "TERMINATED");

    next_second();
    assert_ok(&shop.xtask(&["start", "alice"]));
    let (power, row) = status(&shop, "alice");
    assert_eq!((&*power, &row["preempted"]), ("running", &json!(false)));
    // Now it is somebody here who stops it.
    assert_ok(&shop.xtask(&["stop", "alice"]));
    let (power, row) = status(&shop, "alice");
    assert_eq!((&*power, &row["preempted"]), ("stopped", &json!(false)));
}

#[test]
fn whether_machines_were_taken_back_is_asked_once_for_all_and_only_if_it_may_be() {
    let shop = shop(&Store::new(0));
    let calls = |shop: &Shop| {
        shop.sim.clear_log();
        assert_ok(&shop.xtask(&["status"]));
        let log = shop.sim.log().into_iter();
        log.filter(|call| call.path.contains("/operations")).count()
    };
    assert_ok(&shop.xtask(&["stop", "bob"]));
    assert_eq!(calls(&shop), 0);
    assert_ok(&shop.xtask(&["stop", "alice"]));
    assert_eq!(calls(&shop), 1);
}

#[test]
fn a_machine_that_was_taken_back_stays_off_starts_again_and_moves_with_its_home() {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return;
    }
    let shop = stage(&Store::new(0));
    let fleet = shop.world.path("repo/fleet.toml");
    let text = fs::read_to_string(&fleet).unwrap();
    fs::write(&fleet, format!("{text}spot = true\n")).unwrap();
    assert_ok(&shop.xtask(&["up"]));
    let scheduling = |zone: &str, name: &str| {
        let key = format!("compute/projects/{PROJECT}/zones/{zone}/instances/{name}");
        shop.records()[key]["scheduling"].take()
    };
    let spot = json!({
        "automaticRestart": false, "instanceTerminationAction": "STOP", "onHostMaintenance": "TERMINATE",
        "preemptible": true, "provisioningModel": "SPOT",
    });
    assert_eq!(scheduling("europe-west4-a", "bob"), spot);
    assert_eq!(
        scheduling("europe-west4-a", "alice")["provisioningModel"],
        "STANDARD"
    );

    let is_clean = || assert_eq!(stage::json(&shop, &["plan", "--json"])["clean"], true);
    is_clean();
    preempt(&shop, "bob");
    is_clean();
    let seen = shop.writes().len();
    assert_ok(&shop.xtask(&["up"]));
    assert_eq!(shop.writes().len(), seen, "up wrote");
    assert_eq!(status(&shop, "bob").0, "preempted");
    next_second();
    assert_ok(&shop.xtask(&["start", "bob"]));
    assert_eq!(status(&shop, "bob").0, "running");

    preempt(&shop, "bob");
    out_of_stock(&shop, &["europe-west4-a"]);
    let refused = shop.xtask(&["start", "bob"]);
    assert_eq!(refused.status.code(), Some(4), "{}", stderr(&refused));
    let said = stderr(&refused);
    let way_out = said.trim_end().rsplit("cargo xtask ").next().unwrap();
    assert_eq!(way_out, "move bob", "{said}");
    let way_out: Vec<_> = way_out.split(' ').collect();
    assert_ok(&shop.xtask(&way_out));
    moved(&shop, "europe-west4-a", "europe-west4-b").unwrap();
    assert_eq!(scheduling("europe-west4-b", "bob"), spot);
    assert_eq!(status(&shop, "bob").0, "running");
    is_clean();
}

#[test]
fn a_machine_that_is_there_becomes_spot_by_name_alone() {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return;
    }
    let shop = stage(&Store::new(0));
    assert_ok(&shop.xtask(&["up"]));
    let of = |kind: &str, name: &str| {
        let key = format!("compute/projects/{PROJECT}/zones/europe-west4-a/{kind}/{name}");
        shop.records()[key].take()
    };
    let home = of("disks", "home-bob")["id"].take();
    let fleet = shop.world.path("repo/fleet.toml");
    let text = fs::read_to_string(&fleet).unwrap();
    fs::write(&fleet, format!("{text}spot = true\n")).unwrap();
    let refused = shop.xtask(&["apply"]);
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    let said = stderr(&refused);
    assert!(said.contains("--replace-workspaces"), "{said}");
    assert_eq!(of("instances", "bob")["scheduling"]["preemptible"], false);

    assert_ok(&shop.xtask(&["apply", "--replace-workspaces", "bob"]));
    assert_eq!(of("instances", "bob")["scheduling"]["preemptible"], true);
    assert_eq!(of("disks", "home-bob")["id"], home);
}
