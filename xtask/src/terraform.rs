//! terraform or tofu: the three roots, each with a state of its own in one bucket.
//!
//! They run in copies under `target/terraform`, so that nothing they leave lies among the sources. What a killed run
//! leaves in the cloud is mended here: a lock of the state, resources that were made and not recorded.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsString,
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitStatus,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    argv,
    cloud::Cloud,
    error::Kind,
    process::{self, Argv},
    tools::{self, Found, Platform, TERRAFORM},
};

/// A new API answers 403 for up to ten minutes. <https://cloud.google.com/service-usage/docs/enable-disable>
const API_PATIENCE: Duration = Duration::from_secs(600);
const API_PAUSE: Duration = Duration::from_secs(15);

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

/// What a plan does to one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is not there yet.
    Make,
    /// It stays and becomes different.
    Change,
    /// It is destroyed and made anew.
    Replace,
    /// It goes.
    Destroy,
    /// It is there as it should be, and becomes part of the state.
    Record,
}

impl Action {
    fn of(change: &Values) -> Option<Self> {
        let actions: Vec<_> = change.actions.iter().map(String::as_str).collect();
        match actions.as_slice() {
            ["no-op"] if !change.importing.is_null() => Some(Self::Record),
            ["create"] => Some(Self::Make),
            ["update"] => Some(Self::Change),
            ["delete", "create"] | ["create", "delete"] => Some(Self::Replace),
            ["delete"] => Some(Self::Destroy),
            _ => None,
        }
    }

    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Make => "make",
            Self::Change => "change",
            Self::Replace => "REPLACE",
            Self::Destroy => "DESTROY",
            Self::Record => "record",
        }
    }
}

/// One resource that a plan changes.
#[derive(Debug, Serialize)]
pub struct Change {
    /// What happens to it.
    pub action: Action,
    /// terraform's address of it.
    pub address: String,
    /// terraform's type of it.
    pub r#type: String,
    /// What it is called.
    pub name: String,
    /// What becomes different, `attribute: before → after`.
    pub details: Vec<String>,
    #[serde(skip)]
    after: Value,
}

/// A plan, which is saved as well.
#[derive(Debug)]
pub struct Plan {
    /// What it changes.
    pub changes: Vec<Change>,
    /// Whether applying it does anything: it may also be outputs alone.
    pub is_empty: bool,
    /// The outputs after it, as far as they are known.
    pub outputs: Map<String, Value>,
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

/// The commands of one root, which are printed for `--dry-run` as well.
pub struct Commands<'a> {
    program: &'a Path,
    folder: PathBuf,
}

impl Commands<'_> {
    fn verb(&self, verb: &str) -> Argv {
        let mut chdir = OsString::from("-chdir=");
        chdir.push(&self.folder);
        argv![self.program, chdir, verb]
    }

    /// Fetches the provider and finds the state.
    pub fn init(&self, backend: &[String]) -> Argv {
        let mut command = self.verb("init");
        command.extend(argv!["-input=false", "-no-color", "-reconfigure"]);
        command.extend(
            backend
                .iter()
                .map(|line| format!("-backend-config={line}").into()),
        );
        command
    }

    /// A plan is made without a lock of the state: making one writes nothing, and one that was overtaken is refused
    /// when it is applied.
    pub fn plan(&self, destroy: bool) -> Argv {
        let mut command = self.verb("plan");
        command.extend(argv!["-json", "-input=false", "-lock=false"]);
        command.extend(argv!["-var-file=fleet.tfvars.json", "-out=plan"]);
        if destroy {
            command.push("-destroy".into());
        }
        command
    }

    /// What a saved plan does.
    pub fn show(&self) -> Argv {
        let mut command = self.verb("show");
        command.extend(argv!["-json", "plan"]);
        command
    }

    /// Does what a saved plan says.
    pub fn apply(&self) -> Argv {
        let mut command = self.verb("apply");
        command.extend(argv!["-json", "-input=false", "plan"]);
        command
    }

    fn unlock(&self, id: &str) -> Argv {
        let mut command = self.verb("force-unlock");
        command.extend(argv!["-force", id]);
        command
    }
}

/// What terraform says of an error, one a line of its JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Diagnostic {
    severity: String,
    summary: String,
    detail: String,
    address: Option<String>,
}

impl Diagnostic {
    fn text(&self) -> String {
        format!("{} {}", self.summary, self.detail)
    }

    /// A resource that is there and not in the state. The provider has words of its own where it looks itself.
    fn already_exists(&self) -> bool {
        let text = self.text();
        let conflict = ["lready exists", "lready own", "ALREADY_EXISTS"];
        text.contains("Error 409") && conflict.iter().any(|words| text.contains(words))
            || ["existing object already found", "has one of that name"]
                .iter()
                .any(|words| text.contains(words))
    }

    fn api_not_ready(&self) -> bool {
        let text = self.text();
        text.contains("SERVICE_DISABLED")
            || text.contains("accessNotConfigured")
            || text.contains("has not been used in project")
    }

    fn is_refusal(&self) -> bool {
        let text = self.text();
        ["Error 4", "QUOTA_EXCEEDED", "RESOURCE_POOL_EXHAUSTED"]
            .iter()
            .any(|sign| text.contains(sign))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(address) = &self.address {
            write!(f, "{address}: ")?;
        }
        f.write_str(&line(&self.summary))?;
        match line(&self.detail) {
            empty if empty.is_empty() => Ok(()),
            detail => write!(f, ": {detail}"),
        }
    }
}

/// The process that last wrote to a state from this checkout, so that a lock it left can be told from one in use.
#[derive(Serialize, Deserialize)]
struct Writer {
    process: u32,
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
        let mut said = Vec::new();
        let attempt = |said: &mut Vec<String>| {
            process::lines(
                self.root,
                &init,
                &self.variables(),
                |_| Ok(()),
                |line| said.push(line.to_owned()),
            )
        };
        if attempt(&mut said)?.success() {
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
            said.clear();
            if attempt(&mut said)?.success() {
                return Ok(());
            }
        }
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
    pub fn plan(&self, root: Root, variables: &Value, destroy: bool) -> Result<Plan> {
        let mut healer = Healer::new(self, root);
        loop {
            match self.plan_once(root, variables, destroy)? {
                Ok(plan) => return Ok(plan),
                Err(errors) => healer.heal(&errors, None)?,
            }
        }
    }

    fn plan_once(
        &self,
        root: Root,
        variables: &Value,
        destroy: bool,
    ) -> Result<Result<Plan, Vec<Diagnostic>>> {
        let commands = self.commands(root);
        let file = commands.folder.join("fleet.tfvars.json");
        fs::write(&file, serde_json::to_vec_pretty(variables)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        let (status, errors) = self.run(&commands.plan(destroy), |_| Ok(()))?;
        if !status.success() {
            return Ok(Err(errors));
        }
        let mut text = String::new();
        let status = process::lines(
            self.root,
            &commands.show(),
            &self.variables(),
            |_| Ok(()),
            |line| {
                text.push_str(line);
            },
        )?;
        if !status.success() {
            return Err(Kind::Failed.error("a saved plan cannot be read", "Run this again."));
        }
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
        destroy: bool,
        judge: impl Fn(&Plan) -> Result<()>,
    ) -> Result<Map<String, Value>> {
        let mut healer = Healer::new(self, root);
        loop {
            let plan = self.plan(root, variables, destroy)?;
            judge(&plan)?;
            if plan.is_empty {
                return Ok(plan.outputs);
            }
            let folder = self.commands(root).folder;
            let apply = self.commands(root).apply();
            let (status, errors) = self.run(&apply, |process| {
                let writer = serde_json::to_vec(&Writer { process })?;
                Ok(fs::write(folder.join("writer.json"), writer)?)
            })?;
            if status.success() {
                return self.outputs(root);
            }
            healer.heal(&errors, Some(&plan))?;
        }
    }

    fn outputs(&self, root: Root) -> Result<Map<String, Value>> {
        #[derive(Deserialize)]
        struct Output {
            value: Value,
        }
        let mut command = self.commands(root).verb("output");
        command.push("-json".into());
        let mut text = String::new();
        let status = process::lines(
            self.root,
            &command,
            &self.variables(),
            |_| Ok(()),
            |line| {
                text.push_str(line);
            },
        )?;
        if !status.success() {
            return Err(Kind::Failed.error(
                format!("the outputs of {} cannot be read", root.name()),
                "Run this again.",
            ));
        }
        let outputs: BTreeMap<String, Output> =
            serde_json::from_str(&text).context("terraform's outputs are unreadable")?;
        Ok(outputs
            .into_iter()
            .map(|(name, output)| (name, output.value))
            .collect())
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
                    } else {
                        eprintln!("warning: {diagnostic}");
                    }
                }
                _ => {}
            }
        })?;
        Ok((status, errors))
    }
}

/// What was mended in one run of a root, so that nothing is tried for ever.
struct Healer<'a> {
    terraform: &'a Terraform<'a>,
    root: Root,
    imported: BTreeSet<String>,
    unlocked: BTreeSet<String>,
    since: Instant,
}

impl<'a> Healer<'a> {
    fn new(terraform: &'a Terraform<'a>, root: Root) -> Self {
        Self {
            terraform,
            root,
            imported: BTreeSet::new(),
            unlocked: BTreeSet::new(),
            since: Instant::now(),
        }
    }

    /// Mends what these errors come from, if that can be mended.
    ///
    /// # Errors
    /// The errors in words when nothing of it can.
    fn heal(&mut self, errors: &[Diagnostic], plan: Option<&Plan>) -> Result<()> {
        let mut healed = false;
        for error in errors {
            if let Some(lock) = Lock::of(error) {
                self.unlock(&lock)?;
                healed = true;
            }
            if let (true, Some(address), Some(plan)) =
                (error.already_exists(), &error.address, plan)
            {
                healed |= self.import(address, plan)?;
            }
        }
        if !healed
            && !errors.is_empty()
            && errors.iter().all(Diagnostic::api_not_ready)
            && self.since.elapsed() < API_PATIENCE
        {
            eprintln!(
                "Google is still enabling an API, which takes up to ten minutes; next attempt in {} s",
                API_PAUSE.as_secs()
            );
            sleep(API_PAUSE);
            healed = true;
        }
        if healed {
            Ok(())
        } else {
            Err(in_words(self.root, errors))
        }
    }

    /// Breaks the lock of a run that was killed on this machine.
    fn unlock(&mut self, lock: &Lock) -> Result<()> {
        let commands = self.terraform.commands(self.root);
        let unlock = commands.unlock(&lock.id);
        let writer = fs::read(commands.folder.join("writer.json")).ok();
        let writer: Option<Writer> = writer.and_then(|text| serde_json::from_slice(&text).ok());
        let ours = lock.who.as_deref() == Some(&who()) && writer.is_some();
        if !ours || !self.unlocked.insert(lock.id.clone()) {
            let since = format!(
                "by {} since {}",
                lock.who.as_deref().unwrap_or("somebody"),
                lock.created
            );
            return Err(Kind::Failed.error(
                format!("the state of {} is locked {since}", self.root.name()),
                format!(
                    "Wait until that run ends. If it was killed, break its lock: {}",
                    process::display(&unlock)
                ),
            ));
        }
        let process = writer.expect("it is ours").process;
        if is_alive(process) {
            eprintln!(
                "waiting for process {process}, which an earlier run started and which still writes"
            );
            while is_alive(process) {
                sleep(Duration::from_millis(500));
            }
            return Ok(());
        }
        eprintln!(
            "an earlier run was killed and left the state of {} locked: breaking its lock",
            self.root.name()
        );
        self.quiet(&unlock).map(drop)
    }

    /// Records a resource that an earlier run made; whether it was done.
    fn import(&mut self, address: &str, plan: &Plan) -> Result<bool> {
        let change = plan.changes.iter().find(|change| change.address == address);
        let id = change.and_then(|change| import_id(change, self.terraform.cloud));
        let Some(id) = id else { return Ok(false) };
        if !self.imported.insert(address.to_owned()) {
            return Ok(false);
        }
        eprintln!("{address} exists and is not recorded: the next plan records it");
        // As a part of the plan it is judged with the rest of it, and goes away with the copy of the sources.
        let file = self
            .terraform
            .commands(self.root)
            .folder
            .join("xtask_imports.tf");
        let mut imports = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&file)?;
        writeln!(imports, "import {{\n  to = {address}\n  id = \"{id}\"\n}}")?;
        Ok(true)
    }

    fn quiet(&self, argv: &Argv) -> Result<ExitStatus> {
        let variables = self.terraform.variables();
        process::lines(self.terraform.root, argv, &variables, |_| Ok(()), |_| {})
    }
}

/// The lock of a state, as terraform's error tells it.
struct Lock {
    id: String,
    who: Option<String>,
    created: String,
}

impl Lock {
    fn of(error: &Diagnostic) -> Option<Self> {
        if !error.summary.contains("state lock") {
            return None;
        }
        let field = |name: &str| {
            let lines = error.detail.lines().map(str::trim);
            lines
                .filter_map(|line| line.strip_prefix(name))
                .map(|value| value.trim().to_owned())
                .next()
        };
        Some(Self {
            id: field("ID:")?,
            who: field("Who:"),
            created: field("Created:").unwrap_or_else(|| "an unknown time".to_owned()),
        })
    }
}

/// As terraform writes it into a lock.
fn who() -> String {
    let answer = |argv: &Argv| {
        let output = process::probe(argv).ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let user = answer(&argv!["id", "-un"]).unwrap_or_default();
    let host = answer(&argv!["uname", "-n"]).unwrap_or_default();
    format!("{user}@{host}")
}

fn is_alive(process: u32) -> bool {
    let command = argv!["sh", "-c", "kill -0 \"$1\"", "sh", process.to_string()];
    process::probe(&command).is_ok_and(|output| output.status.success())
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
    destroy: bool,
    apply: bool,
) -> Vec<Argv> {
    let program = program().unwrap_or_else(|_| "terraform".into());
    let commands = Commands {
        program: &program,
        folder: folder(repository).join(root.name()),
    };
    let mut all = vec![
        commands.init(&backend(cloud, root)),
        commands.plan(destroy),
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

fn in_words(root: Root, errors: &[Diagnostic]) -> anyhow::Error {
    for error in errors {
        eprintln!("  {error}");
    }
    let first = errors.first().map(ToString::to_string).unwrap_or_default();
    if errors
        .iter()
        .any(|error| error.text().contains("cannot be destroyed"))
    {
        return Kind::Failed.error(
            format!("{} would delete a home disk: {first}", root.name()),
            "Home disks are deleted by name only: cargo xtask destroy --destroy-home-disks NAME",
        );
    }
    let kind = if errors.iter().any(Diagnostic::is_refusal) {
        Kind::Refused
    } else {
        Kind::Failed
    };
    let more = if errors.len() > 1 {
        format!(" (and {} more, above)", errors.len() - 1)
    } else {
        String::new()
    };
    let text = errors.iter().map(Diagnostic::text).collect::<String>();
    let mend = if text.contains("RESOURCE_POOL_EXHAUSTED") {
        "Google has none left in this zone: try another machine type, or later."
    } else if text.to_lowercase().contains("quota") {
        "Ask for more quota on the console's page IAM & Admin, Quotas; cargo xtask doctor --cloud shows what the fleet needs."
    } else if text.contains("Error 401") {
        "Run gcloud auth login, or set a fresh GOOGLE_OAUTH_ACCESS_TOKEN."
    } else if text.contains("Error 403") {
        "Ask the project's owner for a role that permits it (docs/terraform.md)."
    } else {
        "Act on the message, then run this again: it goes on where it stopped."
    };
    kind.error(format!("{}: {first}{more}", root.name()), mend)
}

#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    resource_changes: Vec<ResourceChange>,
    #[serde(default)]
    output_changes: BTreeMap<String, Values>,
}

#[derive(Deserialize)]
struct ResourceChange {
    address: String,
    mode: String,
    r#type: String,
    name: String,
    #[serde(default)]
    index: Value,
    change: Values,
}

#[derive(Deserialize)]
struct Values {
    actions: Vec<String>,
    #[serde(default)]
    before: Value,
    #[serde(default)]
    after: Value,
    #[serde(default)]
    after_unknown: Value,
    #[serde(default)]
    before_sensitive: Value,
    /// Set when it is there and not yet in the state.
    #[serde(default)]
    importing: Value,
}

/// What `show -json` prints of a saved plan.
pub fn read_plan(text: &str) -> Result<Plan> {
    let shown: Shown = serde_json::from_str(text).context("the saved plan is unreadable")?;
    let mut changes = Vec::new();
    for resource in shown
        .resource_changes
        .into_iter()
        .filter(|resource| resource.mode == "managed")
    {
        let Some(action) = Action::of(&resource.change) else {
            continue;
        };
        let values = [&resource.change.after, &resource.change.before];
        let text = |field: &str| values.iter().find_map(|values| values[field].as_str());
        let name = match &resource.index {
            // Which one of a workspace's grants it is.
            Value::String(index)
                if resource.r#type.ends_with("_iam_member") && !index.contains(' ') =>
            {
                format!("{index} {}", text("role").unwrap_or_default())
            }
            Value::String(index) => index.clone(),
            _ => text("name").unwrap_or(&resource.name).to_owned(),
        };
        changes.push(Change {
            action,
            details: if matches!(action, Action::Change | Action::Replace) {
                details(&resource.change)
            } else {
                Vec::new()
            },
            address: resource.address,
            r#type: resource.r#type,
            name,
            after: resource.change.after,
        });
    }
    let changed_outputs = shown
        .output_changes
        .values()
        .any(|output| output.actions != ["no-op"]);
    Ok(Plan {
        is_empty: changes.is_empty() && !changed_outputs,
        changes,
        outputs: shown
            .output_changes
            .into_iter()
            .map(|(name, output)| (name, output.after))
            .collect(),
    })
}

/// The attributes that differ. Values are shown of plain ones that are known and not sensitive.
fn details(change: &Values) -> Vec<String> {
    let (Some(before), Some(after)) = (change.before.as_object(), change.after.as_object()) else {
        return Vec::new();
    };
    let unknown = |name: &str| change.after_unknown[name] == true;
    let plain = |value: &Value| match value {
        Value::String(text) if text.len() <= 60 => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(bool) => Some(bool.to_string()),
        _ => None,
    };
    let mut details = Vec::new();
    for (name, old) in before {
        let new = after.get(name).unwrap_or(&Value::Null);
        if old == new || unknown(name) {
            continue;
        }
        let secret = change.before_sensitive[name] == true;
        details.push(match (plain(old), plain(new)) {
            (Some(old), Some(new)) if !secret => format!("{name} {old} → {new}"),
            _ => name.clone(),
        });
    }
    details
}

/// What terraform calls a resource that is imported: one that a plan makes; none for those that are made twice without harm.
fn import_id(change: &Change, cloud: &Cloud) -> Option<String> {
    let project = &cloud.project;
    let text = |field: &str| change.after[field].as_str().map(str::to_owned);
    let last =
        |field: &str| text(field).map(|url| url.rsplit('/').next().unwrap_or_default().to_owned());
    let region = || last("region").or_else(|| Some(cloud.region.clone()));
    let scoped = |scope: &str, place: Option<String>, collection: &str| {
        Some(format!(
            "projects/{project}/{scope}/{}/{collection}/{}",
            place?,
            text("name")?
        ))
    };
    match change.r#type.as_str() {
        "google_compute_disk" => scoped("zones", last("zone"), "disks"),
        "google_compute_instance" => scoped("zones", last("zone"), "instances"),
        "google_compute_address" => scoped("regions", region(), "addresses"),
        "google_compute_subnetwork" => scoped("regions", region(), "subnetworks"),
        "google_compute_router" => scoped("regions", region(), "routers"),
        "google_compute_resource_policy" => scoped("regions", region(), "resourcePolicies"),
        "google_compute_network" => Some(format!(
            "projects/{project}/global/networks/{}",
            text("name")?
        )),
        "google_compute_firewall" => Some(format!(
            "projects/{project}/global/firewalls/{}",
            text("name")?
        )),
        "google_compute_router_nat" => Some(format!(
            "{project}/{}/{}/{}",
            region()?,
            text("router")?,
            text("name")?
        )),
        "google_compute_disk_resource_policy_attachment" => Some(format!(
            "{project}/{}/{}/{}",
            last("zone")?,
            text("disk")?,
            text("name")?
        )),
        "google_storage_bucket" => text("name"),
        "google_service_account" => {
            let account = text("account_id")?;
            Some(format!(
                "projects/{project}/serviceAccounts/{account}@{project}.iam.gserviceaccount.com"
            ))
        }
        "google_secret_manager_secret" => {
            Some(format!("projects/{project}/secrets/{}", text("secret_id")?))
        }
        _ => None,
    }
}

/// One line for each changed resource of a root, in columns.
pub fn rows(root: Root, plan: &Plan) -> Vec<[String; 4]> {
    let rows = plan.changes.iter().map(|change| {
        let details = if change.details.is_empty() {
            String::new()
        } else {
            format!(": {}", change.details.join(", "))
        };
        [
            root.name().to_owned(),
            change.action.word().to_owned(),
            kind(&change.r#type).to_owned(),
            format!("{}{details}", change.name),
        ]
    });
    rows.collect()
}

/// What a type of resource is, for people.
fn kind(r#type: &str) -> &str {
    match r#type {
        "google_project_service" => "API",
        "google_compute_instance" => "machine",
        "google_compute_disk" => "home disk",
        "google_compute_address" => "address",
        "google_compute_network" => "network",
        "google_compute_subnetwork" => "subnetwork",
        "google_compute_firewall" => "firewall rule",
        "google_compute_router" => "router",
        "google_compute_router_nat" => "NAT",
        "google_compute_resource_policy" => "schedule",
        "google_compute_disk_resource_policy_attachment" => "schedule of disk",
        "google_storage_bucket" => "bucket",
        "google_endpoints_service" => "DNS name",
        "google_service_account" => "service account",
        "google_secret_manager_secret" => "secret",
        other if other.ends_with("_iam_member") => "grant",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::process::display;

    fn plan(changes: Value, outputs: Value) -> Plan {
        read_plan(&json!({ "resource_changes": changes, "output_changes": outputs }).to_string())
            .unwrap()
    }

    fn resource(r#type: &str, index: &str, change: Value) -> Value {
        json!({
            "address": format!("{type}.workspaces[\"{index}\"]"), "mode": "managed", "type": r#type,
            "name": "workspaces", "index": index, "change": change,
        })
    }

    #[test]
    fn each_root_runs_exactly_its_commands() {
        let program = Path::new("terraform");
        let commands = Commands {
            program,
            folder: "t/fleet".into(),
        };
        let backend = ["bucket=b".to_owned(), "prefix=fleet".to_owned()];
        let all = [
            commands.init(&backend),
            commands.plan(false),
            commands.show(),
            commands.apply(),
        ];
        assert_eq!(
            all.map(|command| display(&command)),
            [
                "terraform -chdir=t/fleet init -input=false -no-color -reconfigure -backend-config=bucket=b \
                 -backend-config=prefix=fleet",
                "terraform -chdir=t/fleet plan -json -input=false -lock=false -var-file=fleet.tfvars.json -out=plan",
                "terraform -chdir=t/fleet show -json plan",
                "terraform -chdir=t/fleet apply -json -input=false plan",
            ]
        );
        assert!(commands.plan(true).contains(&"-destroy".into()));
        assert_eq!(
            display(&commands.unlock("7")),
            "terraform -chdir=t/fleet force-unlock -force 7"
        );
    }

    #[test]
    fn a_plan_is_told_in_words_without_values_that_are_secret_or_long() {
        let before =
            json!({"machine_type": "n2-standard-8", "tags": ["a"], "key": "old", "same": 1});
        let after =
            json!({"machine_type": "n2-standard-16", "tags": ["b"], "key": "new", "same": 1});
        let change = json!({
            "actions": ["update"], "before": before, "after": after,
            "after_unknown": {}, "before_sensitive": {"key": true},
        });
        let grant =
            json!({"actions": ["create"], "before": null, "after": {"role": "roles/iap.x"}});
        let plan = plan(
            json!([
                resource("google_compute_instance", "alice", change),
                resource("google_project_iam_member", "bob", grant),
                resource("google_compute_address", "bob", json!({"actions": ["delete", "create"], "before": {}, "after": {}})),
                resource("google_compute_disk", "bob", json!({"actions": ["no-op"]})),
                resource("google_compute_disk", "alice", json!({"actions": ["no-op"], "importing": {"id": "x"}})),
                {"address": "data.google_project.this", "mode": "data", "type": "google_project", "name": "this",
                 "change": {"actions": ["read"]}},
            ]),
            json!({}),
        );
        let rows: Vec<_> = rows(Root::Fleet, &plan)
            .into_iter()
            .map(|row| row.join(" | "))
            .collect();
        assert_eq!(
            rows,
            [
                "fleet | change | machine | alice: key, machine_type n2-standard-8 → n2-standard-16, tags",
                "fleet | make | grant | bob roles/iap.x",
                "fleet | REPLACE | address | bob",
                "fleet | record | home disk | alice",
            ]
        );
    }

    #[test]
    fn a_plan_that_changes_outputs_alone_is_not_empty() {
        let output = |action: &str| json!({"homes": {"actions": [action], "after": {"bob": {}}}});
        assert!(plan(json!([]), output("no-op")).is_empty);
        let changed = plan(json!([]), output("update"));
        assert!(!changed.is_empty);
        assert_eq!(changed.outputs["homes"], json!({"bob": {}}));
    }

    #[test]
    fn a_lock_is_read_from_terraforms_error() {
        let detail = "Error message: writing \"gs://b/fleet/default.tflock\" failed\nLock Info:\n  ID:        1795\n  \
                      Path:      gs://b/fleet/default.tflock\n  Operation: OperationTypeApply\n  Who:       root@host\n  \
                      Version:   1.11.4\n  Created:   2026-11-24 21:00:00 +0000 UTC\n  Info:      \n";
        let summary = "Error acquiring the state lock".to_owned();
        let lock = Lock::of(&Diagnostic {
            summary,
            detail: detail.to_owned(),
            ..Diagnostic::default()
        })
        .unwrap();
        assert_eq!(
            (lock.id.as_str(), lock.who.as_deref()),
            ("1795", Some("root@host"))
        );
        assert_eq!(lock.created, "2026-11-24 21:00:00 +0000 UTC");
        assert!(Lock::of(&Diagnostic::default()).is_none());
    }

    #[test]
    fn what_exists_already_is_recognised_and_named_as_import_wants_it() {
        let exists = |summary: &str| {
            Diagnostic {
                summary: summary.to_owned(),
                ..Diagnostic::default()
            }
            .already_exists()
        };
        assert!(exists(
            "Error creating Disk: googleapi: Error 409: The resource 'x' already exists, alreadyExists"
        ));
        assert!(exists(
            "googleapi: Error 409: Your previous request to create the named bucket succeeded and you already own it."
        ));
        assert!(!exists(
            "googleapi: Error 409: There were concurrent policy changes, aborted"
        ));
        assert!(!exists("googleapi: Error 403: already exists"));

        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let fleet = crate::fleet::Fleet::read(&root.join("fleet.toml")).unwrap();
        let cloud = Cloud::of(&fleet, &root, &crate::cli::BucketArg { bucket: None });
        let id = |r#type: &str, after: Value| {
            let change = resource(r#type, "x", json!({"actions": ["create"], "after": after}));
            import_id(&plan(json!([change]), json!({})).changes[0], &cloud)
        };
        let p = "projects/acme-data-science";
        for (r#type, after, expected) in [
            (
                "google_compute_disk",
                json!({"name": "home-bob", "zone": "europe-west4-a"}),
                format!("{p}/zones/europe-west4-a/disks/home-bob"),
            ),
            (
                "google_compute_address",
                json!({"name": "a"}),
                format!("{p}/regions/europe-west4/addresses/a"),
            ),
            (
                "google_compute_network",
                json!({"name": "n"}),
                format!("{p}/global/networks/n"),
            ),
            (
                "google_service_account",
                json!({"account_id": "w"}),
                format!("{p}/serviceAccounts/w@acme-data-science.iam.gserviceaccount.com"),
            ),
            (
                "google_secret_manager_secret",
                json!({"secret_id": "s"}),
                format!("{p}/secrets/s"),
            ),
        ] {
            assert_eq!(id(r#type, after).as_deref(), Some(expected.as_str()));
        }
        assert_eq!(id("google_project_iam_member", json!({"role": "r"})), None);
    }
}
