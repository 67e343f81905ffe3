//! What every source of candidates promises, as one suite over [`CandidateIndex`]: it runs on the index that ships and on a
//! plain list that is searched one by one. Another index passes when [`conforms`] passes with it.
//!
//! The plain list is also what every result is compared with: the cosines of the stored eight-bit vectors, and BM25 counted
//! over nothing but what the filter lets through.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/seeded.rs"]
mod seeded;
#[path = "support/space.rs"]
mod space;

use std::collections::{BTreeMap, BTreeSet};

use memos_memory::ErrorKind;
use memos_memory::Result;
use memos_memory::cube::SemanticType;
use memos_memory::error::Error;
use memos_memory::graph::Slot;
use memos_memory::index::{
    CandidateIndex, ClassSet, Document, EmbeddedIndex, Facets, Filter, Found, IndexQuery, Match, QuantizedVector,
    tag_term,
};
use memos_memory::time::{Timestamp, Window};
use space::Random;

const DIMENSIONS: usize = 24;
const CLASSES: u32 = 70;
const LEXICAL_TOLERANCE: f32 = 1e-4;

/// How soon more of the same word stops to count, and how much a long text is held back, in BM25.
const K1: f64 = 0.9;
const B: f64 = 0.4;

/// How near an index comes to the plain list.
#[derive(Clone, Copy)]
struct Promise {
    /// Whether the best are the very best, and not only nearly so.
    exact: bool,
    /// By how much a cosine may differ.
    dense: f32,
}

/// Everything, searched one by one.
#[derive(Default)]
struct PlainIndex {
    documents: BTreeMap<Slot, Document>,
}

impl PlainIndex {
    fn admitted(&self, filter: &Filter) -> Vec<(Slot, &Document)> {
        let passes = |document: &Document| {
            let Facets { class, semantic, observed, valid, archived, withheld } = document.facets;
            let has = |term: &String| document.terms.iter().any(|(other, _)| other == term);
            let timely = filter.window.is_always()
                || filter.window.contains(observed)
                || (!valid.is_always() && filter.window.overlaps(&valid));
            filter.classes.contains(class)
                && !withheld
                && (filter.archived || !archived)
                && (filter.semantic.is_empty() || filter.semantic.contains(&semantic))
                && filter.required_terms.iter().all(has)
                && timely
                && filter.true_at.is_none_or(|at| valid.contains(at))
        };
        self.documents
            .iter()
            .filter(|(_, document)| passes(document))
            .map(|(slot, document)| (*slot, document))
            .collect()
    }

    /// Returns what a search finds when it may return everything.
    fn everything(&self, query: &IndexQuery, filter: &Filter) -> Found {
        let admitted = self.admitted(filter);
        let total = admitted.len();
        let holders = |term: &String| admitted.iter().filter(|(_, document)| count(document, term) > 0).count() as f64;
        let rarity = |holders: f64| (1.0 + (total as f64 - holders + 0.5) / (holders + 0.5)).ln();
        let rarities = query.terms.iter().map(holders).map(|holders| if holders > 0.0 { rarity(holders) } else { 0.0 });
        let rarities: Vec<f64> = rarities.collect();
        let sum: f64 = rarities.iter().sum();
        let weights: Vec<f64> = rarities.iter().map(|rarity| if sum > 0.0 { rarity / sum } else { 0.0 }).collect();
        let words: f64 = admitted.iter().map(|(_, document)| f64::from(document.length)).sum();
        let mean_length = (words / total.max(1) as f64).max(1.0);
        let lexical = |document: &Document| {
            let of_term = |(term, weight): (&String, &f64)| {
                let count = f64::from(count(document, term));
                weight * count / (count + K1 * (1.0 - B + B * f64::from(document.length) / mean_length))
            };
            query.terms.iter().zip(&weights).map(of_term).sum::<f64>() as f32
        };
        let vector = QuantizedVector::of(&query.vector);
        let matches = admitted.iter().map(|(slot, document)| Match {
            slot: *slot,
            dense: cosine(&document.vector, &vector),
            lexical: lexical(document),
        });
        Found {
            matches: matches.collect(),
            term_weights: weights.iter().map(|weight| *weight as f32).collect(),
            mean_length: mean_length as f32,
            considered: total,
        }
    }
}

fn count(document: &Document, term: &String) -> u16 {
    document.terms.iter().find(|(other, _)| other == term).map_or(0, |(_, count)| *count)
}

/// Multiplies the steps as whole numbers, as they are stored: a scale of four bytes, then one signed byte a number.
fn cosine(a: &QuantizedVector, b: &QuantizedVector) -> f32 {
    let steps = |vector: &QuantizedVector| -> Vec<i32> {
        vector.to_bytes()[4..].iter().map(|byte| i32::from(i8::from_le_bytes([*byte]))).collect()
    };
    let product: i32 = steps(a).iter().zip(steps(b)).map(|(a, b)| a * b).sum();
    product as f32 * a.scale * b.scale
}

impl CandidateIndex for PlainIndex {
    fn put(&mut self, slot: Slot, document: Document) -> Result<()> {
        if document.vector.values.len() != DIMENSIONS {
            return Err(Error::invalid("the vector has other dimensions"));
        }
        self.documents.insert(slot, document);
        Ok(())
    }

    fn set_facets(&mut self, slot: Slot, facets: Facets) -> Result<()> {
        if let Some(document) = self.documents.get_mut(&slot) {
            document.facets = facets;
        }
        Ok(())
    }

    fn remove(&mut self, slot: Slot) -> Result<()> {
        self.documents.remove(&slot);
        Ok(())
    }

    fn search(&self, query: &IndexQuery, filter: &Filter, most: usize) -> Result<Found> {
        let mut found = self.everything(query, filter);
        found.matches.sort_by(|a, b| (b.dense + b.lexical).total_cmp(&(a.dense + a.lexical)).then(a.slot.cmp(&b.slot)));
        found.matches.truncate(most);
        Ok(found)
    }

    fn score(&self, query: &IndexQuery, filter: &Filter, _found: &Found, slots: &[Slot]) -> Result<Vec<Match>> {
        let all = self.everything(query, filter).matches;
        Ok(slots.iter().filter_map(|slot| all.iter().find(|found| found.slot == *slot)).copied().collect())
    }

    fn len(&self) -> usize {
        self.documents.len()
    }
}

/// Random documents, questions and filters.
struct Draw(Random);

impl Draw {
    fn vector(&mut self) -> Vec<f32> {
        if self.0.chance(1, 30) {
            return vec![0.0; DIMENSIONS];
        }
        let mut vector: Vec<f32> = (0..DIMENSIONS).map(|_| self.0.below(2001) as f32 / 1000.0 - 1.0).collect();
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-6);
        vector.iter_mut().for_each(|value| *value /= length);
        vector
    }

    /// Some words stand in many documents and some in few.
    fn term(&mut self) -> String {
        let (a, b) = (self.0.below(40), self.0.below(40));
        format!("word{}", a.min(b))
    }

    fn stamp(&mut self) -> Timestamp {
        Timestamp::from_millis(self.0.below(1000) as i64)
    }

    fn window(&mut self) -> Window {
        let (a, b) = (self.stamp(), self.stamp());
        match self.0.below(6) {
            0 => Window { from: Some(a), until: None },
            1 => Window { from: None, until: Some(a) },
            2 => Window::between(a.min(b), Timestamp::from_millis(a.max(b).as_millis() + 1)),
            _ => Window::ALWAYS,
        }
    }

    fn facets(&mut self) -> Facets {
        // Few classes hold most, and some numbers lie beyond the first word of a set.
        let class = if self.0.chance(3, 4) { self.0.below(4) } else { self.0.below(CLASSES as usize) };
        Facets {
            class: class as u32,
            semantic: *self.0.pick(SemanticType::ALL),
            observed: self.stamp(),
            valid: self.window(),
            archived: self.0.chance(1, 6),
            withheld: self.0.chance(1, 12),
        }
    }

    fn document(&mut self) -> Document {
        let mut terms: BTreeMap<String, u16> = BTreeMap::new();
        for _ in 0..self.0.below(14) {
            *terms.entry(self.term()).or_default() += 1;
        }
        let length = terms.values().map(|count| u32::from(*count)).sum();
        if self.0.chance(1, 3) {
            terms.insert(tag_term(&format!("topic:{}", self.0.below(3))), 1);
        }
        let vector = QuantizedVector::of(&self.vector());
        Document { facets: self.facets(), vector, terms: terms.into_iter().collect(), length }
    }

    fn query(&mut self) -> IndexQuery {
        let count = self.0.below(6);
        let mut terms: BTreeSet<String> = (0..count).map(|_| self.term()).collect();
        if self.0.chance(1, 3) {
            terms.insert("unheard".into());
        }
        IndexQuery { vector: self.vector(), terms: terms.into_iter().collect() }
    }

    fn filter(&mut self) -> Filter {
        let classes: ClassSet = (0..CLASSES).filter(|_| self.0.chance(1, 2)).collect();
        let mut required_terms = Vec::new();
        if self.0.chance(1, 4) {
            required_terms.push(tag_term(&format!("topic:{}", self.0.below(4))));
        }
        if self.0.chance(1, 8) {
            required_terms.push(self.term());
        }
        Filter {
            classes,
            semantic: if self.0.chance(1, 4) {
                (0..3).map(|_| *self.0.pick(SemanticType::ALL)).collect()
            } else {
                vec![]
            },
            required_terms,
            window: self.window(),
            true_at: if self.0.chance(1, 4) { Some(self.stamp()) } else { None },
            archived: self.0.chance(1, 3),
        }
    }
}

/// Puts an index through everything that it promises.
fn conforms<I: CandidateIndex>(seed: u64, promise: Promise, make: impl Fn() -> I) {
    println!("seed {seed}");
    let (mut index, mut plain) = (make(), PlainIndex::default());
    let mut draw = Draw(Random::new(seed));
    let mut searched = 0;
    for step in 0..400 {
        let slot = draw.0.below(60) as Slot;
        match draw.0.below(10) {
            0..=5 => {
                let document = draw.document();
                index.put(slot, document.clone()).unwrap();
                plain.put(slot, document).unwrap();
            }
            6 => {
                index.remove(slot).unwrap();
                plain.remove(slot).unwrap();
            }
            7 | 8 if plain.documents.contains_key(&slot) => {
                let facets = draw.facets();
                index.set_facets(slot, facets).unwrap();
                plain.set_facets(slot, facets).unwrap();
            }
            _ => {
                let vector = QuantizedVector::of(&[1.0; DIMENSIONS + 1]);
                let refused = index.put(slot, Document { vector, ..draw.document() });
                assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid, "a vector of other dimensions");
            }
        }
        assert_eq!((index.len(), index.is_empty()), (plain.len(), plain.is_empty()), "seed {seed}, step {step}");
        let (query, filter, most) = (draw.query(), draw.filter(), *draw.0.pick(&[0, 1, 2, 5, 20, usize::MAX]));
        searched += compare(&index, &plain, (&query, &filter, most), promise, &format!("seed {seed}, step {step}"));
        if step % 20 == 0 {
            hides_what_is_forbidden(&index, &plain, &make, (&query, &filter));
        }
    }
    assert!(searched > 1000, "the filters let hardly anything through: {searched}");
}

/// Compares one search and the scores of single slots with the plain list; returns how much the filter let through.
fn compare(
    index: &impl CandidateIndex,
    plain: &PlainIndex,
    asked: (&IndexQuery, &Filter, usize),
    promise: Promise,
    place: &str,
) -> usize {
    let (query, filter, most) = asked;
    let found = index.search(query, filter, most).unwrap();
    let expect = plain.everything(query, filter);
    let by_slot: BTreeMap<Slot, Match> = expect.matches.iter().map(|found| (found.slot, *found)).collect();
    assert_eq!(found.considered, expect.considered, "{place}: considered");
    assert!(
        near(found.mean_length, expect.mean_length, 1e-3),
        "{place}: {} is not {}",
        found.mean_length,
        expect.mean_length
    );
    assert_eq!(found.term_weights.len(), query.terms.len(), "{place}: term weights");
    for (found, expect) in found.term_weights.iter().zip(&expect.term_weights) {
        assert!(near(*found, *expect, LEXICAL_TOLERANCE), "{place}: term weight {found} is not {expect}");
    }
    let equal = |found: &Match| {
        let expect =
            by_slot.get(&found.slot).unwrap_or_else(|| panic!("{place}: {} does not pass the filter", found.slot));
        assert!(near(found.dense, expect.dense, promise.dense), "{place}: {found:?} is not {expect:?}");
        assert!(near(found.lexical, expect.lexical, LEXICAL_TOLERANCE), "{place}: {found:?} is not {expect:?}");
        assert!(found.lexical >= 0.0 && found.lexical <= 1.0 + LEXICAL_TOLERANCE, "{place}: {found:?}");
    };
    found.matches.iter().for_each(equal);
    let slots: BTreeSet<Slot> = found.matches.iter().map(|found| found.slot).collect();
    assert_eq!(slots.len(), found.matches.len(), "{place}: a slot is there twice");
    assert_eq!(slots.len(), most.min(expect.considered), "{place}: as many as asked for");
    if promise.exact {
        let sum = |found: &Match| found.dense + found.lexical;
        let worst = slots.iter().map(|slot| sum(&by_slot[slot])).fold(f32::INFINITY, f32::min);
        let left_out =
            by_slot.values().filter(|found| !slots.contains(&found.slot)).map(sum).fold(f32::NEG_INFINITY, f32::max);
        assert!(left_out <= worst + 1e-4 || slots.is_empty(), "{place}: {left_out} was left out for {worst}");
    }
    let asked: Vec<Slot> = (0..80).rev().collect();
    let scored = index.score(query, filter, &found, &asked).unwrap();
    scored.iter().for_each(equal);
    let scored: Vec<Slot> = scored.iter().map(|found| found.slot).collect();
    assert_eq!(scored, by_slot.keys().rev().copied().collect::<Vec<_>>(), "{place}: single scores");
    expect.considered
}

/// An index without the forbidden documents must answer just the same.
fn hides_what_is_forbidden<I: CandidateIndex>(
    index: &I,
    plain: &PlainIndex,
    make: &impl Fn() -> I,
    (query, filter): (&IndexQuery, &Filter),
) {
    let mut allowed = make();
    for (slot, document) in &plain.documents {
        if filter.classes.contains(document.facets.class) {
            allowed.put(*slot, document.clone()).unwrap();
        }
    }
    for most in [1, 7, 100] {
        let (all, part) = (index.search(query, filter, most).unwrap(), allowed.search(query, filter, most).unwrap());
        let sorted = |found: &Found| {
            let mut matches = found.matches.clone();
            matches.sort_by_key(|found| found.slot);
            matches
        };
        assert_eq!(sorted(&all), sorted(&part));
        assert_eq!(
            (all.considered, &all.term_weights, all.mean_length),
            (part.considered, &part.term_weights, part.mean_length)
        );
        let slots: Vec<Slot> = (0..60).collect();
        assert_eq!(
            index.score(query, filter, &all, &slots).unwrap(),
            allowed.score(query, filter, &part, &slots).unwrap()
        );
    }
}

fn near(a: f32, b: f32, tolerance: f32) -> bool {
    (a - b).abs() <= tolerance * (1.0 + b.abs())
}

#[test]
fn the_plain_list_conforms() {
    (0..3).for_each(|seed| conforms(seed, Promise { exact: true, dense: 0.0 }, PlainIndex::default));
}

#[test]
fn the_embedded_index_conforms() {
    (0..12).for_each(|seed| conforms(seed, Promise { exact: true, dense: 0.0 }, || EmbeddedIndex::new(DIMENSIONS)));
}

#[test]
fn the_embedded_index_conforms_when_it_compares_sketches_first() {
    let make = || EmbeddedIndex::new(DIMENSIONS).with_exact_up_to(0);
    (20..26).for_each(|seed| conforms(seed, Promise { exact: false, dense: 0.0 }, make));
}
