//! A shop with terraform: the whole way, against a simulated cloud.

#![allow(dead_code, reason = "each test file uses a part of it")]

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

use cloudsim::{Fault, Rule};
use serde_json::Value;

use crate::{
    shop::{Shop, Store, assert_ok},
    support::{root, stderr, stdout},
};

/// Why terraform cannot run here.
pub fn missing() -> Option<&'static str> {
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
pub fn stage(store: &Store) -> Shop {
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
pub fn snapshot(shop: &Shop) -> BTreeMap<String, BTreeSet<String>> {
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

/// What a verb prints for programs.
pub fn json(shop: &Shop, arguments: &[&str]) -> Value {
    let done = shop.xtask(arguments);
    assert_ok(&done);
    serde_json::from_slice(&done.stdout).unwrap()
}

/// An `up` that nothing disturbed.
pub struct Undisturbed {
    /// The calls that it made.
    pub calls: usize,
    /// What it left in the cloud.
    pub snapshot: BTreeMap<String, BTreeSet<String>>,
}

/// Runs one.
pub fn undisturbed(store: &Store) -> Undisturbed {
    let shop = stage(store);
    assert_ok(&shop.xtask(&["up"]));
    Undisturbed {
        calls: shop.sim.log().len(),
        snapshot: snapshot(&shop),
    }
}

/// Runs `up` and kills it, with all that it started, when a rule strikes; whether that came before its end.
pub fn kill_when_struck(shop: &Shop, rule: Rule) -> Result<bool, String> {
    shop.strike(vec![rule]);
    let mut up = shop.spawn_group(&["up"]);
    let since = Instant::now();
    let struck = || shop.sim.log().iter().any(|entry| entry.fault.is_some());
    while !struck() && up.try_wait().unwrap().is_none() {
        if since.elapsed() > Duration::from_secs(300) {
            return Err("it hangs".to_owned());
        }
        sleep(Duration::from_millis(5));
    }
    let group = format!("-{}", up.id());
    let _ = Command::new("kill")
        .args(["-9", "--", &group])
        .stderr(Stdio::null())
        .status();
    up.wait().unwrap();
    shop.strike(Vec::new());
    Ok(struck())
}

/// Kills an `up` when a call has taken effect and was not answered yet. What is wrong after the next `up`: it must end in
/// the same state as one that nothing disturbed, have lost no home disk and left nothing to do.
pub fn killed_at(store: &Store, call: usize, expected: &Undisturbed) -> Result<(), String> {
    let shop = stage(store);
    kill_when_struck(&shop, Rule::nth(call as u64, Fault::NoReply))?;
    let again = shop.xtask(&["up"]);
    if !again.status.success() {
        return Err(format!("the next up failed: {}", stderr(&again)));
    }
    let now = snapshot(&shop);
    if now != expected.snapshot {
        let of = |all: &BTreeMap<String, BTreeSet<String>>| -> BTreeSet<String> {
            all.iter().map(|record| format!("{record:?}")).collect()
        };
        let (now, then) = (of(&now), of(&expected.snapshot));
        let (more, less) = (now.difference(&then), then.difference(&now));
        return Err(format!(
            "the state is another one: more {more:?}, less {less:?}"
        ));
    }
    let lost =
        |entry: &cloudsim::Entry| entry.method == "DELETE" && entry.path.contains("/disks/home-");
    if let Some(entry) = shop.sim.log().into_iter().find(lost) {
        return Err(format!("a home disk was deleted: {}", entry.path));
    }
    let plan = shop.xtask(&["plan", "--json"]);
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap_or_default();
    if plan["clean"] != true {
        return Err(format!("something is left to do: {plan}"));
    }
    Ok(())
}
