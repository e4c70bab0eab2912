//! A fleet of many machines: how long the real `xtask` takes over it within Compute Engine's rate quota.
//!
//! `cargo run --release -p cloudsim --bin scale -- 1000 --json`; docs/cloudsim.md says what the numbers mean.

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use cloudsim::{Options, Settings, Sim};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROJECT: &str = "acme-data-science";
const ZONES: [&str; 2] = ["europe-west4-a", "europe-west4-b"];

/// Calls of Compute Engine a minute and project. Google has this many for each group of methods,
/// <https://cloud.google.com/compute/api-quota>; here all of them share it.
const REQUESTS_PER_MINUTE: u64 = 1500;

/// Time `xtask status`, `stop --all` and `start --all` over many simulated machines
#[derive(Parser)]
struct Cli {
    /// How many machines
    #[arg(default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..10_000))]
    machines: u16,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What a verb took.
struct Run {
    time: Duration,
    /// Bytes, of xtask or of a program that it ran, whichever had most.
    peak_rss: u64,
    calls: usize,
    /// Those of the calls that the quota refused; they are made again.
    over_quota: usize,
    answer: Value,
}

struct Bench {
    sim: Sim,
    /// Where `xtask` and `google` are.
    programs: PathBuf,
    folder: tempfile::TempDir,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    eprintln!("building xtask and google");
    let programs = build()?;
    let sim = Sim::start(Options::default())?;
    let names: Vec<_> = (0..cli.machines).map(|n| format!("w{n:04}")).collect();
    eprintln!("making {} machines", names.len());
    make(&sim.url(), &names)?;
    sim.set_settings(Settings {
        requests_per_minute: [("compute.googleapis.com".to_owned(), REQUESTS_PER_MINUTE)].into(),
        ..Settings::default()
    });
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("fleet.toml"), fleet(&names))?;
    let bench = Bench {
        sim,
        programs,
        folder,
    };

    let status = bench.run(&["status"])?;
    let rows = status.answer["workspaces"].as_array();
    let whole = |row: &&Value| row["power"] == "RUNNING" && row["home"].is_object();
    let found = rows.into_iter().flatten().filter(whole).count();
    ensure!(
        found == names.len(),
        "status shows {found} running machines with a home"
    );
    let stop = bench.run(&["stop", "--all"])?;
    let start = bench.run(&["start", "--all"])?;
    for (verb, run) in [("stop", &stop), ("start", &start)] {
        let changed = run.answer["changed"].as_array().map_or(0, Vec::len);
        ensure!(
            changed == names.len(),
            "{verb} changed {changed} machines of {}",
            names.len()
        );
    }

    let runs = BTreeMap::from([("status", status), ("stop", stop), ("start", start)]);
    let of_each = |number: fn(&Run) -> usize| -> BTreeMap<_, _> {
        runs.iter()
            .map(|(verb, run)| (*verb, number(run)))
            .collect()
    };
    let peak = runs.values().map(|run| run.peak_rss).max();
    let mut result = json!({
        "peak_rss_mb": rounded(peak.unwrap_or(0) as f64 / 1e6),
        "calls": of_each(|run| run.calls),
        "over_quota": of_each(|run| run.over_quota),
    });
    for (verb, run) in &runs {
        result[format!("{verb}_s")] = rounded(run.time.as_secs_f64()).into();
    }
    if cli.json {
        println!("{result}");
        return Ok(());
    }
    for (verb, run) in ["status", "stop", "start"].map(|verb| (verb, &runs[verb])) {
        println!(
            "{verb:6} {:7.1} s, {} calls, {} of them over the quota",
            run.time.as_secs_f64(),
            run.calls,
            run.over_quota
        );
    }
    println!("peak memory of a program: {} MB", result["peak_rss_mb"]);
    Ok(())
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// Builds the programs that are measured, and says where they are.
fn build() -> Result<PathBuf> {
    let own = env::current_exe()?;
    let target = own.parent().and_then(Path::parent);
    let target = target.context("this program is in no target folder of cargo")?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args([
        "build",
        "--quiet",
        "--release",
        "-p",
        "xtask",
        "-p",
        "google",
    ]);
    build.arg("--target-dir").arg(target);
    build.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    // What `cargo run` says of this package: some build scripts watch these, and would run anew for another's.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            build.env_remove(&name);
        }
    }
    let status = build.status().context("cannot run cargo")?;
    ensure!(status.success(), "xtask and google cannot be built");
    Ok(target.join("release"))
}

fn fleet(names: &[String]) -> String {
    let mut text = format!(
        "[google]\nproject = \"{PROJECT}\"\nregion = \"europe-west4\"\nzones = {ZONES:?}\n\
         [access]\nacme_email = \"ops@acme.example\"\n[defaults]\nmachine_type = \"n2-standard-8\"\n"
    );
    for name in names {
        let _ = writeln!(text, "[workspaces.{name}]\nowner = \"{name}@acme.example\"");
    }
    text
}

/// Makes the machines and their homes.
fn make(origin: &str, names: &[String]) -> Result<()> {
    let cloud = format!("{origin}/compute/v1/projects/{PROJECT}");
    let agent = ureq::agent();
    let post = |url: &str, body: &Value| -> Result<Value> {
        let request = agent.post(url).header("Authorization", "Bearer deployer");
        let reply = request.send_json(body).with_context(|| url.to_owned());
        Ok(reply?.body_mut().read_json()?)
    };
    let insert = |scope: &str, collection: &str, body: &Value| -> Result<()> {
        let operation = post(&format!("{cloud}/{scope}/{collection}"), body)?;
        let name = operation["name"].as_str().context("no operation")?;
        let done = post(
            &format!("{cloud}/{scope}/operations/{name}/wait"),
            &json!({}),
        )?;
        ensure!(done.get("error").is_none(), "{}", done["error"]);
        Ok(())
    };
    let network = json!({"name": "n", "autoCreateSubnetworks": false});
    insert("global", "networks", &network)?;
    let subnetwork = json!({
        "name": "s", "network": format!("projects/{PROJECT}/global/networks/n"), "ipCidrRange": "10.0.0.0/16",
    });
    insert("regions/europe-west4", "subnetworks", &subnetwork)?;
    for (name, zone) in names.iter().zip(ZONES.iter().cycle()) {
        let labels = json!({"workspace": name, "owner": format!("{name}_acme_example")});
        let scope = format!("zones/{zone}");
        let home = format!("home-{name}");
        let disk = json!({"name": home, "sizeGb": "100", "labels": labels});
        insert(&scope, "disks", &disk)?;
        let machine = json!({
            "name": name, "machineType": format!("{scope}/machineTypes/n2-standard-8"), "labels": labels,
            "disks": [
                {"boot": true, "autoDelete": true, "initializeParams": {"diskSizeGb": "50"}},
                {"source": format!("projects/{PROJECT}/{scope}/disks/{home}"), "deviceName": "home"},
            ],
            "networkInterfaces": [{
                "subnetwork": "regions/europe-west4/subnetworks/s",
                "accessConfigs": [{"type": "ONE_TO_ONE_NAT"}],
            }],
        });
        insert(&scope, "instances", &machine)?;
    }
    Ok(())
}

impl Bench {
    /// Runs a verb of xtask, which must succeed.
    fn run(&self, words: &[&str]) -> Result<Run> {
        eprintln!("xtask {}", words.join(" "));
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(
            [self.programs.clone()]
                .into_iter()
                .chain(env::split_paths(&path)),
        )?;
        let answer = self.folder.path().join("answer");
        let said = self.folder.path().join("said");
        self.sim.clear_log();
        let begun = Instant::now();
        let mut child = Command::new(self.programs.join("xtask"))
            .arg("--fleet")
            .arg(self.folder.path().join("fleet.toml"))
            .args(words)
            .arg("--json")
            .env("PATH", path)
            // With it, xtask would have cargo look whether `google` is built.
            .env_remove("CARGO")
            .env("GOOGLE_OAUTH_ACCESS_TOKEN", "deployer")
            .env(
                "GOOGLE_COMPUTE_CUSTOM_ENDPOINT",
                format!("{}/compute/v1/", self.sim.url()),
            )
            .stdin(Stdio::null())
            .stdout(File::create(&answer)?)
            .stderr(File::create(&said)?)
            .spawn()?;
        // Not the maximum that wait4 gives: it begins with that of this process, which holds the whole cloud.
        let mut peak_rss = 0;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            peak_rss = peak_rss.max(peak_of(child.id()));
            std::thread::sleep(Duration::from_millis(5));
        };
        let time = begun.elapsed();
        let said = fs::read_to_string(said)?;
        ensure!(
            status.success(),
            "xtask {}: {status}\n{said}",
            words.join(" ")
        );
        let log = self.sim.log();
        let over_quota = log.iter().filter(|call| call.status == Some(403)).count();
        Ok(Run {
            time,
            peak_rss,
            calls: log.len(),
            over_quota,
            answer: serde_json::from_slice(&fs::read(answer)?)?,
        })
    }
}

/// The most memory that a process or one of its children has had so far, in bytes; 0 once it has ended.
fn peak_of(process: u32) -> u64 {
    let read =
        |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
    let status = read("status");
    let own = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: Option<u64> = own.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok());
    let children = read(&format!("task/{process}/children"));
    let children = children.split_whitespace().filter_map(|id| id.parse().ok());
    children
        .map(peak_of)
        .fold(kib.unwrap_or(0) * 1024, u64::max)
}
