//! Making a batch ready: checked, embedded, sealed. This runs where the batch comes from, not where it is written.
//!
//! It is the dearest part of a write, and no version needs another one for it, so a large batch is split over the cores. What
//! orders the versions stands between the parts, on one thread: the numbers of their subjects and the slots of their keys. So
//! the same batch gives the same bytes on any machine.

use std::num::NonZero;
use std::panic::resume_unwind;

use parking_lot::Mutex;

use super::batch::{Batch, Write};
use super::charter::{CHARTER, read_charter};
use super::commit::Prepared;
use super::projection::{Indexed, indexed_text};
use super::space::Space;
use crate::cube::{Digest, Header, Payload, State, Update, UpdateMode, VersionRef};
use crate::error::{Error, Result};
use crate::governance::Principal;
use crate::index::QuantizedVector;
use crate::ledger::{Change, Place, Record, vector_row};
use crate::limits::Limits;
use crate::time::Timestamp;

/// Changes of one part of a batch that is split. Smaller batches stay on the thread that they come from.
const PART: usize = 512;

/// A change that was checked.
struct Checked {
    sources: Vec<VersionRef>,
    content: Content,
}

enum Content {
    Version(Box<Version>),
    /// What stores no version is ready.
    Change(Change),
}

/// A version that is to be stored, and where its key stands.
struct Version {
    header: Header,
    payload: Payload,
    ring: u32,
    slot: u64,
}

impl From<(Header, Payload)> for Content {
    fn from((header, payload): (Header, Payload)) -> Self {
        Self::Version(Box::new(Version { header, payload, ring: 0, slot: 0 }))
    }
}

impl Checked {
    fn version(&self) -> Option<&Version> {
        match &self.content {
            Content::Version(version) => Some(version),
            Content::Change(_) => None,
        }
    }

    fn version_mut(&mut self) -> Option<&mut Version> {
        match &mut self.content {
            Content::Version(version) => Some(version),
            Content::Change(_) => None,
        }
    }
}

/// Returns what names a request of a principal in the ledger, and tells nothing of either.
fn request_key(caller: &Principal, key: &str) -> Digest {
    Digest::of_parts(&[b"memos request 1\0", caller.id.as_str().as_bytes(), b"\0", key.as_bytes()])
}

impl Space {
    /// Checks and embeds what a batch stores. A request that is known already is not looked at: the writer answers it as it
    /// did the first time, and what it was made from may be long gone.
    pub(super) fn prepare(&self, caller: &Principal, mut batch: Batch, at: Timestamp) -> Result<Vec<Prepared>> {
        let Some(key) = batch.key.take() else { return self.prepare_changes(caller, batch, at) };
        Limits::check("the request's key", key.len(), self.limits().name_bytes, "bytes")?;
        let key = request_key(caller, &key);
        let requested = Prepared::bare(Change::Requested { key, events: 0 });
        let is_known = || self.view().requests.find(&key).is_some();
        if is_known() {
            return Ok(vec![requested]);
        }
        match self.prepare_changes(caller, batch, at) {
            Ok(mut prepared) => {
                prepared.push(requested);
                Ok(prepared)
            }
            // It was written meanwhile.
            Err(_) if is_known() => Ok(vec![requested]),
            Err(error) => Err(error),
        }
    }

    fn prepare_changes(&self, caller: &Principal, batch: Batch, at: Timestamp) -> Result<Vec<Prepared>> {
        let check = |write| self.check_write(caller, write, at);
        let mut checked = in_parts(batch.writes, |part| part.into_iter().map(check).collect())?;
        let ring = &self.shared().ring;
        let subjects = checked.iter().filter_map(Checked::version).map(|version| version.header.subject.as_str());
        let numbers = ring.subjects(subjects)?;
        for (version, number) in checked.iter_mut().filter_map(Checked::version_mut).zip(numbers) {
            (version.ring, version.slot) = (number, ring.next_slot());
        }
        in_parts(checked, |part| self.seal(part))
    }

    fn check_write(&self, caller: &Principal, write: Write, at: Timestamp) -> Result<Checked> {
        let (limits, embedder) = (self.limits(), self.embedder().id());
        let mut sources = Vec::new();
        let content = match write {
            Write::Store(id, draft) => {
                draft.check(limits)?;
                sources.clone_from(&draft.derived_from);
                draft.into_first(id, &caller.id, at, embedder).into()
            }
            Write::Adopt(id, adoption) => {
                adoption.check(limits)?;
                sources.clone_from(&adoption.draft.derived_from);
                adoption.into_first(id, &caller.id, at, embedder).into()
            }
            Write::Update(update) => {
                update.check(limits)?;
                match &update.mode {
                    UpdateMode::Merge { sources: merged, .. } => sources.clone_from(merged),
                    UpdateMode::Revise(revision) => sources.clone_from(&revision.sources),
                    _ => {}
                }
                let (header, payload) = self.next_version(caller, *update, at)?;
                payload.check_limits(limits)?;
                Limits::check("the cube", header.tags.len(), limits.tags, "tags")?;
                Limits::check("the cube", header.chain.derived_from.len(), limits.derived_from, "sources")?;
                (header, payload).into()
            }
            Write::Link(link) => Content::Change(Change::Linked(link)),
            Write::Unlink(link) => Content::Change(Change::Unlinked(link)),
            Write::SetState(cube, state, reason) => {
                self.check_reason(&reason)?;
                Content::Change(Change::StateChanged { cube, state, reason })
            }
            Write::Unfreeze(cube, reason) => {
                self.check_reason(&reason)?;
                Content::Change(Change::Unfrozen { cube, reason })
            }
            Write::Use(uses) => {
                Limits::check("the record of uses", uses.len(), limits.batch_changes, "uses")?;
                Content::Change(Change::CubesUsed(uses))
            }
            Write::SetRegister(name, value) => {
                Limits::check("the register's name", name.len(), limits.name_bytes, "bytes")?;
                let bytes = value.as_ref().map_or(0, Vec::len);
                Limits::check("the register", bytes, limits.register_bytes, "bytes")?;
                if let Some(charter) = value.as_deref().filter(|_| name == CHARTER) {
                    read_charter(charter)?;
                }
                if name.is_empty() {
                    return Err(Error::invalid("a register needs a name"));
                }
                Content::Change(Change::RegisterSet { name, value })
            }
            Write::Record(records) => {
                Limits::check("the batch", records.len(), limits.batch_changes, "records")?;
                records.iter().try_for_each(|record| record.check(limits))?;
                Content::Change(Change::Recorded(records))
            }
            Write::Erase { cubes, subject, reason } => {
                self.check_reason(&reason)?;
                Content::Change(Change::Erased { cubes, subject, reason })
            }
        };
        Ok(Checked { sources, content })
    }

    fn check_reason(&self, reason: &str) -> Result<()> {
        Limits::check("the reason", reason.len(), self.limits().name_bytes, "bytes")
    }

    fn next_version(&self, caller: &Principal, update: Update, at: Timestamp) -> Result<(Header, Payload)> {
        let (head, _) = self.readable_head(caller, &update.cube)?;
        if head.state == State::Erased {
            return Err(Error::not_found(format!("cube `{}` was erased", head.id)));
        }
        // What is damaged must not become part of the next version, which would be sound.
        let (header, body) = self.ledger()?.version(head.event, &head.digest)?;
        let body = Payload::checked(header.form.clone(), body)?;
        update.apply(&header, head.digest, &body, at, self.embedder().id())
    }

    /// Embeds and seals the versions of one part of a batch.
    fn seal(&self, part: Vec<Checked>) -> Result<Vec<Prepared>> {
        let text = |checked: &Checked| {
            let version = checked.version()?;
            Some(indexed_text(&version.header, version.payload.as_text()?))
        };
        let texts: Vec<String> = part.iter().filter_map(text).collect();
        let embedded = self.embedder().embed_batch(&texts.iter().map(String::as_str).collect::<Vec<_>>())?;
        let mut vectors = embedded.into_iter();
        part.into_iter()
            .map(|Checked { sources, content }| match content {
                Content::Version(version) => self.seal_version(*version, sources, &mut vectors),
                Content::Change(change) => Ok(Prepared { change, sources, record: None, vector: None, indexed: None }),
            })
            .collect()
    }

    /// Seals one version. The next vector is its own, if it is text.
    fn seal_version(
        &self,
        version: Version,
        sources: Vec<VersionRef>,
        vectors: &mut impl Iterator<Item = Vec<f32>>,
    ) -> Result<Prepared> {
        let Version { mut header, payload, ring: number, slot } = version;
        let shared = self.shared();
        let session = &shared.session;
        let key = shared.ring.record_key(number, slot, session).ok_or_else(subject_erased)?;
        let inline_body_bytes = shared.readers.inline_body_bytes();
        let sealing = Place { ring: number, slot, session, key: &key, inline_body_bytes };
        let record = Record::seal(&mut header, payload.body(), &sealing)?;
        let (mut row, mut indexed) = (None, None);
        if let Some(text) = payload.as_text()
            && let Some(vector) = vectors.next()
        {
            let vector = QuantizedVector::of(&vector);
            row = Some(vector_row(&vector.to_bytes(), session, &key));
            indexed = Some(Indexed::new(self.terms(), &header, text, vector)?);
        }
        Ok(Prepared {
            change: Change::CubeStored(Box::new(header)),
            sources,
            record: Some(record),
            vector: row,
            indexed,
        })
    }
}

fn subject_erased() -> Error {
    Error::conflict("all memories of this subject were erased meanwhile; store it again")
}

/// Works on items and returns what came of them in their order: on this thread when they are few, else part by part on all
/// cores. Of several errors it is the one of the earliest part.
fn in_parts<T: Send, U: Send>(items: Vec<T>, work: impl Fn(Vec<T>) -> Result<Vec<U>> + Sync) -> Result<Vec<U>> {
    let count = items.len();
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get).min(count.div_ceil(PART));
    if cores <= 1 {
        return work(items);
    }
    // Each worker takes the next part when it is done with one, so a core that is busy elsewhere holds nobody up.
    let open = Mutex::new((0_usize, items.into_iter()));
    let work_off = || {
        let mut done = Vec::new();
        loop {
            let (number, part) = {
                let mut open = open.lock();
                let part: Vec<T> = open.1.by_ref().take(PART).collect();
                open.0 += 1;
                (open.0, part)
            };
            if part.is_empty() {
                return done;
            }
            let ended = work(part);
            let failed = ended.is_err();
            done.push((number, ended));
            if failed {
                // Parts behind this one need not be begun; those before it were.
                open.lock().1.by_ref().for_each(drop);
                return done;
            }
        }
    };
    let mut parts = std::thread::scope(|scope| {
        let workers: Vec<_> = (1..cores).map(|_| scope.spawn(work_off)).collect();
        let mut parts = work_off();
        for worker in workers {
            parts.extend(worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        parts
    });
    parts.sort_unstable_by_key(|(number, _)| *number);
    let mut all = Vec::with_capacity(count);
    for (_, part) in parts {
        all.extend(part?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_in_order_and_the_first_error_counts() {
        for count in [0, 1, PART, PART + 1, 10 * PART + 3] {
            let done = in_parts((0..count).collect(), |part| Ok(part.into_iter().map(|item| item * 2).collect()));
            assert_eq!(done.unwrap(), (0..count).map(|item| item * 2).collect::<Vec<_>>());
        }
        let refuse = |part: Vec<usize>| match part.first() {
            Some(first) if *first >= 2 * PART => Err(Error::invalid(format!("{first}"))),
            _ => Ok(part),
        };
        let error = in_parts((0..10 * PART).collect(), refuse).unwrap_err();
        assert_eq!(error.to_string(), Error::invalid((2 * PART).to_string()).to_string());
    }
}
