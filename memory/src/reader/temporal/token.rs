//! Cuts a text into words, numbers and marks, with their byte ranges.
//!
//! One pass, one allocation. Every cut lies before an ASCII byte or before a whole UTF-8 sequence, so ranges are always on
//! character boundaries. It knows no grammar.

use super::vocabulary::{self, Word};

/// One piece of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) kind: Kind,
    /// Whether the first letter is an ASCII capital.
    pub(super) capital: bool,
    /// Whether it touches the piece before it.
    pub(super) glued: bool,
}

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Word(Word),
    /// A run of digits. Values stop growing at nine digits, which no date has.
    Number {
        value: u32,
        digits: u8,
    },
    /// Digits with their ending: `7th`.
    Ordinal(u32),
    /// Punctuation, with typographic dashes and quotes as `-` and `'`, and a line break as `\n`.
    Mark(u8),
}

/// Cuts `text` into tokens. The text must be shorter than 4 GiB, which the caller's limit ensures.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    // English has about five letters a word; a text of short words grows the vector once.
    let mut tokens = Vec::with_capacity(bytes.len() / 5 + 8);
    let (mut at, mut last_end) = (0, usize::MAX);
    while let Some(&byte) = bytes.get(at) {
        let (kind, end) = match byte {
            b' ' | b'\t' | b'\r' => {
                at += 1;
                continue;
            }
            b'0'..=b'9' => number(bytes, at),
            b'a'..=b'z' | b'A'..=b'Z' => word(bytes, at, at),
            b'\'' => apostrophe(bytes, at, at + 1),
            0..=0x7f => (Kind::Mark(byte), at + 1),
            _ => match typographic(bytes, at) {
                Some((b' ', end)) => {
                    at = end;
                    continue;
                }
                Some((b'\'', end)) => apostrophe(bytes, at, end),
                Some((mark, end)) => (Kind::Mark(mark), end),
                None => word(bytes, at, at),
            },
        };
        let capital = byte.is_ascii_uppercase();
        tokens.push(Token { start: at as u32, end: end as u32, kind, capital, glued: last_end == at });
        (at, last_end) = (end, end);
    }
    tokens
}

/// Reads a word of ASCII letters and any other non-ASCII characters, from `at`; `name` is where its letters begin.
fn word(bytes: &[u8], at: usize, name: usize) -> (Kind, usize) {
    let mut end = name;
    while let Some(&byte) = bytes.get(end) {
        if byte.is_ascii_alphabetic() || (byte >= 0x80 && typographic(bytes, end).is_none()) {
            end += 1;
        } else {
            break;
        }
    }
    (Kind::Word(bytes.get(at..end).map_or(Word::Other, vocabulary::word)), end)
}

/// Reads `'s`, `'ll` and their like as a word of its own, and any other apostrophe as a mark.
fn apostrophe(bytes: &[u8], at: usize, letters: usize) -> (Kind, usize) {
    let is_ending = at.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(u8::is_ascii_alphabetic)
        && bytes.get(letters).is_some_and(u8::is_ascii_alphabetic);
    if !is_ending {
        return (Kind::Mark(b'\''), letters);
    }
    let (_, end) = word(bytes, letters, letters);
    (Kind::Word(bytes.get(letters..end).map_or(Word::Other, vocabulary::ending)), end)
}

fn number(bytes: &[u8], at: usize) -> (Kind, usize) {
    let (mut end, mut value, mut digits) = (at, 0_u32, 0_u8);
    while let Some(&byte) = bytes.get(end).filter(|byte| byte.is_ascii_digit()) {
        if digits < 9 {
            value = value * 10 + u32::from(byte - b'0');
        }
        digits = digits.saturating_add(1);
        end += 1;
    }
    let letters = (bytes.get(end).map(u8::to_ascii_lowercase), bytes.get(end + 1).map(u8::to_ascii_lowercase));
    let goes_on = bytes.get(end + 2).is_some_and(|&byte| byte.is_ascii_alphanumeric() || byte >= 0x80);
    let is_ordinal = matches!(
        letters,
        (Some(b's'), Some(b't')) | (Some(b'n'), Some(b'd')) | (Some(b'r'), Some(b'd')) | (Some(b't'), Some(b'h'))
    );
    // A typographic quote or dash may follow `7th`; any other non-ASCII character makes it another word.
    if is_ordinal && digits <= 2 && (!goes_on || typographic(bytes, end + 2).is_some()) {
        (Kind::Ordinal(value), end + 2)
    } else {
        (Kind::Number { value, digits }, end)
    }
}

/// Reads a non-ASCII character that stands for a space, a dash, a quote or the end of a sentence.
fn typographic(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    match (bytes.get(at)?, bytes.get(at + 1)?, bytes.get(at + 2)) {
        (0xc2, 0xa0, _) => Some((b' ', at + 2)),
        // General Punctuation, U+2000 to U+203F: spaces, dashes, quotes, the ellipsis; other marks of it end a phrase.
        (0xe2, 0x80, Some(last)) => {
            let mark = match last {
                0x80..=0x8b | 0xaf => b' ',
                0x90..=0x95 => b'-',
                0x98 | 0x99 => b'\'',
                0x9c..=0x9f => b'"',
                0xa6 => b'.',
                _ => b'*',
            };
            Some((mark, at + 3))
        }
        _ => None,
    }
}
