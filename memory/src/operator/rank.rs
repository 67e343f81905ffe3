//! Ranking: candidates around the best matches, each with its features and the links by which it gained.

use std::collections::HashMap;

use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use super::call::{AskedTime, Intent, MemoryCall};
use super::features::{AROUND_SEED, BACK, Feature, NEAR, SEEDS, Weights};
use crate::cube::SemanticType;
use crate::embed::{BuiltinEmbedder, Embedder, Piece};
use crate::error::Result;
use crate::graph::{Direction, Edge, LinkKind, Slot, Spread, SpreadWeights};
use crate::index::{CandidateIndex, Coverage, Filter, Found, IndexQuery, Match, TermReader};
use crate::time::{Timestamp, Window};
use crate::vault::Projection;

/// A candidate with its reasons.
#[derive(Debug, Clone)]
pub(super) struct Ranked {
    pub(super) slot: Slot,
    pub(super) score: f32,
    /// What each feature contributed, in the order of [`Feature::ALL`].
    parts: [f32; Feature::ALL.len()],
    /// The links by which it gained, and how much.
    pub(super) path: Vec<(Edge, f32)>,
    /// What holds in its place, as far as the question is concerned.
    pub(super) superseded_by: Option<Slot>,
}

impl Ranked {
    /// Returns the features that contributed, the strongest first.
    pub(super) fn features(&self) -> Vec<(Feature, f32)> {
        let parts = Feature::ALL.iter().copied().zip(self.parts).filter(|(_, part)| *part != 0.0);
        let mut features: Vec<(Feature, f32)> = parts.collect();
        features.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        features
    }
}

/// What is asked, as the rank sees it.
pub(super) struct Question<'a> {
    pub(super) call: &'a MemoryCall,
    pub(super) query: IndexQuery,
    /// The pieces of the question without the names of speakers.
    pub(super) pieces: Vec<Piece>,
    pub(super) rarities: HashMap<Piece, f32>,
    pub(super) filter: Filter,
}

impl<'a> Question<'a> {
    /// Reads the call for one space: its terms, its pieces, and how rare they are in there. Its vector is made apart, as an
    /// embedder may take its time and nothing must wait for it.
    pub(super) fn new(
        view: &Projection,
        call: &'a MemoryCall,
        filter: Filter,
        terms: &TermReader,
        meaning: &BuiltinEmbedder,
    ) -> Self {
        // Who is named is said by `speaker`. As a word, a name finds the turns that address somebody, not their own.
        let names: Vec<String> =
            call.entities.iter().flat_map(|name| name.split_whitespace()).map(str::to_lowercase).collect();
        let of_names: Vec<Piece> = names.iter().flat_map(|name| meaning.pieces(name)).collect();
        let all = meaning.pieces(&call.question);
        let rarities = view.pieces.rarities(&all, &filter.classes);
        let terms = terms.question(&call.question, |word| names.iter().any(|name| name == word));
        let pieces = all.into_iter().filter(|piece| !of_names.contains(piece)).collect();
        Self { call, query: IndexQuery { vector: Vec::new(), terms }, pieces, rarities, filter }
    }

    /// Makes the question's vector, weighed by what is rare.
    pub(super) fn embed(&mut self, embedder: &dyn Embedder) -> Result<()> {
        let rarity = |piece: Piece| self.rarities.get(&piece).copied().unwrap_or(0.0);
        self.query.vector = embedder.embed_question(&self.call.question, &rarity)?;
        Ok(())
    }
}

/// Finds the best matches of a space.
pub(super) fn find(view: &Projection, question: &Question<'_>) -> Result<Found> {
    view.index.search(&question.query, &question.filter, SEEDS)
}

/// Ranks what was found together with what stands around it, and returns the `most` best, best first.
pub(super) fn rank(
    view: &Projection,
    question: &Question<'_>,
    found: &Found,
    meaning: &BuiltinEmbedder,
    weights: &Weights,
    most: usize,
) -> Result<Vec<Ranked>> {
    let surroundings = Surroundings::of(view, question, found)?;
    let mut covering: Vec<Slot> = surroundings.matches.keys().copied().collect();
    // In rising order: what stands together in memory is read together.
    covering.sort_unstable();
    let coverage = view.pieces.coverage(meaning, &question.pieces, &question.rarities, &covering);
    let best_of_session = surroundings.best_of_session(view);
    let candidates = Candidates { view, question, coverage, best_of_session, surroundings, weights };
    let mut spread = Spread::default();
    let judged = candidates.surroundings.candidates.iter().map(|&slot| candidates.judge(slot, &mut spread));
    let mut ranked: Vec<Ranked> = judged.filter(|ranked| candidates.fits(ranked)).collect();
    candidates.put_forward(&mut ranked);
    // Of equals the earlier one is first, so that the order is the same every time.
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.slot.cmp(&b.slot)));
    ranked.truncate(most);
    ranked.iter_mut().for_each(|ranked| candidates.explain(ranked));
    Ok(ranked)
}

/// Cosine up to which a memory that shares no word with the question, not even a related one, means something else.
const FAR_MEANING: f32 = 0.35;

/// Cubes that a recall usually looks at: room is made for them at once.
const LOOKED_AT: usize = 1024;

/// How far a memory that holds stands before the one that it replaced.
const BEFORE_REPLACED: f32 = 0.01;

/// Cubes that were derived from a candidate, or from which it was, that are looked at.
const LINKED: usize = 16;

/// The best matches and what stands around them, as far as the filter lets through.
struct Surroundings {
    candidates: Vec<Slot>,
    /// All that is looked at: candidates, and what they gain from.
    matches: FxHashMap<Slot, Match>,
    /// Candidates that no longer hold, and what holds in their place.
    superseded: FxHashMap<Slot, Slot>,
}

impl Surroundings {
    fn of(view: &Projection, question: &Question<'_>, found: &Found) -> Result<Self> {
        let mut matches: FxHashMap<Slot, Match> = FxHashMap::with_capacity_and_hasher(LOOKED_AT, FxBuildHasher);
        matches.extend(found.matches.iter().map(|found| (found.slot, *found)));
        let seeds: Vec<Slot> = found.matches.iter().map(|found| found.slot).collect();
        let (before, after) = AROUND_SEED;
        let mut seen: FxHashSet<Slot> = seeds.iter().copied().collect();
        let mut candidates = seeds.clone();
        let surrounding = seeds.iter().flat_map(|&seed| around(view, seed, before, after));
        candidates.extend(surrounding.filter(|slot| seen.insert(*slot)));
        let mut looked_at: Vec<Slot> = candidates.iter().copied().filter(|slot| !matches.contains_key(slot)).collect();
        // What is hidden is not counted among those that are looked at.
        let is_shown = |slot: Slot| view.head(slot).is_some_and(|head| question.filter.classes.contains(head.class));
        let linked = |slot: Slot| {
            let derived = view.graph.edges(slot).filter(|edge| edge.kind == LinkKind::DerivedFrom);
            derived.map(|edge| edge.slot).filter(|slot| is_shown(*slot))
        };
        let superseders: Vec<(Slot, Slot)> = candidates.iter().flat_map(|&slot| superseders(view, slot)).collect();
        let is_candidate: FxHashSet<Slot> = candidates.iter().copied().collect();
        let giving = candidates.iter().flat_map(|&slot| {
            // Behind the next candidate, that one's own surroundings go on.
            let up_to_candidate = |direction: Direction, steps: usize| {
                let chain = view.graph.chain(slot, direction, steps).map(|edge| edge.slot);
                chain.take_while(|slot| !is_candidate.contains(slot))
            };
            let around = up_to_candidate(Direction::Forward, BACK.before)
                .chain(up_to_candidate(Direction::Backward, NEAR.after));
            around.chain(linked(slot).take(LINKED))
        });
        looked_at.extend(giving.chain(superseders.iter().map(|(_, by)| *by)).filter(|slot| seen.insert(*slot)));
        looked_at.sort_unstable();
        candidates.sort_unstable();
        let others = view.index.score(&question.query, &question.filter, found, &looked_at)?;
        matches.extend(others.into_iter().map(|other| (other.slot, other)));
        candidates.retain(|slot| matches.contains_key(slot));
        let mut surroundings = Self { candidates, matches, superseded: FxHashMap::default() };
        surroundings.note_superseded(&superseders);
        Ok(surroundings)
    }

    /// Notes which candidates no longer hold in what the question is about. A message may have led to several
    /// conclusions, and another one may have been replaced.
    fn note_superseded(&mut self, superseders: &[(Slot, Slot)]) {
        for &(slot, by) in superseders {
            let Some(found) = self.matches.get(&by) else { continue };
            let concerns = found.lexical > 0.0 || found.dense > FAR_MEANING;
            let before = self.superseded.get(&slot).map_or(f32::MIN, |before| self.own(*before));
            if concerns && self.own(by) > before {
                self.superseded.insert(slot, by);
            }
        }
    }

    fn own(&self, slot: Slot) -> f32 {
        self.matches.get(&slot).map_or(0.0, |found| found.lexical + found.dense)
    }

    fn best_of_session(&self, view: &Projection) -> FxHashMap<u32, f32> {
        let mut best: FxHashMap<u32, f32> = FxHashMap::default();
        for &slot in &self.candidates {
            if let Some(session) = view.head(slot).and_then(|head| head.session) {
                let own = self.own(slot);
                best.entry(session).and_modify(|most| *most = most.max(own)).or_insert(own);
            }
        }
        best
    }
}

fn around(view: &Projection, slot: Slot, before: usize, after: usize) -> impl Iterator<Item = Slot> + '_ {
    let earlier = view.graph.chain(slot, Direction::Forward, before);
    earlier.chain(view.graph.chain(slot, Direction::Backward, after)).map(|edge| edge.slot)
}

struct Candidates<'a> {
    view: &'a Projection,
    question: &'a Question<'a>,
    surroundings: Surroundings,
    coverage: Coverage,
    best_of_session: FxHashMap<u32, f32>,
    weights: &'a Weights,
}

impl Candidates<'_> {
    fn judge(&self, slot: Slot, spread: &mut Spread) -> Ranked {
        let (view, call) = (self.view, self.question.call);
        let mut parts = [0.0; Feature::ALL.len()];
        let mut add = |feature: Feature, value: f32| {
            if let Some(part) = parts.get_mut(feature as usize) {
                *part = value * self.weights.of(feature);
            }
        };
        let own = self.surroundings.matches.get(&slot);
        add(Feature::Lexical, own.map_or(0.0, |own| own.lexical));
        add(Feature::Dense, own.map_or(0.0, |own| own.dense));
        for (feature, reach) in [(Feature::Near, &NEAR), (Feature::Back, &BACK)] {
            self.spread(slot, reach, spread);
            add(feature, spread.total(&self.coverage.weights));
        }
        let before = view.graph.chain(slot, Direction::Forward, 1).next();
        if let Some(before) = before.filter(|before| view.pieces.marks(before.slot).asks) {
            add(Feature::Reply, self.surroundings.own(before.slot));
        }
        let marks = view.pieces.marks(slot);
        if let Some(head) = view.head(slot) {
            let best = head.session.and_then(|session| self.best_of_session.get(&session)).copied();
            add(Feature::Session, best.unwrap_or_else(|| self.surroundings.own(slot)));
            let speaker = head.speaker.and_then(|speaker| view.speakers.name(speaker));
            add(Feature::Speaker, f32::from(speaker.is_some() && speaker == call.subject.as_deref()));
            let date = call.times.iter().map(|asked| near_in_time(asked, head.observed)).fold(0.0, f32::max);
            add(Feature::Date, date);
            add(Feature::Time, f32::from(call.intent == Intent::Time && marks.tells_time));
            let opens = head.semantic == SemanticType::Message && head.session.is_some() && self.seen_before(slot) < 2;
            add(Feature::Opening, f32::from(opens));
        }
        add(Feature::FirstPerson, f32::from(marks.first_person));
        let superseded_by = self.surroundings.superseded.get(&slot).copied();
        add(Feature::Superseded, f32::from(superseded_by.is_some()));
        Ranked { slot, score: parts.iter().sum(), parts, path: Vec::new(), superseded_by }
    }

    /// Returns how many cubes stand before this one, counted up to 2. What the caller may not see is not counted.
    fn seen_before(&self, slot: Slot) -> usize {
        let before = self.view.graph.chain(slot, Direction::Forward, 2);
        before.take_while(|edge| self.surroundings.matches.contains_key(&edge.slot)).count()
    }

    /// Returns whether a candidate has anything to do with the question: a word, a meaning, a neighbour, or a time of it.
    /// What has nothing of these is no answer, however few better ones there are.
    fn fits(&self, ranked: &Ranked) -> bool {
        let part = |feature: Feature| ranked.parts.get(feature as usize).copied().unwrap_or(0.0);
        let touches = [Feature::Lexical, Feature::Near, Feature::Back, Feature::Date]
            .into_iter()
            .any(|feature| part(feature) > 0.0);
        touches || part(Feature::Dense) > FAR_MEANING
    }

    /// Puts what holds now before what it replaced: a memory that fits the question and no longer holds brings the one that
    /// does, as far as the filter lets it through.
    fn put_forward(&self, ranked: &mut Vec<Ranked>) {
        // What replaced it takes the place that it would have had if it still held.
        let place = |ranked: &Ranked| ranked.score - ranked.parts.get(Feature::Superseded as usize).unwrap_or(&0.0);
        let by = |ranked: &Ranked| Some((ranked.superseded_by?, place(ranked)));
        let replaced: Vec<(Slot, f32)> = ranked.iter().filter_map(by).collect();
        for (slot, score) in replaced {
            let at = ranked.iter().position(|ranked| ranked.slot == slot);
            let found = match at {
                Some(at) => ranked.get_mut(at),
                None if self.surroundings.matches.contains_key(&slot) => {
                    ranked.push(self.judge(slot, &mut Spread::default()));
                    ranked.last_mut()
                }
                None => None,
            };
            let lift = found.as_ref().map_or(0.0, |found| score + BEFORE_REPLACED - found.score);
            if let Some(found) = found.filter(|_| lift > 0.0)
                && let Some(part) = found.parts.get_mut(Feature::Replaces as usize)
            {
                *part += lift * self.weights.replaces;
                found.score += lift * self.weights.replaces;
            }
        }
    }

    /// Notes the links by which the cube gained.
    fn explain(&self, ranked: &mut Ranked) {
        let (mut near, mut back) = (Spread::default(), Spread::default());
        self.spread(ranked.slot, &NEAR, &mut near);
        self.spread(ranked.slot, &BACK, &mut back);
        ranked.path = gained(near.given, back.given, self.weights);
    }

    fn spread(&self, slot: Slot, reach: &SpreadWeights, spread: &mut Spread) {
        self.view.graph.spread_to(slot, reach, &self.coverage.weights, |slot| self.coverage.of(slot), spread);
    }
}

/// Returns the links by which a cube gained, the largest gain first.
fn gained(near: Vec<(Edge, f32)>, back: Vec<(Edge, f32)>, weights: &Weights) -> Vec<(Edge, f32)> {
    let mut path: Vec<(Edge, f32)> = near.into_iter().map(|(edge, gain)| (edge, gain * weights.near)).collect();
    for (edge, gain) in back {
        match path.iter_mut().find(|(other, _)| *other == edge) {
            Some((_, total)) => *total += gain * weights.back,
            None => path.push((edge, gain * weights.back)),
        }
    }
    path.sort_by(|a, b| b.1.total_cmp(&a.1));
    path
}

/// Returns what holds in place of the cube in `slot`, or of what was concluded from it, each with `slot`.
fn superseders(view: &Projection, slot: Slot) -> impl Iterator<Item = (Slot, Slot)> + '_ {
    let by = |slot: Slot| view.graph.edge(slot, LinkKind::Supersedes, Direction::Backward).map(|edge| edge.slot);
    let is_conclusion = |edge: &Edge| edge.kind == LinkKind::DerivedFrom && edge.direction == Direction::Backward;
    let concluded = view.graph.edges(slot).filter(is_conclusion).filter_map(move |edge| by(edge.slot));
    by(slot).into_iter().chain(concluded).take(LINKED).map(move |by| (slot, by))
}

const DAY_MILLIS: i64 = 24 * 3600 * 1000;

/// Returns how near `observed` is to an asked time: 1 inside, less in the days after it, in which people tell of it, and
/// little in the days before a single day, in which they plan it.
fn near_in_time(asked: &AskedTime, observed: Timestamp) -> f32 {
    let near = |window: Window| -> f32 {
        if window.contains(observed) {
            return 1.0;
        }
        let of_days = match (window.from, window.until) {
            (Some(from), Some(until)) => until.as_millis() - from.as_millis() <= 2 * DAY_MILLIS,
            _ => false,
        };
        let days_after = window.until.map(|until| (observed.as_millis() - until.as_millis()) / DAY_MILLIS);
        let days_before = window.from.map(|from| (from.as_millis() - observed.as_millis()) / DAY_MILLIS);
        match (days_after, days_before) {
            (Some(0..7), _) if of_days => 0.5,
            (Some(0..=10), _) if !of_days && window.until.is_some_and(|until| until <= observed) => 0.5,
            (_, Some(0..7)) if of_days && window.from.is_some_and(|from| observed < from) => 0.25,
            _ => 0.0,
        }
    };
    if !asked.any_year {
        return near(asked.window);
    }
    let year = observed.to_civil().year();
    // Last year's too: what was in December is told of in January.
    [year, year - 1].into_iter().map(|year| near(in_year(asked.window, year))).fold(0.0, f32::max)
}

/// Moves a window to another year.
fn in_year(window: Window, year: i16) -> Window {
    let Some(from) = window.from else { return window };
    let years = year - from.to_civil().year();
    let moved = |at: Timestamp| {
        let span = jiff::Span::new().try_years(years);
        span.and_then(|span| at.to_civil().checked_add(span)).map(Timestamp::from_civil).unwrap_or(at)
    };
    Window { from: Some(moved(from)), until: window.until.map(moved) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_near_or_not() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let day = Window::between(at("2023-05-07"), at("2023-05-08"));
        let month = Window::between(at("2023-12-01"), at("2024-01-01"));
        for (window, any_year, observed, expect) in [
            (day, false, "2023-05-07T18:00", 1.0),
            (day, false, "2023-05-12", 0.5),
            (day, false, "2023-05-20", 0.0),
            (day, false, "2023-05-03", 0.25),
            (day, false, "2022-05-07", 0.0),
            (day, true, "2022-05-07", 1.0),
            (month, false, "2024-01-05", 0.5),
            (month, true, "2022-01-05", 0.5),
            (month, true, "2022-12-05", 1.0),
            (month, false, "2023-11-29", 0.0),
        ] {
            let asked = AskedTime { window, any_year };
            assert_eq!(near_in_time(&asked, at(observed)), expect, "{window:?} {any_year} {observed}");
        }
    }
}
