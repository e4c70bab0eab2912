//! `why`: why the machine does not run what the fleet wants.

use agent::{Result, host::Host, machine::World, switch};

/// Prints the reason and where to read more.
pub fn run() -> Result<()> {
    let host = Host::new()?;
    let journal = host.load()?;
    let (Some(wanted), Some(refused)) = (journal.wanted, journal.refused) else {
        println!("nothing was refused");
        return Ok(());
    };
    if refused.system != wanted {
        println!("nothing was refused of what is wanted now");
        return Ok(());
    }
    println!("{wanted}");
    println!("{}", refused.reason);
    let unit = if refused.tried {
        switch::UNIT
    } else {
        "workspace-agent"
    };
    println!(
        "log    journalctl --unit {unit} --since @{}",
        refused.at.saturating_sub(1_800)
    );
    println!("again  sudo workspace update");
    Ok(())
}
