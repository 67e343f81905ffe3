//! A time that was said but not yet placed in a year: `Friday`, `May 7`, `summer`, and how it finds its place.

use jiff::civil::{Date, DateTime, Weekday};

use super::calendar::{self, Holiday, Season, Stretch};
use super::tense::Tense;

/// A time as it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// It needs nothing more.
    Fixed(Stretch),
    Weekday(Weekday),
    /// `the 7th`.
    DayOfMonth(i8),
    /// `May 7`, or `May 7-9`, perhaps with the weekday that was said.
    MonthDays {
        month: i8,
        first: i8,
        last: i8,
        weekday: Option<Weekday>,
    },
    Month(i8),
    Season(Season),
    Holiday(Holiday),
    /// A clock time alone: the anchor's day.
    Anchor,
}

/// How many years may lie between two occurrences: 29 February skips eight around 1900 and 2100.
const YEARS_SEARCHED: i16 = 8;

impl Shape {
    /// Returns the stretch that is meant at `anchor`, or nothing where the rule of this shape wants a tense that is missing.
    pub(super) fn resolve(self, anchor: DateTime, tense: Tense) -> Option<Stretch> {
        match (self, tense) {
            (Self::Fixed(stretch), _) => Some(stretch),
            (Self::Anchor, _) => Stretch::day(anchor.date()),
            (Self::Weekday(_) | Self::Month(_) | Self::Season(_) | Self::Holiday(_), Tense::Habit) => None,
            (Self::Season(_), Tense::Unknown) => None,
            (_, Tense::Past) | (Self::Weekday(_), _) if tense != Tense::Future => self.before(anchor),
            (_, Tense::Future) => self.after(anchor),
            // The weekday that was said with it tells past from future where no cue does.
            (Self::MonthDays { weekday: Some(weekday), .. }, _) => {
                let has_weekday = |found: &Stretch| found.from.weekday() == weekday;
                let said = self.before(anchor).filter(has_weekday).or_else(|| self.after(anchor).filter(has_weekday));
                said.or_else(|| self.nearest(anchor))
            }
            _ => self.nearest(anchor),
        }
    }

    /// Returns the occurrence nearest to `anchor`; the past one if both are as near.
    fn nearest(self, anchor: DateTime) -> Option<Stretch> {
        let (before, after) = (self.before(anchor), self.after(anchor));
        let (Some(past), Some(future)) = (before, after) else { return before.or(after) };
        let days = |from: DateTime, until: DateTime| days_between(from.date(), until.date()).max(0);
        if days(past.until, anchor) <= days(anchor, future.from) { before } else { after }
    }

    /// Returns the latest occurrence that starts on the day of `at` or before; a weekday strictly before that day.
    pub(super) fn before(self, at: DateTime) -> Option<Stretch> {
        let date = at.date();
        match self {
            Self::Fixed(stretch) => Some(stretch),
            Self::Anchor => Stretch::day(date),
            Self::Weekday(weekday) => Stretch::day(calendar::nearest_weekday(date, -1, weekday)?),
            Self::DayOfMonth(_) => (0..=2).find_map(|back| {
                let month = calendar::shift_months(date.first_of_month(), -back)?;
                self.in_month(month).filter(|found| found.from.date() <= date)
            }),
            _ => (-1..=YEARS_SEARCHED).find_map(|back| {
                self.in_year(date.year().checked_sub(back)?).filter(|found| found.from.date() <= date)
            }),
        }
    }

    /// Returns the first occurrence that ends on the day of `at` or after; a weekday strictly after that day.
    pub(super) fn after(self, at: DateTime) -> Option<Stretch> {
        let date = at.date();
        match self {
            Self::Fixed(stretch) => Some(stretch),
            Self::Anchor => Stretch::day(date),
            Self::Weekday(weekday) => Stretch::day(calendar::nearest_weekday(date, 1, weekday)?),
            Self::DayOfMonth(_) => (0..=2).find_map(|ahead| {
                let month = calendar::shift_months(date.first_of_month(), ahead)?;
                self.in_month(month).filter(|found| found.until > calendar::midnight(date))
            }),
            _ => (-1..=YEARS_SEARCHED).find_map(|ahead| {
                self.in_year(date.year().checked_add(ahead)?).filter(|found| found.until > calendar::midnight(date))
            }),
        }
    }

    /// Returns the latest occurrence that had ended at the start of the anchor's day: `last May`.
    pub(super) fn last(self, anchor: DateTime) -> Option<Stretch> {
        let found = self.before(anchor)?;
        if found.until <= calendar::midnight(anchor.date()) {
            return Some(found);
        }
        self.before(calendar::midnight(calendar::shift_days(found.from.date(), -1)?))
    }

    /// Returns the first occurrence that starts after the anchor's day: `next May`.
    pub(super) fn next(self, anchor: DateTime) -> Option<Stretch> {
        let found = self.after(anchor)?;
        if found.from.date() > anchor.date() { Some(found) } else { self.after(found.until) }
    }

    /// Returns the occurrence in a year, for what occurs once a year.
    pub(super) fn in_year(self, year: i16) -> Option<Stretch> {
        match self {
            Self::Month(month) => Stretch::month(year, month),
            Self::Season(season) => Stretch::season(season, year),
            Self::Holiday(holiday) => Stretch::day(holiday.date(year)?),
            Self::MonthDays { month, first, last, .. } => {
                let from = Date::new(year, month, first).ok()?;
                let until = calendar::shift_days(Date::new(year, month, last).ok()?, 1)?;
                (from < until).then(|| Stretch::days(from, until, super::Precision::Day))
            }
            Self::Fixed(_) | Self::Weekday(_) | Self::DayOfMonth(_) | Self::Anchor => None,
        }
    }

    fn in_month(self, month: Date) -> Option<Stretch> {
        let Self::DayOfMonth(day) = self else { return None };
        Stretch::day(Date::new(month.year(), month.month(), day).ok()?)
    }
}

fn days_between(from: Date, until: Date) -> i32 {
    from.until(until).map_or(i32::MAX, |span| span.get_days())
}
