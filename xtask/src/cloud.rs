//! What the verbs ask of Google Cloud, through the program `google`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, de::DeserializeOwned};
use std::collections::BTreeMap;

use crate::{
    argv,
    cli::BucketArg,
    fleet::Fleet,
    process::{self, Argv},
    project,
};

/// The label that marks an image as one of ours: the hash of the derivation that it was built from.
pub const DERIVATION: &str = "derivation";

/// The label with the revision of the flake.
pub const REVISION: &str = "flake-revision";

/// A project, and how to reach it.
pub struct Cloud {
    root: PathBuf,
    /// Its id.
    pub project: String,
    /// Where new things go.
    pub region: String,
    /// The bucket that images pass through.
    pub bucket: String,
}

/// An image of Compute Engine.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    pub name: String,
    /// PENDING, READY, FAILED or DELETING.
    pub status: String,
    #[serde(default)]
    pub family: Option<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Seconds since 1970.
    pub created: i64,
    #[serde(default)]
    pub archive_size_bytes: u64,
    #[serde(default)]
    pub deprecated: Option<serde_json::Value>,
    /// Machines and loose disks that were made from it.
    #[serde(default)]
    pub used_by: Vec<String>,
}

/// An object of Cloud Storage.
#[derive(Debug, Deserialize)]
pub struct Object {
    pub name: String,
    pub size: u64,
    /// Seconds since 1970.
    pub created: i64,
}

impl Cloud {
    /// The project of the fleet.
    pub fn of(fleet: &Fleet, root: &Path, bucket: &BucketArg) -> Self {
        let project = fleet.google.project.clone();
        let default = || format!("{project}-workspace-images");
        Self {
            root: root.to_owned(),
            bucket: bucket.bucket.clone().unwrap_or_else(default),
            region: fleet.google.region.clone(),
            project,
        }
    }

    /// `google` with these words.
    pub fn command(&self, words: Argv) -> Argv {
        let mut command = project::program(&self.root, "google");
        command.extend(words);
        command
    }

    /// What `google` answers to these words.
    ///
    /// # Errors
    /// As [`process::ask`].
    pub fn ask<T: DeserializeOwned>(&self, words: Argv) -> Result<T> {
        let answer = process::ask(&self.root, &self.command(words))?;
        serde_json::from_str(&answer).context("google's answer is unreadable")
    }

    /// Has `google` do this.
    ///
    /// # Errors
    /// As [`process::ask`].
    pub fn tell(&self, words: Argv) -> Result<()> {
        process::ask(&self.root, &self.command(words)).map(drop)
    }

    /// Lists all images of the project.
    pub fn list_command(&self) -> Argv {
        argv!["images", "list", "--project", &self.project]
    }

    /// The images that `push` made, the newest first.
    ///
    /// # Errors
    /// As [`process::ask`].
    pub fn images(&self) -> Result<Vec<Image>> {
        let mut images: Vec<Image> = self.ask(self.list_command())?;
        images.retain(|image| image.labels.contains_key(DERIVATION));
        Ok(images)
    }

    /// An object of the bucket.
    pub fn url(&self, object: &str) -> String {
        format!("gs://{}/{object}", self.bucket)
    }
}
