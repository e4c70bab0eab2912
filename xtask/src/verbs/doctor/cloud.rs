//! `doctor --cloud`: whether the project can hold the fleet.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    argv,
    cli::Cli,
    cloud::Zone,
    error::Kind,
    fleet::{Exposure, Fleet, Login, Workspace},
    output,
    process::Argv,
    stack::Stack,
};

/// Without these `up` cannot begin; it enables the others.
const FIRST_APIS: [&str; 3] = [
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "serviceusage.googleapis.com",
];

/// Certificates that Let's Encrypt gives one registered domain a week; PROJECT.cloud.goog counts as one.
/// <https://letsencrypt.org/docs/rate-limits/>
const CERTIFICATES_A_WEEK: usize = 50;

/// What `google inspect` tells.
#[derive(Deserialize)]
struct Project {
    billing: Option<bool>,
    services: Option<Vec<String>>,
    quotas: Vec<Quota>,
}

#[derive(Deserialize)]
struct Quota {
    metric: String,
    limit: f64,
    usage: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Good,
    Lacking,
    Unknown,
}

/// One line of the result.
#[derive(Debug, Serialize)]
struct Check {
    check: String,
    state: State,
    /// What was found.
    found: String,
    /// What mends it.
    mend: Option<String>,
}

/// Asks the project and prints the result.
pub fn run(cli: &Cli) -> Result<()> {
    let stack = Stack::read(cli)?;
    if cli.dry_run {
        let calls = [words(&stack), zones_words(&stack)];
        output::plan(cli, &calls.map(|words| stack.cloud.command(words)));
        return Ok(());
    }
    let project: Project = stack.cloud.ask(words(&stack))?;
    let mut checks = checks(&stack.fleet, &project);
    let compute = project.services.iter().flatten();
    // While the API is off nobody tells.
    if compute
        .into_iter()
        .any(|service| service == "compute.googleapis.com")
    {
        let zones: Vec<Zone> = stack.cloud.ask(zones_words(&stack))?;
        checks.extend(offers(&stack.fleet, &zones));
    }
    let uris = redirect_uris(&stack.fleet);
    let lacking: Vec<_> = checks
        .iter()
        .filter(|check| check.state == State::Lacking)
        .collect();
    if cli.json {
        let result = json!({ "ok": lacking.is_empty(), "checks": checks, "redirect_uris": uris });
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        print!("{}", text(&checks, &uris));
    }
    if lacking.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = lacking.iter().map(|check| check.check.as_str()).collect();
    Err(Kind::Refused.error(
        format!(
            "{} cannot hold this fleet: {}",
            stack.cloud.project,
            names.join(", ")
        ),
        "Mend what is listed above, then run this again.",
    ))
}

fn words(stack: &Stack) -> Argv {
    let (project, region) = (&stack.cloud.project, &stack.cloud.region);
    argv!["inspect", "--project", project, "--region", region]
}

fn zones_words(stack: &Stack) -> Argv {
    stack.cloud.zones_command(stack.fleet.workspaces.values())
}

/// Which zones have the machines of the fleet. Whether one has room now, nobody tells beforehand.
fn offers(fleet: &Fleet, zones: &[Zone]) -> Vec<Check> {
    let mut checks = BTreeMap::new();
    for workspace in fleet.workspaces.values() {
        let what = match &workspace.gpu {
            Some(gpu) => format!("{} with {}", workspace.machine_type, gpu.r#type),
            None => workspace.machine_type.clone(),
        };
        let names = |wanted: bool| -> Vec<&str> {
            let those = zones.iter().filter(|zone| zone.offers(workspace) == wanted);
            those.map(|zone| zone.name.as_str()).collect()
        };
        let (with, without) = (names(true), names(false));
        let first = fleet.google.zones.first().map_or("", String::as_str);
        let found = match (with.as_slice(), without.as_slice()) {
            ([], _) => "no zone of the region has it".to_owned(),
            (with, []) => format!("in {}", with.join(", ")),
            (with, without) => format!("in {}; not in {}", with.join(", "), without.join(", ")),
        };
        let mend = if with.is_empty() {
            "Choose another machine type, or another region.".to_owned()
        } else {
            format!(
                "Put one of {} first in google.zones, where new workspaces are made.",
                with.join(", ")
            )
        };
        let good = with.contains(&first);
        let check = Check {
            check: what.clone(),
            state: if good { State::Good } else { State::Lacking },
            found,
            mend: (!good).then_some(mend),
        };
        checks.insert(what, check);
    }
    checks.into_values().collect()
}

fn checks(fleet: &Fleet, project: &Project) -> Vec<Check> {
    let id = &fleet.google.project;
    let check = |name: &str, good: Option<bool>, found: &str, mend: String| {
        let (state, mend) = match good {
            Some(true) => (State::Good, None),
            Some(false) => (State::Lacking, Some(mend)),
            None => (State::Unknown, None),
        };
        Check {
            check: name.to_owned(),
            state,
            found: found.to_owned(),
            mend,
        }
    };
    let found = match project.billing {
        Some(true) => "an account pays",
        Some(false) => "nobody pays",
        None => "you may not see it",
    };
    let link = format!("gcloud billing projects link {id} --billing-account ID");
    let mut checks = vec![check("billing", project.billing, found, link)];
    let services = project.services.as_ref();
    for api in FIRST_APIS {
        let on = services.map(|services| services.iter().any(|service| service == api));
        let found = match on {
            Some(true) => "on",
            Some(false) => "off",
            None => "you may not see it",
        };
        checks.push(check(
            api,
            on,
            found,
            format!("gcloud services enable {api} --project {id}"),
        ));
    }
    for (metric, needed) in needs(fleet, &project.quotas) {
        let quota = project.quotas.iter().find(|quota| quota.metric == metric);
        let enough = quota.map(|quota| quota.limit < 0.0 || quota.limit >= needed as f64);
        let found = match quota {
            Some(quota) => format!(
                "the fleet needs {needed}, the limit is {}, {} in use",
                quota.limit, quota.usage
            ),
            None => format!("the fleet needs {needed}; no such quota is told"),
        };
        let region = &fleet.google.region;
        let mend = format!(
            "Ask for {needed} in {region}: https://console.cloud.google.com/iam-admin/quotas?project={id}"
        );
        checks.push(check(&metric, enough, &found, mend));
    }
    if fleet.access.exposure == Exposure::Public {
        let machines = fleet.workspaces.len();
        let found = format!("{machines} new ones at most, {CERTIFICATES_A_WEEK} a week can be had");
        let mend = format!("Bring in at most {CERTIFICATES_A_WEEK} new workspaces a week.");
        checks.push(check(
            "certificates",
            Some(machines <= CERTIFICATES_A_WEEK),
            &found,
            mend,
        ));
    }
    checks
}

/// What the fleet takes of Compute Engine's quotas, by their metric.
/// <https://cloud.google.com/compute/resource-usage>
fn needs(fleet: &Fleet, quotas: &[Quota]) -> BTreeMap<String, u64> {
    let mut needs = BTreeMap::new();
    let mut need =
        |metric: &str, amount: u64| *needs.entry(metric.to_owned()).or_insert(0) += amount;
    // Of a region that was given a quota for Spot machines, they take that one and no other.
    // https://cloud.google.com/compute/docs/instances/spot#quotas
    let given = |metric: &str| {
        let of_spot = |quota: &&Quota| quota.metric == metric && quota.limit > 0.0;
        quotas.iter().any(|quota| of_spot(&quota))
    };
    for workspace in fleet.workspaces.values() {
        need("INSTANCES", 1);
        need(
            "SSD_TOTAL_GB",
            (workspace.boot_disk_gb + workspace.home_disk_gb).unsigned_abs(),
        );
        if fleet.access.exposure == Exposure::Public {
            need("STATIC_ADDRESSES", 1);
        }
        let family = workspace.machine_type.split('-').next().unwrap_or_default();
        if let Some(cpus) = cpus(&workspace.machine_type) {
            match family {
                _ if workspace.spot && given("PREEMPTIBLE_CPUS") => need("PREEMPTIBLE_CPUS", cpus),
                "n1" | "e2" | "f1" | "g1" | "custom" => need("CPUS", cpus),
                family => need(&format!("{}_CPUS", family.to_uppercase()), cpus),
            }
        }
        if let Some((metric, gpus)) = gpus(workspace, family) {
            need("GPUS_ALL_REGIONS", gpus);
            let of_spot = format!("PREEMPTIBLE_{metric}");
            if workspace.spot && given(&of_spot) {
                need(&of_spot, gpus);
            } else {
                need(metric, gpus);
            }
        }
    }
    needs
}

/// The last number of a machine type, or the one after `custom`.
fn cpus(machine_type: &str) -> Option<u64> {
    let mut parts = machine_type.split('-');
    let number = match parts.clone().any(|part| part == "custom") {
        true => parts.skip_while(|part| *part != "custom").nth(1),
        false => parts.next_back(),
    };
    number?.parse().ok()
}

/// The quota of a workspace's GPUs, and how many it has, of the types whose quota is known here.
fn gpus(workspace: &Workspace, family: &str) -> Option<(&'static str, u64)> {
    if let Some(gpu) = &workspace.gpu {
        let count = gpu.count.unsigned_abs();
        return (gpu.r#type == "nvidia-tesla-t4").then_some(("NVIDIA_T4_GPUS", count));
    }
    // https://cloud.google.com/compute/docs/gpus#l4-gpus
    let count = match cpus(&workspace.machine_type)? {
        24 => 2,
        48 => 4,
        96 => 8,
        _ => 1,
    };
    (family == "g2").then_some(("NVIDIA_L4_GPUS", count))
}

/// What to enter for each OAuth client, which is made by hand.
fn redirect_uris(fleet: &Fleet) -> Vec<String> {
    if fleet.access.login != Some(Login::Google) {
        return Vec::new();
    }
    let domains = fleet
        .workspaces
        .values()
        .filter_map(|workspace| workspace.domain.as_ref());
    domains
        .map(|domain| format!("https://{domain}/oauth2/callback"))
        .collect()
}

fn text(checks: &[Check], uris: &[String]) -> String {
    let rows: Vec<_> = checks
        .iter()
        .map(|check| {
            let state = match check.state {
                State::Good => "good",
                State::Lacking => "lacking",
                State::Unknown => "unknown",
            };
            [check.check.clone(), state.to_owned(), check.found.clone()]
        })
        .collect();
    let mut text = output::table(&rows);
    for check in checks {
        if let Some(mend) = &check.mend {
            text.push_str(&format!("\n{}:\n  {mend}\n", check.check));
        }
    }
    if !uris.is_empty() {
        text.push_str("\nredirect URIs for the OAuth clients (docs/up.md):\n");
        for uri in uris {
            text.push_str(&format!("  {uri}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn fleet() -> Fleet {
        Fleet::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fleet.toml")).unwrap()
    }

    #[test]
    fn the_fleets_needs_are_added_up_by_quota() {
        let needs = needs(&fleet(), &[]);
        let expected = [
            ("G2_CPUS", 16),
            ("GPUS_ALL_REGIONS", 1),
            ("INSTANCES", 2),
            ("N2_CPUS", 8),
            ("NVIDIA_L4_GPUS", 1),
            ("SSD_TOTAL_GB", 300),
            ("STATIC_ADDRESSES", 2),
        ];
        assert_eq!(
            needs,
            expected
                .map(|(metric, amount)| (metric.to_owned(), amount))
                .into()
        );
        assert_eq!(cpus("n2-custom-6-20480"), Some(6));
        assert_eq!(cpus("a2-highgpu-1g"), None);
    }

    #[test]
    fn spot_machines_take_the_quotas_for_spot_where_there_are_any() {
        let mut fleet = fleet();
        fleet.workspaces.get_mut("bob").unwrap().spot = true;
        let limit = |limit| {
            ["PREEMPTIBLE_CPUS", "PREEMPTIBLE_NVIDIA_L4_GPUS"].map(|metric| Quota {
                metric: metric.to_owned(),
                limit,
                usage: 0.0,
            })
        };
        let of = |quotas: &[Quota]| -> Vec<_> {
            let needs = needs(&fleet, quotas).into_iter();
            needs
                .filter(|(metric, _)| metric.ends_with("CPUS") || metric.contains("L4"))
                .collect()
        };
        let pairs =
            |pairs: [(&str, u64); 3]| pairs.map(|(metric, amount)| (metric.to_owned(), amount));
        let standard = pairs([("G2_CPUS", 16), ("N2_CPUS", 8), ("NVIDIA_L4_GPUS", 1)]);
        assert_eq!(of(&[]), standard);
        // Listed, and not given.
        assert_eq!(of(&limit(0.0)), standard);
        assert_eq!(
            of(&limit(16.0)),
            pairs([
                ("N2_CPUS", 8),
                ("PREEMPTIBLE_CPUS", 16),
                ("PREEMPTIBLE_NVIDIA_L4_GPUS", 1)
            ])
        );
    }

    #[test]
    fn what_a_project_lacks_comes_with_its_mend() {
        let quota = |metric: &str, limit| Quota {
            metric: metric.to_owned(),
            limit,
            usage: 0.0,
        };
        let project = Project {
            billing: Some(false),
            services: Some(FIRST_APIS[..2].iter().map(ToString::to_string).collect()),
            quotas: vec![
                quota("NVIDIA_L4_GPUS", 0.0),
                quota("N2_CPUS", 8.0),
                quota("INSTANCES", -1.0),
            ],
        };
        let checks = checks(&fleet(), &project);
        let of = |name: &str| checks.iter().find(|check| check.check == name).unwrap();
        for (name, state) in [
            ("billing", State::Lacking),
            ("compute.googleapis.com", State::Good),
            ("serviceusage.googleapis.com", State::Lacking),
            ("NVIDIA_L4_GPUS", State::Lacking),
            ("N2_CPUS", State::Good),
            ("INSTANCES", State::Good),
            ("G2_CPUS", State::Unknown),
            ("certificates", State::Good),
        ] {
            assert_eq!(of(name).state, state, "{name}");
            assert_eq!(of(name).mend.is_some(), state == State::Lacking, "{name}");
        }
    }

    #[test]
    fn zones_without_a_workspaces_machine_are_named() {
        let mut fleet = fleet();
        let bob = fleet.workspaces.get_mut("bob").unwrap();
        bob.machine_type = "n1-standard-8".to_owned();
        bob.gpu = Some(crate::fleet::Gpu {
            r#type: "nvidia-tesla-t4".to_owned(),
            count: 1,
        });
        let zone = |name: &str, gpus: &[&str]| Zone {
            name: name.to_owned(),
            machine_types: vec!["n1-standard-8".to_owned(), "n2-standard-8".to_owned()],
            accelerator_types: gpus.iter().map(ToString::to_string).collect(),
        };
        let of = |zones: &[Zone]| -> Vec<_> {
            let checks = offers(&fleet, zones).into_iter();
            checks
                .map(|check| (check.check, check.state, check.found))
                .collect()
        };
        let gpu = "n1-standard-8 with nvidia-tesla-t4".to_owned();
        let alice = |found: &str| ("n2-standard-8".to_owned(), State::Good, found.to_owned());
        assert_eq!(
            of(&[
                zone("europe-west4-a", &["nvidia-tesla-t4"]),
                zone("europe-west4-b", &[])
            ]),
            [
                (
                    gpu.clone(),
                    State::Good,
                    "in europe-west4-a; not in europe-west4-b".to_owned()
                ),
                alice("in europe-west4-a, europe-west4-b"),
            ]
        );
        assert_eq!(
            of(&[
                zone("europe-west4-a", &[]),
                zone("europe-west4-c", &["nvidia-tesla-t4"])
            ])[0],
            (
                gpu.clone(),
                State::Lacking,
                "in europe-west4-c; not in europe-west4-a".to_owned()
            )
        );
        assert_eq!(
            of(&[zone("europe-west4-a", &[])])[0],
            (
                gpu,
                State::Lacking,
                "no zone of the region has it".to_owned()
            )
        );
    }

    #[test]
    fn redirect_uris_are_told_for_login_by_google_only() {
        let mut fleet = fleet();
        assert!(redirect_uris(&fleet).is_empty());
        fleet.access.login = Some(Login::Google);
        assert_eq!(
            redirect_uris(&fleet)[0],
            "https://alice.endpoints.acme-data-science.cloud.goog/oauth2/callback"
        );
    }
}
