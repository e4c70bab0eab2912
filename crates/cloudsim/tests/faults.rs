//! Each kind of fault does what the plan says, to the calls the plan names, and nothing else.

mod common;

use cloudsim::{Fault, OperationError, Plan, Rule, Sim};
use common::{Client, bytes, crc32c, start};
use serde_json::json;
use std::time::{Duration, Instant};

fn plan(sim: &Sim, rules: Vec<Rule>) {
    sim.set_faults(Plan {
        rules,
        ..Plan::default()
    });
}

/// A plan of one rule: the next call is struck.
fn next(sim: &Sim, fault: Fault) {
    plan(sim, vec![Rule::nth(1, fault)]);
}

const MEDIA: &str = "/upload/storage/v1/b/images/o?uploadType=media&name=a";

fn with_bucket() -> (Sim, Client) {
    let (sim, client) = start();
    client.make_bucket("images");
    (sim, client)
}

#[test]
fn a_cut_request_has_no_effect() {
    let (sim, client) = with_bucket();
    let body = json!({"name": "other"}).to_string().into_bytes();
    for after in [0, 5, 1000] {
        next(&sim, Fault::CutRequest { after });
        assert!(
            client
                .try_send("POST", "/storage/v1/b?project=demo", &[], &body)
                .is_err(),
            "after {after}"
        );
        assert_eq!(
            client.get("/storage/v1/b/other").status,
            404,
            "after {after}"
        );
        next(&sim, Fault::CutRequest { after });
        assert!(
            client.try_send("POST", MEDIA, &[], &bytes(900)).is_err(),
            "after {after}"
        );
        assert_eq!(client.object("images", "a").status, 404, "after {after}");
    }
    client.put_object("images", "a", b"x");
    next(&sim, Fault::CutRequest { after: 0 });
    assert!(
        client
            .try_send("DELETE", "/storage/v1/b/images/o/a", &[], b"")
            .is_err()
    );
    assert_eq!(client.object("images", "a").status, 200);
}

#[test]
fn a_cut_resumable_upload_keeps_what_came_before_the_cut() {
    let (sim, client) = with_bucket();
    let data = bytes(1 << 20);
    let session = client.start_upload("images", "name=a", &[], &json!({}));
    next(&sim, Fault::CutRequest { after: 600_000 });
    assert!(client.try_send("PUT", &session, &[], &data).is_err());
    let there = client.send(
        "PUT",
        &session,
        &[("content-range", "bytes */1048576")],
        b"",
    );
    assert_eq!(
        (there.status, there.header("range")),
        (308, Some("bytes=0-524287"))
    );
    let rest = client.send(
        "PUT",
        &session,
        &[("content-range", "bytes 524288-1048575/1048576")],
        &data[524_288..],
    );
    assert_eq!(rest.status, 200);
    assert_eq!(client.bytes_of("images", "a"), data);
}

#[test]
fn after_a_lost_or_cut_reply_the_call_has_taken_effect() {
    let (sim, client) = with_bucket();
    for (fault, name) in [
        (Fault::LostReply, "lost"),
        (Fault::CutResponse { after: 0 }, "cut-at-once"),
        (Fault::CutResponse { after: 10 }, "cut-early"),
        (Fault::CutResponse { after: 1 << 30 }, "cut-late"),
    ] {
        next(&sim, fault);
        let body = json!({"name": name}).to_string();
        assert!(
            client
                .try_send("POST", "/storage/v1/b?project=demo", &[], body.as_bytes())
                .is_err(),
            "{name}"
        );
        assert_eq!(
            client.get(&format!("/storage/v1/b/{name}")).status,
            200,
            "{name}"
        );
    }
    // A reply without a body cannot be cut in it.
    next(&sim, Fault::CutResponse { after: 0 });
    assert!(
        client
            .try_send("DELETE", "/storage/v1/b/lost", &[], b"")
            .is_err()
    );
    assert_eq!(client.get("/storage/v1/b/lost").status, 404);
    // Nor does a lost reply to the last byte lose the object, or make a second one.
    let session = client.start_upload("images", "name=a", &[], &json!({}));
    next(&sim, Fault::LostReply);
    assert!(client.try_send("PUT", &session, &[], b"data").is_err());
    let generation = client.object("images", "a").json()["generation"].clone();
    let asked = client.send("PUT", &session, &[("content-range", "bytes */4")], b"");
    assert_eq!(
        (asked.status, asked.json()["generation"].clone()),
        (200, generation)
    );
}

#[test]
fn a_cut_download_is_short() {
    let (sim, client) = with_bucket();
    client.put_object("images", "a", &bytes(1 << 20));
    next(&sim, Fault::CutResponse { after: 300_000 });
    assert!(
        client
            .try_send("GET", "/storage/v1/b/images/o/a?alt=media", &[], b"")
            .is_err()
    );
    assert_eq!(client.bytes_of("images", "a").len(), 1 << 20);
}

#[test]
fn an_error_status_comes_in_googles_shape_and_has_no_effect() {
    let (sim, client) = with_bucket();
    for (status, reason, retry_after) in [
        (429, "rateLimitExceeded", Some(2)),
        (500, "internalError", None),
        (503, "backendError", None),
        (401, "authError", None),
    ] {
        next(
            &sim,
            Fault::Status {
                status,
                retry_after,
            },
        );
        // More than fits in the buffers of a connection: the reply comes though the body is not wanted.
        let refused = client.send("POST", MEDIA, &[], &bytes(8 << 20));
        assert_eq!(
            (refused.status, refused.reason().as_str()),
            (status, reason)
        );
        assert_eq!(refused.header("retry-after"), retry_after.map(|_| "2"));
        assert_eq!(client.object("images", "a").status, 404);
    }
}

#[test]
fn an_expired_token_is_refused_and_others_are_not() {
    let (sim, client) = with_bucket();
    sim.set_faults(Plan {
        expired_tokens: vec!["old".to_owned()],
        ..Plan::default()
    });
    let refused = client.with_token("old").get("/storage/v1/b/images");
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (401, "authError")
    );
    assert!(
        refused
            .header("www-authenticate")
            .unwrap()
            .contains("invalid_token")
    );
    assert_eq!(
        client.with_token("new").get("/storage/v1/b/images").status,
        200
    );
}

#[test]
fn a_slow_call_takes_as_long_as_its_bytes() {
    let (sim, client) = with_bucket();
    next(
        &sim,
        Fault::Slow {
            bytes_per_second: 10_000,
        },
    );
    let started = Instant::now();
    assert_eq!(client.put_object("images", "a", &bytes(3000)).status, 200);
    assert!(started.elapsed() > Duration::from_millis(250));
    assert_eq!(client.bytes_of("images", "a"), bytes(3000));
}

#[test]
fn damage_on_the_way_shows_in_the_checksum() {
    let (sim, client) = with_bucket();
    let data = bytes(1000);
    let hash = format!("crc32c={}", crc32c(&data));
    next(&sim, Fault::DamageRequest { at: 500 });
    assert_eq!(
        client
            .send("POST", MEDIA, &[("x-goog-hash", &hash)], &data)
            .status,
        400
    );
    next(&sim, Fault::DamageRequest { at: 500 });
    let stored = client.put_object("images", "a", &data).json();
    assert_eq!(stored["size"], "1000");
    assert_ne!(
        stored["crc32c"],
        crc32c(&data),
        "who did not say what to expect can still compare"
    );
    client.put_object("images", "a", &data);
    next(&sim, Fault::DamageResponse { at: 999 });
    let read = client.bytes_of("images", "a");
    assert_eq!(read[..999], data[..999]);
    assert_eq!(read[999], data[999] ^ 1);
    assert_eq!(
        client.bytes_of("images", "a"),
        data,
        "what is stored is whole"
    );
}

#[test]
fn an_operation_can_fail() {
    let (sim, client) = with_bucket();
    client.put_object("images", "a.tar.gz", b"not looked at");
    let error = OperationError {
        code: "QUOTA_EXCEEDED".to_owned(),
        message: "Quota 'IMAGES' exceeded.".to_owned(),
    };
    next(&sim, Fault::OperationFails(error));
    let images = "/compute/v1/projects/demo/global/images";
    let body = json!({"name": "a", "rawDisk": {"source": "https://storage.googleapis.com/images/a.tar.gz"}});
    let operation = client.post(images, &body).json()["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let done = client
        .post(
            &format!("/compute/v1/projects/demo/global/operations/{operation}/wait"),
            &json!({}),
        )
        .json();
    assert_eq!(
        (&done["status"], &done["error"]["errors"][0]["code"]),
        (&json!("DONE"), &json!("QUOTA_EXCEEDED"))
    );
    assert_eq!(
        client.get(&format!("{images}/a")).json()["status"],
        "FAILED"
    );
}

#[test]
fn a_rule_strikes_the_calls_it_names_and_the_log_says_so() {
    let (sim, client) = with_bucket();
    sim.clear_log();
    let fault = || Fault::Status {
        status: 503,
        retry_after: None,
    };
    plan(
        &sim,
        vec![
            Rule::nth(2, fault())
                .of("GET", "/storage/v1/b/*/o/*")
                .times(2),
            Rule::nth(6, fault()),
        ],
    );
    let mut seen = Vec::new();
    client.put_object("images", "a", b"x");
    for _ in 0..6 {
        seen.push(client.object("images", "a").status);
    }
    assert_eq!(
        seen,
        [200, 503, 503, 200, 503, 200],
        "calls 2 and 3 of the pattern, call 6 of all"
    );
    let struck: Vec<_> = sim.log().iter().map(|entry| entry.fault.clone()).collect();
    assert_eq!(struck.iter().flatten().count(), 3);
    assert_eq!(struck[2].as_deref(), Some("status"));
    next(&sim, Fault::LostReply);
    assert!(
        client
            .try_send("GET", "/storage/v1/b/images", &[], b"")
            .is_err()
    );
    let last = sim.log().pop().unwrap();
    assert_eq!(
        (last.status, last.fault.as_deref()),
        (None, Some("lost-reply"))
    );
}

#[test]
fn a_plan_reads_as_it_is_documented() {
    let (_sim, client) = with_bucket();
    let plan = json!({
        "expired_tokens": ["old"],
        "rules": [
            {"method": "PUT", "path": "/upload/*", "nth": 2, "times": 3, "fault": {"kind": "cut-request", "after": 1000}},
            {"fault": {"kind": "cut-response"}},
            {"fault": {"kind": "lost-reply"}},
            {"fault": {"kind": "status", "status": 429, "retry_after": 1}},
            {"fault": {"kind": "slow", "bytes_per_second": 1000}},
            {"fault": {"kind": "damage-request", "at": 7}},
            {"fault": {"kind": "damage-response"}},
            {"fault": {"kind": "operation-fails", "code": "QUOTA_EXCEEDED", "message": "No quota."}},
        ],
    });
    assert_eq!(client.json("PUT", "/_sim/faults", &plan).status, 200);
    for wrong in [
        json!({"rules": [{"fault": {"kind": "fire"}}]}),
        json!({"rules": [{"fault": {"kind": "lost-reply"}, "nht": 1}]}),
        json!({"rules": [{"fault": {"kind": "slow"}}]}),
        json!({"rule": []}),
    ] {
        assert_eq!(
            client.json("PUT", "/_sim/faults", &wrong).status,
            400,
            "{wrong}"
        );
    }
}
