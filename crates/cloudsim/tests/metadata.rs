//! What a machine sees of itself is what Compute Engine knows of it, and the agent's own client gets on with it.

mod common;

use agent::metadata::{Metadata, wanted};
use cloudsim::{Agents, Options, Sim};
use common::{Answer, Client, start, wait};
use serde_json::{Value, json};
use std::sync::mpsc;
use std::time::Duration;

const ZONE: &str = "/compute/v1/projects/demo/zones/europe-west4-a";
const SYSTEM: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-alice";
const GOOGLE: &[(&str, &str)] = &[("Metadata-Flavor", "Google")];

/// Longer than anything here takes, so that what never comes ends the test.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes machines of these names, with guest attributes and a service account.
fn furnish(client: &Client, names: &[&str]) {
    let network = json!({"name": "n", "autoCreateSubnetworks": false});
    let subnetwork =
        json!({"name": "s", "network": "global/networks/n", "ipCidrRange": "10.0.0.0/24"});
    let global = "/compute/v1/projects/demo/global/networks";
    let region = "/compute/v1/projects/demo/regions/europe-west4/subnetworks";
    wait(client, &client.post(global, &network));
    wait(client, &client.post(region, &subnetwork));
    let account = json!({"accountId": "workspace"});
    client.post("/iam/v1/projects/demo/serviceAccounts", &account);
    for name in names {
        let email = "workspace@demo.iam.gserviceaccount.com";
        let machine = json!({
            "name": name, "machineType": "zones/europe-west4-a/machineTypes/n2-standard-8",
            "disks": [{"boot": true, "initializeParams": {"diskSizeGb": "50"}}],
            "networkInterfaces": [{"subnetwork": "regions/europe-west4/subnetworks/s"}],
            "serviceAccounts": [{"email": email, "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}],
            "metadata": {"items": [{"key": "enable-guest-attributes", "value": "TRUE"}]},
        });
        let made = wait(client, &client.post(&format!("{ZONE}/instances"), &machine));
        assert!(made.get("error").is_none(), "{made}");
    }
}

/// What `GCE_METADATA_HOST` is for a machine.
fn host(sim: &Sim, name: &str) -> String {
    let address = sim.url().replace("http://", "");
    format!("{address}/_sim/instances/demo/europe-west4-a/{name}")
}

fn verb(client: &Client, name: &str, verb: &str) {
    let path = format!("{ZONE}/instances/{name}/{verb}");
    wait(client, &client.post(&path, &json!({})));
}

fn want(client: &Client, name: &str, system: &str) {
    let machine = client.get(&format!("{ZONE}/instances/{name}")).json();
    let metadata = json!({
        "fingerprint": machine["metadata"]["fingerprint"],
        "items": [
            {"key": "enable-guest-attributes", "value": "TRUE"},
            {"key": "workspace-system", "value": system},
        ],
    });
    let path = format!("{ZONE}/instances/{name}/setMetadata");
    wait(client, &client.post(&path, &metadata));
}

fn said(client: &Client, name: &str) -> Value {
    let path = format!("{ZONE}/instances/{name}/getGuestAttributes?queryPath=workspace/");
    let answer = client.get(&path).json();
    let items = answer["queryValue"]["items"]
        .as_array()
        .into_iter()
        .flatten();
    items
        .map(|item| {
            (
                item["key"].as_str().unwrap().to_owned(),
                item["value"].clone(),
            )
        })
        .collect()
}

#[test]
fn what_the_api_sets_the_machine_reads_and_what_it_writes_the_api_reads() {
    let (sim, client) = start();
    furnish(&client, &["alice", "bob"]);
    want(&client, "alice", SYSTEM);
    let alice = Metadata::at(&host(&sim, "alice"));
    alice.reach().unwrap();
    let (_, attributes) = alice.attributes(None).unwrap();
    assert_eq!(wanted(&attributes).unwrap().unwrap().as_str(), SYSTEM);
    let bob = Metadata::at(&host(&sim, "bob"));
    assert_eq!(wanted(&bob.attributes(None).unwrap().1), Ok(None));

    alice.write("workspace", "state", "current").unwrap();
    assert_eq!(said(&client, "alice"), json!({"state": "current"}));
    assert_eq!(said(&client, "bob"), json!({}));
}

#[test]
fn a_token_is_the_service_accounts_and_may_what_it_may() {
    let (sim, client) = start();
    furnish(&client, &["alice"]);
    let token = Metadata::at(&host(&sim, "alice")).token().unwrap();
    client.make_bucket("cache");
    client.put_object("cache", "nix-cache-info", b"StoreDir: /nix/store");
    let machine = client.with_token(&token);
    assert_eq!(machine.object("cache", "nix-cache-info").status, 403);
    let policy = json!({"bindings": [{
        "role": "roles/storage.objectViewer",
        "members": ["serviceAccount:workspace@demo.iam.gserviceaccount.com"],
    }]});
    client.json("PUT", "/storage/v1/b/cache/iam", &policy);
    assert_eq!(machine.object("cache", "nix-cache-info").status, 200);
}

#[test]
fn a_question_that_waits_is_answered_by_the_change_and_by_nothing_else() {
    let (sim, client) = start();
    furnish(&client, &["alice", "bob"]);
    let host = host(&sim, "alice");
    let (etag, _) = Metadata::at(&host).attributes(None).unwrap();
    let (sender, answers) = mpsc::channel();
    let waiting = std::thread::spawn(move || {
        let changed = Metadata::at(&host).attributes(Some(&etag)).unwrap();
        sender.send(()).unwrap();
        changed
    });
    // Neither another machine's metadata nor this one's guest attributes are a change of its metadata.
    want(&client, "bob", SYSTEM);
    let path = "/_sim/instances/demo/europe-west4-a/alice/guest-attributes/workspace/state";
    client.send("PUT", path, &[], b"current");
    assert_eq!(answers.try_recv(), Err(mpsc::TryRecvError::Empty));
    want(&client, "alice", SYSTEM);
    answers.recv_timeout(PATIENCE).unwrap();
    let (etag, attributes) = waiting.join().unwrap();
    assert!(wanted(&attributes).unwrap().is_some());
    // One who missed a change is told at once; one who waits in vain gets what is still so.
    let get = |query: &str| {
        let path = "computeMetadata/v1/instance/attributes/workspace-system";
        let path = format!(
            "/_sim/instances/demo/europe-west4-a/alice/{path}?wait_for_change=true&{query}"
        );
        client.send("GET", &path, GOOGLE, b"")
    };
    assert_eq!(get("last_etag=0").body, SYSTEM.as_bytes());
    let same = get("last_etag=0").header("etag").unwrap().to_owned();
    let vain = get(&format!("last_etag={same}&timeout_sec=0"));
    assert_eq!(
        (vain.status, vain.header("etag")),
        (200, Some(same.as_str()))
    );
    assert!(
        etag.len() == 16 && etag.chars().all(|c| c.is_ascii_hexdigit()),
        "{etag}"
    );
}

#[test]
fn only_who_says_the_flavour_is_answered_and_a_machine_that_is_off_has_no_server() {
    let (_sim, client) = start();
    furnish(&client, &["alice"]);
    let base = "/_sim/instances/demo/europe-west4-a/alice/computeMetadata/v1";
    let get = |path: &str, headers: &[(&str, &str)]| -> Answer {
        client.send("GET", &format!("{base}/{path}"), headers, b"")
    };
    let refused = get("instance/name", &[]);
    assert_eq!(refused.status, 403);
    assert_eq!(refused.header("metadata-flavor"), Some("Google"));
    let proxied = [GOOGLE[0], ("X-Forwarded-For", "10.0.0.9")];
    assert_eq!(get("instance/name", &proxied).status, 403);
    assert_eq!(get("instance/name", GOOGLE).body, b"alice");
    assert_eq!(get("project/project-id", GOOGLE).body, b"demo");
    assert_eq!(get("instance/nonsense", GOOGLE).status, 404);
    assert_eq!(
        get("instance/service-accounts/", GOOGLE).body,
        b"default/\nworkspace@demo.iam.gserviceaccount.com/\n"
    );
    let all = get("instance/?recursive=true", GOOGLE).json();
    assert_eq!(
        all["machineType"].as_str().unwrap().rsplit('/').next(),
        Some("n2-standard-8")
    );
    assert_eq!(all["attributes"]["enable-guest-attributes"], "TRUE");
    verb(&client, "alice", "stop");
    assert_eq!(get("instance/name", GOOGLE).status, 503);
    verb(&client, "alice", "start");
    assert_eq!(get("instance/name", GOOGLE).status, 200);
}

/// Waits until an agent says of a wish that it has decided, and returns all that it says.
fn decision(client: &Client, name: &str, wanted: &str) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let said = said(client, name);
        let decided = ["current", "reverted", "failed"]
            .iter()
            .any(|state| said["state"] == *state);
        if said["wanted"] == wanted && decided {
            return said;
        }
        assert!(begun.elapsed() < PATIENCE, "{said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn with_agents(failing_percent: f64) -> (Sim, Client) {
    let agents = Agents {
        most: 100,
        failing_percent,
        seed: 7,
        pace: 1000,
    };
    let sim = Sim::start(Options {
        agents: Some(agents),
        ..Options::default()
    })
    .unwrap();
    let client = Client::new(&sim);
    (sim, client)
}

#[test]
fn an_agent_takes_a_system_also_one_that_it_was_told_while_the_machine_was_off() {
    let (_sim, client) = with_agents(0.0);
    furnish(&client, &["alice"]);
    want(&client, "alice", SYSTEM);
    let said = decision(&client, "alice", SYSTEM);
    assert_eq!(
        (&said["state"], &said["system"]),
        (&json!("current"), &json!(SYSTEM))
    );
    let other = SYSTEM.replace("alice", "alice-2");
    verb(&client, "alice", "stop");
    want(&client, "alice", &other);
    verb(&client, "alice", "start");
    assert_eq!(decision(&client, "alice", &other)["system"], other);
}

#[test]
fn planted_failures_are_left_with_a_reason_and_the_old_system_runs() {
    let (_sim, client) = with_agents(100.0);
    let names = [
        "alice", "bob", "carol", "dan", "eve", "frank", "grace", "heidi",
    ];
    furnish(&client, &names);
    names.iter().for_each(|name| want(&client, name, SYSTEM));
    let mut reasons: Vec<String> = Vec::new();
    for name in names {
        let said = decision(&client, name, SYSTEM);
        assert_ne!(said["state"], "current");
        assert!(
            said["system"].as_str().unwrap().ends_with("of-the-image"),
            "{said}"
        );
        reasons.push(said["reason"].as_str().unwrap().to_owned());
    }
    for reason in ["cannot be fetched", "app.service", "login"] {
        let hit = reasons.iter().any(|text| text.contains(reason));
        assert!(hit, "no {reason}: {reasons:?}");
    }
}

#[test]
fn of_many_machines_about_so_many_fail_and_the_same_ones_each_time() {
    let agents = |seed| Agents {
        most: 0,
        failing_percent: 3.0,
        seed,
        pace: 1,
    };
    let failing = |seed| -> Vec<usize> {
        (0..1000)
            .filter(|n| agents(seed).fails(&format!("w{n:04}")))
            .collect()
    };
    assert!((15..=45).contains(&failing(0).len()), "{:?}", failing(0));
    assert_eq!(failing(0), failing(0));
    assert_ne!(failing(0), failing(1));
}
