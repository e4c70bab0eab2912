//! Who calls and what they may do; the policies of resources.

use crate::accounts;
use crate::error::{ApiError, Result};
use crate::http::{Call, Reply, glob, json};
use crate::store::Store;
use serde_json::{Map, Value, json};

/// The identity behind a bearer token.
#[derive(Clone, Debug)]
pub struct Caller {
    /// `user:…` or `serviceAccount:…`.
    pub member: String,
    /// A deployer: owner of every project.
    pub owner: bool,
}

impl Caller {
    /// A token that starts with `user:` or `serviceAccount:` is that member; any other token is the deployer's.
    pub fn of_token(token: &str) -> Self {
        if token.starts_with("user:") || token.starts_with("serviceAccount:") {
            Self {
                member: token.to_owned(),
                owner: false,
            }
        } else {
            Self {
                member: "user:deployer@example.com".to_owned(),
                owner: true,
            }
        }
    }

    pub fn email(&self) -> &str {
        self.member
            .split_once(':')
            .map_or(&self.member, |(_, email)| email)
    }
}

/// Predefined roles as far as they bear on what is simulated; `*` stands for any run of characters.
/// Source: <https://cloud.google.com/iam/docs/roles-permissions>.
const ROLES: &[(&str, &[&str])] = &[
    ("roles/owner", &["*"]),
    (
        "roles/editor",
        &[
            "compute.*",
            "storage.buckets.create",
            "storage.buckets.delete",
            "storage.buckets.list",
        ],
    ),
    (
        "roles/viewer",
        &["compute.*.get", "compute.*.list", "storage.buckets.list"],
    ),
    ("roles/compute.admin", &["compute.*"]),
    (
        "roles/compute.storageAdmin",
        &["compute.images.*", "compute.disks.*", "compute.snapshots.*"],
    ),
    (
        "roles/compute.imageUser",
        &[
            "compute.images.get",
            "compute.images.list",
            "compute.images.useReadOnly",
        ],
    ),
    ("roles/compute.viewer", &["compute.*.get", "compute.*.list"]),
    (
        "roles/compute.instanceAdmin.v1",
        &[
            "compute.acceleratorTypes.*",
            "compute.addresses.get",
            "compute.addresses.list",
            "compute.addresses.use",
            "compute.diskTypes.*",
            "compute.disks.*",
            "compute.images.*",
            "compute.instances.*",
            "compute.machineTypes.*",
            "compute.networks.get",
            "compute.networks.list",
            "compute.networks.use",
            "compute.projects.*",
            "compute.resourcePolicies.*",
            "compute.snapshots.*",
            "compute.subnetworks.get",
            "compute.subnetworks.list",
            "compute.subnetworks.use",
            "compute.*Operations.get",
            "compute.*Operations.list",
            "resourcemanager.projects.get",
            "serviceusage.services.get",
            "serviceusage.services.list",
        ],
    ),
    (
        "roles/compute.networkAdmin",
        &[
            "compute.addresses.*",
            "compute.firewalls.get",
            "compute.firewalls.list",
            "compute.networks.*",
            "compute.routers.*",
            "compute.subnetworks.*",
            "compute.*Operations.get",
            "compute.*Operations.list",
            "compute.projects.get",
            "resourcemanager.projects.get",
        ],
    ),
    (
        "roles/compute.securityAdmin",
        &[
            "compute.firewalls.*",
            "compute.networks.get",
            "compute.networks.list",
            "compute.networks.updatePolicy",
            "compute.*Operations.get",
            "compute.*Operations.list",
            "compute.projects.get",
            "resourcemanager.projects.get",
        ],
    ),
    // On the machine itself, where nothing of this is simulated.
    (
        "roles/compute.osAdminLogin",
        &["compute.instances.osAdminLogin"],
    ),
    (
        "roles/iam.serviceAccountAdmin",
        &[
            "iam.serviceAccounts.create",
            "iam.serviceAccounts.delete",
            "iam.serviceAccounts.disable",
            "iam.serviceAccounts.enable",
            "iam.serviceAccounts.get",
            "iam.serviceAccounts.getIamPolicy",
            "iam.serviceAccounts.list",
            "iam.serviceAccounts.setIamPolicy",
            "iam.serviceAccounts.update",
            "resourcemanager.projects.get",
        ],
    ),
    (
        "roles/iam.serviceAccountUser",
        &[
            "iam.serviceAccounts.actAs",
            "iam.serviceAccounts.get",
            "iam.serviceAccounts.list",
            "resourcemanager.projects.get",
        ],
    ),
    (
        "roles/iap.admin",
        &[
            "iap.tunnel.*",
            "iap.tunnelInstances.getIamPolicy",
            "iap.tunnelInstances.setIamPolicy",
            "iap.tunnelZones.*",
        ],
    ),
    (
        "roles/iap.tunnelResourceAccessor",
        &["iap.tunnelInstances.accessViaIAP"],
    ),
    (
        "roles/resourcemanager.projectIamAdmin",
        &[
            "resourcemanager.projects.get",
            "resourcemanager.projects.getIamPolicy",
            "resourcemanager.projects.setIamPolicy",
        ],
    ),
    (
        "roles/secretmanager.admin",
        &["secretmanager.*", "resourcemanager.projects.get"],
    ),
    (
        "roles/secretmanager.secretAccessor",
        &["secretmanager.versions.access"],
    ),
    (
        "roles/secretmanager.secretVersionAdder",
        &["secretmanager.versions.add"],
    ),
    (
        "roles/secretmanager.viewer",
        &[
            "secretmanager.secrets.get",
            "secretmanager.secrets.getIamPolicy",
            "secretmanager.secrets.list",
            "secretmanager.versions.get",
            "secretmanager.versions.list",
        ],
    ),
    (
        "roles/servicemanagement.admin",
        &[
            "servicemanagement.services.*",
            "serviceusage.services.get",
            "serviceusage.services.list",
            "resourcemanager.projects.get",
        ],
    ),
    (
        "roles/serviceusage.serviceUsageAdmin",
        &["serviceusage.services.*"],
    ),
    ("roles/storage.admin", &["storage.*"]),
    (
        "roles/storage.bucketViewer",
        &["storage.buckets.get", "storage.buckets.list"],
    ),
    (
        "roles/storage.objectViewer",
        &["storage.objects.get", "storage.objects.list"],
    ),
    ("roles/storage.objectCreator", &["storage.objects.create"]),
    (
        "roles/storage.objectUser",
        &[
            "storage.objects.get",
            "storage.objects.list",
            "storage.objects.create",
            "storage.objects.update",
            "storage.objects.delete",
        ],
    ),
    ("roles/storage.objectAdmin", &["storage.objects.*"]),
    ("roles/storage.legacyObjectReader", &["storage.objects.get"]),
    (
        "roles/storage.legacyObjectOwner",
        &["storage.objects.get", "storage.objects.update"],
    ),
    (
        "roles/storage.legacyBucketReader",
        &["storage.buckets.get", "storage.objects.list"],
    ),
    (
        "roles/storage.legacyBucketWriter",
        &[
            "storage.buckets.get",
            "storage.objects.list",
            "storage.objects.create",
            "storage.objects.delete",
        ],
    ),
    (
        "roles/storage.legacyBucketOwner",
        &[
            "storage.buckets.get",
            "storage.buckets.update",
            "storage.buckets.getIamPolicy",
            "storage.buckets.setIamPolicy",
            "storage.objects.list",
            "storage.objects.create",
            "storage.objects.delete",
        ],
    ),
];

/// The key of a project's policy.
pub fn project_policy_key(project: &str) -> String {
    format!("crm/projects/{project}/iam")
}

/// A policy nobody has written yet.
pub fn empty_policy() -> Value {
    json!({"version": 1, "etag": "ACAB"})
}

/// `modified` are the roles whose grants the call changes.
fn grants(
    store: &Store,
    policy: &Value,
    caller: &Caller,
    permission: &str,
    modified: &[String],
) -> bool {
    let bindings = policy["bindings"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    bindings.iter().any(|binding| {
        let member = |member: &Value| {
            member == &*caller.member || member == "allUsers" || member == "allAuthenticatedUsers"
        };
        let role = binding["role"].as_str().unwrap_or_default();
        binding
            .get("condition")
            .is_none_or(|condition| holds_here(condition, modified))
            && binding["members"]
                .as_array()
                .is_some_and(|members| members.iter().any(member))
            && holds(store, role, permission)
    })
}

/// Whether a role, predefined or a project's own, includes a permission.
fn holds(store: &Store, role: &str, permission: &str) -> bool {
    let custom = |role: &Value| {
        let included = role["includedPermissions"].as_array();
        role["deleted"] != true && included.is_some_and(|all| all.iter().any(|p| p == permission))
    };
    ROLES
        .iter()
        .any(|(name, held)| *name == role && held.iter().any(|p| glob(p, permission)))
        || store.get(&accounts::role_key(role)).is_some_and(custom)
}

/// Whether the caller holds a permission by a policy of the resource itself or of its project.
pub fn allowed(
    store: &Store,
    caller: &Caller,
    permission: &str,
    project: &str,
    policy: Option<&Value>,
) -> bool {
    allowed_to_grant(store, caller, permission, project, policy, &[])
}

/// The same for a call that changes the grants of some roles.
fn allowed_to_grant(
    store: &Store,
    caller: &Caller,
    permission: &str,
    project: &str,
    policy: Option<&Value>,
    roles: &[String],
) -> bool {
    let by = |policy: &Value| grants(store, policy, caller, permission, roles);
    caller.owner
        || policy.is_some_and(by)
        || store.get(&project_policy_key(project)).is_some_and(by)
}

/// `allowed`, or 403 in Google's words.
pub fn require(
    store: &Store,
    caller: &Caller,
    permission: &str,
    project: &str,
    policy: Option<&Value>,
    resource: &str,
) -> Result<()> {
    if allowed(store, caller, permission, project, policy) {
        return Ok(());
    }
    Err(denied(caller, permission, resource))
}

fn denied(caller: &Caller, permission: &str, resource: &str) -> ApiError {
    ApiError::new(
        403,
        "forbidden",
        format!(
            "{} does not have {permission} access to {resource}. Permission '{permission}' denied on resource (or it may not exist).",
            caller.email()
        ),
    )
}

/// A resource that has a policy.
pub struct Guarded<'a> {
    pub project: &'a str,
    /// The policy's key.
    pub key: String,
    /// What its permissions begin with, such as `secretmanager.secrets`.
    pub permissions: &'a str,
    /// How messages name it.
    pub name: &'a str,
}

impl Guarded<'_> {
    /// Refuses a caller who is not granted `ACTION`, by the resource itself or by its project.
    pub fn require(&self, store: &Store, call: &Call, action: &str) -> Result<()> {
        let permission = format!("{}.{action}", self.permissions);
        let policy = store.get(&self.key);
        let resource = format!("'{}'", self.name);
        require(
            store,
            call.caller()?,
            &permission,
            self.project,
            policy,
            &resource,
        )
    }

    /// `getIamPolicy`, `setIamPolicy` or `testIamPermissions`, as all services but Storage have them.
    pub fn call(
        &self,
        store: &mut Store,
        call: &Call,
        verb: &str,
        mut body: Map<String, Value>,
    ) -> Result<Reply> {
        let current = store.get(&self.key).cloned().unwrap_or_else(empty_policy);
        match verb {
            "getIamPolicy" => {
                self.require(store, call, verb)?;
                Ok(json(&current))
            }
            "setIamPolicy" => {
                let mut new = body.remove("policy").unwrap_or_else(|| json!({}));
                let mask = body.get("updateMask").and_then(Value::as_str);
                if !mask.is_some_and(|mask| mask.contains("auditConfigs"))
                    && let Some(kept) = current.get("auditConfigs")
                {
                    new["auditConfigs"] = kept.clone();
                }
                let modified = modified_roles(&current, &new);
                let permission = format!("{}.{verb}", self.permissions);
                let (caller, own) = (call.caller()?, Some(&current));
                if !allowed_to_grant(store, caller, &permission, self.project, own, &modified) {
                    return Err(denied(caller, &permission, &format!("'{}'", self.name)));
                }
                let stale = ApiError::new(
                    409,
                    "aborted",
                    "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff.",
                );
                replace_policy(store, &self.key, &current, new, stale).map(|new| json(&new))
            }
            "testIamPermissions" => {
                let caller = call.caller()?;
                let asked = body.get("permissions").and_then(Value::as_array);
                let held: Vec<&str> = asked
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .filter(|p| allowed(store, caller, p, self.project, Some(&current)))
                    .collect();
                Ok(json(&if held.is_empty() {
                    json!({})
                } else {
                    json!({"permissions": held})
                }))
            }
            _ => Err(ApiError::not_found(format!(
                "No such call on {}.",
                self.name
            ))),
        }
    }
}

/// The roles whose bindings differ between two policies.
fn modified_roles(old: &Value, new: &Value) -> Vec<String> {
    let bindings = |policy: &Value| policy["bindings"].as_array().cloned().unwrap_or_default();
    let (old, new) = (bindings(old), bindings(new));
    let changed = old
        .iter()
        .filter(|binding| !new.contains(binding))
        .chain(new.iter().filter(|binding| !old.contains(binding)));
    changed
        .map(|binding| binding["role"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Whether a condition holds. One form is evaluated, the limit on granting roles; any other does not hold, so that none
/// grants more than it would in the real service.
/// <https://cloud.google.com/iam/docs/setting-limits-on-granting-roles>
fn holds_here(condition: &Value, modified: &[String]) -> bool {
    let attribute = "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([";
    let expression = condition["expression"].as_str().unwrap_or_default();
    let listed = expression
        .strip_prefix(attribute)
        .and_then(|rest| rest.strip_suffix("])"));
    listed.is_some_and(|listed| {
        let mut names = listed.split(',').map(|name| name.trim().trim_matches('\''));
        modified
            .iter()
            .all(|role| names.clone().any(|name| name == role))
            && names.next().is_some()
    })
}

/// Replaces a policy. The etag, if given, must be the current one: otherwise someone else wrote in between (412).
pub fn replace_policy(
    store: &mut Store,
    key: &str,
    current: &Value,
    mut new: Value,
    stale: ApiError,
) -> Result<Value> {
    if new.get("etag").is_some_and(|etag| *etag != current["etag"]) {
        return Err(stale);
    }
    for binding in new["bindings"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
    {
        if binding.get("condition").is_some() && new["version"] != 3 {
            return Err(ApiError::invalid(
                "Policies with conditional role bindings must specify version 3 in the request.",
            ));
        }
        let prefixes = [
            "user:",
            "serviceAccount:",
            "group:",
            "domain:",
            "project",
            "principal",
            "deleted:",
        ];
        for member in binding["members"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
        {
            let member = member.as_str().unwrap_or_default();
            if !prefixes.iter().any(|prefix| member.starts_with(prefix))
                && !["allUsers", "allAuthenticatedUsers"].contains(&member)
            {
                return Err(ApiError::invalid(format!(
                    "Invalid member '{member}' in policy."
                )));
            }
        }
    }
    new["etag"] = etag(store.next()).into();
    if new.get("version").is_none() {
        new["version"] = 1.into();
    }
    store.put(key, new.clone())?;
    Ok(new)
}

/// An opaque etag for a number.
pub fn etag(number: u64) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(number.to_be_bytes())
}
