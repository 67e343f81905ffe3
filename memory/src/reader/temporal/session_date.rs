//! Reads the date of a session as transcripts and exports write it.

use jiff::civil::DateTime;

use super::calendar::{self, Unit};
use super::clock::Clock;
use super::phrase::Reading;
use super::shape::Shape;
use super::token::Kind;
use super::vocabulary::Word;

/// A longer text is no date.
const DATE_BYTES_MAX: usize = 96;

/// Returns the civil date and time in UTC of a session date, or nothing if any part of the text is not understood.
///
/// Reads `1:56 pm on 8 May, 2023`, `May 8, 2023 13:56`, ISO 8601 and RFC 2822 with their offsets, `8/5/2023` (month first
/// unless that is impossible), `8.5.2023` (day first), and digits alone: 8 are a compact date, 9 or 10 seconds and 12 or 13
/// milliseconds since the epoch. A date without a time is midnight.
///
/// # Limits
/// Reads texts of up to 96 bytes.
pub fn parse_session_date(text: &str) -> Option<DateTime> {
    let text = text.trim();
    if text.is_empty() || text.len() > DATE_BYTES_MAX {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && text.bytes().filter(|byte| *byte == b'.').count() < 2
    {
        return digits_alone(text);
    }
    let reading = Reading::new(text, DateTime::default());
    let (mut date, mut time, mut offset_minutes) = (None, None, 0);
    let mut at = 0;
    while at < reading.len() {
        if let Some((civil, offset, next)) = reading.iso_time(at).filter(|_| date.is_none() && time.is_none()) {
            return finish(civil, offset, next == reading.len());
        } else if let Some((clock, next)) = reading.clock(at, Word::At).filter(|_| time.is_none()) {
            let Clock::At { hour, minute, .. } = clock else { return None };
            (time, at) = (Some((hour, minute)), next);
        } else if let Some((found, next)) = date_at(&reading, at).filter(|_| date.is_none()) {
            (date, at) = (Some(found), next);
        } else if let Some((offset, next)) = reading.offset(at).filter(|_| time.is_some()) {
            (offset_minutes, at) = (offset, next);
        } else if is_filler(&reading, at) {
            at += 1;
        } else {
            return None;
        }
    }
    let (hour, minute) = time.unwrap_or((0, 0));
    finish(date?.at(hour, minute, 0, 0), offset_minutes, true)
}

/// Moves a civil time to UTC.
fn finish(civil: DateTime, offset_minutes: i32, is_whole: bool) -> Option<DateTime> {
    let shift = jiff::Span::new().try_minutes(-i64::from(offset_minutes)).ok()?;
    civil.checked_add(shift).ok().filter(|_| is_whole)
}

/// Reads a full date, in digits or with its month by name.
fn date_at(reading: &Reading<'_>, at: usize) -> Option<(jiff::civil::Date, usize)> {
    if let Some(found) = reading.full_numeric_date(at) {
        return Some(found);
    }
    let phrase = match reading.kind(at)? {
        Kind::Number { .. } | Kind::Ordinal(_) => reading.dated_number(at, Word::Absent),
        _ => reading.month_phrase(at, Word::Absent),
    }?;
    match phrase.shape {
        Shape::Fixed(stretch) if stretch.is_day() && !phrase.relative => Some((stretch.from.date(), phrase.next)),
        _ => None,
    }
}

/// Returns whether a token says nothing that changes the date: a weekday, a comma, `on`, `at`, `UTC`.
fn is_filler(reading: &Reading<'_>, at: usize) -> bool {
    match reading.kind(at) {
        Some(Kind::Mark(mark)) => matches!(mark, b',' | b'(' | b')' | b'[' | b']' | b'-' | b'.'),
        Some(Kind::Word(word)) => match word {
            Word::On | Word::At | Word::The | Word::Weekday(_) | Word::WeekdayShort(_) => true,
            Word::Unit(Unit::Day) => false,
            _ => matches!(reading.written(at), "UTC" | "GMT" | "Z"),
        },
        _ => false,
    }
}

fn digits_alone(text: &str) -> Option<DateTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let value: i64 = whole.parse().ok()?;
    let milliseconds = match (whole.len(), fraction.len()) {
        (8, 0) => {
            let part = |range: std::ops::Range<usize>| whole.get(range)?.parse::<i16>().ok();
            let (month, day) = (i8::try_from(part(4..6)?).ok()?, i8::try_from(part(6..8)?).ok()?);
            let year = part(0..4).filter(|year| (1000..3000).contains(year))?;
            return jiff::civil::Date::new(year, month, day).ok().map(calendar::midnight);
        }
        (9..=10, _) => {
            let thousandths =
                fraction.bytes().chain(*b"000").take(3).fold(0, |sum, byte| sum * 10 + i64::from(byte - b'0'));
            value.checked_mul(1000)?.checked_add(thousandths)?
        }
        (12..=13, 0) => value,
        _ => return None,
    };
    Some(crate::time::Timestamp::from_millis(milliseconds).to_civil())
}
