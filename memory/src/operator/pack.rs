//! Packing: as many of the best memories as fit, and none that says what a better one says already.

use std::collections::BTreeSet;

/// A word is about four bytes of text and a little; enough to plan with before a model's own tokenizer counts.
const BYTES_PER_TOKEN: usize = 4;

/// Share of common terms from which a memory adds nothing to a better one.
const SAME: f32 = 0.9;
/// Fewest terms of memories that can say the same.
const FEWEST_TERMS: usize = 4;

/// Estimates how many tokens a text takes.
pub(crate) fn estimated_tokens(text: &str) -> usize {
    text.len().div_ceil(BYTES_PER_TOKEN)
}

/// Room for memories and tokens, and what was put in.
pub(super) struct Pack {
    memories: usize,
    tokens: usize,
    used_tokens: usize,
    terms: Vec<BTreeSet<String>>,
}

/// What became of a memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packed {
    /// It is in.
    In,
    /// The memory with this number, which is in, says the same.
    SaidBy(usize),
    /// It is too long for what is left; a shorter one may fit.
    TooLong,
}

impl Pack {
    pub(super) fn new(memories: usize, tokens: usize) -> Self {
        Self { memories, tokens, used_tokens: 0, terms: Vec::new() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.terms.len() >= self.memories
    }

    pub(super) fn used_tokens(&self) -> usize {
        self.used_tokens
    }

    /// Puts a memory in, if there is room and none in there says the same.
    pub(super) fn put(&mut self, terms: BTreeSet<String>, tokens: usize) -> Packed {
        if let Some(other) = self.terms.iter().position(|other| says_the_same(other, &terms)) {
            return Packed::SaidBy(other);
        }
        if self.used_tokens + tokens > self.tokens {
            return Packed::TooLong;
        }
        self.used_tokens += tokens;
        self.terms.push(terms);
        Packed::In
    }
}

fn says_the_same(a: &BTreeSet<String>, b: &BTreeSet<String>) -> bool {
    // Texts whose lengths differ more than that cannot have enough in common, and then nothing need be compared.
    let (fewer, more) = (a.len().min(b.len()), a.len().max(b.len()));
    if fewer < FEWEST_TERMS || (fewer as f32) < SAME * more as f32 {
        return false;
    }
    a.intersection(b).count() as f32 >= SAME * more as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> BTreeSet<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn packs_hold_what_fits_and_nothing_twice() {
        let mut pack = Pack::new(2, 10);
        assert_eq!(pack.put(terms("red boat at sea"), 6), Packed::In);
        assert_eq!(pack.put(terms("sea boat at red"), 1), Packed::SaidBy(0));
        assert_eq!(pack.put(terms("a long tale of many words"), 5), Packed::TooLong);
        assert_eq!(pack.put(terms("thanks"), 4), Packed::In);
        assert!(pack.is_full());
        assert_eq!(pack.used_tokens(), 10);
    }
}
