//! The index that ships: dense rows, an inverted index and facets, in process.

use serde::{Deserialize, Serialize};

use super::dense::{DenseRows, EXACT_UP_TO, OVERSAMPLE, best_of};
use super::document::{Document, Facets};
use super::filter::{Filter, Gate};
use super::lexical::{Admitted, FlatTerms, InvertedIndex};
use super::{CandidateIndex, Found, IndexQuery, Match};
use crate::error::{Error, Result};
use crate::graph::Slot;

/// Candidates in process, exact up to [`EXACT_UP_TO`] cubes and approximate in the dense part beyond.
#[derive(Debug, Clone)]
pub struct EmbeddedIndex {
    dense: DenseRows,
    lexical: InvertedIndex,
    facets: Vec<Option<Facets>>,
    /// The gate of each slot, apart from its other facets, because every search goes through all of them.
    gates: Vec<Gate>,
    /// How many slots hold something, open or shut.
    held: usize,
    exact_up_to: usize,
}

/// An index as it is stored.
#[derive(Serialize, Deserialize)]
pub(crate) struct FlatIndex {
    dense: DenseRows,
    terms: FlatTerms,
    facets: Vec<Option<Facets>>,
}

impl EmbeddedIndex {
    /// Makes an empty index for vectors of so many dimensions.
    pub fn new(dimensions: usize) -> Self {
        Self {
            dense: DenseRows::new(dimensions),
            lexical: InvertedIndex::default(),
            facets: Vec::new(),
            gates: Vec::new(),
            held: 0,
            exact_up_to: EXACT_UP_TO,
        }
    }

    /// Sets up to how many cubes all are compared in full. Measuring where that pays is what this is for.
    pub fn with_exact_up_to(mut self, cubes: usize) -> Self {
        self.exact_up_to = cubes;
        self
    }

    /// Sets whether a cube is recalled on request only, and whether it is not recalled at all.
    pub(crate) fn set_recall(&mut self, slot: Slot, archived: bool, withheld: bool) {
        if let Some(Some(facets)) = self.facets.get_mut(slot as usize)
            && let Some(gate) = self.gates.get_mut(slot as usize)
        {
            (facets.archived, facets.withheld) = (archived, withheld);
            *gate = Gate::of(facets);
        }
    }

    /// Returns the first of so many slots that holds something else here than there, and what.
    pub(crate) fn differs(&self, other: &Self, slots: Slot) -> Option<(Slot, &'static str)> {
        let facets = |index: &Self, slot: Slot| index.facets.get(slot as usize).copied().flatten();
        if let Some(slot) = (0..slots).find(|slot| facets(self, *slot) != facets(other, *slot)) {
            return Some((slot, "facets"));
        }
        let row = |index: &Self, slot: Slot| {
            facets(index, slot).map(|_| index.dense.row(slot)) == facets(other, slot).map(|_| other.dense.row(slot))
        };
        if let Some(slot) = (0..slots).find(|slot| !row(self, *slot)) {
            return Some((slot, "vector"));
        }
        self.lexical.differs(&other.lexical, slots).map(|slot| (slot, "words"))
    }

    /// Forgets the words that no cube has any more.
    pub(crate) fn forget_unused_words(&mut self) {
        self.lexical.forget_unused();
    }

    pub(crate) fn to_flat(&self) -> FlatIndex {
        FlatIndex { dense: self.dense.clone(), terms: self.lexical.to_flat(), facets: self.facets.clone() }
    }

    /// Puts a stored index together, or returns none when its parts do not fit.
    pub(crate) fn from_flat(flat: FlatIndex, dimensions: usize) -> Option<Self> {
        let FlatIndex { mut dense, terms, facets } = flat;
        if !dense.is_sound() || dense.dimensions() != dimensions || dense.rows() > facets.len() {
            return None;
        }
        dense.rebuild_sketches();
        let gates = facets.iter().map(|facets| facets.as_ref().map_or(Gate::SHUT, Gate::of)).collect();
        let held = facets.iter().flatten().count();
        Some(Self { dense, lexical: InvertedIndex::from_flat(terms)?, facets, gates, held, exact_up_to: EXACT_UP_TO })
    }

    fn matches(&self, query: &IndexQuery, found: &Found, slots: Vec<Slot>) -> Vec<Match> {
        let cosines = self.dense.score(&self.dense.query(&query.vector), &slots);
        let words = self.lexical.score(&query.terms, &found.term_weights, found.mean_length, &slots);
        let scored = slots.into_iter().zip(cosines).zip(words);
        scored.map(|((slot, dense), lexical)| Match { slot, dense, lexical }).collect()
    }

    fn passes(&self, slot: Slot, filter: &Filter) -> bool {
        let facets = || matches!(self.facets.get(slot as usize), Some(Some(facets)) if filter.accepts(facets));
        self.gates.get(slot as usize).is_some_and(|gate| filter.opens(*gate)) && (!filter.narrows() || facets())
    }

    fn admitted(&self, filter: &Filter) -> Admitted {
        let total = self.gates.len();
        if !filter.required_terms.is_empty() {
            let holders = self.lexical.with_all(&filter.required_terms).into_iter();
            return Admitted::new(holders.filter(|slot| self.passes(*slot, filter)), total, self.held);
        }
        // Cubes of one class come in long runs, and one look serves the whole run.
        let mut last = (Gate::SHUT, false);
        let opens = |(_, gate): &(Slot, &Gate)| {
            if **gate != last.0 {
                last = (**gate, **gate != Gate::SHUT && filter.opens(**gate));
            }
            last.1
        };
        let narrow = filter.narrows();
        let slots = (0..).zip(&self.gates).filter(opens).map(|(slot, _)| slot);
        Admitted::new(slots.filter(|slot| !narrow || self.passes(*slot, filter)), total, self.held)
    }
}

impl CandidateIndex for EmbeddedIndex {
    fn put(&mut self, slot: Slot, document: Document) -> Result<()> {
        let (found, expect) = (document.vector.values.len(), self.dense.dimensions());
        if found != expect {
            return Err(Error::invalid(format!("the vector has {found} dimensions, and the index has {expect}")));
        }
        self.dense.put(slot, &document.vector);
        self.lexical.put(slot, &document.terms, document.length);
        self.set_facets(slot, document.facets)
    }

    fn set_facets(&mut self, slot: Slot, facets: Facets) -> Result<()> {
        if self.facets.len() <= slot as usize {
            self.facets.resize(slot as usize + 1, None);
            self.gates.resize(slot as usize + 1, Gate::SHUT);
        }
        if let Some(place) = self.facets.get_mut(slot as usize) {
            self.held += usize::from(place.replace(facets).is_none());
        }
        if let Some(gate) = self.gates.get_mut(slot as usize) {
            *gate = Gate::of(&facets);
        }
        Ok(())
    }

    fn remove(&mut self, slot: Slot) -> Result<()> {
        if let Some(place) = self.facets.get_mut(slot as usize) {
            self.held -= usize::from(place.take().is_some());
            self.lexical.remove(slot);
            if let Some(gate) = self.gates.get_mut(slot as usize) {
                *gate = Gate::SHUT;
            }
            let dimensions = self.dense.dimensions();
            self.dense.put(slot, &super::QuantizedVector { scale: 0.0, values: vec![0; dimensions] });
        }
        Ok(())
    }

    fn search(&self, query: &IndexQuery, filter: &Filter, most: usize) -> Result<Found> {
        let admitted = self.admitted(filter);
        let lexical = self.lexical.search(&query.terms, &admitted);
        let dense = self.dense.query(&query.vector);
        let mut slots = self.dense.worth_comparing(&dense, &admitted.slots, most, self.exact_up_to);
        if slots.len() < admitted.slots.len() {
            slots.extend(lexical.best(most.saturating_mul(OVERSAMPLE)).iter().map(|(slot, _)| *slot));
            slots.sort_unstable();
            slots.dedup();
        }
        let mut sums = self.dense.score(&dense, &slots);
        sums.iter_mut().zip(&slots).for_each(|(sum, slot)| *sum += lexical.score(*slot));
        let found = Found {
            matches: Vec::new(),
            term_weights: lexical.weights,
            mean_length: lexical.mean_length,
            considered: admitted.slots.len(),
        };
        let chosen: Vec<Slot> = best_of(&slots, &sums, most).into_iter().map(|(slot, _)| slot).collect();
        let matches = self.matches(query, &found, chosen);
        Ok(Found { matches, ..found })
    }

    fn score(&self, query: &IndexQuery, filter: &Filter, found: &Found, slots: &[Slot]) -> Result<Vec<Match>> {
        let passes = |slot: &Slot| self.passes(*slot, filter) && self.lexical.has_all(*slot, &filter.required_terms);
        Ok(self.matches(query, found, slots.iter().copied().filter(passes).collect()))
    }

    fn len(&self) -> usize {
        self.held
    }
}
