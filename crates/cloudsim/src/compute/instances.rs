//! Machines: <https://cloud.google.com/compute/docs/reference/rest/v1/instances>.

use super::network::{self, in_use};
use super::operations::{self, By, Ending};
use super::{Context, Kind, LINKS, Scope, catalog, disks, find, labels, link, policies};
use crate::error::{ApiError, Result};
use crate::fault::OperationError;
use crate::http::{Query, now, public};
use crate::store::Store;
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
        ("start", |context, instance, _| {
            if instance["status"] != "RUNNING" {
                boot(context, instance);
            }
            instance.remove("_preempted");
            instance.insert("status".to_owned(), "RUNNING".into());
            instance.insert("lastStartTimestamp".to_owned(), now().into());
            Ok(())
        }),
        ("stop", |_, instance, _| {
            instance.insert("status".to_owned(), "TERMINATED".into());
            instance.insert("lastStopTimestamp".to_owned(), now().into());
            Ok(())
        }),
        ("reset", |_, instance, _| {
            begin_boot(instance);
            say(instance, "reset");
            Ok(())
        }),
        ("setMetadata", |_, instance, body| {
            set_printed(instance, "metadata", body)
        }),
        ("setTags", |_, instance, body| {
            set_printed(instance, "tags", body)
        }),
        ("setMachineType", set_machine_type),
        ("setScheduling", |_, instance, body| {
            let was_spot = is_spot(instance);
            instance.insert("scheduling".to_owned(), body.into());
            fill_scheduling(instance)?;
            if is_spot(instance) != was_spot {
                only_stopped(instance, "Provisioning model")?;
            }
            check_gpu(instance)
        }),
        ("setServiceAccount", |context, instance, body| {
            only_stopped(instance, "Service account")?;
            let accounts = json!(if body.is_empty() { vec![] } else { vec![body] });
            check_accounts(context, &accounts)?;
            instance.insert("serviceAccounts".to_owned(), accounts);
            Ok(())
        }),
        ("setDeletionProtection", |context, instance, _| {
            let on = context.call.query.get("deletionProtection") != Some("false");
            instance.insert("deletionProtection".to_owned(), on.into());
            Ok(())
        }),
        ("updateShieldedInstanceConfig", |_, instance, body| {
            only_stopped(instance, "Shielded VM configuration")?;
            instance.insert("shieldedInstanceConfig".to_owned(), body.into());
            Ok(())
        }),
        ("attachDisk", |context, instance, body| {
            attach(context, instance, body)
        }),
        ("detachDisk", detach),
        ("setDiskAutoDelete", set_auto_delete),
        ("addAccessConfig", add_access),
        ("deleteAccessConfig", delete_access),
        ("addResourcePolicies", policies::add),
        ("removeResourcePolicies", policies::remove),
    ],
};

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
    let machine = catalog::machine_link(context, machine)?;
    instance.insert("machineType".to_owned(), machine.into());
    if let Some(accelerators) = instance
        .get_mut("guestAccelerators")
        .and_then(Value::as_array_mut)
    {
        for accelerator in accelerators {
            let named = accelerator["acceleratorType"].as_str().unwrap_or_default();
            accelerator["acceleratorType"] = link(context.project, named).into();
        }
    }
    default(instance, "scheduling", json!({}));
    fill_scheduling(instance)?;
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
    let accounts = instance.get("serviceAccounts").cloned().unwrap_or_default();
    check_accounts(context, &accounts)?;
    policies::link_all(context, instance)?;

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
    boot(context, instance);
    Ok(None)
}

/// Fills in what was left out, and refuses what does not go together.
/// <https://cloud.google.com/compute/docs/reference/rest/v1/instances#Scheduling>
fn fill_scheduling(instance: &mut Fields) -> Result<()> {
    let Some(scheduling) = instance["scheduling"].as_object_mut() else {
        return Ok(());
    };
    let spot = scheduling.get("provisioningModel") == Some(&json!("SPOT"))
        || scheduling.get("preemptible") == Some(&json!(true));
    let (model, maintenance) = if spot {
        default(scheduling, "instanceTerminationAction", json!("STOP"));
        ("SPOT", "TERMINATE")
    } else {
        ("STANDARD", "MIGRATE")
    };
    default(scheduling, "automaticRestart", json!(!spot));
    default(scheduling, "onHostMaintenance", json!(maintenance));
    default(scheduling, "preemptible", json!(spot));
    default(scheduling, "provisioningModel", json!(model));
    let scheduling = &instance["scheduling"];
    let refuse = |field: &str, why: &str| {
        let value = &scheduling[field];
        Err(invalid(
            &format!("scheduling.{field}"),
            &format!("'{}'. {why}", value.as_str().unwrap_or(&value.to_string())),
        ))
    };
    if scheduling["provisioningModel"] != model {
        let why = "For preemptible, only allowed provisioning_model value is SPOT.";
        return refuse("provisioningModel", why);
    }
    if spot && scheduling["automaticRestart"] == true {
        let why = "Scheduling must have preemptible be false when AutomaticRestart is true.";
        return refuse("preemptible", why);
    }
    if spot && scheduling["onHostMaintenance"] != "TERMINATE" {
        let why =
            "Scheduling must have preemptible be false when OnHostMaintenance isn't TERMINATE.";
        return refuse("preemptible", why);
    }
    if !spot && scheduling.get("instanceTerminationAction").is_some() {
        let why = "It is for Spot instances and for those with a limited run time.";
        return refuse("instanceTerminationAction", why);
    }
    Ok(())
}

fn is_spot(instance: &Fields) -> bool {
    instance["scheduling"]["provisioningModel"] == "SPOT"
}

/// Takes a Spot machine back, as Google does at any time: it is told and shuts down, and is off when the operation ends.
/// <https://cloud.google.com/compute/docs/instances/spot#preemption-process>
pub fn preempt(store: &mut Store, project: &str, zone: &str, name: &str) -> Result<Value> {
    let path = format!("projects/{project}/zones/{zone}/instances/{name}");
    let key = format!("compute/{path}");
    let instance = find(store, &path)?.clone();
    if instance["status"] != "RUNNING" || !instance.as_object().is_some_and(is_spot) {
        return Err(ApiError::invalid(format!(
            "{name} is no Spot machine that runs."
        )));
    }
    let off = json!({"status": "TERMINATED", "lastStopTimestamp": now(), "_operation": null});
    let ending = Ending {
        success: vec![(key.clone(), off)],
        failure: vec![],
        error: None,
    };
    let scope = format!("zones/{zone}");
    let verb = "compute.instances.preempted";
    let by = By {
        user: "system",
        request: None,
    };
    let operation = operations::begin(store, &by, project, &scope, verb, &instance, ending)?;
    let going = json!({"status": "STOPPING", "_preempted": true, "_operation": operation["_key"]});
    store.apply(vec![(key, going)])?;
    Ok(public(&operation))
}

/// Puts a machine on a host: there must be room and quota. Failing that, the operation fails.
fn boot(context: &mut Context, instance: &mut Fields) {
    if context.also.error.is_none() {
        context.also.error = catalog::no_room(context, instance);
    }
    begin_boot(instance);
    say(instance, "started");
}

/// Counts boots, so that who is inside knows one from the next.
fn begin_boot(instance: &mut Fields) {
    let before = instance.get("_boots").and_then(Value::as_u64);
    instance.insert("_boots".to_owned(), (before.unwrap_or(0) + 1).into());
}

/// Adds a line to the serial port's output. Nothing boots here; the line says so much.
fn say(instance: &mut Fields, what: &str) {
    let name = instance["name"].as_str().unwrap_or_default();
    let line = format!("cloudsim: {name} {what} at {}\r\n", now());
    let before = instance
        .get("_serial")
        .and_then(Value::as_str)
        .unwrap_or_default();
    instance.insert("_serial".to_owned(), format!("{before}{line}").into());
}

/// What a machine writes, as no machine runs here.
pub enum Inside<'a> {
    /// To its serial port.
    Serial(&'a str),
    /// To its metadata server: `NAMESPACE/KEY` and the value.
    GuestAttribute(String, &'a str),
}

/// Writes as the machine itself would.
pub fn from_inside(
    store: &mut Store,
    project: &str,
    zone: &str,
    name: &str,
    write: Inside,
) -> Result<()> {
    let path = format!("projects/{project}/zones/{zone}/instances/{name}");
    let instance = find(store, &path)?;
    let effect = match write {
        Inside::Serial(text) => {
            let before = instance["_serial"].as_str().unwrap_or_default();
            json!({"_serial": format!("{before}{text}")})
        }
        Inside::GuestAttribute(..) if !takes_guest_attributes(instance) => {
            return Err(ApiError::new(
                403,
                "forbidden",
                "Guest attributes endpoint access is disabled.",
            ));
        }
        Inside::GuestAttribute(path, value) => {
            let mut all = instance["_guest"].as_object().cloned().unwrap_or_default();
            all.insert(path, value.into());
            json!({"_guest": all})
        }
    };
    Ok(store.apply(vec![(format!("compute/{path}"), effect)])?)
}

fn only_stopped(instance: &Fields, what: &str) -> Result<()> {
    if instance["status"] == "TERMINATED" {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "Invalid resource usage: '{what} can only be changed of a stopped instance.'."
    )))
}

/// Accounts of the project must exist, and the caller must be allowed to act as them.
fn check_accounts(context: &Context, accounts: &Value) -> Result<()> {
    for account in accounts.as_array().into_iter().flatten() {
        let email = account["email"].as_str().unwrap_or_default();
        if !crate::accounts::exists(context.store, context.project, email) {
            return Err(ApiError::not_found(format!(
                "The resource 'projects/{}/serviceAccounts/{email}' was not found",
                context.project
            )));
        }
        crate::accounts::may_act_as(context.store, context.call, context.project, email)?;
    }
    Ok(())
}

fn check_gpu(instance: &Fields) -> Result<()> {
    let gpu = catalog::needs(instance)
        .keys()
        .any(|metric| metric.ends_with("_GPUS"));
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
    only_stopped(instance, "Machine type")?;
    let machine = body
        .get("machineType")
        .and_then(Value::as_str)
        .unwrap_or_default();
    instance.insert(
        "machineType".to_owned(),
        catalog::machine_link(context, machine)?.into(),
    );
    check_gpu(instance)
}

fn set_auto_delete(context: &mut Context, instance: &mut Fields, _: Fields) -> Result<()> {
    let query = &context.call.query;
    let device = query.get("deviceName").unwrap_or_default();
    let disks = instance["disks"].as_array_mut().into_iter().flatten();
    let mut named = disks.filter(|disk| disk["deviceName"] == device);
    let disk = named.next().ok_or_else(|| no_device(device))?;
    disk["autoDelete"] = (query.get("autoDelete") == Some("true")).into();
    Ok(())
}

fn no_device(device: &str) -> ApiError {
    ApiError::invalid(format!(
        "No attached disk found with device name '{device}'"
    ))
}

/// The interface that a call names, and its number.
fn interface<'a>(context: &Context, instance: &'a mut Fields) -> Result<(usize, &'a mut Value)> {
    let name = context
        .call
        .query
        .get("networkInterface")
        .unwrap_or_default();
    let all = instance["networkInterfaces"]
        .as_array_mut()
        .into_iter()
        .flatten();
    let mut named = all
        .enumerate()
        .filter(|(_, interface)| interface["name"] == name);
    named
        .next()
        .ok_or_else(|| invalid("networkInterface", &format!("'{name}'.")))
}

fn add_access(context: &mut Context, instance: &mut Fields, mut access: Fields) -> Result<()> {
    let this = instance["selfLink"].clone();
    let (index, interface) = interface(context, instance)?;
    if interface["accessConfigs"]
        .as_array()
        .is_some_and(|all| !all.is_empty())
    {
        return Err(ApiError::invalid(
            "At most one access config currently supported.",
        ));
    }
    network::expose(context, &mut access, index, &this)?;
    interface["accessConfigs"] = json!([access]);
    Ok(())
}

fn delete_access(context: &mut Context, instance: &mut Fields, _: Fields) -> Result<()> {
    let this = instance["selfLink"].clone();
    let (_, interface) = interface(context, instance)?;
    interface["accessConfigs"] = json!([]);
    network::disconnect(context, &this);
    Ok(())
}

type Answer = fn(&Query, &Value) -> Result<Value>;

/// What can be asked of a machine: the permission and the answer.
pub fn question(name: &str) -> Option<(&'static str, Answer)> {
    Some(match name {
        "serialPort" => ("getSerialPortOutput", serial_output),
        "getGuestAttributes" => ("getGuestAttributes", guest_attributes),
        "getShieldedInstanceIdentity" => ("getShieldedInstanceIdentity", |_, instance| {
            let key = |of: &str| json!({"ekPub": format!("cloudsim {of} {}", instance["id"])});
            Ok(json!({
                "kind": "compute#shieldedInstanceIdentity",
                "signingKey": key("signing"),
                "encryptionKey": key("encryption"),
            }))
        }),
        _ => return None,
    })
}

fn serial_output(query: &Query, instance: &Value) -> Result<Value> {
    let all = match query.get("port") {
        None | Some("1") => instance["_serial"].as_str().unwrap_or_default(),
        _ => "",
    };
    let start = match query.get("start").map(str::parse::<i64>) {
        None => 0,
        Some(Ok(back @ ..0)) => all.len().saturating_sub(back.unsigned_abs() as usize),
        Some(Ok(start)) => (start as usize).min(all.len()),
        Some(Err(_)) => return Err(invalid("start", "it is no number.")),
    };
    let contents = String::from_utf8_lossy(&all.as_bytes()[start..]).into_owned();
    Ok(json!({
        "kind": "compute#serialPortOutput",
        "selfLink": format!("{}/serialPort", instance["selfLink"].as_str().unwrap_or_default()),
        "contents": contents,
        "start": start.to_string(),
        "next": all.len().to_string(),
    }))
}

/// Whether the machine may have guest attributes, by its metadata.
fn takes_guest_attributes(instance: &Value) -> bool {
    let value = attributes(&instance["metadata"]).remove("enable-guest-attributes");
    value.is_some_and(|value| {
        value
            .as_str()
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
    })
}

/// Metadata as the machine sees it: its values by key.
pub fn attributes(metadata: &Value) -> Fields {
    let items = metadata["items"].as_array().into_iter().flatten();
    items
        .filter_map(|item| Some((item["key"].as_str()?.to_owned(), item["value"].clone())))
        .collect()
}

fn guest_attributes(query: &Query, instance: &Value) -> Result<Value> {
    if !takes_guest_attributes(instance) {
        return Err(ApiError::invalid(
            "Guest attributes endpoint access is disabled.",
        ));
    }
    // `NAMESPACE/`, `NAMESPACE/KEY` or nothing.
    let wanted = query.get("queryPath").unwrap_or_default();
    let hit = |path: &str| {
        path == wanted || wanted.is_empty() || wanted.ends_with('/') && path.starts_with(wanted)
    };
    let all = instance["_guest"].as_object().into_iter().flatten();
    let items: Vec<Value> = all
        .filter(|(path, _)| hit(path))
        .filter_map(|(path, value)| {
            let (namespace, key) = path.split_once('/')?;
            Some(json!({"namespace": namespace, "key": key, "value": value}))
        })
        .collect();
    if items.is_empty() {
        return Err(ApiError::not_found(format!(
            "The resource '{wanted}' of type 'Guest Attribute' was not found."
        )));
    }
    Ok(json!({
        "kind": "compute#guestAttributes",
        "selfLink": format!("{}/getGuestAttributes", instance["selfLink"].as_str().unwrap_or_default()),
        "queryPath": wanted,
        "queryValue": {"items": items},
    }))
}

/// Attaches a disk that exists, or one made for it of `initializeParams`.
fn attach(context: &mut Context, instance: &mut Fields, mut attached: Fields) -> Result<()> {
    let index = instance["disks"].as_array().map_or(0, Vec::len);
    let this = instance["selfLink"].as_str().unwrap_or_default().to_owned();
    let (key, disk, made) = match (attached.remove("initializeParams"), attached.get("source")) {
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
                true,
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
            (format!("compute/{path}"), disk.clone(), false)
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
    let used = json!([this]);
    // Only once the machine is there.
    let attached_at = json!({"lastAttachTimestamp": now()});
    context.also.success.push((key.clone(), attached_at));
    if made {
        let mut disk = disk;
        disk["users"] = used;
        context.also.made.push((key.clone(), disk));
        context.also.failure.push((key, Value::Null));
    } else {
        context.also.now.push((key.clone(), json!({"users": used})));
        context.also.failure.push((key, json!({"users": null})));
    }
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
    let effect = json!({"users": null, "lastDetachTimestamp": now()});
    context.also.success.push((key, effect));
}

fn detach(context: &mut Context, instance: &mut Fields, _: Fields) -> Result<()> {
    let device = context.call.query.get("deviceName").unwrap_or_default();
    let disks = instance["disks"].as_array().cloned().unwrap_or_default();
    let (gone, left): (Vec<Value>, Vec<Value>) = disks
        .into_iter()
        .partition(|disk| disk["deviceName"] == device);
    let [gone] = gone.as_slice() else {
        return Err(no_device(device));
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
