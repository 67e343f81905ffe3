//! Finds what must not be read by everyone: addresses, numbers of people, and secrets.
//!
//! It runs on every text that is written to memory, so it must cost next to nothing where there is nothing: one pass over
//! words, where only a digit, an `@`, a keyword or a long word wakes a detector. Each detector checks what can be checked
//! (Luhn, mod 97, known shapes), since a wrong redaction spoils a memory, but a missed secret cannot be taken back.
//!
//! The rules:
//! - E-mail: a local part, `@`, and a domain whose last label has letters only. `git@host` and image names such as
//!   `icon@2x.png` are none. `user:password@` in a URL is a secret.
//! - Phone: `+` and 8 to 15 digits; the North American 3-3-4 form; national numbers with a leading zero, 9 to 11 digits in
//!   at least two groups with one kind of separator; anything of 7 to 15 digits after `call`, `phone` and their like.
//! - Card: 12 to 19 digits with an issuer's prefix and length, Luhn, and one kind of separator.
//! - IBAN: country, length and mod 97. National id: United States social security numbers that can be issued, with dashes.
//! - IP address: version 4 and full or shortened version 6, but not loopback and not after `version`.
//! - Secret: keys and tokens of known shapes, private key blocks, values after `password:`, `PIN is` and `Bearer`, and words
//!   of 24 to 512 characters that mix small letters, capitals and digits without looking like names. Hexadecimal words
//!   (digests, UUIDs) and content digests such as `sha256-...` are none.
//!
//! It knows no policy: who may read what is decided elsewhere.

use std::ops::Range;

use serde::Serialize;

use crate::cube::coded_enum;

mod account;
mod contact;
mod number;
mod scan;
mod secret;

coded_enum! {
    /// What kind of sensitive content a span holds.
    SensitivityKind, "kind of sensitive content" {
        /// An e-mail address.
        Email = 0 "email",
        /// A telephone number.
        Phone = 1 "phone",
        /// The number of a payment card.
        CardNumber = 2 "card_number",
        /// An international bank account number.
        Iban = 3 "iban",
        /// A password, key or token.
        Secret = 4 "secret",
        /// A number that a state gives to a person.
        NationalId = 5 "national_id",
        /// An address of a machine on the internet.
        IpAddress = 6 "ip_address",
        /// Something that its writer says is there and that no text shows. It cannot be redacted, so the whole is hidden.
        Concealed = 7 "concealed",
    }
}

impl SensitivityKind {
    /// Returns what stands in place of such content in a redacted text. It never changes, so that redacted texts compare.
    pub const fn marker(self) -> &'static str {
        match self {
            Self::Email => "[email]",
            Self::Phone => "[phone number]",
            Self::CardNumber => "[card number]",
            Self::Iban => "[bank account]",
            Self::Secret => "[secret]",
            Self::NationalId => "[national id]",
            Self::IpAddress => "[ip address]",
            Self::Concealed => "[concealed]",
        }
    }
}

/// A piece of a text that is sensitive.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct SensitiveSpan {
    /// The bytes of the text that it takes.
    pub range: Range<usize>,
    /// What it is.
    pub kind: SensitivityKind,
}

/// Finds sensitive spans in `text`, ordered and not overlapping.
///
/// # Limits
/// Reads the whole text, whatever its length, because what is not looked at would pass as harmless. The cost grows with the
/// length alone.
pub fn find_sensitive(text: &str) -> Vec<SensitiveSpan> {
    scan::Scan::new(text).run()
}

/// Replaces each span by the marker of its kind.
///
/// Spans may come in any order. A span that ends inside a character takes the whole character, spans that overlap become
/// one with the marker of the first, and what lies outside the text is left out: a wrong span must never show more.
pub fn redact(text: &str, spans: &[SensitiveSpan]) -> String {
    let mut ordered: Vec<&SensitiveSpan> = spans.iter().collect();
    ordered.sort_by_key(|span| (span.range.start, span.range.end));
    let (mut redacted, mut shown) = (String::with_capacity(text.len()), 0);
    for span in ordered {
        let from = text.floor_char_boundary(span.range.start);
        let until = text.ceil_char_boundary(span.range.end.min(text.len()));
        if from >= until || until <= shown {
            continue;
        }
        if from >= shown {
            redacted.push_str(text.get(shown..from).unwrap_or_default());
            redacted.push_str(span.kind.marker());
        }
        shown = until;
    }
    redacted.push_str(text.get(shown..).unwrap_or_default());
    redacted
}

#[cfg(test)]
mod tests;
