//! A disk's content goes to another zone by a snapshot, once, whatever is cut or killed.

mod common;

use cloudsim::{Fault, NotOffered, Rule, Settings};
use common::{PROJECT, World};
use google::{NewSnapshot, Place, Zone};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn place(zone: &str) -> Place {
    format!("{zone}/home").parse().unwrap()
}

/// A cloud with a disk that has a label.
fn world() -> World {
    let world = World::new();
    let url = format!(
        "{}/compute/v1/projects/{PROJECT}/zones/europe-west4-a",
        world.sim.url()
    );
    let post = |path: &str, body: &Value| -> Value {
        let request =
            ureq::post(format!("{url}/{path}")).header("Authorization", "Bearer deployer");
        let text = request
            .send(body.to_string())
            .unwrap()
            .body_mut()
            .read_to_string();
        serde_json::from_str(&text.unwrap()).unwrap()
    };
    let disk = json!({"name": "home", "sizeGb": "20", "labels": {"owner": "alice"}});
    let name = post("disks", &disk)["name"].as_str().unwrap().to_owned();
    post(&format!("operations/{name}/wait"), &json!({}));
    world.sim.clear_log();
    world
}

#[test]
fn a_snapshot_and_a_disk_of_it_are_made_once_also_when_answers_are_lost() {
    let world = world();
    let (here, there) = (place("europe-west4-a"), place("europe-west4-b"));
    let labels = BTreeMap::from([("move".to_owned(), "arriving".to_owned())]);
    world.strike(Rule::nth(1, Fault::LostReply).of("POST", "*"));
    let cloud = world.client();
    let new = NewSnapshot {
        of: here.clone(),
        location: "europe-west4".to_owned(),
        description: "what it ran".to_owned(),
        labels: labels.clone(),
    };
    let make = || cloud.ensure_snapshot(PROJECT, "move", &new).unwrap();
    let snapshot = make();
    assert_eq!(snapshot.status, "READY");
    assert_eq!(snapshot.description, "what it ran");
    assert_eq!(make().id, snapshot.id);
    world.strike(Rule::nth(1, Fault::LostReply).of("POST", "*/disks"));
    let restore = || {
        cloud
            .ensure_disk(PROJECT, &there, "move", "pd-balanced", &labels)
            .unwrap()
    };
    let disk = restore();
    assert_eq!(restore().id, disk.id);
    assert_eq!((disk.size_gb, disk.r#type.as_str()), (20, "pd-balanced"));
    assert_eq!(disk.source_snapshot_id, Some(snapshot.id));
    assert_eq!(disk.labels, labels);

    // Somebody else labels it at the same time.
    world.strike(
        Rule::nth(
            1,
            Fault::Status {
                status: 412,
                retry_after: None,
            },
        )
        .of("POST", "*/setLabels"),
    );
    let arrived = BTreeMap::from([("move".to_owned(), "arrived".to_owned())]);
    cloud.label_disk(PROJECT, &there, &arrived, &[]).unwrap();
    cloud
        .label_disk(PROJECT, &here, &BTreeMap::new(), &["owner".to_owned()])
        .unwrap();
    let disks = cloud.list_disks(PROJECT).unwrap();
    let labels = |zone: &str| {
        disks
            .iter()
            .find(|disk| disk.zone == zone)
            .unwrap()
            .labels
            .clone()
    };
    assert_eq!(labels("europe-west4-b"), arrived);
    assert!(labels("europe-west4-a").is_empty());
    cloud.delete_snapshot(PROJECT, "move").unwrap();
    cloud.delete_snapshot(PROJECT, "move").unwrap();
    assert!(cloud.snapshot(PROJECT, "move").unwrap().is_none());
}

#[test]
fn zones_tell_what_they_have_and_what_not() {
    let world = World::new();
    world.sim.set_settings(Settings {
        not_offered: vec![NotOffered {
            zone: "europe-west4-b".to_owned(),
            r#type: "nvidia-tesla-t4".to_owned(),
        }],
        ..Settings::default()
    });
    let types = |name: &str| vec![name.to_owned()];
    let zones = world
        .client()
        .zones(
            PROJECT,
            "europe-west4",
            &types("n1-standard-8"),
            &types("nvidia-tesla-t4"),
        )
        .unwrap();
    let told = |zone: &Zone| {
        (
            zone.name.clone(),
            zone.machine_types.len(),
            zone.accelerator_types.len(),
        )
    };
    let expected = [
        ("europe-west4-a", 1, 1),
        ("europe-west4-b", 1, 0),
        ("europe-west4-c", 1, 1),
    ];
    assert_eq!(
        zones.iter().map(told).collect::<Vec<_>>(),
        expected.map(|(name, machines, gpus)| (name.to_owned(), machines, gpus))
    );
}
