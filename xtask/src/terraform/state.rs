//! What a state holds.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    values: Values,
}

#[derive(Default, Deserialize)]
struct Values {
    #[serde(default)]
    root_module: Module,
}

#[derive(Default, Deserialize)]
struct Module {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    address: String,
    #[serde(default)]
    index: Value,
    #[serde(default)]
    values: Value,
}

/// The addresses of what belongs to a workspace and lies in another zone, in what `show -json` prints of a state.
pub fn elsewhere(text: &str, name: &str, zone: &str) -> Result<Vec<String>> {
    let shown: Shown = serde_json::from_str(text).context("the state is unreadable")?;
    let elsewhere = |resource: &Resource| {
        let of = resource.values["zone"].as_str().unwrap_or_default();
        let of = of.rsplit('/').next().unwrap_or_default();
        resource.index == name && !of.is_empty() && of != zone
    };
    let resources = shown.values.root_module.resources.into_iter();
    Ok(resources
        .filter(elsewhere)
        .map(|resource| resource.address)
        .collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_in_another_zone_is_found_and_nothing_else() {
        let resource = |kind: &str, index: &str, zone: &str| json!({"address": format!("{kind}.h[\"{index}\"]"), "index": index, "values": {"zone": zone}});
        let resources = json!([
            resource(
                "disk",
                "alice",
                "https://www.googleapis.com/compute/v1/projects/p/zones/europe-west4-a"
            ),
            resource("attachment", "alice", "europe-west4-a"),
            resource("disk", "bob", "europe-west4-a"),
            json!({"address": "policy.snapshots", "values": {"name": "alice"}}),
        ]);
        let text = json!({"values": {"root_module": {"resources": resources}}}).to_string();
        assert_eq!(
            elsewhere(&text, "alice", "europe-west4-b").unwrap(),
            ["disk.h[\"alice\"]", "attachment.h[\"alice\"]"]
        );
        assert!(
            elsewhere(&text, "alice", "europe-west4-a")
                .unwrap()
                .is_empty()
        );
        assert!(
            elsewhere("{\"format_version\":\"1.0\"}", "alice", "x")
                .unwrap()
                .is_empty()
        );
    }
}
