//! What is known of Compute Engine's machine types: `hosts/machine-types.toml`, which the Nix reader reads as well.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

/// The data.
pub static MACHINE_TYPES: LazyLock<MachineTypes> = LazyLock::new(|| {
    toml::from_str(include_str!("../../../hosts/machine-types.toml"))
        .expect("hosts/machine-types.toml is part of this program")
});

/// What is known of machine families.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineTypes {
    /// Those that always have GPUs.
    pub gpu_built_in: Families,
    /// Those to which GPUs are attached.
    pub gpu_attachable: Attachable,
    /// How they go together with Spot.
    pub spot: Spot,
    /// Those that cannot boot an x86-64 image.
    pub arm: Families,
}

/// Machine types that Google does not give both ways.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spot {
    never_endings: Vec<String>,
    only: Vec<String>,
}

/// Some machine families.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Families {
    families: Vec<String>,
}

/// Machine families to which GPUs are attached, and these GPUs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachable {
    families: Vec<String>,
    /// The numbers of GPUs that one machine takes, by their type.
    pub counts: BTreeMap<String, Vec<i64>>,
}

impl Families {
    /// Whether a machine type is of one of these families.
    pub fn hold(&self, machine_type: &str) -> bool {
        holds(&self.families, machine_type)
    }
}

impl Attachable {
    /// Whether GPUs can be attached to a machine type.
    pub fn hold(&self, machine_type: &str) -> bool {
        holds(&self.families, machine_type)
    }
}

impl Spot {
    /// Whether a machine type is never a Spot machine.
    pub fn never(&self, machine_type: &str) -> bool {
        let ends = |ending: &String| machine_type.ends_with(ending.as_str());
        self.never_endings.iter().any(ends)
    }

    /// Whether a machine type is a Spot machine alone.
    pub fn only(&self, machine_type: &str) -> bool {
        self.only.iter().any(|only| only == machine_type)
    }
}

fn holds(families: &[String], machine_type: &str) -> bool {
    let family = machine_type.split('-').next();
    families.iter().any(|f| Some(f.as_str()) == family)
}
