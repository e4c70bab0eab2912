//! Images come of real archives, take time, and keep the rules of labels, families and names.

mod common;

use cloudsim::{Options, Sim};
use common::{Answer, Client, GIB, archive, good, start, wait};
use serde_json::{Value, json};

const IMAGES: &str = "/compute/v1/projects/demo/global/images";

fn request(name: &str, object: &str) -> Value {
    json!({
        "name": name, "family": "base", "labels": {"profile": "base"},
        "guestOsFeatures": [{"type": "UEFI_COMPATIBLE"}, {"type": "GVNIC"}],
        "rawDisk": {"source": format!("https://storage.googleapis.com/images/{object}"), "containerType": "TAR"},
    })
}

fn insert(client: &Client, name: &str) -> Answer {
    client.post(IMAGES, &request(name, "base.tar.gz"))
}

fn image(client: &Client, name: &str) -> Value {
    client.get(&format!("{IMAGES}/{name}")).json()
}

fn with_archive() -> (Sim, Client) {
    let (sim, client) = start();
    client.make_bucket("images");
    client.put_object("images", "base.tar.gz", &good(20));
    (sim, client)
}

#[test]
fn an_image_is_pending_until_its_operation_is_done() {
    let (_sim, client) = with_archive();
    let operation = insert(&client, "base-1");
    assert_eq!(operation.json()["status"], "PENDING");
    let link = operation.json()["selfLink"].as_str().unwrap().to_owned();
    assert!(
        link.starts_with("https://www.googleapis.com/compute/v1/projects/demo/global/operations/")
    );
    let path = link.strip_prefix("https://www.googleapis.com").unwrap();
    let mut seen = vec!["PENDING".to_owned()];
    for _ in 0..10 {
        let status = client.get(path).json()["status"]
            .as_str()
            .unwrap()
            .to_owned();
        if *seen.last().unwrap() != status {
            seen.push(status);
        }
    }
    assert_eq!(seen, ["PENDING", "RUNNING", "DONE"]);
    let made = image(&client, "base-1");
    assert_eq!(
        (&made["status"], &made["diskSizeGb"]),
        (&json!("READY"), &json!("20"))
    );
    assert_eq!(
        made["selfLink"],
        "https://www.googleapis.com/compute/v1/projects/demo/global/images/base-1"
    );
    assert_eq!(made["archiveSizeBytes"], good(20).len().to_string());
    assert_eq!(made["guestOsFeatures"][1]["type"], "GVNIC");
}

#[test]
fn polling_the_image_alone_ends_as_well() {
    let (_sim, client) = with_archive();
    insert(&client, "base-1");
    let polls = (1..10).find(|_| image(&client, "base-1")["status"] == "READY");
    assert!(polls.is_some_and(|polls| polls > 1), "{polls:?}");
    client.delete(&format!("{IMAGES}/base-1"));
    let gone = (1..10).find(|_| client.get(&format!("{IMAGES}/base-1")).status == 404);
    assert!(gone.is_some());
}

#[test]
fn a_seed_decides_how_many_polls_an_operation_takes() {
    let polls = |seed| {
        let sim = Sim::start(Options {
            seed,
            ..Options::default()
        })
        .unwrap();
        let client = Client::new(&sim);
        client.make_bucket("images");
        client.put_object("images", "base.tar.gz", &good(1));
        (0..8)
            .map(|n| {
                insert(&client, &format!("base-{n}"));
                (1..10)
                    .find(|_| image(&client, &format!("base-{n}"))["status"] == "READY")
                    .unwrap()
            })
            .collect::<Vec<i32>>()
    };
    assert_eq!(polls(7), polls(7));
    assert_ne!(polls(7), polls(8));
}

#[test]
fn a_source_that_is_missing_or_unreadable_refuses_the_call() {
    let (_sim, client) = with_archive();
    for object in ["absent.tar.gz", "base.zip"] {
        let refused = client.post(IMAGES, &request("x", object));
        assert_eq!(
            (refused.status, refused.reason().as_str()),
            (400, "invalid"),
            "{object}"
        );
    }
    assert_eq!(client.post(IMAGES, &json!({"name": "x"})).status, 400);
    // An upload that is not finished is no object.
    let session = client.start_upload("images", "name=partial.tar.gz", &[], &json!({}));
    client.send(
        "PUT",
        &session,
        &[("content-range", "bytes 0-262143/*")],
        &[0; 262_144],
    );
    assert_eq!(
        client.post(IMAGES, &request("x", "partial.tar.gz")).status,
        400
    );
    let policy = json!({"policy": {"bindings": [{"role": "roles/compute.admin", "members": ["user:bob@example.com"]}]}});
    assert_eq!(
        client
            .post("/crm/v1/projects/demo:setIamPolicy", &policy)
            .status,
        200
    );
    let bob = client.with_token("user:bob@example.com");
    assert_eq!(
        insert(&bob, "x").status,
        400,
        "he may make images but not read the bucket"
    );
    assert_eq!(
        insert(&client.with_token("user:eve@example.com"), "x").status,
        403
    );
}

#[test]
fn an_archive_that_is_damaged_ends_failed() {
    let (_sim, client) = with_archive();
    let mut truncated = good(20);
    truncated.truncate(truncated.len() - 1);
    let mut head = good(20);
    head[30] ^= 0xff;
    for (case, bytes, message) in [
        ("truncated", truncated, "not a valid image"),
        ("damaged-head", head, "not a valid image"),
        ("empty", Vec::new(), "not a valid image"),
        (
            "odd-size",
            archive("disk.raw", GIB + 512, b"ustar  \0"),
            "not a valid image",
        ),
        (
            "ustar",
            archive("disk.raw", GIB, b"ustar\x0000"),
            "GNU and OLDGNU",
        ),
        (
            "other-name",
            archive("nixos.raw", GIB, b"ustar  \0"),
            "''nixos.raw''",
        ),
    ] {
        client.put_object("images", "bad.tar.gz", &bytes);
        let done = wait(&client, &client.post(IMAGES, &request(case, "bad.tar.gz")));
        let said = done["error"]["errors"][0]["message"]
            .as_str()
            .unwrap_or_default();
        assert!(said.contains(message), "{case}: {done}");
        assert_eq!(image(&client, case)["status"], "FAILED", "{case}");
    }
    assert_eq!(
        client.get(&format!("{IMAGES}/family/base")).status,
        404,
        "a failed image stands for no family"
    );
    wait(&client, &client.delete(&format!("{IMAGES}/truncated")));
    assert_eq!(client.get(&format!("{IMAGES}/truncated")).status, 404);
}

#[test]
fn a_name_is_taken_once_and_a_request_id_counts_once() {
    let (_sim, client) = with_archive();
    let with_id = format!("{IMAGES}?requestId=6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    let body = request("base-1", "base.tar.gz");
    let first = client.post(&with_id, &body).json();
    let again = client.post(&with_id, &body).json();
    assert_eq!(first["name"], again["name"]);
    let taken = client.post(IMAGES, &body);
    assert_eq!(
        (taken.status, taken.reason().as_str()),
        (409, "alreadyExists")
    );
    assert_eq!(
        taken.message(),
        "The resource 'projects/demo/global/images/base-1' already exists"
    );
    assert_eq!(
        client.post(&format!("{IMAGES}?requestId=1"), &body).status,
        400
    );
    assert_eq!(
        client
            .post(IMAGES, &request("Base_1", "base.tar.gz"))
            .status,
        400
    );
    let busy = client.delete(&format!("{IMAGES}/base-1"));
    assert_eq!(
        (busy.status, busy.reason().as_str()),
        (400, "resourceNotReady")
    );
}

#[test]
fn labels_are_set_only_by_who_has_seen_them() {
    let (_sim, client) = with_archive();
    wait(&client, &insert(&client, "base-1"));
    let set = |labels: Value, fingerprint: &Value| {
        client.post(
            &format!("{IMAGES}/base-1/setLabels"),
            &json!({"labels": labels, "labelFingerprint": fingerprint}),
        )
    };
    let before = image(&client, "base-1")["labelFingerprint"].clone();
    wait(&client, &set(json!({"a": "b"}), &before));
    let stale = set(json!({"a": "c"}), &before);
    assert_eq!(
        (stale.status, stale.reason().as_str()),
        (412, "conditionNotMet")
    );
    let now = image(&client, "base-1");
    assert_eq!(now["labels"], json!({"a": "b"}));
    for bad in [
        json!({"A": "b"}),
        json!({"a": "B"}),
        json!({"1a": ""}),
        json!({"a": "x".repeat(64)}),
    ] {
        assert_eq!(
            set(bad.clone(), &now["labelFingerprint"]).status,
            400,
            "{bad}"
        );
    }
}

#[test]
fn a_family_is_its_newest_image_that_is_ready_and_not_deprecated() {
    let (_sim, client) = with_archive();
    let newest = || client.get(&format!("{IMAGES}/family/base")).json()["name"].clone();
    wait(&client, &insert(&client, "zz-old"));
    wait(&client, &insert(&client, "aa-new"));
    assert_eq!(newest(), "aa-new");
    let deprecate = |name: &str, state: &str| {
        wait(
            &client,
            &client.post(
                &format!("{IMAGES}/{name}/deprecate"),
                &json!({"state": state}),
            ),
        )
    };
    deprecate("aa-new", "DEPRECATED");
    assert_eq!(newest(), "zz-old");
    deprecate("aa-new", "ACTIVE");
    assert_eq!(newest(), "aa-new");
    let operation = insert(&client, "newer");
    assert_eq!(operation.status, 200);
    assert_eq!(
        newest(),
        "aa-new",
        "one that is still being made does not count"
    );
}

#[test]
fn lists_are_filtered_ordered_and_paged() {
    let (_sim, client) = with_archive();
    for name in ["b", "a", "c"] {
        wait(&client, &insert(&client, name));
    }
    let list = |query: &str| {
        let list = client.get(&format!("{IMAGES}?{query}")).json();
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let names: String = items
            .iter()
            .filter_map(|item| item["name"].as_str())
            .collect();
        (
            names,
            list["nextPageToken"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    assert_eq!(list("").0, "abc");
    assert_eq!(list("orderBy=creationTimestamp+desc").0, "cab");
    assert_eq!(list("filter=labels.profile%3Dbase+AND+name!%3Da").0, "bc");
    assert_eq!(list("filter=family%3Dcuda").0, "");
    let (first, token) = list("maxResults=2&orderBy=creationTimestamp+desc");
    assert_eq!(first, "ca");
    assert_eq!(
        list(&format!(
            "maxResults=2&orderBy=creationTimestamp+desc&pageToken={token}"
        )),
        ("b".to_owned(), String::new())
    );
    assert_eq!(client.get(&format!("{IMAGES}?filter=family")).status, 400);
}

#[test]
fn projects_zones_and_regions_are_there() {
    let (_sim, client) = start();
    let project = client.get("/crm/v1/projects/demo").json();
    let number = project["projectNumber"].as_str().unwrap();
    assert_eq!(number.len(), 12);
    assert_eq!(client.get("/compute/v1/projects/demo").json()["id"], number);
    let zone = client
        .get("/compute/v1/projects/demo/zones/europe-west4-a")
        .json();
    assert_eq!(
        zone["region"],
        "https://www.googleapis.com/compute/v1/projects/demo/regions/europe-west4"
    );
    assert_eq!(
        client.get("/compute/v1/projects/demo/zones/mars-1").status,
        404
    );
    assert_eq!(
        client
            .get("/compute/v1/projects/demo/aggregated/disks")
            .json()["items"],
        json!({})
    );
}
