//! The metadata server of each machine: `/_sim/instances/P/Z/NAME/computeMetadata/v1/…`.
//! <https://cloud.google.com/compute/docs/metadata/querying-metadata>

use crate::compute::{self, Inside};
use crate::error::{ApiError, Result};
use crate::http::{Call, Query, Reply, full};
use crate::project;
use crate::store::Store;
use hyper::Response;
use serde_json::{Map, Value, json};
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long a question waits that does not say how long.
const PATIENCE: u64 = 24 * 60 * 60;

/// Largest value of a guest attribute, in bytes.
const LONGEST: usize = 10 << 10;

/// Whose metadata server it is.
pub struct Machine<'a> {
    project: &'a str,
    zone: &'a str,
    name: &'a str,
}

/// What was asked for.
enum Found {
    Text(String),
    Json(Value),
}

impl<'a> Machine<'a> {
    pub fn new(project: &'a str, zone: &'a str, name: &'a str) -> Self {
        Self {
            project,
            zone,
            name,
        }
    }

    fn key(&self) -> String {
        let Self {
            project,
            zone,
            name,
        } = self;
        format!("compute/projects/{project}/zones/{zone}/instances/{name}")
    }

    /// All that the server tells; folders are objects.
    fn tree(&self, store: &Store, instance: &Value) -> Value {
        let number = project::number(self.project);
        let zone = format!("projects/{number}/zones/{}", self.zone);
        let kind = instance["machineType"].as_str().unwrap_or_default();
        let kind = kind.rsplit('/').next().unwrap_or_default();
        let mut accounts = Map::new();
        for account in instance["serviceAccounts"].as_array().into_iter().flatten() {
            let email = account["email"].as_str().unwrap_or_default();
            let told = json!({"aliases": ["default"], "email": email, "scopes": account["scopes"]});
            accounts.insert(email.to_owned(), told.clone());
            accounts.entry("default").or_insert(told);
        }
        let mut guest: Map<String, Value> = Map::new();
        for (path, value) in instance["_guest"].as_object().into_iter().flatten() {
            if let Some((namespace, key)) = path.split_once('/') {
                guest.entry(namespace).or_insert_with(|| json!({}))[key] = value.clone();
            }
        }
        json!({
            "instance": {
                "attributes": compute::attributes(&instance["metadata"]),
                "guest-attributes": guest,
                "hostname": format!("{}.{}.c.{}.internal", self.name, self.zone, self.project),
                // A number of 19 digits, as the real one's.
                "id": instance["id"].as_str().and_then(|id| id.parse::<u64>().ok()),
                "machine-type": format!("projects/{number}/machineTypes/{kind}"),
                "name": self.name,
                "preempted": if instance["_preempted"] == true { "TRUE" } else { "FALSE" },
                "service-accounts": accounts,
                "zone": zone,
            },
            "project": {
                "attributes": compute::attributes(&compute::common_metadata(store, self.project)),
                "numeric-project-id": number.parse::<u64>().ok(),
                "project-id": self.project,
            },
        })
    }

    /// What is at a path, as it is now.
    fn look(&self, store: &Store, path: &[&str], query: &Query) -> Result<Found> {
        let instance = store.get(&self.key()).filter(|instance| {
            // A machine that is made or started has its operation yet to end.
            instance["status"] == "RUNNING" || instance["status"] == "STOPPING"
        });
        let instance = instance.ok_or_else(|| {
            ApiError::new(
                503,
                "backendError",
                format!("There is no machine {}, or it is off.", self.name),
            )
        })?;
        let (path, is_folder) = match path {
            [path @ .., ""] => (path, true),
            path => (path, false),
        };
        if let ["instance", "service-accounts", account, "token"] = path {
            return token(instance, account);
        }
        let missing = || ApiError::not_found("The requested URL was not found on this server.");
        let mut found = &self.tree(store, instance);
        for part in path {
            found = found.get(part).ok_or_else(missing)?;
        }
        let recursive = query.get("recursive") == Some("true");
        let as_json = match query.get("alt") {
            Some(alt) => alt == "json",
            None => recursive,
        };
        match found {
            Value::Object(fields) if !recursive => {
                let lines = fields.iter().map(|(key, value)| {
                    let folder = if value.is_object() { "/" } else { "" };
                    format!("{key}{folder}\n")
                });
                Ok(Found::Text(lines.collect()))
            }
            Value::Object(_) => {
                let own = path.contains(&"attributes") || path.contains(&"guest-attributes");
                Ok(Found::Json(told(found, own)))
            }
            // Only a folder has a slash at its end.
            _ if is_folder => Err(missing()),
            value if as_json => Ok(Found::Json(value.clone())),
            Value::String(text) => Ok(Found::Text(text.clone())),
            Value::Array(lines) => {
                let lines = lines.iter().filter_map(Value::as_str);
                Ok(Found::Text(lines.map(|line| format!("{line}\n")).collect()))
            }
            value => Ok(Found::Text(value.to_string())),
        }
    }
}

/// A whole folder: its keys in camel case, but for those that people chose.
fn told(value: &Value, own: bool) -> Value {
    let Value::Object(fields) = value else {
        return value.clone();
    };
    let told = fields.iter().map(|(key, value)| {
        let chosen = own || key.contains(['.', '@']);
        let mut words = key.split('-');
        let mut name = words.next().unwrap_or_default().to_owned();
        for word in words {
            let (first, rest) = word.split_at(word.len().min(1));
            name.push_str(&first.to_uppercase());
            name.push_str(rest);
        }
        let name = if chosen { key.clone() } else { name };
        (name, told(value, own || key.ends_with("attributes")))
    });
    told.collect()
}

/// A token with which the simulated cloud takes the caller for the machine's service account.
fn token(instance: &Value, account: &str) -> Result<Found> {
    let accounts = instance["serviceAccounts"].as_array().into_iter().flatten();
    let mut emails = accounts.filter_map(|account| account["email"].as_str());
    let email = emails
        .find(|email| account == "default" || account == *email)
        .ok_or_else(|| ApiError::not_found("The machine has no such service account."))?;
    Ok(Found::Json(json!({
        "access_token": format!("serviceAccount:{email}"),
        "expires_in": 3599,
        "token_type": "Bearer",
    })))
}

/// A call from inside the machine. Every answer says that it is of a metadata server, refusals too.
pub async fn call(call: &mut Call, machine: &Machine<'_>, path: &[&str]) -> Result<Reply> {
    let mut reply = match answer(call, machine, path).await {
        Ok(reply) => reply,
        Err(error) => error.reply(),
    };
    let google = "Google".parse().expect("a constant header");
    reply.headers_mut().insert("Metadata-Flavor", google);
    Ok(reply)
}

async fn answer(call: &mut Call, machine: &Machine<'_>, path: &[&str]) -> Result<Reply> {
    // Whoever can make a browser or a proxy send requests cannot make it send these headers, or lack them.
    if call.header("Metadata-Flavor") != Some("Google") || call.header("X-Forwarded-For").is_some()
    {
        return Err(ApiError::new(
            403,
            "forbidden",
            "Missing Metadata-Flavor:Google header, or a proxy is between.",
        ));
    }
    match (call.method.as_str(), path) {
        ("PUT", ["instance", "guest-attributes", namespace, key]) => {
            let text = String::from_utf8(call.bytes(LONGEST).await?)
                .map_err(|_| ApiError::invalid("The value is no text."))?;
            let write = Inside::GuestAttribute(format!("{namespace}/{key}"), &text);
            let mut store = call.world.store();
            machine.look(&store, &["instance", "id"], &call.query)?;
            compute::from_inside(
                &mut store,
                machine.project,
                machine.zone,
                machine.name,
                write,
            )?;
            Ok(reply(&Found::Text(String::new())))
        }
        ("GET", path) => follow(call, machine, path).await,
        _ => Err(ApiError::new(405, "badRequest", "Method not allowed.")),
    }
}

/// Answers at once, or when it is no longer what the caller has seen.
async fn follow(call: &mut Call, machine: &Machine<'_>, path: &[&str]) -> Result<Reply> {
    let waits = call.query.get("wait_for_change") == Some("true");
    let patience = call.query.number("timeout_sec")?.unwrap_or(PATIENCE);
    let until = Instant::now() + Duration::from_secs(patience.min(PATIENCE));
    let mut seen = call.query.get("last_etag").map(str::to_owned);
    let watched = call.world.store().watch(&machine.key());
    loop {
        // Counts from here, so that no change falls between the look and the wait.
        let mut change = pin!(watched.notified());
        change.as_mut().enable();
        let found = machine.look(&call.world.store(), path, &call.query)?;
        let etag = found.etag();
        if !waits || seen.as_ref().is_some_and(|seen| *seen != etag) {
            return Ok(reply(&found));
        }
        seen = Some(etag);
        tokio::select! {
            () = change => {}
            () = sleep_until(until) => return Ok(reply(&found)),
        }
    }
}

impl Found {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Json(value) => value.to_string(),
        }
    }

    /// 16 hexadecimal digits, as the real one's.
    fn etag(&self) -> String {
        let text = self.text();
        let high = crc32c::crc32c(text.as_bytes());
        format!(
            "{high:08x}{:08x}",
            crc32c::crc32c_append(high, text.as_bytes())
        )
    }
}

fn reply(found: &Found) -> Reply {
    let kind = match found {
        Found::Text(_) => "application/text",
        Found::Json(_) => "application/json",
    };
    Response::builder()
        .header("Content-Type", kind)
        .header("ETag", found.etag())
        .body(full(found.text()))
        .expect("valid headers")
}
