//! `xtask docs` with a made-up nix.

mod support;

use std::fs;

use support::{World, stderr, stdout};

/// A world whose nix says this about the modules.
fn world(text: &str) -> World {
    let world = World::new();
    fs::create_dir_all(world.path("repo/docs")).unwrap();
    world.program("nix", &format!("echo '{text}'"));
    world
}

#[test]
fn the_reference_is_written_when_it_is_not_what_the_modules_say() {
    let world = world("# Options");
    let file = world.path("repo/docs/options.md");
    let done = world.xtask(&["docs"]);
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    assert_eq!(stdout(&done), format!("{}\n", file.display()));
    assert_eq!(fs::read_to_string(&file).unwrap(), "# Options\n");
    assert_eq!(
        world.calls(),
        [
            "nix eval --extra-experimental-features nix-command flakes --raw .#packages.x86_64-linux.docs.text"
        ]
    );
    let again = world.xtask(&["docs", "--json"]);
    let object: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(object["changed"], false);
}

#[test]
fn check_fails_for_a_stale_one_names_the_mend_and_writes_nothing() {
    let world = world("# Options");
    let file = world.path("repo/docs/options.md");
    fs::write(&file, "stale\n").unwrap();
    let done = world.xtask(&["docs", "--check"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(
        stderr(&done).ends_with(
            "error: docs/options.md is not what the modules say\nWrite it anew: cargo xtask docs\n"
        ),
        "{}",
        stderr(&done)
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "stale\n");

    world.xtask(&["docs"]);
    assert_eq!(world.xtask(&["docs", "--check"]).status.code(), Some(0));
}

#[test]
fn a_failed_evaluation_leaves_the_file() {
    let world = world("# Options");
    world.xtask(&["docs"]);
    world.program("nix", "echo half; exit 1");
    assert_eq!(world.xtask(&["docs"]).status.code(), Some(1));
    let file = world.path("repo/docs/options.md");
    assert_eq!(fs::read_to_string(&file).unwrap(), "# Options\n");
}

#[test]
fn without_nix_it_says_so_with_status_3() {
    let done = World::new().xtask(&["docs"]);
    assert_eq!(done.status.code(), Some(3), "{}", stderr(&done));
}
