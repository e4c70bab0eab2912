//! `diff`: with the real `google`, machines in the simulated cloud, and a made-up nix.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod support;
mod systems;

use serde_json::Value;
use shop::{Store, assert_ok};
use support::{stderr, stdout};
use systems::{builds, deploys, later, metadata, reports, system};

#[test]
fn what_a_machine_runs_is_compared_with_what_this_checkout_has() {
    let shop = systems::shop(&Store::new(0));
    let first = system("alice");
    // Nobody has what it runs: it came with its image.
    let image = format!("/nix/store/{}-nixos-system-base", "c".repeat(32));
    reports(&shop, "alice", "", &image, "unassigned", "");
    shop.world.program("nix", "case \"$*\" in *path-info*) exit 1 ;; *) echo '{\"alice\":{\"drvPath\":\"d\",\"outPath\":\"o\"}}' ;; esac");
    let done = shop.xtask(&["diff", "alice"]);
    assert_eq!(done.status.code(), Some(1), "{}", stderr(&done));
    assert!(
        stderr(&done).contains("neither in the bucket nor"),
        "{}",
        stderr(&done)
    );

    std::fs::remove_dir_all(shop.world.path("systems")).unwrap();
    shop::nix(&shop.world);
    assert_ok(&shop.xtask(&["cache", "key"]));
    deploys(&shop, "alice", &first);
    let done = shop.xtask(&["diff", "alice"]);
    assert_ok(&done);
    assert_eq!(stdout(&done), "alice runs what this checkout has\n");

    let second = later("alice", 2).replace("-nixos-system-alice", "-nixos-system-alice-26.05");
    builds(&shop, "alice", &second);
    shop.sim.clear_log();
    let done = shop.xtask(&["diff", "alice", "--json"]);
    assert_ok(&done);
    let diff: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(diff["running"], first);
    assert_eq!(diff["wanted"], second);
    // 1,000 bytes by the bucket's narinfo, 2,000 by the store that it was built in. What both have is not told.
    let packages = serde_json::json!([
        {"package": "nixos-system-alice", "from": [""], "to": ["26.05"], "bytes": 1000},
    ]);
    assert_eq!(diff["packages"], packages);
    assert!(shop.writes().is_empty(), "{:?}", shop.writes());
    assert_eq!(metadata(&shop, "alice", "workspace-system"), Some(first));
    let text = stdout(&shop.xtask(&["diff", "alice"]));
    assert!(
        text.contains("nixos-system-alice  +1000 B  there  26.05"),
        "{text}"
    );
}
