//! What terraform says when it fails, and what that means.

use std::fmt;

use serde::Deserialize;

use super::Root;
use crate::error::Kind;

/// What terraform says of an error, one a line of its JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Diagnostic {
    pub severity: String,
    pub summary: String,
    pub detail: String,
    pub address: Option<String>,
}

impl Diagnostic {
    pub fn text(&self) -> String {
        format!("{} {}", self.summary, self.detail)
    }

    /// A resource that is there and not in the state. The provider has words of its own where it looks itself.
    pub fn already_exists(&self) -> bool {
        let text = self.text();
        let conflict = ["lready exists", "lready own", "ALREADY_EXISTS"];
        text.contains("Error 409") && conflict.iter().any(|words| text.contains(words))
            || ["existing object already found", "has one of that name"]
                .iter()
                .any(|words| text.contains(words))
    }

    pub fn api_not_ready(&self) -> bool {
        let text = self.text();
        text.contains("SERVICE_DISABLED")
            || text.contains("accessNotConfigured")
            || text.contains("has not been used in project")
    }

    pub fn is_refusal(&self) -> bool {
        let text = self.text();
        ["Error 4", "QUOTA_EXCEEDED", "RESOURCE_POOL_EXHAUSTED"]
            .iter()
            .any(|sign| text.contains(sign))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(address) = &self.address {
            write!(f, "{address}: ")?;
        }
        f.write_str(&line(&self.summary))?;
        match line(&self.detail) {
            empty if empty.is_empty() => Ok(()),
            detail => write!(f, ": {detail}"),
        }
    }
}

/// Errors that nothing here mends, in words; all of them are on stderr.
pub fn in_words(root: Root, errors: &[Diagnostic]) -> anyhow::Error {
    for error in errors {
        eprintln!("  {error}");
    }
    let first = errors.first().map(ToString::to_string).unwrap_or_default();
    if errors
        .iter()
        .any(|error| error.text().contains("cannot be destroyed"))
    {
        return Kind::Failed.error(
            format!("{} would delete a home disk: {first}", root.name()),
            "Home disks are deleted by name only: cargo xtask destroy --destroy-home-disks NAME",
        );
    }
    let kind = if errors.iter().any(Diagnostic::is_refusal) {
        Kind::Refused
    } else {
        Kind::Failed
    };
    let more = if errors.len() > 1 {
        format!(" (and {} more, above)", errors.len() - 1)
    } else {
        String::new()
    };
    let text = errors.iter().map(Diagnostic::text).collect::<String>();
    let mend = if text.contains("RESOURCE_POOL_EXHAUSTED") {
        "Google has none left in this zone: try another machine type, or later."
    } else if text.to_lowercase().contains("quota") {
        "Ask for more quota on the console's page IAM & Admin, Quotas; cargo xtask doctor --cloud shows what the fleet needs."
    } else if text.contains("Error 401") {
        "Run gcloud auth login, or set a fresh GOOGLE_OAUTH_ACCESS_TOKEN."
    } else if text.contains("Error 403") {
        "Ask the project's owner for a role that permits it (docs/terraform.md)."
    } else {
        "Act on the message, then run this again: it goes on where it stopped."
    };
    kind.error(format!("{}: {first}{more}", root.name()), mend)
}
