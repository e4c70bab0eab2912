//! `xtask test` with a made-up cargo and nix.

mod support;

use serde_json::Value;
use support::{World, stderr, stdout};

const FEATURES: &str = "--extra-experimental-features nix-command flakes";
const CHECKS: &str = ".#checks.x86_64-linux";

fn world() -> World {
    let world = World::new();
    world.program("cargo", "echo from cargo");
    world.program(
        "nix",
        r#"[ "$1" = eval ] && echo '["boots","wakes"]'; exit 0"#,
    );
    world
}

/// A terraform, the linters, and what its lane copies with.
fn with_terraform(init: &str) -> World {
    let world = world();
    std::fs::create_dir_all(world.path("repo/terraform/foundation")).unwrap();
    std::fs::write(world.path("repo/terraform/foundation/terraform.tf"), "").unwrap();
    let script =
        format!(r#"case "$*" in --version) echo Terraform v1.11.4 ;; *init*) {init} ;; esac"#);
    world.program("terraform", &script);
    for program in ["rm", "mkdir", "cp", "tflint"] {
        world.program(program, "");
    }
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

fn list(set: &str) -> String {
    format!("nix eval {FEATURES} --json {set} --apply builtins.attrNames")
}

fn build(attributes: &str) -> String {
    format!("nix build {FEATURES} --print-build-logs --keep-going --no-link {attributes}")
}

fn evaluations() -> Vec<String> {
    let all = |output: &str| {
        format!(
            "nix eval {FEATURES} --json .#{output}.x86_64-linux --apply builtins.mapAttrs (_: output: output.drvPath)"
        )
    };
    let formatter = format!("nix eval {FEATURES} --json .#formatter.x86_64-linux.drvPath");
    vec![all("packages"), all("devShells"), formatter]
}

fn nix_calls() -> Vec<String> {
    let mut calls = evaluations();
    calls.push(list(CHECKS));
    calls.push(build(&format!("{CHECKS}.boots {CHECKS}.wakes")));
    calls
}

fn vm_calls() -> Vec<String> {
    let tests = ".#legacyPackages.x86_64-linux.vmTests";
    vec![
        list(tests),
        build(&format!("{tests}.boots")),
        build(&format!("{tests}.wakes")),
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
fn the_table_says_why_a_lane_does_not_run() {
    let world = world();
    let done = world.xtask(&["test"]);
    assert!(done.status.success(), "{}", stderr(&done));
    let text = stdout(&done);
    assert_eq!(row(&text, "rust"), "rust passed T");
    assert_eq!(row(&text, "nix"), "nix passed T");
    assert_eq!(
        row(&text, "terraform"),
        "terraform skipped - no tofu or terraform on this machine: cargo xtask doctor"
    );
    assert_eq!(
        row(&text, "rehearse"),
        "rehearse skipped - no crates/cloudsim beside the fleet file"
    );
    assert_eq!(row(&text, "vm"), "vm skipped - not asked for: --lane vm");
    assert_eq!(
        row(&text, "reboot"),
        "reboot skipped - not asked for: --lane reboot"
    );
    assert_eq!(text.lines().last(), Some("2 passed, 0 failed, 4 skipped"));
    assert!(!text.contains("from cargo"), "stdout is for the result");
    assert!(stderr(&done).contains("from cargo"));
    let mut calls = cargo_calls();
    calls.extend(nix_calls());
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
    assert_eq!(text.lines().last(), Some("1 passed, 0 failed, 5 skipped"));
}

#[test]
fn a_required_lane_may_not_be_skipped() {
    let world = world();
    world.remove("nix");
    let done = world.xtask(&["test", "--require", "nix"]);
    assert_eq!(done.status.code(), Some(1));
    let text = stdout(&done);
    assert!(row(&text, "nix").starts_with("nix failed - required, but no nix on this machine"));
    assert_eq!(text.lines().last(), Some("1 passed, 1 failed, 4 skipped"));
}

#[test]
fn requiring_a_lane_runs_it() {
    let world = world();
    let done = world.xtask(&["test", "--lane", "rust", "--require", "nix"]);
    assert!(done.status.success());
    assert_eq!(
        stdout(&done).lines().last(),
        Some("2 passed, 0 failed, 4 skipped")
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
    assert_eq!(text.lines().last(), Some("1 passed, 1 failed, 4 skipped"));
    assert!(stderr(&done).contains("cargo xtask test --lane rust"));
    let mut calls = cargo_calls();
    calls.extend(nix_calls());
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
        Some("1 passed, 0 failed, 5 skipped")
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
    let world = with_terraform("true");
    std::fs::create_dir_all(world.path("repo/crates/cloudsim")).unwrap();
    let done = world.xtask(&["test", "--lane", "all"]);
    assert_eq!(
        stdout(&done).lines().last(),
        Some("6 passed, 0 failed, 0 skipped")
    );
}

#[test]
fn terraform_runs_by_default_where_its_provider_can_be_had() {
    let world = with_terraform("true");
    let done = world.xtask(&["test"]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(row(&stdout(&done), "terraform"), "terraform passed T");
    let calls = world.calls();
    assert!(
        calls.contains(&"terraform -chdir=target/terraform/test/fleet test -no-color".to_owned())
    );
    assert!(calls.contains(&"tflint --chdir=terraform/fleet --config=../.tflint.hcl".to_owned()));
}

#[test]
fn terraform_is_skipped_where_no_registry_answers() {
    let world = with_terraform("echo 'could not connect to registry.terraform.io' >&2; exit 1");
    let done = world.xtask(&["test", "--lane", "terraform"]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(
        row(&stdout(&done), "terraform"),
        "terraform skipped - the provider hashicorp/google cannot be had: its registry does not answer"
    );
    let done = world.xtask(&["test", "--lane", "terraform", "--require", "terraform"]);
    assert_eq!(done.status.code(), Some(1));
}

#[test]
fn terraform_fails_where_init_fails_otherwise() {
    let world = with_terraform("echo 'no available releases match' >&2; exit 1");
    let done = world.xtask(&["test", "--lane", "terraform"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(row(&stdout(&done), "terraform").contains("init -no-color"));
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
    let done = world.xtask(&["test", "--dry-run", "--lane", "rust", "--lane", "nix"]);
    let mut nix = evaluations();
    nix.push(list(CHECKS));
    nix.push(build(&format!("{CHECKS}.NAME")));
    let nix = nix.join("\n").replace(
        "builtins.mapAttrs (_: output: output.drvPath)",
        "'builtins.mapAttrs (_: output: output.drvPath)'",
    );
    let nix = nix.replace(
        FEATURES,
        "--extra-experimental-features 'nix-command flakes'",
    );
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
