//! `update`: now what the fleet wants, also if it was refused before.

use agent::{Kind, Result, host::Host, machine::World};

use super::drive;

/// Tries it and waits for the end.
pub fn run() -> Result<()> {
    let mut host = Host::new()?;
    drive::begin(&mut host, |_, journal| {
        journal.refused = None;
        Ok(())
    })?;
    drive::run(&mut host)?;
    let journal = host.load()?;
    match journal.refused {
        Some(refused) if Some(&refused.system) == journal.wanted.as_ref() => Err(Kind::Failed
            .error(
                refused.reason,
                "Ask whoever looks after the fleet; nothing has changed here",
            )),
        _ => Ok(()),
    }
}
