//! Text to tokens and back, by the file that came with the model.
//!
//! Two kinds of text go in by two doors. A template's text may hold control tokens, since the template is the model's own. A
//! memory or a message is data: whatever it says, not one token that steers the model comes out of it. So there is no plain
//! `encode`, and a caller has to say which it means.
//!
//! Decoding is ours: the bytes of every token are worked out once, so that streaming costs a copy of a few bytes a token, and a
//! constraint on the output sees the same bytes as the reader.
//!
//! This room must never know what a prompt looks like, nor what a model does with its tokens.

mod fingerprint;
mod markers;
mod pieces;
mod stream;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::chat::Prompt;
use crate::{Error, Result};
use markers::Markers;
pub(crate) use pieces::Pieces;
pub use stream::TextStream;

/// The largest `tokenizer.json`, in bytes. The largest in use have 34 MB.
pub const TOKENIZER_BYTES_MAX: u64 = 96 << 20;

/// The longest text that is encoded in one call, in bytes.
pub const TEXT_BYTES_MAX: usize = 4 << 20;

/// A model's tokenizer. A clone shares everything with its original.
#[derive(Clone)]
pub struct Tokenizer {
    parts: Arc<Parts>,
    pieces: Arc<Pieces>,
}

struct Parts {
    /// Knows control tokens by their text.
    template: tokenizers::Tokenizer,
    /// Takes the text of a special token for text.
    data: tokenizers::Tokenizer,
    /// What must not come out of data.
    steering: HashSet<u32>,
    markers: Markers,
    /// Tokens of one byte, written `<0x0A>`. They stand for a byte, and never for that text.
    single_bytes: HashSet<u32>,
    unknown: Option<u32>,
    fingerprint: String,
}

impl Tokenizer {
    /// Reads `tokenizer.json` from a model's folder.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no such file, `Invalid` where it is too large or its decoder is of a kind that is not read here,
    /// `Corrupt` where it is no tokenizer.
    pub fn from_folder(folder: &Path) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        let file = File::open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::not_found(format!(
                "`{}` is not there: a model's folder needs the `tokenizer.json` it was published with",
                path.display()
            )),
            _ => Error::unavailable(format!("`{}` could not be opened: {error}", path.display())).with_source(error),
        })?;
        let mut bytes = Vec::new();
        file.take(TOKENIZER_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| {
            Error::unavailable(format!("`{}` could not be read: {error}", path.display())).with_source(error)
        })?;
        Self::from_bytes(&bytes)
            .map_err(|error| Error::new(error.kind(), format!("`{}`: {error}", path.display())).with_source(error))
    }

    /// Reads a tokenizer from the bytes of a `tokenizer.json`. Its padding and truncation are not taken over.
    ///
    /// # Errors
    ///
    /// `Invalid` above [`TOKENIZER_BYTES_MAX`] or with a decoder of a kind that is not read here, `Corrupt` where the bytes are no
    /// tokenizer.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 > TOKENIZER_BYTES_MAX {
            return Err(Error::invalid(format!("a tokenizer may have at most {TOKENIZER_BYTES_MAX} bytes")));
        }
        let json: Value = serde_json::from_slice(bytes)
            .map_err(|error| Error::corrupt(format!("the tokenizer is not JSON: {error}")).with_source(error))?;
        let mut template = tokenizers::Tokenizer::from_bytes(bytes)
            .map_err(|error| Error::corrupt(format!("the tokenizer cannot be read: {error}")).with_source(error))?;
        template.with_padding(None);
        template
            .with_truncation(None)
            .map_err(|error| Error::corrupt(format!("the tokenizer cannot be read: {error}")).with_source(error))?;
        let pieces = Pieces::derive(&template, json.get("decoder").unwrap_or(&Value::Null))?;
        let mut data = template.clone();
        data.set_encode_special_tokens(true);
        // An added token that is white space alone, as for the indents of code, says nothing that its text does not.
        let mut added = template.get_added_tokens_decoder();
        added.retain(|_, token| !token.content.trim().is_empty());
        let steering = added.keys().copied().collect();
        let markers = Markers::of(added);
        let single_bytes = (0..=u8::MAX).filter_map(|byte| template.token_to_id(&pieces.byte_named(byte)?)).collect();
        let unknown = unknown(&json, &template);
        let parts =
            Parts { template, data, steering, markers, single_bytes, unknown, fingerprint: fingerprint::of(&json) };
        Ok(Self { parts: Arc::new(parts), pieces: Arc::new(pieces) })
    }

    /// Encodes text that may hold control tokens: a chat template's output, of which the caller made sure that nobody else's text is
    /// in it. Nothing is put before or behind it.
    ///
    /// # Errors
    ///
    /// `Invalid` above [`TEXT_BYTES_MAX`], or where the tokenizer's model has no token for a part of the text.
    pub fn encode_template(&self, text: &str) -> Result<Vec<u32>> {
        check_length(text)?;
        let encoding = self.parts.template.encode_fast(text, false).map_err(refused)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Encodes text that is data: a memory, a message, a tool's answer. Where it holds the text of a control token, or of any other
    /// token that was added to the vocabulary, that text comes out spelled in ordinary tokens.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode_template`].
    pub fn encode_data(&self, text: &str) -> Result<Vec<u32>> {
        check_length(text)?;
        let encoding = self.parts.data.encode(text, false).map_err(refused)?;
        let mut tokens = Vec::with_capacity(encoding.get_ids().len());
        for (id, (start, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
            let steers = self.parts.steering.contains(id) && Some(*id) != self.parts.unknown;
            if !steers && !self.parts.single_bytes.contains(id) {
                tokens.push(*id);
                continue;
            }
            // A vocabulary of pieces finds its control tokens and its single bytes in text like any other piece, and an added token
            // need not be special: all of them are met here.
            let content = self.parts.template.id_to_token(*id).unwrap_or_default();
            match text.get(*start..*end).filter(|written| written.contains(&content)) {
                Some(written) => self.spell(written, &mut tokens),
                None if steers => self.spell(&content, &mut tokens),
                None => tokens.push(*id),
            }
        }
        Ok(tokens)
    }

    /// Encodes a prompt: what is the template's may hold control tokens, what came from messages may not, and where the two meet
    /// ordinary text is cut as if all of it had been written by one.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode_template`].
    pub fn encode_prompt(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        let text = prompt.text.as_str();
        check_length(text)?;
        let mut tokens = Vec::new();
        let mut run_start = 0;
        let mut at = 0;
        let mut data = prompt.data.iter().peekable();
        while at < text.len() {
            if let Some(range) = data.next_if(|range| range.start <= at) {
                at = at.max(range.end);
                continue;
            }
            let end = data.peek().map_or(text.len(), |range| range.start);
            let rest = text.get(at..end).unwrap_or_default();
            let Some(marker) = self.parts.markers.at_start_of(rest) else {
                at += rest.chars().next().map_or(1, char::len_utf8);
                continue;
            };
            let run = text.get(run_start..at).unwrap_or_default();
            tokens.extend(self.encode_data(if marker.takes_before { run.trim_end() } else { run })?);
            tokens.push(marker.id);
            let behind = rest.get(marker.len..).unwrap_or_default();
            at += marker.len + if marker.takes_behind { behind.len() - behind.trim_start().len() } else { 0 };
            run_start = at;
        }
        tokens.extend(self.encode_data(text.get(run_start..).unwrap_or_default())?);
        Ok(tokens)
    }

    /// Gives the text of tokens. Control tokens and ids that the vocabulary does not know say nothing; bytes that are no UTF-8
    /// become `�`. Equals what [`TextStream`] gives for the same tokens, put together.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut stream = self.stream();
        let mut text: String = tokens.iter().filter_map(|token| stream.push(*token)).collect();
        text.extend(stream.finish());
        text
    }

    /// Starts to decode token by token.
    pub fn stream(&self) -> TextStream {
        TextStream::new(Arc::clone(&self.pieces))
    }

    /// Finds the token that is written so in the vocabulary.
    pub fn token_id(&self, text: &str) -> Option<u32> {
        self.parts.template.token_to_id(text)
    }

    /// Tells whether a token steers the model and has no text.
    pub fn is_control(&self, token: u32) -> bool {
        self.pieces.is_control(token)
    }

    /// Returns the highest id of a token plus one. A model may have more rows than that: they mean nothing.
    pub fn vocabulary_size(&self) -> usize {
        self.pieces.len()
    }

    /// Returns the SHA-256 of everything that decides which tokens a text becomes, in hex. How the file is laid out, its padding and
    /// its truncation do not count.
    pub fn fingerprint(&self) -> &str {
        &self.parts.fingerprint
    }

    pub(crate) fn pieces(&self) -> &Pieces {
        &self.pieces
    }

    /// Writes text in the smallest tokens there are: a character, else its bytes, else the token for what is unknown.
    fn spell(&self, text: &str, tokens: &mut Vec<u32>) {
        let ordinary = |written: &str| self.token_id(written).filter(|id| !self.parts.steering.contains(id));
        for character in text.chars() {
            let mut buffer = [0; 4];
            let written: &str = character.encode_utf8(&mut buffer);
            let whole = self.pieces.written(written).into_iter().find_map(|form| ordinary(&form));
            if let Some(id) = whole {
                tokens.push(id);
                continue;
            }
            let bytes: Option<Vec<u32>> =
                written.bytes().map(|byte| self.pieces.byte_written(byte).and_then(|form| ordinary(&form))).collect();
            match bytes {
                Some(bytes) => tokens.extend(bytes),
                None => tokens.extend(self.parts.unknown),
            }
        }
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("vocabulary_size", &self.vocabulary_size()).finish_non_exhaustive()
    }
}

fn check_length(text: &str) -> Result<()> {
    if text.len() > TEXT_BYTES_MAX {
        let bytes = text.len();
        return Err(Error::invalid(format!(
            "a text of {bytes} bytes is too long to encode: at most {TEXT_BYTES_MAX} at a time, so split it"
        )));
    }
    Ok(())
}

fn refused(error: tokenizers::Error) -> Error {
    Error::invalid(format!("the tokenizer cannot encode this text: {error}")).with_source(error)
}

/// Finds the token for what is in no other token: by its text, or by its place in a vocabulary of pieces.
fn unknown(json: &Value, tokenizer: &tokenizers::Tokenizer) -> Option<u32> {
    let model = json.get("model")?;
    let by_text = model.get("unk_token").and_then(Value::as_str).and_then(|text| tokenizer.token_to_id(text));
    by_text.or_else(|| model.get("unk_id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok()))
}
