//! The strategies by which a memory's claim to be at hand is judged, and what each weighs.
//!
//! Each gives a value from 0 to 1, so that weights mean what they say, and a claim is the weighted mean of them: it lies
//! between 0 and 1 as well, and claims of different tasks can be compared.

use std::fmt;

use serde::Serialize;

use super::{Candidate, SchedulerRules};
use crate::cube::Priority;
use crate::error::{Error, Result};
use crate::lifecycle::decayed;
use crate::time::Timestamp;

macro_rules! strategies {
    ($($(#[$doc:meta])* $variant:ident $field:ident = $weight:literal,)+) => {
        /// A reason to have a memory at hand.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Strategy {
            $($(#[$doc])* $variant,)+
        }

        impl Strategy {
            /// All strategies.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];
        }

        impl fmt::Display for Strategy {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => stringify!($field),)+ })
            }
        }

        /// What each strategy weighs.
        #[derive(Debug, Clone, Copy, PartialEq, Serialize)]
        pub struct SchedulerWeights {
            $($(#[$doc])* pub $field: f32,)+
        }

        impl Default for SchedulerWeights {
            fn default() -> Self {
                Self { $($field: $weight,)+ }
            }
        }

        impl SchedulerWeights {
            /// Returns what a strategy weighs.
            pub fn of(&self, strategy: Strategy) -> f32 {
                match strategy { $(Strategy::$variant => self.$field,)+ }
            }
        }
    };
}

strategies! {
    /// It was used lately: least recently used goes first.
    Recency recency = 1.0,
    /// It is near to what is asked, as recall has scored it, or was asked lately.
    Similarity similarity = 6.0,
    /// It carries the labels of what is asked: tags, entities, the task.
    Labels labels = 1.0,
    /// It matters to its owner.
    Priority priority = 1.0,
    /// It is used often: a count that decays.
    Frequency frequency = 3.0,
    /// Those who used it said that it helped.
    Helpful helpful = 1.0,
}

impl Strategy {
    /// Returns whether it depends on what is asked just now. Such a strategy says nothing about the next call, and so
    /// nothing about what is worth keeping in a form.
    pub fn is_of_call(self) -> bool {
        matches!(self, Self::Similarity | Self::Labels)
    }
}

impl SchedulerWeights {
    pub(super) fn check(&self) -> Result<()> {
        let all = || Strategy::ALL.iter().map(|strategy| (*strategy, self.of(*strategy)));
        if let Some((strategy, weight)) = all().find(|(_, weight)| !weight.is_finite() || *weight < 0.0) {
            return Err(Error::invalid(format!("`{weight}` is no weight of {strategy}; use a number from 0")));
        }
        if !all().any(|(strategy, weight)| weight > 0.0 && !strategy.is_of_call()) {
            return Err(Error::invalid(
                "nothing weighs but what is asked; give recency, priority or frequency a weight",
            ));
        }
        Ok(())
    }
}

/// What one strategy says of a memory.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Part {
    /// The strategy.
    pub strategy: Strategy,
    /// What it says, from 0 to 1.
    pub value: f32,
    /// What it weighs.
    pub weight: f32,
}

/// Returns what each strategy says of a candidate, in their order. `wanted` are labels in lower case.
pub(super) fn parts(candidate: &Candidate, wanted: &[String], now: Timestamp, rules: &SchedulerRules) -> Vec<Part> {
    let value = |strategy| match strategy {
        Strategy::Recency => decayed(1.0, candidate.standing.last_touched(), now, rules.recency_half_life_millis),
        Strategy::Similarity => {
            let score = decayed(candidate.score, candidate.scored, now, rules.score_half_life_millis);
            saturated(score, rules.half_score)
        }
        Strategy::Labels => carried(&candidate.labels, wanted),
        Strategy::Priority => match candidate.standing.priority {
            Priority::Low => 0.0,
            Priority::Normal => 0.5,
            Priority::High => 1.0,
        },
        Strategy::Frequency => saturated(candidate.standing.usage.heat(now), rules.half_heat),
        Strategy::Helpful => {
            // Laplace's rule: without a word from anybody it is one half.
            let (helpful, unhelpful) = (candidate.standing.usage.helpful, candidate.standing.usage.unhelpful);
            (helpful as f32 + 1.0) / (helpful as f32 + unhelpful as f32 + 2.0)
        }
    };
    let part = |strategy: &Strategy| Part {
        strategy: *strategy,
        value: value(*strategy).clamp(0.0, 1.0),
        weight: rules.weights.of(*strategy),
    };
    Strategy::ALL.iter().map(part).collect()
}

/// Returns the weighted mean of the parts that count.
pub(super) fn mean(parts: &[Part], counts: impl Fn(Strategy) -> bool) -> f32 {
    let counted = || parts.iter().filter(|part| counts(part.strategy));
    let weight: f32 = counted().map(|part| part.weight).sum();
    let sum: f32 = counted().map(|part| part.weight * part.value).sum();
    if weight > 0.0 { sum / weight } else { 0.0 }
}

/// Returns an amount as a share: one half at `half`, and never quite 1.
fn saturated(amount: f32, half: f32) -> f32 {
    let amount = if amount.is_finite() { amount.max(0.0) } else { 0.0 };
    if amount > 0.0 { amount / (amount + half) } else { 0.0 }
}

fn carried(labels: &[String], wanted: &[String]) -> f32 {
    if wanted.is_empty() {
        return 0.0;
    }
    let carried = wanted.iter().filter(|wanted| labels.iter().any(|label| label.to_lowercase() == **wanted)).count();
    carried as f32 / wanted.len() as f32
}
