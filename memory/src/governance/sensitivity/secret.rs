//! Passwords, keys and tokens: by the word before them, by the shape their makers gave them, or by how they are mixed.

use super::scan::{Scan, span};
use super::{SensitiveSpan, SensitivityKind};

/// Shorter words are no keys.
pub(super) const WORD_BYTES_MIN: usize = 10;
/// Longer words are data, not secrets.
const WORD_BYTES_MAX: usize = 512;
/// The shortest word that is judged by its mix of characters alone.
const MIXED_BYTES_MIN: usize = 24;
/// How many spaces may stand between a keyword and its value.
const SPACES_MAX: usize = 8;
/// The longest value after a keyword.
const VALUE_BYTES_MAX: usize = 256;

/// The prefixes by which issuers mark their keys, and the least length of what follows.
const PREFIXES: &[(&str, usize)] = &[
    ("AKIA", 16),
    ("ASIA", 16),
    ("AIza", 30),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghu_", 30),
    ("ghs_", 30),
    ("ghr_", 30),
    ("github_pat_", 22),
    ("glpat-", 16),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xoxa-", 10),
    ("xoxr-", 10),
    ("xoxs-", 10),
    ("xapp-", 10),
    ("sk_live_", 10),
    ("sk_test_", 10),
    ("rk_live_", 10),
    ("rk_test_", 10),
    ("sk-", 20),
    ("npm_", 30),
    ("hf_", 30),
    ("shpat_", 30),
    ("dop_v1_", 40),
    ("pypi-", 40),
];

/// Reads a long word: a private key block, a key of a known shape, a JSON web token, or a mixed word.
pub(super) fn word(scan: &Scan<'_>, at: usize, end: usize) -> Option<SensitiveSpan> {
    let written = scan.slice(at, end);
    if written.starts_with(b"-----BEGIN") {
        return private_key(scan, at);
    }
    if scan.is_inside_word(at) {
        return None;
    }
    let is_known = PREFIXES.iter().any(|(prefix, rest_min)| {
        let rest = written.strip_prefix(prefix.as_bytes());
        let is_key = |rest: &[u8]| rest.len() >= *rest_min && rest.iter().any(u8::is_ascii_digit);
        // `sk-` also begins names of several words; those have no capitals.
        let is_name =
            |rest: &[u8]| *prefix == "sk-" && rest.contains(&b'-') && !rest.iter().any(u8::is_ascii_uppercase);
        rest.is_some_and(|rest| is_key(rest) && !is_name(rest))
    });
    if is_known {
        return Some(span(at, end, SensitivityKind::Secret));
    }
    web_token(scan, at).or_else(|| mixed(scan, at))
}

/// Reads a private key from its first line to its last, or to the end of the text where the last is missing.
fn private_key(scan: &Scan<'_>, at: usize) -> Option<SensitiveSpan> {
    const LABEL_BYTES_MAX: usize = 64;
    let label_end = scan.text.floor_char_boundary(scan.end_of(at, LABEL_BYTES_MAX, |byte| byte != b'\n'));
    let is_private = scan.text.get(at..label_end)?.contains("PRIVATE KEY");
    let rest = scan.text.get(label_end..).filter(|_| is_private)?;
    let end = match rest.find("-----END") {
        Some(last) => scan.end_of(label_end + last + "-----END".len(), LABEL_BYTES_MAX, |byte| {
            byte == b'-' || byte == b' ' || byte.is_ascii_uppercase()
        }),
        None => scan.bytes.len(),
    };
    Some(span(at, end, SensitivityKind::Secret))
}

/// Reads a JSON web token: a header that begins with `{"` in base64, and one or two more parts.
fn web_token(scan: &Scan<'_>, at: usize) -> Option<SensitiveSpan> {
    const TOKEN_BYTES_MAX: usize = 8192;
    if !scan.slice(at, at + 3).starts_with(b"eyJ") {
        return None;
    }
    let end = scan.end_of(at, TOKEN_BYTES_MAX, |byte| super::scan::is_word(byte) || byte == b'.');
    let token = scan.text.get(at..end)?.trim_end_matches('.');
    let mut parts = token.split('.');
    let is_token =
        parts.next().is_some_and(|header| header.len() >= 12) && parts.next().is_some_and(|part| part.len() >= 8);
    is_token.then(|| span(at, at + token.len(), SensitivityKind::Secret))
}

/// Reads a word of base64 or a like alphabet that mixes small letters, capitals and digits as chance would.
fn mixed(scan: &Scan<'_>, at: usize) -> Option<SensitiveSpan> {
    let is_base_64 = |byte: u8| super::scan::is_word(byte) || matches!(byte, b'+' | b'/');
    if scan.byte_before(at).is_some_and(|byte| matches!(byte, b'+' | b'/') && is_base_64_before(scan, at)) {
        return None;
    }
    let end = scan.end_of(at, WORD_BYTES_MAX + 1, is_base_64);
    let written = scan.slice(at, end);
    if !(MIXED_BYTES_MIN..=WORD_BYTES_MAX).contains(&written.len()) || !is_mixed(written) || is_digest(scan, at) {
        return None;
    }
    let padded_end = scan.end_of(end, 2, |byte| byte == b'=');
    Some(span(at, padded_end, SensitivityKind::Secret))
}

/// Returns whether a word before the `/` or `+` was judged together with this one already.
fn is_base_64_before(scan: &Scan<'_>, at: usize) -> bool {
    at.checked_sub(2).and_then(|before| scan.byte(before)).is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// Returns whether a word mixes its characters as chance does: all three classes, many different characters, and a change
/// of class at three of ten neighbours. Names in camel case change less; their capitals before a small letter do not count.
fn is_mixed(written: &[u8]) -> bool {
    let (mut seen, mut classes, mut changes, mut last) = (0_u128, [0_usize; 3], 0, None);
    for byte in written {
        seen |= 1 << (byte & 0x7f);
        let class = match byte {
            b'a'..=b'z' => 0,
            b'A'..=b'Z' => 1,
            b'0'..=b'9' => 2,
            _ => continue,
        };
        if let Some(count) = classes.get_mut(class) {
            *count += 1;
        }
        changes += usize::from(last.is_some_and(|last| last != class && (last, class) != (1, 0)));
        last = Some(class);
    }
    let is_hexadecimal = written.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    let has_all = classes.iter().all(|count| *count > 0);
    has_all && !is_hexadecimal && seen.count_ones() >= 12 && changes * 10 >= (written.len() - 1) * 3
}

/// Returns whether a word is the digest of content, as in `sha256-...` and `SHA256:...`: public by purpose.
fn is_digest(scan: &Scan<'_>, at: usize) -> bool {
    let starts = |written: &[u8]| written.get(..3).is_some_and(|name| name.eq_ignore_ascii_case(b"sha"));
    let is_named = starts(scan.slice(at, at + 7)) && scan.slice(at + 3, at + 7).contains(&b'-');
    is_named || (scan.byte_before(at) == Some(b':') && starts(scan.slice(at.saturating_sub(7), at)))
}

/// What a keyword promises about the value after it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keyword {
    /// `password`: any value after a colon, a telling one after `is`.
    Password,
    /// `token`, `secret`, `api key`: a value of at least eight characters with a digit.
    Token,
    /// `PIN`: four to eight digits.
    Pin,
    /// `Bearer`: the value follows without a sign.
    Bearer,
}

/// Reads the value that a keyword announces: `password: ...`, `the PIN is ...`, `Bearer ...`.
pub(super) fn stated(scan: &Scan<'_>, at: usize, end: usize) -> Option<SensitiveSpan> {
    let keyword = keyword(scan, at, end)?;
    let (value_at, is_told) = match keyword {
        Keyword::Bearer => (scan.end_of(end, 4, |byte| byte == b' '), true),
        _ => value_start(scan, end)?,
    };
    if value_at == end {
        return None;
    }
    let quote = scan.byte(value_at).filter(|byte| matches!(byte, b'"' | b'\'' | b'`'));
    let from = value_at + usize::from(quote.is_some());
    let until = match quote {
        Some(quote) => scan.end_of(from, VALUE_BYTES_MAX, |byte| byte != quote && byte != b'\n'),
        None => scan.end_of(from, VALUE_BYTES_MAX, |byte| !byte.is_ascii_whitespace() && !matches!(byte, b'"' | b'`')),
    };
    // A sentence may end after the value, and a cut at the limit must not end inside a character.
    let value = scan.text.get(from..scan.text.ceil_char_boundary(until))?;
    let value = if quote.is_some() { value } else { value.trim_end_matches(['.', ',', ';', ')', '!', '?', '\'']) };
    let is_secret = match keyword {
        Keyword::Pin => (4..=8).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit()),
        Keyword::Token => value.len() >= 8 && value.bytes().any(|byte| byte.is_ascii_digit()) && !is_placeholder(value),
        Keyword::Bearer => value.len() >= 16 && value.bytes().any(|byte| byte.is_ascii_digit()),
        Keyword::Password => {
            // `is wrong` and `is case-sensitive` tell about a password; `is hunter2` tells it.
            let has_sign = value
                .bytes()
                .any(|byte| byte.is_ascii_digit() || (byte.is_ascii_punctuation() && !b"-'".contains(&byte)));
            let has_inner_capital = value.bytes().skip(1).any(|byte| byte.is_ascii_uppercase());
            let is_telling = quote.is_some() || has_sign || has_inner_capital;
            value.len() >= 4 && (!is_told || is_telling) && !is_placeholder(value)
        }
    };
    is_secret.then(|| span(from, from + value.len(), SensitivityKind::Secret))
}

/// Returns what a word announces, by its last part: `DB_PASSWORD` is a password.
fn keyword(scan: &Scan<'_>, at: usize, end: usize) -> Option<Keyword> {
    const PART_BYTES_MAX: usize = 10;
    // Most words end here.
    if !matches!(scan.byte_before(end)? | 0x20, b'd' | b'e' | b't' | b'n' | b'y' | b'r') || end - at < 3 {
        return None;
    }
    let written = scan.slice(at, end);
    let start = written.iter().rposition(|byte| matches!(byte, b'_' | b'-')).map_or(0, |mark| mark + 1);
    let part = written.get(start..)?;
    let mut buffer = [0_u8; PART_BYTES_MAX];
    let lower = buffer.get_mut(..part.len())?;
    lower.copy_from_slice(part);
    lower.make_ascii_lowercase();
    match &*lower {
        b"password" | b"passwd" | b"pwd" | b"passphrase" | b"passcode" => Some(Keyword::Password),
        b"token" | b"secret" | b"apikey" => Some(Keyword::Token),
        b"pin" => Some(Keyword::Pin),
        b"bearer" => Some(Keyword::Bearer),
        b"key" => {
            let before = scan.slice((at + start).saturating_sub(8), at + start).to_ascii_lowercase();
            let before = before.trim_ascii_end();
            let before = before.strip_suffix(b"_").or_else(|| before.strip_suffix(b"-")).unwrap_or(before);
            let is_secret = [b"api".as_slice(), b"secret", b"access", b"private", b"auth"];
            is_secret.iter().any(|name| before.ends_with(name)).then_some(Keyword::Token)
        }
        _ => None,
    }
}

/// Returns where the value after a keyword starts, and whether it is told in words (`is`) and not by a sign.
fn value_start(scan: &Scan<'_>, end: usize) -> Option<(usize, bool)> {
    // `"password": "..."` closes its quote first.
    let at = scan.end_of(end, SPACES_MAX, |byte| is_space(byte) || matches!(byte, b'"' | b'\'' | b'`'));
    if let Some(found) = sign_or_is(scan, at) {
        return Some(found);
    }
    // `password for the office router is ...`
    let mut at = after_word(scan, at, b"for")?;
    for _ in 0..3 {
        let (word_end, _) = scan.word_end(at);
        at = scan.end_of(word_end, SPACES_MAX, is_space);
        if let Some(found) = sign_or_is(scan, at) {
            return Some(found);
        }
    }
    None
}

/// Reads `:`, `=`, `:=`, `=>`, `is` or `is now`.
fn sign_or_is(scan: &Scan<'_>, at: usize) -> Option<(usize, bool)> {
    if matches!(scan.byte(at)?, b':' | b'=') {
        let sign_end = scan.end_of(at, 2, |byte| matches!(byte, b':' | b'=' | b'>'));
        return Some((scan.end_of(sign_end, SPACES_MAX, is_space), false));
    }
    let next = after_word(scan, at, b"is").or_else(|| after_word(scan, at, b"was"))?;
    Some((after_word(scan, next, b"now").unwrap_or(next), true))
}

/// Returns what follows a word and its spaces.
fn after_word(scan: &Scan<'_>, at: usize, word: &[u8]) -> Option<usize> {
    let word_end = at + word.len();
    let next = scan.end_of(word_end, SPACES_MAX, is_space);
    (scan.slice(at, word_end).eq_ignore_ascii_case(word) && next > word_end).then_some(next)
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Returns whether a value only stands where a secret would: `<password>`, `********`, `required`.
fn is_placeholder(value: &str) -> bool {
    let is_bracketed = value.starts_with(['<', '{', '[', '$', '%']);
    let is_hidden = value.bytes().all(|byte| matches!(byte, b'*' | b'x' | b'X' | b'.' | b'-' | b'_'));
    let words =
        ["required", "optional", "string", "none", "null", "true", "false", "changed", "wrong", "incorrect", "unknown"];
    is_bracketed || is_hidden || words.iter().any(|word| value.eq_ignore_ascii_case(word))
}
