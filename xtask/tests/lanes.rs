//! `xtask test` with a made-up cargo and nix.

mod support;

use serde_json::Value;
use support::{World, stderr, stdout};

const FEATURES: &str = "--extra-experimental-features nix-command flakes";

fn world() -> World {
    let world = World::new();
    world.program("cargo", "echo from cargo");
    world.program(
        "nix",
        r#"[ "$1" = eval ] && echo '["boots","wakes"]'; exit 0"#,
    );
    world
}

fn cargo_calls() -> Vec<String> {
    [
        "cargo fmt --check",
        "cargo clippy --workspace --all-targets -- -D warnings",
        "cargo test --workspace",
    ]
    .map(String::from)
    .to_vec()
}

fn nix_call() -> String {
    format!("nix flake check {FEATURES} --print-build-logs")
}

fn vm_calls() -> Vec<String> {
    let tests = ".#legacyPackages.x86_64-linux.vmTests";
    let build = format!("nix build {FEATURES} --print-build-logs --no-link {tests}");
    vec![
        format!("nix eval {FEATURES} --json {tests} --apply builtins.attrNames"),
        format!("{build}.boots"),
        format!("{build}.wakes"),
    ]
}

/// The words of a lane's row, its time as `T`.
fn row(table: &str, lane: &str) -> String {
    let row = table.lines().find(|line| line.starts_with(lane)).unwrap();
    let mut words: Vec<_> = row.split_whitespace().collect();
    if words.get(3) == Some(&"s") {
        words.splice(2..4, ["T"]);
    }
    words.join(" ")
}

#[test]
fn rust_and_nix_run_by_default_and_the_table_says_why_vm_does_not() {
    let world = world();
    let done = world.xtask(&["test"]);
    assert!(done.status.success(), "{}", stderr(&done));
    let text = stdout(&done);
    assert_eq!(row(&text, "rust"), "rust passed T");
    assert_eq!(row(&text, "nix"), "nix passed T");
    assert_eq!(row(&text, "vm"), "vm skipped - not asked for: --lane vm");
    assert_eq!(text.lines().last(), Some("2 passed, 0 failed, 1 skipped"));
    assert!(!text.contains("from cargo"), "stdout is for the result");
    assert!(stderr(&done).contains("from cargo"));
    let mut calls = cargo_calls();
    calls.push(nix_call());
    assert_eq!(world.calls(), calls);
}

#[test]
fn a_lane_without_its_program_is_skipped_with_the_reason() {
    let world = world();
    world.remove("nix");
    let done = world.xtask(&["test"]);
    assert!(done.status.success());
    let text = stdout(&done);
    assert_eq!(
        row(&text, "nix"),
        "nix skipped - no nix on this machine: cargo xtask doctor"
    );
    assert_eq!(text.lines().last(), Some("1 passed, 0 failed, 2 skipped"));
}

#[test]
fn a_required_lane_may_not_be_skipped() {
    let world = world();
    world.remove("nix");
    let done = world.xtask(&["test", "--require", "nix"]);
    assert_eq!(done.status.code(), Some(1));
    let text = stdout(&done);
    assert!(row(&text, "nix").starts_with("nix failed - required, but no nix on this machine"));
    assert_eq!(text.lines().last(), Some("1 passed, 1 failed, 1 skipped"));
}

#[test]
fn requiring_a_lane_runs_it() {
    let world = world();
    let done = world.xtask(&["test", "--lane", "rust", "--require", "nix"]);
    assert!(done.status.success());
    assert_eq!(
        stdout(&done).lines().last(),
        Some("2 passed, 0 failed, 1 skipped")
    );
}

#[test]
fn every_command_of_every_lane_runs_even_after_a_failure() {
    let world = world();
    world.program("cargo", r#"[ "$1" != fmt ]"#);
    let done = world.xtask(&["test"]);
    assert_eq!(done.status.code(), Some(1));
    let text = stdout(&done);
    assert_eq!(
        row(&text, "rust"),
        "rust failed T cargo fmt --check ended with exit status: 1"
    );
    assert_eq!(text.lines().last(), Some("1 passed, 1 failed, 1 skipped"));
    assert!(stderr(&done).contains("cargo xtask test --lane rust"));
    let mut calls = cargo_calls();
    calls.push(nix_call());
    assert_eq!(world.calls(), calls);
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn vm_tests_are_listed_by_nix_and_run_one_after_another() {
    let world = world();
    let done = world.xtask(&["test", "--lane", "vm"]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(
        stdout(&done).lines().last(),
        Some("1 passed, 0 failed, 2 skipped")
    );
    assert_eq!(world.calls(), vm_calls());

    world.program(
        "nix",
        r#"case "$*" in eval*) echo '["boots","wakes"]' ;; *boots) exit 1 ;; esac"#,
    );
    let done = world.xtask(&["test", "--lane", "vm"]);
    assert_eq!(done.status.code(), Some(1));
    assert_eq!(world.calls(), vm_calls());
    assert!(row(&stdout(&done), "vm").contains("vmTests.boots ended with exit status: 1"));
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn lane_all_is_every_lane() {
    let done = world().xtask(&["test", "--lane", "all"]);
    assert_eq!(
        stdout(&done).lines().last(),
        Some("3 passed, 0 failed, 0 skipped")
    );
}

#[test]
fn json_is_one_object() {
    let world = world();
    world.remove("nix");
    let done = world.xtask(&["test", "--json"]);
    let object: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(object["passed"], 1);
    assert_eq!(object["lanes"][0]["lane"], "rust");
    assert_eq!(object["lanes"][0]["result"], "passed");
    assert!(object["lanes"][0]["seconds"].is_f64());
    assert_eq!(object["lanes"][1]["result"], "skipped");
    assert_eq!(object["lanes"][1]["seconds"], Value::Null);
}

#[test]
fn dry_run_prints_the_commands_and_runs_none() {
    let world = world();
    let done = world.xtask(&["test", "--dry-run"]);
    let nix =
        "nix flake check --extra-experimental-features 'nix-command flakes' --print-build-logs";
    assert_eq!(
        stdout(&done),
        format!("{}\n{nix}\n", cargo_calls().join("\n"))
    );
    assert_eq!(world.calls(), [""; 0]);
}

#[test]
fn an_unknown_lane_is_wrong_usage() {
    assert_eq!(
        world().xtask(&["test", "--lane", "rusty"]).status.code(),
        Some(2)
    );
}
