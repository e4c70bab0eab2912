//! `images`: what `push` has made, and who uses it.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::json;

use crate::{
    cli::{BucketArg, Cli},
    cloud::{Cloud, Image, REVISION},
    fleet::Fleet,
    output, project,
};

/// Prints the table.
pub fn run(cli: &Cli) -> Result<()> {
    let fleet = Fleet::read(&project::fleet_file(cli)?)?;
    let cloud = Cloud::of(&fleet, &project::root(cli)?, &BucketArg { bucket: None });
    if cli.dry_run {
        output::plan(cli, &[cloud.command(cloud.list_command())]);
        return Ok(());
    }
    let images = cloud.images()?;
    if cli.json {
        let rows: Vec<_> = images.iter().map(as_json).collect();
        println!(
            "{}",
            serde_json::to_string_pretty(&json!({ "images": rows }))?
        );
    } else if images.is_empty() {
        eprintln!("{} has no workspace images", cloud.project);
        eprintln!("next    cargo xtask push");
    } else {
        print!("{}", table(&images, now()));
    }
    Ok(())
}

fn as_json(image: &Image) -> serde_json::Value {
    json!({
        "name": image.name,
        "family": image.family,
        "status": image.status,
        "created": image.created,
        "bytes": image.archive_size_bytes,
        "revision": image.labels.get(REVISION),
        "used_by": image.used_by,
    })
}

/// Images in rows, with their ages at this time in seconds since 1970.
fn table(images: &[Image], now: i64) -> String {
    let mut rows = vec![["NAME", "FAMILY", "AGE", "SIZE", "REVISION", "USED BY"].map(String::from)];
    for image in images {
        let size = match image.status.as_str() {
            "READY" => output::bytes(image.archive_size_bytes),
            other => other.to_owned(),
        };
        rows.push([
            image.name.clone(),
            image.family.clone().unwrap_or_default(),
            age(now - image.created),
            size,
            image
                .labels
                .get(REVISION)
                .map_or("-".to_owned(), |r| short(r)),
            image.used_by.join(", "),
        ]);
    }
    output::table(&rows)
}

/// As git shortens them; a work tree with changes stays recognisable.
fn short(revision: &str) -> String {
    match revision.split_once('-') {
        Some((commit, rest)) => format!("{}-{rest}", commit.get(..8).unwrap_or(commit)),
        None => revision.get(..8).unwrap_or(revision).to_owned(),
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| time.as_secs().cast_signed())
}

/// Seconds as an age for people, in its largest unit.
pub fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s if s < 60 => format!("{s} s"),
        s if s < 3600 => format!("{} min", s / 60),
        s if s < 2 * 86400 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86400),
    }
}
