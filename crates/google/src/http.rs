use crate::{
    credentials::Credentials,
    endpoint::{Endpoints, Service, is_loopback, may_carry_token, origin},
    error::{Error, Result},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::time::{Duration, Instant};
use ureq::{
    AsSendBody, Body,
    http::{Request, Response, header},
};

/// Longest silence on a connection before it counts as cut.
const SILENCE: Duration = Duration::from_secs(60);

/// Longest a call may take that moves no bulk data.
const CALL: Duration = Duration::from_secs(120);

/// Backoff: the first wait is up to this, each next up to twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A wait longer than this is announced.
const WORTH_A_WORD: Duration = Duration::from_secs(3);

/// The client. Blocking; every call it makes may safely be made twice, and is, when the cloud
/// answers 408, 429 or 5xx or the connection is cut.
pub struct Client {
    agent: ureq::Agent,
    /// Same without a proxy: for what answers on this machine.
    direct: ureq::Agent,
    pub(crate) endpoints: Endpoints,
    credentials: Credentials,
    patience: Duration,
    notice: Box<dyn Fn(&str) + Send + Sync>,
}

impl Client {
    /// A client of the cloud that the environment names: endpoints, credentials, proxy.
    ///
    /// # Errors
    /// As [`Endpoints::from_env`].
    pub fn from_env() -> Result<Self> {
        Ok(Self::new(Endpoints::from_env()?))
    }

    /// A client of these endpoints.
    pub fn new(endpoints: Endpoints) -> Self {
        let config = || {
            ureq::Agent::config_builder()
                .http_status_as_error(false)
                // 308 is how Cloud Storage says "go on"; no API in use redirects.
                .max_redirects(0)
                .max_redirects_will_error(false)
                .timeout_connect(Some(Duration::from_secs(20)))
                // Longer writes than ureq's 128 KiB, and still within a core's cache.
                .output_buffer_size(256 << 10)
                .timeout_per_read(Some(SILENCE))
                .timeout_per_write(Some(SILENCE))
                .user_agent(concat!("workspaces-google/", env!("CARGO_PKG_VERSION")))
        };
        let direct: ureq::Agent = config().proxy(None).build().into();
        Self {
            agent: config().build().into(),
            credentials: Credentials::new(direct.clone()),
            direct,
            endpoints,
            patience: Duration::from_secs(300),
            notice: Box::new(|text| eprintln!("{text}")),
        }
    }

    /// With this access token instead of one that is looked for.
    pub fn with_token(mut self, token: &str) -> Self {
        self.credentials = Credentials::fixed(self.direct.clone(), token);
        self
    }

    /// How long to go on trying while the cloud does not answer; 5 minutes unless set.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Who is told of waits that a person would notice; standard error unless set.
    pub fn with_notice(mut self, notice: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.notice = Box::new(notice);
        self
    }

    /// Makes a call until it is answered, and reads its JSON answer whatever the status.
    pub(crate) fn call(&self, call: &Call) -> Result<Reply> {
        let mut patience = self.patience(call.service);
        loop {
            let response = match &call.body {
                Some(bytes) => self.attempt(call, bytes.as_slice(), true),
                None => self.attempt(call, (), true),
            };
            if let Some(reply) = patience.retry(response.and_then(Reply::read))? {
                return Ok(reply);
            }
        }
    }

    /// The `items` of each page of a list.
    pub(crate) fn pages<T: DeserializeOwned>(
        &self,
        service: Service,
        list: &Call,
        doing: &str,
    ) -> Result<Vec<T>> {
        let mut pages = Vec::new();
        self.pages_until(service, list, doing, |items| {
            pages.push(items);
            false
        })?;
        Ok(pages)
    }

    /// Hands out the `items` of each page of a list, until that is enough or there is no other page.
    pub(crate) fn pages_until<T: DeserializeOwned>(
        &self,
        service: Service,
        list: &Call,
        doing: &str,
        mut enough: impl FnMut(T) -> bool,
    ) -> Result<()> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page<T> {
            items: Option<T>,
            next_page_token: Option<String>,
        }
        let mut call = list.clone();
        loop {
            let page: Page<T> = self.call(&call)?.into(service, doing)?;
            if page.items.is_some_and(&mut enough) {
                return Ok(());
            }
            match page.next_page_token {
                Some(token) if !token.is_empty() => {
                    call = list.clone().query("pageToken", token);
                }
                _ => return Ok(()),
            }
        }
    }

    /// One attempt, its answer unread. `bounded` is for calls that move no bulk data.
    pub(crate) fn attempt(
        &self,
        call: &Call,
        body: impl AsSendBody,
        bounded: bool,
    ) -> std::result::Result<Response<Body>, Attempt> {
        let mut request = Request::builder().method(call.method).uri(&call.url);
        if call.authorized {
            may_carry_token(&call.url)?;
            let token = self.credentials.token()?;
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let request = request.body(body).map_err(|error| {
            Error::input(
                format!("`{}` makes no valid request ({error})", call.url),
                "Check the names for characters that do not belong there",
            )
        })?;
        let agent = if is_loopback(&call.url) {
            &self.direct
        } else {
            &self.agent
        };
        let request = agent
            .configure_request(request)
            .timeout_global(bounded.then_some(CALL))
            .build();
        let host = origin(&call.url);
        let response = agent.run(request).map_err(|error| match error {
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => Attempt::Never(Error::refused(
                format!("No secure connection to {host} ({error})"),
                "Check this machine's clock and what intercepts its TLS connections",
            )),
            other => Attempt::again(format!("{host} does not answer ({other})")),
        })?;
        if call.authorized {
            if response.status() != 401 {
                self.credentials.accepted();
            } else if self.credentials.renew() {
                return Err(Attempt::again("the access token is not accepted"));
            }
        }
        Ok(response)
    }

    /// For pages that are no API.
    pub(crate) fn agent(&self) -> &ureq::Agent {
        &self.agent
    }

    /// The access token that calls carry.
    ///
    /// # Errors
    /// There are no credentials.
    pub fn token(&self) -> Result<String> {
        self.credentials.token()
    }

    pub(crate) fn notify(&self, text: &str) {
        (self.notice)(text);
    }

    pub(crate) fn patience(&self, service: Service) -> Patience<'_> {
        Patience {
            client: self,
            service,
            since: Instant::now(),
            attempts: 0,
        }
    }
}

/// One call of an API.
#[derive(Clone)]
pub(crate) struct Call {
    service: Service,
    method: &'static str,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
    authorized: bool,
}

impl Call {
    pub(crate) fn new(service: Service, method: &'static str, url: String) -> Self {
        Self {
            service,
            method,
            url,
            headers: Vec::new(),
            body: None,
            authorized: true,
        }
    }

    pub(crate) fn query(mut self, key: &str, value: impl AsRef<str>) -> Self {
        self.url
            .push(if self.url.contains('?') { '&' } else { '?' });
        self.url.push_str(key);
        self.url.push('=');
        self.url.push_str(&encode(value.as_ref()));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string().into_bytes());
        self.header("Content-Type", "application/json")
    }

    /// With a body of no bytes: Google answers 411 to a PUT or POST without Content-Length.
    pub(crate) fn empty(mut self) -> Self {
        self.body = Some(Vec::new());
        self
    }

    /// Without a token, for a URL that is a credential itself.
    pub(crate) fn unauthorized(mut self) -> Self {
        self.authorized = false;
        self
    }
}

/// Percent-encodes one segment of a path or one value of a query.
pub(crate) fn encode(text: &str) -> String {
    const KEEP: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    percent_encoding::utf8_percent_encode(text, KEEP).to_string()
}

/// Why an attempt brought no answer that counts.
pub(crate) enum Attempt {
    /// The connection was not made or was cut, or Google asks for the same call later. The call may
    /// have taken effect.
    Again {
        reason: String,
        retry_after: Option<Duration>,
    },
    /// Trying again would bring the same.
    Never(Error),
}

impl Attempt {
    pub(crate) fn again(reason: impl Into<String>) -> Self {
        Self::Again {
            reason: reason.into(),
            retry_after: None,
        }
    }
}

impl From<Error> for Attempt {
    fn from(error: Error) -> Self {
        Self::Never(error)
    }
}

/// A JSON answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    /// The last byte that a resumable upload holds, from `Range: bytes=0-N`.
    pub(crate) range_end: Option<u64>,
    body: Value,
}

impl Reply {
    /// Reads the answer to its end; one that asks for the same call later is none.
    pub(crate) fn read(mut response: Response<Body>) -> std::result::Result<Self, Attempt> {
        let text = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let location = text("Location");
        let range_end = text("Range").and_then(|range| range.rsplit_once('-')?.1.parse().ok());
        let retry_after = text("Retry-After")
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs);
        let body = response
            .body_mut()
            .read_to_string()
            .map_err(|error| Attempt::again(format!("its answer broke off ({error})")))?;
        let reply = Self {
            status: response.status().as_u16(),
            location,
            range_end,
            body: serde_json::from_str(&body).unwrap_or(Value::Null),
        };
        if reply.is_transient() {
            return Err(Attempt::Again {
                reason: reply.reason(),
                retry_after,
            });
        }
        Ok(reply)
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether Google asks for the same call later: 408, 429, 5xx, and the 403 and 400 that Compute
    /// Engine gives where others give 429 and 503.
    fn is_transient(&self) -> bool {
        matches!(self.status, 408 | 429 | 500..=599)
            || self.status == 403
                && matches!(
                    self.error().reason(),
                    "rateLimitExceeded" | "userRateLimitExceeded"
                )
            // Compute Engine is still busy with what an earlier run asked for.
            || self.status == 400 && self.error().reason() == "resourceNotReady"
    }

    fn reason(&self) -> String {
        let message = self.error().message;
        if message.is_empty() {
            format!("it answers {}", self.status)
        } else {
            format!("it answers {}: {}", self.status, one_line(&message))
        }
    }

    fn error(&self) -> ApiError {
        let error = self.body.get("error").cloned().unwrap_or_default();
        serde_json::from_value(error).unwrap_or_default()
    }

    /// The answer as `T`, or what its status means in words. `doing` completes "…: refused".
    pub(crate) fn into<T: DeserializeOwned>(self, service: Service, doing: &str) -> Result<T> {
        if !self.is_success() {
            return Err(self.refusal(service, doing));
        }
        serde_json::from_value(self.body).map_err(|error| {
            Error::refused(
                format!(
                    "{doing}: the answer of {} makes no sense ({error})",
                    service.name()
                ),
                "Check that the custom endpoint, if one is set, serves this API",
            )
        })
    }

    /// What a status that is no success means, in words.
    pub(crate) fn refusal(&self, service: Service, doing: &str) -> Error {
        let error = self.error();
        let said = if error.message.is_empty() {
            format!("{} answers {}", service.name(), self.status)
        } else {
            one_line(&error.message)
        };
        let disabled = error.details.iter().any(|d| d.reason == "SERVICE_DISABLED")
            || error.reason() == "accessNotConfigured";
        let mend = match self.status {
            401 => "Run `gcloud auth login`, or set a fresh GOOGLE_OAUTH_ACCESS_TOKEN".to_owned(),
            403 if disabled => format!(
                "Run `gcloud services enable {}`, wait some minutes, then run this again",
                service.api()
            ),
            403 if error.reason().to_ascii_lowercase().contains("quota") => {
                "Ask for more quota on the console's page IAM & Admin, Quotas".to_owned()
            }
            403 => "Ask the project's owner for a role that permits it".to_owned(),
            404 => "Check the name and the project".to_owned(),
            409 | 412 => "Somebody else changed it at the same time; run this again".to_owned(),
            _ => "Check what was asked for against the message".to_owned(),
        };
        Error::refused(format!("{doing}: {said}"), mend).with_status(self.status)
    }
}

/// Google's error object, both its old form (`errors[].reason`) and its new one (`details[].reason`).
#[derive(Deserialize, Default)]
#[serde(default)]
struct ApiError {
    message: String,
    errors: Vec<Reason>,
    details: Vec<Reason>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Reason {
    reason: String,
}

impl ApiError {
    fn reason(&self) -> &str {
        self.errors.first().map_or("", |error| &error.reason)
    }
}

/// A message of the cloud made fit for one line of a terminal, without its full stop.
pub(crate) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    line.trim_end_matches('.').to_owned()
}

/// Exponential backoff with full jitter, bounded in all.
pub(crate) struct Patience<'a> {
    client: &'a Client,
    service: Service,
    since: Instant,
    attempts: u32,
}

impl Patience<'_> {
    /// What an attempt brought; `None` after a wait when it is to be made again.
    pub(crate) fn retry<T>(
        &mut self,
        attempt: std::result::Result<T, Attempt>,
    ) -> Result<Option<T>> {
        match attempt {
            Ok(got) => Ok(Some(got)),
            Err(Attempt::Never(error)) => Err(error),
            Err(Attempt::Again {
                reason,
                retry_after,
            }) => self.wait(&reason, retry_after).map(|()| None),
        }
    }

    /// Waits before the next attempt, or says why there is none.
    pub(crate) fn wait(&mut self, reason: &str, retry_after: Option<Duration>) -> Result<()> {
        let bound = (FIRST_WAIT * 2u32.saturating_pow(self.attempts.min(10))).min(LONGEST_WAIT);
        let wait = retry_after.unwrap_or_default() + bound.mul_f64(fastrand::f64());
        self.attempts += 1;
        if self.since.elapsed() + wait > self.client.patience {
            return Err(Error::refused(
                format!(
                    "{} failed {} times in {} s: {reason}",
                    self.service.name(),
                    self.attempts,
                    self.since.elapsed().as_secs()
                ),
                "Check the network and https://status.cloud.google.com, then run this again: it goes on where it stopped",
            ));
        }
        if wait > WORTH_A_WORD {
            self.client.notify(&format!(
                "{}: {reason}; next attempt in {} s",
                self.service.name(),
                wait.as_secs()
            ));
        }
        std::thread::sleep(wait);
        Ok(())
    }

    /// Something went forward: the time begins anew.
    pub(crate) fn reset(&mut self) {
        self.since = Instant::now();
        self.attempts = 0;
    }
}
