//! One verb a file.

pub mod doctor;
pub mod fleet;
pub mod image;
pub mod test;
