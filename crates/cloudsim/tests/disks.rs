//! Disks lie in a zone, are made of images that are ready, and only grow.

mod common;

use cloudsim::{Fault, OperationError, Plan, Rule, Sim};
use common::{Client, good, start, wait};
use serde_json::{Value, json};

const DISKS: &str = "/compute/v1/projects/demo/zones/europe-west4-a/disks";

/// A cloud with an image `base-1` of 20 GiB in the family `base`.
fn with_image() -> (Sim, Client) {
    let (sim, client) = start();
    client.make_bucket("images");
    client.put_object("images", "base.tar.gz", &good(20));
    let image = json!({
        "name": "base-1", "family": "base", "guestOsFeatures": [{"type": "GVNIC"}],
        "rawDisk": {"source": "https://storage.googleapis.com/images/base.tar.gz"},
    });
    let made = client.post("/compute/v1/projects/demo/global/images", &image);
    assert!(wait(&client, &made).get("error").is_none());
    (sim, client)
}

fn disk(client: &Client, name: &str) -> Value {
    client.get(&format!("{DISKS}/{name}")).json()
}

#[test]
fn a_disk_of_an_image_names_it_and_has_its_size() {
    let (_sim, client) = with_image();
    let image = "https://www.googleapis.com/compute/v1/projects/demo/global/images/base-1";
    for (name, source) in [
        ("by-url", image),
        ("by-path", "projects/demo/global/images/base-1"),
        ("by-short-path", "global/images/base-1"),
        ("by-family", "projects/demo/global/images/family/base"),
    ] {
        let operation = client.post(DISKS, &json!({"name": name, "sourceImage": source}));
        assert!(
            operation.json()["zone"]
                .as_str()
                .unwrap()
                .ends_with("/zones/europe-west4-a")
        );
        wait(&client, &operation);
        let made = disk(&client, name);
        assert_eq!(
            (&made["sourceImage"], &made["sizeGb"]),
            (&json!(image), &json!("20")),
            "{name}"
        );
        assert_eq!(
            (&made["status"], &made["guestOsFeatures"][0]["type"]),
            (&json!("READY"), &json!("GVNIC"))
        );
    }
    assert!(
        disk(&client, "by-url")["type"]
            .as_str()
            .unwrap()
            .ends_with("/zones/europe-west4-a/diskTypes/pd-standard")
    );
    let typed = json!({"name": "typed", "sizeGb": 10, "type": "zones/europe-west4-a/diskTypes/pd-balanced"});
    wait(&client, &client.post(DISKS, &typed));
    assert_eq!(
        disk(&client, "typed")["type"],
        "https://www.googleapis.com/compute/v1/projects/demo/zones/europe-west4-a/diskTypes/pd-balanced"
    );
}

#[test]
fn a_disk_is_not_smaller_than_its_image_and_only_grows() {
    let (_sim, client) = with_image();
    let small = json!({"name": "home", "sizeGb": "19", "sourceImage": "global/images/base-1"});
    let refused = client.post(DISKS, &small);
    assert_eq!(refused.status, 400);
    assert!(
        refused
            .message()
            .contains("cannot be smaller than the image size (20 GB)")
    );
    for bad in [json!("ten"), json!(0), json!(-1), json!(70_000)] {
        assert_eq!(
            client
                .post(DISKS, &json!({"name": "home", "sizeGb": bad}))
                .status,
            400,
            "{bad}"
        );
    }
    wait(
        &client,
        &client.post(DISKS, &json!({"name": "home", "sizeGb": "20"})),
    );
    let resize = |size: u64| {
        client.post(
            &format!("{DISKS}/home/resize"),
            &json!({"sizeGb": size.to_string()}),
        )
    };
    assert_eq!(resize(20).status, 400);
    wait(&client, &resize(30));
    assert_eq!(disk(&client, "home")["sizeGb"], "30");
}

#[test]
fn a_missing_image_or_zone_refuses_the_call() {
    let (_sim, client) = with_image();
    let absent = client.post(
        DISKS,
        &json!({"name": "x", "sourceImage": "global/images/absent"}),
    );
    assert_eq!(absent.status, 404);
    let mars = "/compute/v1/projects/demo/zones/mars-1/disks";
    assert_eq!(client.post(mars, &json!({"name": "x"})).status, 404);
    assert_eq!(
        client.get("/compute/v1/projects/demo/global/disks").status,
        404,
        "disks are zonal"
    );
}

#[test]
fn a_disk_that_could_not_be_made_is_not_there() {
    let (sim, client) = with_image();
    let error = OperationError {
        code: "QUOTA_EXCEEDED".to_owned(),
        message: "No quota.".to_owned(),
    };
    sim.set_faults(Plan {
        rules: vec![Rule::nth(1, Fault::OperationFails(error))],
        ..Plan::default()
    });
    let done = wait(&client, &client.post(DISKS, &json!({"name": "home"})));
    assert_eq!(done["error"]["errors"][0]["code"], "QUOTA_EXCEEDED");
    assert_eq!(client.get(&format!("{DISKS}/home")).status, 404);
}

#[test]
fn an_aggregated_list_has_disks_of_all_zones_of_one_project() {
    let (_sim, client) = with_image();
    let in_zone = |project: &str, zone: &str, name: &str| {
        let disks = format!("/compute/v1/projects/{project}/zones/{zone}/disks");
        wait(
            &client,
            &client.post(&disks, &json!({"name": name, "labels": {"zone": zone}})),
        );
    };
    in_zone("demo", "europe-west4-a", "a");
    in_zone("demo", "us-central1-b", "b");
    in_zone("demo", "us-central1-b", "c");
    in_zone("other", "us-central1-b", "stranger");
    let list = |query: &str| {
        client
            .get(&format!(
                "/compute/v1/projects/demo/aggregated/disks?{query}"
            ))
            .json()["items"]
            .clone()
    };
    let all = list("");
    assert_eq!(all["zones/europe-west4-a"]["disks"][0]["name"], "a");
    assert_eq!(
        all["zones/us-central1-b"]["disks"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(all.as_object().unwrap().len(), 2);
    let one = list("filter=name%3Dc");
    assert_eq!(
        one.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["zones/us-central1-b"]
    );
    assert_eq!(
        client
            .get("/compute/v1/projects/demo/aggregated/unicorns")
            .status,
        404
    );
}
