//! One file a verb.

pub mod agent;
mod drive;
pub mod history;
pub mod rollback;
pub mod status;
pub mod update;
pub mod why;
