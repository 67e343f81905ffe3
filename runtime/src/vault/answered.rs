//! What requests with a key were answered, so that asking again does not do it again.
//!
//! It belongs to the space and not to its actor: a writer that is begun again still knows what the one before it wrote.

use std::collections::{HashMap, VecDeque};

use memos_memory::cube::PrincipalId;
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::vault::Committed;
use parking_lot::Mutex;

use crate::actor::{IdempotencyKey, Reply};

/// A request: whose, and by which name.
pub(super) type RequestId = (PrincipalId, IdempotencyKey);

enum Entry {
    /// It is being written; these wait for the answer too.
    Written(Vec<Reply<Committed>>),
    Answered(std::result::Result<Committed, (ErrorKind, String)>),
}

#[derive(Default)]
struct Known {
    entries: HashMap<RequestId, Entry>,
    /// Those that are answered, oldest first.
    answered: VecDeque<RequestId>,
}

/// The answers of one space.
pub(super) struct Answers {
    most: usize,
    known: Mutex<Known>,
}

impl Answers {
    pub(super) fn new(most: usize) -> Self {
        Self { most, known: Mutex::default() }
    }

    /// Begins a request and gives its reply back; or, when it was begun before, answers as then, now or when the answer is there.
    pub(super) fn begin(&self, request: &RequestId, reply: Reply<Committed>) -> Option<Reply<Committed>> {
        let mut known = self.known.lock();
        match known.entries.get_mut(request) {
            Some(Entry::Answered(answer)) => reply.send(answer.clone().map_err(|(kind, why)| Error::new(kind, why))),
            Some(Entry::Written(others)) => others.push(reply),
            None => {
                known.entries.insert(request.clone(), Entry::Written(Vec::new()));
                return Some(reply);
            }
        }
        None
    }

    /// Ends a request, and answers all who asked for it meanwhile. Without an answer, or with one that another try may change,
    /// it is as if it had not been begun.
    pub(super) fn end(&self, request: RequestId, answer: Option<&Result<Committed>>) {
        let mut known = self.known.lock();
        let waiting = match known.entries.remove(&request) {
            Some(Entry::Written(others)) => others,
            _ => Vec::new(),
        };
        // Dropping the replies tells those who wait that there is no answer.
        let Some(answer) = answer else { return };
        for reply in waiting {
            reply.send(copy(answer));
        }
        if answer.as_ref().is_err_and(|error| error.kind().is_retryable()) {
            return;
        }
        known.entries.insert(request.clone(), Entry::Answered(copy(answer).map_err(|e| (e.kind(), e.to_string()))));
        known.answered.push_back(request);
        while known.answered.len() > self.most {
            if let Some(oldest) = known.answered.pop_front() {
                known.entries.remove(&oldest);
            }
        }
    }
}

fn copy(answer: &Result<Committed>) -> Result<Committed> {
    match answer {
        Ok(committed) => Ok(committed.clone()),
        Err(error) => Err(Error::new(error.kind(), error.to_string())),
    }
}
