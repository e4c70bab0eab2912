//! Connections: dispatch by path, the fault plan, the request log.

use crate::body::{Body, BoxError, Shaped};
use crate::error::{ApiError, Result};
use crate::fault::Fault;
use crate::http::{Call, Query, Reply, now};
use crate::iam::Caller;
use crate::log::Entry;
use crate::{
    World, accounts, admin, compute, endpoints, iap, project, secrets, services, settings, storage,
};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Bytes that are read of a connection at a time, at most.
const READ_AHEAD: usize = 120 << 10;

pub async fn serve(listener: TcpListener, world: Arc<World>, mut stopped: oneshot::Receiver<()>) {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of file descriptors, until a connection ends.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
            _ = &mut stopped => return,
        };
        let _ = stream.set_nodelay(true);
        let world = world.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| handle(world.clone(), request));
            // An error here is a connection that the client or the fault plan cut; it is in the log.
            let _ = http1::Builder::new()
                // Larger ones would come from the system and be cleared each time.
                .max_buf_size(READ_AHEAD)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Makes hyper close the connection without a reply.
type Cut = BoxError;

/// The log's entry of a call, written when the call ends in whatever way: dropped when the client goes away.
struct Logged {
    world: Arc<World>,
    entry: Option<Entry>,
    request_bytes: Arc<AtomicU64>,
}

impl Drop for Logged {
    fn drop(&mut self) {
        if let Some(mut entry) = self.entry.take() {
            entry.request_bytes = self.request_bytes.load(Ordering::Relaxed);
            self.world.log.push(entry);
        }
    }
}

async fn handle(world: Arc<World>, request: Request<Incoming>) -> std::result::Result<Reply, Cut> {
    let (parts, incoming) = request.into_parts();
    let raw_path = parts.uri.path().to_owned();
    let raw_query = parts.uri.query().unwrap_or_default().to_owned();
    let token = bearer(&parts.headers);
    let caller = token.as_deref().map(Caller::of_token);
    let is_admin = raw_path.starts_with("/_sim/");

    let has_body = !incoming.is_end_stream();
    let mut request_body = Shaped::new(incoming.map_err(BoxError::from).boxed_unsync());
    let mut logged = Logged {
        world: world.clone(),
        entry: None,
        request_bytes: request_body.count.clone(),
    };
    let mut fault = None;
    if !is_admin {
        let entry = Entry {
            time: now(),
            seq: world.arrivals.fetch_add(1, Ordering::Relaxed) + 1,
            method: parts.method.to_string(),
            path: raw_path.clone(),
            query: raw_query.clone(),
            identity: caller.as_ref().map(|caller| caller.member.clone()),
            status: None,
            request_bytes: 0,
            response_bytes: 0,
            fault: None,
            mutates: mutates(&parts.method, &raw_path, &parts.headers),
        };
        let mut plan = world.faults.lock().expect("no panic while held");
        fault = plan.strike(&parts.method, &raw_path);
        if fault.is_none() && token.is_some_and(|token| plan.expired_tokens.contains(&token)) {
            fault = Some(Fault::Status {
                status: 401,
                retry_after: None,
            });
        }
        drop(plan);
        logged.entry = Some(Entry {
            fault: fault.as_ref().map(Fault::name),
            ..entry
        });
    }

    match fault {
        Some(Fault::CutRequest { .. }) if !has_body => return Err("cut".into()),
        Some(Fault::CutRequest { after }) => request_body.cut = Some(after),
        Some(Fault::Slow { bytes_per_second }) => request_body.pace = Some(bytes_per_second.max(1)),
        Some(Fault::DamageRequest { at }) => request_body.damage = Some(at),
        _ => {}
    }
    let decode = |segment: &str| {
        percent_encoding::percent_decode_str(segment)
            .decode_utf8_lossy()
            .into_owned()
    };
    let mut call = Call {
        world,
        method: parts.method,
        path: raw_path.split('/').skip(1).map(decode).collect(),
        query: Query::parse(&raw_query),
        headers: parts.headers,
        body: request_body.boxed_unsync(),
        caller,
        operation_error: None,
    };
    let latency = call.world.settings().latency_ms;
    if latency > 0 && !is_admin {
        tokio::time::sleep(Duration::from_millis(latency)).await;
    }
    let result = match &fault {
        Some(Fault::Status {
            status,
            retry_after,
        }) => {
            let mut reply = ApiError::of_status(*status).reply();
            if let Some(seconds) = retry_after {
                reply.headers_mut().insert("retry-after", (*seconds).into());
            }
            Ok(reply)
        }
        // Only an upload keeps a part of what it is sent; no other call may see a body that looks whole.
        Some(Fault::CutRequest { .. })
            if call
                .path
                .first()
                .is_none_or(|first| !["upload", "resumable"].contains(&first.as_str())) =>
        {
            Err(ApiError::of_status(400))
        }
        Some(Fault::OperationFails(error)) => {
            call.operation_error = Some(error.clone());
            dispatch(&mut call).await
        }
        _ => dispatch(&mut call).await,
    };
    // A reply in the middle of a body would reach most clients as a broken pipe.
    while let Ok(Some(_)) = call.next_data().await {}
    let reply = match result {
        Ok(reply) => reply,
        Err(error) => error.reply(),
    };

    let length = reply.body().size_hint().exact();
    let cut_response = match fault {
        Some(Fault::CutRequest { .. } | Fault::LostReply) => return Err("cut".into()),
        Some(Fault::CutResponse { after }) => match length {
            Some(0) => return Err("cut".into()),
            Some(length) => Some(after.min(length - 1)),
            None => Some(after),
        },
        _ => None,
    };
    if let Some(entry) = &mut logged.entry {
        entry.status = Some(reply.status().as_u16());
        entry.response_bytes = cut_response.or(length).unwrap_or_default();
    }
    drop(logged);
    if matches!(fault, Some(Fault::NoReply)) {
        std::future::pending::<()>().await;
    }
    let (pace, damage) = match fault {
        Some(Fault::Slow { bytes_per_second }) => (Some(bytes_per_second.max(1)), None),
        Some(Fault::DamageResponse { at }) => (None, Some(at)),
        _ => (None, None),
    };
    if cut_response.is_none() && pace.is_none() && damage.is_none() {
        return Ok(reply);
    }
    Ok(reply.map(|body| -> Body {
        let mut body = Shaped::new(body);
        (body.cut, body.pace, body.damage) = (cut_response, pace, damage);
        body.boxed_unsync()
    }))
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("authorization")?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty())
        .then(|| token.trim().to_owned())
}

/// Whether a call asks for a change. Some that only ask go by POST or PUT.
fn mutates(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    if method == Method::GET || method == Method::HEAD {
        return false;
    }
    let status_query = headers
        .get("content-range")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|v| v.starts_with("bytes */"));
    let asks = [
        ":getIamPolicy",
        "/getIamPolicy",
        ":testIamPermissions",
        "/testIamPermissions",
        "/wait",
    ];
    !status_query && !asks.iter().any(|end| path.ends_with(end))
}

/// The API that serves paths with these first segments.
const APIS: &[(&str, &str)] = &[
    ("compute", "compute.googleapis.com"),
    ("crm", "cloudresourcemanager.googleapis.com"),
    ("iam", "iam.googleapis.com"),
    ("iap", "iap.googleapis.com"),
    ("secretmanager", "secretmanager.googleapis.com"),
    ("servicemanagement", "servicemanagement.googleapis.com"),
    ("serviceusage", "serviceusage.googleapis.com"),
    ("storage", "storage.googleapis.com"),
];

async fn dispatch(call: &mut Call) -> Result<Reply> {
    let mut path = std::mem::take(&mut call.path);
    let api = APIS
        .iter()
        .find(|(first, _)| path.first().is_some_and(|p| p == first));
    if let Some((_, api)) = api {
        // Projects are named by id or by number; from here on by id.
        let at = path.iter().position(|segment| segment == "projects");
        let named = at.and_then(|at| path.get_mut(at + 1));
        let project = match named.filter(|named| *named != "_" && *named != "-") {
            Some(segment) => {
                let (named, verb) = match segment.split_once(':') {
                    Some((named, verb)) => (named, Some(verb)),
                    None => (segment.as_str(), None),
                };
                let id = project::id(&mut call.world.store(), named)?;
                *segment = verb.map_or(id.clone(), |verb| format!("{id}:{verb}"));
                id
            }
            None => call.query.get("project").unwrap_or_default().to_owned(),
        };
        if !project.is_empty() {
            settings::admit(call, api, &project)?;
        }
    }
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["_sim", rest @ ..] => admin::call(call, rest).await,
        ["storage", "v1", rest @ ..] | ["download", "storage", "v1", rest @ ..] => {
            storage::call(call, rest).await
        }
        ["compute", "v1", rest @ ..] => compute::call(call, rest).await,
        ["crm", version @ ("v1" | "v3"), "projects", name] => {
            project::call(call, version, name).await
        }
        ["iam", "v1", rest @ ..] => accounts::call(call, rest).await,
        ["iap", "v1", rest @ ..] => iap::call(call, rest).await,
        ["secretmanager", "v1", rest @ ..] => secrets::call(call, rest).await,
        ["servicemanagement", "v1", rest @ ..] => endpoints::call(call, rest).await,
        ["serviceusage", "v1", rest @ ..] => services::call(call, rest).await,
        ["upload", "storage", "v1", "b", bucket, "o"]
        // Where gcloud sends resumable uploads.
        | ["resumable", "upload", "storage", "v1", "b", bucket, "o"] => {
            storage::upload(call, bucket).await
        }
        [bucket, object @ ..]
            if call.method == Method::GET
                && !object.is_empty()
                && call.world.store().get(&storage::bucket_key(bucket)).is_some() =>
        {
            storage::xml_read(call, bucket, object).await
        }
        _ => Err(ApiError::not_found(format!(
            "cloudsim does not serve {} /{}; what it serves is in docs/cloudsim.md.",
            call.method,
            segments.join("/")
        ))),
    }
}
