//! What there is to choose from: regions, zones, types of machines, GPUs and disks; and how much of it is left.

use super::{Context, LINKS, link, page};
use crate::error::{ApiError, Result};
use crate::fault::OperationError;
use crate::http::{Call, Reply, json};
use crate::store::Store;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Regions and their zones, few enough to read.
const REGIONS: &[(&str, &[&str])] = &[
    ("us-central1", &["a", "b", "c", "f"]),
    ("us-east1", &["b", "c", "d"]),
    ("europe-west1", &["b", "c", "d"]),
    ("europe-west4", &["a", "b", "c"]),
    ("asia-east1", &["a", "b", "c"]),
];

pub fn list(call: &Call, project: &str, places: &str) -> Result<Reply> {
    let names = REGIONS.iter().flat_map(|(region, zones)| match places {
        "regions" => vec![(*region).to_owned()],
        _ => zones
            .iter()
            .map(|zone| format!("{region}-{zone}"))
            .collect(),
    });
    let store = call.world.store();
    let mut items = Vec::new();
    for name in names {
        let found = with_quotas(&store, call, project, place(project, places, &name)?);
        items.push((name, found));
    }
    let mut reply = page(
        &call.query,
        items
            .iter()
            .map(|(name, item)| (name.as_str(), item.clone())),
    )?;
    reply["kind"] = format!("compute#{}List", places.trim_end_matches('s')).into();
    Ok(json(&reply))
}

pub fn get(call: &Call, project: &str, places: &str, name: &str) -> Result<Reply> {
    let found = place(project, places, name)?;
    Ok(json(&with_quotas(
        &call.world.store(),
        call,
        project,
        found,
    )))
}

fn with_quotas(store: &Store, call: &Call, project: &str, mut place: Value) -> Value {
    if place["kind"] == "compute#region" {
        let region = place["name"].as_str().unwrap_or_default();
        place["quotas"] = quotas(store, call, project, Some(region));
    }
    place
}

/// A region or a zone.
pub fn place(project: &str, places: &str, name: &str) -> Result<Value> {
    let link = |path: String| format!("{LINKS}projects/{project}/{path}");
    let zones = |region: &str, zones: &[&str]| -> Vec<String> {
        zones
            .iter()
            .map(|zone| link(format!("zones/{region}-{zone}")))
            .collect()
    };
    let found = REGIONS.iter().find_map(|(region, letters)| {
        if places == "regions" {
            return (*region == name)
                .then(|| json!({"kind": "compute#region", "zones": zones(region, letters)}));
        }
        let letter = name.strip_prefix(region)?.strip_prefix('-')?;
        let of_region =
            json!({"kind": "compute#zone", "region": link(format!("regions/{region}"))});
        letters.contains(&letter).then_some(of_region)
    });
    let path = format!("{places}/{name}");
    let mut found = found.ok_or_else(|| {
        ApiError::not_found(format!(
            "The resource 'projects/{project}/{path}' was not found"
        ))
    })?;
    found["name"] = name.into();
    found["status"] = "UP".into();
    found["selfLink"] = link(path).into();
    Ok(found)
}

/// What a machine type gives.
struct Machine {
    cpus: u64,
    memory_mb: u64,
    /// GPUs that come with it: their type and how many.
    gpu: Option<(&'static str, u64)>,
}

/// Families by what their types begin with, and the kinds of machines in each.
/// <https://cloud.google.com/compute/docs/machine-resource>
const FAMILIES: &[(&str, &[&str])] = &[
    ("c2", &["standard"]),
    ("c2d", &["standard", "highcpu", "highmem"]),
    ("c3", &["standard", "highcpu", "highmem"]),
    ("c3d", &["standard", "highcpu", "highmem"]),
    ("c4", &["standard", "highcpu", "highmem"]),
    ("c4a", &["standard", "highcpu", "highmem"]),
    ("c4d", &["standard", "highcpu", "highmem"]),
    ("e2", &["standard", "highcpu", "highmem"]),
    ("g2", &["standard"]),
    ("g4", &["standard"]),
    ("n1", &["standard", "highcpu", "highmem"]),
    ("n2", &["standard", "highcpu", "highmem"]),
    ("n2d", &["standard", "highcpu", "highmem"]),
    ("n4", &["standard", "highcpu", "highmem"]),
    ("t2a", &["standard"]),
    ("t2d", &["standard"]),
];

/// Types whose names follow no rule: name, virtual CPUs, MiB.
const SHARED_CORE: &[(&str, u64, u64)] = &[
    ("e2-micro", 2, 1024),
    ("e2-small", 2, 2048),
    ("e2-medium", 2, 4096),
    ("f1-micro", 1, 614),
    ("g1-small", 1, 1740),
];

/// Types named after their GPUs: what they begin with, the GPU, virtual CPUs and GiB for each.
const GPU_MACHINES: &[(&str, &str, u64, u64)] = &[
    ("a2-highgpu-", "nvidia-tesla-a100", 12, 85),
    ("a2-ultragpu-", "nvidia-a100-80gb", 12, 170),
    ("a3-highgpu-", "nvidia-h100-80gb", 26, 234),
];

/// GPUs to choose from, and the metric of their quota.
const GPUS: &[(&str, &str)] = &[
    ("nvidia-a100-80gb", "NVIDIA_A100_80GB_GPUS"),
    ("nvidia-h100-80gb", "NVIDIA_H100_GPUS"),
    ("nvidia-l4", "NVIDIA_L4_GPUS"),
    ("nvidia-rtx-pro-6000", "NVIDIA_RTX_PRO_6000_GPUS"),
    ("nvidia-tesla-a100", "NVIDIA_A100_GPUS"),
    ("nvidia-tesla-p100", "NVIDIA_P100_GPUS"),
    ("nvidia-tesla-p4", "NVIDIA_P4_GPUS"),
    ("nvidia-tesla-t4", "NVIDIA_T4_GPUS"),
    ("nvidia-tesla-v100", "NVIDIA_V100_GPUS"),
];

const DISK_TYPES: &[&str] = &[
    "hyperdisk-balanced",
    "hyperdisk-extreme",
    "hyperdisk-throughput",
    "local-ssd",
    "pd-balanced",
    "pd-extreme",
    "pd-ssd",
    "pd-standard",
];

fn machine(name: &str) -> Option<Machine> {
    if let Some((_, cpus, memory_mb)) = SHARED_CORE.iter().find(|(known, ..)| *known == name) {
        return Some(Machine {
            cpus: *cpus,
            memory_mb: *memory_mb,
            gpu: None,
        });
    }
    if let Some((prefix, gpu, cpus, gib)) = GPU_MACHINES.iter().find(|(p, ..)| name.starts_with(p))
    {
        let count: u64 = name[prefix.len()..].strip_suffix('g')?.parse().ok()?;
        return [1, 2, 4, 8].contains(&count).then_some(Machine {
            cpus: cpus * count,
            memory_mb: gib * 1024 * count,
            gpu: Some((gpu, count)),
        });
    }
    let mut parts = name.split('-');
    let (family, kind) = (parts.next()?, parts.next()?);
    let cpus: u64 = parts.next()?.parse().ok()?;
    let (_, kinds) = FAMILIES.iter().find(|(known, _)| *known == family)?;
    let possible = cpus == 1 || cpus.is_multiple_of(2) && (2..=416).contains(&cpus);
    if !kinds.contains(&kind) || !possible || parts.next().is_some() {
        return None;
    }
    // MiB a virtual CPU. n1's are not round.
    let memory_mb = cpus
        * match (family, kind) {
            ("n1", "standard") => 3840,
            ("n1", "highmem") => 6656,
            ("n1", _) => 922,
            (_, "standard") => 4096,
            (_, "highmem") => 8192,
            _ => 2048,
        };
    let gpu = match (family, cpus) {
        ("g2", 4 | 8 | 12 | 16 | 32) => Some(("nvidia-l4", 1)),
        ("g2", 24) => Some(("nvidia-l4", 2)),
        ("g2", 48) => Some(("nvidia-l4", 4)),
        ("g2", 96) => Some(("nvidia-l4", 8)),
        ("g4", 48 | 96 | 192 | 384) => Some(("nvidia-rtx-pro-6000", cpus / 48)),
        ("g2" | "g4", _) => return None,
        _ => None,
    };
    Some(Machine {
        cpus,
        memory_mb,
        gpu,
    })
}

/// The link of a machine type, which must be there.
pub fn machine_link(context: &Context, named: &str) -> Result<String> {
    let full = link(context.project, named);
    let malformed = || {
        ApiError::invalid(format!(
            "Invalid value for field 'resource.machineType': '{full}'. The URL is malformed."
        ))
    };
    let (_, name) = full.split_once("/machineTypes/").ok_or_else(malformed)?;
    let zone = context.scope.trim_start_matches("zones/");
    if machine(name).is_none() || !context.world.settings().offers(zone, name) {
        return Err(ApiError::invalid(format!(
            "Invalid value for field 'resource.machineType': '{full}'. The referenced resource does not exist."
        )));
    }
    Ok(full)
}

/// `machineTypes`, `acceleratorTypes` and `diskTypes` of a zone: one by its name, or all that are worth listing.
pub fn types(
    call: &Call,
    project: &str,
    zone: &str,
    collection: &str,
    path: &[&str],
) -> Result<Option<Value>> {
    let describe: fn(&str) -> Option<Value> = match collection {
        "machineTypes" => |name| {
            let machine = machine(name)?;
            let mut described = json!({
                "kind": "compute#machineType",
                "guestCpus": machine.cpus,
                "memoryMb": machine.memory_mb,
                "architecture": if name.starts_with("c4a-") || name.starts_with("t2a-") { "ARM64" } else { "X86_64" },
            });
            if let Some((gpu, count)) = machine.gpu {
                described["accelerators"] =
                    json!([{"guestAcceleratorType": gpu, "guestAcceleratorCount": count}]);
            }
            Some(described)
        },
        "acceleratorTypes" => |name| {
            let known = GPUS.iter().any(|(gpu, _)| *gpu == name);
            known.then(|| json!({"kind": "compute#acceleratorType", "maximumCardsPerInstance": 8}))
        },
        "diskTypes" => |name| {
            let known = DISK_TYPES.contains(&name);
            known.then(|| json!({"kind": "compute#diskType", "validDiskSize": "10GB-65536GB"}))
        },
        _ => return Ok(None),
    };
    let one = |name: &str| {
        let path = format!("projects/{project}/zones/{zone}/{collection}/{name}");
        let mut found = describe(name)
            .filter(|_| call.world.settings().offers(zone, name))
            .ok_or_else(|| ApiError::not_found(format!("The resource '{path}' was not found")))?;
        found["name"] = name.into();
        found["zone"] = link(project, &format!("zones/{zone}")).into();
        found["selfLink"] = format!("{LINKS}{path}").into();
        Ok::<_, ApiError>(found)
    };
    if let [name] = path {
        return one(name).map(Some);
    }
    let names: Vec<String> = match collection {
        "machineTypes" => FAMILIES
            .iter()
            .flat_map(|(family, kinds)| kinds.iter().map(move |kind| (family, kind)))
            .flat_map(|(family, kind)| {
                [2, 4, 8, 16, 32, 48].map(|cpus| format!("{family}-{kind}-{cpus}"))
            })
            .filter(|name| machine(name).is_some())
            .collect(),
        "acceleratorTypes" => GPUS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        _ => DISK_TYPES.iter().map(|name| (*name).to_owned()).collect(),
    };
    let items = names
        .iter()
        .filter_map(|name| Some((name.as_str(), one(name).ok()?)));
    page(&call.query, items).map(Some)
}

/// What a machine takes while it runs, by the metrics of quotas.
pub fn needs(instance: &Map<String, Value>) -> BTreeMap<String, u64> {
    let mut needs = BTreeMap::new();
    let mut take = |metric: &str, count: u64| *needs.entry(metric.to_owned()).or_insert(0) += count;
    let named = instance
        .get("machineType")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let named = named.rsplit('/').next().unwrap_or_default();
    let Some(machine) = machine(named) else {
        return needs;
    };
    match named.split('-').next().unwrap_or_default() {
        "e2" | "f1" | "g1" | "g2" | "g4" | "n1" => take("CPUS", machine.cpus),
        family => take(&format!("{}_CPUS", family.to_uppercase()), machine.cpus),
    }
    let attached = instance.get("guestAccelerators").and_then(Value::as_array);
    let attached = attached.into_iter().flatten().map(|gpu| {
        let kind = gpu["acceleratorType"].as_str().unwrap_or_default();
        let count = gpu["acceleratorCount"].as_u64().unwrap_or_default();
        (kind.rsplit('/').next().unwrap_or_default(), count)
    });
    // Those that come with a machine may be named as well.
    let gpus: Vec<(&str, u64)> = machine
        .gpu
        .map_or_else(|| attached.collect(), |gpu| vec![gpu]);
    for (kind, count) in gpus.into_iter().filter(|(_, count)| *count > 0) {
        let metric = GPUS
            .iter()
            .find(|(gpu, _)| *gpu == kind)
            .map_or("OTHER_GPUS", |gpu| gpu.1);
        take(metric, count);
        take(GLOBAL_GPUS, count);
    }
    let interfaces = instance.get("networkInterfaces").and_then(Value::as_array);
    for interface in interfaces.into_iter().flatten() {
        let outside = interface["accessConfigs"].as_array().map_or(0, Vec::len);
        take("IN_USE_ADDRESSES", outside as u64);
    }
    needs
}

/// The one quota here that is the whole project's.
const GLOBAL_GPUS: &str = "GPUS_ALL_REGIONS";

/// Metrics that are listed whether they are limited or not.
const REGION_METRICS: &[&str] = &[
    "CPUS",
    "IN_USE_ADDRESSES",
    "N2_CPUS",
    "NVIDIA_L4_GPUS",
    "NVIDIA_T4_GPUS",
    "STATIC_ADDRESSES",
];

/// The limit that is listed where the settings have none. It is not kept to.
const NO_LIMIT: u64 = 1_000_000;

/// What is in use of a region, or of the whole project.
fn usage(store: &Store, project: &str, region: Option<&str>) -> BTreeMap<String, u64> {
    let mut used = BTreeMap::new();
    let prefix = format!(
        "compute/projects/{project}/zones/{}",
        region.unwrap_or_default()
    );
    let machines = store.scan(&prefix, "").map(|(_, value)| value);
    let on = |machine: &&Value| {
        machine["kind"] == "compute#instance"
            && !["TERMINATED", "STOPPING"].contains(&machine["status"].as_str().unwrap_or_default())
    };
    for machine in machines.filter(on) {
        for (metric, count) in machine.as_object().map(needs).unwrap_or_default() {
            *used.entry(metric).or_insert(0) += count;
        }
    }
    let prefix = format!(
        "compute/projects/{project}/regions/{}",
        region.unwrap_or_default()
    );
    let addresses = store.scan(&prefix, "").filter(|(_, address)| {
        address["kind"] == "compute#address" && address["addressType"] == "EXTERNAL"
    });
    used.insert("STATIC_ADDRESSES".to_owned(), addresses.count() as u64);
    used
}

/// Quotas as a region lists them, or as the project does.
pub fn quotas(store: &Store, call: &Call, project: &str, region: Option<&str>) -> Value {
    let used = usage(store, project, region);
    let limits = call.world.settings().quotas.clone();
    let mut metrics: Vec<&str> = match region {
        None => vec![GLOBAL_GPUS],
        Some(_) => REGION_METRICS
            .iter()
            .copied()
            .chain(limits.keys().map(String::as_str))
            .collect(),
    };
    metrics.retain(|metric| region.is_none() || *metric != GLOBAL_GPUS);
    metrics.sort_unstable();
    metrics.dedup();
    let quota = |metric: &&str| {
        let limit = limits.get(*metric).copied().unwrap_or(NO_LIMIT);
        let used = used.get(*metric).copied().unwrap_or(0);
        json!({"metric": metric, "limit": limit as f64, "usage": used as f64})
    };
    metrics.iter().map(quota).collect()
}

fn exceeded(metric: &str, limit: u64, region: Option<&str>) -> String {
    let place = region.map_or("globally".to_owned(), |region| {
        format!("in region {region}")
    });
    format!("Quota '{metric}' exceeded.  Limit: {limit}.0 {place}.")
}

/// Why a machine cannot be put on a host of its zone now, if so.
pub fn no_room(context: &Context, instance: &Map<String, Value>) -> Option<OperationError> {
    let zone = context.scope.trim_start_matches("zones/");
    let region = zone.rsplit_once('-').map_or(zone, |(region, _)| region);
    let settings = context.world.settings().clone();
    let named = instance["machineType"].as_str().unwrap_or_default();
    if settings.is_out_of_stock(zone, named.rsplit('/').next().unwrap_or_default()) {
        return Some(OperationError {
            code: "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS".to_owned(),
            message: format!(
                "The zone 'projects/{}/zones/{zone}' does not have enough resources available to fulfill the request.  '(resource type:compute)'.",
                context.project
            ),
        });
    }
    for (metric, need) in needs(instance) {
        let Some(limit) = settings.quotas.get(&metric) else {
            continue;
        };
        let region = (metric != GLOBAL_GPUS).then_some(region);
        let used = usage(context.store, context.project, region);
        if used.get(&metric).copied().unwrap_or(0) + need > *limit {
            return Some(OperationError {
                code: "QUOTA_EXCEEDED".to_owned(),
                message: exceeded(&metric, *limit, region),
            });
        }
    }
    None
}

/// Refuses another reserved address when the region has its number. Unlike a machine, it is refused at once.
pub fn check_static_addresses(context: &Context) -> Result<()> {
    let metric = "STATIC_ADDRESSES";
    let Some(limit) = context.world.settings().quotas.get(metric).copied() else {
        return Ok(());
    };
    let region = context.scope.trim_start_matches("regions/");
    if usage(context.store, context.project, Some(region))[metric] < limit {
        return Ok(());
    }
    Err(ApiError::new(
        403,
        "quotaExceeded",
        exceeded(metric, limit, Some(region)),
    ))
}
