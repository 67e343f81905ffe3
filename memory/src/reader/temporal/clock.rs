//! Times of day: `5 pm`, `17:30`, `noon`, `5 o'clock`, and where they lie on a day.

use jiff::civil::Date;

use super::Precision;
use super::calendar::{self, DayPart, Stretch, Unit};
use super::phrase::Reading;
use super::token::Kind;
use super::vocabulary::Word;

/// A time on a day that is said elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    At {
        hour: i8,
        minute: i8,
        precision: Precision,
    },
    Part(DayPart),
    /// Midnight ends the day that it is said with.
    Midnight,
}

/// Which half of the day twelve-hour times are in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Morning,
    Afternoon,
}

impl Clock {
    /// Makes the time of a full hour.
    pub(super) fn hour(hour: i8) -> Self {
        Self::At { hour, minute: 0, precision: Precision::Hour }
    }

    /// Returns where it lies on a date.
    pub(super) fn on(self, date: Date) -> Option<Stretch> {
        match self {
            Self::Part(part) => Stretch::part(date, part),
            Self::Midnight => Stretch::unit(Unit::Hour, calendar::midnight(calendar::shift_days(date, 1)?), 0),
            Self::At { hour, minute, precision } => {
                let unit = if precision == Precision::Minute { Unit::Minute } else { Unit::Hour };
                let midnight = calendar::midnight(date);
                let time = midnight.with().hour(hour).minute(minute).build().ok()?;
                Stretch::unit(unit, time, 0)
            }
        }
    }
}

/// Returns the hour of the bare number in `from 2 to 4 pm`: the latest one before the second time.
pub(super) fn hour_before(number: i8, until: i8) -> Option<i8> {
    let morning = (1..=12).contains(&number).then_some(number % 12)?;
    Some(if morning + 12 < until { morning + 12 } else { morning })
}

impl Reading<'_> {
    /// Reads a time of day; `lead` is the word before it, which a time without `am` or `pm` needs.
    pub(super) fn clock(&self, at: usize, lead: Word) -> Option<(Clock, usize)> {
        let is_announced = matches!(
            lead,
            Word::At
                | Word::By
                | Word::Until
                | Word::Since
                | Word::From
                | Word::Before
                | Word::After
                | Word::Around
                | Word::Between
        );
        match self.kind(at)? {
            Kind::Word(Word::Noon) => Some((Clock::hour(12), at + 1)),
            Kind::Word(Word::Midnight) if is_announced => Some((Clock::Midnight, at + 1)),
            Kind::Word(Word::Count(hour)) => self.full_hour(hour, at + 1, lead),
            Kind::Number { value, digits: 1..=2 } if self.is_free_before(at, lead) => {
                self.with_minutes(value, at, is_announced).or_else(|| self.full_hour(value, at + 1, lead))
            }
            _ => None,
        }
    }

    /// Reads `5:30 pm`, `17:30` and `17:30:15`.
    fn with_minutes(&self, hour: u32, at: usize, is_announced: bool) -> Option<(Clock, usize)> {
        let (minute, mut next) = self.sixty(at + 1)?;
        if let Some((_, after)) = self.sixty(next) {
            next = after;
        }
        let half = self.half_of_day(next);
        if half.is_none() && (!is_announced || !self.is_free_after(next)) {
            return None;
        }
        let (hour, next) = match half {
            Some((half, after)) => (twelve_hours(hour, half)?, after),
            None => (i8::try_from(hour).ok().filter(|hour| *hour < 24)?, next),
        };
        Some((Clock::At { hour, minute, precision: Precision::Minute }, next))
    }

    /// Reads a colon and two digits below sixty, all glued.
    pub(super) fn sixty(&self, at: usize) -> Option<(i8, usize)> {
        let Some(Kind::Number { value, digits: 2 }) = self.kind(at + 1) else { return None };
        let is_one = self.mark(at) == b':' && self.is_glued(at) && self.is_glued(at + 1);
        Some((i8::try_from(value).ok().filter(|value| is_one && *value < 60)?, at + 2))
    }

    /// Reads what makes a number an hour: `pm`, `o'clock`, `in the morning`.
    fn full_hour(&self, hour: u32, at: usize, lead: Word) -> Option<(Clock, usize)> {
        if let Some((half, next)) = self.half_of_day(at) {
            return Some((Clock::hour(twelve_hours(hour, half)?), next));
        }
        let after_clock = match (self.word(at), self.word(at + 1)) {
            (Word::LetterO, Word::Clock) => Some(at + 2),
            _ => None,
        };
        let part_at = after_clock.unwrap_or(at);
        match (self.word(part_at), self.word(part_at + 1), self.word(part_at + 2)) {
            (Word::In, Word::The, Word::Part(part)) if after_clock.is_some() || lead == Word::At => {
                let half = if part == DayPart::Morning { Half::Morning } else { Half::Afternoon };
                Some((Clock::hour(twelve_hours(hour, half)?), part_at + 3))
            }
            // Without more, `5 o'clock` is in the waking half of the day: 7 to 11 in the morning, 12 to 6 after noon.
            _ => {
                let half = if (7..12).contains(&hour) { Half::Morning } else { Half::Afternoon };
                Some((Clock::hour(twelve_hours(hour, half)?), after_clock?))
            }
        }
    }

    /// Reads `am`, `pm`, `a.m.` or `p.m.`.
    fn half_of_day(&self, at: usize) -> Option<(Half, usize)> {
        let half = match self.word(at) {
            Word::Am => return Some((Half::Morning, at + 1)),
            Word::Pm => return Some((Half::Afternoon, at + 1)),
            Word::A => Half::Morning,
            Word::LetterP => Half::Afternoon,
            _ => return None,
        };
        let is_dotted = self.mark(at + 1) == b'.' && self.word(at + 2) == Word::LetterM && self.is_glued(at + 2);
        let last_dot = self.mark(at + 3) == b'.' && self.is_glued(at + 3);
        is_dotted.then_some((half, at + 3 + usize::from(last_dot)))
    }
}

fn twelve_hours(hour: u32, half: Half) -> Option<i8> {
    let hour = i8::try_from(hour).ok().filter(|hour| (1..=12).contains(hour))?;
    Some(hour % 12 + if half == Half::Afternoon { 12 } else { 0 })
}
