//! Verification: the ledger, its tree, the records, the index and the graph, each held against the others.
//!
//! Everything is read anew. Workers take the events chunk by chunk: each event is decoded and digested, its record held
//! against the digest in it, opened, and held against the digest of the body; its vector is opened; its text is read
//! for the index again. One thread puts the chunks together in order: the chain, the tree and the rows kept of it, each
//! version against the one before, and a projection made anew, which must be the one that the space answers from. The
//! first thing that is wrong is named.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use serde::Serialize;

use super::projection::{Indexed, Names, Present, Projection};
use super::snapshot::{beginning, indexed_again};
use super::space::Space;
use crate::cube::{CubeId, Digest, Kind, Payload, State};
use crate::error::{Error, Result};
use crate::graph::Slot;
use crate::index::TermReader;
use crate::ledger::{Change, Event, Frontier, LedgerHead, LedgerReader, header_digest};

/// Events that a worker takes at once.
const CHUNK: u64 = 1024;

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Events whose chain holds.
    pub events: u64,
    /// The digest of the last.
    pub digest: Digest,
    /// The root of the tree over them.
    pub root: Digest,
    /// Records that are what was stored.
    pub records: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Versions whose record was erased.
    pub erased: u64,
    /// Cubes in the index and the graph.
    pub cubes: u64,
    /// Links in the graph.
    pub links: u64,
}

/// One event, read anew.
struct Read {
    event: Event,
    digest: Digest,
    /// For an event that stored a cube: what its version is called, and its record.
    stored: Option<Stored>,
}

struct Stored {
    version: Digest,
    /// The bytes of the body; none when the record is gone.
    body: Option<u64>,
    indexed: Option<Indexed>,
}

impl Space {
    /// Holds everything that the space has against everything else. `progress` is told how many of how many events are done.
    ///
    /// # Errors
    /// `Corrupt`, naming the first thing that is wrong; `Unavailable` when the disk fails.
    pub fn verify(&self, mut progress: impl FnMut(u64, u64)) -> Result<Verified> {
        // One point of the ledger and of the projection: nothing is applied while both are taken.
        let (reader, present) = {
            let view = self.view();
            (self.ledger()?, view.clone())
        };
        let head = present.ledger;
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicU64::new(0);
        let mut joined = Joined::new(beginning(&reader, self.embedder())?);
        std::thread::scope(|scope| {
            let (sender, chunks) = mpsc::sync_channel::<(u64, Vec<Result<Read>>)>(workers * 2);
            for _ in 0..workers {
                let (sender, reader, next) = (sender.clone(), &reader, &next);
                scope.spawn(move || {
                    let terms = TermReader::default();
                    loop {
                        let from = next.fetch_add(CHUNK, Ordering::Relaxed);
                        if from >= head.events {
                            return;
                        }
                        let chunk = self.read_anew(reader, from..head.events.min(from + CHUNK), &terms);
                        if sender.send((from, chunk)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            let mut early = BTreeMap::new();
            for (from, chunk) in chunks {
                early.insert(from, chunk);
                while let Some(chunk) = early.remove(&joined.frontier.size()) {
                    chunk.into_iter().try_for_each(|read| joined.take(read?, &reader))?;
                    progress(joined.frontier.size(), head.events);
                }
            }
            Ok::<(), Error>(())
        })?;
        joined.finish(head, &reader, &present, self.shared().ring.burned_through())
    }

    fn read_anew(&self, reader: &LedgerReader, events: Range<u64>, terms: &TermReader) -> Vec<Result<Read>> {
        let mut chunk = Vec::with_capacity((events.end - events.start) as usize);
        for sequence in events {
            let read = self.read_event(reader, sequence, terms);
            let failed = read.is_err();
            chunk.push(read);
            if failed {
                break;
            }
        }
        chunk
    }

    fn read_event(&self, reader: &LedgerReader, sequence: u64, terms: &TermReader) -> Result<Read> {
        let (mut event, digest) = reader.event_and_digest(sequence)?;
        if event.sequence != sequence {
            return Err(Error::corrupt(format!("event {sequence} says that it is event {}", event.sequence)));
        }
        let stored = match &mut event.change {
            Change::CubeStored(header) => {
                let version = header_digest(header)?;
                let (body, indexed) = match header.kind() {
                    Kind::Plaintext => {
                        let indexed = indexed_again(reader, sequence, header, self.embedder(), terms)?;
                        (indexed.is_some().then_some(header.fingerprint.bytes), indexed)
                    }
                    _ => match reader.record(sequence, header)? {
                        Some(body) => {
                            let bytes = body.len() as u64;
                            Payload::checked(header.form.clone(), body)?;
                            (Some(bytes), None)
                        }
                        None => (None, None),
                    },
                };
                Some(Stored { version, body, indexed })
            }
            _ => None,
        };
        Ok(Read { event, digest, stored })
    }
}

/// What the events up to here come to.
struct Joined {
    previous: Digest,
    frontier: Frontier,
    projection: Projection,
    /// The digest of each cube's present version.
    versions: HashMap<CubeId, Digest>,
    /// Events whose record is gone, and the cube.
    gone: Vec<(u64, CubeId)>,
    /// Cubes that have a record.
    kept: HashMap<CubeId, u64>,
    records: u64,
    bytes: u64,
}

impl Joined {
    fn new(projection: Projection) -> Self {
        Self {
            previous: LedgerHead::EMPTY.digest,
            frontier: Frontier::default(),
            projection,
            versions: HashMap::new(),
            gone: Vec::new(),
            kept: HashMap::new(),
            records: 0,
            bytes: 0,
        }
    }

    fn take(&mut self, read: Read, reader: &LedgerReader) -> Result<()> {
        let Read { event, digest, stored } = read;
        let sequence = event.sequence;
        if event.previous != self.previous {
            return Err(Error::corrupt(format!("event {sequence} does not follow from the event before it")));
        }
        self.previous = digest;
        let mut nodes = Vec::new();
        self.frontier.push(digest, &mut |key, digest| nodes.push((key, digest)))?;
        for (key, digest) in nodes {
            if reader.tree_node(key)? != digest {
                return Err(Error::corrupt(format!("the tree over the ledger is wrong at event {sequence}")));
            }
        }
        let mut indexed = None;
        if let (Change::CubeStored(header), Some(stored)) = (&event.change, stored) {
            if self.versions.insert(header.id, stored.version) != header.chain.parent {
                return Err(Error::corrupt(format!(
                    "event {sequence}: version {} of cube `{}` does not follow from the one before",
                    header.version, header.id
                )));
            }
            match stored.body {
                Some(bytes) => {
                    self.records += 1;
                    self.bytes += bytes;
                    self.kept.insert(header.id, sequence);
                }
                None => self.gone.push((sequence, header.id)),
            }
            indexed = stored.indexed;
        }
        self.projection.apply(&event, indexed).map_err(|e| e.at(format!("event {sequence}")))
    }

    fn finish(self, head: LedgerHead, reader: &LedgerReader, present: &Present, burned: u64) -> Result<Verified> {
        if self.frontier.size() != head.events {
            return Err(Error::corrupt(format!("event {} is missing", self.frontier.size())));
        }
        if self.previous != head.digest {
            return Err(Error::corrupt("the last event is not the one that the ledger ends with"));
        }
        let state = |cube: &CubeId| {
            let head = self.projection.slot(cube).and_then(|slot| self.projection.head(slot));
            head.map(|head| (head.state, head.state_event))
        };
        for (sequence, cube) in &self.gone {
            // A fork's origin erases for its forks too.
            if *sequence >= reader.first_own() && state(cube).is_none_or(|(state, _)| state != State::Erased) {
                return Err(Error::corrupt(format!(
                    "the record of event {sequence} is missing, and cube `{cube}` was not erased"
                )));
            }
        }
        for (cube, sequence) in self.kept.iter().filter(|(_, sequence)| **sequence >= reader.first_own()) {
            if let Some((State::Erased, erased)) = state(cube) {
                return Err(Error::corrupt(format!(
                    "event {erased} erased cube `{cube}`, and its record of event {sequence} is still there"
                )));
            }
        }
        let erasures = self.projection.heads.iter().filter(|head| head.state == State::Erased);
        if let Some(last) =
            erasures.map(|head| head.state_event).max().filter(|last| *last >= reader.first_own().max(burned))
        {
            return Err(Error::corrupt(format!("the keys of what event {last} erased are still there; open it again")));
        }
        compare(&self.projection, present)?;
        Ok(Verified {
            events: head.events,
            digest: head.digest,
            root: self.frontier.root(),
            records: self.records,
            bytes: self.bytes,
            erased: self.gone.len() as u64,
            cubes: self.projection.heads.len() as u64,
            links: self.projection.graph.links() as u64,
        })
    }
}

/// Holds the projection that the space answers from against one that was made anew. They number names and words as they come
/// in, so those are compared by what they name.
fn compare(anew: &Projection, present: &Projection) -> Result<()> {
    let slots = anew.heads.len() as Slot;
    if present.heads.len() != anew.heads.len() {
        return Err(Error::corrupt(format!(
            "the index has {} cubes, and the ledger {}",
            present.heads.len(),
            anew.heads.len()
        )));
    }
    for (slot, (a, b)) in (0..).zip(anew.heads.iter().zip(&present.heads)) {
        let name = |names: &Names, number: Option<u32>| number.and_then(|number| names.name(number)).map(str::to_owned);
        let named = |projection: &Projection, head: &super::CubeHead| {
            (
                name(&projection.sessions, head.session),
                name(&projection.speakers, head.speaker),
                name(&projection.subjects, head.subject),
                projection.rights(slot).cloned(),
            )
        };
        let plain = |head: &super::CubeHead| super::CubeHead {
            session: None,
            speaker: None,
            subject: None,
            class: 0,
            ..head.clone()
        };
        if plain(a) != plain(b) || named(anew, a) != named(present, b) {
            return Err(Error::corrupt(format!("what is known of cube `{}` is not what the ledger says", a.id)));
        }
    }
    let cube = |slot: Slot| anew.head(slot).map(|head| head.id.to_string()).unwrap_or_default();
    if let Some((slot, what)) = anew.index.differs(&present.index, slots) {
        return Err(Error::corrupt(format!(
            "the {what} of cube `{}` in the index are not those of its text",
            cube(slot)
        )));
    }
    if let Some(slot) = anew.pieces.differs(&present.pieces, slots) {
        return Err(Error::corrupt(format!("the word pieces of cube `{}` are not those of its text", cube(slot))));
    }
    let links = |projection: &Projection| projection.graph.all().collect::<HashSet<_>>();
    let (a, b) = (links(anew), links(present));
    match a.symmetric_difference(&b).min() {
        Some((from, kind, to)) => Err(Error::corrupt(format!(
            "the graph and the ledger do not agree on the link `{}` {kind} `{}`",
            cube(*from),
            cube(*to)
        ))),
        None => Ok(()),
    }
}
