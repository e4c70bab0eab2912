//! The state machine: which step comes next, given what the journal says and what is seen.
//!
//! Each step is written down, then taken. All of them may be taken twice.

use crate::{
    Result, System,
    journal::{Journal, Origin, Phase, Refused, Task},
};

/// All that the machine sees and does.
pub trait World {
    /// Seconds since 1970.
    fn now(&self) -> u64;
    /// What tells this boot from others.
    fn boot(&self) -> Result<String>;
    /// The system that runs.
    fn running(&self) -> Result<System>;
    /// The system that the profile stands on, and so the one that boots.
    fn booting(&self) -> Result<Option<System>>;
    /// What is wrong with the machine, one line each: what is wrong, a colon, and how.
    fn problems(&mut self) -> Vec<String>;
    /// Whether nobody is at work.
    fn idle(&mut self) -> bool;
    /// Whether a system can only be had by a reboot.
    fn needs_reboot(&self, new: &System) -> bool;

    /// What is under way.
    fn load(&self) -> Result<Journal>;
    /// Writes down what comes next.
    fn save(&mut self, journal: &Journal) -> Result<()>;

    /// Gets a system and all that it needs into the store, its signatures verified.
    fn fetch(&mut self, system: &System) -> Result<()>;
    /// Activates a system, leaving alone what boots. Says what is wrong with its units, as `problems` does, if
    /// not all came up.
    fn activate(&mut self, system: &System) -> Result<Vec<String>>;
    /// Makes a system the one that boots, in the profile and in the boot menu. What was tried
    /// instead of it is not kept as a generation to go back to.
    fn commit(&mut self, system: &System, instead_of: Option<&System>) -> Result<()>;
    /// Gives a system an entry in the boot menu that the next boot chooses, and only that one.
    fn boot_once(&mut self, new: &System, old: &System) -> Result<()>;
    /// Begins a reboot.
    fn reboot(&mut self) -> Result<()>;
    /// Tells those on the machine.
    fn announce(&mut self, text: &str);
    /// Tells who follows the log.
    fn say(&mut self, text: &str);
}

/// How patient the machine is, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A new system must be healthy for so long without a break.
    pub grace: u64,
    /// It must have been so within this time.
    pub trial: u64,
    /// A reboot waits so long for an idle moment.
    pub reboot: u64,
}

/// When to take the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At once.
    Now,
    /// In so many seconds.
    In(u64),
    /// When something else is wanted.
    Settled,
}

/// Between two looks at the health of a system on trial, in seconds.
const LOOK: u64 = 5;

/// Between two looks for an idle moment, or two attempts at what must not fail, in seconds.
const MINUTE: u64 = 60;

/// So long before a reboot that waits no longer, those on the machine are told, in seconds.
const WARNING: u64 = 600;

/// A system on trial during which the machine restarts as often is given up: it may be the reason.
const RESTARTS: u8 = 2;

/// The state machine.
pub struct Machine {
    /// How patient it is.
    pub patience: Patience,
    /// Since when the system on trial is healthy. Not written down: who comes after a kill looks anew.
    healthy: Option<u64>,
}

impl Machine {
    /// One that has seen nothing yet.
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            healthy: None,
        }
    }

    /// Takes one step.
    ///
    /// # Errors
    /// The journal cannot be written, or what runs cannot be seen. Nothing was done then.
    pub fn step(&mut self, world: &mut impl World) -> Result<Next> {
        let mut journal = world.load()?;
        let Some(mut task) = journal.task.take() else {
            return self.begin(world, journal);
        };
        if task.boot != world.boot()? {
            return self.after_restart(world, journal, task);
        }
        match task.phase.clone() {
            Phase::Fetching => self.fetch(world, journal, task),
            Phase::Waiting { until, warned } => self.wait(world, journal, task, until, warned),
            Phase::Arming => match world.boot_once(&task.new, &task.old) {
                Ok(()) => go(world, journal, task, Phase::Rebooting),
                Err(error) => turn_back(world, journal, task, error.what),
            },
            Phase::Rebooting => {
                world.say("rebooting into the new system");
                world.reboot()?;
                Ok(Next::In(MINUTE))
            }
            Phase::Testing => {
                self.healthy = None;
                world.say(&format!("activating {}", task.new));
                let problems = match world.activate(&task.new) {
                    // They may have failed before as well.
                    Ok(failed) => news(&failed, &task.known),
                    Err(error) => vec![error.what],
                };
                if problems.is_empty() {
                    let since = world.now();
                    return go(world, journal, task, Phase::Watching { since });
                }
                turn_back(world, journal, task, problems.join("; "))
            }
            Phase::Watching { since } => self.watch(world, journal, task, since),
            Phase::Committing => match world.commit(&task.new, None) {
                Ok(()) => {
                    world.say(&format!("committed {}", task.new));
                    if task.origin == Origin::Fleet {
                        journal.refused = None;
                    }
                    world.save(&journal)?;
                    Ok(Next::Now)
                }
                Err(error) => turn_back(world, journal, task, error.what),
            },
            Phase::Returning { reason, again } => {
                if let Err(error) = restore(world, &task) {
                    world.say(&format!("going back failed, trying again: {}", error.what));
                    return Ok(Next::In(MINUTE));
                }
                world.say(&format!("back on {}", task.old));
                if again {
                    task.boot = world.boot()?;
                    return go(world, journal, task, Phase::Fetching);
                }
                refuse(world, journal, &task, reason)
            }
        }
    }

    /// Nothing is under way: is there anything to do?
    fn begin(&mut self, world: &mut impl World, journal: Journal) -> Result<Next> {
        let Some(wanted) = journal.wanted.clone() else {
            return Ok(Next::Settled);
        };
        let running = world.running()?;
        let booting = world.booting()?;
        if running == wanted && booting.as_ref() == Some(&wanted) {
            return Ok(Next::Settled);
        }
        if let Some(refused) = &journal.refused
            && refused.system == wanted
        {
            let now = world.now();
            match refused.again {
                None => return Ok(Next::Settled),
                Some(again) if again > now => return Ok(Next::In(again - now)),
                Some(_) => {}
            }
        }
        let (old, phase) = if running == wanted {
            // Activated by whom? In any case it has not been proved.
            let since = world.now();
            (booting.unwrap_or(running), Phase::Watching { since })
        } else {
            (running, Phase::Fetching)
        };
        let task = Task::new(world, old, wanted, Origin::Fleet, phase)?;
        self.healthy = None;
        save(world, journal, task)
    }

    /// The machine has restarted since the last step.
    fn after_restart(
        &mut self,
        world: &mut impl World,
        journal: Journal,
        mut task: Task,
    ) -> Result<Next> {
        task.boot = world.boot()?;
        self.healthy = None;
        let came_up = world.running()? == task.new;
        match task.phase {
            Phase::Fetching | Phase::Waiting { .. } => save(world, journal, task),
            Phase::Returning { .. } => save(world, journal, task),
            Phase::Arming | Phase::Rebooting | Phase::Testing | Phase::Watching { .. }
                if came_up =>
            {
                let since = world.now();
                go(world, journal, task, Phase::Watching { since })
            }
            Phase::Committing if came_up => save(world, journal, task),
            // A power cut between its coming up and the agent's first look seems the same. Trying
            // again would cost everybody a second reboot for each kernel that does not boot.
            Phase::Rebooting => turn_back(
                world,
                journal,
                task,
                "it did not boot: the machine came back with the old system".into(),
            ),
            Phase::Arming | Phase::Testing | Phase::Watching { .. } | Phase::Committing => {
                task.restarts += 1;
                let reason = format!(
                    "the machine restarted {} times while it was on trial",
                    task.restarts
                );
                let again = task.restarts < RESTARTS;
                go(world, journal, task, Phase::Returning { reason, again })
            }
        }
    }

    fn fetch(
        &mut self,
        world: &mut impl World,
        mut journal: Journal,
        mut task: Task,
    ) -> Result<Next> {
        // Only the latest wish counts as long as nothing has changed.
        if task.origin == Origin::Fleet && journal.wanted.as_ref() != Some(&task.new) {
            world.save(&journal)?;
            return Ok(Next::Now);
        }
        world.say(&format!("fetching {}", task.new));
        if let Err(error) = world.fetch(&task.new) {
            world.say(&error.to_string());
            let now = world.now();
            let before = journal.refused.take().filter(|r| r.system == task.new);
            let times = before.map_or(0, |refused| refused.times) + 1;
            // A minute, then twice as long each time, up to 32.
            let wait = MINUTE << times.saturating_sub(1).min(5);
            journal.refused = Some(Refused {
                system: task.new,
                reason: error.what,
                at: now,
                tried: false,
                again: Some(now + wait),
                times,
            });
            world.save(&journal)?;
            return Ok(Next::In(wait));
        }
        task.known = world.problems();
        let phase = if world.needs_reboot(&task.new) {
            let until = world.now() + self.patience.reboot;
            world.announce(&format!(
                "This workspace has an update that needs a restart. It restarts when nobody works on it, or in {}.",
                hours(self.patience.reboot)
            ));
            Phase::Waiting {
                until,
                warned: false,
            }
        } else {
            Phase::Testing
        };
        go(world, journal, task, phase)
    }

    fn wait(
        &mut self,
        world: &mut impl World,
        journal: Journal,
        task: Task,
        until: u64,
        warned: bool,
    ) -> Result<Next> {
        if task.origin == Origin::Fleet && journal.wanted.as_ref() != Some(&task.new) {
            world.save(&journal)?;
            return Ok(Next::Now);
        }
        let now = world.now();
        if now >= until || world.idle() {
            return go(world, journal, task, Phase::Arming);
        }
        if !warned && now + WARNING >= until {
            world.announce(&format!(
                "This workspace restarts in {} minutes, for an update. Please save your work.",
                (until - now).div_ceil(MINUTE)
            ));
            let phase = Phase::Waiting {
                until,
                warned: true,
            };
            return go(world, journal, task, phase);
        }
        Ok(Next::In(MINUTE.min(until - now)))
    }

    fn watch(
        &mut self,
        world: &mut impl World,
        journal: Journal,
        task: Task,
        since: u64,
    ) -> Result<Next> {
        if world.running()? != task.new {
            // Somebody knows better than the agent: it leaves what runs alone.
            let reason = "another system was activated by hand while it was on trial";
            return refuse(world, journal, &task, reason.into());
        }
        let problems = news(&world.problems(), &task.known);
        let now = world.now();
        if problems.is_empty() {
            let healthy = *self.healthy.get_or_insert(now);
            if now >= healthy + self.patience.grace {
                return go(world, journal, task, Phase::Committing);
            }
            let left = healthy + self.patience.grace - now;
            return Ok(Next::In(LOOK.min(left)));
        }
        self.healthy = None;
        if now >= since + self.patience.trial {
            return turn_back(world, journal, task, problems.join("; "));
        }
        Ok(Next::In(LOOK))
    }
}

impl Task {
    /// A task that begins now.
    ///
    /// # Errors
    /// The boot's id cannot be read.
    pub fn new(
        world: &impl World,
        old: System,
        new: System,
        origin: Origin,
        phase: Phase,
    ) -> Result<Self> {
        Ok(Self {
            old,
            new,
            origin,
            phase,
            boot: world.boot()?,
            restarts: 0,
            known: Vec::new(),
        })
    }
}

/// Writes down the next phase.
fn go(world: &mut impl World, journal: Journal, mut task: Task, phase: Phase) -> Result<Next> {
    task.phase = phase;
    save(world, journal, task)
}

fn turn_back(world: &mut impl World, journal: Journal, task: Task, reason: String) -> Result<Next> {
    world.say(&format!("going back: {reason}"));
    let phase = Phase::Returning {
        reason,
        again: false,
    };
    go(world, journal, task, phase)
}

fn save(world: &mut impl World, mut journal: Journal, task: Task) -> Result<Next> {
    journal.task = Some(task);
    world.save(&journal)?;
    Ok(Next::Now)
}

fn refuse(
    world: &mut impl World,
    mut journal: Journal,
    task: &Task,
    reason: String,
) -> Result<Next> {
    journal.refused = Some(Refused {
        system: task.new.clone(),
        reason,
        at: world.now(),
        tried: true,
        again: None,
        times: 0,
    });
    world.save(&journal)?;
    Ok(Next::Now)
}

/// The old system runs and boots again.
fn restore(world: &mut impl World, task: &Task) -> Result<()> {
    let old = &task.old;
    if world.running()? != *old {
        // Units of the old system that fail had failed before; what counts is that it runs.
        let result = world.activate(old);
        if world.running()? != *old {
            result?;
        }
    }
    world.commit(old, Some(&task.new))
}

/// Those problems that were not there before, whatever they say now.
pub(crate) fn news(problems: &[String], known: &[String]) -> Vec<String> {
    let is_known = |problem: &&String| known.iter().any(|k| subject(k) == subject(problem));
    let new = problems.iter().filter(|problem| !is_known(problem));
    new.cloned().collect()
}

/// What a problem is of, whatever it says: the text before its colon.
fn subject(problem: &str) -> &str {
    problem
        .split_once(':')
        .map_or(problem, |(subject, _)| subject)
}

fn hours(seconds: u64) -> String {
    match seconds {
        0..7_200 => format!("{} minutes", seconds.div_ceil(60)),
        _ => format!("{} hours", seconds / 3_600),
    }
}
