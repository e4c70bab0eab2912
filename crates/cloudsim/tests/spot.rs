//! Spot machines are made by Google's rules, and taken back as Google does it.

mod common;

use cloudsim::Sim;
use common::{Answer, Client, start, wait};
use serde_json::{Value, json};
use std::time::Duration;

const PROJECT: &str = "/compute/v1/projects/demo";
const ZONE: &str = "/compute/v1/projects/demo/zones/europe-west4-a";
const MACHINE: &str = "/_sim/instances/demo/europe-west4-a/alice";
const GOOGLE: &[(&str, &str)] = &[("Metadata-Flavor", "Google")];

fn furnished() -> (Sim, Client) {
    let (sim, client) = start();
    let networks = format!("{PROJECT}/global/networks");
    wait(&client, &client.post(&networks, &json!({"name": "n"})));
    (sim, client)
}

fn insert(client: &Client, name: &str, scheduling: Value) -> Answer {
    let machine = json!({
        "name": name, "machineType": "zones/europe-west4-a/machineTypes/g2-standard-16",
        "disks": [{"boot": true, "initializeParams": {"diskSizeGb": "50"}}],
        "networkInterfaces": [{"network": "global/networks/n"}],
        "scheduling": scheduling,
    });
    client.post(&format!("{ZONE}/instances"), &machine)
}

fn get(client: &Client, name: &str) -> Value {
    client.get(&format!("{ZONE}/instances/{name}")).json()
}

fn preempted(client: &Client, query: &str) -> Answer {
    let path = format!("{MACHINE}/computeMetadata/v1/instance/preempted{query}");
    client.send("GET", &path, GOOGLE, b"")
}

/// The operations of a type in all zones.
fn operations(client: &Client, kind: &str) -> Value {
    let filter = format!("operationType%20%3D%20%22{kind}%22");
    let list = format!("{PROJECT}/aggregated/operations?filter={filter}");
    client.get(&list).json()["items"].clone()
}

#[test]
fn a_spot_machine_is_made_by_the_rules_alone() {
    let (_sim, client) = furnished();
    // As the documentation has it, and as terraform sends it.
    let short = json!({"provisioningModel": "SPOT", "instanceTerminationAction": "STOP"});
    let long = json!({
        "provisioningModel": "SPOT", "preemptible": true, "automaticRestart": false,
        "onHostMaintenance": "TERMINATE", "instanceTerminationAction": "STOP", "nodeAffinities": [null],
    });
    let mut told = long.clone();
    told.as_object_mut().unwrap().remove("nodeAffinities");
    for (name, scheduling) in [("short", short), ("long", long.clone())] {
        wait(&client, &insert(&client, name, scheduling));
        assert_eq!(get(&client, name)["scheduling"], told, "{name}");
    }
    for (field, value, why) in [
        ("automaticRestart", json!(true), "AutomaticRestart is true"),
        ("onHostMaintenance", json!("MIGRATE"), "isn't TERMINATE"),
        ("provisioningModel", json!("STANDARD"), "is SPOT"),
    ] {
        let mut scheduling = long.clone();
        scheduling[field] = value;
        let refused = insert(&client, "refused", scheduling);
        assert_eq!(refused.status, 400, "{field}");
        let message = refused.message();
        assert!(message.contains(why), "{field}: {message}");
    }
    let standard = json!({"onHostMaintenance": "TERMINATE", "instanceTerminationAction": "STOP"});
    assert_eq!(insert(&client, "refused", standard).status, 400);
}

#[test]
fn a_machine_becomes_spot_or_standard_only_while_it_is_off() {
    let (_sim, client) = furnished();
    wait(
        &client,
        &insert(&client, "alice", json!({"provisioningModel": "SPOT"})),
    );
    let standard = json!({"provisioningModel": "STANDARD", "onHostMaintenance": "TERMINATE"});
    let set =
        |client: &Client| client.post(&format!("{ZONE}/instances/alice/setScheduling"), &standard);
    assert_eq!(set(&client).status, 400);
    let stop = client.post(&format!("{ZONE}/instances/alice/stop"), &json!({}));
    wait(&client, &stop);
    wait(&client, &set(&client));
    assert_eq!(get(&client, "alice")["scheduling"]["preemptible"], false);
}

#[test]
fn a_spot_machine_that_is_taken_back_is_told_first_and_then_off() {
    let (_sim, client) = furnished();
    wait(
        &client,
        &insert(&client, "alice", json!({"provisioningModel": "SPOT"})),
    );
    let before = preempted(&client, "");
    assert_eq!(before.body, b"FALSE");
    assert_eq!(
        operations(&client, "compute.instances.preempted"),
        json!({})
    );

    let etag = before.header("etag").unwrap().to_owned();
    let waiting = Client::at(&client.url);
    let waiting = std::thread::spawn(move || {
        preempted(&waiting, &format!("?wait_for_change=true&last_etag={etag}"))
    });
    assert_eq!(
        client
            .post(&format!("{MACHINE}/preempt"), &json!({}))
            .status,
        200
    );
    assert_eq!(waiting.join().unwrap().body, b"TRUE");

    // It goes step by step, as all that takes time here.
    let begun = std::time::Instant::now();
    while get(&client, "alice")["status"] != "TERMINATED" {
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    let all = operations(&client, "compute.instances.preempted");
    let [operation] = all["zones/europe-west4-a"]["operations"]
        .as_array()
        .unwrap()
        .as_slice()
    else {
        panic!("{all}");
    };
    assert_eq!(operation["status"], "DONE");
    assert_eq!(operation["user"], "system");
    assert_eq!(operation["targetLink"], get(&client, "alice")["selfLink"]);
    assert_eq!(operations(&client, "unicorn"), json!({}));

    // Nothing of it is left once it runs again.
    let start = client.post(&format!("{ZONE}/instances/alice/start"), &json!({}));
    wait(&client, &start);
    assert_eq!(preempted(&client, "").body, b"FALSE");
}

#[test]
fn only_spot_machines_that_run_are_taken_back() {
    let (_sim, client) = furnished();
    let take = |client: &Client| {
        client
            .post(&format!("{MACHINE}/preempt"), &json!({}))
            .status
    };
    assert_eq!(take(&client), 404);
    wait(
        &client,
        &insert(&client, "alice", json!({"onHostMaintenance": "TERMINATE"})),
    );
    assert_eq!(take(&client), 400);
}
