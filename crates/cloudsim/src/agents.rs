//! Simulated agents: the state machine of the machines' agent, on machines whose Nix and systemd are made up.

use crate::World;
use crate::compute::{self, Inside};
use crate::store::Store;
use agent::journal::Journal;
use agent::machine::{self, Next, Patience};
use agent::report::{self, NAMESPACE, Report, Reporter};
use agent::{Error, Kind, System, metadata};
use serde_json::Value;
use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep};

/// What the options of the module `agent` are unless set.
const PATIENCE: Patience = Patience {
    grace: 60,
    trial: 240,
    reboot: 24 * 60 * 60,
};

/// What a machine runs before it was told what to run.
const OF_THE_IMAGE: &str = "/nix/store/00000000000000000000000000000000-nixos-system-of-the-image";

/// The agents of machines that run.
#[derive(Clone, Debug)]
pub struct Agents {
    /// At most so many machines have one.
    pub most: usize,
    /// About so many of a hundred machines fail with every system but their first.
    pub failing_percent: f64,
    /// Decides which.
    pub seed: u64,
    /// Seconds of theirs that pass in one of ours, at least 1.
    pub pace: u32,
}

/// What is wrong with a machine, as soon as it is to run another system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// The system cannot be fetched.
    Fetch,
    /// A unit of it fails to start.
    Unit,
    /// It starts, and the login page does not answer.
    Health,
}

impl Agents {
    /// Whether the machine of this name fails with every system but its first.
    pub fn fails(&self, machine: &str) -> bool {
        self.trouble(machine).is_some()
    }

    fn trouble(&self, machine: &str) -> Option<Trouble> {
        let name = u64::from(crc32c::crc32c(machine.as_bytes()));
        let mut dice = Store::in_memory(self.seed.rotate_left(32) ^ name);
        let hit = (dice.random_below(1_000_000) as f64) < self.failing_percent * 10_000.0;
        hit.then(|| match dice.random_below(3) {
            0 => Trouble::Fetch,
            1 => Trouble::Unit,
            _ => Trouble::Health,
        })
    }
}

/// Gives each machine that there is or will be an agent.
pub async fn run(world: Arc<World>, agents: Agents) {
    let living = Arc::new(Mutex::new(HashSet::new()));
    let appearances = world.store().appearances();
    loop {
        let mut appearance = pin!(appearances.notified());
        appearance.as_mut().enable();
        for key in machines(&world.store()) {
            let mut names = living.lock().expect("no panic while held");
            if names.len() >= agents.most || !names.insert(key.clone()) {
                continue;
            }
            let (world, agents, living) = (world.clone(), agents.clone(), living.clone());
            tokio::spawn(async move {
                live(world, &agents, &key).await;
                living.lock().expect("no panic while held").remove(&key);
            });
        }
        appearance.await;
    }
}

/// The keys of all machines.
fn machines(store: &Store) -> Vec<String> {
    let keys = store.scan("compute/projects/", "").map(|(key, _)| key);
    let of_machine = |key: &&str| key.rsplit('/').nth(1) == Some("instances");
    keys.filter(of_machine).map(str::to_owned).collect()
}

/// The life of a machine's agent, until the machine is deleted.
async fn live(world: Arc<World>, agents: &Agents, key: &str) {
    let watched = world.store().watch(key);
    let mut agent: Option<Agent> = None;
    loop {
        let mut change = pin!(watched.notified());
        change.as_mut().enable();
        let Some(instance) = world.store().get(key).cloned() else {
            return;
        };
        let same = agent.take().filter(|agent| agent.id == instance["id"]);
        let agent = agent.insert(same.unwrap_or_else(|| Agent::new(&world, agents, &instance)));
        match agent.look(&instance) {
            Some(seconds) => {
                let pause = Duration::from_secs(seconds) / agents.pace.max(1);
                tokio::select! {
                    () = change => {}
                    () = sleep(pause) => {}
                }
            }
            None => change.await,
        }
    }
}

/// An agent and its machine.
struct Agent {
    /// Which machine it is: another one may get its name.
    id: Value,
    boots: u64,
    machine: machine::Machine,
    reporter: Reporter,
    inside: Insides,
}

impl Agent {
    fn new(world: &Arc<World>, agents: &Agents, instance: &Value) -> Self {
        let first: System = OF_THE_IMAGE.parse().expect("a store path");
        let link = instance["selfLink"].as_str().unwrap_or_default();
        let mut path = link.rsplit('/');
        let name = path.next().unwrap_or_default().to_owned();
        let zone = path.nth(1).unwrap_or_default().to_owned();
        let project = path.nth(1).unwrap_or_default().to_owned();
        Self {
            id: instance["id"].clone(),
            boots: 0,
            machine: machine::Machine::new(PATIENCE),
            reporter: Reporter::default(),
            inside: Insides {
                trouble: agents.trouble(&name),
                world: world.clone(),
                place: [project, zone, name],
                since: Instant::now(),
                pace: agents.pace.max(1),
                booted: String::new(),
                booted_at: 0,
                running: first.clone(),
                profile: first.clone(),
                once: None,
                first,
                journal: Journal::default(),
            },
        }
    }

    /// Does what is to be done now, and says in how many seconds there is more to do if nothing changes.
    fn look(&mut self, instance: &Value) -> Option<u64> {
        if instance["status"] != "RUNNING" {
            return None;
        }
        let boots = instance["_boots"].as_u64().unwrap_or_default();
        if boots != self.boots {
            self.boots = boots;
            self.inside.boot();
        }
        let attributes = compute::attributes(&instance["metadata"]);
        let wanted = metadata::wanted(&attributes).unwrap_or_else(|error| {
            self.inside.write(Inside::Serial(&format!("{error}\r\n")));
            None
        });
        self.inside.journal.wanted = wanted;
        loop {
            let before = self.inside.booted.clone();
            let next = self.machine.step(&mut self.inside);
            if before != self.inside.booted {
                self.machine = machine::Machine::new(PATIENCE);
                self.reporter = Reporter::default();
            }
            let report = self.inside.report();
            let written = self.reporter.write(&report, |key, value| {
                let path = format!("{NAMESPACE}/{key}");
                self.inside.write(Inside::GuestAttribute(path, value));
                Ok(())
            });
            written.expect("it cannot fail");
            match next.expect("it cannot fail") {
                Next::Now => {}
                Next::In(seconds) => return Some(seconds),
                Next::Settled => return None,
            }
        }
    }
}

/// What the agent sees and does on its machine.
struct Insides {
    world: Arc<World>,
    /// Project, zone, name.
    place: [String; 3],
    since: Instant,
    pace: u32,
    trouble: Option<Trouble>,
    booted: String,
    booted_at: u64,
    /// The system of its image, which never fails.
    first: System,
    running: System,
    profile: System,
    once: Option<System>,
    journal: Journal,
}

impl Insides {
    fn boot(&mut self) {
        self.booted_at = machine::World::now(self);
        self.booted = format!("{} at {}", self.place[2], self.booted_at);
        self.running = self.once.take().unwrap_or_else(|| self.profile.clone());
    }

    /// Refused, as of a machine without guest attributes, it is not written.
    fn write(&self, what: Inside) {
        let [project, zone, name] = &self.place;
        let _ = compute::from_inside(&mut self.world.store(), project, zone, name, what);
    }

    fn report(&self) -> Report {
        let (state, reason) = report::state(&self.journal, Some(&self.running));
        Report {
            wanted: self.journal.wanted.clone(),
            system: Some(self.running.clone()),
            state,
            reason,
            generation: None,
            boot: self.booted_at,
            module: None,
            gpu: None,
        }
    }

    /// What is wrong with this machine under this system.
    fn trouble(&self, system: &System) -> Option<Trouble> {
        self.trouble.filter(|_| *system != self.first)
    }
}

fn failure(what: &str) -> Error {
    Kind::Failed.error(what, "It was planted: docs/cloudsim.md")
}

impl machine::World for Insides {
    fn now(&self) -> u64 {
        let began = SystemTime::now() - self.since.elapsed();
        let passed = self.since.elapsed() * self.pace;
        let began = began.duration_since(UNIX_EPOCH).unwrap_or_default();
        (began + passed).as_secs()
    }

    fn boot(&self) -> agent::Result<String> {
        Ok(self.booted.clone())
    }

    fn running(&self) -> agent::Result<System> {
        Ok(self.running.clone())
    }

    fn booting(&self) -> agent::Result<Option<System>> {
        Ok(Some(self.profile.clone()))
    }

    fn problems(&mut self) -> Vec<String> {
        match self.trouble(&self.running) {
            Some(Trouble::Health) => vec!["check login: it does not answer".to_owned()],
            _ => Vec::new(),
        }
    }

    fn idle(&mut self) -> bool {
        true
    }

    fn needs_reboot(&self, _: &System) -> bool {
        false
    }

    fn load(&self) -> agent::Result<Journal> {
        Ok(self.journal.clone())
    }

    fn save(&mut self, journal: &Journal) -> agent::Result<()> {
        self.journal = journal.clone();
        Ok(())
    }

    fn fetch(&mut self, system: &System) -> agent::Result<()> {
        match self.trouble(system) {
            Some(Trouble::Fetch) => Err(failure("it cannot be fetched: the cache answers 404")),
            _ => Ok(()),
        }
    }

    fn activate(&mut self, system: &System) -> agent::Result<Vec<String>> {
        self.running = system.clone();
        Ok(match self.trouble(system) {
            Some(Trouble::Unit) => vec!["unit app.service: it failed".to_owned()],
            _ => Vec::new(),
        })
    }

    fn commit(&mut self, system: &System, _: Option<&System>) -> agent::Result<()> {
        self.profile = system.clone();
        Ok(())
    }

    fn boot_once(&mut self, new: &System, _: &System) -> agent::Result<()> {
        self.once = Some(new.clone());
        Ok(())
    }

    fn reboot(&mut self) -> agent::Result<()> {
        self.boot();
        Ok(())
    }

    fn announce(&mut self, text: &str) {
        self.say(text);
    }

    fn say(&mut self, text: &str) {
        self.write(Inside::Serial(&format!("workspace-agent: {text}\r\n")));
    }
}
