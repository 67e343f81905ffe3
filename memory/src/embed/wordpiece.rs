//! Cutting text into the word pieces of an uncased BERT vocabulary.
//!
//! The weights of the built-in embedder belong to pieces, so text has to be cut exactly as the encoder they came from cuts
//! it: remove control characters, set Chinese characters apart, strip accents, lower the case, split at white space and
//! punctuation, and then take the longest known piece again and again (Devlin et al. 2019, arXiv 1810.04805). The tests
//! hold this against the encoder's own tokenizer. Two things differ on purpose: names of special pieces inside a text,
//! such as `[SEP]`, are ordinary text, and nothing is padded or truncated here.
//!
//! This room must never know what a piece is worth.

mod table;
#[cfg(test)]
mod tests;

use unicode_categories::UnicodeCategories;
use unicode_normalization::UnicodeNormalization;

use crate::error::{Error, Result};

use table::PieceTable;

/// Marks a piece that continues a word, in the vocabulary.
const CONTINUATION: &str = "##";
/// Stands for a word that cannot be cut into known pieces.
const UNKNOWN: &str = "[UNK]";
/// Longer words are unknown as a whole; the limit belongs to the vocabulary, as the encoder was trained with it.
const MAX_WORD_CHARACTERS: usize = 100;

/// Cuts text into word pieces.
#[derive(Debug)]
pub struct WordPiece {
    beginnings: PieceTable,
    continuations: PieceTable,
    unknown: u32,
}

impl WordPiece {
    /// Makes the cutter for a vocabulary, whose order gives the pieces their ids.
    ///
    /// # Errors
    ///
    /// `Invalid` when the vocabulary lacks `[UNK]`, or has an empty, overlong or repeated piece, or too many.
    pub fn new<'a>(vocabulary: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut beginnings = Vec::new();
        let mut continuations = Vec::new();
        let mut unknown = None;
        for (piece, id) in vocabulary.into_iter().zip(0_u32..) {
            if piece == UNKNOWN {
                unknown = Some(id);
            }
            match piece.strip_prefix(CONTINUATION) {
                // A lone mark continues nothing; it is an ordinary piece.
                Some(rest) if !rest.is_empty() => continuations.push((rest, id)),
                _ => beginnings.push((piece, id)),
            }
        }
        let Some(unknown) = unknown else {
            return Err(Error::invalid("the vocabulary has no piece `[UNK]`, use one of an uncased BERT"));
        };
        Ok(Self { beginnings: PieceTable::new(&beginnings)?, continuations: PieceTable::new(&continuations)?, unknown })
    }

    /// Returns the id that stands for an unknown word.
    pub fn unknown(&self) -> u32 {
        self.unknown
    }

    /// Returns the ids of the pieces of a text, without any special pieces.
    pub fn split(&self, text: &str) -> Vec<u32> {
        // English has about four bytes for each piece.
        let mut splitting = Splitting::new(self, text.len() / 4 + 8);
        let mut rest = text;
        while !rest.is_empty() {
            rest = splitting.take_ascii(rest);
            rest = splitting.take_unicode(rest);
        }
        splitting.end_word();
        splitting.pieces
    }

    /// Appends the pieces of one word, or the unknown piece when it cannot be cut without a remainder.
    fn split_word(&self, word: &[u8], pieces: &mut Vec<u32>) {
        let before = pieces.len();
        let mut table = &self.beginnings;
        let mut rest = word;
        while !rest.is_empty() {
            let Some((id, remainder)) = table.take_longest(rest) else {
                pieces.truncate(before);
                pieces.push(self.unknown);
                return;
            };
            pieces.push(id);
            rest = remainder;
            table = &self.continuations;
        }
    }
}

/// One text on its way: the pieces so far and the word being read, already cleaned and in lower case.
struct Splitting<'a> {
    word_piece: &'a WordPiece,
    pieces: Vec<u32>,
    word: Vec<u8>,
    word_characters: usize,
}

impl<'a> Splitting<'a> {
    fn new(word_piece: &'a WordPiece, expected_pieces: usize) -> Self {
        Self {
            word_piece,
            pieces: Vec::with_capacity(expected_pieces),
            word: Vec::with_capacity(64),
            word_characters: 0,
        }
    }

    /// Reads the ASCII start of a text and returns the rest; most text never leaves this path.
    fn take_ascii<'text>(&mut self, text: &'text str) -> &'text str {
        let length = text.bytes().position(|byte| !byte.is_ascii()).unwrap_or(text.len());
        let Some((ascii, rest)) = text.split_at_checked(length) else { return "" };
        for byte in ascii.bytes() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' => self.push_ascii(byte),
                b'A'..=b'Z' => self.push_ascii(byte.to_ascii_lowercase()),
                b' ' | b'\t' | b'\n' | b'\r' => self.end_word(),
                // Removed, not replaced: the word goes on behind it.
                0..=31 | 127 => {}
                _ => self.punctuation(&[byte]),
            }
        }
        rest
    }

    /// Reads up to the next visible ASCII character and returns the rest.
    ///
    /// Normalization reorders marks across removed characters but never across a visible ASCII one, so the text may be
    /// cut there and nowhere else.
    fn take_unicode<'text>(&mut self, text: &'text str) -> &'text str {
        let visible_ascii = |character: char| character.is_ascii() && !is_removed(character);
        let length = text.find(visible_ascii).unwrap_or(text.len());
        let Some((unicode, rest)) = text.split_at_checked(length) else { return "" };
        let spaced = unicode.chars().filter(|&character| !is_removed(character)).flat_map(set_chinese_apart);
        for character in spaced.nfd().filter(|character| !character.is_mark_nonspacing()) {
            character.to_lowercase().for_each(|lower| self.push(lower));
        }
        rest
    }

    fn push(&mut self, character: char) {
        let mut buffer = [0; 4];
        let bytes = character.encode_utf8(&mut buffer).as_bytes();
        if character.is_whitespace() {
            self.end_word();
        } else if character.is_ascii_punctuation() || character.is_punctuation() {
            self.punctuation(bytes);
        } else {
            self.word_characters += 1;
            // What is too long is only counted, so that a text without spaces takes no memory.
            if self.word_characters <= MAX_WORD_CHARACTERS {
                self.word.extend_from_slice(bytes);
            }
        }
    }

    fn push_ascii(&mut self, byte: u8) {
        self.word_characters += 1;
        if self.word_characters <= MAX_WORD_CHARACTERS {
            self.word.push(byte);
        }
    }

    fn punctuation(&mut self, character: &[u8]) {
        self.end_word();
        self.word_piece.split_word(character, &mut self.pieces);
    }

    fn end_word(&mut self) {
        if self.word_characters > MAX_WORD_CHARACTERS {
            self.pieces.push(self.word_piece.unknown);
        } else {
            self.word_piece.split_word(&self.word, &mut self.pieces);
        }
        self.word.clear();
        self.word_characters = 0;
    }
}

/// Returns whether a character counts as absent: the controls but for white space, formats, private use, and U+FFFD.
fn is_removed(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => false,
        '\u{fffd}' => true,
        _ => character.is_other(),
    }
}

/// Puts spaces around a Chinese character, as Chinese is written without them, and makes all white space a space.
fn set_chinese_apart(character: char) -> impl Iterator<Item = char> {
    let character = if character.is_whitespace() { ' ' } else { character };
    let apart = is_chinese(character).then_some(' ');
    apart.into_iter().chain([character]).chain(apart)
}

/// The blocks of the encoder's own tokenizer; the gap before U+2B920 is its own, and the pieces were made with it.
fn is_chinese(character: char) -> bool {
    matches!(
        u32::from(character),
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x20000..=0x2A6DF
            | 0x2A700..=0x2B73F
            | 0x2B740..=0x2B81F
            | 0x2B920..=0x2CEAF
            | 0xF900..=0xFAFF
            | 0x2F800..=0x2FA1F
    )
}
