//! Every file of the corpus in `tests/fleet` gets the verdict that it is there for, and the same one from Nix.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use support::{root, xtask};

fn corpus(folder: &str) -> Vec<PathBuf> {
    let folder = root().join("tests/fleet").join(folder);
    let entries = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some()).collect();
    assert!(!files.is_empty(), "{folder:?}");
    files.sort();
    files
}

/// The key paths that a refusal names, in the order of the text.
fn refused_keys(file: &Path, stderr: &str) -> Vec<String> {
    let prefix = format!("{}:", file.display());
    let lines = stderr
        .lines()
        .map(|line| line.strip_prefix("error: ").unwrap_or(line));
    let problems = lines.filter_map(|line| line.strip_prefix(&prefix));
    let keys = problems.map(|problem| {
        let what = problem.splitn(3, [':', ' ']).nth(2).unwrap().trim_start();
        what.split_once(": ").map_or("", |(key, _)| key).to_owned()
    });
    keys.collect()
}

#[test]
fn valid_files_are_read() {
    for file in corpus("valid") {
        let done = xtask()
            .args(["fleet", "--json", "--fleet"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}: {}",
            file.display(),
            support::stderr(&done)
        );
    }
}

#[test]
fn invalid_files_are_refused_for_the_key_that_they_name_and_no_other() {
    for file in corpus("invalid")
        .into_iter()
        .chain(corpus("invalid/syntax"))
    {
        let done = xtask()
            .args(["fleet", "--fleet"])
            .arg(&file)
            .output()
            .unwrap();
        let text = support::stderr(&done);
        assert_eq!(done.status.code(), Some(2), "{}: {text}", file.display());
        assert!(done.stdout.is_empty());
        let source = fs::read_to_string(&file).unwrap();
        let expected = source
            .lines()
            .next()
            .unwrap()
            .strip_prefix("# refused:")
            .unwrap()
            .trim();
        assert_eq!(
            refused_keys(&file, &text),
            [expected],
            "{}: {text}",
            file.display()
        );
    }
}

#[test]
fn the_example_in_the_reference_is_read() {
    let text = fs::read_to_string(root().join("docs/fleet.md")).unwrap();
    let example = text
        .split("```toml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fleet.toml");
    fs::write(&file, example).unwrap();
    let done = xtask()
        .args(["fleet", "--fleet"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", support::stderr(&done));
}

#[test]
fn a_refusal_shows_place_line_and_mend() {
    let file = root().join("tests/fleet/invalid/unknown-key.toml");
    let done = xtask()
        .args(["fleet", "--fleet"])
        .arg(&file)
        .output()
        .unwrap();
    let expected = format!(
        "error: {}:12:1: workspaces.alice.machinetype: is not a known key\n   \
         |\n\
         12 | machinetype = \"n2-standard-8\"\n   \
         | ^^^^^^^^^^^\n   \
         = Did you mean machine_type?\n\
         docs/fleet.md explains every key.\n",
        file.display()
    );
    assert_eq!(support::stderr(&done), expected);
}

#[test]
fn all_problems_of_a_file_are_reported_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fleet.toml");
    fs::write(
        &file,
        "[workspaces.A]\nimage = 1\n[google]\nproject = \"x\"\nzones = []\n",
    )
    .unwrap();
    let done = xtask()
        .args(["fleet", "--fleet"])
        .arg(&file)
        .output()
        .unwrap();
    let mut keys = refused_keys(&file, &support::stderr(&done));
    keys.sort();
    let expected = [
        "access.acme_email",
        "google.project",
        "google.region",
        "google.zones",
        "workspaces.A",
        "workspaces.A.image",
        "workspaces.A.owner",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn files_without_a_single_key_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fleet.toml");
    for (bytes, says) in [
        (&b""[..], "the file is empty"),
        (b"a = \"\xff\"\n", "is not UTF-8 text"),
    ] {
        fs::write(&file, bytes).unwrap();
        let done = xtask()
            .args(["fleet", "--fleet"])
            .arg(&file)
            .output()
            .unwrap();
        assert_eq!(done.status.code(), Some(2));
        assert!(support::stderr(&done).contains(says));
    }
    let done = xtask()
        .args(["fleet", "--fleet", "no/such.toml"])
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(2));
    let done = xtask()
        .arg("fleet")
        .current_dir(folder.path().parent().unwrap())
        .output()
        .unwrap();
    assert_eq!(
        done.status.code(),
        Some(2),
        "no fleet.toml from there upwards"
    );
}

#[test]
fn the_nearest_fleet_toml_is_read_and_printed_with_its_defaults() {
    let done = xtask()
        .arg("fleet")
        .current_dir(root().join("xtask/src"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", support::stderr(&done));
    assert_eq!(
        support::stdout(&done),
        "\
project  acme-data-science
region   europe-west4, zones europe-west4-a, then europe-west4-b
access   public, login by password

NAME   OWNER               IMAGE  MACHINE TYPE    BOOT   HOME    IDLE STOP
alice  alice@acme.example  base   n2-standard-8   50 GB  100 GB  120 min
bob    bob@acme.example    cuda   g2-standard-16  50 GB  100 GB  120 min
"
    );
}

/// tests/fleet.nix holds Nix to the rest of the corpus, but nothing in Nix can catch what ends an evaluation.
#[test]
fn nix_refuses_the_same_syntax() {
    let files = corpus("invalid/syntax");
    if which::which("nix").is_err() {
        eprintln!("skipped: no nix on this machine");
        return;
    }
    let refuses = |text: &str| {
        let mut nix = Command::new("nix");
        nix.args([
            "eval",
            "--extra-experimental-features",
            "nix-command flakes",
            "--expr",
            text,
        ]);
        !nix.current_dir(root()).output().unwrap().status.success()
    };
    let read = |source: &str| format!("builtins.fromTOML {}", nix_string(source));
    let valid = fs::read_to_string(&corpus("valid")[0]).unwrap();
    assert!(!refuses(&read(&valid)), "nix does not work here");
    for file in files {
        let source = fs::read_to_string(&file).unwrap();
        assert!(refuses(&read(&source)), "{}", file.display());
    }
}

/// A text as a Nix string literal.
fn nix_string(text: &str) -> String {
    let text = text
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace("${", "\\${");
    format!("\"{text}\"")
}
