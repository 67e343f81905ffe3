//! Reading the ledger: one consistent point of it, and every event, header and body held against what names it.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::opening::{Store, disk_error, guarded, read_error, store_error};
use super::{BODIES, BODY_IN_FILE, BODY_INLINE, EVENTS, META, META_HEAD, VECTORS};
use crate::cube::{Digest, Header};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::wire::{decode_event, event_digest};
use crate::ledger::{Change, Event};

/// Opens the ledger for reading.
#[derive(Debug, Clone)]
pub struct LedgerReaders {
    pub(super) store: Arc<Store>,
    pub(super) folder: PathBuf,
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

    /// Calls `visit` with each event of the range in order, checks that the chain holds, and returns the last one's digest.
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

fn missing_is_corrupt(error: Error, sequence: u64) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::corrupt(format!("event {sequence} is missing")),
        _ => error,
    }
}

fn without_checksum(row: &[u8]) -> Option<&[u8]> {
    let (vector, checksum) = row.split_last_chunk::<4>()?;
    (crc32fast::hash(vector) == u32::from_le_bytes(*checksum)).then_some(vector)
}
