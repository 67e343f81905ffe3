//! Finds the time expressions of an English text and resolves them against the moment it was written.
//!
//! A memory says "last Friday"; recall asks for May. Both meet only when the words become windows of time while the date of
//! the session is still known. The room is a scanner and a small grammar instead of a model or regular expressions: the same
//! text always reads the same, in one pass whose cost grows with the length of the text.
//!
//! The rules, where English leaves a choice:
//! - Weeks run from Monday to Monday. Seasons are the northern meteorological ones. Times are civil and read as UTC.
//! - `two weeks ago` is the calendar unit that holds the anchor moved back: that week, month, year or day.
//!   `a couple` is 2, `a few` 2 to 5, `several` 3 to 7. `the other day` is the seven days before the anchor's day.
//! - `last week` is the calendar week before; `the past week` and `the last two weeks` are the days up to the anchor's day.
//! - `last Friday` is the latest one before the anchor's day, `next Friday` and `coming Friday` the first one after it,
//!   `this Friday` the first one from the anchor's day on (in a past context: the latest one up to it).
//! - A bare weekday is the most recent past one, unless a future cue stands nearest in its sentence or `by` or `until` before
//!   it. A month, holiday or day of a month without a year is past or future by the nearest cue, without a cue it is the
//!   nearest one. A season without a year needs a cue. A habit cue (`usually`, `every`, `Fridays`) leaves no mention.
//! - `since X` opens at the start of X, `until X` and `by X` close at the end of it, `before X` closes at its start and
//!   `after X` opens at its end; a time of day keeps `before` and `after` inside its day.
//! - `early`, `mid` and `late` are thirds; `beginning`, `middle` and `end of` are the same thirds.
//! - `in three days` counts from the anchor, unless the sentence tells of the past, where it is a duration. Hours need a
//!   future cue, minutes and seconds are always read as durations.
//! - `05/07/2023` and `05-07-2023` are month first unless that is impossible, `05.07.2023` is day first unless that is
//!   impossible, and two-digit years are 1969 to 2068. `2023-05-07` is ISO 8601.
//! - `three days later`, `the next day` and `the following week` count from the mention before them in the same text and mean
//!   nothing without one.
//!
//! It must never know what a memory is, and never asks a clock.

use std::ops::Range;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use crate::time::{Timestamp, Window};

mod calendar;
mod clock;
mod counted;
mod dates;
mod holidays;
mod modified;
mod phrase;
mod session_date;
mod shape;
mod tense;
mod token;
mod vocabulary;

pub use session_date::parse_session_date;

/// Text beyond this many bytes is not read.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// How exactly a time was said, from fine to coarse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// A time with minutes.
    Minute,
    /// A full hour.
    Hour,
    /// A morning, an afternoon, an evening or a night.
    PartOfDay,
    /// A day.
    Day,
    /// A Saturday and Sunday.
    Weekend,
    /// A week, or a third of a month.
    Week,
    /// A month, or a third of a season.
    Month,
    /// A season, a quarter of a year or a third of a year.
    Season,
    /// A year, or a few years of a decade.
    Year,
    /// Ten years.
    Decade,
    /// A hundred years.
    Century,
}

/// A time expression in a text and the window that it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeMention {
    /// The bytes of the text that it takes, without a preposition that says nothing (`on`, `in`, `at`).
    pub range: Range<usize>,
    /// What it means. At least one end is set, and the first end lies before the second.
    pub window: Window,
    /// How exactly it was said; for a range, the finer of its two ends.
    pub precision: Precision,
    /// Whether the anchor or another mention was needed to resolve it.
    pub relative: bool,
}

/// Finds the time expressions of `text`, in order; relative ones are resolved against `anchor`, the civil time in UTC at
/// which it was written.
///
/// # Limits
/// Reads the first [`TEXT_BYTES_MAX`] bytes.
pub fn find_times(text: &str, anchor: DateTime) -> Vec<TimeMention> {
    let text = text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default();
    let mut reading = phrase::Reading::new(text, anchor);
    let (mut mentions, mut at) = (Vec::new(), 0);
    while at < reading.len() {
        let Some(found) = reading.mention(at) else {
            at = reading.skip(at);
            continue;
        };
        mentions.extend(mention(&reading, &found));
        reading.previous = found.stretch.or(reading.previous);
        at = found.next.max(at + 1);
        reading.previous_next = at;
    }
    mentions
}

/// Turns what the grammar found into a mention, unless its window lies outside the years that a timestamp can hold.
fn mention(reading: &phrase::Reading<'_>, found: &phrase::Found) -> Option<TimeMention> {
    // A timestamp cannot hold the first and last hours of the civil calendar; nobody remembers them.
    let is_held = |civil: Option<DateTime>| civil.is_none_or(|civil| civil.year().abs() < 9999);
    let window = Window { from: found.from.map(Timestamp::from_civil), until: found.until.map(Timestamp::from_civil) };
    let is_in_order = window.from.zip(window.until).is_none_or(|(from, until)| from < until);
    (is_in_order && is_held(found.from) && is_held(found.until) && !window.is_always()).then(|| TimeMention {
        range: reading.range(found.start, found.next),
        window,
        precision: found.precision,
        relative: found.relative,
    })
}

#[cfg(test)]
mod tests;
