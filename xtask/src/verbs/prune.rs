//! `prune`: deletes images that nobody needs, and what was uploaded for them.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::json;

use crate::{
    argv,
    cli::{Cli, PruneArgs},
    cloud::{Cloud, Image, Object},
    fleet::Fleet,
    output,
    process::Argv,
    project,
    verbs::images::{age, now},
};

/// An upload without an image may belong to a run that has yet to register it. One older than this, in seconds, does not.
const UNREGISTERED: i64 = 86400;

/// Decides, shows, deletes.
pub fn run(cli: &Cli, args: &PruneArgs) -> Result<()> {
    let fleet = Fleet::read(&project::fleet_file(cli)?)?;
    let cloud = Cloud::of(&fleet, &project::root(cli)?, &args.bucket);
    let images = cloud.images()?;
    let objects: Vec<Object> = cloud.ask(argv!["objects", "list", cloud.url("")])?;
    let now = now();
    let verdicts = verdicts(&images, args.keep as usize);
    let old_images: Vec<&Image> = verdicts
        .iter()
        .filter(|(_, reason)| reason.is_none())
        .map(|(image, _)| *image)
        .collect();
    let kept = verdicts.iter().filter(|(_, reason)| reason.is_some());
    let kept: Vec<&str> = kept.map(|(image, _)| image.name.as_str()).collect();
    let old_names: Vec<&str> = old_images.iter().map(|image| image.name.as_str()).collect();
    let old_objects: Vec<&Object> = objects
        .iter()
        .filter(|object| is_old(object, &kept, &old_names, now))
        .collect();

    let commands = commands(&cloud, &old_names, &old_objects);
    if cli.dry_run {
        let commands: Vec<_> = commands.into_iter().map(|c| cloud.command(c)).collect();
        output::plan(cli, &commands);
        return Ok(());
    }
    for command in commands {
        cloud.tell(command)?;
    }
    if cli.json {
        let objects: Vec<_> = old_objects.iter().map(|object| &object.name).collect();
        let result = json!({ "deleted": old_names, "kept": kept, "objects": objects });
        println!("{}", serde_json::to_string_pretty(&result)?);
        return Ok(());
    }
    let mut rows = vec![["NAME", "AGE", "VERDICT"].map(String::from)];
    for (image, reason) in &verdicts {
        let verdict = match reason {
            Some(reason) => format!("kept: {reason}"),
            None => "deleted".to_owned(),
        };
        rows.push([image.name.clone(), age(now - image.created), verdict]);
    }
    if !verdicts.is_empty() {
        print!("{}", output::table(&rows));
    }
    let freed = old_objects.iter().map(|object| object.size).sum::<u64>()
        + old_images
            .iter()
            .map(|image| image.archive_size_bytes)
            .sum::<u64>();
    println!(
        "{} and {} deleted, {} freed",
        count(old_names.len(), "image"),
        count(old_objects.len(), "upload"),
        output::bytes(freed)
    );
    Ok(())
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Each image with the reason to keep it, if there is one. Images come the newest first.
fn verdicts(images: &[Image], keep: usize) -> Vec<(&Image, Option<String>)> {
    let mut ready_in: BTreeMap<&str, usize> = BTreeMap::new();
    let mut current_in: BTreeMap<&str, usize> = BTreeMap::new();
    let judge = |image| {
        let image: &Image = image;
        let family = image.family.as_deref().unwrap_or_default();
        let ready = image.status == "READY";
        // Of a family new machines get the newest that is not deprecated.
        let current = ready && image.deprecated.is_none() && {
            let count = current_in.entry(family).or_default();
            *count += 1;
            *count == 1
        };
        let among_newest = ready && {
            let count = ready_in.entry(family).or_default();
            *count += 1;
            *count <= keep
        };
        let reason = if !image.used_by.is_empty() {
            Some(format!("used by {}", image.used_by.join(", ")))
        } else if current {
            Some(format!("newest of {family}"))
        } else if among_newest {
            Some(format!("one of the {keep} newest of {family}"))
        } else if image.status == "PENDING" {
            Some("being made".to_owned())
        } else {
            None
        };
        (image, reason)
    };
    images.iter().map(judge).collect()
}

/// Whether an object is an upload that no kept image was made from.
fn is_old(object: &Object, kept: &[&str], deleted: &[&str], now: i64) -> bool {
    let stem = object.name.strip_suffix(".tar.gz");
    let Some((image, hash)) = stem.and_then(|stem| stem.rsplit_once('-')) else {
        return false;
    };
    let is_hash = |text: &str| text.len() == 12 && text.chars().all(|c| c.is_ascii_alphanumeric());
    // Not one of ours: the bucket may hold other things.
    if !is_hash(hash)
        || !image
            .rsplit_once('-')
            .is_some_and(|(_, hash)| is_hash(hash))
    {
        return false;
    }
    deleted.contains(&image) || !kept.contains(&image) && now - object.created > UNREGISTERED
}

/// Images first: an upload without its image is found again by the next run, an image without its upload is whole.
fn commands(cloud: &Cloud, images: &[&str], objects: &[&Object]) -> Vec<Argv> {
    let mut commands = Vec::new();
    if !images.is_empty() {
        let mut command = argv!["images", "delete", "--project", &cloud.project];
        command.extend(images.iter().map(Into::into));
        commands.push(command);
    }
    if !objects.is_empty() {
        let mut command = argv!["objects", "delete"];
        command.extend(objects.iter().map(|object| cloud.url(&object.name).into()));
        commands.push(command);
    }
    commands
}
