//! What the black-box tests share.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    path::Path,
    process::{Command, Output},
};

/// The program under test.
pub fn xtask() -> Command {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// What a program printed.
pub fn stdout(done: &Output) -> String {
    String::from_utf8(done.stdout.clone()).unwrap()
}

/// What a program had to say.
pub fn stderr(done: &Output) -> String {
    String::from_utf8(done.stderr.clone()).unwrap()
}
