//! One error type for the whole crate: what kind of failure it is, in words a person can act on.
//!
//! Callers branch on [`ErrorKind`]; people read the message. Messages name what was wrong, where, and what to do; they
//! quote the user's input in backticks, start in lower case and end without a full stop.

use std::error::Error as StdError;
use std::fmt;

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Tells failures apart by what the caller can do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// A bounded resource is full at the moment. Retrying later helps.
    Busy,
    /// The caller's deadline had passed before the work began. Retrying with more time helps.
    Deadline,
    /// The rules do not allow it. Retrying does not help.
    Denied,
    /// Nothing the caller may see has that name or id.
    NotFound,
    /// The caller acted on a version that is no longer the head. Reading again and retrying helps.
    Conflict,
    /// The input breaks a rule or a limit. Nothing was changed.
    Invalid,
    /// Stored data failed a check. It is reported and never served.
    Corrupt,
    /// The storage or a peer did not answer. Retrying may help.
    Unavailable,
}

impl ErrorKind {
    /// Returns whether the same call may succeed later without a change of its input.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Busy | Self::Deadline | Self::Unavailable)
    }
}

/// A failure: its kind, a message for people, and the failure below it if there was one.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Makes an [`ErrorKind::Invalid`] error.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Makes an [`ErrorKind::NotFound`] error.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// Makes an [`ErrorKind::Conflict`] error.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// Makes an [`ErrorKind::Denied`] error.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Denied, message)
    }

    /// Makes an [`ErrorKind::Corrupt`] error.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// Makes an [`ErrorKind::Unavailable`] error.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Attaches the failure that caused this one.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Puts `place` in front of the message: where it happened, for someone who sees only the message.
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Returns the kind to branch on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
