//! `status`: each workspace's machine, system and home, the homes of workspaces that are gone, and those left in a move.

use std::{collections::BTreeMap, io::Write, thread::sleep, time::Duration};

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use crate::{
    agents,
    cli::{Cli, StatusArgs},
    cloud::{Disk, LEFT, Machine, Preemption},
    fleet::Fleet,
    output,
    stack::Stack,
    standing::{Standing, State},
    verbs::images::now,
};

/// Calls of Compute Engine a minute that `--watch` makes at most, unless told otherwise: half of what Google allows.
/// <https://cloud.google.com/compute/api-quota>
const CALLS_A_MINUTE: u64 = 750;

/// Seconds between two looks of `--watch`, at least.
const PAUSE: u64 = 10;

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
    /// How it stands to the system that it is to run; none of a machine that is off.
    system: Option<Standing>,
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

/// What was found.
struct Found {
    rows: Vec<Row>,
    retired: Vec<Disk>,
    /// Homes that are kept in the zone that their workspace left.
    left: Vec<Disk>,
    /// Calls that it took.
    calls: u64,
}

/// Looks and prints, once or again and again.
pub fn run(cli: &Cli, args: &StatusArgs) -> Result<()> {
    let mut stack = Stack::read(cli)?;
    if cli.dry_run {
        let places = stack.fleet.workspaces.keys();
        let places: Vec<_> = places.map(|name| format!("ZONE/{name}")).collect();
        let calls = [
            stack.cloud.machines_command(),
            stack.cloud.disks_command(),
            stack.cloud.preemptions_command(),
            agents::reports_command(&stack.cloud, &places),
        ];
        output::plan(cli, &calls.map(|words| stack.cloud.command(words)));
        return Ok(());
    }
    let Some(pause) = args.watch else {
        let found = look(&stack)?;
        if cli.json {
            println!("{}", serde_json::to_string_pretty(&found.json())?);
        } else {
            let columns = output::terminal().map(|(columns, _)| columns);
            print!("{}", found.text(columns));
        }
        return Ok(());
    };
    loop {
        let found = look(&stack)?;
        let calls = Duration::from_secs((found.calls * 60).div_ceil(CALLS_A_MINUTE));
        let pause = pause.map_or(calls.max(Duration::from_secs(PAUSE)), Duration::from_secs);
        match output::terminal() {
            _ if cli.json => println!("{}", found.json()),
            None => println!("{}\n{}", output::utc(now()), found.text(None)),
            Some(size) => print!("{}", found.screen(size, pause)),
        }
        std::io::stdout().flush()?;
        // The next ones' commands are the same, and would be in the way of what is drawn.
        stack.cloud.quiet = true;
        sleep(pause);
    }
}

/// Asks for the machines and the disks of all zones, in two calls a 500 of them, and each machine that is on, in a call.
/// While a Spot machine is off, one more tells of all at once whether Google took them back.
fn look(stack: &Stack) -> Result<Found> {
    let (machines, disks) = (stack.cloud.machines()?, stack.cloud.disks()?);
    let preemptions = stack.cloud.preemptions(&machines)?;
    let mut rows = rows(&stack.fleet, &machines, &disks, &preemptions);
    let on: Vec<_> = machines.iter().filter(|machine| machine.is_on()).collect();
    let answers = agents::answers(&stack.cloud, &on)?;
    let now = now();
    for machine in &on {
        let standing = Standing::of(machine, answers.get(&machine.name), now);
        if let Some(row) = rows.iter_mut().find(|row| row.name == machine.name) {
            row.system = Some(standing);
        }
    }
    let lists = 3 + (machines.len() + disks.len()) / 500;
    let calls = (on.len() + lists) as u64;
    let homes = disks
        .into_iter()
        .filter(|disk| disk.named_home_of().is_some());
    let (left, homes): (Vec<_>, Vec<_>) = homes.partition(|disk| disk.part() == Some(LEFT));
    let retired = homes.into_iter();
    let retired = retired.filter(|disk| is_retired(&stack.fleet, disk));
    Ok(Found {
        rows,
        retired: retired.collect(),
        left,
        calls,
    })
}

impl Found {
    fn json(&self) -> serde_json::Value {
        let list = |disks: &[Disk]| -> Vec<_> {
            let disks = disks.iter().map(|disk| {
                let owner = disk.labels.get("owner");
                json!({ "workspace": disk.named_home_of(), "owner": owner, "home": home(disk) })
            });
            disks.collect()
        };
        json!({ "workspaces": self.rows, "retired": list(&self.retired), "left": list(&self.left) })
    }

    /// All of it, for a terminal of so many columns if it is one.
    fn text(&self, columns: Option<usize>) -> String {
        if self.rows.is_empty() {
            return format!("no workspaces\n{}", self.other_homes());
        }
        let mut text = self.machines(columns);
        for part in [self.notes(columns), self.gpus()] {
            if !part.is_empty() {
                text.push_str(&format!("\n{part}"));
            }
        }
        text + &self.other_homes()
    }

    /// All of it that has room, what is wrong first, drawn over what was there in a terminal of so many columns and lines.
    fn screen(&self, (columns, lines): (usize, usize), pause: Duration) -> String {
        let every = pause.as_secs();
        let mut text = format!(
            "{}  {}  every {every} s, Ctrl-C ends it\n",
            output::utc(now()),
            self.counts()
        );
        for part in [
            self.notes(Some(columns)),
            self.machines(Some(columns)),
            self.gpus(),
        ] {
            if !part.is_empty() {
                text.push_str(&format!("\n{part}"));
            }
        }
        text.push_str(&self.other_homes());
        let all = text.lines().count();
        if all >= lines {
            let room = lines.saturating_sub(2);
            let fits: Vec<_> = text.lines().take(room).collect();
            text = format!("{}\n({} more lines)\n", fits.join("\n"), all - room);
        }
        // From the top; what was there before in the rest of each line and below goes.
        format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
    }

    /// How many stand how.
    fn counts(&self) -> String {
        let mut counts: BTreeMap<State, usize> = BTreeMap::new();
        for standing in self.rows.iter().filter_map(|row| row.system.as_ref()) {
            *counts.entry(standing.state).or_default() += 1;
        }
        let counts = counts.iter().rev();
        let counts: Vec<_> = counts
            .map(|(state, count)| format!("{count} {}", state.word()))
            .collect();
        counts.join(", ")
    }

    fn machines(&self, columns: Option<usize>) -> String {
        let cell = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let head = [
            "NAME", "POWER", "SYSTEM", "MACHINE", "ADDRESS", "OWNER", "HOME", "ZONE", "IMAGE",
        ];
        let mut lines = vec![head.map(String::from)];
        lines.extend(self.rows.iter().map(|row| {
            let owner = if row.in_fleet {
                cell(&row.owner)
            } else {
                "not in fleet.toml".to_owned()
            };
            [
                row.name.clone(),
                power(row),
                cell(&row.system.as_ref().map(Standing::words)),
                cell(&row.machine),
                cell(&row.address),
                owner,
                row.home
                    .as_ref()
                    .map_or("-".to_owned(), |home| format!("{} GB", home.size_gb)),
                cell(&row.zone),
                cell(&row.image),
            ]
        }));
        // IMAGE, ZONE, HOME, OWNER, ADDRESS, MACHINE.
        let (mut text, left_out) = output::table_within(&lines, columns, &[8, 7, 6, 5, 4, 3]);
        if !left_out.is_empty() {
            let left_out = left_out.join(", ");
            text.push_str(&format!("(a wider window has {left_out} too)\n"));
        }
        text
    }

    /// Why machines do not run what they are to run.
    fn notes(&self, columns: Option<usize>) -> String {
        let notes: Vec<_> = self
            .rows
            .iter()
            .filter_map(|row| {
                let standing = row.system.as_ref()?;
                Some([
                    row.name.clone(),
                    standing.words(),
                    standing.note(&row.name)?,
                ])
            })
            .collect();
        output::table_wrapped(&notes, columns)
    }

    /// What the machines' tests of their GPUs said.
    fn gpus(&self) -> String {
        let mut lines = vec![["NAME", "GPU"].map(String::from)];
        lines.extend(self.rows.iter().filter_map(|row| {
            let said = row.system.as_ref()?.gpu.clone()?;
            Some([row.name.clone(), said])
        }));
        if lines.len() == 1 {
            return String::new();
        }
        output::table(&lines)
    }

    fn other_homes(&self) -> String {
        let table = |head: &str, disks: &[Disk]| {
            if disks.is_empty() {
                return String::new();
            }
            let mut lines = vec![[head, "SIZE", "ZONE", "OWNER"].map(String::from)];
            lines.extend(disks.iter().map(|disk| {
                let owner = disk.labels.get("owner").cloned().unwrap_or_default();
                [
                    disk.name.clone(),
                    format!("{} GB", disk.size_gb),
                    disk.zone.clone(),
                    owner,
                ]
            }));
            format!("\n{}", output::table(&lines))
        };
        table("RETIRED HOME", &self.retired) + &table("LEFT IN A MOVE", &self.left)
    }
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
