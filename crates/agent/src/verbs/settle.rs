//! `settle`: puts the owner's module on the deployed system. The machine runs it by itself.

use agent::{
    Result,
    own::{self, Own},
};

/// Settles.
pub fn run() -> Result<()> {
    own::settle(&mut Own::new()?)
}
