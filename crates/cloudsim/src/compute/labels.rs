//! Labels and fingerprints.

use super::Context;
use crate::error::{ApiError, Result};
use base64::Engine as _;
use serde_json::{Map, Value, json};

/// What a writer must have seen: 8 bytes that change with the value.
pub fn fingerprint(value: &Value) -> String {
    let text = value.to_string();
    let high = u64::from(crc32c::crc32c(text.as_bytes()));
    let low = u64::from(crc32c::crc32c_append(high as u32, text.as_bytes()));
    base64::engine::general_purpose::URL_SAFE.encode((high << 32 | low).to_be_bytes())
}

/// Refreshes the fingerprints of a resource: that of its labels, and its own if it has one.
pub fn stamp(resource: &mut Map<String, Value>) {
    let print = fingerprint(resource.get("labels").unwrap_or(&json!({})));
    resource.insert("labelFingerprint".to_owned(), print.into());
    if resource.remove("fingerprint").is_some() {
        let print = fingerprint(&Value::Object(resource.clone()));
        resource.insert("fingerprint".to_owned(), print.into());
    }
}

/// <https://cloud.google.com/compute/docs/labeling-resources#requirements>
pub fn check(labels: &Value) -> Result<()> {
    let refuse = |why: String| {
        Err(ApiError::invalid(format!(
            "Invalid value for field 'resource.labels': {why}."
        )))
    };
    let Some(labels) = labels.as_object() else {
        return refuse("it must be a map".to_owned());
    };
    if labels.len() > 64 {
        return refuse("a resource has at most 64 labels".to_owned());
    }
    let word = |text: &str| {
        text.chars().count() <= 63
            && text.chars().all(|c| {
                c == '_' || c == '-' || c.is_numeric() || (c.is_alphabetic() && !c.is_uppercase())
            })
    };
    for (key, value) in labels {
        if !word(key) || !key.chars().next().is_some_and(|c| c.is_alphabetic()) {
            return refuse(format!("'{key}' is no label key"));
        }
        if !value.as_str().is_some_and(word) {
            return refuse(format!("{value} is no label value (key '{key}')"));
        }
    }
    Ok(())
}

/// `setLabels`: all labels at once, by someone who has seen the current ones.
pub fn set(
    _: &mut Context,
    resource: &mut Map<String, Value>,
    mut body: Map<String, Value>,
) -> Result<()> {
    if body.get("labelFingerprint") != resource.get("labelFingerprint") {
        return Err(ApiError::precondition_because(
            "Labels fingerprint either invalid or resource labels have changed",
        ));
    }
    let labels = body.remove("labels").unwrap_or_else(|| json!({}));
    check(&labels)?;
    resource.insert("labels".to_owned(), labels);
    stamp(resource);
    Ok(())
}
