//! Projects, by Resource Manager v1 under `/crm/`: every id that is named exists.

use crate::error::{ApiError, Result};
use crate::http::{Call, Reply, json};
use crate::iam::{self, project_policy_key};
use serde_json::{Value, json};

/// A project's number: 12 digits, the same for the same id in every run (FNV-1a).
pub fn number(project: &str) -> String {
    let hash = project
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    (100_000_000_000 + hash % 900_000_000_000).to_string()
}

/// `/crm/v1/projects/NAME`, where NAME may end with `:getIamPolicy` or `:setIamPolicy`.
pub async fn call(call: &mut Call, name: &str) -> Result<Reply> {
    let (project, verb) = name.split_once(':').unwrap_or((name, ""));
    let body = call.json().await?;
    let caller = call.caller()?;
    let mut store = call.world.store();
    let require = |store: &_, permission: &str| {
        iam::require(
            store,
            caller,
            permission,
            project,
            None,
            &format!("the project '{project}'"),
        )
    };
    let policy = store
        .get(&project_policy_key(project))
        .cloned()
        .unwrap_or_else(iam::empty_policy);
    match (call.method.as_str(), verb) {
        ("GET", "") => {
            require(&store, "resourcemanager.projects.get")?;
            Ok(json(&json!({
                "projectId": project,
                "projectNumber": number(project),
                "name": project,
                "lifecycleState": "ACTIVE",
                "createTime": "2026-01-01T00:00:00.000Z",
            })))
        }
        ("POST", "getIamPolicy") => {
            require(&store, "resourcemanager.projects.getIamPolicy")?;
            Ok(json(&policy))
        }
        ("POST", "setIamPolicy") => {
            require(&store, "resourcemanager.projects.setIamPolicy")?;
            let new = body.get("policy").cloned().unwrap_or(Value::Null);
            let stale = ApiError::new(
                409,
                "aborted",
                "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff.",
            );
            Ok(json(&iam::replace_policy(
                &mut store,
                &project_policy_key(project),
                &policy,
                new,
                stale,
            )?))
        }
        _ => Err(ApiError::not_found("No such call on a project.")),
    }
}
