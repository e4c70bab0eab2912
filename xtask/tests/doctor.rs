//! `xtask doctor` with made-up programs.

mod support;

use serde_json::Value;
use support::{World, stderr, stdout};

fn world() -> World {
    let world = World::new();
    world.program("cargo", "echo 'cargo 1.95.0 (f2d3ce0bd 2026-03-21)'");
    world.program("git", "echo git version 2.39.5");
    world.program(
        "nix",
        r#"[ "$1" = config ] && echo 'system-features = kvm uid-range' || echo 'nix (Nix) 2.34.0'"#,
    );
    world.program("tofu", "echo OpenTofu v1.9.0");
    world.program("gcloud", "echo Google Cloud SDK 500.0.0; echo bq 2.1.8");
    world
}

/// A check of the result.
fn check(world: &World, name: &str) -> Value {
    let done = world.xtask(&["doctor", "--json"]);
    let result: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(result["ok"], done.status.success());
    let checks = result["checks"].as_array().unwrap();
    checks
        .iter()
        .find(|check| check["name"] == name)
        .unwrap()
        .clone()
}

#[test]
fn what_is_there_is_found_with_its_version() {
    let world = world();
    assert!(world.xtask(&["doctor"]).status.success());
    let nix = check(&world, "nix");
    assert_eq!(nix["state"], "found");
    assert_eq!(nix["version"], "2.34.0");
    assert_eq!(nix["path"], world.path("bin/nix").display().to_string());
    assert_eq!(nix["mend"], Value::Null);
}

#[test]
fn a_required_program_that_is_missing_is_status_3_with_the_mend() {
    let world = world();
    world.remove("nix");
    let done = world.xtask(&["doctor"]);
    assert_eq!(done.status.code(), Some(3));
    let text = stdout(&done);
    assert!(
        text.contains("\nnix is missing; 2.18 or newer is needed:\n  "),
        "{text}"
    );
    assert!(stderr(&done).contains("no workspace can be shipped without nix"));
    assert!(check(&world, "nix")["mend"].is_string());
}

#[test]
fn a_required_program_that_is_too_old_is_status_3() {
    let world = world();
    world.program("nix", "echo 'nix (Nix) 2.8.1'");
    assert_eq!(world.xtask(&["doctor"]).status.code(), Some(3));
    let nix = check(&world, "nix");
    assert_eq!(nix["state"], "too_old");
    assert_eq!(nix["version"], "2.8.1");
}

#[test]
fn an_optional_program_that_is_missing_fails_nothing() {
    let world = world();
    world.remove("gcloud");
    let done = world.xtask(&["doctor"]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert!(stdout(&done).contains("\ngcloud (optional) is missing; "));
}

#[test]
fn of_two_programs_the_one_that_will_do_is_taken() {
    let world = world();
    world.program("tofu", "echo OpenTofu v1.6.0");
    assert_eq!(check(&world, "tofu or terraform")["state"], "too_old");
    world.program("terraform", "echo Terraform v1.11.4; echo on linux_amd64");
    let found = check(&world, "tofu or terraform");
    assert_eq!(found["state"], "found");
    assert_eq!(found["version"], "1.11.4");
}

#[test]
fn a_program_that_does_not_tell_its_version_is_broken() {
    let world = world();
    world.program("git", "exit 127");
    assert_eq!(check(&world, "git")["state"], "broken");
    assert_eq!(world.xtask(&["doctor"]).status.code(), Some(3));
}

#[test]
fn whether_nix_runs_containers_is_told_by_its_settings() {
    let world = world();
    assert_eq!(check(&world, "nix: uid-range")["state"], "found");
    world.program(
        "nix",
        r#"[ "$1" = config ] && echo 'system-features = kvm' || echo nix 2.34.0"#,
    );
    assert_eq!(check(&world, "nix: uid-range")["state"], "missing");
    assert!(world.xtask(&["doctor"]).status.success(), "it is optional");
}

#[test]
fn dry_run_asks_no_program() {
    let world = world();
    let done = world.xtask(&["doctor", "--dry-run"]);
    assert_eq!(stdout(&done).lines().next(), Some("cargo --version"));
    assert_eq!(world.calls(), [""; 0]);
}
