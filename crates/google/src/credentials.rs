use crate::error::{Error, Result};
use serde::Deserialize;
use std::{
    io,
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// How long before its end a token is replaced: longer than any call that carries one lasts.
const MARGIN: Duration = Duration::from_secs(150);

/// `gcloud auth print-access-token` does not tell when its token ends. Google's last an hour, and
/// gcloud may hand out one that it has had for a while; a 401 is answered with a new one anyway.
const GCLOUD_LIFETIME: Duration = Duration::from_secs(1800);

/// Access tokens, from the first of: `GOOGLE_OAUTH_ACCESS_TOKEN`, `gcloud`, the metadata server.
///
/// A token is kept in memory alone and appears in no argument list, log or error.
pub(crate) struct Credentials {
    agent: ureq::Agent,
    cached: Mutex<Cached>,
}

#[derive(Default)]
struct Cached {
    token: Option<Token>,
    /// A token was refused and none accepted since: another refusal is not a matter of age.
    renewed: bool,
}

struct Token {
    secret: String,
    /// None: cannot be renewed, used until it is refused.
    renew_at: Option<Instant>,
}

impl Token {
    fn fixed(secret: &str) -> Self {
        Self {
            secret: secret.to_owned(),
            renew_at: None,
        }
    }
}

impl Credentials {
    pub(crate) fn new(agent: ureq::Agent) -> Self {
        Self {
            agent,
            cached: Mutex::default(),
        }
    }

    pub(crate) fn fixed(agent: ureq::Agent, token: &str) -> Self {
        let credentials = Self::new(agent);
        credentials.cached().token = Some(Token::fixed(token));
        credentials
    }

    /// A token that is valid for some minutes more.
    pub(crate) fn token(&self) -> Result<String> {
        let mut cached = self.cached();
        if let Some(token) = &cached.token
            && token.renew_at.is_none_or(|at| Instant::now() < at)
        {
            return Ok(token.secret.clone());
        }
        let token = self.obtain()?;
        Ok(cached.token.insert(token).secret.clone())
    }

    /// Notes that the token was not refused.
    pub(crate) fn accepted(&self) {
        self.cached().renewed = false;
    }

    /// Forgets a refused token. False when that would not help: the same one would come again, or
    /// it is a new one already.
    pub(crate) fn renew(&self) -> bool {
        let mut cached = self.cached();
        let renewable = cached.token.as_ref().is_some_and(|t| t.renew_at.is_some());
        if cached.renewed || !renewable {
            return false;
        }
        *cached = Cached {
            token: None,
            renewed: true,
        };
        true
    }

    fn cached(&self) -> MutexGuard<'_, Cached> {
        self.cached.lock().expect("no panic while it is held")
    }

    fn obtain(&self) -> Result<Token> {
        if let Ok(secret) = std::env::var("GOOGLE_OAUTH_ACCESS_TOKEN")
            && !secret.trim().is_empty()
        {
            return Ok(Token::fixed(secret.trim()));
        }
        let gcloud = match gcloud_token() {
            Ok(token) => return Ok(token),
            Err(reason) => reason,
        };
        let metadata = match self.metadata_token() {
            Ok(token) => return Ok(token),
            Err(reason) => reason,
        };
        Err(Error::refused(
            format!(
                "No Google Cloud credentials: GOOGLE_OAUTH_ACCESS_TOKEN is not set, {gcloud}, {metadata}"
            ),
            "Run `gcloud auth login`, or set GOOGLE_OAUTH_ACCESS_TOKEN",
        ))
    }

    fn metadata_token(&self) -> std::result::Result<Token, String> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
            expires_in: u64,
        }
        let host = std::env::var("GCE_METADATA_HOST").unwrap_or_default();
        // The address rather than the name: no resolver has to be asked where there is no such server.
        let host = if host.is_empty() {
            "169.254.169.254"
        } else {
            &host
        };
        let none = |_| format!("no metadata server answers at {host}");
        let mut response = self
            .agent
            .get(format!(
                "http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
            ))
            .header("Metadata-Flavor", "Google")
            .config()
            .timeout_connect(Some(Duration::from_secs(1)))
            .timeout_global(Some(Duration::from_secs(10)))
            .build()
            .call()
            .map_err(none)?;
        let genuine = response
            .headers()
            .get("Metadata-Flavor")
            .is_some_and(|value| value == "Google");
        if !genuine {
            return Err(format!("what answers at {host} is no metadata server"));
        }
        if response.status() != 200 {
            return Err(format!(
                "the metadata server answers {}: this machine has no service account",
                response.status().as_u16()
            ));
        }
        let text = response.body_mut().read_to_string().map_err(none)?;
        let answer: Answer = serde_json::from_str(&text)
            .map_err(|_| "the metadata server's answer is no token".to_owned())?;
        let lifetime = Duration::from_secs(answer.expires_in);
        Ok(Token {
            secret: answer.access_token,
            renew_at: Some(Instant::now() + lifetime.saturating_sub(MARGIN)),
        })
    }
}

fn gcloud_token() -> std::result::Result<Token, String> {
    let output = Command::new("gcloud")
        .args(["auth", "print-access-token", "--quiet"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "gcloud is not installed".to_owned(),
            _ => format!("gcloud does not start ({error})"),
        })?;
    let secret = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || secret.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().find(|line| line.starts_with("ERROR:"));
        return Err(match said {
            Some(line) => format!("gcloud says `{}`", line.trim().trim_end_matches('.')),
            None => "gcloud has no token".to_owned(),
        });
    }
    Ok(Token {
        secret,
        renew_at: Some(Instant::now() + GCLOUD_LIFETIME),
    })
}
