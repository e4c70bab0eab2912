//! `cache prune`: with the real `google`, machines in the simulated cloud, and a made-up nix.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod support;
mod systems;

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use cloudsim::{Fault, Rule};
use shop::{Shop, Store, assert_ok};
use support::{stderr, stdout};
use systems::{CACHE, deploys, later, objects, reports};

/// Without regard to age.
const PRUNE: [&str; 4] = ["cache", "prune", "--older-than", "0"];

fn info(path: &str) -> String {
    let name = path.trim_start_matches("/nix/store/");
    format!("{}.narinfo", name.split('-').next().unwrap())
}

/// A cloud in which alice's machine had four systems, one after the other.
fn shop() -> (Shop, Vec<String>) {
    let shop = systems::shop(&Store::new(0));
    assert_ok(&shop.xtask(&["cache", "key"]));
    let systems: Vec<_> = (1..=4).map(|number| later("alice", number)).collect();
    for system in &systems {
        deploys(&shop, "alice", system);
    }
    (shop, systems)
}

fn put(shop: &Shop, name: &str, text: &str) {
    let file = shop.world.path("object");
    fs::write(&file, text).unwrap();
    let url = format!("gs://{CACHE}/{name}");
    shop.google(&["objects", "upload", file.to_str().unwrap(), &url]);
}

#[test]
fn what_no_machine_runs_is_to_run_or_can_go_back_to_is_deleted_and_nothing_else() {
    let (shop, all) = shop();
    // It runs the second, is to run the fourth, and can go back to the third.
    reports(&shop, "alice", &all[3], &all[1], "fetching", "");
    put(&shop, "notes.txt", "somebody's");
    let orphan = format!("nar/{}.nar.zst", "1".repeat(52));
    put(&shop, &orphan, "never announced");
    let before = objects(&shop);
    let has = |path: &str| objects(&shop).contains(&info(path));
    assert!(has(&all[0]));

    // What is younger than a day stays.
    assert_ok(&shop.xtask(&["cache", "prune"]));
    assert_eq!(objects(&shop), before);
    shop.sim.clear_log();
    let look = shop.xtask(&[&PRUNE[..], &["--dry-run"]].concat());
    assert_ok(&look);
    assert!(
        stderr(&look).contains("would delete 1 store path, "),
        "{}",
        stderr(&look)
    );
    assert!(
        stdout(&look).contains(&format!("--keep {}", all[2])),
        "{}",
        stdout(&look)
    );
    assert!(shop.writes().is_empty(), "{:?}", shop.writes());

    shop.sim.clear_log();
    let done = shop.xtask(&PRUNE);
    assert_ok(&done);
    assert!(
        stdout(&done).contains("deleted 1 store path, "),
        "{}",
        stdout(&done)
    );
    let contents = info(&all[0]).replace(".narinfo", ".nar.zst");
    let gone = [info(&all[0]), contents.clone(), orphan];
    let mut left = before;
    left.retain(|name| !gone.contains(name));
    assert_eq!(objects(&shop), left);
    // What is announced can be had, whenever it is looked at.
    let deleted: Vec<_> = shop.writes().into_iter().map(|entry| entry.path).collect();
    let at = |name: &str| deleted.iter().position(|path| path.ends_with(name));
    assert!(at(&info(&all[0])) < at(&contents), "{deleted:?}");

    // What was deleted comes back with the next deploy of it.
    deploys(&shop, "alice", &all[0]);
    assert!(has(&all[0]));
}

#[test]
fn a_deploy_under_way_keeps_what_it_brings_before_any_machine_is_told() {
    let (shop, all) = shop();
    // As a deploy that was killed leaves it.
    put(&shop, "deploying/1-1", &format!("{}\n", all[0]));
    assert_ok(&shop.xtask(&PRUNE));
    let there = objects(&shop);
    assert!(there.contains(&info(&all[0])), "{there:?}");
    assert!(!there.contains(&info(&all[1])), "{there:?}");
    // One that ended leaves nothing of the kind.
    let deploys = there.iter().filter(|name| name.starts_with("deploying/"));
    assert_eq!(deploys.collect::<Vec<_>>(), ["deploying/1-1"]);
}

#[test]
fn nothing_is_deleted_when_what_is_needed_cannot_be_read() {
    let (shop, all) = shop();
    let name = info(&all[3]);
    shop.google(&["objects", "delete", &format!("gs://{CACHE}/{name}")]);
    put(&shop, &name, "no narinfo");
    let before = objects(&shop);
    let done = shop.xtask(&PRUNE);
    assert_eq!(done.status.code(), Some(1), "{}", stderr(&done));
    assert!(stderr(&done).contains("is no narinfo"), "{}", stderr(&done));
    assert_eq!(objects(&shop), before);
}

#[test]
fn nothing_is_deleted_when_a_machine_cannot_be_asked_what_it_runs() {
    let (shop, all) = shop();
    // It runs what it was neither told now nor before.
    reports(&shop, "alice", &all[3], &all[0], "fetching", "");
    let before = objects(&shop);
    let refusal = Fault::Status {
        status: 403,
        retry_after: None,
    };
    let rule = Rule::nth(1, refusal).of("GET", "*/alice/getGuestAttributes");
    shop.strike(vec![rule]);
    let done = shop.xtask(&PRUNE);
    assert_eq!(done.status.code(), Some(4), "{}", stderr(&done));
    let said = stderr(&done);
    assert!(said.contains("what alice runs cannot be read"), "{said}");
    assert!(said.contains("Nothing was deleted"), "{said}");
    assert_eq!(objects(&shop), before);
}

#[test]
fn nothing_is_deleted_when_a_deploy_begins_meanwhile() {
    let (shop, all) = shop();
    let slow = Fault::Slow {
        bytes_per_second: 20,
    };
    shop.strike(vec![Rule::nth(1, slow).of("GET", "*.narinfo")]);
    let prune = shop.spawn_group(&PRUNE);
    // It has seen which deploys are under way, and reads what is needed.
    let start = Instant::now();
    while !shop.sim.log().iter().any(|entry| entry.fault.is_some()) {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "nothing was read"
        );
        sleep(Duration::from_millis(5));
    }
    put(&shop, "deploying/2-2", &format!("{}\n", all[0]));
    let before = objects(&shop);
    let done = prune.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(1), "{}", stderr(&done));
    let said = stderr(&done);
    assert!(said.contains("began while it was looked at"), "{said}");
    assert_eq!(objects(&shop), before);
}
