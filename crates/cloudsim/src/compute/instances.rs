//! Machines: <https://cloud.google.com/compute/docs/reference/rest/v1/instances>.

use super::network::{self, in_use};
use super::{Context, Kind, LINKS, Scope, disks, find, labels, link};
use crate::error::{ApiError, Result};
use crate::fault::OperationError;
use crate::http::now;
use serde_json::{Map, Value, json};

type Fields = Map<String, Value>;

pub const KIND: Kind = Kind {
    collection: "instances",
    name: "compute#instance",
    scope: Scope::Zonal,
    status: Some(["PROVISIONING", "RUNNING"]),
    failed: None,
    patchable: &[],
    create,
    delete,
    verbs: &[
        ("start", |_, instance, _| {
            instance.insert("status".to_owned(), "RUNNING".into());
            instance.insert("lastStartTimestamp".to_owned(), now().into());
            Ok(())
        }),
        ("stop", |_, instance, _| {
            instance.insert("status".to_owned(), "TERMINATED".into());
            instance.insert("lastStopTimestamp".to_owned(), now().into());
            Ok(())
        }),
        ("reset", |_, _, _| Ok(())),
        ("setMetadata", |_, instance, body| {
            set_printed(instance, "metadata", body)
        }),
        ("setTags", |_, instance, body| {
            set_printed(instance, "tags", body)
        }),
        ("setMachineType", set_machine_type),
        ("attachDisk", |context, instance, body| {
            attach(context, instance, body)
        }),
        ("detachDisk", detach),
    ],
};

/// Families of machines that come with GPUs.
const GPU_FAMILIES: &[&str] = &["a2-", "a3-", "a4-", "g2-", "g4-"];

fn invalid(field: &str, why: &str) -> ApiError {
    ApiError::invalid(format!("Invalid value for field 'resource.{field}': {why}"))
}

fn default(fields: &mut Fields, field: &str, value: Value) {
    fields.entry(field).or_insert(value);
}

fn create(context: &mut Context, instance: &mut Fields) -> Result<Option<OperationError>> {
    let machine = instance
        .get("machineType")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let machine = link(context.project, machine);
    if !machine.contains("/machineTypes/") {
        return Err(invalid(
            "machineType",
            &format!("'{machine}'. The URL is malformed."),
        ));
    }
    instance.insert("machineType".to_owned(), machine.into());
    default(instance, "scheduling", json!({}));
    if let Some(scheduling) = instance["scheduling"].as_object_mut() {
        default(scheduling, "automaticRestart", json!(true));
        default(scheduling, "onHostMaintenance", json!("MIGRATE"));
        default(scheduling, "preemptible", json!(false));
        default(scheduling, "provisioningModel", json!("STANDARD"));
    }
    check_gpu(instance)?;
    for field in ["metadata", "tags"] {
        default(instance, field, json!({}));
        print(&mut instance[field]);
    }
    let shielded =
        json!({"enableSecureBoot": false, "enableVtpm": true, "enableIntegrityMonitoring": true});
    default(instance, "shieldedInstanceConfig", shielded);
    default(instance, "deletionProtection", json!(false));
    instance.insert("lastStartTimestamp".to_owned(), now().into());

    let wanted = match instance.remove("disks") {
        Some(Value::Array(disks)) if !disks.is_empty() => disks,
        _ => return Err(invalid("disks", "''. At least one disk must be given.")),
    };
    instance.insert("disks".to_owned(), json!([]));
    for disk in wanted {
        attach(
            context,
            instance,
            disk.as_object().cloned().unwrap_or_default(),
        )?;
    }
    if instance["disks"][0]["boot"] != true {
        return Err(invalid(
            "disks",
            "''. Boot disk must be the first disk attached to the instance.",
        ));
    }
    let mut interfaces = match instance.remove("networkInterfaces") {
        Some(Value::Array(interfaces)) if !interfaces.is_empty() => interfaces,
        _ => {
            return Err(invalid(
                "networkInterfaces",
                "''. At least one network interface is required.",
            ));
        }
    };
    let this = instance["selfLink"].clone();
    for (index, interface) in interfaces.iter_mut().enumerate() {
        network::connect(context, interface, index, &this)?;
    }
    instance.insert("networkInterfaces".to_owned(), interfaces.into());
    Ok(None)
}

fn check_gpu(instance: &Fields) -> Result<()> {
    let machine = instance["machineType"].as_str().unwrap_or_default();
    let machine = machine.rsplit('/').next().unwrap_or_default();
    let attached = instance
        .get("guestAccelerators")
        .and_then(Value::as_array)
        .is_some_and(|list| !list.is_empty());
    let gpu = attached
        || GPU_FAMILIES
            .iter()
            .any(|family| machine.starts_with(family));
    if gpu && instance["scheduling"]["onHostMaintenance"] != "TERMINATE" {
        return Err(ApiError::invalid(
            "Instances with guest accelerators do not support live migration.",
        ));
    }
    Ok(())
}

/// Gives metadata or tags the fingerprint that the next writer must have seen.
fn print(value: &mut Value) {
    if let Some(fields) = value.as_object_mut() {
        fields.remove("fingerprint");
        let print = labels::fingerprint(&Value::Object(fields.clone()));
        fields.insert("fingerprint".to_owned(), print.into());
    }
}

fn set_printed(instance: &mut Fields, field: &str, body: Fields) -> Result<()> {
    if body.get("fingerprint") != instance[field].get("fingerprint") {
        return Err(ApiError::precondition_because(format!(
            "Supplied fingerprint does not match current {field} fingerprint."
        )));
    }
    let mut new = Value::Object(body);
    print(&mut new);
    instance.insert(field.to_owned(), new);
    Ok(())
}

fn set_machine_type(context: &mut Context, instance: &mut Fields, body: Fields) -> Result<()> {
    if instance["status"] != "TERMINATED" {
        return Err(ApiError::invalid(
            "Invalid resource usage: 'Machine type can only be changed of a stopped instance.'.",
        ));
    }
    let machine = body
        .get("machineType")
        .and_then(Value::as_str)
        .unwrap_or_default();
    instance.insert(
        "machineType".to_owned(),
        link(context.project, machine).into(),
    );
    check_gpu(instance)
}

/// Attaches a disk that exists, or one made for it of `initializeParams`.
fn attach(context: &mut Context, instance: &mut Fields, mut attached: Fields) -> Result<()> {
    let index = instance["disks"].as_array().map_or(0, Vec::len);
    let this = instance["selfLink"].as_str().unwrap_or_default().to_owned();
    let (key, disk, before) = match (attached.remove("initializeParams"), attached.get("source")) {
        (Some(params), None) => {
            let name = match (params["diskName"].as_str(), index) {
                (Some(name), _) => name.to_owned(),
                (None, 0) => instance["name"].as_str().unwrap_or_default().to_owned(),
                (None, index) => {
                    format!("{}-{index}", instance["name"].as_str().unwrap_or_default())
                }
            };
            let disk = disks::of_params(context, &name, &params)?;
            (
                format!(
                    "compute/projects/{}/{}/disks/{name}",
                    context.project, context.scope
                ),
                disk,
                Value::Null,
            )
        }
        (None, Some(Value::String(source))) => {
            let source = link(context.project, source);
            let path = &source[LINKS.len()..];
            let disk = find(context.store, path)?;
            if let Some(user) = disk["users"][0].as_str() {
                return Err(in_use(
                    "disk",
                    disk.as_object().expect("a disk is an object"),
                    user,
                ));
            }
            if disk.get("_operation").is_some() {
                return Err(ApiError::new(
                    400,
                    "resourceNotReady",
                    format!("The resource '{path}' is not ready"),
                ));
            }
            (format!("compute/{path}"), disk.clone(), disk.clone())
        }
        _ => {
            return Err(invalid(
                &format!("disks[{index}]"),
                "''. Give either source or initializeParams.",
            ));
        }
    };
    attached.insert("kind".to_owned(), "compute#attachedDisk".into());
    attached.insert("index".to_owned(), index.into());
    attached.insert("source".to_owned(), disk["selfLink"].clone());
    attached.insert("diskSizeGb".to_owned(), disk["sizeGb"].clone());
    for field in ["guestOsFeatures", "architecture"] {
        if let Some(value) = disk.get(field) {
            attached.insert(field.to_owned(), value.clone());
        }
    }
    default(
        &mut attached,
        "deviceName",
        format!("persistent-disk-{index}").into(),
    );
    for (field, value) in [
        ("type", "PERSISTENT"),
        ("mode", "READ_WRITE"),
        ("interface", "SCSI"),
    ] {
        default(&mut attached, field, value.into());
    }
    for field in ["autoDelete", "boot"] {
        default(&mut attached, field, json!(false));
    }
    let mut used = disk;
    used["users"] = json!([this]);
    context.also.now.push((key.clone(), used));
    context.also.failure.push((key, before));
    if let Some(disks) = instance["disks"].as_array_mut() {
        disks.push(attached.into());
    }
    Ok(())
}

/// Frees an attached disk once the operation is done.
fn release(context: &mut Context, attached: &Value) {
    let key = format!(
        "compute/{}",
        attached["source"]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches(LINKS)
    );
    if let Some(mut disk) = context.store.get(&key).cloned() {
        disk.as_object_mut().map(|fields| fields.remove("users"));
        context.also.success.push((key, disk));
    }
}

fn detach(context: &mut Context, instance: &mut Fields, _: Fields) -> Result<()> {
    let device = context.call.query.get("deviceName").unwrap_or_default();
    let disks = instance["disks"].as_array().cloned().unwrap_or_default();
    let (gone, left): (Vec<Value>, Vec<Value>) = disks
        .into_iter()
        .partition(|disk| disk["deviceName"] == device);
    let [gone] = gone.as_slice() else {
        return Err(ApiError::invalid(format!(
            "No attached disk found with device name '{device}'"
        )));
    };
    if gone["boot"] == true && instance["status"] != "TERMINATED" {
        return Err(ApiError::invalid(
            "Invalid resource usage: 'The boot disk of a running instance cannot be detached.'.",
        ));
    }
    release(context, gone);
    instance.insert("disks".to_owned(), left.into());
    Ok(())
}

fn delete(context: &mut Context, instance: &Fields) -> Result<()> {
    if instance["deletionProtection"] == true {
        return Err(ApiError::invalid(
            "Invalid resource usage: 'Resource cannot be deleted if it's protected against deletion.'.",
        ));
    }
    for disk in instance["disks"].as_array().into_iter().flatten() {
        if disk["autoDelete"] == true {
            let path = disk["source"]
                .as_str()
                .unwrap_or_default()
                .trim_start_matches(LINKS);
            context
                .also
                .success
                .push((format!("compute/{path}"), Value::Null));
        } else {
            release(context, disk);
        }
    }
    network::disconnect(context, &instance["selfLink"]);
    Ok(())
}
