//! Keeps a workspace's machine on the system that it should run: fetches it, tries it, commits it
//! if the machine stays healthy, and goes back by itself if not.

pub mod config;
mod error;
pub mod host;
pub mod journal;
pub mod machine;
mod menu;
pub mod metadata;
pub mod own;
pub mod process;
mod profile;
pub mod proxy;
pub mod report;
pub mod switch;
mod system;

pub use error::{Error, Kind, Result};
pub use profile::{Generation, Profile};
pub use system::System;
