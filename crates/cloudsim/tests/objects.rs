//! Buckets and objects: preconditions, listing, reading, composing, access.

mod common;

use common::{Client, bytes, crc32c, start};
use serde_json::json;

fn generation(client: &Client, name: &str) -> String {
    client.object("images", name).json()["generation"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_bucket_keeps_what_it_was_given_and_its_name_is_taken() {
    let (_sim, client) = start();
    let wanted = json!({
        "name": "images", "location": "europe-west4", "versioning": {"enabled": true},
        "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": true}, "publicAccessPrevention": "enforced"},
        "softDeletePolicy": {"retentionDurationSeconds": "0"},
    });
    let made = client.post("/storage/v1/b?project=demo", &wanted).json();
    assert_eq!(made["location"], "EUROPE-WEST4");
    assert_eq!(
        made["iamConfiguration"]["publicAccessPrevention"],
        "enforced"
    );
    assert_eq!(made["softDeletePolicy"]["retentionDurationSeconds"], "0");
    assert_eq!(made["projectNumber"].as_str().unwrap().len(), 12);
    assert!(
        made.get("_project").is_none(),
        "the simulator's own fields stay inside"
    );
    assert_eq!(client.get("/storage/v1/b/images").json(), made);
    let again = client.post("/storage/v1/b?project=demo", &wanted);
    assert_eq!((again.status, again.reason().as_str()), (409, "conflict"));
    assert!(again.message().contains("you already own it"));
    assert!(
        client
            .post("/storage/v1/b?project=other", &wanted)
            .message()
            .contains("not available")
    );
    assert_eq!(
        client
            .post("/storage/v1/b?project=demo", &json!({"name": "No"}))
            .status,
        400
    );

    let patched = client
        .json(
            "PATCH",
            "/storage/v1/b/images",
            &json!({"labels": {"a": "b"}, "versioning": null}),
        )
        .json();
    assert_eq!(
        (&patched["metageneration"], &patched["labels"]["a"]),
        (&json!("2"), &json!("b"))
    );
    assert!(patched.get("versioning").is_none());
    let stale = client.json(
        "PATCH",
        "/storage/v1/b/images?ifMetagenerationMatch=1",
        &json!({}),
    );
    assert_eq!(stale.status, 412);

    client.put_object("images", "x", b"x");
    assert_eq!(
        client.delete("/storage/v1/b/images").status,
        409,
        "not empty"
    );
    client.delete("/storage/v1/b/images/o/x");
    assert_eq!(client.delete("/storage/v1/b/images").status, 204);
    assert_eq!(client.get("/storage/v1/b/images").status, 404);
}

#[test]
fn preconditions_decide_by_generation_and_metageneration() {
    let (_sim, client) = start();
    client.make_bucket("images");
    let put = |query: &str| {
        client
            .send(
                "POST",
                &format!("/upload/storage/v1/b/images/o?uploadType=media&name=a&{query}"),
                &[],
                b"a",
            )
            .status
    };
    let get = |query: &str| {
        client
            .get(&format!("/storage/v1/b/images/o/a?{query}"))
            .status
    };
    assert_eq!(put("ifGenerationMatch=1"), 412);
    assert_eq!(put("ifGenerationMatch=0"), 200);
    assert_eq!(put("ifGenerationMatch=0"), 412);
    let first = generation(&client, "a");
    assert_eq!(put(&format!("ifGenerationMatch={first}")), 200);
    let second = generation(&client, "a");
    assert!(second > first);
    assert_eq!(get(&format!("ifGenerationNotMatch={second}")), 304);
    assert_eq!(get(&format!("ifGenerationNotMatch={first}")), 200);
    assert_eq!(get(&format!("ifGenerationMatch={first}")), 412);
    assert_eq!(get(&format!("generation={first}")), 404);
    assert_eq!(get("ifMetagenerationMatch=2"), 412);
    let patch = json!({"metadata": {"k": "v"}, "contentType": "text/plain", "size": "99"});
    let patched = client
        .json(
            "PATCH",
            "/storage/v1/b/images/o/a?ifMetagenerationMatch=1",
            &patch,
        )
        .json();
    assert_eq!(
        (&patched["metageneration"], &patched["size"]),
        (&json!("2"), &json!("1"))
    );
    assert_eq!(get("ifMetagenerationMatch=2"), 200);
    assert_eq!(
        client
            .delete(&format!(
                "/storage/v1/b/images/o/a?ifGenerationMatch={first}"
            ))
            .status,
        412
    );
    assert_eq!(
        client
            .delete(&format!(
                "/storage/v1/b/images/o/a?ifGenerationMatch={second}"
            ))
            .status,
        204
    );
    assert_eq!(get(""), 404);
}

#[test]
fn ranges_are_served_and_hashes_are_of_the_whole() {
    let (_sim, client) = start();
    client.make_bucket("images");
    let data = bytes(1000);
    client.put_object("images", "a", &data);
    let get = |range: &str| {
        client.send(
            "GET",
            "/download/storage/v1/b/images/o/a?alt=media",
            &[("range", range)],
            b"",
        )
    };
    for (range, expected, content_range) in [
        ("bytes=0-9", &data[..10], "bytes 0-9/1000"),
        ("bytes=990-", &data[990..], "bytes 990-999/1000"),
        ("bytes=990-5000", &data[990..], "bytes 990-999/1000"),
        ("bytes=-3", &data[997..], "bytes 997-999/1000"),
    ] {
        let got = get(range);
        assert_eq!(
            (got.status, got.header("content-range")),
            (206, Some(content_range))
        );
        assert_eq!(got.body, expected);
        assert!(got.header("x-goog-hash").unwrap().contains(&crc32c(&data)));
    }
    assert_eq!(get("bytes=1000-").status, 416);
    assert_eq!(get("items=1").body, data);
}

#[test]
fn listing_pages_through_names_and_folders_once_each() {
    let (_sim, client) = start();
    client.make_bucket("images");
    client.make_bucket("images2");
    client.put_object("images2", "stranger", b"x");
    for name in ["a", "b%2F1", "b%2F2", "b%2Fc%2F3", "b-", "c%2F1", "d"] {
        client.put_object("images", name, b"x");
    }
    let list = |query: &str| {
        let (mut names, mut folders, mut pages, mut token) =
            (Vec::new(), Vec::new(), 0, String::new());
        loop {
            let page = client
                .get(&format!("/storage/v1/b/images/o?{query}&pageToken={token}"))
                .json();
            pages += 1;
            assert!(pages < 20, "{query}: its pages do not end");
            let of = |field: &str| page[field].as_array().cloned().unwrap_or_default();
            names.extend(
                of("items")
                    .iter()
                    .map(|item| item["name"].as_str().unwrap().to_owned()),
            );
            folders.extend(
                of("prefixes")
                    .iter()
                    .map(|item| item.as_str().unwrap().to_owned()),
            );
            match page["nextPageToken"].as_str() {
                Some(next) => token = next.to_owned(),
                None => return (names.join(" "), folders.join(" "), pages),
            }
        }
    };
    let all = "a b-";
    assert_eq!(
        list(""),
        (format!("{all} b/1 b/2 b/c/3 c/1 d"), String::new(), 1)
    );
    assert_eq!(
        list("delimiter=/"),
        ("a b- d".to_owned(), "b/ c/".to_owned(), 1)
    );
    for size in 1..=6 {
        let (names, folders, _) = list(&format!("delimiter=/&maxResults={size}"));
        assert_eq!(
            (names.as_str(), folders.as_str()),
            ("a b- d", "b/ c/"),
            "pages of {size}"
        );
    }
    assert_eq!(list("maxResults=3").2, 3);
    assert_eq!(
        list("prefix=b/&delimiter=/"),
        ("b/1 b/2".to_owned(), "b/c/".to_owned(), 1)
    );
    assert_eq!(list("prefix=b/c/3").0, "b/c/3");
    assert_eq!(
        client.get("/storage/v1/b/images/o?pageToken=%21").status,
        400
    );
}

#[test]
fn composing_joins_at_most_32_sources_without_an_md5() {
    let (_sim, client) = start();
    client.make_bucket("images");
    let data = bytes(10_000);
    for (name, part) in ["p0", "p1", "p2"]
        .iter()
        .zip([&data[..1], &data[1..7000], &data[7000..]])
    {
        client.put_object("images", name, part);
    }
    let compose = |sources: &[&str]| {
        let sources: Vec<_> = sources.iter().map(|name| json!({"name": name})).collect();
        client.post(
            "/storage/v1/b/images/o/whole/compose",
            &json!({"sourceObjects": sources, "destination": {"contentType": "application/gzip"}}),
        )
    };
    let made = compose(&["p0", "p1", "p2"]).json();
    assert_eq!(
        (&made["crc32c"], &made["componentCount"]),
        (&json!(crc32c(&data)), &json!(3))
    );
    assert_eq!(made["contentType"], "application/gzip");
    assert!(made.get("md5Hash").is_none());
    assert_eq!(client.bytes_of("images", "whole"), data);
    assert_eq!(
        compose(&["whole", "p0"]).json()["componentCount"],
        4,
        "components add up"
    );
    assert_eq!(compose(&["p0"; 32]).status, 200);
    assert_eq!(compose(&["p0"; 33]).status, 400);
    assert_eq!(compose(&["p0", "absent"]).status, 404);
    assert_eq!(compose(&[]).status, 400);
}

#[test]
fn a_copy_has_the_bytes_and_metadata_of_its_source() {
    let (_sim, client) = start();
    client.make_bucket("images");
    client.make_bucket("other");
    client.put_object("images", "a", b"data");
    client.json(
        "PATCH",
        "/storage/v1/b/images/o/a",
        &json!({"metadata": {"k": "v"}}),
    );
    let copied = client
        .post("/storage/v1/b/images/o/a/copyTo/b/other/o/b", &json!({}))
        .json();
    assert_eq!(
        (&copied["metadata"]["k"], &copied["bucket"]),
        (&json!("v"), &json!("other"))
    );
    let rewritten = client
        .post(
            "/storage/v1/b/other/o/b/rewriteTo/b/other/o/x%2Fy",
            &json!({}),
        )
        .json();
    assert_eq!(rewritten["done"], true);
    assert_eq!(rewritten["resource"]["md5Hash"], copied["md5Hash"]);
    client.delete("/storage/v1/b/images/o/a");
    assert_eq!(client.bytes_of("other", "x%2Fy"), b"data");
}

#[test]
fn a_bucket_policy_decides_what_an_identity_may_do() {
    let (_sim, deployer) = start();
    deployer.make_bucket("cache");
    deployer.put_object("cache", "a", b"data");
    let machine = deployer.with_token("serviceAccount:alice@demo.iam.gserviceaccount.com");
    assert_eq!(machine.object("cache", "a").status, 403);
    let mut policy = deployer.get("/storage/v1/b/cache/iam").json();
    let stale = policy.clone();
    policy["bindings"].as_array_mut().unwrap().push(json!({
        "role": "roles/storage.objectViewer", "members": ["serviceAccount:alice@demo.iam.gserviceaccount.com"],
    }));
    assert_eq!(
        deployer
            .json("PUT", "/storage/v1/b/cache/iam", &policy)
            .status,
        200
    );
    assert_eq!(
        deployer
            .json("PUT", "/storage/v1/b/cache/iam", &stale)
            .status,
        412,
        "its etag is from before"
    );
    assert_eq!(machine.bytes_of("cache", "a"), b"data");
    let denied = machine.put_object("cache", "b", b"x");
    assert_eq!(
        (denied.status, denied.reason().as_str()),
        (403, "forbidden")
    );
    assert!(
        denied
            .message()
            .starts_with("alice@demo.iam.gserviceaccount.com does not have storage.objects.create")
    );
    assert_eq!(machine.delete("/storage/v1/b/cache/o/a").status, 403);
    assert_eq!(
        machine
            .json("PUT", "/storage/v1/b/cache/iam", &policy)
            .status,
        403
    );
    assert_eq!(
        machine
            .post("/storage/v1/b?project=demo", &json!({"name": "mine"}))
            .status,
        403
    );
    let held = machine.get("/storage/v1/b/cache/iam/testPermissions?permissions=storage.objects.get&permissions=storage.objects.delete");
    assert_eq!(held.json()["permissions"], json!(["storage.objects.get"]));
    // Who may only create does not write over what is there.
    let mut policy = deployer.get("/storage/v1/b/cache/iam").json();
    policy["bindings"]
        .as_array_mut()
        .unwrap()
        .push(json!({"role": "roles/storage.objectCreator", "members": ["user:bob@example.com"]}));
    deployer.json("PUT", "/storage/v1/b/cache/iam", &policy);
    let bob = deployer.with_token("user:bob@example.com");
    assert_eq!(bob.put_object("cache", "new", b"1").status, 200);
    assert_eq!(bob.put_object("cache", "new", b"2").status, 403);
}

#[test]
fn the_log_has_each_call_before_its_reply_and_tells_writes_from_reads() {
    let (sim, client) = start();
    client.make_bucket("images");
    client.put_object("images", "a", b"12345");
    client.object("images", "a");
    let log = sim.log();
    let seen: Vec<_> = log
        .iter()
        .map(|e| {
            (
                e.seq,
                e.method.as_str(),
                e.mutates,
                e.status,
                e.request_bytes,
            )
        })
        .collect();
    assert_eq!(
        seen[1..],
        [
            (2, "POST", true, Some(200), 5),
            (3, "GET", false, Some(200), 0)
        ]
    );
    assert_eq!(
        log[1].identity.as_deref(),
        Some("user:deployer@example.com")
    );
    assert_eq!(client.get("/_sim/log").json().as_array().unwrap().len(), 3);
}
