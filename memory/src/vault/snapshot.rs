//! The projection on disk, so that a space opens without reading its whole ledger.
//!
//! A snapshot says up to which event it reaches and that event's digest. One that is damaged, was written by another
//! version, or does not match the ledger is thrown away, and the projection is made again from the ledger. What the ledger
//! has beyond the snapshot is replayed, with the vectors that stand beside the events, so nothing is embedded again.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::projection::{CubeHead, Indexed, Projection};
use crate::cube::{CubeId, Digest, Header, Kind, SemanticType, SpaceName, State, Usage};
use crate::embed::{Embedder, EmbedderId};
use crate::error::{Error, ErrorKind, Result};
use crate::governance::AccessClass;
use crate::graph::{LinkKind, Slot};
use crate::index::{FlatIndex, FlatPieces, PieceIndex, QuantizedVector, TermReader};
use crate::ledger::{Change, Event, LedgerHead, LedgerReader};
use crate::time::Timestamp;

const MAGIC: &[u8; 8] = b"MEMOSPRJ";

/// The version of the structs below. A snapshot of another version is thrown away; it can always be made again.
const FORMAT: u32 = 1;

/// Writes a snapshot in place of the one before.
pub(super) fn save(projection: &Projection, file: &Path) -> Result<()> {
    let failed = |e: std::io::Error| Error::unavailable(format!("`{}`: {e}", file.display())).with_source(e);
    let body = postcard::to_stdvec(&Flat::of(projection))
        .map_err(|e| Error::invalid(format!("the snapshot cannot be written: {e}")))?;
    let partial = file.with_extension("partial");
    let mut out = fs::File::create(&partial).map_err(failed)?;
    out.write_all(MAGIC).map_err(failed)?;
    out.write_all(&FORMAT.to_le_bytes()).map_err(failed)?;
    out.write_all(Digest::of(&body).as_bytes()).map_err(failed)?;
    out.write_all(&body).map_err(failed)?;
    out.sync_all().map_err(failed)?;
    fs::rename(&partial, file).map_err(failed)
}

/// Returns the projection that matches the ledger, from the snapshot and what came after it or from all events, and how
/// many events came from the snapshot.
pub(super) fn load(
    file: &Path,
    ledger: &LedgerReader,
    head: LedgerHead,
    embedder: &dyn Embedder,
) -> Result<(Projection, u64)> {
    let first = ledger
        .event(0)
        .map_err(|e| if e.kind() == ErrorKind::NotFound { Error::corrupt("event 0 is missing") } else { e })?;
    let Change::SpaceCreated { name, embedder: first_embedder } = first.change else {
        return Err(Error::corrupt("the ledger does not begin with its space"));
    };
    let fresh = || Projection::new(name.clone(), first_embedder.clone(), embedder.dimensions());
    let mut projection = match read(file, embedder.dimensions()) {
        // Vectors of another embedder are of no use, whatever the ledger says.
        Some(stored) if stored.embedder == *embedder.id() && matches(&stored, ledger, head, &name) => stored,
        _ => fresh(),
    };
    let saved_events = projection.ledger().events;
    catch_up(&mut projection, ledger, head, embedder)?;
    Ok((projection, saved_events))
}

/// Takes in the events that the projection does not have yet.
fn catch_up(
    projection: &mut Projection,
    ledger: &LedgerReader,
    head: LedgerHead,
    embedder: &dyn Embedder,
) -> Result<()> {
    let terms = TermReader::default();
    let from = projection.ledger().events;
    let before = projection.ledger().digest;
    let digest = ledger.replay(from..head.events, before, |event| {
        let indexed = match &event.change {
            Change::CubeStored(header) if header.kind() == Kind::Plaintext => {
                indexed_again(ledger, &event, header, embedder, &terms)?
            }
            _ => None,
        };
        projection.apply(&event, indexed)
    })?;
    if digest != head.digest {
        return Err(Error::corrupt("the last event is not the one that the ledger ends with"));
    }
    projection.follow(head);
    Ok(())
}

/// Reads a body and its vector from beside their event. A body that was erased is not in the index.
fn indexed_again(
    ledger: &LedgerReader,
    event: &Event,
    header: &Header,
    embedder: &dyn Embedder,
    terms: &TermReader,
) -> Result<Option<Indexed>> {
    let body = match ledger.body(event.sequence, &header.fingerprint.content) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        body => body?,
    };
    let text = String::from_utf8(body)
        .map_err(|_| Error::corrupt(format!("the body of event {} is not text", event.sequence)))?;
    let vector = match ledger.vector(event.sequence)? {
        Some(bytes) => QuantizedVector::from_bytes(&bytes, embedder.dimensions())?,
        None => QuantizedVector::of(&embedder.embed(&super::projection::indexed_text(header, &text))?),
    };
    Indexed::new(terms, header, &text, vector).map(Some)
}

fn matches(stored: &Projection, ledger: &LedgerReader, head: LedgerHead, name: &SpaceName) -> bool {
    let LedgerHead { events, digest } = stored.ledger();
    stored.name == *name
        && events > 0
        && events <= head.events
        && ledger.digest(events - 1).is_ok_and(|found| found == digest)
}

fn read(file: &Path, dimensions: usize) -> Option<Projection> {
    let bytes = fs::read(file).ok()?;
    let rest = bytes.strip_prefix(MAGIC)?;
    let (format, rest) = rest.split_first_chunk::<4>()?;
    let (digest, body) = rest.split_first_chunk::<32>()?;
    if u32::from_le_bytes(*format) != FORMAT || Digest::of(body).as_bytes() != digest {
        return None;
    }
    postcard::from_bytes::<Flat>(body).ok()?.into_projection(dimensions)
}

/// A projection as it is stored.
#[derive(Serialize, Deserialize)]
struct Flat {
    name: SpaceName,
    embedder: EmbedderId,
    events: u64,
    digest: Digest,
    heads: Vec<FlatHead>,
    links: Vec<(Slot, u8, Slot)>,
    index: FlatIndex,
    pieces: FlatPieces,
    classes: Vec<AccessClass>,
    speakers: Vec<String>,
    sessions: Vec<String>,
    session_slots: Vec<Vec<Slot>>,
    contents: Vec<(u64, Vec<Slot>)>,
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
    kind: u8,
    semantic: u8,
    class: u32,
    observed: Timestamp,
    session: Option<u32>,
    speaker: Option<u32>,
    usage: (u32, u32, u32, Option<Timestamp>, f32, Timestamp),
}

impl Flat {
    fn of(projection: &Projection) -> Self {
        let mut contents: Vec<_> = projection.contents.iter().map(|(key, slots)| (*key, slots.clone())).collect();
        // Sorted, so that the same projection gives the same bytes.
        contents.sort_unstable();
        Self {
            name: projection.name.clone(),
            embedder: projection.embedder.clone(),
            events: projection.ledger().events,
            digest: projection.ledger().digest,
            heads: projection.heads.iter().map(FlatHead::of).collect(),
            links: projection.graph.by_age().into_iter().map(|(from, kind, to)| (from, kind.code(), to)).collect(),
            index: projection.index.to_flat(),
            pieces: projection.pieces.to_flat(),
            classes: projection.classes.clone(),
            speakers: projection.speakers.all().to_vec(),
            sessions: projection.sessions.all().to_vec(),
            session_slots: projection.session_slots.clone(),
            contents,
        }
    }

    /// Puts the projection together, or returns none when its parts do not fit.
    fn into_projection(self, dimensions: usize) -> Option<Projection> {
        let mut projection = Projection::new(self.name, self.embedder, dimensions);
        projection.follow(LedgerHead { events: self.events, digest: self.digest });
        projection.index = crate::index::EmbeddedIndex::from_flat(self.index, dimensions)?;
        projection.pieces = PieceIndex::from_flat(self.pieces);
        for (slot, head) in self.heads.into_iter().enumerate() {
            let head = head.into_head()?;
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
        self.speakers.iter().for_each(|name| {
            projection.speakers.number_of(name);
        });
        self.sessions.iter().for_each(|name| {
            projection.sessions.number_of(name);
        });
        projection.session_slots = self.session_slots;
        projection.contents = self.contents.into_iter().collect::<HashMap<_, _>>();
        Some(projection)
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
            kind: head.kind.code(),
            semantic: head.semantic.code(),
            class: head.class,
            observed: head.observed,
            session: head.session,
            speaker: head.speaker,
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
            kind: Kind::from_code(self.kind).ok()?,
            semantic: SemanticType::from_code(self.semantic).ok()?,
            class: self.class,
            observed: self.observed,
            session: self.session,
            speaker: self.speaker,
            usage: Usage::from_parts((reads, helpful, unhelpful), last_read, (heat, heat_at)),
        })
    }
}
