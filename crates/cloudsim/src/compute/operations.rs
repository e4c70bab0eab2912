//! Operations that take time: PENDING, RUNNING, DONE. Time is polls: each read of an operation, or of the resource it
//! is about, moves it one step, so that a run is the same each time.

use super::{LINKS, by_scope, page};
use crate::error::{ApiError, Result};
use crate::fault::OperationError;
use crate::http::{Call, Reply, empty, json, now, public};
use crate::iam;
use crate::store::{Effects, Store};
use serde_json::{Value, json};

/// What an operation does to the state when it is done.
pub struct Ending {
    pub success: Effects,
    pub failure: Effects,
    pub error: Option<OperationError>,
}

/// Who wants an operation.
pub struct By<'a> {
    /// An address, or `system`.
    pub user: &'a str,
    /// The caller's name for it, which counts once.
    pub request: Option<&'a str>,
}

/// Starts an operation on a resource, as a call wants it.
pub fn start(
    store: &mut Store,
    call: &Call,
    project: &str,
    scope: &str,
    verb: &str,
    target: &Value,
    ending: Ending,
) -> Result<Value> {
    let member = &call.caller()?.member;
    let by = By {
        user: member.split_once(':').map_or("", |(_, email)| email),
        request: request_id(call)?,
    };
    begin(store, &by, project, scope, verb, target, ending)
}

/// Starts an operation on a resource.
pub fn begin(
    store: &mut Store,
    by: &By,
    project: &str,
    scope: &str,
    verb: &str,
    target: &Value,
    ending: Ending,
) -> Result<Value> {
    let id = store.next_id();
    let name = format!("operation-{id}");
    let path = format!("projects/{project}/{scope}/operations/{name}");
    let key = format!("compute/{path}");
    let mut operation = json!({
        "kind": "compute#operation",
        "id": id,
        "name": name,
        "operationType": verb,
        "targetLink": target["selfLink"],
        "targetId": target["id"],
        "status": "PENDING",
        "progress": 0,
        "user": by.user,
        "insertTime": now(),
        "selfLink": format!("{LINKS}{path}"),
        "_key": key,
        // Steps before RUNNING and before DONE.
        "_steps": [store.random_below(2), 1 + store.random_below(2)],
        "_then": if ending.error.is_some() { ending.failure } else { ending.success },
        "_error": ending.error,
    });
    if let Some((places, name)) = scope.split_once('/') {
        operation[places.trim_end_matches('s')] =
            format!("{LINKS}projects/{project}/{places}/{name}").into();
    }
    if let Some(request) = by.request {
        operation["clientOperationId"] = request.into();
        store.put(&request_key(project, request), json!({"operation": key}))?;
    }
    store.put(&key, operation.clone())?;
    Ok(operation)
}

fn request_key(project: &str, request: &str) -> String {
    format!("compute/requests/{project}/{request}")
}

fn request_id(call: &Call) -> Result<Option<&str>> {
    let Some(id) = call.query.get("requestId").filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    let uuid = id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| {
            if [8, 13, 18, 23].contains(&at) {
                byte == b'-'
            } else {
                byte.is_ascii_hexdigit()
            }
        })
        && id != "00000000-0000-0000-0000-000000000000";
    if uuid {
        Ok(Some(id))
    } else {
        Err(ApiError::invalid(format!(
            "Invalid value for field 'requestId': '{id}'. Must be a UUID."
        )))
    }
}

/// The operation that an earlier call with the same request id started.
pub fn replay(store: &Store, call: &Call, project: &str) -> Result<Option<Value>> {
    let Some(request) = request_id(call)? else {
        return Ok(None);
    };
    let earlier = store
        .get(&request_key(project, request))
        .and_then(|record| record["operation"].as_str());
    Ok(earlier.and_then(|key| store.get(key)).map(public))
}

/// Moves an operation one step on.
pub fn step(store: &mut Store, key: &str) -> Result<()> {
    let Some(mut operation) = store.get(key).cloned() else {
        return Ok(());
    };
    let phase = match operation["status"].as_str() {
        Some("PENDING") => 0,
        Some("RUNNING") => 1,
        _ => return Ok(()),
    };
    let left = operation["_steps"][phase].as_u64().unwrap_or_default();
    if left > 0 {
        operation["_steps"][phase] = (left - 1).into();
    } else if phase == 0 {
        operation["status"] = "RUNNING".into();
        operation["startTime"] = now().into();
    } else {
        finish(store, &mut operation)?;
    }
    Ok(store.put(key, operation)?)
}

fn finish(store: &mut Store, operation: &mut Value) -> Result<()> {
    if operation.get("startTime").is_none() {
        operation["startTime"] = now().into();
    }
    operation["status"] = "DONE".into();
    operation["progress"] = 100.into();
    operation["endTime"] = now().into();
    let fields = operation
        .as_object_mut()
        .expect("an operation is an object");
    let then = fields
        .remove("_then")
        .and_then(|then| serde_json::from_value::<Effects>(then).ok());
    let error = fields.remove("_error").filter(|error| !error.is_null());
    fields.remove("_steps");
    if let Some(error) = error {
        let (status, message) = match error["code"].as_str() {
            Some("QUOTA_EXCEEDED") => (403, "FORBIDDEN"),
            Some(code) if code.starts_with("ZONE_RESOURCE_POOL_EXHAUSTED") => {
                (503, "SERVICE UNAVAILABLE")
            }
            _ => (400, "BAD REQUEST"),
        };
        operation["httpErrorStatusCode"] = status.into();
        operation["httpErrorMessage"] = message.into();
        operation["error"] = json!({"errors": [error]});
    }
    Ok(store.apply(then.unwrap_or_default())?)
}

/// Those of all zones and regions, and the global ones.
pub fn aggregated(call: &Call, project: &str) -> Result<Reply> {
    let mut store = call.world.store();
    let resource = format!("'projects/{project}'");
    let permission = "compute.globalOperations.list";
    iam::require(&store, call.caller()?, permission, project, None, &resource)?;
    let of_kind = |key: &str| key.rsplit('/').nth(1) == Some("operations");
    let prefix = format!("compute/projects/{project}/");
    let items = store
        .scan(&prefix, "")
        .filter(|(key, _)| of_kind(key))
        .map(|(key, value)| (key, public(value)));
    let reply = page(&call.query, items)?;
    for operation in reply["items"].as_array().into_iter().flatten() {
        let link = operation["selfLink"].as_str().unwrap_or_default();
        let path = link.trim_start_matches(LINKS);
        step(&mut store, &format!("compute/{path}"))?;
    }
    Ok(json(&by_scope(reply, "operations", "compute#operation")))
}

/// Everything below `…/operations`.
pub fn call(call: &Call, project: &str, scope: &str, path: &[&str]) -> Result<Reply> {
    let collection = format!("compute/projects/{project}/{scope}/operations/");
    let family = match scope.split('/').next() {
        Some("zones") => "zoneOperations",
        Some("regions") => "regionOperations",
        _ => "globalOperations",
    };
    let mut store = call.world.store();
    let action = match (call.method.as_str(), path) {
        ("GET", []) => "list",
        ("DELETE", [_]) => "delete",
        _ => "get",
    };
    let resource = format!("'projects/{project}/{scope}/operations'");
    iam::require(
        &store,
        call.caller()?,
        &format!("compute.{family}.{action}"),
        project,
        None,
        &resource,
    )?;
    match (call.method.as_str(), path) {
        ("GET", []) => {
            let items = store
                .scan(&collection, "")
                .map(|(key, value)| (key, public(value)));
            let mut reply = page(&call.query, items)?;
            // Shown as they were when the filter saw them; then they move.
            for operation in reply["items"].as_array().into_iter().flatten() {
                let name = operation["name"].as_str().unwrap_or_default();
                step(&mut store, &format!("{collection}{name}"))?;
            }
            reply["kind"] = "compute#operationList".into();
            Ok(json(&reply))
        }
        ("GET" | "POST" | "DELETE", [name, rest @ ..]) => {
            let key = format!("{collection}{name}");
            if store.get(&key).is_none() {
                return Err(ApiError::not_found(format!(
                    "The resource '{}' was not found",
                    &key["compute/".len()..]
                )));
            }
            match (call.method.as_str(), rest) {
                ("GET", []) => step(&mut store, &key)?,
                // The real service answers after two minutes at the latest; here it takes no time at all.
                ("POST", ["wait"]) => {
                    while store
                        .get(&key)
                        .is_some_and(|operation| operation["status"] != "DONE")
                    {
                        step(&mut store, &key)?;
                    }
                }
                ("DELETE", []) => {
                    store.remove(&key)?;
                    return Ok(empty(204));
                }
                _ => return Err(ApiError::not_found("No such call on an operation.")),
            }
            Ok(json(&public(store.get(&key).unwrap_or(&Value::Null))))
        }
        _ => Err(ApiError::not_found("No such call on operations.")),
    }
}
