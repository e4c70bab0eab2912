//! The owner's own NixOS module, layered on the deployed system.
//!
//! What boots is always the deployed system: the module is put on top of it once the machine is up, and again after each
//! patch of the fleet. So no module can keep a machine from booting, and the deployed system is there to fall back to.
//! Each step is written down before it is taken, and all of them may be taken twice.

mod ground;

use serde::{Deserialize, Serialize};

use crate::{Result, System, machine::news};

pub use ground::{Own, UNIT, kick, standing};

/// A module of the owner's: the number of the copy that was made of it.
pub type Module = u64;

/// A module during whose trial the machine restarts as often is given up: it may be the reason.
const RESTARTS: u8 = 2;

/// What must not be forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The module that the owner has, if any.
    pub wanted: Option<Module>,
    /// The latest that stood its trial.
    pub healthy: Option<Layered>,
    /// Why the wanted one is left out of this deployed system.
    pub failed: Option<Failure>,
    /// Why the module asked for last was not taken.
    pub refused: Option<Failure>,
    /// What is on trial.
    pub trial: Option<Trial>,
}

/// What the owner asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// This module. It becomes the wanted one if it stands its trial.
    Take(Module),
    /// The wanted one, which was left out.
    TryAgain,
    /// None any more.
    Drop,
}

/// A module and the deployed system that it is layered on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The system.
    pub deployed: System,
    /// The module.
    pub module: Module,
}

/// What a layer was built to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layered {
    /// Of what.
    pub layer: Layer,
    /// The whole.
    pub system: System,
}

/// Why something does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What does not.
    pub layer: Layer,
    /// The reason, for people.
    pub reason: String,
    /// Whether it may be different the next time, with nothing changed: a download.
    pub passing: bool,
}

/// Something is being tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// What.
    pub layer: Layer,
    /// During which boot.
    pub boot: String,
    /// How often the machine restarted meanwhile.
    pub restarts: u8,
    /// What was wrong before, and is not the module's fault.
    pub known: Vec<String>,
}

/// How the module stands, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Which.
    pub module: Module,
    /// Why it is left out, if it is.
    pub left_out: Option<String>,
}

/// All that is seen and done.
pub trait Ground {
    /// What is written down.
    fn load(&self) -> Result<State>;
    /// Writes it down.
    fn save(&mut self, state: &State) -> Result<()>;
    /// What is asked for.
    fn request(&self) -> Result<Option<Request>>;
    /// What was asked for is done, or refused.
    fn answered(&mut self, request: Request) -> Result<()>;
    /// What tells this boot from others.
    fn boot(&self) -> Result<String>;
    /// The system that boots.
    fn deployed(&self) -> Result<System>;
    /// The system that runs, with whatever is layered on it.
    fn running(&self) -> Result<System>;
    /// Whether a system is there to be activated.
    fn has(&self, system: &System) -> bool;
    /// Waits until nobody else is changing the system, and keeps them from it until the next build. Whether what runs is
    /// then the system that boots, with or without something layered on it, and not one that somebody tries by hand.
    fn wait_for_turn(&mut self) -> Result<bool>;
    /// Evaluates and builds, while others may change the system.
    fn build(&mut self, layer: &Layer) -> std::result::Result<System, Fault>;
    /// Activates a system, leaving alone what boots. Says what is wrong with its units, if not all came up.
    fn activate(&mut self, system: &System) -> Result<Vec<String>>;
    /// What is wrong with the machine, one line each.
    fn problems(&mut self) -> Vec<String>;
    /// Watches the machine until it is well for some time, or not within a longer one; what is wrong then and was not known.
    fn watch(&mut self, known: &[String]) -> Vec<String>;
    /// Tells the owner how their module stands; there is none if nothing.
    fn tell(&mut self, standing: Option<&Standing>) -> Result<()>;
    /// Tells who follows the log.
    fn say(&mut self, text: &str);
}

/// Why there is no system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The reason, for people.
    pub reason: String,
    /// As in [`Failure`].
    pub passing: bool,
}

/// Brings the machine to where it should be: the deployed system with the owner's module, or without it and the owner
/// told why.
///
/// # Errors
/// The state cannot be read or written, or not even the deployed system can be activated. Once more mends it.
pub fn settle(ground: &mut impl Ground) -> Result<()> {
    while ground.wait_for_turn()? {
        let deployed = ground.deployed()?;
        let mut state = ground.load()?;
        if let Some(request) = ground.request()? {
            if !answer(ground, &mut state, request, &deployed)? {
                continue;
            }
            ground.save(&state)?;
            ground.answered(request)?;
        }
        if stand(ground, &mut state, &deployed)? {
            return Ok(());
        }
    }
    ground.say("what runs was activated by hand, and is left alone");
    Ok(())
}

/// Does what is asked for, as far as it can be done; whether it came to an end.
fn answer(
    ground: &mut impl Ground,
    state: &mut State,
    request: Request,
    deployed: &System,
) -> Result<bool> {
    match request {
        Request::Drop => state.wanted = None,
        Request::TryAgain => state.failed = None,
        Request::Take(module) => {
            let layer = Layer {
                deployed: deployed.clone(),
                module,
            };
            // Answered, and killed before it was taken back.
            if state.refused.as_ref().is_some_and(|it| it.layer == layer) {
                return Ok(true);
            }
            match attempt(ground, state, layer)? {
                Outcome::Healthy(layered) => {
                    state.wanted = Some(module);
                    state.healthy = Some(layered);
                    state.failed = None;
                    state.refused = None;
                }
                Outcome::Failed(failure) => {
                    ground.say(&format!("not taken: {}", failure.reason));
                    state.refused = Some(failure);
                }
                Outcome::Superseded => return Ok(false),
            }
        }
    }
    Ok(true)
}

/// What came of a trial.
enum Outcome {
    Healthy(Layered),
    Failed(Failure),
    /// Somebody has activated another system in the middle of it.
    Superseded,
}

/// Makes the machine run what is wanted on this deployed system; whether it does.
fn stand(ground: &mut impl Ground, state: &mut State, deployed: &System) -> Result<bool> {
    let mut target = deployed.clone();
    if let Some(module) = state.wanted {
        let layer = Layer {
            deployed: deployed.clone(),
            module,
        };
        let healthy = state.healthy.as_ref().filter(|it| it.layer == layer);
        let failed = state.failed.as_ref().filter(|it| it.layer == layer);
        let running = ground.running()?;
        if let Some(healthy) = healthy
            && healthy.system == running
            && state.trial.is_none()
        {
            target = running;
        } else if failed.is_none_or(|failure| failure.passing) {
            match attempt(ground, state, layer)? {
                Outcome::Healthy(layered) => {
                    target = layered.system.clone();
                    state.healthy = Some(layered);
                    state.failed = None;
                }
                Outcome::Failed(failure) => {
                    ground.say(&format!("left out: {}", failure.reason));
                    state.failed = Some(failure);
                }
                Outcome::Superseded => return Ok(false),
            }
        }
    } else {
        state.failed = None;
    }
    ground.save(state)?;
    ground.tell(state.standing().as_ref())?;
    if ground.running()? != target {
        ground.activate(&target)?;
    }
    Ok(true)
}

impl State {
    fn standing(&self) -> Option<Standing> {
        self.wanted.map(|module| Standing {
            module,
            left_out: self.failed.as_ref().map(|failure| failure.reason.clone()),
        })
    }
}

/// Builds, activates and watches. The state is as it was, but for what was on trial.
fn attempt(ground: &mut impl Ground, state: &mut State, layer: Layer) -> Result<Outcome> {
    let boot = ground.boot()?;
    let failed = |layer: Layer, reason: String, passing| {
        Ok(Outcome::Failed(Failure {
            layer,
            reason,
            passing,
        }))
    };
    let interrupted = state.trial.take().filter(|trial| trial.layer == layer);
    let (known, restarts) = match interrupted {
        Some(trial) if trial.boot == boot => (Some(trial.known), trial.restarts),
        Some(trial) => (None, trial.restarts + 1),
        None => (None, 0),
    };
    if restarts >= RESTARTS {
        let reason = format!("the machine restarted {restarts} times while it was tried");
        return failed(layer, reason, false);
    }
    let healthy = state.healthy.as_ref().filter(|it| it.layer == layer);
    let system = match healthy.filter(|it| ground.has(&it.system)) {
        Some(healthy) => healthy.system.clone(),
        None => {
            ground.say(&format!(
                "building module {} on {}",
                layer.module, layer.deployed
            ));
            let built = ground.build(&layer);
            if !ground.wait_for_turn()? || ground.deployed()? != layer.deployed {
                return Ok(Outcome::Superseded);
            }
            match built {
                Ok(system) => system,
                Err(fault) => return failed(layer, fault.reason, fault.passing),
            }
        }
    };
    let known = match known {
        Some(known) => known,
        None => {
            let running = ground.running()?;
            let healthy = state.healthy.as_ref().map(|it| &it.system);
            if running != layer.deployed && Some(&running) != healthy {
                // What is wrong with another on trial would be taken for granted.
                ground.activate(&layer.deployed)?;
            }
            ground.problems()
        }
    };
    let mut on_trial = state.clone();
    on_trial.trial = Some(Trial {
        layer: layer.clone(),
        boot,
        restarts,
        known: known.clone(),
    });
    ground.save(&on_trial)?;
    ground.say(&format!("trying {system}"));
    let activated = ground.activate(&system);
    let problems = match &activated {
        // They may have failed before as well.
        Ok(failed) => match news(failed, &known) {
            none if none.is_empty() => ground.watch(&known),
            some => some,
        },
        Err(_) => news(&ground.problems(), &known),
    };
    match activated {
        Ok(_) if ground.running()? != system => Ok(Outcome::Superseded),
        Ok(_) if problems.is_empty() => Ok(Outcome::Healthy(Layered { layer, system })),
        Err(error) if problems.is_empty() => failed(layer, error.what, false),
        _ => failed(layer, problems.join("; "), false),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::Kind;

    /// A machine in memory. What is marked as lasting outlives a kill, the rest does not.
    struct Machine {
        state: State,
        request: Option<Request>,
        deployed: System,
        running: System,
        boot: String,
        /// What is wrong with each layer.
        faults: BTreeMap<(System, Module), &'static str>,
        /// Layers that cannot be built.
        unbuildable: Vec<(System, Module)>,
        told: Option<String>,
        builds: u32,
        /// Steps until it is killed.
        steps: Option<u32>,
    }

    fn deployed(number: u32) -> System {
        let hash = "0123456789abcdfghijklmnpqrsvwxyz";
        format!("/nix/store/{hash}-deployed-{number}")
            .parse()
            .unwrap()
    }

    fn layered(deployed: &System, module: Module) -> System {
        format!("{deployed}-with-{module}").parse().unwrap()
    }

    impl Machine {
        fn new() -> Self {
            Self {
                state: State::default(),
                request: None,
                deployed: deployed(1),
                running: deployed(1),
                boot: "first".into(),
                faults: BTreeMap::new(),
                unbuildable: Vec::new(),
                told: None,
                builds: 0,
                steps: None,
            }
        }

        /// One that runs module 1 well.
        fn with_module() -> Self {
            let mut machine = Self::new();
            machine.request = Some(Request::Take(1));
            settle(&mut machine).unwrap();
            assert_eq!(machine.running, layered(&deployed(1), 1));
            machine
        }

        fn step(&mut self) -> Result<()> {
            match &mut self.steps {
                Some(0) => Err(Kind::Failed.error("killed", "")),
                Some(steps) => {
                    *steps -= 1;
                    Ok(())
                }
                None => Ok(()),
            }
        }

        fn fault(&self) -> Option<&'static str> {
            let of_running = |((system, module), fault): (&(System, Module), &&'static str)| {
                (layered(system, *module) == self.running).then_some(*fault)
            };
            self.faults.iter().find_map(of_running)
        }

        fn reboot(&mut self) {
            self.boot.push_str(" and next");
            self.running = self.deployed.clone();
            self.told = None;
        }
    }

    impl Ground for Machine {
        fn load(&self) -> Result<State> {
            Ok(self.state.clone())
        }
        fn save(&mut self, state: &State) -> Result<()> {
            self.step()?;
            self.state = state.clone();
            Ok(())
        }
        fn request(&self) -> Result<Option<Request>> {
            Ok(self.request)
        }
        fn answered(&mut self, request: Request) -> Result<()> {
            self.step()?;
            assert_eq!(self.request, Some(request));
            self.request = None;
            Ok(())
        }
        fn boot(&self) -> Result<String> {
            Ok(self.boot.clone())
        }
        fn deployed(&self) -> Result<System> {
            Ok(self.deployed.clone())
        }
        fn running(&self) -> Result<System> {
            Ok(self.running.clone())
        }
        fn has(&self, _system: &System) -> bool {
            true
        }
        fn wait_for_turn(&mut self) -> Result<bool> {
            self.step()?;
            Ok(self.running.as_str().starts_with(self.deployed.as_str()))
        }
        fn build(&mut self, layer: &Layer) -> std::result::Result<System, Fault> {
            self.builds += 1;
            let key = (layer.deployed.clone(), layer.module);
            if self.unbuildable.contains(&key) {
                return Err(Fault {
                    reason: "undefined variable".into(),
                    passing: false,
                });
            }
            Ok(layered(&layer.deployed, layer.module))
        }
        fn activate(&mut self, system: &System) -> Result<Vec<String>> {
            self.step()?;
            self.running = system.clone();
            self.step()?;
            Ok(vec!["old: fails at each switch".into()])
        }
        fn problems(&mut self) -> Vec<String> {
            let fault = self.fault().map(str::to_owned);
            fault.into_iter().chain(["old: news".into()]).collect()
        }
        fn watch(&mut self, known: &[String]) -> Vec<String> {
            assert_eq!(known, ["old: news"]);
            news(&self.problems(), known)
        }
        fn tell(&mut self, standing: Option<&Standing>) -> Result<()> {
            self.told = standing.and_then(|standing| standing.left_out.clone());
            Ok(())
        }
        fn say(&mut self, _text: &str) {}
    }

    #[test]
    fn a_module_that_stands_its_trial_runs_and_again_after_a_reboot_without_building() {
        let mut machine = Machine::with_module();
        assert_eq!(machine.state.wanted, Some(1));
        machine.reboot();
        settle(&mut machine).unwrap();
        assert_eq!(machine.running, layered(&deployed(1), 1));
        assert_eq!(machine.builds, 1);
    }

    #[test]
    fn one_that_does_not_is_refused_and_the_one_before_stays() {
        for unbuildable in [true, false] {
            let mut machine = Machine::with_module();
            let key = (deployed(1), 2);
            if unbuildable {
                machine.unbuildable.push(key);
            } else {
                machine.faults.insert(key, "nginx.service failed");
            }
            machine.request = Some(Request::Take(2));
            settle(&mut machine).unwrap();
            assert_eq!(machine.running, layered(&deployed(1), 1));
            assert_eq!(machine.state.wanted, Some(1));
            assert_eq!(machine.state.refused.as_ref().unwrap().layer.module, 2);
            assert_eq!(machine.told, None);
        }
    }

    #[test]
    fn it_is_put_on_a_patched_system_or_left_out_of_it_with_the_reason() {
        let mut machine = Machine::with_module();
        for (number, broken) in [(2, false), (3, true), (4, false)] {
            machine.deployed = deployed(number);
            machine.running = deployed(number);
            if broken {
                machine.unbuildable.push((deployed(number), 1));
            }
            settle(&mut machine).unwrap();
            let whole = layered(&deployed(number), 1);
            let expected = if broken { deployed(number) } else { whole };
            assert_eq!(machine.running, expected);
            let reason = broken.then_some("undefined variable");
            assert_eq!(machine.told.as_deref(), reason);
            assert_eq!(machine.state.wanted, Some(1));
        }
    }

    #[test]
    fn a_system_that_somebody_else_tries_is_left_alone() {
        let mut machine = Machine::with_module();
        machine.running = deployed(2);
        settle(&mut machine).unwrap();
        assert_eq!(machine.running, deployed(2));
    }

    #[test]
    fn what_was_left_out_is_tried_again_only_when_asked_for() {
        let mut machine = Machine::with_module();
        machine.deployed = deployed(2);
        machine.running = deployed(2);
        machine.faults.insert((deployed(2), 1), "no answer");
        settle(&mut machine).unwrap();
        settle(&mut machine).unwrap();
        assert_eq!((machine.builds, machine.running.clone()), (2, deployed(2)));
        machine.faults.clear();
        machine.request = Some(Request::TryAgain);
        settle(&mut machine).unwrap();
        assert_eq!(machine.running, layered(&deployed(2), 1));
        assert_eq!(machine.told, None);
    }

    #[test]
    fn dropped_it_leaves_the_deployed_system() {
        let mut machine = Machine::with_module();
        machine.request = Some(Request::Drop);
        settle(&mut machine).unwrap();
        assert_eq!(machine.running, deployed(1));
        assert_eq!(machine.state.wanted, None);
    }

    #[test]
    fn a_machine_that_goes_down_twice_in_a_trial_gives_it_up() {
        let mut machine = Machine::with_module();
        machine.request = Some(Request::Take(2));
        for _ in 0..2 {
            // Down when it is activated.
            machine.steps = Some(4);
            assert!(settle(&mut machine).is_err());
            assert_eq!(machine.running, layered(&deployed(1), 2));
            machine.reboot();
        }
        machine.steps = None;
        settle(&mut machine).unwrap();
        assert_eq!(machine.running, layered(&deployed(1), 1));
        let refused = machine.state.refused.unwrap();
        assert!(refused.reason.contains("2 times"), "{}", refused.reason);
    }

    #[test]
    fn so_does_one_that_stood_its_trial_in_earlier_times() {
        let mut machine = Machine::with_module();
        for _ in 0..2 {
            machine.reboot();
            machine.steps = Some(3);
            assert!(settle(&mut machine).is_err());
        }
        machine.reboot();
        machine.steps = None;
        settle(&mut machine).unwrap();
        assert_eq!(machine.running, deployed(1));
        assert!(machine.told.is_some());
        assert_eq!(machine.state.wanted, Some(1));
    }

    #[test]
    fn killed_at_any_step_it_goes_on_to_the_same_end() {
        for fault in [None, Some("no answer")] {
            for request in [Some(Request::Take(2)), Some(Request::Drop), None] {
                for steps in 0.. {
                    let mut machine = Machine::with_module();
                    if let Some(fault) = fault {
                        machine.faults.insert((deployed(1), 2), fault);
                        machine.faults.insert((deployed(2), 1), fault);
                    }
                    machine.request = request;
                    if request.is_none() {
                        machine.deployed = deployed(2);
                        machine.running = deployed(2);
                    }
                    machine.steps = Some(steps);
                    let killed = settle(&mut machine).is_err();
                    machine.steps = None;
                    settle(&mut machine).unwrap();
                    let module = match (request, fault) {
                        (Some(Request::Take(module)), None) => Some(module),
                        (Some(Request::Take(_)), Some(_)) | (None, None) => Some(1),
                        _ => None,
                    };
                    let expected = module.map_or(machine.deployed.clone(), |module| {
                        layered(&machine.deployed, module)
                    });
                    assert_eq!(machine.running, expected, "{request:?} {fault:?} {steps}");
                    assert_eq!(machine.told.is_some(), request.is_none() && fault.is_some());
                    if !killed {
                        assert!(steps > 2, "nothing was killed");
                        break;
                    }
                }
            }
        }
    }
}
