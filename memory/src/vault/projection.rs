//! The projection: heads, graph and index as they follow from the ledger's events, in memory.
//!
//! It holds what recall needs for every candidate and no more; headers and bodies stay in the ledger and are read for the
//! few cubes of an answer. It is never repaired: what does not match the ledger is thrown away and made again.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;

use super::charter::CHARTER;
use super::registers::{Registers, Requests};
use crate::cube::{CubeId, Digest, Header, Kind, PrincipalId, SemanticType, State, Usage, UseSignal};
use crate::embed::{EmbedderId, Piece, builtin};
use crate::error::{Error, Result};
use crate::governance::redaction::redacted_text;
use crate::governance::sensitivity::find_sensitive;
use crate::governance::{AccessClass, Decision, Operation, Principal, Ruling};
use crate::graph::{Link, MemoryGraph, Slot};
use crate::index::{
    CandidateIndex, ClassId, ClassSet, Document, EmbeddedIndex, Facets, PieceIndex, QuantizedVector, TermReader,
    TextMarks, tag_term,
};
use crate::ledger::{Change, Event, LedgerHead, header_digest};
use crate::time::Timestamp;

/// What is kept in memory of a cube's present version.
#[derive(Debug, Clone, PartialEq)]
pub struct CubeHead {
    /// The cube.
    pub id: CubeId,
    /// Its present version.
    pub version: u32,
    /// The digest of that version.
    pub digest: Digest,
    /// The event that stored it.
    pub event: u64,
    /// The events that stored the versions before, oldest first.
    pub earlier: Vec<u64>,
    /// The present state.
    pub state: State,
    /// The event that brought the state; the one that stored the first version for a new cube.
    pub state_event: u64,
    /// The states before, oldest first, and the events that brought them.
    pub earlier_states: Vec<(u64, State)>,
    /// The kind of payload.
    pub kind: Kind,
    /// What sort of statement it is.
    pub semantic: SemanticType,
    /// Who may read it.
    pub class: ClassId,
    /// When it was said or seen.
    pub observed: Timestamp,
    /// The session it belongs to, as a number of this projection.
    pub session: Option<u32>,
    /// Who said it, as a number of this projection.
    pub speaker: Option<u32>,
    /// Whose data it is, as a number of this projection.
    pub subject: Option<u32>,
    /// Whether it must not be erased.
    pub legal_hold: bool,
    /// Bytes of its body.
    pub bytes: u64,
    /// How it is used.
    pub usage: Usage,
}

impl CubeHead {
    /// Returns the events that stored its versions, oldest first.
    pub fn versions(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.earlier.iter().copied().chain([self.event])
    }

    /// Returns the version that was the present one after so many events, and the event that stored it.
    pub fn version_at(&self, events: u64) -> Option<(u32, u64)> {
        if self.event < events {
            return Some((self.version, self.event));
        }
        let older = self.earlier.partition_point(|event| *event < events);
        Some((older as u32, *self.earlier.get(older.checked_sub(1)?)?))
    }

    /// Returns the state after so many events, and the event that brought it.
    pub fn state_at(&self, events: u64) -> Option<(State, u64)> {
        if self.state_event < events {
            return Some((self.state, self.state_event));
        }
        let older = self.earlier_states.partition_point(|(event, _)| *event < events);
        self.earlier_states.get(older.checked_sub(1)?).map(|(event, state)| (*state, *event))
    }

    fn enter(&mut self, state: State, event: u64) {
        self.earlier_states.push((self.state_event, self.state));
        (self.state, self.state_event) = (state, event);
    }
}

/// A body made ready for the index by whoever writes it.
#[derive(Debug, Clone)]
pub(crate) struct Indexed {
    pub(crate) vector: QuantizedVector,
    terms: Vec<(String, u16)>,
    length: u32,
    pieces: Vec<Piece>,
    marks: TextMarks,
}

impl Indexed {
    /// Reads the terms and pieces of a cube: its text, and its tags as terms of their own.
    pub(crate) fn new(reader: &TermReader, header: &Header, text: &str, vector: QuantizedVector) -> Result<Self> {
        let found_by = indexed_text(header, text);
        let (mut terms, length) = reader.document(&found_by);
        let harmless = |tag: &&String| find_sensitive(tag).is_empty();
        terms.extend(header.tags.iter().filter(harmless).map(|tag| (tag_term(tag), 1)));
        terms.sort_unstable();
        terms.dedup_by(|a, b| a.0 == b.0);
        Ok(Self {
            vector,
            terms,
            length,
            pieces: builtin()?.pieces(&found_by),
            marks: TextMarks::of(&redacted_text(text)),
        })
    }
}

/// Returns the text under which a cube is found by its words and its meaning: for everybody the redacted one, so that no
/// score tells what only some may read.
pub(crate) fn indexed_text(header: &Header, text: &str) -> String {
    let mut all = String::with_capacity(text.len() + header.title.len() + 64);
    if header.semantic == SemanticType::Document {
        // A passage seldom names its subject; the headings above it do.
        header.path.iter().for_each(|step| {
            all.push_str(&redacted_text(step));
            all.push_str(". ");
        });
    }
    all.push_str(&redacted_text(text));
    all
}

/// Names that occur again and again, as numbers. A name that nobody uses any more is forgotten.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    numbers: HashMap<String, u32>,
    /// Each name, and how many use it.
    names: Vec<(String, u32)>,
}

impl Names {
    /// Returns the number of a name, and counts one more use of it.
    pub(crate) fn take(&mut self, name: &str) -> u32 {
        let next = self.names.len() as u32;
        let number = *self.numbers.entry(name.to_owned()).or_insert(next);
        if number == next {
            self.names.push((name.to_owned(), 0));
        }
        if let Some((_, uses)) = self.names.get_mut(number as usize) {
            *uses += 1;
        }
        number
    }

    /// Counts one use less.
    fn release(&mut self, number: u32) {
        if let Some((name, uses)) = self.names.get_mut(number as usize) {
            *uses = uses.saturating_sub(1);
            if *uses == 0 {
                self.numbers.remove(name);
                name.clear();
            }
        }
    }

    pub(crate) fn name(&self, number: u32) -> Option<&str> {
        self.names.get(number as usize).map(|(name, _)| name.as_str())
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// Returns all names in the order of their numbers; those that are forgotten are empty.
    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|(name, _)| name.as_str())
    }

    /// Puts names back under their numbers, without uses.
    pub(crate) fn from_all(names: Vec<String>) -> Self {
        let known = (0..).zip(&names).filter(|(_, name)| !name.is_empty());
        let numbers = known.map(|(number, name)| (name.clone(), number)).collect();
        Self { numbers, names: names.into_iter().map(|name| (name, 0)).collect() }
    }

    /// Counts one use of a number that is known.
    pub(crate) fn count(&mut self, number: u32) -> bool {
        self.names.get_mut(number as usize).map(|(_, uses)| *uses += 1).is_some()
    }
}

/// By what is decided who may read the cubes of a class.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub(crate) struct ClassRights {
    /// The rights that they have at this point of the ledger.
    pub(crate) class: AccessClass,
    /// In a view of the past: the rights that they have today, where those are others. Both must allow: neither does making a
    /// memory public publish its past, nor does its past keep it public.
    pub(crate) today: Option<AccessClass>,
}

impl ClassRights {
    /// Decides one operation; all rights must allow it.
    pub(crate) fn decide(&self, ruling: &Ruling, principal: &Principal, operation: Operation) -> Decision {
        let decision = ruling.decide(principal, operation, &self.class);
        match &self.today {
            Some(today) => {
                let by_today = ruling.decide(principal, operation, today);
                if by_today.access < decision.access { by_today } else { decision }
            }
            _ => decision,
        }
    }
}

/// A projection and the point of the ledger at which it lies. Spaces that were forked from one another share a
/// projection until one of them changes.
#[derive(Debug, Clone)]
pub(crate) struct Present {
    pub(crate) ledger: LedgerHead,
    projection: Arc<Projection>,
}

impl Present {
    pub(crate) fn new(projection: Projection, ledger: LedgerHead) -> Self {
        Self { ledger, projection: Arc::new(projection) }
    }

    /// Returns the same projection at another point, for events that change nothing in it.
    pub(crate) fn at(&self, ledger: LedgerHead) -> Self {
        Self { ledger, projection: self.projection.clone() }
    }

    /// Returns the projection to be changed. While a fork shares it, this makes a copy.
    pub(crate) fn change(&mut self) -> &mut Projection {
        Arc::make_mut(&mut self.projection)
    }
}

impl Deref for Present {
    type Target = Projection;

    fn deref(&self) -> &Projection {
        &self.projection
    }
}

/// How much somebody owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Owned {
    pub(crate) memories: u64,
    pub(crate) bytes: u64,
}

/// One consistent point of a space.
#[derive(Debug, Clone)]
pub struct Projection {
    pub(crate) embedder: EmbedderId,
    pub(crate) heads: Vec<CubeHead>,
    pub(crate) slots: HashMap<CubeId, Slot>,
    pub(crate) graph: MemoryGraph,
    pub(crate) index: EmbeddedIndex,
    pub(crate) pieces: PieceIndex,
    pub(crate) classes: Vec<ClassRights>,
    pub(crate) class_ids: HashMap<ClassRights, ClassId>,
    /// In a view of the past: who may read the cubes today for which that has changed.
    pub(crate) today: HashMap<CubeId, AccessClass>,
    pub(crate) speakers: Names,
    /// The access classes in which each speaker was heard, so that a name tells nothing to those who may not hear it.
    pub(crate) speaker_classes: Vec<ClassSet>,
    pub(crate) sessions: Names,
    pub(crate) subjects: Names,
    /// The slots of each session in the order in which they were stored.
    pub(crate) session_slots: Vec<Vec<Slot>>,
    /// Slots by the first bytes of their body's digest, to find what is there already.
    pub(crate) contents: HashMap<u64, Vec<Slot>>,
    /// How much each principal owns that is not erased.
    pub(crate) owned: HashMap<PrincipalId, Owned>,
    pub(crate) registers: Registers,
    pub(crate) requests: Requests,
    /// The first slot of a key that was not given out yet.
    pub(crate) next_key_slot: u64,
    /// The events up to and including the last that changed who may read a cube, or erased one.
    pub(crate) governed: u64,
}

impl Projection {
    pub(crate) fn new(embedder: EmbedderId, dimensions: usize) -> Self {
        Self {
            embedder,
            heads: Vec::new(),
            slots: HashMap::new(),
            graph: MemoryGraph::default(),
            index: EmbeddedIndex::new(dimensions),
            pieces: PieceIndex::default(),
            classes: Vec::new(),
            class_ids: HashMap::new(),
            today: HashMap::new(),
            speakers: Names::default(),
            speaker_classes: Vec::new(),
            sessions: Names::default(),
            subjects: Names::default(),
            session_slots: Vec::new(),
            contents: HashMap::new(),
            owned: HashMap::new(),
            registers: Registers::default(),
            requests: Requests::default(),
            next_key_slot: 0,
            governed: 0,
        }
    }

    /// Returns the graph.
    pub fn graph(&self) -> &MemoryGraph {
        &self.graph
    }

    /// Returns the slot of a cube.
    pub fn slot(&self, cube: &CubeId) -> Option<Slot> {
        self.slots.get(cube).copied()
    }

    /// Returns what is known of the cube in a slot.
    pub fn head(&self, slot: Slot) -> Option<&CubeHead> {
        self.heads.get(slot as usize)
    }

    /// Returns the access class of the cube in a slot.
    pub fn class(&self, slot: Slot) -> Option<&AccessClass> {
        self.rights(slot).map(|rights| &rights.class)
    }

    /// Returns the number of an access class.
    pub(crate) fn class_id(&self, class: &AccessClass) -> Option<ClassId> {
        self.class_ids.get(&ClassRights { class: class.clone(), today: None }).copied()
    }

    /// Returns by what is decided who may read the cube in a slot.
    pub(crate) fn rights(&self, slot: Slot) -> Option<&ClassRights> {
        self.classes.get(self.head(slot)?.class as usize)
    }

    /// Returns the classes of which a decision on reading them holds.
    pub(crate) fn classes_where(
        &self,
        ruling: &Ruling,
        caller: &Principal,
        holds: impl Fn(&Decision) -> bool,
    ) -> ClassSet {
        let decided = |rights: &ClassRights| holds(&rights.decide(ruling, caller, Operation::Read));
        self.classes.iter().zip(0..).filter(|(rights, _)| decided(rights)).map(|(_, id)| id).collect()
    }

    /// Returns the slots whose body may be the one with this digest, oldest first.
    pub(crate) fn with_content(&self, content: &Digest) -> &[Slot] {
        self.contents.get(&short(content)).map_or(&[], Vec::as_slice)
    }

    /// Takes in one event. `indexed` is the body's, for an event that stores text.
    ///
    /// # Errors
    /// `Corrupt` when the event does not follow from what is there; the projection must then be made again.
    pub(crate) fn apply(&mut self, event: &Event, indexed: Option<Indexed>) -> Result<()> {
        match &event.change {
            Change::SpaceCreated { .. } | Change::SpaceForked { .. } => {}
            Change::CubeStored(header) => self.store(event, header, indexed)?,
            Change::Linked(link) => {
                let (from, to) = self.ends(link)?;
                self.graph.add(from, link.kind, to);
            }
            Change::Unlinked(link) => {
                let (from, to) = self.ends(link)?;
                self.graph.remove(from, link.kind, to);
            }
            Change::StateChanged { cube, state, .. } => {
                let slot = self.known(cube)?;
                self.change_state(event.sequence, slot, *state);
            }
            Change::Unfrozen { cube, .. } => {
                let slot = self.known(cube)?;
                self.change_state(event.sequence, slot, State::Activated);
            }
            Change::Erased { cubes, .. } => {
                self.governed = event.sequence + 1;
                let slots = cubes.iter().map(|cube| self.known(cube)).collect::<Result<Vec<Slot>>>()?;
                slots.iter().for_each(|slot| self.change_state(event.sequence, *slot, State::Erased));
                self.forget(&slots)?;
            }
            Change::EmbedderChanged { embedder } => self.embedder = embedder.clone(),
            Change::RegisterSet { name, value } => {
                if name == CHARTER {
                    self.governed = event.sequence + 1;
                }
                self.registers.set(name, value.as_deref());
            }
            Change::Recorded(_) => {}
            Change::Requested { key, events } => {
                let first = event.sequence.checked_sub(*events);
                let first = first.ok_or_else(|| Error::corrupt("a request has more events than came before it"))?;
                self.requests.remember(*key, first, events + 1);
            }
            Change::CubesUsed(uses) => {
                for (cube, signal) in uses {
                    let slot = self.known(cube)?;
                    let Some(head) = self.heads.get_mut(slot as usize) else { continue };
                    head.usage.record(*signal, event.at);
                    if *signal == UseSignal::Read && head.state == State::Generated {
                        head.enter(State::Activated, event.sequence);
                    }
                }
            }
        }
        Ok(())
    }

    fn store(&mut self, event: &Event, header: &Header, indexed: Option<Indexed>) -> Result<()> {
        let class = AccessClass::from(&header.governance);
        let today = self.today.get(&header.id).filter(|today| **today != class).cloned();
        let class = self.class_of(ClassRights { class, today });
        let slot = match self.slot(&header.id) {
            Some(slot) => slot,
            None => self.add_slot(event, header),
        };
        self.next_key_slot = self.next_key_slot.max(header.seal.slot + 1);
        // What was erased by now has no description, and is called by no name.
        let described = !header.subject.is_empty();
        let named = |names: &mut Names, name: Option<&String>| name.map(|name| names.take(name));
        let session = named(&mut self.sessions, header.origin.session.as_ref());
        let speaker = named(&mut self.speakers, header.origin.speaker.as_ref());
        let subject = described.then(|| self.subjects.take(&header.subject));
        let digest = header_digest(header)?;
        let head = self.heads.get_mut(slot as usize).ok_or_else(|| Error::corrupt("a slot has no head"))?;
        let before = head.clone();
        if head.version > 0 {
            head.earlier.push(head.event);
            if head.class != class {
                self.governed = event.sequence + 1;
            }
        }
        *head = CubeHead {
            version: header.version,
            digest,
            event: event.sequence,
            kind: header.kind(),
            semantic: header.semantic,
            class,
            observed: header.times.observed,
            session,
            speaker,
            subject,
            legal_hold: header.governance.legal_hold,
            bytes: header.fingerprint.bytes,
            ..head.clone()
        };
        let state = head.state;
        if before.version > 0 {
            self.disown(before.class, before.bytes);
        }
        self.own(class, header.fingerprint.bytes);
        if before.version == 0
            && let Some(session) = session
        {
            // A cube belongs to the session of its first version.
            let at = session as usize;
            if self.session_slots.len() <= at {
                self.session_slots.resize(at + 1, Vec::new());
            }
            if let Some(slots) = self.session_slots.get_mut(at) {
                slots.push(slot);
            }
        }
        self.release_names(&before);
        if let Some(speaker) = speaker {
            self.heard(speaker, class);
        }
        if described {
            let content = self.contents.entry(short(&header.fingerprint.content)).or_default();
            if !content.contains(&slot) {
                content.push(slot);
            }
        }
        let Some(Indexed { vector, terms, length, pieces, marks }) = indexed else {
            // What is no text, or whose body is gone, is not found by the text of a version before.
            self.pieces.remove(slot);
            return self.index.remove(slot);
        };
        if state != State::Erased {
            let facets = Facets {
                class,
                semantic: header.semantic,
                observed: header.times.observed,
                valid: header.times.valid,
                archived: state == State::Archived,
                withheld: is_withheld(state),
            };
            self.index.put(slot, Document { facets, vector, terms, length })?;
            self.pieces.put(slot, class, marks, pieces);
        }
        Ok(())
    }

    /// Counts a memory as its owner's.
    pub(crate) fn own(&mut self, class: ClassId, bytes: u64) {
        if let Some(rights) = self.classes.get(class as usize) {
            let owned = self.owned.entry(rights.class.owner.clone()).or_default();
            owned.memories += 1;
            owned.bytes += bytes;
        }
    }

    fn disown(&mut self, class: ClassId, bytes: u64) {
        let owner = self.classes.get(class as usize).map(|rights| &rights.class.owner);
        if let Some(owned) = owner.and_then(|owner| self.owned.get_mut(owner)) {
            owned.memories = owned.memories.saturating_sub(1);
            owned.bytes = owned.bytes.saturating_sub(bytes);
        }
    }

    /// Notes that a speaker was heard in an access class.
    pub(crate) fn heard(&mut self, speaker: u32, class: ClassId) {
        let at = speaker as usize;
        if self.speaker_classes.len() <= at {
            self.speaker_classes.resize(at + 1, ClassSet::default());
        }
        if let Some(classes) = self.speaker_classes.get_mut(at) {
            classes.insert(class);
        }
    }

    fn add_slot(&mut self, event: &Event, header: &Header) -> Slot {
        let slot = self.graph.add_slot();
        self.heads.push(CubeHead {
            id: header.id,
            version: 0,
            digest: Digest::from_bytes([0; 32]),
            event: event.sequence,
            earlier: Vec::new(),
            state: header.lifecycle.state,
            state_event: event.sequence,
            earlier_states: Vec::new(),
            kind: header.kind(),
            semantic: header.semantic,
            class: 0,
            observed: header.times.observed,
            session: None,
            speaker: None,
            subject: None,
            legal_hold: header.governance.legal_hold,
            bytes: 0,
            usage: Usage::default(),
        });
        self.slots.insert(header.id, slot);
        slot
    }

    fn change_state(&mut self, event: u64, slot: Slot, state: State) {
        if let Some(head) = self.heads.get_mut(slot as usize) {
            let (class, bytes, is_gone) = (head.class, head.bytes, state == State::Erased && head.state != state);
            head.enter(state, event);
            if is_gone {
                self.disown(class, bytes);
            }
        }
        self.index.set_recall(slot, state == State::Archived, is_withheld(state));
    }

    /// Forgets all that is known of erased cubes but that they were there.
    pub(crate) fn forget(&mut self, slots: &[Slot]) -> Result<()> {
        let mut described = HashSet::new();
        for &slot in slots {
            self.pieces.remove(slot);
            self.graph.isolate(slot);
            self.index.remove(slot)?;
            let Some(head) = self.heads.get_mut(slot as usize) else { continue };
            // A cube that was replayed after its erasure has left no trace.
            if head.subject.is_some() {
                described.insert(slot);
                let before = head.clone();
                (head.session, head.speaker, head.subject) = (None, None, None);
                self.release_names(&before);
            }
        }
        if !described.is_empty() {
            for slots in self.session_slots.iter_mut().chain(self.contents.values_mut()) {
                slots.retain(|slot| !described.contains(slot));
            }
            self.contents.retain(|_, slots| !slots.is_empty());
        }
        Ok(())
    }

    fn release_names(&mut self, head: &CubeHead) {
        if let Some(session) = head.session {
            self.sessions.release(session);
        }
        if let Some(speaker) = head.speaker {
            self.speakers.release(speaker);
        }
        if let Some(subject) = head.subject {
            self.subjects.release(subject);
        }
    }

    fn class_of(&mut self, class: ClassRights) -> ClassId {
        if let Some(&id) = self.class_ids.get(&class) {
            return id;
        }
        let id = self.classes.len() as ClassId;
        self.classes.push(class.clone());
        self.class_ids.insert(class, id);
        id
    }

    fn ends(&self, link: &Link) -> Result<(Slot, Slot)> {
        Ok((self.known(&link.from)?, self.known(&link.to)?))
    }

    fn known(&self, cube: &CubeId) -> Result<Slot> {
        self.slot(cube).ok_or_else(|| Error::corrupt(format!("an event names cube `{cube}`, which was never stored")))
    }
}

/// Returns whether cubes of this state are not recalled at all, although the state can be taken back.
fn is_withheld(state: State) -> bool {
    !state.is_recalled() && state != State::Archived
}

pub(crate) fn short(digest: &Digest) -> u64 {
    digest.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
