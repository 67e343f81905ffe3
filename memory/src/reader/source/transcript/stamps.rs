//! The times that stand before speakers and in headings: dates as the rest of the reader knows them, and times of day.

use jiff::civil::{DateTime, Time};

use crate::reader::temporal::parse_session_date;
use crate::time::Timestamp;

/// A time before a speaker.
pub(super) enum Stamp {
    Dated(DateTime),
    Clock(Time),
}

impl Stamp {
    pub(super) fn read(text: &str) -> Option<Self> {
        if let Some(clock) = read_clock(text) {
            return Some(Self::Clock(clock));
        }
        read_date(text).map(Self::Dated)
    }
}

/// Reads a date with or without a time of day.
pub(super) fn read_date(text: &str) -> Option<DateTime> {
    let text = text.trim();
    text.parse().ok().map(Timestamp::to_civil).or_else(|| parse_session_date(text))
}

/// Reads `9:05`, `21:05:30`, `9:05 pm`.
pub(super) fn read_clock(text: &str) -> Option<Time> {
    let lowered = text.trim().to_ascii_lowercase();
    let (digits, half) = match lowered.strip_suffix('m') {
        None => (lowered.as_str(), None),
        Some(rest) => (rest.get(..rest.len().checked_sub(1)?)?.trim_end(), rest.chars().last()),
    };
    let numbers = digits.split(':').map(|part| part.parse::<i8>().ok()).collect::<Option<Vec<i8>>>()?;
    let (hour, minute, second) = match numbers.as_slice() {
        [hour, minute] => (*hour, *minute, 0),
        [hour, minute, second] => (*hour, *minute, *second),
        _ => return None,
    };
    let hour = match half {
        None => hour,
        Some('a') if (1..=12).contains(&hour) => hour % 12,
        Some('p') if (1..=12).contains(&hour) => hour % 12 + 12,
        Some(_) => return None,
    };
    Time::new(hour, minute, second, 0).ok()
}

/// Dates a time of day: on the anchor's day, or on the next where it would otherwise lie more than half a day back.
pub(super) fn place(clock: Time, anchor: DateTime) -> Option<DateTime> {
    let seconds = |time: Time| i32::from(time.hour()) * 3600 + i32::from(time.minute()) * 60 + i32::from(time.second());
    let past_midnight = seconds(anchor.time()) - seconds(clock) > 12 * 3600;
    let date = if past_midnight { anchor.date().tomorrow().ok()? } else { anchor.date() };
    Some(date.to_datetime(clock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_read() {
        for (text, expect) in [
            ("10:30", Some((10, 30, 0))),
            ("21:05:30", Some((21, 5, 30))),
            ("9:05 pm", Some((21, 5, 0))),
            ("12:01 AM", Some((0, 1, 0))),
            ("12:01pm", Some((12, 1, 0))),
            ("13:00 pm", None),
            ("25:00", None),
            ("-1:00", None),
            ("10", None),
            ("m", None),
            ("äm", None),
        ] {
            let expect = expect.map(|(hour, minute, second)| Time::constant(hour, minute, second, 0));
            assert_eq!(read_clock(text), expect, "{text}");
        }
    }
}
