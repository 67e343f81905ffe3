//! Generated text: small talk of many people over many sessions, with one fact to ask for in each turn.
//!
//! It follows from its seed. Words are drawn so that some are frequent and most are rare, as in real text.

use memos::Result;
use memos::cube::{CubeDraft, CubeId, Layer, SemanticType};
use memos::governance::Principal;
use memos::graph::{Link, LinkKind};
use memos::time::Timestamp;
use memos::vault::{Batch, Space};

use super::Screen;

/// Turns that are stored at once where nothing else is asked for.
pub(super) const BATCH: usize = 256;

/// Turns of a session.
const SESSION_TURNS: usize = 20;
const DAY_MILLIS: i64 = 24 * 3600 * 1000;
const FIRST_DAY_MILLIS: i64 = 1_700_000_000_000;

const NAMES: &[&str] = &[
    "Mira", "Tomas", "Ines", "Pavel", "Noor", "Lars", "Keiko", "Omar", "Freya", "Bruno", "Sunniva", "Idris", "Paloma",
    "Viktor", "Leila", "Anders",
];
const VERBS: &[&str] = &[
    "bought",
    "sold",
    "repaired",
    "painted",
    "borrowed",
    "planted",
    "cooked",
    "studied",
    "recorded",
    "visited",
    "designed",
    "lost",
    "found",
    "cleaned",
    "measured",
    "photographed",
    "wrapped",
    "carried",
    "promised",
    "returned",
];
const THINGS: &[&str] = &[
    "guitar",
    "bicycle",
    "kettle",
    "lantern",
    "camera",
    "compass",
    "sweater",
    "kayak",
    "novel",
    "clock",
    "piano",
    "garden",
    "telescope",
    "ladder",
    "carpet",
    "teapot",
    "violin",
    "anchor",
    "mirror",
    "blanket",
    "puzzle",
    "easel",
    "saddle",
    "drum",
    "basket",
    "notebook",
    "radio",
    "curtain",
    "hammer",
    "candle",
    "statue",
    "bench",
    "rudder",
    "spindle",
    "trumpet",
    "globe",
];
const LOOKS: &[&str] = &[
    "red", "old", "quiet", "heavy", "golden", "hollow", "frozen", "narrow", "bright", "dusty", "wooden", "silver",
    "cracked", "gentle", "striped", "tiny", "crooked", "polished", "faded", "square",
];
const PLACES: &[&str] = &[
    "Lisbon", "Oslo", "Kyoto", "Quito", "Nairobi", "Prague", "Hanoi", "Turin", "Bergen", "Split", "Cork", "Perth",
    "Cusco", "Tartu", "Ghent", "Porto", "Riga", "Bilbao", "Leuven", "Graz", "Tampere", "Aarhus", "Zadar", "Kaunas",
];
const TAILS: &[&str] = &[
    "and it was cheaper than I thought",
    "because the neighbours had asked for it",
    "while the rain would not stop",
    "before the train left",
    "and everyone laughed about it",
    "which took the whole afternoon",
    "after a long breakfast",
    "although nobody believed me",
    "and I still smile when I think of it",
    "since the shop was closed",
];

/// Text that follows from a seed.
pub(super) struct Corpus {
    state: u64,
}

/// One turn and the question that it answers.
pub(super) struct Turn {
    pub(super) speaker: &'static str,
    pub(super) text: String,
    pub(super) question: String,
}

impl Corpus {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns the next number of the sequence (SplitMix64).
    pub(super) fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Picks one word; those in front are picked more often.
    fn pick(&mut self, words: &[&'static str]) -> &'static str {
        let even = (self.number() >> 11) as f64 / (1_u64 << 53) as f64;
        let at = (even * even * words.len() as f64) as usize;
        words.get(at).or(words.first()).copied().unwrap_or_default()
    }

    pub(super) fn turn(&mut self, number: usize) -> Turn {
        let (speaker, verb, look) = (self.pick(NAMES), self.pick(VERBS), self.pick(LOOKS));
        let (thing, place, tail, other) = (self.pick(THINGS), self.pick(PLACES), self.pick(TAILS), self.pick(THINGS));
        Turn {
            speaker,
            text: format!("I {verb} the {look} {thing} in {place} with ticket {number}, next to the {other}, {tail}."),
            question: format!("Where did {speaker} see the {look} {thing} with ticket {number}?"),
        }
    }
}

/// Turns that were stored in a space, in order.
pub(super) struct Stored {
    pub(super) corpus: Corpus,
    pub(super) ids: Vec<CubeId>,
    /// The question that each turn answers.
    pub(super) questions: Vec<String>,
    last: Option<CubeId>,
}

impl Stored {
    pub(super) fn new() -> Self {
        Self { corpus: Corpus::new(7), ids: Vec::new(), questions: Vec::new(), last: None }
    }

    /// Stores the next turns in one batch.
    pub(super) fn add(&mut self, space: &Space, me: &Principal, count: usize) -> Result<()> {
        let (batch, asked) = batch(space, &mut self.corpus, self.ids.len(), count, &mut self.last);
        let committed = space.commit(me, batch)?;
        self.ids.extend(committed.stored.iter().map(|version| version.cube));
        self.questions.extend(asked);
        Ok(())
    }

    /// Picks one of the first so many turns, and returns its number, its id and its question.
    pub(super) fn pick(&mut self, first: usize) -> Option<(usize, CubeId, &str)> {
        let at = (self.corpus.number() % first.max(1) as u64) as usize;
        Some((at, *self.ids.get(at)?, self.questions.get(at)?))
    }
}

/// Stores so many turns in a space.
pub(super) fn store(screen: &Screen, space: &Space, me: &Principal, total: usize) -> Result<Stored> {
    let mut stored = Stored::new();
    let bar = screen.progress("storing");
    bar.set_length(total as u64);
    while stored.ids.len() < total {
        stored.add(space, me, BATCH.min(total - stored.ids.len()))?;
        bar.set_position(stored.ids.len() as u64);
    }
    bar.finish_and_clear();
    Ok(stored)
}

/// Stores turns in a space until its ledger has so many events.
pub(super) fn store_events(screen: &Screen, space: &Space, me: &Principal, events: u64) -> Result<Stored> {
    let mut stored = Stored::new();
    let bar = screen.progress("storing");
    bar.set_length(events);
    loop {
        let there = space.ledger_head().events;
        if there >= events {
            break;
        }
        // A turn makes one event, or two with its link.
        let fitting = usize::try_from((events - there) / 2).unwrap_or(BATCH);
        stored.add(space, me, fitting.clamp(1, BATCH))?;
        bar.set_position(there);
    }
    bar.finish_and_clear();
    Ok(stored)
}

/// Stores so many turns for whoever the layer lets read them, and returns the questions that they answer.
pub(super) fn fill(
    space: &Space,
    me: &Principal,
    total: usize,
    batch_size: usize,
    layer: Layer,
) -> Result<(Corpus, Vec<String>)> {
    let (mut corpus, mut last, mut questions) = (Corpus::new(7), None, Vec::with_capacity(total));
    while questions.len() < total {
        let count = batch_size.min(total - questions.len());
        let (batch, asked) = layered_batch(space, &mut corpus, questions.len(), count, &mut last, &layer);
        space.commit(me, batch)?;
        questions.extend(asked);
    }
    Ok((corpus, questions))
}

/// A batch of so many turns from number `from` on, each linked to the one before it in its session.
pub(super) fn batch(
    space: &Space,
    corpus: &mut Corpus,
    from: usize,
    count: usize,
    last: &mut Option<CubeId>,
) -> (Batch, Vec<String>) {
    layered_batch(space, corpus, from, count, last, &Layer::Private)
}

fn layered_batch(
    space: &Space,
    corpus: &mut Corpus,
    from: usize,
    count: usize,
    last: &mut Option<CubeId>,
    layer: &Layer,
) -> (Batch, Vec<String>) {
    let mut batch = Batch::default();
    let mut questions = Vec::with_capacity(count);
    for number in from..from + count {
        let turn = corpus.turn(number);
        let id = space.new_id();
        batch.store(id, CubeDraft { layer: layer.clone(), ..draft(&turn, number) });
        if let Some(before) = last.filter(|_| number % SESSION_TURNS != 0) {
            batch.link(Link { from: id, kind: LinkKind::Follows, to: before });
        }
        *last = Some(id);
        questions.push(turn.question);
    }
    (batch, questions)
}

pub(super) fn draft(turn: &Turn, number: usize) -> CubeDraft {
    let session = number / SESSION_TURNS;
    CubeDraft {
        speaker: Some(turn.speaker.to_owned()),
        session: Some(format!("session {session}")),
        observed: Some(Timestamp::from_millis(FIRST_DAY_MILLIS + session as i64 * DAY_MILLIS / 8)),
        ..CubeDraft::text(SemanticType::Message, turn.text.clone())
    }
}
