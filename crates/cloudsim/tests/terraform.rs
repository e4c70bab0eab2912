//! Terraform's google provider applies one of each kind of resource, changes some and removes them, and sees no
//! difference in between. Its state is in a bucket.

mod common;

use common::{good, start, wait};
use serde_json::json;
use std::path::Path;
use std::process::{Command, Output};

struct Terraform<'a> {
    folder: &'a Path,
    url: &'a str,
}

impl Terraform<'_> {
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("terraform");
        command
            .args(arguments)
            .current_dir(self.folder)
            .env("TF_IN_AUTOMATION", "1")
            .env("TF_INPUT", "0")
            .env("GOOGLE_OAUTH_ACCESS_TOKEN", "deployer");
        for (service, path) in [
            ("COMPUTE", "compute/v1"),
            ("IAM_BETA", "iam/v1"),
            ("IAP", "iap/v1"),
            ("RESOURCE_MANAGER", "crm/v1"),
            ("SECRET_MANAGER", "secretmanager/v1"),
            ("SERVICE_MANAGEMENT", "servicemanagement/v1"),
            ("SERVICE_USAGE", "serviceusage/v1"),
            ("STORAGE", "storage/v1"),
        ] {
            command.env(
                format!("GOOGLE_{service}_CUSTOM_ENDPOINT"),
                format!("{}/{path}/", self.url),
            );
        }
        command.output().unwrap()
    }

    fn must(&self, arguments: &[&str]) {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "terraform {arguments:?}: {}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn terraform_applies_changes_and_destroys_one_of_each_kind() {
    if Command::new("terraform").arg("version").output().is_err() {
        eprintln!("skipped: there is no terraform on PATH");
        return;
    }
    let (sim, client) = start();
    client.make_bucket("demo-project-state");
    client.make_bucket("demo-project-images");
    client.put_object("demo-project-images", "base.tar.gz", &good(20));
    let global = "/compute/v1/projects/demo-project/global";
    let image =
        json!({"name": "base-1", "rawDisk": {"source": "gs://demo-project-images/base.tar.gz"}});
    wait(&client, &client.post(&format!("{global}/images"), &image));

    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terraform/main.tf");
    std::fs::copy(source, folder.path().join("main.tf")).unwrap();
    let terraform = Terraform {
        folder: folder.path(),
        url: &sim.url(),
    };
    let init = terraform.run(&["init", "-no-color"]);
    let complaint = String::from_utf8_lossy(&init.stderr);
    if complaint.contains("Failed to query available provider packages") {
        eprintln!("skipped: terraform cannot get the provider hashicorp/google");
        return;
    }
    assert!(init.status.success(), "{complaint}");
    let steps = [("n2-standard-4", "100"), ("g2-standard-8", "150")];
    for (machine_type, size_gb) in steps {
        let machine = format!("-var=machine_type={machine_type}");
        let size = format!("-var=size_gb={size_gb}");
        terraform.must(&["apply", "-no-color", "-auto-approve", &machine, &size]);
        sim.clear_log();
        // Exit status 2 would be a difference.
        terraform.must(&["plan", "-no-color", "-detailed-exitcode", &machine, &size]);
        let writes: Vec<_> = sim.log().into_iter().filter(|call| call.mutates).collect();
        // A plan takes the lock of the state and gives it back.
        assert!(
            writes
                .iter()
                .all(|call| format!("{}{}", call.path, call.query).contains("tflock")),
            "{writes:?}"
        );
    }
    let zone = "/compute/v1/projects/demo-project/zones/europe-west4-a";
    let alice = client.get(&format!("{zone}/instances/alice")).json();
    assert_eq!(alice["status"], "RUNNING");
    assert!(
        alice["machineType"]
            .as_str()
            .unwrap()
            .ends_with("/g2-standard-8")
    );
    let home = client.get(&format!("{zone}/disks/alice-home")).json();
    assert_eq!(home["sizeGb"], "150");
    assert_eq!(home["users"], json!([alice["selfLink"]]));

    let variables = ["-var=machine_type=g2-standard-8", "-var=size_gb=150"];
    terraform.must(&[
        "destroy",
        "-no-color",
        "-auto-approve",
        variables[0],
        variables[1],
    ]);
    let state = client.get("/_sim/state").json();
    let records = state["records"].as_object().unwrap().keys();
    let left: Vec<_> = records
        .filter(|key| key.starts_with("compute/") && !key.contains("/operations/"))
        .filter(|key| !key.starts_with("compute/requests/"))
        .collect();
    assert_eq!(left, ["compute/projects/demo-project/global/images/base-1"]);
}
