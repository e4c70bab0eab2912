//! What was answered survives kill -9, and the command keeps its word.

mod common;

use common::{Client, bytes, crc32c};
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

struct Process {
    child: Child,
    client: Client,
}

impl Process {
    fn start(state: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cloudsim"))
            .arg("--state")
            .arg(state)
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut url)
            .unwrap();
        let client = Client::at(url.trim());
        Self { child, client }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn objects_sessions_and_policies_outlive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("cloud.state");
    let data = bytes((1 << 20) + 5);
    let first = Process::start(&state, &[]);
    first.client.make_bucket("images");
    let object = first.client.put_object("images", "a", &data).json();
    first.client.put_object("images", "gone", b"x");
    first.client.delete("/storage/v1/b/images/o/gone");
    let session =
        first
            .client
            .start_upload("images", "name=b", &[], &json!({"crc32c": crc32c(&data)}));
    let part = first.client.send(
        "PUT",
        &session,
        &[("content-range", "bytes 0-524287/1048581")],
        &data[..524_288],
    );
    assert_eq!(part.status, 308);
    let origin = first.client.url.clone();
    first.kill();

    let second = Process::start(&state, &[]);
    let client = &second.client;
    let found = client.object("images", "a").json();
    assert!(found["selfLink"].as_str().unwrap().starts_with(&client.url));
    let relinked = object.to_string().replace(&origin, &client.url);
    assert_eq!(
        found,
        serde_json::from_str::<serde_json::Value>(&relinked).unwrap()
    );
    assert_eq!(client.bytes_of("images", "a"), data);
    assert_eq!(client.object("images", "gone").status, 404);
    let session = session.replace(&origin, &client.url);
    let there = client.send(
        "PUT",
        &session,
        &[("content-range", "bytes */1048581")],
        b"",
    );
    assert_eq!(there.header("range"), Some("bytes=0-524287"));
    let rest = client.send(
        "PUT",
        &session,
        &[("content-range", "bytes 524288-1048580/1048581")],
        &data[524_288..],
    );
    assert_eq!(rest.status, 200, "{}", String::from_utf8_lossy(&rest.body));
    assert!(
        rest.json()["generation"].as_str() > object["generation"].as_str(),
        "generations go on growing"
    );
    assert_eq!(
        std::fs::read_dir(dir.path().join("cloud.state.objects"))
            .unwrap()
            .count(),
        2
    );
}

#[test]
fn an_operation_goes_on_where_a_kill_left_it() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let first = Process::start(&state, &[]);
    first.client.make_bucket("images");
    first.client.put_object("images", "a.tar.gz", b"no archive");
    let body = json!({"name": "a", "rawDisk": {"source": "gs://images/a.tar.gz"}});
    assert_eq!(
        first
            .client
            .post("/compute/v1/projects/demo/global/images", &body)
            .status,
        200
    );
    first.kill();
    let second = Process::start(&state, &[]);
    let status = || {
        second
            .client
            .get("/compute/v1/projects/demo/global/images/a")
            .json()["status"]
            .clone()
    };
    assert!((0..10).any(|_| status() == "FAILED"));
}

#[test]
fn the_log_file_has_a_line_a_call() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let process = Process::start(&dir.path().join("state"), &["--log", log.to_str().unwrap()]);
    process.client.make_bucket("images");
    process.client.get("/storage/v1/b/images?fields=name");
    process.client.get("/_sim/log");
    let text = std::fs::read_to_string(&log).unwrap();
    let entries: Vec<cloudsim::Entry> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(entries.len(), 2, "its own calls are not logged");
    assert_eq!(
        (entries[1].path.as_str(), entries[1].query.as_str()),
        ("/storage/v1/b/images", "fields=name")
    );
}

#[test]
fn what_it_cannot_start_with_it_says_and_exits() {
    let dir = tempfile::tempdir().unwrap();
    let plan = dir.path().join("plan.json");
    std::fs::write(&plan, r#"{"rules": [{"fault": {"kind": "fire"}}]}"#).unwrap();
    let run = |arguments: &[&str]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cloudsim"))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        (child.wait().unwrap().code(), said)
    };
    let (code, said) = run(&["--faults", plan.to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("plan.json") && said.contains("fire"),
        "{said}"
    );
    let running = Process::start(&dir.path().join("state"), &[]);
    let port = running.client.url.rsplit(':').next().unwrap().to_owned();
    let (code, said) = run(&["--port", &port]);
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
}
