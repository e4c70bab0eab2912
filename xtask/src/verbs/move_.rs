//! `move`: a workspace goes to another zone, with all that is on its home disk.
//!
//! Stop, snapshot, copy, delete the machine, mark the copy as the home, make the machine there, see it work. How far an
//! earlier run came is read from the cloud alone. There is one home at each moment: the old disk until the copy is marked
//! [`ARRIVED`], which is one write, and the copy from then on; [`Cloud::disks`] sees it so whatever else is marked yet. A
//! machine is made where the home is, and only after the one in the old zone is gone.

use std::{
    collections::BTreeMap,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    argv,
    cli::{Cli, MoveArgs},
    cloud::{ARRIVED, ARRIVING, Cloud, Disk, LEFT, MOVE, MOVED_FROM, Machine, WORKSPACE, Zone},
    error::Kind,
    fleet::Workspace,
    output,
    process::Argv,
    stack::{self, Stack},
    terraform::{self, Mode, Root, StockOut, Terraform},
    verbs::up,
};

/// A machine that shuts down takes a minute and a half at most before it is cut off.
/// <https://cloud.google.com/compute/docs/instances/stop-start-instance>
const STOP_PATIENCE: Duration = Duration::from_secs(300);

/// Moves it, or goes on with that.
pub fn run(cli: &Cli, args: &MoveArgs) -> Result<()> {
    let stack = Stack::read(cli)?;
    stack::need_sources(&stack.root)?;
    let workspace = stack.workspace(&args.name)?;
    let region = &stack.cloud.region;
    if let Some(zone) = &args.zone
        && !zone
            .strip_prefix(region.as_str())
            .is_some_and(|rest| rest.starts_with('-'))
    {
        return Err(Kind::Usage.error(
            format!("{zone} is no zone of {region}, where the fleet is"),
            "Name one of its zones: addresses and the network do not leave a region.",
        ));
    }
    if cli.dry_run {
        output::plan(cli, &commands(&stack, workspace, args));
        return Ok(());
    }
    let terraform = stack.terraform()?;
    let mut moving = Move {
        stack: &stack,
        terraform: &terraform,
        workspace,
        args,
        taken: None,
        wish: None,
        alone: false,
    };
    let moved = moving.go()?;
    let found = moving.look()?;
    let kept = moving.forget_old(&found)?;
    if cli.json {
        let result = json!({ "moved": moved, "zone": found.home.zone, "old_disks": kept });
        println!("{}", serde_json::to_string_pretty(&result)?);
    }
    Ok(())
}

/// A snapshot, as `google` prints it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot {
    id: String,
    status: String,
    source_disk_id: String,
    /// Seconds since 1970.
    created: i64,
    /// What the machine was to run, which its successor is told: between the two there is nothing else that knows.
    description: String,
}

/// What there is of a workspace now.
struct Found {
    machine: Option<Machine>,
    home: Disk,
    /// Copies of it that are not the home yet.
    copies: Vec<Disk>,
    /// Homes that it left.
    left: Vec<Disk>,
}

struct Move<'a> {
    stack: &'a Stack,
    terraform: &'a Terraform<'a>,
    workspace: &'a Workspace,
    args: &'a MoveArgs,
    /// The id of this run's snapshot, and when a machine had last got the home by then: a snapshot is good for another
    /// copy while that has not changed.
    taken: Option<(String, Option<i64>)>,
    /// What its machine is to run, where that is known.
    wish: Option<String>,
    /// Whether nothing else is to be applied. What is, stays so: it is another verb's.
    alone: bool,
}

impl Move<'_> {
    /// Whether it moved.
    fn go(&mut self) -> Result<bool> {
        let name = &self.workspace.name;
        let mut found = self.look()?;
        let elsewhere = self
            .args
            .zone
            .as_ref()
            .is_some_and(|zone| *zone != found.home.zone);
        if found.home.part() == Some(ARRIVED) && elsewhere {
            // An earlier move to another zone than the one that is named now.
            if found.home.is_untouched() {
                self.go_back(&found)?;
            } else {
                self.settle(&found)?;
            }
            found = self.look()?;
        }
        if found.home.part() != Some(ARRIVED) {
            let here = &found.home.zone;
            let stays = match &self.args.zone {
                Some(zone) => zone == here,
                None => found.machine.as_ref().is_some_and(Machine::is_on),
            };
            if stays {
                self.abandon(&found)?;
                let mend = if self.args.zone.is_none() {
                    format!(
                        "; to move it all the same, name a zone: cargo xtask move {name} --zone ZONE"
                    )
                } else {
                    String::new()
                };
                eprintln!("nothing to do: {name} is in {here}{mend}");
                return Ok(false);
            }
        }
        let zones = self.zones(&found)?;
        self.need_image()?;
        if found.home.part() == Some(ARRIVED) {
            self.terraform
                .forget_homes_elsewhere(name, &found.home.zone)?;
        }
        // Before anything is stopped: what is wrong with the fleet's configuration shows here.
        let (plans, mut variables) = self.stack.plan(self.terraform, Mode::NORMAL)?;
        let own = format!("[\"{name}\"]");
        let mut changes = plans.iter().flat_map(|(_, plan)| &plan.changes);
        self.alone = changes.all(|change| change.address.ends_with(&own));
        self.remember_wish(&mut variables)?;
        for zone in &zones {
            let found = self.look()?;
            if found.home.zone == *zone {
                self.mark_left(&found)?;
            } else {
                self.bring(&found, zone)?;
            }
            match self.apply(&mut variables) {
                Ok(()) => {
                    self.wait()?;
                    self.settle(&self.look()?)?;
                    eprintln!("{name} is in {zone}");
                    return Ok(true);
                }
                Err(error) if error.downcast_ref::<StockOut>().is_some() => {
                    let found = self.look()?;
                    if !found.home.is_untouched() {
                        return Err(error);
                    }
                    eprintln!(
                        "{zone} has no {} for {name} now",
                        self.workspace.machine_type
                    );
                    self.go_back(&found)?;
                }
                Err(error) => return Err(error),
            }
        }
        let found = self.look()?;
        self.abandon(&found)?;
        Err(Kind::Refused.error(
            format!(
                "there is no {} for {name} now in any of {}; its home is in {} as before, without a machine",
                self.workspace.machine_type,
                zones.join(", "),
                found.home.zone
            ),
            format!(
                "Run this again later, name another zone of the region with --zone, or choose another machine type; \
                 back where it was: cargo xtask up. {name} has lost nothing."
            ),
        ))
    }

    /// Learns what the machine is to run: from itself, else from the snapshot that an earlier run made while it was there.
    fn remember_wish(&mut self, variables: &mut Value) -> Result<()> {
        let systems = &mut variables["systems"];
        let known = systems.get(self.name()).and_then(Value::as_str);
        self.wish = known.map(str::to_owned);
        if self.wish.is_none()
            && let Some(snapshot) = self.find_snapshot()?
            && !snapshot.description.is_empty()
        {
            systems[self.name()] = snapshot.description.as_str().into();
            self.wish = Some(snapshot.description);
        }
        Ok(())
    }

    fn name(&self) -> &str {
        &self.workspace.name
    }

    fn disk(&self) -> String {
        format!("home-{}", self.name())
    }

    fn snapshot_name(&self) -> String {
        format!("move-{}", self.name())
    }

    /// What there is, once nothing of it is about to go.
    fn look(&self) -> Result<Found> {
        let name = self.name();
        let since = Instant::now();
        let machine = loop {
            let machines = self.stack.cloud.machines()?;
            let machine = machines.into_iter().find(|machine| machine.name == name);
            let stopping = machine
                .as_ref()
                .is_some_and(|machine| machine.status == "STOPPING");
            if !stopping || since.elapsed() > STOP_PATIENCE {
                break machine;
            }
            sleep(Duration::from_secs(1));
        };
        let (mut home, mut copies, mut left) = (None, Vec::new(), Vec::new());
        for disk in self.stack.cloud.settled_disks()? {
            if disk.named_home_of() != Some(name) {
                continue;
            }
            match disk.part() {
                Some(ARRIVING) => copies.push(disk),
                Some(LEFT) => left.push(disk),
                _ => {
                    if let Some(other) = home.replace(disk) {
                        return Err(Kind::Failed.error(
                            format!("{name} has two home disks, one in {}", other.zone),
                            "Delete the one that its files are not on: gcloud compute disks delete",
                        ));
                    }
                }
            }
        }
        let Some(home) = home else {
            return Err(Kind::Failed.error(
                format!("{name} has no home disk that could move"),
                "Make it: cargo xtask up",
            ));
        };
        Ok(Found {
            machine,
            home,
            copies,
            left,
        })
    }

    /// Where to try: the zone that is named; else, after those of an earlier run, the fleet's other zones that have its
    /// machine type, those after its own first.
    fn zones(&self, found: &Found) -> Result<Vec<String>> {
        let name = self.name();
        let workspaces = std::iter::once(self.workspace);
        let zones: Vec<Zone> = self
            .stack
            .cloud
            .ask(self.stack.cloud.zones_command(workspaces))?;
        let offering: Vec<&str> = zones
            .iter()
            .filter(|zone| zone.offers(self.workspace))
            .map(|zone| zone.name.as_str())
            .collect();
        let what = match &self.workspace.gpu {
            Some(gpu) => format!("{} with {}", self.workspace.machine_type, gpu.r#type),
            None => self.workspace.machine_type.clone(),
        };
        if let Some(zone) = &self.args.zone {
            if offering.contains(&zone.as_str()) {
                return Ok(vec![zone.clone()]);
            }
            return Err(Kind::Usage.error(
                format!("{zone} has no {what}"),
                format!("Zones that have it: {}.", offering.join(", ")),
            ));
        }
        let all = &self.stack.fleet.google.zones;
        // Where it was first: that zone had no room, or it would not move.
        let from = found
            .home
            .labels
            .get(MOVED_FROM)
            .unwrap_or(&found.home.zone);
        let arrived = (found.home.part() == Some(ARRIVED)).then_some(&found.home.zone);
        let copied = found.copies.iter().map(|copy| &copy.zone);
        let after = all
            .iter()
            .position(|zone| zone == from)
            .map_or(0, |at| at + 1);
        let others = all[after..].iter().chain(&all[..after]);
        let mut chosen: Vec<String> = Vec::new();
        for zone in arrived.into_iter().chain(copied).chain(others) {
            if zone != from && offering.contains(&zone.as_str()) && !chosen.contains(zone) {
                chosen.push(zone.clone());
            }
        }
        if chosen.is_empty() {
            let other = offering.into_iter().filter(|zone| zone != from);
            let other: Vec<_> = other.collect();
            let mend = if other.is_empty() {
                format!(
                    "No zone of {} has one: choose another machine type in fleet.toml.",
                    self.stack.cloud.region
                )
            } else {
                format!(
                    "Name one that has: cargo xtask move {name} --zone ZONE, with {}.",
                    other.join(" or ")
                )
            };
            return Err(
                Kind::Refused.error(format!("no other zone of fleet.toml has {what}"), mend)
            );
        }
        Ok(chosen)
    }

    fn need_image(&self) -> Result<()> {
        let name = self.name();
        match self.stack.newest_images()?.get(name) {
            Some(Some(_)) => Ok(()),
            _ => Err(Kind::Failed.error(
                format!(
                    "{} has no image for {name}, whose machine is made anew",
                    self.stack.cloud.project
                ),
                format!("Bring one: cargo xtask push {name}"),
            )),
        }
    }

    /// Brings the home to a zone: after this, it is there and no machine is anywhere.
    fn bring(&mut self, found: &Found, zone: &str) -> Result<()> {
        let name = self.name().to_owned();
        self.make_way(zone)?;
        eprintln!("{name} moves from {} to {zone}", found.home.zone);
        let off = |machine: &&Machine| machine.status == "TERMINATED";
        if let Some(machine) = found.machine.as_ref().filter(|machine| !off(machine)) {
            self.tell(argv!["instances", "stop", machine.place()])?;
        }
        let before = self.look()?;
        let snapshot = self.snapshot(&before)?;
        let good = |copy: &&Disk| {
            copy.zone == zone && copy.source_snapshot_id.as_ref() == Some(&snapshot.id)
        };
        for copy in before.copies.iter().filter(|copy| !good(copy)) {
            self.discard(copy)?;
        }
        let place = format!("{zone}/{}", self.disk());
        let mut restore = argv![
            "disks",
            "restore",
            &place,
            "--snapshot",
            self.snapshot_name()
        ];
        restore.extend(argv!["--type", &before.home.r#type]);
        let mut labels = before.home.labels.clone();
        labels.insert(MOVE.to_owned(), ARRIVING.to_owned());
        labels.insert(MOVED_FROM.to_owned(), before.home.zone.clone());
        restore.extend(
            labels
                .iter()
                .flat_map(|(key, value)| argv!["--label", format!("{key}={value}")]),
        );
        self.tell(restore)?;
        let after = self.look()?;
        let started = |found: &Found| found.machine.as_ref().and_then(|machine| machine.started);
        let same = before.home.id == after.home.id
            && before.home.last_attached == after.home.last_attached
            && started(&before) == started(&after)
            && after.machine.as_ref().is_none_or(|machine| off(&machine));
        if !same {
            return Err(Kind::Failed.error(
                format!("{name} was started while its home was being copied; it has not moved"),
                "Run this again: it is copied anew.",
            ));
        }
        self.taken = Some((snapshot.id, after.home.last_attached));
        // From here on nothing writes to the old home: `start` and `up` find no machine there.
        if let Some(machine) = &after.machine {
            self.tell(argv!["instances", "delete", machine.place()])?;
        }
        self.terraform.forget_homes_elsewhere(&name, zone)?;
        self.mark(&place, ARRIVED)?;
        self.mark(&before.home.place(), LEFT)
    }

    /// Refuses a zone that has a disk of the home's name, or deletes it if that was left and may go.
    fn make_way(&self, zone: &str) -> Result<()> {
        let (name, disk) = (self.name(), self.disk());
        let disks = self.stack.cloud.disks()?;
        let in_the_way = |it: &&Disk| it.zone == zone && it.name == disk;
        match disks.iter().find(in_the_way) {
            None => Ok(()),
            Some(it) if it.named_home_of() == Some(name) && it.part() == Some(ARRIVING) => Ok(()),
            Some(it) if it.named_home_of() == Some(name) && it.part() == Some(LEFT) => {
                if self.args.destroy_old_disk {
                    return self.tell(argv!["disks", "delete", it.place()]);
                }
                Err(Kind::Failed.error(
                    format!("{zone} still has the disk that {name} left there in an earlier move"),
                    "Add --destroy-old-disk, which deletes it; what is on it is of that time.",
                ))
            }
            Some(_) => Err(Kind::Failed.error(
                format!("{zone} has a disk {disk} that is not {name}'s"),
                "Name another zone with --zone, or give that disk another place.",
            )),
        }
    }

    /// A snapshot of the home, to which nothing was written since.
    fn snapshot(&self, found: &Found) -> Result<Snapshot> {
        let name = self.snapshot_name();
        if let Some(snapshot) = self.find_snapshot()? {
            if self.is_current(&snapshot, found) {
                return Ok(snapshot);
            }
            self.tell(argv!["snapshots", "delete", &name])?;
        }
        let mut make = argv!["snapshots", "make", &name, "--disk", found.home.place()];
        make.extend(argv!["--location", &self.stack.cloud.region]);
        if let Some(wish) = &self.wish {
            make.extend(argv!["--description", wish]);
        }
        make.extend(argv!["--label", format!("{WORKSPACE}={}", self.name())]);
        make.extend(argv!["--label", "managed-by=workspaces"]);
        self.stack.cloud.ask(self.of_project(make))
    }

    fn find_snapshot(&self) -> Result<Option<Snapshot>> {
        let get = argv!["snapshots", "get", self.snapshot_name()];
        self.stack.cloud.ask(self.of_project(get))
    }

    /// Whether a snapshot holds what the home does: no machine ran with it since.
    fn is_current(&self, snapshot: &Snapshot, found: &Found) -> bool {
        let home = &found.home;
        if snapshot.status != "READY" || snapshot.source_disk_id != home.id {
            return false;
        }
        if self.taken == Some((snapshot.id.clone(), home.last_attached)) && found.machine.is_none()
        {
            return true;
        }
        // To the second: in doubt there is another snapshot.
        let before = |time: Option<i64>| time.is_none_or(|time| time < snapshot.created);
        before(home.last_attached)
            && match &found.machine {
                Some(machine) => machine.status == "TERMINATED" && before(machine.started),
                // It may have run since, and gone.
                None => before(home.last_detached),
            }
    }

    /// Makes the old disk the home again, because no machine could be made with the copy.
    fn go_back(&self, found: &Found) -> Result<()> {
        let from = found.home.labels.get(MOVED_FROM);
        let Some(old) = found.left.iter().find(|old| Some(&old.zone) == from) else {
            return Err(Kind::Failed.error(
                format!("the disk that {} came from is gone", self.name()),
                "Run this without --zone: it stays in the zone that it is in.",
            ));
        };
        self.terraform
            .forget_homes_elsewhere(self.name(), &old.zone)?;
        self.unmark(&old.place())?;
        self.mark(&found.home.place(), ARRIVING)
    }

    /// Marks the disk that an earlier run left and could not mark any more.
    fn mark_left(&self, found: &Found) -> Result<()> {
        found
            .left
            .iter()
            .try_for_each(|old| self.mark(&old.place(), LEFT))
    }

    /// Records the home that there is now, and makes its machine.
    fn apply(&self, variables: &mut Value) -> Result<()> {
        let name = self.name();
        let disks = self.stack.cloud.settled_disks()?;
        let homes = self.stack.homes(&disks, &BTreeMap::new())?;
        let home = disks.iter().find(|disk| disk.home_of() == Some(name));
        if let Some(home) = home {
            let id = format!(
                "projects/{}/zones/{}/disks/{}",
                self.stack.cloud.project, home.zone, home.name
            );
            let address = &targets(Root::Homes, name)[0];
            self.terraform.record(Root::Homes, address, &id)?;
            let at = &mut variables["homes"][name];
            at["zone"] = home.zone.as_str().into();
            at["id"] = id.into();
        }
        self.apply_root(Root::Homes, &homes)?;
        self.apply_root(Root::Fleet, variables)?;
        let machine = self.stack.machine(name)?;
        if machine.is_on() {
            return Ok(());
        }
        self.tell(argv!["instances", "start", machine.place()])
    }

    fn apply_root(&self, root: Root, variables: &Value) -> Result<()> {
        let targets = targets(root, self.name());
        let mode = if self.alone {
            Mode::NORMAL
        } else {
            Mode::Only { targets: &targets }
        };
        let applied = self.terraform.apply(root, variables, mode, |plan| {
            eprint!("{}", output::table(&terraform::rows(root, plan)));
            stack::judge(root, plan, &[])
        });
        applied.map(drop)
    }

    fn wait(&self) -> Result<()> {
        let domain = self.workspace.domain.as_ref();
        let url = domain.map(|domain| format!("https://{domain}"));
        up::wait(self.stack, &json!({ self.name(): { "url": url } }))
    }

    /// Takes away what only the move needed.
    fn settle(&self, found: &Found) -> Result<()> {
        self.mark_left(found)?;
        if self.find_snapshot()?.is_some() {
            self.tell(argv!["snapshots", "delete", self.snapshot_name()])?;
        }
        self.unmark(&found.home.place())
    }

    /// Takes away what a move left that does not go on.
    fn abandon(&self, found: &Found) -> Result<()> {
        found
            .copies
            .iter()
            .try_for_each(|copy| self.discard(copy))?;
        if self.find_snapshot()?.is_some() {
            self.tell(argv!["snapshots", "delete", self.snapshot_name()])?;
        }
        Ok(())
    }

    fn discard(&self, copy: &Disk) -> Result<()> {
        if copy.is_untouched() {
            return self.tell(argv!["disks", "delete", copy.place()]);
        }
        Err(Kind::Failed.error(
            format!("a machine has had {}, which is marked as a copy that none had yet", copy.place()),
            format!(
                "See what is on it, then delete it: gcloud compute disks delete {} --zone {} --project {}",
                copy.name, copy.zone, self.stack.cloud.project
            ),
        ))
    }

    /// Deletes the disks that the workspace left, if they may go; which ones are kept.
    fn forget_old(&self, found: &Found) -> Result<Vec<String>> {
        let (name, zone) = (self.name(), &found.home.zone);
        let old: Vec<_> = found.left.iter().map(Disk::place).collect();
        if self.args.destroy_old_disk {
            for place in old {
                eprintln!("the disk {place}, which {name} left, goes");
                self.tell(argv!["disks", "delete", place])?;
            }
            return Ok(Vec::new());
        }
        for place in &old {
            eprintln!(
                "the disk {place}, which {name} left, is kept and costs; to delete it: \
                 cargo xtask move {name} --zone {zone} --destroy-old-disk"
            );
        }
        Ok(old)
    }

    fn mark(&self, place: &str, part: &str) -> Result<()> {
        self.tell(argv!["disks", "label", place, format!("{MOVE}={part}")])
    }

    fn unmark(&self, place: &str) -> Result<()> {
        self.tell(argv![
            "disks", "label", place, "--remove", MOVE, "--remove", MOVED_FROM
        ])
    }

    fn tell(&self, words: Argv) -> Result<()> {
        self.stack.cloud.tell(self.of_project(words))
    }

    fn of_project(&self, words: Argv) -> Argv {
        of_project(&self.stack.cloud, words)
    }
}

fn of_project(cloud: &Cloud, mut words: Argv) -> Argv {
    words.extend(argv!["--project", &cloud.project]);
    words
}

/// What of a root is a workspace's in its zone.
fn targets(root: Root, name: &str) -> Vec<String> {
    let kinds: &[&str] = match root {
        Root::Foundation => &[],
        Root::Homes => &[
            "google_compute_disk.homes",
            "google_compute_disk_resource_policy_attachment.snapshots",
        ],
        Root::Fleet => &[
            "google_compute_instance.workspaces",
            "google_iap_tunnel_instance_iam_member.owners",
            "google_project_iam_member.owners",
        ],
    };
    kinds
        .iter()
        .map(|kind| format!("{kind}[\"{name}\"]"))
        .collect()
}

/// All commands in their order; what only earlier ones tell is in capitals.
fn commands(stack: &Stack, workspace: &Workspace, args: &MoveArgs) -> Vec<Argv> {
    let cloud = &stack.cloud;
    let name = &workspace.name;
    let google = |words| cloud.command(of_project(cloud, words));
    let new = format!("{}/home-{name}", args.zone.as_deref().unwrap_or("NEW_ZONE"));
    let (machine, old) = (format!("ZONE/{name}"), format!("ZONE/home-{name}"));
    let snapshot = format!("move-{name}");
    let mut commands = vec![
        cloud.command(cloud.machines_command()),
        cloud.command(cloud.disks_command()),
        cloud.command(cloud.zones_command(std::iter::once(workspace))),
    ];
    for root in terraform::ROOTS {
        commands.extend(terraform::plan_commands(
            cloud,
            &stack.root,
            root,
            Mode::NORMAL,
            false,
        ));
    }
    commands.extend([
        google(argv!["instances", "stop", &machine]),
        google(argv![
            "snapshots",
            "make",
            &snapshot,
            "--disk",
            &old,
            "--location",
            &cloud.region
        ]),
        google(argv![
            "disks",
            "restore",
            &new,
            "--snapshot",
            &snapshot,
            "--type",
            "TYPE"
        ]),
        google(argv!["instances", "delete", &machine]),
        google(argv!["disks", "label", &new, format!("{MOVE}={ARRIVED}")]),
        google(argv!["disks", "label", &old, format!("{MOVE}={LEFT}")]),
    ]);
    for root in [Root::Homes, Root::Fleet] {
        commands.extend(terraform::plan_commands(
            cloud,
            &stack.root,
            root,
            Mode::NORMAL,
            true,
        ));
    }
    commands.extend([
        google(argv!["snapshots", "delete", &snapshot]),
        google(argv![
            "disks", "label", &new, "--remove", MOVE, "--remove", MOVED_FROM
        ]),
    ]);
    if args.destroy_old_disk {
        commands.push(google(argv!["disks", "delete", &old]));
    }
    commands
}
