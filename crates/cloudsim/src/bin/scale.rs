//! A fleet of many machines: how long the real `xtask` takes over it within Compute Engine's rate quota.
//!
//! `cargo run --release -p cloudsim --bin scale -- 1000 --json`, or with `--rollout`; docs/cloudsim.md says what the numbers mean.

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use cloudsim::{Agents, Options, Settings, Sim};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROJECT: &str = "acme-data-science";
const ZONES: [&str; 2] = ["europe-west4-a", "europe-west4-b"];

/// Calls of Compute Engine a minute and project. Google has this many for each group of methods,
/// <https://cloud.google.com/compute/api-quota>; here all of them share it.
const REQUESTS_PER_MINUTE: u64 = 1500;

/// Milliseconds that a call of a rollout takes at least.
const LATENCY_MS: u64 = 50;

/// Seconds of the agents' until `deploy` looks at what they say. They need half of it for a system that is good.
const LOOK: u32 = 120;

/// Time `xtask status`, `stop --all` and `start --all` over many simulated machines
#[derive(Parser)]
struct Cli {
    /// How many machines
    #[arg(default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..10_000))]
    machines: u16,
    /// Instead, time `deploy` on machines with simulated agents, some of which fail
    #[arg(long)]
    rollout: bool,
    /// Of a hundred machines about so many fail in a rollout
    #[arg(long, value_name = "P", default_value_t = 3.0, requires = "rollout")]
    failing: f64,
    /// Seconds of the simulated agents' that pass in one of ours
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..), requires = "rollout")]
    pace: u32,
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
    let agents = cli.rollout.then_some(Agents {
        most: usize::MAX,
        failing_percent: cli.failing,
        seed: 0,
        pace: cli.pace,
    });
    let sim = Sim::start(Options {
        agents: agents.clone(),
        ..Options::default()
    })?;
    let names: Vec<_> = (0..cli.machines).map(|n| format!("w{n:04}")).collect();
    eprintln!("making {} machines", names.len());
    make(&sim.url(), &names)?;
    sim.set_settings(quota());
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("fleet.toml"), fleet(&names))?;
    let bench = Bench {
        sim,
        programs,
        folder,
    };
    let result = match agents {
        Some(agents) => rollouts(&bench, &names, &agents)?,
        None => verbs(&bench, &names)?,
    };
    if cli.json {
        println!("{result}");
    } else {
        println!("{result:#}");
    }
    Ok(())
}

/// Times `status`, `stop --all` and `start --all`.
fn verbs(bench: &Bench, names: &[String]) -> Result<Value> {
    let status = bench.run(&["status"])?;
    let rows = status.answer["workspaces"].as_array();
    let whole = |row: &&Value| {
        row["power"] == "RUNNING" && row["home"].is_object() && row["system"].is_object()
    };
    let found = rows.into_iter().flatten().filter(whole).count();
    ensure!(
        found == names.len(),
        "status shows {found} running machines with a home and a word on their system"
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
    Ok(result)
}

/// Times a rollout, and has another one stop at a limit.
fn rollouts(bench: &Bench, names: &[String], agents: &Agents) -> Result<Value> {
    bench.make_nix()?;
    let planted: BTreeSet<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| agents.fails(name))
        .collect();
    for round in 1..=2 {
        bench.publish(names, round)?;
    }
    bench.sim.set_settings(Settings {
        latency_ms: LATENCY_MS,
        ..quota()
    });

    let look = (LOOK / agents.pace).max(1).to_string();
    let deploy = ["deploy", "--all", "--look", &look];
    bench.wish(names, 1)?;
    let whole = bench.run_to(&deploy, i32::from(!planted.is_empty()))?;
    let of = |run: &Run, result: &str| -> BTreeSet<String> {
        let machines = run.answer["machines"].as_array().into_iter().flatten();
        machines
            .filter(|machine| machine["result"] == result)
            .filter_map(|machine| machine["name"].as_str().map(str::to_owned))
            .collect()
    };
    let named = of(&whole, "failed");
    ensure!(
        named.iter().eq(planted.iter()),
        "deploy names {named:?}; planted were {planted:?}"
    );
    let current = of(&whole, "current").len();
    ensure!(
        current == names.len() - planted.len(),
        "of {} machines {current} took it",
        names.len()
    );

    // A tenth at a time, and no further wave with more than a fifth of the failures.
    let wave = names.len().div_ceil(10);
    let limit = planted.len() / 5;
    let mut failures = 0;
    let waves = names.chunks(wave).take_while(|wave| {
        let goes_on = failures <= limit;
        failures += wave.iter().filter(|name| agents.fails(name)).count();
        goes_on
    });
    let told: Vec<&String> = waves.flatten().collect();
    let (wave, limit) = (wave.to_string(), limit.to_string());
    let limits = ["--wave", &wave, "--max-failures", &limit];
    bench.wish(names, 2)?;
    let stopped = bench.run_to(
        &[&deploy[..], &limits].concat(),
        i32::from(!planted.is_empty()),
    )?;
    let named_until_then = of(&stopped, "failed");
    let failing: Vec<_> = told.iter().filter(|name| agents.fails(name)).collect();
    ensure!(
        named_until_then
            .iter()
            .eq(failing.iter().map(|name| **name)),
        "until the limit deploy names {named_until_then:?}, planted were {failing:?}"
    );
    let left_out = of(&stopped, "left out").len();
    ensure!(
        left_out == names.len() - told.len(),
        "{left_out} machines were left out, of {} that were to be",
        names.len() - told.len()
    );

    let calls = whole.calls as f64 / names.len() as f64;
    Ok(json!({
        "rollout_s": rounded(whole.time.as_secs_f64()),
        "calls": whole.calls,
        "calls_a_machine": rounded(calls),
        "over_quota": whole.over_quota,
        "failing_named": named.len(),
        "failing_planted": planted.len(),
        "peak_rss_mb": rounded(whole.peak_rss.max(stopped.peak_rss) as f64 / 1e6),
        "limited": {
            "rollout_s": rounded(stopped.time.as_secs_f64()),
            "calls": stopped.calls,
            "max_failures": limit.parse::<usize>()?,
            "failing_named": named_until_then.len(),
            "told": told.len(),
            "left_out": left_out,
        },
    }))
}

/// The system of a machine, in a round of the bench.
fn system(round: usize, index: usize, name: &str) -> String {
    format!(
        "/nix/store/{:032}-nixos-system-{name}",
        round * 100_000 + index
    )
}

fn quota() -> Settings {
    Settings {
        requests_per_minute: [("compute.googleapis.com".to_owned(), REQUESTS_PER_MINUTE)].into(),
        ..Settings::default()
    }
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// Builds the programs that are measured as this one was built, and says where they are.
fn build() -> Result<PathBuf> {
    let own = env::current_exe()?;
    let programs = own.parent().context("this program is in no folder")?;
    let target = programs.parent();
    let target = target.context("this program is in no target folder of cargo")?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "-p", "xtask", "-p", "google"]);
    if programs.ends_with("release") {
        build.arg("--release");
    }
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
    Ok(programs.to_owned())
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
            "metadata": {"items": [{"key": "enable-guest-attributes", "value": "TRUE"}]},
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
    /// Makes a nix that takes everything for built, and evaluates to what was wished for last.
    fn make_nix(&self) -> Result<()> {
        let folder = self.folder.path().join("bin");
        fs::create_dir(&folder)?;
        let script = format!(
            "#!/bin/sh\ncase $1 in\neval) cat '{}' ;;\n\
             path-info) for word; do case $word in /nix/store/*) echo \"$word\" ;; esac; done ;;\nesac\n",
            self.folder.path().join("systems").display()
        );
        fs::write(folder.join("nix"), script)?;
        fs::set_permissions(folder.join("nix"), fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Has these machines' systems evaluate to those of a round.
    fn wish(&self, names: &[String], round: usize) -> Result<()> {
        let systems = names.iter().enumerate().map(|(index, name)| {
            let out = system(round, index, name);
            (
                name.clone(),
                json!({"drvPath": format!("{out}.drv"), "outPath": out}),
            )
        });
        let systems: serde_json::Map<_, _> = systems.collect();
        fs::write(
            self.folder.path().join("systems"),
            Value::from(systems).to_string(),
        )?;
        Ok(())
    }

    /// Announces the systems of a round in the bucket, as an earlier `deploy` would have.
    fn publish(&self, names: &[String], round: usize) -> Result<()> {
        let (url, bucket) = (self.sim.url(), format!("{PROJECT}-workspace-cache"));
        let agent = ureq::agent();
        let post = |path: &str| {
            let request = agent.post(format!("{url}/{path}"));
            request.header("Authorization", "Bearer deployer")
        };
        if round == 1 {
            let made = post(&format!("storage/v1/b?project={PROJECT}"));
            made.send_json(json!({"name": bucket}))?;
        }
        for (index, name) in names.iter().enumerate() {
            let path = system(round, index, name);
            let hash = &path["/nix/store/".len()..][..32];
            let name = format!("uploadType=media&name={hash}.narinfo");
            post(&format!("upload/storage/v1/b/{bucket}/o?{name}")).send(path)?;
        }
        Ok(())
    }

    /// Runs a verb of xtask, which must succeed.
    fn run(&self, words: &[&str]) -> Result<Run> {
        self.run_to(words, 0)
    }

    /// Runs a verb of xtask, which must end with this status.
    fn run_to(&self, words: &[&str], expected: i32) -> Result<Run> {
        eprintln!("xtask {}", words.join(" "));
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(
            [self.programs.clone(), self.folder.path().join("bin")]
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
            .env(
                "GOOGLE_STORAGE_CUSTOM_ENDPOINT",
                format!("{}/storage/v1/", self.sim.url()),
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
            status.code() == Some(expected),
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
