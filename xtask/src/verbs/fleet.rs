//! `fleet`: prints the fleet as read.

use anyhow::Result;

use crate::{
    cli::Cli,
    fleet::{Access, Exposure, Fleet, Login, Profile},
    output::table,
    project,
};

/// Runs the verb.
pub fn run(cli: &Cli) -> Result<()> {
    let fleet = Fleet::read(&project::fleet_file(cli)?)?;
    if cli.json {
        println!("{}", serde_json::to_string_pretty(&fleet)?);
    } else {
        print!("{}", summary(&fleet));
    }
    Ok(())
}

fn summary(fleet: &Fleet) -> String {
    let google = &fleet.google;
    let facts = [
        ["project".into(), google.project.clone()],
        [
            "region".into(),
            format!("{}, zones {}", google.region, google.zones.join(", then ")),
        ],
        ["access".into(), access(&fleet.access)],
    ];
    let head = [
        "NAME",
        "OWNER",
        "IMAGE",
        "MACHINE TYPE",
        "BOOT",
        "HOME",
        "IDLE STOP",
    ];
    let mut rows = vec![head.map(String::from)];
    rows.extend(fleet.workspaces.values().map(|w| {
        let gpu = w.gpu.as_ref();
        let gpu = gpu.map_or(String::new(), |gpu| {
            format!(" + {} {}", gpu.count, gpu.r#type)
        });
        [
            w.name.clone(),
            w.owner.clone(),
            name_of(w.image).to_owned(),
            format!(
                "{}{gpu}{}",
                w.machine_type,
                if w.spot { ", Spot" } else { "" }
            ),
            format!("{} GB", w.boot_disk_gb),
            format!("{} GB", w.home_disk_gb),
            match w.idle_stop_minutes {
                0 => "never".to_owned(),
                minutes => format!("{minutes} min"),
            },
        ]
    }));
    let workspaces = if fleet.workspaces.is_empty() {
        "no workspaces\n".to_owned()
    } else {
        table(&rows)
    };
    format!("{}\n{workspaces}", table(&facts))
}

fn name_of(profile: Profile) -> &'static str {
    let entry = Profile::ALL.iter().find(|(_, p)| *p == profile);
    entry.expect("every profile has a name").0
}

fn access(access: &Access) -> String {
    let login = match access.login {
        Some(Login::Password) => ", login by password",
        Some(Login::Google) => ", login by Google account",
        None => "",
    };
    match access.exposure {
        Exposure::Public => format!("public{login}"),
        Exposure::Private => "private, through IAP's tunnel only".to_owned(),
    }
}
