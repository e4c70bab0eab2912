//! The bench of many machines, on few.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use serde_json::Value;
use std::process::Command;

/// The bench fails by itself if `deploy` names others than those whose failure was planted, or goes on beyond its limit.
#[test]
fn a_rollout_names_exactly_the_planted_failures_and_stops_at_its_limit() {
    let done = Command::new(env!("CARGO_BIN_EXE_scale"))
        .args([
            "60",
            "--rollout",
            "--failing",
            "20",
            "--pace",
            "600",
            "--json",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let result: Value = serde_json::from_slice(&done.stdout).unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    assert!(number(&result["failing_planted"]) >= 3, "{result}");
    assert_eq!(result["failing_named"], result["failing_planted"]);
    let limited = &result["limited"];
    assert!(number(&limited["failing_named"]) > number(&limited["max_failures"]));
    assert!(number(&limited["left_out"]) > 0, "{result}");
}
