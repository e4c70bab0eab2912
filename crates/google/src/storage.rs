use crate::{
    endpoint::Service,
    error::{Error, Result},
    http::{Attempt, Call, Client, Reply, encode},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use std::{
    fmt,
    io::{Read, Write},
    path::Path,
    str::FromStr,
};

const SERVICE: Service = Service::Storage;

/// Most sources one compose call takes (Cloud Storage's documented limit).
pub const COMPOSE_LIMIT: usize = 32;

/// A CRC32C, written as Cloud Storage writes it: base64 of the four bytes, big end first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Crc32c(pub u32);

impl Crc32c {
    /// Reads a file to its end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of_file(path: &Path) -> Result<Self> {
        let read = || {
            let mut file = std::fs::File::open(path)?;
            let mut buffer = vec![0; 64 << 10];
            let mut crc = 0;
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(Self(crc)),
                    n => crc = crc32c::crc32c_append(crc, &buffer[..n]),
                }
            }
        };
        read().map_err(|cause| Error::file(path, cause))
    }
}

impl fmt::Display for Crc32c {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0.to_be_bytes()))
    }
}

impl FromStr for Crc32c {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        STANDARD
            .decode(text)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(|bytes| Self(u32::from_be_bytes(bytes)))
            .ok_or_else(|| "a CRC32C is 8 characters of base64, as in `AAAAAA==`".to_owned())
    }
}

impl Serialize for Crc32c {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Crc32c {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Reads a 64-bit integer, which Google's JSON has as a string.
pub(crate) fn int64<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<u64, D::Error> {
    String::deserialize(from)?
        .parse()
        .map_err(serde::de::Error::custom)
}

/// Reads a time of RFC 3339 as seconds since 1970. Compute Engine's carry an offset that changes
/// twice a year, so that they cannot be sorted as text.
pub(crate) fn seconds<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<i64, D::Error> {
    let text = String::deserialize(from)?;
    unix_seconds(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no time")))
}

/// The same, of a field that may be missing.
pub(crate) fn seconds_if_any<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<i64>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| {
        unix_seconds(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no time")))
    })
    .transpose()
}

/// Fractions of a second are left out. A library for this would take a tenth of the build.
fn unix_seconds(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let zone = text
        .get(19..)?
        .trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let east = match zone.as_bytes() {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let minutes = zone[1..3].parse::<i64>().ok()? * 60 + zone[4..6].parse::<i64>().ok()?;
            60 * if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    if !(1..=12).contains(&month) || !text.is_ascii() {
        return None;
    }
    // Days of whole years and months since March of year 0, a leap day being the last of its year.
    let (years, months) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days =
        365 * years + years / 4 - years / 100 + years / 400 + (153 * months + 2) / 5 + day - 1;
    // 1 January 1970 is day 719,468 of that count.
    Some((((days - 719_468) * 24 + hour) * 60 + minute) * 60 + second - east)
}

/// `gs://BUCKET/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The bucket.
    pub bucket: String,
    /// The object's name, or a prefix of names; may be empty for the latter.
    pub name: String,
}

impl Location {
    /// The URL by which Compute Engine is told of an object.
    pub fn https(&self) -> String {
        format!(
            "https://storage.googleapis.com/{}/{}",
            self.bucket, self.name
        )
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (bucket, name) = text
            .strip_prefix("gs://")
            .map(|rest| rest.split_once('/').unwrap_or((rest, "")))
            .filter(|(bucket, _)| !bucket.is_empty())
            .ok_or("write it as gs://BUCKET/NAME")?;
        Ok(Self {
            bucket: bucket.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gs://{}/{}", self.bucket, self.name)
    }
}

/// What is known of an object.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// Its bucket.
    pub bucket: String,
    /// Its name in the bucket.
    pub name: String,
    /// Bytes.
    #[serde(deserialize_with = "int64")]
    pub size: u64,
    /// Of its bytes.
    pub crc32c: Crc32c,
    /// Changes with every write.
    #[serde(deserialize_with = "int64")]
    pub generation: u64,
    /// When, in seconds since 1970.
    #[serde(rename(deserialize = "timeCreated"), deserialize_with = "seconds")]
    pub created: i64,
}

/// What is known of a bucket.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bucket {
    /// Its name, unique in all of Google Cloud.
    pub name: String,
    /// Region or multi-region, in capitals.
    pub location: String,
    #[serde(default)]
    iam_configuration: IamConfiguration,
    #[serde(default)]
    soft_delete_policy: Option<SoftDeletePolicy>,
    #[serde(default)]
    versioning: Switch,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct IamConfiguration {
    uniform_bucket_level_access: Switch,
    public_access_prevention: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Switch {
    enabled: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SoftDeletePolicy {
    #[serde(deserialize_with = "int64", default)]
    retention_duration_seconds: u64,
}

impl Bucket {
    fn is_as_wanted(&self) -> bool {
        let iam = &self.iam_configuration;
        iam.uniform_bucket_level_access.enabled
            && iam.public_access_prevention == "enforced"
            && self
                .soft_delete_policy
                .as_ref()
                .is_none_or(|policy| policy.retention_duration_seconds == 0)
    }
}

impl Client {
    /// Makes sure that the project has this bucket: uniform access, no public access, no soft
    /// delete. A bucket of that name in another project is refused rather than used: names are
    /// global, and whoever took it first would be handed our images.
    ///
    /// # Errors
    /// As any call; also when another project holds the name.
    pub fn ensure_bucket(&self, project: &str, name: &str, location: &str) -> Result<Bucket> {
        let doing = format!("Bucket {name}");
        let wanted = json!({
            "iamConfiguration": {
                "uniformBucketLevelAccess": {"enabled": true},
                "publicAccessPrevention": "enforced",
            },
            "softDeletePolicy": {"retentionDurationSeconds": "0"},
        });
        if let Some(bucket) = self.bucket_of(project, name)? {
            if bucket.is_as_wanted() {
                return Ok(bucket);
            }
            let url = self.endpoints.url(SERVICE, &format!("b/{}", encode(name)));
            return self
                .call(&Call::new(SERVICE, "PATCH", url).json(&wanted))?
                .into(SERVICE, &doing);
        }
        let mut body = wanted;
        body["name"] = json!(name);
        body["location"] = json!(location);
        let insert = Call::new(SERVICE, "POST", self.endpoints.url(SERVICE, "b"))
            .query("project", project)
            .json(&body);
        let reply = self.call(&insert)?;
        if reply.status == 409 {
            // Made by another run, or by this call whose first answer was lost.
            return self.bucket_of(project, name)?.ok_or_else(|| {
                Error::refused(
                    format!("{doing}: another project has a bucket of this name"),
                    "Choose another name with --bucket",
                )
            });
        }
        reply.into(SERVICE, &doing)
    }

    /// Has a bucket keep what is overwritten or deleted in it.
    ///
    /// # Errors
    /// As any call.
    pub fn ensure_versions(&self, bucket: Bucket) -> Result<Bucket> {
        if bucket.versioning.enabled {
            return Ok(bucket);
        }
        let url = self
            .endpoints
            .url(SERVICE, &format!("b/{}", encode(&bucket.name)));
        let patch =
            Call::new(SERVICE, "PATCH", url).json(&json!({"versioning": {"enabled": true}}));
        let doing = format!("Bucket {}", bucket.name);
        self.call(&patch)?.into(SERVICE, &doing)
    }

    /// The bucket, if it is this project's.
    ///
    /// # Errors
    /// As any call.
    pub fn bucket_of(&self, project: &str, name: &str) -> Result<Option<Bucket>> {
        let list = Call::new(SERVICE, "GET", self.endpoints.url(SERVICE, "b"))
            .query("project", project)
            .query("prefix", name);
        let pages: Vec<Vec<Bucket>> =
            self.pages(SERVICE, &list, &format!("Buckets of {project}"))?;
        Ok(pages
            .into_iter()
            .flatten()
            .find(|bucket| bucket.name == name))
    }

    /// An object's metadata; `None` when there is no such object or bucket.
    ///
    /// # Errors
    /// As any call.
    pub fn object(&self, at: &Location) -> Result<Option<Object>> {
        let reply = self.call(&Call::new(SERVICE, "GET", self.object_url(at)))?;
        if reply.status == 404 {
            return Ok(None);
        }
        reply.into(SERVICE, &at.to_string()).map(Some)
    }

    /// The objects of a bucket whose names begin with `under.name`; none when there is no bucket.
    ///
    /// # Errors
    /// As any call.
    pub fn objects(&self, under: &Location) -> Result<Vec<Object>> {
        let url = self
            .endpoints
            .url(SERVICE, &format!("b/{}/o", encode(&under.bucket)));
        let list = Call::new(SERVICE, "GET", url).query("prefix", &under.name);
        let pages: Result<Vec<Vec<Object>>> = self.pages(SERVICE, &list, &under.to_string());
        match pages {
            Err(error) if error.status == Some(404) => Ok(Vec::new()),
            pages => Ok(pages?.into_iter().flatten().collect()),
        }
    }

    /// Deletes an object, `generation` of it alone if given. One that is not there is fine.
    ///
    /// # Errors
    /// As any call.
    pub fn delete_object(&self, at: &Location, generation: Option<u64>) -> Result<()> {
        let mut delete = Call::new(SERVICE, "DELETE", self.object_url(at));
        if let Some(generation) = generation {
            delete = delete.query("ifGenerationMatch", generation.to_string());
        }
        let reply = self.call(&delete)?;
        // 412: that generation is gone.
        if reply.is_success() || reply.status == 404 || generation.is_some() && reply.status == 412
        {
            return Ok(());
        }
        Err(reply.refusal(SERVICE, &at.to_string()))
    }

    /// Makes one object of others of the same bucket, in order. The target must not exist, unless
    /// with the very bytes that the sources have together (then it is left as it is).
    ///
    /// # Errors
    /// More than [`COMPOSE_LIMIT`] sources; as any call.
    pub fn compose(&self, sources: &[String], target: &Location) -> Result<Object> {
        if sources.is_empty() || sources.len() > COMPOSE_LIMIT {
            return Err(Error::input(
                format!("{} sources to compose", sources.len()),
                format!("Give 1 to {COMPOSE_LIMIT}"),
            ));
        }
        let names: Vec<Value> = sources.iter().map(|name| json!({"name": name})).collect();
        let compose = Call::new(
            SERVICE,
            "POST",
            format!("{}/compose", self.object_url(target)),
        )
        .query("ifGenerationMatch", "0")
        .json(&json!({"sourceObjects": names}));
        let reply = self.call(&compose)?;
        if reply.status == 412
            && let Some(object) = self.object(target)?
            && object.crc32c == self.crc_of_all(sources, &target.bucket)?
        {
            return Ok(object);
        }
        reply.into(SERVICE, &target.to_string())
    }

    fn crc_of_all(&self, sources: &[String], bucket: &str) -> Result<Crc32c> {
        let mut all = 0;
        for name in sources {
            let at = Location {
                bucket: bucket.to_owned(),
                name: name.clone(),
            };
            let object = self.object(&at)?.ok_or_else(|| missing(&at))?;
            let size = usize::try_from(object.size).expect("64-bit machines");
            all = crc32c::crc32c_combine(all, object.crc32c.0, size);
        }
        Ok(Crc32c(all))
    }

    /// Downloads an object. The file appears under its name when whole and verified, or not at all;
    /// a cut connection goes on where it stopped.
    ///
    /// # Errors
    /// As any call; when the file cannot be written; when the bytes are not the object's.
    pub fn download(
        &self,
        from: &Location,
        to: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Object> {
        let object = self.object(from)?.ok_or_else(|| missing(from))?;
        let folder = match to.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let written = |cause| Error::file(to, cause);
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(written)?;
        let mut patience = self.patience(SERVICE);
        let (mut done, mut crc) = (0, 0);
        while done < object.size {
            let before = done;
            let part = self.download_part(from, &object, done, &mut |bytes| {
                file.write_all(bytes).map_err(written)?;
                crc = crc32c::crc32c_append(crc, bytes);
                done += bytes.len() as u64;
                progress(done, object.size);
                Ok(())
            });
            if done > before {
                patience.reset();
            }
            patience.retry(part)?;
        }
        if Crc32c(crc) != object.crc32c {
            return Err(Error::failed(
                format!("{from} arrived damaged"),
                "Download it again",
            ));
        }
        file.as_file().sync_all().map_err(written)?;
        file.persist(to).map_err(|error| written(error.error))?;
        Ok(object)
    }

    /// What a small object holds.
    ///
    /// # Errors
    /// As any call; when it is no text.
    pub(crate) fn text(&self, object: &Object) -> Result<String> {
        let at = Location {
            bucket: object.bucket.clone(),
            name: object.name.clone(),
        };
        let mut bytes = Vec::new();
        let mut patience = self.patience(SERVICE);
        while (bytes.len() as u64) < object.size {
            let done = bytes.len() as u64;
            let part = self.download_part(&at, object, done, &mut |more| {
                bytes.extend_from_slice(more);
                Ok(())
            });
            patience.retry(part)?;
        }
        String::from_utf8(bytes)
            .map_err(|_| Error::failed(format!("{at} holds no text"), "Delete it"))
    }

    /// Hands on the object's bytes from `offset` until its end or a cut.
    fn download_part(
        &self,
        from: &Location,
        object: &Object,
        offset: u64,
        take: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> std::result::Result<(), Attempt> {
        let get = Call::new(SERVICE, "GET", self.object_url(from))
            .query("alt", "media")
            .query("generation", object.generation.to_string())
            .header("Range", format!("bytes={offset}-"));
        let mut response = self.attempt(&get, (), false)?;
        if !response.status().is_success() {
            return Err(Reply::read(response)?
                .refusal(SERVICE, &from.to_string())
                .into());
        }
        let mut body = response.body_mut().as_reader();
        let mut buffer = vec![0; 1 << 18];
        loop {
            match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => take(&buffer[..n])?,
                Err(cut) => return Err(Attempt::again(format!("its answer broke off ({cut})"))),
            }
        }
    }

    pub(crate) fn object_url(&self, at: &Location) -> String {
        self.endpoints.url(
            SERVICE,
            &format!("b/{}/o/{}", encode(&at.bucket), encode(&at.name)),
        )
    }
}

fn missing(at: &Location) -> Error {
    Error::refused(
        format!("{at} does not exist"),
        "Check the name with `google objects list`",
    )
    .with_status(404)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_from_1970_whatever_their_offset() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00.123456Z", 951_825_600),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2026-11-24T21:06:56.000-07:00", 1_795_579_616),
            ("2026-11-25T04:06:56Z", 1_795_579_616),
            ("2026-11-25T09:36:56+05:30", 1_795_579_616),
        ] {
            assert_eq!(unix_seconds(text), Some(seconds), "{text}");
        }
        for text in [
            "",
            "2026-11-24",
            "2026-13-01T00:00:00Z",
            "2026-11-24T21:06:56",
            "ü026-11-24T21:06:56Z",
        ] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }
}
