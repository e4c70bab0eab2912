//! `open`: a workspace in the browser, a private one through IAP's tunnel.

use anyhow::Result;

use crate::{
    argv,
    cli::{Cli, OpenArgs},
    output,
    process::{self, Argv},
    stack::Stack,
};

/// Opens it.
pub fn run(cli: &Cli, args: &OpenArgs) -> Result<()> {
    let stack = Stack::read(cli)?;
    let workspace = stack.workspace(&args.name)?;
    let Some(domain) = &workspace.domain else {
        return tunnel(cli, &stack, args);
    };
    let url = format!("https://{domain}/");
    let command = argv![opener(), &url];
    if cli.dry_run {
        output::plan(cli, &[command]);
        return Ok(());
    }
    println!("{url}");
    // Without a browser, as by SSH, the link is all there is to give.
    if which::which(opener()).is_ok() {
        process::run(&stack.root, &command)?;
    }
    Ok(())
}

fn tunnel(cli: &Cli, stack: &Stack, args: &OpenArgs) -> Result<()> {
    let list = stack.cloud.command(stack.cloud.machines_command());
    if cli.dry_run {
        output::plan(cli, &[list, tunnel_command(stack, args, "ZONE")]);
        return Ok(());
    }
    let machine = stack.machine(&args.name)?;
    println!("http://localhost:{}/", args.port);
    eprintln!("open until interrupted: Ctrl-C");
    process::interact(&tunnel_command(stack, args, &machine.zone))
}

fn tunnel_command(stack: &Stack, args: &OpenArgs, zone: &str) -> Argv {
    argv![
        "gcloud",
        "compute",
        "start-iap-tunnel",
        &args.name,
        "80",
        format!("--local-host-port=localhost:{}", args.port),
        format!("--zone={zone}"),
        format!("--project={}", stack.cloud.project),
    ]
}

fn opener() -> &'static str {
    if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    }
}
