//! `status`: with the real `google`, machines in the simulated cloud, and a made-up nix.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod support;
mod systems;

use std::{
    io::{BufRead, BufReader},
    process::Command,
};

use serde_json::Value;
use shop::{Shop, Store, assert_ok};
use support::{stderr, stdout};
use systems::{builds, deploys, deploys_to, later, reports, system};

/// A cloud in which systems can be deployed.
fn shop() -> Shop {
    let shop = systems::shop(&Store::new(0));
    assert_ok(&shop.xtask(&["cache", "key"]));
    shop
}

fn json(shop: &Shop) -> Value {
    let done = shop.xtask(&["status", "--json"]);
    assert_ok(&done);
    serde_json::from_slice(&done.stdout).unwrap()
}

#[test]
fn each_machine_is_current_behind_or_back_with_a_reason() {
    let shop = shop();
    let (first, second, third) = (system("alice"), later("alice", 2), later("alice", 3));
    let of_alice = |status: &Value| status["workspaces"][0]["system"].clone();
    assert_eq!(of_alice(&json(&shop))["state"], "starting");
    shop.says("alice", "state", "unassigned");
    assert_eq!(of_alice(&json(&shop))["state"], "unassigned");

    deploys(&shop, "alice", &first);
    assert_eq!(of_alice(&json(&shop))["state"], "current");
    deploys(&shop, "alice", &second);
    assert_ok(&shop.xtask(&["stop", "alice"]));
    assert!(of_alice(&json(&shop)).is_null());
    builds(&shop, "alice", &third);
    assert_ok(&shop.xtask(&["deploy", "alice", "--look", "0"]));
    assert_ok(&shop.xtask(&["start", "alice"]));
    reports(&shop, "alice", &third, &first, "fetching", "");
    let system = of_alice(&json(&shop));
    assert_eq!(system["state"], "behind", "{system}");
    assert_eq!(system["behind"], 2, "{system}");
    assert_eq!(system["runs"], first.as_str(), "{system}");
    assert_eq!(system["wanted"], third.as_str(), "{system}");

    let bob = later("bob", 2);
    deploys(&shop, "bob", &systems::system("bob"));
    deploys_to(&shop, "bob", &bob, &systems::system("bob"), "reverted");
    shop.says(
        "bob",
        "reason",
        "unit \u{1b}[2Jnginx.service: \u{202e}it failed",
    );
    let done = shop.xtask(&["status"]);
    assert_ok(&done);
    let text = stdout(&done);
    let row = |name: &str| -> Vec<&str> {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().collect()
    };
    assert_eq!(
        row("alice")[1..5],
        ["running", "2", "behind", "n2-standard-8"]
    );
    assert_eq!(row("bob")[1..4], ["running", "reverted", "n2-standard-8"]);
    let why = "bob    reverted  runs bbbbbbbb, not bbbbbbbb: unit  [2Jnginx.service: ?it failed";
    assert!(text.contains(why), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let system = &json(&shop)["workspaces"][1]["system"];
    assert_eq!(system["state"], "reverted", "{system}");
    assert_eq!(system["behind"], 1, "{system}");
    assert_eq!(
        system["reason"], "unit  [2Jnginx.service: ?it failed",
        "{system}"
    );
}

#[test]
fn it_takes_one_call_for_each_machine_that_is_on_and_writes_nothing() {
    let shop = shop();
    assert_ok(&shop.xtask(&["stop", "bob"]));
    shop.sim.clear_log();
    let done = shop.xtask(&["status"]);
    assert_ok(&done);
    let log = shop.sim.log();
    let asked: Vec<_> = log
        .iter()
        .filter(|entry| entry.path.ends_with("/getGuestAttributes"))
        .collect();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].path.contains("/alice/"), "{}", asked[0].path);
    assert_eq!(log.len(), 3, "{log:?}");
    assert!(shop.writes().is_empty());
}

#[test]
fn watched_where_there_is_no_terminal_each_look_is_added_below_the_one_before() {
    let shop = shop();
    for json in [false, true] {
        let mut words = vec!["status", "--watch", "1"];
        words.extend(json.then_some("--json"));
        let mut watch = shop.spawn_group(&words);
        let stdout = BufReader::new(watch.stdout.take().unwrap());
        let mut lines = stdout.lines().map(Result::unwrap);
        let mut looks = 0;
        for line in lines.by_ref() {
            assert!(!line.contains('\u{1b}'), "{line:?}");
            if json {
                let look: Value = serde_json::from_str(&line).unwrap();
                assert_eq!(look["workspaces"][0]["name"], "alice");
                looks += 1;
            } else if line.starts_with("alice") {
                looks += 1;
            }
            if looks == 2 {
                break;
            }
        }
        assert_eq!(looks, 2);
        // A test that runs in the background is deaf to SIGINT.
        let end = ["-TERM", &watch.id().to_string()];
        assert!(Command::new("kill").args(end).status().unwrap().success());
        let done = watch.wait_with_output().unwrap();
        assert_eq!(done.status.code(), None, "{}", stderr(&done));
        // The commands of the first look alone are echoed.
        let echoed = stderr(&done).matches("$ google instances list").count();
        assert_eq!(echoed, 1, "{}", stderr(&done));
    }
}

#[test]
fn it_ends_without_a_word_when_nobody_reads_any_more() {
    let shop = shop();
    let mut watch = shop.spawn_group(&["status", "--watch", "1"]);
    let mut line = String::new();
    let mut stdout = BufReader::new(watch.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    drop(stdout);
    let done = watch.wait_with_output().unwrap();
    let said = stderr(&done);
    assert_eq!(done.status.code(), Some(141), "{said}");
    assert!(said.lines().all(|line| line.starts_with("$ ")), "{said}");
}
