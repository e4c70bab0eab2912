//! One file a verb.

pub mod agent;
pub mod apply;
mod drive;
pub mod gpu;
pub mod history;
pub mod rollback;
pub mod settle;
pub mod status;
pub mod update;
pub mod why;
