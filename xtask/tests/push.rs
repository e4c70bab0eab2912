//! `push` with the real `google` and `imagepack` against the simulated cloud.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod shop;
mod support;

use std::{
    fs,
    process::Command,
    thread::{scope, sleep},
    time::{Duration, Instant},
};

use cloudsim::{Fault, OperationError, Plan, Rule};
use serde_json::Value;
use shop::{BUCKET, IMAGE, PROJECT, Store, assert_ok};
use support::{stderr, stdout};

/// How much of an upload that is cut off is kept: whole multiples of this.
const GRAIN: u64 = 256 << 10;

#[test]
fn what_is_pushed_is_read_back_and_a_second_push_writes_nothing() {
    let shop = Store::new(1).shop();
    let first = shop.xtask(&["push"]);
    assert_ok(&first);
    let path = format!("projects/{PROJECT}/global/images/{IMAGE}\n");
    assert_eq!(stdout(&first), path);
    shop.assert_one_of_each("first");
    let image = shop.google(&["images", "get", "--project", PROJECT, "--family", "base"]);
    let labels = [
        ("derivation", "dddddddddddd0123456789abcdfghijk"),
        ("flake-revision", "0123456789abcdef"),
        ("nixpkgs-revision", "fedcba"),
        ("profile", "base"),
    ];
    for (key, value) in labels {
        assert_eq!(image["labels"][key], value);
    }

    // Not even what was packed is needed any more.
    fs::remove_dir_all(shop.images()).unwrap();
    shop.sim.clear_log();
    let start = Instant::now();
    let second = shop.xtask(&["push"]);
    assert_ok(&second);
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(stdout(&second), path);
    assert_eq!(shop.writes().len(), 0);
    assert_eq!(shop.sim.log().len(), 1);
    assert!(!shop.images().exists());

    let json = shop.xtask(&["push", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["made"], false);
    assert_eq!(json["name"], IMAGE);
}

#[test]
fn a_dry_run_prints_the_commands_and_runs_none() {
    let shop = Store::new(0).shop();
    shop.world.calls();
    let done = shop.xtask(&["push", "alice", "--dry-run"]);
    assert_ok(&done);
    assert!(shop.world.calls().is_empty());
    assert!(shop.sim.log().is_empty());
    let repo = shop.world.path("repo");
    let repo = repo.display();
    assert_eq!(
        stdout(&done),
        format!(
            "nix eval --extra-experimental-features 'nix-command flakes' --json \
             .#packages.x86_64-linux.image-alice --apply 'image: [ image.drvPath image.outPath ]'
google images get alice-HASH --project {PROJECT}
nix build --extra-experimental-features 'nix-command flakes' --no-link --print-out-paths .#image-alice
imagepack pack STORE_PATH/DISK.raw -o {repo}/target/images/alice-HASH.tar.gz --json
nix flake metadata --extra-experimental-features 'nix-command flakes' --json
google buckets ensure {BUCKET} --project {PROJECT} --location europe-west4
google objects upload --replace {repo}/target/images/alice-HASH.tar.gz \
             gs://{BUCKET}/alice-HASH-SHA256.tar.gz --crc32c CRC32C
google images insert alice-HASH --project {PROJECT} --family alice \
             --source gs://{BUCKET}/alice-HASH-SHA256.tar.gz --crc32c CRC32C \
             --label derivation=HASH --label flake-revision=REVISION --label nixpkgs-revision=REVISION \
             --label profile=base --label workspace=alice --feature UEFI_COMPATIBLE --feature GVNIC \
             --feature VIRTIO_SCSI_MULTIQUEUE --feature IDPF
"
        )
    );
}

#[test]
fn a_push_killed_at_20_moments_of_its_upload_sends_only_what_is_missing() {
    let shop = Store::new(24).shop();
    // All 20 moments together are too short for the upload.
    let slow = Fault::Slow {
        bytes_per_second: 3 << 20,
    };
    let uploads = "/upload/storage/v1/b/*";
    shop.strike(vec![Rule::nth(1, slow).of("PUT", uploads).times(1000)]);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let session = format!("{}.upload", shop.packed().display());
    for kill in 1..=20 {
        let mut push = shop.spawn_push();
        let start = Instant::now();
        // The session is kept before the first byte is sent; an earlier one is gone on with.
        while !fs::exists(&session).unwrap() {
            assert!(start.elapsed() < Duration::from_secs(60), "no upload");
            sleep(Duration::from_millis(1));
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        sleep(Duration::from_millis(random % 400));
        assert!(push.try_wait().unwrap().is_none(), "kill {kill}: over");
        let group = format!("-{}", push.id());
        let killed = Command::new("kill").args(["-9", "--", &group]).status();
        assert!(killed.unwrap().success());
        push.wait().unwrap();
    }
    shop.sim.set_faults(Plan::default());
    assert_ok(&shop.xtask(&["push"]));

    shop.assert_one_of_each("after 20 kills");
    let puts = shop.sim.log().into_iter().filter(|e| e.method == "PUT");
    let sent: u64 = puts.map(|entry| entry.request_bytes).sum();
    let size = fs::metadata(shop.packed()).unwrap().len();
    assert!(sent <= size + 20 * GRAIN, "sent {sent} of {size}");
    println!("sent {sent} bytes of {size}");
    assert!(!fs::exists(&session).unwrap());
}

#[test]
fn two_pushes_at_once_end_well_and_make_one_image() {
    let store = Store::new(4);
    let (one, other) = (store.shop(), store.shop());
    fs::remove_dir_all(one.images()).unwrap();
    // Two in one checkout, which packs first; one elsewhere.
    let pushes = [(&one, &one), (&one, &one), (&other, &one)];
    scope(|scope| {
        let running =
            pushes.map(|(checkout, cloud)| scope.spawn(|| checkout.xtask_at(cloud, &["push"])));
        for push in running {
            assert_ok(&push.join().unwrap());
        }
    });
    one.assert_one_of_each("at once");
}

#[test]
fn a_damaged_file_is_never_registered() {
    let store = Store::new(1);
    let shop = store.shop();
    let mut bytes = fs::read(shop.packed()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(shop.packed(), bytes).unwrap();

    let push = shop.xtask(&["push"]);

    assert_eq!(push.status.code(), Some(1), "{}", stderr(&push));
    assert!(
        stderr(&push).contains("does not hold what its CRC32C"),
        "{}",
        stderr(&push)
    );
    let images = shop.google(&["images", "list", "--project", PROJECT]);
    assert!(images.as_array().unwrap().is_empty());
    let objects = shop.google(&["objects", "list", &format!("gs://{BUCKET}")]);
    assert!(objects.as_array().unwrap().is_empty());

    // As its message says.
    fs::remove_file(shop.packed()).unwrap();
    assert_ok(&shop.xtask(&["push"]));
    shop.assert_one_of_each("packed again");
}

#[test]
fn every_fault_at_every_call_ends_well_or_with_one_sentence_and_the_next_push_does() {
    let store = Store::new(1);
    let calls = {
        let shop = store.shop();
        assert_ok(&shop.xtask(&["push"]));
        shop.sim.log().len() as u64
    };
    let status = |status, retry_after| Fault::Status {
        status,
        retry_after,
    };
    let faults = [
        Fault::CutRequest { after: 0 },
        Fault::CutRequest { after: 3 * GRAIN },
        Fault::CutResponse { after: 10 },
        Fault::LostReply,
        status(429, Some(1)),
        status(500, None),
        status(503, None),
        status(401, None),
        Fault::Slow {
            bytes_per_second: 4 << 20,
        },
        Fault::DamageRequest { at: 2 * GRAIN },
        Fault::OperationFails(OperationError {
            code: "QUOTA_EXCEEDED".to_owned(),
            message: "Quota 'IMAGES' exceeded.".to_owned(),
        }),
    ];
    let at_each_call = |fault: &Fault| {
        for call in 1..=calls {
            let case = format!("{fault:?} at call {call} of {calls}");
            let shop = store.shop();
            shop.strike(vec![Rule::nth(call, fault.clone())]);
            let push = shop.xtask(&["push"]);
            if !push.status.success() {
                let said = stderr(&push);
                assert_eq!(push.status.code(), Some(4), "{case}: {said}");
                let errors = said.lines().filter(|line| line.starts_with("error: "));
                assert_eq!(errors.count(), 1, "{case}: {said}");
                assert_ok(&shop.xtask(&["push"]));
            }
            shop.assert_one_of_each(&case);
        }
    };
    scope(|scope| {
        for fault in &faults {
            scope.spawn(|| at_each_call(fault));
        }
    });
    println!("{} faults at each of {calls} calls", faults.len());
}
