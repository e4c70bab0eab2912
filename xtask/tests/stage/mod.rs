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

use cloudsim::{Fault, Options, Rule, Settings, Sim, StockOut};
use serde_json::Value;

use crate::{
    shop::{PROJECT, Shop, Store, assert_ok},
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
    // The one image is every profile's.
    let packed = fs::read_dir(shop.images())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    for file in packed.collect::<Vec<_>>() {
        let name = file.file_name().unwrap().to_str().unwrap();
        if let Some(rest) = name.strip_prefix("base-") {
            fs::copy(&file, file.with_file_name(format!("cuda-{rest}"))).unwrap();
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
    pub log: Vec<cloudsim::Entry>,
    /// What it left in the cloud.
    pub snapshot: BTreeMap<String, BTreeSet<String>>,
}

/// Runs one.
pub fn undisturbed(store: &Store) -> Undisturbed {
    let shop = stage(store);
    assert_ok(&shop.xtask(&["up"]));
    Undisturbed {
        log: shop.sim.log(),
        snapshot: snapshot(&shop),
    }
}

/// Runs `up` and kills it, with all that it started, when a rule strikes; whether that came before its end.
pub fn kill_when_struck(shop: &Shop, rule: Rule) -> Result<bool, String> {
    kill_verb_when_struck(shop, &["up"], rule)
}

/// The same of another verb.
pub fn kill_verb_when_struck(shop: &Shop, verb: &[&str], rule: Rule) -> Result<bool, String> {
    shop.strike(vec![rule]);
    let mut run = shop.spawn_group(verb);
    let since = Instant::now();
    let seen = shop.sim.log().len();
    let struck = || {
        let log = shop.sim.log();
        log[seen..].iter().any(|entry| entry.fault.is_some())
    };
    while !struck() && run.try_wait().unwrap().is_none() {
        if since.elapsed() > Duration::from_secs(300) {
            return Err("it hangs".to_owned());
        }
        sleep(Duration::from_millis(5));
    }
    let group = format!("-{}", run.id());
    let _ = Command::new("kill")
        .args(["-9", "--", &group])
        .stderr(Stdio::null())
        .status();
    run.wait().unwrap();
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

/// These zones have no machine of bob's type.
pub fn out_of_stock(shop: &Shop, zones: &[&str]) {
    let out = |zone: &&str| StockOut {
        zone: (*zone).to_owned(),
        machine_type: "g2-*".to_owned(),
    };
    shop.sim.set_settings(Settings {
        stock_outs: zones.iter().map(out).collect(),
        ..Settings::default()
    });
}

/// A cloud in which bob's machine is off and his zone has no room for it, to begin with again and again.
pub struct Stuck {
    folder: tempfile::TempDir,
    /// Id of bob's home.
    home: Value,
    /// What bob's machine is to run.
    wish: Value,
}

impl Stuck {
    /// Makes one.
    pub fn new(store: &Store) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut shop = stage(store);
        shop.sim = simulated(folder.path());
        assert_ok(&shop.xtask(&["up"]));
        assert_ok(&shop.xtask(&["stop", "bob"]));
        let key = format!("compute/projects/{PROJECT}/zones/europe-west4-a/disks/home-bob");
        let home = shop.records()[key]["id"].clone();
        let wish = wish(&shop, "europe-west4-a");
        assert!(wish.is_string());
        Self { folder, home, wish }
    }

    /// A cloud of this kind, and a checkout that knows nothing of it.
    pub fn stage(&self, store: &Store) -> (Shop, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        copy(self.folder.path(), folder.path());
        let mut shop = stage(store);
        shop.sim = simulated(folder.path());
        out_of_stock(&shop, &["europe-west4-a"]);
        (shop, folder)
    }

    /// The calls of a move that nothing disturbs.
    pub fn log(&self, store: &Store) -> Vec<cloudsim::Entry> {
        let (shop, _folder) = self.stage(store);
        assert_ok(&shop.xtask(&["move", "bob"]));
        self.moved(&shop).unwrap();
        shop.sim.log()
    }

    /// Kills a move when a rule strikes. What is wrong after the next one: it must end as one that nothing disturbed,
    /// with no disk lost, and never have had two machines.
    pub fn killed(&self, store: &Store, rule: Rule) -> Result<(), String> {
        let (shop, _folder) = self.stage(store);
        if !kill_verb_when_struck(&shop, &["move", "bob"], rule)? {
            return Err("it was not struck".to_owned());
        }
        let again = shop.xtask(&["move", "bob"]);
        if !again.status.success() {
            return Err(format!("the next move failed: {}", stderr(&again)));
        }
        self.moved(&shop)?;
        let plan = json(&shop, &["plan", "--json"]);
        if plan["clean"] != true {
            return Err(format!("something is left to do: {plan}"));
        }
        Ok(())
    }

    /// What is wrong with bob's move to the next zone, if anything.
    pub fn moved(&self, shop: &Shop) -> Result<(), String> {
        moved(shop, "europe-west4-a", "europe-west4-b")?;
        let key = format!("compute/projects/{PROJECT}/zones/europe-west4-a/disks/home-bob");
        let home = &shop.records()[key]["id"];
        if *home != self.home {
            return Err(format!("the old home is another disk: {home}"));
        }
        let wish = wish(shop, "europe-west4-b");
        if wish != self.wish {
            return Err(format!("it is to run something else: {wish}"));
        }
        // A machine is made only where none was, or after the old one went.
        let mut gone = false;
        for entry in shop.sim.log() {
            gone |=
                entry.method == "DELETE" && entry.path.ends_with("/europe-west4-a/instances/bob");
            let made = entry.method == "POST" && entry.path.ends_with("/europe-west4-b/instances");
            if made && !gone {
                return Err("there were two machines".to_owned());
            }
        }
        Ok(())
    }
}

/// What bob's machine in a zone is to run; null if nobody has said.
fn wish(shop: &Shop, zone: &str) -> Value {
    let key = format!("compute/projects/{PROJECT}/zones/{zone}/instances/bob");
    let items = shop.records()[key]["metadata"]["items"].take();
    let mut items = items.as_array().into_iter().flatten();
    let item = items.find(|item| item["key"] == "workspace-system");
    item.map_or(Value::Null, |item| item["value"].clone())
}

fn simulated(folder: &Path) -> Sim {
    let options = Options {
        state: Some(folder.join("state")),
        ..Options::default()
    };
    Sim::start(options).unwrap()
}

/// What is wrong with bob's move from one zone to another, if anything: there is his home in the new one, made of a
/// snapshot of the old one's, which is still there; his machine there, and no other; and nothing else of the move.
pub fn moved(shop: &Shop, from: &str, to: &str) -> Result<(), String> {
    let records = shop.records();
    let of_bob = |kind: &str| -> Vec<(String, Value)> {
        let all = records.as_object().unwrap().iter();
        let of = all.filter(|(_, record)| {
            record["kind"] == format!("compute#{kind}").as_str()
                && record["labels"]["workspace"] == "bob"
        });
        of.map(|(key, record)| (key.clone(), record.clone()))
            .collect()
    };
    let zone = |zone: &str| format!("compute/projects/{PROJECT}/zones/{zone}");
    let check = |right: bool, what: &str, found: &dyn std::fmt::Debug| {
        if right {
            Ok(())
        } else {
            Err(format!("{what}: {found:#?}"))
        }
    };
    let machines = of_bob("instance");
    let right = machines.len() == 1
        && machines[0].0 == format!("{}/instances/bob", zone(to))
        && machines[0].1["status"] == "RUNNING";
    check(right, "not one machine, there", &machines)?;
    let mut disks = of_bob("disk");
    disks.retain(|(key, _)| key.ends_with("/home-bob"));
    let at = |zone_: &str| {
        let key = format!("{}/disks/home-bob", zone(zone_));
        disks
            .iter()
            .find(|(it, _)| *it == key)
            .map(|(_, disk)| disk)
    };
    let (Some(old), Some(new)) = (at(from), at(to)) else {
        return Err(format!("a home is lost: {disks:#?}"));
    };
    check(disks.len() == 2, "more disks than two", &disks)?;
    check(
        new["sourceSnapshotId"].is_string(),
        "the home is no copy",
        new,
    )?;
    check(
        old["labels"]["move"] == "left" && old["users"].is_null(),
        "the old home",
        old,
    )?;
    let marks = new["labels"]
        .get("move")
        .or(new["labels"].get("moved-from"));
    check(marks.is_none(), "the home is marked", new)?;
    check(
        new["users"][0]
            .as_str()
            .is_some_and(|user| user.ends_with("/bob")),
        "the home is not bob's",
        new,
    )?;
    let snapshots = of_bob("snapshot");
    check(snapshots.is_empty(), "a snapshot is left", &snapshots)
}
