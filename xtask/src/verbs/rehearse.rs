//! `rehearse`: the real verbs against the simulated cloud, and an honest account of it.
//!
//! Everything happens in a copy of the repository under `target/rehearsal`. What this machine lacks is left out and said
//! to be; no step is reported that did not run.

use std::{
    cell::Cell,
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    argv,
    cli::{BucketArg, Cli},
    cloud::Cloud,
    error::Kind,
    fleet::{Exposure, Fleet, Login},
    lanes, output,
    process::{self, Argv},
    project,
};

/// A workspace that comes and goes: an addition to the copy of fleet.toml.
const GUEST: &str = "rehearsal";

/// Size of the disk that stands in for an image.
const GIB: u64 = 1 << 30;

/// How one step ended.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ran,
    Failed,
    Skipped,
}

#[derive(Serialize)]
struct Step {
    step: &'static str,
    result: Verdict,
    seconds: f64,
    /// What it showed, why it failed, or why it was left out.
    note: String,
}

/// Rehearses and reports.
pub fn run(cli: &Cli) -> Result<()> {
    let file = project::fleet_file(cli)?;
    let fleet = Fleet::read(&file)?;
    let root = project::root(cli)?;
    if cli.dry_run {
        output::plan(cli, &commands(&root));
        return Ok(());
    }
    let mut stage = Stage::set(&root, &file, fleet)?;
    stage.perform();
    stage.report(cli)
}

/// The programs that are started, in their order; what is checked in between is in docs/rehearse.md.
fn commands(root: &Path) -> Vec<Argv> {
    let xtask = |words: &[&str]| {
        let mut command = argv!["cargo", "xtask"];
        command.extend(words.iter().map(Into::into));
        command
    };
    let mut commands = Vec::new();
    if is_checkout(root) {
        commands.push(build_command());
    }
    commands.push(argv![
        "cloudsim",
        "--log",
        folder(root).join("requests.jsonl")
    ]);
    commands.push(xtask(&["push", "base"]));
    for words in [
        &["plan"][..],
        &["up", "--no-build"],
        &["doctor", "--cloud"],
        &["up", "--no-build"],
        &["status"],
        &["stop", "--all"],
        &["start", "--all"],
        &["apply"],
        &["apply"],
        &["destroy", "--confirm", "PROJECT"],
        &["destroy", "--destroy-home-disks", GUEST, "--confirm", GUEST],
    ] {
        commands.push(xtask(words));
    }
    commands
}

fn folder(root: &Path) -> PathBuf {
    root.join("target/rehearsal")
}

/// Whether cargo runs us in a checkout with the crates, which are then built from it.
fn is_checkout(root: &Path) -> bool {
    env::var_os("CARGO").is_some() && root.join("crates/cloudsim/Cargo.toml").is_file()
}

fn build_command() -> Argv {
    let mut command = argv!["cargo", "build", "--quiet", "--release"];
    for package in ["cloudsim", "google", "imagepack"] {
        command.extend(argv!["--package", package]);
    }
    command
}

/// The simulated cloud, a copy of the repository, and what happened so far.
struct Stage {
    folder: PathBuf,
    repository: PathBuf,
    path: std::ffi::OsString,
    fleet: Fleet,
    /// The copy's fleet.toml as it was.
    original: String,
    simulator: Child,
    url: String,
    steps: Vec<Step>,
    failed: Cell<bool>,
    started: Instant,
    /// What booted instead of an image.
    image: String,
    _lock: fs::File,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.simulator.kill();
        let _ = self.simulator.wait();
    }
}

/// What a verb of the rehearsal printed.
struct Output {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Stage {
    fn set(root: &Path, file: &Path, fleet: Fleet) -> Result<Self> {
        let folder = folder(root);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let lock = fs::File::create(root.join("target/.rehearsal.lock"))?;
        lock.lock()?;
        fs::remove_dir_all(&folder)?;
        fs::create_dir(&folder)?;
        // A build elsewhere in this checkout may replace ours meanwhile.
        fs::copy(env::current_exe()?, folder.join("xtask"))?;
        let programs = programs(root)?;
        // Building is not rehearsing.
        let started = Instant::now();
        let repository = folder.join("repository");
        copy(root, &repository)?;
        fs::copy(file, repository.join("fleet.toml"))?;
        let original = fs::read_to_string(file)?;
        // Nix takes what git tracks, of the nearest repository.
        for words in [&["init", "--quiet"][..], &["add", "--all"]] {
            let mut git = argv!["git"];
            git.extend(words.iter().map(Into::into));
            if which::which("git").is_ok() {
                process::run(&repository, &git)?;
            }
        }
        let search = env::var_os("PATH").unwrap_or_default();
        let paths = programs.iter().cloned().chain(env::split_paths(&search));
        let path = env::join_paths(paths)?;
        let (simulator, url) = simulator(&folder, &path)?;
        Ok(Self {
            folder,
            repository,
            path,
            fleet,
            original,
            simulator,
            url,
            steps: Vec::new(),
            failed: Cell::new(false),
            started,
            image: String::new(),
            _lock: lock,
        })
    }

    /// A verb of xtask in the copy, set to the simulated cloud.
    fn xtask(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(self.folder.join("xtask"));
        command.args(words);
        self.finish(command, &format!("cargo xtask {}", words.join(" ")))
    }

    /// The same, which must end well.
    fn must(&self, words: &[&str]) -> Result<Output> {
        ended_well(self.xtask(words)?, &words.join(" "))
    }

    fn google(&self, words: &[&str]) -> Result<Value> {
        let mut command = Command::new("google");
        command.args(words);
        let output = ended_well(
            self.finish(command, &format!("google {}", words.join(" ")))?,
            &words.join(" "),
        )?;
        Ok(serde_json::from_str(&output.stdout).unwrap_or_default())
    }

    fn finish(&self, mut command: Command, name: &str) -> Result<Output> {
        use std::io::Write;
        command
            .current_dir(&self.repository)
            .env("PATH", &self.path);
        // From here on programs come from PATH, and no real credentials are at hand.
        for variable in [
            "CARGO",
            "GOOGLE_CREDENTIALS",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_PROJECT",
            "GOOGLE_IMPERSONATE_SERVICE_ACCOUNT",
        ] {
            command.env_remove(variable);
        }
        for (variable, path) in ENDPOINTS {
            command.env(
                format!("GOOGLE_{variable}_CUSTOM_ENDPOINT"),
                format!("{}/{path}/", self.url),
            );
        }
        command
            .env("GOOGLE_OAUTH_ACCESS_TOKEN", "rehearsal")
            .stdin(Stdio::null());
        let output = command
            .output()
            .with_context(|| format!("{name} cannot be started"))?;
        let output = Output {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        let mut log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("rehearsal.log"))?;
        // Without stdout, where a password may be.
        writeln!(
            log,
            "$ {name}\n{}[status {:?}]\n",
            output.stderr, output.status
        )?;
        Ok(output)
    }

    fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(
            &self.must(&["status", "--json"])?.stdout,
        )?)
    }

    /// The requests so far.
    fn requests(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.folder.join("requests.jsonl"))?;
        Ok(text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?)
    }

    /// The calls that asked for a change, of those after the first `seen`.
    fn writes(&self, seen: usize) -> Result<Vec<String>> {
        let requests = self.requests()?;
        let writes = requests
            .iter()
            .skip(seen)
            .filter(|request| request["mutates"] == true);
        let text =
            |request: &Value, key: &str| request[key].as_str().unwrap_or_default().to_owned();
        Ok(writes
            .map(|request| format!("{} {}", text(request, "method"), text(request, "path")))
            .collect())
    }

    fn step(&mut self, step: &'static str, act: impl FnOnce(&Self) -> Result<String>) {
        if self.failed.get() {
            let note = "an earlier step failed".to_owned();
            self.steps.push(Step {
                step,
                result: Verdict::Skipped,
                seconds: 0.0,
                note,
            });
            return;
        }
        eprintln!("rehearsing: {step}");
        let started = Instant::now();
        let (result, note) = match act(self) {
            Ok(note) => (Verdict::Ran, note),
            Err(error) => {
                self.failed.set(true);
                (Verdict::Failed, format!("{error:#}"))
            }
        };
        self.steps.push(Step {
            step,
            result,
            seconds: started.elapsed().as_secs_f64(),
            note,
        });
    }

    fn skip(&mut self, step: &'static str, why: &str) {
        self.steps.push(Step {
            step,
            result: Verdict::Skipped,
            seconds: 0.0,
            note: why.to_owned(),
        });
    }

    fn perform(&mut self) {
        let base = if which::which("nix").is_ok()
            && cfg!(all(target_os = "linux", target_arch = "x86_64"))
        {
            self.step("push: the image base, built by Nix", |stage| {
                stage.must(&["push", "base"])?;
                Ok("built, packed, uploaded, verified, registered".to_owned())
            });
            self.image = "the real one of the profile base, built by Nix".to_owned();
            false
        } else {
            self.skip(
                "push: the image base, built by Nix",
                "no Nix here for x86-64 Linux: cargo xtask doctor",
            );
            self.image = "an empty disk of 1 GiB in their place".to_owned();
            true
        };
        let cuda = self
            .fleet
            .workspaces
            .values()
            .any(|workspace| workspace.image.name() == "cuda");
        let families: Vec<_> = [("base", base), ("cuda", cuda)]
            .iter()
            .filter(|(_, wanted)| *wanted)
            .map(|(name, _)| *name)
            .collect();
        if !families.is_empty() {
            if !base {
                self.image
                    .push_str(", and an empty disk of 1 GiB for the profile cuda");
            }
            self.step("an empty disk packed, uploaded and registered", |stage| {
                stage.stand_in(&families)
            });
        }
        self.step("images, prune", |stage| {
            let images: Value = serde_json::from_str(&stage.must(&["images", "--json"])?.stdout)?;
            let count = images["images"].as_array().map_or(0, Vec::len);
            stage.must(&["prune"])?;
            let after: Value = serde_json::from_str(&stage.must(&["images", "--json"])?.stdout)?;
            ensure!(
                images == after,
                "prune deleted the newest image of a family"
            );
            Ok(format!("{count} listed, and none of them old enough to go"))
        });
        if let Some(why) = lanes::terraform::hindrance(&self.repository) {
            for step in [
                "plan",
                "up",
                "doctor --cloud",
                "second up",
                "password",
                "stop",
                "start",
                "a workspace leaves",
                "it comes back",
                "destroy",
                "a home disk is destroyed",
            ] {
                self.skip(step, &why);
            }
            self.step("status", |stage| {
                let status = stage.status()?;
                ensure!(
                    status["workspaces"]
                        .as_array()
                        .is_some_and(|all| all.len() == stage.fleet.workspaces.len())
                );
                Ok("no machine yet".to_owned())
            });
            return;
        }
        self.with_terraform();
    }

    fn with_terraform(&mut self) {
        self.step("plan", |stage| {
            stage.add_guest()?;
            let seen = stage.requests()?.len();
            let plan: Value = serde_json::from_str(&stage.must(&["plan", "--json"])?.stdout)?;
            let writes = stage.writes(seen)?;
            ensure!(writes.is_empty(), "a plan wrote: {}", writes.join(", "));
            let count: usize = plan["changes"].as_object().map_or(0, |roots| {
                roots
                    .values()
                    .filter_map(Value::as_array)
                    .map(Vec::len)
                    .sum()
            });
            Ok(format!("{count} resources to make; nothing written"))
        });
        self.step("up", |stage| {
            stage.must(&["up", "--no-build"])?;
            let machines = stage.expect_power("RUNNING")?;
            Ok(format!("{machines} machines run"))
        });
        self.step("doctor --cloud", |stage| {
            stage.must(&["doctor", "--cloud"])?;
            Ok("APIs are on, quotas hold the fleet, as far as they are simulated".to_owned())
        });
        self.step("second up", |stage| {
            let seen = stage.requests()?.len();
            stage.must(&["up", "--no-build"])?;
            let writes = stage.writes(seen)?;
            ensure!(writes.is_empty(), "it wrote: {}", writes.join(", "));
            Ok(format!(
                "{} calls, none of which wrote",
                stage.requests()?.len() - seen
            ))
        });
        if self.fleet.access.login == Some(Login::Password) {
            self.step("password", Self::password);
        } else {
            self.skip("password", "this fleet logs in without one");
        }
        self.step("stop", |stage| {
            stage.must(&["stop", "--all"])?;
            stage.expect_power("TERMINATED")?;
            stage.must(&["up", "--no-build"])?;
            stage.expect_power("TERMINATED")?;
            stage.expect_clean()?;
            Ok("plan is clean; another up left them stopped".to_owned())
        });
        self.step("start", |stage| {
            stage.must(&["start", "--all"])?;
            let machines = stage.expect_power("RUNNING")?;
            Ok(format!("{machines} machines run"))
        });
        self.step("a workspace leaves", |stage| {
            fs::write(stage.repository.join("fleet.toml"), &stage.original)?;
            stage.must(&["apply"])?;
            let status = stage.status()?;
            ensure!(
                status["retired"][0]["workspace"] == GUEST,
                "its home is not retired: {status}"
            );
            ensure!(of(&status, GUEST).is_none(), "its machine is still there");
            stage.expect_clean()?;
            Ok("machine gone, home disk there and retired".to_owned())
        });
        self.step("it comes back", |stage| {
            stage.add_guest()?;
            stage.must(&["apply"])?;
            let status = stage.status()?;
            ensure!(status["retired"] == json!([]), "its home is still retired");
            ensure!(
                of(&status, GUEST).is_some_and(|row| row["power"] == "RUNNING"),
                "it does not run"
            );
            stage.expect_no_home_lost()?;
            Ok("with the same home disk".to_owned())
        });
        self.step("destroy", |stage| {
            stage.must(&["destroy", "--confirm", &stage.fleet.google.project])?;
            let status = stage.status()?;
            let rows = status["workspaces"].as_array().context("no workspaces")?;
            ensure!(
                rows.iter().all(|row| row["power"].is_null()),
                "a machine is left: {status}"
            );
            ensure!(
                rows.iter().all(|row| !row["home"].is_null()),
                "a home disk is gone: {status}"
            );
            stage.expect_no_home_lost()?;
            Ok("machines and addresses gone, home disks there".to_owned())
        });
        self.step("a home disk is destroyed", |stage| {
            let refused = stage.xtask(&["destroy", "--destroy-home-disks", GUEST])?;
            ensure!(refused.status == Some(2), "it did not ask");
            stage.must(&["destroy", "--destroy-home-disks", GUEST, "--confirm", GUEST])?;
            let status = stage.status()?;
            let left = status["workspaces"].as_array().map_or(0, |rows| {
                rows.iter().filter(|row| !row["home"].is_null()).count()
            });
            ensure!(
                left == stage.fleet.workspaces.len(),
                "the others' are not all there: {status}"
            );
            Ok("only when its name was given".to_owned())
        });
    }

    /// An empty disk as the image of these families.
    fn stand_in(&self, families: &[&str]) -> Result<String> {
        let cloud = Cloud::of(&self.fleet, &self.repository, &BucketArg { bucket: None });
        let (project, bucket) = (&cloud.project, &cloud.bucket);
        let disk = self.folder.join("disk.raw");
        fs::File::create(&disk)?.set_len(GIB)?;
        let file = self.folder.join("disk.tar.gz");
        let (disk, file) = (disk.display().to_string(), file.display().to_string());
        let mut pack = Command::new("imagepack");
        pack.args(["pack", &disk, "-o", &file, "--json"]);
        let report: Value = serde_json::from_str(
            &ended_well(self.finish(pack, "imagepack")?, "imagepack")?.stdout,
        )?;
        let crc32c = report["crc32c"]
            .as_str()
            .context("imagepack gives no CRC32C")?;
        self.google(&[
            "buckets",
            "ensure",
            bucket,
            "--project",
            project,
            "--location",
            &cloud.region,
        ])?;
        let url = cloud.url("stand-in.tar.gz");
        self.google(&["objects", "upload", &file, &url, "--crc32c", crc32c])?;
        for family in families {
            let name = format!("{family}-stand-in");
            self.google(&[
                "images",
                "insert",
                &name,
                "--project",
                project,
                "--family",
                family,
                "--source",
                &url,
                "--crc32c",
                crc32c,
                "--label",
                "derivation=none",
                "--feature",
                "UEFI_COMPATIBLE",
                "--feature",
                "GVNIC",
            ])?;
        }
        Ok(format!("as the image of {}", families.join(" and ")))
    }

    fn password(&self) -> Result<String> {
        let name = self
            .fleet
            .workspaces
            .keys()
            .next()
            .map_or(GUEST, String::as_str);
        let read =
            || -> Result<String> { Ok(self.must(&["password", name])?.stdout.trim().to_owned()) };
        let password = read()?;
        ensure!(
            password.len() > 20,
            "{name} has no password of 20 characters"
        );
        ensure!(
            self.must(&["password", name, "--rotate"])?.stdout.trim() != password,
            "it was not rotated"
        );
        ensure!(read()? != password, "the old one is still there");
        // Whatever was printed for people, planned, or recorded by terraform.
        self.must(&["plan"])?;
        let leak = find(&self.folder, &password)?;
        ensure!(
            leak.is_none(),
            "it is in {}",
            leak.unwrap_or_default().display()
        );
        Ok("printed, rotated, and in no file, plan or message".to_owned())
    }

    fn add_guest(&self) -> Result<()> {
        let owner = format!("{GUEST}@{}.example", self.fleet.google.project);
        let guest = format!("\n[workspaces.{GUEST}]\nowner = \"{owner}\"\n");
        Ok(fs::write(
            self.repository.join("fleet.toml"),
            format!("{}{guest}", self.original),
        )?)
    }

    /// That all machines are so; how many there are.
    fn expect_power(&self, power: &str) -> Result<usize> {
        let status = self.status()?;
        let rows = status["workspaces"].as_array().context("no workspaces")?;
        for row in rows {
            ensure!(
                row["power"] == power,
                "{} is {}, not {power}",
                row["name"],
                row["power"]
            );
        }
        Ok(rows.len())
    }

    fn expect_clean(&self) -> Result<()> {
        let plan: Value = serde_json::from_str(&self.must(&["plan", "--json"])?.stdout)?;
        ensure!(plan["clean"] == true, "the plan is not clean: {plan}");
        Ok(())
    }

    fn expect_no_home_lost(&self) -> Result<()> {
        let lost = self
            .writes(0)?
            .into_iter()
            .find(|call| call.starts_with("DELETE ") && call.contains("/disks/home-"));
        ensure!(
            lost.is_none(),
            "a home disk was deleted: {}",
            lost.unwrap_or_default()
        );
        Ok(())
    }

    fn report(&self, cli: &Cli) -> Result<()> {
        let count = |verdict| {
            self.steps
                .iter()
                .filter(|step| step.result == verdict)
                .count()
        };
        let (ran, failed, skipped) = (
            count(Verdict::Ran),
            count(Verdict::Failed),
            count(Verdict::Skipped),
        );
        let requests = self.requests()?.len();
        let mut simulated = vec![format!(
            "Google Cloud: cloudsim answered {requests} calls on this machine; no machine booted, nothing was paid for"
        )];
        if !self.image.is_empty() {
            simulated.push(format!("images: {}", self.image));
        }
        let went_up = |step: &Step| step.step == "up" && step.result == Verdict::Ran;
        if self.steps.iter().any(went_up) {
            simulated.push(
                "pages, certificates, DNS: nothing to reach, so up waited for machines to run and no longer"
                    .to_owned(),
            );
        }
        if cli.json {
            let result = json!({
                "steps": self.steps, "ran": ran, "failed": failed, "skipped": skipped,
                "simulated": simulated, "seconds": self.started.elapsed().as_secs_f64(),
            });
            println!("{}", serde_json::to_string_pretty(&result)?);
        } else {
            let mut rows = vec![["STEP", "RESULT", "TIME", "NOTE"].map(String::from)];
            rows.extend(self.steps.iter().map(|step| {
                let result = match step.result {
                    Verdict::Ran => "ran",
                    Verdict::Failed => "failed",
                    Verdict::Skipped => "skipped",
                };
                let time = match step.result {
                    Verdict::Skipped => "-".to_owned(),
                    _ => output::seconds(Duration::from_secs_f64(step.seconds)),
                };
                [
                    step.step.to_owned(),
                    result.to_owned(),
                    time,
                    step.note.clone(),
                ]
            }));
            print!("\n{}\nsimulated\n", output::table(&rows));
            for line in &simulated {
                println!("  {line}");
            }
            if self.fleet.access.exposure == Exposure::Public
                && self.fleet.access.login == Some(Login::Google)
            {
                println!("  the OAuth client: made by hand, so that none was there");
            }
            println!(
                "\n{ran} ran, {failed} failed, {skipped} skipped, in {}",
                output::seconds(self.started.elapsed())
            );
        }
        if failed == 0 {
            return Ok(());
        }
        let log = self.folder.join("rehearsal.log");
        Err(Kind::Failed.error(
            "a step of the rehearsal failed",
            format!("All that was said is in {}.", log.display()),
        ))
    }
}

/// The variables that terraform's provider and `google` read, and the simulated cloud's paths.
const ENDPOINTS: [(&str, &str); 9] = [
    ("COMPUTE", "compute/v1"),
    ("STORAGE", "storage/v1"),
    ("SERVICE_USAGE", "serviceusage/v1"),
    ("SERVICE_MANAGEMENT", "servicemanagement/v1"),
    ("RESOURCE_MANAGER", "crm/v1"),
    ("IAM_BETA", "iam/v1"),
    ("SECRET_MANAGER", "secretmanager/v1"),
    ("IAP", "iap/v1"),
    // Not served: it answers that it is not, and nobody asks Google's.
    ("CLOUD_BILLING", "cloudbilling/v1"),
];

/// Where cloudsim, google and imagepack are, beside PATH: built from the checkout, or installed with xtask.
fn programs(root: &Path) -> Result<Option<PathBuf>> {
    if is_checkout(root) {
        process::run(root, &build_command())?;
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |target| root.join(target));
        return Ok(Some(target.join("release")));
    }
    let beside = env::current_exe()?
        .parent()
        .filter(|folder| folder.ends_with("bin"))
        .map(Path::to_owned);
    let is_there = |folder: &PathBuf| folder.join("cloudsim").is_file();
    if beside.as_ref().is_some_and(is_there) || which::which("cloudsim").is_ok() {
        return Ok(beside.filter(is_there));
    }
    Err(Kind::Missing.error(
        "there is no cloudsim on this machine",
        "Run cargo xtask rehearse in a checkout of the repository.",
    ))
}

fn simulator(folder: &Path, path: &std::ffi::OsStr) -> Result<(Child, String)> {
    let program = which::which_in("cloudsim", Some(path), folder)?;
    let command = argv![&program, "--log", folder.join("requests.jsonl")];
    eprintln!("$ {}", process::display(&command));
    let mut child = Command::new(&program)
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} cannot be started", program.display()))?;
    let mut url = String::new();
    // It prints its address once it accepts connections.
    BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut url)?;
    let url = url.trim().to_owned();
    if url.is_empty() {
        child.wait()?;
        bail!("cloudsim did not start");
    }
    Ok((child, url))
}

fn ended_well(output: Output, what: &str) -> Result<Output> {
    if output.status == Some(0) {
        return Ok(output);
    }
    let error = output
        .stderr
        .lines()
        .rev()
        .find(|line| line.starts_with("error: "));
    let error = error
        .or_else(|| output.stderr.lines().last())
        .unwrap_or_default();
    bail!("{what}: {error}")
}

/// A workspace's row of `status`.
fn of<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status["workspaces"]
        .as_array()?
        .iter()
        .find(|row| row["name"] == name)
}

/// The first file under a folder with this text in it.
fn find(folder: &Path, text: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        // Images and the provider are large, and hold no text of ours.
        let large = entry.metadata()?.len() > 64 << 20;
        if kind.is_dir() {
            if let Some(found) = find(&entry.path(), text)? {
                return Ok(Some(found));
            }
        } else if kind.is_file() && !large {
            let bytes = fs::read(entry.path())?;
            if bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
            {
                return Ok(Some(entry.path()));
            }
        }
    }
    Ok(None)
}

/// The repository without what was built from it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let lock_file = name == ".terraform.lock.hcl";
        if name == "target"
            || name == "result"
            || name.to_string_lossy().starts_with('.') && !lock_file
        {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&entry.path(), &to.join(name))?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}
