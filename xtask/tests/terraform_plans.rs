//! What terraform plans against a state, which `terraform test` cannot be asked: an error that no check of the
//! configuration raised ends such a test, and a made-up provider drifts no state.
//!
//! Run by `cargo xtask test --lane terraform`.

mod support;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::{Value, json};
use support::{root, stderr, stdout};
use tempfile::TempDir;

const SUBNETWORK: &str = "https://www.googleapis.com/compute/v1/projects/acme-data-science/regions/europe-west4/subnetworks/workspaces";

const NEEDS: &str = "tofu or terraform, and its provider";

/// A root whose state holds one resource with these attributes.
struct State {
    dir: TempDir,
    name: &'static str,
}

impl State {
    fn new(name: &'static str, kind: &str, resource: &str, key: &str, attributes: &Value) -> Self {
        let state = Self {
            dir: tempfile::tempdir().unwrap(),
            name,
        };
        let from = root().join("terraform");
        let done = Command::new("cp")
            .arg("-R")
            .arg(from)
            .arg(state.dir.path())
            .status();
        assert!(done.unwrap().success());
        let local = "terraform {\n  backend \"local\" {}\n}\n";
        fs::write(state.folder().join("backend_override.tf"), local).unwrap();
        let done = state.terraform(&["init", "-input=false"]);
        assert!(done.status.success(), "needs {NEEDS}: {}", stderr(&done));
        // tofu's registry is another one.
        let lock = fs::read_to_string(state.folder().join(".terraform.lock.hcl")).unwrap();
        let provider = lock
            .lines()
            .find_map(|line| line.strip_prefix("provider \"")?.strip_suffix("\" {"))
            .unwrap();
        let file = json!({
            "version": 4, "terraform_version": "1.9.0", "serial": 1, "lineage": "made-up", "outputs": {},
            "resources": [{
                "mode": "managed", "type": kind, "name": resource, "provider": format!("provider[\"{provider}\"]"),
                "instances": [{ "index_key": key, "schema_version": 0, "attributes": attributes }],
            }],
        });
        fs::write(state.folder().join("terraform.tfstate"), file.to_string()).unwrap();
        state
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("terraform").join(self.name)
    }

    fn terraform(&self, arguments: &[&str]) -> Output {
        let program = if which("tofu") { "tofu" } else { "terraform" };
        let mut command = Command::new(program);
        // A plan without a refresh asks no API; the provider wants a token all the same.
        command
            .env("GOOGLE_OAUTH_ACCESS_TOKEN", "none")
            .env("TF_IN_AUTOMATION", "1");
        command
            .args(arguments)
            .current_dir(self.folder())
            .output()
            .unwrap()
    }

    fn plan(&self, variables: &Value) -> Output {
        fs::write(
            self.folder().join("made-up.auto.tfvars.json"),
            variables.to_string(),
        )
        .unwrap();
        self.terraform(&[
            "plan",
            "-refresh=false",
            "-input=false",
            "-no-color",
            "-out=plan",
        ])
    }

    /// What the plan does to the resource in the state.
    fn change(&self, address: &str) -> Value {
        let plan: Value =
            serde_json::from_str(&stdout(&self.terraform(&["show", "-json", "plan"]))).unwrap();
        let changes = plan["resource_changes"].as_array().unwrap();
        let change = changes.iter().find(|change| change["address"] == address);
        change.unwrap()["change"].clone()
    }
}

fn which(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn home_of_bob() -> State {
    let disk = json!({
        "id": "projects/acme-data-science/zones/europe-west4-a/disks/home-bob", "project": "acme-data-science",
        "name": "home-bob", "zone": "europe-west4-a", "size": 300, "type": "pd-balanced",
    });
    State::new("homes", "google_compute_disk", "homes", "bob", &disk)
}

/// A fleet that bob has left, and the homes that are passed in.
fn homes(existing: Value) -> Value {
    json!({
        "fleet": {
            "google": { "project": "acme-data-science", "region": "europe-west4", "zones": ["europe-west4-a"] },
            "workspaces": {},
        },
        "existing_homes": existing,
    })
}

fn is_refused(done: &Output) {
    assert!(!done.status.success(), "{}", stdout(done));
    let text = stderr(done);
    assert!(text.contains("Instance cannot be destroyed"), "{text}");
    assert!(
        text.contains(r#"google_compute_disk.homes["bob"]"#),
        "{text}"
    );
}

#[test]
#[ignore = "needs terraform and its provider: cargo xtask test --lane terraform"]
fn a_home_that_was_forgotten_is_not_deleted() {
    is_refused(&home_of_bob().plan(&homes(json!({}))));
}

#[test]
#[ignore = "needs terraform and its provider: cargo xtask test --lane terraform"]
fn a_home_is_not_replaced() {
    for (key, value) in [
        ("zone", json!("europe-west4-b")),
        ("size_gb", json!(100)),
        ("type", json!("hyperdisk-balanced")),
    ] {
        let mut bob = json!({ "zone": "europe-west4-a", "size_gb": 300, "type": "pd-balanced", "owner": "bob@acme.example" });
        bob[key] = value;
        is_refused(&home_of_bob().plan(&homes(json!({ "bob": bob }))));
    }
}

#[test]
#[ignore = "needs terraform and its provider: cargo xtask test --lane terraform"]
fn a_retired_home_is_kept_in_place() {
    let state = home_of_bob();
    let bob = json!({ "zone": "europe-west4-a", "size_gb": 300, "type": "pd-balanced", "owner": "bob@acme.example" });
    let done = state.plan(&homes(json!({ "bob": bob })));
    assert!(done.status.success(), "{}", stderr(&done));
    let change = state.change(r#"google_compute_disk.homes["bob"]"#);
    assert_eq!(
        change["actions"],
        json!(["update"]),
        "only its labels change"
    );
    assert_eq!(change["after"]["deletion_policy"], "PREVENT");
}

#[test]
#[ignore = "needs terraform and its provider: cargo xtask test --lane terraform"]
fn what_others_write_on_a_machine_stays() {
    let machine = json!({
        "id": "projects/acme-data-science/zones/europe-west4-a/instances/alice", "project": "acme-data-science",
        "name": "alice", "zone": "europe-west4-a", "machine_type": "n2-standard-8",
        "metadata": { "workspace-system": "/nix/store/a", "left-over": "x" },
        "boot_disk": [{
            "auto_delete": true, "device_name": "boot", "mode": "READ_WRITE",
            "initialize_params": [{
                "image": "an-older-image", "size": 50, "type": "pd-balanced", "labels": { "workspace": "alice" },
            }],
        }],
        "attached_disk": [{
            "device_name": "home", "mode": "READ_WRITE",
            "source": "projects/acme-data-science/zones/europe-west4-a/disks/home-alice",
        }],
        "network_interface": [{ "nic_type": "GVNIC", "subnetwork": SUBNETWORK }],
        "service_account": [{ "email": "workspace-alice@acme-data-science.iam.gserviceaccount.com", "scopes": ["https://www.googleapis.com/auth/cloud-platform"] }],
        "desired_status": null, "current_status": "TERMINATED",
    });
    let state = State::new(
        "fleet",
        "google_compute_instance",
        "workspaces",
        "alice",
        &machine,
    );
    let done = state.plan(&json!({
        "fleet": {
            "google": { "project": "acme-data-science", "region": "europe-west4" },
            "access": { "exposure": "private", "login": null },
            "workspaces": { "alice": {
                "owner": "alice@acme.example", "domain": null, "image": "base", "machine_type": "n2-standard-8",
                "gpu": null, "boot_disk_gb": 50,
            } },
        },
        "images": { "alice": "projects/acme-data-science/global/images/base-2" },
        "homes": { "alice": {
            "id": "projects/acme-data-science/zones/europe-west4-a/disks/home-alice", "zone": "europe-west4-a",
            "type": "pd-balanced",
        } },
        "network": {
            "subnetwork": SUBNETWORK,
            "tags": { "workspace": "workspace", "public": "workspace-public", "private": "workspace-private" },
        },
        "buckets": { "cache": "acme-cache" },
    }));
    assert!(done.status.success(), "{}", stderr(&done));
    let change = state.change(r#"google_compute_instance.workspaces["alice"]"#);
    assert_eq!(change["actions"], json!(["update"]));
    let after = &change["after"];
    assert_eq!(after["metadata"]["workspace-system"], "/nix/store/a");
    assert_eq!(
        after["metadata"]["left-over"],
        Value::Null,
        "the rest of the metadata is terraform's"
    );
    assert_eq!(
        after["boot_disk"][0]["initialize_params"][0]["image"],
        "an-older-image"
    );
    assert_eq!(
        after["desired_status"],
        Value::Null,
        "a stopped machine is not started"
    );
}
