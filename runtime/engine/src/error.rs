//! One error type for the engine: what kind of failure it is, in words a person can act on.
//!
//! Messages name what was wrong, where, and what to do; they quote the user's input in backticks, start in lower case and end
//! without a full stop.

use std::error::Error as StdError;
use std::fmt;

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Tells failures apart by what the caller can do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A bounded resource is full at the moment. Retrying later helps.
    Busy,
    /// The work was given up because its caller asked for that, or had gone.
    Cancelled,
    /// A file is not what it says it is: cut, of a wrong shape, or with a wrong checksum. Nothing of it is loaded.
    Corrupt,
    /// The input breaks a rule or a limit. Nothing was changed.
    Invalid,
    /// A segment or an adapter was made with another model, tokenizer or layout.
    Mismatch,
    /// There is nothing of that name.
    NotFound,
    /// A disk, a network or a device did not do its part. Retrying may help.
    Unavailable,
}

/// A failure: its kind, a message for people, and the failure below it if there was one.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Makes an [`ErrorKind::Corrupt`] error.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// Makes an [`ErrorKind::Invalid`] error.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Makes an [`ErrorKind::Mismatch`] error.
    pub fn mismatch(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Mismatch, message)
    }

    /// Makes an [`ErrorKind::NotFound`] error.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// Makes an [`ErrorKind::Unavailable`] error.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Adds the failure that this one comes from.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns what kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the message alone.
    pub fn message(&self) -> &str {
        &self.message
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

/// What the tensor library refuses after our own checks is a device that could not do its part.
impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::unavailable(format!("a tensor operation failed: {error}")).with_source(error)
    }
}
