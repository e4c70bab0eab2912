//! IAM decides: what a machine's token and a deployer's token may do.

mod common;

use common::{Client, good, start, wait};
use serde_json::{Value, json};

const PROJECT: &str = "/compute/v1/projects/demo";
const ZONE: &str = "/compute/v1/projects/demo/zones/europe-west4-a";
const ALICE: &str = "serviceAccount:alice@demo.iam.gserviceaccount.com";

/// Adds a binding to the policy of a resource that `verb` is called on.
fn grant(client: &Client, resource: &str, verb: &str, binding: Value) {
    let mut policy = client
        .post(&format!("{resource}{verb}getIamPolicy"), &json!({}))
        .json();
    let mut bindings = policy["bindings"].as_array().cloned().unwrap_or_default();
    bindings.push(binding);
    policy["bindings"] = bindings.into();
    policy["version"] = 3.into();
    let set = client.post(
        &format!("{resource}{verb}setIamPolicy"),
        &json!({"policy": policy}),
    );
    assert_eq!(set.status, 200, "{}", set.message());
}

fn machine(name: &str) -> Value {
    json!({
        "name": name, "machineType": "zones/europe-west4-a/machineTypes/n2-standard-4",
        "disks": [{"boot": true, "autoDelete": true, "initializeParams": {"sourceImage": "global/images/base-1"}}],
        "networkInterfaces": [{"network": "global/networks/default"}],
        "serviceAccounts": [{"email": "machine-alice@demo.iam.gserviceaccount.com"}],
    })
}

fn furnish(client: &Client) {
    client.make_bucket("demo-images");
    client.put_object("demo-images", "base.tar.gz", &good(10));
    let image = json!({"name": "base-1", "rawDisk": {"source": "gs://demo-images/base.tar.gz"}});
    wait(
        client,
        &client.post(&format!("{PROJECT}/global/images"), &image),
    );
    wait(
        client,
        &client.post(
            &format!("{PROJECT}/global/networks"),
            &json!({"name": "default"}),
        ),
    );
    let account = json!({"accountId": "machine-alice"});
    assert_eq!(
        client
            .post("/iam/v1/projects/demo/serviceAccounts", &account)
            .status,
        200
    );
    wait(
        client,
        &client.post(&format!("{ZONE}/instances"), &machine("alice")),
    );
}

#[test]
fn a_machines_token_changes_no_machine_and_reads_neither_state_nor_images() {
    let (_sim, client) = start();
    furnish(&client);
    client.make_bucket("demo-state");
    client.put_object("demo-state", "default.tfstate", b"{}");
    for role in ["roles/logging.logWriter", "roles/monitoring.metricWriter"] {
        grant(
            &client,
            "/crm/v1/projects/demo",
            ":",
            json!({"role": role, "members": [ALICE]}),
        );
    }
    let token = client.with_token(ALICE);
    let metadata = client.get(&format!("{ZONE}/instances/alice")).json()["metadata"].clone();
    for refused in [
        token.get("/storage/v1/b/demo-state/o/default.tfstate?alt=media"),
        token.get("/demo-state/default.tfstate"),
        token.get("/storage/v1/b/demo-images/o"),
        token.post(&format!("{ZONE}/instances/alice/setMetadata"), &metadata),
        token.post(&format!("{ZONE}/instances/alice/stop"), &json!({})),
        token.delete(&format!("{ZONE}/instances/alice")),
        token.get(&format!("{ZONE}/instances/alice/serialPort")),
        token.post("/crm/v1/projects/demo:setIamPolicy", &json!({"policy": {}})),
        token.post(
            "/iam/v1/projects/demo/serviceAccounts",
            &json!({"accountId": "another"}),
        ),
        token.post(
            "/serviceusage/v1/projects/demo/services/iap.googleapis.com:enable",
            &json!({}),
        ),
    ] {
        assert_eq!(
            refused.status,
            403,
            "{}",
            String::from_utf8_lossy(&refused.body)
        );
    }
}

#[test]
fn a_role_on_one_machine_is_no_role_on_another() {
    let (_sim, client) = start();
    furnish(&client);
    wait(
        &client,
        &client.post(&format!("{ZONE}/instances"), &machine("bob")),
    );
    let role = json!({"roleId": "restarter", "role": {"includedPermissions": ["compute.instances.reset"]}});
    assert_eq!(
        client.post("/iam/v1/projects/demo/roles", &role).status,
        200
    );
    let binding = json!({"role": "projects/demo/roles/restarter", "members": [ALICE]});
    // The read is a GET in this API.
    let path = format!("{ZONE}/instances/alice");
    let mut policy = client.get(&format!("{path}/getIamPolicy")).json();
    policy["bindings"] = json!([binding]);
    assert_eq!(
        client
            .post(&format!("{path}/setIamPolicy"), &json!({"policy": policy}))
            .status,
        200
    );
    let token = client.with_token(ALICE);
    assert_eq!(token.post(&format!("{path}/reset"), &json!({})).status, 200);
    assert_eq!(
        token
            .post(&format!("{ZONE}/instances/bob/reset"), &json!({}))
            .status,
        403
    );
    assert_eq!(token.post(&format!("{path}/stop"), &json!({})).status, 403);
    client.delete("/iam/v1/projects/demo/roles/restarter");
    assert_eq!(
        token.post(&format!("{path}/reset"), &json!({})).status,
        403,
        "the role is deleted"
    );
}

#[test]
fn who_may_make_machines_may_not_act_as_every_account() {
    let (_sim, client) = start();
    furnish(&client);
    let ops = "user:ops@example.com";
    let binding = json!({"role": "roles/compute.instanceAdmin.v1", "members": [ops]});
    grant(&client, "/crm/v1/projects/demo", ":", binding);
    let deployer = client.with_token(ops);
    let refused = deployer.post(&format!("{ZONE}/instances"), &machine("bob"));
    assert_eq!(
        (refused.status, &*refused.reason()),
        (400, "SERVICE_ACCOUNT_ACCESS_DENIED")
    );
    let account =
        "/iam/v1/projects/demo/serviceAccounts/machine-alice@demo.iam.gserviceaccount.com";
    grant(
        &client,
        account,
        ":",
        json!({"role": "roles/iam.serviceAccountUser", "members": [ops]}),
    );
    assert_eq!(
        deployer
            .post(&format!("{ZONE}/instances"), &machine("bob"))
            .status,
        200
    );
    let mut unknown = machine("carol");
    unknown["serviceAccounts"][0]["email"] = "nobody-1@demo.iam.gserviceaccount.com".into();
    assert_eq!(
        client.post(&format!("{ZONE}/instances"), &unknown).status,
        404
    );
}

#[test]
fn a_limited_administrator_grants_the_listed_roles_and_no_other() {
    let (_sim, client) = start();
    let ops = "user:ops@example.com";
    let expression = "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly(['roles/logging.logWriter'])";
    grant(
        &client,
        "/crm/v1/projects/demo",
        ":",
        json!({
            "role": "roles/resourcemanager.projectIamAdmin", "members": [ops],
            "condition": {"title": "only logs", "expression": expression},
        }),
    );
    let deployer = client.with_token(ops);
    let read = || {
        client
            .post("/crm/v1/projects/demo:getIamPolicy", &json!({}))
            .json()
    };
    let grant = |roles: &[&str]| {
        let mut policy = read();
        let bindings = policy["bindings"].as_array_mut().unwrap();
        bindings.extend(
            roles
                .iter()
                .map(|role| json!({"role": role, "members": [ops]})),
        );
        let body = json!({"policy": policy});
        let set = deployer.post("/crm/v1/projects/demo:setIamPolicy", &body);
        set.status
    };
    assert_eq!(grant(&["roles/owner"]), 403);
    assert_eq!(grant(&["roles/owner", "roles/logging.logWriter"]), 403);
    assert_eq!(grant(&["roles/logging.logWriter"]), 200);
    assert!(!read().to_string().contains("roles/owner"));
}

#[test]
fn a_conditional_binding_needs_version_3_of_the_policy() {
    let (_sim, client) = start();
    let binding = json!({
        "role": "roles/viewer", "members": ["user:a@example.com"],
        "condition": {"title": "never", "expression": "false"},
    });
    let set = |version: u64| {
        let policy = json!({"version": version, "bindings": [binding]});
        client
            .post(
                "/crm/v1/projects/demo:setIamPolicy",
                &json!({"policy": policy}),
            )
            .status
    };
    assert_eq!(set(1), 400);
    assert_eq!(set(3), 200);
}

#[test]
fn the_tunnel_to_a_machine_has_a_policy_of_its_own() {
    let (_sim, client) = start();
    let tunnel = "/iap/v1/projects/demo/iap_tunnel/zones/europe-west4-a/instances/alice";
    let member = "user:alice@example.com";
    let role = json!({"role": "roles/iap.tunnelResourceAccessor", "members": [member]});
    grant(&client, tunnel, ":", role);
    let ask = |name: &str| {
        let asked = json!({"permissions": ["iap.tunnelInstances.accessViaIAP"]});
        let path = tunnel.replace("alice", name);
        client
            .with_token(member)
            .post(&format!("{path}:testIamPermissions"), &asked)
            .json()
    };
    assert_eq!(
        ask("alice")["permissions"][0],
        "iap.tunnelInstances.accessViaIAP"
    );
    assert_eq!(ask("bob"), json!({}));
}
