//! Where new homes are made, when a zone has no machine left for them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Error, Result};

use crate::{
    argv,
    cloud::{Disk, Zone},
    error::Kind,
    stack::{self, Stack},
    terraform::StockOut,
};

/// What a run has found out. A zone is chosen by making the home disk there, so that nothing of this need be kept.
#[derive(Default)]
pub struct Placement {
    /// Zones of homes that are yet to be made, by workspace.
    pub zones: BTreeMap<String, String>,
    /// Zones that had no machine for a workspace.
    full: BTreeMap<String, BTreeSet<String>>,
}

impl Placement {
    /// After a stock-out: deletes the home disks of the machines that could not be made, and has the next zone of
    /// fleet.toml that offers its machine type for each. Only disks that are blank go, and only if all of them are.
    ///
    /// # Errors
    /// The error itself, if it is another one. [`Kind::Refused`] if a home has been used, or no zone is left.
    pub fn go_on(&mut self, stack: &Stack, error: Error) -> Result<()> {
        let Some(StockOut { addresses }) = error.downcast_ref() else {
            return Err(error);
        };
        let out = |name: &&String| addresses.contains(&stack::address(name));
        let disks = stack.cloud.disks()?;
        let without = stack.fleet.workspaces.iter();
        let without = without.filter_map(|(name, workspace)| out(&name).then_some(workspace));
        let offers: Vec<Zone> = stack.cloud.ask(stack.cloud.zones_command(without))?;
        let mut places = Vec::new();
        for name in stack.fleet.workspaces.keys().filter(out) {
            let home = disks.iter().find(|disk| disk.home_of() == Some(name));
            let Some(home) = home else { return Err(error) };
            let zone = self.next(stack, name, home, &offers)?;
            self.zones.insert(name.clone(), zone);
            places.push(format!("{}/{}", home.zone, home.name));
        }
        if places.is_empty() {
            return Err(error);
        }
        let mut delete = argv!["disks", "delete", "--project", &stack.cloud.project];
        delete.extend(places.iter().map(Into::into));
        stack.cloud.tell(delete)
    }

    fn next(&mut self, stack: &Stack, name: &str, home: &Disk, offers: &[Zone]) -> Result<String> {
        let workspace = stack.workspace(name)?;
        let machine_type = &workspace.machine_type;
        let here = &home.zone;
        if !home.is_blank() {
            return Err(Kind::Refused.error(
                format!("{here} has no {machine_type} for {name} now, and its home disk is there, with its files"),
                format!(
                    "Move it to another zone, files and all: cargo xtask move {name}. Or run this again later, or choose \
                     another machine type in fleet.toml; the disk stays as it is."
                ),
            ));
        }
        let full = self.full.entry(name.to_owned()).or_default();
        full.insert(here.clone());
        let others = stack.fleet.google.zones.iter();
        let others: Vec<_> = others.filter(|zone| !full.contains(*zone)).collect();
        let offering = |zone: &str| {
            let mut offers = offers.iter();
            offers.any(|there| there.name == zone && there.offers(workspace))
        };
        let Some(next) = others.iter().find(|zone| offering(zone)) else {
            let full: Vec<_> = full.iter().map(String::as_str).collect();
            let others: Vec<_> = others.into_iter().map(String::as_str).collect();
            let never = match others.as_slice() {
                [] => String::new(),
                others => format!("; it is not offered in {}", others.join(", ")),
            };
            return Err(Kind::Refused.error(
                format!(
                    "there is no {machine_type} for {name} now in any of {}{never}",
                    full.join(", ")
                ),
                "Run this again later, choose another machine type, or add a zone to fleet.toml: cargo xtask doctor \
                 --cloud names those that have it.",
            ));
        };
        eprintln!(
            "{here} has no {machine_type} for {name} now: its home disk, which is new and empty, is made anew in {next}"
        );
        Ok((*next).clone())
    }
}
