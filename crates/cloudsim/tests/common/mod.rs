//! A client that sends what it is told and returns what comes, without opinions of its own.
#![allow(dead_code, reason = "each test binary uses a part")]

use cloudsim::{Options, Sim};
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use std::io::Write as _;

/// A reply, or the connection closed before one.
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn reason(&self) -> String {
        self.json()["error"]["errors"][0]["reason"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap().to_owned()
    }
}

pub struct Client {
    agent: ureq::Agent,
    pub url: String,
    pub token: Option<String>,
}

impl Client {
    pub fn new(sim: &Sim) -> Self {
        Self::at(&sim.url())
    }

    pub fn at(url: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Self {
            agent: config.into(),
            url: url.to_owned(),
            token: Some("deployer".to_owned()),
        }
    }

    pub fn with_token(&self, token: &str) -> Self {
        Self {
            agent: self.agent.clone(),
            url: self.url.clone(),
            token: Some(token.to_owned()),
        }
    }

    /// `target` is a path with query, or a whole URL.
    pub fn try_send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let url = if target.starts_with("http") {
            target.to_owned()
        } else {
            format!("{}{target}", self.url)
        };
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = if body.is_empty() && ["GET", "DELETE"].contains(&method) {
            self.agent.run(request.body(()).unwrap())
        } else {
            self.agent.run(request.body(body).unwrap())
        }?;
        let (parts, mut reply_body) = reply.into_parts();
        let body = reply_body.with_config().limit(1 << 30).read_to_vec()?;
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        })
    }

    pub fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.try_send(method, target, headers, body)
            .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    pub fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], b"")
    }

    pub fn delete(&self, target: &str) -> Answer {
        self.send("DELETE", target, &[], b"")
    }

    pub fn json(&self, method: &str, target: &str, body: &Value) -> Answer {
        self.send(
            method,
            target,
            &[("content-type", "application/json")],
            &serde_json::to_vec(body).unwrap(),
        )
    }

    pub fn post(&self, target: &str, body: &Value) -> Answer {
        self.json("POST", target, body)
    }

    pub fn make_bucket(&self, name: &str) {
        let made = self.post(
            "/storage/v1/b?project=demo",
            &serde_json::json!({"name": name}),
        );
        assert_eq!(made.status, 200, "{}", String::from_utf8_lossy(&made.body));
    }

    /// A media upload.
    pub fn put_object(&self, bucket: &str, name: &str, bytes: &[u8]) -> Answer {
        self.send(
            "POST",
            &format!("/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}"),
            &[],
            bytes,
        )
    }

    /// Starts a resumable upload and returns its session URI.
    pub fn start_upload(
        &self,
        bucket: &str,
        query: &str,
        headers: &[(&str, &str)],
        metadata: &Value,
    ) -> String {
        let target = format!("/upload/storage/v1/b/{bucket}/o?uploadType=resumable&{query}");
        let started = self.send(
            "POST",
            &target,
            headers,
            &serde_json::to_vec(metadata).unwrap(),
        );
        assert_eq!(
            started.status,
            200,
            "{}",
            String::from_utf8_lossy(&started.body)
        );
        started.header("location").unwrap().to_owned()
    }

    pub fn object(&self, bucket: &str, name: &str) -> Answer {
        self.get(&format!("/storage/v1/b/{bucket}/o/{name}"))
    }

    pub fn bytes_of(&self, bucket: &str, name: &str) -> Vec<u8> {
        let got = self.get(&format!("/storage/v1/b/{bucket}/o/{name}?alt=media"));
        assert_eq!(got.status, 200);
        got.body
    }
}

pub fn start() -> (Sim, Client) {
    let sim = Sim::start(Options::default()).unwrap();
    let client = Client::new(&sim);
    (sim, client)
}

/// Bytes that differ everywhere, the same for the same length.
pub fn bytes(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

pub fn crc32c(data: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(crc32c::crc32c(data).to_be_bytes())
}

pub const GIB: u64 = 1 << 30;

/// The head and the trailer of an archive of a disk of `size` bytes: what the simulator looks at. The zeros of the
/// disk itself are left out.
pub fn archive(name: &str, size: u64, magic: &[u8; 8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    if size < 8 * GIB {
        header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    } else {
        header[124] = 0x80;
        header[128..136].copy_from_slice(&size.to_be_bytes());
    }
    header[257..265].copy_from_slice(magic);
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&header).unwrap();
    let mut bytes = encoder.finish().unwrap();
    let trailer = bytes.len() - 4;
    let unpacked = (size + 512 + 1024) as u32;
    bytes[trailer..].copy_from_slice(&unpacked.to_le_bytes());
    bytes
}

/// An archive that makes an image of so many GiB.
pub fn good(gib: u64) -> Vec<u8> {
    archive("disk.raw", gib * GIB, b"ustar  \0")
}

/// Waits for an operation and returns it. Its selfLink names Google: only its path is of use here.
pub fn wait(client: &Client, operation: &Answer) -> Value {
    assert_eq!(
        operation.status,
        200,
        "{}",
        String::from_utf8_lossy(&operation.body)
    );
    let operation = operation.json();
    let link = operation["selfLink"].as_str().unwrap();
    let path = link.strip_prefix("https://www.googleapis.com").unwrap();
    client
        .post(&format!("{path}/wait"), &serde_json::json!({}))
        .json()
}
