//! `password`: the password of a workspace's login. It is in Secret Manager and nowhere else: this prints it on stdout.

use std::{fs::File, io::Read};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

use crate::{
    argv,
    cli::{Cli, PasswordArgs},
    error::Kind,
    fleet::Login,
    output,
    process::Argv,
    stack::Stack,
};

/// Without those that are taken for one another. 32, so that five bits choose one.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// 24 letters of five bits: 120 bits.
const LENGTH: usize = 24;

/// Prints it, made anew with `--rotate`.
pub fn run(cli: &Cli, args: &PasswordArgs) -> Result<()> {
    let stack = Stack::read(cli)?;
    stack.workspace(&args.name)?;
    match stack.fleet.access.login {
        Some(Login::Password) => {}
        Some(Login::Google) => {
            return Err(Kind::Usage.error(
                "this fleet logs in by Google account, without passwords",
                "Open it: cargo xtask open NAME",
            ));
        }
        None => {
            return Err(Kind::Usage.error(
                "this fleet is private: IAM decides who gets in, without passwords",
                "Open it: cargo xtask open NAME",
            ));
        }
    }
    let secret = format!("workspace-{}-password", args.name);
    let verb = if args.rotate { "replace" } else { "access" };
    let words = argv!["secrets", verb, &secret, "--project", &stack.cloud.project];
    if cli.dry_run {
        output::plan(cli, &[stack.cloud.command(words)]);
        return Ok(());
    }
    let password = if args.rotate {
        let password = make()?;
        stack.cloud.tell_with(words, &password)?;
        eprintln!("the machine takes it within minutes");
        password
    } else {
        #[derive(Deserialize)]
        struct Secret {
            text: String,
        }
        let secret: Option<Secret> = stack.cloud.ask(words)?;
        let missing = || {
            Kind::Failed.error(
                format!("{} has no password yet", args.name),
                "Make one: cargo xtask up",
            )
        };
        secret.ok_or_else(missing)?.text
    };
    if cli.json {
        println!("{}", json!({ "name": args.name, "password": password }));
    } else {
        println!("{password}");
    }
    Ok(())
}

/// Gives a secret that holds nothing a new password.
///
/// # Errors
/// As [`crate::process::ask`].
pub fn ensure(stack: &Stack, secret: &str) -> Result<()> {
    stack.cloud.tell_with(ensure_words(stack, secret), &make()?)
}

/// The command of [`ensure`].
pub fn ensure_words(stack: &Stack, secret: &str) -> Argv {
    argv![
        "secrets",
        "ensure",
        secret,
        "--project",
        &stack.cloud.project
    ]
}

/// A new one: 24 letters and digits in groups of four.
///
/// # Errors
/// The system's source of randomness cannot be read.
pub fn make() -> Result<String> {
    let mut bytes = [0; LENGTH];
    let source = "/dev/urandom";
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .with_context(|| format!("cannot read {source}"))?;
    Ok(spell(&bytes))
}

/// Letters in groups of four, which can be read to somebody.
fn spell(bytes: &[u8]) -> String {
    let letters: Vec<_> = bytes
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect();
    letters
        .chunks(4)
        .map(|group| group.iter().collect::<String>())
        .collect::<Vec<_>>()
        .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_of_120_bits_and_never_the_same() {
        let password = make().unwrap();
        assert_eq!(password.len(), 29, "{password}");
        assert!(
            password.bytes().all(|c| c == b'-' || LETTERS.contains(&c)),
            "{password}"
        );
        assert_ne!(password, make().unwrap());
        let every_letter: Vec<u8> = (0..32).collect();
        assert_eq!(spell(&every_letter).replace('-', "").as_bytes(), LETTERS);
    }
}
