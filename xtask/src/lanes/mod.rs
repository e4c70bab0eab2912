//! The lanes of `test` that take more than a list of commands.

pub mod terraform;
