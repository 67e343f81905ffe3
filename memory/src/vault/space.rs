//! A space: one tenant's memory, with its own ledger, graph, index and keys.
//!
//! The handle is cheap to clone and can be used from many threads. What it returns has passed the policy.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use super::VaultOptions;
use super::batch::{Batch, Committed};
use super::charter::SpaceRules;
use super::commit::{Forgotten, Ready, Target, Writer};
use super::projection::Present;
use super::snapshot::{self, SnapshotFile};
use crate::cube::{CubeDraft, CubeId, PrincipalId, SpaceName, Update, VersionRef};
use crate::disk::MemoryDisk;
use crate::embed::Embedder;
use crate::error::{Error, Result};
use crate::governance::{AuditRecord, Decision, KEEPER, Operation, Principal, Ruling};
use crate::graph::Slot;
use crate::index::{ClassSet, TermReader};
use crate::keys::{KeyRing, Keys};
use crate::ledger::{Change, Found, Ledger, LedgerHead, LedgerOptions, LedgerReader, LedgerReaders, NewEvent, Session};
use crate::limits::Limits;
use crate::time::Timestamp;

pub(super) const SNAPSHOT_FILE: &str = "projection.bin";
pub(super) const RING_FILE: &str = "keys.ring";

/// Events that may be replayed at the next opening before a snapshot is worth its cost, and the share of the ledger.
const UNSAVED_EVENTS: u64 = 512;
const UNSAVED_SHARE: u64 = 20;

/// The principal in whose name a space itself acts.
pub(super) fn system_principal() -> Result<PrincipalId> {
    KEEPER.parse()
}

pub(super) struct Shared {
    name: SpaceName,
    pub(super) folder: PathBuf,
    pub(super) options: VaultOptions,
    pub(super) present: RwLock<Present>,
    /// None in a view of the past, which takes no changes.
    pub(super) writer: Option<Writer>,
    /// By what is decided. Taken after `present`, never before it.
    pub(super) rules: RwLock<SpaceRules>,
    /// Lines of the audit log that are not written yet.
    pub(super) records: Mutex<Vec<AuditRecord>>,
    pub(super) readers: LedgerReaders,
    pub(super) ring: Arc<KeyRing>,
    /// Part of the key of all that is written while the space is open this time.
    pub(super) session: Session,
    saved_events: RwLock<u64>,
    terms: TermReader,
    /// The space that this one was forked from, which it reads.
    pub(super) origin: Option<Space>,
    /// The open spaces that were forked from this one.
    pub(super) forks: Mutex<Vec<Weak<Shared>>>,
    /// The events up to and including the last that changed who may read a cube, or erased one.
    pub(super) governed: Arc<AtomicU64>,
    /// What `governed` was when this view of the past was made, and where it is looked up.
    pub(super) past: Option<(u64, Arc<AtomicU64>)>,
    /// What views of the past that were made lately show, and what `governed` was then.
    pub(super) views: Mutex<VecDeque<(u64, Present)>>,
    /// In a view of the past: the space, which stays open as long.
    pub(super) viewed: Option<Space>,
}

/// A handle to one space.
#[derive(Clone)]
pub struct Space {
    pub(super) shared: Arc<Shared>,
}

/// Where a space is opened, and with what.
pub(super) struct Opening<'a> {
    pub(super) folder: &'a Path,
    pub(super) name: &'a SpaceName,
    pub(super) options: &'a VaultOptions,
    pub(super) keys: &'a Keys,
}

impl Opening<'_> {
    /// Opens the ring of the space, or begins one for a ledger that is new.
    pub(super) fn ring(&self, found: Found) -> Result<Arc<KeyRing>> {
        let VaultOptions { disk, entropy, .. } = self.options;
        let (file, space) = (self.folder.join(RING_FILE), self.name.as_str());
        let (disk, entropy) = (disk.clone(), entropy.clone());
        let is_there = KeyRing::exists(&*disk, &file);
        let ring = match (found.sealed, self.keys) {
            // A space stays as it began.
            (false, _) => KeyRing::plain(disk, &file)?,
            (true, Keys::Open) => {
                return Err(Error::denied("its memories are encrypted; give the master key"));
            }
            (true, keys) if is_there => keys.open(disk, &file, space, entropy)?,
            (true, keys) if found.is_new => keys.begin(disk, &file, space, entropy)?,
            (true, _) => {
                return Err(Error::corrupt(format!(
                    "its ring of keys `{}` is missing; bring it back, without it no memory can be read",
                    file.display()
                )));
            }
        };
        Ok(Arc::new(ring))
    }

    pub(super) fn ledger_options(&self) -> LedgerOptions {
        let VaultOptions { disk, limits, .. } = self.options;
        LedgerOptions { disk: disk.clone(), sealed: matches!(self.keys, Keys::Master(_)), limits: limits.clone() }
    }
}

impl Space {
    pub(super) fn open(opening: &Opening<'_>, open_origin: impl FnOnce(&SpaceName) -> Result<Space>) -> Result<Self> {
        let Opening { folder, name, options, .. } = opening;
        // The ring of a space begins after its ledger.
        if KeyRing::exists(&*options.disk, &folder.join(RING_FILE)) && !Ledger::is_there(folder, &*options.disk) {
            return Err(Error::corrupt("its ledger is missing, and its ring of keys is there; bring the ledger back"));
        }
        let mut origin = None;
        let mut ledger = Ledger::open(
            folder,
            opening.ledger_options(),
            |found| opening.ring(found),
            |name| {
                let space = open_origin(name)?;
                let readers = space.shared.readers.clone();
                origin = Some(space);
                Ok(readers)
            },
        )?;
        let ring = ledger.ring();
        let file = folder.join(SNAPSHOT_FILE);
        let (at, principal) = (options.clock.now(), system_principal()?);
        if let Some(fork) = ledger.fork_point().filter(|fork| fork.events == ledger.head().events) {
            let (name, origin) = ((*name).clone(), fork.origin.clone());
            ledger.append(vec![NewEvent::bare(at, principal, Change::SpaceForked { name, origin })])?;
        } else if ledger.head().events == 0 {
            if options.disk.exists(&file) {
                return Err(Error::corrupt(
                    "its ledger is empty, and a snapshot of it is there; bring the ledger back",
                ));
            }
            let change = Change::SpaceCreated { name: (*name).clone(), embedder: options.embedder.id().clone() };
            ledger.append(vec![NewEvent::bare(at, principal, change)])?;
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
        let reader = readers.reader()?;
        let written_for = reader.space_name()?;
        if written_for != **name {
            return Err(Error::invalid(format!(
                "its folder holds the space `{written_for}`; put it back in its place"
            )));
        }
        let erased_through = readers.erasures()?;
        let snapshot = SnapshotFile {
            disk: &*options.disk,
            path: &file,
            readers: &readers,
            space: name,
            erased_through: erased_through.clone(),
        };
        let (present, saved_events) = snapshot::load(&snapshot, origin.as_ref(), &reader, ledger.head(), embedder)?;
        ring.set_next_slot(present.next_key_slot);
        let space = Self::of(opening, present, readers, ring, origin, Some(ledger), draw_session(options)?);
        *space.shared.saved_events.write() = saved_events;
        if saved_events == 0 && erased_through.iter().any(|events| *events > 0) {
            // A snapshot that was not taken may hold what was erased since it was written.
            space.shared.remove_snapshot()?;
        }
        space.finish_erasures()?;
        space.erase_inherited()?;
        Ok(space)
    }

    /// Puts an open space together.
    pub(super) fn of(
        opening: &Opening<'_>,
        present: Present,
        readers: LedgerReaders,
        ring: Arc<KeyRing>,
        origin: Option<Space>,
        ledger: Option<Ledger>,
        session: Session,
    ) -> Self {
        let Opening { folder, name, options, .. } = opening;
        let shared = Arc::new(Shared {
            name: (*name).clone(),
            folder: folder.to_path_buf(),
            options: (*options).clone(),
            governed: Arc::new(AtomicU64::new(present.governed)),
            saved_events: RwLock::new(present.ledger.events),
            rules: RwLock::new(SpaceRules::of(&present.registers, &options.policy)),
            present: RwLock::new(present),
            writer: ledger.map(Writer::new),
            records: Mutex::default(),
            readers,
            ring,
            session,
            terms: TermReader::default(),
            origin,
            forks: Mutex::default(),
            past: None,
            views: Mutex::default(),
            viewed: None,
        });
        if let Some(origin) = &shared.origin {
            let mut forks = origin.shared.forks.lock();
            forks.retain(|fork| fork.strong_count() > 0);
            forks.push(Arc::downgrade(&shared));
        }
        Self { shared }
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

    /// Returns by what is decided now.
    pub(crate) fn ruling(&self) -> Ruling {
        self.shared.ruling()
    }

    pub(crate) fn terms(&self) -> &TermReader {
        &self.shared.terms
    }

    /// Returns one consistent point of the space. Holding it keeps writes from becoming visible, so it is held shortly.
    pub(crate) fn view(&self) -> RwLockReadGuard<'_, Present> {
        self.shared.present.read()
    }

    /// Returns the access classes that a caller may read, be it redacted. In a view of the past nothing may be read any
    /// more when rights were taken or memories erased after it was made.
    pub(crate) fn readable(&self, view: &Present, caller: &Principal) -> ClassSet {
        self.classes_where(view, caller, Decision::shows)
    }

    /// Returns the access classes that a caller may read as they are, with what is sensitive in them.
    pub(crate) fn readable_in_full(&self, view: &Present, caller: &Principal) -> ClassSet {
        self.classes_where(view, caller, Decision::allowed)
    }

    fn classes_where(&self, view: &Present, caller: &Principal, holds: impl Fn(&Decision) -> bool) -> ClassSet {
        if self.shared.is_outdated() { ClassSet::default() } else { view.classes_where(&self.ruling(), caller, holds) }
    }

    /// Decides one operation on the cube in a slot.
    pub(crate) fn decide(&self, view: &Present, caller: &Principal, operation: Operation, slot: Slot) -> Decision {
        match view.rights(slot) {
            Some(rights) if !self.shared.is_outdated() => rights.decide(&self.ruling(), caller, operation),
            _ => Decision::deny("rights have changed since this view of the past was made"),
        }
    }

    /// Returns where its ledger ends, as far as it is visible.
    pub fn ledger_head(&self) -> LedgerHead {
        self.view().ledger
    }

    /// Returns whether this is a view of the past, which takes no changes.
    pub fn is_past(&self) -> bool {
        self.shared.writer.is_none()
    }

    /// Returns whether it stopped working, because its projection could not follow its ledger, or because the disk has
    /// failed below its ledger. Opening it again helps.
    pub fn has_stopped(&self) -> bool {
        self.shared.writer.as_ref().is_some_and(Writer::has_failed) || self.shared.readers.has_failed()
    }

    /// Returns whether its memories are encrypted at rest.
    pub fn is_encrypted(&self) -> bool {
        !self.shared.ring.is_plain()
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
        self.commit_up_to(self.limits().batch_changes, caller, batch)
    }

    /// Does what [`Space::commit`] does with a batch of up to `transaction_changes` changes: for what must be whole,
    /// such as an import. Other writers wait for it meanwhile.
    ///
    /// # Errors
    /// As [`Space::commit`].
    pub fn commit_whole(&self, caller: &Principal, batch: Batch) -> Result<Committed> {
        self.commit_up_to(self.limits().transaction_changes, caller, batch)
    }

    /// Makes a batch in the name of the space itself, which may do everything.
    pub(super) fn commit_as_space(&self, batch: Batch) -> Result<Committed> {
        let space = Principal::keeper()?;
        let at = self.now();
        let prepared = self.prepare(&space, batch, at)?;
        let forget = |forgotten: &Forgotten| self.forget(forgotten);
        self.writer()?.commit(&self.target(&forget), &space, at, prepared, Vec::new())
    }

    /// Makes several batches durable and visible, each as [`Space::commit`] does and each by itself, in this order and
    /// with as few flushes to disk as they fit in: for one writer who writes for many callers.
    pub fn commit_each(&self, batches: Vec<(Principal, Batch)>) -> Vec<Result<Committed>> {
        let callers: Vec<Principal> = batches.iter().map(|(principal, _)| principal.clone()).collect();
        let mut ready = Vec::with_capacity(batches.len());
        let prepared: Vec<Result<()>> = batches
            .into_iter()
            .map(|(principal, mut batch)| {
                Limits::check("the batch", batch.len(), self.limits().batch_changes, "changes")?;
                let (at, expected) = (self.now(), std::mem::take(&mut batch.expected));
                let changes = self.prepare(&principal, batch, at)?;
                ready.push(Ready { principal, at, changes, expected });
                Ok(())
            })
            .collect();
        let writer = match self.writer() {
            Ok(writer) => writer,
            Err(error) => return prepared.iter().map(|_| Err(Error::new(error.kind(), error.to_string()))).collect(),
        };
        let forget = |forgotten: &Forgotten| self.forget(forgotten);
        let mut committed = writer.commit_each(&self.target(&forget), ready).into_iter();
        self.shared.governed.fetch_max(self.view().governed, Ordering::Release);
        let unanswered = || Err(Error::corrupt("the batch was not answered"));
        let outcomes =
            prepared.into_iter().map(|ready| ready.and_then(|()| committed.next().unwrap_or_else(unanswered)));
        let noted = |(caller, outcome): (&Principal, Result<Committed>)| match outcome {
            Err(error) => Err(self.note_refusal(caller, &error).err().unwrap_or(error)),
            done => done,
        };
        callers.iter().zip(outcomes).map(noted).collect()
    }

    fn commit_up_to(&self, most: usize, caller: &Principal, mut batch: Batch) -> Result<Committed> {
        Limits::check("the batch", batch.len(), most, "changes")?;
        let writer = self.writer()?;
        let at = self.now();
        let expected = std::mem::take(&mut batch.expected);
        let prepared = self.prepare(caller, batch, at)?;
        let forget = |forgotten: &Forgotten| self.forget(forgotten);
        let committed = writer.commit(&self.target(&forget), caller, at, prepared, expected);
        self.shared.governed.fetch_max(self.view().governed, Ordering::Release);
        if let Err(error) = &committed {
            self.note_refusal(caller, error)?;
        }
        committed
    }

    /// Checks a batch as [`Space::commit_whole`] would, and returns how many events it would have now. Nothing is written.
    ///
    /// # Errors
    /// Those of [`Space::commit`], but for the disk's.
    pub fn check(&self, caller: &Principal, mut batch: Batch) -> Result<u64> {
        Limits::check("the batch", batch.len(), self.limits().transaction_changes, "changes")?;
        let expected = std::mem::take(&mut batch.expected);
        let prepared = self.prepare(caller, batch, self.now())?;
        Writer::check(&self.target(&|_| Ok(())), caller, &prepared, &expected)
    }

    fn target<'a>(&'a self, forget: &'a dyn Fn(&Forgotten) -> Result<()>) -> Target<'a> {
        self.shared.target(forget)
    }

    /// Begins an empty space beside this one, in memory alone: for what is not written yet and must be found already.
    pub(crate) fn scratch(&self) -> Result<Self> {
        let options = VaultOptions { disk: Arc::new(MemoryDisk::default()), ..self.shared.options.clone() };
        let folder = Path::new("scratch");
        let opening = Opening { folder, name: self.name(), options: &options, keys: &Keys::Open };
        Self::open(&opening, |origin| Err(Error::not_found(format!("there is no space `{origin}`"))))
    }

    pub(super) fn writer(&self) -> Result<&Writer> {
        let past = || Error::invalid("a view of the past takes no changes; restore what it shows in the space itself");
        self.shared.writer.as_ref().ok_or_else(past)
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
    /// Returns whether this is a view of the past, and rights were taken or memories erased after it was made.
    fn is_outdated(&self) -> bool {
        self.past.as_ref().is_some_and(|(made, governed)| governed.load(Ordering::Acquire) > *made)
    }

    /// Returns by what is decided now; in a view of the past, by what is decided today.
    fn ruling(&self) -> Ruling {
        match &self.viewed {
            Some(space) => space.ruling(),
            None => self.rules.read().ruling(self.options.clock.now()),
        }
    }

    pub(super) fn target<'a>(&'a self, forget: &'a dyn Fn(&Forgotten) -> Result<()>) -> Target<'a> {
        let Self { present, rules, options, ring, .. } = self;
        Target { present, rules, options, ring, forget }
    }

    fn save_snapshot(&self) -> Result<()> {
        let mut saved = self.saved_events.write();
        let present = self.present.read();
        let file = SnapshotFile {
            disk: &*self.options.disk,
            path: &self.folder.join(SNAPSHOT_FILE),
            readers: &self.readers,
            space: &self.name,
            erased_through: self.readers.erasures()?,
        };
        snapshot::save(&present, &file, &draw_session(&self.options)?)?;
        *saved = present.ledger.events;
        Ok(())
    }

    /// Makes sure that nothing is written when the space is closed.
    pub(super) fn discard(&self) {
        *self.saved_events.write() = u64::MAX;
        self.records.lock().clear();
    }

    /// Removes the snapshot, which holds what must be gone.
    pub(super) fn remove_snapshot(&self) -> Result<()> {
        let mut saved = self.saved_events.write();
        let file = self.folder.join(SNAPSHOT_FILE);
        match self.options.disk.remove(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::unavailable(format!("`{}` cannot be removed: {error}", file.display())).with_source(error))
            }
            _ => {
                *saved = 0;
                Ok(())
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.writer.is_none() {
            return;
        }
        // What cannot be written here was told to nobody as done.
        let _ = self.write_records();
        let events = self.present.read().ledger.events;
        let unsaved = events.saturating_sub(*self.saved_events.read());
        if unsaved > UNSAVED_EVENTS.max(events / UNSAVED_SHARE) {
            // A snapshot only saves time. Without one the next opening replays the ledger.
            let _ = self.save_snapshot();
        }
    }
}

/// Draws what makes the keys of one opening, or of one snapshot, its own.
pub(super) fn draw_session(options: &VaultOptions) -> Result<Session> {
    let mut session = Session::default();
    options.entropy.fill(&mut session)?;
    Ok(session)
}
