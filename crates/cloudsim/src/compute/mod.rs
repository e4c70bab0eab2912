//! Compute Engine: one engine for all kinds of resources, a table row and a few rules for each.
//! <https://cloud.google.com/compute/docs/reference/rest/v1>
//!
//! Keys: `compute/` and the resource's path, such as `compute/projects/P/global/images/NAME`. A resource with an
//! unfinished operation names it in `_operation`.

mod catalog;
mod disks;
mod filter;
mod images;
mod instances;
mod labels;
mod network;
mod operations;
mod policies;
mod project;
mod snapshots;

pub use instances::{Inside, attributes, from_inside, preempt};
pub use project::metadata as common_metadata;

use crate::World;
use crate::error::{ApiError, Result};
use crate::fault::OperationError;
use crate::http::{Call, Query, Reply, json, merge, now, public};
use crate::iam;
use crate::store::{Effects, Store};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use operations::Ending;
use serde_json::{Map, Value, json};

/// What `selfLink`s start with, whatever address serves them: clients compare them with what they were configured with.
const LINKS: &str = "https://www.googleapis.com/compute/v1/";

/// Where a collection lies below its project.
#[derive(Clone, Copy, PartialEq)]
pub enum Scope {
    Global,
    Regional,
    Zonal,
}

/// One kind of resource.
pub struct Kind {
    /// As in the path.
    pub collection: &'static str,
    /// As in the field `kind`.
    pub name: &'static str,
    pub scope: Scope,
    /// The field `status`, while it is made and once it is made.
    pub status: Option<[&'static str; 2]>,
    /// Its status once making it failed; without one it vanishes.
    pub failed: Option<&'static str>,
    /// Fields that PATCH may change.
    pub patchable: &'static [&'static str],
    /// Checks and fills a new resource. An error of the outer kind refuses the call; one that is returned ends the
    /// operation.
    pub create: fn(&mut Context, &mut Map<String, Value>) -> Result<Option<OperationError>>,
    /// Refuses to delete a resource that something needs.
    pub delete: fn(&mut Context, &Map<String, Value>) -> Result<()>,
    /// Calls of its own, `POST …/NAME/VERB`, beside those of every kind.
    pub verbs: &'static [(&'static str, Verb)],
}

/// Changes a resource as a verb's body says.
pub type Verb = fn(&mut Context, &mut Map<String, Value>, Map<String, Value>) -> Result<()>;

const KINDS: &[Kind] = &[
    disks::KIND,
    images::KIND,
    instances::KIND,
    network::NETWORK,
    network::SUBNETWORK,
    network::FIREWALL,
    network::ROUTER,
    network::ADDRESS,
    policies::KIND,
    snapshots::KIND,
];

/// Verbs that go on beside another change of the resource, as they do on disks in the real service.
const SHARED_VERBS: &[&str] = &[
    "addResourcePolicies",
    "createSnapshot",
    "removeResourcePolicies",
];

/// Verbs of every kind.
const COMMON_VERBS: &[(&str, Verb)] = &[("setLabels", labels::set)];

/// What rules may look at.
pub struct Context<'a> {
    pub world: &'a World,
    pub store: &'a mut Store,
    pub call: &'a Call,
    pub project: &'a str,
    /// `global`, `regions/R` or `zones/Z`.
    pub scope: &'a str,
    pub also: Also,
}

/// What a change does to other resources, and whether it fails in the end.
#[derive(Default)]
pub struct Also {
    /// New ones, there at once.
    pub made: Vec<(String, Value)>,
    pub now: Effects,
    pub success: Effects,
    pub failure: Effects,
    /// Ends the operation.
    pub error: Option<OperationError>,
}

/// A collection of a project, such as `projects/P/global/images`.
struct Place<'a> {
    project: &'a str,
    /// `global`, `zones/Z` or `regions/R`.
    scope: String,
    kind: &'static Kind,
}

impl Place<'_> {
    /// Path of a resource; of the collection itself with an empty name.
    fn path(&self, name: &str) -> String {
        format!(
            "projects/{}/{}/{}/{name}",
            self.project, self.scope, self.kind.collection
        )
    }

    fn key(&self, name: &str) -> String {
        format!("compute/{}", self.path(name))
    }

    fn policy_key(&self, name: &str) -> String {
        format!("compute-iam/{}", self.path(name))
    }

    fn permit(&self, store: &Store, call: &Call, action: &str, name: &str) -> Result<()> {
        let permission = format!("compute.{}.{action}", self.kind.collection);
        let resource = format!("'{}'", self.path(name));
        let policy = (!name.is_empty())
            .then(|| store.get(&self.policy_key(name)))
            .flatten();
        iam::require(
            store,
            call.caller()?,
            &permission,
            self.project,
            policy,
            &resource,
        )
        .map_err(|error| {
            ApiError::new(
                403,
                "forbidden",
                format!(
                    "Required '{permission}' permission for {resource}. {}",
                    error.message
                ),
            )
        })
    }
}

/// Everything below `/compute/v1/`.
pub async fn call(call: &mut Call, path: &[&str]) -> Result<Reply> {
    call.caller()?;
    let ["projects", project, rest @ ..] = path else {
        return Err(unknown(call, path));
    };
    let method = call.method.as_str().to_owned();
    let (scope, rest) = match rest {
        [] if method == "GET" => return project::get(call, project),
        ["setCommonInstanceMetadata"] if method == "POST" => {
            return project::set_metadata(call, project).await;
        }
        [place @ ("zones" | "regions")] if method == "GET" => {
            return catalog::list(call, project, place);
        }
        [place @ ("zones" | "regions"), name] if method == "GET" => {
            return catalog::get(call, project, place, name);
        }
        ["aggregated", "operations"] if method == "GET" => {
            return operations::aggregated(call, project);
        }
        ["aggregated", collection] if method == "GET" => {
            return aggregated(call, project, collection);
        }
        ["global", rest @ ..] => ("global".to_owned(), rest),
        [place @ ("zones" | "regions"), name, rest @ ..] => {
            catalog::place(project, place, name)?;
            (format!("{place}/{name}"), rest)
        }
        _ => return Err(unknown(call, path)),
    };
    if let ["operations", rest @ ..] = rest {
        return operations::call(call, project, &scope, rest);
    }
    let [collection, rest @ ..] = rest else {
        return Err(unknown(call, path));
    };
    if let (Some(zone), "GET") = (scope.strip_prefix("zones/"), method.as_str())
        && let Some(found) = catalog::types(call, project, zone, collection, rest)?
    {
        return Ok(json(&found));
    }
    let of_scope = |kind: &&Kind| match kind.scope {
        Scope::Global => scope == "global",
        Scope::Regional => scope.starts_with("regions/"),
        Scope::Zonal => scope.starts_with("zones/"),
    };
    let Some(kind) = KINDS
        .iter()
        .filter(of_scope)
        .find(|kind| kind.collection == *collection)
    else {
        return Err(unknown(call, path));
    };
    let place = Place {
        project,
        scope,
        kind,
    };
    match (method.as_str(), rest) {
        ("GET", []) => list(call, &place),
        ("POST", []) => insert(call, &place).await,
        ("GET", ["family", family]) if *collection == "images" => {
            let mut store = call.world.store();
            place.permit(&store, call, "getFromFamily", family)?;
            let images = place.key("");
            advance(&mut store, &images)?;
            images::of_family(&store, &images, family).map(|found| json(&public(found)))
        }
        ("GET", [name]) => {
            let mut store = call.world.store();
            place.permit(&store, call, "get", name)?;
            advance(&mut store, &place.key(name))?;
            find(&store, &place.path(name)).map(|found| json(&public(found)))
        }
        ("DELETE", [name]) => {
            let mut store = call.world.store();
            place.permit(&store, call, "delete", name)?;
            change(
                call,
                &mut store,
                &place,
                name,
                "delete",
                |context, resource| {
                    (kind.delete)(context, &resource)?;
                    Ok(None)
                },
            )
        }
        ("PATCH", [name]) => {
            let body = call.json().await?;
            let mut store = call.world.store();
            place.permit(&store, call, "update", name)?;
            change(call, &mut store, &place, name, "patch", |_, resource| {
                patch(&place, resource, body).map(Some)
            })
        }
        (_, [name, verb]) if verb.ends_with("IamPolicy") || *verb == "testIamPermissions" => {
            let mut body = call.json().await?;
            if !body.contains_key("policy") && body.contains_key("bindings") {
                body = Map::from_iter([("policy".to_owned(), body.into())]);
            }
            let mut store = call.world.store();
            let path = place.path(name);
            find(&store, &path)?;
            let guarded = iam::Guarded {
                project,
                key: place.policy_key(name),
                permissions: &format!("compute.{collection}"),
                name: &path,
            };
            guarded.call(&mut store, call, verb, body)
        }
        ("GET", [name, question]) if *collection == "instances" => {
            let store = call.world.store();
            let (action, answer) =
                instances::question(question).ok_or_else(|| unknown(call, path))?;
            place.permit(&store, call, action, name)?;
            answer(&call.query, find(&store, &place.path(name))?).map(|reply| json(&reply))
        }
        ("POST" | "PATCH", [name, verb]) => {
            let Some((_, rule)) = kind
                .verbs
                .iter()
                .chain(COMMON_VERBS)
                .find(|(known, _)| known == verb)
            else {
                return Err(unknown(call, path));
            };
            let mut body = call.json().await?;
            tidy(&mut body);
            let mut store = call.world.store();
            place.permit(&store, call, verb, name)?;
            change(
                call,
                &mut store,
                &place,
                name,
                verb,
                |context, mut resource| {
                    rule(context, &mut resource, body)?;
                    Ok(Some(resource))
                },
            )
        }
        _ => Err(unknown(call, path)),
    }
}

/// A resource as a PATCH wants it. Clients send back fields that cannot be changed: as long as they are what they are,
/// that is no change.
fn patch(
    place: &Place,
    mut resource: Map<String, Value>,
    mut body: Map<String, Value>,
) -> Result<Map<String, Value>> {
    if resource.contains_key("fingerprint")
        && body.get("fingerprint") != resource.get("fingerprint")
    {
        return Err(ApiError::precondition_because("Invalid fingerprint."));
    }
    let same = |old: Option<&Value>, new: &Value| {
        let as_link = |value: &Value| value.as_str().map(|text| link(place.project, text));
        old == Some(new) || old.is_some_and(|old| as_link(old) == as_link(new) && old.is_string())
    };
    body.retain(|field, value| !same(resource.get(field), value));
    let fixed =
        |field: &&String| !place.kind.patchable.contains(&field.as_str()) && *field != "labels";
    if let Some(field) = body.keys().find(fixed) {
        return Err(ApiError::invalid(format!(
            "Invalid value for field 'resource.{field}': it cannot be changed."
        )));
    }
    if let Some(labels) = body.get("labels") {
        labels::check(labels)?;
    }
    merge(&mut resource, body);
    labels::stamp(&mut resource);
    Ok(resource)
}

fn unknown(call: &Call, path: &[&str]) -> ApiError {
    ApiError::not_found(format!(
        "cloudsim does not serve {} /compute/v1/{}; what it serves is in docs/cloudsim.md.",
        call.method,
        path.join("/")
    ))
}

/// The resource at a path, or 404.
pub fn find<'a>(store: &'a Store, path: &str) -> Result<&'a Value> {
    store
        .get(&format!("compute/{path}"))
        .ok_or_else(|| ApiError::not_found(format!("The resource '{path}' was not found")))
}

/// Moves unfinished operations of what a read is about to show one step on.
fn advance(store: &mut Store, prefix: &str) -> Result<()> {
    let unfinished: Vec<String> = store
        .scan(prefix, "")
        .filter_map(|(_, value)| value["_operation"].as_str().map(str::to_owned))
        .collect();
    unfinished
        .iter()
        .try_for_each(|operation| operations::step(store, operation))
}

/// A name by RFC 1035, as most kinds of resources take it.
pub fn check_name(field: &str, name: &str) -> Result<()> {
    let bytes = name.as_bytes();
    let valid = (1..=63).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes.last() != Some(&b'-')
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
    if valid {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "Invalid value for field '{field}': '{name}'. Must be a match of regex '(?:[a-z](?:[-a-z0-9]{{0,61}}[a-z0-9])?)'"
    )))
}

pub fn already(path: &str) -> ApiError {
    ApiError::new(
        409,
        "alreadyExists",
        format!("The resource '{path}' already exists"),
    )
}

/// The fields of a new resource that are the service's to say.
pub fn base(
    store: &mut Store,
    kind: &Kind,
    project: &str,
    scope: &str,
    path: &str,
) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |field: &str, value: String| fields.insert(field.to_owned(), value.into());
    set("kind", kind.name.to_owned());
    set("id", store.next_id());
    set(
        "name",
        path.rsplit('/').next().unwrap_or_default().to_owned(),
    );
    set("creationTimestamp", now());
    set("selfLink", format!("{LINKS}{path}"));
    match kind.scope {
        Scope::Global => None,
        Scope::Regional => set("region", link(project, scope)),
        Scope::Zonal => set("zone", link(project, scope)),
    };
    fields
}

/// Drops what clients send for fields that are not set: null, an empty text, a list of one null.
fn tidy(fields: &mut Map<String, Value>) {
    fields.retain(|field, value| {
        // Here an empty text is a value.
        if !["labels", "metadata", "items"].contains(&field.as_str())
            && let Value::Object(inner) = value
        {
            tidy(inner);
        }
        !value.is_null() && *value != "" && *value != json!([null])
    });
}

async fn insert(call: &mut Call, place: &Place<'_>) -> Result<Reply> {
    let mut body = call.json().await?;
    tidy(&mut body);
    let kind = place.kind;
    let world = call.world.clone();
    let mut store = world.store();
    if let Some(operation) = operations::replay(&store, call, place.project)? {
        return Ok(json(&operation));
    }
    let name = body
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    place.permit(&store, call, "create", &name)?;
    check_name("resource.name", &name)?;
    if let Some(labels) = body.get("labels") {
        labels::check(labels)?;
    }
    let (path, key) = (place.path(&name), place.key(&name));
    if store.get(&key).is_some() {
        return Err(already(&path));
    }
    let mut resource = Map::new();
    resource.extend(
        body.into_iter()
            .filter(|(field, _)| !field.starts_with('_')),
    );
    resource.extend(base(&mut store, kind, place.project, &place.scope, &path));
    let mut context = Context {
        world: &world,
        store: &mut store,
        call,
        project: place.project,
        scope: &place.scope,
        also: Also::default(),
    };
    let error = (kind.create)(&mut context, &mut resource)?;
    let also = context.also;
    labels::stamp(&mut resource);
    let status = |status: Option<&str>| match status {
        Some(status) => json!({"status": status, "_operation": null}),
        None => json!({"_operation": null}),
    };
    if let Some([making, _]) = kind.status {
        resource.insert("status".to_owned(), making.into());
    }
    let made = status(kind.status.map(|[_, made]| made));
    let failed = kind
        .failed
        .map_or(Value::Null, |failed| status(Some(failed)));
    let ending = Ending {
        success: [vec![(key.clone(), made)], also.success].concat(),
        failure: [vec![(key.clone(), failed)], also.failure].concat(),
        error: call.operation_error.clone().or(error).or(also.error),
    };
    let resource = Value::Object(resource);
    let operation = operations::start(
        &mut store,
        call,
        place.project,
        &place.scope,
        "insert",
        &resource,
        ending,
    )?;
    also.made
        .into_iter()
        .try_for_each(|(key, value)| store.put(&key, value))?;
    store.apply(also.now)?;
    put_pending(&mut store, &key, resource, &operation)?;
    Ok(json(&public(&operation)))
}

/// The effect that makes the new state of a resource of the old one.
fn difference(old: &Map<String, Value>, new: Map<String, Value>) -> Value {
    let gone = old.keys().filter(|field| !new.contains_key(*field));
    let mut fields: Map<String, Value> = gone.map(|field| (field.clone(), Value::Null)).collect();
    fields.extend(
        new.into_iter()
            .filter(|(field, value)| old.get(field) != Some(value)),
    );
    fields.into()
}

/// The effect, and with it the end of the operation that the resource was in.
fn freed(mut effect: Value) -> Value {
    effect["_operation"] = Value::Null;
    effect
}

/// Keeps a resource with the name of the operation that is under way on it.
fn put_pending(store: &mut Store, key: &str, mut resource: Value, operation: &Value) -> Result<()> {
    resource["_operation"] = operation["_key"].clone();
    Ok(store.put(key, resource)?)
}

/// Starts an operation that ends with what `new` makes of a resource, or without it.
fn change(
    call: &Call,
    store: &mut Store,
    place: &Place,
    name: &str,
    verb: &str,
    new: impl FnOnce(&mut Context, Map<String, Value>) -> Result<Option<Map<String, Value>>>,
) -> Result<Reply> {
    if let Some(operation) = operations::replay(store, call, place.project)? {
        return Ok(json(&operation));
    }
    let (path, key) = (place.path(name), place.key(name));
    let old = find(store, &path)?.clone();
    let settled = ["READY", "RUNNING", "TERMINATED"]
        .iter()
        .any(|status| old["status"] == *status);
    let shared = SHARED_VERBS.contains(&verb);
    if old.get("_operation").is_some() && !(shared && settled) {
        advance(store, &key)?;
        return Err(ApiError::new(
            400,
            "resourceNotReady",
            format!("The resource '{path}' is not ready"),
        ));
    }
    let fields = old.as_object().cloned().unwrap_or_default();
    let mut context = Context {
        world: &call.world,
        store,
        call,
        project: place.project,
        scope: &place.scope,
        also: Also::default(),
    };
    let new = new(&mut context, fields)?;
    let also = context.also;
    let mut meanwhile = old.clone();
    let status = match verb {
        "start" => Some("STAGING"),
        "stop" => Some("STOPPING"),
        "delete" if place.kind.collection == "instances" => Some("STOPPING"),
        "delete" if meanwhile.get("status").is_some() => Some("DELETING"),
        _ => None,
    };
    if let Some(status) = status {
        meanwhile["status"] = status.into();
    }
    let pending = meanwhile.as_object().cloned().unwrap_or_default();
    let undone = difference(&pending, old.as_object().cloned().unwrap_or_default());
    let undone = if shared { undone } else { freed(undone) };
    let done = match new {
        Some(new) if shared => vec![(key.clone(), difference(&pending, new))],
        Some(new) => vec![(key.clone(), freed(difference(&pending, new)))],
        None => vec![
            (key.clone(), Value::Null),
            (place.policy_key(name), Value::Null),
        ],
    };
    let ending = Ending {
        success: [done, also.success].concat(),
        failure: [vec![(key.clone(), undone)], also.failure].concat(),
        error: call.operation_error.clone().or(also.error),
    };
    let operation =
        operations::start(store, call, place.project, &place.scope, verb, &old, ending)?;
    for (key, mut made) in also.made {
        // What takes its time is moved on by those who look at it.
        if made["status"] == "CREATING" {
            made["_operation"] = operation["_key"].clone();
        }
        store.put(&key, made)?;
    }
    store.apply(also.now)?;
    if !shared {
        put_pending(store, &key, meanwhile, &operation)?;
    }
    Ok(json(&public(&operation)))
}

fn list(call: &Call, place: &Place) -> Result<Reply> {
    let mut store = call.world.store();
    place.permit(&store, call, "list", "")?;
    advance(&mut store, &place.key(""))?;
    let key = place.key("");
    let items = store
        .scan(&key, "")
        .map(|(key, value)| (key, public(value)));
    let mut reply = page(&call.query, items)?;
    reply["kind"] = format!("{}List", place.kind.name).into();
    reply["id"] = place.path("").trim_end_matches('/').into();
    reply["selfLink"] = format!("{LINKS}{}", place.path("").trim_end_matches('/')).into();
    Ok(json(&reply))
}

/// Filters, orders and cuts a list as the query asks.
fn page<'a>(query: &Query, items: impl Iterator<Item = (&'a str, Value)>) -> Result<Value> {
    let filter = query
        .get("filter")
        .filter(|text| !text.trim().is_empty())
        .map(filter::parse)
        .transpose()?;
    let most = query.number("maxResults")?.map_or(500, |n| n.clamp(1, 500)) as usize;
    let mut items: Vec<(&str, Value)> = items
        .filter(|(_, item)| filter.as_ref().is_none_or(|filter| filter.matches(item)))
        .collect();
    match query.get("orderBy") {
        // Ids grow with time, and faster than a clock of milliseconds.
        Some("creationTimestamp desc") => {
            items.sort_by(|(_, a), (_, b)| b["id"].as_str().cmp(&a["id"].as_str()))
        }
        None | Some("" | "name") => {}
        Some(other) => {
            return Err(ApiError::invalid(format!(
                "Invalid value for field 'orderBy': '{other}'."
            )));
        }
    }
    if let Some(token) = query.get("pageToken").filter(|token| !token.is_empty()) {
        let last = URL_SAFE_NO_PAD
            .decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let at = last.and_then(|last| items.iter().position(|(key, _)| *key == last));
        items.drain(
            ..=at.ok_or_else(|| {
                ApiError::invalid(format!("Invalid value for field 'pageToken': '{token}'."))
            })?,
        );
    }
    let mut reply = json!({});
    if items.len() > most {
        reply["nextPageToken"] = URL_SAFE_NO_PAD.encode(items[most - 1].0).into();
        items.truncate(most);
    }
    if !items.is_empty() {
        reply["items"] = items.into_iter().map(|(_, item)| item).collect();
    }
    Ok(reply)
}

/// A collection of all zones.
fn aggregated(call: &Call, project: &str, collection: &str) -> Result<Reply> {
    let kind = KINDS.iter().find(|kind| kind.collection == collection);
    let kind =
        kind.ok_or_else(|| unknown(call, &["projects", project, "aggregated", collection]))?;
    let all = Place {
        project,
        scope: "aggregated".to_owned(),
        kind,
    };
    let mut store = call.world.store();
    all.permit(&store, call, "list", "")?;
    let prefix = format!("compute/projects/{project}/");
    let of_kind = |key: &str| key[prefix.len()..].rsplit('/').nth(1) == Some(collection);
    let keys: Vec<String> = store
        .scan(&prefix, "")
        .map(|(key, _)| key)
        .filter(|key| of_kind(key))
        .map(str::to_owned)
        .collect();
    keys.iter().try_for_each(|key| advance(&mut store, key))?;
    let items = keys
        .iter()
        .filter_map(|key| Some((key.as_str(), public(store.get(key)?))));
    let reply = page(&call.query, items)?;
    Ok(json(&by_scope(reply, collection, kind.name)))
}

/// A list of what is in several places, place by place.
fn by_scope(mut reply: Value, collection: &str, kind: &str) -> Value {
    let mut scopes = json!({});
    for item in reply["items"].as_array().into_iter().flatten() {
        let link = item["selfLink"].as_str().unwrap_or_default();
        let scope = link[LINKS.len()..]
            .split('/')
            .skip(2)
            .take_while(|part| *part != collection);
        let scope: Vec<&str> = scope.collect();
        let of_scope = &mut scopes[scope.join("/")][collection];
        match of_scope.as_array_mut() {
            Some(items) => items.push(item.clone()),
            None => *of_scope = json!([item]),
        }
    }
    reply["items"] = scopes;
    reply["kind"] = format!("{kind}AggregatedList").into();
    reply
}

/// The full URL of a resource that was named by any form of one: a URL, a path from the project, a path within it.
fn link(project: &str, text: &str) -> String {
    match text.find("projects/") {
        Some(at) => format!("{LINKS}{}", &text[at..]),
        None => format!("{LINKS}projects/{project}/{}", text.trim_start_matches('/')),
    }
}
