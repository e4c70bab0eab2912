//! `rollback`: back to an earlier generation.

use agent::{Generation, Kind, Profile, Result, switch};

/// Flags of `rollback`.
#[derive(clap::Args)]
pub struct Args {
    /// Its number in `workspace history`; the one before the current one unless given
    #[arg(value_name = "GENERATION")]
    generation: Option<u64>,
}

/// Activates it and makes it the one that boots.
pub fn run(args: &Args) -> Result<()> {
    let profile = Profile::of_machine();
    let generations = profile.generations()?;
    let to = choose(&generations, args.generation)?;
    eprintln!("going back to generation {}: {}", to.number, to.system);
    switch::activate(&to.system)?;
    profile.set(&to.system)?;
    switch::install_boot_entry(&to.system)
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
