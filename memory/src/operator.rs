//! MemOperator: answers a call with the memories that serve it, each with a receipt that says why.
//!
//! The way is: candidates from the index inside what the caller may read, spread over the graph, ranked by named features,
//! checked again by the policy, and packed into a budget without near-duplicates. Every step is a pure function of one
//! consistent point of each space; nothing is written here.

mod call;
mod features;
mod fence;
mod pack;
mod rank;
mod recall;
mod receipt;

pub use call::{AskedTime, Intent, MemoryCall};
pub use features::{Feature, Weights};
pub(crate) use pack::estimated_tokens;
pub use recall::recall;
pub(crate) use recall::recall_without;
pub use receipt::{Answer, PathStep, RecallTimes, Receipt};
