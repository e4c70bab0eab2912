use crate::error::{Error, Result};
use ureq::http::Uri;

/// An API of Google Cloud that this crate speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Cloud Storage, JSON API.
    Storage,
    /// Compute Engine.
    Compute,
    /// Secret Manager.
    Secrets,
    /// Service Usage: which APIs are on.
    Usage,
    /// Cloud Billing.
    Billing,
}

struct Entry {
    service: Service,
    name: &'static str,
    /// What `gcloud services enable` calls it.
    api: &'static str,
    /// The variable that terraform's google provider reads as well.
    variable: &'static str,
    default: &'static str,
}

const TABLE: &[Entry] = &[
    Entry {
        service: Service::Storage,
        name: "Cloud Storage",
        api: "storage.googleapis.com",
        variable: "GOOGLE_STORAGE_CUSTOM_ENDPOINT",
        default: "https://storage.googleapis.com/storage/v1/",
    },
    Entry {
        service: Service::Compute,
        name: "Compute Engine",
        api: "compute.googleapis.com",
        variable: "GOOGLE_COMPUTE_CUSTOM_ENDPOINT",
        default: "https://compute.googleapis.com/compute/v1/",
    },
    Entry {
        service: Service::Secrets,
        name: "Secret Manager",
        api: "secretmanager.googleapis.com",
        variable: "GOOGLE_SECRET_MANAGER_CUSTOM_ENDPOINT",
        default: "https://secretmanager.googleapis.com/v1/",
    },
    Entry {
        service: Service::Usage,
        name: "Service Usage",
        api: "serviceusage.googleapis.com",
        variable: "GOOGLE_SERVICE_USAGE_CUSTOM_ENDPOINT",
        default: "https://serviceusage.googleapis.com/v1/",
    },
    Entry {
        service: Service::Billing,
        name: "Cloud Billing",
        api: "cloudbilling.googleapis.com",
        variable: "GOOGLE_CLOUD_BILLING_CUSTOM_ENDPOINT",
        default: "https://cloudbilling.googleapis.com/v1/",
    },
];

impl Service {
    fn entry(self) -> &'static Entry {
        TABLE
            .iter()
            .find(|entry| entry.service == self)
            .expect("every service has its line in the table")
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Its name for `gcloud services enable`.
    pub fn api(self) -> &'static str {
        self.entry().api
    }
}

/// Where each service is called: Google's addresses, or what `GOOGLE_*_CUSTOM_ENDPOINT` says.
#[derive(Debug, Clone)]
pub struct Endpoints(Vec<(Service, String)>);

impl Endpoints {
    /// Reads the environment.
    ///
    /// # Errors
    /// [`Kind::Input`](crate::Kind::Input) when a variable holds no URL that a token may be sent to.
    pub fn from_env() -> Result<Self> {
        let mut endpoints = Vec::new();
        for entry in TABLE {
            let url = match std::env::var(entry.variable) {
                Ok(url) if !url.is_empty() => {
                    may_carry_token(&url).map_err(|mut error| {
                        error.what = format!("{}: {}", entry.variable, error.what);
                        error
                    })?;
                    url
                }
                _ => entry.default.to_owned(),
            };
            endpoints.push((entry.service, url));
        }
        Ok(Self(endpoints))
    }

    /// Every service at one origin, as the simulated cloud serves them.
    pub fn at(origin: &str) -> Self {
        let moved = |entry: &Entry| {
            let path = entry.default.splitn(4, '/').last().unwrap_or_default();
            (entry.service, format!("{origin}/{path}"))
        };
        Self(TABLE.iter().map(moved).collect())
    }

    /// `path` under the service's endpoint.
    pub(crate) fn url(&self, service: Service, path: &str) -> String {
        format!("{}/{path}", self.base(service).trim_end_matches('/'))
    }

    /// `path` under Cloud Storage's endpoint for uploads: same origin, `/upload` before the path.
    pub(crate) fn upload_url(&self, path: &str) -> String {
        let origin = self.storage_origin();
        let rest = self.base(Service::Storage)[origin.len()..].trim_end_matches('/');
        format!("{origin}/upload{rest}/{path}")
    }

    /// Scheme and authority of Cloud Storage's endpoint.
    pub(crate) fn storage_origin(&self) -> &str {
        origin(self.base(Service::Storage))
    }

    fn base(&self, service: Service) -> &str {
        self.0
            .iter()
            .find(|(of, _)| *of == service)
            .map(|(_, url)| url.as_str())
            .expect("made from the whole table")
    }
}

/// Scheme and authority of a URL.
pub(crate) fn origin(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url[authority..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| authority + at);
    &url[..end]
}

/// Whether the URL's host is this machine.
pub(crate) fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// An access token is a password: it goes out over TLS, or stays on this machine.
pub(crate) fn may_carry_token(url: &str) -> Result<()> {
    let scheme = url.parse::<Uri>().ok().and_then(|uri| {
        uri.host()?;
        Some(uri.scheme_str()?.to_owned())
    });
    match scheme.as_deref() {
        Some("https") => Ok(()),
        Some("http") if is_loopback(url) => Ok(()),
        Some("http") => Err(Error::input(
            format!("{} is plain http and not on this machine", origin(url)),
            "Use https there; an access token must not cross a network in the clear",
        )),
        _ => Err(Error::input(
            format!("`{url}` is no http or https URL"),
            "Write it as https://HOST/PATH/",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upload_endpoint_has_the_origin_of_the_storage_endpoint() {
        let custom = Endpoints::at("http://127.0.0.1:9");
        assert_eq!(
            custom.upload_url("b/x/o"),
            "http://127.0.0.1:9/upload/storage/v1/b/x/o"
        );
        assert_eq!(
            custom.url(Service::Compute, "projects/p"),
            "http://127.0.0.1:9/compute/v1/projects/p"
        );
    }

    #[test]
    fn token_leaves_the_machine_over_tls_only() {
        for good in [
            "https://storage.googleapis.com/storage/v1/",
            "https://storage-x.p.googleapis.com/",
            "http://127.0.0.1:8080/compute/v1/",
            "http://[::1]:8080/",
            "http://localhost:1/",
        ] {
            assert!(may_carry_token(good).is_ok(), "{good}");
        }
        for bad in [
            "http://storage.googleapis.com/storage/v1/",
            "http://10.0.0.1/",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
            "http://127.0.0.1@example.com/",
            "ftp://127.0.0.1/",
            "127.0.0.1:80",
            "",
        ] {
            assert!(may_carry_token(bad).is_err(), "{bad}");
        }
    }
}
