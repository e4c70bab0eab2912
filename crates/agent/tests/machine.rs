//! The whole state machine in a world of its own, with kills and power cuts between any two things
//! it does.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use agent::{
    Error, Kind, Result, System,
    journal::{Journal, Phase},
    machine::{Machine, Next, Patience, World},
};
use proptest::prelude::*;

const PATIENCE: Patience = Patience {
    grace: 60,
    trial: 180,
    reboot: 86_400,
};

/// What a system is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Nature {
    /// How often it cannot be fetched before it can.
    hard_to_get: u32,
    activates: bool,
    healthy: bool,
    boots: bool,
    /// Whether the boot menu has room for it.
    fits: bool,
    kernel: u8,
}

const GOOD: Nature = Nature {
    hard_to_get: 0,
    activates: true,
    healthy: true,
    boots: true,
    fits: true,
    kernel: 0,
};

impl Nature {
    /// Whether it would stand, seen from a machine with this kernel.
    fn stands(self, kernel: u8) -> bool {
        let comes_up = if self.kernel == kernel {
            self.activates
        } else {
            self.boots
        };
        comes_up && self.healthy
    }
}

/// What a kill is thrown as.
struct Killed;

#[derive(Clone)]
struct Fake {
    natures: Vec<Nature>,
    time: u64,
    boots: u32,
    kernel: u8,
    running: usize,
    profile: usize,
    /// What the boot menu's default is.
    menu: usize,
    /// What the next boot chooses instead.
    once: Option<usize>,
    store: BTreeSet<usize>,
    fetches: Vec<u32>,
    journal: String,
    rebooting: bool,
    idle: bool,
    /// Whether a unit has always failed, and does again at each switch.
    worn: bool,
    /// So many things it does until it is killed.
    fuse: Option<u32>,
    done: u32,
    /// How many things it had done when it restarted.
    reboots_at: Vec<u32>,
    said: Vec<String>,
}

fn system(number: usize) -> System {
    let hash = ["a", "b", "c", "d"][number].repeat(32);
    format!("/nix/store/{hash}-nixos-system").parse().unwrap()
}

fn number(system: &System) -> usize {
    (0..4).find(|n| self::system(*n) == *system).unwrap()
}

fn failure(what: &str) -> Error {
    Kind::Failed.error(what, "Look")
}

impl Fake {
    fn new(natures: &[Nature]) -> Self {
        Self {
            natures: natures.to_vec(),
            time: 1_000_000,
            boots: 1,
            kernel: natures[0].kernel,
            running: 0,
            profile: 0,
            menu: 0,
            once: None,
            store: [0].into(),
            fetches: vec![0; natures.len()],
            journal: "{\"wanted\":null,\"task\":null,\"refused\":null}".into(),
            rebooting: false,
            idle: true,
            worn: false,
            fuse: None,
            done: 0,
            reboots_at: Vec::new(),
            said: Vec::new(),
        }
    }

    fn want(&mut self, number: usize) {
        let mut journal = self.load().unwrap();
        journal.wanted = Some(system(number));
        self.journal = serde_json::to_string(&journal).unwrap();
    }

    /// Between any two things: may the process end here? And would the machine come up again?
    fn tick(&mut self) {
        let menu = self.natures[self.menu];
        assert!(
            menu.boots && menu.healthy,
            "boots a bad system: {}",
            self.menu
        );
        assert!(self.store.contains(&self.menu), "boots what is not there");
        assert!(self.store.contains(&self.running), "runs what is not there");
        self.done += 1;
        if let Some(fuse) = &mut self.fuse {
            if *fuse == 0 {
                self.fuse = None;
                resume_unwind(Box::new(Killed));
            }
            *fuse -= 1;
        }
    }

    fn restart(&mut self) {
        self.boots += 1;
        self.reboots_at.push(self.done);
        self.time += 60;
        self.rebooting = false;
        let once = self.once.take().filter(|once| self.natures[*once].boots);
        self.running = once.unwrap_or(self.menu);
        self.kernel = self.natures[self.running].kernel;
    }
}

impl World for Fake {
    fn now(&self) -> u64 {
        self.time
    }

    fn boot(&self) -> Result<String> {
        Ok(self.boots.to_string())
    }

    fn running(&self) -> Result<System> {
        Ok(system(self.running))
    }

    fn booting(&self) -> Result<Option<System>> {
        Ok(Some(system(self.profile)))
    }

    fn problems(&mut self) -> Vec<String> {
        self.tick();
        let bad = !self.natures[self.running].healthy;
        let bad = bad.then(|| "unit app.service: it failed".to_owned());
        let worn = self.worn.then(|| "unit worn.service: it failed".to_owned());
        bad.into_iter().chain(worn).collect()
    }

    fn idle(&mut self) -> bool {
        self.idle
    }

    fn needs_reboot(&self, new: &System) -> bool {
        self.natures[number(new)].kernel != self.kernel
    }

    fn load(&self) -> Result<Journal> {
        Ok(serde_json::from_str(&self.journal).unwrap())
    }

    fn save(&mut self, journal: &Journal) -> Result<()> {
        self.tick();
        self.journal = serde_json::to_string(journal).unwrap();
        self.tick();
        Ok(())
    }

    fn fetch(&mut self, system: &System) -> Result<()> {
        self.tick();
        let number = number(system);
        self.fetches[number] += 1;
        if self.fetches[number] <= self.natures[number].hard_to_get {
            return Err(failure("no signature"));
        }
        self.store.insert(number);
        self.tick();
        Ok(())
    }

    fn activate(&mut self, system: &System) -> Result<Vec<String>> {
        self.tick();
        assert!(
            self.store.contains(&number(system)),
            "activates what is not there"
        );
        self.running = number(system);
        self.time += 5;
        self.tick();
        if self.natures[self.running].activates {
            Ok(self.problems())
        } else {
            Err(failure("the switch failed with status 1"))
        }
    }

    fn commit(&mut self, system: &System, _: Option<&System>) -> Result<()> {
        self.tick();
        self.profile = number(system);
        self.tick();
        if !self.natures[self.profile].fits {
            return Err(failure("no space left on /boot"));
        }
        self.menu = number(system);
        self.tick();
        Ok(())
    }

    fn boot_once(&mut self, new: &System, old: &System) -> Result<()> {
        self.tick();
        self.profile = number(new);
        self.tick();
        self.profile = number(old);
        self.tick();
        self.once = Some(number(new));
        self.tick();
        Ok(())
    }

    fn reboot(&mut self) -> Result<()> {
        self.tick();
        self.rebooting = true;
        Ok(())
    }

    fn announce(&mut self, text: &str) {
        self.said.push(format!("wall: {text}"));
    }

    fn say(&mut self, text: &str) {
        self.said.push(text.to_owned());
    }
}

/// Takes steps until nothing is left to do.
fn run(fake: &mut Fake) {
    run_with(fake, &mut Vec::new(), |_, ()| {});
}

/// Steps, before each of which an event may happen: the first is due first, after so many steps.
fn run_with<E: Copy>(
    fake: &mut Fake,
    events: &mut Vec<(u32, E)>,
    mut happen: impl FnMut(&mut Fake, E),
) {
    let mut machine = Machine::new(PATIENCE);
    for _ in 0..2_000 {
        if let Some((due, event)) = events.first_mut() {
            if *due == 0 {
                let event = *event;
                events.remove(0);
                happen(fake, event);
            } else {
                *due -= 1;
            }
        }
        let step = catch_unwind(AssertUnwindSafe(|| machine.step(fake).unwrap()));
        match step {
            Ok(Next::Settled) if events.is_empty() => return,
            Ok(Next::Settled | Next::Now) => {}
            Ok(Next::In(seconds)) => {
                assert!(seconds > 0, "would spin");
                fake.time += seconds;
            }
            Err(payload) if payload.is::<Killed>() => machine = Machine::new(PATIENCE),
            Err(payload) => resume_unwind(payload),
        }
        if fake.rebooting {
            fake.restart();
            machine = Machine::new(PATIENCE);
        }
    }
    panic!("does not settle: {}", fake.journal);
}

/// It runs what it boots, and what it says of it is true.
fn is_whole(fake: &Fake) -> Journal {
    assert_eq!(fake.running, fake.menu);
    assert_eq!(fake.running, fake.profile);
    let journal = fake.load().unwrap();
    assert_eq!(journal.task, None);
    journal
}

#[test]
fn a_good_system_is_committed_after_its_grace_time() {
    let mut fake = Fake::new(&[GOOD; 2]);
    fake.want(1);
    let begun = fake.time;
    run(&mut fake);
    assert_eq!(is_whole(&fake).refused, None);
    assert_eq!(fake.running, 1);
    assert!(fake.time >= begun + PATIENCE.grace);
    assert_eq!(fake.boots, 1, "no reboot without need");
}

#[test]
fn units_that_fail_at_the_switch_count_if_they_had_not_failed_before() {
    let bad = Nature {
        healthy: false,
        ..GOOD
    };
    for (nature, stands) in [(GOOD, true), (bad, false)] {
        let mut fake = Fake::new(&[GOOD, nature]);
        fake.worn = true;
        fake.want(1);
        let begun = fake.time;
        run(&mut fake);
        let refused = is_whole(&fake).refused.map(|refused| refused.reason);
        assert_eq!(fake.running == 1, stands);
        let reason = (!stands).then(|| "unit app.service: it failed".to_owned());
        assert_eq!(refused, reason);
        if !stands {
            assert!(fake.time < begun + PATIENCE.grace, "waited for the worse");
        }
    }
}

#[test]
fn a_bad_system_is_left_and_the_reason_said() {
    let unhealthy = Nature {
        healthy: false,
        ..GOOD
    };
    let dead = Nature {
        activates: false,
        ..GOOD
    };
    let large = Nature {
        fits: false,
        ..GOOD
    };
    for (nature, reason) in [
        (large, "no space"),
        (unhealthy, "app.service"),
        (dead, "status 1"),
    ] {
        let mut fake = Fake::new(&[GOOD, nature]);
        fake.want(1);
        run(&mut fake);
        let refused = is_whole(&fake).refused.unwrap();
        assert_eq!((fake.running, refused.system), (0, system(1)));
        assert!(refused.reason.contains(reason), "{}", refused.reason);
        // It is not tried again and again.
        let fetches = fake.fetches[1];
        run(&mut fake);
        assert_eq!(fake.fetches[1], fetches);
    }
}

#[test]
fn what_was_wrong_before_is_not_held_against_a_new_system() {
    let ailing = Nature {
        healthy: false,
        ..GOOD
    };
    let mut fake = Fake::new(&[GOOD, ailing, ailing]);
    (fake.running, fake.store) = (1, [0, 1].into());
    fake.want(2);
    let mut machine = Machine::new(PATIENCE);
    while !matches!(fake.load().unwrap().task, Some(task) if task.phase == Phase::Committing) {
        if let Next::In(seconds) = machine.step(&mut fake).unwrap() {
            fake.time += seconds;
        }
    }
}

#[test]
fn another_kernel_comes_by_a_reboot_at_an_idle_moment() {
    let kernel = Nature { kernel: 1, ..GOOD };
    let mut fake = Fake::new(&[GOOD, kernel]);
    fake.idle = false;
    fake.want(1);
    let mut machine = Machine::new(PATIENCE);
    for _ in 0..20 {
        machine.step(&mut fake).unwrap();
    }
    assert_eq!((fake.boots, fake.running), (1, 0), "somebody is at work");
    assert!(
        fake.said.iter().any(|said| said.starts_with("wall: ")),
        "{:?}",
        fake.said
    );
    fake.idle = true;
    run(&mut fake);
    is_whole(&fake);
    assert_eq!((fake.boots, fake.running), (2, 1));
}

#[test]
fn a_reboot_waits_no_longer_than_its_deadline_and_says_so_before() {
    let kernel = Nature { kernel: 1, ..GOOD };
    let mut fake = Fake::new(&[GOOD, kernel]);
    fake.idle = false;
    fake.want(1);
    let begun = fake.time;
    run(&mut fake);
    is_whole(&fake);
    assert_eq!(fake.running, 1);
    assert!(fake.time >= begun + PATIENCE.reboot);
    let told: Vec<_> = fake
        .said
        .iter()
        .filter(|said| said.starts_with("wall: "))
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains("in 10 minutes"), "{told:?}");
}

#[test]
fn a_kernel_that_does_not_boot_costs_one_reboot() {
    let broken = Nature {
        kernel: 1,
        boots: false,
        ..GOOD
    };
    let mut fake = Fake::new(&[GOOD, broken]);
    fake.want(1);
    run(&mut fake);
    let refused = is_whole(&fake).refused.unwrap();
    assert_eq!((fake.boots, fake.running), (2, 0));
    assert!(
        refused.reason.contains("did not boot"),
        "{}",
        refused.reason
    );
}

#[test]
fn what_cannot_be_got_is_asked_for_again_ever_more_rarely() {
    let late = Nature {
        hard_to_get: 8,
        ..GOOD
    };
    let mut fake = Fake::new(&[GOOD, late]);
    fake.want(1);
    let begun = fake.time;
    run(&mut fake);
    is_whole(&fake);
    assert_eq!((fake.running, fake.fetches[1]), (1, 9));
    let waits: u64 = [1, 2, 4, 8, 16, 32, 32, 32].iter().sum();
    assert!(fake.time - begun >= waits * 60);
}

#[test]
fn a_system_during_whose_trial_the_machine_restarts_twice_is_left() {
    let mut fake = Fake::new(&[GOOD; 2]);
    fake.want(1);
    let mut cuts = 0;
    let mut machine = Machine::new(PATIENCE);
    while cuts < 2 {
        if let Next::In(seconds) = machine.step(&mut fake).unwrap() {
            fake.time += seconds;
            fake.restart();
            machine = Machine::new(PATIENCE);
            cuts += 1;
        }
    }
    run(&mut fake);
    let refused = is_whole(&fake).refused.unwrap();
    assert_eq!(fake.running, 0);
    assert!(
        refused.reason.contains("restarted 2 times"),
        "{}",
        refused.reason
    );
}

#[test]
fn a_system_that_somebody_activates_meanwhile_is_left_alone() {
    let mut fake = Fake::new(&[GOOD; 3]);
    fake.want(1);
    let mut machine = Machine::new(PATIENCE);
    while machine.step(&mut fake).unwrap() == Next::Now {}
    assert_eq!(fake.running, 1);
    fake.store.insert(2);
    fake.running = 2;
    run(&mut fake);
    assert_eq!((fake.running, fake.menu), (2, 0));
    assert!(
        fake.load()
            .unwrap()
            .refused
            .unwrap()
            .reason
            .contains("by hand")
    );
}

#[test]
fn a_system_that_runs_without_being_proved_is_proved() {
    let mut fake = Fake::new(&[GOOD; 2]);
    fake.store.insert(1);
    fake.running = 1;
    fake.want(1);
    run(&mut fake);
    is_whole(&fake);
    assert_eq!(fake.running, 1);
}

/// Kills the agent, or cuts the power, at each of the things it does, one run for each.
fn at_every_point(new: Nature, cut: bool) {
    let natures = [GOOD, new];
    let mut whole = Fake::new(&natures);
    whole.want(1);
    run(&mut whole);
    for point in 0..whole.done {
        let mut fake = Fake::new(&natures);
        fake.want(1);
        fake.fuse = Some(point);
        let mut machine = Machine::new(PATIENCE);
        // Until it is killed.
        loop {
            let step = catch_unwind(AssertUnwindSafe(|| machine.step(&mut fake).unwrap()));
            match step {
                Ok(Next::In(seconds)) => fake.time += seconds,
                Ok(_) => {}
                Err(payload) if payload.is::<Killed>() => break,
                Err(payload) => resume_unwind(payload),
            }
            if fake.rebooting {
                fake.restart();
                machine = Machine::new(PATIENCE);
            }
        }
        if cut {
            fake.restart();
        }
        run(&mut fake);
        let journal = is_whole(&fake);
        if new.stands(0) {
            // A new kernel that loses its power before the agent has seen it seems not to have booted.
            let unseen = cut && whole.reboots_at.contains(&point);
            let end = (fake.running, journal.refused.is_none());
            let right = if unseen { (0, false) } else { (1, true) };
            assert_eq!(end, right, "killed at {point}");
        } else {
            assert_eq!(fake.running, 0, "killed at {point}");
            assert_eq!(
                journal.refused.unwrap().system,
                system(1),
                "killed at {point}"
            );
        }
    }
}

#[test]
fn a_kill_between_any_two_things_ends_in_the_same_state() {
    for kernel in [0, 1] {
        at_every_point(Nature { kernel, ..GOOD }, false);
        at_every_point(
            Nature {
                kernel,
                healthy: false,
                ..GOOD
            },
            false,
        );
        at_every_point(
            Nature {
                kernel,
                activates: false,
                boots: false,
                ..GOOD
            },
            false,
        );
    }
}

#[test]
fn a_power_cut_between_any_two_things_ends_in_the_same_state() {
    for kernel in [0, 1] {
        at_every_point(Nature { kernel, ..GOOD }, true);
        at_every_point(
            Nature {
                kernel,
                healthy: false,
                ..GOOD
            },
            true,
        );
        at_every_point(
            Nature {
                kernel,
                activates: false,
                boots: false,
                ..GOOD
            },
            true,
        );
    }
}

/// What may happen to a machine.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// The agent dies after so many more things it does.
    Kill(u32),
    /// The power fails now.
    Cut,
    /// Another system is wanted.
    Want(usize),
    /// Somebody comes or goes.
    Idle(bool),
}

fn nature() -> impl Strategy<Value = Nature> {
    let flag = || prop::bool::weighted(0.7);
    (0..3u32, flag(), flag(), flag(), flag(), 0..2u8).prop_map(
        |(hard_to_get, activates, healthy, boots, fits, kernel)| Nature {
            hard_to_get,
            activates,
            healthy,
            boots: boots && activates,
            fits,
            kernel,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..30u32).prop_map(Event::Kill),
        Just(Event::Cut),
        (0..4usize).prop_map(Event::Want),
        any::<bool>().prop_map(Event::Idle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order, the boot menu never stands on a bad system (looked at in
    /// `tick`), and in the end the machine runs the system that is wanted or says why not.
    #[test]
    fn old_or_new_and_never_neither(
        natures in prop::collection::vec(nature(), 3),
        first in 1..4usize,
        events in prop::collection::vec((0..25u32, event()), 0..12),
    ) {
        let mut natures = [vec![GOOD], natures].concat();
        // One that activates and stays healthy but does not boot is beyond anyone's sight, unless
        // its kernel is another.
        for (number, nature) in natures.iter_mut().enumerate().filter(|(_, nature)| !nature.boots) {
            nature.kernel = 10 + number as u8;
        }
        let mut fake = Fake::new(&natures);
        fake.want(first);
        let mut events = events;
        let mut cuts = 0;
        run_with(&mut fake, &mut events, |fake, event| match event {
            Event::Kill(after) => fake.fuse = Some(after),
            Event::Cut => {
                fake.restart();
                cuts += 1;
            }
            Event::Want(number) => fake.want(number),
            Event::Idle(idle) => fake.idle = idle,
        });
        let journal = is_whole(&fake);
        let wanted = number(&journal.wanted.unwrap());
        if fake.running == wanted {
            prop_assert!(natures[wanted].healthy);
        } else {
            let refused = journal.refused.unwrap();
            prop_assert_eq!(refused.system, system(wanted));
            prop_assert!(!refused.reason.is_empty());
            let nature = natures[wanted];
            let good = nature.healthy && nature.activates && nature.boots && nature.fits;
            let unseen = cuts == 1 && refused.reason.contains("did not boot");
            prop_assert!(!good || cuts >= 2 || unseen, "a good system was left: {}", refused.reason);
        }
    }
}
