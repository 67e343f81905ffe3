//! Watermarks: a text that is shared says, to those who hold the space's key, who shared it.
//!
//! A mark is a run of characters without width, woven in between words and repeated, so that an excerpt still has one. Its
//! alphabet is the zero-width non-joiner and joiner (U+200C and U+200D): whole scripts are written with them, so of all
//! invisible characters they are dropped the least. They are no white space, NFC and NFKC leave them alone, and they stand as
//! they are in JSON and Markdown. A mark stands at the end of a word and never next to a digit, a `:` or an `@`, nor in code,
//! so words, numbers and programs stay what they are, to the index and to the search for sensitive content.
//!
//! A mark holds twelve bytes: a salt of two, that follows from the text; a tag of eight, `SHA-256(key, salt, sharer)` cut
//! off; and a checksum of two. So without the key nobody can say whose a mark is, nor make one in another's name; and with
//! it one can say only by trying those who may have been it. A name in clear would be found by everybody, and forged by
//! anybody. What a mark does not prove: that its sharer shared *this* text, since a whole mark can be cut out of one text and
//! put into another. It says where to look.
//!
//! What it does not survive: retyping, scanning and reading by machine, a model's paraphrase, programs that drop what is
//! invisible (or fold by NFKC_Casefold), and everyone who wants it gone: [`strip`] is public, and as easily written. It is
//! for honest mistakes and lazy leaks.
//!
//! What comes in is stripped before it is stored, or marks would pile up and equal texts would differ.

use std::borrow::Cow;
use std::ops::Range;

use crate::cube::{Digest, PrincipalId};

/// The symbols for 0 and 1.
const SYMBOLS: [char; 2] = ['\u{200c}', '\u{200d}'];
/// Bytes of salt, tag and checksum.
const SALT: usize = 2;
const TAG: usize = 8;
const CHECK: usize = 2;
const BYTES: usize = SALT + TAG + CHECK;
/// Symbols of one mark.
const LENGTH: usize = 8 * BYTES;
/// Bytes of a symbol in UTF-8.
const SYMBOL_BYTES: usize = 3;
/// Visible characters after which the next mark is due. With a place for one at least every 80 characters, as running text
/// has, any excerpt of [`EXCERPT`] visible characters holds a whole mark.
const EVERY: usize = 160;
/// Visible characters of running text in which a whole mark is found, wherever they are cut out.
pub const EXCERPT: usize = 240;
/// Symbols in a row that no script writes, and that are the rest of a mark then.
const FEWEST: usize = 3;

/// The secret with which a space makes and reads its marks.
#[derive(Clone)]
pub struct MarkKey([u8; 32]);

impl MarkKey {
    /// Makes a key from its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn digest(&self, what: &[u8], parts: [&[u8]; 2]) -> Digest {
        // Each part but the last has a fixed length, and only a part of the digest is shown, so nothing can be added to it.
        let [first, second] = parts;
        Digest::of_parts(&[b"memos watermark", &self.0, what, first, second])
    }

    fn tag(&self, salt: &[u8], sharer: &PrincipalId) -> Digest {
        self.digest(b"t", [salt, sharer.as_str().as_bytes()])
    }
}

impl std::fmt::Debug for MarkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MarkKey(..)")
    }
}

/// Who shares, with the key of the space from which it is shared.
#[derive(Debug, Clone)]
pub struct Mark<'a> {
    /// The key.
    pub key: &'a MarkKey,
    /// The sharer.
    pub sharer: &'a PrincipalId,
}

/// A mark in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The bytes of the text that it takes.
    pub range: Range<usize>,
    /// Whose it is; none when it is none of the candidates', or of another key.
    pub sharer: Option<PrincipalId>,
}

/// Weaves a mark into a text, in place of marks that are there. The same mark in the same text gives the same text.
///
/// # Limits
/// A text gets one mark, and one more for every 160 characters; each takes 288 bytes.
pub fn mark(text: &str, mark: &Mark<'_>) -> String {
    let text = strip(text);
    let run = symbols(&payload(&text, mark));
    let places = places(&text);
    let mut marked = String::with_capacity(text.len() + places.len() * run.len());
    let mut shown = 0;
    for place in places {
        marked.push_str(text.get(shown..place).unwrap_or_default());
        marked.push_str(&run);
        shown = place;
    }
    marked.push_str(text.get(shown..).unwrap_or_default());
    marked
}

/// Finds the marks of a text and says whose they are, trying the candidates.
///
/// # Limits
/// The cost grows with the length, and with the number of different marks times that of the candidates.
pub fn find_marks(text: &str, key: &MarkKey, candidates: &[PrincipalId]) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut last: Option<([u8; BYTES], Option<PrincipalId>)> = None;
    for run in runs(text, LENGTH) {
        let bits: Vec<bool> =
            text.get(run.clone()).unwrap_or_default().chars().map(|symbol| symbol == SYMBOLS[1]).collect();
        let mut at = 0;
        while let Some(bytes) = bits.get(at..at + LENGTH).and_then(decode) {
            if !is_whole(&bytes) {
                at += 1;
                continue;
            }
            let sharer = match &last {
                // A text's marks are all alike.
                Some((known, sharer)) if *known == bytes => sharer.clone(),
                _ => whose(&bytes, key, candidates),
            };
            last = Some((bytes, sharer.clone()));
            let start = run.start + at * SYMBOL_BYTES;
            found.push(Found { range: start..start + LENGTH * SYMBOL_BYTES, sharer });
            at += LENGTH;
        }
    }
    found
}

/// Takes out all marks, whole or cut, whoever made them. What scripts write with these characters stays.
pub fn strip(text: &str) -> Cow<'_, str> {
    let mut runs = runs(text, FEWEST).peekable();
    if runs.peek().is_none() {
        return Cow::Borrowed(text);
    }
    let (mut plain, mut shown) = (String::with_capacity(text.len()), 0);
    for run in runs {
        plain.push_str(text.get(shown..run.start).unwrap_or_default());
        shown = run.end;
    }
    plain.push_str(text.get(shown..).unwrap_or_default());
    Cow::Owned(plain)
}

fn payload(text: &str, mark: &Mark<'_>) -> [u8; BYTES] {
    let salted = mark.key.digest(b"s", [&[], text.as_bytes()]);
    let salt = salted.as_bytes().get(..SALT).unwrap_or_default();
    let tag = mark.key.tag(salt, mark.sharer);
    let mut bytes = [0; BYTES];
    let inside = salt.iter().chain(tag.as_bytes().iter().take(TAG));
    bytes.iter_mut().zip(inside).for_each(|(to, from)| *to = *from);
    let check = check(&bytes);
    bytes.iter_mut().skip(SALT + TAG).zip(check).for_each(|(to, from)| *to = from);
    bytes
}

/// Returns the checksum of the bytes before it.
fn check(bytes: &[u8; BYTES]) -> [u8; CHECK] {
    let digest = Digest::of(bytes.get(..SALT + TAG).unwrap_or_default());
    digest.as_bytes().first_chunk::<CHECK>().copied().unwrap_or_default()
}

fn is_whole(bytes: &[u8; BYTES]) -> bool {
    bytes.get(SALT + TAG..) == Some(check(bytes).as_slice())
}

fn whose(bytes: &[u8; BYTES], key: &MarkKey, candidates: &[PrincipalId]) -> Option<PrincipalId> {
    let (salt, tag) = (bytes.get(..SALT)?, bytes.get(SALT..SALT + TAG)?);
    candidates.iter().find(|sharer| key.tag(salt, sharer).as_bytes().get(..TAG) == Some(tag)).cloned()
}

fn symbols(bytes: &[u8; BYTES]) -> String {
    let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1));
    bits.map(|bit| if bit { SYMBOLS[1] } else { SYMBOLS[0] }).collect()
}

fn decode(bits: &[bool]) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    for (byte, bits) in bytes.iter_mut().zip(bits.chunks_exact(8)) {
        *byte = bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    }
    (bits.len() == LENGTH).then_some(bytes)
}

/// Returns the runs of at least so many symbols.
fn runs(text: &str, fewest: usize) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut rest = 0;
    let is_symbol = |c: char| SYMBOLS.contains(&c);
    std::iter::from_fn(move || {
        loop {
            let start = rest + text.get(rest..)?.find(is_symbol)?;
            let after = text.get(start..)?;
            let end = start + after.find(|c| !is_symbol(c)).unwrap_or(after.len());
            rest = end;
            if end - start >= fewest * SYMBOL_BYTES {
                return Some(start..end);
            }
        }
    })
}

/// Returns where the marks of a text go; at its end where it has no better place.
fn places(text: &str) -> Vec<usize> {
    let mut places = Vec::new();
    let mut due = 0;
    let mut count = 0;
    let mut fenced = false;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        if !fenced && !is_fence {
            let mut in_code = false;
            let mut words = line.split(' ').peekable();
            let mut offset = at;
            while let Some(word) = words.next() {
                in_code ^= word.bytes().filter(|byte| *byte == b'`').count() % 2 == 1;
                count += word.chars().count() + 1;
                offset += word.len();
                let next = words.peek().copied();
                let fits = !in_code && is_plain(word) && next.is_some_and(|next| next.is_empty() || is_plain(next));
                if fits && count > due {
                    places.push(offset);
                    due = count + EVERY;
                }
                offset += 1;
            }
        } else {
            count += line.chars().count();
        }
        at += line.len();
    }
    if places.is_empty() {
        places.push(text.trim_end().len());
    }
    places
}

/// Returns whether a word has letters and marks of sentences alone: no number, address, key or code.
fn is_plain(word: &str) -> bool {
    let plain =
        |c: char| c.is_alphabetic() || matches!(c, '\'' | '\u{2019}' | ',' | '.' | ';' | '!' | '?' | '-' | '\n' | '\r');
    word.chars().all(plain) && word.chars().next().is_some_and(char::is_alphabetic)
}

#[cfg(test)]
mod tests;
