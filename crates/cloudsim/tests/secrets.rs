//! Secret Manager: who reads what, and the states of versions.

mod common;

use common::{Client, start};
use serde_json::{Value, json};

const SECRETS: &str = "/secretmanager/v1/projects/demo/secrets";

fn make(client: &Client, name: &str, data: &str) {
    let secret = json!({"replication": {"automatic": {}}});
    let made = client.post(&format!("{SECRETS}?secretId={name}"), &secret);
    assert_eq!(made.status, 200);
    let added = client.post(
        &format!("{SECRETS}/{name}:addVersion"),
        &json!({"payload": {"data": data}}),
    );
    assert_eq!(added.status, 200);
}

fn access(client: &Client, name: &str, version: &str) -> common::Answer {
    client.get(&format!("{SECRETS}/{name}/versions/{version}:access"))
}

fn grant(client: &Client, name: &str, member: &str) -> common::Answer {
    let mut policy = client.get(&format!("{SECRETS}/{name}:getIamPolicy")).json();
    policy["bindings"] =
        json!([{"role": "roles/secretmanager.secretAccessor", "members": [member]}]);
    client.post(
        &format!("{SECRETS}/{name}:setIamPolicy"),
        &json!({"policy": policy}),
    )
}

#[test]
fn a_machine_reads_its_own_secret_and_no_other() {
    let (_sim, client) = start();
    make(&client, "alice", "QQ==");
    make(&client, "bob", "Qg==");
    let alice = "serviceAccount:alice@demo.iam.gserviceaccount.com";
    assert_eq!(grant(&client, "alice", alice).status, 200);
    let machine = client.with_token(alice);
    let read = access(&machine, "alice", "latest");
    assert_eq!(read.json()["payload"]["data"], "QQ==");
    for refused in [
        access(&machine, "bob", "latest"),
        // What does not exist looks the same.
        access(&machine, "carol", "latest"),
        machine.get(SECRETS),
        machine.post(
            &format!("{SECRETS}/alice:addVersion"),
            &json!({"payload": {"data": "QQ=="}}),
        ),
        machine.post(
            &format!("{SECRETS}/alice:setIamPolicy"),
            &json!({"policy": {}}),
        ),
        machine.delete(&format!("{SECRETS}/alice")),
    ] {
        assert_eq!(refused.status, 403, "{}", refused.message());
    }
}

#[test]
fn versions_are_named_by_the_projects_number_and_read_by_either() {
    let (_sim, client) = start();
    make(&client, "alice", "QQ==");
    make(&client, "bob", "Qg==");
    client.post(
        &format!("{SECRETS}/alice:addVersion"),
        &json!({"payload": {"data": "Qg=="}}),
    );
    let number = client.get("/crm/v1/projects/demo").json()["projectNumber"].clone();
    let number = number.as_str().unwrap();
    let name = format!("projects/{number}/secrets/alice/versions/2");
    assert_eq!(access(&client, "alice", "latest").json()["name"], name);
    let by_number = client.get(&format!("/secretmanager/v1/{name}:access"));
    assert_eq!(by_number.json()["payload"]["data"], "Qg==");
    let listed = client.get(&format!("{SECRETS}/alice/versions")).json();
    assert_eq!(listed["versions"][0]["name"], name, "the newest first");
    assert!(
        !listed.to_string().contains("Qg=="),
        "a list holds no payload"
    );
}

#[test]
fn a_disabled_version_comes_back_and_a_destroyed_one_does_not() {
    let (_sim, client) = start();
    make(&client, "alice", "QQ==");
    let verb = |verb: &str| client.post(&format!("{SECRETS}/alice/versions/1:{verb}"), &json!({}));
    assert_eq!(verb("disable").json()["state"], "DISABLED");
    let refused = access(&client, "alice", "1");
    assert_eq!(
        (refused.status, refused.json()["error"]["status"].clone()),
        (400, json!("FAILED_PRECONDITION"))
    );
    assert_eq!(verb("enable").json()["state"], "ENABLED");
    assert_eq!(access(&client, "alice", "1").status, 200);
    assert_eq!(verb("destroy").json()["state"], "DESTROYED");
    assert_eq!(verb("enable").status, 400);
    assert_eq!(access(&client, "alice", "1").status, 400);
    let state = client.get("/_sim/state").json().to_string();
    assert!(!state.contains("QQ=="), "its payload is gone");
}

#[test]
fn a_payload_with_a_wrong_checksum_is_not_kept() {
    let (_sim, client) = start();
    make(&client, "alice", "QQ==");
    let right = crc32c::crc32c(b"B").to_string();
    for (sum, status) in [("1", 400), (&*right, 200)] {
        let body = json!({"payload": {"data": "Qg==", "dataCrc32c": sum}});
        assert_eq!(
            client
                .post(&format!("{SECRETS}/alice:addVersion"), &body)
                .status,
            status
        );
    }
    let versions = client.get(&format!("{SECRETS}/alice/versions")).json();
    assert_eq!(versions["versions"].as_array().unwrap().len(), 2);
}

#[test]
fn of_two_writers_of_a_policy_the_later_reads_again() {
    let (_sim, client) = start();
    make(&client, "alice", "QQ==");
    let path = format!("{SECRETS}/alice");
    let read: Value = client.get(&format!("{path}:getIamPolicy")).json();
    assert_eq!(grant(&client, "alice", "user:a@example.com").status, 200);
    let stale = client.post(&format!("{path}:setIamPolicy"), &json!({"policy": read}));
    assert_eq!(
        (stale.status, stale.json()["error"]["status"].clone()),
        (409, json!("ABORTED"))
    );
}
