//! `deploy` and `cache key`: with the real `google`, machines in the simulated cloud, and a made-up nix.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod support;

use std::fs;

use serde_json::{Value, json};
use shop::{IMAGE, PROJECT, Shop, Store, assert_ok};
use support::{stderr, stdout};

const CACHE: &str = "acme-data-science-workspace-cache";
const SECRET: &str = "acme-data-science-1:poison";

/// The system of a workspace; its closure is itself and one path that all have.
fn system(name: &str) -> String {
    let first = &name[..1];
    format!("/nix/store/{}-nixos-system-{name}", first.repeat(32))
}

fn common() -> String {
    format!("/nix/store/{}-common", "0".repeat(32))
}

/// A cloud in which alice and bob have machines, and a nix that has their systems.
fn shop(store: &Store) -> Shop {
    let shop = store.shop();
    assert_ok(&shop.xtask(&["push"]));
    shop.network();
    let region = "europe-west4";
    shop.google(&[
        "buckets",
        "ensure",
        CACHE,
        "--project",
        PROJECT,
        "--location",
        region,
    ]);
    let image = format!("projects/{PROJECT}/global/images/{IMAGE}");
    for name in ["alice", "bob"] {
        let machine = json!({
            "name": name, "machineType": "zones/europe-west4-a/machineTypes/n2-standard-8",
            "labels": {"workspace": name},
            "metadata": {"items": [{"key": "enable-guest-attributes", "value": "TRUE"}, {"key": "kept", "value": "yes"}]},
            "disks": [{"boot": true, "initializeParams": {"sourceImage": image, "diskSizeGb": "10"}}],
            "networkInterfaces": [{"subnetwork": "regions/europe-west4/subnetworks/s"}],
        });
        shop.change("POST", "instances", &machine);
    }
    let evaluate = ["alice", "bob"].map(|name| {
        let (out, drv) = (system(name), format!("{}.drv", system(name)));
        format!(
            "case \"$*\" in *'\"{name}\"'*) printf '%s' \"$comma\" '\"{name}\":{{\"drvPath\":\"{drv}\",\"outPath\":\"{out}\"}}'; comma=, ;; esac;"
        )
    });
    // Of a closure it makes one file a path, as Nix does, of those that are not there.
    let script = format!(
        r#"case "$1 $2" in
        "eval "*) printf '{{'; {} printf '}}' ;;
        "path-info "*) for path in "$@"; do case $path in /nix/store/*) echo $path ;; esac; done; echo {} ;;
        "key "*) case "$*" in
            *generate-secret*) printf {SECRET} ;;
            *) read -r secret; echo "${{secret%%:*}}:public" ;;
            esac ;;
        "copy "*)
            for word in "$@"; do
                case $word in
                file://*) folder=${{word#file://}}; folder=${{folder%%\?*}}; key=${{word##*secret-key=}} ;;
                esac
            done
            read -r secret < $key
            echo "signed with $secret" >> '{}'
            echo StoreDir: /nix/store > $folder/nix-cache-info
            for path in "$@" {}; do
                case $path in
                /nix/store/*)
                    name=${{path#/nix/store/}}; hash=${{name%%-*}}
                    [ -e $folder/$hash.narinfo ] && continue
                    echo "contents of $path" > $folder/$hash.nar.zst
                    printf 'StorePath: %s\nURL: %s.nar.zst\n' $path $hash > $folder/$hash.narinfo ;;
                esac
            done ;;
        esac"#,
        evaluate.concat(),
        common(),
        shop.world.path("signatures").display(),
        common(),
    );
    shop.world.program("nix", &script);
    shop
}

fn says(shop: &Shop, name: &str, state: &str, reason: &str) {
    let wanted = system(name);
    let runs = if state == "current" {
        wanted.clone()
    } else {
        common()
    };
    for (key, value) in [
        ("wanted", wanted.as_str()),
        ("system", &runs),
        ("reason", reason),
        ("state", state),
    ] {
        shop.says(name, key, value);
    }
}

fn objects(shop: &Shop) -> Vec<String> {
    let objects = shop.google(&["objects", "list", &format!("gs://{CACHE}")]);
    let objects = objects.as_array().unwrap();
    objects
        .iter()
        .map(|object| object["name"].as_str().unwrap().to_owned())
        .collect()
}

fn metadata(shop: &Shop, name: &str, key: &str) -> Option<String> {
    let records = shop.records();
    let machine = format!("compute/projects/{PROJECT}/zones/europe-west4-a/instances/{name}");
    let items = records[&machine]["metadata"]["items"]
        .as_array()
        .unwrap()
        .clone();
    let item = items.into_iter().find(|item| item["key"] == key)?;
    Some(item["value"].as_str().unwrap().to_owned())
}

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
            .position(|entry| entry.mutates && entry.path.contains(name))
    };
    let told = log
        .iter()
        .position(|entry| entry.path.ends_with("/setMetadata"));
    assert!(at(".narinfo") < told, "wanted before it is there");

    shop.sim.clear_log();
    assert_ok(&shop.xtask(&deploy));
    let writes = shop.writes();
    assert!(writes.is_empty(), "{writes:?}");

    // bob's system needs one path more, and only that is signed and sent.
    says(&shop, "bob", "current", "");
    assert_ok(&shop.xtask(&["deploy", "bob", "--look", "0"]));
    assert_eq!(objects(&shop).len(), 7);
}

#[test]
fn the_key_is_in_no_argument_and_no_file_is_left_of_it() {
    let shop = shop(&Store::new(0));
    let done = shop.xtask(&["cache", "key"]);
    assert_ok(&done);
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
    let status = stdout(&shop.xtask(&["status", "--systems"]));
    assert!(
        status.contains("bob    00000000  reverted  unit"),
        "{status}"
    );
    assert!(
        note.contains("nginx.service") && !note.contains('\u{1b}'),
        "{note:?}"
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
fn a_silent_machine_is_reset_once_and_one_that_is_off_is_told() {
    let shop = shop(&Store::new(0));
    assert_ok(&shop.xtask(&["cache", "key"]));
    assert_ok(&shop.xtask(&["stop", "bob"]));
    let status = stdout(&shop.xtask(&["status", "--systems"]));
    assert!(status.contains("alice  -       silent"), "{status}");
    assert!(status.contains("bob    -       stopped"), "{status}");
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
    assert_eq!(resets.len(), 1);
    assert!(resets[0].path.contains("/alice/"));
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
