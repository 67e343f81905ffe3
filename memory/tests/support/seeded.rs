//! What makes a test the same every time: numbers that follow from a seed, an embedder of sixteen numbers, and a clock that
//! is set by hand.
//!
//! Each test file takes what it needs, so not all of it is used everywhere.
#![allow(dead_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use memos_memory::Result;
use memos_memory::embed::{Embedder, EmbedderId};
use memos_memory::time::{Clock, Timestamp};

/// Numbers in a vector of [`WordEmbedder`].
pub(crate) const DIMENSIONS: usize = 16;

/// When the clock of every test starts: 2023-11-14T22:13:20Z.
pub(crate) const START: i64 = 1_700_000_000_000;

/// Adds up one fixed direction a word. It costs nothing, and is the same on every machine.
pub(crate) struct WordEmbedder {
    id: EmbedderId,
    seed: u64,
}

impl WordEmbedder {
    /// Makes an embedder; those of different seeds give different vectors and have different names.
    pub(crate) fn new(seed: u64) -> Self {
        Self { id: format!("words-{seed}:0").parse().unwrap(), seed }
    }
}

impl Embedder for WordEmbedder {
    fn id(&self) -> &EmbedderId {
        &self.id
    }

    fn dimensions(&self) -> usize {
        DIMENSIONS
    }

    fn embed(&self, text: &str) -> Result<Vec<f32>> {
        let mut sum = vec![0.0_f32; DIMENSIONS];
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            let start =
                word.bytes().fold(self.seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            let mut random = Random::new(start);
            sum.iter_mut().for_each(|number| *number += random.below(2001) as f32 / 1000.0 - 1.0);
        }
        let length = sum.iter().map(|number| number * number).sum::<f32>().sqrt();
        if length > 0.0 {
            sum.iter_mut().for_each(|number| *number /= length);
        }
        Ok(sum)
    }
}

/// A clock that moves when it is told to.
#[derive(Clone)]
pub(crate) struct HandClock(Arc<AtomicI64>);

impl Default for HandClock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(START)))
    }
}

impl HandClock {
    /// Moves on.
    pub(crate) fn advance(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Numbers that follow from a seed: SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound.max(1) as u64) as usize
    }

    /// Returns whether something that happens `times` in `of` times happens now.
    pub(crate) fn chance(&mut self, times: usize, of: usize) -> bool {
        self.below(of) < times
    }

    /// Returns one of the values.
    pub(crate) fn pick<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.below(values.len())]
    }
}
