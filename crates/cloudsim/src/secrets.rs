//! Secret Manager: <https://cloud.google.com/secret-manager/docs/reference/rest>.
//!
//! Keys: `secretmanager/projects/P/NAME`, with the versions in `_versions`, of which the first is number 1.

use crate::error::{ApiError, Result};
use crate::http::{Call, Reply, json, now, public};
use crate::iam::{self, Guarded};
use crate::project;
use crate::store::Store;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Bytes of a payload. <https://cloud.google.com/secret-manager/quotas>
const PAYLOAD_LIMIT: usize = 64 << 10;

/// Everything below `/secretmanager/v1/`.
pub async fn call(call: &mut Call, path: &[&str]) -> Result<Reply> {
    let unknown = || ApiError::not_found("No such call on secrets.");
    let ["projects", project, "secrets", rest @ ..] = path else {
        return Err(unknown());
    };
    let body = call.json().await?;
    let mut store = call.world.store();
    let method = call.method.as_str();
    // Names in replies have the project's number, whatever the call has.
    let parent = format!("projects/{}", project::number(project));
    let key = |name: &str| format!("secretmanager/projects/{project}/{name}");
    let policy = |name: &str| format!("secretmanager/iam/{project}/{name}");
    let (secret, verb) = match rest {
        [] => (call.query.get("secretId").unwrap_or_default(), ""),
        [last] => last.split_once(':').unwrap_or((last, "")),
        [secret, ..] => (*secret, ""),
    };
    let name = format!("{parent}/secrets/{secret}");
    let guarded = Guarded {
        project,
        key: policy(secret),
        permissions: "secretmanager.secrets",
        name: &name,
    };
    let version_of = Guarded {
        permissions: "secretmanager.versions",
        key: guarded.key.clone(),
        ..guarded
    };
    let missing = || ApiError::not_found(format!("Secret [{name}] not found."));
    match (method, rest) {
        ("GET", []) => {
            guarded.require(&store, call, "list")?;
            let prefix = key("");
            let all = store.scan(&prefix, "").map(|(_, secret)| public(secret));
            return Ok(json(&json!({"secrets": all.collect::<Vec<_>>()})));
        }
        ("POST", []) => {
            guarded.require(&store, call, "create")?;
            let record = create(&mut store, &name, &key(secret), secret, body)?;
            return Ok(json(&record));
        }
        _ => {}
    }
    // Who may not know whether it exists is not told.
    let found = |store: &Store| store.get(&key(secret)).cloned().ok_or_else(missing);
    match (method, rest) {
        ("POST", [_]) if verb == "addVersion" => {
            version_of.require(&store, call, "add")?;
            let mut record = found(&store)?;
            let version = add_version(&mut record, &name, &body)?;
            store.put(&key(secret), record)?;
            Ok(json(&version))
        }
        (_, [_]) if verb.ends_with("IamPolicy") || verb == "testIamPermissions" => {
            found(&store)?;
            guarded.call(&mut store, call, verb, body)
        }
        ("GET", [_]) => {
            guarded.require(&store, call, "get")?;
            Ok(json(&public(&found(&store)?)))
        }
        ("PATCH", [_]) => {
            guarded.require(&store, call, "update")?;
            let mut record = found(&store)?;
            let mask = call.query.get("updateMask").unwrap_or_default();
            crate::http::update(
                &mut record,
                &body,
                mask,
                &["annotations", "labels", "topics"],
            )?;
            record["etag"] = quoted_etag(&mut store);
            store.put(&key(secret), record.clone())?;
            Ok(json(&public(&record)))
        }
        ("DELETE", [_]) => {
            guarded.require(&store, call, "delete")?;
            found(&store)?;
            store.remove(&key(secret))?;
            store.remove(&policy(secret))?;
            Ok(json(&json!({})))
        }
        ("GET", [_, "versions"]) => {
            version_of.require(&store, call, "list")?;
            let record = found(&store)?;
            let versions = record["_versions"].as_array().into_iter().flatten();
            // The newest first.
            let all: Vec<Value> = versions.rev().map(public).collect();
            Ok(json(&json!({"versions": all})))
        }
        (_, [_, "versions", version]) => {
            let (version, verb) = version.split_once(':').unwrap_or((version, "get"));
            version_of.require(&store, call, verb)?;
            let mut record = found(&store)?;
            let versions = record["_versions"].as_array_mut().ok_or_else(missing)?;
            let index = match version {
                "latest" => versions.len().checked_sub(1),
                number => number.parse::<usize>().ok().and_then(|n| n.checked_sub(1)),
            };
            let version = index
                .and_then(|index| versions.get_mut(index))
                .ok_or_else(|| {
                    ApiError::not_found(format!(
                        "Secret Version [{name}/versions/{version}] not found."
                    ))
                })?;
            let reply = on_version(method, verb, version)?;
            if method == "POST" {
                store.put(&key(secret), record)?;
            }
            Ok(json(&reply))
        }
        _ => Err(unknown()),
    }
}

fn quoted_etag(store: &mut Store) -> Value {
    format!("\"{}\"", iam::etag(store.next())).into()
}

fn create(
    store: &mut Store,
    name: &str,
    key: &str,
    secret: &str,
    body: Map<String, Value>,
) -> Result<Value> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !(1..=255).contains(&secret.len()) || !secret.bytes().all(valid) {
        return Err(ApiError::invalid(format!(
            "The provided Secret ID [{secret}] does not match the expected format [[a-zA-Z_0-9]+]"
        )));
    }
    if body
        .get("replication")
        .is_none_or(|value| !value.is_object())
    {
        return Err(ApiError::invalid("Secret.replication must be provided."));
    }
    if store.get(key).is_some() {
        return Err(ApiError::new(
            409,
            "alreadyExists",
            format!("Secret [{name}] already exists."),
        ));
    }
    let mut record = Map::new();
    record.extend(
        body.into_iter()
            .filter(|(field, _)| !field.starts_with('_')),
    );
    // Sent as null or as an empty object, it means the same.
    record.insert("name".to_owned(), name.into());
    if record["replication"].get("userManaged").is_none() {
        record.insert("replication".to_owned(), json!({"automatic": {}}));
    }
    record.insert("createTime".to_owned(), now().into());
    record.insert("etag".to_owned(), quoted_etag(store));
    record.insert("_versions".to_owned(), json!([]));
    let record = Value::Object(record);
    store.put(key, record.clone())?;
    Ok(public(&record))
}

fn add_version(record: &mut Value, name: &str, body: &Map<String, Value>) -> Result<Value> {
    let payload = body.get("payload").unwrap_or(&Value::Null);
    let data = payload["data"].as_str().unwrap_or_default();
    let bytes = STANDARD
        .decode(data)
        .map_err(|_| ApiError::invalid("Invalid value at 'payload.data' (TYPE_BYTES)."))?;
    if bytes.is_empty() || bytes.len() > PAYLOAD_LIMIT {
        return Err(ApiError::invalid(format!(
            "The secret payload must have 1 to {PAYLOAD_LIMIT} bytes, not {}.",
            bytes.len()
        )));
    }
    let sum = crc32c::crc32c(&bytes).to_string();
    // A 64-bit number: a text, or as it is.
    let sent = match payload.get("dataCrc32c") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    };
    if sent.as_ref().is_some_and(|sent| *sent != sum) {
        return Err(ApiError::invalid(
            "The checksum of the payload does not match its data.",
        ));
    }
    let versions = record["_versions"]
        .as_array_mut()
        .expect("made with versions");
    let number = versions.len() + 1;
    let version = json!({
        "name": format!("{name}/versions/{number}"),
        "createTime": now(),
        "state": "ENABLED",
        "etag": format!("\"{number}-ENABLED\""),
        "replicationStatus": {"automatic": {}},
        "clientSpecifiedPayloadChecksum": sent.is_some(),
        "_payload": {"data": data, "dataCrc32c": sum},
    });
    versions.push(version.clone());
    Ok(public(&version))
}

fn on_version(method: &str, verb: &str, version: &mut Value) -> Result<Value> {
    let state = version["state"].as_str().unwrap_or_default();
    let refuse = || {
        let name = version["name"].as_str().unwrap_or_default();
        ApiError::failed_precondition(format!("Secret Version [{name}] is in {state} state."))
    };
    let new = match (method, verb) {
        ("GET", "get") => return Ok(public(version)),
        ("GET", "access") if state != "ENABLED" => return Err(refuse()),
        ("GET", "access") => {
            return Ok(json!({"name": version["name"], "payload": version["_payload"]}));
        }
        ("POST", "enable" | "disable" | "destroy") if state == "DESTROYED" => {
            return Err(refuse());
        }
        ("POST", "enable") => "ENABLED",
        ("POST", "disable") => "DISABLED",
        ("POST", "destroy") => "DESTROYED",
        _ => return Err(ApiError::not_found("No such call on a secret's version.")),
    };
    let number = version["name"]
        .as_str()
        .and_then(|name| name.rsplit('/').next());
    version["etag"] = format!("\"{}-{new}\"", number.unwrap_or_default()).into();
    version["state"] = new.into();
    if new == "DESTROYED" {
        version["destroyTime"] = now().into();
        version["_payload"] = Value::Null;
    }
    Ok(public(version))
}
