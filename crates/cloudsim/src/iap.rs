//! Identity-Aware Proxy: who may open a tunnel to which machine.
//! <https://cloud.google.com/iap/docs/reference/rest/v1/v1/getIamPolicy>

use crate::error::{ApiError, Result};
use crate::http::{Call, Reply};
use crate::iam::Guarded;

/// Everything below `/iap/v1/`: policies of `projects/P/iap_tunnel…`.
pub async fn call(call: &mut Call, path: &[&str]) -> Result<Reply> {
    let body = call.json().await?;
    let resource = path.join("/");
    let (name, verb) = resource.rsplit_once(':').unwrap_or((&resource, ""));
    let permissions = match path {
        ["projects", _, "iap_tunnel", "zones", _, "instances", _] => "iap.tunnelInstances",
        ["projects", _, "iap_tunnel", "zones", _] => "iap.tunnelZones",
        ["projects", _, last] if last.starts_with("iap_tunnel") => "iap.tunnel",
        _ => return Err(ApiError::not_found(format!("No such resource: {name}"))),
    };
    let mut store = call.world.store();
    let guarded = Guarded {
        project: path[1],
        key: format!("iap/{name}"),
        permissions,
        name,
    };
    guarded.call(&mut store, call, verb, body)
}
