//! The features by which memories are ranked, and what each weighs.
//!
//! All are bounded and none depends on how many memories there are, so that weights mean the same in a space of a hundred
//! cubes and of a million, and scores of several spaces can be compared. They were chosen on conversations; halving or
//! doubling any one weight lowers recall at ten there by less than two hundredths.

use std::fmt;

use serde::Serialize;

use crate::graph::SpreadWeights;

macro_rules! features {
    ($($(#[$doc:meta])* $variant:ident $field:ident = $weight:literal,)+) => {
        /// A reason to recall a memory.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Feature {
            $($(#[$doc])* $variant,)+
        }

        impl Feature {
            /// All features.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];
        }

        impl fmt::Display for Feature {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => stringify!($field),)+ })
            }
        }

        /// What each feature weighs.
        #[derive(Debug, Clone, Copy, PartialEq, Serialize)]
        pub struct Weights {
            $($(#[$doc])* pub $field: f32,)+
        }

        impl Default for Weights {
            fn default() -> Self {
                Self { $($field: $weight,)+ }
            }
        }

        impl Weights {
            /// Returns what a feature weighs.
            pub fn of(&self, feature: Feature) -> f32 {
                match feature { $(Feature::$variant => self.$field,)+ }
            }
        }
    };
}

features! {
    /// Words of the question stand in it: BM25 as a share of the most there could be.
    Lexical lexical = 1.0,
    /// It means something like the question: the cosine of their vectors.
    Dense dense = 1.0,
    /// It and what was said right before and after cover the question.
    Near near = 1.0,
    /// It and what led up to it cover the question.
    Back back = 1.0,
    /// It answers: what came right before asked something and fits the question.
    Reply reply = 0.5,
    /// The session it is from has something that fits the question; it fits itself, where it is from none.
    Session session = 1.0,
    /// The question is about whoever said it.
    Speaker speaker = 0.5,
    /// It was said at, or soon after, a time that the question names.
    Date date = 1.0,
    /// The question asks for a time, and it speaks of one.
    Time time = 0.5,
    /// It opens a session, where news is told.
    Opening opening = 0.25,
    /// Its speaker speaks of themselves.
    FirstPerson first_person = 0.125,
    /// Another memory holds in its place, or in place of what was concluded from it, by now.
    Superseded superseded = -0.5,
    /// It holds in place of a memory that fits the question, and so stands before it.
    Replaces replaces = 1.0,
}

/// Reach of `near`: two steps each way, and what it came from or is about.
pub(super) const NEAR: SpreadWeights = SpreadWeights { before: 2, after: 2, lineage: 0.5, association: 0.5 };

/// Reach of `back`: four steps back, since a conversation comes to a point and does not start from it. What other links
/// give is counted in `near`.
pub(super) const BACK: SpreadWeights = SpreadWeights { before: 4, after: 0, lineage: 0.0, association: 0.0 };

/// Best matches whose surroundings become candidates too.
pub(super) const SEEDS: usize = 80;
/// Steps before and after a best match that become candidates: what `near`, `back` and `reply` can lift.
pub(super) const AROUND_SEED: (usize, usize) = (2, 4);
