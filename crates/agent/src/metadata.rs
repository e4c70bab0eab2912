//! The metadata server: what the fleet wants, the machine's token, and where the report goes.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use ureq::{Body, http::Response};

use crate::System;

/// The metadata key that names the system which the fleet wants on the machine.
const KEY: &str = "workspace-system";

/// How long a question waits for a change, in seconds. Google ends longer ones on its own.
const WAIT: u64 = 300;

/// A token is renewed so long before it ends.
const MARGIN: Duration = Duration::from_secs(300);

/// The instance's metadata that people set.
pub type Attributes = Map<String, Value>;

/// The system that the fleet wants here, if it wants any.
///
/// # Errors
/// What it names is none.
pub fn wanted(attributes: &Attributes) -> Result<Option<System>> {
    let text = attributes.get(KEY).and_then(Value::as_str);
    let system = text.map(|text| text.trim().parse()).transpose();
    system.map_err(|what: String| format!("{KEY} of the metadata: {what}"))
}

/// A client of it.
pub struct Metadata {
    agent: ureq::Agent,
    base: String,
    token: Mutex<Option<(String, Instant)>>,
}

/// What went wrong, in words.
type Result<T> = std::result::Result<T, String>;

impl Metadata {
    /// Of the server that `GCE_METADATA_HOST` names, as Google's own libraries have it; of Google's
    /// unless set.
    pub fn from_env() -> Self {
        let host = std::env::var("GCE_METADATA_HOST").unwrap_or_default();
        // The address rather than the name: it needs no resolver.
        Self::at(if host.is_empty() {
            "169.254.169.254"
        } else {
            &host
        })
    }

    /// Of the server at `HOST` or `HOST:PORT`, and a path if it serves several machines.
    pub fn at(host: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_connect(Some(Duration::from_secs(5)))
            .build();
        Self {
            agent: agent.into(),
            base: format!("http://{host}/computeMetadata/v1/instance"),
            token: Mutex::default(),
        }
    }

    /// Whether it answers at all.
    ///
    /// # Errors
    /// It does not.
    pub fn reach(&self) -> Result<()> {
        let response = self.get("/id", Duration::from_secs(5))?;
        self.genuine(&response)
    }

    /// What is set on the instance, once it is no longer what has this etag, or after some minutes.
    ///
    /// # Errors
    /// It does not answer.
    pub fn attributes(&self, seen: Option<&str>) -> Result<(String, Attributes)> {
        // The folder, not the one key: a key that is not there is answered at once.
        let mut path = "/attributes/?recursive=true&alt=json".to_owned();
        if let Some(etag) = seen {
            path.push_str(&format!(
                "&wait_for_change=true&timeout_sec={WAIT}&last_etag={etag}"
            ));
        }
        let response = self.get(&path, Duration::from_secs(WAIT + 30))?;
        self.genuine(&response)?;
        let etag = response.headers().get("ETag");
        let etag = etag.and_then(|etag| etag.to_str().ok()).unwrap_or("0");
        // It goes into a URL.
        let etag: String = etag.chars().filter(char::is_ascii_alphanumeric).collect();
        Ok((etag, json(response)?))
    }

    /// The access token of the machine's service account.
    ///
    /// # Errors
    /// It has none.
    pub fn token(&self) -> Result<String> {
        #[derive(Deserialize)]
        struct Token {
            access_token: String,
            expires_in: u64,
        }
        let mut cached = self.token.lock().expect("no panic while it is held");
        if let Some((token, until)) = &*cached
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let response = self.get("/service-accounts/default/token", Duration::from_secs(10))?;
        self.genuine(&response)?;
        let token: Token = json(response)?;
        let life = Duration::from_secs(token.expires_in).saturating_sub(MARGIN);
        *cached = Some((token.access_token.clone(), Instant::now() + life));
        Ok(token.access_token)
    }

    /// Asks for a new token next time.
    pub fn forget_token(&self) {
        *self.token.lock().expect("no panic while it is held") = None;
    }

    /// Writes a guest attribute, which the operators can read.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub fn write(&self, namespace: &str, key: &str, value: &str) -> Result<()> {
        let url = format!("{}/guest-attributes/{namespace}/{key}", self.base);
        let response = self
            .agent
            .put(url)
            .header("Metadata-Flavor", "Google")
            .config()
            .timeout_global(Some(Duration::from_secs(10)))
            .build()
            .send(value)
            .map_err(|error| format!("the metadata server does not answer ({error})"))?;
        self.genuine(&response)
    }

    fn get(&self, path: &str, timeout: Duration) -> Result<Response<Body>> {
        self.agent
            .get(format!("{}{path}", self.base))
            .header("Metadata-Flavor", "Google")
            .config()
            .timeout_global(Some(timeout))
            .build()
            .call()
            .map_err(|error| format!("the metadata server does not answer ({error})"))
    }

    /// Whoever else has that address in some network must not be believed.
    fn genuine(&self, response: &Response<Body>) -> Result<()> {
        if response
            .headers()
            .get("Metadata-Flavor")
            .is_none_or(|f| f != "Google")
        {
            return Err("what answers is no metadata server".to_owned());
        }
        match response.status().as_u16() {
            200..300 => Ok(()),
            status => Err(format!("the metadata server answers {status}")),
        }
    }
}

fn json<T: DeserializeOwned>(mut response: Response<Body>) -> Result<T> {
    let text = response.body_mut().read_to_string();
    let text = text.map_err(|error| format!("the metadata server's answer broke off ({error})"))?;
    serde_json::from_str(&text).map_err(|error| format!("its answer makes no sense ({error})"))
}
