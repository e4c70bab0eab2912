//! What a plan does, read from the plan that terraform saved.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Root;

/// What a plan does to one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is not there yet.
    Make,
    /// It stays and becomes different.
    Change,
    /// It is destroyed and made anew.
    Replace,
    /// It goes.
    Destroy,
    /// It is there as it should be, and becomes part of the state.
    Record,
}

impl Action {
    fn of(change: &Values) -> Option<Self> {
        let actions: Vec<_> = change.actions.iter().map(String::as_str).collect();
        match actions.as_slice() {
            ["no-op"] if !change.importing.is_null() => Some(Self::Record),
            ["create"] => Some(Self::Make),
            ["update"] => Some(Self::Change),
            ["delete", "create"] | ["create", "delete"] => Some(Self::Replace),
            ["delete"] => Some(Self::Destroy),
            _ => None,
        }
    }

    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Make => "make",
            Self::Change => "change",
            Self::Replace => "REPLACE",
            Self::Destroy => "DESTROY",
            Self::Record => "record",
        }
    }
}

/// One resource that a plan changes.
#[derive(Debug, Serialize)]
pub struct Change {
    /// What happens to it.
    pub action: Action,
    /// terraform's address of it.
    pub address: String,
    /// terraform's type of it.
    pub r#type: String,
    /// What it is called.
    pub name: String,
    /// What becomes different, `attribute: before → after`.
    pub details: Vec<String>,
    /// Its attributes after the change.
    #[serde(skip)]
    pub after: Value,
}

/// A plan, which is saved as well.
#[derive(Debug)]
pub struct Plan {
    /// What it changes.
    pub changes: Vec<Change>,
    /// Whether applying it does anything: it may also be outputs alone.
    pub is_empty: bool,
    /// The outputs after it, as far as they are known.
    pub outputs: Map<String, Value>,
}

#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    resource_changes: Vec<ResourceChange>,
    #[serde(default)]
    output_changes: BTreeMap<String, Values>,
}

#[derive(Deserialize)]
struct ResourceChange {
    address: String,
    mode: String,
    r#type: String,
    name: String,
    #[serde(default)]
    index: Value,
    change: Values,
}

#[derive(Deserialize)]
struct Values {
    actions: Vec<String>,
    #[serde(default)]
    before: Value,
    #[serde(default)]
    after: Value,
    #[serde(default)]
    after_unknown: Value,
    #[serde(default)]
    before_sensitive: Value,
    /// Set when it is there and not yet in the state.
    #[serde(default)]
    importing: Value,
}

/// What `show -json` prints of a saved plan.
pub fn read_plan(text: &str) -> Result<Plan> {
    let shown: Shown = serde_json::from_str(text).context("the saved plan is unreadable")?;
    let mut changes = Vec::new();
    for resource in shown
        .resource_changes
        .into_iter()
        .filter(|resource| resource.mode == "managed")
    {
        let Some(action) = Action::of(&resource.change) else {
            continue;
        };
        let values = [&resource.change.after, &resource.change.before];
        let text = |field: &str| values.iter().find_map(|values| values[field].as_str());
        let name = match &resource.index {
            // Which one of a workspace's grants it is.
            Value::String(index)
                if resource.r#type.ends_with("_iam_member") && !index.contains(' ') =>
            {
                format!("{index} {}", text("role").unwrap_or_default())
            }
            Value::String(index) => index.clone(),
            _ => text("name").unwrap_or(&resource.name).to_owned(),
        };
        changes.push(Change {
            action,
            details: if matches!(action, Action::Change | Action::Replace) {
                details(&resource.change)
            } else {
                Vec::new()
            },
            address: resource.address,
            r#type: resource.r#type,
            name,
            after: resource.change.after,
        });
    }
    let changed_outputs = shown
        .output_changes
        .values()
        .any(|output| output.actions != ["no-op"]);
    Ok(Plan {
        is_empty: changes.is_empty() && !changed_outputs,
        changes,
        outputs: shown
            .output_changes
            .into_iter()
            .map(|(name, output)| (name, output.after))
            .collect(),
    })
}

/// The attributes that differ. Values are shown of plain ones that are known and not sensitive.
fn details(change: &Values) -> Vec<String> {
    let (Some(before), Some(after)) = (change.before.as_object(), change.after.as_object()) else {
        return Vec::new();
    };
    let unknown = |name: &str| change.after_unknown[name] == true;
    let plain = |value: &Value| match value {
        Value::String(text) if text.len() <= 60 => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(bool) => Some(bool.to_string()),
        _ => None,
    };
    let mut details = Vec::new();
    for (name, old) in before {
        let new = after.get(name).unwrap_or(&Value::Null);
        if old == new || unknown(name) {
            continue;
        }
        let secret = change.before_sensitive[name] == true;
        details.push(match (plain(old), plain(new)) {
            (Some(old), Some(new)) if !secret => format!("{name} {old} → {new}"),
            _ => name.clone(),
        });
    }
    details
}

/// One line for each changed resource of a root, in columns.
pub fn rows(root: Root, plan: &Plan) -> Vec<[String; 4]> {
    let rows = plan.changes.iter().map(|change| {
        let details = if change.details.is_empty() {
            String::new()
        } else {
            format!(": {}", change.details.join(", "))
        };
        [
            root.name().to_owned(),
            change.action.word().to_owned(),
            kind(&change.r#type).to_owned(),
            format!("{}{details}", change.name),
        ]
    });
    rows.collect()
}

/// What a type of resource is, for people.
fn kind(r#type: &str) -> &str {
    match r#type {
        "google_project_service" => "API",
        "google_compute_instance" => "machine",
        "google_compute_disk" => "home disk",
        "google_compute_address" => "address",
        "google_compute_network" => "network",
        "google_compute_subnetwork" => "subnetwork",
        "google_compute_firewall" => "firewall rule",
        "google_compute_router" => "router",
        "google_compute_router_nat" => "NAT",
        "google_compute_resource_policy" => "schedule",
        "google_compute_disk_resource_policy_attachment" => "schedule of disk",
        "google_storage_bucket" => "bucket",
        "google_endpoints_service" => "DNS name",
        "google_service_account" => "service account",
        "google_secret_manager_secret" => "secret",
        other if other.ends_with("_iam_member") => "grant",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(changes: Value, outputs: Value) -> Plan {
        read_plan(&json!({ "resource_changes": changes, "output_changes": outputs }).to_string())
            .unwrap()
    }

    fn resource(r#type: &str, index: &str, change: Value) -> Value {
        json!({
            "address": format!("{type}.workspaces[\"{index}\"]"), "mode": "managed", "type": r#type,
            "name": "workspaces", "index": index, "change": change,
        })
    }

    #[test]
    fn a_plan_is_told_in_words_without_values_that_are_secret_or_long() {
        let before =
            json!({"machine_type": "n2-standard-8", "tags": ["a"], "key": "old", "same": 1});
        let after =
            json!({"machine_type": "n2-standard-16", "tags": ["b"], "key": "new", "same": 1});
        let change = json!({
            "actions": ["update"], "before": before, "after": after,
            "after_unknown": {}, "before_sensitive": {"key": true},
        });
        let grant =
            json!({"actions": ["create"], "before": null, "after": {"role": "roles/iap.x"}});
        let plan = plan(
            json!([
                resource("google_compute_instance", "alice", change),
                resource("google_project_iam_member", "bob", grant),
                resource("google_compute_address", "bob", json!({"actions": ["delete", "create"], "before": {}, "after": {}})),
                resource("google_compute_disk", "bob", json!({"actions": ["no-op"]})),
                resource("google_compute_disk", "alice", json!({"actions": ["no-op"], "importing": {"id": "x"}})),
                {"address": "data.google_project.this", "mode": "data", "type": "google_project", "name": "this",
                 "change": {"actions": ["read"]}},
            ]),
            json!({}),
        );
        let rows: Vec<_> = rows(Root::Fleet, &plan)
            .into_iter()
            .map(|row| row.join(" | "))
            .collect();
        assert_eq!(
            rows,
            [
                "fleet | change | machine | alice: key, machine_type n2-standard-8 → n2-standard-16, tags",
                "fleet | make | grant | bob roles/iap.x",
                "fleet | REPLACE | address | bob",
                "fleet | record | home disk | alice",
            ]
        );
    }

    #[test]
    fn a_plan_that_changes_outputs_alone_is_not_empty() {
        let output = |action: &str| json!({"homes": {"actions": [action], "after": {"bob": {}}}});
        assert!(plan(json!([]), output("no-op")).is_empty);
        let changed = plan(json!([]), output("update"));
        assert!(!changed.is_empty);
        assert_eq!(changed.outputs["homes"], json!({"bob": {}}));
    }
}
