//! Which lines of a transcript begin a session, and when.
//!
//! A line is a heading for sure if signs mark it as one (`#`, or rules on both sides) or it begins with `Session 3`, and it
//! names a date or that number. Headings that pasted Markdown may have as well, and lines that are nothing but a date, are
//! possible ones: what follows decides.

use jiff::civil::DateTime;

use super::stamps::{read_clock, read_date};

/// Words that number a session by themselves.
const SURE_SESSION_WORDS: &[&str] = &["session", "conversation"];

/// Words that number a session, or a chapter of what somebody says.
const SESSION_WORDS: &[&str] = &["session", "conversation", "chat", "meeting", "call", "day", "part"];

/// Words that may stand in a line that is nothing but a date, besides the names of months and days.
const DATE_WORDS: &[&str] =
    &["am", "pm", "a.m", "p.m", "at", "on", "of", "the", "st", "nd", "rd", "th", "t", "z", "utc"];

/// The first three letters of months and days of the week.
const CALENDAR: &[&str] = &[
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "mon", "tue", "wed", "thu",
    "fri", "sat", "sun",
];

/// A heading is no longer than this; a longer line is text. Bytes.
const HEADING_BYTES_MAX: usize = 200;

/// What a line is as a heading.
pub(super) enum Heading<'a> {
    /// It names a date, or the number of a session.
    Certain {
        name: &'a str,
        at: Option<DateTime>,
    },
    /// It begins a session if a turn follows.
    Possible {
        name: &'a str,
        at: Option<DateTime>,
    },
    Rule,
    None,
}

/// Returns what a line is as a heading.
pub(super) fn heading(line: &str) -> Heading<'_> {
    let line = line.trim();
    if line.is_empty() || line.len() > HEADING_BYTES_MAX {
        return Heading::None;
    }
    let marks = line.len() - line.trim_start_matches('#').len();
    if (1..=6).contains(&marks)
        && let Some(inside) = line.get(marks..).and_then(|rest| rest.strip_prefix(' '))
    {
        return marked(inside.trim_end_matches('#').trim());
    }
    if let Some(inside) = between_rules(line) {
        return if inside.is_empty() { Heading::Rule } else { marked(inside) };
    }
    if let Some((sure, rest)) = session_number(line) {
        let at = session_date(line);
        let parted = rest.is_empty() || rest.starts_with(['(', '-', '–', '—', ':', ',', '[', '|']);
        return match (at.is_some() || sure, parted) {
            (true, true) => Heading::Certain { name: line, at },
            (false, true) => Heading::Possible { name: line, at },
            (_, false) => Heading::None,
        };
    }
    unmarked(line)
}

/// A heading with signs that say it is one.
fn marked(inside: &str) -> Heading<'_> {
    let at = session_date(inside);
    if inside.is_empty() {
        Heading::Rule
    } else if at.is_some() || session_number(inside).is_some_and(|(sure, _)| sure) {
        Heading::Certain { name: inside, at }
    } else {
        Heading::Possible { name: inside, at: None }
    }
}

/// `Date: 7 May 2024`, or a line that is nothing but a date.
fn unmarked(line: &str) -> Heading<'_> {
    if let Some((label, rest)) = line.split_once(':')
        && ["date", "when", "time"].iter().any(|word| label.trim().eq_ignore_ascii_case(word))
        && let Some(at) = read_date(rest)
    {
        return Heading::Certain { name: rest.trim(), at: Some(at) };
    }
    let bare = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(line);
    let is_date_word = |word: &str| {
        let word = word.trim_end_matches('.').to_ascii_lowercase();
        word.is_empty() || DATE_WORDS.contains(&word.as_str()) || CALENDAR.iter().any(|name| word.starts_with(name))
    };
    let words_fit = || bare.split(|c: char| !(c.is_alphabetic() || c == '.')).all(is_date_word);
    if bare.contains(|c: char| c.is_ascii_digit()) && words_fit() && read_clock(bare).is_none() {
        return match read_date(bare) {
            Some(at) => Heading::Possible { name: bare, at: Some(at) },
            None => Heading::None,
        };
    }
    Heading::None
}

/// Returns what stands between two rules of the same sign, at least three long; nothing for a rule alone.
fn between_rules(line: &str) -> Option<&str> {
    let sign = line.chars().next().filter(|c| "-=*_~—".contains(*c))?;
    let inside = line.trim_start_matches(sign);
    let opening = line.len() - inside.len();
    let content = inside.trim_end_matches(sign);
    let least = 3 * sign.len_utf8();
    let closed = content.is_empty() || inside.len() - content.len() >= least;
    (opening >= least && closed).then(|| content.trim())
}

/// Returns whether a word numbers a session for sure, and what follows the number: `Session 3`, `Day 2: Rome`.
fn session_number(line: &str) -> Option<(bool, &str)> {
    let word_bytes = line.find(|c: char| !c.is_ascii_alphabetic())?;
    let (word, rest) = line.split_at_checked(word_bytes)?;
    let is_one_of = |words: &[&str]| words.iter().any(|known| word.eq_ignore_ascii_case(known));
    if !is_one_of(SESSION_WORDS) {
        return None;
    }
    let numbered = rest.trim_start().trim_start_matches('#');
    let after = numbered.trim_start_matches(|c: char| c.is_ascii_digit());
    let ends = after.chars().next().is_none_or(|c| !c.is_alphanumeric());
    (after.len() < numbered.len() && ends).then(|| (is_one_of(SURE_SESSION_WORDS), after.trim_start()))
}

/// Returns whether a heading numbers a session.
pub(super) fn is_numbered(heading: &str) -> bool {
    session_number(heading).is_some()
}

/// Finds the date in a heading: the whole of it, in brackets, or behind a sign that parts it from a name.
fn session_date(heading: &str) -> Option<DateTime> {
    let bracketed = heading.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map(|(inside, _)| inside);
    let behind = heading.char_indices().filter(|(_, c)| matches!(c, '-' | '–' | '—' | ':' | ',' | '|'));
    let behind = behind.filter_map(|(at, c)| {
        let rest = heading.get(at + c.len_utf8()..)?;
        rest.starts_with(' ').then_some(rest)
    });
    std::iter::once(heading).chain(bracketed).chain(behind).find_map(read_date)
}
