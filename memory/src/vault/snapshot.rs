//! The projection on disk, so that a space opens without reading its whole ledger.
//!
//! It is sealed with the space's own key, and thrown away when anything is erased, since it holds what must be gone then.
//! A snapshot says up to which event it reaches and that event's digest. One that is damaged, was written by another
//! version, or does not match the ledger is thrown away, and the projection is made again from the ledger. What the ledger
//! has beyond the snapshot is replayed, with the vectors that stand beside the events, so nothing is embedded again.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::projection::{ClassRights, CubeHead, Indexed, Names, Present, Projection};
use super::space::{SNAPSHOT_FILE, Space};
use crate::cube::{CubeId, Digest, Header, Kind, SemanticType, SpaceName, State, Usage};
use crate::disk::Disk;
use crate::embed::{Embedder, EmbedderId};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{LinkKind, Slot};
use crate::index::{FlatIndex, FlatPieces, PieceIndex, QuantizedVector, TermReader};
use crate::keys::Part;
use crate::ledger::{Change, LedgerHead, LedgerReader, LedgerReaders, Session};
use crate::time::Timestamp;

const MAGIC: &[u8; 8] = b"MEMOSPRJ";

/// The version of the structs below. A snapshot of another version is thrown away; it can always be made again.
const FORMAT: u32 = 3;

/// What a snapshot is written with and held against.
pub(super) struct SnapshotFile<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) path: &'a Path,
    pub(super) readers: &'a LedgerReaders,
    pub(super) space: &'a SpaceName,
    /// Events after which nothing was erased any more. A snapshot from before holds what must be gone.
    pub(super) erased_through: Erasures,
}

/// The events up to and including the last erasure, in a space and in the spaces that it was forked from, nearest first.
pub(super) type Erasures = Vec<u64>;

/// Writes a snapshot in place of the one before. No two snapshots may have the same `session`.
pub(super) fn save(present: &Present, file: &SnapshotFile<'_>, session: &Session) -> Result<()> {
    let failed = |e: std::io::Error| Error::unavailable(format!("`{}`: {e}", file.path.display())).with_source(e);
    let body = postcard::to_stdvec(&Flat::of(present, file))
        .map_err(|e| Error::invalid(format!("the snapshot cannot be written: {e}")))?;
    let key = file.readers.snapshot_key(session);
    let mut sealed = Vec::with_capacity(key.sealed_len(body.len()));
    key.seal(Part::Snapshot, &body, &mut sealed);
    let digest = Digest::of(&sealed);
    let parts = [MAGIC.as_slice(), &FORMAT.to_le_bytes(), digest.as_bytes().as_slice(), session.as_slice(), &sealed];
    file.disk.replace(file.path, &parts).map_err(failed)
}

/// Returns the projection that matches the ledger: from the snapshot and what came after it, from what the origin of a
/// fork has of their common past, or from all events. And how many events came from the snapshot.
pub(super) fn load(
    file: &SnapshotFile<'_>,
    origin: Option<&Space>,
    ledger: &LedgerReader,
    head: LedgerHead,
    embedder: &dyn Embedder,
) -> Result<(Present, u64)> {
    let own = match read(file, embedder.dimensions()) {
        // Vectors of another embedder are of no use, whatever the ledger says.
        Some(stored) if stored.ledger.events > head.events => {
            return Err(Error::corrupt(format!(
                "the ledger ends after {} events, and its snapshot reaches to {}: the disk has lost what it had acknowledged; \
                 bring the ledger back from a copy, or remove `{}` to go on without",
                head.events,
                stored.ledger.events,
                file.path.display()
            )));
        }
        stored => stored.filter(|stored| leads_to(stored, ledger, head, embedder)),
    };
    let saved_events = own.as_ref().map_or(0, |stored| stored.ledger.events);
    let inherited = || of_origin(origin?, ledger, head, embedder);
    let mut present = match own.or_else(inherited) {
        Some(present) => present,
        None => Present::new(beginning(ledger, embedder)?, LedgerHead::EMPTY),
    };
    let from = present.ledger;
    let gone = catch_up(present.change(), from, ledger, head, embedder)?;
    for (sequence, cube) in gone {
        let inherited = origin.filter(|_| sequence < ledger.first_own());
        if !is_erased(&present, &cube) && !inherited.is_some_and(|origin| was_erased(origin, &cube)) {
            return Err(Error::corrupt(format!(
                "the record of event {sequence} is missing, and cube `{cube}` was not erased"
            )));
        }
    }
    Ok((present.at(head), saved_events))
}

fn is_erased(projection: &Projection, cube: &CubeId) -> bool {
    projection.slot(cube).and_then(|slot| projection.head(slot)).is_some_and(|head| head.state == State::Erased)
}

/// Returns whether a cube was erased in a space or in one that it was forked from.
fn was_erased(space: &Space, cube: &CubeId) -> bool {
    is_erased(&space.view(), cube) || space.shared().origin.as_ref().is_some_and(|origin| was_erased(origin, cube))
}

/// Returns what the origin of a fork has of their common past: its projection, while nothing was written in it since,
/// or else its snapshot. Nothing of them was erased since: an erasure is an event, and the snapshot of before goes with
/// it.
fn of_origin(origin: &Space, ledger: &LedgerReader, head: LedgerHead, embedder: &dyn Embedder) -> Option<Present> {
    let present = origin.view().clone();
    if leads_to(&present, ledger, head, embedder) {
        return Some(present);
    }
    let shared = origin.shared();
    let file = SnapshotFile {
        disk: &*shared.options.disk,
        path: &shared.folder.join(SNAPSHOT_FILE),
        readers: &shared.readers,
        space: origin.name(),
        erased_through: shared.readers.erasures().ok()?,
    };
    read(&file, embedder.dimensions()).filter(|stored| leads_to(stored, ledger, head, embedder))
}

/// Returns the projection as it was before the first event.
pub(super) fn beginning(ledger: &LedgerReader, embedder: &dyn Embedder) -> Result<Projection> {
    let first = ledger
        .event(0)
        .map_err(|e| if e.kind() == ErrorKind::NotFound { Error::corrupt("event 0 is missing") } else { e })?;
    match first.change {
        Change::SpaceCreated { embedder: first, .. } => Ok(Projection::new(first, embedder.dimensions())),
        _ => Err(Error::corrupt("the ledger does not begin with its space")),
    }
}

/// Takes in the events that the projection does not have yet. Returns those whose record is gone, and their cubes.
pub(super) fn catch_up(
    projection: &mut Projection,
    from: LedgerHead,
    ledger: &LedgerReader,
    head: LedgerHead,
    embedder: &dyn Embedder,
) -> Result<Vec<(u64, CubeId)>> {
    let terms = TermReader::default();
    let mut gone = Vec::new();
    let digest = ledger.replay(from.events..head.events, from.digest, |mut event| {
        let sequence = event.sequence;
        let indexed = match &mut event.change {
            Change::CubeStored(header) if header.kind() == Kind::Plaintext => {
                let indexed = indexed_again(ledger, sequence, header, embedder, &terms)?;
                if indexed.is_none() {
                    gone.push((sequence, header.id));
                }
                indexed
            }
            Change::CubeStored(header) => {
                if !ledger.describe(sequence, header)? {
                    gone.push((sequence, header.id));
                }
                None
            }
            _ => None,
        };
        projection.apply(&event, indexed)
    })?;
    if digest != head.digest {
        return Err(Error::corrupt("the last event is not the one that the ledger ends with"));
    }
    Ok(gone)
}

/// Reads a text and its vector from beside their event, and fills in the header's description. A body that was erased
/// is not in the index.
pub(super) fn indexed_again(
    ledger: &LedgerReader,
    sequence: u64,
    header: &mut Header,
    embedder: &dyn Embedder,
    terms: &TermReader,
) -> Result<Option<Indexed>> {
    let Some(body) = ledger.record(sequence, header)? else { return Ok(None) };
    let text =
        String::from_utf8(body).map_err(|_| Error::corrupt(format!("the body of event {sequence} is not text")))?;
    let vector = match ledger.vector(sequence, &header.seal)? {
        Some(bytes) => QuantizedVector::from_bytes(&bytes, embedder.dimensions())?,
        None => QuantizedVector::of(&embedder.embed(&super::projection::indexed_text(header, &text))?),
    };
    Indexed::new(terms, header, &text, vector).map(Some)
}

/// Returns whether a projection is one of an earlier point of this ledger, made with this embedder.
fn leads_to(stored: &Present, ledger: &LedgerReader, head: LedgerHead, embedder: &dyn Embedder) -> bool {
    let LedgerHead { events, digest } = stored.ledger;
    stored.embedder == *embedder.id()
        && events > 0
        && events <= head.events
        && ledger.digest(events - 1).is_ok_and(|found| found == digest)
}

fn read(file: &SnapshotFile<'_>, dimensions: usize) -> Option<Present> {
    let bytes = file.disk.read(file.path).ok()?;
    let rest = bytes.strip_prefix(MAGIC)?;
    let (format, rest) = rest.split_first_chunk::<4>()?;
    let (digest, rest) = rest.split_first_chunk::<32>()?;
    let (session, sealed) = rest.split_first_chunk::<16>()?;
    if u32::from_le_bytes(*format) != FORMAT || Digest::of(sealed).as_bytes() != digest {
        return None;
    }
    let body = file.readers.snapshot_key(session).open(Part::Snapshot, sealed).ok()?;
    let flat = postcard::from_bytes::<Flat>(&body).ok()?;
    let fits = flat.space == *file.space
        && flat.erased_through == file.erased_through
        && file.erased_through.first().is_none_or(|through| *through <= flat.events);
    if fits { flat.into_present(dimensions) } else { None }
}

/// See `doors`.
#[cfg(fuzzing)]
pub(crate) fn fuzz_snapshot(body: &[u8], dimensions: usize) {
    if let Ok(flat) = postcard::from_bytes::<Flat>(body) {
        flat.into_present(dimensions);
    }
}

/// A projection as it is stored.
#[derive(Serialize, Deserialize)]
struct Flat {
    space: SpaceName,
    erased_through: Erasures,
    embedder: EmbedderId,
    events: u64,
    digest: Digest,
    heads: Vec<FlatHead>,
    links: Vec<(Slot, u8, Slot)>,
    index: FlatIndex,
    pieces: FlatPieces,
    classes: Vec<ClassRights>,
    speakers: Vec<String>,
    sessions: Vec<String>,
    subjects: Vec<String>,
    session_slots: Vec<Vec<Slot>>,
    contents: Vec<(u64, Vec<Slot>)>,
    registers: Vec<(String, Vec<u8>)>,
    requests: Vec<(Digest, u64, u64)>,
    next_key_slot: u64,
    governed: u64,
}

#[derive(Serialize, Deserialize)]
struct FlatHead {
    id: CubeId,
    version: u32,
    digest: Digest,
    event: u64,
    earlier: Vec<u64>,
    state: u8,
    state_event: u64,
    earlier_states: Vec<(u64, u8)>,
    kind: u8,
    semantic: u8,
    class: u32,
    observed: Timestamp,
    session: Option<u32>,
    speaker: Option<u32>,
    subject: Option<u32>,
    legal_hold: bool,
    bytes: u64,
    usage: (u32, u32, u32, Option<Timestamp>, f32, Timestamp),
}

impl Flat {
    fn of(projection: &Present, file: &SnapshotFile<'_>) -> Self {
        let names = |names: &Names| names.all().map(str::to_owned).collect();
        let mut contents: Vec<_> = projection.contents.iter().map(|(key, slots)| (*key, slots.clone())).collect();
        // Sorted, so that the same projection gives the same bytes.
        contents.sort_unstable();
        Self {
            space: file.space.clone(),
            erased_through: file.erased_through.clone(),
            embedder: projection.embedder.clone(),
            events: projection.ledger.events,
            digest: projection.ledger.digest,
            heads: projection.heads.iter().map(FlatHead::of).collect(),
            links: projection.graph.by_age().into_iter().map(|(from, kind, to)| (from, kind.code(), to)).collect(),
            index: projection.index.to_flat(),
            pieces: projection.pieces.to_flat(),
            classes: projection.classes.clone(),
            speakers: names(&projection.speakers),
            sessions: names(&projection.sessions),
            subjects: names(&projection.subjects),
            session_slots: projection.session_slots.clone(),
            contents,
            registers: projection.registers.to_flat(),
            requests: projection.requests.to_flat(),
            next_key_slot: projection.next_key_slot,
            governed: projection.governed,
        }
    }

    /// Puts the projection together, or returns none when its parts do not fit.
    fn into_present(self, dimensions: usize) -> Option<Present> {
        let mut projection = Projection::new(self.embedder, dimensions);
        projection.speakers = Names::from_all(self.speakers);
        projection.sessions = Names::from_all(self.sessions);
        projection.subjects = Names::from_all(self.subjects);
        projection.index = crate::index::EmbeddedIndex::from_flat(self.index, dimensions)?;
        projection.pieces = PieceIndex::from_flat(self.pieces, self.classes.len())?;
        for (slot, head) in self.heads.into_iter().enumerate() {
            let head = head.into_head()?;
            // A number becomes a place in a list, so one that is far out would cost memory before it is noticed.
            if head.class as usize >= self.classes.len() {
                return None;
            }
            let counted = head.speaker.is_none_or(|speaker| projection.speakers.count(speaker))
                && head.session.is_none_or(|session| projection.sessions.count(session))
                && head.subject.is_none_or(|subject| projection.subjects.count(subject));
            if !counted {
                return None;
            }
            if let Some(speaker) = head.speaker {
                projection.heard(speaker, head.class);
            }
            projection.graph.add_slot();
            projection.slots.insert(head.id, slot as Slot);
            projection.heads.push(head);
        }
        let slots = projection.heads.len() as Slot;
        let in_range = |slot: &Slot| *slot < slots;
        if !self.session_slots.iter().flatten().all(in_range)
            || !self.contents.iter().flat_map(|(_, slots)| slots).all(in_range)
        {
            return None;
        }
        for (from, kind, to) in self.links {
            if from >= slots || to >= slots {
                return None;
            }
            projection.graph.add(from, LinkKind::from_code(kind).ok()?, to);
        }
        projection.class_ids = self.classes.iter().cloned().zip(0..).collect();
        projection.classes = self.classes;
        let living = projection.heads.iter().filter(|head| head.state != State::Erased);
        let living: Vec<_> = living.map(|head| (head.class, head.bytes)).collect();
        living.into_iter().for_each(|(class, bytes)| projection.own(class, bytes));
        projection.session_slots = self.session_slots;
        projection.contents = self.contents.into_iter().collect::<HashMap<_, _>>();
        self.registers.iter().for_each(|(name, value)| projection.registers.set(name, Some(value)));
        for (key, first, events) in self.requests {
            projection.requests.remember(key, first, events);
        }
        projection.next_key_slot = self.next_key_slot;
        projection.governed = self.governed;
        Some(Present::new(projection, LedgerHead { events: self.events, digest: self.digest }))
    }
}

impl FlatHead {
    fn of(head: &CubeHead) -> Self {
        let Usage { reads, last_read, helpful, unhelpful, .. } = head.usage;
        let (heat, heat_at) = head.usage.heat_parts();
        Self {
            id: head.id,
            version: head.version,
            digest: head.digest,
            event: head.event,
            earlier: head.earlier.clone(),
            state: head.state.code(),
            state_event: head.state_event,
            earlier_states: head.earlier_states.iter().map(|(event, state)| (*event, state.code())).collect(),
            kind: head.kind.code(),
            semantic: head.semantic.code(),
            class: head.class,
            observed: head.observed,
            session: head.session,
            speaker: head.speaker,
            subject: head.subject,
            legal_hold: head.legal_hold,
            bytes: head.bytes,
            usage: (reads, helpful, unhelpful, last_read, heat, heat_at),
        }
    }

    fn into_head(self) -> Option<CubeHead> {
        let (reads, helpful, unhelpful, last_read, heat, heat_at) = self.usage;
        Some(CubeHead {
            id: self.id,
            version: self.version,
            digest: self.digest,
            event: self.event,
            earlier: self.earlier,
            state: State::from_code(self.state).ok()?,
            state_event: self.state_event,
            earlier_states: self
                .earlier_states
                .into_iter()
                .map(|(event, state)| Some((event, State::from_code(state).ok()?)))
                .collect::<Option<_>>()?,
            kind: Kind::from_code(self.kind).ok()?,
            semantic: SemanticType::from_code(self.semantic).ok()?,
            class: self.class,
            observed: self.observed,
            session: self.session,
            speaker: self.speaker,
            subject: self.subject,
            legal_hold: self.legal_hold,
            bytes: self.bytes,
            usage: Usage::from_parts((reads, helpful, unhelpful), last_read, (heat, heat_at)),
        })
    }
}
