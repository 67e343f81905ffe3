//! Dead letters: messages that were sent and not handled, kept for whoever looks for them.

use std::collections::VecDeque;

use memos_memory::cube::PrincipalId;
use parking_lot::Mutex;

use super::envelope::TraceLink;

/// Why a message was not handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Undelivered {
    /// Its deadline had passed when its turn came.
    Late,
    /// Nobody waited for its answer any more.
    CallerGone,
    /// The actor died or stopped with it in its mailbox.
    ActorDied,
}

/// A message that was not handled. It says nothing of what the message held.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DeadLetter {
    /// The actor's name.
    pub actor: String,
    /// The command's name.
    pub command: &'static str,
    /// Who asked.
    pub principal: PrincipalId,
    /// Where it belonged in a trace.
    pub trace: TraceLink,
    /// Why it was not handled.
    pub why: Undelivered,
}

/// The last messages of a kernel that were not handled, and how many there were.
#[derive(Debug)]
pub struct DeadLetters {
    most: usize,
    kept: Mutex<(VecDeque<DeadLetter>, u64)>,
}

impl DeadLetters {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    pub(super) fn put(&self, letter: DeadLetter) {
        let (letters, total) = &mut *self.kept.lock();
        *total += 1;
        if letters.len() >= self.most {
            letters.pop_front();
        }
        if self.most > 0 {
            letters.push_back(letter);
        }
    }

    /// Returns those that are kept, oldest first.
    pub fn kept(&self) -> Vec<DeadLetter> {
        self.kept.lock().0.iter().cloned().collect()
    }

    /// Returns how many there were since the kernel was opened.
    pub fn total(&self) -> u64 {
        self.kept.lock().1
    }
}
