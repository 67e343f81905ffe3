//! Points and windows of time, as milliseconds since the Unix epoch in UTC.
//!
//! Nothing in this crate reads a clock but [`SystemClock`]: time is handed in, so that the same input gives the same result.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Makes a timestamp from milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Makes a timestamp from a civil date and time, read as UTC.
    pub fn from_civil(civil: DateTime) -> Self {
        // Every civil date jiff can hold lies within its timestamp range in UTC but for its very last hours.
        Self(civil.to_zoned(TimeZone::UTC).map_or(i64::MAX, |zoned| zoned.timestamp().as_millisecond()))
    }

    /// Returns the civil date and time in UTC; what lies outside years -9999 to 9999 is clamped to them.
    pub fn to_civil(self) -> DateTime {
        let beyond = if self.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        let stamp = jiff::Timestamp::from_millisecond(self.0).unwrap_or(beyond);
        TimeZone::UTC.to_datetime(stamp)
    }
}

impl fmt::Display for Timestamp {
    /// Writes RFC 3339 in UTC, to the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Years before 0 and their sign take six digits, which `%Y` does not write.
        write!(f, "{:.0}Z", self.to_civil())
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    /// Reads RFC 3339 (`2024-05-07T10:00:00Z`) or a plain civil date or date-time, which is read as UTC.
    fn from_str(text: &str) -> Result<Self> {
        if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(stamp.as_millisecond()));
        }
        text.parse::<DateTime>().map(Self::from_civil).map_err(|_| {
            Error::invalid(format!("`{text}` is not a time; write it like 2024-05-07 or 2024-05-07T10:00:00Z"))
        })
    }
}

/// A half-open stretch of time: `from` is inside, `until` is not; a missing end is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Window {
    /// The first point inside.
    pub from: Option<Timestamp>,
    /// The first point after it.
    pub until: Option<Timestamp>,
}

impl Window {
    /// The window without ends.
    pub const ALWAYS: Self = Self { from: None, until: None };

    /// Makes a window between two points.
    pub const fn between(from: Timestamp, until: Timestamp) -> Self {
        Self { from: Some(from), until: Some(until) }
    }

    /// Returns whether the point lies inside.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }

    /// Returns whether the two windows share a point.
    pub fn overlaps(&self, other: &Self) -> bool {
        let starts_before = |a: &Self, b: &Self| match (a.from, b.until) {
            (Some(from), Some(until)) => from < until,
            _ => true,
        };
        starts_before(self, other) && starts_before(other, self)
    }

    /// Returns whether neither end is set.
    pub fn is_always(&self) -> bool {
        *self == Self::ALWAYS
    }
}

/// Where "now" comes from.
pub trait Clock: Send + Sync {
    /// Returns the present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_millisecond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_and_print() {
        for (text, expect) in [
            ("2024-05-07", "2024-05-07T00:00:00Z"),
            ("2024-05-07T10:30:00", "2024-05-07T10:30:00Z"),
            ("2024-05-07T10:30:00+02:00", "2024-05-07T08:30:00Z"),
            ("2024-05-07T10:30:00.999", "2024-05-07T10:30:00Z"),
            ("0007-05-07", "0007-05-07T00:00:00Z"),
            ("-006000-06-01", "-006000-06-01T00:00:00Z"),
        ] {
            let at = text.parse::<Timestamp>().unwrap();
            assert_eq!(at.to_string(), expect);
            assert_eq!(expect.parse::<Timestamp>().unwrap().as_millis(), at.as_millis().div_euclid(1000) * 1000);
        }
        assert!("next moon".parse::<Timestamp>().is_err());
        assert_eq!(Timestamp::from_millis(i64::MAX).to_civil().year(), 9999);
    }

    #[test]
    fn windows_are_half_open() {
        let at = Timestamp::from_millis;
        let window = Window::between(at(10), at(20));
        assert!(window.contains(at(10)) && !window.contains(at(20)));
        assert!(window.overlaps(&Window { from: Some(at(19)), until: None }));
        assert!(!window.overlaps(&Window { from: Some(at(20)), until: None }));
        assert!(window.overlaps(&Window::ALWAYS));
    }
}
