use crate::{
    endpoint::{Service, origin},
    error::{Error, Result},
    http::{Call, Client, Reply, encode},
    storage::{Crc32c, Location, Object},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

const SERVICE: Service = Service::Storage;

/// How often the checksum so far is noted, so that after a cut little is read twice.
const MARK: u64 = 8 << 20;

/// Bytes of a page of memory.
const PAGE: u64 = 4096;

/// How often an upload begins anew: a session that is gone, an object that came in between.
const ROUNDS: u32 = 4;

/// A file on its way into a bucket.
#[derive(Debug)]
pub struct Upload {
    file: PathBuf,
    to: Location,
    size: u64,
    crc32c: Crc32c,
    session: PathBuf,
    replace: bool,
}

/// What is kept beside the file so that another run goes on with the upload. The URI lets anyone
/// write this one object, hence mode 0600. Cloud Storage forgets a session after a week.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Session {
    uri: String,
    to: String,
    size: u64,
    crc32c: Crc32c,
    /// The generation to be replaced; 0: the object must not exist.
    generation: u64,
}

impl Upload {
    /// `crc32c` is what the file is known to hold; without it the file is read once more.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn new(file: &Path, to: Location, crc32c: Option<Crc32c>) -> Result<Self> {
        let size = std::fs::metadata(file)
            .map_err(|cause| Error::file(file, cause))?
            .len();
        let crc32c = match crc32c {
            Some(known) => known,
            None => Crc32c::of_file(file)?,
        };
        let mut session = file.as_os_str().to_owned();
        session.push(".upload");
        Ok(Self {
            file: file.to_owned(),
            to,
            size,
            crc32c,
            session: session.into(),
            replace: false,
        })
    }

    /// Where the session is kept; beside the file with `.upload` added unless set.
    pub fn with_session(mut self, session: PathBuf) -> Self {
        self.session = session;
        self
    }

    /// Replaces an object of other bytes instead of refusing.
    pub fn replacing(mut self, replace: bool) -> Self {
        self.replace = replace;
        self
    }

    fn load(&self, origin_wanted: &str, generation: u64) -> Option<Session> {
        let text = std::fs::read_to_string(&self.session).ok()?;
        let session: Session = serde_json::from_str(&text).ok()?;
        let wanted = Session {
            uri: session.uri.clone(),
            ..self.session(String::new(), generation)
        };
        (session == wanted && origin(&session.uri) == origin_wanted).then_some(session)
    }

    fn session(&self, uri: String, generation: u64) -> Session {
        Session {
            uri,
            to: self.to.to_string(),
            size: self.size,
            crc32c: self.crc32c,
            generation,
        }
    }

    /// Written beside and renamed: there is a whole one or none, whenever this process ends.
    fn save(&self, session: &Session) -> Result<()> {
        let mut beside = self.session.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&beside)?;
            // Not synced: that may wait for gigabytes of others, and what a power cut spoils is begun anew.
            file.write_all(&serde_json::to_vec(session)?)?;
            std::fs::rename(&beside, &self.session)
        };
        write().map_err(|cause| Error::file(&self.session, cause))
    }

    fn forget(&self) {
        // At worst a session is left that the next run finds to be another's or gone.
        let _ = std::fs::remove_file(&self.session);
    }
}

/// How a session ended.
enum End {
    Whole(Object),
    /// Anew: what made it useless.
    Useless(String),
}

impl Client {
    /// Uploads a file so that exactly one whole object comes of it, however often the connection is
    /// cut or this process killed on the way: a later run sends what is missing. An object that has
    /// the same bytes already is left as it is. `progress` is told bytes done and bytes in all.
    ///
    /// Two processes with the same file take turns; two machines with the same target both end
    /// well, the bytes of one of them being the object.
    ///
    /// # Errors
    /// The file cannot be read, or is not what its CRC32C says (then no object comes of it); the
    /// target has other bytes and is not to be replaced; as any call.
    pub fn upload(&self, upload: &Upload, progress: &mut dyn FnMut(u64, u64)) -> Result<Object> {
        let mut source = Source::open(upload, |text| self.notify(text))?;
        let mut reason = String::new();
        for _ in 0..ROUNDS {
            let generation = match self.object(&upload.to)? {
                None => 0,
                Some(object) if object.crc32c == upload.crc32c && object.size == upload.size => {
                    upload.forget();
                    return Ok(object);
                }
                Some(object) if upload.replace => object.generation,
                Some(object) => {
                    return Err(Error::refused(
                        format!(
                            "{} exists with other bytes (CRC32C {}, here {})",
                            upload.to, object.crc32c, upload.crc32c
                        ),
                        "Delete it with `google objects delete`, or add --replace",
                    ));
                }
            };
            let kept = upload.load(self.endpoints.storage_origin(), generation);
            let fresh = kept.is_none();
            let session = match kept {
                Some(session) => session,
                None => match self.begin(upload, generation)? {
                    Some(session) => session,
                    None => continue,
                },
            };
            match self.send(&session, fresh, &mut source, progress) {
                Ok(End::Whole(object)) => {
                    upload.forget();
                    if object.crc32c == upload.crc32c && object.size == upload.size {
                        return Ok(object);
                    }
                    self.delete_object(&upload.to, Some(object.generation))?;
                    reason = "the bytes arrived damaged".to_owned();
                }
                Ok(End::Useless(why)) => {
                    upload.forget();
                    reason = why;
                }
                Err(error) => {
                    if source.damaged {
                        upload.forget();
                    }
                    return Err(error);
                }
            }
        }
        Err(Error::refused(
            format!(
                "{}: {ROUNDS} uploads came to nothing, at last because {reason}",
                upload.to
            ),
            "Check that nothing else writes this object, then run this again",
        ))
    }

    /// Opens a session. `None` when the object came in between.
    fn begin(&self, upload: &Upload, generation: u64) -> Result<Option<Session>> {
        let url = self
            .endpoints
            .upload_url(&format!("b/{}/o", encode(&upload.to.bucket)));
        let begin = Call::new(SERVICE, "POST", url)
            .query("uploadType", "resumable")
            .query("name", &upload.to.name)
            .query("ifGenerationMatch", generation.to_string())
            .header("X-Upload-Content-Type", "application/octet-stream")
            .header("X-Upload-Content-Length", upload.size.to_string())
            // With the checksum in the metadata Cloud Storage itself refuses damaged bytes.
            .json(&json!({"name": upload.to.name, "crc32c": upload.crc32c}));
        let reply = self.call(&begin)?;
        if reply.status == 412 {
            return Ok(None);
        }
        let Some(uri) = reply.location.clone().filter(|_| reply.is_success()) else {
            return Err(reply.refusal(SERVICE, &upload.to.to_string()));
        };
        let session = upload.session(uri, generation);
        upload.save(&session)?;
        Ok(Some(session))
    }

    fn send(
        &self,
        session: &Session,
        fresh: bool,
        source: &mut Source,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<End> {
        let mut patience = self.patience(SERVICE);
        let size = source.size;
        let mut furthest = 0;
        let mut unauthorized = false;
        // None: ask how much there is.
        let mut offset = fresh.then_some(0);
        loop {
            let reply = match offset {
                None => {
                    let ask = put(session)
                        .header("Content-Range", format!("bytes */{size}"))
                        .empty();
                    self.call(&ask)?
                }
                Some(from) => {
                    progress(from, size);
                    let range = if size == 0 {
                        "bytes */0".to_owned()
                    } else {
                        format!("bytes {from}-{}/{size}", size - 1)
                    };
                    let rest = put(session)
                        .header("Content-Range", range)
                        .header("Content-Length", (size - from).to_string());
                    let mut body = source.read_from(from, progress)?;
                    let answer = self.attempt(&rest, ureq::SendBody::from_reader(&mut body), false);
                    if let Some(error) = body.failure {
                        return Err(error);
                    }
                    match patience.retry(answer.and_then(Reply::read))? {
                        Some(reply) => reply,
                        None => {
                            offset = None;
                            continue;
                        }
                    }
                }
            };
            match reply.status {
                200 | 201 => return reply.into(SERVICE, &session.to).map(End::Whole),
                308 => {
                    let there = reply.range_end.map_or(0, |last| last + 1);
                    if there > furthest {
                        furthest = there;
                        patience.reset();
                    } else if offset.is_some() || there == size {
                        patience.wait("it took no bytes", None)?;
                    }
                    // All there but no object yet: nothing to send, ask again.
                    offset = (there != size).then_some(there);
                }
                400 => return Ok(End::Useless("it refused the bytes".to_owned())),
                404 | 410 => return Ok(End::Useless("the session ended".to_owned())),
                412 => return Ok(End::Useless("the object changed meanwhile".to_owned())),
                // The URI needs no token, so that this says nothing of ours; once is forgiven.
                401 if !unauthorized => {
                    unauthorized = true;
                    offset = None;
                }
                _ => return Err(reply.refusal(SERVICE, &session.to)),
            }
        }
    }
}

/// A call of the session. The URI is the credential: no token goes with it, and none can run out.
fn put(session: &Session) -> Call {
    Call::new(SERVICE, "PUT", session.uri.clone()).unauthorized()
}

/// The file, and what is known of its checksum.
struct Source<'a> {
    file: File,
    path: &'a Path,
    size: u64,
    crc32c: Crc32c,
    /// CRC32C of the first `MARK * i` bytes.
    marks: Vec<u32>,
    damaged: bool,
}

impl<'a> Source<'a> {
    fn open(upload: &'a Upload, notice: impl Fn(&str)) -> Result<Self> {
        let open = || {
            let file = File::open(&upload.file)?;
            // One session, one sender. It ends with the process; a file system without locks goes without.
            if let Err(TryLockError::WouldBlock) = file.try_lock() {
                notice("Another upload of this file is running; waiting for it");
                file.lock()?;
            }
            Ok(file)
        };
        Ok(Self {
            file: open().map_err(|cause| Error::file(&upload.file, cause))?,
            path: &upload.file,
            size: upload.size,
            crc32c: upload.crc32c,
            marks: vec![0],
            damaged: false,
        })
    }

    /// The bytes from `offset` on, the checksum of those before it being known or read.
    fn read_from<'s>(
        &'s mut self,
        offset: u64,
        progress: &'s mut dyn FnMut(u64, u64),
    ) -> Result<Rest<'s, 'a>> {
        if offset > self.size {
            return Err(Error::refused(
                format!(
                    "{}: more bytes arrived than the file has",
                    self.path.display()
                ),
                "Delete the file ending in .upload beside it, then run this again",
            ));
        }
        let mark = ((offset / MARK) as usize).min(self.marks.len() - 1);
        let at = mark as u64 * MARK;
        self.file
            .seek(SeekFrom::Start(at))
            .map_err(|cause| Error::file(self.path, cause))?;
        let crc = self.marks[mark];
        let mut rest = Rest {
            source: self,
            progress: None,
            at,
            crc,
            failure: None,
        };
        let skipped = io::copy(&mut (&mut rest).take(offset - at), &mut io::sink());
        if let Err(cause) = skipped {
            let path = rest.source.path;
            return Err(rest.failure.unwrap_or_else(|| Error::file(path, cause)));
        }
        rest.progress = Some(progress);
        Ok(rest)
    }
}

/// The rest of the file as the body of a request. Withholds the last bytes when the whole does not
/// have the checksum it should: the object never becomes whole then.
struct Rest<'s, 'a> {
    source: &'s mut Source<'a>,
    progress: Option<&'s mut dyn FnMut(u64, u64)>,
    at: u64,
    crc: u32,
    failure: Option<Error>,
}

impl Read for Rest<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let source = &mut *self.source;
        // Never across a mark, so that each is met exactly.
        let most = (source.size - self.at).min(MARK - self.at % MARK);
        // First up to where file and memory lie alike in their pages. A large buffer begins 16 bytes into a page
        // (glibc), and AMD's Zen 3 copies pages to there at a third of its speed:
        // <https://xuanwo.io/2023/04-rust-std-fs-slower-than-python/>
        let ahead = (buffer.as_ptr().addr() as u64).wrapping_sub(self.at) % PAGE;
        let most = if ahead == 0 { most } else { most.min(ahead) };
        let most = buffer.len().min(most as usize);
        if most == 0 {
            return Ok(0);
        }
        let changed = || {
            Error::failed(
                format!(
                    "{} does not hold what its CRC32C {} says",
                    source.path.display(),
                    source.crc32c
                ),
                "Delete it, so that it is packed again; no object came of it",
            )
        };
        let got = match source.file.read(&mut buffer[..most]) {
            Ok(0) => {
                source.damaged = true;
                self.failure = Some(changed());
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(got) => got,
            Err(cause) => {
                let kind = cause.kind();
                self.failure = Some(Error::file(source.path, cause));
                return Err(kind.into());
            }
        };
        self.crc = crc32c::crc32c_append(self.crc, &buffer[..got]);
        self.at += got as u64;
        if self.at.is_multiple_of(MARK) && source.marks.len() as u64 == self.at / MARK {
            source.marks.push(self.crc);
        }
        if self.at == source.size && Crc32c(self.crc) != source.crc32c {
            self.failure = Some(changed());
            source.damaged = true;
            return Err(io::ErrorKind::InvalidData.into());
        }
        if let Some(progress) = &mut self.progress {
            progress(self.at, source.size);
        }
        Ok(got)
    }
}
