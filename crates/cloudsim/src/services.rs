//! Service Usage: which APIs a project may call.
//! <https://cloud.google.com/service-usage/docs/reference/rest>
//!
//! Keys: `serviceusage/projects/P/services/NAME`.

use crate::error::{ApiError, Result};
use crate::http::{Call, Reply, json, public};
use crate::iam::{Guarded, project_policy_key};
use crate::store::{Effects, Store};
use crate::{lro, project};
use serde_json::{Value, json};

/// What a new project has enabled, of what is simulated.
const FROM_THE_START: &[&str] = &[
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "servicemanagement.googleapis.com",
    "serviceusage.googleapis.com",
    "storage.googleapis.com",
];

/// Services of one `batchEnable`.
const BATCH_LIMIT: usize = 20;

pub fn key(project: &str, service: &str) -> String {
    format!("serviceusage/projects/{project}/services/{service}")
}

/// A service as it is shown.
fn resource(store: &Store, project: &str, service: &str) -> Value {
    let number = project::number(project);
    store.get(&key(project, service)).map_or_else(
        || {
            let enabled = FROM_THE_START.contains(&service);
            json!({
                "name": format!("projects/{number}/services/{service}"),
                "parent": format!("projects/{number}"),
                "config": {"name": service},
                "state": if enabled { "ENABLED" } else { "DISABLED" },
            })
        },
        public,
    )
}

/// Whether a project has a service enabled.
pub fn enabled(store: &Store, project: &str, service: &str) -> bool {
    store
        .get(&key(project, service))
        .map_or(FROM_THE_START.contains(&service), |record| {
            record["state"] == "ENABLED"
        })
}

/// Everything below `/serviceusage/v1/`.
pub async fn call(call: &mut Call, path: &[&str]) -> Result<Reply> {
    let unknown = || ApiError::not_found("No such call on services.");
    if let ["operations", name] = path {
        return lro::get(call, "serviceusage", name);
    }
    let ["projects", project, rest @ ..] = path else {
        return Err(unknown());
    };
    let body = call.json().await?;
    let mut store = call.world.store();
    let guarded = Guarded {
        project,
        key: project_policy_key(project),
        permissions: "serviceusage.services",
        name: &format!("projects/{project}"),
    };
    match (call.method.as_str(), rest) {
        ("GET", ["services"]) => {
            guarded.require(&store, call, "list")?;
            list(&store, call, project).map(|reply| json(&reply))
        }
        ("GET", ["services:batchGet"]) => {
            guarded.require(&store, call, "get")?;
            let names = call.query.all("names");
            let names = names.filter_map(|name| name.rsplit('/').next());
            let all: Vec<Value> = names.map(|name| resource(&store, project, name)).collect();
            Ok(json(&json!({"services": all})))
        }
        ("GET", ["services", name]) => {
            guarded.require(&store, call, "get")?;
            Ok(json(&resource(&store, project, name)))
        }
        ("POST", ["services:batchEnable"]) => {
            guarded.require(&store, call, "enable")?;
            let names = body.get("serviceIds").and_then(Value::as_array);
            let names = names.into_iter().flatten().filter_map(Value::as_str);
            enable(&mut store, call, project, &names.collect::<Vec<_>>())
        }
        ("POST", ["services", target]) => match target.split_once(':') {
            Some((name, "enable")) => {
                guarded.require(&store, call, "enable")?;
                enable(&mut store, call, project, &[name])
            }
            Some((name, "disable")) => {
                guarded.require(&store, call, "disable")?;
                let mut after = resource(&store, project, name);
                let effects = vec![(key(project, name), json!({"state": "DISABLED"}))];
                store.put(&key(project, name), after.clone())?;
                after["state"] = "DISABLED".into();
                let response = json!({"service": after});
                lro::start(&mut store, call, "serviceusage", response, effects)
                    .map(|operation| json(&operation))
            }
            _ => Err(unknown()),
        },
        _ => Err(unknown()),
    }
}

fn list(store: &Store, call: &Call, project: &str) -> Result<Value> {
    let wanted = match call.query.get("filter") {
        None | Some("") => None,
        Some("state:ENABLED") => Some("ENABLED"),
        Some("state:DISABLED") => Some("DISABLED"),
        Some(other) => {
            return Err(ApiError::invalid(format!("Invalid filter '{other}'.")));
        }
    };
    let prefix = key(project, "");
    let known = store.scan(&prefix, "").map(|(key, _)| &key[prefix.len()..]);
    let mut names: Vec<&str> = known.chain(FROM_THE_START.iter().copied()).collect();
    names.sort_unstable();
    names.dedup();
    let services: Vec<Value> = names
        .into_iter()
        .map(|name| resource(store, project, name))
        .filter(|service| wanted.is_none_or(|state| service["state"] == state))
        .collect();
    Ok(json!({"services": services}))
}

fn enable(store: &mut Store, call: &Call, project: &str, names: &[&str]) -> Result<Reply> {
    if !(1..=BATCH_LIMIT).contains(&names.len()) {
        return Err(ApiError::invalid(format!(
            "A batch enables 1 to {BATCH_LIMIT} services, not {}.",
            names.len()
        )));
    }
    let mut effects = Effects::new();
    let mut services = Vec::new();
    for name in names {
        if !name.ends_with(".googleapis.com") {
            return Err(ApiError::failed_precondition(format!(
                "Not found or permission denied for service(s): {name}."
            )));
        }
        let mut service = resource(store, project, name);
        if service["state"] != "ENABLED" {
            store.put(&key(project, name), service.clone())?;
            let lag = call.world.settings().enabled_api_lag;
            let fields = json!({"state": "ENABLED", "_refusals": lag});
            effects.push((key(project, name), fields));
        }
        service["state"] = "ENABLED".into();
        services.push(service);
    }
    let response = json!({"services": services});
    lro::start(store, call, "serviceusage", response, effects).map(|operation| json(&operation))
}
