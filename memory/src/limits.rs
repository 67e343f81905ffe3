//! Every bound of the crate by name, with its unit and its default.
//!
//! A bound is checked before work is done, and an input beyond it is refused with [`Error::invalid`]: nothing is cut
//! silently, and nothing is dropped because a bound was reached.

use crate::error::{Error, Result};

/// The bounds within which a space works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one plaintext payload. A longer text belongs into a document of several cubes.
    pub text_bytes: usize,
    /// Bytes of one activation or parametric payload.
    pub body_bytes: usize,
    /// Payloads of more bytes than this are kept in files of their own, beside the ledger's store.
    pub inline_body_bytes: usize,
    /// Bytes of a title, tag, name or reason.
    pub name_bytes: usize,
    /// Tags of one cube.
    pub tags: usize,
    /// Grants of one cube.
    pub grants: usize,
    /// Cubes one cube names as its sources.
    pub derived_from: usize,
    /// Changes in one batch.
    pub batch_changes: usize,
    /// Changes that one restoring, merging or importing makes in one durable step.
    pub transaction_changes: usize,
    /// Cubes that one erasure takes.
    pub erased_cubes: usize,
    /// Views of the past that a space keeps at hand.
    pub past_views: usize,
    /// Changes that wait for the writer, over all callers. Beyond it a caller gets `Busy`.
    pub waiting_changes: usize,
    /// Changes written in one durable commit.
    pub commit_changes: usize,
    /// Links that leave or enter one cube.
    pub links_per_cube: usize,
    /// Cubes in one space.
    pub cubes: usize,
    /// Registers of one space.
    pub registers: usize,
    /// Bytes of one register.
    pub register_bytes: usize,
    /// Lines of the audit log that wait for the next durable step. Who comes then makes it.
    pub waiting_records: usize,
    /// Bytes of a question.
    pub question_bytes: usize,
    /// Memories in one answer.
    pub answer_memories: usize,
    /// Tokens in one answer.
    pub answer_tokens: usize,
    /// Spaces that one recall may span.
    pub spaces_per_recall: usize,
    /// Bytes of the store's page cache, for each open space.
    pub cache_bytes: usize,
    /// Milliseconds to wait for another program to close a space, before the answer is `Busy`.
    pub open_wait_millis: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text_bytes: 64 * 1024,
            body_bytes: 1024 * 1024 * 1024,
            inline_body_bytes: 64 * 1024,
            name_bytes: 4096,
            tags: 64,
            grants: 64,
            derived_from: 1024,
            batch_changes: 4096,
            transaction_changes: 1_000_000,
            erased_cubes: 1_000_000,
            past_views: 2,
            waiting_changes: 65_536,
            commit_changes: 4096,
            links_per_cube: 100_000,
            cubes: 50_000_000,
            registers: 65_536,
            register_bytes: 64 * 1024,
            waiting_records: 1024,
            question_bytes: 16 * 1024,
            answer_memories: 1000,
            answer_tokens: 1_000_000,
            spaces_per_recall: 64,
            cache_bytes: 64 * 1024 * 1024,
            open_wait_millis: 2000,
        }
    }
}

impl Limits {
    /// Refuses a `found` above `most`; `what` names the input, `unit` what was counted.
    pub(crate) fn check(what: &str, found: usize, most: usize, unit: &str) -> Result<()> {
        if found > most {
            return Err(Error::invalid(format!("{what} has {found} {unit}, and at most {most} are accepted")));
        }
        Ok(())
    }
}
