//! What each line of a transcript is: the beginning of a session or a turn, or text that goes on.
//!
//! Whether `Label: text` names a speaker cannot be told from the line alone. It does if
//! - a time in square brackets stands before it, or
//! - the label is the word for a role, such as `User`, or
//! - it is shaped like a name (each word with a capital, four at most), or else stands in the file at least twice. Labels in
//!   bold and numbered ones (`Step 1`, but not `Speaker 1`) are always of the second kind.
//!
//! The words that open remarks and fields, such as `Note` or `Subject`, are no speakers, and nobody else is one where both
//! `User` and `Assistant` speak: what assistants write is full of labels.

use std::collections::HashMap;

use jiff::civil::DateTime;

use super::Role;
use super::headings::{Heading, heading};
use crate::reader::temporal::parse_session_date;

/// Labels that open a remark, a field or an address, not a turn. Sorted.
#[rustfmt::skip]
const NOT_SPEAKERS: &[&str] = &[
    "address", "age", "author", "bcc", "born", "caution", "cc", "conclusion", "date", "e.g", "edit", "email", "example",
    "examples", "from", "fyi", "hint", "http", "https", "i.e", "important", "ingredients", "instructions", "n.b", "name",
    "nb", "note", "notes", "p.s", "phone", "ps", "re", "reminder", "result", "see", "source", "sources", "steps",
    "subject", "summary", "time", "tip", "title", "to", "todo", "topic", "update", "url", "warning",
];

/// Words that number speakers.
const SPEAKER_WORDS: &[&str] = &["agent", "caller", "guest", "participant", "person", "speaker", "user", "voice"];

/// A label is no longer than this, in characters and in words; a longer one is text.
const LABEL_CHARS_MAX: usize = 48;
const LABEL_WORDS_MAX: usize = 5;

/// A time in brackets is no longer than this. Bytes.
const STAMP_BYTES_MAX: usize = 40;

pub(super) enum Line<'a> {
    Session {
        name: &'a str,
        at: Option<DateTime>,
    },
    Turn(TurnLine<'a>),
    /// Text that goes on, or nothing.
    Text(&'a str),
    /// A rule without words, which only parts what stands around it.
    Rule,
}

#[derive(Clone, Copy)]
pub(super) struct TurnLine<'a> {
    pub(super) stamp: Option<&'a str>,
    pub(super) speaker: &'a str,
    pub(super) text: &'a str,
    bold: bool,
}

/// Returns what each line is; the first is line 1.
pub(super) fn read(text: &str) -> Vec<Line<'_>> {
    let labels = Labels::count(text);
    let mut lines: Vec<Line<'_>> = Vec::new();
    // Backwards, because a heading without a date is one only if a turn comes next.
    let mut turn_next = false;
    for raw in text.split('\n').rev() {
        let line = match heading(raw) {
            Heading::Certain { name, at } => Line::Session { name, at },
            Heading::Possible { name, at } if turn_next => Line::Session { name, at },
            Heading::Rule if turn_next => Line::Rule,
            _ => match split_turn(raw).filter(|turn| labels.is_speaker(turn)) {
                Some(turn) => Line::Turn(turn),
                None => Line::Text(raw),
            },
        };
        match &line {
            Line::Text(text) if text.trim().is_empty() => {}
            other => turn_next = !matches!(other, Line::Text(_)),
        }
        lines.push(line);
    }
    lines.reverse();
    lines
}

/// Returns whether most lines are turns, and of speakers who speak more than once or are just two.
pub(in super::super) fn looks_like_one(text: &str) -> bool {
    let (mut filled, mut other, mut turns) = (0_usize, 0_usize, 0_usize);
    let mut speakers = std::collections::HashSet::new();
    for line in read(text) {
        match line {
            Line::Text(text) if text.trim().is_empty() => continue,
            Line::Text(_) => other += 1,
            Line::Turn(turn) => {
                turns += 1;
                speakers.insert(turn.speaker.to_lowercase());
            }
            Line::Session { .. } | Line::Rule => {}
        }
        filled += 1;
    }
    let few = if turns == 2 { speakers.len() <= 2 } else { speakers.len() * 3 <= turns * 2 };
    turns >= 2 && few && other * 2 < filled
}

/// Returns the role of a speaker by its name.
pub(super) fn role(speaker: &str) -> Role {
    match speaker.to_ascii_lowercase().as_str() {
        "user" | "human" => Role::User,
        "assistant" | "ai" | "bot" | "model" | "agent" => Role::Assistant,
        "system" => Role::System,
        "tool" => Role::Tool,
        _ => Role::Person,
    }
}

/// The labels of a file and how often each stands in it.
struct Labels<'a> {
    counts: HashMap<&'a str, usize>,
    /// Whether a user and an assistant speak.
    roles_only: bool,
}

impl<'a> Labels<'a> {
    fn count(text: &'a str) -> Self {
        let mut counts = HashMap::new();
        for turn in text.split('\n').filter_map(split_turn) {
            *counts.entry(turn.speaker).or_insert(0) += 1;
        }
        let speaks = |wanted: Role| counts.keys().any(|label| role(label) == wanted);
        let roles_only = speaks(Role::User) && speaks(Role::Assistant);
        Self { counts, roles_only }
    }

    fn is_speaker(&self, turn: &TurnLine<'_>) -> bool {
        let label = turn.speaker;
        if turn.stamp.is_some() || role(label) != Role::Person {
            return true;
        }
        if self.roles_only || NOT_SPEAKERS.binary_search(&label.to_lowercase().as_str()).is_ok() {
            return false;
        }
        let doubtful = turn.bold || numbers_something(label) || !is_name_shaped(label);
        !doubtful || self.counts.get(label).is_some_and(|count| *count >= 2)
    }
}

/// Splits a line that has the form of a turn.
fn split_turn(line: &str) -> Option<TurnLine<'_>> {
    let (stamp, rest) = split_stamp(line.trim());
    // Exports to Markdown write names in bold: `**Bo:** hello`.
    let (bold, rest) = rest.strip_prefix("**").map_or((false, rest), |rest| (true, rest));
    let (label, text) = rest.split_once([':', '：'])?;
    let wide = rest.get(label.len()..).is_some_and(|rest| rest.starts_with('：'));
    let label = if bold { label.strip_suffix("**").unwrap_or(label) } else { label };
    let text = if bold { text.strip_prefix("**").unwrap_or(text) } else { text };
    if !(text.is_empty() || wide || text.starts_with(char::is_whitespace)) {
        return None;
    }
    let label = label.trim();
    let fits = label.len() <= LABEL_CHARS_MAX * 4 && label.chars().count() <= LABEL_CHARS_MAX;
    let formed = fits
        && label.starts_with(char::is_alphabetic)
        && label.chars().all(|c| c.is_alphanumeric() || " .'’-_()&@+/#".contains(c))
        && label.split(' ').count() <= LABEL_WORDS_MAX;
    formed.then(|| TurnLine { stamp, speaker: label, text: text.trim(), bold })
}

fn split_stamp(line: &str) -> (Option<&str>, &str) {
    let inside = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match inside.filter(|(stamp, _)| looks_like_time(stamp)) {
        Some((stamp, rest)) => (Some(stamp.trim()), rest.trim_start()),
        None => (None, line),
    }
}

/// A time of day, or three numbers of a date, so that `[1]` and `[1-3]` stay footnotes.
fn looks_like_time(text: &str) -> bool {
    let joints = |signs: &[u8]| {
        let joins = |three: &&[u8]| match three {
            [before, sign, after] => before.is_ascii_digit() && signs.contains(sign) && after.is_ascii_digit(),
            _ => false,
        };
        text.as_bytes().windows(3).filter(joins).count()
    };
    text.len() <= STAMP_BYTES_MAX
        && (joints(b":") > 0 || joints(b"-/") > 1 || parse_session_date(text.trim()).is_some())
}

/// `Step 1`, but not `Speaker 1`.
fn numbers_something(label: &str) -> bool {
    let numbered = label.rsplit(' ').next().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let first = label.split(' ').next().unwrap_or("");
    numbered && !SPEAKER_WORDS.iter().any(|word| first.eq_ignore_ascii_case(word))
}

/// Each word begins with a capital, a number or a bracket, or with a letter of a script without capitals.
fn is_name_shaped(label: &str) -> bool {
    let capital = |word: &str| word.chars().next().is_none_or(|c| !c.is_lowercase());
    label.split(' ').count() <= 4 && label.split(' ').all(capital)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted() {
        assert!(NOT_SPEAKERS.is_sorted());
    }

    #[test]
    fn speakers_are_told_from_remarks() {
        let is_turn = |text: &str| matches!(read(text).last(), Some(Line::Turn(_)));
        for (text, expect) in [
            ("Bo: hello", true),
            ("Bo:", true),
            ("Dr. Ray O'Neil: hello", true),
            ("user: hello", true),
            ("**Bo:** hello", false),
            ("**Bo:** hello\n**Bo**: hello", true),
            ("Step 1: hello", false),
            ("Speaker 1: hello", true),
            ("Day 2: Rome", false),
            ("User: a\nAssistant: b\nBudget: 200", false),
            ("User: a\nAssistant: b\nTool: 200", true),
            ("[1-3] Knuth: The Art", false),
            ("李：你好", true),
            ("[10:30] vincent van gogh: hi", true),
            ("vincent van gogh: hi", false),
            ("a: hi\na: ho", true),
            ("Note: hello", false),
            ("The plan: go home", false),
            ("https://a.example", false),
            ("At 10:30 we met", false),
            ("Vec::new", false),
            ("- Bo: hello", false),
            ("[1] Knuth: The Art", false),
            ("One two three four five six: no", false),
        ] {
            assert_eq!(is_turn(text), expect, "{text}");
        }
    }
}
