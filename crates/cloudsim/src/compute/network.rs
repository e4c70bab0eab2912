//! Networks and what lies in them: subnetworks, firewall rules, routers, addresses.
//! <https://cloud.google.com/compute/docs/reference/rest/v1/networks>

use super::{Context, Kind, LINKS, Scope, catalog, find, labels, link};
use crate::error::{ApiError, Result};
use crate::fault::OperationError;
use serde_json::{Map, Value, json};
use std::net::Ipv4Addr;

type Created = Result<Option<OperationError>>;
type Fields = Map<String, Value>;

pub const NETWORK: Kind = Kind {
    collection: "networks",
    name: "compute#network",
    scope: Scope::Global,
    status: None,
    failed: None,
    patchable: &["description", "mtu", "routingConfig"],
    create: |_, network| {
        default(network, "autoCreateSubnetworks", json!(true));
        default(network, "mtu", json!(1460));
        default(network, "routingConfig", json!({"routingMode": "REGIONAL"}));
        let order = json!("AFTER_CLASSIC_FIREWALL");
        default(network, "networkFirewallPolicyEnforcementOrder", order);
        Ok(None)
    },
    delete: unused,
    verbs: &[],
};

pub const SUBNETWORK: Kind = Kind {
    collection: "subnetworks",
    name: "compute#subnetwork",
    scope: Scope::Regional,
    status: None,
    failed: None,
    patchable: &[
        "description",
        "logConfig",
        "privateIpGoogleAccess",
        "secondaryIpRanges",
    ],
    create: create_subnetwork,
    delete: unused,
    verbs: &[("setPrivateIpGoogleAccess", |_, subnetwork, mut body| {
        let on = body.remove("privateIpGoogleAccess").unwrap_or(json!(false));
        subnetwork.insert("privateIpGoogleAccess".to_owned(), on);
        Ok(())
    })],
};

pub const FIREWALL: Kind = Kind {
    collection: "firewalls",
    name: "compute#firewall",
    scope: Scope::Global,
    status: None,
    failed: None,
    patchable: &[
        "allowed",
        "denied",
        "description",
        "destinationRanges",
        "disabled",
        "logConfig",
        "priority",
        "sourceRanges",
        "sourceServiceAccounts",
        "sourceTags",
        "targetServiceAccounts",
        "targetTags",
    ],
    create: create_firewall,
    delete: |_, _| Ok(()),
    verbs: &[],
};

pub const ROUTER: Kind = Kind {
    collection: "routers",
    name: "compute#router",
    scope: Scope::Regional,
    status: None,
    failed: None,
    patchable: &["bgp", "description", "nats"],
    create: |context, router| {
        in_network(context, router)?;
        Ok(None)
    },
    delete: |_, _| Ok(()),
    verbs: &[],
};

pub const ADDRESS: Kind = Kind {
    collection: "addresses",
    name: "compute#address",
    scope: Scope::Regional,
    status: Some(["RESERVING", "RESERVED"]),
    failed: None,
    patchable: &[],
    create: create_address,
    delete: |_, address| match address.get("users").and_then(|users| users[0].as_str()) {
        None => Ok(()),
        Some(user) => Err(in_use("address", address, user)),
    },
    verbs: &[],
};

fn default(resource: &mut Fields, field: &str, value: Value) {
    resource.entry(field).or_insert(value);
}

pub fn in_use(kind: &str, resource: &Fields, user: &str) -> ApiError {
    let path = resource["selfLink"]
        .as_str()
        .unwrap_or_default()
        .trim_start_matches(LINKS);
    ApiError::new(
        400,
        "resourceInUseByAnotherResource",
        format!(
            "The {kind} resource '{path}' is already being used by '{}'",
            user.trim_start_matches(LINKS)
        ),
    )
}

/// Refuses when anything of the project names the resource as its network or subnetwork.
fn unused(context: &mut Context, resource: &Fields) -> Result<()> {
    let kind = resource["kind"]
        .as_str()
        .unwrap_or_default()
        .trim_start_matches("compute#")
        .to_owned();
    let this = &resource["selfLink"];
    let prefix = format!("compute/projects/{}/", context.project);
    let names_it = |value: &Value| value.get(&kind) == Some(this);
    let user = context
        .store
        .scan(&prefix, "")
        .map(|(_, other)| other)
        .find(|other| {
            let interfaces = other["networkInterfaces"].as_array();
            names_it(other) || interfaces.is_some_and(|all| all.iter().any(names_it))
        });
    match user {
        None => Ok(()),
        Some(user) => Err(in_use(
            &kind,
            resource,
            user["selfLink"].as_str().unwrap_or_default(),
        )),
    }
}

/// Replaces the field `network` by the full link of a network that exists; the default is named `default`.
fn in_network(context: &Context, resource: &mut Fields) -> Result<()> {
    let named = resource
        .get("network")
        .and_then(Value::as_str)
        .unwrap_or("global/networks/default");
    let network = link(context.project, named);
    find(context.store, &network[LINKS.len()..])?;
    resource.insert("network".to_owned(), network.into());
    Ok(())
}

/// Base address and prefix length of a range, of which no host bit is set.
fn range(field: &str, text: &str) -> Result<(u32, u32)> {
    let parse = || {
        let (base, bits) = text.split_once('/')?;
        let base = u32::from(base.parse::<Ipv4Addr>().ok()?);
        let bits = bits.parse::<u32>().ok().filter(|bits| *bits <= 32)?;
        (base & u32::MAX.checked_shr(bits).unwrap_or(0) == 0).then_some((base, bits))
    };
    parse().ok_or_else(|| {
        ApiError::invalid(format!(
            "Invalid value for field 'resource.{field}': '{text}'. Must be a CIDR address range."
        ))
    })
}

fn create_subnetwork(context: &mut Context, subnetwork: &mut Fields) -> Created {
    in_network(context, subnetwork)?;
    let text = subnetwork
        .get("ipCidrRange")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let (base, bits) = range("ipCidrRange", text)?;
    if !(4..=29).contains(&bits) {
        return Err(ApiError::invalid(format!(
            "Invalid value for field 'resource.ipCidrRange': '{text}'. Its prefix length must be between 4 and 29."
        )));
    }
    // Ranges of one network do not overlap.
    let prefix = format!("compute/projects/{}/regions/", context.project);
    let overlaps = context
        .store
        .scan(&prefix, "")
        .map(|(_, other)| other)
        .find(|other| {
            let of_network =
                other["kind"] == "compute#subnetwork" && other["network"] == subnetwork["network"];
            let ranges = other["ipCidrRange"]
                .as_str()
                .and_then(|text| range("", text).ok());
            of_network
                && ranges.is_some_and(|(other, length)| {
                    let shift = 32 - bits.min(length);
                    base >> shift == other >> shift
                })
        });
    if let Some(other) = overlaps {
        return Err(ApiError::invalid(format!(
            "Invalid IPCidrRange: {text} conflicts with existing subnetwork '{}'.",
            other["name"].as_str().unwrap_or_default()
        )));
    }
    subnetwork.insert(
        "gatewayAddress".to_owned(),
        Ipv4Addr::from(base + 1).to_string().into(),
    );
    default(subnetwork, "privateIpGoogleAccess", json!(false));
    default(subnetwork, "purpose", json!("PRIVATE"));
    default(subnetwork, "stackType", json!("IPV4_ONLY"));
    subnetwork.insert("fingerprint".to_owned(), Value::Null);
    labels::stamp(subnetwork);
    Ok(None)
}

fn create_firewall(context: &mut Context, rule: &mut Fields) -> Created {
    in_network(context, rule)?;
    let given = |field: &str| {
        rule.get(field)
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
    };
    if given("allowed") == given("denied") {
        return Err(ApiError::invalid(
            "Invalid value for field 'resource': exactly one of 'allowed' and 'denied' must be given.",
        ));
    }
    let open = !["sourceRanges", "sourceTags", "sourceServiceAccounts"]
        .into_iter()
        .any(given);
    for field in ["sourceRanges", "destinationRanges"] {
        for text in rule
            .get(field)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !text.contains(':') {
                range(field, text)?;
            }
        }
    }
    default(rule, "direction", json!("INGRESS"));
    if open && rule["direction"] == "INGRESS" {
        rule.insert("sourceRanges".to_owned(), json!(["0.0.0.0/0"]));
    }
    default(rule, "priority", json!(1000));
    default(rule, "disabled", json!(false));
    default(rule, "logConfig", json!({"enable": false}));
    Ok(None)
}

fn create_address(context: &mut Context, address: &mut Fields) -> Created {
    if let Some(subnetwork) = address.get("subnetwork").and_then(Value::as_str) {
        let subnetwork = link(context.project, subnetwork);
        find(context.store, &subnetwork[LINKS.len()..])?;
        address.insert("subnetwork".to_owned(), subnetwork.into());
    }
    default(address, "addressType", json!("EXTERNAL"));
    if address["addressType"] == "EXTERNAL" {
        catalog::check_static_addresses(context)?;
        address.insert("address".to_owned(), external(context).into());
        default(address, "networkTier", json!("PREMIUM"));
    } else if address.get("address").is_none() {
        return Err(ApiError::invalid(
            "Invalid value for field 'resource.address': an internal address must be given.",
        ));
    }
    Ok(None)
}

/// A free external address. 198.18.0.0/15 is for benchmarks and belongs to nobody (RFC 2544).
fn external(context: &mut Context) -> String {
    let host = (context.store.next() % (1 << 17)) as u32;
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + host).to_string()
}

/// Fills an interface of a machine; an external address that it names must be reserved and free.
pub fn connect(
    context: &mut Context,
    interface: &mut Value,
    index: usize,
    instance: &Value,
) -> Result<()> {
    let missing = || {
        ApiError::invalid(
            "Invalid value for field 'resource.networkInterfaces': it is no list of objects.",
        )
    };
    let fields = interface.as_object_mut().ok_or_else(missing)?;
    default(fields, "name", format!("nic{index}").into());
    default(fields, "stackType", json!("IPV4_ONLY"));
    if let Some(subnetwork) = fields.get("subnetwork").and_then(Value::as_str) {
        let subnetwork = link(context.project, subnetwork);
        let found = find(context.store, &subnetwork[LINKS.len()..])?.clone();
        let (base, bits) = range(
            "ipCidrRange",
            found["ipCidrRange"].as_str().unwrap_or_default(),
        )?;
        // The first two and the last two addresses of a range are the network's own.
        let host = 2 + context.store.next() % ((1 << (32 - bits)) - 4);
        let address = Ipv4Addr::from(base + host as u32).to_string();
        default(fields, "networkIP", address.into());
        fields.insert("subnetwork".to_owned(), subnetwork.into());
        fields.insert("network".to_owned(), found["network"].clone());
    } else {
        in_network(context, fields)?;
    }
    for access in fields
        .get_mut("accessConfigs")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let access = access.as_object_mut().ok_or_else(missing)?;
        expose(context, access, index, instance)?;
    }
    let print = labels::fingerprint(&Value::Object(fields.clone()));
    fields.insert("fingerprint".to_owned(), print.into());
    Ok(())
}

/// Gives an interface its external address: the reserved and free one that is named, or any.
pub fn expose(
    context: &mut Context,
    access: &mut Fields,
    index: usize,
    instance: &Value,
) -> Result<()> {
    default(access, "name", json!("External NAT"));
    default(access, "type", json!("ONE_TO_ONE_NAT"));
    default(access, "networkTier", json!("PREMIUM"));
    match access
        .get("natIP")
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
    {
        None => {
            access.insert("natIP".to_owned(), external(context).into());
        }
        Some(wanted) => {
            let prefix = format!("compute/projects/{}/regions/", context.project);
            let found = context
                .store
                .scan(&prefix, "")
                .find(|(_, address)| address["address"] == wanted);
            let Some((key, address)) =
                found.map(|(key, address)| (key.to_owned(), address.clone()))
            else {
                return Err(ApiError::invalid(format!(
                    "Invalid value for field 'resource.networkInterfaces[{index}].accessConfigs[0].natIP': '{wanted}'. The specified external IP address was not found in the region."
                )));
            };
            if let Some(user) = address["users"][0].as_str() {
                return Err(in_use(
                    "address",
                    address.as_object().expect("an address is an object"),
                    user,
                ));
            }
            let used = json!({"users": [instance], "status": "IN_USE"});
            context.also.now.push((key.clone(), used));
            context.also.failure.push((key, free()));
        }
    }
    Ok(())
}

/// Frees the addresses of a machine once it is gone.
pub fn disconnect(context: &mut Context, instance: &Value) {
    let prefix = format!("compute/projects/{}/regions/", context.project);
    let of_instance =
        |address: &Value| address["kind"] == ADDRESS.name && address["users"][0] == *instance;
    for (key, _) in context
        .store
        .scan(&prefix, "")
        .filter(|(_, address)| of_instance(address))
    {
        context.also.success.push((key.to_owned(), free()));
    }
}

/// Makes an address anybody's again.
fn free() -> Value {
    json!({"users": null, "status": "RESERVED"})
}
