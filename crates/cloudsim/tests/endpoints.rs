//! Cloud Endpoints: a name gets its address by a rollout, and is held once it is deleted.

mod common;

use base64::Engine as _;
use common::{Answer, Client, start};
use serde_json::{Value, json};

const NAME: &str = "alice.endpoints.demo.cloud.goog";
const SERVICES: &str = "/servicemanagement/v1/services";

/// Polls an operation to its end and returns its response.
fn finish(client: &Client, started: &Answer) -> Value {
    assert_eq!(
        started.status,
        200,
        "{}",
        String::from_utf8_lossy(&started.body)
    );
    let name = started.json()["name"].as_str().unwrap().to_owned();
    loop {
        let operation = client.get(&format!("/servicemanagement/v1/{name}")).json();
        if operation["done"] == true {
            return operation["response"].clone();
        }
    }
}

fn make(client: &Client) -> Answer {
    client.post(
        SERVICES,
        &json!({"serviceName": NAME, "producerProjectId": "demo"}),
    )
}

fn submit(client: &Client, host: &str, address: &str) -> Answer {
    let document = json!({
        "swagger": "2.0", "info": {"title": "alice", "version": "1"}, "host": host, "paths": {},
        "x-google-endpoints": [{"name": host, "target": address}],
    });
    let contents = base64::engine::general_purpose::STANDARD.encode(document.to_string());
    let files = json!([{"filePath": "openapi.json", "fileContents": contents, "fileType": "OPEN_API_YAML"}]);
    let source = json!({"configSource": {"files": files}});
    client.post(&format!("{SERVICES}/{NAME}/configs:submit"), &source)
}

#[test]
fn a_name_points_to_what_was_rolled_out_last() {
    let (_sim, client) = start();
    assert_eq!(client.get(&format!("{SERVICES}/{NAME}")).status, 404);
    finish(&client, &make(&client));
    assert_eq!(make(&client).status, 409);
    for address in ["198.18.0.1", "198.18.0.2"] {
        let submitted = finish(&client, &submit(&client, NAME, address));
        let id = submitted["serviceConfig"]["id"].as_str().unwrap();
        let rollout =
            json!({"serviceName": NAME, "trafficPercentStrategy": {"percentages": {id: 100}}});
        finish(
            &client,
            &client.post(&format!("{SERVICES}/{NAME}/rollouts"), &rollout),
        );
        let active = client.get(&format!("{SERVICES}/{NAME}/config")).json();
        assert_eq!(
            active["endpoints"],
            json!([{"name": NAME, "target": address}])
        );
    }
    assert_eq!(
        submit(&client, "other.endpoints.demo.cloud.goog", "198.18.0.3").status,
        400
    );
}

#[test]
fn a_deleted_name_is_held_until_it_is_undeleted() {
    let (_sim, client) = start();
    finish(&client, &make(&client));
    finish(&client, &client.delete(&format!("{SERVICES}/{NAME}")));
    assert_eq!(client.get(&format!("{SERVICES}/{NAME}")).status, 404);
    let held = make(&client);
    assert_eq!(
        (held.status, held.json()["error"]["status"].clone()),
        (400, json!("FAILED_PRECONDITION"))
    );
    finish(
        &client,
        &client.post(&format!("{SERVICES}/{NAME}:undelete"), &json!({})),
    );
    assert_eq!(client.get(&format!("{SERVICES}/{NAME}")).status, 200);
}
