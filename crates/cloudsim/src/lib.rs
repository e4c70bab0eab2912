//! A simulated Google Cloud, on loopback: the part of Google's REST APIs that this project calls, with real semantics
//! where they matter. A test double and a rehearsal room; nothing in production depends on it.
//!
//! What it serves, how it differs from Google and the format of a fault plan: docs/cloudsim.md.

mod accounts;
mod admin;
mod agents;
mod body;
mod compute;
mod endpoints;
mod error;
mod fault;
mod http;
mod iam;
mod iap;
mod log;
mod lro;
mod metadata;
mod project;
mod secrets;
mod server;
mod services;
mod settings;
mod storage;
mod store;

pub use agents::Agents;
pub use fault::{Fault, OperationError, Plan, Rule};
pub use log::Entry;
pub use settings::{NotOffered, Settings, StockOut};

use anyhow::Context as _;
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How to start.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// TCP port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// File that keeps the state; object bytes go into a folder of its name with `.objects` added. Without one, the
    /// state ends with the process.
    pub state: Option<PathBuf>,
    /// File to which the request log is appended as JSON lines.
    pub log: Option<PathBuf>,
    /// Faults from the start on.
    pub faults: Plan,
    /// Decides how many polls operations take.
    pub seed: u64,
    /// Quotas, stock-outs and the like from the start on.
    pub settings: Settings,
    /// Agents of the machines; without them nobody acts on what a machine's metadata says.
    pub agents: Option<Agents>,
}

/// A running simulated cloud; it stops when dropped.
pub struct Sim {
    world: Arc<World>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sim {
    /// Starts one on a thread of its own and returns once it accepts connections.
    ///
    /// # Errors
    /// When the port is taken, when the state file is in use or damaged, on I/O errors.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
        let listener = runtime
            .block_on(TcpListener::bind(address))
            .with_context(|| format!("cannot listen on {address}"))?;
        let agents = options.agents.clone();
        let world = Arc::new(World::open(options, listener.local_addr()?)?);
        if let Some(agents) = agents {
            runtime.spawn(agents::run(world.clone(), agents));
        }
        let (stop, stopped) = oneshot::channel();
        let served = world.clone();
        let thread = std::thread::Builder::new()
            .name("cloudsim".to_owned())
            .spawn(move || {
                runtime.block_on(server::serve(listener, served, stopped));
            })?;
        Ok(Self {
            world,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Its origin, such as `http://127.0.0.1:40123`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        self.world.origin.clone()
    }

    /// The request log so far, in order of arrival. A call whose reply has come is in it.
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.world.log.entries()
    }

    /// Forgets the request log so far.
    pub fn clear_log(&self) {
        self.world.log.clear();
    }

    /// Replaces the fault plan; its rules count from now.
    pub fn set_faults(&self, plan: Plan) {
        *self.world.faults.lock().expect("no panic while held") = plan;
    }

    /// Replaces the settings.
    pub fn set_settings(&self, settings: Settings) {
        *self.world.settings() = settings;
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It can only fail by a panic, which has been printed.
            let _ = thread.join();
        }
    }
}

/// All state of one simulated cloud.
pub(crate) struct World {
    /// Own address: links in replies are made from it, never from a request's Host header.
    pub origin: String,
    pub store: Mutex<Store>,
    /// Folder of object bytes.
    pub objects: PathBuf,
    /// Resumable uploads that have been touched since the start.
    pub uploads: Mutex<HashMap<String, storage::Upload>>,
    pub log: log::Log,
    pub arrivals: AtomicU64,
    pub faults: Mutex<Plan>,
    settings: Mutex<Settings>,
    pub rates: Mutex<settings::Rates>,
    /// Removes the objects' folder at the end when there is no state file.
    _scratch: Option<tempfile::TempDir>,
}

impl World {
    fn open(options: Options, address: SocketAddr) -> anyhow::Result<Self> {
        let (store, objects, scratch) = match options.state {
            Some(path) => {
                let mut objects = path.clone().into_os_string();
                objects.push(".objects");
                (
                    Store::open(&path, options.seed)?,
                    PathBuf::from(objects),
                    None,
                )
            }
            None => {
                let scratch = tempfile::Builder::new().prefix("cloudsim-").tempdir()?;
                (
                    Store::in_memory(options.seed),
                    scratch.path().to_owned(),
                    Some(scratch),
                )
            }
        };
        fs::create_dir_all(&objects)
            .with_context(|| format!("cannot make {}", objects.display()))?;
        storage::remove_orphans(&store, &objects)?;
        let log = options
            .log
            .map(|path| {
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(&path)
                    .with_context(|| format!("cannot write the log {}", path.display()))
            })
            .transpose()?;
        Ok(Self {
            origin: format!("http://{address}"),
            store: Mutex::new(store),
            objects,
            uploads: Mutex::default(),
            log: log::Log::new(log),
            arrivals: AtomicU64::new(0),
            faults: Mutex::new(options.faults),
            settings: Mutex::new(options.settings),
            rates: Mutex::default(),
            _scratch: scratch,
        })
    }

    pub fn settings(&self) -> std::sync::MutexGuard<'_, Settings> {
        self.settings.lock().expect("no panic while held")
    }

    pub fn store(&self) -> std::sync::MutexGuard<'_, Store> {
        self.store.lock().expect("no panic while held")
    }
}
