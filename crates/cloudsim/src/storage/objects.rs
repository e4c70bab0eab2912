//! Objects: metadata, listing, download.

use super::buckets::{self, policy_key};
use super::{Conditions, number, shown};
use crate::body::BoxError;
use crate::error::{ApiError, Result};
use crate::http::{Call, Reply, empty, json, merge, now};
use crate::iam;
use crate::store::Store;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_core::Stream as _;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::io::SeekFrom;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

pub fn object_key(bucket: &str, object: &str) -> String {
    format!("storage/o/{bucket}/{object}")
}

/// The bucket if the caller holds a permission on it, else 404, 401 or 403.
pub fn access<'a>(
    store: &'a Store,
    call: &Call,
    bucket: &str,
    permission: &str,
) -> Result<&'a Value> {
    let caller = call.caller()?;
    let found = buckets::find(store, bucket)?;
    let project = found["_project"].as_str().unwrap_or_default();
    let kind = if permission.starts_with("storage.buckets.") {
        "bucket"
    } else {
        "object"
    };
    let resource = format!("the Google Cloud Storage {kind}");
    iam::require(
        store,
        caller,
        permission,
        project,
        store.get(&policy_key(bucket)),
        &resource,
    )?;
    Ok(found)
}

/// The live object, of the generation asked for if one is.
pub fn find<'a>(
    store: &'a Store,
    bucket: &str,
    object: &str,
    generation: Option<u64>,
) -> Result<&'a Value> {
    store
        .get(&object_key(bucket, object))
        .filter(|found| generation.is_none_or(|wanted| wanted == number(&found["generation"])))
        .ok_or_else(|| ApiError::not_found(format!("No such object: {bucket}/{object}")))
}

/// Finds the object a read is about, with permission and preconditions checked.
fn read<'a>(store: &'a Store, call: &Call, bucket: &str, object: &str) -> Result<&'a Value> {
    access(store, call, bucket, "storage.objects.get")?;
    let conditions = Conditions::parse(&call.query, "if")?;
    let generation = call.query.number("generation")?;
    let found = find(store, bucket, object, generation);
    conditions.check(found.as_ref().ok().copied(), true)?;
    found
}

pub fn get(call: &Call, bucket: &str, object: &str) -> Result<Reply> {
    Ok(json(&shown(
        call,
        read(&call.world.store(), call, bucket, object)?,
    )))
}

pub async fn update(call: &mut Call, bucket: &str, object: &str) -> Result<Reply> {
    let mut body = call.json().await?;
    let mut store = call.world.store();
    access(&store, call, bucket, "storage.objects.update")?;
    let mut updated = find(&store, bucket, object, call.query.number("generation")?)?.clone();
    Conditions::parse(&call.query, "if")?.check(Some(&updated), false)?;
    // The rest is the service's to say.
    let writable = [
        "cacheControl",
        "contentDisposition",
        "contentEncoding",
        "contentLanguage",
        "contentType",
        "customTime",
        "metadata",
    ];
    body.retain(|field, _| writable.contains(&field.as_str()));
    let fields = updated.as_object_mut().expect("an object is a JSON object");
    if call.method == "PUT" {
        fields.retain(|field, _| !writable.contains(&field.as_str()));
    }
    merge(fields, body);
    updated["metageneration"] = (number(&updated["metageneration"]) + 1).to_string().into();
    updated["updated"] = now().into();
    updated["etag"] = etag(&updated).into();
    store.put(&object_key(bucket, object), updated.clone())?;
    Ok(json(&shown(call, &updated)))
}

pub fn delete(call: &Call, bucket: &str, object: &str) -> Result<Reply> {
    let mut store = call.world.store();
    access(&store, call, bucket, "storage.objects.delete")?;
    let found = find(&store, bucket, object, call.query.number("generation")?)?;
    Conditions::parse(&call.query, "if")?.check(Some(found), false)?;
    if let Some(old) = store.remove(&object_key(bucket, object))? {
        remove_file(call, &old);
    }
    Ok(empty(204))
}

/// A download that is under way goes on: it has the file open.
fn remove_file(call: &Call, object: &Value) {
    if let Some(file) = object["_file"].as_str() {
        let _ = std::fs::remove_file(call.world.objects.join(file));
    }
}

pub fn list(call: &Call, bucket: &str) -> Result<Reply> {
    let store = call.world.store();
    access(&store, call, bucket, "storage.objects.list")?;
    let query = &call.query;
    let prefix = query.get("prefix").unwrap_or_default();
    let delimiter = query.get("delimiter").filter(|text| !text.is_empty());
    let most = query
        .number("maxResults")?
        .map_or(1000, |n| n.clamp(1, 1000)) as usize;
    let after = match query.get("pageToken").filter(|token| !token.is_empty()) {
        None => String::new(),
        Some(token) => URL_SAFE_NO_PAD
            .decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| ApiError::invalid("Invalid page token."))?,
    };
    let all = object_key(bucket, "");
    let mut items = Vec::new();
    let mut prefixes = BTreeSet::new();
    let mut last = String::new();
    let mut more = false;
    for (key, object) in store.scan(&object_key(bucket, prefix), &object_key(bucket, &after)) {
        let name = &key[all.len()..];
        if query.get("startOffset").is_some_and(|start| name < start) {
            continue;
        }
        if query
            .get("endOffset")
            .is_some_and(|end| !end.is_empty() && name >= end)
        {
            break;
        }
        let folder = delimiter.and_then(|delimiter| {
            let end = name[prefix.len()..].find(delimiter)? + prefix.len() + delimiter.len();
            Some(&name[..end])
        });
        // A page that ended with a folder goes on behind all that lies in it.
        if folder.is_some_and(|folder| prefixes.contains(folder) || folder == after) {
            continue;
        }
        if items.len() + prefixes.len() == most {
            more = true;
            break;
        }
        match folder {
            Some(folder) => {
                prefixes.insert(folder.to_owned());
                last = folder.to_owned();
            }
            None => {
                items.push(shown(call, object));
                last = name.to_owned();
            }
        }
    }
    let mut reply = json!({"kind": "storage#objects"});
    if !items.is_empty() {
        reply["items"] = items.into();
    }
    if !prefixes.is_empty() {
        reply["prefixes"] = prefixes.into_iter().collect();
    }
    if more {
        reply["nextPageToken"] = URL_SAFE_NO_PAD.encode(last).into();
    }
    Ok(json(&reply))
}

pub async fn download(call: &mut Call, bucket: &str, object: &str) -> Result<Reply> {
    let (found, path) = {
        let store = call.world.store();
        let found = read(&store, call, bucket, object)?.clone();
        let path = call
            .world
            .objects
            .join(found["_file"].as_str().unwrap_or_default());
        (found, path)
    };
    let mut file = tokio::fs::File::open(path).await?;
    let size = number(&found["size"]);
    let range = match call.header("range") {
        Some(text) => parse_range(text, size)?,
        None => None,
    };
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    let mut hashes = format!("crc32c={}", text("crc32c"));
    if found.get("md5Hash").is_some() {
        hashes += &format!(",md5={}", text("md5Hash"));
    }
    let (start, end) = range.unwrap_or((0, size));
    let mut reply = Response::builder()
        .status(if range.is_some() { 206 } else { 200 })
        .header("content-type", text("contentType"))
        .header("etag", text("etag"))
        .header("x-goog-generation", text("generation"))
        .header("x-goog-metageneration", text("metageneration"))
        .header("x-goog-stored-content-length", size)
        .header("x-goog-stored-content-encoding", "identity")
        .header("x-goog-hash", hashes);
    if range.is_some() {
        reply = reply.header("content-range", format!("bytes {start}-{}/{size}", end - 1));
    }
    file.seek(SeekFrom::Start(start)).await?;
    let pieces = ReaderStream::with_capacity(file.take(end - start), 1 << 20);
    let body = FileBody {
        pieces,
        left: end - start,
    };
    Ok(reply.body(body.boxed_unsync()).expect("valid headers"))
}

/// A part of a file. It knows its length, which goes into the reply's head and the log.
struct FileBody {
    pieces: ReaderStream<tokio::io::Take<tokio::fs::File>>,
    left: u64,
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, BoxError>>> {
        let piece = ready!(Pin::new(&mut self.pieces).poll_next(cx));
        if let Some(Ok(data)) = &piece {
            self.left = self.left.saturating_sub(data.len() as u64);
        }
        Poll::Ready(piece.map(|data| data.map(Frame::data).map_err(Into::into)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Start and end (exclusive) of a Range header; none for what RFC 9110 says to ignore.
fn parse_range(text: &str, size: u64) -> Result<Option<(u64, u64)>> {
    let unsatisfiable = || {
        ApiError::new(
            416,
            "requestedRangeNotSatisfiable",
            "The requested range cannot be satisfied.",
        )
    };
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Ok(None);
    };
    let (start, end) = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if last >= first => (first, size.min(last.saturating_add(1))),
        (Ok(first), Err(_)) if last.trim().is_empty() => (first, size),
        (Err(_), Ok(length)) if first.trim().is_empty() && length > 0 => {
            (size.saturating_sub(length), size)
        }
        _ => return Ok(None),
    };
    if start >= size {
        Err(unsatisfiable())
    } else {
        Ok(Some((start, end)))
    }
}

fn etag(object: &Value) -> String {
    iam::etag(
        number(&object["generation"])
            .wrapping_mul(31)
            .wrapping_add(number(&object["metageneration"])),
    )
}

/// Bytes that lie in a file under a name of their own, ready to become an object.
pub struct Content {
    pub file: String,
    pub size: u64,
    pub crc32c: u32,
    /// Not known of large and of composed objects.
    pub md5: Option<[u8; 16]>,
}

/// Makes content the live object of a name: the one place where an object comes into being. Returns its record.
///
/// The record is written last: a kill before it leaves a file that the next start removes.
pub fn commit(
    call: &Call,
    bucket: &str,
    object: &str,
    mut metadata: Map<String, Value>,
    content: Content,
    conditions: &Conditions,
) -> Result<Value> {
    let world = &call.world;
    let mut store = world.store();
    buckets::find(&store, bucket)?;
    let key = object_key(bucket, object);
    let old = store.get(&key).cloned();
    conditions.check(old.as_ref(), false)?;
    metadata.retain(|field, _| {
        [
            "cacheControl",
            "contentDisposition",
            "contentEncoding",
            "contentLanguage",
            "contentType",
            "customTime",
        ]
        .contains(&field.as_str())
            || ["metadata", "storageClass", "componentCount"].contains(&field.as_str())
    });
    let generation = store.next_generation();
    std::fs::rename(
        world.objects.join(&content.file),
        world.objects.join(&generation),
    )?;
    let time = now();
    let encoded = utf8_percent_encode(object, NON_ALPHANUMERIC);
    let mut new = json!({
        "kind": "storage#object",
        "id": format!("{bucket}/{object}/{generation}"),
        "selfLink": format!("/storage/v1/b/{bucket}/o/{encoded}"),
        "mediaLink": format!("/download/storage/v1/b/{bucket}/o/{encoded}?generation={generation}&alt=media"),
        "name": object,
        "bucket": bucket,
        "generation": generation,
        "metageneration": "1",
        "contentType": "application/octet-stream",
        "storageClass": "STANDARD",
        "size": content.size.to_string(),
        "crc32c": base64_of(&content.crc32c.to_be_bytes()),
        "timeCreated": time,
        "updated": time,
        "timeStorageClassUpdated": time,
        "timeFinalized": time,
        "_file": generation,
    });
    if let Some(md5) = content.md5 {
        new["md5Hash"] = base64_of(&md5).into();
    }
    merge(
        new.as_object_mut().expect("an object is a JSON object"),
        metadata,
    );
    new["etag"] = etag(&new).into();
    store.put(&key, new.clone())?;
    if let Some(old) = old {
        remove_file(call, &old);
    }
    Ok(new)
}

/// 403 unless the caller may write an object of this name; writing over one needs the right to delete it.
pub fn may_write(store: &Store, call: &Call, bucket: &str, object: &str) -> Result<()> {
    access(store, call, bucket, "storage.objects.create")?;
    if store.get(&object_key(bucket, object)).is_some() {
        access(store, call, bucket, "storage.objects.delete")?;
    }
    Ok(())
}

/// 400 for a name the service does not take.
pub fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(ApiError::new(400, "required", "Required"));
    }
    if name.len() > 1024 || name.contains(['\r', '\n']) || name == "." || name == ".." {
        return Err(ApiError::invalid(format!("Invalid object name: '{name}'")));
    }
    Ok(())
}

pub fn base64_of(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
