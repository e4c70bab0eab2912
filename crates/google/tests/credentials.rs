//! Where tokens come from, and where they go.

mod common;

use cloudsim::Plan;
use common::{BUCKET, World};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

/// Without any credentials but those that a test adds.
fn stat(world: &World, path: &Path) -> Command {
    let mut command = world.google();
    command
        .args(["objects", "stat", &format!("gs://{BUCKET}/a")])
        .env_remove("GOOGLE_OAUTH_ACCESS_TOKEN")
        .env("GCE_METADATA_HOST", "127.0.0.1:1")
        .env("PATH", path);
    command
}

fn gcloud(world: &World, script: &str) {
    let path = world.folder.path().join("gcloud");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn without_credentials_the_error_names_all_that_was_tried() {
    let world = World::new();
    let output = stat(&world, world.folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(
        said(&output),
        "error: No Google Cloud credentials: GOOGLE_OAUTH_ACCESS_TOKEN is not set, gcloud is not \
         installed, no metadata server answers at 127.0.0.1:1. Run `gcloud auth login`, or set \
         GOOGLE_OAUTH_ACCESS_TOKEN.\n"
    );
    gcloud(&world, "echo 'ERROR: (gcloud) No account.' >&2; exit 1");
    let output = stat(&world, world.folder.path()).output().unwrap();
    assert!(
        said(&output).contains("gcloud says `ERROR: (gcloud) No account`"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_refused_token_of_gclouds_is_renewed_once_and_never_printed() {
    let world = World::new();
    // The first token that it prints is too old, and every later one good.
    gcloud(
        &world,
        "[ \"$*\" = 'auth print-access-token --quiet' ] || exit 1
         if [ -e \"$0.asked\" ]; then echo second; else : > \"$0.asked\"; echo stale; fi",
    );
    world.sim.set_faults(Plan {
        expired_tokens: vec!["stale".to_owned()],
        ..Plan::default()
    });
    let output = stat(&world, world.folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(said(&output), "");
    let answers: Vec<_> = world.sim.log().iter().map(|entry| entry.status).collect();
    assert_eq!(answers, [Some(401), Some(404)]);

    // Refused again after the renewal: that is the answer.
    world.sim.set_faults(Plan {
        expired_tokens: vec!["stale".to_owned(), "second".to_owned()],
        ..Plan::default()
    });
    world.sim.clear_log();
    let output = stat(&world, world.folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(
        said(&output).contains("gcloud auth login"),
        "{}",
        said(&output)
    );
    assert!(!said(&output).contains("second"), "{}", said(&output));
    assert_eq!(world.sim.log().len(), 2);
}

#[test]
fn a_machine_in_google_cloud_has_its_service_accounts_token() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        for line in BufReader::new(&stream).lines() {
            let line = line.unwrap();
            if line.is_empty() {
                break;
            }
            request.push(line.to_ascii_lowercase());
        }
        let body = r#"{"access_token":"machine","expires_in":3600,"token_type":"Bearer"}"#;
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        request
    });
    let output = stat(&world, world.folder.path())
        .env("GCE_METADATA_HOST", host)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let request = server.join().unwrap();
    assert_eq!(
        request[0],
        "get /computemetadata/v1/instance/service-accounts/default/token http/1.1"
    );
    assert!(request.contains(&"metadata-flavor: google".to_owned()));
}

#[test]
fn a_token_does_not_cross_a_network_in_the_clear() {
    let world = World::new();
    let output = stat(&world, world.folder.path())
        .env("GOOGLE_OAUTH_ACCESS_TOKEN", "deployer")
        .env(
            "GOOGLE_STORAGE_CUSTOM_ENDPOINT",
            "http://192.0.2.1/storage/v1/",
        )
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output)
            .starts_with("error: GOOGLE_STORAGE_CUSTOM_ENDPOINT: http://192.0.2.1 is plain http"),
        "{}",
        said(&output)
    );
}
