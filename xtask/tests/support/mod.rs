//! What the black-box tests share: xtask in a made-up repository, with made-up programs as all of PATH.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Mutex,
};

use tempfile::TempDir;

/// The program under test.
pub fn xtask() -> Command {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
}

/// The real repository.
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

/// Held while a program is written and while one starts: a child of another test that inherits the open file would make
/// the program's start fail with "text file busy".
static WRITING: Mutex<()> = Mutex::new(());

/// A repository of its own, and a PATH of its own.
pub struct World {
    dir: TempDir,
}

impl World {
    /// With the real fleet.toml, an empty flake and no program.
    pub fn new() -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(world.path("repo")).unwrap();
        fs::create_dir_all(world.path("bin")).unwrap();
        fs::copy(root().join("fleet.toml"), world.path("repo/fleet.toml")).unwrap();
        fs::write(world.path("repo/flake.nix"), "").unwrap();
        world
    }

    /// A path in the world.
    pub fn path(&self, path: &str) -> PathBuf {
        // As the working directory of a child would name it.
        self.dir.path().canonicalize().unwrap().join(path)
    }

    /// Puts a program on PATH that notes its call and then does this. There is only the shell itself to do it with.
    pub fn program(&self, name: &str, script: &str) {
        let file = self.path("bin").join(name);
        let log = self.path("calls");
        let script = format!(
            "#!/bin/sh\necho \"{name} $*\" >> '{}'\n{script}\n",
            log.display()
        );
        let _writing = WRITING.lock().unwrap();
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Takes a program from PATH.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path("bin").join(name)).unwrap();
    }

    /// xtask in the repository.
    pub fn xtask(&self, arguments: &[&str]) -> Output {
        self.xtask_with(arguments, &[])
    }

    /// The same, with variables of the environment.
    pub fn xtask_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        self.spawn(&mut command).wait_with_output().unwrap()
    }

    /// xtask in the repository, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_xtask")), arguments)
    }

    /// The same, of a copy of xtask.
    pub fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path("repo"));
        command.env("PATH", self.path("bin")).env_remove("CARGO");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Puts a copy of xtask elsewhere.
    pub fn install(&self, file: &Path) {
        let _writing = WRITING.lock().unwrap();
        fs::copy(env!("CARGO_BIN_EXE_xtask"), file).unwrap();
    }

    /// Starts it.
    pub fn spawn(&self, command: &mut Command) -> Child {
        let _writing = WRITING.lock().unwrap();
        command.spawn().unwrap()
    }

    /// The calls since the last time this was asked.
    pub fn calls(&self) -> Vec<String> {
        let log = self.path("calls");
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(&log);
        text.lines().map(str::to_owned).collect()
    }
}
