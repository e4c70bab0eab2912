//! `xtask image` with a made-up nix and imagepack. On another platform than x86-64 Linux the verb refuses to run.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod support;

use std::{fs, process::Output};

use serde_json::Value;
use support::{World, stderr, stdout};

const HASH: &str = "0123456789abcdfghijklmnpqrsvwxyz";
const OTHER_HASH: &str = "zyxwvsrqpnmlkjihgfdcba9876543210";
const BUILD: &str = "nix build --extra-experimental-features nix-command flakes \
                     --no-link --print-out-paths .#image-alice";
/// `$4` is the file in `pack DISK -o FILE --json`.
const PACK: &str = r#"printf packed > "$4"
printf '{"path":"%s","disk_bytes":1073741824,"file_bytes":6,"sha256":"abc","crc32c":"x=="}' "$4""#;

/// A world whose nix has built an image with this hash, and which can pack it.
fn world() -> World {
    let world = World::new();
    builds(&world, HASH, &["disk.raw", "repart-output.json"]);
    world.program("imagepack", PACK);
    world
}

fn builds(world: &World, hash: &str, files: &[&str]) {
    let store_path = world.path(&format!("store/{hash}-image"));
    fs::create_dir_all(&store_path).unwrap();
    for file in files {
        fs::write(store_path.join(file), "disk").unwrap();
    }
    world.program("nix", &format!("echo {}", store_path.display()));
}

fn pack_call(world: &World, hash: &str) -> String {
    let disk = world.path(&format!("store/{hash}-image/disk.raw"));
    let file = packed(world, hash);
    format!("imagepack pack {} -o {file} --json", disk.display())
}

fn packed(world: &World, hash: &str) -> String {
    let file = world.path(&format!("repo/target/images/alice-{hash}.tar.gz"));
    file.display().to_string()
}

fn assert_done(done: &Output) {
    assert!(done.status.success(), "{}", stderr(done));
}

#[test]
fn the_packed_files_path_is_all_of_stdout() {
    let world = world();
    let done = world.xtask(&["image", "alice"]);
    assert_done(&done);
    assert_eq!(stdout(&done), format!("{}\n", packed(&world, HASH)));
    assert_eq!(world.calls(), [BUILD.to_owned(), pack_call(&world, HASH)]);
    let said = stderr(&done);
    for part in [
        "size    6 B (6 bytes)",
        "sha256  abc",
        "next    cargo xtask push alice",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn json_is_one_object_and_the_same_when_nothing_has_changed() {
    let world = world();
    let first = world.xtask(&["image", "alice", "--json"]);
    let second = world.xtask(&["image", "alice", "--json"]);
    assert_eq!(stdout(&first), stdout(&second));
    let object: Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(object["name"], "alice");
    assert_eq!(object["path"], packed(&world, HASH));
    assert_eq!(object["disk_bytes"], 1 << 30);
    assert_eq!(object["file_bytes"], 6);
    assert_eq!(object["sha256"], "abc");
    assert_eq!(object["crc32c"], "x==");
    let store_path = world.path(&format!("store/{HASH}-image"));
    assert_eq!(object["store_path"], store_path.display().to_string());
}

#[test]
fn nothing_is_packed_twice() {
    let world = world();
    assert_done(&world.xtask(&["image", "alice"]));
    world.calls();
    let again = world.xtask(&["image", "alice"]);
    assert_done(&again);
    assert_eq!(world.calls(), [BUILD]);
    assert_eq!(stdout(&again), format!("{}\n", packed(&world, HASH)));
}

#[test]
fn a_changed_image_is_packed_beside_the_old_one() {
    let world = world();
    assert_done(&world.xtask(&["image", "alice"]));
    builds(&world, OTHER_HASH, &["disk.raw"]);
    world.calls();
    let done = world.xtask(&["image", "alice"]);
    assert_done(&done);
    assert_eq!(
        world.calls(),
        [BUILD.to_owned(), pack_call(&world, OTHER_HASH)]
    );
    assert!(stderr(&done).contains("older   1 earlier of alice in the same folder, 6 B"));
    assert!(fs::exists(packed(&world, HASH)).unwrap());
}

#[test]
fn an_interrupted_pack_is_done_anew() {
    let world = world();
    // Killed after its file was in place, before xtask knew.
    world.program("imagepack", r#"printf packed > "$4"; kill -9 $$"#);
    let done = world.xtask(&["image", "alice"]);
    assert_eq!(done.status.code(), Some(1), "{}", stderr(&done));
    assert_eq!(stdout(&done), "");
    let record = world.path(&format!("repo/target/images/alice-{HASH}.json"));
    assert!(!record.exists());

    world.program("imagepack", PACK);
    world.calls();
    assert_done(&world.xtask(&["image", "alice"]));
    assert_eq!(world.calls(), [BUILD.to_owned(), pack_call(&world, HASH)]);
}

#[test]
fn a_file_that_was_cut_or_removed_is_packed_anew() {
    let world = world();
    assert_done(&world.xtask(&["image", "alice"]));
    fs::write(packed(&world, HASH), "cut").unwrap();
    world.calls();
    assert_done(&world.xtask(&["image", "alice"]));
    assert_eq!(world.calls().len(), 2);
    fs::remove_file(packed(&world, HASH)).unwrap();
    assert_done(&world.xtask(&["image", "alice"]));
    assert_eq!(world.calls().len(), 2);
}

#[test]
fn without_nix_it_says_so_with_the_mend_and_status_3() {
    let world = world();
    world.remove("nix");
    let done = world.xtask(&["image"]);
    assert_eq!(done.status.code(), Some(3));
    let said = stderr(&done);
    assert!(
        said.starts_with("error: there is no nix on this machine, which builds"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 2, "{said}");
    assert_eq!(world.calls(), [""; 0]);
}

#[test]
fn a_name_that_is_neither_profile_nor_workspace_is_wrong_usage() {
    let world = world();
    let done = world.xtask(&["image", "alise"]);
    assert_eq!(done.status.code(), Some(2));
    assert_eq!(
        stderr(&done),
        "error: \"alise\" is neither an image profile nor a workspace\n\
         Did you mean alice? There are: base, cuda, alice, bob.\n"
    );
    assert_eq!(world.calls(), [""; 0]);
}

#[test]
fn dry_run_prints_the_commands_and_runs_none() {
    let world = world();
    let build = "nix build --extra-experimental-features 'nix-command flakes' \
                 --no-link --print-out-paths .#image-alice";
    let out = world.path("out");
    let file = out.join("alice-HASH.tar.gz").display().to_string();
    let done = world.xtask(&[
        "image",
        "alice",
        "--dry-run",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_done(&done);
    let expected = format!("{build}\nimagepack pack STORE_PATH/DISK.raw -o {file} --json\n");
    assert_eq!(stdout(&done), expected);
    let json = world.xtask(&["image", "alice", "--dry-run", "--json"]);
    let plan: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(plan["commands"][0][3], "nix-command flakes");
    assert_eq!(plan["commands"].as_array().unwrap().len(), 2);
    assert_eq!(world.calls(), [""; 0]);
    assert!(!out.exists() && !world.path("repo/target").exists());
}

#[test]
fn in_the_workspace_imagepack_is_cargos() {
    let world = world();
    fs::create_dir_all(world.path("repo/crates/imagepack")).unwrap();
    fs::write(world.path("repo/crates/imagepack/Cargo.toml"), "").unwrap();
    world.program("cargo", &format!("shift 6\n{PACK}"));
    let done = world.xtask_with(&["image", "alice"], &[("CARGO", "cargo")]);
    assert_done(&done);
    let pack = pack_call(&world, HASH);
    let cargo = format!(
        "cargo run --quiet --release --package imagepack -- {}",
        &pack[10..]
    );
    assert_eq!(world.calls(), [BUILD.to_owned(), cargo]);
}

#[test]
fn an_installed_xtask_takes_the_imagepack_beside_it() {
    let world = world();
    world.program("imagepack-beside", PACK);
    let bin = world.path("installed/bin");
    fs::create_dir_all(&bin).unwrap();
    fs::rename(world.path("bin/imagepack-beside"), bin.join("imagepack")).unwrap();
    world.install(&bin.join("xtask"));
    let mut command = world.command_of(&bin.join("xtask"), &["image", "alice"]);
    let done = world.spawn(&mut command).wait_with_output().unwrap();
    assert_done(&done);
    let pack = pack_call(&world, HASH).replacen("imagepack", "imagepack-beside", 1);
    assert_eq!(world.calls(), [BUILD.to_owned(), pack]);
}

#[test]
fn a_failed_build_is_status_1_and_packs_nothing() {
    let world = world();
    world.program("nix", "echo broken >&2; exit 100");
    let done = world.xtask(&["image", "alice"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(stderr(&done).contains("broken\n"));
    assert_eq!(world.calls(), [BUILD]);
}

#[test]
fn an_output_without_exactly_one_raw_disk_is_refused() {
    for files in [&["a.raw", "b.raw"][..], &["disk.qcow2"]] {
        let world = world();
        builds(&world, OTHER_HASH, files);
        let done = world.xtask(&["image", "alice"]);
        assert_eq!(done.status.code(), Some(1));
        assert!(stderr(&done).contains("does not hold exactly one raw disk"));
    }
}

#[test]
fn a_fleet_file_without_a_flake_beside_it_is_wrong_usage() {
    let world = world();
    fs::copy(world.path("repo/fleet.toml"), world.path("other.toml")).unwrap();
    let done = world.xtask(&["image", "alice", "--fleet", "../other.toml"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(stderr(&done).contains("there is no flake.nix in"));
}
