//! The ledger's storage: one redb file for events, small bodies and vectors, and a folder for large bodies.
//!
//! redb gives transactions that are whole or absent after a crash and checksums below them; the hash chain above makes
//! sure that what is read is what was written. There is one writer: [`Ledger::append`] takes `&mut self`, readers use
//! a snapshot of their own and never wait for it.

use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::wire::{decode_event, encode_event, event_digest};
use super::{Change, Event};
use crate::cube::{Digest, Header, PrincipalId};
use crate::embed::EmbedderId;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use crate::time::Timestamp;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
const BODIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bodies");
const VECTORS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("vectors");

/// Key of `meta`: the version of these tables, as four little-endian bytes.
const META_FORMAT: &str = "format";
/// Key of `meta`: the digest of the last event.
const META_HEAD: &str = "head";
/// Key of `meta`: the embedder that made the vectors.
const META_EMBEDDER: &str = "embedder";

/// The version of the tables above.
const FORMAT: u32 = 1;

const STORE_FILE: &str = "ledger.redb";
const BODIES_FOLDER: &str = "bodies";

/// How long to wait before a store that is open elsewhere is tried again.
const OPEN_RETRY: Duration = Duration::from_millis(20);

/// The first byte of a row of `bodies`: the body follows.
const BODY_INLINE: u8 = 0;
/// The first byte of a row of `bodies`: the body is a file named by its digest.
const BODY_IN_FILE: u8 = 1;

/// Where a ledger ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct LedgerHead {
    /// Events in the ledger.
    pub events: u64,
    /// The digest of the last event; zeros when there is none.
    pub digest: Digest,
}

/// An event on its way in. Its place in the chain is given when it is written.
#[derive(Debug)]
pub struct NewEvent {
    /// When it is written.
    pub at: Timestamp,
    /// Who causes it.
    pub principal: PrincipalId,
    /// What happens.
    pub change: Change,
    /// The body that the event stores.
    pub body: Option<Vec<u8>>,
    /// The embedding of the body, as the index keeps it.
    pub vector: Option<Vec<u8>>,
}

/// The record of every event in a space.
#[derive(Debug)]
pub struct Ledger {
    database: Arc<Database>,
    folder: PathBuf,
    head: LedgerHead,
    inline_body_bytes: usize,
}

impl Ledger {
    /// Opens the ledger in `folder`, or begins one there.
    ///
    /// # Errors
    /// `Busy` when another program has it open, `Corrupt` when its file fails its checks, `Invalid` when it was written
    /// by a newer program, `Unavailable` when the disk fails.
    pub fn open(folder: &Path, limits: &Limits) -> Result<Self> {
        let bodies = folder.join(BODIES_FOLDER);
        fs::create_dir_all(&bodies).map_err(|e| disk_error(&bodies, e))?;
        let file = folder.join(STORE_FILE);
        let database = create(&file, limits).map_err(|e| open_error(&file, e))?;
        let head = prepare(&database).map_err(|e| e.at(file.display()))?;
        Ok(Self { database: Arc::new(database), folder: bodies, head, inline_body_bytes: limits.inline_body_bytes })
    }

    /// Returns where the ledger ends.
    pub fn head(&self) -> LedgerHead {
        self.head
    }

    /// Writes the events behind the last one, all or none, and returns when they are durable.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails; then nothing was written.
    pub fn append(&mut self, events: Vec<NewEvent>) -> Result<Vec<Event>> {
        self.append_with_vectors(events, Vec::new())
    }

    /// Writes events as [`Ledger::append`] does, and in the same step replaces the vectors beside the given events.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails; then nothing was written.
    pub fn append_with_vectors(&mut self, events: Vec<NewEvent>, vectors: Vec<(u64, Vec<u8>)>) -> Result<Vec<Event>> {
        let mut head = self.head;
        let mut written = Vec::with_capacity(events.len());
        for body in events.iter().filter_map(|new| new.body.as_ref()).filter(|body| body.len() > self.inline_body_bytes)
        {
            self.write_body_file(body)?;
        }
        let transaction = self.database.begin_write().map_err(store_error)?;
        {
            let mut event_rows = transaction.open_table(EVENTS).map_err(store_error)?;
            let mut body_rows = transaction.open_table(BODIES).map_err(store_error)?;
            let mut vector_rows = transaction.open_table(VECTORS).map_err(store_error)?;
            let mut row = Vec::new();
            for new in events {
                let NewEvent { at, principal, change, body, vector } = new;
                let event = Event { sequence: head.events, at, principal, previous: head.digest, change };
                let bytes = encode_event(&event)?;
                event_rows.insert(event.sequence, bytes.as_slice()).map_err(store_error)?;
                if let Some(body) = body {
                    row.clear();
                    if body.len() > self.inline_body_bytes {
                        row.push(BODY_IN_FILE);
                    } else {
                        row.push(BODY_INLINE);
                        row.extend_from_slice(&body);
                    }
                    body_rows.insert(event.sequence, row.as_slice()).map_err(store_error)?;
                }
                if let Some(vector) = vector {
                    vector_rows.insert(event.sequence, vector.as_slice()).map_err(store_error)?;
                }
                head = LedgerHead { events: head.events + 1, digest: event_digest(&bytes) };
                written.push(event);
            }
            for (sequence, vector) in vectors {
                vector_rows.insert(sequence, vector.as_slice()).map_err(store_error)?;
            }
            let mut meta = transaction.open_table(META).map_err(store_error)?;
            let embedder = written.iter().rev().find_map(|event| match &event.change {
                Change::SpaceCreated { embedder, .. } | Change::EmbedderChanged { embedder } => Some(embedder),
                _ => None,
            });
            if let Some(embedder) = embedder {
                meta.insert(META_EMBEDDER, embedder.as_str().as_bytes()).map_err(store_error)?;
            }
            meta.insert(META_HEAD, head.digest.as_bytes().as_slice()).map_err(store_error)?;
        }
        transaction.commit().map_err(store_error)?;
        self.head = head;
        Ok(written)
    }

    /// Returns the embedder that made the vectors.
    ///
    /// # Errors
    /// `Corrupt` when the ledger does not name one.
    pub fn embedder(&self) -> Result<EmbedderId> {
        let transaction = self.database.begin_read().map_err(store_error)?;
        let meta = transaction.open_table(META).map_err(store_error)?;
        let row = meta.get(META_EMBEDDER).map_err(read_error)?;
        let name = row.as_ref().and_then(|row| std::str::from_utf8(row.value()).ok());
        name.ok_or_else(|| Error::corrupt("the ledger does not name its embedder"))?.parse()
    }

    /// Returns what readers open the ledger by. They never wait for the writer.
    pub fn readers(&self) -> LedgerReaders {
        LedgerReaders { database: self.database.clone(), folder: self.folder.clone() }
    }

    /// Writes a large body to its file, durable before any event names it. A file that no event names is harmless.
    fn write_body_file(&self, body: &[u8]) -> Result<()> {
        let file = self.folder.join(Digest::of(body).to_string());
        if file.exists() {
            return Ok(());
        }
        let partial = file.with_extension("partial");
        let written = fs::File::create(&partial)
            .and_then(|mut out| out.write_all(body).and_then(|()| out.sync_all()))
            .and_then(|()| fs::rename(&partial, &file))
            .and_then(|()| fs::File::open(&self.folder)?.sync_all());
        written.map_err(|e| disk_error(&file, e))
    }
}

/// Opens the ledger for reading.
#[derive(Debug, Clone)]
pub struct LedgerReaders {
    database: Arc<Database>,
    folder: PathBuf,
}

impl LedgerReaders {
    /// Returns a reader of the ledger as it is now; what is appended later is not in it.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails.
    pub fn reader(&self) -> Result<LedgerReader> {
        let transaction = self.database.begin_read().map_err(store_error)?;
        Ok(LedgerReader {
            events: transaction.open_table(EVENTS).map_err(store_error)?,
            bodies: transaction.open_table(BODIES).map_err(store_error)?,
            vectors: transaction.open_table(VECTORS).map_err(store_error)?,
            folder: self.folder.clone(),
        })
    }
}

/// One consistent point of the ledger.
pub struct LedgerReader {
    events: redb::ReadOnlyTable<u64, &'static [u8]>,
    bodies: redb::ReadOnlyTable<u64, &'static [u8]>,
    vectors: redb::ReadOnlyTable<u64, &'static [u8]>,
    folder: PathBuf,
}

impl LedgerReader {
    /// Returns one event.
    ///
    /// # Errors
    /// `NotFound` when the ledger is shorter; `Corrupt` when the event cannot be read.
    pub fn event(&self, sequence: u64) -> Result<Event> {
        match self.events.get(sequence).map_err(read_error)? {
            Some(row) => decode_event(row.value()),
            None => Err(Error::not_found(format!("the ledger has no event {sequence}"))),
        }
    }

    /// Returns the header that an event stored.
    ///
    /// # Errors
    /// `Corrupt` when that event stored none.
    pub fn header(&self, sequence: u64) -> Result<Header> {
        match self.event(sequence)?.change {
            Change::CubeStored(header) => Ok(*header),
            _ => Err(Error::corrupt(format!("event {sequence} stored no cube"))),
        }
    }

    /// Calls `visit` with each event of the range in order and its digest, and checks that the chain holds.
    ///
    /// # Errors
    /// `Corrupt` at the first event that does not follow from the one before it; whatever `visit` returns.
    pub fn replay(
        &self,
        range: Range<u64>,
        before: Digest,
        mut visit: impl FnMut(Event) -> Result<()>,
    ) -> Result<Digest> {
        let mut previous = before;
        let mut expect = range.start;
        for row in self.events.range(range.clone()).map_err(read_error)? {
            let (key, value) = row.map_err(read_error)?;
            let event = decode_event(value.value()).map_err(|e| e.at(format!("event {}", key.value())))?;
            if event.sequence != expect || key.value() != expect || event.previous != previous {
                return Err(Error::corrupt(format!("event {expect} does not follow from the event before it")));
            }
            previous = event_digest(value.value());
            expect += 1;
            visit(event)?;
        }
        if expect != range.end {
            return Err(Error::corrupt(format!("event {expect} is missing")));
        }
        Ok(previous)
    }

    /// Returns the digest of an event.
    ///
    /// # Errors
    /// `NotFound` when the ledger is shorter.
    pub fn digest(&self, sequence: u64) -> Result<Digest> {
        match self.events.get(sequence).map_err(read_error)? {
            Some(row) => Ok(event_digest(row.value())),
            None => Err(Error::not_found(format!("the ledger has no event {sequence}"))),
        }
    }

    /// Returns the body that event `sequence` stored, when it is still the one that `content` names.
    ///
    /// # Errors
    /// `NotFound` when it was erased; `Corrupt` when it is not what was stored.
    pub fn body(&self, sequence: u64, content: &Digest) -> Result<Vec<u8>> {
        let erased = || Error::not_found("the body of this memory is gone");
        let row = self.bodies.get(sequence).map_err(read_error)?.ok_or_else(erased)?;
        let body = match row.value().split_first() {
            Some((&BODY_INLINE, body)) => body.to_vec(),
            Some((&BODY_IN_FILE, _)) => {
                let file = self.folder.join(content.to_string());
                fs::read(&file).map_err(|e| match e.kind() {
                    std::io::ErrorKind::NotFound => Error::corrupt(format!("the body `{}` is missing", file.display())),
                    _ => disk_error(&file, e),
                })?
            }
            _ => return Err(Error::corrupt(format!("the body of event {sequence} cannot be read"))),
        };
        if Digest::of(&body) != *content {
            return Err(Error::corrupt(format!("the body of event {sequence} is not what was stored")));
        }
        Ok(body)
    }

    /// Returns the vector that stands beside event `sequence`, or none.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails.
    pub fn vector(&self, sequence: u64) -> Result<Option<Vec<u8>>> {
        Ok(self.vectors.get(sequence).map_err(read_error)?.map(|row| row.value().to_vec()))
    }
}

/// Opens the store's file. Programs that share a space hold it for a moment each, so one that is open is waited for.
fn create(file: &Path, limits: &Limits) -> std::result::Result<Database, redb::DatabaseError> {
    let started = Instant::now();
    loop {
        match redb::Builder::new().set_cache_size(limits.cache_bytes).create(file) {
            Err(redb::DatabaseError::DatabaseAlreadyOpen)
                if started.elapsed() < Duration::from_millis(limits.open_wait_millis) =>
            {
                std::thread::sleep(OPEN_RETRY);
            }
            outcome => return outcome,
        }
    }
}

/// Makes the tables of a new store, checks the format of an old one, and returns where it ends.
fn prepare(database: &Database) -> Result<LedgerHead> {
    let transaction = database.begin_write().map_err(store_error)?;
    let head = {
        let mut meta = transaction.open_table(META).map_err(store_error)?;
        let format = meta.get(META_FORMAT).map_err(read_error)?.map(|row| row.value().to_vec());
        match format.as_deref().map(<[u8; 4]>::try_from) {
            None => {
                meta.insert(META_FORMAT, FORMAT.to_le_bytes().as_slice()).map_err(store_error)?;
            }
            Some(Ok(bytes)) if u32::from_le_bytes(bytes) == FORMAT => {}
            Some(Ok(bytes)) => {
                let found = u32::from_le_bytes(bytes);
                return Err(Error::invalid(format!(
                    "the store has format {found}, and this program reads {FORMAT}; use a newer one"
                )));
            }
            Some(Err(_)) => return Err(Error::corrupt("the store does not say its format")),
        }
        let stored = meta.get(META_HEAD).map_err(read_error)?.map(|row| row.value().to_vec());
        let events = transaction.open_table(EVENTS).map_err(store_error)?;
        transaction.open_table(BODIES).map_err(store_error)?;
        transaction.open_table(VECTORS).map_err(store_error)?;
        let last = events.last().map_err(read_error)?;
        let head = last.map_or(LedgerHead { events: 0, digest: Digest::from_bytes([0; 32]) }, |(key, value)| {
            LedgerHead { events: key.value() + 1, digest: event_digest(value.value()) }
        });
        if stored.as_deref().is_some_and(|digest| digest != head.digest.as_bytes()) {
            return Err(Error::corrupt(format!(
                "the last event, {}, is not the one that was written last",
                head.events.saturating_sub(1)
            )));
        }
        head
    };
    transaction.commit().map_err(store_error)?;
    Ok(head)
}

fn open_error(file: &Path, error: redb::DatabaseError) -> Error {
    let place = file.display();
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => {
            Error::new(ErrorKind::Busy, format!("`{place}` is open in another program; wait until it is closed"))
        }
        redb::DatabaseError::Storage(error) => read_error(error).at(place),
        other => Error::corrupt(format!("`{place}` is not a ledger: {other}")).with_source(other),
    }
}

fn store_error(error: impl Into<redb::Error>) -> Error {
    let error = error.into();
    let kind = match error {
        redb::Error::Corrupted(_) => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("the ledger's store failed: {error}")).with_source(error)
}

fn read_error(error: redb::StorageError) -> Error {
    store_error(error)
}

fn disk_error(path: &Path, error: std::io::Error) -> Error {
    Error::unavailable(format!("`{}`: {error}", path.display())).with_source(error)
}
