//! Service Management, as Cloud Endpoints uses it: a name in DNS for an address.
//! <https://cloud.google.com/service-infrastructure/docs/service-management/reference/rest>
//!
//! Keys: `servicemanagement/services/NAME`, with its configurations in `_configs`, its rollouts in `_rollouts`.

use crate::error::{ApiError, Result};
use crate::http::{Call, Reply, json, now, public};
use crate::iam::Guarded;
use crate::lro;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

const SERVICE: &str = "servicemanagement";

fn key(service: &str) -> String {
    format!("{SERVICE}/services/{service}")
}

/// Everything below `/servicemanagement/v1/`.
pub async fn call(call: &mut Call, path: &[&str]) -> Result<Reply> {
    let unknown = || ApiError::not_found("No such call on services.");
    if let ["operations", name] = path {
        return lro::get(call, SERVICE, name);
    }
    let body = call.json().await?;
    let mut store = call.world.store();
    let method = call.method.as_str();
    let ["services", rest @ ..] = path else {
        return Err(unknown());
    };
    let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
    let (name, verb) = match rest {
        [] => (text("serviceName"), ""),
        [last] => last.split_once(':').unwrap_or((last, "")),
        [name, ..] => (*name, ""),
    };
    let found = store.get(&key(name)).cloned();
    // NAME.endpoints.PROJECT.cloud.goog
    let of_name = name
        .strip_suffix(".cloud.goog")
        .and_then(|rest| rest.split_once(".endpoints."))
        .map_or("", |(_, project)| project);
    let project = match &found {
        Some(service) => service["producerProjectId"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        None => of_name.to_owned(),
    };
    let guarded = Guarded {
        project: &project,
        key: format!("{SERVICE}/iam/{name}"),
        permissions: "servicemanagement.services",
        name: &format!("services/{name}"),
    };
    let missing =
        || ApiError::not_found(format!("Service '{name}' not found or permission denied."));
    if let ("POST", []) = (method, rest) {
        guarded.require(&store, call, "create")?;
        if found
            .as_ref()
            .is_some_and(|service| service["_deleted"] == true)
        {
            return Err(held(name));
        }
        if found.is_some() {
            return Err(ApiError::new(
                409,
                "alreadyExists",
                format!("Service {name} already exists."),
            ));
        }
        if project.is_empty() || text("producerProjectId") != project {
            return Err(ApiError::invalid(format!(
                "The service name '{name}' must be NAME.endpoints.{}.cloud.goog.",
                text("producerProjectId")
            )));
        }
        let service = json!({"serviceName": name, "producerProjectId": project});
        let mut record = service.clone();
        record["_configs"] = json!([]);
        record["_rollouts"] = json!([]);
        store.put(&key(name), record)?;
        let operation = lro::start(&mut store, call, SERVICE, service, Vec::new())?;
        return Ok(json(&operation));
    }
    if let ("POST", [_], "undelete") = (method, rest, verb) {
        guarded.require(&store, call, "undelete")?;
        let mut service = found.ok_or_else(missing)?;
        service["_deleted"] = false.into();
        store.put(&key(name), service.clone())?;
        let response = json!({"service": public(&service)});
        let operation = lro::start(&mut store, call, SERVICE, response, Vec::new())?;
        return Ok(json(&operation));
    }
    let mut service = found
        .filter(|service| service["_deleted"] != true)
        .ok_or_else(missing)?;
    let newest = |list: &str| {
        let all = service[list].as_array().into_iter().flatten().rev();
        all.cloned().collect::<Vec<_>>()
    };
    match (method, &rest[1..]) {
        ("GET", []) => {
            guarded.require(&store, call, "get")?;
            Ok(json(&public(&service)))
        }
        ("POST", []) => guarded.call(&mut store, call, verb, body),
        ("DELETE", []) => {
            guarded.require(&store, call, "delete")?;
            service["_deleted"] = true.into();
            store.put(&key(name), service)?;
            let operation = lro::start(&mut store, call, SERVICE, json!({}), Vec::new())?;
            Ok(json(&operation))
        }
        ("GET", ["config"]) => {
            guarded.require(&store, call, "get")?;
            active(&service).map(|config| json(&config)).ok_or_else(|| {
                ApiError::not_found(format!("Service config of '{name}' not found."))
            })
        }
        ("GET", ["configs"]) => {
            guarded.require(&store, call, "get")?;
            Ok(json(&json!({"serviceConfigs": newest("_configs")})))
        }
        ("GET", ["rollouts"]) => {
            guarded.require(&store, call, "get")?;
            Ok(json(&json!({"rollouts": newest("_rollouts")})))
        }
        ("POST", ["configs:submit"]) => {
            guarded.require(&store, call, "update")?;
            let mut config = of_source(name, &body)?;
            // As in the real service: the day, and how many that day has seen.
            let configs = service["_configs"].as_array_mut().ok_or_else(unknown)?;
            config["id"] = format!("{}r{}", &now()[..10], configs.len()).into();
            config["producerProjectId"] = project.as_str().into();
            configs.push(config.clone());
            store.put(&key(name), service)?;
            let response = json!({"serviceConfig": config});
            let operation = lro::start(&mut store, call, SERVICE, response, Vec::new())?;
            Ok(json(&operation))
        }
        ("POST", ["rollouts"]) => {
            guarded.require(&store, call, "update")?;
            let mut rollouts = service["_rollouts"].as_array().cloned().unwrap_or_default();
            let mut rollout = json!({
                "rolloutId": format!("{}r{}", &now()[..10], rollouts.len()),
                "createTime": now(),
                "serviceName": name,
                "status": "SUCCESS",
                "trafficPercentStrategy": body.get("trafficPercentStrategy"),
            });
            let known = |id: &str| newest("_configs").iter().any(|config| config["id"] == *id);
            if !chosen(&rollout).is_some_and(known) {
                return Err(ApiError::failed_precondition(
                    "A rollout must name a service configuration that exists.",
                ));
            }
            rollout["createdBy"] = call.caller()?.email().into();
            rollouts.push(rollout.clone());
            let effects = vec![(key(name), json!({"_rollouts": rollouts}))];
            let operation = lro::start(&mut store, call, SERVICE, rollout, effects)?;
            Ok(json(&operation))
        }
        _ => Err(unknown()),
    }
}

/// A deleted name can only be undeleted for 30 days.
fn held(name: &str) -> ApiError {
    ApiError::failed_precondition(format!(
        "Service {name} has been deleted and will be purged after 30 days. To reuse this service, please undelete the service following https://cloud.google.com/service-infrastructure/docs/create-services#undeleting."
    ))
}

/// The configuration that a rollout gives all traffic to.
fn chosen(rollout: &Value) -> Option<&str> {
    let shares = rollout["trafficPercentStrategy"]["percentages"].as_object()?;
    shares.keys().next().map(String::as_str)
}

fn active(service: &Value) -> Option<Value> {
    let id = chosen(service["_rollouts"].as_array()?.last()?)?;
    let configs = service["_configs"].as_array()?;
    configs.iter().find(|config| config["id"] == id).cloned()
}

/// A service configuration of an OpenAPI document. The real service reads YAML; this one reads the YAML that is JSON.
fn of_source(name: &str, body: &Map<String, Value>) -> Result<Value> {
    let source = body.get("configSource").unwrap_or(&Value::Null);
    let contents = source["files"][0]["fileContents"]
        .as_str()
        .unwrap_or_default();
    let document: Value = STANDARD
        .decode(contents)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| {
            ApiError::invalid("cloudsim reads OpenAPI documents that are written as JSON.")
        })?;
    if document["host"] != name {
        return Err(ApiError::invalid(format!(
            "The document's host {} is not the service '{name}'.",
            document["host"]
        )));
    }
    let endpoints = document["x-google-endpoints"].as_array();
    let endpoint = |entry: &Value| json!({"name": entry["name"], "target": entry["target"]});
    Ok(json!({
        "name": name,
        "title": document["info"]["title"],
        "endpoints": endpoints.into_iter().flatten().map(endpoint).collect::<Vec<_>>(),
        "apis": [],
    }))
}
