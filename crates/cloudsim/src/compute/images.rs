//! Images: <https://cloud.google.com/compute/docs/reference/rest/v1/images>.

use super::{Context, Kind, LINKS, Scope, check_name, find, link};
use crate::error::{ApiError, Result};
use crate::fault::OperationError;
use crate::storage;
use crate::store::Store;
use flate2::read::GzDecoder;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

pub const KIND: Kind = Kind {
    collection: "images",
    name: "compute#image",
    scope: Scope::Global,
    status: Some(["PENDING", "READY"]),
    failed: Some("FAILED"),
    patchable: &["description", "family"],
    create,
    delete: |_, _| Ok(()),
    verbs: &[("deprecate", deprecate)],
};

const GIB: u64 = 1 << 30;

/// <https://cloud.google.com/compute/docs/images/create-custom#guest-os-features>
const FEATURES: &[&str] = &[
    "BARE_METAL_LINUX_COMPATIBLE",
    "GVNIC",
    "IDPF",
    "MULTI_IP_SUBNET",
    "SECURE_BOOT",
    "SEV_CAPABLE",
    "SEV_LIVE_MIGRATABLE",
    "SEV_LIVE_MIGRATABLE_V2",
    "SEV_SNP_CAPABLE",
    "SNP_SVSM_CAPABLE",
    "SUSPEND_RESUME_COMPATIBLE",
    "TDX_CAPABLE",
    "UEFI_COMPATIBLE",
    "VIRTIO_SCSI_MULTIQUEUE",
    "WINDOWS",
];

fn create(context: &mut Context, image: &mut Map<String, Value>) -> Result<Option<OperationError>> {
    let text = |field: &str| image.get(field).and_then(Value::as_str).map(str::to_owned);
    if let Some(family) = text("family").filter(|family| !family.is_empty()) {
        check_name("resource.family", &family)?;
    }
    for (index, feature) in image
        .get("guestOsFeatures")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        let name = feature["type"].as_str().unwrap_or_default();
        if !FEATURES.contains(&name) {
            return Err(ApiError::invalid(format!(
                "Invalid value for field 'resource.guestOsFeatures[{index}].type': '{name}'. It is no guest OS feature."
            )));
        }
    }
    let raw = image
        .get("rawDisk")
        .and_then(|raw| raw["source"].as_str())
        .map(str::to_owned);
    let filled = match (raw, text("sourceImage")) {
        (Some(source), None) => of_archive(context, &source)?,
        (None, Some(source)) => Ok(of_image(context, &source)?),
        _ => {
            return Err(ApiError::invalid(
                "Invalid resource usage: 'Must specify exactly one source for an image.'.",
            ));
        }
    };
    image
        .entry("architecture")
        .or_insert_with(|| "X86_64".into());
    image.insert("sourceType".to_owned(), "RAW".into());
    match filled {
        Ok(fields) => {
            image.extend(fields.as_object().cloned().unwrap_or_default());
            Ok(None)
        }
        Err(error) => Ok(Some(error)),
    }
}

/// The READY image that a link names; `global/images/family/F` names a family's newest.
pub fn of_link<'a>(context: &'a Context, source: &str) -> Result<&'a Value> {
    let link = link(context.project, source);
    let path = &link[LINKS.len()..];
    let key = format!("compute/{path}");
    let found = match key.split_once("family/") {
        Some((images, family)) => of_family(context.store, images, family)?,
        None => find(context.store, path)?,
    };
    if found["status"] != "READY" {
        return Err(ApiError::new(
            400,
            "resourceNotReady",
            format!("The resource '{path}' is not ready"),
        ));
    }
    Ok(found)
}

fn of_image(context: &Context, source: &str) -> Result<Value> {
    let found = of_link(context, source)?;
    let fields = [
        "diskSizeGb",
        "archiveSizeBytes",
        "storageLocations",
        "guestOsFeatures",
        "architecture",
    ];
    Ok(fields
        .iter()
        .map(|field| ((*field).to_owned(), found[field].clone()))
        .collect::<Map<_, _>>()
        .into())
}

/// Looks at an archive in a bucket: what the call is refused for, what its operation fails for, what is in it.
fn of_archive(
    context: &Context,
    source: &str,
) -> Result<std::result::Result<Value, OperationError>> {
    let refuse = |why: &str| {
        ApiError::invalid(format!(
            "Invalid value for field 'resource.rawDisk.source': '{source}'. {why}"
        ))
    };
    let (bucket, object) = object_of(&context.world.origin, source)
        .ok_or_else(|| refuse("The URL is not a Cloud Storage object's."))?;
    if !object.ends_with(".tar.gz") {
        return Err(refuse("The provided source is not a supported file."));
    }
    // The service reads the archive as the caller.
    let unreadable = || refuse("The object does not exist, or the caller may not read it.");
    storage::access(context.store, context.call, &bucket, "storage.objects.get")
        .map_err(|_| unreadable())?;
    let found = context
        .store
        .get(&storage::object_key(&bucket, &object))
        .ok_or_else(unreadable)?;
    let file = context
        .world
        .objects
        .join(found["_file"].as_str().unwrap_or_default());
    Ok(disk_of(&file)?.map(|bytes| {
        json!({
            "diskSizeGb": (bytes / GIB).to_string(),
            "archiveSizeBytes": found["size"],
            "storageLocations": [context.store.get(&format!("storage/b/{bucket}"))
                .and_then(|bucket| bucket["location"].as_str()).unwrap_or("us").to_lowercase()],
        })
    }))
}

/// Bucket and object of a URL as `rawDisk.source` takes it, or of this simulator's own links.
fn object_of(origin: &str, source: &str) -> Option<(String, String)> {
    let own = format!("{origin}/storage/v1/b/");
    let api = [
        "https://www.googleapis.com/storage/v1/b/",
        "https://storage.googleapis.com/storage/v1/b/",
        &own,
    ];
    let (bucket, object) = match api.iter().find_map(|start| source.strip_prefix(start)) {
        Some(rest) => rest.split_once("/o/")?,
        None => [
            "https://storage.googleapis.com/",
            "http://storage.googleapis.com/",
            "gs://",
        ]
        .iter()
        .find_map(|start| source.strip_prefix(start))?
        .split_once('/')?,
    };
    Some((
        bucket.to_owned(),
        percent_decode_str(object).decode_utf8_lossy().into_owned(),
    ))
}

/// Size of the disk in an archive, from its head and its trailer: enough to tell a damaged start, a wrong format and
/// a truncated file, and cheap for any size.
fn disk_of(path: &Path) -> io::Result<std::result::Result<u64, OperationError>> {
    let fail = |message: &str| {
        Ok(Err(OperationError {
            code: "INVALID_IMAGE_TAR".to_owned(),
            message: message.to_owned(),
        }))
    };
    let mut file = File::open(path)?;
    let mut header = [0; 512];
    if GzDecoder::new(&mut file).read_exact(&mut header).is_err() {
        return fail("The tar archive is not a valid image.");
    }
    let checksum: u32 = header
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    if octal(&header[148..156]) != Some(u64::from(checksum)) {
        return fail("The tar archive is not a valid image.");
    }
    if &header[257..265] != b"ustar  \0" {
        return fail(
            "The tar archive format is not supported. Supported formats are: GNU and OLDGNU.",
        );
    }
    let name = header[..100]
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    if name != b"disk.raw" {
        let name = String::from_utf8_lossy(name);
        return fail(&format!(
            "The file inside the tar archive was named ''{name}''. It should be named ''disk.raw''."
        ));
    }
    // Of a sparse file (`tar -S`, as Google's own guide has it) the header has both sizes.
    let stored = tar_size(&header[124..136]);
    let size = match header[156] {
        b'S' => tar_size(&header[483..495]),
        _ => stored,
    };
    if size == 0 || !size.is_multiple_of(GIB) {
        return fail("The tar archive is not a valid image.");
    }
    // The last four bytes of gzip are the length of what it holds, modulo 4 GiB: a header, what is stored, and then
    // padding and a sparse file's map, which come in blocks.
    let mut trailer = [0; 4];
    file.seek(SeekFrom::End(-4))?;
    file.read_exact(&mut trailer)?;
    let known = (stored.next_multiple_of(512) as u32).wrapping_add(512);
    let rest = u32::from_le_bytes(trailer).wrapping_sub(known);
    if rest > 16 << 20 || rest % 512 != 0 {
        return fail("The tar archive is not a valid image.");
    }
    Ok(Ok(size))
}

fn octal(field: &[u8]) -> Option<u64> {
    u64::from_str_radix(
        std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']),
        8,
    )
    .ok()
}

/// A size field: octal, or GNU's base 256 for 8 GiB and more.
fn tar_size(field: &[u8]) -> u64 {
    if field[0] & 0x80 == 0 {
        return octal(field).unwrap_or_default();
    }
    field[1..]
        .iter()
        .fold(0, |size, byte| size << 8 | u64::from(*byte))
}

/// The newest image of a family that is READY and not deprecated, among those whose key starts with `images`.
pub fn of_family<'a>(store: &'a Store, images: &str, family: &str) -> Result<&'a Value> {
    let current = |image: &&Value| {
        image["family"] == family
            && image["status"] == "READY"
            && image
                .get("deprecated")
                .is_none_or(|deprecated| deprecated["state"] == "ACTIVE")
    };
    let newest = store
        .scan(images, "")
        .map(|(_, image)| image)
        .filter(current)
        .max_by_key(|image| image["id"].as_str());
    newest.ok_or_else(|| {
        ApiError::not_found(format!(
            "The resource '{}family/{family}' was not found",
            images.trim_start_matches("compute/")
        ))
    })
}

fn deprecate(
    _: &mut Context,
    image: &mut Map<String, Value>,
    body: Map<String, Value>,
) -> Result<()> {
    match body.get("state").and_then(Value::as_str) {
        None | Some("ACTIVE") => {
            image.remove("deprecated");
        }
        Some("DEPRECATED" | "OBSOLETE" | "DELETED") => {
            image.insert("deprecated".to_owned(), body.into());
        }
        Some(other) => {
            return Err(ApiError::invalid(format!(
                "Invalid value for field 'resource.state': '{other}'."
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_found_in_each_form_of_url() {
        for source in [
            "gs://b/a/x.tar.gz",
            "https://storage.googleapis.com/b/a/x.tar.gz",
            "https://storage.googleapis.com/b/a%2Fx.tar.gz",
            "https://www.googleapis.com/storage/v1/b/b/o/a%2Fx.tar.gz",
            "http://127.0.0.1:1/storage/v1/b/b/o/a%2Fx.tar.gz",
        ] {
            let found = object_of("http://127.0.0.1:1", source).unwrap();
            assert_eq!(found, ("b".to_owned(), "a/x.tar.gz".to_owned()), "{source}");
        }
        assert_eq!(
            object_of(
                "http://127.0.0.1:1",
                "http://127.0.0.1:2/storage/v1/b/b/o/x"
            ),
            None
        );
    }

    #[test]
    fn sizes_of_8_gib_and_more_are_read() {
        assert_eq!(tar_size(b"10000000000\0"), GIB);
        assert_eq!(tar_size(&[0x80, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]), 16 * GIB);
    }
}
