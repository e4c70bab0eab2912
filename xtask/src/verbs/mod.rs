//! One verb a file.

pub mod doctor;
pub mod fleet;
pub mod image;
pub mod images;
pub mod prune;
pub mod push;
pub mod test;
