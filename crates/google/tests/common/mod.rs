//! A simulated cloud, a client of it, and files to upload.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use cloudsim::{Entry, Fault, Options, Plan, Rule, Sim};
use google::{Client, Endpoints, Location, Object, Result, Upload};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

pub const BUCKET: &str = "acme-workspace-images";
pub const PROJECT: &str = "acme";
pub const MIB: usize = 1 << 20;

/// A cloud with one bucket, and a folder for files.
pub struct World {
    pub sim: Sim,
    pub folder: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let world = Self {
            sim: Sim::start(Options::default()).unwrap(),
            folder: tempfile::tempdir().unwrap(),
        };
        world
            .client()
            .ensure_bucket(PROJECT, BUCKET, "europe-west4")
            .unwrap();
        world.sim.clear_log();
        world
    }

    /// A client that sends a token of the deployer's and does not give up soon.
    pub fn client(&self) -> Client {
        Client::new(Endpoints::at(&self.sim.url()))
            .with_token("deployer")
            .with_patience(Duration::from_secs(30))
            .with_notice(|_| ())
    }

    /// The binary, set to the simulated cloud and to a token.
    pub fn google(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_google"));
        command
            .env(
                "GOOGLE_STORAGE_CUSTOM_ENDPOINT",
                format!("{}/storage/v1/", self.sim.url()),
            )
            .env(
                "GOOGLE_COMPUTE_CUSTOM_ENDPOINT",
                format!("{}/compute/v1/", self.sim.url()),
            )
            .env("GOOGLE_OAUTH_ACCESS_TOKEN", "deployer")
            .stdin(Stdio::null());
        command
    }

    /// A file of bytes that do not repeat.
    pub fn file(&self, name: &str, size: usize) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, noise(size, 1)).unwrap();
        path
    }

    pub fn strike(&self, rule: Rule) {
        self.sim.set_faults(Plan {
            rules: vec![rule],
            ..Plan::default()
        });
    }

    /// The calls so far that ask for a change.
    pub fn writes(&self) -> Vec<Entry> {
        let mut log = self.sim.log();
        log.retain(|entry| entry.mutates);
        log
    }

    /// Bytes of object data that arrived.
    pub fn bytes_sent(&self) -> u64 {
        let puts = self.sim.log().into_iter().filter(|e| e.method == "PUT");
        puts.map(|entry| entry.request_bytes).sum()
    }

    pub fn upload(&self, file: &Path) -> Result<Object> {
        self.client()
            .upload(&Upload::new(file, at("a.tar.gz"), None)?, &mut |_, _| ())
    }

    /// That the bucket has the file's bytes under `a.tar.gz` and nothing else.
    pub fn assert_only_object_is(&self, file: &Path) {
        self.sim.set_faults(Plan::default());
        let objects = self.client().objects(&at("")).unwrap();
        assert_eq!(objects.len(), 1, "{objects:?}");
        let copy = self.folder.path().join("copy");
        self.client()
            .download(&at("a.tar.gz"), &copy, &mut |_, _| ())
            .unwrap();
        assert!(std::fs::read(file).unwrap() == std::fs::read(copy).unwrap());
    }
}

pub fn at(name: &str) -> Location {
    Location {
        bucket: BUCKET.to_owned(),
        name: name.to_owned(),
    }
}

/// xorshift64: different seeds, different bytes.
pub fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(size).collect()
}

pub fn session_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".upload");
    name.into()
}

/// Waits until `reached`, for what another process does.
pub fn wait_until(what: &str, reached: impl Fn() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// One of each kind of fault that a call can meet on its way.
pub fn every_fault() -> Vec<Fault> {
    let status = |status, retry_after| Fault::Status {
        status,
        retry_after,
    };
    vec![
        Fault::CutRequest { after: 0 },
        Fault::CutRequest { after: 300 * 1024 },
        Fault::CutResponse { after: 10 },
        Fault::LostReply,
        status(429, Some(1)),
        status(500, None),
        status(503, None),
        status(401, None),
        Fault::DamageRequest { at: 0 },
        Fault::DamageRequest { at: 100 * 1024 },
    ]
}
