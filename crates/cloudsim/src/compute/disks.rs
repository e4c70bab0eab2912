//! Disks of a zone: <https://cloud.google.com/compute/docs/reference/rest/v1/disks>.

use super::network::in_use;
use super::{
    Context, Kind, LINKS, Scope, already, base, check_name, find, images, link, policies, snapshots,
};
use crate::error::{ApiError, Result};
use crate::fault::OperationError;
use serde_json::{Map, Value};

pub const KIND: Kind = Kind {
    collection: "disks",
    name: "compute#disk",
    scope: Scope::Zonal,
    status: Some(["CREATING", "READY"]),
    failed: None,
    patchable: &[],
    create,
    delete,
    verbs: &[
        ("resize", resize),
        ("createSnapshot", snapshots::of_disk),
        ("addResourcePolicies", policies::add),
        ("removeResourcePolicies", policies::remove),
    ],
};

/// GiB of a disk made of nothing and without a size.
const DEFAULT_GB: u64 = 500;

/// A size comes as a number or, as 64-bit numbers do, as a string.
fn gigabytes(disk: &Map<String, Value>) -> Result<Option<u64>> {
    let Some(value) = disk.get("sizeGb") else {
        return Ok(None);
    };
    let number = value
        .as_u64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    // The smallest and the largest persistent disk.
    match number {
        Some(size @ 1..=65_536) => Ok(Some(size)),
        _ => Err(ApiError::invalid(format!(
            "Invalid value for field 'resource.sizeGb': '{value}'. Must be between 1 and 65536."
        ))),
    }
}

fn create(context: &mut Context, disk: &mut Map<String, Value>) -> Result<Option<OperationError>> {
    let asked = gigabytes(disk)?;
    let mut size = asked.unwrap_or(DEFAULT_GB);
    let source = disk.get("sourceImage").and_then(Value::as_str);
    if let Some(source) = source.or(context.call.query.get("sourceImage")) {
        let image = images::of_link(context, source)?.clone();
        let least = crate::storage::number(&image["diskSizeGb"]);
        size = asked.unwrap_or(least);
        if size < least {
            return Err(ApiError::invalid(format!(
                "Invalid value for field 'resource.sizeGb': '{size}'. Requested disk size cannot be smaller than the image size ({least} GB)"
            )));
        }
        disk.insert("sourceImage".to_owned(), image["selfLink"].clone());
        disk.insert("sourceImageId".to_owned(), image["id"].clone());
        for field in ["architecture", "guestOsFeatures"] {
            if let Some(value) = image.get(field) {
                disk.entry(field).or_insert_with(|| value.clone());
            }
        }
    }
    if let Some(source) = disk.get("sourceSnapshot").and_then(Value::as_str) {
        let source = link(context.project, source);
        let snapshot = find(context.store, &source[LINKS.len()..])?;
        let least = crate::storage::number(&snapshot["diskSizeGb"]);
        size = asked.unwrap_or(least);
        if size < least {
            return Err(ApiError::invalid(format!(
                "Invalid value for field 'resource.sizeGb': '{size}'. Requested disk size cannot be smaller than the snapshot size ({least} GB)"
            )));
        }
        let id = snapshot["id"].clone();
        disk.insert("sourceSnapshot".to_owned(), source.into());
        disk.insert("sourceSnapshotId".to_owned(), id);
    }
    policies::link_all(context, disk)?;
    let kind = disk.get("type").and_then(Value::as_str);
    let kind = match kind {
        Some(kind) => link(context.project, kind),
        None => link(
            context.project,
            &format!("{}/diskTypes/pd-standard", context.scope),
        ),
    };
    disk.insert("type".to_owned(), kind.into());
    disk.insert("sizeGb".to_owned(), size.to_string().into());
    disk.insert("physicalBlockSizeBytes".to_owned(), "4096".into());
    Ok(None)
}

fn delete(_: &mut Context, disk: &Map<String, Value>) -> Result<()> {
    match disk.get("users").and_then(|users| users[0].as_str()) {
        None => Ok(()),
        Some(user) => Err(in_use("disk", disk, user)),
    }
}

/// A disk only grows.
fn resize(_: &mut Context, disk: &mut Map<String, Value>, body: Map<String, Value>) -> Result<()> {
    let now = gigabytes(disk)?.unwrap_or_default();
    let wanted = gigabytes(&body)?.unwrap_or_default();
    if wanted <= now {
        return Err(ApiError::invalid(format!(
            "Invalid value for field 'sizeGb': '{wanted}'. New disk size '{wanted}' GiB must be larger than existing size '{now}' GiB."
        )));
    }
    disk.insert("sizeGb".to_owned(), wanted.to_string().into());
    Ok(())
}

/// A new disk as the `initializeParams` of a machine describe it, READY.
pub fn of_params(context: &mut Context, name: &str, params: &Value) -> Result<Value> {
    check_name("resource.disks.initializeParams.diskName", name)?;
    let path = format!(
        "projects/{}/{}/disks/{name}",
        context.project, context.scope
    );
    if context.store.get(&format!("compute/{path}")).is_some() {
        return Err(already(&path));
    }
    let mut disk = base(context.store, &KIND, context.project, context.scope, &path);
    for (field, param) in [
        ("sizeGb", "diskSizeGb"),
        ("type", "diskType"),
        ("sourceImage", "sourceImage"),
        ("labels", "labels"),
        ("resourcePolicies", "resourcePolicies"),
    ] {
        if let Some(value) = params.get(param).filter(|value| !value.is_null()) {
            disk.insert(field.to_owned(), value.clone());
        }
    }
    create(context, &mut disk)?;
    super::labels::stamp(&mut disk);
    disk.insert("status".to_owned(), "READY".into());
    Ok(Value::Object(disk))
}
