//! Google's error shape.

use crate::http::{Reply, json_with};
use serde_json::{Value, json};
use std::fmt::{self, Display};

/// A refusal as Google words it: a status, a reason for programs and a message for people.
#[derive(Debug)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// The `reason` of the first entry of `errors`.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
    /// Entries of `details`, for programs that know them.
    pub details: Vec<Value>,
}

/// What a handler returns.
pub type Result<T> = std::result::Result<T, ApiError>;

impl ApiError {
    pub fn new(status: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
            details: Vec::new(),
        }
    }

    /// Adds a `google.rpc.ErrorInfo`.
    pub fn with_info(mut self, reason: &str, metadata: Value) -> Self {
        self.details.push(json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "googleapis.com",
            "metadata": metadata,
        }));
        self
    }

    /// Right in itself, but not in the state that the resource is in.
    pub fn failed_precondition(message: impl Into<String>) -> Self {
        Self::new(400, "failedPrecondition", message)
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid", message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "notFound", message)
    }

    pub fn precondition() -> Self {
        Self::precondition_because("At least one of the pre-conditions you specified did not hold.")
    }

    pub fn precondition_because(message: impl Into<String>) -> Self {
        Self::new(412, "conditionNotMet", message)
    }

    /// The error an HTTP status alone stands for, as a fault plan asks for it.
    pub fn of_status(status: u16) -> Self {
        let (reason, message) = match status {
            401 => ("authError", "Invalid Credentials"),
            403 => ("forbidden", "Forbidden"),
            408 => ("requestTimeout", "Request Timeout"),
            429 => (
                "rateLimitExceeded",
                "The rate limit for this kind of request has been exceeded.",
            ),
            500 => ("internalError", "Internal error encountered."),
            503 => ("backendError", "The service is currently unavailable."),
            _ => ("backendError", "The request failed."),
        };
        Self::new(status, reason, message)
    }

    pub fn reply(&self) -> Reply {
        // The canonical code of google.rpc.Code that goes with the status.
        let canonical = match self.status {
            400 if self.reason == "failedPrecondition" => "FAILED_PRECONDITION",
            409 if self.reason == "aborted" => "ABORTED",
            400 => "INVALID_ARGUMENT",
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            409 => "ALREADY_EXISTS",
            412 => "FAILED_PRECONDITION",
            429 => "RESOURCE_EXHAUSTED",
            503 => "UNAVAILABLE",
            _ => "UNKNOWN",
        };
        let mut error = json!({
            "code": self.status,
            "message": self.message,
            "errors": [{"message": self.message, "domain": "global", "reason": self.reason}],
            "status": canonical,
        });
        if !self.details.is_empty() {
            error["details"] = self.details.clone().into();
        }
        let mut reply = json_with(self.status, &json!({"error": error}));
        if self.status == 401 {
            let challenge =
                "Bearer realm=\"https://accounts.google.com/\", error=\"invalid_token\"";
            reply.headers_mut().insert(
                "www-authenticate",
                challenge.parse().expect("a constant header"),
            );
        }
        reply
    }
}

impl Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.reason, self.message)
    }
}

impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> Self {
        Self::new(
            500,
            "internalError",
            format!("cloudsim could not read or write its state: {error}"),
        )
    }
}
