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
    time::{SystemTime, UNIX_EPOCH},
};

const SERVICE: Service = Service::Compute;

/// How often somebody else may come in between before it is an error.
const RACES: u32 = 5;

/// Longest log of a key, in lines.
const LOGGED: usize = 10;

/// A key of a machine's metadata that is to be set, and what becomes of its old value by the same write.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// The key.
    pub key: &'a str,
    /// The key that gets what it held before.
    pub keep_in: Option<&'a str>,
    /// The key that gets a line for each value, with the time in seconds since 1970 and a space before it, the newest
    /// last; only the last ten. A first line, of time 0, is what was there before there was a log.
    pub log_in: Option<&'a str>,
}

impl<'a> Setting<'a> {
    /// Sets it, and no more.
    pub fn of(key: &'a str) -> Self {
        Self {
            key,
            keep_in: None,
            log_in: None,
        }
    }
}

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

    /// Adds a value to the log in `key`, after what is known to have been there before.
    fn log(&mut self, key: &str, old: Option<&str>, value: &str) {
        let log = self.items.iter().find(|item| item.key == key);
        let mut lines: Vec<_> = log
            .into_iter()
            .flat_map(|item| item.value.lines().map(str::to_owned))
            .collect();
        let last = lines.last().and_then(|line| line.split_once(' '));
        // Somebody else has set it since, or nobody has logged it yet.
        if old.is_some() && last.map(|(_, value)| value) != old {
            lines.push(format!("0 {}", old.unwrap_or_default()));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        lines.push(format!("{} {value}", now.map_or(0, |now| now.as_secs())));
        lines.drain(..lines.len().saturating_sub(LOGGED));
        self.set(key, &lines.join("\n"));
    }
}

impl Client {
    /// Sets one key of a machine's metadata and leaves the others alone; whether it was another value.
    ///
    /// # Errors
    /// There is no such machine; as any call.
    pub fn set_metadata(
        &self,
        project: &str,
        at: &Place,
        setting: Setting,
        value: &str,
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
            let Some(reply) = self.write_metadata(project, at, metadata, setting, value)? else {
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
        setting: Setting,
        value: &str,
    ) -> Result<Option<Reply>> {
        let old = metadata.set(setting.key, value);
        if old.as_deref() == Some(value) {
            return Ok(None);
        }
        if let Some(log_in) = setting.log_in {
            metadata.log(log_in, old.as_deref(), value);
        }
        if let (Some(keep_in), Some(old)) = (setting.keep_in, old) {
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
        setting: Setting,
        machines: &[(Place, String)],
    ) -> Vec<Value> {
        let doing = |at: &Place| format!("Metadata of {}", at.name);
        let known = self.metadata_of_all(project, machines.len());
        let begun: Mutex<HashMap<&str, Vec<_>>> = Mutex::default();
        let results = crate::machines::each(machines, |(at, value)| {
            let reply = match known.get(at) {
                Some(known) => self.write_metadata(project, at, known.clone(), setting, value)?,
                None => return self.set_metadata(project, at, setting, value),
            };
            match reply {
                None => Ok(false),
                // Somebody has changed it since the list.
                Some(reply) if reply.status == 412 => {
                    self.set_metadata(project, at, setting, value)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_begins_with_what_was_there_and_ends_with_the_newest() {
        let mut metadata = Metadata::default();
        let values = |metadata: &Metadata| -> Vec<String> {
            let lines = metadata.items[0].value.lines();
            lines
                .map(|line| line.split_once(' ').unwrap().1.to_owned())
                .collect()
        };
        metadata.log("log", Some("first"), "second");
        assert!(metadata.items[0].value.starts_with("0 first\n"));
        metadata.log("log", Some("second"), "third");
        assert_eq!(values(&metadata), ["first", "second", "third"]);
        // By hand.
        metadata.log("log", Some("other"), "fourth");
        assert_eq!(
            values(&metadata),
            ["first", "second", "third", "other", "fourth"]
        );
        for number in 0..20 {
            metadata.log("log", None, &number.to_string());
        }
        assert_eq!(values(&metadata).len(), LOGGED);
        assert_eq!(values(&metadata).last().unwrap(), "19");
    }
}
