//! The pieces that the small model reads and writes, and their `tokenizer.json`.
//!
//! A Unigram model whose costs are set by rule, not learnt: a word of the grammar is one piece, and any other word is spelt with
//! the fewest pieces of one or two letters. So a name that nobody has seen is cut as regularly as those of the lessons. What
//! has no piece falls to bytes: nothing is ever unknown.

use serde_json::{Value, json};

use crate::error::Result;
use crate::tokenizer::Tokenizer;

use super::grammar::{NOT_KNOWN, RELATIONS};

pub(super) const VOWELS: &str = "aeiouy";
pub(super) const CONSONANTS: &str = "bcdfghjklmnpqrstvwxz";

/// Two letters that are one piece: each consonant with each vowel and back, two vowels, and what stands together in English.
pub(super) const PAIRS: [&str; 341] = [
    "ba", "be", "bi", "bo", "bu", "by", "ca", "ce", "ci", "co", "cu", "cy", "da", "de", "di", "do", "du", "dy", "fa",
    "fe", "fi", "fo", "fu", "fy", "ga", "ge", "gi", "go", "gu", "gy", "ha", "he", "hi", "ho", "hu", "hy", "ja", "je",
    "ji", "jo", "ju", "jy", "ka", "ke", "ki", "ko", "ku", "ky", "la", "le", "li", "lo", "lu", "ly", "ma", "me", "mi",
    "mo", "mu", "my", "na", "ne", "ni", "no", "nu", "ny", "pa", "pe", "pi", "po", "pu", "py", "qu", "ra", "re", "ri",
    "ro", "ru", "ry", "sa", "se", "si", "so", "su", "sy", "ta", "te", "ti", "to", "tu", "ty", "va", "ve", "vi", "vo",
    "vu", "vy", "wa", "we", "wi", "wo", "wu", "wy", "xa", "xe", "xi", "xo", "xu", "xy", "za", "ze", "zi", "zo", "zu",
    "zy", "ab", "ac", "ad", "af", "ag", "ah", "aj", "ak", "al", "am", "an", "ap", "ar", "as", "at", "av", "aw", "ax",
    "az", "eb", "ec", "ed", "ef", "eg", "eh", "ej", "ek", "el", "em", "en", "ep", "eq", "er", "es", "et", "ev", "ew",
    "ex", "ez", "ib", "ic", "id", "if", "ig", "ih", "ij", "ik", "il", "im", "in", "ip", "iq", "ir", "is", "it", "iv",
    "iw", "ix", "iz", "ob", "oc", "od", "of", "og", "oh", "oj", "ok", "ol", "om", "on", "op", "or", "os", "ot", "ov",
    "ow", "ox", "oz", "ub", "uc", "ud", "uf", "ug", "uh", "uj", "uk", "ul", "um", "un", "up", "ur", "us", "ut", "uv",
    "uw", "ux", "uz", "yb", "yc", "yd", "yf", "yg", "yh", "yj", "yk", "yl", "ym", "yn", "yp", "yr", "ys", "yt", "yv",
    "yw", "yx", "yz", "ae", "ai", "ao", "au", "ay", "ea", "ee", "ei", "eo", "eu", "ey", "ia", "ie", "io", "iu", "iy",
    "oa", "oe", "oi", "oo", "ou", "oy", "ua", "ue", "ui", "uo", "uy", "ya", "ye", "yi", "yo", "yu", "th", "ch", "sh",
    "st", "nd", "nt", "ng", "ck", "ll", "ss", "tt", "rr", "nn", "mm", "pp", "ff", "gg", "dd", "bb", "cc", "zz", "rd",
    "rk", "rl", "rm", "rn", "rp", "rs", "rt", "rv", "rg", "rb", "lt", "ld", "lk", "lm", "lf", "lp", "ls", "mp", "mb",
    "nk", "nc", "ns", "sk", "sp", "sm", "sl", "sn", "sw", "sc", "ph", "wh", "gh", "tr", "dr", "br", "cr", "fr", "gr",
    "pr", "bl", "cl", "fl", "gl", "pl", "kh", "ts", "ds", "ct", "pt", "ft", "xt", "kn", "ms", "hn", "hr", "tw",
];

/// The tokens that mark the parts of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// What has no piece; never made, because bytes are pieces too.
    Unknown,
    /// Fills a row.
    Padding,
    /// Begins a memory.
    Memory,
    /// Begins a question.
    Question,
    /// Ends a question and begins its answer.
    Answer,
    /// Ends an answer.
    End,
}

impl Control {
    /// All of them; each one's place is its token.
    pub const ALL: [Self; 6] = [Self::Unknown, Self::Padding, Self::Memory, Self::Question, Self::Answer, Self::End];

    /// Returns the token.
    pub const fn token(self) -> u32 {
        self as u32
    }

    /// Returns how it is written.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unknown => "<|unknown|>",
            Self::Padding => "<|padding|>",
            Self::Memory => "<|memory|>",
            Self::Question => "<|question|>",
            Self::Answer => "<|answer|>",
            Self::End => "<|end|>",
        }
    }
}

/// Makes the small model's tokenizer.
///
/// # Errors
/// `Invalid` when its file cannot be read, which a test rules out.
pub fn tokenizer() -> Result<Tokenizer> {
    Tokenizer::from_bytes(tokenizer_json().to_string().as_bytes())
}

/// Makes the small model's `tokenizer.json`.
pub fn tokenizer_json() -> Value {
    let mut pieces: Vec<(String, f64)> = Control::ALL.iter().map(|control| (control.text().to_owned(), 0.0)).collect();
    pieces.extend((0..=255).map(|byte| (format!("<0x{byte:02X}>"), -40.0)));
    pieces.extend(words().into_iter().map(|word| (format!("▁{word}"), -1.0)));
    // A piece costs 10, whatever its length, so the fewest win; a lone letter a little more, so that a word begins with pairs.
    for pair in PAIRS {
        pieces.push((format!("▁{}", capital(pair)), -10.0));
        pieces.push((format!("▁{pair}"), -10.0));
        pieces.push((pair.to_owned(), -10.0));
    }
    for letter in ('a'..='z').chain('A'..='Z').chain('0'..='9') {
        pieces.push((format!("▁{letter}"), -10.5));
        pieces.push((letter.to_string(), -10.25));
    }
    pieces.extend((' '..='~').filter(|c| c.is_ascii_punctuation()).map(|c| (c.to_string(), -10.0)));
    pieces.push(("...".to_owned(), -1.0));
    pieces.push(("▁".to_owned(), -11.0));
    pieces.push(("\n".to_owned(), -10.0));
    let mut seen = std::collections::HashSet::new();
    pieces.retain(|(piece, _)| seen.insert(piece.clone()));
    let added: Vec<Value> = Control::ALL
        .iter()
        .map(|control| {
            json!({"id": control.token(), "content": control.text(), "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": metaspace,
        "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, metaspace]},
        "model": {"type": "Unigram", "unk_id": Control::Unknown.token(), "vocab": pieces, "byte_fallback": true},
    })
}

/// Returns every word of the grammar, each once.
fn words() -> Vec<String> {
    let mut words = vec!["a", "an", "the", "The"];
    words.extend(NOT_KNOWN.split([' ', '.']).filter(|word| !word.is_empty()));
    for relation in &RELATIONS {
        words.extend(relation.says.split(' '));
        for question in relation.asks {
            // The name's place, and marks that touch a word, are cut off.
            words.extend(
                question.split(' ').filter(|word| !word.contains('{')).map(|word| word.trim_end_matches(['?', ','])),
            );
        }
    }
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    words.sort();
    words.dedup();
    words
}

pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}
