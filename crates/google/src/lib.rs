//! A small blocking client of the Google Cloud APIs that the fleet uses: Cloud Storage (JSON API),
//! Compute Engine's images, machines, disks and snapshots, and Secret Manager.
//!
//! Every call may safely be made twice, by precondition, by request id or by its nature, so that a
//! lost answer is asked for again and a killed process run again.

mod cache;
mod compute;
mod credentials;
mod endpoint;
mod error;
mod http;
mod machines;
mod metadata;
mod project;
mod reach;
mod secrets;
mod snapshots;
mod storage;
mod upload;

pub use cache::{CachedPath, Pruned, Pushed};
pub use compute::{Deprecated, Image, Listed, NewImage};
pub use endpoint::{Endpoints, Service};
pub use error::{Error, Kind, Result};
pub use http::Client;
pub use machines::{Disk, Instance, Place, Power};
pub use metadata::Setting;
pub use project::{Project, Quota, Zone};
pub use snapshots::{NewSnapshot, Snapshot};
pub use storage::{Bucket, COMPOSE_LIMIT, Crc32c, Location, Object};
pub use upload::Upload;
