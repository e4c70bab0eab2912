//! What the simulated cloud refuses beyond the rules that always hold: APIs not enabled, rate quotas, quotas, stock-outs.

use crate::error::{ApiError, Result};
use crate::http::{Call, glob};
use crate::store::Store;
use crate::{project, services};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// The simulated cloud's own settings. The default refuses nothing.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// APIs answer 403 until the project has enabled them.
    pub apis_start_disabled: bool,
    /// So many calls to an API are refused yet after it was enabled, as the real ones do for minutes.
    pub enabled_api_lag: u64,
    /// Requests a minute by API (`compute.googleapis.com`), for each project.
    pub requests_per_minute: BTreeMap<String, u64>,
    /// Quotas by metric, for each region: `CPUS`, `IN_USE_ADDRESSES`, `STATIC_ADDRESSES`, `NVIDIA_L4_GPUS` …;
    /// `GPUS_ALL_REGIONS` is the whole project's.
    pub quotas: BTreeMap<String, u64>,
    /// Milliseconds until a call is looked at, as if the cloud were far away.
    pub latency_ms: u64,
    /// Machines that zones have none of.
    pub stock_outs: Vec<StockOut>,
    /// Types of machines and GPUs that zones do not have at all.
    pub not_offered: Vec<NotOffered>,
}

/// In this zone there is no room for these machines.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StockOut {
    /// Such as `europe-west4-a`; `*` stands for any run of characters.
    pub zone: String,
    /// Such as `g2-*`.
    pub machine_type: String,
}

/// This zone does not have these types, now or later.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NotOffered {
    /// Such as `europe-west4-a`; `*` stands for any run of characters.
    pub zone: String,
    /// A machine type such as `g2-*`, or a GPU such as `nvidia-tesla-t4`.
    pub r#type: String,
}

impl Settings {
    /// Whether a zone has a type of machine or GPU.
    pub fn offers(&self, zone: &str, r#type: &str) -> bool {
        let hit = |it: &NotOffered| glob(&it.zone, zone) && glob(&it.r#type, r#type);
        !self.not_offered.iter().any(hit)
    }

    /// Whether a zone is out of machines of a type.
    pub fn is_out_of_stock(&self, zone: &str, machine_type: &str) -> bool {
        let hit = |out: &StockOut| glob(&out.zone, zone) && glob(&out.machine_type, machine_type);
        self.stock_outs.iter().any(hit)
    }
}

/// Requests of the minute that began at `.0`, by API and project.
pub type Rates = HashMap<(&'static str, String), (Instant, u64)>;

/// Refuses a call that its project may not make, or not now.
pub fn admit(call: &Call, api: &'static str, project: &str) -> Result<()> {
    let (limit, apis_start_disabled) = {
        let settings = call.world.settings();
        (
            settings.requests_per_minute.get(api).copied(),
            settings.apis_start_disabled,
        )
    };
    if let Some(limit) = limit {
        let mut rates = call.world.rates.lock().expect("no panic while held");
        let rate = rates
            .entry((api, project.to_owned()))
            .or_insert((Instant::now(), 0));
        if rate.0.elapsed() >= Duration::from_secs(60) {
            *rate = (Instant::now(), 0);
        }
        rate.1 += 1;
        if rate.1 > limit {
            return Err(too_fast(api, project));
        }
    }
    if !apis_start_disabled || api == "serviceusage.googleapis.com" {
        return Ok(());
    }
    let mut store = call.world.store();
    if !services::enabled(&store, project, api) || refuses_yet(&mut store, project, api)? {
        return Err(disabled(api, project));
    }
    Ok(())
}

/// Counts one of the refusals that follow an API's being enabled.
fn refuses_yet(store: &mut Store, project: &str, api: &str) -> Result<bool> {
    let key = services::key(project, api);
    let left = store
        .get(&key)
        .and_then(|service| service["_refusals"].as_u64());
    match left {
        Some(left @ 1..) => {
            store.apply(vec![(key, json!({"_refusals": left - 1}))])?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

fn too_fast(api: &str, project: &str) -> ApiError {
    let consumer = format!("project_number:{}", project::number(project));
    // Compute Engine calls its limit another name, and answers another status.
    let (status, metric) = match api {
        "compute.googleapis.com" => (403, "Queries"),
        _ => (429, "Requests"),
    };
    let message = format!(
        "Quota exceeded for quota metric '{metric}' and limit '{metric} per minute' of service '{api}' for consumer '{consumer}'."
    );
    ApiError::new(status, "rateLimitExceeded", message).with_info(
        "RATE_LIMIT_EXCEEDED",
        json!({"service": api, "consumer": consumer.replace("project_number:", "projects/")}),
    )
}

fn disabled(api: &str, project: &str) -> ApiError {
    let number = project::number(project);
    let url =
        format!("https://console.developers.google.com/apis/api/{api}/overview?project={number}");
    ApiError::new(
        403,
        "accessNotConfigured",
        format!(
            "{api} has not been used in project {number} before or it is disabled. Enable it by visiting {url} then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry."
        ),
    )
    .with_info(
        "SERVICE_DISABLED",
        json!({"service": api, "consumer": format!("projects/{number}")}),
    )
}
