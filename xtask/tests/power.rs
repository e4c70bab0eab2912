//! `start`, `stop`, `status`, `logs`: with the real `google` and a machine in the simulated cloud.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod support;

use serde_json::{Value, json};
use shop::{IMAGE, PROJECT, Shop, Store, assert_ok};
use support::{stderr, stdout};

/// A cloud in which alice has a machine and a home, and carol, who is gone, a home and one that she left in a move.
fn shop(store: &Store) -> Shop {
    let shop = store.shop();
    assert_ok(&shop.xtask(&["push"]));
    let labels = |name: &str| json!({"workspace": name, "owner": format!("{name}_acme_example")});
    for name in ["alice", "carol"] {
        let home = json!({"name": format!("home-{name}"), "sizeGb": "10", "labels": labels(name)});
        shop.change("POST", "disks", &home);
    }
    #[rustfmt::skip]
    shop.google(&[
        "snapshots", "make", "move-carol", "--project", PROJECT, "--disk", "europe-west4-a/home-carol",
        "--location", "europe-west4",
    ]);
    #[rustfmt::skip]
    shop.google(&[
        "disks", "restore", "europe-west4-b/home-carol", "--project", PROJECT, "--snapshot", "move-carol",
        "--type", "pd-balanced", "--label", "workspace=carol", "--label", "owner=carol_acme_example",
        "--label", "move=left",
    ]);
    shop.network();
    let image = format!("projects/{PROJECT}/global/images/{IMAGE}");
    let machine = |name: &str, labels: Value| {
        let boot = json!({"boot": true, "autoDelete": true, "initializeParams": {"sourceImage": image, "diskSizeGb": "10"}});
        json!({
            "name": name, "machineType": "zones/europe-west4-a/machineTypes/n2-standard-8", "labels": labels,
            "disks": [boot],
            "networkInterfaces": [{
                "subnetwork": "regions/europe-west4/subnetworks/s",
                "accessConfigs": [{"type": "ONE_TO_ONE_NAT"}],
            }],
        })
    };
    shop.change("POST", "instances", &machine("alice", labels("alice")));
    shop.change("POST", "instances", &machine("stranger", json!({})));
    shop
}

fn row(shop: &Shop, name: &str) -> Value {
    let done = shop.xtask(&["status", "--json"]);
    assert_ok(&done);
    let status: Value = serde_json::from_slice(&done.stdout).unwrap();
    let rows = status["workspaces"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == name).unwrap().clone()
}

#[test]
fn status_shows_machines_and_all_homes_in_two_calls_and_one_a_machine_that_is_on() {
    let shop = shop(&Store::new(0));
    shop.sim.clear_log();
    let done = shop.xtask(&["status"]);
    assert_ok(&done);
    assert_eq!(shop.sim.log().len(), 3);
    let text = stdout(&done);
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[1][..4],
        ["alice", "running", "unknown", "n2-standard-8"],
        "{text}"
    );
    assert_eq!(
        lines[1][5..],
        ["alice@acme.example", "10", "GB", "europe-west4-a", IMAGE],
        "{text}"
    );
    assert_eq!(
        lines[2],
        [
            "bob",
            "no",
            "machine",
            "-",
            "g2-standard-16",
            "-",
            "bob@acme.example",
            "-",
            "-",
            "-"
        ]
    );
    assert_eq!(
        lines[7],
        [
            "home-carol",
            "10",
            "GB",
            "europe-west4-a",
            "carol_acme_example"
        ],
        "{text}"
    );
    assert_eq!(lines[9][..4], ["LEFT", "IN", "A", "MOVE"], "{text}");
    assert_eq!(
        lines[10],
        [
            "home-carol",
            "10",
            "GB",
            "europe-west4-b",
            "carol_acme_example"
        ],
        "{text}"
    );
    assert!(!text.contains("stranger"), "{text}");
}

#[test]
fn what_is_stopped_already_is_not_stopped_again() {
    let shop = shop(&Store::new(0));
    assert_ok(&shop.xtask(&["stop", "--all"]));
    assert_eq!(row(&shop, "alice")["power"], "TERMINATED");
    shop.sim.clear_log();
    assert_ok(&shop.xtask(&["stop", "alice"]));
    assert_eq!(shop.writes().len(), 0);
    assert_ok(&shop.xtask(&["start", "alice"]));
    assert_eq!(row(&shop, "alice")["power"], "RUNNING");
}

#[test]
fn a_workspace_that_has_no_machine_or_does_not_exist_is_named() {
    let shop = shop(&Store::new(0));
    let done = shop.xtask(&["start", "bob"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(
        stderr(&done).contains("bob has no machine"),
        "{}",
        stderr(&done)
    );
    let done = shop.xtask(&["stop", "alic"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(
        stderr(&done).contains("Did you mean alice?"),
        "{}",
        stderr(&done)
    );
}

#[test]
fn a_home_disk_is_destroyed_only_after_its_machine_and_its_name() {
    let shop = shop(&Store::new(0));
    let refused = shop.xtask(&["destroy", "--destroy-home-disks", "carol"]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("nothing was destroyed"));
    let other = shop.xtask(&[
        "destroy",
        "--destroy-home-disks",
        "carol",
        "--confirm",
        "alice",
    ]);
    assert_eq!(other.status.code(), Some(2));
    assert_ok(&shop.xtask(&[
        "destroy",
        "--destroy-home-disks",
        "carol",
        "--confirm",
        "carol",
    ]));
    let disks = shop.google(&["disks", "list", "--project", PROJECT]);
    let names: Vec<_> = disks
        .as_array()
        .unwrap()
        .iter()
        .map(|disk| disk["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"home-alice") && !names.contains(&"home-carol"),
        "{names:?}"
    );

    // The boot disk has the label too, and is no home.
    let none = shop.xtask(&["destroy", "--destroy-home-disks", "bob", "--confirm", "bob"]);
    assert_eq!(none.status.code(), Some(2));
    let attach =
        json!({"source": format!("projects/{PROJECT}/zones/europe-west4-a/disks/home-alice")});
    shop.change("POST", "instances/alice/attachDisk", &attach);
    let used = shop.xtask(&[
        "destroy",
        "--destroy-home-disks",
        "alice",
        "--confirm",
        "alice",
    ]);
    assert_eq!(used.status.code(), Some(1));
    assert!(
        stderr(&used).contains("the machine alice has the home disk"),
        "{}",
        stderr(&used)
    );
}
