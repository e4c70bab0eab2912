//! Uploads keep what they should and nothing else.

mod common;

use common::{Client, bytes, crc32c, start};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;

const GRAIN: usize = 256 << 10;

/// Sends the head of a PUT and a part of its body, then closes the connection, as a killed client does.
fn killed_put(session: &str, range: &str, length: usize, part: &[u8]) {
    let (host, target) = session
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "PUT /{target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nContent-Range: {range}\r\n\r\n"
    )
    .unwrap();
    stream.write_all(part).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    // Until the server has closed its side it may still be writing.
    let _ = stream.read_to_end(&mut Vec::new());
}

fn status(client: &Client, session: &str, total: &str) -> common::Answer {
    client.send(
        "PUT",
        session,
        &[("content-range", &format!("bytes */{total}"))],
        b"",
    )
}

#[test]
fn media_and_multipart_uploads_store_the_bytes_sent() {
    let (_sim, client) = start();
    client.make_bucket("images");
    for length in [0, 1, 29, 30, 31, 4096, 3 * GRAIN + 7] {
        let mut data = bytes(length);
        if length > 20 {
            data[length - 20..length - 2].copy_from_slice(b"\r\n--not the end\r\n-");
        }
        let object = client.put_object("images", "media", &data).json();
        assert_eq!(object["size"], length.to_string());
        assert_eq!(object["crc32c"], crc32c(&data));
        assert_eq!(client.bytes_of("images", "media"), data);

        let mut body = b"--frontier\r\nContent-Type: application/json\r\n\r\n{\"name\":\"parts/a b\",\"metadata\":{\"k\":\"v\"}}\r\n--frontier\r\nContent-Type: text/x-test\r\n\r\n".to_vec();
        body.extend_from_slice(&data);
        body.extend_from_slice(b"\r\n--frontier--");
        let made = client.send(
            "POST",
            "/upload/storage/v1/b/images/o?uploadType=multipart",
            &[("content-type", "multipart/related; boundary=\"frontier\"")],
            &body,
        );
        assert_eq!(made.status, 200, "{length}");
        assert_eq!(made.json()["contentType"], "text/x-test");
        assert_eq!(made.json()["metadata"]["k"], "v");
        assert_eq!(client.bytes_of("images", "parts%2Fa%20b"), data);
    }
}

#[test]
fn a_multipart_body_may_have_either_line_end() {
    let (_sim, client) = start();
    client.make_bucket("images");
    for end in ["\r\n", "\n"] {
        for data in [
            "data",
            "data\r",
            "data\n",
            "data\r\n",
            "\r\n\r\ndata\n\n",
            "",
        ] {
            let body = [
                "--b",
                "Content-Type: application/json",
                "",
                "{\"name\":\"a\"}",
                "--b",
                "Content-Type: x/y",
                "",
                data,
                "--b--",
                "",
            ];
            let target = "/upload/storage/v1/b/images/o?uploadType=multipart";
            let headers = [("content-type", "multipart/related; boundary='b'")];
            let made = client.send("POST", target, &headers, body.join(end).as_bytes());
            assert_eq!(made.status, 200, "{data:?} {end:?}");
            assert_eq!(
                client.bytes_of("images", "a"),
                data.as_bytes(),
                "{data:?} {end:?}"
            );
        }
    }
}

#[test]
fn a_chunked_upload_answers_308_with_what_is_there() {
    let (_sim, client) = start();
    client.make_bucket("images");
    let data = bytes(2 * GRAIN + 100);
    let session = client.start_upload("images", "name=disk", &[], &json!({}));
    assert!(
        session.starts_with(&client.url),
        "Location comes from its own address"
    );
    let none = status(&client, &session, "*");
    assert_eq!((none.status, none.header("range")), (308, None));
    let total = data.len();
    let range = format!("bytes 0-{}/*", GRAIN - 1);
    let first = client.send(
        "PUT",
        &session,
        &[("content-range", &range)],
        &data[..GRAIN],
    );
    assert_eq!(
        (first.status, first.header("range")),
        (308, Some("bytes=0-262143"))
    );
    assert_eq!(
        client.object("images", "disk").status,
        404,
        "not an object yet"
    );
    let range = format!("bytes {GRAIN}-{}/{total}", total - 1);
    let last = client.send(
        "PUT",
        &session,
        &[("content-range", &range)],
        &data[GRAIN..],
    );
    assert_eq!(last.status, 200);
    assert_eq!(last.json()["crc32c"], crc32c(&data));
    assert_eq!(client.bytes_of("images", "disk"), data);
    let after = status(&client, &session, &total.to_string());
    assert_eq!(
        (after.status, after.json()),
        (200, last.json()),
        "a finished session says what it made"
    );
}

#[test]
fn after_a_kill_whole_grains_are_kept_and_the_rest_completes_the_object() {
    let (_sim, client) = start();
    client.make_bucket("images");
    let data = bytes(5 * GRAIN + 11);
    let total = data.len();
    let session = client.start_upload(
        "images",
        "name=disk&ifGenerationMatch=0",
        &[],
        &json!({"crc32c": crc32c(&data)}),
    );
    killed_put(
        &session,
        &format!("bytes 0-{}/{total}", total - 1),
        total,
        &data[..2 * GRAIN + 5000],
    );
    let there = status(&client, &session, &total.to_string());
    assert_eq!(
        (there.status, there.header("range")),
        (308, Some("bytes=0-524287")),
        "a status query finalises nothing"
    );
    // A client that does not trust the server's word may send again what is there.
    let again = format!("bytes {GRAIN}-{}/{total}", total - 1);
    let last = client.send(
        "PUT",
        &session,
        &[("content-range", &again)],
        &data[GRAIN..],
    );
    assert_eq!(last.status, 200, "{}", String::from_utf8_lossy(&last.body));
    assert_eq!(client.bytes_of("images", "disk"), data);
}

#[test]
fn a_status_query_with_the_exact_total_finalises() {
    let (_sim, client) = start();
    client.make_bucket("images");
    let data = bytes(2 * GRAIN);
    let session = client.start_upload("images", "name=disk", &[], &json!({}));
    let range = format!("bytes 0-{}/*", 2 * GRAIN - 1);
    assert_eq!(
        client
            .send("PUT", &session, &[("content-range", &range)], &data)
            .status,
        308
    );
    assert_eq!(status(&client, &session, "*").status, 308);
    assert_eq!(
        status(&client, &session, &(2 * GRAIN + 1).to_string()).status,
        308
    );
    assert_eq!(
        status(&client, &session, &(2 * GRAIN).to_string()).status,
        200
    );
    assert_eq!(client.bytes_of("images", "disk"), data);
}

#[test]
fn a_gap_is_refused_and_changes_nothing() {
    let (_sim, client) = start();
    client.make_bucket("images");
    let data = bytes(3 * GRAIN);
    let session = client.start_upload("images", "name=disk", &[], &json!({}));
    let gap = client.send(
        "PUT",
        &session,
        &[("content-range", "bytes 262144-524287/786432")],
        &data[GRAIN..2 * GRAIN],
    );
    assert_eq!((gap.status, gap.reason().as_str()), (503, "backendError"));
    assert_eq!(status(&client, &session, "*").header("range"), None);
    assert_eq!(
        client.send("PUT", &session, &[], &data).status,
        200,
        "the session is still good"
    );
}

#[test]
fn a_chunk_that_is_too_small_or_not_what_it_says_is_refused() {
    let (_sim, client) = start();
    client.make_bucket("images");
    let data = bytes(2 * GRAIN);
    let session = client.start_upload(
        "images",
        "name=disk",
        &[("x-upload-content-length", "524288")],
        &json!({}),
    );
    let put = |range: &str, part: &[u8]| {
        client
            .send("PUT", &session, &[("content-range", range)], part)
            .status
    };
    assert_eq!(
        put("bytes 0-999/*", &data[..1000]),
        400,
        "less than 256 KiB and more to come"
    );
    assert_eq!(
        put("bytes 0-524287/524288", &data[..1000]),
        400,
        "fewer bytes than announced"
    );
    assert_eq!(
        put("bytes 0-999/1000", &data[..1000]),
        400,
        "another total than announced"
    );
    assert_eq!(put("bytes 0-9/5", &data[..10]), 400, "beyond its own total");
    assert_eq!(put("bytes nonsense", &data[..10]), 400);
    // A chunk that is no whole number of grains is kept as far as it is.
    let odd = client.send(
        "PUT",
        &session,
        &[("content-range", "bytes 0-299999/524288")],
        &data[..300_000],
    );
    assert_eq!(
        (odd.status, odd.header("range")),
        (308, Some("bytes=0-262143"))
    );
    assert_eq!(put("bytes 262144-524287/524288", &data[GRAIN..]), 200);
    assert_eq!(client.bytes_of("images", "disk"), data);
}

#[test]
fn a_checksum_that_does_not_match_stores_nothing() {
    let (sim, client) = start();
    client.make_bucket("images");
    let data = bytes(1000);
    let wrong = crc32c(b"other");
    let media = "/upload/storage/v1/b/images/o?uploadType=media&name=disk";
    let hash = format!("crc32c={wrong}");
    assert_eq!(
        client
            .send("POST", media, &[("x-goog-hash", &hash)], &data)
            .status,
        400
    );
    assert_eq!(
        client
            .send(
                "POST",
                media,
                &[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")],
                &data
            )
            .status,
        400
    );
    let md5 = "crc32c=,md5=AAAAAAAAAAAAAAAAAAAAAA=="
        .replace("crc32c=", &format!("crc32c={}", crc32c(&data)));
    assert_eq!(
        client
            .send("POST", media, &[("x-goog-hash", &md5)], &data)
            .status,
        400
    );
    for metadata in [
        json!({"crc32c": wrong}),
        json!({"md5Hash": "AAAAAAAAAAAAAAAAAAAAAA=="}),
    ] {
        let session = client.start_upload("images", "name=disk", &[], &metadata);
        let answer = client.send("PUT", &session, &[], &data);
        assert_eq!(answer.status, 400);
        assert!(
            answer.message().contains("doesn't match calculated"),
            "{}",
            answer.message()
        );
        assert_eq!(
            status(&client, &session, "1000").status,
            410,
            "the session is over"
        );
    }
    let session = client.start_upload("images", "name=disk", &[], &json!({}));
    assert_eq!(
        client
            .send("PUT", &session, &[("x-goog-hash", &hash)], &data)
            .status,
        400,
        "in the last request"
    );
    assert_eq!(client.object("images", "disk").status, 404);
    let right = format!("crc32c={}", crc32c(&data));
    assert_eq!(
        client
            .send("POST", media, &[("x-goog-hash", &right)], &data)
            .status,
        200
    );
    drop(sim);
}

#[test]
fn cancelled_expired_and_unknown_sessions_are_told_apart() {
    let (_sim, client) = start();
    client.make_bucket("images");
    let cancelled = client.start_upload("images", "name=a", &[], &json!({}));
    let expired = client.start_upload("images", "name=b", &[], &json!({}));
    assert_eq!(client.delete(&cancelled).status, 499);
    assert_eq!(client.send("PUT", &cancelled, &[], b"x").status, 499);
    assert_eq!(
        client.post("/_sim/expire-uploads", &json!({})).json()["expired"],
        1
    );
    assert_eq!(status(&client, &expired, "*").status, 410);
    assert_eq!(
        status(&client, &expired.replace("upload_id=", "upload_id=x"), "*").status,
        404
    );
}

#[test]
fn two_uploads_that_want_a_new_object_make_one() {
    let (_sim, client) = start();
    client.make_bucket("images");
    let first = client.start_upload("images", "name=disk&ifGenerationMatch=0", &[], &json!({}));
    let second = client.start_upload("images", "name=disk&ifGenerationMatch=0", &[], &json!({}));
    assert_eq!(client.send("PUT", &first, &[], b"one").status, 200);
    assert_eq!(client.send("PUT", &second, &[], b"two").status, 412);
    assert_eq!(client.bytes_of("images", "disk"), b"one");
    let late = client.send(
        "POST",
        "/upload/storage/v1/b/images/o?uploadType=resumable&name=disk&ifGenerationMatch=0",
        &[],
        b"{}",
    );
    assert_eq!(late.status, 412, "known before the first byte");
}

#[test]
fn a_session_needs_no_token_and_starting_one_does() {
    let (_sim, mut client) = start();
    client.make_bucket("images");
    let session = client.start_upload("images", "name=disk", &[], &json!({}));
    client.token = None;
    assert_eq!(client.send("PUT", &session, &[], b"data").status, 200);
    assert_eq!(client.put_object("images", "other", b"data").status, 401);
}
