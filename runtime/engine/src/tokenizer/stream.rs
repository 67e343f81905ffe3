//! Text as it is generated, token by token, never with half a character.
//!
//! It must never know who made the tokens, nor when to stop.

use std::sync::Arc;

use super::Pieces;

/// Decodes a stream of tokens. What it has given is never taken back.
pub struct TextStream {
    pieces: Arc<Pieces>,
    /// The start of a character whose rest has not come yet: at most 3 bytes between two calls.
    pending: Vec<u8>,
    begun: bool,
}

impl TextStream {
    pub(super) fn new(pieces: Arc<Pieces>) -> Self {
        Self { pieces, pending: Vec::new(), begun: false }
    }

    /// Takes the next token, and returns the text that is whole with it, if any.
    pub fn push(&mut self, token: u32) -> Option<String> {
        let mut bytes = self.pieces.bytes(token);
        if !self.begun && !bytes.is_empty() {
            self.begun = true;
            if self.pieces.leading_space() {
                bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
            }
        }
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = Vec::new();
        let mut chunks = self.pending.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            // Only the end can be the start of a character. The start of one before something else has no rest to wait for.
            let unfinished = std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
            match chunk.invalid() {
                [] => {}
                start if unfinished && chunks.peek().is_none() => rest.extend_from_slice(start),
                _ => text.push(char::REPLACEMENT_CHARACTER),
            }
        }
        self.pending = rest;
        Some(text).filter(|text| !text.is_empty())
    }

    /// Ends the stream: what is left of a character becomes `�`.
    pub fn finish(&mut self) -> Option<String> {
        let pending = std::mem::take(&mut self.pending);
        Some(String::from_utf8_lossy(&pending).into_owned()).filter(|text| !text.is_empty())
    }
}
