//! `deploy` and `cache key`: with the real `google`, machines in the simulated cloud, and a made-up nix.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod support;
mod systems;

use std::{fs, os::unix::fs::symlink, process::Command};

use serde_json::Value;
use shop::{PROJECT, SECRET, Shop, Store, assert_ok};
use support::{stderr, stdout};
use systems::{metadata, objects, says, shop, system};

#[test]
fn a_system_is_signed_uploaded_and_wanted_and_the_second_time_nothing_is_sent() {
    let shop = shop(&Store::new(0));
    assert_ok(&shop.xtask(&["cache", "key"]));
    says(&shop, "alice", "current", "");
    let deploy = ["deploy", "alice", "--look", "0"];
    shop.sim.clear_log();
    let done = shop.xtask(&deploy);
    assert_ok(&done);
    assert!(
        stdout(&done).contains("alice  current"),
        "{}",
        stdout(&done)
    );
    assert_eq!(
        metadata(&shop, "alice", "workspace-system"),
        Some(system("alice"))
    );
    assert_eq!(metadata(&shop, "alice", "kept").as_deref(), Some("yes"));
    assert_eq!(metadata(&shop, "bob", "workspace-system"), None);
    let (zero, a) = ("0".repeat(32), "a".repeat(32));
    assert_eq!(
        objects(&shop),
        [
            format!("{zero}.nar.zst"),
            format!("{zero}.narinfo"),
            format!("{a}.nar.zst"),
            format!("{a}.narinfo"),
            "nix-cache-info".to_owned(),
        ]
    );
    // Of a path that is announced the contents are there, whenever it is looked at.
    let log = shop.sim.log();
    let at = |name: &str| {
        log.iter()
            .position(|entry| entry.mutates && entry.query.contains(name))
    };
    let told = log
        .iter()
        .position(|entry| entry.path.ends_with("/setMetadata"));
    let announced = at(".narinfo");
    assert!(
        announced.is_some() && announced < told,
        "wanted before it is there"
    );

    shop.sim.clear_log();
    assert_ok(&shop.xtask(&deploy));
    let writes = shop.writes();
    assert!(writes.is_empty(), "{writes:?}");

    // bob's system needs one path more, and only that is signed and sent.
    says(&shop, "bob", "current", "");
    assert_ok(&shop.xtask(&["deploy", "bob", "--look", "0"]));
    assert_eq!(objects(&shop).len(), 7);
}

/// git in the checkout, for xtask too.
fn git(shop: &Shop) -> impl Fn(&[&str]) -> String {
    let found = Command::new("sh").args(["-c", "command -v git"]).output();
    let found = stdout(&found.unwrap()).trim().to_owned();
    symlink(&found, shop.world.path("bin/git")).unwrap();
    let repository = shop.world.path("repo");
    move |words| {
        let done = Command::new(&found)
            .args(words)
            .current_dir(&repository)
            .output();
        let done = done.unwrap();
        assert_ok(&done);
        stdout(&done)
    }
}

#[test]
fn the_key_is_in_no_argument_and_no_file_is_left_of_it() {
    let shop = shop(&Store::new(0));
    let git = git(&shop);
    git(&["init", "--quiet"]);
    let done = shop.xtask(&["cache", "key"]);
    assert_ok(&done);
    // Of a work tree Nix sees what git knows of.
    assert_eq!(git(&["ls-files"]), "hosts/cache-key.pub\n");
    let public = format!("{PROJECT}-1:public\n");
    assert_eq!(stdout(&done), public);
    let written = shop.world.path("repo/hosts/cache-key.pub");
    assert_eq!(fs::read_to_string(written).unwrap(), public);
    says(&shop, "alice", "current", "");
    let deployed = shop.xtask(&["deploy", "alice", "--look", "0"]);
    assert_ok(&deployed);
    let signed = fs::read_to_string(shop.world.path("signatures")).unwrap();
    assert!(signed.contains(SECRET), "the key was not used");
    for text in [
        stderr(&done),
        stderr(&deployed),
        shop.world.calls().join("\n"),
    ] {
        assert!(!text.contains("poison"), "{text}");
    }
    for folder in ["/dev/shm", "/tmp"] {
        let left = fs::read_dir(folder).unwrap().flatten();
        let mut left = left.filter(|entry| {
            let name = entry.file_name().into_string().unwrap_or_default();
            name.starts_with("workspace-cache-key-")
                && fs::read_to_string(entry.path()).is_ok_and(|text| text.contains(SECRET))
        });
        assert!(left.next().is_none());
    }
}

#[test]
fn a_machine_that_went_back_is_named_with_its_reason() {
    let shop = shop(&Store::new(0));
    assert_ok(&shop.xtask(&["cache", "key"]));
    says(&shop, "alice", "current", "");
    says(
        &shop,
        "bob",
        "reverted",
        "unit \u{1b}[2Jnginx.service: it failed",
    );
    let done = shop.xtask(&["deploy", "--all", "--look", "0", "--json"]);
    assert_eq!(done.status.code(), Some(1));
    let result: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(result["failures"], 1);
    let machines = result["machines"].as_array().unwrap();
    assert_eq!(machines[0]["result"], "current");
    assert_eq!(machines[1]["name"], "bob");
    let note = machines[1]["note"].as_str().unwrap();
    assert!(
        note.contains("nginx.service") && !note.contains('\u{1b}'),
        "{note:?}"
    );
}

#[test]
fn what_a_machine_says_of_its_gpus_is_in_the_status() {
    let shop = shop(&Store::new(0));
    says(&shop, "alice", "current", "");
    says(&shop, "bob", "current", "");
    let status = stdout(&shop.xtask(&["status"]));
    assert!(!status.contains("GPU"), "{status}");
    let lost = "one has stopped answering. Save your \u{1b}[2Jwork.";
    shop.says("bob", "gpu", lost);
    let status = stdout(&shop.xtask(&["status"]));
    let line = "NAME  GPU\nbob   one has stopped answering. Save your  [2Jwork.\n";
    assert!(status.ends_with(line), "{status}");
    let status = shop.xtask(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let bob = &status["workspaces"][1];
    assert!(
        bob["system"]["gpu"].as_str().unwrap().starts_with("one"),
        "{bob}"
    );
}

#[test]
fn no_further_wave_begins_beyond_the_failures_that_are_allowed() {
    let shop = shop(&Store::new(0));
    assert_ok(&shop.xtask(&["cache", "key"]));
    says(&shop, "alice", "reverted", "why");
    says(&shop, "bob", "current", "");
    let one_by_one = ["deploy", "--all", "--look", "0", "--wave", "1"];
    let done = shop.xtask(&[&one_by_one[..], &["--max-failures", "0"]].concat());
    assert_eq!(done.status.code(), Some(1));
    assert!(stdout(&done).contains("left out"), "{}", stdout(&done));
    assert_eq!(metadata(&shop, "bob", "workspace-system"), None);
    let done = shop.xtask(&[&one_by_one[..], &["--max-failures", "1"]].concat());
    assert_eq!(done.status.code(), Some(1));
    assert_eq!(
        metadata(&shop, "bob", "workspace-system"),
        Some(system("bob"))
    );
}

#[test]
fn a_silent_machine_is_reset_twice_and_one_that_is_off_is_told() {
    let shop = shop(&Store::new(0));
    assert_ok(&shop.xtask(&["cache", "key"]));
    assert_ok(&shop.xtask(&["stop", "bob"]));
    shop.sim.clear_log();
    let done = shop.xtask(&["deploy", "--all", "--look", "1", "--within", "0"]);
    assert_eq!(done.status.code(), Some(1));
    let text = stdout(&done);
    assert!(text.contains("alice  silent"), "{text}");
    assert!(text.contains("bob    told"), "{text}");
    let log = shop.sim.log();
    let resets: Vec<_> = log
        .iter()
        .filter(|entry| entry.path.ends_with("/reset"))
        .collect();
    assert_eq!(resets.len(), 2);
    assert!(resets.iter().all(|entry| entry.path.contains("/alice/")));
    assert_eq!(
        metadata(&shop, "bob", "workspace-system"),
        Some(system("bob"))
    );
}

#[test]
fn without_the_public_key_in_the_repository_nothing_is_signed() {
    let shop = shop(&Store::new(0));
    let deploy = ["deploy", "alice", "--look", "0"];
    let done = shop.xtask(&deploy);
    assert_eq!(done.status.code(), Some(2));
    assert!(
        stderr(&done).contains("cargo xtask cache key"),
        "{}",
        stderr(&done)
    );
    assert_ok(&shop.xtask(&["cache", "key"]));
    fs::write(
        shop.world.path("repo/hosts/cache-key.pub"),
        "other:public\n",
    )
    .unwrap();
    let done = shop.xtask(&deploy);
    assert_eq!(done.status.code(), Some(2));
    assert!(stderr(&done).contains("would refuse"), "{}", stderr(&done));
    assert_eq!(objects(&shop), Vec::<String>::new());
    assert_eq!(metadata(&shop, "alice", "workspace-system"), None);
}
