//! One row of logits to one token.
//!
//! It is a pure function: chance is handed in as a number, so that a seed decides a whole answer, and so that one request's
//! tokens do not depend on which others are decoded beside it.
//!
//! This room must never know a model, nor what a token says.

#[cfg(test)]
mod tests;

use crate::{Error, Result};

/// The highest temperature. At 10 the likeliest tokens of a model are hardly ahead of the rest.
pub const TEMPERATURE_MAX: f32 = 10.0;

/// The strongest penalty on what was said before, and one over it the weakest.
pub const REPETITION_MAX: f32 = 10.0;

/// How the next token is chosen among those a model finds likely.
///
/// The steps come in this order: repetition, temperature, `top_k`, `top_p`, `min_p`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Flattens the likelihoods where above 1, sharpens them below. At 0 the likeliest token is taken, and of several the one with
    /// the lowest id.
    pub temperature: f32,
    /// Keeps the likeliest tokens, as few as have this much of the probability together; 1 keeps all.
    pub top_p: f32,
    /// Keeps this many of the likeliest tokens; `None` keeps all.
    pub top_k: Option<usize>,
    /// Keeps tokens with at least this share of the likeliest one's probability; 0 keeps all.
    pub min_p: f32,
    /// Makes tokens that were said before less likely where above 1: their logit is divided by it, or multiplied if negative.
    pub repetition: f32,
    /// What chance begins with. The same seed gives the same answer.
    pub seed: u64,
}

/// Takes the likeliest token every time.
impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_p: 1.0, top_k: None, min_p: 0.0, repetition: 1.0, seed: 0 }
    }
}

/// Which tokens may come next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenMask {
    bits: Vec<u32>,
}

impl TokenMask {
    /// Allows these tokens and no other.
    pub fn of(tokens: &[u32]) -> Self {
        let words = tokens.iter().max().map_or(0, |highest| *highest as usize / 32 + 1);
        let mut bits = vec![0; words];
        for token in tokens {
            if let Some(word) = bits.get_mut(*token as usize / 32) {
                *word |= 1 << (token % 32);
            }
        }
        Self { bits }
    }

    /// Takes over a set whose lowest bit of its first word is token 0.
    pub(crate) fn from_words(bits: Vec<u32>) -> Self {
        Self { bits }
    }

    /// Tells whether a token may come next.
    pub fn allows(&self, token: u32) -> bool {
        self.bits.get(token as usize / 32).is_some_and(|word| word >> (token % 32) & 1 == 1)
    }

    /// Returns how many tokens may come next.
    pub fn count(&self) -> usize {
        self.bits.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// A token that may still be chosen, and its probability, up to a factor that all have in common.
#[derive(Clone, Copy)]
struct Candidate {
    token: u32,
    weight: f64,
}

impl Sampling {
    /// Checks that every setting means something.
    ///
    /// # Errors
    ///
    /// `Invalid`, with the setting and what it may be.
    pub fn check(&self) -> Result<()> {
        let within = |name: &str, value: f32, low: f32, high: f32| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Error::invalid(format!("{name} `{value}` is out of range: give {low} to {high}")))
        };
        within("temperature", self.temperature, 0.0, TEMPERATURE_MAX)?;
        within("top-p", self.top_p, 0.0, 1.0)?;
        within("min-p", self.min_p, 0.0, 1.0)?;
        within("repetition", self.repetition, 1.0 / REPETITION_MAX, REPETITION_MAX)?;
        if self.top_p == 0.0 {
            return Err(Error::invalid("top-p `0` keeps no token: for the likeliest one, give temperature 0"));
        }
        if self.top_k == Some(0) {
            return Err(Error::invalid("top-k `0` keeps no token: give 1 or more, or leave it out"));
        }
        Ok(())
    }

    /// Chooses the next token.
    ///
    /// `logits` has a value for every token of the vocabulary, and none for the rows that a model has beyond it. `allowed` may
    /// forbid some. `said` are the tokens that repetition counts; with memory in the context that is the answer so far, since a
    /// penalty on what was read would keep a model from quoting it. `chance` is at least 0 and under 1, and drawn anew each time.
    ///
    /// # Errors
    ///
    /// `Invalid` for a setting that means nothing, or where no token is left; `Corrupt` for logits that are no numbers.
    pub fn choose(&self, logits: &[f32], allowed: Option<&TokenMask>, said: &[u32], chance: f64) -> Result<u32> {
        self.check()?;
        if let Some(place) = logits.iter().position(|logit| logit.is_nan() || *logit == f32::INFINITY) {
            let value = logits.get(place).copied().unwrap_or_default();
            return Err(Error::corrupt(format!(
                "the model gave `{value}` for token {place}: its weights are damaged, or too large for their number format"
            )));
        }
        let mut candidates: Vec<Candidate> = (0_u32..)
            .zip(logits)
            .filter(|(token, logit)| **logit > f32::NEG_INFINITY && allowed.is_none_or(|mask| mask.allows(*token)))
            .map(|(token, logit)| Candidate { token, weight: f64::from(*logit) })
            .collect();
        self.penalise(&mut candidates, said);
        // The first of the highest: the comparison keeps the earlier one where two are equal.
        let best = candidates.iter().copied().reduce(|best, next| if next.weight > best.weight { next } else { best });
        let Some(best) = best else {
            return Err(Error::invalid("no token may come next: what is allowed has none that the model can say"));
        };
        if self.temperature == 0.0 {
            return Ok(best.token);
        }
        for candidate in &mut candidates {
            candidate.weight = ((candidate.weight - best.weight) / f64::from(self.temperature)).exp();
        }
        self.narrow(&mut candidates);
        Ok(draw(&candidates, chance).unwrap_or(best.token))
    }

    fn penalise(&self, candidates: &mut [Candidate], said: &[u32]) {
        if self.repetition == 1.0 {
            return;
        }
        let said = TokenMask::of(said);
        let penalty = f64::from(self.repetition);
        for candidate in candidates.iter_mut().filter(|candidate| said.allows(candidate.token)) {
            candidate.weight =
                if candidate.weight > 0.0 { candidate.weight / penalty } else { candidate.weight * penalty };
        }
    }

    /// Drops what is too unlikely. The weights are shares of the likeliest token's probability.
    fn narrow(&self, candidates: &mut Vec<Candidate>) {
        if let Some(count) = self.top_k.filter(|count| *count < candidates.len()) {
            candidates.select_nth_unstable_by(count, likelier);
            candidates.truncate(count);
        }
        if self.top_p < 1.0 {
            keep_mass(candidates, f64::from(self.top_p));
        }
        candidates.retain(|candidate| candidate.weight >= f64::from(self.min_p));
        candidates.sort_unstable_by_key(|candidate| candidate.token);
    }
}

/// Keeps the likeliest candidates, as few as have this share of all. A vocabulary is large and the share lies with few: only as
/// many are sorted as are needed.
fn keep_mass(candidates: &mut Vec<Candidate>, share: f64) {
    let needed = share * candidates.iter().map(|candidate| candidate.weight).sum::<f64>();
    let mut looked_at = 256;
    while looked_at < candidates.len() {
        candidates.select_nth_unstable_by(looked_at, likelier);
        let mass: f64 = candidates.iter().take(looked_at).map(|candidate| candidate.weight).sum();
        if mass >= needed {
            candidates.truncate(looked_at);
            break;
        }
        looked_at *= 8;
    }
    candidates.sort_unstable_by(likelier);
    let mut mass = 0.0;
    let before = candidates.iter().take_while(|candidate| {
        let missing = mass < needed;
        mass += candidate.weight;
        missing
    });
    let kept = before.count();
    candidates.truncate(kept);
}

/// Orders by likelihood, and equals by id, so that every run keeps the same ones.
fn likelier(one: &Candidate, other: &Candidate) -> std::cmp::Ordering {
    other.weight.total_cmp(&one.weight).then(one.token.cmp(&other.token))
}

fn draw(candidates: &[Candidate], chance: f64) -> Option<u32> {
    let all: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
    let mut left = chance.clamp(0.0, 1.0) * all;
    for candidate in candidates {
        left -= candidate.weight;
        if left < 0.0 {
            return Some(candidate.token);
        }
    }
    // Sums round: what is left over falls to the last one that can be drawn.
    candidates.iter().rev().find(|candidate| candidate.weight > 0.0).map(|candidate| candidate.token)
}
