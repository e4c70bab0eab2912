//! What `deploy` and `rollback` write is not terraform's to take back; skipped where terraform cannot get its provider.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod stage;
mod support;
mod systems;

use shop::{Store, assert_ok};
use stage::{json, missing, stage};
use systems::{deploys, later, metadata, reports, system};

#[test]
fn nothing_is_left_to_apply_after_deploy_and_rollback() {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return;
    }
    let shop = stage(&Store::new(0));
    assert_ok(&shop.xtask(&["up"]));
    let (first, second) = (system("alice"), later("alice", 2));
    deploys(&shop, "alice", &first);
    deploys(&shop, "alice", &second);
    let plan = json(&shop, &["plan", "--json"]);
    assert_eq!(plan["clean"], true, "{plan}");

    reports(&shop, "alice", &first, &first, "current", "");
    assert_ok(&shop.xtask(&["rollback", "alice", "--look", "0"]));
    // An apply leaves it all alone.
    assert_ok(&shop.xtask(&["apply"]));
    for key in ["workspace-system", "workspace-system-previous"] {
        assert_eq!(
            metadata(&shop, "alice", key).as_ref(),
            Some(&first),
            "{key}"
        );
    }
}
