//! Projects, by Resource Manager v1 and v3 under `/crm/`: every id that is named exists.

use crate::error::{ApiError, Result};
use crate::http::{Call, Reply, json};
use crate::iam::{Guarded, project_policy_key};
use crate::store::Store;
use serde_json::json;

/// A project's number: 12 digits, the same for the same id in every run (FNV-1a).
pub fn number(project: &str) -> String {
    let hash = project
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    (100_000_000_000 + hash % 900_000_000_000).to_string()
}

/// The id of a project that a path names by id or by number. A number is known once its id has been named.
pub fn id(store: &mut Store, named: &str) -> Result<String> {
    let key = |number: &str| format!("crm/numbers/{number}");
    if named.bytes().all(|byte| byte.is_ascii_digit()) {
        let known = store.get(&key(named)).and_then(|id| id.as_str());
        return Ok(known.unwrap_or(named).to_owned());
    }
    let key = key(&number(named));
    if store.get(&key).is_none() {
        store.put(&key, named.into())?;
    }
    Ok(named.to_owned())
}

/// `/crm/VERSION/projects/NAME`, where NAME may end with `:getIamPolicy` and its like.
pub async fn call(call: &mut Call, version: &str, name: &str) -> Result<Reply> {
    let (project, verb) = name.split_once(':').unwrap_or((name, ""));
    let body = call.json().await?;
    let mut store = call.world.store();
    let guarded = Guarded {
        project,
        key: project_policy_key(project),
        permissions: "resourcemanager.projects",
        name: &format!("projects/{project}"),
    };
    match (call.method.as_str(), verb) {
        ("GET", "") => {
            guarded.require(&store, call, "get")?;
            let number = number(project);
            let time = "2026-01-01T00:00:00.000Z";
            Ok(json(&if version == "v3" {
                json!({
                    "name": format!("projects/{number}"), "projectId": project, "displayName": project,
                    "state": "ACTIVE", "createTime": time,
                })
            } else {
                json!({
                    "projectId": project, "projectNumber": number, "name": project,
                    "lifecycleState": "ACTIVE", "createTime": time,
                })
            }))
        }
        ("POST", _) => guarded.call(&mut store, call, verb, body),
        _ => Err(ApiError::not_found("No such call on a project.")),
    }
}
