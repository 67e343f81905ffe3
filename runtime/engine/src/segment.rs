//! Activation memory: the keys and values of a text that was read once, kept so that it need not be read again.
//!
//! A segment is immutable, and belongs to all requests that hold it: they share one copy. On disk it is a safetensors file with
//! `l000.k`, `l000.v` and so on of shape (tokens, heads, size), and `tokens`, from which it can be made again. It says which
//! model, tokenizer and layout made it, since it means nothing to another. Loading checks all of it and turns the numbers to F32
//! once. It never knows what the cubes are that it names.

mod file;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use candle_core::Device;

use crate::cache::KeysValues;
use crate::config::ModelConfig;
use crate::error::{Error, Result};

pub use file::SegmentFile;

pub use crate::numbers::Precision;

/// The most bytes of a segment's file.
pub const MAX_SEGMENT_BYTES: u64 = 1 << 36;
/// The most cubes that a segment names.
pub const MAX_SEGMENT_CUBES: usize = 65_536;
/// The most bytes of a name or fingerprint in a segment.
pub const MAX_SEGMENT_NAME_BYTES: usize = 512;

/// What stood before a segment's text when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Context {
    /// Nothing: it can stand anywhere, once moved and mended.
    Independent,
    /// The tokens of this fingerprint, which must stand before it again.
    Behind(String),
}

/// Where a segment comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentAbout {
    /// The fingerprint of the model that made it.
    pub model: String,
    /// The fingerprint of its tokenizer.
    pub tokenizer: String,
    /// What stood before it.
    pub context: Context,
    /// The adapter that was at work, where one was.
    pub adapter: Option<String>,
    /// The cubes whose text it holds.
    pub cubes: Vec<String>,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
}

/// The keys and values of a text, shared by all who hold it.
#[derive(Debug, Clone)]
pub struct Segment {
    keys_values: Arc<KeysValues>,
    tokens: Arc<[u32]>,
    about: Arc<SegmentAbout>,
    rope: Arc<str>,
    precision: Precision,
}

/// What a segment must have been made with to be of use.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The fingerprint of the model.
    pub model: &'a str,
    /// The fingerprint of its tokenizer.
    pub tokenizer: &'a str,
    /// The model's shape.
    pub config: &'a ModelConfig,
    /// Where keys and values go.
    pub device: &'a Device,
}

/// In what a file differs from what was expected: the source of a `Mismatch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Differing {
    /// Another model made it.
    Model,
    /// Another tokenizer cut its text.
    Tokenizer,
    /// It has other blocks, heads or sizes.
    Layout,
    /// Positions turned its keys by other frequencies.
    Rope,
}

impl Differing {
    /// Returns in what a refused file differed, where that is why it was refused.
    pub fn of(error: &Error) -> Option<Self> {
        std::error::Error::source(error)?.downcast_ref().copied()
    }

    pub(crate) fn error(self, path: &Path, made: &str, expected: &str) -> Error {
        let shown = path.display();
        let message =
            format!("`{shown}` was made with another {self}, `{made}`, this one is `{expected}`; make it again");
        Error::mismatch(message).with_source(self)
    }
}

impl fmt::Display for Differing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "model",
            Self::Tokenizer => "tokenizer",
            Self::Layout => "layout",
            Self::Rope => "turning of positions",
        })
    }
}

impl std::error::Error for Differing {}

impl Segment {
    /// Makes a segment of what a model of a shape read.
    ///
    /// # Errors
    /// `Mismatch` where keys and values do not fit the model, `Invalid` where the tokens are not theirs or a limit is broken.
    pub fn new(config: &ModelConfig, keys_values: KeysValues, tokens: &[u32], about: SegmentAbout) -> Result<Self> {
        keys_values.check(config)?;
        check_tokens(config, tokens, keys_values.tokens).map_err(Error::invalid)?;
        check_names(&about).map_err(Error::invalid)?;
        Ok(Self {
            keys_values: Arc::new(keys_values),
            tokens: tokens.into(),
            about: Arc::new(about),
            rope: crate::fingerprint::rope_in_words(&config.rope).into(),
            precision: Precision::F32,
        })
    }

    /// Reads a segment from its file.
    ///
    /// # Errors
    /// `Mismatch`, with [`Differing`] as its source, where it was made with something else; `Corrupt` where it is cut, changed,
    /// or holds what is no number; `NotFound` and `Unavailable` as the disk has it. Nothing is loaded then.
    pub fn open(path: &Path, expected: &Expected<'_>) -> Result<Self> {
        SegmentFile::open(path)?.load(expected)
    }

    /// Returns keys and values, to be injected into a cache.
    pub fn keys_values(&self) -> &Arc<KeysValues> {
        &self.keys_values
    }

    /// Returns the tokens of its text.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Returns where it comes from.
    pub fn about(&self) -> &SegmentAbout {
        &self.about
    }

    /// Returns how exact its numbers are: those of the file it was read from.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Returns the bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        self.keys_values.bytes() + size_of_val(&*self.tokens)
    }
}

fn check_tokens(config: &ModelConfig, tokens: &[u32], count: usize) -> std::result::Result<(), String> {
    if tokens.len() != count {
        return Err(format!("the segment has keys for {count} tokens, and {} tokens", tokens.len()));
    }
    match tokens.iter().find(|token| **token as usize >= config.vocabulary) {
        Some(token) => Err(format!("the segment has the token {token}, the model knows {}", config.vocabulary)),
        None => Ok(()),
    }
}

fn check_names(about: &SegmentAbout) -> std::result::Result<(), String> {
    if about.cubes.len() > MAX_SEGMENT_CUBES {
        return Err(format!("the segment names {} cubes, at most {MAX_SEGMENT_CUBES} are kept", about.cubes.len()));
    }
    let behind = match &about.context {
        Context::Independent => None,
        Context::Behind(tokens) => Some(tokens),
    };
    let mut names =
        [&about.model, &about.tokenizer].into_iter().chain(behind).chain(&about.adapter).chain(&about.cubes);
    if names.any(|name| name.len() > MAX_SEGMENT_NAME_BYTES) {
        return Err(format!(
            "the segment has a name of more than {MAX_SEGMENT_NAME_BYTES} bytes, give it a shorter one"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
