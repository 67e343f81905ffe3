//! What is asked of memory.

use serde::Serialize;

use crate::cube::SemanticType;
use crate::governance::Principal;
use crate::time::{Timestamp, Window};

/// What sort of answer a question wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// Anything that serves.
    #[default]
    Any,
    /// A time: "when", "what date", "how long ago".
    Time,
    /// A place: "where", "which city".
    Place,
    /// A person: "who", "whose".
    Person,
    /// A number: "how many", "how much", "how old".
    Quantity,
    /// A reason: "why", "how come".
    Reason,
}

/// A time that a question names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AskedTime {
    /// The stretch of time.
    pub window: Window,
    /// Whether the same days of any other year may be meant: "in March" names no year.
    pub any_year: bool,
}

/// A question to memory, understood as far as that goes without a model.
#[derive(Debug, Clone, Serialize)]
pub struct MemoryCall {
    /// Who asks.
    pub caller: Principal,
    /// The question as it was put.
    pub question: String,
    /// What sort of answer it wants.
    pub intent: Intent,
    /// Speakers of the space that it names, in the order of the question.
    pub entities: Vec<String>,
    /// The one of them that it is about, when it is about one.
    pub subject: Option<String>,
    /// Times that it names; memories of those times are preferred.
    pub times: Vec<AskedTime>,
    /// The semantic types that may be in the answer; empty for all.
    pub semantic: Vec<SemanticType>,
    /// Tags that every memory of the answer must have.
    pub tags: Vec<String>,
    /// When every memory of the answer must have been said, seen or true.
    pub window: Window,
    /// A time at which every memory of the answer must be true, whenever it was said or learned.
    pub true_at: Option<Timestamp>,
    /// Whether archived memories may be in the answer.
    pub archived: bool,
    /// The most memories.
    pub memories: usize,
    /// The most tokens.
    pub tokens: usize,
    /// The time at which it is asked.
    pub now: Timestamp,
}

impl MemoryCall {
    /// Makes a call of a bare question, with room for ten memories and two thousand tokens.
    /// [`crate::reader::read_question`] fills in what the question says.
    pub fn new(caller: Principal, question: impl Into<String>, now: Timestamp) -> Self {
        Self {
            caller,
            question: question.into(),
            intent: Intent::Any,
            entities: Vec::new(),
            subject: None,
            times: Vec::new(),
            semantic: Vec::new(),
            tags: Vec::new(),
            window: Window::ALWAYS,
            true_at: None,
            archived: false,
            memories: 10,
            tokens: 2000,
            now,
        }
    }
}
