//! The calendar under the grammar: units, seasons, parts of a day, holidays, and stretches between two civil times.
//!
//! Arithmetic is checked and answers `None` outside the years that a civil date can hold. It knows no words.

use jiff::Span;
use jiff::civil::{Date, DateTime, Time, Weekday};

use super::Precision;

/// A half-open stretch of civil time and how exactly it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) from: DateTime,
    pub(super) until: DateTime,
    pub(super) precision: Precision,
}

/// A unit of the calendar or the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Minute,
    Hour,
    Day,
    Week,
    Weekend,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
}

/// A meteorological season of the northern half of the world; winter bears the year in which it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Season {
    Spring,
    Summer,
    Autumn,
    Winter,
}

/// A part of a day: morning 6 to 12, afternoon 12 to 18, evening 18 to 24, night 18 to 6 of the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DayPart {
    Morning,
    Afternoon,
    Evening,
    Night,
}

/// A third of a longer stretch: `early`, `mid` and `late`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Third {
    First,
    Second,
    Last,
}

/// A holiday with a rule for its date; movable ones follow the United States, Easter the western churches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holiday {
    NewYearsDay,
    Valentines,
    SaintPatricks,
    AprilFools,
    GoodFriday,
    Easter,
    EasterMonday,
    MothersDay,
    MemorialDay,
    FathersDay,
    Juneteenth,
    IndependenceDay,
    LaborDay,
    Halloween,
    Thanksgiving,
    BlackFriday,
    CyberMonday,
    ChristmasEve,
    Christmas,
    BoxingDay,
    NewYearsEve,
}

impl Stretch {
    /// Makes the stretch from the start of one day to the start of another.
    pub(super) fn days(from: Date, until: Date, precision: Precision) -> Self {
        Self { from: midnight(from), until: midnight(until), precision }
    }

    /// Makes the stretch of one day.
    pub(super) fn day(date: Date) -> Option<Self> {
        Some(Self::days(date, shift_days(date, 1)?, Precision::Day))
    }

    /// Makes the stretch of a whole year.
    pub(super) fn year(year: i16) -> Option<Self> {
        Some(Self::days(first_of(year, 1)?, first_of(year.checked_add(1)?, 1)?, Precision::Year))
    }

    /// Makes the stretch of a month.
    pub(super) fn month(year: i16, month: i8) -> Option<Self> {
        let first = first_of(year, month)?;
        Some(Self::days(first, shift_months(first, 1)?, Precision::Month))
    }

    /// Makes the stretch of a season that begins in `year`.
    pub(super) fn season(season: Season, year: i16) -> Option<Self> {
        let month = match season {
            Season::Spring => 3,
            Season::Summer => 6,
            Season::Autumn => 9,
            Season::Winter => 12,
        };
        let first = first_of(year, month)?;
        Some(Self::days(first, shift_months(first, 3)?, Precision::Season))
    }

    /// Makes the stretch of a part of a day.
    pub(super) fn part(date: Date, part: DayPart) -> Option<Self> {
        let next = shift_days(date, 1)?;
        let (from, until) = match part {
            DayPart::Morning => (date.at(6, 0, 0, 0), date.at(12, 0, 0, 0)),
            DayPart::Afternoon => (date.at(12, 0, 0, 0), date.at(18, 0, 0, 0)),
            DayPart::Evening => (date.at(18, 0, 0, 0), midnight(next)),
            DayPart::Night => (date.at(18, 0, 0, 0), next.at(6, 0, 0, 0)),
        };
        Some(Self { from, until, precision: Precision::PartOfDay })
    }

    /// Makes the stretch of the calendar unit that holds `at`, moved by `count` units.
    pub(super) fn unit(unit: Unit, at: DateTime, count: i64) -> Option<Self> {
        let (date, time) = (at.date(), at.time());
        match unit {
            Unit::Minute => {
                let from = date.at(time.hour(), time.minute(), 0, 0).checked_add(Span::new().try_minutes(count).ok()?);
                let from = from.ok()?;
                let until = from.checked_add(Span::new().minutes(1)).ok()?;
                Some(Self { from, until, precision: Precision::Minute })
            }
            Unit::Hour => {
                let from = date.at(time.hour(), 0, 0, 0).checked_add(Span::new().try_hours(count).ok()?).ok()?;
                Some(Self { from, until: from.checked_add(Span::new().hours(1)).ok()?, precision: Precision::Hour })
            }
            Unit::Day => Self::day(shift_days(date, count)?),
            Unit::Week => {
                let monday = shift_days(monday_of(date)?, count.checked_mul(7)?)?;
                Some(Self::days(monday, shift_days(monday, 7)?, Precision::Week))
            }
            Unit::Weekend => {
                let monday = shift_days(monday_of(date)?, count.checked_mul(7)?)?;
                Some(Self::days(shift_days(monday, 5)?, shift_days(monday, 7)?, Precision::Weekend))
            }
            Unit::Month => {
                let moved = shift_months(date.first_of_month(), count)?;
                Self::month(moved.year(), moved.month())
            }
            Unit::Quarter => {
                let first = first_of(date.year(), (date.month() - 1) / 3 * 3 + 1)?;
                let first = shift_months(first, count.checked_mul(3)?)?;
                Some(Self::days(first, shift_months(first, 3)?, Precision::Season))
            }
            Unit::Year => Self::year(i16::try_from(i64::from(date.year()).checked_add(count)?).ok()?),
            Unit::Decade => Self::years(i64::from(date.year().div_euclid(10)).checked_add(count)?, 10),
            Unit::Century => Self::years(i64::from(date.year().div_euclid(100)).checked_add(count)?, 100),
        }
    }

    /// Makes the stretch of the `index`th run of `length` years, counted from year zero.
    fn years(index: i64, length: i64) -> Option<Self> {
        let first = index.checked_mul(length)?;
        let from = first_of(i16::try_from(first).ok()?, 1)?;
        let until = first_of(i16::try_from(first.checked_add(length)?).ok()?, 1)?;
        let precision = if length == 10 { Precision::Decade } else { Precision::Century };
        Some(Self::days(from, until, precision))
    }

    /// Returns the third of this stretch that `early`, `mid` or `late` means, each third with the same rule:
    /// a month is cut after days 10 and 20, a week after Tuesday and Thursday, seasons and years at months, a decade after
    /// four and seven years. Shorter stretches have no thirds and stay whole.
    pub(super) fn third(self, third: Third) -> Option<Self> {
        let start = self.from.date();
        let cut = |first: Option<Date>, second: Option<Date>, precision| {
            let (first, second) = (first?, second?);
            let (from, until) = match third {
                Third::First => (start, first),
                Third::Second => (first, second),
                Third::Last => (second, self.until.date()),
            };
            Some(Self::days(from, until, precision))
        };
        match self.precision {
            Precision::Week => cut(shift_days(start, 2), shift_days(start, 4), Precision::Day),
            Precision::Month => cut(shift_days(start, 10), shift_days(start, 20), Precision::Week),
            Precision::Season => cut(shift_months(start, 1), shift_months(start, 2), Precision::Month),
            Precision::Year => cut(shift_months(start, 4), shift_months(start, 8), Precision::Season),
            Precision::Decade => cut(shift_months(start, 48), shift_months(start, 84), Precision::Year),
            _ => Some(self),
        }
    }

    /// Returns the stretch from the start of the earlier to the end of the later one.
    pub(super) fn joined(self, other: Self) -> Self {
        Self {
            from: self.from.min(other.from),
            until: self.until.max(other.until),
            precision: self.precision.min(other.precision),
        }
    }

    /// Returns the point that a time on the clock is as the end of something: `until 5 pm` ends as that hour begins.
    pub(super) fn or_point(self) -> Self {
        let is_clock = self.precision <= Precision::Hour && self.from.date() == self.until.date();
        Self { until: if is_clock { self.from } else { self.until }, ..self }
    }

    /// Returns whether it is one day.
    pub(super) fn is_day(&self) -> bool {
        self.precision == Precision::Day && shift_days(self.from.date(), 1).map(midnight) == Some(self.until)
    }
}

impl Holiday {
    /// Returns the date of the holiday in a year.
    pub(super) fn date(self, year: i16) -> Option<Date> {
        let fixed = |month, day| Date::new(year, month, day).ok();
        let nth = |month, nth, weekday| nth_weekday(first_of(year, month)?, nth, weekday);
        match self {
            Self::NewYearsDay => fixed(1, 1),
            Self::Valentines => fixed(2, 14),
            Self::SaintPatricks => fixed(3, 17),
            Self::AprilFools => fixed(4, 1),
            Self::GoodFriday => shift_days(easter(year)?, -2),
            Self::Easter => easter(year),
            Self::EasterMonday => shift_days(easter(year)?, 1),
            Self::MothersDay => nth(5, 2, Weekday::Sunday),
            Self::MemorialDay => first_of(year, 5)?.nth_weekday_of_month(-1, Weekday::Monday).ok(),
            Self::FathersDay => nth(6, 3, Weekday::Sunday),
            Self::Juneteenth => fixed(6, 19),
            Self::IndependenceDay => fixed(7, 4),
            Self::LaborDay => nth(9, 1, Weekday::Monday),
            Self::Halloween => fixed(10, 31),
            Self::Thanksgiving => nth(11, 4, Weekday::Thursday),
            Self::BlackFriday => shift_days(nth(11, 4, Weekday::Thursday)?, 1),
            Self::CyberMonday => shift_days(nth(11, 4, Weekday::Thursday)?, 4),
            Self::ChristmasEve => fixed(12, 24),
            Self::Christmas => fixed(12, 25),
            Self::BoxingDay => fixed(12, 26),
            Self::NewYearsEve => fixed(12, 31),
        }
    }
}

/// Returns Easter Sunday of a Gregorian year, by the anonymous algorithm published in Nature in 1876.
fn easter(year: i16) -> Option<Date> {
    let year_number = i32::from(year);
    if year_number < 1583 {
        return None;
    }
    let (golden, century, rest) = (year_number % 19, year_number / 100, year_number % 100);
    let skipped = (century - (century + 8) / 25 + 1) / 3;
    let moon = (19 * golden + century - century / 4 - skipped + 15) % 30;
    let weekday = (32 + 2 * (century % 4) + 2 * (rest / 4) - moon - rest % 4) % 7;
    let shift = (golden + 11 * moon + 22 * weekday) / 451;
    let days = moon + weekday - 7 * shift + 114;
    Date::new(year, i8::try_from(days / 31).ok()?, i8::try_from(days % 31 + 1).ok()?).ok()
}

/// Returns the `nth` such weekday, counted from 1, of the month that starts at `first`.
pub(super) fn nth_weekday(first: Date, nth: i8, weekday: Weekday) -> Option<Date> {
    first.nth_weekday_of_month(nth, weekday).ok()
}

/// Returns the first such weekday strictly after (or, with -1, before) a day.
pub(super) fn nearest_weekday(date: Date, direction: i64, weekday: Weekday) -> Option<Date> {
    let (here, there) = (date.weekday().to_monday_zero_offset(), weekday.to_monday_zero_offset());
    let ahead = i64::from((there - here).rem_euclid(7));
    let days = match (direction > 0, ahead) {
        (true, 0) => 7,
        (true, ahead) => ahead,
        (false, ahead) => ahead - 7,
    };
    shift_days(date, days)
}

pub(super) fn shift_days(date: Date, days: i64) -> Option<Date> {
    date.checked_add(Span::new().try_days(days).ok()?).ok()
}

pub(super) fn shift_months(date: Date, months: i64) -> Option<Date> {
    date.checked_add(Span::new().try_months(months).ok()?).ok()
}

/// Returns the Monday of the date's week; weeks are ISO 8601 weeks.
pub(super) fn monday_of(date: Date) -> Option<Date> {
    shift_days(date, -i64::from(date.weekday().to_monday_zero_offset()))
}

pub(super) fn first_of(year: i16, month: i8) -> Option<Date> {
    Date::new(year, month, 1).ok()
}

pub(super) fn midnight(date: Date) -> DateTime {
    date.to_datetime(Time::midnight())
}

pub(super) fn weekday(days_after_monday: i8) -> Option<Weekday> {
    Weekday::from_monday_zero_offset(days_after_monday).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn movable_holidays_fall_on_their_dates() {
        for (holiday, expect) in [
            (Holiday::Easter, "2000-04-23"),
            (Holiday::Easter, "2008-03-23"),
            (Holiday::Easter, "2011-04-24"),
            (Holiday::Easter, "2019-04-21"),
            (Holiday::Easter, "2024-03-31"),
            (Holiday::Easter, "2038-04-25"),
            (Holiday::GoodFriday, "2024-03-29"),
            (Holiday::EasterMonday, "2024-04-01"),
            (Holiday::Thanksgiving, "2023-11-23"),
            (Holiday::Thanksgiving, "2024-11-28"),
            (Holiday::BlackFriday, "2024-11-29"),
            (Holiday::CyberMonday, "2024-12-02"),
            (Holiday::MothersDay, "2024-05-12"),
            (Holiday::FathersDay, "2024-06-16"),
            (Holiday::MemorialDay, "2024-05-27"),
            (Holiday::LaborDay, "2024-09-02"),
        ] {
            let expect: Date = expect.parse().unwrap();
            assert_eq!(holiday.date(expect.year()), Some(expect), "{holiday:?}");
        }
        assert_eq!(Holiday::Easter.date(1500), None);
    }
}
