//! What goes into terraform's roots and from one into the next, and what a plan may do.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::{
    cli::{BucketArg, Cli},
    cloud::{Cloud, Disk, Image, Machine},
    error::Kind,
    fleet::Fleet,
    project,
    terraform::{Action, Mode, Plan, Root, Terraform},
};

/// A fleet and the project that it is in.
pub struct Stack {
    /// As fleet.toml says.
    pub fleet: Fleet,
    /// The repository.
    pub root: std::path::PathBuf,
    /// The project.
    pub cloud: Cloud,
}

impl Stack {
    /// Reads the fleet.
    ///
    /// # Errors
    /// As [`Fleet::read`].
    pub fn read(cli: &Cli) -> Result<Self> {
        let fleet = Fleet::read(&project::fleet_file(cli)?)?;
        let root = project::root(cli)?;
        let cloud = Cloud::of(&fleet, &root, &BucketArg { bucket: None });
        Ok(Self { fleet, root, cloud })
    }

    /// terraform in this checkout.
    ///
    /// # Errors
    /// As [`Terraform::open`].
    pub fn terraform(&self) -> Result<Terraform<'_>> {
        Terraform::open(&self.root, &self.cloud)
    }

    /// The workspace of this name.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the fleet has none.
    pub fn workspace(&self, name: &str) -> Result<&crate::fleet::Workspace> {
        self.fleet.workspaces.get(name).ok_or_else(|| {
            let names: Vec<_> = self.fleet.workspaces.keys().map(String::as_str).collect();
            let near = crate::fleet::did_you_mean(name, &names);
            let near = near.map_or(String::new(), |near| format!("Did you mean {near}? "));
            Kind::Usage.error(
                format!("there is no workspace {name:?} in the fleet"),
                format!("{near}There are: {}.", names.join(", ")),
            )
        })
    }

    /// terraform's addresses of the machines of these workspaces.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the fleet has no such workspace.
    pub fn addresses(&self, names: &[String]) -> Result<Vec<String>> {
        names
            .iter()
            .map(|name| {
                self.workspace(name)?;
                Ok(address(name))
            })
            .collect()
    }

    /// The machine of a workspace.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the fleet has no such workspace, [`Kind::Failed`] if that has no machine.
    pub fn machine(&self, name: &str) -> Result<Machine> {
        self.workspace(name)?;
        let machines = self.cloud.machines()?;
        machines
            .into_iter()
            .find(|machine| machine.name == name)
            .ok_or_else(|| no_machine(name))
    }

    /// The variables of `foundation`.
    pub fn foundation(&self) -> Value {
        json!({
            "fleet": self.fleet,
            "bucket_names": {
                "state": self.cloud.state_bucket(),
                "images": self.cloud.bucket,
                "cache": self.cloud.cache_bucket(),
            },
        })
    }

    /// The variables of `homes`. Which disks there are is asked of the cloud: a state can be behind it, when the run
    /// that made a disk was killed. `placement` has the zones of those that are yet to be made, by workspace; without one
    /// it is the first of the fleet, or what a `*.auto.tfvars` says.
    ///
    /// # Errors
    /// [`Kind::Failed`] if a workspace has two home disks.
    pub fn homes(&self, disks: &[Disk], placement: &BTreeMap<String, String>) -> Result<Value> {
        let mut homes = Map::new();
        for disk in disks {
            let Some(name) = disk.home_of() else { continue };
            let label = disk.labels.get("owner").cloned().unwrap_or_default();
            // A label cannot hold an address; who has the same label is the same owner.
            let owner = self
                .fleet
                .workspaces
                .get(name)
                .map(|workspace| workspace.owner.clone());
            let owner = owner
                .filter(|owner| owner_label(owner) == label)
                .unwrap_or(label);
            let home = json!({ "zone": disk.zone, "size_gb": disk.size_gb, "type": disk.r#type, "owner": owner });
            if let Some(other) = homes.insert(name.to_owned(), home) {
                let (project, disk, zone) = (&self.cloud.project, &disk.name, &disk.zone);
                return Err(Kind::Failed.error(
                    format!("{name} has two home disks: in {} and in {zone}", other["zone"]),
                    format!(
                        "Keep the one that its files are on: gcloud compute disks delete {disk} --project {project} --zone ZONE"
                    ),
                ));
            }
        }
        let mut variables = json!({ "fleet": self.fleet, "existing_homes": homes });
        if !placement.is_empty() {
            variables["placement"] = json!(placement);
        }
        Ok(variables)
    }

    /// The variables of `fleet`: with what the other two gave, and the image that a new machine boots from, and the system
    /// that it is to run.
    pub fn fleet(
        &self,
        foundation: &Map<String, Value>,
        homes: &Map<String, Value>,
        images: &BTreeMap<String, String>,
        systems: &BTreeMap<String, String>,
    ) -> Value {
        let path = |image: &str| format!("projects/{}/global/images/{image}", self.cloud.project);
        let images: BTreeMap<_, _> = images
            .iter()
            .map(|(name, image)| (name, path(image)))
            .collect();
        json!({
            "fleet": self.fleet,
            "images": images,
            "systems": systems,
            "homes": homes.get("homes"),
            "network": foundation.get("network"),
            "buckets": foundation.get("buckets"),
            "stop_schedule": foundation.get("stop_schedule"),
        })
    }

    /// For each workspace the newest image that the project has: its own, else its profile's, else none.
    ///
    /// # Errors
    /// As [`Cloud::images`].
    pub fn newest_images(&self) -> Result<BTreeMap<String, Option<String>>> {
        let images = self.cloud.images()?;
        let usable = |image: &&Image| image.status == "READY" && image.deprecated.is_none();
        let newest = |family: &str| {
            let mut of_family = images
                .iter()
                .filter(|image| image.family.as_deref() == Some(family));
            of_family.find(usable).map(|image| image.name.clone())
        };
        let workspaces = self.fleet.workspaces.values();
        Ok(workspaces
            .map(|workspace| {
                let image = newest(&workspace.name).or_else(|| newest(workspace.image.name()));
                (workspace.name.clone(), image)
            })
            .collect())
    }

    /// Plans the three roots, `fleet` in this mode, without applying any. What a root makes that the next one needs is
    /// filled in as it will be. Also gives the variables of `fleet`.
    ///
    /// # Errors
    /// As [`Terraform::plan`].
    pub fn plan(&self, terraform: &Terraform, mode: Mode) -> Result<(Vec<(Root, Plan)>, Value)> {
        terraform.init(Root::Foundation)?;
        let foundation = terraform.plan(Root::Foundation, &self.foundation(), Mode::NORMAL)?;
        terraform.init(Root::Homes)?;
        let homes = terraform.plan(
            Root::Homes,
            &self.homes(&self.cloud.disks()?, &BTreeMap::new())?,
            Mode::NORMAL,
        )?;
        let images = self.newest_images()?;
        // Only a placeholder: plans do not show it.
        let images = images
            .into_iter()
            .map(|(name, image)| (name, image.unwrap_or("not-made-yet".to_owned())));
        let variables = self.fleet(
            &self.will_be_foundation(&foundation.outputs),
            &self.will_be_homes(&homes.outputs)?,
            &images.collect(),
            &wishes(&self.cloud.machines()?),
        );
        terraform.init(Root::Fleet)?;
        let fleet = terraform.plan(Root::Fleet, &variables, mode)?;
        Ok((
            vec![
                (Root::Foundation, foundation),
                (Root::Homes, homes),
                (Root::Fleet, fleet),
            ],
            variables,
        ))
    }

    fn will_be_foundation(&self, outputs: &Map<String, Value>) -> Map<String, Value> {
        let mut outputs = outputs.clone();
        let (project, region) = (&self.cloud.project, &self.cloud.region);
        let network = outputs.entry("network").or_insert_with(|| json!({}));
        if network["subnetwork"].is_null() {
            let path = format!("projects/{project}/regions/{region}/subnetworks/workspaces");
            network["subnetwork"] = format!("https://www.googleapis.com/compute/v1/{path}").into();
        }
        let buckets = json!({ "images": self.cloud.bucket, "cache": self.cloud.cache_bucket() });
        outputs.insert("buckets".to_owned(), buckets);
        outputs
    }

    fn will_be_homes(&self, outputs: &Map<String, Value>) -> Result<Map<String, Value>> {
        let mut outputs = outputs.clone();
        let homes = outputs
            .get_mut("homes")
            .and_then(Value::as_object_mut)
            .context("the plan of homes has no homes")?;
        for (name, home) in homes {
            if home["id"].is_null() {
                let zone = home["zone"].as_str().unwrap_or_default();
                home["id"] = format!(
                    "projects/{}/zones/{zone}/disks/home-{name}",
                    self.cloud.project
                )
                .into();
            }
        }
        Ok(outputs)
    }
}

/// The systems that machines are to run: one that is made anew is to run what it was.
pub fn wishes(machines: &[Machine]) -> BTreeMap<String, String> {
    let wish = |machine: &Machine| Some((machine.name.clone(), machine.wanted()?.to_owned()));
    machines.iter().filter_map(wish).collect()
}

/// terraform's address of a workspace's machine.
pub fn address(name: &str) -> String {
    format!("google_compute_instance.workspaces[\"{name}\"]")
}

/// As `homes` writes an owner into a label.
pub fn owner_label(owner: &str) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    owner
        .chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .take(63)
        .collect()
}

/// That a workspace has no machine.
pub fn no_machine(name: &str) -> anyhow::Error {
    Kind::Failed.error(format!("{name} has no machine"), "Make it: cargo xtask up")
}

/// What of a plan is refused, when the machines at these addresses may be replaced.
pub fn refused(plan: &Plan, replace: &[String]) -> Vec<String> {
    let lost = |action| matches!(action, Action::Replace | Action::Destroy);
    let mut refused = Vec::new();
    for change in &plan.changes {
        match change.r#type.as_str() {
            "google_compute_disk" if lost(change.action) => {
                refused.push(format!("home disk {}", change.name))
            }
            "google_compute_instance"
                if change.action == Action::Replace && !replace.contains(&change.address) =>
            {
                refused.push(format!("machine {}", change.name));
            }
            _ => {}
        }
    }
    refused
}

/// Refuses a plan that loses what was not said may be lost.
///
/// # Errors
/// [`Kind::Failed`] with what it would lose.
pub fn judge(root: Root, plan: &Plan, replace: &[String]) -> Result<()> {
    let refused = refused(plan, replace);
    if refused.is_empty() {
        return Ok(());
    }
    let mend = if refused.iter().any(|what| what.starts_with("home disk")) {
        "Home disks are deleted by name only: cargo xtask destroy --destroy-home-disks NAME"
    } else {
        "If what runs there may end, add --replace-workspaces NAME for each; home disks stay."
    };
    Err(Kind::Failed.error(
        format!(
            "{} would destroy and make anew: {}",
            root.name(),
            refused.join(", ")
        ),
        mend,
    ))
}

/// Where terraform's sources are.
///
/// # Errors
/// [`Kind::Usage`] if they are not beside the fleet file.
pub fn need_sources(root: &Path) -> Result<()> {
    if root.join("terraform/foundation").is_dir() {
        return Ok(());
    }
    Err(Kind::Usage.error(
        format!(
            "there is no folder terraform in {}, beside the fleet file",
            root.display()
        ),
        "Run inside the repository.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack() -> Stack {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let fleet = Fleet::read(&root.join("fleet.toml")).unwrap();
        let cloud = Cloud::of(&fleet, &root, &BucketArg { bucket: None });
        Stack { fleet, root, cloud }
    }

    #[test]
    fn homes_that_exist_are_told_to_terraform_whether_their_workspace_does_or_not() {
        let disk = |json: Value| serde_json::from_value::<Disk>(json).unwrap();
        let home = |name: &str, workspace: &str, owner: &str| {
            disk(json!({
                "name": name, "zone": "europe-west4-b", "sizeGb": 200, "type": "pd-balanced", "sourceImage": null,
                "labels": {"workspace": workspace, "owner": owner},
            }))
        };
        let disks = [
            home("home-alice", "alice", "alice_acme_example"),
            home("home-bob", "bob", "carol_acme_example"),
            home("home-gone", "gone", "gone_acme_example"),
            // A boot disk has the label too, and a made-by-hand disk may have any name.
            home("alice", "alice", "alice_acme_example"),
            home("home-other", "alice", "x"),
        ];
        let variables = stack().homes(&disks, &BTreeMap::new()).unwrap();
        let homes = variables["existing_homes"].as_object().unwrap();
        assert_eq!(homes.keys().collect::<Vec<_>>(), ["alice", "bob", "gone"]);
        assert_eq!(
            homes["alice"],
            json!({"zone": "europe-west4-b", "size_gb": 200, "type": "pd-balanced", "owner": "alice@acme.example"})
        );
        // Another owner's files: terraform warns of it.
        assert_eq!(homes["bob"]["owner"], "carol_acme_example");
        assert_eq!(homes["gone"]["owner"], "gone_acme_example");
        assert!(variables.get("placement").is_none());

        let mut elsewhere = home("home-bob", "bob", "bob_acme_example");
        elsewhere.zone = "europe-west4-a".to_owned();
        let twice = disks.into_iter().chain([elsewhere]).collect::<Vec<_>>();
        let error = stack().homes(&twice, &BTreeMap::new()).unwrap_err();
        assert!(
            error.to_string().contains("bob has two home disks"),
            "{error}"
        );
    }

    #[test]
    fn a_machine_is_replaced_only_when_that_was_allowed_and_a_home_never() {
        let plan = |r#type: &str, actions: Value| -> Plan {
            let resource = json!({
                "address": format!("{type}.workspaces[\"alice\"]"), "mode": "managed", "type": r#type,
                "name": "workspaces", "index": "alice",
                "change": {"actions": actions, "before": {}, "after": {}},
            });
            crate::terraform::read_plan(&json!({ "resource_changes": [resource] }).to_string())
                .unwrap()
        };
        let allowed = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            stack().addresses(&names).unwrap()
        };
        let machine = plan("google_compute_instance", json!(["delete", "create"]));
        assert_eq!(refused(&machine, &allowed(&[])), ["machine alice"]);
        assert_eq!(refused(&machine, &allowed(&["bob"])), ["machine alice"]);
        assert!(refused(&machine, &allowed(&["alice"])).is_empty());
        // A workspace that leaves the fleet.
        assert!(
            refused(
                &plan("google_compute_instance", json!(["delete"])),
                &allowed(&[])
            )
            .is_empty()
        );
        for actions in [
            json!(["delete"]),
            json!(["delete", "create"]),
            json!(["create", "delete"]),
        ] {
            assert_eq!(
                refused(&plan("google_compute_disk", actions), &allowed(&["alice"])),
                ["home disk alice"]
            );
        }
        assert!(judge(Root::Fleet, &machine, &allowed(&[])).is_err());
    }
}
