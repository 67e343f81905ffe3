//! What the small model is taught with: a world of made-up people and things, in simple English.
//!
//! A [`Fact`] is said in one sentence and asked for by one question. Names and values are words that nobody has seen, spelt of
//! word pieces, so that the model can only answer by reading; some words are never in a lesson, and are what it is examined
//! with. The same grammar makes questions and answers out of a memory's text, for teaching it to an adapter.

mod grammar;
mod rows;
mod teaching;
mod vocabulary;
mod words;

pub use grammar::{Fact, NOT_KNOWN, RELATIONS, Relation, Value};
pub use rows::{AnswerTargets, Asked, Layout, Row, RowShape, Rows, random_facts};
pub use teaching::{Examination, MAX_TAUGHT_FACTS, Probe, Teaching};
pub use vocabulary::{Control, tokenizer, tokenizer_json};
pub use words::{WordPool, is_held_out, random_word};

#[cfg(test)]
mod tests;
