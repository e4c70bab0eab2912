//! The lane `terraform`: formatting, validity and tests of the roots, and two linters where they are installed.

use std::{ffi::OsString, fs, path::Path};

use crate::{
    argv,
    process::{self, Argv},
    tools::{self, Found, TERRAFORM},
};

/// The roots, in the order in which they are applied.
const ROOTS: [&str; 3] = ["foundation", "homes", "fleet"];

/// `init` writes beside the code: it works on a copy.
const COPY: &str = "target/terraform/test";

/// Why the lane has to be skipped here.
pub fn hindrance(root: &Path) -> Option<String> {
    let name = match tools::find(&TERRAFORM) {
        Found::Good(path, _) => path.into_os_string(),
        Found::Missing => {
            return Some("no tofu or terraform on this machine: cargo xtask doctor".to_owned());
        }
        Found::TooOld(path, version) => {
            let path = path.display();
            return Some(format!("{path} {version} is too old: cargo xtask doctor"));
        }
        Found::Broken(path, what) => return Some(format!("{}: {what}", path.display())),
    };
    // Another failure comes again when the lane runs, and is seen there.
    init_error(root, &name).filter(|text| of_registry(text))?;
    let what = "the provider hashicorp/google cannot be had: its registry does not answer";
    Some(what.to_owned())
}

fn of_registry(error: &str) -> bool {
    // Messages come in a frame, wrapped.
    let words: Vec<_> = error.split_whitespace().filter(|w| *w != "│").collect();
    let error = words.join(" ");
    [
        "could not connect to",
        "could not query provider registry",
        "failed to retrieve",
    ]
    .iter()
    .any(|phrase| error.contains(phrase))
}

/// What `init` says when it fails.
fn init_error(root: &Path, program: &OsString) -> Option<String> {
    let folder = root.join("target/terraform/provider");
    fs::create_dir_all(&folder).ok()?;
    let requirements = root.join("terraform/foundation/terraform.tf");
    fs::copy(requirements, folder.join("terraform.tf")).ok()?;
    // Written by another provider of the same version, it would be refused.
    let _ = fs::remove_file(folder.join(".terraform.lock.hcl"));
    let mut command = argv![program, chdir(&folder.to_string_lossy())];
    command.extend(init());
    let output = process::probe(&command).ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(text)
}

fn chdir(folder: &str) -> OsString {
    format!("-chdir={folder}").into()
}

fn init() -> Argv {
    argv!["init", "-no-color", "-backend=false", "-input=false"]
}

/// Its commands.
pub fn commands() -> Vec<Argv> {
    let program = match tools::find(&TERRAFORM) {
        Found::Good(path, _) => path.file_name().expect("a program is a file").to_owned(),
        _ => "terraform".into(),
    };
    let there = |linter: &str| which::which(linter).is_ok();
    commands_of(&program, there("tflint"), there("checkov"))
}

fn commands_of(program: &OsString, tflint: bool, checkov: bool) -> Vec<Argv> {
    let mut commands = vec![
        argv![program, "fmt", "-check", "-diff", "-recursive", "terraform"],
        argv!["rm", "-rf", COPY],
        argv!["mkdir", "-p", "target/terraform"],
        argv!["cp", "-R", "terraform", COPY],
    ];
    for root in ROOTS {
        for words in [
            init(),
            argv!["validate", "-no-color"],
            argv!["test", "-no-color"],
        ] {
            let mut command = argv![program, chdir(&format!("{COPY}/{root}"))];
            command.extend(words);
            commands.push(command);
        }
    }
    commands.push(argv![
        "cargo",
        "test",
        "--package",
        "xtask",
        "--test",
        "terraform_plans",
        "--",
        "--ignored"
    ]);
    if tflint {
        // Its --recursive takes the configuration of each folder, and there is none.
        for (folder, up) in [("modules/machine-type", "../..")]
            .into_iter()
            .chain(ROOTS.map(|root| (root, "..")))
        {
            commands.push(argv![
                "tflint",
                format!("--chdir=terraform/{folder}"),
                format!("--config={up}/.tflint.hcl")
            ]);
        }
    }
    if checkov {
        commands.push(argv![
            "checkov",
            "--directory",
            "terraform",
            "--framework",
            "terraform",
            "--skip-download",
            "--compact",
            "--quiet"
        ]);
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::display;

    #[test]
    fn a_registry_that_does_not_answer_is_told_from_a_wrong_version() {
        assert!(of_registry(
            "╷\n│ Error: Failed to query available provider packages\n│\n│ Could not retrieve the list of available \
             versions for provider\n│ hashicorp/google: could not\n│ connect to registry.terraform.io: failed to\n╵\n"
        ));
        assert!(!of_registry(
            "╷\n│ Error: Failed to query available provider packages\n│\n│ Could not retrieve the list of available \
             versions for provider\n│ hashicorp/google: no available releases match the given constraints ~> 99.0\n╵\n"
        ));
    }

    #[test]
    fn the_roots_are_checked_in_a_copy_and_by_the_linters_that_are_there() {
        let lines = |tflint, checkov| -> Vec<_> {
            let commands = commands_of(&"tofu".into(), tflint, checkov);
            commands.iter().map(|command| display(command)).collect()
        };
        let without = [
            "tofu fmt -check -diff -recursive terraform",
            "rm -rf target/terraform/test",
            "mkdir -p target/terraform",
            "cp -R terraform target/terraform/test",
            "tofu -chdir=target/terraform/test/foundation init -no-color -backend=false -input=false",
            "tofu -chdir=target/terraform/test/foundation validate -no-color",
            "tofu -chdir=target/terraform/test/foundation test -no-color",
            "tofu -chdir=target/terraform/test/homes init -no-color -backend=false -input=false",
            "tofu -chdir=target/terraform/test/homes validate -no-color",
            "tofu -chdir=target/terraform/test/homes test -no-color",
            "tofu -chdir=target/terraform/test/fleet init -no-color -backend=false -input=false",
            "tofu -chdir=target/terraform/test/fleet validate -no-color",
            "tofu -chdir=target/terraform/test/fleet test -no-color",
            "cargo test --package xtask --test terraform_plans -- --ignored",
        ];
        assert_eq!(lines(false, false), without);
        let mut with = without.to_vec();
        with.extend([
            "tflint --chdir=terraform/modules/machine-type --config=../../.tflint.hcl",
            "tflint --chdir=terraform/foundation --config=../.tflint.hcl",
            "tflint --chdir=terraform/homes --config=../.tflint.hcl",
            "tflint --chdir=terraform/fleet --config=../.tflint.hcl",
        ]);
        with.push(
            "checkov --directory terraform --framework terraform --skip-download --compact --quiet",
        );
        assert_eq!(lines(true, true), with);
    }
}
