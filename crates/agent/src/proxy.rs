//! The binary cache at a port of this machine: Nix asks there as of any substituter, and the
//! private bucket is asked with the machine's token.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use ureq::{Body, http::Response};

use crate::{Kind, Result, metadata::Metadata};

/// Longest request line and headers, in bytes.
const LONGEST_HEAD: usize = 8 << 10;

/// Connections at a time. Nix opens 25 unless told otherwise.
const CONNECTIONS: usize = 64;

/// Longest silence on a connection.
const SILENCE: Duration = Duration::from_secs(60);

/// The proxy.
pub struct Proxy {
    bucket: String,
    endpoint: String,
    agent: ureq::Agent,
    metadata: Metadata,
    connections: AtomicUsize,
}

impl Proxy {
    /// Of this bucket, at the Cloud Storage that `GOOGLE_STORAGE_CUSTOM_ENDPOINT` names; at Google's
    /// unless set.
    pub fn from_env(bucket: &str) -> Self {
        let endpoint = std::env::var("GOOGLE_STORAGE_CUSTOM_ENDPOINT").unwrap_or_default();
        Self::new(
            bucket,
            if endpoint.is_empty() {
                "https://storage.googleapis.com/storage/v1/"
            } else {
                &endpoint
            },
            Metadata::from_env(),
        )
    }

    /// Of this bucket at this endpoint.
    pub fn new(bucket: &str, endpoint: &str, metadata: Metadata) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_per_read(Some(SILENCE))
            .build();
        Self {
            bucket: bucket.to_owned(),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            agent: agent.into(),
            metadata,
            connections: AtomicUsize::new(0),
        }
    }

    /// Listens on 127.0.0.1; what is asked is answered by threads of its own.
    ///
    /// # Errors
    /// The port is taken.
    pub fn listen(self, port: u16) -> Result<u16> {
        let taken = |cause| {
            Kind::Failed.error(
                format!("port {port} of 127.0.0.1 cannot be had ({cause})"),
                "Set workspace.agent.port to a free one",
            )
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(taken)?;
        let port = listener.local_addr().map_err(taken)?.port();
        let proxy = Arc::new(self);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if proxy.connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
                    proxy.connections.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                let served = proxy.clone();
                let thread = thread::Builder::new().stack_size(256 << 10).spawn(move || {
                    // A client that went away is no news.
                    let _ = served.serve(stream);
                    served.connections.fetch_sub(1, Ordering::Relaxed);
                });
                if thread.is_err() {
                    proxy.connections.fetch_sub(1, Ordering::Relaxed);
                }
            }
        });
        Ok(port)
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        stream.set_nodelay(true)?;
        let mut buffer = Vec::new();
        while let Some((request, length)) = read_request(&mut stream, &mut buffer)? {
            buffer.drain(..length);
            match self.answer(&request) {
                Ok(response) => {
                    if !pass_on(&mut stream, response, request.head_only)? {
                        return Ok(());
                    }
                }
                Err((status, text)) => {
                    let length = text.len();
                    let body = if request.head_only { "" } else { &text };
                    write!(
                        stream,
                        "HTTP/1.1 {status} \r\nContent-Length: {length}\r\n\r\n{body}"
                    )?;
                }
            }
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> std::result::Result<Response<Body>, (u16, String)> {
        let Some(object) = object(&request.path) else {
            return Err((404, "no file of a binary cache\n".to_owned()));
        };
        // The second time with a new token, in case the first was revoked.
        for attempt in 0..2 {
            let token = self
                .metadata
                .token()
                .map_err(|error| (502, format!("{error}\n")))?;
            let name =
                percent_encoding::utf8_percent_encode(object, percent_encoding::NON_ALPHANUMERIC);
            let url = format!("{}/b/{}/o/{name}?alt=media", self.endpoint, self.bucket);
            let response = self
                .agent
                .get(url)
                .header("Authorization", format!("Bearer {token}"))
                .call()
                .map_err(|error| (502, format!("Cloud Storage does not answer ({error})\n")))?;
            let status = response.status().as_u16();
            match status {
                401 if attempt == 0 => self.metadata.forget_token(),
                200 => return Ok(response),
                404 => return Err((404, "not in the cache\n".to_owned())),
                // To Nix a 401 or 403 of a substituter means that it has no such path.
                401 | 403 => {
                    eprintln!(
                        "Cloud Storage answers {status}: this machine's account may not read gs://{}",
                        self.bucket
                    );
                    return Err((502, format!("Cloud Storage answers {status}\n")));
                }
                _ => return Err((502, format!("Cloud Storage answers {status}\n"))),
            }
        }
        unreachable!("the second attempt returns")
    }
}

struct Request {
    path: String,
    head_only: bool,
}

/// One request's head and its length; none when the client has closed.
fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<(Request, usize)>> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(buffer) {
            Ok(httparse::Status::Complete(length)) => {
                let method = parsed.method.unwrap_or_default();
                if !matches!(method, "GET" | "HEAD") {
                    stream.write_all(b"HTTP/1.1 405 \r\nContent-Length: 0\r\n\r\n")?;
                    return Err(bad("method"));
                }
                let request = Request {
                    path: parsed.path.unwrap_or_default().to_owned(),
                    head_only: method == "HEAD",
                };
                return Ok(Some((request, length)));
            }
            Ok(httparse::Status::Partial) if buffer.len() < LONGEST_HEAD => {}
            _ => return Err(bad("head")),
        }
        let mut piece = [0; 2048];
        match stream.read(&mut piece)? {
            0 => return Ok(None),
            count => buffer.extend(&piece[..count]),
        }
    }
}

/// The object of a path, if it is one of a binary cache.
fn object(path: &str) -> Option<&str> {
    let name = path.strip_prefix('/')?;
    let known = name == "nix-cache-info" || name.ends_with(".narinfo") || name.starts_with("nar/");
    let plain = |c: char| c.is_ascii_alphanumeric() || "./-_".contains(c);
    (known && name.len() < 256 && name.chars().all(plain) && !name.contains("..")).then_some(name)
}

/// Streams an answer; whether the connection can be used again.
fn pass_on(stream: &mut TcpStream, response: Response<Body>, head_only: bool) -> io::Result<bool> {
    let length = response.body().content_length();
    match length {
        Some(length) => write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
        )?,
        None => write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?,
    }
    if head_only {
        return Ok(length.is_some());
    }
    let mut body = response.into_body().into_reader();
    let copied = io::copy(&mut body, stream)?;
    Ok(length == Some(copied))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_a_binary_cache_are_asked_for() {
        for path in ["/nix-cache-info", "/abc.narinfo", "/nar/abc.nar.zst"] {
            assert_eq!(object(path), Some(&path[1..]));
        }
        for path in [
            "/",
            "/other",
            "nix-cache-info",
            "/nar/../secret",
            "/nar/a?alt=json",
            "/nar/a%2e",
            "//nix-cache-info",
            "/abc.narinfo/acl",
        ] {
            assert_eq!(object(path), None, "{path}");
        }
    }
}
