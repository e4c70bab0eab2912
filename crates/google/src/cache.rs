//! A Nix binary cache in a bucket: what a folder has that the bucket lacks goes there, each path's
//! contents before the file that announces it.

use crate::{
    error::{Error, Result},
    http::Client,
    storage::{Location, Object},
    upload::Upload,
};
use std::{
    collections::{BTreeMap, BTreeSet},
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

/// What nobody needs of a cache, and what it would take along.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Pruned {
    /// How many store paths go.
    pub paths: usize,
    /// How many objects.
    pub objects: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// How many store paths stay.
    pub kept: usize,
}

/// The folder of the bucket with the systems of deploys that are under way: one object a deploy, one path a line.
const DEPLOYING: &str = "deploying/";

/// How long such an object counts, in seconds: one that is older was left by a deploy that was killed.
const WEEK: i64 = 7 * 86_400;

impl Client {
    /// Deletes of a binary cache the store paths that none of `keep` needs, nor a deploy that is under way, and uploads
    /// that were never announced. What is younger than `age` seconds stays with what it needs, and so does all that is no
    /// part of a cache.
    ///
    /// What announces a path goes before its contents, so that what is announced can always be had. With `look` nothing is
    /// deleted.
    ///
    /// # Errors
    /// As any call; when the closure of what is kept cannot be read, or a deploy begins meanwhile. Nothing was deleted then.
    pub fn prune_cache(
        &self,
        bucket: &str,
        keep: &[String],
        age: i64,
        look: bool,
    ) -> Result<Pruned> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs().cast_signed());
        let objects = self.objects(&bucket_location(bucket))?;
        let by_name: BTreeMap<_, _> = objects
            .iter()
            .map(|object| (object.name.as_str(), object))
            .collect();
        let deploys: Vec<_> = objects.iter().filter(|object| is_deploy(object)).collect();
        let (under_way, left): (Vec<_>, Vec<_>) = deploys
            .iter()
            .partition(|deploy| now - deploy.created < WEEK);
        let is_young = |object: &&Object| now - object.created < age;
        let mut roots: Vec<_> = keep.iter().map(|path| info_of(path)).collect();
        for deploy in under_way {
            roots.extend(self.text(deploy)?.lines().map(info_of));
        }
        let infos = || objects.iter().filter(|object| is_info(&object.name));
        // What was just uploaded is whole, too.
        roots.extend(infos().filter(is_young).map(|object| object.name.clone()));
        let needed = self.closure(&by_name, roots)?;
        let needed: BTreeSet<_> = needed
            .iter()
            .flat_map(|path| [path.info.as_str(), path.contents.as_str()])
            .collect();
        let goes = |object: &&Object| !needed.contains(object.name.as_str()) && !is_young(object);
        let kept = infos().filter(|object| !goes(object)).count();
        let infos: Vec<_> = infos().filter(goes).collect();
        let contents: Vec<_> = objects
            .iter()
            .filter(|object| is_contents(&object.name))
            .filter(goes)
            .chain(left)
            .collect();
        let pruned = Pruned {
            paths: infos.len(),
            objects: infos.len() + contents.len(),
            bytes: infos.iter().chain(&contents).map(|o| o.size).sum(),
            kept,
        };
        if look {
            return Ok(pruned);
        }
        let location = |name: &str| Location {
            bucket: bucket.to_owned(),
            name: name.to_owned(),
        };
        let known: BTreeSet<_> = deploys.iter().map(|deploy| deploy.generation).collect();
        let now_under_way = self.objects(&location(DEPLOYING))?;
        if now_under_way
            .iter()
            .any(|deploy| !known.contains(&deploy.generation))
        {
            return Err(Error::failed(
                format!("A deploy to {bucket} began while it was looked at what may go"),
                "Nothing was deleted. Run this again when the deploy has ended",
            ));
        }
        for group in [&infos, &contents] {
            let results = crate::machines::each(group, |object| {
                self.delete_object(&location(&object.name), Some(object.generation))
            });
            results.into_iter().collect::<Result<()>>()?;
        }
        Ok(pruned)
    }

    /// A store path of the cache with all that it refers to; none if the cache does not have it.
    ///
    /// # Errors
    /// As any call; when what announces one of them cannot be read, or refers to what the cache does not have.
    pub fn cached_closure(&self, bucket: &str, path: &str) -> Result<Option<Vec<CachedPath>>> {
        let objects = self.objects(&bucket_location(bucket))?;
        let by_name: BTreeMap<_, _> = objects
            .iter()
            .map(|object| (object.name.as_str(), object))
            .collect();
        if !by_name.contains_key(info_of(path).as_str()) {
            return Ok(None);
        }
        let closure = self.closure(&by_name, vec![info_of(path)])?;
        let mut references = closure.iter().flat_map(|path| &path.references);
        if let Some(lost) = references.find(|path| !by_name.contains_key(info_of(path).as_str())) {
            return Err(Error::failed(
                format!("{bucket} has {path}, and not {lost}, which that refers to"),
                "Upload it anew: cargo xtask deploy",
            ));
        }
        Ok(Some(closure))
    }

    /// What the cache has of the store paths that these objects announce and of all that they refer to.
    fn closure(
        &self,
        objects: &BTreeMap<&str, &Object>,
        mut next: Vec<String>,
    ) -> Result<Vec<CachedPath>> {
        let mut seen = BTreeSet::new();
        let mut closure: Vec<CachedPath> = Vec::new();
        while !next.is_empty() {
            next.retain(|name| seen.insert(name.clone()));
            let there: Vec<_> = next
                .iter()
                .filter_map(|name| objects.get(name.as_str()).copied())
                .collect();
            let found = self.infos(&there)?;
            next = found
                .iter()
                .flat_map(|path| path.references.iter().map(|path| info_of(path)))
                .collect();
            closure.extend(found);
        }
        Ok(closure)
    }

    fn infos(&self, objects: &[&Object]) -> Result<Vec<CachedPath>> {
        let read = crate::machines::each(objects, |object| {
            let text = self.text(object)?;
            CachedPath::parse(&object.name, &text).ok_or_else(|| {
                Error::failed(
                    format!("gs://{}/{} is no narinfo", object.bucket, object.name),
                    "Delete it, and upload what it announced anew: cargo xtask deploy",
                )
            })
        });
        read.into_iter().collect()
    }
}

/// A store path that the cache has.
#[derive(Debug, serde::Serialize)]
pub struct CachedPath {
    /// Itself.
    pub path: String,
    /// Bytes of its contents, unpacked.
    pub size: u64,
    /// The object that announces it.
    #[serde(skip)]
    info: String,
    /// The object with its contents.
    #[serde(skip)]
    contents: String,
    /// Names of store paths.
    #[serde(skip)]
    references: Vec<String>,
}

impl CachedPath {
    fn parse(info: &str, text: &str) -> Option<Self> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let references = field("References").unwrap_or_default();
        Some(Self {
            path: field("StorePath")?.to_owned(),
            size: field("NarSize")?.parse().ok()?,
            info: info.to_owned(),
            contents: field("URL")?.to_owned(),
            references: references.split_whitespace().map(str::to_owned).collect(),
        })
    }
}

/// `/nix/store/HASH-NAME` or `HASH-NAME` → `HASH.narinfo`.
fn info_of(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    format!("{}.narinfo", name.split('-').next().unwrap_or_default())
}

fn is_info(name: &str) -> bool {
    name.strip_suffix(".narinfo")
        .is_some_and(|hash| hash.len() == 32 && hash.bytes().all(|c| c.is_ascii_alphanumeric()))
}

fn is_contents(name: &str) -> bool {
    let name = name.strip_prefix("nar/").unwrap_or(name);
    name.split_once(".nar").is_some_and(|(hash, rest)| {
        hash.bytes().all(|c| c.is_ascii_alphanumeric())
            && (rest.is_empty() || rest.starts_with('.'))
    })
}

fn is_deploy(object: &Object) -> bool {
    object.name.starts_with(DEPLOYING)
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
