use crate::{
    compute::{Operation, request_id},
    endpoint::Service,
    error::{Error, Result},
    http::{Call, Client, encode},
    storage::seconds_if_any,
};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    str::FromStr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

const SERVICE: Service = Service::Compute;

/// Calls under way at once that change a machine or ask for it: even at a second each they stay below Compute
/// Engine's quota of 1,500 a minute.
const AT_ONCE: usize = 16;

/// A machine, as a list of all zones shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its zone.
    #[serde(deserialize_with = "last")]
    pub zone: String,
    /// PROVISIONING, STAGING, RUNNING, STOPPING, TERMINATED and others.
    pub status: String,
    /// Its machine type.
    #[serde(deserialize_with = "last")]
    pub machine_type: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Of its metadata what is about its workspace: the keys that begin with `workspace-`. Others may hold what is
    /// nobody's to print.
    #[serde(default, deserialize_with = "of_workspace")]
    pub metadata: BTreeMap<String, String>,
    /// Whether it is a Spot machine, which Google may take back at any time.
    #[serde(
        default,
        rename(deserialize = "scheduling", serialize = "spot"),
        deserialize_with = "is_spot"
    )]
    pub spot: bool,
    /// When it was last switched on, in seconds since 1970.
    #[serde(
        default,
        rename(deserialize = "lastStartTimestamp", serialize = "started"),
        deserialize_with = "crate::storage::seconds_if_any"
    )]
    pub started: Option<i64>,
    /// Where it is connected.
    #[serde(default, rename(serialize = "interfaces"))]
    pub network_interfaces: Vec<Interface>,
    /// What it boots from and what else it has, the boot disk first.
    #[serde(default)]
    pub disks: Vec<Attached>,
}

/// That Google took a Spot machine back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Preemption {
    /// The machine's name.
    #[serde(rename(deserialize = "targetLink"), deserialize_with = "last")]
    pub name: String,
    /// Its zone.
    #[serde(deserialize_with = "last")]
    pub zone: String,
    /// When, in seconds since 1970.
    #[serde(
        rename(deserialize = "insertTime"),
        deserialize_with = "crate::storage::seconds"
    )]
    pub at: i64,
}

/// A machine's connection to a network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Interface {
    /// Its address in the network.
    #[serde(default, rename(deserialize = "networkIP", serialize = "private"))]
    pub private: Option<String>,
    /// Its addresses in the Internet.
    #[serde(
        default,
        rename(deserialize = "accessConfigs", serialize = "public"),
        deserialize_with = "addresses"
    )]
    pub public: Vec<String>,
}

/// A disk that a machine has.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attached {
    /// The disk's name.
    #[serde(
        default,
        rename(deserialize = "source", serialize = "name"),
        deserialize_with = "last"
    )]
    pub name: String,
    /// What the machine calls it.
    #[serde(default)]
    pub device_name: String,
}

/// A disk.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Disk {
    /// Its name.
    pub name: String,
    /// Its id: another one of the same name has another.
    pub id: String,
    /// Its zone; none of a regional disk.
    #[serde(deserialize_with = "last")]
    pub zone: String,
    /// CREATING, READY, DELETING and others.
    pub status: String,
    /// GiB.
    #[serde(deserialize_with = "crate::storage::int64")]
    pub size_gb: u64,
    /// Its type, such as `pd-balanced`.
    #[serde(deserialize_with = "last")]
    pub r#type: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// URL of the image that it was made from.
    pub source_image: Option<String>,
    /// URL of the snapshot that it was made from.
    pub source_snapshot: Option<String>,
    /// Id of that snapshot: another one of the same name has another.
    pub source_snapshot_id: Option<String>,
    /// When a machine last got it, in seconds since 1970; none if none ever did.
    #[serde(
        rename(deserialize = "lastAttachTimestamp"),
        deserialize_with = "seconds_if_any"
    )]
    pub last_attached: Option<i64>,
    /// When a machine last lost it, in seconds since 1970.
    #[serde(
        rename(deserialize = "lastDetachTimestamp"),
        deserialize_with = "seconds_if_any"
    )]
    pub last_detached: Option<i64>,
    /// The machines that have it.
    #[serde(deserialize_with = "lasts")]
    pub users: Vec<String>,
}

/// Something in a zone, written ZONE/NAME.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The zone.
    pub zone: String,
    /// The name.
    pub name: String,
}

/// What may be done to a machine's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Switch it on.
    Start,
    /// Shut it down.
    Stop,
    /// Let it boot anew at once, as the button on the front of a machine would.
    Reset,
}

impl Place {
    pub(crate) fn path(&self, project: &str, collection: &str) -> String {
        format!(
            "projects/{}/zones/{}/{collection}/{}",
            encode(project),
            encode(&self.zone),
            encode(&self.name)
        )
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once('/') {
            Some((zone, name)) if !zone.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self {
                    zone: zone.to_owned(),
                    name: name.to_owned(),
                })
            }
            _ => Err("write it as ZONE/NAME".to_owned()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.zone, self.name)
    }
}

impl Client {
    /// The machines of every zone.
    ///
    /// # Errors
    /// As any call.
    pub fn list_instances(&self, project: &str) -> Result<Vec<Instance>> {
        self.aggregated(project, "instances", None, None)
    }

    /// The preemptions of Spot machines that Google still lists, those of the last two weeks, in every zone.
    ///
    /// # Errors
    /// As any call.
    pub fn list_preemptions(&self, project: &str) -> Result<Vec<Preemption>> {
        let fields = Some("targetLink,zone,insertTime");
        let filter = Some("operationType = \"compute.instances.preempted\"");
        self.aggregated(project, "operations", fields, filter)
    }

    /// The disks of every zone and region.
    ///
    /// # Errors
    /// As any call.
    pub fn list_disks(&self, project: &str) -> Result<Vec<Disk>> {
        self.aggregated(project, "disks", None, None)
    }

    /// Of every zone and region; `fields` are those that are asked for, `filter` says which, all without.
    pub(crate) fn aggregated<T: DeserializeOwned>(
        &self,
        project: &str,
        collection: &str,
        fields: Option<&str>,
        filter: Option<&str>,
    ) -> Result<Vec<T>> {
        let path = format!("projects/{}/aggregated/{collection}", encode(project));
        let mut list = Call::new(SERVICE, "GET", self.endpoints.url(SERVICE, &path))
            .query("maxResults", "500");
        if let Some(fields) = fields {
            let fields = format!("nextPageToken,items/*/{collection}({fields})");
            list = list.query("fields", fields);
        }
        if let Some(filter) = filter {
            list = list.query("filter", filter);
        }
        let doing = format!("List of {collection} in {project}");
        // A scope without any has a warning instead of the list.
        let pages: Vec<HashMap<String, serde_json::Value>> = self.pages(SERVICE, &list, &doing)?;
        let mut all = Vec::new();
        for (_, mut scope) in pages.into_iter().flatten() {
            let items = scope[collection].take();
            let items: Option<Vec<T>> = serde_json::from_value(items).map_err(|error| {
                Error::refused(
                    format!("{doing}: the answer makes no sense ({error})"),
                    "Check that the custom endpoint, if one is set, serves this API",
                )
            })?;
            all.extend(items.into_iter().flatten());
        }
        Ok(all)
    }

    /// Starts, stops or resets machines, all at once, and waits until it is done. All are tried, even if one fails.
    ///
    /// # Errors
    /// As any call and when an operation fails, for example because a zone has no machine of this type left; of
    /// several failures the first one, with the number of the others and all machines without room.
    pub fn power(&self, project: &str, machines: &[Place], power: Power) -> Result<()> {
        let next = AtomicUsize::new(0);
        let begun: Mutex<HashMap<&str, Vec<_>>> = Mutex::default();
        let failures = Mutex::new(Vec::new());
        let failed = |error| failures.lock().expect("no panic while held").push(error);
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(machines.len()) {
                scope.spawn(|| {
                    while let Some(at) = machines.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let doing = format!("Machine {}", at.name);
                        match self.begin_power(project, at, power, &doing) {
                            Ok(operation) => begun
                                .lock()
                                .expect("no panic while held")
                                .entry(&at.zone)
                                .or_default()
                                .push((operation, doing)),
                            Err(error) => failed(error),
                        }
                    }
                });
            }
        });
        let begun = begun.into_inner().expect("no panic while held");
        for (_, _, error) in self.finish_zones(project, begun) {
            failed(error);
        }
        let mut failures = failures.into_inner().expect("no panic while held");
        // A zone whose operations cannot be listed.
        failures.dedup_by(|a: &mut Error, b| a.what == b.what);
        if failures.is_empty() {
            return Ok(());
        }
        let others = failures.len() - 1;
        let without_room = failures
            .iter()
            .flat_map(|error: &Error| error.without_room.clone())
            .collect();
        let mut error = failures.swap_remove(0);
        if others > 0 {
            for other in &failures {
                self.notify(&other.what);
            }
            error.what = format!("{} (and {others} more)", error.what);
        }
        error.without_room = without_room;
        Err(error)
    }

    /// Waits until operations are done, each given with what it does in words, in all zones at once. Returns zone, words
    /// and what became of it of each that failed.
    pub(crate) fn finish_zones<'a>(
        &self,
        project: &str,
        begun: HashMap<&'a str, Vec<(Operation, String)>>,
    ) -> Vec<(&'a str, String, Error)> {
        let failures = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for (zone, operations) in begun {
                let failures = &failures;
                scope.spawn(move || {
                    let all: Vec<_> = operations.iter().map(|(_, doing)| doing.clone()).collect();
                    let failed = self.finish_all(project, zone, operations);
                    // Of none it is known what became of it.
                    let failed = failed.unwrap_or_else(|error| {
                        let each = all.into_iter();
                        each.map(|doing| (doing, error.clone())).collect()
                    });
                    let failed = failed
                        .into_iter()
                        .map(|(doing, error)| (zone, doing, error));
                    failures.lock().expect("no panic while held").extend(failed);
                });
            }
        });
        failures.into_inner().expect("no panic while held")
    }

    fn begin_power(
        &self,
        project: &str,
        at: &Place,
        power: Power,
        doing: &str,
    ) -> Result<Operation> {
        let verb = match power {
            Power::Start => "start",
            Power::Stop => "stop",
            Power::Reset => "reset",
        };
        let path = format!("{}/{verb}", at.path(project, "instances"));
        let call = Call::new(SERVICE, "POST", self.endpoints.url(SERVICE, &path))
            .query("requestId", request_id())
            .empty();
        self.call(&call)?.into(SERVICE, doing)
    }

    /// Deletes a disk. One that is not there is fine.
    ///
    /// # Errors
    /// A machine has it; as any call; when the operation fails.
    pub fn delete_disk(&self, project: &str, at: &Place) -> Result<()> {
        let scope = format!("zones/{}", encode(&at.zone));
        let path = at.path(project, "disks");
        self.delete(project, &scope, &path, &format!("Disk {}", at.name))
    }

    /// Deletes a machine, and those of its disks that are to go with it. One that is not there is fine.
    ///
    /// # Errors
    /// As any call; when the operation fails.
    pub fn delete_instance(&self, project: &str, at: &Place) -> Result<()> {
        let scope = format!("zones/{}", encode(&at.zone));
        let path = at.path(project, "instances");
        self.delete(project, &scope, &path, &format!("Machine {}", at.name))
    }

    /// What a machine wrote to its first serial port, from this byte on, and where to go on from.
    ///
    /// # Errors
    /// There is no such machine; as any call.
    pub fn serial_output(&self, project: &str, at: &Place, start: i64) -> Result<(String, i64)> {
        #[derive(Deserialize)]
        struct Output {
            #[serde(default)]
            contents: String,
            #[serde(deserialize_with = "crate::storage::int64", default)]
            next: u64,
        }
        let path = format!("{}/serialPort", at.path(project, "instances"));
        let call = Call::new(SERVICE, "GET", self.endpoints.url(SERVICE, &path))
            .query("port", "1")
            .query("start", start.to_string());
        let doing = format!("Serial output of {}", at.name);
        let output: Output = self.call(&call)?.into(SERVICE, &doing)?;
        Ok((output.contents, output.next.cast_signed()))
    }
}

/// Does it with each of several things, some at once; the results in their order.
pub(crate) fn each<'a, T: Sync, R: Send>(
    things: &'a [T],
    act: impl Fn(&'a T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(things.len()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(things.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(thing) = things.get(index) else {
                        return;
                    };
                    let result = act(thing);
                    let mut results = results.lock().expect("no panic while held");
                    results.push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no panic while held");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The last part of a URL.
pub(crate) fn last<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<String, D::Error> {
    Option::<String>::deserialize(from).map(|url| last_part(url.as_deref().unwrap_or_default()))
}

fn lasts<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<String>, D::Error> {
    Vec::<String>::deserialize(from).map(|urls| urls.iter().map(|url| last_part(url)).collect())
}

fn last_part(url: &str) -> String {
    url.rsplit('/').next().unwrap_or_default().to_owned()
}

fn is_spot<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Scheduling {
        provisioning_model: Option<String>,
    }
    let scheduling = Scheduling::deserialize(from)?;
    Ok(scheduling.provisioning_model.as_deref() == Some("SPOT"))
}

fn of_workspace<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<BTreeMap<String, String>, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Metadata {
        items: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        key: String,
        #[serde(default)]
        value: String,
    }
    let items = Metadata::deserialize(from)?.items.into_iter();
    let ours = items.filter(|item| item.key.starts_with("workspace-"));
    Ok(ours.map(|item| (item.key, item.value)).collect())
}

fn addresses<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    struct AccessConfig {
        #[serde(rename = "natIP")]
        address: Option<String>,
    }
    let configs = Vec::<AccessConfig>::deserialize(from)?;
    Ok(configs.into_iter().filter_map(|c| c.address).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_zone_and_a_name() {
        let place: Place = "europe-west4-a/alice".parse().unwrap();
        assert_eq!(
            (place.zone.as_str(), place.name.as_str()),
            ("europe-west4-a", "alice")
        );
        for bad in ["alice", "/alice", "zone/", "a/b/c", ""] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
