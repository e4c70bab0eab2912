//! A request taken apart, and replies.

use crate::World;
use crate::body::{Body, BoxError};
use crate::error::{ApiError, Result};
use crate::fault::OperationError;
use crate::iam::Caller;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Response};
use serde_json::{Map, Value};
use std::sync::Arc;

pub type Reply = Response<Body>;

/// One request. Handlers borrow it, so that the server can drain what they leave unread.
pub struct Call {
    pub world: Arc<World>,
    pub method: Method,
    /// Path segments, percent-decoded one by one: an object's name is one segment.
    pub path: Vec<String>,
    pub query: Query,
    pub headers: HeaderMap,
    pub body: Body,
    /// None without a bearer token.
    pub caller: Option<Caller>,
    /// The fault plan wants the operation that this call starts to end with this error.
    pub operation_error: Option<OperationError>,
}

/// The largest JSON body read into memory. Google's own limits are lower.
const JSON_LIMIT: usize = 16 << 20;

impl Call {
    /// Who calls, or 401.
    pub fn caller(&self) -> Result<&Caller> {
        self.caller.as_ref().ok_or_else(|| {
            ApiError::new(
                401,
                "required",
                "Request is missing required authentication credential. Expected OAuth 2 access token.",
            )
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as a JSON object; an empty body is an empty object.
    pub async fn json(&mut self) -> Result<Map<String, Value>> {
        let bytes = self.bytes(JSON_LIMIT).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Map::new());
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| ApiError::new(400, "parseError", format!("Parse Error: {error}")))
    }

    pub async fn bytes(&mut self, limit: usize) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(data) = self.next_data().await? {
            if all.len() + data.len() > limit {
                return Err(ApiError::new(
                    413,
                    "uploadTooLarge",
                    "Request payload is too large.",
                ));
            }
            all.extend_from_slice(&data);
        }
        Ok(all)
    }

    /// The next piece of the body; an error when the client went away.
    pub async fn next_data(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| {
                ApiError::new(
                    400,
                    "badRequest",
                    format!("The request's body broke off: {error}"),
                )
            })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// Query parameters, decoded, in order.
#[derive(Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(query: &str) -> Self {
        Self(
            form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter that is a number.
    pub fn number(&self, name: &str) -> Result<Option<u64>> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let number = text
            .parse()
            .map_err(|_| ApiError::invalid(format!("Invalid value '{text}' for {name}.")))?;
        Ok(Some(number))
    }
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| -> BoxError { match never {} })
        .boxed_unsync()
}

pub fn empty(status: u16) -> Reply {
    Response::builder()
        .status(status)
        .body(full(""))
        .expect("a valid status")
}

pub fn json(value: &Value) -> Reply {
    json_with(200, value)
}

pub fn json_with(status: u16, value: &Value) -> Reply {
    Response::builder()
        .status(status)
        .header("content-type", "application/json; charset=UTF-8")
        .body(full(
            serde_json::to_vec_pretty(value).expect("JSON values serialise"),
        ))
        .expect("a valid status")
}

/// A resource without the fields that are the simulator's own (they start with `_`).
pub fn public(value: &Value) -> Value {
    let Value::Object(map) = value else {
        return value.clone();
    };
    Value::Object(
        map.iter()
            .filter(|(key, _)| !key.starts_with('_'))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
    )
}

/// RFC 7396: objects merge, null removes, everything else replaces.
pub fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        match (target.get_mut(&key), value) {
            (_, Value::Null) => {
                target.remove(&key);
            }
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => {
                target.insert(key, value);
            }
        }
    }
}

/// Sets the fields that a comma-separated mask names; of `fields`, the only ones that may change. One that the body leaves
/// out is removed. Without a mask, all that the body has.
pub fn update(
    record: &mut Value,
    body: &Map<String, Value>,
    mask: &str,
    fields: &[&str],
) -> Result<()> {
    let of_body = || body.keys().map(String::as_str).collect();
    let named: Vec<&str> = if mask.is_empty() {
        of_body()
    } else {
        mask.split(',').collect()
    };
    for field in named {
        // `displayName`, `display_name` and `labels.key` are all forms of a mask.
        let field = field.split('.').next().unwrap_or_default();
        let Some(field) = fields
            .iter()
            .find(|f| f.to_lowercase() == field.replace('_', "").to_lowercase())
        else {
            if mask.is_empty() {
                continue;
            }
            return Err(ApiError::invalid(format!(
                "Invalid field '{field}' in the update mask."
            )));
        };
        match (
            body.get(*field).filter(|value| !value.is_null()),
            record.as_object_mut(),
        ) {
            (Some(value), _) => record[*field] = value.clone(),
            (None, Some(record)) => drop(record.remove(*field)),
            (None, None) => {}
        }
    }
    Ok(())
}

/// The time now as RFC 3339 in UTC with milliseconds.
pub fn now() -> String {
    humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string()
}

/// Whether `text` matches `pattern`, in which `*` stands for any run of characters.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run() {
        assert!(glob("/storage/v1/b/*/o/*", "/storage/v1/b/x/o/y"));
        assert!(glob("*", ""));
        assert!(glob("compute.*.get", "compute.images.get"));
        assert!(!glob("compute.*.get", "compute.images.getIamPolicy"));
        assert!(!glob("/a", "/a/b"));
        assert!(!glob("ab*ba", "aba"));
    }
}
