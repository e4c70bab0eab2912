//! `up` and what follows it, with the real terraform against the simulated cloud; skipped where terraform cannot get its
//! provider.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod stage;
mod support;

use std::{fs, process::Command};

use shop::{PROJECT, Store, assert_ok};
use stage::{json, killed_at, missing, stage as shop, undisturbed};
use support::{stderr, stdout};

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
        let at = expected.calls * (2 * kill - 1) / (2 * KILLS);
        if let Err(wrong) = killed_at(&store, at, &expected) {
            panic!("killed at call {at} of {}: {wrong}", expected.calls);
        }
    }
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
