//! What somebody who is no owner of the project can apply, with the real terraform against the simulated cloud; skipped
//! where terraform cannot get its provider.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod stage;
mod support;

use std::fs;

use cloudsim::{Fault, Rule};
use shop::{PROJECT, Store};
use stage::{missing, stage};
use support::stderr;

/// Set by an owner of the project.
const VARIABLES: &str = r#"
deployers     = ["user:dana@acme.example"]
stop_schedule = { cron = "0 20 * * *", time_zone = "Europe/Amsterdam" }
"#;

#[test]
fn a_deployer_applies_all_that_follows_foundation_with_a_stop_schedule() {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return;
    }
    let shop = stage(&Store::new(0));
    let file = shop
        .world
        .path("repo/terraform/foundation/acme.auto.tfvars");
    fs::write(file, VARIABLES).unwrap();
    // The owner's run ends after foundation.
    let refusal = Fault::Status {
        status: 403,
        retry_after: None,
    };
    let of_homes = Rule::nth(1, refusal).of("GET", "*/homes/default.tfstate*");
    shop.strike(vec![of_homes.times(u64::MAX)]);
    let owner = shop.xtask(&["apply"]);
    assert!(!owner.status.success());
    shop.strike(Vec::new());

    let mut variables = shop.variables();
    for (name, value) in &mut variables {
        if *name == "GOOGLE_OAUTH_ACCESS_TOKEN" {
            *value = "user:dana@acme.example".to_owned();
        }
    }
    let variables: Vec<_> = variables.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let dana = shop.world.xtask_with(&["up"], &variables);
    assert!(dana.status.success(), "{}", stderr(&dana));
    let records = shop.records();
    let alice =
        &records[&format!("compute/projects/{PROJECT}/zones/europe-west4-a/instances/alice")];
    let policy = alice["resourcePolicies"][0].as_str().unwrap_or_default();
    assert!(
        policy.contains("/resourcePolicies/workspaces-stop-"),
        "{alice}"
    );
}
