//! Machines use disks and addresses, and keep the rules that clients trip over.

mod common;

use cloudsim::{Fault, OperationError, Plan, Rule, Sim};
use common::{Client, good, start, wait};
use serde_json::{Value, json};

const ZONE: &str = "/compute/v1/projects/demo/zones/europe-west4-a";
const REGION: &str = "/compute/v1/projects/demo/regions/europe-west4";
const GLOBAL: &str = "/compute/v1/projects/demo/global";

/// A cloud with an image, a subnetwork, a home disk and a reserved address.
fn furnished() -> (Sim, Client) {
    let (sim, client) = start();
    client.make_bucket("images");
    client.put_object("images", "base.tar.gz", &good(20));
    let image = json!({"name": "base-1", "family": "base", "rawDisk": {"source": "gs://images/base.tar.gz"}});
    let subnetwork =
        json!({"name": "work", "network": "global/networks/work", "ipCidrRange": "10.0.0.0/24"});
    for (collection, body) in [
        (format!("{GLOBAL}/images"), image),
        (
            format!("{GLOBAL}/networks"),
            json!({"name": "work", "autoCreateSubnetworks": false}),
        ),
        (format!("{REGION}/subnetworks"), subnetwork),
        (format!("{REGION}/addresses"), json!({"name": "alice"})),
        (
            format!("{ZONE}/disks"),
            json!({"name": "alice-home", "sizeGb": "100"}),
        ),
    ] {
        assert!(
            wait(&client, &client.post(&collection, &body))
                .get("error")
                .is_none(),
            "{collection}"
        );
    }
    (sim, client)
}

fn machine(client: &Client) -> Value {
    let address = client.get(&format!("{REGION}/addresses/alice")).json()["address"].clone();
    json!({
        "name": "alice", "machineType": "zones/europe-west4-a/machineTypes/n2-standard-8",
        "disks": [
            {"boot": true, "autoDelete": true, "initializeParams": {"sourceImage": "global/images/family/base", "diskSizeGb": "50"}},
            {"source": "projects/demo/zones/europe-west4-a/disks/alice-home", "deviceName": "home"},
        ],
        "networkInterfaces": [{"subnetwork": "regions/europe-west4/subnetworks/work", "accessConfigs": [{"natIP": address}]}],
        "metadata": {"items": [{"key": "workspace-system", "value": "/nix/store/a"}]},
    })
}

fn insert(client: &Client, machine: &Value) -> common::Answer {
    client.post(&format!("{ZONE}/instances"), machine)
}

fn get(client: &Client, path: &str) -> Value {
    client.get(&format!("{ZONE}/{path}")).json()
}

fn verb(client: &Client, verb: &str, body: &Value) -> common::Answer {
    client.post(&format!("{ZONE}/instances/alice/{verb}"), body)
}

#[test]
fn a_machine_comes_with_its_boot_disk_and_takes_its_disk_and_address() {
    let (_sim, client) = furnished();
    let operation = insert(&client, &machine(&client));
    assert_eq!(
        operation.status,
        200,
        "{}",
        String::from_utf8_lossy(&operation.body)
    );
    wait(&client, &operation);
    let alice = get(&client, "instances/alice");
    let link = &alice["selfLink"];
    assert_eq!(alice["status"], "RUNNING");
    let interface = &alice["networkInterfaces"][0];
    assert!(
        interface["networkIP"]
            .as_str()
            .unwrap()
            .starts_with("10.0.0.")
    );
    assert!(
        interface["network"]
            .as_str()
            .unwrap()
            .ends_with("/global/networks/work")
    );
    let boot = get(&client, "disks/alice");
    assert_eq!(
        (&boot["sizeGb"], &boot["users"][0], &boot["status"]),
        (&json!("50"), link, &json!("READY"))
    );
    assert_eq!(get(&client, "disks/alice-home")["users"][0], *link);
    let address = client.get(&format!("{REGION}/addresses/alice")).json();
    assert_eq!(
        (&address["status"], &address["users"][0]),
        (&json!("IN_USE"), link)
    );
    for used in [
        format!("{ZONE}/disks/alice-home"),
        format!("{REGION}/addresses/alice"),
        format!("{REGION}/subnetworks/work"),
    ] {
        let refused = client.delete(&used);
        assert_eq!(
            (refused.status, refused.reason().as_str()),
            (400, "resourceInUseByAnotherResource"),
            "{used}"
        );
    }
    let mut second = machine(&client);
    second["name"] = "second".into();
    assert_eq!(
        insert(&client, &second).status,
        400,
        "disk and address are taken"
    );

    wait(&client, &client.delete(&format!("{ZONE}/instances/alice")));
    assert_eq!(client.get(&format!("{ZONE}/instances/alice")).status, 404);
    assert_eq!(
        client.get(&format!("{ZONE}/disks/alice")).status,
        404,
        "its boot disk goes with it"
    );
    assert!(
        get(&client, "disks/alice-home").get("users").is_none(),
        "its home disk stays"
    );
    assert_eq!(
        client.get(&format!("{REGION}/addresses/alice")).json()["status"],
        "RESERVED"
    );
}

#[test]
fn a_machine_that_could_not_be_made_leaves_nothing() {
    let (sim, client) = furnished();
    let body = machine(&client);
    let error = OperationError {
        code: "ZONE_RESOURCE_POOL_EXHAUSTED".to_owned(),
        message: "None left.".to_owned(),
    };
    let rule = Rule::nth(1, Fault::OperationFails(error)).of("POST", "*/instances");
    sim.set_faults(Plan {
        rules: vec![rule],
        ..Plan::default()
    });
    let done = wait(&client, &insert(&client, &body));
    assert_eq!(
        done["error"]["errors"][0]["code"],
        "ZONE_RESOURCE_POOL_EXHAUSTED"
    );
    for gone in ["instances/alice", "disks/alice"] {
        assert_eq!(client.get(&format!("{ZONE}/{gone}")).status, 404, "{gone}");
    }
    assert!(get(&client, "disks/alice-home").get("users").is_none());
    assert_eq!(wait(&client, &insert(&client, &body))["status"], "DONE");
    assert_eq!(get(&client, "instances/alice")["status"], "RUNNING");
}

#[test]
fn a_machine_with_gpus_must_be_terminated_for_maintenance() {
    let (_sim, client) = furnished();
    let mut body = machine(&client);
    body["machineType"] = "zones/europe-west4-a/machineTypes/g2-standard-16".into();
    let refused = insert(&client, &body);
    assert_eq!(refused.status, 400);
    assert!(refused.message().contains("do not support live migration"));
    body["scheduling"] = json!({"onHostMaintenance": "TERMINATE"});
    assert_eq!(insert(&client, &body).status, 200);
}

#[test]
fn metadata_is_set_only_by_who_has_seen_it_and_not_by_the_machine() {
    let (_sim, client) = furnished();
    wait(&client, &insert(&client, &machine(&client)));
    let seen = get(&client, "instances/alice")["metadata"]["fingerprint"].clone();
    let items = json!([{"key": "workspace-system", "value": "/nix/store/b"}]);
    let body = json!({"items": items, "fingerprint": seen});
    let account = client.with_token("serviceAccount:alice@demo.iam.gserviceaccount.com");
    assert_eq!(verb(&account, "setMetadata", &body).status, 403);
    wait(&client, &verb(&client, "setMetadata", &body));
    assert_eq!(get(&client, "instances/alice")["metadata"]["items"], items);
    assert_eq!(verb(&client, "setMetadata", &body).status, 412);
}

#[test]
fn a_stopped_machine_may_change_its_type_and_its_boot_disk() {
    let (_sim, client) = furnished();
    wait(&client, &insert(&client, &machine(&client)));
    let larger = json!({"machineType": "zones/europe-west4-a/machineTypes/n2-standard-16"});
    assert_eq!(
        verb(&client, "setMachineType", &larger).status,
        400,
        "it runs"
    );
    assert_eq!(
        verb(
            &client,
            "detachDisk?deviceName=persistent-disk-0",
            &json!({})
        )
        .status,
        400,
        "it runs"
    );
    let stop = verb(&client, "stop", &json!({}));
    assert_eq!(get(&client, "instances/alice")["status"], "STOPPING");
    wait(&client, &stop);
    assert_eq!(get(&client, "instances/alice")["status"], "TERMINATED");
    wait(&client, &verb(&client, "setMachineType", &larger));
    wait(
        &client,
        &verb(
            &client,
            "detachDisk?deviceName=persistent-disk-0",
            &json!({}),
        ),
    );
    wait(&client, &client.delete(&format!("{ZONE}/disks/alice")));
    let new = json!({"name": "alice-2", "sourceImage": "global/images/base-1"});
    wait(&client, &client.post(&format!("{ZONE}/disks"), &new));
    let attach =
        json!({"source": "zones/europe-west4-a/disks/alice-2", "boot": true, "deviceName": "boot"});
    wait(&client, &verb(&client, "attachDisk", &attach));
    wait(&client, &verb(&client, "start", &json!({})));
    let alice = get(&client, "instances/alice");
    assert_eq!(
        (&alice["status"], alice["disks"].as_array().unwrap().len()),
        (&json!("RUNNING"), 2)
    );
    assert!(
        alice["machineType"]
            .as_str()
            .unwrap()
            .ends_with("n2-standard-16")
    );
    assert_eq!(get(&client, "disks/alice-2")["users"][0], alice["selfLink"]);
}

#[test]
fn what_a_machine_needs_must_be_there() {
    let (_sim, client) = furnished();
    let good = machine(&client);
    for (field, value, status) in [
        ("machineType", json!("n2"), 400),
        ("disks", json!([]), 400),
        (
            "disks",
            json!([{"source": "zones/europe-west4-a/disks/alice-home"}]),
            400,
        ),
        (
            "disks",
            json!([{"boot": true, "source": "zones/europe-west4-a/disks/absent"}]),
            404,
        ),
        (
            "disks",
            json!([{"boot": true, "initializeParams": {"sourceImage": "global/images/base-1", "diskSizeGb": "1"}}]),
            400,
        ),
        ("networkInterfaces", json!([]), 400),
        (
            "networkInterfaces",
            json!([{"subnetwork": "regions/europe-west4/subnetworks/absent"}]),
            404,
        ),
        (
            "networkInterfaces",
            json!([{"network": "global/networks/work", "accessConfigs": [{"natIP": "198.18.9.9"}]}]),
            400,
        ),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        assert_eq!(insert(&client, &body).status, status, "{field}: {value}");
    }
    let mut guarded = good;
    guarded["deletionProtection"] = true.into();
    wait(&client, &insert(&client, &guarded));
    assert_eq!(
        client.delete(&format!("{ZONE}/instances/alice")).status,
        400,
        "it is protected"
    );
    let all = client
        .get("/compute/v1/projects/demo/aggregated/instances")
        .json();
    assert_eq!(
        all["items"]["zones/europe-west4-a"]["instances"][0]["name"],
        "alice"
    );
}

#[test]
fn a_disk_resized_while_its_machine_goes_keeps_its_new_size() {
    for resized_first in [true, false] {
        let (_sim, client) = furnished();
        wait(&client, &insert(&client, &machine(&client)));
        let delete = client.delete(&format!("{ZONE}/instances/alice"));
        let resize = client.post(
            &format!("{ZONE}/disks/alice-home/resize"),
            &json!({"sizeGb": "200"}),
        );
        let (first, second) = if resized_first {
            (&resize, &delete)
        } else {
            (&delete, &resize)
        };
        wait(&client, first);
        wait(&client, second);
        let home = get(&client, "disks/alice-home");
        assert_eq!(home["sizeGb"], "200");
        assert!(home.get("users").is_none(), "{home}");
    }
}

#[test]
fn the_serial_port_is_read_from_where_the_last_read_ended() {
    let (_sim, client) = furnished();
    wait(&client, &insert(&client, &machine(&client)));
    let first = get(&client, "instances/alice/serialPort?port=1");
    assert!(
        first["contents"]
            .as_str()
            .unwrap()
            .contains("alice started")
    );
    let serial = "/_sim/instances/demo/europe-west4-a/alice/serial";
    client.send("POST", serial, &[], b"login: ");
    let next = first["next"].as_str().unwrap();
    let second = get(&client, &format!("instances/alice/serialPort?start={next}"));
    assert_eq!(second["contents"], "login: ");
    assert_eq!(second["start"], next);
    let tail = get(&client, "instances/alice/serialPort?start=-3");
    assert_eq!(tail["contents"], "n: ");
}

#[test]
fn guest_attributes_need_the_metadata_that_allows_them() {
    let (_sim, client) = furnished();
    wait(&client, &insert(&client, &machine(&client)));
    let write = || {
        let path = "/_sim/instances/demo/europe-west4-a/alice/guest-attributes/workspace/system";
        client.send("PUT", path, &[], b"/nix/store/a").status
    };
    let read = |query: &str| {
        client.get(&format!(
            "{ZONE}/instances/alice/getGuestAttributes?queryPath={query}"
        ))
    };
    assert_eq!((write(), read("workspace/").status), (403, 400));
    let print = get(&client, "instances/alice")["metadata"]["fingerprint"].clone();
    let items = json!([{"key": "enable-guest-attributes", "value": "TRUE"}]);
    let metadata = json!({"fingerprint": print, "items": items});
    wait(&client, &verb(&client, "setMetadata", &metadata));
    assert_eq!(read("workspace/").status, 404, "nothing is written yet");
    assert_eq!(write(), 200);
    let items = json!([{"namespace": "workspace", "key": "system", "value": "/nix/store/a"}]);
    assert_eq!(read("workspace/").json()["queryValue"]["items"], items);
    assert_eq!(
        read("workspace/system").json()["queryValue"]["items"],
        items
    );
    assert_eq!(read("other/").status, 404);
}

#[test]
fn a_schedule_in_use_is_not_deleted() {
    let (_sim, client) = furnished();
    let policies = format!("{REGION}/resourcePolicies");
    let daily = json!({"name": "daily", "snapshotSchedulePolicy": {}});
    wait(&client, &client.post(&policies, &daily));
    let named = json!({"resourcePolicies": ["regions/europe-west4/resourcePolicies/daily"]});
    let disk = format!("{ZONE}/disks/alice-home");
    wait(
        &client,
        &client.post(&format!("{disk}/addResourcePolicies"), &named),
    );
    let refused = client.delete(&format!("{policies}/daily"));
    assert_eq!(refused.reason(), "resourceInUseByAnotherResource");
    wait(
        &client,
        &client.post(&format!("{disk}/removeResourcePolicies"), &named),
    );
    wait(&client, &client.delete(&format!("{policies}/daily")));
    assert_eq!(client.get(&format!("{policies}/daily")).status, 404);
}

#[test]
fn a_disk_comes_back_from_its_snapshot() {
    let (_sim, client) = furnished();
    let snapshot = client.post(
        &format!("{ZONE}/disks/alice-home/createSnapshot"),
        &json!({"name": "alice-1"}),
    );
    wait(&client, &snapshot);
    let made = client.get(&format!("{GLOBAL}/snapshots/alice-1")).json();
    assert_eq!(
        (made["status"].clone(), made["diskSizeGb"].clone()),
        (json!("READY"), json!("100"))
    );
    wait(&client, &client.delete(&format!("{ZONE}/disks/alice-home")));
    let smaller =
        json!({"name": "alice-home", "sizeGb": "50", "sourceSnapshot": "global/snapshots/alice-1"});
    assert_eq!(client.post(&format!("{ZONE}/disks"), &smaller).status, 400);
    let back = json!({"name": "alice-home", "sourceSnapshot": "global/snapshots/alice-1"});
    wait(&client, &client.post(&format!("{ZONE}/disks"), &back));
    assert_eq!(get(&client, "disks/alice-home")["sizeGb"], "100");
}

#[test]
fn a_machine_type_that_is_none_is_refused_and_the_rest_tell_what_they_give() {
    let (_sim, client) = furnished();
    let mut wrong = machine(&client);
    wrong["machineType"] = "zones/europe-west4-a/machineTypes/n2-standart-8".into();
    assert_eq!(insert(&client, &wrong).status, 400);
    let g2 = get(&client, "machineTypes/g2-standard-24");
    assert_eq!(
        (g2["guestCpus"].clone(), g2["memoryMb"].clone()),
        (json!(24), json!(98304))
    );
    assert_eq!(
        g2["accelerators"],
        json!([{"guestAcceleratorType": "nvidia-l4", "guestAcceleratorCount": 2}])
    );
    assert_eq!(
        client
            .get(&format!("{ZONE}/machineTypes/g2-standard-10"))
            .status,
        404
    );
}
