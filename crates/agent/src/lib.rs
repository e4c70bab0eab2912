//! Keeps a workspace's machine on the system that it should run: fetches it, tries it, commits it
//! if the machine stays healthy, and goes back by itself if not.

mod error;
pub mod process;
mod profile;
pub mod switch;
mod system;

pub use error::{Error, Kind, Result};
pub use profile::{Generation, Profile};
pub use system::System;
