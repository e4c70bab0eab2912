//! `up` and what follows it, with the real terraform against the simulated cloud; skipped where terraform cannot get its
//! provider.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod stage;
mod support;
mod systems;

use std::{fs, process::Command};

use shop::{PROJECT, Store, assert_ok};
use stage::{json, killed_at, missing, stage as shop, undisturbed};
use support::{stderr, stdout};
use systems::{builds, later, metadata, system};

/// Kills of one `up`, spread over its calls. The full matrix: `cargo bench -p xtask --bench kill`.
const KILLS: usize = 5;

#[test]
fn an_up_that_was_killed_at_any_call_is_finished_by_the_next_one() {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return;
    }
    let store = Store::new(0);
    let expected = undisturbed(&store);
    let bob = |key: &String| key.ends_with("/instances/bob");
    assert!(
        expected.snapshot.keys().any(bob),
        "{:#?}",
        expected.snapshot
    );
    for kill in 1..=KILLS {
        let at = expected.log.len() * (2 * kill - 1) / (2 * KILLS);
        if let Err(wrong) = killed_at(&store, at, &expected) {
            panic!("killed at call {at} of {}: {wrong}", expected.log.len());
        }
    }
}

#[test]
fn a_new_machine_boots_its_profiles_image_and_is_told_what_to_run_once() {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return;
    }
    let store = Store::new(0);
    let shop = shop(&store);
    assert_ok(&shop.xtask(&["up"]));
    let records = shop.records();
    let zone = format!("compute/projects/{PROJECT}/zones/europe-west4-a");
    for (name, profile) in [("alice", "base"), ("bob", "cuda")] {
        let wanted = metadata(&shop, name, "workspace-system");
        assert_eq!(wanted, Some(system(name)));
        let image = records[format!("{zone}/disks/{name}")]["sourceImage"].clone();
        let image = image.as_str().unwrap();
        assert!(image.contains(&format!("/{profile}-")), "{image}");
    }
    // It was there before any machine was, signed by a key that the image accepts.
    let log = shop.sim.log();
    let at = |part: &str| {
        let found = log.iter().position(|entry| {
            entry.mutates && format!("{}?{}", entry.path, entry.query).contains(part)
        });
        found.unwrap_or_else(|| panic!("no {part}"))
    };
    let machine = log
        .iter()
        .position(|entry| entry.method == "POST" && entry.path.ends_with("/instances"));
    assert!(at("workspace-cache-key") < at("workspace-images"));
    assert!(at(".narinfo") < machine.unwrap());
    let key = fs::read_to_string(shop.world.path("repo/hosts/cache-key.pub")).unwrap();
    assert_eq!(key, format!("{PROJECT}-1:public\n"));

    // The flake has other systems now, and its machines are told by deploy alone.
    builds(&shop, "alice", &later("alice", 2));
    assert_eq!(json(&shop, &["plan", "--json"])["clean"], true);
    shop.sim.clear_log();
    assert_ok(&shop.xtask(&["up"]));
    let writes = shop.writes();
    assert!(writes.is_empty(), "{writes:?}");

    // Made anew without Nix it is told what it was told before.
    shop.world.remove("nix");
    assert_ok(&shop.xtask(&["apply", "--replace-workspaces", "alice"]));
    let wanted = metadata(&shop, "alice", "workspace-system");
    assert_eq!(wanted, Some(system("alice")));
}

#[test]
fn a_lock_of_a_killed_run_is_broken_and_another_hosts_is_shown() {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return;
    }
    let store = Store::new(0);
    let shop = shop(&store);
    assert_ok(&shop.xtask(&["up"]));
    let lock = |who: &str| {
        let info = serde_json::json!({
            "ID": "7", "Operation": "OperationTypeApply", "Info": "", "Who": who, "Version": "1.11.4",
            "Created": "2026-11-24T20:00:00Z", "Path": "",
        });
        let file = shop.world.path("lock");
        fs::write(&file, info.to_string()).unwrap();
        let url = format!("gs://{PROJECT}-workspace-state/fleet/default.tflock");
        shop.google(&["objects", "upload", file.to_str().unwrap(), &url]);
    };
    lock("somebody@elsewhere");
    // Something to apply.
    let fleet = shop.world.path("repo/fleet.toml");
    let text = fs::read_to_string(&fleet).unwrap();
    fs::write(&fleet, &text[..text.find("[workspaces.bob]").unwrap()]).unwrap();
    let refused = shop.xtask(&["apply"]);
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    let said = stderr(&refused);
    assert!(
        said.contains("the state of fleet is locked by somebody@elsewhere since"),
        "{said}"
    );
    assert!(said.contains("force-unlock -force"), "{said}");

    let url = format!("gs://{PROJECT}-workspace-state/fleet/default.tflock");
    shop.google(&["objects", "delete", &url]);
    let whoami = Command::new("sh")
        .args(["-c", "echo $(id -un)@$(uname -n)"])
        .output()
        .unwrap();
    lock(stdout(&whoami).trim());
    let healed = shop.xtask(&["apply"]);
    assert_ok(&healed);
    assert!(
        stderr(&healed).contains("breaking its lock"),
        "{}",
        stderr(&healed)
    );
    let status = json(&shop, &["status", "--json"]);
    assert_eq!(status["retired"][0]["workspace"], "bob", "{status}");
    assert_eq!(status["workspaces"].as_array().unwrap().len(), 1);
}
