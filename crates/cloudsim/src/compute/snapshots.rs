//! Snapshots of disks: <https://cloud.google.com/compute/docs/reference/rest/v1/snapshots>.

use super::{Context, Kind, LINKS, Scope, already, base, check_name, find, labels, link};
use crate::error::{ApiError, Result};
use serde_json::{Map, Value, json};

type Fields = Map<String, Value>;

pub const KIND: Kind = Kind {
    collection: "snapshots",
    name: "compute#snapshot",
    scope: Scope::Global,
    status: Some(["CREATING", "READY"]),
    failed: Some("FAILED"),
    patchable: &[],
    create: |context, snapshot| {
        let source = snapshot
            .get("sourceDisk")
            .and_then(Value::as_str)
            .ok_or_else(|| {
                ApiError::invalid("Required field 'resource.sourceDisk' not specified")
            })?;
        let source = link(context.project, source);
        let disk = find(context.store, &source[LINKS.len()..])?.clone();
        fill(snapshot, &disk);
        Ok(None)
    },
    delete: |_, _| Ok(()),
    verbs: &[],
};

fn fill(snapshot: &mut Fields, disk: &Value) {
    snapshot.insert("sourceDisk".to_owned(), disk["selfLink"].clone());
    snapshot.insert("sourceDiskId".to_owned(), disk["id"].clone());
    snapshot.insert("diskSizeGb".to_owned(), disk["sizeGb"].clone());
    snapshot.insert("storageBytes".to_owned(), "0".into());
    snapshot.entry("storageLocations").or_insert(json!(["us"]));
}

/// `createSnapshot` of a disk.
pub fn of_disk(context: &mut Context, disk: &mut Fields, body: Fields) -> Result<()> {
    let name = body.get("name").and_then(Value::as_str).unwrap_or_default();
    check_name("resource.name", name)?;
    if let Some(given) = body.get("labels") {
        labels::check(given)?;
    }
    let path = format!("projects/{}/global/snapshots/{name}", context.project);
    let key = format!("compute/{path}");
    if context.store.get(&key).is_some() {
        return Err(already(&path));
    }
    let own = base(context.store, &KIND, context.project, "global", &path);
    let mut snapshot: Fields = body
        .into_iter()
        .filter(|(field, _)| !field.starts_with('_'))
        .collect();
    snapshot.extend(own);
    fill(&mut snapshot, &Value::Object(disk.clone()));
    labels::stamp(&mut snapshot);
    snapshot.insert("status".to_owned(), "CREATING".into());
    context.also.made.push((key.clone(), snapshot.into()));
    context
        .also
        .success
        .push((key.clone(), json!({"status": "READY", "_operation": null})));
    context.also.failure.push((key, Value::Null));
    Ok(())
}
