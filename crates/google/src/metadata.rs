//! A machine's metadata, which its agent follows, and the guest attributes that the agent writes.

use crate::{
    compute::Operation,
    endpoint::Service,
    error::Result,
    http::{Call, Client, Reply, encode},
    machines::Place,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
};

const SERVICE: Service = Service::Compute;

/// How often somebody else may come in between before it is an error.
const RACES: u32 = 5;

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Metadata {
    fingerprint: String,
    items: Vec<Item>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Item {
    key: String,
    value: String,
}

impl Metadata {
    /// What the key held before.
    fn set(&mut self, key: &str, value: &str) -> Option<String> {
        let value = value.to_owned();
        match self.items.iter_mut().find(|item| item.key == key) {
            Some(item) => Some(std::mem::replace(&mut item.value, value)),
            None => {
                let key = key.to_owned();
                self.items.push(Item { key, value });
                None
            }
        }
    }
}

impl Client {
    /// Sets one key of a machine's metadata and leaves the others alone; whether it was another value.
    /// What it was goes, by the same write, into the key `keep_in`, if one is given.
    ///
    /// # Errors
    /// There is no such machine; as any call.
    pub fn set_metadata(
        &self,
        project: &str,
        at: &Place,
        key: &str,
        value: &str,
        keep_in: Option<&str>,
    ) -> Result<bool> {
        let doing = format!("Metadata of {}", at.name);
        let mut races = 0;
        loop {
            #[derive(Deserialize)]
            struct Instance {
                #[serde(default)]
                metadata: Metadata,
            }
            let get = Call::new(SERVICE, "GET", self.instance_url(project, at, ""))
                .query("fields", "metadata");
            let Instance { metadata } = self.call(&get)?.into(SERVICE, &doing)?;
            let Some(reply) = self.write_metadata(project, at, metadata, key, value, keep_in)?
            else {
                return Ok(false);
            };
            // Another writer's change: the fingerprint is no longer the one that was read.
            if reply.status == 412 && races < RACES {
                races += 1;
                continue;
            }
            let scope = format!("zones/{}", encode(&at.zone));
            self.finish_in(project, &scope, reply, &doing)?;
            return Ok(true);
        }
    }

    /// Begins to set one key of what a machine's metadata is known to be; none if it has that value.
    fn write_metadata(
        &self,
        project: &str,
        at: &Place,
        mut metadata: Metadata,
        key: &str,
        value: &str,
        keep_in: Option<&str>,
    ) -> Result<Option<Reply>> {
        let old = metadata.set(key, value);
        if old.as_deref() == Some(value) {
            return Ok(None);
        }
        if let (Some(keep_in), Some(old)) = (keep_in, old) {
            metadata.set(keep_in, &old);
        }
        let url = self.instance_url(project, at, "/setMetadata");
        let set = Call::new(SERVICE, "POST", url)
            .query("requestId", crate::compute::request_id())
            .json(&json!(metadata));
        self.call(&set).map(Some)
    }

    /// The guest attributes of a namespace. Any process on the machine can write them: what they say
    /// is advice.
    ///
    /// # Errors
    /// There is no such machine; as any call.
    pub fn guest_attributes(
        &self,
        project: &str,
        at: &Place,
        namespace: &str,
    ) -> Result<BTreeMap<String, String>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            #[serde(default)]
            query_value: Values,
        }
        #[derive(Default, Deserialize)]
        struct Values {
            #[serde(default)]
            items: Vec<Item>,
        }
        let url = self.instance_url(project, at, "/getGuestAttributes");
        let call = Call::new(SERVICE, "GET", url).query("queryPath", format!("{namespace}/"));
        let reply = self.call(&call)?;
        // Nothing was written yet.
        if reply.status == 404 {
            return Ok(BTreeMap::new());
        }
        let doing = format!("Guest attributes of {}", at.name);
        let answer: Answer = reply.into(SERVICE, &doing)?;
        let items = answer.query_value.items.into_iter();
        Ok(items.map(|item| (item.key, item.value)).collect())
    }

    fn instance_url(&self, project: &str, at: &Place, rest: &str) -> String {
        let path = format!("{}{rest}", at.path(project, "instances"));
        self.endpoints.url(SERVICE, &path)
    }

    /// [`Self::set_metadata`] of several machines, several at once: a call for each, and a few lists. All are tried.
    pub fn set_metadata_of(
        &self,
        project: &str,
        key: &str,
        keep_in: Option<&str>,
        machines: &[(Place, String)],
    ) -> Vec<Value> {
        let doing = |at: &Place| format!("Metadata of {}", at.name);
        let known = self.metadata_of_all(project, machines.len());
        let begun: Mutex<HashMap<&str, Vec<_>>> = Mutex::default();
        let results = crate::machines::each(machines, |(at, value)| {
            let reply = match known.get(at) {
                Some(known) => {
                    self.write_metadata(project, at, known.clone(), key, value, keep_in)?
                }
                None => return self.set_metadata(project, at, key, value, keep_in),
            };
            match reply {
                None => Ok(false),
                // Somebody has changed it since the list.
                Some(reply) if reply.status == 412 => {
                    self.set_metadata(project, at, key, value, keep_in)
                }
                Some(reply) => {
                    let operation: Operation = reply.into(SERVICE, &doing(at))?;
                    let mut begun = begun.lock().expect("no panic while held");
                    let of_zone = begun.entry(&at.zone).or_default();
                    of_zone.push((operation, doing(at)));
                    Ok(true)
                }
            }
        });
        let begun = begun.into_inner().expect("no panic while held");
        let failures = self.finish_zones(project, begun).into_iter();
        let mut failures: HashMap<_, _> = failures
            .map(|(zone, doing, error)| ((zone, doing), error))
            .collect();
        let machines = machines.iter().map(|(at, _)| at);
        let results = machines.zip(results).map(|(at, result)| {
            let failure = failures.remove(&(at.zone.as_str(), doing(at)));
            match failure.map_or(result, Err) {
                Ok(changed) => json!({"name": at.name, "changed": changed}),
                Err(error) => json!({"name": at.name, "error": error.what}),
            }
        });
        results.collect()
    }

    /// The metadata of all machines; none if that is not worth a list, or cannot be had.
    fn metadata_of_all(&self, project: &str, machines: usize) -> HashMap<Place, Metadata> {
        #[derive(Deserialize)]
        struct Instance {
            name: String,
            #[serde(deserialize_with = "crate::machines::last")]
            zone: String,
            #[serde(default)]
            metadata: Metadata,
        }
        if machines < 2 {
            return HashMap::new();
        }
        let fields = Some("name,zone,metadata");
        // What is wrong shows in the call for the machine, which says of which one.
        let all: Vec<Instance> = self
            .aggregated(project, "instances", fields, None)
            .unwrap_or_default();
        let known = all.into_iter();
        known
            .map(
                |Instance {
                     name,
                     zone,
                     metadata,
                 }| (Place { zone, name }, metadata),
            )
            .collect()
    }

    /// [`Self::guest_attributes`] of several machines, several at once. All are tried.
    pub fn guest_attributes_of(
        &self,
        project: &str,
        namespace: &str,
        machines: &[Place],
    ) -> Vec<Value> {
        crate::machines::each(machines, |at| {
            match self.guest_attributes(project, at, namespace) {
                Ok(attributes) => json!({"name": at.name, "attributes": attributes}),
                Err(error) => json!({"name": at.name, "error": error.what}),
            }
        })
    }
}
