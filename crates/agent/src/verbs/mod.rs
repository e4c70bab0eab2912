//! One file a verb.

pub mod history;
pub mod rollback;
