//! IAM: service accounts and a project's own roles.
//! <https://cloud.google.com/iam/docs/reference/rest>
//!
//! Keys: `iam/projects/P/serviceAccounts/EMAIL`, `iam/projects/P/roles/ID`.

use crate::error::{ApiError, Result};
use crate::http::{Call, Reply, json, update};
use crate::iam::{self, Guarded};
use crate::store::Store;
use serde_json::{Map, Value, json};

/// The key of a role that is named `projects/P/roles/ID`.
pub fn role_key(name: &str) -> String {
    format!("iam/{name}")
}

/// Whether a service account exists. Those of Google and of other projects do.
pub fn exists(store: &Store, project: &str, email: &str) -> bool {
    !email.ends_with(&format!("@{project}.iam.gserviceaccount.com"))
        || store.get(&account_key(project, email)).is_some()
}

/// Refuses a caller who may not attach a service account of the project to a machine.
pub fn may_act_as(store: &Store, call: &Call, project: &str, email: &str) -> Result<()> {
    let guarded = Guarded {
        project,
        key: format!("iam/policies/{project}/{email}"),
        permissions: "iam.serviceAccounts",
        name: email,
    };
    guarded.require(store, call, "actAs").map_err(|_| {
        ApiError::new(
            400,
            "SERVICE_ACCOUNT_ACCESS_DENIED",
            format!("The user does not have access to service account '{email}'. Ask a project owner to grant you the iam.serviceAccountUser role on the service account."),
        )
    })
}

fn account_key(project: &str, email: &str) -> String {
    format!("iam/projects/{project}/serviceAccounts/{email}")
}

/// Everything below `/iam/v1/`.
pub async fn call(call: &mut Call, path: &[&str]) -> Result<Reply> {
    let body = call.json().await?;
    match path {
        ["projects", project, "serviceAccounts", rest @ ..] => accounts(call, project, rest, body),
        ["projects", project, "roles", rest @ ..] => roles(call, project, rest, body),
        _ => Err(ApiError::not_found("No such call on IAM.")),
    }
}

fn accounts(call: &Call, project: &str, path: &[&str], body: Map<String, Value>) -> Result<Reply> {
    let mut store = call.world.store();
    let (named, verb) = match path {
        [] => ("", ""),
        [last] => last.split_once(':').unwrap_or((last, "")),
        _ => return Err(ApiError::not_found("No such call on a service account.")),
    };
    let wildcard = || Some(named.split_once('@')?.1.split('.').next()?.to_owned());
    let project = match project {
        "-" => wildcard().unwrap_or_default(),
        project => project.to_owned(),
    };
    // By email or by unique id.
    let prefix = account_key(&project, "");
    let email = store
        .scan(&prefix, "")
        .find(|(_, account)| account["uniqueId"] == named)
        .map_or(named.to_owned(), |(key, _)| key[prefix.len()..].to_owned());
    let name = format!("projects/{project}/serviceAccounts/{email}");
    let key = account_key(&project, &email);
    let guarded = Guarded {
        project: &project,
        key: format!("iam/policies/{project}/{email}"),
        permissions: "iam.serviceAccounts",
        name: &name,
    };
    if path.is_empty() {
        return match call.method.as_str() {
            "GET" => {
                guarded.require(&store, call, "list")?;
                let all: Vec<&Value> = store.scan(&prefix, "").map(|(_, value)| value).collect();
                Ok(json(&json!({"accounts": all})))
            }
            "POST" => {
                guarded.require(&store, call, "create")?;
                create_account(&mut store, &project, body).map(|account| json(&account))
            }
            _ => Err(ApiError::not_found("No such call on service accounts.")),
        };
    }
    let missing = || ApiError::not_found(format!("Unknown service account: {email}"));
    let mut account = store.get(&key).cloned().ok_or_else(missing)?;
    match (call.method.as_str(), verb) {
        ("GET", "") => {
            guarded.require(&store, call, "get")?;
            Ok(json(&account))
        }
        ("DELETE", "") => {
            guarded.require(&store, call, "delete")?;
            store.remove(&key)?;
            store.remove(&guarded.key)?;
            Ok(json(&json!({})))
        }
        ("PATCH", "") => {
            guarded.require(&store, call, "update")?;
            let new = body.get("serviceAccount").and_then(Value::as_object);
            let mask = body.get("updateMask").and_then(Value::as_str);
            let fields = ["displayName", "description"];
            update(
                &mut account,
                new.unwrap_or(&Map::new()),
                mask.unwrap_or_default(),
                &fields,
            )?;
            store.put(&key, account.clone())?;
            Ok(json(&account))
        }
        ("POST", "enable" | "disable") => {
            guarded.require(&store, call, verb)?;
            account["disabled"] = (verb == "disable").into();
            store.put(&key, account)?;
            Ok(json(&json!({})))
        }
        ("POST", _) => guarded.call(&mut store, call, verb, body),
        _ => Err(ApiError::not_found("No such call on a service account.")),
    }
}

fn create_account(store: &mut Store, project: &str, mut body: Map<String, Value>) -> Result<Value> {
    let id = body
        .get("accountId")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(6..=30).contains(&id.len())
        || !id.bytes().all(valid)
        || !id.starts_with(|first: char| first.is_ascii_lowercase())
        || id.ends_with('-')
    {
        return Err(ApiError::invalid(format!(
            "The account ID \"{id}\" does not have a length between 6 and 30, or is no match of [a-z]([-a-z0-9]*[a-z0-9])."
        )));
    }
    let email = format!("{id}@{project}.iam.gserviceaccount.com");
    let name = format!("projects/{project}/serviceAccounts/{email}");
    if store.get(&account_key(project, &email)).is_some() {
        return Err(ApiError::new(
            409,
            "alreadyExists",
            format!("Service account {id} already exists within project {name}."),
        ));
    }
    let mut account = json!({
        "name": name,
        "projectId": project,
        "uniqueId": store.next_id(),
        "email": email,
        "etag": iam::etag(1),
        "oauth2ClientId": store.next_id(),
    });
    let given = body.remove("serviceAccount").unwrap_or_default();
    for field in ["displayName", "description"] {
        if let Some(text) = given[field].as_str().filter(|text| !text.is_empty()) {
            account[field] = text.into();
        }
    }
    store.put(&account_key(project, &email), account.clone())?;
    Ok(account)
}

fn roles(call: &Call, project: &str, path: &[&str], body: Map<String, Value>) -> Result<Reply> {
    let mut store = call.world.store();
    let (id, verb) = match path {
        [] => (
            body.get("roleId")
                .and_then(Value::as_str)
                .unwrap_or_default(),
            "",
        ),
        [last] => last.split_once(':').unwrap_or((last, "")),
        _ => return Err(ApiError::not_found("No such call on a role.")),
    };
    let name = format!("projects/{project}/roles/{id}");
    let key = role_key(&name);
    let guarded = Guarded {
        project,
        key: iam::project_policy_key(project),
        permissions: "iam.roles",
        name: &name,
    };
    let found = store.get(&key).cloned();
    let missing = || {
        ApiError::not_found(format!(
            "You don't have permission to get the role at {name}, or it does not exist."
        ))
    };
    let role = match (call.method.as_str(), path, verb) {
        ("GET", [], _) => {
            guarded.require(&store, call, "list")?;
            let prefix = role_key(&format!("projects/{project}/roles/"));
            let all: Vec<&Value> = store.scan(&prefix, "").map(|(_, value)| value).collect();
            return Ok(json(&json!({"roles": all})));
        }
        ("GET", _, "") => {
            guarded.require(&store, call, "get")?;
            return found.map(|role| json(&role)).ok_or_else(missing);
        }
        ("POST", [], _) => {
            guarded.require(&store, call, "create")?;
            // The name of a deleted role stays taken for weeks.
            if found.is_some() {
                return Err(ApiError::new(
                    409,
                    "alreadyExists",
                    format!("A role named {id} in projects/{project} already exists."),
                ));
            }
            let mut role = body.get("role").cloned().unwrap_or_else(|| json!({}));
            role["name"] = name.as_str().into();
            role
        }
        ("PATCH", _, "") => {
            guarded.require(&store, call, "update")?;
            let mut role = found.ok_or_else(missing)?;
            let fields = ["title", "description", "includedPermissions", "stage"];
            let mask = call.query.get("updateMask").unwrap_or_default();
            update(&mut role, &body, mask, &fields)?;
            role
        }
        ("DELETE", _, "") => {
            guarded.require(&store, call, "delete")?;
            let mut role = found.ok_or_else(missing)?;
            role["deleted"] = true.into();
            role
        }
        ("POST", _, "undelete") => {
            guarded.require(&store, call, "undelete")?;
            let mut role = found.ok_or_else(missing)?;
            role.as_object_mut().map(|fields| fields.remove("deleted"));
            role
        }
        _ => return Err(ApiError::not_found("No such call on a role.")),
    };
    let mut role = role;
    role["etag"] = iam::etag(store.next()).into();
    store.put(&key, role.clone())?;
    Ok(json(&role))
}
