//! Networks and what lies in them refuse what would break another resource.

mod common;

use cloudsim::Sim;
use common::{Answer, Client, start, wait};
use serde_json::{Value, json};

const GLOBAL: &str = "/compute/v1/projects/demo/global";
const REGION: &str = "/compute/v1/projects/demo/regions/europe-west4";

fn made(client: &Client, collection: &str, body: &Value) {
    let done = wait(client, &client.post(collection, body));
    assert!(done.get("error").is_none(), "{done}");
}

fn with_network() -> (Sim, Client) {
    let (sim, client) = start();
    let network = json!({"name": "work", "autoCreateSubnetworks": false});
    made(&client, &format!("{GLOBAL}/networks"), &network);
    (sim, client)
}

fn subnetwork(client: &Client, name: &str, range: &str) -> Answer {
    let body = json!({"name": name, "network": "projects/demo/global/networks/work", "ipCidrRange": range});
    client.post(&format!("{REGION}/subnetworks"), &body)
}

#[test]
fn a_network_in_use_is_not_deleted() {
    let (_sim, client) = with_network();
    wait(&client, &subnetwork(&client, "work-eu", "10.0.0.0/24"));
    let refused = client.delete(&format!("{GLOBAL}/networks/work"));
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (400, "resourceInUseByAnotherResource")
    );
    assert!(
        refused.message().contains("subnetworks/work-eu"),
        "{}",
        refused.message()
    );
    wait(
        &client,
        &client.delete(&format!("{REGION}/subnetworks/work-eu")),
    );
    wait(&client, &client.delete(&format!("{GLOBAL}/networks/work")));
    assert_eq!(client.get(&format!("{GLOBAL}/networks/work")).status, 404);
}

#[test]
fn a_subnetwork_has_a_range_of_its_own_and_a_fingerprint() {
    let (_sim, client) = with_network();
    wait(&client, &subnetwork(&client, "first", "10.0.0.0/24"));
    for (range, why) in [
        (
            "10.0.0.128/25",
            "conflicts with existing subnetwork 'first'",
        ),
        ("10.0.0.0/16", "conflicts with existing subnetwork 'first'"),
        ("10.0.1.1/24", "CIDR"),
        ("10.0.1.0/30", "prefix length"),
        ("ten", "CIDR"),
    ] {
        let refused = subnetwork(&client, "second", range);
        assert_eq!(refused.status, 400, "{range}");
        assert!(
            refused.message().contains(why),
            "{range}: {}",
            refused.message()
        );
    }
    let at = format!("{REGION}/subnetworks/first");
    let before = client.get(&at).json();
    assert_eq!(
        (&before["gatewayAddress"], &before["privateIpGoogleAccess"]),
        (&json!("10.0.0.1"), &json!(false))
    );
    assert!(
        before["region"]
            .as_str()
            .unwrap()
            .ends_with("/regions/europe-west4")
    );
    let change = json!({"privateIpGoogleAccess": true, "fingerprint": before["fingerprint"], "name": "first"});
    wait(&client, &client.json("PATCH", &at, &change));
    assert_eq!(client.get(&at).json()["privateIpGoogleAccess"], true);
    assert_eq!(
        client.json("PATCH", &at, &change).status,
        412,
        "its fingerprint is from before"
    );
    assert_eq!(subnetwork(&client, "x", "10.9.0.0/24").status, 200);
    let lost =
        json!({"name": "y", "network": "global/networks/absent", "ipCidrRange": "10.8.0.0/24"});
    assert_eq!(
        client.post(&format!("{REGION}/subnetworks"), &lost).status,
        404
    );
}

#[test]
fn a_firewall_rule_allows_or_denies_and_its_network_stays() {
    let (_sim, client) = with_network();
    let firewalls = format!("{GLOBAL}/firewalls");
    let rule = json!({
        "name": "https", "network": "global/networks/work", "allowed": [{"IPProtocol": "tcp", "ports": ["443"]}],
        "sourceRanges": ["35.235.240.0/20"],
    });
    made(&client, &firewalls, &rule);
    let at = format!("{firewalls}/https");
    let found = client.get(&at).json();
    assert_eq!(
        (&found["direction"], &found["priority"], &found["disabled"]),
        (&json!("INGRESS"), &json!(1000), &json!(false))
    );
    let link = "https://www.googleapis.com/compute/v1/projects/demo/global/networks/work";
    assert_eq!(found["network"], link);
    for body in [
        json!({"name": "x", "network": "global/networks/work"}),
        json!({"name": "x", "network": "global/networks/work", "allowed": [{}], "denied": [{}]}),
        json!({"name": "x", "network": "global/networks/work", "allowed": [{}], "sourceRanges": ["everywhere"]}),
    ] {
        assert_eq!(client.post(&firewalls, &body).status, 400, "{body}");
    }
    let again =
        json!({"name": "https", "network": "projects/demo/global/networks/work", "priority": 900});
    wait(&client, &client.json("PATCH", &at, &again));
    assert_eq!(client.get(&at).json()["priority"], 900);
    assert_eq!(
        client
            .json("PATCH", &at, &json!({"network": "global/networks/other"}))
            .status,
        400
    );
    let open = json!({"name": "open", "network": "global/networks/work", "allowed": [{"IPProtocol": "tcp"}]});
    made(&client, &firewalls, &open);
    assert_eq!(
        client.get(&format!("{firewalls}/open")).json()["sourceRanges"],
        json!(["0.0.0.0/0"]),
        "as at Google"
    );
}

#[test]
fn addresses_are_reserved_one_each() {
    let (_sim, client) = with_network();
    let addresses = format!("{REGION}/addresses");
    for name in ["alice", "bob"] {
        made(&client, &addresses, &json!({"name": name}));
    }
    let address = |name: &str| client.get(&format!("{addresses}/{name}")).json();
    assert_eq!(address("alice")["status"], "RESERVED");
    assert!(
        address("alice")["address"]
            .as_str()
            .unwrap()
            .starts_with("198.1")
    );
    assert_ne!(address("alice")["address"], address("bob")["address"]);
    let all = client
        .get("/compute/v1/projects/demo/aggregated/addresses")
        .json();
    assert_eq!(
        all["items"]["regions/europe-west4"]["addresses"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_router_takes_its_nat_by_patch() {
    let (_sim, client) = with_network();
    let routers = format!("{REGION}/routers");
    made(
        &client,
        &routers,
        &json!({"name": "nat", "network": "global/networks/work"}),
    );
    let nats = json!([{"name": "nat", "natIpAllocateOption": "AUTO_ONLY"}]);
    wait(
        &client,
        &client.json("PATCH", &format!("{routers}/nat"), &json!({"nats": nats})),
    );
    assert_eq!(client.get(&format!("{routers}/nat")).json()["nats"], nats);
    assert_eq!(
        client.delete(&format!("{GLOBAL}/networks/work")).status,
        400
    );
}
