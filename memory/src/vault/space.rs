//! A space: one tenant's memory, with its own ledger, graph, index and keys.
//!
//! The handle is cheap to clone and can be used from many threads. What it returns has passed the policy.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard};

use super::VaultOptions;
use super::batch::{Batch, Committed, Write};
use super::commit::{Prepared, Target, Writer};
use super::projection::{CubeHead, Indexed, Projection, indexed_text};
use super::snapshot;
use crate::cube::{
    Cube, CubeDraft, CubeId, Header, Payload, PrincipalId, SpaceName, Update, UpdateMode, Usage, VersionRef,
};
use crate::embed::Embedder;
use crate::error::{Error, ErrorKind, Result};
use crate::governance::{Operation, Principal};
use crate::graph::Slot;
use crate::index::{QuantizedVector, TermReader};
use crate::ledger::{Change, Event, Ledger, LedgerReader, LedgerReaders, NewEvent, check_header};
use crate::limits::Limits;
use crate::time::Timestamp;

/// Speakers that are called by their role where the source names nobody.
const ROLES: &[&str] = &["user", "assistant", "system", "tool", "narrator"];

pub(super) const SNAPSHOT_FILE: &str = "projection.bin";

/// Events that may be replayed at the next opening before a snapshot is worth its cost, and the share of the ledger.
const UNSAVED_EVENTS: u64 = 512;
const UNSAVED_SHARE: u64 = 20;

/// The principal in whose name a space itself acts.
pub(super) fn system_principal() -> Result<PrincipalId> {
    "agent:memos".parse()
}

pub(super) struct Shared {
    name: SpaceName,
    pub(super) folder: PathBuf,
    options: VaultOptions,
    projection: RwLock<Projection>,
    writer: Writer,
    readers: LedgerReaders,
    saved_events: RwLock<u64>,
    terms: TermReader,
}

/// A handle to one space.
#[derive(Clone)]
pub struct Space {
    shared: Arc<Shared>,
}

impl Space {
    pub(super) fn open(folder: &Path, name: &SpaceName, options: &VaultOptions) -> Result<Self> {
        let mut ledger = Ledger::open(folder, &options.limits)?;
        if ledger.head().events == 0 {
            if folder.join(SNAPSHOT_FILE).exists() {
                return Err(Error::corrupt(
                    "its ledger is empty, and a snapshot of it is there; bring the ledger back",
                ));
            }
            let change = Change::SpaceCreated { name: name.clone(), embedder: options.embedder.id().clone() };
            let (at, principal) = (options.clock.now(), system_principal()?);
            ledger.append(vec![NewEvent { at, principal, change, body: None, vector: None }])?;
        }
        let readers = ledger.readers();
        let embedder = &*options.embedder;
        let made_by = ledger.embedder()?;
        if made_by != *embedder.id() {
            let present = embedder.id();
            return Err(Error::invalid(format!(
                "its vectors were made by embedder `{made_by}`, and this program uses `{present}`; `memos reembed` makes them again"
            )));
        }
        let (projection, saved_events) =
            snapshot::load(&folder.join(SNAPSHOT_FILE), &readers.reader()?, ledger.head(), embedder)?;
        if projection.name != *name {
            return Err(Error::invalid(format!(
                "its folder holds the space `{}`; put it back in its place",
                projection.name
            )));
        }
        let shared = Shared {
            name: name.clone(),
            folder: folder.to_path_buf(),
            options: options.clone(),
            saved_events: RwLock::new(saved_events),
            projection: RwLock::new(projection),
            writer: Writer::new(ledger),
            readers,
            terms: TermReader::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(super) fn from_shared(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns the space's name.
    pub fn name(&self) -> &SpaceName {
        &self.shared.name
    }

    /// Returns the bounds.
    pub fn limits(&self) -> &Limits {
        &self.shared.options.limits
    }

    /// Returns what turns text into vectors here.
    pub fn embedder(&self) -> &dyn Embedder {
        &*self.shared.options.embedder
    }

    /// Returns the present moment.
    pub fn now(&self) -> Timestamp {
        self.shared.options.clock.now()
    }

    /// Returns an id for a new cube.
    pub fn new_id(&self) -> CubeId {
        self.shared.options.ids.cube_id(self.now())
    }

    pub(crate) fn policy(&self) -> &dyn crate::governance::Policy {
        &*self.shared.options.policy
    }

    pub(crate) fn terms(&self) -> &TermReader {
        &self.shared.terms
    }

    /// Returns one consistent point of the space. Holding it keeps writes from becoming visible, so it is held shortly.
    pub(crate) fn view(&self) -> RwLockReadGuard<'_, Projection> {
        self.shared.projection.read()
    }

    pub(crate) fn ledger(&self) -> Result<LedgerReader> {
        self.shared.readers.reader()
    }

    /// Stores one new cube and returns its id. It is durable then.
    ///
    /// # Errors
    /// `Invalid` when the draft breaks a limit; `Denied` when it is for an owner for whom the caller may not write;
    /// `Busy` when too much waits; `Unavailable` when the disk fails. Nothing was stored then.
    pub fn remember(&self, caller: &Principal, draft: CubeDraft) -> Result<CubeId> {
        let id = self.new_id();
        let mut batch = Batch::default();
        batch.store(id, draft);
        self.commit(caller, batch)?;
        Ok(id)
    }

    /// Makes the next version of a cube.
    ///
    /// # Errors
    /// `Conflict` when the update was made from a version that is no longer the head; else as [`Space::remember`].
    pub fn update(&self, caller: &Principal, update: Update) -> Result<VersionRef> {
        let mut batch = Batch::default();
        batch.update(update);
        let committed = self.commit(caller, batch)?;
        committed.stored.first().copied().ok_or_else(|| Error::corrupt("the update stored no version"))
    }

    /// Makes a batch durable and visible: all of it, or nothing.
    ///
    /// # Errors
    /// Those of the first change that is refused; see [`Space::remember`] and [`Space::update`].
    pub fn commit(&self, caller: &Principal, batch: Batch) -> Result<Committed> {
        Limits::check("the batch", batch.len(), self.limits().batch_changes, "changes")?;
        let at = self.now();
        let prepared = self.prepare(caller, batch, at)?;
        let options = &self.shared.options;
        let target = Target { projection: &self.shared.projection, policy: &*options.policy, limits: &options.limits };
        self.shared.writer.commit(&target, caller, at, prepared)
    }

    /// Checks and embeds what a batch stores; this runs where the batch comes from, not where it is written.
    fn prepare(&self, caller: &Principal, batch: Batch, at: Timestamp) -> Result<Vec<Prepared>> {
        let embedder = self.embedder().id();
        let mut cubes: Vec<(usize, Header, Payload)> = Vec::new();
        let mut prepared = Vec::with_capacity(batch.writes.len());
        for (place, write) in batch.writes.into_iter().enumerate() {
            let mut sources = Vec::new();
            let change = match write {
                Write::Store(id, draft) => {
                    draft.check(self.limits())?;
                    sources.clone_from(&draft.derived_from);
                    let (header, payload) = draft.into_first(id, &caller.id, at, embedder);
                    cubes.push((place, header.clone(), payload));
                    Change::CubeStored(Box::new(header))
                }
                Write::Update(update) => {
                    update.check(self.limits())?;
                    if let UpdateMode::Merge { sources: merged, .. } = &update.mode {
                        sources.clone_from(merged);
                    }
                    let (header, payload) = self.next_version(caller, *update, at)?;
                    payload.check_limits(self.limits())?;
                    Limits::check("the cube", header.chain.derived_from.len(), self.limits().derived_from, "sources")?;
                    cubes.push((place, header.clone(), payload));
                    Change::CubeStored(Box::new(header))
                }
                Write::Link(link) => Change::Linked(link),
                Write::Unlink(link) => Change::Unlinked(link),
                Write::SetState(cube, state, reason) => {
                    Limits::check("the reason", reason.len(), self.limits().name_bytes, "bytes")?;
                    Change::StateChanged { cube, state, reason }
                }
                Write::Use(uses) => {
                    Limits::check("the record of uses", uses.len(), self.limits().batch_changes, "uses")?;
                    Change::CubesUsed(uses)
                }
            };
            prepared.push(Prepared { change, sources, body: None, indexed: None });
        }
        let texts: Vec<(usize, String)> = cubes
            .iter()
            .enumerate()
            .filter_map(|(at, (_, header, payload))| Some((at, indexed_text(header, payload.as_text()?))))
            .collect();
        let vectors = self.embedder().embed_batch(&texts.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>())?;
        let mut vectors = texts.iter().map(|(at, _)| *at).zip(vectors).peekable();
        for (at, (place, header, payload)) in cubes.into_iter().enumerate() {
            let Some(slot) = prepared.get_mut(place) else { continue };
            if let Some((_, vector)) = vectors.next_if(|(of, _)| *of == at) {
                let text = payload.as_text().unwrap_or_default();
                slot.indexed = Some(Indexed::new(self.terms(), &header, text, QuantizedVector::of(&vector))?);
            }
            slot.body = Some(payload.into_body());
        }
        Ok(prepared)
    }

    fn next_version(&self, caller: &Principal, update: Update, at: Timestamp) -> Result<(Header, Payload)> {
        let (head, _) = self.readable_head(caller, &update.cube)?;
        let ledger = self.ledger()?;
        let header = ledger.header(head.event)?;
        // What is damaged must not become part of the next version, which would be sound.
        check_header(&header, &head.digest)?;
        let body = Payload::checked(header.form.clone(), ledger.body(head.event, &header.fingerprint.content)?)?;
        update.apply(&header, head.digest, &body, at, self.embedder().id())
    }

    /// Returns the present version of a cube with its body, and how it is used.
    ///
    /// # Errors
    /// `NotFound` when there is none that the caller may read; `Corrupt` when what is stored fails its checks.
    pub fn get(&self, caller: &Principal, cube: &CubeId) -> Result<(Cube, CubeHead)> {
        let (head, _) = self.readable_head(caller, cube)?;
        let cube = self.cube_at(&self.ledger()?, &head)?;
        Ok((cube, head))
    }

    /// Returns the versions of a cube, oldest first, without those that the caller might not read at their time and those
    /// whose body is gone.
    ///
    /// # Errors
    /// As [`Space::get`]; `Corrupt` when a version is not the one that the next names as its parent.
    pub fn versions(&self, caller: &Principal, cube: &CubeId) -> Result<Vec<Cube>> {
        let (head, _) = self.readable_head(caller, cube)?;
        let ledger = self.ledger()?;
        let mut versions = Vec::with_capacity(head.earlier.len() + 1);
        let mut named = Some(head.digest);
        for &event in head.earlier.iter().chain([&head.event]).rev() {
            let header = ledger.header(event)?;
            let digest =
                named.ok_or_else(|| Error::corrupt(format!("cube `{cube}` has a version before its first")))?;
            check_header(&header, &digest)?;
            named = header.chain.parent;
            if !self.policy().decide(caller, Operation::Read, &(&header.governance).into()).allowed {
                continue;
            }
            match ledger.body(event, &header.fingerprint.content) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                body => versions.push(Cube { payload: Payload::checked(header.form.clone(), body?)?, header }),
            }
        }
        versions.reverse();
        Ok(versions)
    }

    /// Returns how a cube is used.
    ///
    /// # Errors
    /// As [`Space::get`].
    pub fn usage(&self, caller: &Principal, cube: &CubeId) -> Result<Usage> {
        Ok(self.readable_head(caller, cube)?.0.usage)
    }

    /// Returns the ids of the cubes that the caller may read and whose id begins or ends with `part`, at most `most`.
    pub fn find_ids(&self, caller: &Principal, part: &str, most: usize) -> Vec<CubeId> {
        let view = self.view();
        let classes = view.classes_where(|class| self.policy().decide(caller, Operation::Read, class).allowed);
        let readable = |slot: Slot| view.head(slot).is_some_and(|head| classes.contains(head.class));
        let fits = |head: &CubeHead| {
            let id = head.id.to_string();
            id.starts_with(part) || id.ends_with(part)
        };
        let ids = view.heads.iter().enumerate().filter(|(slot, head)| fits(head) && readable(*slot as Slot));
        ids.map(|(_, head)| head.id).take(most).collect()
    }

    /// Reads a cube's present version and checks it against its digests.
    pub(crate) fn cube_at(&self, ledger: &LedgerReader, head: &CubeHead) -> Result<Cube> {
        let mut header = ledger.header(head.event)?;
        check_header(&header, &head.digest)?;
        let body = ledger.body(head.event, &header.fingerprint.content)?;
        let payload = Payload::checked(header.form.clone(), body)?;
        if head.state_event != head.event
            && let Event { at, change: Change::StateChanged { reason, .. }, .. } =
                ledger.event(head.state_event).map_err(whole)?
        {
            header.lifecycle = crate::cube::Lifecycle { state: head.state, since: at, reason };
        }
        Ok(Cube { header, payload })
    }

    /// Returns the head of a cube that the caller may read.
    pub(crate) fn readable_head(&self, caller: &Principal, cube: &CubeId) -> Result<(CubeHead, Slot)> {
        let view = self.view();
        let found = view.slot(cube).and_then(|slot| Some((view.head(slot)?, view.class(slot)?, slot)));
        match found {
            Some((head, class, slot)) if self.policy().decide(caller, Operation::Read, class).allowed => {
                Ok((head.clone(), slot))
            }
            _ => Err(Error::not_found(format!(
                "there is no cube `{cube}` that the caller may see in space `{}`",
                self.name()
            ))),
        }
    }

    /// Returns the speakers, heard where the caller may listen, whom the words of a question name, and at which word.
    pub(crate) fn speakers_in(&self, caller: &Principal, words: &[String]) -> Vec<(usize, String)> {
        let view = self.view();
        let readable = view.classes_where(|class| self.policy().decide(caller, Operation::Read, class).allowed);
        let mut found = Vec::new();
        for (name, classes) in view.speakers.all().iter().zip(&view.speaker_classes) {
            // A role is no name.
            if ROLES.contains(&name.as_str()) || !classes.meets(&readable) {
                continue;
            }
            let first_named = name.split_whitespace().filter_map(|part| {
                let part = part.to_lowercase();
                words.iter().position(|word| *word == part)
            });
            found.extend(first_named.min().map(|at| (at, name.clone())));
        }
        found
    }

    /// Writes the projection to disk, so that the next opening is quick. Nothing is lost without it.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails.
    pub fn save_snapshot(&self) -> Result<()> {
        self.shared.save_snapshot()
    }
}

impl Shared {
    fn save_snapshot(&self) -> Result<()> {
        let mut saved = self.saved_events.write();
        let projection = self.projection.read();
        snapshot::save(&projection, &self.folder.join(SNAPSHOT_FILE))?;
        *saved = projection.ledger().events;
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let events = self.projection.read().ledger().events;
        let unsaved = events.saturating_sub(*self.saved_events.read());
        if unsaved > UNSAVED_EVENTS.max(events / UNSAVED_SHARE) {
            // A snapshot only saves time. Without one the next opening replays the ledger.
            let _ = self.save_snapshot();
        }
    }
}

/// Says of an event that must be there that it is damaged when it is not.
fn whole(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::corrupt(error.to_string()),
        _ => error,
    }
}
