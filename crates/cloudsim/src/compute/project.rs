//! Compute Engine's side of a project: its metadata and its quotas.

use super::operations::{self, Ending};
use super::{LINKS, catalog, labels};
use crate::error::{ApiError, Result};
use crate::http::{Call, Reply, json, public};
use crate::iam;
use crate::store::Store;
use serde_json::{Value, json};

fn key(project: &str) -> String {
    format!("compute-metadata/{project}")
}

fn require(store: &Store, call: &Call, project: &str, action: &str) -> Result<()> {
    let resource = format!("'projects/{project}'");
    let permission = format!("compute.projects.{action}");
    iam::require(store, call.caller()?, &permission, project, None, &resource)
}

/// What a project's machines have in common.
pub fn metadata(store: &Store, project: &str) -> Value {
    store.get(&key(project)).map_or_else(
        || {
            let print = labels::fingerprint(&json!({}));
            json!({"kind": "compute#metadata", "fingerprint": print})
        },
        public,
    )
}

fn resource(store: &Store, call: &Call, project: &str) -> Value {
    let number = crate::project::number(project);
    json!({
        "kind": "compute#project",
        "id": number,
        "name": project,
        "selfLink": format!("{LINKS}projects/{project}"),
        "defaultServiceAccount": format!("{number}-compute@developer.gserviceaccount.com"),
        "commonInstanceMetadata": metadata(store, project),
        "quotas": catalog::quotas(store, call, project, None),
    })
}

pub fn get(call: &Call, project: &str) -> Result<Reply> {
    let store = call.world.store();
    require(&store, call, project, "get")?;
    Ok(json(&resource(&store, call, project)))
}

/// `setCommonInstanceMetadata`: all of it at once, by someone who has seen what is there.
pub async fn set_metadata(call: &mut Call, project: &str) -> Result<Reply> {
    let mut new = Value::Object(call.json().await?);
    let mut store = call.world.store();
    require(&store, call, project, "setCommonInstanceMetadata")?;
    if let Some(operation) = operations::replay(&store, call, project)? {
        return Ok(json(&operation));
    }
    let old = metadata(&store, project);
    if new["fingerprint"] != old["fingerprint"] {
        return Err(ApiError::precondition_because(
            "Supplied fingerprint does not match current metadata fingerprint.",
        ));
    }
    new["kind"] = "compute#metadata".into();
    new["fingerprint"] = labels::fingerprint(&new["items"]).into();
    store.put(&key(project), old)?;
    let ending = Ending {
        success: vec![(key(project), new)],
        failure: Vec::new(),
        error: call.operation_error.clone(),
    };
    let target = resource(&store, call, project);
    let verb = "setMetadata";
    let operation = operations::start(&mut store, call, project, "global", verb, &target, ending)?;
    Ok(json(&public(&operation)))
}
