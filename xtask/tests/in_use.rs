//! What is in use outlives `prune`, with the real `google` and a disk in the simulated cloud.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod support;

use serde_json::{Value, json};
use shop::{IMAGE, PROJECT, Store, assert_ok};
use support::stdout;

#[test]
fn an_image_that_a_disk_was_made_from_goes_only_after_the_disk() {
    let store = Store::new(0);
    let shop = store.shop();
    assert_ok(&shop.xtask(&["push"]));
    let image = format!("projects/{PROJECT}/global/images/{IMAGE}");
    let disk = json!({"name": "spare", "sourceImage": image, "sizeGb": "10"});
    shop.change("POST", "disks", &disk);
    let used_by = || {
        let images = shop.xtask(&["images", "--json"]);
        let images: Value = serde_json::from_slice(&images.stdout).unwrap();
        images["images"][0]["used_by"].clone()
    };
    assert_eq!(used_by(), json!(["disk spare"]));
    store.evaluates(
        &shop,
        "/nix/store/ffffffffffff0123456789abcdfghijk-image-base.drv",
    );
    assert_ok(&shop.xtask(&["push"]));

    let prune = || {
        let done = shop.xtask(&["prune", "--keep", "1"]);
        assert_ok(&done);
        stdout(&done).lines().last().unwrap().to_owned()
    };
    assert!(prune().starts_with("0 images and 0 uploads deleted"));
    shop.change("DELETE", "disks/spare", &Value::Null);
    let last = prune();
    assert!(last.starts_with("1 image and 1 upload deleted"), "{last}");
    let left = shop.google(&["images", "list", "--project", PROJECT]);
    assert_eq!(left[0]["name"], "base-ffffffffffff");
    assert_eq!(left.as_array().unwrap().len(), 1);
}
