//! `diff`: what would change on a machine if this checkout were deployed to it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    agents, argv,
    cli::{Cli, DiffArgs},
    cloud::Machine,
    error::Kind,
    output,
    process::{self, Argv},
    stack::Stack,
    systems,
};

/// A package whose size changes by less, in bytes, and whose version does not, was only built anew.
const SAME: u64 = 8 << 10;

/// What nixpkgs calls the parts that a package is split into.
const OUTPUTS: [&str; 8] = [
    "-bin", "-data", "-dev", "-dist", "-doc", "-info", "-lib", "-man",
];

/// A store path of a closure.
#[derive(Debug, Deserialize)]
struct Part {
    path: String,
    /// Bytes, unpacked.
    size: u64,
}

/// What becomes of a package.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Change {
    package: String,
    from: Vec<String>,
    to: Vec<String>,
    /// How much more it takes.
    bytes: i64,
}

/// Builds, and compares with what the machine says it runs.
pub fn run(cli: &Cli, args: &DiffArgs) -> Result<()> {
    let stack = Stack::read(cli)?;
    let name = args.name.as_str();
    stack.workspace(name)?;
    if cli.dry_run {
        let cloud = &stack.cloud;
        let commands = [
            cloud.command(cloud.machines_command()),
            cloud.command(agents::reports_command(cloud, &[format!("ZONE/{name}")])),
            systems::eval_command(&[name]),
            systems::sizes_command("WANTED"),
            cloud.command(closure_command(&stack, "RUNNING")),
        ];
        output::plan(cli, &commands);
        return Ok(());
    }
    let machine = stack.machine(name)?;
    let running = running(&stack, &machine)?;
    let built = systems::build(&stack, &[name])?;
    let wanted = &built
        .get(name)
        .context("nix has built something else")?
        .out_path;
    let changes = if running == *wanted {
        Vec::new()
    } else {
        changes(&cached(&stack, name, &running)?, &local(&stack, wanted)?)
    };
    if cli.json {
        let result =
            json!({ "workspace": name, "running": running, "wanted": wanted, "packages": changes });
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else if running == *wanted {
        println!("{name} runs what this checkout has");
    } else {
        print!("{}", text(&changes));
    }
    Ok(())
}

/// What a machine runs, as its agent says, else what it was told to.
fn running(stack: &Stack, machine: &Machine) -> Result<String> {
    let reports = agents::reports(&stack.cloud, &[machine])?;
    let said = reports
        .get(&machine.name)
        .map(|report| report.system.as_str());
    if let Some(said) = said.filter(|said| is_store_path(said)) {
        return Ok(said.to_owned());
    }
    let told = machine.wanted().filter(|told| is_store_path(told));
    let told = told.ok_or_else(|| {
        let what = format!(
            "{} says nothing of what it runs, and was told nothing",
            machine.name
        );
        Kind::Failed.error(what, "See whether it is on: cargo xtask status")
    })?;
    eprintln!(
        "{} says nothing of what it runs: compared with what it was told",
        machine.name
    );
    Ok(told.to_owned())
}

/// Whether it may be a word of a command: any process on a machine can write what its agent says.
fn is_store_path(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-._?=".contains(c);
    text.strip_prefix("/nix/store/")
        .is_some_and(|name| name.len() > 33 && name.chars().all(plain))
}

fn closure_command(stack: &Stack, path: &str) -> Argv {
    argv!["cache", "closure", stack.cloud.cache_bucket(), path]
}

/// The closure of what runs, as the bucket has it; else as this machine's store has it.
fn cached(stack: &Stack, name: &str, path: &str) -> Result<Vec<Part>> {
    let closure: Option<Vec<Part>> = stack.cloud.ask(closure_command(stack, path))?;
    if let Some(closure) = closure {
        return Ok(closure);
    }
    local(stack, path).map_err(|_| {
        Kind::Failed.error(
            format!("what {name} runs is neither in the bucket nor in this machine's store: {path}"),
            "It is so of a machine that still runs its image. Give it a first system: cargo xtask deploy NAME",
        )
    })
}

fn local(stack: &Stack, path: &str) -> Result<Vec<Part>> {
    let text = process::read(&stack.root, &systems::sizes_command(path))?;
    let part = |line: &str| {
        let (path, size) = line.split_once(char::is_whitespace)?;
        let (path, size) = (path.to_owned(), size.trim().parse().ok()?);
        Some(Part { path, size })
    };
    let parts: Option<Vec<_>> = text.lines().map(part).collect();
    parts.context("nix's answer is unreadable")
}

/// `/nix/store/HASH-glibc-2.40-66-bin` → `glibc`, `2.40-66`: the version begins with the first digit behind a hyphen.
fn name_and_version(path: &str) -> (&str, &str) {
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = name.split_once('-').map_or(name, |(_, name)| name);
    let mut name = name;
    for output in OUTPUTS {
        name = name.strip_suffix(output).unwrap_or(name);
    }
    let bytes = name.as_bytes();
    let at = (1..bytes.len()).find(|&at| bytes[at - 1] == b'-' && bytes[at].is_ascii_digit());
    match at {
        Some(at) => (&name[..at - 1], &name[at..]),
        None => (name, ""),
    }
}

fn changes(from: &[Part], to: &[Part]) -> Vec<Change> {
    #[derive(Default)]
    struct Side<'a> {
        versions: BTreeSet<&'a str>,
        bytes: u64,
    }
    let mut packages: BTreeMap<&str, [Side; 2]> = BTreeMap::new();
    for (side, parts) in [from, to].into_iter().enumerate() {
        for part in parts {
            let (name, version) = name_and_version(&part.path);
            let side = &mut packages.entry(name).or_default()[side];
            side.versions.insert(version);
            side.bytes += part.size;
        }
    }
    packages.retain(|_, [from, to]| {
        from.versions != to.versions || from.bytes.abs_diff(to.bytes) >= SAME
    });
    let words = |side: &Side| side.versions.iter().map(|&word| word.to_owned()).collect();
    let change = |(package, [from, to]): (&str, [Side; 2])| Change {
        package: package.to_owned(),
        from: words(&from),
        to: words(&to),
        bytes: to.bytes.cast_signed() - from.bytes.cast_signed(),
    };
    packages.into_iter().map(change).collect()
}

fn text(changes: &[Change]) -> String {
    let versions = |versions: &[String]| match versions {
        [] => "-".to_owned(),
        [one] if one.is_empty() => "there".to_owned(),
        all => all.join(", "),
    };
    let mut rows = vec![["PACKAGE", "SIZE", "FROM", "TO"].map(String::from)];
    rows.extend(changes.iter().map(|change| {
        let size = difference(change.bytes);
        [
            change.package.clone(),
            size,
            versions(&change.from),
            versions(&change.to),
        ]
    }));
    let total = changes.iter().map(|change| change.bytes).sum();
    format!(
        "{}\n{}, {}\n",
        output::table(&rows),
        output::count(changes.len(), "package"),
        difference(total)
    )
}

fn difference(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "+" };
    format!("{sign}{}", output::bytes(bytes.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, size: u64) -> Part {
        let path = format!("/nix/store/{}-{name}", "a".repeat(32));
        Part { path, size }
    }

    #[test]
    fn a_version_begins_with_the_first_digit_behind_a_hyphen() {
        for (name, expected) in [
            ("glibc-2.40-66-bin", ("glibc", "2.40-66")),
            ("python3-3.13.1", ("python3", "3.13.1")),
            ("unit-nginx.service", ("unit-nginx.service", "")),
            ("nixos-system-alice-26.05", ("nixos-system-alice", "26.05")),
        ] {
            assert_eq!(name_and_version(&part(name, 0).path), expected);
        }
    }

    #[test]
    fn only_what_changes_its_version_or_size_is_told() {
        let from = [
            part("curl-8.1", 1000),
            part("git-2.50", 5000),
            part("etc", 10),
            part("old-1", 7),
        ];
        let to = [
            part("curl-8.2", 900),
            part("git-2.50", 5001),
            part("etc", 20000),
            part("new-2", 8),
        ];
        let told: Vec<_> = changes(&from, &to)
            .into_iter()
            .map(|change| (change.package, change.bytes))
            .collect();
        let expected = [("curl", -100), ("etc", 19990), ("new", 8), ("old", -7)];
        assert_eq!(told, expected.map(|(name, bytes)| (name.to_owned(), bytes)));
    }

    #[test]
    fn what_a_machine_says_cannot_be_an_option_of_a_command() {
        assert!(is_store_path(&part("nixos-system-alice-26.05", 0).path));
        for bad in [
            "--help",
            "/nix/store/--help",
            "/nix/store/../../etc/passwd-0123456789012345678901234",
            "",
        ] {
            assert!(!is_store_path(bad), "{bad}");
        }
    }
}
