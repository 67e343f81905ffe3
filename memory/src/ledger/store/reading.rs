//! Reading the ledger: one consistent point of it, and every event, header and body held against what names it.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use redb::ReadableTable;

use super::opening::{Store, disk_error, guarded, read_error, store_error};
use super::{EVENTS, ForkPoint, LedgerHead, META, META_EMBEDDER, META_ERASED, META_HEAD, RECORDS, TREE, VECTORS};
use crate::cube::{Digest, Header, Seal, SpaceName};
use crate::disk::Disk;
use crate::embed::EmbedderId;
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{KeyRing, RecordKey};
use crate::ledger::merkle::{NodeKey, Nodes};
use crate::ledger::record::{Row, Session, read_vector};
use crate::ledger::wire::{check_header, decode_event, event_digest};
use crate::ledger::{Change, Event};
use crate::time::Timestamp;

/// Domain of the key of a fork's snapshot.
const SNAPSHOT_DOMAIN: &[u8] = b"memos fork snapshot 1\0";

/// The ledger that a fork was made from.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) readers: LedgerReaders,
    pub(super) fork: ForkPoint,
}

/// Opens the ledger for reading.
#[derive(Debug, Clone)]
pub struct LedgerReaders {
    pub(super) store: Arc<Store>,
    pub(super) folder: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) ring: Arc<KeyRing>,
    pub(super) base: Option<Arc<Base>>,
    pub(super) inline_body_bytes: usize,
}

impl LedgerReaders {
    /// Returns whether the disk has failed below the ledger, so that nothing is read and written until it is opened again.
    pub(crate) fn has_failed(&self) -> bool {
        self.store.has_failed()
    }

    /// Returns a reader of the ledger as it is now; what is appended later is not in it.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails.
    pub fn reader(&self) -> Result<LedgerReader> {
        let base = match &self.base {
            Some(base) => Some((Box::new(base.readers.reader()?), base.fork.events)),
            None => None,
        };
        guarded(|| {
            let transaction = self.store.read()?;
            Ok(LedgerReader {
                meta: transaction.open_table(META).map_err(store_error)?,
                events: transaction.open_table(EVENTS).map_err(store_error)?,
                records: transaction.open_table(RECORDS).map_err(store_error)?,
                vectors: transaction.open_table(VECTORS).map_err(store_error)?,
                tree: transaction.open_table(TREE).map_err(store_error)?,
                folder: self.folder.clone(),
                disk: self.disk.clone(),
                ring: self.ring.clone(),
                base,
            })
        })
    }

    /// Returns the events up to and including the last erasure, here and in the ledgers that this one was forked from,
    /// nearest first.
    pub(crate) fn erasures(&self) -> Result<Vec<u64>> {
        let mut erasures = vec![self.erased_through()?];
        if let Some(base) = &self.base {
            erasures.extend(base.readers.erasures()?);
        }
        Ok(erasures)
    }

    /// Returns the key of a snapshot. A fork's is made of its origin's too, so that it is gone when anything is erased there.
    pub(crate) fn snapshot_key(&self, session: &Session) -> RecordKey {
        let own = self.ring.snapshot_key(session);
        let origins = self.base.as_ref().map(|base| base.readers.snapshot_key(session));
        match (own.to_bytes(), origins.and_then(|key| key.to_bytes())) {
            (Some(own), Some(origins)) => {
                RecordKey::from_bytes(*Digest::of_parts(&[SNAPSHOT_DOMAIN, &*own, &*origins]).as_bytes())
            }
            _ => own,
        }
    }

    /// Returns where a fork left its origin.
    pub fn fork_point(&self) -> Option<&ForkPoint> {
        self.base.as_ref().map(|base| &base.fork)
    }

    /// Returns the keys of the records.
    pub(crate) fn ring(&self) -> &Arc<KeyRing> {
        &self.ring
    }

    /// Returns of how many bytes a body becomes a file of its own.
    pub(crate) fn inline_body_bytes(&self) -> usize {
        self.inline_body_bytes
    }

    /// Returns the events up to and including the last erasure of this ledger's own.
    pub(crate) fn erased_through(&self) -> Result<u64> {
        guarded(|| {
            let transaction = self.store.read()?;
            let meta = transaction.open_table(META).map_err(store_error)?;
            let Some(row) = meta.get(META_ERASED).map_err(read_error)? else { return Ok(0) };
            let bytes = row.value().try_into().map_err(|_| Error::corrupt("the mark of erasures cannot be read"))?;
            Ok(u64::from_le_bytes(bytes))
        })
    }

    pub(super) fn embedder(&self) -> Result<EmbedderId> {
        let own = guarded(|| {
            let transaction = self.store.read()?;
            let meta = transaction.open_table(META).map_err(store_error)?;
            let row = meta.get(META_EMBEDDER).map_err(read_error)?;
            Ok(row.map(|row| std::str::from_utf8(row.value()).ok().and_then(|name| name.parse().ok())))
        })?;
        match (own, &self.base) {
            (Some(Some(embedder)), _) => Ok(embedder),
            (None, Some(base)) => base.readers.embedder(),
            _ => Err(Error::corrupt("the ledger does not name its embedder")),
        }
    }
}

/// One consistent point of the ledger.
pub struct LedgerReader {
    meta: redb::ReadOnlyTable<&'static str, &'static [u8]>,
    events: redb::ReadOnlyTable<u64, &'static [u8]>,
    records: redb::ReadOnlyTable<u64, &'static [u8]>,
    vectors: redb::ReadOnlyTable<u64, &'static [u8]>,
    tree: redb::ReadOnlyTable<u64, &'static [u8]>,
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    ring: Arc<KeyRing>,
    /// The origin of a fork, and how many events are read there.
    base: Option<(Box<LedgerReader>, u64)>,
}

impl LedgerReader {
    /// Returns the reader that holds what stands beside an event: this one, or that of the origin.
    fn holder(&self, sequence: u64) -> &Self {
        match &self.base {
            Some((base, events)) if sequence < *events => base.holder(sequence),
            _ => self,
        }
    }

    /// Returns the first event that is this ledger's own.
    pub(crate) fn first_own(&self) -> u64 {
        self.base.as_ref().map_or(0, |(_, events)| *events)
    }

    /// Returns the name of the space that this ledger was begun for.
    ///
    /// # Errors
    /// `Corrupt` when its first event does not tell.
    pub fn space_name(&self) -> Result<SpaceName> {
        let first = self.first_own();
        match self.event(first).map_err(|e| missing_is_corrupt(e, first))?.change {
            Change::SpaceCreated { name, .. } | Change::SpaceForked { name, .. } => Ok(name),
            _ => Err(Error::corrupt("the ledger does not begin with its space")),
        }
    }

    /// Returns where this point of the ledger ends.
    ///
    /// # Errors
    /// `Corrupt` when it cannot be read.
    pub fn head(&self) -> Result<LedgerHead> {
        let last = guarded(|| {
            let last = self.events.last().map_err(read_error)?;
            Ok(last.map(|(key, row)| LedgerHead { events: key.value() + 1, digest: event_digest(row.value()) }))
        })?;
        match (last, &self.base) {
            (Some(head), _) => Ok(head),
            (None, Some((base, events))) if *events > 0 => {
                Ok(LedgerHead { events: *events, digest: base.digest(events - 1)? })
            }
            (None, _) => Ok(LedgerHead::EMPTY),
        }
    }

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
            (mut event, digest) if event.sequence == sequence && named.is_none_or(|named| named == digest) => {
                if let Change::CubeStored(header) = &mut event.change {
                    self.describe(sequence, header)?;
                }
                Ok(event)
            }
            _ => Err(Error::corrupt(format!("event {sequence} is not the one that was written"))),
        }
    }

    /// Returns the bytes of an event.
    ///
    /// # Errors
    /// `NotFound` when the ledger is shorter.
    pub fn event_bytes(&self, sequence: u64) -> Result<Vec<u8>> {
        self.row(sequence, |bytes| Ok(bytes.to_vec()))
    }

    /// Returns when an event was written.
    ///
    /// # Errors
    /// `NotFound` when the ledger is shorter.
    pub fn written_at(&self, sequence: u64) -> Result<Timestamp> {
        self.row(sequence, |bytes| Ok(decode_event(bytes)?.at))
    }

    /// Returns the header that an event stored, with its description unless that was erased. Whoever reads it checks it with
    /// the digest that names it.
    ///
    /// # Errors
    /// `Corrupt` when that event stored none, or is missing.
    pub fn header(&self, sequence: u64) -> Result<Header> {
        let mut header = self.bare_header(sequence)?;
        self.describe(sequence, &mut header)?;
        Ok(header)
    }

    /// Returns the header that an event stored, without its description.
    ///
    /// # Errors
    /// `Corrupt` when that event stored none, or is missing.
    pub fn bare_header(&self, sequence: u64) -> Result<Header> {
        let event = self.row(sequence, decode_event).map_err(|e| missing_is_corrupt(e, sequence))?;
        match event.change {
            Change::CubeStored(header) => Ok(*header),
            _ => Err(Error::corrupt(format!("event {sequence} stored no cube"))),
        }
    }

    /// Returns the header and the body that an event stored, which are those that `digest` names.
    ///
    /// # Errors
    /// `NotFound` when they were erased; `Corrupt` when they are not what was stored.
    pub fn version(&self, sequence: u64, digest: &Digest) -> Result<(Header, Vec<u8>)> {
        let mut header = self.bare_header(sequence)?;
        check_header(&header, digest)?;
        let body = self.record(sequence, &mut header)?;
        let body = body.ok_or_else(|| Error::not_found("this memory was erased"))?;
        Ok((header, body))
    }

    /// Calls `visit` with each event of the range in order, without the descriptions of cubes, checks that the chain holds,
    /// and returns the last one's digest.
    ///
    /// # Errors
    /// `Corrupt` at the first event that does not follow from the one before it; whatever `visit` returns.
    pub fn replay(
        &self,
        range: Range<u64>,
        before: Digest,
        mut visit: impl FnMut(Event) -> Result<()>,
    ) -> Result<Digest> {
        self.replay_part(range, before, &mut visit)
    }

    /// Returns an event as it stands, without its description, and its digest. Whoever reads it checks the chain.
    pub(crate) fn event_and_digest(&self, sequence: u64) -> Result<(Event, Digest)> {
        let read = self.row(sequence, |bytes| Ok((decode_event(bytes)?, event_digest(bytes))));
        read.map_err(|e| missing_is_corrupt(e, sequence))
    }

    /// Returns a subtree's digest as it is kept.
    pub(crate) fn tree_node(&self, key: NodeKey) -> Result<Digest> {
        self.kept_node(key)
    }

    fn replay_part(
        &self,
        range: Range<u64>,
        before: Digest,
        visit: &mut dyn FnMut(Event) -> Result<()>,
    ) -> Result<Digest> {
        let mut previous = before;
        let mut expect = range.start;
        if let Some((base, events)) = &self.base
            && expect < *events
        {
            let until = range.end.min(*events);
            previous = base.replay_part(expect..until, previous, visit)?;
            expect = until;
        }
        let mut rows = guarded(|| self.events.range(expect..range.end).map_err(read_error))?;
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

    /// Returns after how many events the ledger was at a time: those that were written then or before.
    ///
    /// # Errors
    /// `Corrupt` when an event cannot be read.
    pub fn events_until(&self, time: Timestamp) -> Result<u64> {
        let (mut low, mut high) = (0, self.head()?.events);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.written_at(middle)? <= time { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    fn row<T>(&self, sequence: u64, read: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        let holder = self.holder(sequence);
        guarded(|| match holder.events.get(sequence).map_err(read_error)? {
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

    /// Fills in the description of a header that event `sequence` stored. Returns false when it was erased.
    ///
    /// # Errors
    /// `Corrupt` when it is not what was stored.
    pub fn describe(&self, sequence: u64, header: &mut Header) -> Result<bool> {
        let described =
            self.holder(sequence).with_row(sequence, header, |row, key, header, _| row.describe(key, header));
        described.map(|described| described.is_some()).map_err(|e| e.at(format!("event {sequence}")))
    }

    /// Fills in the description of a header that event `sequence` stored, and returns the body; none when both were erased.
    ///
    /// # Errors
    /// `Corrupt` when they are not what was stored.
    pub fn record(&self, sequence: u64, header: &mut Header) -> Result<Option<Vec<u8>>> {
        let read = self.holder(sequence).with_row(sequence, header, |row, key, header, holder| {
            row.describe(key, header)?;
            row.body(key, header, |name| holder.body_file(name))
        });
        read.map_err(|e| e.at(format!("event {sequence}")))
    }

    /// Returns a record as it is stored, and its key; none when it was erased.
    pub(crate) fn stored_record(&self, sequence: u64, seal: &Seal) -> Result<Option<(Vec<u8>, RecordKey)>> {
        let holder = self.holder(sequence);
        let stored = guarded(|| Ok(holder.records.get(sequence).map_err(read_error)?.map(|row| row.value().to_vec())))?;
        let Some(stored) = stored else { return Ok(None) };
        let key = holder.key(&Row::parse(&stored, seal)?, seal);
        Ok(key.map(|key| (stored, key)))
    }

    /// Returns the file of a large body as it is stored.
    pub(crate) fn stored_body(&self, sequence: u64, seal: &Seal) -> Result<Vec<u8>> {
        self.holder(sequence).body_file(&seal.digest)
    }

    fn with_row<T>(
        &self,
        sequence: u64,
        header: &mut Header,
        read: impl FnOnce(&Row<'_>, &RecordKey, &mut Header, &Self) -> Result<T>,
    ) -> Result<Option<T>> {
        guarded(|| {
            let Some(stored) = self.records.get(sequence).map_err(read_error)? else { return Ok(None) };
            let row = Row::parse(stored.value(), &header.seal)?;
            self.key(&row, &header.seal).map(|key| read(&row, &key, header, self)).transpose()
        })
    }

    /// Returns the key of a record, unless it was destroyed.
    fn key(&self, row: &Row<'_>, seal: &Seal) -> Option<RecordKey> {
        match row.is_sealed() {
            true => self.ring.record_key(seal.ring, seal.slot, row.session()),
            false => Some(RecordKey::plain()),
        }
    }

    fn body_file(&self, name: &Digest) -> Result<Vec<u8>> {
        let file = self.folder.join(name.to_string());
        self.disk.read(&file).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::corrupt(format!("the body `{}` is missing", file.display())),
            _ => disk_error(&file, e),
        })
    }

    /// Returns the vector that stands beside event `sequence`, which stored a version under `seal`, or none.
    ///
    /// # Errors
    /// `Corrupt` when it is not what was stored.
    pub fn vector(&self, sequence: u64, seal: &Seal) -> Result<Option<Vec<u8>>> {
        let holder = self.holder(sequence);
        let read = guarded(|| match holder.vectors.get(sequence).map_err(read_error)? {
            Some(row) => read_vector(row.value(), |session| holder.ring.record_key(seal.ring, seal.slot, session)),
            None => Ok(None),
        });
        read.map_err(|error| match error.kind() {
            ErrorKind::Corrupt => {
                Error::corrupt(format!("the vector of event {sequence} is damaged; `memos reembed` makes it again"))
            }
            _ => error,
        })
    }
}

impl Nodes for LedgerReader {
    fn leaves(&self, first: u64, count: usize) -> Result<Vec<Digest>> {
        let digest = |sequence: u64| self.digest(sequence).map_err(|e| missing_is_corrupt(e, sequence));
        (first..first.saturating_add(count as u64)).map(digest).collect()
    }

    fn nodes(&self, first: NodeKey, count: usize) -> Result<Vec<Digest>> {
        (0..count as u64).map(|more| self.kept_node(NodeKey { index: first.index + more, ..first })).collect()
    }
}

impl LedgerReader {
    /// Reads a subtree's digest where its last event was written.
    fn kept_node(&self, key: NodeKey) -> Result<Digest> {
        let holder = self.holder(key.complete_at() - 1);
        guarded(|| {
            let row = holder.tree.get(key.to_number()).map_err(read_error)?;
            let digest = row.and_then(|row| row.value().try_into().ok()).map(Digest::from_bytes);
            digest.ok_or_else(|| {
                Error::corrupt("a node of the tree over the ledger is missing; `memos verify` says more")
            })
        })
    }
}

fn missing_is_corrupt(error: Error, sequence: u64) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::corrupt(format!("event {sequence} is missing")),
        _ => error,
    }
}
