//! Cloud Storage, JSON API: <https://cloud.google.com/storage/docs/json_api/v1>.
//!
//! Keys: `storage/b/BUCKET`, `storage/iam/BUCKET`, `storage/o/BUCKET/OBJECT`, `storage/upload/ID`. Object bytes lie in
//! the objects' folder, in files named by generation (finished) or upload (in progress).

mod blob;
mod buckets;
mod copy;
mod objects;
mod upload;

pub use blob::Upload;
pub use buckets::key as bucket_key;
pub use objects::{access, object_key};
pub use upload::{expire_uploads, upload};

use crate::error::{ApiError, Result};
use crate::http::{Call, Query, Reply, public};
use crate::store::Store;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;
use std::path::Path;

/// Everything below `/storage/v1/` (also under `/download/`).
pub async fn call(call: &mut Call, path: &[&str]) -> Result<Reply> {
    match (call.method.as_str(), path) {
        ("GET", ["b"]) => buckets::list(call),
        ("POST", ["b"]) => buckets::insert(call).await,
        ("GET", ["b", bucket]) => buckets::get(call, bucket),
        ("PATCH" | "PUT", ["b", bucket]) => buckets::update(call, bucket).await,
        ("DELETE", ["b", bucket]) => buckets::delete(call, bucket),
        ("GET", ["b", bucket, "iam"]) => buckets::get_policy(call, bucket),
        ("PUT", ["b", bucket, "iam"]) => buckets::set_policy(call, bucket).await,
        ("GET", ["b", bucket, "iam", "testPermissions"]) => buckets::test_permissions(call, bucket),
        ("GET", ["b", bucket, "storageLayout"]) => buckets::layout(call, bucket),
        // Resources that exist in the real service and of which there are none here.
        ("GET", ["b", bucket, "managedFolders" | "anywhereCaches"]) => buckets::none(call, bucket),
        ("GET", ["b", bucket, "o"]) => objects::list(call, bucket),
        ("GET", ["b", bucket, "o", object]) if call.query.get("alt") == Some("media") => {
            objects::download(call, bucket, object).await
        }
        ("GET", ["b", bucket, "o", object]) => objects::get(call, bucket, object),
        ("PATCH" | "PUT", ["b", bucket, "o", object]) => {
            objects::update(call, bucket, object).await
        }
        ("DELETE", ["b", bucket, "o", object]) => objects::delete(call, bucket, object),
        ("POST", ["b", bucket, "o", object, "compose"]) => {
            copy::compose(call, bucket, object).await
        }
        (
            "POST",
            [
                "b",
                bucket,
                "o",
                object,
                verb @ ("rewriteTo" | "copyTo"),
                "b",
                to_bucket,
                "o",
                to_object,
            ],
        ) => copy::copy(call, bucket, object, verb, to_bucket, to_object).await,
        _ => Err(ApiError::not_found(format!(
            "cloudsim does not serve {} /storage/v1/{}; what it serves is in docs/cloudsim.md.",
            call.method,
            path.join("/")
        ))),
    }
}

/// `GET /BUCKET/OBJECT`, a read by the XML API: what Google's Go client, and so terraform's gcs backend, reads with.
/// Nothing else of that API is here.
pub async fn xml_read(call: &mut Call, bucket: &str, object: &[&str]) -> Result<Reply> {
    objects::download(call, bucket, &object.join("/")).await
}

/// Preconditions of a request, by the state of the object or bucket they are about.
/// <https://cloud.google.com/storage/docs/request-preconditions>
#[derive(Clone, Default, Serialize, Deserialize)]
struct Conditions {
    generation: Option<u64>,
    generation_not: Option<u64>,
    metageneration: Option<u64>,
    metageneration_not: Option<u64>,
}

impl Conditions {
    /// `of` is `if` for the target of a call and `ifSource` for the source of a copy.
    fn parse(query: &Query, of: &str) -> Result<Self> {
        Ok(Self {
            generation: query.number(&format!("{of}GenerationMatch"))?,
            generation_not: query.number(&format!("{of}GenerationNotMatch"))?,
            metageneration: query.number(&format!("{of}MetagenerationMatch"))?,
            metageneration_not: query.number(&format!("{of}MetagenerationNotMatch"))?,
        })
    }

    /// 412 when one does not hold; a read whose `NotMatch` does not hold is 304, nothing new.
    fn check(&self, existing: Option<&Value>, reads: bool) -> Result<()> {
        // What is not there has generation 0.
        let number = |field: &str| existing.map_or(0, |value| number(&value[field]));
        let (generation, metageneration) = (number("generation"), number("metageneration"));
        if self.generation.is_some_and(|wanted| wanted != generation)
            || self
                .metageneration
                .is_some_and(|wanted| wanted != metageneration)
        {
            return Err(ApiError::precondition());
        }
        if self.generation_not == Some(generation)
            || self.metageneration_not == Some(metageneration)
        {
            let unchanged = ApiError::new(304, "notModified", "Not Modified");
            return Err(if reads {
                unchanged
            } else {
                ApiError::precondition()
            });
        }
        Ok(())
    }
}

/// A bucket or object as it is answered: its links begin with this run's address.
fn shown(call: &Call, value: &Value) -> Value {
    let mut value = public(value);
    for field in ["selfLink", "mediaLink"] {
        if let Some(path) = value.get(field).and_then(Value::as_str) {
            value[field] = format!("{}{path}", call.world.origin).into();
        }
    }
    value
}

/// A 64-bit number as Google sends it: in a string.
pub fn number(value: &Value) -> u64 {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

/// Removes files that no object and no upload names: what a kill left between a file and its record.
pub fn remove_orphans(store: &Store, objects: &Path) -> std::io::Result<()> {
    let named: HashSet<&str> = store
        .scan("storage/", "")
        .filter_map(|(_, value)| value["_file"].as_str())
        .collect();
    for entry in std::fs::read_dir(objects)? {
        let entry = entry?;
        if !entry
            .file_name()
            .to_str()
            .is_some_and(|name| named.contains(name))
        {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
