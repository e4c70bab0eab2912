//! `cache key`: the key that systems are signed with.

use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

use crate::{
    argv,
    cli::Cli,
    stack::Stack,
    systems::{self, PUBLIC_KEY, SECRET},
    verbs::image,
};

/// Makes the key unless there is one, and writes its public half where the machines' configuration finds it.
pub fn key(cli: &Cli) -> Result<()> {
    #[derive(Deserialize)]
    struct Secret {
        text: String,
    }
    let stack = Stack::read(cli)?;
    image::need_nix()?;
    let project = &stack.cloud.project;
    stack
        .cloud
        .tell(argv!["secrets", "make", SECRET, "--project", project])?;
    let access = argv!["secrets", "access", SECRET, "--project", project];
    let mut secret: Option<Secret> = stack.cloud.ask(access.clone())?;
    if secret.is_none() {
        let made = systems::generate_key(&stack, &format!("{project}-1"))?;
        let ensure = argv!["secrets", "ensure", SECRET, "--project", project];
        stack.cloud.tell_with(ensure, &made)?;
        // Somebody else may have been quicker.
        secret = stack.cloud.ask(access)?;
    }
    let secret = secret.context("Secret Manager does not give back what was put there")?;
    let public = systems::public_key(&stack, &secret.text)?;
    let file = stack.root.join(PUBLIC_KEY);
    let context = || format!("cannot write {}", file.display());
    fs::create_dir_all(file.parent().unwrap_or(&stack.root)).with_context(context)?;
    fs::write(&file, format!("{public}\n")).with_context(context)?;
    eprintln!(
        "written to {PUBLIC_KEY}; commit it: machines accept what is signed with its secret half"
    );
    if cli.json {
        println!("{}", json!({ "public_key": public }));
    } else {
        println!("{public}");
    }
    Ok(())
}
