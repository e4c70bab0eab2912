use crate::{
    endpoint::Service,
    error::{Error, Result},
    http::{Call, Client, encode},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::json;

const SERVICE: Service = Service::Secrets;

#[derive(Deserialize)]
struct Version {
    /// `projects/NUMBER/secrets/NAME/versions/N`.
    name: String,
}

impl Client {
    /// What a secret holds; `None` when it has no enabled version.
    ///
    /// # Errors
    /// There is no such secret; as any call.
    pub fn secret(&self, project: &str, name: &str) -> Result<Option<Vec<u8>>> {
        #[derive(Deserialize)]
        struct Access {
            payload: Payload,
        }
        #[derive(Deserialize)]
        struct Payload {
            data: String,
        }
        // `latest` is the newest version even if it is disabled.
        let Some(version) = self.enabled_versions(project, name)?.into_iter().next() else {
            return Ok(None);
        };
        let doing = format!("Secret {name}");
        let number = version.name.rsplit('/').next().unwrap_or_default();
        let call = self.secrets(project, name, "GET", &format!("/versions/{number}:access"));
        let access: Access = self.call(&call)?.into(SERVICE, &doing)?;
        let data = STANDARD.decode(access.payload.data).map_err(|error| {
            Error::refused(
                format!("{doing}: its payload is no base64 ({error})"),
                "Check that the custom endpoint, if one is set, serves this API",
            )
        })?;
        Ok(Some(data))
    }

    /// Makes a secret that holds nothing, unless there is one of this name.
    ///
    /// # Errors
    /// As any call.
    pub fn make_secret(&self, project: &str, name: &str) -> Result<()> {
        let path = format!("projects/{}/secrets", encode(project));
        let call = Call::new(SERVICE, "POST", self.endpoints.url(SERVICE, &path))
            .query("secretId", name)
            .json(&json!({"replication": {"automatic": {}}}));
        let reply = self.call(&call)?;
        if reply.status == 409 {
            return Ok(());
        }
        let _: serde_json::Value = reply.into(SERVICE, &format!("Secret {name}"))?;
        Ok(())
    }

    /// Gives a secret its first version; whether it had none.
    ///
    /// # Errors
    /// There is no such secret; as any call.
    pub fn ensure_secret(&self, project: &str, name: &str, data: &[u8]) -> Result<bool> {
        if !self.enabled_versions(project, name)?.is_empty() {
            return Ok(false);
        }
        self.add_version(project, name, data)?;
        Ok(true)
    }

    /// Gives a secret a new version and destroys what it held before.
    ///
    /// # Errors
    /// There is no such secret; as any call.
    pub fn replace_secret(&self, project: &str, name: &str, data: &[u8]) -> Result<()> {
        let old = self.enabled_versions(project, name)?;
        self.add_version(project, name, data)?;
        for version in old {
            let number = version.name.rsplit('/').next().unwrap_or_default();
            let path = format!("/versions/{number}:destroy");
            let call = self.secrets(project, name, "POST", &path).json(&json!({}));
            let _: serde_json::Value = self
                .call(&call)?
                .into(SERVICE, &format!("Secret {name}, version {number}"))?;
        }
        Ok(())
    }

    /// A lost answer adds the same twice, which changes nothing for whoever reads it.
    fn add_version(&self, project: &str, name: &str, data: &[u8]) -> Result<()> {
        let crc = crc32c::crc32c(data).to_string();
        let payload = json!({"payload": {"data": STANDARD.encode(data), "dataCrc32c": crc}});
        let call = self
            .secrets(project, name, "POST", ":addVersion")
            .json(&payload);
        let _: Version = self.call(&call)?.into(SERVICE, &format!("Secret {name}"))?;
        Ok(())
    }

    /// The newest first.
    fn enabled_versions(&self, project: &str, name: &str) -> Result<Vec<Version>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            #[serde(default)]
            versions: Vec<Version>,
            #[serde(default)]
            next_page_token: String,
        }
        let list = self
            .secrets(project, name, "GET", "/versions")
            .query("filter", "state:ENABLED");
        let mut all = Vec::new();
        let mut call = list.clone();
        loop {
            let page: Page = self.call(&call)?.into(SERVICE, &format!("Secret {name}"))?;
            all.extend(page.versions);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            call = list.clone().query("pageToken", page.next_page_token);
        }
    }

    fn secrets(&self, project: &str, name: &str, method: &'static str, rest: &str) -> Call {
        let path = format!(
            "projects/{}/secrets/{}{rest}",
            encode(project),
            encode(name)
        );
        Call::new(SERVICE, method, self.endpoints.url(SERVICE, &path))
    }
}
