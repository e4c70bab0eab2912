//! Objects made of objects: compose, rewrite, copy.

use super::blob::Scratch;
use super::objects::{self, Content, access, base64_of};
use super::{Conditions, shown};
use crate::error::{ApiError, Result};
use crate::http::{Call, Reply, json};
use base64::Engine as _;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::path::PathBuf;

/// <https://cloud.google.com/storage/quotas#objects>
const COMPOSE_LIMIT: usize = 32;

pub async fn compose(call: &mut Call, bucket: &str, object: &str) -> Result<Reply> {
    let mut body = call.json().await?;
    let sources = match body.remove("sourceObjects") {
        Some(Value::Array(sources)) if !sources.is_empty() => sources,
        _ => {
            return Err(ApiError::new(
                400,
                "required",
                "You must provide at least one source component.",
            ));
        }
    };
    if sources.len() > COMPOSE_LIMIT {
        return Err(ApiError::invalid(format!(
            "The number of source components provided ({}) exceeds the maximum (32)",
            sources.len()
        )));
    }
    objects::check_name(object)?;
    let conditions = Conditions::parse(&call.query, "if")?;
    let mut components = 0;
    let mut parts = Vec::new();
    {
        let store = call.world.store();
        objects::may_write(&store, call, bucket, object)?;
        access(&store, call, bucket, "storage.objects.get")?;
        conditions.check(store.get(&objects::object_key(bucket, object)), false)?;
        for source in &sources {
            let name = source["name"].as_str().unwrap_or_default();
            let generation = source.get("generation").map(super::number);
            let found = objects::find(&store, bucket, name, generation)?;
            let wanted = source["objectPreconditions"]
                .get("ifGenerationMatch")
                .map(super::number);
            Conditions {
                generation: wanted,
                ..Conditions::default()
            }
            .check(Some(found), false)?;
            components += found["componentCount"].as_u64().unwrap_or(1);
            parts.push(Part::of(call, found)?);
        }
    }
    let mut metadata = match body.remove("destination") {
        Some(Value::Object(metadata)) => metadata,
        _ => Map::new(),
    };
    metadata.insert("componentCount".to_owned(), components.into());
    let scratch = Scratch::new(call);
    let path = scratch.0.clone();
    let content = tokio::task::spawn_blocking(move || concatenate(parts, path))
        .await
        .map_err(std::io::Error::other)??;
    let new = objects::commit(call, bucket, object, metadata, content, &conditions)?;
    Ok(json(&shown(call, &new)))
}

/// An object's bytes: opened while the store is locked, so that a delete in between does no harm.
struct Part {
    file: File,
    size: u64,
    crc32c: u32,
    md5: Option<[u8; 16]>,
}

impl Part {
    fn of(call: &Call, object: &Value) -> Result<Self> {
        let decode = |field: &str| {
            base64::engine::general_purpose::STANDARD
                .decode(object[field].as_str().unwrap_or_default())
                .ok()
        };
        let crc32c = decode("crc32c")
            .and_then(|bytes| bytes.try_into().ok())
            .map(u32::from_be_bytes);
        Ok(Self {
            file: File::open(
                call.world
                    .objects
                    .join(object["_file"].as_str().unwrap_or_default()),
            )?,
            size: super::number(&object["size"]),
            crc32c: crc32c.unwrap_or_default(),
            md5: object
                .get("md5Hash")
                .and_then(|_| decode("md5Hash")?.try_into().ok()),
        })
    }
}

fn concatenate(parts: Vec<Part>, path: PathBuf) -> std::io::Result<Content> {
    let mut to = File::create(&path)?;
    let (mut size, mut crc32c) = (0, 0);
    for mut part in parts {
        std::io::copy(&mut part.file, &mut to)?;
        crc32c = crc32c::crc32c_combine(crc32c, part.crc32c, part.size as usize);
        size += part.size;
    }
    let file = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(Content {
        file,
        size,
        crc32c,
        md5: None,
    })
}

/// `rewriteTo` and `copyTo`: one call is always enough here.
pub async fn copy(
    call: &mut Call,
    bucket: &str,
    object: &str,
    verb: &str,
    to_bucket: &str,
    to_object: &str,
) -> Result<Reply> {
    let given = call.json().await?;
    objects::check_name(to_object)?;
    let conditions = Conditions::parse(&call.query, "if")?;
    let (part, source) = {
        let store = call.world.store();
        access(&store, call, bucket, "storage.objects.get")?;
        objects::may_write(&store, call, to_bucket, to_object)?;
        conditions.check(store.get(&objects::object_key(to_bucket, to_object)), false)?;
        let found = objects::find(
            &store,
            bucket,
            object,
            call.query.number("sourceGeneration")?,
        )?;
        Conditions::parse(&call.query, "ifSource")?.check(Some(found), false)?;
        (Part::of(call, found)?, found.clone())
    };
    // Metadata given replaces the source's; none given keeps it.
    let mut metadata = if given.is_empty() {
        source.as_object().cloned().unwrap_or_default()
    } else {
        given
    };
    if let Some(components) = source.get("componentCount") {
        metadata.insert("componentCount".to_owned(), components.clone());
    }
    let scratch = Scratch::new(call);
    let path = scratch.0.clone();
    let md5 = part.md5;
    let copied = tokio::task::spawn_blocking(move || concatenate(vec![part], path));
    let content = Content {
        md5,
        ..copied.await.map_err(std::io::Error::other)??
    };
    debug_assert_eq!(source["crc32c"], base64_of(&content.crc32c.to_be_bytes()));
    let new = objects::commit(call, to_bucket, to_object, metadata, content, &conditions)?;
    let new = shown(call, &new);
    if verb == "copyTo" {
        return Ok(json(&new));
    }
    Ok(json(&json!({
        "kind": "storage#rewriteResponse",
        "totalBytesRewritten": new["size"],
        "objectSize": new["size"],
        "done": true,
        "resource": new,
    })))
}
