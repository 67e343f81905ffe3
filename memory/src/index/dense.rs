//! Dense search: quantised vectors in one block, compared with the question's one by one.
//!
//! Up to [`EXACT_UP_TO`] rows, every row is compared. Beyond, a first pass compares sketches, one bit a dimension, and the
//! rows that differ least are then compared in full. A graph of neighbours would answer faster in millions of rows, but
//! costs a hundred times more at each write, and this index takes updates, deletes and filters at no cost at all.

use serde::{Deserialize, Serialize};

use super::document::QuantizedVector;
use crate::graph::Slot;
use crate::kernel::{differing_bits, dot_rows};

/// Rows up to which every one is compared in full. The two ways cost the same at about 5,000 (`memos bench crossover`),
/// but the full one finds everything, and up to here it costs little more.
pub const EXACT_UP_TO: usize = 20_000;

/// Rows that a first pass hands on to be compared in full, for each one that is asked for.
pub(super) const OVERSAMPLE: usize = 16;

/// Vectors of all slots. A slot without a vector has a row of zeros.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct DenseRows {
    dimensions: usize,
    #[serde(with = "plain_bytes")]
    values: Vec<u8>,
    scales: Vec<f32>,
    #[serde(skip)]
    sketches: Vec<u64>,
}

/// The question's vector, ready to be compared.
pub(super) struct DenseQuery {
    vector: QuantizedVector,
    sketch: Vec<u64>,
}

impl DenseRows {
    pub(super) fn new(dimensions: usize) -> Self {
        Self { dimensions, ..Self::default() }
    }

    pub(super) fn dimensions(&self) -> usize {
        self.dimensions
    }

    pub(super) fn rows(&self) -> usize {
        self.scales.len()
    }

    /// Returns the numbers of a row and their scale.
    pub(super) fn row(&self, slot: Slot) -> (&[u8], f32) {
        let (row, width) = (slot as usize, self.dimensions);
        let values = self.values.get(row * width..(row + 1) * width).unwrap_or_default();
        (values, self.scales.get(row).copied().unwrap_or_default())
    }

    /// Puts a vector into its row; a vector of zeros empties it.
    pub(super) fn put(&mut self, slot: Slot, vector: &QuantizedVector) {
        let (row, width) = (slot as usize, self.dimensions);
        let words = sketch_words(width);
        if self.rows() <= row {
            self.values.resize((row + 1) * width, 0);
            self.scales.resize(row + 1, 0.0);
            self.sketches.resize((row + 1) * words, 0);
        }
        let sketch = sketch_of(&vector.values);
        if let Some(target) = self.values.get_mut(row * width..(row + 1) * width) {
            target.copy_from_slice(&vector.values);
        }
        if let Some(target) = self.sketches.get_mut(row * words..(row + 1) * words) {
            target.copy_from_slice(&sketch);
        }
        if let Some(target) = self.scales.get_mut(row) {
            *target = vector.scale;
        }
    }

    /// Makes the sketches again after the rest was read from disk.
    pub(super) fn rebuild_sketches(&mut self) {
        self.sketches = self.values.chunks_exact(self.dimensions.max(1)).flat_map(sketch_of).collect();
    }

    pub(super) fn is_sound(&self) -> bool {
        self.values.len() == self.scales.len() * self.dimensions
    }

    pub(super) fn query(&self, vector: &[f32]) -> DenseQuery {
        let vector = QuantizedVector::of(vector);
        DenseQuery { sketch: sketch_of(&vector.values), vector }
    }

    /// Returns the cosine of each given slot.
    pub(super) fn score(&self, query: &DenseQuery, slots: &[Slot]) -> Vec<f32> {
        let mut products = Vec::new();
        dot_rows(&self.values, &query.vector.values, slots, &mut products);
        let scale = |slot: Slot| self.scales.get(slot as usize).copied().unwrap_or(0.0);
        slots.iter().zip(products).map(|(&slot, product)| product as f32 * scale(slot) * query.vector.scale).collect()
    }

    /// Returns the slots worth comparing in full: all of them up to `exact_up_to`, else those whose sketches are nearest,
    /// [`OVERSAMPLE`] for each of the `most` that are asked for.
    pub(super) fn worth_comparing(
        &self,
        query: &DenseQuery,
        slots: &[Slot],
        most: usize,
        exact_up_to: usize,
    ) -> Vec<Slot> {
        if slots.len() <= exact_up_to.max(most.saturating_mul(OVERSAMPLE)) {
            return slots.to_vec();
        }
        let mut distances = Vec::new();
        differing_bits(&self.sketches, &query.sketch, slots, &mut distances);
        nearest(slots, &distances, most.saturating_mul(OVERSAMPLE))
    }
}

/// Returns the `count` slots with the fewest differing bits, or a few less when many are equally far.
fn nearest(slots: &[Slot], distances: &[u16], count: usize) -> Vec<Slot> {
    let furthest = distances.iter().copied().filter(|distance| *distance < u16::MAX).max().unwrap_or(0);
    let mut histogram = vec![0_usize; usize::from(furthest) + 1];
    for distance in distances {
        if let Some(bucket) = histogram.get_mut(usize::from(*distance)) {
            *bucket += 1;
        }
    }
    let mut room = count;
    let mut bound = 0;
    for (distance, bucket) in histogram.iter().enumerate() {
        bound = distance as u16;
        if *bucket > room {
            break;
        }
        room -= bucket;
    }
    // Of the slots right at the bound, the first ones are taken until the room is used up.
    let mut chosen = Vec::with_capacity(count);
    for (&slot, &distance) in slots.iter().zip(distances) {
        if distance < bound {
            chosen.push(slot);
        } else if distance == bound && room > 0 {
            room -= 1;
            chosen.push(slot);
        }
    }
    chosen
}

pub(super) fn best_of(slots: &[Slot], scores: &[f32], most: usize) -> Vec<(Slot, f32)> {
    let mut scored: Vec<(Slot, f32)> = slots.iter().copied().zip(scores.iter().copied()).collect();
    if most < scored.len() {
        scored.select_nth_unstable_by(most, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        scored.truncate(most);
    }
    scored
}

fn sketch_words(dimensions: usize) -> usize {
    dimensions.next_power_of_two().div_ceil(64)
}

/// Returns one bit for each dimension of the turned vector: whether the value is above zero.
///
/// The first dimensions of an embedding say most and the last ones little, and a bit of each says the same little of all.
/// Turned first, every dimension holds a part of all others, and every bit says as much as the next.
fn sketch_of(values: &[u8]) -> Vec<u64> {
    let turned = turned(values);
    turned.chunks(64).map(|chunk| chunk.iter().rev().fold(0, |word, value| word << 1 | u64::from(*value > 0))).collect()
}

/// Turns a vector: signs are changed by a fixed rule, then each number becomes a sum and difference of all (the fast
/// Walsh-Hadamard transform), which keeps angles.
fn turned(values: &[u8]) -> Vec<i32> {
    // Any rule does that does not follow the data; these are the bits of a multiplicative sequence.
    let sign = |at: u32| if at.wrapping_mul(0x9e37_79b1) >> 31 == 1 { -1 } else { 1 };
    let mut turned: Vec<i32> =
        values.iter().zip(0..).map(|(value, at)| i32::from(value.cast_signed()) * sign(at)).collect();
    turned.resize(values.len().next_power_of_two(), 0);
    let mut half = 1;
    while half < turned.len() {
        for pair in turned.chunks_exact_mut(2 * half) {
            let (left, right) = pair.split_at_mut(half);
            for (left, right) in left.iter_mut().zip(right) {
                (*left, *right) = (*left + *right, *left - *right);
            }
        }
        half *= 2;
    }
    turned
}

/// Stores bytes as one block instead of one by one.
mod plain_bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(values: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(values)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        <&[u8]>::deserialize(from).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random and follow from a seed.
    fn noise(seed: u64, count: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count + 8).map(|_| next()).skip(8).collect()
    }

    #[test]
    fn the_nearest_sketches_hold_the_nearest_vectors() {
        let mut rows = DenseRows::new(256);
        (0..2000).for_each(|slot| rows.put(slot, &QuantizedVector::of(&noise(u64::from(slot) + 1, 256))));
        let slots: Vec<Slot> = (0..2000).collect();
        for near in [3, 700, 1999] {
            // A vector that lies between row `near` and something else.
            let other = noise(9999, 256);
            let query: Vec<f32> = noise(near + 1, 256).iter().zip(&other).map(|(a, b)| a + b).collect();
            let query = rows.query(&query);
            let worth = rows.worth_comparing(&query, &slots, 10, 0);
            assert_eq!(worth.len(), 10 * OVERSAMPLE);
            let scores = rows.score(&query, &worth);
            assert_eq!(best_of(&worth, &scores, 1)[0].0, near as Slot);
            assert_eq!(rows.worth_comparing(&query, &slots, 10, 2000).len(), 2000);
        }
    }

    #[test]
    fn the_nearest_are_as_many_as_asked_for() {
        assert_eq!(nearest(&[1, 2, 3, 4], &[5, 1, 5, 2], 2), [2, 4]);
        assert_eq!(nearest(&[1, 2, 3, 4], &[5, 5, 5, 2], 2), [1, 4]);
        assert_eq!(nearest(&[1], &[7], 3), [1]);
        assert!(nearest(&[], &[], 3).is_empty());
    }
}
