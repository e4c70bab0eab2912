//! `up` and what follows it, with the real terraform against the simulated cloud; skipped where terraform cannot get its
//! provider.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;
use shop::{PROJECT, Shop, Store, assert_ok};
use support::{root, stderr, stdout};

/// Kills of one `up`, spread over its calls. The full matrix: `KILLS=1000 cargo test --release -p xtask --test up`.
const KILLS: usize = 5;

/// Why these tests cannot run here.
fn missing() -> Option<&'static str> {
    static MISSING: OnceLock<Option<&'static str>> = OnceLock::new();
    *MISSING.get_or_init(|| {
        let sources = root().join("terraform/foundation");
        if !sources.is_dir() {
            return Some("the folder terraform is not here");
        }
        let folder = tempfile::tempdir().unwrap();
        fs::copy(
            sources.join("terraform.tf"),
            folder.path().join("terraform.tf"),
        )
        .unwrap();
        let mut init = Command::new("terraform");
        init.args(["init", "-backend=false", "-input=false"]);
        init.current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match init.status() {
            Err(_) => Some("there is no terraform"),
            Ok(status) if !status.success() => Some("terraform cannot get its provider"),
            Ok(_) => None,
        }
    })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// A checkout with the terraform roots, and a cloud.
fn shop(store: &Store) -> Shop {
    let shop = store.shop();
    copy(
        &root().join("terraform"),
        &shop.world.path("repo/terraform"),
    );
    for program in ["terraform", "sh", "id", "uname"] {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .output()
            .unwrap();
        symlink(stdout(&found).trim(), shop.world.path("bin").join(program)).unwrap();
    }
    // The one base image is every workspace's.
    let packed = fs::read_dir(shop.images())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    for file in packed.collect::<Vec<_>>() {
        let name = file.file_name().unwrap().to_str().unwrap();
        for workspace in ["alice", "bob"] {
            if let Some(rest) = name.strip_prefix("base-") {
                fs::copy(&file, file.with_file_name(format!("{workspace}-{rest}"))).unwrap();
            }
        }
    }
    shop
}

/// What there is in the cloud: resources, and who is granted what.
fn snapshot(shop: &Shop) -> BTreeMap<String, BTreeSet<String>> {
    let records = shop.records();
    let passing = [
        "/operations/",
        "compute/requests/",
        "storage/upload/",
        "crm/numbers/",
    ];
    let kept = records
        .as_object()
        .unwrap()
        .iter()
        .filter(|(key, _)| !passing.iter().any(|part| key.contains(part)));
    kept.map(|(key, record)| {
        let bindings = record["bindings"].as_array().into_iter().flatten();
        let grants = bindings.flat_map(|binding| {
            let members = binding["members"].as_array().unwrap().iter();
            members.map(|member| {
                format!(
                    "{} {member} {}",
                    binding["role"], binding["condition"]["title"]
                )
            })
        });
        (key.clone(), grants.collect())
    })
    .collect()
}

fn json(shop: &Shop, arguments: &[&str]) -> Value {
    let done = shop.xtask(arguments);
    assert_ok(&done);
    serde_json::from_slice(&done.stdout).unwrap()
}

#[test]
fn an_up_that_was_killed_at_any_call_is_finished_by_the_next_one() {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return;
    }
    let store = Store::new(0);
    let (calls, expected) = {
        let shop = shop(&store);
        assert_ok(&shop.xtask(&["up"]));
        (shop.sim.log().len(), snapshot(&shop))
    };
    assert!(
        expected.keys().any(|key| key.ends_with("/instances/bob")),
        "{expected:#?}"
    );
    let kills = std::env::var("KILLS")
        .map_or(KILLS, |kills| kills.parse().unwrap())
        .min(calls);
    for kill in 1..=kills {
        let at = calls * (2 * kill - 1) / (2 * kills);
        let case = format!("killed at call {at} of {calls}");
        let shop = shop(&store);
        let mut up = shop.spawn_group(&["up"]);
        let since = Instant::now();
        while shop.sim.log().len() < at && up.try_wait().unwrap().is_none() {
            assert!(
                since.elapsed() < Duration::from_secs(120),
                "{case}: it hangs"
            );
            sleep(Duration::from_millis(1));
        }
        let group = format!("-{}", up.id());
        let _ = Command::new("kill")
            .args(["-9", "--", &group])
            .stderr(Stdio::null())
            .status();
        up.wait().unwrap();

        let again = shop.xtask(&["up"]);
        assert!(again.status.success(), "{case}: {}", stderr(&again));
        assert_eq!(snapshot(&shop), expected, "{case}");
        assert_eq!(json(&shop, &["plan", "--json"])["clean"], true, "{case}");
    }
    println!("{kills} kills of {calls} calls");
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
