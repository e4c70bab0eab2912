//! Operations of the services other than Compute Engine: `{name, done, response}`. As there, time is polls.

use crate::error::{ApiError, Result};
use crate::http::{Call, Reply, json, public};
use crate::store::{Effects, Store};
use serde_json::{Value, json};

/// Starts an operation of a service; when it is done, `effects` have happened and `response` is its answer.
pub fn start(
    store: &mut Store,
    call: &Call,
    service: &str,
    response: Value,
    effects: Effects,
) -> Result<Value> {
    let name = format!("operations/{}.{}", service, store.next_id());
    let mut operation = json!({"name": name, "_steps": 1 + store.random_below(2)});
    match &call.operation_error {
        Some(error) => operation["_error"] = json!({"code": 9, "message": error.message}),
        None => {
            operation["_response"] = response;
            operation["_then"] = json!(effects);
        }
    }
    store.put(&key(service, &name), operation.clone())?;
    Ok(public(&operation))
}

fn key(service: &str, name: &str) -> String {
    format!("{service}/{name}")
}

/// `GET …/operations/NAME`.
pub fn get(call: &Call, service: &str, name: &str) -> Result<Reply> {
    call.caller()?;
    let mut store = call.world.store();
    let key = key(service, &format!("operations/{name}"));
    let Some(mut operation) = store.get(&key).cloned() else {
        return Err(ApiError::not_found(format!(
            "Operation '{name}' not found."
        )));
    };
    match operation["_steps"].as_u64() {
        Some(steps @ 1..) => operation["_steps"] = (steps - 1).into(),
        Some(0) => {
            let fields = operation
                .as_object_mut()
                .expect("an operation is an object");
            fields.remove("_steps");
            fields.insert("done".to_owned(), true.into());
            for (hidden, shown) in [("_response", "response"), ("_error", "error")] {
                if let Some(value) = fields.remove(hidden) {
                    fields.insert(shown.to_owned(), value);
                }
            }
            let effects = fields.remove("_then").unwrap_or_default();
            store.apply(serde_json::from_value(effects).unwrap_or_default())?;
        }
        None => return Ok(json(&public(&operation))),
    }
    store.put(&key, operation.clone())?;
    Ok(json(&public(&operation)))
}
