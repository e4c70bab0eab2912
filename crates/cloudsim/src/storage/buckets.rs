//! Buckets and their IAM policies.

use super::objects::access;
use super::{Conditions, shown};
use crate::error::{ApiError, Result};
use crate::http::{Call, Reply, empty, json, merge, now};
use crate::iam;
use crate::store::Store;
use serde_json::{Map, Value, json};

pub fn key(bucket: &str) -> String {
    format!("storage/b/{bucket}")
}

pub fn policy_key(bucket: &str) -> String {
    format!("storage/iam/{bucket}")
}

/// The bucket, or 404.
pub fn find<'a>(store: &'a Store, bucket: &str) -> Result<&'a Value> {
    store
        .get(&key(bucket))
        .ok_or_else(|| ApiError::not_found("The specified bucket does not exist."))
}

fn project(call: &Call) -> Result<&str> {
    call.query
        .get("project")
        .ok_or_else(|| ApiError::new(400, "required", "Required parameter: project"))
}

pub fn list(call: &Call) -> Result<Reply> {
    let project = project(call)?;
    let store = call.world.store();
    iam::require(
        &store,
        call.caller()?,
        "storage.buckets.list",
        project,
        None,
        "the Google Cloud project",
    )?;
    let prefix = key(call.query.get("prefix").unwrap_or_default());
    let items: Vec<Value> = store
        .scan(&prefix, "")
        .filter(|(_, bucket)| bucket["_project"] == project)
        .map(|(_, b)| shown(call, b))
        .collect();
    Ok(json(&json!({"kind": "storage#buckets", "items": items})))
}

pub async fn insert(call: &mut Call) -> Result<Reply> {
    let mut body = call.json().await?;
    let project = project(call)?.to_owned();
    let name = body
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let bytes = name.as_bytes();
    let alphanumeric =
        |at: Option<&u8>| at.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    // A name with dots may be 222 long, but must then be a domain that its maker has verified.
    if !(3..=63).contains(&bytes.len())
        || !bytes
            .iter()
            .all(|b| alphanumeric(Some(b)) || b"-_.".contains(b))
        || !alphanumeric(bytes.first())
        || !alphanumeric(bytes.last())
        || name.contains("google")
    {
        return Err(ApiError::invalid(format!("Invalid bucket name: '{name}'")));
    }
    let mut store = call.world.store();
    iam::require(
        &store,
        call.caller()?,
        "storage.buckets.create",
        &project,
        None,
        "the Google Cloud project",
    )?;
    if let Some(existing) = store.get(&key(&name)) {
        return Err(ApiError::new(
            409,
            "conflict",
            if existing["_project"] == *project {
                "Your previous request to create the named bucket succeeded and you already own it."
            } else {
                "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again."
            },
        ));
    }
    let time = now();
    let location = body
        .get("location")
        .and_then(Value::as_str)
        .unwrap_or("US")
        .to_uppercase();
    let location_type = if location.contains('-') {
        "region"
    } else {
        "multi-region"
    };
    let mut bucket = json!({
        "kind": "storage#bucket",
        "id": name,
        "selfLink": format!("/storage/v1/b/{name}"),
        "projectNumber": crate::project::number(&project),
        "generation": store.next_generation(),
        "metageneration": "1",
        "etag": iam::etag(1),
        "timeCreated": time,
        "updated": time,
        "storageClass": "STANDARD",
        "locationType": location_type,
        "rpo": if location_type == "region" { Value::Null } else { "DEFAULT".into() },
        "softDeletePolicy": {"retentionDurationSeconds": "604800", "effectiveTime": time},
        "iamConfiguration": {
            "bucketPolicyOnly": {"enabled": false},
            "uniformBucketLevelAccess": {"enabled": false},
            "publicAccessPrevention": "inherited",
        },
    });
    bucket
        .as_object_mut()
        .expect("an object")
        .retain(|_, value| !value.is_null());
    body.insert("location".to_owned(), location.into());
    apply(&mut bucket, body);
    bucket["_project"] = project.clone().into();
    store.put(&key(&name), bucket.clone())?;
    let mut policy = iam::empty_policy();
    policy["bindings"] = json!([
        {"role": "roles/storage.legacyBucketOwner",
         "members": [format!("projectEditor:{project}"), format!("projectOwner:{project}")]},
        {"role": "roles/storage.legacyBucketReader", "members": [format!("projectViewer:{project}")]},
    ]);
    store.put(&policy_key(&name), policy)?;
    Ok(json(&shown(call, &bucket)))
}

/// Writes what a caller may write, and what the service derives from it.
fn apply(bucket: &mut Value, mut body: Map<String, Value>) {
    body.retain(|field, _| {
        ![
            "kind",
            "id",
            "selfLink",
            "projectNumber",
            "metageneration",
            "etag",
            "timeCreated",
            "updated",
            "acl",
        ]
        .contains(&field.as_str())
            && !field.starts_with('_')
    });
    let time = now();
    if body.contains_key("softDeletePolicy") {
        body["softDeletePolicy"]["effectiveTime"] = time.clone().into();
    }
    merge(bucket.as_object_mut().expect("a bucket is an object"), body);
    let uniform = bucket["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"] == true;
    let access = &mut bucket["iamConfiguration"];
    if uniform
        && access["uniformBucketLevelAccess"]
            .get("lockedTime")
            .is_none()
    {
        // Switching back is possible for 90 days.
        let locked = std::time::SystemTime::now() + std::time::Duration::from_secs(90 * 86_400);
        access["uniformBucketLevelAccess"]["lockedTime"] =
            humantime::format_rfc3339_millis(locked).to_string().into();
    }
    access["bucketPolicyOnly"] = access["uniformBucketLevelAccess"].clone();
    bucket["updated"] = time.into();
}

pub fn get(call: &Call, bucket: &str) -> Result<Reply> {
    let store = call.world.store();
    let found = access(&store, call, bucket, "storage.buckets.get")?;
    Conditions::parse(&call.query, "if")?.check(Some(found), true)?;
    Ok(json(&shown(call, found)))
}

pub fn none(call: &Call, bucket: &str) -> Result<Reply> {
    access(&call.world.store(), call, bucket, "storage.buckets.get")?;
    Ok(json(&json!({"items": []})))
}

pub fn layout(call: &Call, bucket: &str) -> Result<Reply> {
    let store = call.world.store();
    let found = access(&store, call, bucket, "storage.objects.list")?;
    Ok(json(&json!({
        "kind": "storage#storageLayout",
        "bucket": bucket,
        "location": found["location"],
        "locationType": found["locationType"],
        "hierarchicalNamespace": {"enabled": false},
    })))
}

pub async fn update(call: &mut Call, bucket: &str) -> Result<Reply> {
    let body = call.json().await?;
    let mut store = call.world.store();
    let mut updated = access(&store, call, bucket, "storage.buckets.update")?.clone();
    Conditions::parse(&call.query, "if")?.check(Some(&updated), false)?;
    apply(&mut updated, body);
    let metageneration = super::number(&updated["metageneration"]) + 1;
    updated["metageneration"] = metageneration.to_string().into();
    updated["etag"] = iam::etag(metageneration).into();
    store.put(&key(bucket), updated.clone())?;
    Ok(json(&shown(call, &updated)))
}

pub fn delete(call: &Call, bucket: &str) -> Result<Reply> {
    let mut store = call.world.store();
    let found = access(&store, call, bucket, "storage.buckets.delete")?;
    Conditions::parse(&call.query, "if")?.check(Some(found), false)?;
    if store
        .scan(&super::object_key(bucket, ""), "")
        .next()
        .is_some()
    {
        return Err(ApiError::new(
            409,
            "conflict",
            "The bucket you tried to delete is not empty.",
        ));
    }
    store.remove(&policy_key(bucket))?;
    store.remove(&key(bucket))?;
    Ok(empty(204))
}

pub fn get_policy(call: &Call, bucket: &str) -> Result<Reply> {
    let store = call.world.store();
    access(&store, call, bucket, "storage.buckets.getIamPolicy")?;
    Ok(json(&policy(&store, bucket)))
}

fn policy(store: &Store, bucket: &str) -> Value {
    let mut policy = store
        .get(&policy_key(bucket))
        .cloned()
        .unwrap_or_else(iam::empty_policy);
    policy["kind"] = "storage#policy".into();
    policy["resourceId"] = format!("projects/_/buckets/{bucket}").into();
    policy
}

pub async fn set_policy(call: &mut Call, bucket: &str) -> Result<Reply> {
    let new = Value::Object(call.json().await?);
    let mut store = call.world.store();
    let found = access(&store, call, bucket, "storage.buckets.setIamPolicy")?;
    let prevented = found["iamConfiguration"]["publicAccessPrevention"] == "enforced";
    if prevented
        && (new.to_string().contains("\"allUsers\"")
            || new.to_string().contains("\"allAuthenticatedUsers\""))
    {
        return Err(ApiError::precondition_because(
            "The member bindings allUsers and allAuthenticatedUsers are not allowed since public access prevention is enforced.",
        ));
    }
    let current = policy(&store, bucket);
    Ok(json(&iam::replace_policy(
        &mut store,
        &policy_key(bucket),
        &current,
        new,
        ApiError::precondition(),
    )?))
}

pub fn test_permissions(call: &Call, bucket: &str) -> Result<Reply> {
    let store = call.world.store();
    let found = find(&store, bucket)?;
    let project = found["_project"].as_str().unwrap_or_default();
    let policy = store.get(&policy_key(bucket));
    let caller = call.caller()?;
    let held: Vec<&str> = call
        .query
        .all("permissions")
        .filter(|p| iam::allowed(&store, caller, p, project, policy))
        .collect();
    Ok(json(
        &json!({"kind": "storage#testIamPermissionsResponse", "permissions": held}),
    ))
}
