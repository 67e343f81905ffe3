//! Coverage: how well each part of a question is met by what a cube says, also in other words.
//!
//! Every cube's word pieces are kept beside the graph. A piece of the question is met by the nearest piece of the cube, so
//! "boat" is met by "vessel", and met once, however often either is said. That makes coverage the thing to spread along
//! links: what a question's parts need may stand in two neighbouring cubes.

use std::collections::HashMap;

use rustc_hash::{FxBuildHasher, FxHashMap};

use super::filter::{ClassId, ClassSet};
use super::lexical::rarity;
use super::runs::Runs;
use crate::embed::{BuiltinEmbedder, Piece};
use crate::english::{each_word, is_first_person, is_time_word};
use crate::graph::Slot;

/// Cosine of two pieces up to which they have nothing to do with each other. Anything from 0.2 to 0.5 serves as well.
const UNRELATED_UP_TO: f32 = 0.4;

/// Most pieces of a question that are looked for, and most of a cube that are kept.
const QUESTION_PIECES: usize = 64;
const CUBE_PIECES: usize = 1024;

/// What the words of a text show at a glance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct TextMarks {
    /// It asks something.
    pub(crate) asks: bool,
    /// It speaks of time.
    pub(crate) tells_time: bool,
    /// Its speaker speaks of themselves.
    pub(crate) first_person: bool,
}

impl TextMarks {
    pub(crate) fn of(text: &str) -> Self {
        let mut marks = Self { asks: text.contains('?'), ..Self::default() };
        each_word(text, |word| {
            marks.tells_time |= is_time_word(word);
            marks.first_person |= is_first_person(word);
        });
        marks
    }
}

/// The word pieces of all cubes, both ways.
#[derive(Debug, Clone, Default)]
pub(crate) struct PieceIndex {
    holders: Vec<Vec<Slot>>,
    pieces: Runs<Piece>,
    slots: Vec<Option<SlotMarks>>,
    /// Cubes of each access class.
    class_sizes: Vec<usize>,
}

/// What is kept of one cube besides its pieces.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
struct SlotMarks {
    class: ClassId,
    marks: TextMarks,
}

/// The pieces of all cubes as they are stored.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct FlatPieces(Vec<Option<(SlotMarks, Vec<Piece>)>>);

impl PieceIndex {
    /// Puts a cube's pieces in, in place of those before.
    pub(crate) fn put(&mut self, slot: Slot, class: ClassId, marks: TextMarks, mut pieces: Vec<Piece>) {
        self.remove(slot);
        pieces.truncate(CUBE_PIECES);
        for &piece in &pieces {
            let piece = usize::from(piece);
            if self.holders.len() <= piece {
                self.holders.resize(piece + 1, Vec::new());
            }
            if let Some(holders) = self.holders.get_mut(piece) {
                let at = if holders.last().is_none_or(|last| *last < slot) {
                    holders.len()
                } else {
                    holders.partition_point(|other| *other < slot)
                };
                holders.insert(at, slot);
            }
        }
        let (at, class_at) = (slot as usize, class as usize);
        if self.slots.len() <= at {
            self.slots.resize(at + 1, None);
        }
        if self.class_sizes.len() <= class_at {
            self.class_sizes.resize(class_at + 1, 0);
        }
        if let Some(size) = self.class_sizes.get_mut(class_at) {
            *size += 1;
        }
        if let Some(place) = self.slots.get_mut(at) {
            *place = Some(SlotMarks { class, marks });
        }
        self.pieces.put(slot, &pieces);
    }

    /// Takes a cube out.
    pub(crate) fn remove(&mut self, slot: Slot) {
        let Some(SlotMarks { class, .. }) = self.slots.get_mut(slot as usize).and_then(Option::take) else { return };
        for piece in self.pieces.get(slot) {
            if let Some(holders) = self.holders.get_mut(usize::from(*piece)) {
                let at = holders.partition_point(|other| *other < slot);
                if holders.get(at) == Some(&slot) {
                    holders.remove(at);
                }
            }
        }
        self.pieces.put(slot, &[]);
        if let Some(size) = self.class_sizes.get_mut(class as usize) {
            *size = size.saturating_sub(1);
        }
    }

    /// Returns the first of so many slots that has other pieces or marks here than there.
    pub(crate) fn differs(&self, other: &Self, slots: Slot) -> Option<Slot> {
        let same =
            |slot: &Slot| self.slot(*slot) == other.slot(*slot) && self.pieces.get(*slot) == other.pieces.get(*slot);
        (0..slots).find(|slot| !same(slot))
    }

    /// Returns what the text of a cube shows at a glance.
    pub(crate) fn marks(&self, slot: Slot) -> TextMarks {
        self.slot(slot).map_or_else(TextMarks::default, |kept| kept.marks)
    }

    /// Returns how rare each piece is among the cubes of the given classes. Others are not counted, for the same reason
    /// as in lexical search.
    pub(crate) fn rarities(&self, pieces: &[Piece], classes: &ClassSet) -> HashMap<Piece, f32> {
        let sizes = self.class_sizes.iter().zip(0..);
        let total = sizes.filter(|(_, class)| classes.contains(*class)).map(|(size, _)| size).sum();
        let readable = |slot: &&Slot| self.slot(**slot).is_some_and(|kept| classes.contains(kept.class));
        let everything_readable = total == self.class_sizes.iter().sum::<usize>();
        let count = |piece: Piece| {
            let holders = self.holders.get(usize::from(piece)).map_or(&[][..], Vec::as_slice);
            if everything_readable { holders.len() } else { holders.iter().filter(readable).count() }
        };
        pieces.iter().map(|&piece| (piece, rarity(count(piece), total))).collect()
    }

    /// Returns how well each of `slots` covers each piece of the question.
    pub(crate) fn coverage(
        &self,
        meaning: &BuiltinEmbedder,
        question: &[Piece],
        rarities: &HashMap<Piece, f32>,
        slots: &[Slot],
    ) -> Coverage {
        let question: Vec<Piece> = question.iter().copied().take(QUESTION_PIECES).collect();
        let rarity = |piece: &Piece| rarities.get(piece).copied().unwrap_or(0.0);
        let sum: f32 = question.iter().map(rarity).sum();
        let weights: Vec<f32> = question.iter().map(|piece| rarity(piece) / sum.max(f32::MIN_POSITIVE)).collect();
        // Each distinct piece is compared once, however many cubes have it.
        let mut places: Vec<u32> = vec![0; self.holders.len()];
        let mut distinct: Vec<u32> = Vec::new();
        for piece in slots.iter().flat_map(|slot| self.pieces.get(*slot)) {
            if let Some(place) = places.get_mut(usize::from(*piece)).filter(|place| **place == 0) {
                distinct.push(u32::from(*piece));
                *place = distinct.len() as u32;
            }
        }
        let met = met(meaning, &question, &distinct);
        let width = question.len();
        // Most pieces have nothing to do with the question, and are passed over from here on.
        for (row, piece) in met.chunks_exact(width.max(1)).zip(&distinct) {
            if let Some(place) = places.get_mut(*piece as usize).filter(|_| row.iter().all(|met| *met == 0.0)) {
                *place = 0;
            }
        }
        let mut rows = FxHashMap::with_capacity_and_hasher(slots.len(), FxBuildHasher);
        let mut values = Vec::with_capacity(slots.len() * width);
        for &slot in slots {
            let start = values.len();
            rows.insert(slot, start);
            values.resize(start + width, 0.0_f32);
            let Some(best) = values.get_mut(start..) else { continue };
            for piece in self.pieces.get(slot) {
                let place = places.get(usize::from(*piece)).map_or(0, |place| *place as usize);
                let Some(offered) = place.checked_sub(1).and_then(|place| met.get(place * width..(place + 1) * width))
                else {
                    continue;
                };
                for (best, offered) in best.iter_mut().zip(offered) {
                    *best = best.max(*offered);
                }
            }
        }
        Coverage { weights, rows, values }
    }

    fn slot(&self, slot: Slot) -> Option<&SlotMarks> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// Returns what must be stored.
    pub(crate) fn to_flat(&self) -> FlatPieces {
        let slots = self.slots.iter().zip(0..);
        FlatPieces(slots.map(|(marks, slot)| Some(((*marks)?, self.pieces.get(slot).to_vec()))).collect())
    }

    /// Makes the index of what was stored, or returns none when it names a class of more than `classes`.
    pub(crate) fn from_flat(flat: FlatPieces, classes: usize) -> Option<Self> {
        let mut index = Self::default();
        for (slot, kept) in flat.0.into_iter().enumerate() {
            if let Some((SlotMarks { class, marks }, pieces)) = kept {
                if class as usize >= classes {
                    return None;
                }
                index.put(slot as Slot, class, marks, pieces);
            }
        }
        Some(index)
    }
}

/// Returns, one row for each of the `distinct` pieces, how well it meets each piece of the question.
fn met(meaning: &BuiltinEmbedder, question: &[Piece], distinct: &[u32]) -> Vec<f32> {
    let width = question.len();
    let mut met = vec![0.0; distinct.len() * width];
    let mut cosines = Vec::new();
    for (column, piece) in question.iter().enumerate() {
        meaning.similarities(*piece, distinct, &mut cosines);
        let cells = met.iter_mut().skip(column).step_by(width);
        for (cell, cosine) in cells.zip(&cosines).filter(|(_, cosine)| **cosine > UNRELATED_UP_TO) {
            *cell = cosine * cosine;
        }
    }
    met
}

/// How well cubes cover the pieces of a question, each from 0 to 1.
#[derive(Debug, Clone, Default)]
pub(crate) struct Coverage {
    /// What each piece counts; together 1.
    pub(crate) weights: Vec<f32>,
    rows: FxHashMap<Slot, usize>,
    values: Vec<f32>,
}

impl Coverage {
    /// Returns how well a cube covers each piece, or nothing for a cube that was not looked at.
    pub(crate) fn of(&self, slot: Slot) -> Option<&[f32]> {
        let start = *self.rows.get(&slot)?;
        self.values.get(start..start + self.weights.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::builtin;

    #[test]
    fn other_words_cover_too_and_hidden_cubes_count_for_nothing() {
        let meaning = builtin().unwrap();
        let mut index = PieceIndex::default();
        let texts = [("the dog slept", 0), ("a puppy in the garden", 0), ("the invoice is due", 0), ("dog dog dog", 1)];
        for (slot, (text, class)) in texts.iter().enumerate() {
            index.put(slot as Slot, *class, TextMarks::of(text), meaning.pieces(text));
        }
        let question = meaning.pieces("dog");
        let classes = ClassSet::from_iter([0]);
        let rarities = index.rarities(&question, &classes);
        assert_eq!(rarities[&question[0]], rarity(1, 3));
        let coverage = index.coverage(&meaning, &question, &rarities, &[0, 1, 2]);
        let covered: Vec<f32> = (0..3).map(|slot| coverage.of(slot).unwrap()[0]).collect();
        assert!(covered[0] > 0.99 && covered[1] > 0.3 && covered[2] == 0.0, "{covered:?}");
        assert!(coverage.of(3).is_none());

        index.put(0, 1, TextMarks::default(), meaning.pieces("the boat"));
        assert_eq!(index.rarities(&question, &classes)[&question[0]], rarity(0, 2));
        let again = PieceIndex::from_flat(index.to_flat(), 2).unwrap();
        assert_eq!(
            again.rarities(&question, &ClassSet::from_iter([0, 1])),
            index.rarities(&question, &ClassSet::from_iter([0, 1]))
        );
    }

    #[test]
    fn marks_are_seen() {
        let marks = TextMarks::of("When did I go? Last Friday.");
        assert_eq!(marks, TextMarks { asks: true, tells_time: true, first_person: true });
        assert_eq!(TextMarks::of("The boat is red."), TextMarks::default());
    }
}
