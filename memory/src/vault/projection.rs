//! The projection: heads, graph and index as they follow from the ledger's events, in memory.
//!
//! It holds what recall needs for every candidate and no more; headers and bodies stay in the ledger and are read for the
//! few cubes of an answer. It is never repaired: what does not match the ledger is thrown away and made again.

use std::collections::HashMap;

use crate::cube::{CubeId, Digest, Header, Kind, SemanticType, SpaceName, State, Usage};
use crate::embed::{EmbedderId, Piece, builtin};
use crate::error::{Error, Result};
use crate::governance::AccessClass;
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
    /// How it is used.
    pub usage: Usage,
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
        terms.extend(header.tags.iter().map(|tag| (tag_term(tag), 1)));
        terms.sort_unstable();
        terms.dedup_by(|a, b| a.0 == b.0);
        Ok(Self { vector, terms, length, pieces: builtin()?.pieces(&found_by), marks: TextMarks::of(text) })
    }
}

/// Returns the text under which a cube is found by its words and its meaning.
pub(crate) fn indexed_text(header: &Header, text: &str) -> String {
    let mut all = String::with_capacity(text.len() + header.title.len() + 64);
    if header.semantic == SemanticType::Document {
        // A passage seldom names its subject; the headings above it do.
        header.path.iter().for_each(|step| {
            all.push_str(step);
            all.push_str(". ");
        });
    }
    all.push_str(text);
    all
}

/// Names that occur again and again, as numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
}

impl Names {
    pub(crate) fn number_of(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    pub(crate) fn name(&self, number: u32) -> Option<&str> {
        self.names.get(number as usize).map(String::as_str)
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(crate) fn all(&self) -> &[String] {
        &self.names
    }
}

/// One consistent point of a space.
#[derive(Debug, Clone)]
pub struct Projection {
    pub(crate) name: SpaceName,
    pub(crate) embedder: EmbedderId,
    pub(crate) ledger: LedgerHead,
    pub(crate) heads: Vec<CubeHead>,
    pub(crate) slots: HashMap<CubeId, Slot>,
    pub(crate) graph: MemoryGraph,
    pub(crate) index: EmbeddedIndex,
    pub(crate) pieces: PieceIndex,
    pub(crate) classes: Vec<AccessClass>,
    pub(crate) class_ids: HashMap<AccessClass, ClassId>,
    pub(crate) speakers: Names,
    /// The access classes in which each speaker was heard, so that a name tells nothing to those who may not hear it.
    pub(crate) speaker_classes: Vec<ClassSet>,
    pub(crate) sessions: Names,
    /// The slots of each session in the order in which they were stored.
    pub(crate) session_slots: Vec<Vec<Slot>>,
    /// Slots by the first bytes of their body's digest, to find what is there already.
    pub(crate) contents: HashMap<u64, Vec<Slot>>,
}

impl Projection {
    pub(crate) fn new(name: SpaceName, embedder: EmbedderId, dimensions: usize) -> Self {
        Self {
            name,
            embedder,
            ledger: LedgerHead { events: 0, digest: Digest::from_bytes([0; 32]) },
            heads: Vec::new(),
            slots: HashMap::new(),
            graph: MemoryGraph::default(),
            index: EmbeddedIndex::new(dimensions),
            pieces: PieceIndex::default(),
            classes: Vec::new(),
            class_ids: HashMap::new(),
            speakers: Names::default(),
            speaker_classes: Vec::new(),
            sessions: Names::default(),
            session_slots: Vec::new(),
            contents: HashMap::new(),
        }
    }

    /// Returns where in the ledger this point lies.
    pub fn ledger(&self) -> LedgerHead {
        self.ledger
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
        self.classes.get(self.head(slot)?.class as usize)
    }

    /// Returns the access classes of which `readable` holds.
    pub(crate) fn classes_where(&self, readable: impl Fn(&AccessClass) -> bool) -> ClassSet {
        self.classes.iter().zip(0..).filter(|(class, _)| readable(class)).map(|(_, id)| id).collect()
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
            Change::SpaceCreated { .. } => {}
            Change::CubeStored(header) => self.store(event, header, indexed)?,
            Change::Linked(link) => {
                let (from, to) = self.ends(link)?;
                self.graph.add(from, link.kind, to);
            }
            Change::Unlinked(link) => {
                let (from, to) = self.ends(link)?;
                self.graph.remove(from, link.kind, to);
            }
            Change::StateChanged { cube, state, .. } => self.change_state(event, cube, *state)?,
            Change::EmbedderChanged { embedder } => self.embedder = embedder.clone(),
            Change::CubesUsed(uses) => {
                for (cube, signal) in uses {
                    let slot = self.known(cube)?;
                    if let Some(head) = self.heads.get_mut(slot as usize) {
                        head.usage.record(*signal, event.at);
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes up to where in the ledger the events were taken in.
    pub(crate) fn follow(&mut self, ledger: LedgerHead) {
        self.ledger = ledger;
    }

    fn store(&mut self, event: &Event, header: &Header, indexed: Option<Indexed>) -> Result<()> {
        let class = self.class_of((&header.governance).into());
        let slot = match self.slot(&header.id) {
            Some(slot) => slot,
            None => self.add_slot(event, header),
        };
        let digest = header_digest(header)?;
        let (session, speaker) = (
            header.origin.session.as_deref().map(|name| self.sessions.number_of(name)),
            header.origin.speaker.as_deref().map(|name| self.speakers.number_of(name)),
        );
        let head = self.heads.get_mut(slot as usize).ok_or_else(|| Error::corrupt("a slot has no head"))?;
        if head.version > 0 {
            head.earlier.push(head.event);
        } else if let Some(session) = session {
            // A cube belongs to the session of its first version.
            let at = session as usize;
            if self.session_slots.len() <= at {
                self.session_slots.resize(at + 1, Vec::new());
            }
            if let Some(slots) = self.session_slots.get_mut(at) {
                slots.push(slot);
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
            ..head.clone()
        };
        let state = head.state;
        if let Some(speaker) = speaker {
            self.heard(speaker, class);
        }
        let content = self.contents.entry(short(&header.fingerprint.content)).or_default();
        if !content.contains(&slot) {
            content.push(slot);
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
            kind: header.kind(),
            semantic: header.semantic,
            class: 0,
            observed: header.times.observed,
            session: None,
            speaker: None,
            usage: Usage::default(),
        });
        self.slots.insert(header.id, slot);
        slot
    }

    fn change_state(&mut self, event: &Event, cube: &CubeId, state: State) -> Result<()> {
        let slot = self.known(cube)?;
        if let Some(head) = self.heads.get_mut(slot as usize) {
            head.state = state;
            head.state_event = event.sequence;
        }
        if state == State::Erased {
            self.pieces.remove(slot);
            return self.index.remove(slot);
        }
        self.index.set_recall(slot, state == State::Archived, is_withheld(state));
        Ok(())
    }

    fn class_of(&mut self, class: AccessClass) -> ClassId {
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
