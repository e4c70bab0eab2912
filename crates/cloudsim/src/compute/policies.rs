//! Resource policies: schedules of snapshots and of machines. What they schedule does not happen here.
//! <https://cloud.google.com/compute/docs/reference/rest/v1/resourcePolicies>

use super::network::in_use;
use super::{Context, Kind, LINKS, Scope, find, link};
use crate::error::{ApiError, Result};
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

pub const KIND: Kind = Kind {
    collection: "resourcePolicies",
    name: "compute#resourcePolicy",
    scope: Scope::Regional,
    status: Some(["CREATING", "READY"]),
    failed: None,
    patchable: &["description", "snapshotSchedulePolicy"],
    create: |_, _| Ok(None),
    delete,
    verbs: &[],
};

/// A policy must be there, of the region in which the resource is.
fn check(context: &Context, policy: &str) -> Result<()> {
    let path = &policy[LINKS.len()..];
    find(context.store, path)?;
    let zone = context.scope.trim_start_matches("zones/");
    let region = zone.rsplit_once('-').map_or(zone, |(region, _)| region);
    if path.contains(&format!("/regions/{region}/")) {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "Invalid value for field 'resourcePolicies': '{policy}'. It is not of the region {region}."
    )))
}

/// Replaces the links of a new resource's policies by full ones.
pub fn link_all(context: &Context, resource: &mut Fields) -> Result<()> {
    let Some(named) = resource.remove("resourcePolicies") else {
        return Ok(());
    };
    let body = Map::from_iter([("resourcePolicies".to_owned(), named)]);
    let links = links(context, &body);
    links.iter().try_for_each(|policy| check(context, policy))?;
    if !links.is_empty() {
        resource.insert("resourcePolicies".to_owned(), links.into());
    }
    Ok(())
}

fn links(context: &Context, fields: &Fields) -> Vec<String> {
    let named = fields.get("resourcePolicies").and_then(Value::as_array);
    let named = named.into_iter().flatten().filter_map(Value::as_str);
    named.map(|text| link(context.project, text)).collect()
}

/// `addResourcePolicies`.
pub fn add(context: &mut Context, resource: &mut Fields, body: Fields) -> Result<()> {
    let mut held = links(context, resource);
    for policy in links(context, &body) {
        check(context, &policy)?;
        if !held.contains(&policy) {
            held.push(policy);
        }
    }
    resource.insert("resourcePolicies".to_owned(), held.into());
    Ok(())
}

/// `removeResourcePolicies`.
pub fn remove(context: &mut Context, resource: &mut Fields, body: Fields) -> Result<()> {
    let gone = links(context, &body);
    let mut held = links(context, resource);
    held.retain(|policy| !gone.contains(policy));
    if held.is_empty() {
        resource.remove("resourcePolicies");
    } else {
        resource.insert("resourcePolicies".to_owned(), held.into());
    }
    Ok(())
}

fn delete(context: &mut Context, policy: &Fields) -> Result<()> {
    let this = &policy["selfLink"];
    let prefix = format!("compute/projects/{}/zones/", context.project);
    let user = context.store.scan(&prefix, "").find(|(_, other)| {
        let held = other["resourcePolicies"].as_array();
        held.is_some_and(|held| held.contains(this))
    });
    match user {
        None => Ok(()),
        Some((_, user)) => Err(in_use(
            "resource_policy",
            policy,
            user["selfLink"].as_str().unwrap_or_default(),
        )),
    }
}
