//! The fault plan: which call goes wrong, and how.

use crate::http::glob;
use hyper::Method;
use serde::{Deserialize, Serialize};

/// Faults to strike. The default strikes none.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// Tokens that answer 401 from now on.
    pub expired_tokens: Vec<String>,
    /// Rules, tried in order; the first that fires wins. Each counts its own matches from when the plan was set.
    pub rules: Vec<Rule>,
}

/// One rule: which calls, and what happens to them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Only this method.
    #[serde(default)]
    pub method: Option<String>,
    /// Only paths that match; `*` stands for any run of characters. The query is not part of the path.
    #[serde(default)]
    pub path: Option<String>,
    /// The first matching call that is struck, from 1.
    #[serde(default = "one")]
    pub nth: u64,
    /// How many matching calls in a row are struck.
    #[serde(default = "one")]
    pub times: u64,
    /// What happens.
    pub fault: Fault,
    #[serde(skip)]
    matched: u64,
}

fn one() -> u64 {
    1
}

impl Rule {
    /// Strikes the `nth` call of all.
    pub fn nth(nth: u64, fault: Fault) -> Self {
        Self {
            method: None,
            path: None,
            nth,
            times: 1,
            fault,
            matched: 0,
        }
    }

    /// Only calls of this method and path pattern count and are struck.
    pub fn of(mut self, method: &str, path: &str) -> Self {
        self.method = Some(method.to_owned());
        self.path = Some(path.to_owned());
        self
    }

    /// Strikes this many calls in a row.
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }
}

/// What goes wrong.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The connection closes once this many bytes of the request's body have come, or at its end if that is earlier.
    /// Of a resumable upload the bytes before the cut are kept; any other call has no effect.
    CutRequest {
        /// Bytes of the body.
        #[serde(default)]
        after: u64,
    },
    /// The call takes effect; the connection closes after this many bytes of the reply's body, at the latest before
    /// its last one.
    CutResponse {
        /// Bytes of the body.
        #[serde(default)]
        after: u64,
    },
    /// The call takes effect; the connection closes before any reply.
    LostReply,
    /// The call takes effect; no reply comes, and the connection stays open.
    NoReply,
    /// An error reply without any effect: 429, 500, 503, 401 …
    Status {
        /// HTTP status.
        status: u16,
        /// Seconds for the Retry-After header.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// Both bodies are paced.
    Slow {
        /// Bytes per second.
        bytes_per_second: u64,
    },
    /// One bit of the request's body is flipped on the way.
    DamageRequest {
        /// Offset of the byte.
        #[serde(default)]
        at: u64,
    },
    /// One bit of the reply's body is flipped on the way.
    DamageResponse {
        /// Offset of the byte.
        #[serde(default)]
        at: u64,
    },
    /// The call is answered with an operation, which ends DONE with this error.
    OperationFails(OperationError),
}

/// The error of an operation.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OperationError {
    /// For programs, such as `QUOTA_EXCEEDED`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Fault {
    /// The name in the plan and in the log.
    pub fn name(&self) -> String {
        serde_json::to_value(self)
            .ok()
            .and_then(|value| Some(value["kind"].as_str()?.to_owned()))
            .unwrap_or_default()
    }
}

impl Plan {
    /// Counts a call and says what strikes it.
    pub fn strike(&mut self, method: &Method, path: &str) -> Option<Fault> {
        let mut struck = None;
        for rule in &mut self.rules {
            let of_method = rule
                .method
                .as_deref()
                .is_none_or(|wanted| wanted == method.as_str());
            if !of_method
                || !rule
                    .path
                    .as_deref()
                    .is_none_or(|pattern| glob(pattern, path))
            {
                continue;
            }
            rule.matched += 1;
            if struck.is_none() && rule.matched >= rule.nth && rule.matched - rule.nth < rule.times
            {
                struck = Some(rule.fault.clone());
            }
        }
        struck
    }
}
