//! Buckets and objects.

mod common;

use cloudsim::{Fault, Rule};
use common::{BUCKET, MIB, PROJECT, World, at, every_fault, noise};
use google::{Client, Endpoints};
use std::time::Duration;

#[test]
fn a_bucket_is_private_and_made_once() {
    let world = World::new();
    for _ in 0..2 {
        let bucket = world
            .client()
            .ensure_bucket(PROJECT, "acme-other", "europe-west4")
            .unwrap();
        let bucket = serde_json::to_value(bucket).unwrap();
        assert_eq!(bucket["location"], "EUROPE-WEST4");
        let iam = &bucket["iamConfiguration"];
        assert_eq!(iam["uniformBucketLevelAccess"]["enabled"], true);
        assert_eq!(iam["publicAccessPrevention"], "enforced");
        assert_eq!(bucket["softDeletePolicy"]["retentionDurationSeconds"], 0);
    }
    assert_eq!(world.writes().len(), 1);
}

#[test]
fn a_bucket_of_another_project_is_refused() {
    let world = World::new();
    let error = world
        .client()
        .ensure_bucket("other", BUCKET, "europe-west4")
        .unwrap_err();
    assert_eq!(error.exit_status(), 4);
    assert!(
        error.what.contains("another project has a bucket"),
        "{error}"
    );
}

#[test]
fn every_fault_at_every_call_of_making_a_bucket_ends_with_the_bucket() {
    for fault in every_fault() {
        for call in 1..=2 {
            let world = World::new();
            world.strike(Rule::nth(call, fault.clone()));
            let ensure = || {
                world
                    .client()
                    .ensure_bucket(PROJECT, "acme-other", "europe-west4")
            };
            if let Err(error) = ensure() {
                assert_eq!(error.exit_status(), 4, "{fault:?} at call {call}: {error}");
                ensure().unwrap_or_else(|e| panic!("{fault:?} at call {call}: {e}"));
            }
        }
    }
}

#[test]
fn lists_are_read_to_their_last_page() {
    let world = World::new();
    let file = world.file("a", 1);
    // Cloud Storage's pages hold 1,000.
    let names: Vec<String> = (0..3).map(|n| format!("p/{n}")).collect();
    for name in &names {
        let upload = google::Upload::new(&file, at(name), None).unwrap();
        world.client().upload(&upload, &mut |_, _| ()).unwrap();
    }
    let found = world.client().objects(&at("p/")).unwrap();
    assert_eq!(found.into_iter().map(|o| o.name).collect::<Vec<_>>(), names);
    assert!(world.client().objects(&at("q/")).unwrap().is_empty());
}

#[test]
fn a_cut_download_goes_on_and_a_damaged_one_leaves_no_file() {
    let world = World::new();
    let file = world.file("a", 8 * MIB);
    world.upload(&file).unwrap();
    world.strike(Rule::nth(2, Fault::CutResponse { after: 5 << 20 }));
    world.assert_only_object_is(&file);

    let copy = world.folder.path().join("damaged");
    world.strike(Rule::nth(2, Fault::DamageResponse { at: 3 << 20 }));
    let error = world
        .client()
        .download(&at("a.tar.gz"), &copy, &mut |_, _| ())
        .unwrap_err();
    assert!(error.what.contains("damaged"), "{error}");
    assert!(!copy.exists());
    let left = std::fs::read_dir(world.folder.path()).unwrap().count();
    assert_eq!(left, 2, "the file and its copy alone");
}

#[test]
fn composing_joins_objects_and_may_be_asked_for_twice() {
    let world = World::new();
    let mut whole = Vec::new();
    for (name, seed) in [("1", 1), ("2", 2)] {
        let file = world.folder.path().join(name);
        let bytes = noise(MIB + 5, seed);
        std::fs::write(&file, &bytes).unwrap();
        whole.extend(bytes);
        let upload = google::Upload::new(&file, at(name), None).unwrap();
        world.client().upload(&upload, &mut |_, _| ()).unwrap();
    }
    world.strike(Rule::nth(1, Fault::LostReply).of("POST", "*/compose"));
    let sources = ["1".to_owned(), "2".to_owned()];
    let joined = world.client().compose(&sources, &at("both")).unwrap();
    assert_eq!(joined.crc32c.0, crc32c::crc32c(&whole));
    let other = ["2".to_owned(), "1".to_owned()];
    assert!(world.client().compose(&other, &at("both")).is_err());
    assert!(
        world
            .client()
            .compose(&vec!["1".to_owned(); 33], &at("many"))
            .is_err()
    );
}

#[test]
fn deleting_what_is_gone_is_fine() {
    let world = World::new();
    let file = world.file("a", MIB);
    world.upload(&file).unwrap();
    world.strike(Rule::nth(1, Fault::LostReply).of("DELETE", "*"));
    world.client().delete_object(&at("a.tar.gz"), None).unwrap();
    assert!(world.client().object(&at("a.tar.gz")).unwrap().is_none());
}

#[test]
fn a_port_where_nobody_listens_is_one_sentence() {
    let client = Client::new(Endpoints::at("http://127.0.0.1:1"))
        .with_token("deployer")
        .with_patience(Duration::ZERO)
        .with_notice(|_| ());
    let error = client.object(&at("a")).unwrap_err();
    assert_eq!(error.exit_status(), 4);
    assert!(
        error.what.contains("http://127.0.0.1:1 does not answer"),
        "{error}"
    );
}
