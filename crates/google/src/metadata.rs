//! A machine's metadata, which its agent follows, and the guest attributes that the agent writes.

use crate::{
    endpoint::Service,
    error::Result,
    http::{Call, Client, encode},
    machines::Place,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const SERVICE: Service = Service::Compute;

/// How often somebody else may come in between before it is an error.
const RACES: u32 = 5;

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Metadata {
    fingerprint: String,
    items: Vec<Item>,
}

#[derive(Serialize, Deserialize)]
struct Item {
    key: String,
    value: String,
}

impl Client {
    /// Sets one key of a machine's metadata and leaves the others alone; whether it was another value.
    ///
    /// # Errors
    /// There is no such machine; as any call.
    pub fn set_metadata(&self, project: &str, at: &Place, key: &str, value: &str) -> Result<bool> {
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
            let Instance { mut metadata } = self.call(&get)?.into(SERVICE, &doing)?;
            match metadata.items.iter_mut().find(|item| item.key == key) {
                Some(item) if item.value == value => return Ok(false),
                Some(item) => value.clone_into(&mut item.value),
                None => metadata.items.push(Item {
                    key: key.to_owned(),
                    value: value.to_owned(),
                }),
            }
            let set = Call::new(
                SERVICE,
                "POST",
                self.instance_url(project, at, "/setMetadata"),
            )
            .query("requestId", crate::compute::request_id())
            .json(&json!(metadata));
            let reply = self.call(&set)?;
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

    /// [`Self::set_metadata`] of several machines, several at once. All are tried.
    pub fn set_metadata_of(
        &self,
        project: &str,
        key: &str,
        machines: &[(Place, String)],
    ) -> Vec<Value> {
        crate::machines::each(machines, |(at, value)| {
            match self.set_metadata(project, at, key, value) {
                Ok(changed) => json!({"name": at.name, "changed": changed}),
                Err(error) => json!({"name": at.name, "error": error.what}),
            }
        })
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
