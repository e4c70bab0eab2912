//! Images: made once, of whole archives alone.

mod common;

use cloudsim::{Fault, OperationError, Rule};
use common::{PROJECT, World, at, every_fault};
use google::{Crc32c, Image, NewImage, Result, Upload};
use std::{collections::BTreeMap, path::PathBuf};

/// A packed disk of 1 GiB, all of it a hole.
fn archive(world: &World) -> PathBuf {
    let disk = world.folder.path().join("disk.raw");
    let file = std::fs::File::create(&disk).unwrap();
    file.set_len(1 << 30).unwrap();
    let archive = world.folder.path().join("a.tar.gz");
    imagepack::pack(&disk, &archive, &imagepack::Options::default(), |_| ()).unwrap();
    archive
}

struct Shop {
    world: World,
    crc32c: Crc32c,
}

impl Shop {
    /// A cloud whose bucket has this archive.
    fn with(archive: &std::path::Path) -> Self {
        let world = World::new();
        let upload = Upload::new(archive, at("a.tar.gz"), None).unwrap();
        let upload = upload.with_session(world.folder.path().join("session"));
        let crc32c = world
            .client()
            .upload(&upload, &mut |_, _| ())
            .unwrap()
            .crc32c;
        world.sim.clear_log();
        Self { world, crc32c }
    }

    fn new_image(&self) -> NewImage {
        NewImage {
            name: "base-0123".to_owned(),
            family: "base".to_owned(),
            description: String::new(),
            labels: BTreeMap::from([("profile".to_owned(), "base".to_owned())]),
            guest_os_features: vec!["UEFI_COMPATIBLE".to_owned(), "GVNIC".to_owned()],
            source: at("a.tar.gz"),
            crc32c: self.crc32c,
        }
    }

    fn ensure(&self) -> Result<Image> {
        self.world.client().ensure_image(PROJECT, &self.new_image())
    }

    fn inserts(&self) -> usize {
        let writes = self.world.writes();
        writes
            .iter()
            .filter(|e| e.path.ends_with("/images"))
            .count()
    }
}

#[test]
fn an_image_is_made_once_and_becomes_its_family() {
    let world = World::new();
    let shop = Shop::with(&archive(&world));
    let image = shop.ensure().unwrap();
    assert_eq!(image.status, "READY");
    assert_eq!(image.disk_size_gb, 1);
    assert_eq!(image.labels["profile"], "base");
    shop.ensure().unwrap();
    assert_eq!(shop.inserts(), 1);
    let cloud = shop.world.client();
    let newest = cloud.image_of_family(PROJECT, "base").unwrap().unwrap();
    assert_eq!(newest.name, "base-0123");

    let labels = BTreeMap::from([("kept".to_owned(), "yes".to_owned())]);
    cloud.label_image(PROJECT, "base-0123", &labels).unwrap();
    let labelled = cloud.image(PROJECT, "base-0123").unwrap().unwrap();
    assert_eq!(labelled.labels.len(), 2);

    cloud
        .deprecate_image(PROJECT, "base-0123", "DEPRECATED")
        .unwrap();
    assert!(cloud.image_of_family(PROJECT, "base").unwrap().is_none());

    for _ in 0..2 {
        cloud.delete_image(PROJECT, "base-0123").unwrap();
    }
    assert!(cloud.image(PROJECT, "base-0123").unwrap().is_none());
}

#[test]
fn two_runs_at_once_make_one_image() {
    let world = World::new();
    let shop = Shop::with(&archive(&world));
    std::thread::scope(|scope| {
        let runs = [0, 1, 2].map(|_| scope.spawn(|| shop.ensure()));
        for run in runs {
            assert_eq!(run.join().unwrap().unwrap().status, "READY");
        }
    });
}

#[test]
fn an_archive_that_is_missing_or_another_is_not_registered() {
    let world = World::new();
    let mut shop = Shop::with(&archive(&world));
    shop.crc32c = Crc32c(shop.crc32c.0 ^ 1);
    let error = shop.ensure().unwrap_err();
    assert!(error.what.contains("nothing was registered"), "{error}");
    shop.world
        .client()
        .delete_object(&at("a.tar.gz"), None)
        .unwrap();
    let error = shop.ensure().unwrap_err();
    assert!(error.what.contains("does not exist"), "{error}");
    assert_eq!(shop.inserts(), 0);
}

#[test]
fn an_archive_that_is_no_disk_leaves_no_image() {
    let world = World::new();
    let shop = Shop::with(&world.file("noise", 1 << 20));
    let error = shop.ensure().unwrap_err();
    assert_eq!(error.exit_status(), 4);
    assert!(error.what.starts_with("Image base-0123: "), "{error}");
    let image = shop.world.client().image(PROJECT, "base-0123").unwrap();
    assert!(image.is_none(), "{image:?}");
}

#[test]
fn every_fault_at_every_call_of_making_an_image_ends_with_one_image() {
    let world = World::new();
    let archive = archive(&world);
    let calls = {
        let shop = Shop::with(&archive);
        shop.ensure().unwrap();
        shop.world.sim.log().len() as u64
    };
    let mut faults = every_fault();
    faults.push(Fault::OperationFails(OperationError {
        code: "QUOTA_EXCEEDED".to_owned(),
        message: "Quota 'IMAGES' exceeded.".to_owned(),
    }));
    let each_call = |fault: Fault| {
        for call in 1..=calls {
            let shop = Shop::with(&archive);
            shop.world.strike(Rule::nth(call, fault.clone()));
            let case = format!("{fault:?} at call {call} of {calls}");
            if let Err(error) = shop.ensure() {
                assert_eq!(error.exit_status(), 4, "{case}: {error}");
                shop.ensure().unwrap_or_else(|e| panic!("{case}: {e}"));
            }
            let image = shop
                .world
                .client()
                .image(PROJECT, "base-0123")
                .unwrap()
                .unwrap();
            assert_eq!(image.status, "READY", "{case}");
        }
    };
    std::thread::scope(|scope| {
        for fault in faults {
            scope.spawn(|| each_call(fault));
        }
    });
}
