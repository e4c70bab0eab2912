//! Machines are started and stopped many at a time.

mod common;

use cloudsim::{Fault, OperationError, Rule};
use common::{PROJECT, World};
use google::{Place, Power, Setting};
use serde_json::{Value, json};

const ZONES: [&str; 2] = ["europe-west4-a", "europe-west4-b"];

/// A cloud with running machines in two zones.
fn running(number: usize) -> (World, Vec<Place>) {
    let world = World::new();
    make(
        &world,
        "global",
        "networks",
        &json!({"name": "n", "autoCreateSubnetworks": false}),
    );
    let subnetwork =
        json!({"name": "s", "network": "global/networks/n", "ipCidrRange": "10.0.0.0/16"});
    make(&world, "regions/europe-west4", "subnetworks", &subnetwork);
    let places: Vec<Place> = (0..number)
        .zip(ZONES.iter().cycle())
        .map(|(n, zone)| format!("{zone}/w{n}").parse().unwrap())
        .collect();
    for Place { zone, name } in &places {
        let machine = json!({
            "name": name,
            "machineType": format!("zones/{zone}/machineTypes/n2-standard-8"),
            "disks": [{"boot": true, "initializeParams": {"diskSizeGb": "10"}}],
            "networkInterfaces": [{"subnetwork": "regions/europe-west4/subnetworks/s"}],
        });
        make(&world, &format!("zones/{zone}"), "instances", &machine);
    }
    assert_eq!(in_state(&world, "RUNNING").len(), number);
    world.sim.clear_log();
    (world, places)
}

fn make(world: &World, scope: &str, collection: &str, body: &Value) {
    let at = format!("{}/compute/v1/projects/{PROJECT}/{scope}", world.sim.url());
    let post = |url: String, body: String| -> Value {
        let request = ureq::post(url).header("Authorization", "Bearer deployer");
        let text = request.send(body).unwrap().body_mut().read_to_string();
        serde_json::from_str(&text.unwrap()).unwrap()
    };
    let operation = post(format!("{at}/{collection}"), body.to_string());
    let name = operation["name"].as_str().unwrap();
    let done = post(format!("{at}/operations/{name}/wait"), String::new());
    assert!(done.get("error").is_none(), "{done}");
}

fn in_state(world: &World, state: &str) -> Vec<String> {
    let machines = world.client().list_instances(PROJECT).unwrap();
    let mut names: Vec<String> = machines
        .into_iter()
        .filter(|machine| machine.status == state)
        .map(|machine| machine.name)
        .collect();
    names.sort();
    names
}

#[test]
fn many_machines_take_one_write_each_and_a_few_lists() {
    let (world, places) = running(60);

    for (power, state) in [(Power::Stop, "TERMINATED"), (Power::Start, "RUNNING")] {
        world.sim.clear_log();
        world.client().power(PROJECT, &places, power).unwrap();
        let log = world.sim.log();
        let (writes, reads): (Vec<_>, Vec<_>) = log.iter().partition(|call| call.mutates);
        assert_eq!(writes.len(), 60);
        // In each zone one for each step of the slowest operation.
        assert!(reads.len() <= 2 * 6, "{}", reads.len());
        assert!(reads.iter().all(|call| call.path.ends_with("/operations")));
        assert_eq!(in_state(&world, state).len(), 60);
    }
}

#[test]
fn metadata_of_many_machines_takes_one_write_each_and_a_few_lists() {
    let (world, mut places) = running(60);
    places.push("europe-west4-a/nobody".parse().unwrap());
    let values: Vec<_> = places
        .iter()
        .map(|at| (at.clone(), at.name.clone()))
        .collect();
    let fault = Fault::OperationFails(OperationError {
        code: "INTERNAL".to_owned(),
        message: "Not today.".to_owned(),
    });
    world.strike(Rule::nth(1, fault).of("POST", "*/w7/setMetadata"));

    let results = world
        .client()
        .set_metadata_of(PROJECT, Setting::of("color"), &values);

    let log = world.sim.log();
    let (writes, reads): (Vec<_>, Vec<_>) = log.iter().partition(|call| call.mutates);
    assert_eq!(writes.len(), 60);
    // Of the machine that is not there the list says nothing, so it is asked for.
    let of_machine = |call: &&&cloudsim::Entry| call.path.contains("/instances/");
    assert_eq!(reads.iter().filter(of_machine).count(), 1);
    let of_zones = reads
        .iter()
        .filter(|call| call.path.ends_with("/operations"));
    assert_eq!(of_zones.count() + 2, reads.len(), "{reads:?}");
    for (at, result) in places.iter().zip(&results) {
        assert_eq!(result["name"], at.name);
        match at.name.as_str() {
            "w7" => assert_eq!(result["error"], "Metadata of w7: Not today"),
            "nobody" => assert!(result["error"].is_string(), "{result}"),
            _ => assert_eq!(result["changed"], true),
        }
    }
    // Those that have it are left alone.
    world.sim.clear_log();
    let again = world
        .client()
        .set_metadata_of(PROJECT, Setting::of("color"), &values[..7]);
    assert!(
        again.iter().all(|result| result["changed"] == false),
        "{again:?}"
    );
    assert!(world.sim.log().iter().all(|call| !call.mutates));
}

#[test]
fn metadata_that_was_changed_since_the_list_is_read_again() {
    let (world, places) = running(2);
    let values: Vec<_> = places
        .iter()
        .map(|at| (at.clone(), "red".to_owned()))
        .collect();
    let stale = Fault::Status {
        status: 412,
        retry_after: None,
    };
    world.strike(Rule::nth(1, stale).of("POST", "*/w1/setMetadata"));
    let results = world
        .client()
        .set_metadata_of(PROJECT, Setting::of("color"), &values);
    assert!(
        results.iter().all(|result| result["changed"] == true),
        "{results:?}"
    );
    let log = world.sim.log();
    let of_one = |call: &&cloudsim::Entry| call.path.ends_with("/w1/setMetadata");
    assert_eq!(log.iter().filter(of_one).count(), 2);
}

#[test]
fn machines_that_cannot_be_started_do_not_keep_the_others_from_it() {
    let (world, places) = running(9);
    world.client().power(PROJECT, &places, Power::Stop).unwrap();
    let fault = Fault::OperationFails(OperationError {
        code: "ZONE_RESOURCE_POOL_EXHAUSTED".to_owned(),
        message: "The zone has no n2-standard-8 left.".to_owned(),
    });
    world.strike(Rule::nth(4, fault).of("POST", "*/start").times(2));

    let error = world
        .client()
        .power(PROJECT, &places, Power::Start)
        .unwrap_err();

    assert_eq!(error.exit_status(), 4);
    assert!(error.what.starts_with("Machine w"), "{error}");
    assert!(error.what.ends_with("left (and 1 more)"), "{error}");
    assert!(error.mend.contains("try another zone"), "{error}");
    assert_eq!(in_state(&world, "RUNNING").len(), 7);
}

#[test]
fn operations_are_found_behind_newer_ones_of_others() {
    let (world, places) = running(1);
    let zone = &places[0].zone;
    // Each of these is newer than the stop by the time of the list that follows the lost one.
    let lost = Fault::Status {
        status: 503,
        retry_after: Some(1),
    };
    world.strike(Rule::nth(1, lost).of("GET", "*/operations"));
    let newer = || {
        common::wait_until("a list is lost", || {
            world.sim.log().iter().any(|call| call.status == Some(503))
        });
        for n in 0..25 {
            let disk = json!({"name": format!("d{n}"), "sizeGb": "10"});
            make(&world, &format!("zones/{zone}"), "disks", &disk);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(newer);
        world.client().power(PROJECT, &places, Power::Stop).unwrap();
    });
    assert_eq!(in_state(&world, "TERMINATED"), ["w0"]);
    let paged = |query: &str| query.contains("pageToken");
    assert!(world.sim.log().iter().any(|call| paged(&call.query)));
}
