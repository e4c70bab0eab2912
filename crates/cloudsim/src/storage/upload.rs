//! Uploads: media, multipart, resumable.
//! <https://cloud.google.com/storage/docs/performing-resumable-uploads>

use super::blob::{Blob, GRAIN, Scratch, Writer};
use super::objects::{self, Content, base64_of};
use super::{Conditions, buckets, shown};
use crate::World;
use crate::error::{ApiError, Result};
use crate::http::{Call, Reply, empty, json};
use base64::Engine as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The largest object. <https://cloud.google.com/storage/quotas#objects>
const OBJECT_LIMIT: u64 = 5 << 40;

/// `/upload/storage/v1/b/BUCKET/o`.
pub async fn upload(call: &mut Call, bucket: &str) -> Result<Reply> {
    // A session's URI is itself the credential.
    if let Some(id) = call.query.get("upload_id").map(str::to_owned) {
        return session(call, bucket, &id).await;
    }
    if call.method != "POST" {
        return Err(ApiError::new(
            405,
            "httpMethodNotAllowed",
            "An upload starts with POST.",
        ));
    }
    call.caller()?;
    buckets::find(&call.world.store(), bucket)?;
    match call.query.get("uploadType") {
        Some("media") => media(call, bucket).await,
        Some("multipart") => multipart(call, bucket).await,
        Some("resumable") => start(call, bucket).await,
        other => Err(ApiError::invalid(format!(
            "Invalid upload type '{}'.",
            other.unwrap_or_default()
        ))),
    }
}

/// Checksums that the caller says the object has, base64 as in an object's metadata.
#[derive(Default)]
struct Expected {
    crc32c: Option<String>,
    md5: Option<String>,
}

impl Expected {
    fn of(call: &Call, metadata: &Map<String, Value>) -> Self {
        let field = |name: &str| {
            metadata
                .get(name)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let mut expected = Self {
            crc32c: field("crc32c"),
            md5: field("md5Hash"),
        };
        for value in call.headers.get_all("x-goog-hash") {
            for hash in value.to_str().unwrap_or_default().split(',') {
                match hash.trim().split_once('=') {
                    Some(("crc32c", value)) => expected.crc32c = Some(value.to_owned()),
                    Some(("md5", value)) => expected.md5 = Some(value.to_owned()),
                    _ => {}
                }
            }
        }
        if let Some(value) = call.header("content-md5") {
            expected.md5 = Some(value.to_owned());
        }
        expected
    }

    fn verify(&self, content: &Content) -> Result<()> {
        let calculated = [
            (
                "CRC32C",
                &self.crc32c,
                Some(base64_of(&content.crc32c.to_be_bytes())),
            ),
            (
                "MD5 hash",
                &self.md5,
                content.md5.map(|md5| base64_of(&md5)),
            ),
        ];
        for (name, provided, calculated) in calculated {
            if let (Some(provided), Some(calculated)) = (provided, calculated)
                && *provided != calculated
            {
                return Err(ApiError::invalid(format!(
                    "Provided {name} \"{provided}\" doesn't match calculated {name} \"{calculated}\"."
                )));
            }
        }
        Ok(())
    }
}

/// The object's name and metadata as given in the body's metadata, the query and the headers.
fn described(
    call: &Call,
    mut metadata: Map<String, Value>,
    type_header: &str,
) -> Result<(String, Map<String, Value>)> {
    if let Some(name) = call.query.get("name") {
        metadata.insert("name".to_owned(), name.into());
    }
    for (field, value) in [
        ("contentEncoding", call.query.get("contentEncoding")),
        ("contentType", call.header(type_header)),
    ] {
        if let (Some(value), false) = (value, metadata.contains_key(field)) {
            metadata.insert(field.to_owned(), value.into());
        }
    }
    let name = metadata
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    objects::check_name(&name)?;
    Ok((name, metadata))
}

/// What every upload is asked before its first byte.
fn may_start(call: &Call, bucket: &str, name: &str) -> Result<Conditions> {
    let conditions = Conditions::parse(&call.query, "if")?;
    let store = call.world.store();
    objects::may_write(&store, call, bucket, name)?;
    conditions.check(store.get(&objects::object_key(bucket, name)), false)?;
    Ok(conditions)
}

async fn scratch_writer(scratch: &Scratch) -> Result<Writer> {
    let blob = Blob::open(&scratch.0)?;
    Ok(Writer::new(
        Arc::new(Mutex::new(Some(blob))).lock_owned().await,
    ))
}

/// Turns a blob into an object, off the threads that serve.
async fn content(guard: OwnedMutexGuard<Option<Blob>>, want_md5: bool) -> Result<Content> {
    let work = move || {
        guard
            .as_ref()
            .ok_or(std::io::ErrorKind::NotFound)?
            .content(want_md5)
    };
    Ok(tokio::task::spawn_blocking(work)
        .await
        .map_err(std::io::Error::other)??)
}

async fn media(call: &mut Call, bucket: &str) -> Result<Reply> {
    let (name, metadata) = described(call, Map::new(), "content-type")?;
    let conditions = may_start(call, bucket, &name)?;
    let expected = Expected::of(call, &metadata);
    let scratch = Scratch::new(call);
    let writer = scratch_writer(&scratch).await?;
    while let Some(data) = call.next_data().await? {
        writer.write(data).await?;
    }
    let content = content(writer.finish().await?, expected.md5.is_some()).await?;
    expected.verify(&content)?;
    let object = objects::commit(call, bucket, &name, metadata, content, &conditions)?;
    Ok(json(&shown(call, &object)))
}

/// `multipart/related` of two parts: metadata as JSON, then the bytes.
async fn multipart(call: &mut Call, bucket: &str) -> Result<Reply> {
    let malformed = |what: &str| {
        ApiError::new(
            400,
            "badRequest",
            format!("Malformed multipart body: {what}."),
        )
    };
    let boundary = call
        .header("content-type")
        .and_then(|value| {
            value
                .split(';')
                .find_map(|part| part.trim().strip_prefix("boundary="))
        })
        .map(|text| text.trim_matches(['"', '\'']).to_owned())
        .ok_or_else(|| malformed("no boundary"))?;
    let delimiter = format!("--{boundary}");

    // Everything before the first byte of the second part fits in memory.
    let mut head = Vec::new();
    let (metadata, media_type, data_at) = loop {
        if let Some(parsed) = parse_head(&head, delimiter.as_bytes()) {
            break parsed.map_err(malformed)?;
        }
        if head.len() > 1 << 20 {
            return Err(malformed("its metadata is too large"));
        }
        match call.next_data().await? {
            Some(data) => head.extend_from_slice(&data),
            None => return Err(malformed("it ends before its second part")),
        }
    };
    if let Some(media_type) = media_type {
        call.headers.insert(
            "x-part-content-type",
            media_type
                .parse()
                .map_err(|_| malformed("bad content type"))?,
        );
    }
    let (name, metadata) = described(call, metadata, "x-part-content-type")?;
    let conditions = may_start(call, bucket, &name)?;
    let expected = Expected::of(call, &metadata);

    // The closing delimiter is at the very end: hold back as much as it may take.
    let hold = delimiter.len() + 16;
    let scratch = Scratch::new(call);
    let writer = scratch_writer(&scratch).await?;
    let mut tail = head.split_off(data_at);
    loop {
        let Some(data) = call.next_data().await? else {
            break;
        };
        if data.len() >= hold {
            writer.write(std::mem::take(&mut tail).into()).await?;
            writer.write(data.slice(..data.len() - hold)).await?;
            tail.extend_from_slice(&data[data.len() - hold..]);
        } else {
            tail.extend_from_slice(&data);
            if tail.len() > hold {
                let rest = tail.split_off(tail.len() - hold);
                writer
                    .write(std::mem::replace(&mut tail, rest).into())
                    .await?;
            }
        }
    }
    // Clients differ in their line ends, and data may well end with a carriage return of its own.
    let line_end = if head.ends_with(b"\r\n") {
        "\r\n"
    } else {
        "\n"
    };
    let closing = format!("{line_end}{delimiter}--");
    let end = tail
        .windows(closing.len())
        .rposition(|window| window == closing.as_bytes())
        .ok_or_else(|| malformed("no closing delimiter"))?;
    tail.truncate(end);
    writer.write(tail.into()).await?;
    let content = content(writer.finish().await?, expected.md5.is_some()).await?;
    expected.verify(&content)?;
    let object = objects::commit(call, bucket, &name, metadata, content, &conditions)?;
    Ok(json(&shown(call, &object)))
}

type Head = (Map<String, Value>, Option<String>, usize);

/// Metadata, the second part's content type and the offset of its first byte; none while there is too little.
fn parse_head(bytes: &[u8], delimiter: &[u8]) -> Option<std::result::Result<Head, &'static str>> {
    let find = |from: usize, what: &[u8]| {
        bytes
            .get(from..)?
            .windows(what.len())
            .position(|window| window == what)
            .map(|at| from + at)
    };
    // Headers of a part end with an empty line, by either kind of line end.
    let body_of = |part: usize| {
        [
            find(part, b"\r\n\r\n").map(|at| at + 4),
            find(part, b"\n\n").map(|at| at + 2),
        ]
        .into_iter()
        .flatten()
        .min()
    };
    let first = find(0, delimiter)? + delimiter.len();
    let json_at = body_of(first)?;
    let second = find(json_at, delimiter)?;
    let data_at = body_of(second + delimiter.len())?;
    let Ok(metadata) = serde_json::from_slice(&bytes[json_at..second]) else {
        return Some(Err("its first part is no JSON object"));
    };
    let headers = String::from_utf8_lossy(&bytes[second..data_at]);
    let media_type = headers.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-type")
            .then(|| value.trim().to_owned())
    });
    Some(Ok((metadata, media_type, data_at)))
}

fn session_key(id: &str) -> String {
    format!("storage/upload/{id}")
}

async fn start(call: &mut Call, bucket: &str) -> Result<Reply> {
    let metadata = call.json().await?;
    let (name, metadata) = described(call, metadata, "x-upload-content-type")?;
    let conditions = may_start(call, bucket, &name)?;
    let expected = Expected::of(call, &metadata);
    let total = call.header("x-upload-content-length").map(|text| {
        text.parse::<u64>()
            .map_err(|_| ApiError::invalid(format!("Invalid X-Upload-Content-Length '{text}'.")))
    });
    let total = total.transpose()?;
    if total.is_some_and(|total| total > OBJECT_LIMIT) {
        return Err(ApiError::new(413, "uploadTooLarge", "Upload too large."));
    }
    let mut store = call.world.store();
    let number = store.next();
    // Hard to guess in the real service; here it has to be the same in every run.
    let id =
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("upload-{number:010}"));
    store.put(
        &session_key(&id),
        json!({
            "bucket": bucket, "name": name, "metadata": metadata, "conditions": conditions, "total": total,
            "crc32c": expected.crc32c, "md5": expected.md5, "_file": format!("upload-{number}"), "state": "open",
        }),
    )?;
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let location = format!(
        "{}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&name={}&upload_id={id}",
        call.world.origin,
        encode(&name)
    );
    let mut reply = empty(200);
    reply.headers_mut().insert(
        "location",
        location.parse().map_err(|_| ApiError::of_status(500))?,
    );
    reply.headers_mut().insert(
        "x-guploader-uploadid",
        id.parse().map_err(|_| ApiError::of_status(500))?,
    );
    Ok(reply)
}

/// What a request to a session says about its body.
#[derive(Debug, PartialEq)]
enum Range {
    /// No Content-Range: all of the object.
    Whole,
    /// `bytes */TOTAL`: how much is there? TOTAL may be `*`.
    Status { total: Option<u64> },
    /// `bytes FIRST-LAST/TOTAL`. TOTAL may be `*`: more comes.
    Chunk {
        start: u64,
        end: u64,
        total: Option<u64>,
    },
}

impl Range {
    fn parse(header: Option<&str>) -> Result<Self> {
        let Some(text) = header else {
            return Ok(Self::Whole);
        };
        let parse = || {
            let (range, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
            let total = if total == "*" {
                None
            } else {
                Some(total.parse::<u64>().ok()?)
            };
            if range == "*" {
                return Some(Self::Status { total });
            }
            let (first, last) = range.split_once('-')?;
            let (start, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
            let valid =
                start <= last && last < OBJECT_LIMIT && total.is_none_or(|total| last < total);
            valid.then_some(Self::Chunk {
                start,
                end: last + 1,
                total,
            })
        };
        parse().ok_or_else(|| {
            ApiError::new(
                400,
                "badRequest",
                format!("Failed to parse Content-Range header: '{text}'."),
            )
        })
    }
}

async fn session(call: &mut Call, bucket: &str, id: &str) -> Result<Reply> {
    let range = Range::parse(call.header("content-range"))?;
    let handle = call
        .world
        .uploads
        .lock()
        .expect("no panic while held")
        .entry(id.to_owned())
        .or_default()
        .clone();
    // Waits for a request to the same session that is still being written.
    let mut guard = handle.lock_owned().await;
    let key = session_key(id);
    let Some(record) = call
        .world
        .store()
        .get(&key)
        .filter(|record| record["bucket"] == bucket)
        .cloned()
    else {
        forget(&call.world, id);
        return Err(ApiError::not_found("The upload session does not exist."));
    };
    if record["state"] != "open" {
        forget(&call.world, id);
    }
    match record["state"].as_str() {
        Some("done") => return Ok(json(&shown(call, &record["object"]))),
        Some("cancelled") => return Ok(empty(499)),
        Some("open") => {}
        _ => {
            return Err(ApiError::new(
                410,
                "gone",
                "The upload session is no longer available.",
            ));
        }
    }
    if call.method == "DELETE" {
        *guard = None;
        close(&call.world, id, &record, "cancelled")?;
        return Ok(empty(499));
    }
    let size = match &*guard {
        Some(blob) => blob.size,
        None => {
            let path = call
                .world
                .objects
                .join(record["_file"].as_str().unwrap_or_default());
            let opened = tokio::task::spawn_blocking(move || Blob::open(&path));
            guard
                .insert(opened.await.map_err(std::io::Error::other)??)
                .size
        }
    };
    let announced = record["total"].as_u64();
    let (start, end, total) = match range {
        Range::Status { total } => {
            return if total == Some(size) && announced.is_none_or(|announced| announced == size) {
                finish(call, id, &record, guard).await
            } else {
                Ok(incomplete(id, size))
            };
        }
        Range::Whole => (0, None, announced),
        Range::Chunk { start, end, total } => (start, Some(end), total),
    };
    if let (Some(announced), Some(total)) = (announced, total)
        && announced != total
    {
        return Err(ApiError::new(
            400,
            "badRequest",
            format!(
                "Invalid request. The total size {total} differs from the announced size {announced}."
            ),
        ));
    }
    if start > size {
        return Err(ApiError::new(
            503,
            "backendError",
            format!(
                "Invalid request. According to the Content-Range header, the upload offset is {start} byte(s), which exceeds already uploaded size of {size} byte(s)."
            ),
        ));
    }

    // What is there already is not written twice.
    let mut skip = size - start;
    let mut received = 0;
    let writer = Writer::new(guard);
    let broken = loop {
        match call.next_data().await {
            Ok(None) => break end.is_some_and(|end| received != end - start).then(|| {
                ApiError::new(400, "badRequest", format!("Invalid request. {received} byte(s) came, not as many as Content-Range says."))
            }),
            Err(error) => break Some(error),
            Ok(Some(mut data)) => {
                received += data.len() as u64;
                if end.or(total.map(|total| start + total)).is_some_and(|end| start + received > end) {
                    break Some(ApiError::new(400, "badRequest", "Invalid request. More bytes came than were announced."));
                }
                let skipped = skip.min(data.len() as u64);
                skip -= skipped;
                writer.write(data.split_off(skipped as usize)).await?;
            }
        }
    };
    if let Some(error) = broken {
        writer.abandon().await?;
        return Err(error);
    }
    let mut guard = writer.finish().await?;
    let blob = guard.as_mut().ok_or(ApiError::of_status(500))?;
    // Without Content-Range the end of the body is the end of the object.
    let total = if end.is_none() {
        Some(total.unwrap_or(received))
    } else {
        total
    };
    if total == Some(blob.size) {
        return finish(call, id, &record, guard).await;
    }
    blob.align()?;
    if received < GRAIN {
        return Err(ApiError::new(
            400,
            "badRequest",
            format!(
                "Invalid request. The number of bytes uploaded is required to be equal or greater than {GRAIN}, except for the final request (it's recommended to be the exact multiple of {GRAIN}). The received request contained {received} bytes, which does not meet this requirement."
            ),
        ));
    }
    Ok(incomplete(id, blob.size))
}

/// 308: so much is there, send the rest.
fn incomplete(id: &str, size: u64) -> Reply {
    let mut reply = empty(308);
    if size > 0 {
        reply.headers_mut().insert(
            "range",
            format!("bytes=0-{}", size - 1)
                .parse()
                .expect("a valid header"),
        );
    }
    reply
        .headers_mut()
        .insert("x-guploader-uploadid", id.parse().expect("an id is base64"));
    reply
}

async fn finish(
    call: &mut Call,
    id: &str,
    record: &Value,
    guard: OwnedMutexGuard<Option<Blob>>,
) -> Result<Reply> {
    let recorded = |field: &str| record[field].as_str().map(str::to_owned);
    let now = Expected::of(call, &Map::new());
    let expected = Expected {
        crc32c: now.crc32c.or(recorded("crc32c")),
        md5: now.md5.or(recorded("md5")),
    };
    let content = content(guard, expected.md5.is_some()).await?;
    let conditions: Conditions =
        serde_json::from_value(record["conditions"].clone()).map_err(std::io::Error::other)?;
    let metadata = record["metadata"].as_object().cloned().unwrap_or_default();
    let text = |field: &str| record[field].as_str().unwrap_or_default();
    let committed = expected.verify(&content).and_then(|()| {
        objects::commit(
            call,
            text("bucket"),
            text("name"),
            metadata,
            content,
            &conditions,
        )
    });
    match committed {
        Ok(object) => {
            let mut done = record.clone();
            done["state"] = "done".into();
            done["object"] = object.clone();
            done.as_object_mut()
                .expect("a record is an object")
                .remove("_file");
            call.world.store().put(&session_key(id), done)?;
            forget(&call.world, id);
            Ok(json(&shown(call, &object)))
        }
        Err(error) => {
            // Its bytes can never become this object.
            close(&call.world, id, record, "gone")?;
            Err(error)
        }
    }
}

fn forget(world: &World, id: &str) {
    world
        .uploads
        .lock()
        .expect("no panic while held")
        .remove(id);
}

/// Ends a session and removes its bytes.
fn close(world: &World, id: &str, record: &Value, state: &str) -> Result<()> {
    let mut closed = record.clone();
    closed["state"] = state.into();
    let file = closed
        .as_object_mut()
        .and_then(|fields| fields.remove("_file"));
    world.store().put(&session_key(id), closed)?;
    if let Some(Value::String(file)) = file {
        let _ = std::fs::remove_file(world.objects.join(file));
    }
    forget(world, id);
    Ok(())
}

/// Ends all open sessions, as a week does in the real service. Says how many.
pub fn expire_uploads(world: &World) -> Result<usize> {
    let open: Vec<(String, Value)> = world
        .store()
        .scan(&session_key(""), "")
        .filter(|(_, record)| record["state"] == "open")
        .map(|(key, record)| (key[session_key("").len()..].to_owned(), record.clone()))
        .collect();
    open.iter()
        .try_for_each(|(id, record)| close(world, id, record, "gone"))?;
    Ok(open.len())
}
