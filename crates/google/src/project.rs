use crate::{
    endpoint::Service,
    error::Result,
    http::{Call, Client, encode},
    machines::each,
};
use serde::{Deserialize, Serialize};

/// What a project has and may have.
#[derive(Debug, Clone, Serialize)]
pub struct Project {
    /// Whether somebody pays for it; `None` when the caller may not know.
    pub billing: Option<bool>,
    /// The APIs that are on, such as `compute.googleapis.com`; `None` when the caller may not know.
    pub services: Option<Vec<String>>,
    /// Compute Engine's quotas of the project and of one region; none while that API is off.
    pub quotas: Vec<Quota>,
}

/// A quota of Compute Engine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Quota {
    /// Such as `NVIDIA_L4_GPUS`.
    pub metric: String,
    /// How much there may be.
    pub limit: f64,
    /// How much there is.
    pub usage: f64,
}

/// A zone, and what it has of the types that were asked for. Whether there is room for one now, nobody tells.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// Machine types.
    pub machine_types: Vec<String>,
    /// Types of GPUs to attach.
    pub accelerator_types: Vec<String>,
}

impl Client {
    /// The zones of a region, and which of these types each has.
    ///
    /// # Errors
    /// As any call.
    pub fn zones(
        &self,
        project: &str,
        region: &str,
        machine_types: &[String],
        accelerator_types: &[String],
    ) -> Result<Vec<Zone>> {
        #[derive(Deserialize)]
        struct Region {
            #[serde(default)]
            zones: Vec<String>,
        }
        let path = format!("projects/{}/regions/{}", encode(project), encode(region));
        let service = Service::Compute;
        let url = self.endpoints.url(service, &path);
        let reply = self.call(&Call::new(service, "GET", url))?;
        let found: Region = reply.into(service, &format!("Region {region}"))?;
        let mut names: Vec<&str> = found
            .zones
            .iter()
            .filter_map(|url| url.rsplit('/').next())
            .collect();
        names.sort_unstable();
        let of = |zone: &str, collection: &str, types: &[String]| -> Result<Vec<String>> {
            let has = |name: &String| {
                let path = format!(
                    "projects/{}/zones/{zone}/{collection}/{}",
                    encode(project),
                    encode(name)
                );
                let url = self.endpoints.url(service, &path);
                let reply = self.call(&Call::new(service, "GET", url))?;
                if reply.status == 404 {
                    return Ok(None);
                }
                let doing = format!("{name} in {zone}");
                reply.into::<serde::de::IgnoredAny>(service, &doing)?;
                Ok(Some(name.clone()))
            };
            let found: Result<Vec<_>> = each(types, has).into_iter().collect();
            Ok(found?.into_iter().flatten().collect())
        };
        let zone = |name: &str| {
            Ok(Zone {
                machine_types: of(name, "machineTypes", machine_types)?,
                accelerator_types: of(name, "acceleratorTypes", accelerator_types)?,
                name: name.to_owned(),
            })
        };
        names.into_iter().map(zone).collect()
    }

    /// What a project has and may have. What the caller may not read is left out.
    ///
    /// # Errors
    /// The cloud does not answer.
    pub fn project(&self, project: &str, region: &str) -> Result<Project> {
        let project = encode(project);
        let path = format!("projects/{project}/regions/{}", encode(region));
        let mut quotas = self.quotas(&format!("projects/{project}"))?;
        quotas.extend(self.quotas(&path)?);
        Ok(Project {
            billing: self.billing(&project)?,
            services: self.services(&project)?,
            quotas,
        })
    }

    fn quotas(&self, path: &str) -> Result<Vec<Quota>> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            quotas: Vec<Quota>,
        }
        let service = Service::Compute;
        let reply = self.call(&Call::new(
            service,
            "GET",
            self.endpoints.url(service, path),
        ))?;
        if !reply.is_success() {
            return Ok(Vec::new());
        }
        Ok(reply.into::<Answer>(service, "Quotas")?.quotas)
    }

    fn billing(&self, project: &str) -> Result<Option<bool>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            #[serde(default)]
            billing_enabled: bool,
        }
        let service = Service::Billing;
        let url = self
            .endpoints
            .url(service, &format!("projects/{project}/billingInfo"));
        let reply = self.call(&Call::new(service, "GET", url))?;
        if !reply.is_success() {
            return Ok(None);
        }
        Ok(Some(
            reply.into::<Answer>(service, "Billing")?.billing_enabled,
        ))
    }

    fn services(&self, project: &str) -> Result<Option<Vec<String>>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            #[serde(default)]
            services: Vec<Enabled>,
            #[serde(default)]
            next_page_token: String,
        }
        #[derive(Deserialize)]
        struct Enabled {
            config: Config,
        }
        #[derive(Deserialize)]
        struct Config {
            name: String,
        }
        let service = Service::Usage;
        let url = self
            .endpoints
            .url(service, &format!("projects/{project}/services"));
        let list = Call::new(service, "GET", url)
            .query("filter", "state:ENABLED")
            .query("pageSize", "200");
        let mut names = Vec::new();
        let mut call = list.clone();
        loop {
            let reply = self.call(&call)?;
            if !reply.is_success() {
                return Ok(None);
            }
            let page: Answer = reply.into(service, "APIs")?;
            names.extend(page.services.into_iter().map(|enabled| enabled.config.name));
            if page.next_page_token.is_empty() {
                return Ok(Some(names));
            }
            call = list.clone().query("pageToken", page.next_page_token);
        }
    }
}
