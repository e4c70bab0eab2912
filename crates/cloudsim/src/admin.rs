//! `/_sim/…`: what tests and rehearsals need beside Google's own API. Not logged, never struck by a fault.

use crate::compute;
use crate::error::{ApiError, Result};
use crate::fault::Plan;
use crate::http::{Call, Reply, json};
use crate::metadata;
use crate::settings::Settings;
use crate::storage;
use serde_json::json;

pub async fn call(call: &mut Call, path: &[&str]) -> Result<Reply> {
    let world = call.world.clone();
    match (call.method.as_str(), path) {
        ("GET", ["log"]) => Ok(json(
            &serde_json::to_value(world.log.entries()).expect("entries serialise"),
        )),
        ("DELETE", ["log"]) => {
            world.log.clear();
            Ok(json(&json!({})))
        }
        ("GET", ["state"]) => Ok(json(&world.store().dump())),
        ("PUT", ["faults"]) => {
            let body = call.json().await?;
            let plan: Plan = serde_json::from_value(body.into())
                .map_err(|e| ApiError::invalid(e.to_string()))?;
            *world.faults.lock().expect("no panic while held") = plan;
            Ok(json(&json!({})))
        }
        ("PUT", ["settings"]) => {
            let body = call.json().await?;
            let settings: Settings = serde_json::from_value(body.into())
                .map_err(|e| ApiError::invalid(e.to_string()))?;
            *world.settings() = settings;
            Ok(json(&json!({})))
        }
        ("POST", ["reset"]) => {
            world.store().clear()?;
            world.log.clear();
            *world.faults.lock().expect("no panic while held") = Plan::default();
            *world.settings() = Settings::default();
            world.rates.lock().expect("no panic while held").clear();
            world.uploads.lock().expect("no panic while held").clear();
            storage::remove_orphans(&world.store(), &world.objects)?;
            Ok(json(&json!({})))
        }
        (
            _,
            [
                "instances",
                project,
                zone,
                name,
                "computeMetadata",
                "v1",
                rest @ ..,
            ],
        ) => metadata::call(call, &metadata::Machine::new(project, zone, name), rest).await,
        ("POST", ["instances", project, zone, name, "preempt"]) => {
            let operation = compute::preempt(&mut world.store(), project, zone, name)?;
            Ok(json(&operation))
        }
        (_, ["instances", project, zone, name, rest @ ..]) => {
            let text = String::from_utf8(call.bytes(1 << 20).await?)
                .map_err(|_| ApiError::invalid("The body is no text."))?;
            let write = match (call.method.as_str(), rest) {
                ("POST", ["serial"]) => compute::Inside::Serial(&text),
                ("PUT", ["guest-attributes", namespace, key]) => {
                    compute::Inside::GuestAttribute(format!("{namespace}/{key}"), &text)
                }
                _ => return Err(unknown()),
            };
            compute::from_inside(&mut world.store(), project, zone, name, write)?;
            Ok(json(&json!({})))
        }
        ("POST", ["expire-uploads"]) => {
            let expired = storage::expire_uploads(&world)?;
            Ok(json(&json!({"expired": expired})))
        }
        _ => Err(unknown()),
    }
}

fn unknown() -> ApiError {
    ApiError::not_found("No such /_sim/ call; they are listed in docs/cloudsim.md.")
}
