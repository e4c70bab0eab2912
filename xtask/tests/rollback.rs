//! `rollback`: with the real `google`, machines in the simulated cloud, and a made-up nix.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod support;
mod systems;

use serde_json::Value;
use shop::{Shop, Store, assert_ok};
use support::{stderr, stdout};
use systems::{builds, deploys, deploys_to, later, metadata, reports, system};

/// A cloud in which systems can be deployed.
fn shop() -> Shop {
    let shop = systems::shop(&Store::new(0));
    assert_ok(&shop.xtask(&["cache", "key"]));
    shop
}

fn wanted(shop: &Shop, name: &str) -> Option<String> {
    metadata(shop, name, "workspace-system")
}

fn previous(shop: &Shop, name: &str) -> Option<String> {
    metadata(shop, name, "workspace-system-previous")
}

#[test]
fn a_machine_goes_back_to_what_it_ran_before_and_a_second_time_no_further() {
    let shop = shop();
    let (first, second) = (system("alice"), later("alice", 2));
    deploys(&shop, "alice", &first);
    assert_eq!(previous(&shop, "alice"), None);
    builds(&shop, "alice", &second);
    assert_ok(&shop.xtask(&["stop", "alice"]));
    assert_ok(&shop.xtask(&["deploy", "alice", "--look", "0"]));
    assert_ok(&shop.xtask(&["start", "alice"]));
    assert_eq!(wanted(&shop, "alice"), Some(second.clone()));
    assert_eq!(previous(&shop, "alice"), Some(first.clone()));

    reports(&shop, "alice", &first, &first, "current", "");
    for _ in 0..2 {
        let done = shop.xtask(&["rollback", "alice", "--look", "0"]);
        assert_ok(&done);
        let text = stdout(&done);
        assert!(text.contains("alice  current"), "{text}");
        assert_eq!(wanted(&shop, "alice"), Some(first.clone()));
        assert_eq!(previous(&shop, "alice"), Some(first.clone()));
    }
    // And forward again.
    deploys(&shop, "alice", &second);
    assert_eq!(wanted(&shop, "alice"), Some(second));
    assert_eq!(previous(&shop, "alice"), Some(first));
}

#[test]
fn what_a_machine_refused_is_nothing_to_go_back_to() {
    let shop = shop();
    let (first, bad, third) = (system("alice"), later("alice", 2), later("alice", 3));
    deploys(&shop, "alice", &first);
    let done = deploys_to(&shop, "alice", &bad, &first, "reverted");
    assert_eq!(done.status.code(), Some(1), "{}", stderr(&done));
    assert_eq!(previous(&shop, "alice"), Some(first.clone()));
    deploys(&shop, "alice", &third);
    assert_eq!(wanted(&shop, "alice"), Some(third));
    assert_eq!(previous(&shop, "alice"), Some(first));
}

#[test]
fn a_machine_that_is_off_is_told_and_one_with_nothing_to_go_back_to_is_named() {
    let shop = shop();
    let (first, second) = (system("alice"), later("alice", 2));
    let refused = shop.xtask(&["rollback", "bob"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("nothing is known to go back to: bob"),
        "{}",
        stderr(&refused)
    );
    deploys(&shop, "alice", &first);
    deploys(&shop, "alice", &second);
    assert_ok(&shop.xtask(&["stop", "alice"]));
    let done = shop.xtask(&["rollback", "--all", "--json"]);
    assert_ok(&done);
    let result: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(result["machines"][0]["result"], "told", "{result}");
    assert_eq!(result["machines"][1]["result"], "left out", "{result}");
    assert_eq!(wanted(&shop, "alice"), Some(first));
    assert_eq!(wanted(&shop, "bob"), None);
}
