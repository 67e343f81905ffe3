//! The ledger's storage: one redb file for events, records, vectors and the tree, and a folder for large bodies.
//!
//! redb gives transactions that are whole or absent after a crash and checksums below them; the hash chain above makes
//! sure that what is read is what was written. There is one writer: [`Ledger::append`] takes `&mut self`, readers use
//! a snapshot of their own and never wait for it.
//!
//! A fork's ledger holds only what happened since. What came before is read from its origin's.

mod backend;
mod opening;
mod reading;

use std::path::Path;
use std::sync::Arc;

use redb::TableDefinition;

use self::opening::{Opened, disk_error, guarded, open_store, read_error, store_error};
use super::merkle::Frontier;
use super::record::Record;
use super::wire::{encode_event, event_digest};
use super::{Change, Event};
use crate::cube::{Digest, PrincipalId, SpaceName};
use crate::disk::Disk;
use crate::embed::EmbedderId;
use crate::error::{Error, Result};
use crate::keys::KeyRing;
use crate::limits::Limits;
use crate::time::Timestamp;

pub use self::reading::{LedgerReader, LedgerReaders};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
const VECTORS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("vectors");
const TREE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("tree");

/// Key of `meta`: the version of these tables, as four little-endian bytes.
const META_FORMAT: &str = "format";
/// Key of `meta`: the digest of the last event.
const META_HEAD: &str = "head";
/// Key of `meta`: the embedder that made the vectors.
const META_EMBEDDER: &str = "embedder";
/// Key of `meta`: one byte, 1 when the records are encrypted.
const META_SEALED: &str = "sealed";
/// Key of `meta`: the events up to and including the last erasure, as eight little-endian bytes.
const META_ERASED: &str = "erased";
/// Key of `meta` of a fork: where it left its origin.
const META_FORK: &str = "fork";

const BODIES_FOLDER: &str = "bodies";

/// Where a ledger ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct LedgerHead {
    /// Events in the ledger.
    pub events: u64,
    /// The digest of the last event; zeros when there is none.
    pub digest: Digest,
}

impl LedgerHead {
    /// Where a ledger without events ends.
    pub const EMPTY: Self = Self { events: 0, digest: Digest::from_bytes([0; 32]) };
}

/// Where a fork left its origin.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ForkPoint {
    /// The space that it was forked from.
    pub origin: SpaceName,
    /// The events that it shares with it.
    pub events: u64,
    /// The digest of the last of them.
    pub digest: Digest,
}

/// What a ledger works with.
#[derive(Clone)]
pub struct LedgerOptions {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Whether the records of a ledger that begins are encrypted.
    pub sealed: bool,
    /// The bounds.
    pub limits: Limits,
}

/// What is known of a ledger when the keys of its records are needed. Its file is held by then, so nobody else has them open.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Whether its records are encrypted.
    pub sealed: bool,
    /// Whether it has no event of its own yet.
    pub is_new: bool,
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
    /// The record of the version that the event stores.
    pub record: Option<Record>,
    /// The vector's row.
    pub vector: Option<Vec<u8>>,
    /// Events whose records and vectors the event takes away, with the names of their files.
    pub gone: Vec<(u64, Digest)>,
}

impl NewEvent {
    /// Makes an event that stores nothing beside itself.
    pub fn bare(at: Timestamp, principal: PrincipalId, change: Change) -> Self {
        Self { at, principal, change, record: None, vector: None, gone: Vec::new() }
    }
}

/// The record of every event in a space.
#[derive(Debug)]
pub struct Ledger {
    readers: LedgerReaders,
    head: LedgerHead,
    /// When the last event was written.
    last_at: Timestamp,
    frontier: Frontier,
}

impl Ledger {
    /// Opens the ledger in `folder`, or begins one there. `ring` opens the keys of its records, `origin` the ledger
    /// that a fork was made from.
    ///
    /// # Errors
    /// `Busy` when another program has it open, `Corrupt` when its file fails its checks, `Denied` when it is encrypted
    /// and there is no key, `Invalid` when it was written by a newer program, `Unavailable` when the disk fails.
    pub fn open(
        folder: &Path,
        options: LedgerOptions,
        ring: impl FnOnce(Found) -> Result<Arc<KeyRing>>,
        origin: impl FnOnce(&SpaceName) -> Result<LedgerReaders>,
    ) -> Result<Self> {
        Self::open_or_begin(folder, options, None, ring, origin)
    }

    /// Begins the ledger of a fork in `folder`.
    ///
    /// # Errors
    /// `Conflict` when there is one already; else as [`Ledger::open`].
    pub fn fork(
        folder: &Path,
        options: LedgerOptions,
        fork: ForkPoint,
        ring: impl FnOnce(Found) -> Result<Arc<KeyRing>>,
        origin: LedgerReaders,
    ) -> Result<Self> {
        if Self::is_there(folder, &*options.disk) {
            return Err(Error::conflict(format!("there is a ledger in `{}` already", folder.display())));
        }
        Self::open_or_begin(folder, options, Some(&fork), ring, |_| Ok(origin))
    }

    /// Holds the ledger in `folder`, so that nobody else opens it, until what is returned is dropped.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub(crate) fn hold(folder: &Path, options: &LedgerOptions) -> Result<impl Drop + use<>> {
        let LedgerOptions { disk, sealed, limits } = options;
        let bodies = folder.join(BODIES_FOLDER);
        let begin = opening::Begin { folder, bodies: &bodies, sealed: *sealed, fork: None };
        Ok(open_store(disk, &begin, limits)?.store)
    }

    /// Returns where the ledger in `folder` left its origin; none when it is no fork. The ledger must not be open.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub(crate) fn fork_of(folder: &Path, options: &LedgerOptions) -> Result<Option<ForkPoint>> {
        let LedgerOptions { disk, sealed, limits } = options;
        let bodies = folder.join(BODIES_FOLDER);
        let begin = opening::Begin { folder, bodies: &bodies, sealed: *sealed, fork: None };
        Ok(open_store(disk, &begin, limits)?.fork)
    }

    /// Returns whether there is a ledger in `folder`.
    pub(crate) fn is_there(folder: &Path, disk: &dyn Disk) -> bool {
        disk.exists(&folder.join(opening::STORE_FILE))
    }

    /// Returns whether there is anything in `folder` that a ledger's beginning does not leave when its program dies.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails.
    pub(crate) fn is_begun(folder: &Path, disk: &dyn Disk) -> Result<bool> {
        for name in disk.list(folder).map_err(|e| disk_error(folder, e))? {
            let left = match name.as_str() {
                BODIES_FOLDER => {
                    let bodies = folder.join(BODIES_FOLDER);
                    disk.list(&bodies).map_err(|e| disk_error(&bodies, e))?.is_empty()
                }
                name => opening::LEFT_BY_A_BEGINNING.contains(&name),
            };
            if !left {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn open_or_begin(
        folder: &Path,
        options: LedgerOptions,
        fork: Option<&ForkPoint>,
        ring: impl FnOnce(Found) -> Result<Arc<KeyRing>>,
        origin: impl FnOnce(&SpaceName) -> Result<LedgerReaders>,
    ) -> Result<Self> {
        let LedgerOptions { disk, sealed, limits } = options;
        let bodies = folder.join(BODIES_FOLDER);
        disk.make_folder(&bodies).map_err(|e| disk_error(&bodies, e))?;
        let begin = opening::Begin { folder, bodies: &bodies, sealed, fork };
        let Opened { store, head, sealed, fork } = open_store(&disk, &begin, &limits)?;
        let is_new = head.events == fork.as_ref().map_or(0, |fork| fork.events);
        let ring = ring(Found { sealed, is_new })?;
        let base =
            fork.map(|fork| Ok::<_, Error>(reading::Base { readers: origin(&fork.origin)?, fork })).transpose()?;
        let readers = LedgerReaders {
            store: Arc::new(store),
            folder: bodies,
            disk,
            ring,
            base: base.map(Arc::new),
            inline_body_bytes: limits.inline_body_bytes,
        };
        let reader = readers.reader()?;
        if let Some(base) = &readers.base
            && base.fork.events > 0
            && reader.digest(base.fork.events - 1)? != base.fork.digest
        {
            return Err(Error::corrupt(format!("its origin `{}` is not the one that it left", base.fork.origin)));
        }
        let frontier = Frontier::restore(head.events, &reader)?;
        let last_at = match head.events {
            0 => Timestamp::from_millis(i64::MIN),
            events => reader.written_at(events - 1)?,
        };
        Ok(Self { readers, head, last_at, frontier })
    }

    /// Returns where the ledger ends.
    pub fn head(&self) -> LedgerHead {
        self.head
    }

    /// Returns where a fork left its origin.
    pub fn fork_point(&self) -> Option<&ForkPoint> {
        self.readers.fork_point()
    }

    /// Returns the root of the Merkle tree over all events (RFC 6962).
    pub fn root(&self) -> Digest {
        self.frontier.root()
    }

    /// Writes the events behind the last one, all or none, and returns when they are durable.
    ///
    /// An event is never older than the one before it: where a clock went back, it stands at the time of that one.
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
        let mut frontier = self.frontier.clone();
        let gone: Vec<Digest> = events.iter().flat_map(|new| &new.gone).map(|(_, file)| *file).collect();
        let (head, written) = guarded(|| self.write(&mut frontier, events, vectors))?;
        self.head = head;
        self.frontier = frontier;
        self.last_at = written.last().map_or(self.last_at, |event| event.at);
        self.remove_files(gone);
        Ok(written)
    }

    fn write(
        &self,
        frontier: &mut Frontier,
        events: Vec<NewEvent>,
        vectors: Vec<(u64, Vec<u8>)>,
    ) -> Result<(LedgerHead, Vec<Event>)> {
        let mut head = self.head;
        let mut last_at = self.last_at;
        let mut written = Vec::with_capacity(events.len());
        for (name, body) in events.iter().filter_map(|new| new.record.as_ref()?.file.as_ref()) {
            self.write_body_file(name, body)?;
        }
        let transaction = self.readers.store.write()?;
        {
            let mut event_rows = transaction.open_table(EVENTS).map_err(store_error)?;
            let mut record_rows = transaction.open_table(RECORDS).map_err(store_error)?;
            let mut vector_rows = transaction.open_table(VECTORS).map_err(store_error)?;
            let mut tree_rows = transaction.open_table(TREE).map_err(store_error)?;
            let mut meta = transaction.open_table(META).map_err(store_error)?;
            let mut failed = None;
            for new in events {
                let NewEvent { at, principal, change, record, vector, gone } = new;
                last_at = last_at.max(at);
                let event = Event { sequence: head.events, at: last_at, principal, previous: head.digest, change };
                let bytes = encode_event(&event)?;
                event_rows.insert(event.sequence, bytes.as_slice()).map_err(store_error)?;
                if let Some(record) = record {
                    record_rows.insert(event.sequence, record.row.as_slice()).map_err(store_error)?;
                }
                if let Some(vector) = vector {
                    vector_rows.insert(event.sequence, vector.as_slice()).map_err(store_error)?;
                }
                for (sequence, _) in gone {
                    record_rows.remove(sequence).map_err(store_error)?;
                    vector_rows.remove(sequence).map_err(store_error)?;
                }
                head = LedgerHead { events: head.events + 1, digest: event_digest(&bytes) };
                frontier.push(head.digest, &mut |key, digest| {
                    if let Err(error) = tree_rows.insert(key.to_number(), digest.as_bytes().as_slice()) {
                        failed = Some(error);
                    }
                })?;
                match &event.change {
                    Change::SpaceCreated { embedder, .. } | Change::EmbedderChanged { embedder } => {
                        meta.insert(META_EMBEDDER, embedder.as_str().as_bytes()).map_err(store_error)?;
                    }
                    Change::Erased { .. } => {
                        meta.insert(META_ERASED, head.events.to_le_bytes().as_slice()).map_err(store_error)?;
                    }
                    _ => {}
                }
                written.push(event);
            }
            if let Some(error) = failed {
                return Err(read_error(error));
            }
            for (sequence, vector) in vectors {
                vector_rows.insert(sequence, vector.as_slice()).map_err(store_error)?;
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
        self.readers.embedder()
    }

    /// Returns the events up to and including the last erasure of this ledger's own.
    ///
    /// # Errors
    /// `Corrupt` when it cannot be read.
    pub fn erased_through(&self) -> Result<u64> {
        self.readers.erased_through()
    }

    /// Returns the keys of its records.
    pub(crate) fn ring(&self) -> Arc<KeyRing> {
        self.readers.ring().clone()
    }

    /// Returns what readers open the ledger by. They never wait for the writer.
    pub fn readers(&self) -> LedgerReaders {
        self.readers.clone()
    }

    /// Writes a large body to its file, durable before any event names it. A file that no event names is harmless.
    fn write_body_file(&self, name: &Digest, body: &[u8]) -> Result<()> {
        let file = self.readers.folder.join(name.to_string());
        self.readers.disk.replace(&file, &[body]).map_err(|e| disk_error(&file, e))
    }

    /// Removes the files of erased bodies. One that stays cannot be read any more, as its key is gone, and is removed
    /// when the erasure is finished at the next opening.
    pub(crate) fn remove_files(&self, names: impl IntoIterator<Item = Digest>) {
        for name in names {
            let file = self.readers.folder.join(name.to_string());
            if self.readers.disk.exists(&file) {
                let _ = self.readers.disk.remove(&file);
            }
        }
    }
}
