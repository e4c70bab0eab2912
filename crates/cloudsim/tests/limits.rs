//! What settings make the cloud refuse: quotas, stock-outs, rates, APIs that are not enabled.

mod common;

use cloudsim::{Settings, Sim, StockOut};
use common::{Client, good, start, wait};
use serde_json::{Value, json};

const PROJECT: &str = "/compute/v1/projects/demo";
const ZONE: &str = "/compute/v1/projects/demo/zones/europe-west4-a";

fn furnished() -> (Sim, Client) {
    let (sim, client) = start();
    client.make_bucket("images");
    client.put_object("images", "base.tar.gz", &good(10));
    let image = json!({"name": "base-1", "rawDisk": {"source": "gs://images/base.tar.gz"}});
    wait(
        &client,
        &client.post(&format!("{PROJECT}/global/images"), &image),
    );
    let network = json!({"name": "default"});
    wait(
        &client,
        &client.post(&format!("{PROJECT}/global/networks"), &network),
    );
    (sim, client)
}

/// Makes a machine and returns its finished operation.
fn make(client: &Client, name: &str, machine_type: &str) -> Value {
    let machine = json!({
        "name": name,
        "machineType": format!("zones/europe-west4-a/machineTypes/{machine_type}"),
        "disks": [{"boot": true, "autoDelete": true, "initializeParams": {"sourceImage": "global/images/base-1"}}],
        "networkInterfaces": [{"network": "global/networks/default"}],
        "scheduling": {"onHostMaintenance": "TERMINATE"},
    });
    wait(client, &client.post(&format!("{ZONE}/instances"), &machine))
}

fn code(operation: &Value) -> Option<&str> {
    operation["error"]["errors"][0]["code"].as_str()
}

fn settings(value: Value) -> Settings {
    serde_json::from_value(value).unwrap()
}

#[test]
fn a_stopped_machine_gives_its_quota_back() {
    let (sim, client) = furnished();
    sim.set_settings(settings(
        json!({"quotas": {"NVIDIA_L4_GPUS": 1, "CPUS": 100}}),
    ));
    assert_eq!(code(&make(&client, "alice", "g2-standard-8")), None);
    let refused = make(&client, "bob", "g2-standard-8");
    assert_eq!(code(&refused), Some("QUOTA_EXCEEDED"));
    assert_eq!(refused["httpErrorStatusCode"], 403);
    assert_eq!(client.get(&format!("{ZONE}/instances/bob")).status, 404);
    assert_eq!(
        client.get(&format!("{ZONE}/disks/bob")).status,
        404,
        "nor its boot disk"
    );
    let quotas = client
        .get(&format!("{PROJECT}/regions/europe-west4"))
        .json()["quotas"]
        .clone();
    let quota = |metric: &str| {
        quotas
            .as_array()
            .unwrap()
            .iter()
            .find(|quota| quota["metric"] == metric)
            .cloned()
    };
    assert_eq!(
        quota("NVIDIA_L4_GPUS"),
        Some(json!({"metric": "NVIDIA_L4_GPUS", "limit": 1.0, "usage": 1.0}))
    );
    assert_eq!(quota("CPUS").unwrap()["usage"], 8.0);
    wait(
        &client,
        &client.post(&format!("{ZONE}/instances/alice/stop"), &json!({})),
    );
    assert_eq!(code(&make(&client, "bob", "g2-standard-8")), None);
    let start = wait(
        &client,
        &client.post(&format!("{ZONE}/instances/alice/start"), &json!({})),
    );
    assert_eq!(code(&start), Some("QUOTA_EXCEEDED"));
    let alice = client.get(&format!("{ZONE}/instances/alice")).json();
    assert_eq!(alice["status"], "TERMINATED");
}

#[test]
fn reserved_addresses_over_the_quota_are_refused_at_once() {
    let (sim, client) = start();
    sim.set_settings(settings(json!({"quotas": {"STATIC_ADDRESSES": 1}})));
    let addresses = format!("{PROJECT}/regions/europe-west4/addresses");
    wait(&client, &client.post(&addresses, &json!({"name": "a"})));
    let refused = client.post(&addresses, &json!({"name": "b"}));
    assert_eq!((refused.status, &*refused.reason()), (403, "quotaExceeded"));
    let elsewhere = format!("{PROJECT}/regions/us-east1/addresses");
    assert_eq!(client.post(&elsewhere, &json!({"name": "b"})).status, 200);
}

#[test]
fn a_zone_out_of_stock_takes_no_machine_and_starts_none() {
    let (sim, client) = furnished();
    assert_eq!(code(&make(&client, "alice", "g2-standard-8")), None);
    wait(
        &client,
        &client.post(&format!("{ZONE}/instances/alice/stop"), &json!({})),
    );
    let out = StockOut {
        zone: "europe-west4-a".to_owned(),
        machine_type: "g2-*".to_owned(),
    };
    sim.set_settings(Settings {
        stock_outs: vec![out],
        ..Settings::default()
    });
    let exhausted = Some("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS");
    assert_eq!(code(&make(&client, "bob", "g2-standard-8")), exhausted);
    assert_eq!(code(&make(&client, "carol", "n2-standard-4")), None);
    let start = wait(
        &client,
        &client.post(&format!("{ZONE}/instances/alice/start"), &json!({})),
    );
    assert_eq!(code(&start), exhausted);
    let alice = client.get(&format!("{ZONE}/instances/alice")).json();
    assert_eq!(alice["status"], "TERMINATED");
}

#[test]
fn a_zone_lists_and_takes_only_the_types_that_it_has() {
    let (sim, client) = furnished();
    let not_offered = json!([
        {"zone": "europe-west4-a", "type": "g2-*"},
        {"zone": "europe-west4-a", "type": "nvidia-tesla-t4"},
    ]);
    sim.set_settings(settings(json!({"not_offered": not_offered})));
    let get = |zone: &str, kind: &str| client.get(&format!("{PROJECT}/zones/{zone}/{kind}")).status;
    for kind in [
        "machineTypes/g2-standard-8",
        "acceleratorTypes/nvidia-tesla-t4",
    ] {
        assert_eq!(get("europe-west4-a", kind), 404, "{kind}");
        assert_eq!(get("europe-west4-b", kind), 200, "{kind}");
    }
    assert_eq!(get("europe-west4-a", "machineTypes/n2-standard-4"), 200);
    let listed = client
        .get(&format!("{ZONE}/acceleratorTypes"))
        .json()
        .to_string();
    assert!(
        listed.contains("nvidia-l4") && !listed.contains("nvidia-tesla-t4"),
        "{listed}"
    );
    let machine =
        json!({"name": "bob", "machineType": "zones/europe-west4-a/machineTypes/g2-standard-8"});
    let refused = client.post(&format!("{ZONE}/instances"), &machine);
    assert_eq!(refused.status, 400);
    assert!(
        refused.message().contains("does not exist"),
        "{}",
        refused.message()
    );
}

#[test]
fn a_project_that_calls_too_often_is_told_so_in_each_apis_own_way() {
    let (sim, client) = start();
    let limit = json!({"compute.googleapis.com": 3, "secretmanager.googleapis.com": 1});
    sim.set_settings(settings(json!({"requests_per_minute": limit})));
    let list = |project: &str| client.get(&format!("/compute/v1/projects/{project}/global/images"));
    for _ in 0..3 {
        assert_eq!(list("demo").status, 200);
    }
    let refused = list("demo");
    assert_eq!(
        (refused.status, &*refused.reason()),
        (403, "rateLimitExceeded")
    );
    assert_eq!(
        refused.json()["error"]["details"][0]["reason"],
        "RATE_LIMIT_EXCEEDED"
    );
    assert_eq!(list("other").status, 200, "each project has its own");
    let secrets = || client.get("/secretmanager/v1/projects/demo/secrets");
    assert_eq!(secrets().status, 200);
    assert_eq!(secrets().status, 429);
}

#[test]
fn an_api_answers_a_while_after_it_was_enabled() {
    let (sim, client) = start();
    sim.set_settings(settings(
        json!({"apis_start_disabled": true, "enabled_api_lag": 2}),
    ));
    let secrets = || client.get("/secretmanager/v1/projects/demo/secrets");
    let refused = secrets();
    assert_eq!(
        (refused.status, &*refused.reason()),
        (403, "accessNotConfigured")
    );
    let details = &refused.json()["error"]["details"][0];
    assert_eq!(details["reason"], "SERVICE_DISABLED");
    assert_eq!(
        details["metadata"]["service"],
        "secretmanager.googleapis.com"
    );

    let services = "/serviceusage/v1/projects/demo/services";
    let names = json!({"serviceIds": ["secretmanager.googleapis.com"]});
    let operation = client
        .post(&format!("{services}:batchEnable"), &names)
        .json();
    let name = operation["name"].as_str().unwrap();
    let enabled = || {
        let list = client
            .get(&format!("{services}?filter=state:ENABLED"))
            .json();
        list.to_string().contains("secretmanager")
    };
    assert!(operation["done"].is_null() && !enabled());
    let mut polls = 0;
    while client.get(&format!("/serviceusage/v1/{name}")).json()["done"] != true {
        polls += 1;
        assert!(polls < 10);
    }
    assert!(polls > 0 && enabled());
    // Enabled, and not yet known everywhere.
    assert_eq!(secrets().status, 403);
    assert_eq!(secrets().status, 403);
    assert_eq!(secrets().status, 200);
    assert_eq!(
        client.get("/storage/v1/b?project=demo").status,
        200,
        "enabled from the start"
    );
}

#[test]
fn settings_come_by_http_as_well_and_unknown_ones_are_refused() {
    let (_sim, client) = start();
    let put = |body: &Value| client.json("PUT", "/_sim/settings", body).status;
    assert_eq!(put(&json!({"quotas": {"STATIC_ADDRESSES": 0}})), 200);
    let addresses = format!("{PROJECT}/regions/europe-west4/addresses");
    assert_eq!(client.post(&addresses, &json!({"name": "a"})).status, 403);
    assert_eq!(put(&json!({"quota": {}})), 400);
}
