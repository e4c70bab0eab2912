//! Takes the steps of a task in the foreground, so that its owner sees them. Whoever is killed in
//! between leaves the rest to the service.

use std::{thread, time::Duration};

use agent::{
    Kind, Result,
    host::Host,
    journal::{Journal, Phase},
    machine::{Machine, Next, World},
};

/// Changes the journal, unless something is under way.
pub fn begin(
    host: &mut Host,
    change: impl FnOnce(&mut Host, &mut Journal) -> Result<()>,
) -> Result<()> {
    let _lock = host.store().lock()?;
    let mut journal = host.load()?;
    if let Some(task) = &journal.task {
        return Err(Kind::Failed.error(
            format!("a change to {} is under way", task.new),
            "Wait until it has ended: workspace status",
        ));
    }
    change(host, &mut journal)?;
    host.save(&journal)
}

/// Steps until nothing is under way, or what is left is a reboot.
pub fn run(host: &mut Host) -> Result<()> {
    let mut machine = Machine::new(host.config().patience());
    loop {
        let next = {
            let _lock = host.store().lock()?;
            host.refresh()?;
            machine.patience = host.config().patience();
            machine.step(host)?
        };
        let task = host.load()?.task;
        match (next, task.map(|task| task.phase)) {
            (_, Some(Phase::Waiting { .. })) => {
                eprintln!("it needs a restart, and waits for an idle moment");
                return Ok(());
            }
            (Next::Now, _) => {}
            (Next::In(seconds), Some(_)) => thread::sleep(Duration::from_secs(seconds)),
            (Next::In(_) | Next::Settled, _) => return Ok(()),
        }
    }
}
