//! State: one ordered map of JSON records, and the journal that makes it outlive the process.

use crate::http::now;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Notify;

/// All resources by key. A key is the service and the resource's path, so that a collection is a range of keys.
pub struct Store {
    records: BTreeMap<String, Value>,
    /// Grows with every id given out; ids, generations and etags come from it.
    sequence: u64,
    random: u64,
    journal: Option<File>,
    /// Who waits for a change of a record.
    watched: HashMap<String, Arc<Notify>>,
    /// Told when there is a record that was not there before.
    appeared: Arc<Notify>,
}

/// What a finished operation does to the state, by key: null removes a record, an object sets those fields of it and
/// removes the fields that are null. Other fields stay, as other operations may be about them; a record that is gone
/// stays gone.
pub type Effects = Vec<(String, Value)>;

/// A line of the journal. The last line of a key wins; one without a value removes the key.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    sequence: u64,
    key: Cow<'a, str>,
    value: Option<Cow<'a, Value>>,
}

impl Store {
    pub fn in_memory(seed: u64) -> Self {
        Self {
            records: BTreeMap::new(),
            sequence: 0,
            random: seed,
            journal: None,
            watched: HashMap::new(),
            appeared: Arc::default(),
        }
    }

    /// Reads a journal, rewrites it without its history and goes on appending to it.
    ///
    /// # Errors
    /// When another process holds the file, when a line other than the last cannot be read, on I/O errors.
    pub fn open(path: &Path, seed: u64) -> anyhow::Result<Self> {
        let mut store = Self::in_memory(seed);
        let old = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        old.try_lock()
            .map_err(|_| anyhow::anyhow!("{} is in use by another cloudsim", path.display()))?;
        let text = fs::read_to_string(path)?;
        let mut lines = text.lines().enumerate().peekable();
        while let Some((index, line)) = lines.next() {
            match serde_json::from_str::<Line>(line) {
                Ok(line) => {
                    store.sequence = store.sequence.max(line.sequence);
                    match line.value {
                        Some(value) => store
                            .records
                            .insert(line.key.into_owned(), value.into_owned()),
                        None => store.records.remove(&*line.key),
                    };
                }
                // Killed while writing it: its request has had no reply.
                Err(_) if lines.peek().is_none() => {}
                Err(error) => anyhow::bail!("{} line {}: {error}", path.display(), index + 1),
            }
        }
        let mut fresh = tempfile::NamedTempFile::new_in(
            path.parent().filter(|p| *p != "").unwrap_or(Path::new(".")),
        )?;
        let mut lines = Vec::new();
        for (key, value) in &store.records {
            store.write_line(&mut lines, key, Some(value))?;
        }
        fresh.write_all(&lines)?;
        fresh.as_file().try_lock()?;
        store.journal = Some(fresh.persist(path)?);
        Ok(store)
    }

    fn write_line(&self, to: &mut Vec<u8>, key: &str, value: Option<&Value>) -> io::Result<()> {
        let line = Line {
            sequence: self.sequence,
            key: key.into(),
            value: value.map(Cow::Borrowed),
        };
        serde_json::to_writer(&mut *to, &line)?;
        to.push(b'\n');
        Ok(())
    }

    fn record(&mut self, key: &str, value: Option<&Value>) -> io::Result<()> {
        if self.journal.is_none() {
            return Ok(());
        }
        let mut line = Vec::new();
        self.write_line(&mut line, key, value)?;
        self.journal
            .as_mut()
            .map_or(Ok(()), |file| file.write_all(&line))
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.records.get(key)
    }

    pub fn put(&mut self, key: &str, value: Value) -> io::Result<()> {
        self.record(key, Some(&value))?;
        if self.records.insert(key.to_owned(), value).is_none() {
            self.appeared.notify_waiters();
        }
        self.tell(key);
        Ok(())
    }

    fn tell(&self, key: &str) {
        if let Some(watched) = self.watched.get(key) {
            watched.notify_waiters();
        }
    }

    /// Is told of each change of a record from now on.
    pub fn watch(&mut self, key: &str) -> Arc<Notify> {
        self.watched.entry(key.to_owned()).or_default().clone()
    }

    /// Is told when there is a new record.
    pub fn appearances(&self) -> Arc<Notify> {
        self.appeared.clone()
    }

    pub fn remove(&mut self, key: &str) -> io::Result<Option<Value>> {
        self.record(key, None)?;
        let removed = self.records.remove(key);
        self.tell(key);
        Ok(removed)
    }

    pub fn apply(&mut self, effects: Effects) -> io::Result<()> {
        for (key, effect) in effects {
            let Value::Object(fields) = effect else {
                self.remove(&key)?;
                continue;
            };
            let Some(mut record) = self.records.get(&key).cloned() else {
                continue;
            };
            if let Some(record) = record.as_object_mut() {
                for (field, value) in fields {
                    match value {
                        Value::Null => drop(record.remove(&field)),
                        value => drop(record.insert(field, value)),
                    }
                }
            }
            self.put(&key, record)?;
        }
        Ok(())
    }

    /// Records whose key starts with `prefix` and is greater than `after`, in order.
    pub fn scan<'a>(
        &'a self,
        prefix: &str,
        after: &str,
    ) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let start = if after < prefix {
            Bound::Included(prefix)
        } else {
            Bound::Excluded(after)
        };
        self.records
            .range::<str, _>((start, Bound::Unbounded))
            .map(|(key, value)| (key.as_str(), value))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    pub fn clear(&mut self) -> io::Result<()> {
        let keys: Vec<_> = self.records.keys().cloned().collect();
        keys.iter().try_for_each(|key| self.remove(key).map(drop))
    }

    /// A number never given before. It outlives a restart once a record was written after it.
    pub fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// An id as Google's look: 19 digits, growing.
    pub fn next_id(&mut self) -> String {
        (4_000_000_000_000_000_000 + self.next()).to_string()
    }

    /// A generation as Google's look: 16 digits, growing.
    pub fn next_generation(&mut self) -> String {
        (1_700_000_000_000_000 + self.next()).to_string()
    }

    /// A number below `bound`, the same for the same seed and history (splitmix64).
    pub fn random_below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// Everything, for `GET /_sim/state`.
    pub fn dump(&self) -> Value {
        serde_json::json!({"time": now(), "sequence": self.sequence, "records": self.records})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_torn_last_line_loses_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let mut store = Store::open(&path, 1).unwrap();
        store.put("a", json!({"n": 1})).unwrap();
        store.put("b", json!({"n": 2})).unwrap();
        store.remove("a").unwrap();
        let last = store.next();
        store.put("c", json!({"n": 3})).unwrap();
        drop(store);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"sequence\":9,\"key\":\"d\",\"val")
            .unwrap();
        drop(file);
        let mut store = Store::open(&path, 1).unwrap();
        assert_eq!(
            store.scan("", "").map(|(key, _)| key).collect::<Vec<_>>(),
            ["b", "c"]
        );
        assert!(store.next() > last, "ids go on after a restart");
    }

    #[test]
    fn a_state_file_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let first = Store::open(&path, 1).unwrap();
        assert!(Store::open(&path, 1).is_err());
        drop(first);
        assert!(Store::open(&path, 1).is_ok());
    }
}
