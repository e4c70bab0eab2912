//! The request log.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::sync::Mutex;

/// One request, as a line of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// When it came, RFC 3339 in UTC.
    pub time: String,
    /// Order of arrival, from 1.
    pub seq: u64,
    /// HTTP method.
    pub method: String,
    /// Path as sent, still percent-encoded.
    pub path: String,
    /// Query as sent.
    pub query: String,
    /// `user:…` or `serviceAccount:…`; none without a token.
    pub identity: Option<String>,
    /// HTTP status; none when the connection closed before a reply.
    pub status: Option<u16>,
    /// Bytes of the request's body that arrived.
    pub request_bytes: u64,
    /// Bytes of the reply's body, as its length was announced.
    pub response_bytes: u64,
    /// The fault that struck, by its name in the plan.
    pub fault: Option<String>,
    /// Whether the call asks for a change: it is a write call, whatever came of it.
    pub mutates: bool,
}

pub struct Log {
    entries: Mutex<Vec<Entry>>,
    file: Option<Mutex<File>>,
}

impl Log {
    pub fn new(file: Option<File>) -> Self {
        Self {
            entries: Mutex::default(),
            file: file.map(Mutex::new),
        }
    }

    /// Adds an entry before its reply goes out, so that who has the reply finds the entry.
    pub fn push(&self, entry: Entry) {
        if let Some(file) = &self.file {
            let mut line = serde_json::to_vec(&entry).expect("an entry serialises");
            line.push(b'\n');
            if let Err(error) = file
                .lock()
                .expect("no panic while writing")
                .write_all(&line)
            {
                eprintln!("cloudsim: the request log could not be written: {error}");
            }
        }
        self.entries
            .lock()
            .expect("no panic while pushing")
            .push(entry);
    }

    /// Entries in order of arrival.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = self.entries.lock().expect("no panic while pushing").clone();
        entries.sort_by_key(|entry| entry.seq);
        entries
    }

    pub fn clear(&self) {
        self.entries.lock().expect("no panic while pushing").clear();
    }
}
