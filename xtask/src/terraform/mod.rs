//! terraform or tofu: the three roots, each with a state of its own in one bucket.
//!
//! They run in copies under `target/terraform`, so that nothing they leave lies among the sources. What a killed run
//! leaves in the cloud is mended here: a lock of the state, resources that were made and not recorded.

mod commands;
mod diagnostic;
mod heal;
mod lock;
mod plan;
mod state;

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::diagnostic::StockOut;
pub use self::plan::{Action, Plan, read_plan, rows};
use self::{
    commands::Commands,
    diagnostic::Diagnostic,
    heal::Healer,
    lock::{Lock, Writer},
};
use crate::{
    cloud::Cloud,
    error::Kind,
    process::{self, Argv},
    tools::{self, Found, Platform, TERRAFORM},
};

/// The roots in the order in which they are applied.
pub const ROOTS: [Root; 3] = [Root::Foundation, Root::Homes, Root::Fleet];

/// A folder with a state of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Root {
    /// APIs, network, buckets.
    Foundation,
    /// Home disks.
    Homes,
    /// Machines.
    Fleet,
}

impl Root {
    /// The name of its folder, and the prefix of its state.
    pub fn name(self) -> &'static str {
        match self {
            Self::Foundation => "foundation",
            Self::Homes => "homes",
            Self::Fleet => "fleet",
        }
    }
}

/// What a root is planned for.
#[derive(Clone, Copy)]
pub enum Mode<'a> {
    /// To be as its configuration says; these resources are made anew in any case.
    Normal {
        /// Addresses of them.
        replace: &'a [String],
    },
    /// To have nothing.
    Destroy,
    /// To be as its configuration says in these resources and what they need, and otherwise as it is.
    Only {
        /// Addresses of them.
        targets: &'a [String],
    },
}

impl Mode<'_> {
    /// To be as its configuration says.
    pub const NORMAL: Self = Self::Normal { replace: &[] };
}

/// terraform or tofu in this checkout.
pub struct Terraform<'a> {
    program: PathBuf,
    root: &'a Path,
    cloud: &'a Cloud,
    token: Option<String>,
    /// The state's bucket is not there: plans go by an empty state on this machine.
    without_bucket: bool,
    /// Only one run in a checkout; the lock ends with the process.
    _lock: fs::File,
}

impl<'a> Terraform<'a> {
    /// Finds terraform or tofu, brings the copy of the sources up to date, and waits for an earlier run of this
    /// checkout to end.
    ///
    /// # Errors
    /// [`Kind::Missing`] if neither is there or it is too old.
    pub fn open(root: &'a Path, cloud: &'a Cloud) -> Result<Self> {
        let program = program()?;
        let folder = folder(root);
        fs::create_dir_all(plugins(root))
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let lock = fs::File::create(folder.join(".lock"))?;
        if lock.try_lock().is_err() {
            eprintln!("waiting for another run in this checkout to end");
            lock.lock()?;
        }
        let own_credentials = [
            "GOOGLE_OAUTH_ACCESS_TOKEN",
            "GOOGLE_CREDENTIALS",
            "GOOGLE_APPLICATION_CREDENTIALS",
        ]
        .iter()
        .any(|name| env::var_os(name).is_some());
        // gcloud's login is what `google` goes by; terraform would ask for a second one.
        let token = if own_credentials {
            None
        } else {
            Some(cloud.token()?)
        };
        copy(&root.join("terraform"), &folder)?;
        Ok(Self {
            program,
            root,
            cloud,
            token,
            without_bucket: false,
            _lock: lock,
        })
    }

    /// Makes the bucket of the states unless it is there.
    ///
    /// # Errors
    /// As [`process::ask`].
    pub fn ensure_bucket(&self) -> Result<()> {
        self.cloud.tell(self.cloud.state_bucket_command())
    }

    /// For plans of a project in which nothing has been applied: they do without the state's bucket.
    pub fn without_bucket(mut self) -> Self {
        self.without_bucket = true;
        self
    }

    fn commands(&self, root: Root) -> Commands<'_> {
        Commands {
            program: &self.program,
            folder: folder(self.root).join(root.name()),
        }
    }

    fn variables(&self) -> Vec<(&'static str, OsString)> {
        let mut variables = vec![
            ("CHECKPOINT_DISABLE", "1".into()),
            ("TF_IN_AUTOMATION", "1".into()),
        ];
        // One download of the provider for three roots. The lock files that it would leave incomplete are thrown away.
        if env::var_os("TF_PLUGIN_CACHE_DIR").is_none() {
            variables.push(("TF_PLUGIN_CACHE_DIR", plugins(self.root).into()));
            variables.push(("TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE", "1".into()));
        }
        if let Some(token) = &self.token {
            variables.push(("GOOGLE_OAUTH_ACCESS_TOKEN", token.into()));
        }
        variables
    }

    /// Gets a root ready to be planned.
    ///
    /// # Errors
    /// [`Kind::Failed`] if the provider cannot be had or the state not be read.
    pub fn init(&self, root: Root) -> Result<()> {
        let commands = self.commands(root);
        let backend_override = commands.folder.join("backend_override.tf");
        let backend = if self.without_bucket {
            fs::write(
                &backend_override,
                "terraform {\n  backend \"local\" {}\n}\n",
            )?;
            Vec::new()
        } else {
            let _ = fs::remove_file(&backend_override);
            backend(self.cloud, root)
        };
        let init = commands.init(&backend);
        let attempt = || {
            process::capture(self.root, &init, &self.variables(), |process| {
                Writer { process }.note(&commands.folder, lock::INIT)
            })
        };
        let mut done = attempt()?;
        // It makes a state that is not there, under a lock.
        let locked = Lock::read(&String::from_utf8_lossy(&done.stderr));
        if let Some(lock) = locked.filter(|_| !done.status.success()) {
            Healer::new(self, root).unlock(&lock)?;
            done = attempt()?;
        }
        if done.status.success() {
            return Ok(());
        }
        // A lock file of an earlier run may name a provider that can no longer be had; one of the repository's is kept.
        let lock_file = ".terraform.lock.hcl";
        let of_repository = self
            .root
            .join("terraform")
            .join(root.name())
            .join(lock_file);
        if !of_repository.exists() && fs::remove_file(commands.folder.join(lock_file)).is_ok() {
            done = attempt()?;
            if done.status.success() {
                return Ok(());
            }
        }
        eprint!("{}", String::from_utf8_lossy(&done.stderr));
        let what = format!("{} cannot be initialised", root.name());
        Err(Kind::Failed.error(
            what,
            "The messages above say why: no registry, no credentials, or no such bucket.",
        ))
    }

    /// Plans a root that was initialised, and saves the plan.
    ///
    /// # Errors
    /// What terraform finds wrong, in one sentence; all of it is on stderr.
    pub fn plan(&self, root: Root, variables: &Value, mode: Mode) -> Result<Plan> {
        let mut healer = Healer::new(self, root);
        loop {
            match self.plan_once(root, variables, mode)? {
                Ok(plan) => return Ok(plan),
                Err(errors) => healer.heal(&errors, None)?,
            }
        }
    }

    fn plan_once(
        &self,
        root: Root,
        variables: &Value,
        mode: Mode,
    ) -> Result<Result<Plan, Vec<Diagnostic>>> {
        let commands = self.commands(root);
        let file = commands.folder.join("fleet.tfvars.json");
        fs::write(&file, serde_json::to_vec_pretty(variables)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        let (status, errors) = self.run(&commands.plan(mode), |_| Ok(()))?;
        if !status.success() {
            return Ok(Err(errors));
        }
        let text = self.text(&commands.show(), "a saved plan cannot be read")?;
        Ok(Ok(read_plan(&text)?))
    }

    /// Applies a root: plans, lets `judge` look, and does it. What an earlier run left half done is mended on the way.
    /// The outputs are those after it.
    ///
    /// # Errors
    /// What `judge` says; what terraform says.
    pub fn apply(
        &self,
        root: Root,
        variables: &Value,
        mode: Mode,
        judge: impl Fn(&Plan) -> Result<()>,
    ) -> Result<Map<String, Value>> {
        let mut healer = Healer::new(self, root);
        loop {
            let plan = self.plan(root, variables, mode)?;
            judge(&plan)?;
            if plan.is_empty {
                return Ok(plan.outputs);
            }
            let folder = self.commands(root).folder;
            let apply = self.commands(root).apply();
            let (status, errors) = self.run(&apply, |process| {
                Writer { process }.note(&folder, lock::APPLY)
            })?;
            if status.success() {
                return self.outputs(root);
            }
            healer.heal(&errors, Some(&plan))?;
        }
    }

    /// Has the state of `homes` forget what it has of a workspace's home in other zones than this one. Nothing is
    /// deleted: the next apply records the disk that is there.
    ///
    /// # Errors
    /// [`Kind::Failed`] if the state cannot be read or is locked by another run.
    pub fn forget_homes_elsewhere(&self, name: &str, zone: &str) -> Result<()> {
        let root = Root::Homes;
        self.init(root)?;
        let commands = self.commands(root);
        let mut show = commands.verb("show");
        show.push("-json".into());
        let text = self.text(&show, "the state of homes cannot be read")?;
        let forget = commands.forget(&state::elsewhere(&text, name, zone)?);
        let Some(forget) = forget else { return Ok(()) };
        let attempt = || {
            process::capture(self.root, &forget, &self.variables(), |process| {
                Writer { process }.note(&commands.folder, lock::APPLY)
            })
        };
        let mut done = attempt()?;
        let locked = Lock::read(&String::from_utf8_lossy(&done.stderr));
        if let Some(lock) = locked.filter(|_| !done.status.success()) {
            Healer::new(self, root).unlock(&lock)?;
            done = attempt()?;
        }
        if done.status.success() {
            return Ok(());
        }
        eprint!("{}", String::from_utf8_lossy(&done.stderr));
        Err(Kind::Failed.error(
            format!("the state of homes does not forget the old home of {name}"),
            "The messages above say why. Run this again: it goes on where it stopped.",
        ))
    }

    /// Has the next plan record a resource that is there, unless it is recorded. As a part of the plan it is judged with
    /// the rest of it, and goes away with the copy of the sources.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn record(&self, root: Root, address: &str, id: &str) -> Result<()> {
        let file = self.commands(root).folder.join("xtask_imports.tf");
        let mut imports = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&file)?;
        Ok(writeln!(
            imports,
            "import {{\n  to = {address}\n  id = \"{id}\"\n}}"
        )?)
    }

    fn outputs(&self, root: Root) -> Result<Map<String, Value>> {
        #[derive(Deserialize)]
        struct Output {
            value: Value,
        }
        let mut command = self.commands(root).verb("output");
        command.push("-json".into());
        let unreadable = format!("the outputs of {} cannot be read", root.name());
        let text = self.text(&command, &unreadable)?;
        let outputs: BTreeMap<String, Output> =
            serde_json::from_str(&text).context("terraform's outputs are unreadable")?;
        Ok(outputs
            .into_iter()
            .map(|(name, output)| (name, output.value))
            .collect())
    }

    /// What a command prints.
    fn text(&self, argv: &Argv, unreadable: &str) -> Result<String> {
        let mut text = String::new();
        let add = |line: &str| text.push_str(line);
        let status = process::lines(self.root, argv, &self.variables(), |_| Ok(()), add)?;
        if status.success() {
            return Ok(text);
        }
        Err(Kind::Failed.error(unreadable, "Run this again."))
    }

    /// Runs a verb that prints JSON lines: progress goes to stderr, errors are returned.
    fn run(
        &self,
        argv: &Argv,
        started: impl FnOnce(u32) -> Result<()>,
    ) -> Result<(ExitStatus, Vec<Diagnostic>)> {
        let mut errors = Vec::new();
        let status = process::lines(self.root, argv, &self.variables(), started, |line| {
            let Ok(message) = serde_json::from_str::<Value>(line) else {
                eprintln!("{line}");
                return;
            };
            match message["type"].as_str().unwrap_or_default() {
                "apply_complete" | "apply_errored" => {
                    eprintln!("  {}", message["@message"].as_str().unwrap_or_default())
                }
                "diagnostic" => {
                    let diagnostic =
                        serde_json::from_value::<Diagnostic>(message["diagnostic"].clone());
                    let diagnostic = diagnostic.unwrap_or_default();
                    if diagnostic.severity == "error" {
                        errors.push(diagnostic);
                    } else if !diagnostic.is_of_targets() {
                        eprintln!("warning: {diagnostic}");
                    }
                }
                _ => {}
            }
        })?;
        Ok((status, errors))
    }
}

/// Where the copies of the roots are.
fn folder(root: &Path) -> PathBuf {
    root.join("target/terraform")
}

/// Where the provider is kept.
fn plugins(root: &Path) -> PathBuf {
    folder(root).join("plugins")
}

/// terraform or tofu.
///
/// # Errors
/// [`Kind::Missing`] if neither is there or new enough.
fn program() -> Result<PathBuf> {
    let tool = &TERRAFORM;
    let (what, mend) = match tools::find(tool) {
        Found::Good(path, _) => return Ok(path),
        Found::TooOld(path, version) => (
            format!(
                "{} is {version}, and {}.{} is needed",
                path.display(),
                tool.at_least.0,
                tool.at_least.1
            ),
            tool.mend(Platform::here()),
        ),
        Found::Broken(path, what) => (
            format!("{} is broken: {what}", path.display()),
            tool.mend(Platform::here()),
        ),
        Found::Missing => (
            format!(
                "there is neither tofu nor terraform on this machine, which {}",
                tool.why
            ),
            tool.mend(Platform::here()),
        ),
    };
    Err(Kind::Missing.error(what, format!("Get it: {mend}")))
}

/// The commands of a root, for `--dry-run`.
pub fn plan_commands(
    cloud: &Cloud,
    repository: &Path,
    root: Root,
    mode: Mode,
    apply: bool,
) -> Vec<Argv> {
    let program = program().unwrap_or_else(|_| "terraform".into());
    let commands = Commands {
        program: &program,
        folder: folder(repository).join(root.name()),
    };
    let mut all = vec![
        commands.init(&backend(cloud, root)),
        commands.plan(mode),
        commands.show(),
    ];
    if apply {
        all.push(commands.apply());
    }
    all
}

fn backend(cloud: &Cloud, root: Root) -> Vec<String> {
    let mut lines = vec![
        format!("bucket={}", cloud.state_bucket()),
        format!("prefix={}", root.name()),
    ];
    // The provider reads this variable itself, the backend does not.
    if let Ok(endpoint) = env::var("GOOGLE_STORAGE_CUSTOM_ENDPOINT") {
        lines.push(format!("storage_custom_endpoint={endpoint}"));
    }
    lines
}

/// Brings a copy of a folder's files up to date; what terraform made there stays.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let is_source = |name: &str| {
        name.ends_with(".tf") || name.ends_with(".tfvars") || name.ends_with(".tfvars.json")
    };
    for entry in fs::read_dir(to)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // A source that is no longer in the repository.
        if is_source(&name) && !from.join(&name).exists() && path.is_file() {
            fs::remove_file(path)?;
        }
    }
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with('.') && name != ".terraform.lock.hcl";
        if hidden || name == "tests" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(name))?;
        } else {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}
