//! One verb a file.

pub mod apply;
pub mod cache;
pub mod deploy;
pub mod destroy;
pub mod diff;
pub mod docs;
pub mod doctor;
pub mod fleet;
pub mod image;
pub mod images;
pub mod logs;
pub mod move_;
pub mod open;
pub mod password;
pub mod plan;
pub mod power;
pub mod prune;
pub mod push;
pub mod rehearse;
pub mod rollback;
pub mod ssh;
pub mod status;
pub mod test;
pub mod up;
pub mod vm;
