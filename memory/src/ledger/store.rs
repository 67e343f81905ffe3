//! The ledger's storage: one redb file for events, small bodies and vectors, and a folder for large bodies.
//!
//! redb gives transactions that are whole or absent after a crash and checksums below them; the hash chain above makes
//! sure that what is read is what was written. There is one writer: [`Ledger::append`] takes `&mut self`, readers use
//! a snapshot of their own and never wait for it.

use std::fs;
use std::io::{Read, Write};
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
/// Held while a ledger begins, so that two programs do not begin the same one.
const BEGIN_LOCK: &str = "begin.lock";
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
    store: Arc<Store>,
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
        if !file.exists() {
            begin(folder, &file)?;
        }
        let store = Store::of(guarded(|| open_store(&file, limits).map_err(|e| open_error(&file, e)))?);
        let head = guarded(|| prepare(&store)).map_err(|e| e.at(file.display()))?;
        Ok(Self { store: Arc::new(store), folder: bodies, head, inline_body_bytes: limits.inline_body_bytes })
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
        let (head, written) = guarded(|| self.write(events, vectors))?;
        self.head = head;
        Ok(written)
    }

    fn write(&self, events: Vec<NewEvent>, vectors: Vec<(u64, Vec<u8>)>) -> Result<(LedgerHead, Vec<Event>)> {
        let mut head = self.head;
        let mut written = Vec::with_capacity(events.len());
        for body in events.iter().filter_map(|new| new.body.as_ref()).filter(|body| body.len() > self.inline_body_bytes)
        {
            self.write_body_file(body)?;
        }
        let transaction = self.store.write()?;
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
                    vector_rows.insert(event.sequence, with_checksum(vector).as_slice()).map_err(store_error)?;
                }
                head = LedgerHead { events: head.events + 1, digest: event_digest(&bytes) };
                written.push(event);
            }
            for (sequence, vector) in vectors {
                vector_rows.insert(sequence, with_checksum(vector).as_slice()).map_err(store_error)?;
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
        Ok((head, written))
    }

    /// Returns the embedder that made the vectors.
    ///
    /// # Errors
    /// `Corrupt` when the ledger does not name one.
    pub fn embedder(&self) -> Result<EmbedderId> {
        guarded(|| {
            let transaction = self.store.read()?;
            let meta = transaction.open_table(META).map_err(store_error)?;
            let row = meta.get(META_EMBEDDER).map_err(read_error)?;
            let name = row.as_ref().and_then(|row| std::str::from_utf8(row.value()).ok()?.parse().ok());
            name.ok_or_else(|| Error::corrupt("the ledger does not name its embedder"))
        })
    }

    /// Returns what readers open the ledger by. They never wait for the writer.
    pub fn readers(&self) -> LedgerReaders {
        LedgerReaders { store: self.store.clone(), folder: self.folder.clone() }
    }

    /// Writes a large body to its file, durable before any event names it. A file that no event names is harmless.
    fn write_body_file(&self, body: &[u8]) -> Result<()> {
        let file = self.folder.join(Digest::of(body).to_string());
        let partial = file.with_extension("partial");
        let write = || {
            // What is there may be damaged by now, and it is about to be promised anew.
            if !holds(&file, body) {
                let mut out = fs::File::create(&partial)?;
                out.write_all(body)?;
                out.sync_all()?;
                fs::rename(&partial, &file)?;
            }
            fs::File::open(&self.folder)?.sync_all()
        };
        write().map_err(|e| disk_error(&file, e))
    }
}

/// The open store. It writes when it is closed, and may find damage then.
#[derive(Debug)]
struct Store {
    database: Option<Database>,
}

impl Store {
    fn of(database: Database) -> Self {
        Self { database: Some(database) }
    }

    fn read(&self) -> Result<redb::ReadTransaction> {
        self.open()?.begin_read().map_err(store_error)
    }

    fn write(&self) -> Result<redb::WriteTransaction> {
        self.open()?.begin_write().map_err(store_error)
    }

    fn open(&self) -> Result<&Database> {
        self.database.as_ref().ok_or_else(|| Error::unavailable("the ledger's store is closed"))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let database = self.database.take();
        // Whatever it finds while it closes, it will find and report when it is opened again.
        let _ = guarded(|| {
            drop(database);
            Ok(())
        });
    }
}

/// Opens the ledger for reading.
#[derive(Debug, Clone)]
pub struct LedgerReaders {
    store: Arc<Store>,
    folder: PathBuf,
}

impl LedgerReaders {
    /// Returns a reader of the ledger as it is now; what is appended later is not in it.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails.
    pub fn reader(&self) -> Result<LedgerReader> {
        guarded(|| {
            let transaction = self.store.read()?;
            Ok(LedgerReader {
                meta: transaction.open_table(META).map_err(store_error)?,
                events: transaction.open_table(EVENTS).map_err(store_error)?,
                bodies: transaction.open_table(BODIES).map_err(store_error)?,
                vectors: transaction.open_table(VECTORS).map_err(store_error)?,
                folder: self.folder.clone(),
            })
        })
    }
}

/// One consistent point of the ledger.
pub struct LedgerReader {
    meta: redb::ReadOnlyTable<&'static str, &'static [u8]>,
    events: redb::ReadOnlyTable<u64, &'static [u8]>,
    bodies: redb::ReadOnlyTable<u64, &'static [u8]>,
    vectors: redb::ReadOnlyTable<u64, &'static [u8]>,
    folder: PathBuf,
}

impl LedgerReader {
    /// Returns one event, which is the one that was written: the event after it, or the ledger's end, names its digest.
    ///
    /// # Errors
    /// `NotFound` when the ledger is shorter; `Corrupt` when the event is not the one that was written.
    pub fn event(&self, sequence: u64) -> Result<Event> {
        let event = self.row(sequence, |bytes| Ok((decode_event(bytes)?, event_digest(bytes))))?;
        let follower = sequence.checked_add(1).map(|next| self.row(next, |bytes| Ok(decode_event(bytes)?.previous)));
        let named = match follower {
            Some(Err(error)) if error.kind() != ErrorKind::NotFound => return Err(error),
            Some(Ok(previous)) => Some(previous),
            _ => self.head_digest()?,
        };
        match event {
            (event, digest) if event.sequence == sequence && named.is_none_or(|named| named == digest) => Ok(event),
            _ => Err(Error::corrupt(format!("event {sequence} is not the one that was written"))),
        }
    }

    /// Returns the header that an event stored. Whoever reads it checks it with the digest that names it.
    ///
    /// # Errors
    /// `Corrupt` when that event stored none, or is missing.
    pub fn header(&self, sequence: u64) -> Result<Header> {
        let event = self.row(sequence, decode_event).map_err(|e| missing_is_corrupt(e, sequence))?;
        match event.change {
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
        let mut rows = guarded(|| self.events.range(range.clone()).map_err(read_error))?;
        let mut next = || {
            guarded(|| {
                let Some((key, value)) = rows.next().transpose().map_err(read_error)? else { return Ok(None) };
                let event = decode_event(value.value()).map_err(|e| e.at(format!("event {}", key.value())))?;
                Ok(Some((key.value(), event, event_digest(value.value()))))
            })
        };
        while let Some((key, event, digest)) = next()? {
            if event.sequence != expect || key != expect || event.previous != previous {
                return Err(Error::corrupt(format!("event {expect} does not follow from the event before it")));
            }
            previous = digest;
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
        self.row(sequence, |bytes| Ok(event_digest(bytes)))
    }

    fn row<T>(&self, sequence: u64, read: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        guarded(|| match self.events.get(sequence).map_err(read_error)? {
            Some(row) => read(row.value()),
            None => Err(Error::not_found(format!("the ledger has no event {sequence}"))),
        })
    }

    fn head_digest(&self) -> Result<Option<Digest>> {
        guarded(|| {
            let row = self.meta.get(META_HEAD).map_err(read_error)?;
            Ok(row.and_then(|row| row.value().try_into().ok()).map(Digest::from_bytes))
        })
    }

    /// Returns the body that event `sequence` stored, when it is still the one that `content` names.
    ///
    /// # Errors
    /// `NotFound` when it was erased; `Corrupt` when it is not what was stored.
    pub fn body(&self, sequence: u64, content: &Digest) -> Result<Vec<u8>> {
        let erased = || Error::not_found("the body of this memory is gone");
        let row = guarded(|| Ok(self.bodies.get(sequence).map_err(read_error)?.map(|row| row.value().to_vec())))?;
        let mut row = row.ok_or_else(erased)?;
        let body = match row.first() {
            Some(&BODY_INLINE) => {
                row.remove(0);
                row
            }
            Some(&BODY_IN_FILE) => {
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
    /// `Corrupt` when it is not what was stored.
    pub fn vector(&self, sequence: u64) -> Result<Option<Vec<u8>>> {
        let damaged =
            || Error::corrupt(format!("the vector of event {sequence} is damaged; `memos reembed` makes it again"));
        guarded(|| match self.vectors.get(sequence).map_err(read_error)? {
            Some(row) => without_checksum(row.value()).map(|vector| Some(vector.to_vec())).ok_or_else(damaged),
            None => Ok(None),
        })
    }
}

/// Opens the store's file. Programs that share a space hold it for a moment each, so one that is open is waited for.
fn open_store(file: &Path, limits: &Limits) -> std::result::Result<Database, redb::DatabaseError> {
    let started = Instant::now();
    loop {
        match redb::Builder::new().set_cache_size(limits.cache_bytes).open(file) {
            Err(redb::DatabaseError::DatabaseAlreadyOpen)
                if started.elapsed() < Duration::from_millis(limits.open_wait_millis) =>
            {
                std::thread::sleep(OPEN_RETRY);
            }
            outcome => return outcome,
        }
    }
}

/// Makes the store of a new ledger. It gets its name when it is whole, so that a program that dies on the way leaves nothing
/// that cannot be opened.
fn begin(folder: &Path, file: &Path) -> Result<()> {
    let (lock, partial) = (folder.join(BEGIN_LOCK), file.with_extension("partial"));
    let failed = |e: std::io::Error| disk_error(file, e);
    let lock = fs::File::create(&lock).and_then(|lock| lock.lock().map(|()| lock)).map_err(|e| disk_error(&lock, e))?;
    if file.exists() {
        return Ok(());
    }
    let bodies = folder.join(BODIES_FOLDER);
    if fs::read_dir(&bodies).map_err(|e| disk_error(&bodies, e))?.next().is_some() {
        return Err(Error::corrupt(format!(
            "`{}` is missing, and bodies of it are there; bring it back",
            file.display()
        )));
    }
    if partial.exists() {
        fs::remove_file(&partial).map_err(failed)?;
    }
    let store = Store::of(redb::Builder::new().create(&partial).map_err(|e| open_error(&partial, e))?);
    prepare(&store)?;
    // Closed before it gets its name.
    drop(store);
    fs::rename(&partial, file).and_then(|()| fs::File::open(folder)?.sync_all()).map_err(failed)?;
    lock.unlock().map_err(failed)
}

/// Makes the tables of a new store, checks the format of an old one, and returns where it ends.
fn prepare(store: &Store) -> Result<LedgerHead> {
    let transaction = store.write()?;
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

/// Runs `work` on the store. The store panics on some damages that its own checks do not cover; those are damages too.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let damaged = |_| Err(Error::corrupt("the ledger's store is damaged and cannot be read"));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(damaged)
}

fn missing_is_corrupt(error: Error, sequence: u64) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::corrupt(format!("event {sequence} is missing")),
        _ => error,
    }
}

/// A vector has no digest in the chain, as it can be made again, so it brings its own check.
fn with_checksum(mut vector: Vec<u8>) -> Vec<u8> {
    vector.extend(crc32fast::hash(&vector).to_le_bytes());
    vector
}

fn without_checksum(row: &[u8]) -> Option<&[u8]> {
    let (vector, checksum) = row.split_last_chunk::<4>()?;
    (crc32fast::hash(vector) == u32::from_le_bytes(*checksum)).then_some(vector)
}

/// Returns whether the file holds just these bytes.
fn holds(file: &Path, body: &[u8]) -> bool {
    let Ok(mut input) = fs::File::open(file) else { return false };
    let mut rest = body;
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(count) = input.read(&mut chunk) {
        match (count, chunk.get(..count).and_then(|read| rest.strip_prefix(read))) {
            (0, _) => return rest.is_empty(),
            (_, Some(after)) => rest = after,
            (_, None) => return false,
        }
    }
    false
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
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};

    let error = error.into();
    let kind = match error {
        redb::Error::Corrupted(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableDoesNotExist(_) => ErrorKind::Corrupt,
        // A file that is not the store's own, or that was cut.
        redb::Error::Io(ref error) if matches!(error.kind(), InvalidData | UnexpectedEof) => ErrorKind::Corrupt,
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
