//! Lexical search: an inverted index with BM25 over the cubes that a filter lets through.
//!
//! How rare a word is, is counted inside the filter. Counted over the whole space it would let a caller learn from the
//! scores of what they may read that a word stands in what they may not.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::dense::best_of;
use super::runs::Runs;
use crate::graph::Slot;

/// How soon more of the same word stops to count.
const K1: f32 = 0.9;
/// How much a long text is held back.
const B: f32 = 0.4;

type TermId = u32;

#[derive(Debug, Clone, Copy)]
struct Posting {
    slot: Slot,
    count: u16,
}

/// Which terms stand in which slot, both ways.
#[derive(Debug, Clone, Default)]
pub(super) struct InvertedIndex {
    ids: HashMap<Box<str>, TermId>,
    postings: Vec<Vec<Posting>>,
    /// The terms of each slot, in the order of their ids, with their counts.
    terms: Runs<(TermId, u16)>,
    /// How many words each slot has.
    lengths: Vec<u32>,
}

/// The slots that a filter lets through, as a list and as a set.
pub(super) struct Admitted {
    /// In rising order.
    pub(super) slots: Vec<Slot>,
    bits: Vec<u64>,
    /// Whether that is all that the index holds.
    everything: bool,
}

impl Admitted {
    /// Admits the given slots, which come in rising order, out of `total` places of which `held` hold something.
    pub(super) fn new(slots: impl Iterator<Item = Slot>, total: usize, held: usize) -> Self {
        let mut bits = vec![0_u64; total.div_ceil(64)];
        let mut list = Vec::with_capacity(total);
        for slot in slots {
            list.push(slot);
            if let Some(word) = bits.get_mut(slot as usize / 64) {
                *word |= 1 << (slot % 64);
            }
        }
        Self { everything: list.len() == held, slots: list, bits }
    }

    fn contains(&self, slot: Slot) -> bool {
        self.everything || self.bits.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }
}

/// What the lexical pass found.
pub(super) struct LexicalFound {
    /// The score of each slot, 0 for those that have no word of the question.
    scores: Vec<f32>,
    touched: Vec<Slot>,
    /// What each term adds at most, so that a cube that has all of them again and again comes near 1.
    pub(super) weights: Vec<f32>,
    pub(super) mean_length: f32,
}

impl LexicalFound {
    pub(super) fn score(&self, slot: Slot) -> f32 {
        self.scores.get(slot as usize).copied().unwrap_or(0.0)
    }

    /// Returns the `most` best slots, without order; only slots that have a word of the question.
    pub(super) fn best(&self, most: usize) -> Vec<(Slot, f32)> {
        let scores: Vec<f32> = self.touched.iter().map(|&slot| self.score(slot)).collect();
        best_of(&self.touched, &scores, most)
    }
}

impl InvertedIndex {
    /// Puts the terms of a slot in, in place of those before.
    pub(super) fn put(&mut self, slot: Slot, terms: &[(String, u16)], length: u32) {
        self.remove(slot);
        let mut ids: Vec<(TermId, u16)> = terms.iter().map(|(term, count)| (self.id_of(term), *count)).collect();
        ids.sort_unstable();
        ids.dedup_by_key(|(id, _)| *id);
        for &(id, count) in &ids {
            let Some(postings) = self.postings.get_mut(id as usize) else { continue };
            let posting = Posting { slot, count };
            match postings.last() {
                Some(last) if last.slot >= slot => {
                    let at = postings.partition_point(|posting| posting.slot < slot);
                    postings.insert(at, posting);
                }
                _ => postings.push(posting),
            }
        }
        if self.lengths.len() <= slot as usize {
            self.lengths.resize(slot as usize + 1, 0);
        }
        if let Some(place) = self.lengths.get_mut(slot as usize) {
            *place = length;
        }
        self.terms.put(slot, &ids);
    }

    /// Takes a slot's terms out.
    pub(super) fn remove(&mut self, slot: Slot) {
        for (id, _) in self.terms.get(slot) {
            let Some(postings) = self.postings.get_mut(*id as usize) else { continue };
            let at = postings.partition_point(|posting| posting.slot < slot);
            if postings.get(at).is_some_and(|posting| posting.slot == slot) {
                postings.remove(at);
            }
        }
        self.terms.put(slot, &[]);
        if let Some(length) = self.lengths.get_mut(slot as usize) {
            *length = 0;
        }
    }

    /// Forgets the words that no slot has any more. A word of an erased text must not outlive it.
    pub(super) fn forget_unused(&mut self) {
        let postings = &self.postings;
        self.ids.retain(|_, id| postings.get(*id as usize).is_some_and(|postings| !postings.is_empty()));
    }

    /// Returns the slots that have all of the terms, or none when one of them is unknown.
    pub(super) fn with_all(&self, terms: &[String]) -> Vec<Slot> {
        let mut lists: Vec<&[Posting]> = Vec::with_capacity(terms.len());
        for term in terms {
            match self.ids.get(term.as_str()).and_then(|&id| self.postings.get(id as usize)) {
                Some(postings) => lists.push(postings),
                None => return Vec::new(),
            }
        }
        lists.sort_by_key(|postings| postings.len());
        let Some((shortest, others)) = lists.split_first() else { return Vec::new() };
        let in_all = |slot: Slot| {
            others.iter().all(|postings| postings.binary_search_by_key(&slot, |posting| posting.slot).is_ok())
        };
        shortest.iter().map(|posting| posting.slot).filter(|&slot| in_all(slot)).collect()
    }

    /// Returns whether the slot has all of the terms.
    pub(super) fn has_all(&self, slot: Slot, terms: &[String]) -> bool {
        let held = self.terms.get(slot);
        let has = |term: &String| {
            self.ids.get(term.as_str()).is_some_and(|id| held.binary_search_by_key(id, |(id, _)| *id).is_ok())
        };
        terms.iter().all(has)
    }

    /// Scores all that is admitted, between 0 and 1.
    pub(super) fn search(&self, terms: &[String], admitted: &Admitted) -> LexicalFound {
        let lengths: u64 = admitted.slots.iter().map(|&slot| u64::from(self.length(slot))).sum();
        let mean_length = (lengths as f32 / admitted.slots.len().max(1) as f32).max(1.0);
        let postings: Vec<&[Posting]> = terms.iter().map(|term| self.postings_of(term)).collect();
        let holders = |postings: &&[Posting]| {
            // Counting costs as much as scoring, and there is nothing to leave out when everything is admitted.
            if admitted.everything {
                return postings.len();
            }
            postings.iter().filter(|posting| admitted.contains(posting.slot)).count()
        };
        let weights = weights(postings.iter().map(holders), admitted.slots.len());
        let mut scores = vec![0.0_f32; self.lengths.len()];
        let mut touched = Vec::new();
        for (postings, weight) in postings.iter().zip(&weights) {
            for posting in postings.iter().filter(|posting| admitted.contains(posting.slot)) {
                let (Some(total), Some(length)) =
                    (scores.get_mut(posting.slot as usize), self.lengths.get(posting.slot as usize))
                else {
                    continue;
                };
                if *total == 0.0 {
                    touched.push(posting.slot);
                }
                *total += weight * saturation(posting.count, *length, mean_length);
            }
        }
        LexicalFound { scores, touched, weights, mean_length }
    }

    fn postings_of(&self, term: &str) -> &[Posting] {
        self.ids.get(term).and_then(|&id| self.postings.get(id as usize)).map_or(&[], Vec::as_slice)
    }

    /// Scores slots with the weights that a search returned.
    pub(super) fn score(&self, terms: &[String], weights: &[f32], mean_length: f32, slots: &[Slot]) -> Vec<f32> {
        let ids = terms.iter().map(|term| self.ids.get(term.as_str()).copied());
        let known: Vec<(TermId, f32)> = ids.zip(weights).filter_map(|(id, weight)| Some((id?, *weight))).collect();
        let of_slot = |slot: &Slot| {
            let (held, length) = (self.terms.get(*slot), self.length(*slot));
            let of_term = |(id, weight): &(TermId, f32)| {
                let at = held.binary_search_by_key(id, |(id, _)| *id).ok()?;
                let (_, count) = held.get(at)?;
                Some(weight * saturation(*count, length, mean_length))
            };
            known.iter().filter_map(of_term).sum()
        };
        slots.iter().map(of_slot).collect()
    }

    fn length(&self, slot: Slot) -> u32 {
        self.lengths.get(slot as usize).copied().unwrap_or(0)
    }

    fn id_of(&mut self, term: &str) -> TermId {
        if let Some(&id) = self.ids.get(term) {
            return id;
        }
        let id = self.postings.len() as TermId;
        self.ids.insert(term.into(), id);
        self.postings.push(Vec::new());
        id
    }

    /// Returns all that must be stored, flat.
    pub(super) fn to_flat(&self) -> FlatTerms {
        // Words that nothing has are left out, so the others get new numbers, in the same order.
        let mut used: Vec<(TermId, &str)> = self.ids.iter().map(|(term, id)| (*id, &**term)).collect();
        used.retain(|(id, _)| self.postings.get(*id as usize).is_some_and(|postings| !postings.is_empty()));
        used.sort_unstable_by_key(|(id, _)| *id);
        let mut numbers = vec![0; self.postings.len()];
        for (number, (id, _)) in (0..).zip(&used) {
            if let Some(place) = numbers.get_mut(*id as usize) {
                *place = number;
            }
        }
        let terms = used.into_iter().map(|(_, term)| term.to_owned()).collect();
        let mut flat = FlatTerms { terms, ..FlatTerms::default() };
        for (slot, length) in (0..).zip(&self.lengths) {
            let held = self.terms.get(slot);
            flat.lengths.push((held.len() as u32, *length));
            let number = |id: TermId| numbers.get(id as usize).copied().unwrap_or_default();
            flat.pairs.extend(held.iter().map(|(id, count)| (number(*id), *count)));
        }
        flat
    }

    /// Returns the first slot that has other terms here than there. Terms are numbered as they come in, so they are
    /// compared by their names.
    pub(super) fn differs(&self, other: &Self, slots: Slot) -> Option<Slot> {
        let mut numbers = vec![None; self.postings.len()];
        for (term, id) in &self.ids {
            if let Some(place) = numbers.get_mut(*id as usize) {
                *place = other.ids.get(term).copied();
            }
        }
        let same = |slot: &Slot| {
            let held = self.terms.get(*slot).iter();
            let mut held: Vec<(Option<TermId>, u16)> =
                held.map(|(id, count)| (numbers.get(*id as usize).copied().flatten(), *count)).collect();
            held.sort_unstable();
            let there = other.terms.get(*slot).iter().map(|(id, count)| (Some(*id), *count));
            held.iter().copied().eq(there) && self.length(*slot) == other.length(*slot)
        };
        (0..slots).find(|slot| !same(slot))
    }

    /// Puts together what [`InvertedIndex::to_flat`] took apart, or none when it does not fit together.
    pub(super) fn from_flat(flat: FlatTerms) -> Option<Self> {
        let mut index = Self { postings: vec![Vec::new(); flat.terms.len()], ..Self::default() };
        for (id, term) in flat.terms.into_iter().enumerate() {
            index.ids.insert(term.into(), id as TermId);
        }
        let mut rest = flat.pairs.as_slice();
        for (slot, (count, length)) in flat.lengths.into_iter().enumerate() {
            let (terms, after) = rest.split_at_checked(count as usize)?;
            rest = after;
            for &(id, count) in terms {
                index.postings.get_mut(id as usize)?.push(Posting { slot: slot as Slot, count });
            }
            index.terms.put(slot as Slot, terms);
            index.lengths.push(length);
        }
        (rest.is_empty() && index.ids.len() == index.postings.len()).then_some(index)
    }
}

/// An inverted index as it is stored: which term has which number, and each slot's terms one after the other.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct FlatTerms {
    terms: Vec<String>,
    /// For each slot, its number of terms and its length in words.
    lengths: Vec<(u32, u32)>,
    pairs: Vec<(TermId, u16)>,
}

/// Returns what each term adds at most: its rarity, over that of all terms that occur. A term that does not occur has 0.
fn weights(holders: impl Iterator<Item = usize>, total: usize) -> Vec<f32> {
    let rarities: Vec<f32> =
        holders.map(|with_term| if with_term > 0 { rarity(with_term, total) } else { 0.0 }).collect();
    let sum: f32 = rarities.iter().sum();
    rarities.into_iter().map(|rarity| if sum > 0.0 { rarity / sum } else { 0.0 }).collect()
}

/// BM25's inverse document frequency, in the form that is never negative.
pub(crate) fn rarity(holders: usize, total: usize) -> f32 {
    let (holders, total) = (holders as f32, total.max(holders) as f32);
    (1.0 + (total - holders + 0.5) / (holders + 0.5)).ln()
}

/// BM25's share of a term's weight that a text earns by having it `count` times: below 1, however often.
fn saturation(count: u16, length: u32, mean_length: f32) -> f32 {
    let count = f32::from(count);
    count / (count + K1 * (1.0 - B + B * length as f32 / mean_length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(texts: &[&str]) -> InvertedIndex {
        let mut index = InvertedIndex::default();
        for (slot, text) in texts.iter().enumerate() {
            put(&mut index, slot as Slot, text);
        }
        index
    }

    fn put(index: &mut InvertedIndex, slot: Slot, text: &str) {
        let mut counts: HashMap<&str, u16> = HashMap::new();
        text.split(' ').for_each(|word| *counts.entry(word).or_default() += 1);
        let terms: Vec<_> = counts.into_iter().map(|(word, count)| (word.to_owned(), count)).collect();
        index.put(slot, &terms, text.split(' ').count() as u32);
    }

    fn terms(words: &str) -> Vec<String> {
        words.split(' ').map(str::to_owned).collect()
    }

    fn found(index: &InvertedIndex, words: &str, admitted: &[Slot]) -> Vec<Slot> {
        let mut best = index.search(&terms(words), &Admitted::new(admitted.iter().copied(), 8, 8)).best(10);
        best.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        best.into_iter().map(|(slot, _)| slot).collect()
    }

    #[test]
    fn rare_words_count_more_and_updates_are_seen_at_once() {
        let mut index = index(&["red boat", "red house", "blue house", "red sky"]);
        assert_eq!(found(&index, "red boat", &[0, 1, 2, 3]), [0, 1, 3]);
        put(&mut index, 0, "green hill");
        assert_eq!(found(&index, "red boat", &[0, 1, 2, 3]), [1, 3]);
        index.remove(1);
        assert_eq!(found(&index, "red boat", &[0, 1, 2, 3]), [3]);
        let again = InvertedIndex::from_flat(index.to_flat()).unwrap();
        assert_eq!(found(&again, "green house", &[0, 2]), [0, 2]);
    }

    #[test]
    fn what_is_not_admitted_changes_no_score() {
        let small = index(&["red boat", "red house"]);
        let large = index(&["red boat", "red house", "red red red", "boat"]);
        let score = |index: &InvertedIndex| {
            let mut best = index.search(&terms("red boat"), &Admitted::new(0..2, 4, 4)).best(10);
            best.sort_by_key(|(slot, _)| *slot);
            best
        };
        assert_eq!(score(&small), score(&large));
    }

    #[test]
    fn single_scores_equal_searched_scores() {
        let index = index(&["red boat on the sea", "red house", "blue house"]);
        let query = terms("red sea moon");
        let found = index.search(&query, &Admitted::new(0..3, 3, 3));
        for (slot, score) in found.best(10) {
            assert_eq!(index.score(&query, &found.weights, found.mean_length, &[slot]), [score]);
            assert!(score > 0.0 && score < 1.0);
        }
        assert_eq!(index.with_all(&["red".into(), "house".into()]), [1]);
        assert!(index.with_all(&["red".into(), "moon".into()]).is_empty());
    }
}
