//! Takes a text of policies apart into single ones, before Cedar sees it.
//!
//! Each is then read by itself: so an error has a line, a policy has its number, and what is too long or too deep is refused
//! before anything that calls itself goes down into it. In Cedar `;` ends a policy and stands nowhere else, but for texts and
//! comments, so taking apart never changes what is said.
//!
//! An expression is no deeper than half the number of its words and signs, whatever they are, since a level takes a sign and
//! something that it is about. So counting them bounds the depth without knowing the grammar.

use super::{NESTING, POLICIES, POLICY_BYTES, WORDS};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// One policy as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passage<'a> {
    pub(super) text: &'a str,
    /// The line on which it begins, counted from 1.
    pub(super) line: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Policy,
    Quotes,
    Comment,
}

/// Returns the policies of a text. What stands after the last `;` is a policy that Cedar will find unfinished. Errors name a
/// line as `place` does.
pub(super) fn passages<'a>(text: &'a str, place: impl Fn(usize) -> String) -> Result<Vec<Passage<'a>>> {
    let mut found = Vec::new();
    let (mut within, mut begun, mut depth, mut line) = (Within::Policy, None, 0usize, 1);
    let (mut words, mut before) = (0usize, b' ');
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        let follows = bytes.peek().map(|(_, next)| *next);
        match (within, byte) {
            // Cedar ends a comment at either.
            (Within::Comment, b'\n' | b'\r') => within = Within::Policy,
            (Within::Policy, b'/') if follows == Some(b'/') => within = Within::Comment,
            (Within::Policy, b'"') => within = Within::Quotes,
            (Within::Quotes, b'"') => within = Within::Policy,
            (Within::Quotes, b'\\') if follows != Some(b'\n') => drop(bytes.next()),
            (Within::Policy, b'(' | b'[' | b'{') => depth += 1,
            (Within::Policy, b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if within != Within::Comment && begun.is_none() && !byte.is_ascii_whitespace() {
            begun = Some((at, line));
        }
        words += usize::from(within == Within::Policy && begins_word(before, byte));
        before = byte;
        if words > WORDS {
            let message = format!("the policy has more than {WORDS} words and signs; make two of it, or use sets");
            return Err(Error::invalid(message).at(place(line)));
        }
        if depth > NESTING {
            let message = format!("brackets stand {depth} deep, and at most {NESTING} are read");
            return Err(Error::invalid(message).at(place(line)));
        }
        if (within, byte) == (Within::Policy, b';') {
            found.extend(finish(text, begun.take(), at + 1, &place)?);
            Limits::check("the charter", found.len(), POLICIES, "policies")?;
            (depth, words) = (0, 0);
        }
        line += usize::from(byte == b'\n');
    }
    found.extend(finish(text, begun, text.len(), &place)?);
    Ok(found)
}

/// Returns whether a word or a sign begins at a byte. Two signs side by side that are one in Cedar count as one.
fn begins_word(before: u8, byte: u8) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match byte {
        b'(' | b'[' | b'{' | b'.' | b'+' | b'-' | b'*' | b'!' => true,
        b'&' | b'|' | b'=' | b'<' | b'>' => !b"&|=<>!".contains(&before),
        _ => letter(byte) && !letter(before),
    }
}

fn finish(
    text: &str,
    begun: Option<(usize, usize)>,
    end: usize,
    place: impl Fn(usize) -> String,
) -> Result<Option<Passage<'_>>> {
    let passage = begun.and_then(|(start, line)| Some(Passage { text: text.get(start..end)?, line }));
    if let Some(Passage { text, line }) = passage {
        let checked = Limits::check("the policy", text.len(), POLICY_BYTES, "bytes");
        checked.map_err(|error| error.at(place(line)))?;
    }
    Ok(passage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(line: usize) -> String {
        format!("line {line}")
    }

    #[test]
    fn a_text_is_taken_apart_at_the_ends_of_policies() {
        let check = |text: &str, expect: &[(&str, usize)]| {
            let found = passages(text, line).unwrap();
            let found: Vec<_> = found.iter().map(|passage| (passage.text, passage.line)).collect();
            assert_eq!(found, expect, "{text:?}");
        };
        check("", &[]);
        check(" \n// only; a comment\n", &[]);
        check("a;b;", &[("a;", 1), ("b;", 1)]);
        check("// x\n\n a\n b;\n\nc", &[("a\n b;", 3), ("c", 6)]);
        check("a \";\" ; b \"\\\";\";", &[("a \";\" ;", 1), ("b \"\\\";\";", 1)]);
        check("a // ;\n ; b", &[("a // ;\n ;", 1), ("b", 2)]);
        check("// x\ra;", &[("a;", 1)]);
        check(";;", &[(";", 1), (";", 1)]);
        check("a \"never ends;\n b;", &[("a \"never ends;\n b;", 1)]);
        check("a / b;", &[("a / b;", 1)]);
    }

    #[test]
    fn what_is_too_long_too_deep_or_too_much_is_refused() {
        for (text, expect) in [
            (format!("a;\n{}", "(".repeat(NESTING + 1)), "line 2: brackets stand 33 deep"),
            (format!("\n{}", "a == b && ".repeat(65)), "line 2: the policy has more than 256 words and signs"),
            (format!("\n{};", "a".repeat(POLICY_BYTES)), "line 2: the policy has 8193 bytes"),
            ("a;".repeat(POLICIES + 1), "the charter has 1025 policies"),
        ] {
            let refused = passages(&text, line).unwrap_err().to_string();
            assert!(refused.contains(expect), "{refused}");
        }
        assert_eq!(passages(&format!("{};", "a != b && ".repeat(51)), line).unwrap().len(), 1);
        assert_eq!(passages(&"((a))[b]{c};".repeat(100), line).unwrap().len(), 100);
    }
}
