//! A Nix binary cache in a bucket: what a folder has that the bucket lacks goes there, each path's
//! contents before the file that announces it.

use crate::{
    error::{Error, Result},
    http::Client,
    storage::Location,
    upload::Upload,
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Uploads made of a binary cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Pushed {
    /// How many store paths.
    pub paths: usize,
    /// Bytes of their contents, compressed.
    pub bytes: u64,
}

impl Client {
    /// Uploads the store paths of a binary cache in a folder that the bucket does not have.
    ///
    /// A `.narinfo` without contents stands for a path that is known to be there, and is left out.
    /// Killed and run again it goes on where it was: a path is announced when it is whole.
    ///
    /// # Errors
    /// As any upload; a file that is named by a `.narinfo` is not there.
    pub fn push_cache(&self, folder: &Path, bucket: &str) -> Result<Pushed> {
        let there: BTreeSet<_> = self
            .objects(&bucket_location(bucket))?
            .into_iter()
            .map(|object| object.name)
            .collect();
        let mut missing = Vec::new();
        for file in files(folder)? {
            let name = file_name(&file);
            if !name.ends_with(".narinfo") || there.contains(&name) {
                continue;
            }
            let text = fs::read_to_string(&file).map_err(|cause| Error::file(&file, cause))?;
            if let Some(nar) = text.lines().find_map(|line| line.strip_prefix("URL: ")) {
                missing.push((name, nar.to_owned()));
            }
        }
        let info = "nix-cache-info";
        if !there.contains(info) {
            self.put(folder, bucket, info)?;
        }
        let results = crate::machines::each(&missing, |(narinfo, nar)| {
            let bytes = if there.contains(nar) {
                0
            } else {
                self.put(folder, bucket, nar)?
            };
            self.put(folder, bucket, narinfo)?;
            Ok(bytes)
        });
        let mut pushed = Pushed::default();
        for result in results {
            pushed.bytes += result?;
            pushed.paths += 1;
        }
        Ok(pushed)
    }

    fn put(&self, folder: &Path, bucket: &str, name: &str) -> Result<u64> {
        let to: Location = format!("gs://{bucket}/{name}")
            .parse()
            .map_err(|what: String| {
                Error::input(what, "Make the cache anew with `nix copy --to file://…`")
            })?;
        let upload = Upload::new(&folder.join(name), to, None)?;
        Ok(self.upload(&upload, &mut |_, _| {})?.size)
    }
}

fn bucket_location(bucket: &str) -> Location {
    Location {
        bucket: bucket.to_owned(),
        name: String::new(),
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let error = |cause| Error::file(folder, cause);
    let entries = fs::read_dir(folder).map_err(error)?;
    entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(error))
        .collect()
}

fn file_name(file: &Path) -> String {
    file.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
