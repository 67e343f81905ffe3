//! The one pass over a text: it cuts words and wakes the detectors that a word may concern.
//!
//! A detector looks at a bounded stretch around where it is woken, or takes all that it looks at, so the pass is linear.

use super::{SensitiveSpan, SensitivityKind, account, contact, number, secret};

/// A text that is being searched.
pub(super) struct Scan<'a> {
    pub(super) text: &'a str,
    pub(super) bytes: &'a [u8],
    spans: Vec<SensitiveSpan>,
    /// Where the last span ended: nothing before it is taken again.
    pub(super) taken: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), spans: Vec::new(), taken: 0 }
    }

    /// Searches the text.
    pub(super) fn run(mut self) -> Vec<SensitiveSpan> {
        let mut at = 0;
        while let Some(byte) = self.byte(at) {
            let found = if is_word(byte) {
                let (end, has_digit) = self.word_end(at);
                match self.word(at, end, has_digit) {
                    Some(found) => Some(found),
                    None => {
                        at = end;
                        continue;
                    }
                }
            } else {
                match byte {
                    b'@' => contact::email(&self, at),
                    b'+' | b'(' if self.byte(at + 1).is_some_and(|next| next.is_ascii_digit() || next == b'(') => {
                        number::number(&self, at)
                    }
                    _ => None,
                }
            };
            match found {
                Some(span) if span.range.start >= self.taken => {
                    // The password of a URL ends before the `@` that told it.
                    (at, self.taken) = (span.range.end.max(at + 1), span.range.end);
                    self.spans.push(span);
                }
                _ => at += 1,
            }
        }
        self.spans
    }

    /// Asks the detectors that a word may concern.
    fn word(&self, at: usize, end: usize, has_digit: bool) -> Option<SensitiveSpan> {
        let length = end - at;
        if let Some(value) = secret::stated(self, at, end) {
            return Some(value);
        }
        if length >= secret::WORD_BYTES_MIN
            && let Some(found) = secret::word(self, at, end)
        {
            return Some(found);
        }
        if self.byte(end) == Some(b':')
            && length <= 4
            && let Some(found) = contact::ip_version_6(self, at)
        {
            return Some(found);
        }
        if !has_digit {
            return None;
        }
        match self.byte(at)? {
            b'0'..=b'9' => number::number(self, at),
            b'A'..=b'Z' => account::iban(self, at),
            _ => None,
        }
    }

    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    pub(super) fn byte_before(&self, at: usize) -> Option<u8> {
        at.checked_sub(1).and_then(|before| self.byte(before))
    }

    /// Returns the bytes of a range, or none if it lies outside.
    pub(super) fn slice(&self, from: usize, until: usize) -> &'a [u8] {
        self.bytes.get(from..until).unwrap_or_default()
    }

    /// Returns the end of the word at a position, and whether it has a digit.
    pub(super) fn word_end(&self, at: usize) -> (usize, bool) {
        let (mut end, mut has_digit) = (at, false);
        while let Some(byte) = self.byte(end).filter(|byte| is_word(*byte)) {
            has_digit |= byte.is_ascii_digit();
            end += 1;
        }
        (end, has_digit)
    }

    /// Returns the end of the longest stretch from `at` whose bytes all pass.
    pub(super) fn end_of(&self, at: usize, length_max: usize, passes: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        at + rest.iter().take(length_max).take_while(|byte| passes(**byte)).count()
    }

    /// Returns whether a letter or digit of any script stands right before a position.
    pub(super) fn is_inside_word(&self, at: usize) -> bool {
        match self.byte_before(at) {
            Some(byte) if byte < 0x80 => byte.is_ascii_alphanumeric() || byte == b'_',
            Some(_) => self.text.get(..at).and_then(|text| text.chars().next_back()).is_some_and(char::is_alphanumeric),
            None => false,
        }
    }
}

/// Makes a span.
pub(super) fn span(from: usize, until: usize, kind: SensitivityKind) -> SensitiveSpan {
    SensitiveSpan { range: from..until, kind }
}

/// Returns whether a byte belongs to a word: keys and tokens are made of these.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}
