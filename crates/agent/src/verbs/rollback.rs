//! `rollback`: back to an earlier generation.

use agent::{
    Generation, Kind, Result,
    host::Host,
    journal::{Origin, Phase, Refused, Task},
    machine::World,
};

use super::{apply, drive};

/// Flags of `rollback`.
#[derive(clap::Args)]
pub struct Args {
    /// Its number in `workspace history`; the one before the current one unless given
    #[arg(value_name = "GENERATION")]
    generation: Option<u64>,
}

/// Tries it as any other system, and holds it until the fleet wants something new.
pub fn run(args: &Args) -> Result<()> {
    // What was added last goes first.
    if args.generation.is_none() && apply::roll_back()? {
        return Ok(());
    }
    let mut host = Host::new()?;
    let generations = host.profile().generations()?;
    let to = choose(&generations, args.generation)?;
    drive::begin(&mut host, |host, journal| {
        let running = host.running()?;
        if running == to.system {
            return Err(Kind::Usage.error(
                format!("generation {} runs already", to.number),
                "Choose another of those that `workspace history` lists",
            ));
        }
        eprintln!("going back to generation {}: {}", to.number, to.system);
        journal.refused = journal.wanted.clone().map(|system| Refused {
            system,
            reason: format!("the owner went back to generation {}", to.number),
            at: host.now(),
            tried: true,
            again: None,
            times: 0,
        });
        let (new, origin) = (to.system.clone(), Origin::Owner);
        journal.task = Some(Task::new(host, running, new, origin, Phase::Fetching)?);
        Ok(())
    })?;
    drive::run(&mut host)?;
    match host.load()?.refused {
        Some(refused) if refused.system == to.system => Err(Kind::Failed.error(
            refused.reason,
            "Choose another generation; this one was left again",
        )),
        _ => Ok(()),
    }
}

fn choose(generations: &[Generation], number: Option<u64>) -> Result<&Generation> {
    let wanted = match number {
        Some(number) => generations.iter().find(|g| g.number == number),
        None => generations.iter().rev().skip_while(|g| !g.current).nth(1),
    };
    wanted.ok_or_else(|| {
        let what = match number {
            Some(number) => format!("there is no generation {number}"),
            None => "there is no earlier generation".to_owned(),
        };
        Kind::Usage.error(what, "Choose one of those that `workspace history` lists")
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn generations(current: u64) -> Vec<Generation> {
        let system = format!("/nix/store/{}-nixos-system", "a".repeat(32));
        let make = |number| Generation {
            number,
            system: system.parse().unwrap(),
            since: SystemTime::UNIX_EPOCH,
            current: number == current,
        };
        [3, 5, 6].map(make).into()
    }

    #[test]
    fn without_a_number_it_is_the_one_before_the_current_one() {
        let back = |current| Some(choose(&generations(current), None).ok()?.number);
        assert_eq!(back(6), Some(5));
        assert_eq!(back(5), Some(3));
        assert_eq!(back(3), None);
    }

    #[test]
    fn a_number_must_be_one_that_there_is() {
        assert_eq!(choose(&generations(3), Some(6)).unwrap().number, 6);
        let error = choose(&generations(3), Some(4)).unwrap_err();
        assert_eq!(error.kind, Kind::Usage);
    }
}
