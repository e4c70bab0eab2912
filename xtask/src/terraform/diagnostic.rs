//! What terraform says when it fails, and what that means.

use std::fmt;

use serde::Deserialize;

use super::Root;
use crate::error::{Error, Kind};

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

    /// Compute Engine still does something with the resource, which an earlier run may have asked for.
    pub fn resource_not_ready(&self) -> bool {
        self.text().contains("resourceNotReady")
    }

    /// That only some resources were planned, which is what was asked for.
    pub fn is_of_targets(&self) -> bool {
        [
            "Resource targeting is in effect",
            "Applied changes may be incomplete",
        ]
        .contains(&self.summary.as_str())
    }

    pub fn is_refusal(&self) -> bool {
        let text = self.text();
        self.is_stock_out() || text.contains("Error 4") || text.contains("QUOTA_EXCEEDED")
    }

    /// A zone has none of what was asked for: `ZONE_RESOURCE_POOL_EXHAUSTED`, also `…_WITH_DETAILS`.
    pub fn is_stock_out(&self) -> bool {
        self.text().contains("ZONE_RESOURCE_POOL_EXHAUSTED")
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

/// Zones have none of these machines left, and nothing else went wrong: the cause of an error that says it in words.
#[derive(Debug)]
pub struct StockOut {
    /// terraform's addresses of them.
    pub addresses: Vec<String>,
}

impl fmt::Display for StockOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stock-out")
    }
}

impl std::error::Error for StockOut {}

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
    let what = format!("{}: {first}{more}", root.name());
    if !errors.is_empty() && errors.iter().all(Diagnostic::is_stock_out) {
        let addresses = errors.iter().filter_map(|error| error.address.clone());
        let cause = StockOut {
            addresses: addresses.collect(),
        };
        let mend =
            "Google has none left in this zone: try another machine type, or later.".to_owned();
        return anyhow::Error::new(cause).context(Error { kind, what, mend });
    }
    let mend = if text.to_lowercase().contains("quota") {
        "Ask for more quota on the console's page IAM & Admin, Quotas; cargo xtask doctor --cloud shows what the fleet needs."
    } else if text.contains("Error 401") {
        "Run gcloud auth login, or set a fresh GOOGLE_OAUTH_ACCESS_TOKEN."
    } else if text.contains("Error 403") {
        "Ask the project's owner for a role that permits it (docs/terraform.md)."
    } else {
        "Act on the message, then run this again: it goes on where it stopped."
    };
    kind.error(what, mend)
}
