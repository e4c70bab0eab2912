//! `plan`: what `apply` would do, in words.

use anyhow::Result;
use serde_json::json;

use crate::{
    cli::{Cli, ReplaceArg},
    error::Kind,
    output,
    stack::{self, Stack},
    terraform::{self, Mode, Plan, ROOTS, Root},
    verbs::apply,
};

/// Plans the three roots and prints the result.
pub fn run(cli: &Cli, args: &ReplaceArg) -> Result<()> {
    let stack = Stack::read(cli)?;
    stack::need_sources(&stack.root)?;
    let replace = stack.addresses(&args.replace_workspaces)?;
    if cli.dry_run {
        let commands = ROOTS.map(|root| {
            let mode = apply::mode(root, &replace);
            terraform::plan_commands(&stack.cloud, &stack.root, root, mode, false)
        });
        output::plan(cli, &commands.concat());
        return Ok(());
    }
    let mut terraform = stack.terraform()?;
    if !stack.cloud.has_state()? {
        eprintln!("nothing has been applied in {} yet", stack.cloud.project);
        terraform = terraform.without_bucket();
    }
    let (plans, _) = stack.plan(&terraform, Mode::Normal { replace: &replace })?;
    let refused: Vec<_> = plans
        .iter()
        .flat_map(|(_, plan)| stack::refused(plan, &replace))
        .collect();
    if cli.json {
        let changes = plans
            .iter()
            .map(|(root, plan)| (root.name(), json!(plan.changes)));
        let changes: serde_json::Map<_, _> = changes
            .map(|(root, changes)| (root.to_owned(), changes))
            .collect();
        let clean = plans.iter().all(|(_, plan)| plan.is_empty);
        let result = json!({ "clean": clean, "changes": changes, "refused": refused });
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        print!("{}", text(&plans));
    }
    if refused.is_empty() {
        return Ok(());
    }
    Err(Kind::Failed.error(
        format!("apply would refuse to lose: {}", refused.join(", ")),
        "A machine takes --replace-workspaces NAME; a home disk goes by cargo xtask destroy --destroy-home-disks NAME.",
    ))
}

/// Plans in words: the changes, and their number.
pub fn text(plans: &[(Root, Plan)]) -> String {
    let rows: Vec<_> = plans
        .iter()
        .flat_map(|(root, plan)| terraform::rows(*root, plan))
        .collect();
    if rows.is_empty() {
        let only_outputs = plans.iter().any(|(_, plan)| !plan.is_empty);
        let also = if only_outputs {
            "; only terraform's records change"
        } else {
            ""
        };
        return format!("nothing changes{also}\n");
    }
    let mut text = output::table(&rows);
    let counted = [
        ("to make", terraform::Action::Make),
        ("to change", terraform::Action::Change),
        ("to replace", terraform::Action::Replace),
        ("to destroy", terraform::Action::Destroy),
    ];
    let counts = counted.map(|(words, action)| {
        let changes = plans.iter().flat_map(|(_, plan)| &plan.changes);
        format!(
            "{} {words}",
            changes.filter(|change| change.action == action).count()
        )
    });
    text.push_str(&format!("\n{}\n", counts.join(", ")));
    text
}
