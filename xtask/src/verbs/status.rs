//! `status`: each workspace's machine and home, and the homes of workspaces that are gone.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use crate::{
    agents::{self, Report},
    cli::{Cli, StatusArgs},
    cloud::{Disk, Machine, Preemption},
    fleet::Fleet,
    output,
    stack::Stack,
};

/// A workspace: of the fleet, or with a machine that the fleet no longer has.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    owner: Option<String>,
    zone: Option<String>,
    machine: Option<String>,
    /// RUNNING, TERMINATED and others; none without a machine.
    power: Option<String>,
    /// Whether Google may take the machine back at any time.
    spot: bool,
    /// Whether it is off because Google did.
    preempted: bool,
    /// The public one, else the one in the network.
    address: Option<String>,
    url: Option<String>,
    image: Option<String>,
    home: Option<Home>,
    /// What its agent says, where it was asked.
    system: Option<Report>,
    /// Whether fleet.toml has it.
    in_fleet: bool,
}

#[derive(Debug, Serialize)]
struct Home {
    name: String,
    zone: String,
    size_gb: u64,
    #[serde(rename = "type")]
    kind: String,
}

/// Asks for the machines and the disks of all zones, in two calls a 500 of them, and prints the table. While a Spot machine
/// is off, a third call tells of all at once whether Google took them back.
pub fn run(cli: &Cli, args: &StatusArgs) -> Result<()> {
    let stack = Stack::read(cli)?;
    if cli.dry_run {
        let calls = [
            stack.cloud.machines_command(),
            stack.cloud.disks_command(),
            stack.cloud.preemptions_command(),
        ];
        output::plan(cli, &calls.map(|words| stack.cloud.command(words)));
        return Ok(());
    }
    let (machines, disks) = (stack.cloud.machines()?, stack.cloud.disks()?);
    let preemptions = stack.cloud.preemptions(&machines)?;
    let mut rows = rows(&stack.fleet, &machines, &disks, &preemptions);
    if args.systems {
        let on: Vec<_> = machines.iter().filter(|machine| machine.is_on()).collect();
        let mut reports = agents::reports(&stack.cloud, &on)?;
        for row in &mut rows {
            row.system = reports.remove(&row.name);
        }
    }
    let retired: Vec<_> = disks
        .iter()
        .filter(|disk| is_retired(&stack.fleet, disk))
        .collect();
    if cli.json {
        let retired = retired.iter().map(|disk| {
            let owner = disk.labels.get("owner");
            json!({ "workspace": disk.home_of(), "owner": owner, "home": home(disk) })
        });
        let result = json!({ "workspaces": rows, "retired": retired.collect::<Vec<_>>() });
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        print!("{}", text(&rows, &retired));
        if args.systems {
            print!("\n{}", systems(&rows));
            print!("{}", gpus(&rows));
        }
    }
    Ok(())
}

/// Whether a disk is the home of a workspace that the fleet no longer has.
pub fn is_retired(fleet: &Fleet, disk: &Disk) -> bool {
    disk.home_of()
        .is_some_and(|name| !fleet.workspaces.contains_key(name))
}

fn rows(
    fleet: &Fleet,
    machines: &[Machine],
    disks: &[Disk],
    preemptions: &[Preemption],
) -> Vec<Row> {
    let machine_of: BTreeMap<_, _> = machines
        .iter()
        .map(|machine| (machine.name.as_str(), machine))
        .collect();
    let disk_at: BTreeMap<_, _> = disks
        .iter()
        .map(|disk| ((disk.zone.as_str(), disk.name.as_str()), disk))
        .collect();
    let home_of: BTreeMap<_, _> = disks
        .iter()
        .filter_map(|disk| Some((disk.home_of()?, disk)))
        .collect();
    let mut names: Vec<_> = fleet.workspaces.keys().map(String::as_str).collect();
    names.extend(
        machine_of
            .keys()
            .filter(|name| !fleet.workspaces.contains_key(**name)),
    );
    let row = |name: &str| {
        let workspace = fleet.workspaces.get(name);
        let machine = machine_of.get(name);
        let home_disk = home_of.get(name);
        let boot = machine.and_then(|machine| {
            disk_at.get(&(machine.zone.as_str(), machine.disks.first()?.name.as_str()))
        });
        let image = boot.and_then(|disk| disk.source_image.as_deref()?.rsplit('/').next());
        let interface = machine.and_then(|machine| machine.interfaces.first());
        let public = interface.and_then(|interface| interface.public.first());
        Row {
            name: name.to_owned(),
            owner: workspace.map(|workspace| workspace.owner.clone()),
            zone: machine
                .map(|machine| machine.zone.clone())
                .or_else(|| home_disk.map(|disk| disk.zone.clone())),
            machine: machine
                .map(|machine| machine.machine_type.clone())
                .or_else(|| workspace.map(|workspace| workspace.machine_type.clone())),
            power: machine.map(|machine| machine.status.clone()),
            spot: machine.map_or_else(
                || workspace.is_some_and(|workspace| workspace.spot),
                |machine| machine.spot,
            ),
            preempted: machine.is_some_and(|machine| machine.is_preempted(preemptions)),
            address: public
                .cloned()
                .or_else(|| interface.and_then(|interface| interface.private.clone())),
            url: workspace
                .and_then(|workspace| Some(format!("https://{}", workspace.domain.as_ref()?))),
            image: image.map(str::to_owned),
            home: home_disk.map(|disk| home(disk)),
            system: None,
            in_fleet: workspace.is_some(),
        }
    };
    names.into_iter().map(row).collect()
}

fn home(disk: &Disk) -> Home {
    Home {
        name: disk.name.clone(),
        zone: disk.zone.clone(),
        size_gb: disk.size_gb,
        kind: disk.r#type.clone(),
    }
}

/// For people: what a machine is doing.
fn power(row: &Row) -> String {
    match row.power.as_deref() {
        None => "no machine".to_owned(),
        Some(_) if row.preempted => "preempted".to_owned(),
        Some("TERMINATED") => "stopped".to_owned(),
        Some(status) => status.to_lowercase(),
    }
}

/// What the agents say.
fn systems(rows: &[Row]) -> String {
    let mut lines = vec![["NAME", "SYSTEM", "STATE", "REASON"].map(String::from)];
    lines.extend(rows.iter().map(|row| match &row.system {
        Some(report) => {
            let hash = report.system.trim_start_matches("/nix/store/");
            let hash = hash.get(..8).unwrap_or("-").to_owned();
            [
                row.name.clone(),
                hash,
                report.state.clone(),
                report.reason.clone(),
            ]
        }
        None => {
            let state = match row.power.as_deref() {
                Some("RUNNING") => "silent".to_owned(),
                _ => power(row),
            };
            [row.name.clone(), "-".to_owned(), state, String::new()]
        }
    }));
    output::table(&lines)
}

/// What the machines' tests of their GPUs said.
fn gpus(rows: &[Row]) -> String {
    let mut lines = vec![["NAME", "GPU"].map(String::from)];
    lines.extend(rows.iter().filter_map(|row| {
        let said = &row.system.as_ref()?.gpu;
        (!said.is_empty()).then(|| [row.name.clone(), said.clone()])
    }));
    match lines.len() {
        1 => String::new(),
        _ => format!("\n{}", output::table(&lines)),
    }
}

fn text(rows: &[Row], retired: &[&Disk]) -> String {
    let cell = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let head = [
        "NAME", "POWER", "MACHINE", "HOME", "ADDRESS", "ZONE", "OWNER", "IMAGE",
    ];
    let mut lines = vec![head.map(String::from)];
    lines.extend(rows.iter().map(|row| {
        let owner = if row.in_fleet {
            cell(&row.owner)
        } else {
            "not in fleet.toml".to_owned()
        };
        [
            row.name.clone(),
            power(row),
            cell(&row.machine),
            row.home
                .as_ref()
                .map_or("-".to_owned(), |home| format!("{} GB", home.size_gb)),
            cell(&row.address),
            cell(&row.zone),
            owner,
            cell(&row.image),
        ]
    }));
    let mut text = if rows.is_empty() {
        "no workspaces\n".to_owned()
    } else {
        output::table(&lines)
    };
    if !retired.is_empty() {
        let mut lines = vec![["RETIRED HOME", "SIZE", "ZONE", "OWNER"].map(String::from)];
        lines.extend(retired.iter().map(|disk| {
            let owner = disk.labels.get("owner").cloned().unwrap_or_default();
            [
                disk.name.clone(),
                format!("{} GB", disk.size_gb),
                disk.zone.clone(),
                owner,
            ]
        }));
        text.push_str(&format!("\n{}", output::table(&lines)));
    }
    text
}
