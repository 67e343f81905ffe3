//! The ledger's storage: one redb file for events, small bodies and vectors, and a folder for large bodies.
//!
//! redb gives transactions that are whole or absent after a crash and checksums below them; the hash chain above makes
//! sure that what is read is what was written. There is one writer: [`Ledger::append`] takes `&mut self`, readers use
//! a snapshot of their own and never wait for it.

mod opening;
mod reading;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::TableDefinition;

use self::opening::{Store, disk_error, guarded, open_store, read_error, store_error};
use super::wire::{encode_event, event_digest};
use super::{Change, Event};
use crate::cube::{Digest, PrincipalId};
use crate::embed::EmbedderId;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::time::Timestamp;

pub use self::reading::{LedgerReader, LedgerReaders};

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

const BODIES_FOLDER: &str = "bodies";

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
        let (store, head) = open_store(folder, &bodies, limits)?;
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

/// A vector has no digest in the chain, as it can be made again, so it brings its own check.
fn with_checksum(mut vector: Vec<u8>) -> Vec<u8> {
    vector.extend(crc32fast::hash(&vector).to_le_bytes());
    vector
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
