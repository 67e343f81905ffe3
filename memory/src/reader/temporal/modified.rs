//! Times that a word places: `last week`, `this Friday`, `next May`, `early June`, `the first week of May`, `later today`.

use jiff::Span;
use jiff::civil::{Date, Weekday};

use super::Precision;
use super::calendar::{self, Season, Stretch, Third, Unit};
use super::counted::Amount;
use super::phrase::{Phrase, Reading};
use super::shape::Shape;
use super::tense::Tense;
use super::token::Kind;
use super::vocabulary::Word;

/// Where a modifier points, all of them from the anchor or, for two, from the mention before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    This,
    Last,
    /// `past`: like `last` for what has a name, and the time up to now for a unit.
    Past,
    Next,
    Coming,
    Previous,
    Following,
}

impl Reading<'_> {
    /// Reads `last week`, `this past weekend`, `the next two weeks`, `next Friday`, `this summer`, `last Christmas`.
    pub(super) fn modified(&self, at: usize, has_the: bool) -> Option<Phrase> {
        let (direction, next) = self.direction(at)?;
        if let Some(amount) = self.amount(next) {
            return match direction {
                Direction::Last | Direction::Past | Direction::Previous => self.rolling(amount, -1),
                Direction::Next | Direction::Coming | Direction::Following => self.rolling(amount, 1),
                Direction::This => None,
            };
        }
        match self.word(next) {
            Word::Unit(unit) => self.modified_unit(direction, unit, next, has_the),
            Word::Weekday(_) | Word::WeekdayShort(_) => self.modified_weekday(direction, at, next),
            Word::Month(_) | Word::MonthShort(_) => {
                let phrase = self.month_phrase(next, Word::In)?;
                self.modified_shape(direction, phrase.shape, phrase.next)
            }
            Word::Season(season) => self.modified_shape(direction, Shape::Season(season), next + 1),
            _ => {
                let (holiday, after) = self.holiday(next)?;
                self.modified_shape(direction, Shape::Holiday(holiday), after)
            }
        }
    }

    /// Reads a modifier, also the double ones of `this past weekend` and `this coming Friday`.
    fn direction(&self, at: usize) -> Option<(Direction, usize)> {
        let direction = match self.word(at) {
            Word::This => match self.word(at + 1) {
                Word::Past | Word::Last => return Some((Direction::Past, at + 2)),
                Word::Coming | Word::Next => return Some((Direction::Coming, at + 2)),
                _ => Direction::This,
            },
            Word::Last => match self.word(at + 1) {
                Word::Past => return Some((Direction::Past, at + 2)),
                _ => Direction::Last,
            },
            Word::Past => Direction::Past,
            Word::Next => Direction::Next,
            Word::Coming => Direction::Coming,
            Word::Previous => Direction::Previous,
            Word::Following => Direction::Following,
            _ => return None,
        };
        Some((direction, at + 1))
    }

    fn modified_unit(&self, direction: Direction, unit: Unit, at: usize, has_the: bool) -> Option<Phrase> {
        let next = at + 1;
        let base = self.previous.map_or(self.anchor, |previous| previous.from);
        let from_previous = |count: i64| Stretch::unit(unit, self.previous?.from, count);
        let is_calendar = !matches!(unit, Unit::Minute | Unit::Hour | Unit::Day | Unit::Century);
        let is_rolling = (has_the || direction == Direction::Past) && unit != Unit::Weekend;
        let stretch = match direction {
            Direction::Following if unit != Unit::Minute => from_previous(1)?,
            Direction::Previous if is_calendar || unit == Unit::Day => Stretch::unit(unit, base, -1)?,
            Direction::Next if has_the && self.previous.is_some() && (is_calendar || unit == Unit::Day) => {
                from_previous(1)?
            }
            Direction::Last | Direction::Past if is_rolling && (is_calendar || unit == Unit::Hour) => {
                return self.rolling((1, 1, unit, next), -1);
            }
            Direction::Next | Direction::Coming if is_rolling && (is_calendar || unit == Unit::Hour) => {
                return self.rolling((1, 1, unit, next), 1);
            }
            _ if !is_calendar => return None,
            Direction::This => Stretch::unit(unit, self.anchor, 0)?,
            Direction::Last | Direction::Past | Direction::Previous => Stretch::unit(unit, self.anchor, -1)?,
            // On a Wednesday the coming weekend is the one of this week.
            Direction::Coming if unit == Unit::Weekend => {
                let is_weekend = self.anchor.weekday().to_monday_zero_offset() >= 5;
                Stretch::unit(unit, self.anchor, i64::from(is_weekend))?
            }
            Direction::Next | Direction::Coming | Direction::Following => Stretch::unit(unit, self.anchor, 1)?,
        };
        Some(self.inside(stretch, unit, next).unwrap_or(Phrase::relative(stretch, next)))
    }

    /// Reads what picks a part of a week or year: `last week on Friday`, `last year in May`, `last year's Christmas`.
    fn inside(&self, stretch: Stretch, unit: Unit, at: usize) -> Option<Phrase> {
        let at = match self.word(at) {
            Word::On | Word::In | Word::Possessive => at + 1,
            _ => self.over_mark(at, b','),
        };
        match (unit, self.word(at)) {
            (Unit::Week, Word::Weekday(offset) | Word::WeekdayShort(offset)) => {
                let day = calendar::shift_days(stretch.from.date(), i64::from(offset))?;
                Some(Phrase::relative(Stretch::day(day)?, at + 1))
            }
            (Unit::Year, Word::Month(_) | Word::MonthShort(_)) => {
                let phrase = self.month_phrase(at, Word::In)?;
                Some(Phrase::relative(phrase.shape.in_year(stretch.from.year())?, phrase.next))
            }
            (Unit::Year, _) => {
                let (holiday, next) = self.holiday(at)?;
                Some(Phrase::relative(Shape::Holiday(holiday).in_year(stretch.from.year())?, next))
            }
            _ => None,
        }
    }

    fn modified_weekday(&self, direction: Direction, at: usize, weekday_at: usize) -> Option<Phrase> {
        let (Word::Weekday(offset) | Word::WeekdayShort(offset)) = self.word(weekday_at) else { return None };
        let weekday = calendar::weekday(offset)?;
        let today = self.anchor.date();
        let next = weekday_at + 1;
        let date = match direction {
            Direction::This if today.weekday() == weekday => Some(today),
            Direction::This if self.tense(at, next) == Tense::Past => calendar::nearest_weekday(today, -1, weekday),
            Direction::Last | Direction::Past | Direction::Previous => calendar::nearest_weekday(today, -1, weekday),
            Direction::This | Direction::Next | Direction::Coming => calendar::nearest_weekday(today, 1, weekday),
            Direction::Following => calendar::nearest_weekday(self.previous?.from.date(), 1, weekday),
        };
        Some(Phrase::relative(Stretch::day(date?)?, next))
    }

    fn modified_shape(&self, direction: Direction, shape: Shape, next: usize) -> Option<Phrase> {
        let year = self.anchor.year();
        let stretch = match (direction, shape) {
            (_, Shape::Fixed(_)) => None,
            (Direction::Last | Direction::Past | Direction::Previous, _) => shape.last(self.anchor),
            (Direction::Next | Direction::Coming, _) => shape.next(self.anchor),
            (Direction::Following, _) => shape.next(self.previous?.from),
            // In January and February this winter is the one that began last year.
            (Direction::This, Shape::Season(Season::Winter)) if self.anchor.month() <= 2 => shape.before(self.anchor),
            (Direction::This, _) => shape.in_year(year),
        };
        Some(Phrase::relative(stretch?, next))
    }

    /// Returns the time of an amount up to the end of the anchor's day, or from its start on; hours count from the anchor.
    pub(super) fn rolling(&self, (_, high, unit, next): Amount, sign: i64) -> Option<Phrase> {
        let today = self.anchor.date();
        let tomorrow = calendar::shift_days(today, 1)?;
        let precision = Stretch::unit(unit, self.anchor, 0)?.precision;
        let months = |count: i64| calendar::shift_months(today, sign * high.checked_mul(count)?);
        let far = match unit {
            Unit::Minute | Unit::Hour => {
                let minutes = high.checked_mul(if unit == Unit::Hour { 60 } else { 1 })?;
                let far = self.anchor.checked_add(Span::new().try_minutes(sign * minutes).ok()?).ok()?;
                let (from, until) = (self.anchor.min(far), self.anchor.max(far));
                return Some(Phrase::relative(Stretch { from, until, precision }, next));
            }
            Unit::Day => calendar::shift_days(today, sign * high),
            Unit::Week | Unit::Weekend => calendar::shift_days(today, sign * high.checked_mul(7)?),
            Unit::Month => months(1),
            Unit::Quarter => months(3),
            Unit::Year => months(12),
            Unit::Decade => months(120),
            Unit::Century => months(1200),
        }?;
        let stretch = if sign < 0 {
            Stretch::days(far, tomorrow, precision)
        } else {
            Stretch::days(today, calendar::shift_days(far, 1)?, precision)
        };
        Some(Phrase::relative(stretch, next))
    }

    /// Reads `early June`, `mid-2019`, `late last year` and `the end of the month`.
    pub(super) fn third_phrase(&self, at: usize) -> Option<Phrase> {
        let (third, needs_of) = match self.word(at) {
            Word::Early => (Third::First, false),
            Word::Middle => (Third::Second, false),
            Word::Late => (Third::Last, false),
            Word::Start => (Third::First, true),
            Word::End => (Third::Last, true),
            _ => return None,
        };
        let target_at = match (self.word(at + 1), self.mark(at + 1)) {
            (Word::Of, _) => at + 2,
            (Word::In, _) | (_, b'-') if !needs_of => at + 2,
            _ if needs_of => return None,
            _ => at + 1,
        };
        Some(Phrase { third: Some(third), ..self.whole(target_at)? })
    }

    /// Reads a stretch longer than a day that others cut a part from: `May 2023`, `last year`, `the 1980s`, `the month`.
    fn whole(&self, at: usize) -> Option<Phrase> {
        let inner = self.over_word(at, Word::The);
        let phrase = match self.kind(inner)? {
            Kind::Word(Word::Month(_) | Word::MonthShort(_)) => self.month_phrase(inner, Word::In),
            Kind::Word(Word::Season(_)) => self.season_phrase(inner, Word::In),
            Kind::Word(Word::This | Word::Last | Word::Next | Word::Past | Word::Coming | Word::Previous) => {
                self.modified(inner, false)
            }
            Kind::Word(Word::Unit(unit @ (Unit::Week | Unit::Month | Unit::Quarter | Unit::Year | Unit::Decade))) => {
                Some(Phrase::relative(Stretch::unit(unit, self.anchor, 0)?, inner + 1))
            }
            Kind::Number { .. } | Kind::Mark(b'\'') => {
                let lead = if inner > at { Word::The } else { Word::Absent };
                self.decade(inner, lead).or_else(|| self.year_phrase(inner, Word::In))
            }
            _ => None,
        }?;
        (!self.may_be_day(&phrase)).then_some(phrase)
    }

    /// Reads `earlier this month`, `later this week`, `earlier today` and `later in the year`.
    pub(super) fn rest_of(&self, at: usize, today: Date) -> Option<Phrase> {
        let is_earlier = self.word(at) == Word::Earlier;
        let tomorrow = calendar::shift_days(today, 1)?;
        let (whole, next) = match (self.word(at + 1), self.word(at + 2), self.word(at + 3)) {
            (Word::Today, _, _) => {
                let (start, end) = (calendar::midnight(today), calendar::midnight(tomorrow));
                let (from, until) = if is_earlier { (start, self.anchor) } else { (self.anchor, end) };
                // At midnight nothing of today is earlier.
                let from = if from < until { from } else { start };
                let until = if from < until { until } else { end };
                return Some(Phrase::relative(Stretch { from, until, precision: Precision::Day }, at + 2));
            }
            (Word::This, Word::Unit(unit), _) => (Stretch::unit(unit, self.anchor, 0)?, at + 3),
            (Word::In, Word::The, Word::Unit(unit)) => (Stretch::unit(unit, self.anchor, 0)?, at + 4),
            _ => return None,
        };
        if whole.precision < Precision::Week {
            return None;
        }
        let (from, until) = (whole.from.date(), whole.until.date());
        let (from, until) = if is_earlier { (from, tomorrow) } else { (today, until) };
        Some(Phrase::relative(Stretch::days(from, until, whole.precision), next))
    }

    /// Reads `first week of June`, `last Friday of May`, `third quarter of 2022`, `2nd half of last year`.
    pub(super) fn nth_of(&self, at: usize) -> Option<Phrase> {
        // Counted from one; -1 is the last.
        let nth = match self.kind(at)? {
            Kind::Word(Word::Last) => -1,
            Kind::Word(Word::Nth(nth)) | Kind::Ordinal(nth) => {
                i8::try_from(nth).ok().filter(|nth| (1..=53).contains(nth))?
            }
            _ => return None,
        };
        if !matches!(self.word(at + 2), Word::Of | Word::In) {
            return if nth > 0 { self.decade(at, Word::The) } else { None };
        }
        let part = self.word(at + 1);
        if !matches!(part, Word::Unit(_) | Word::Half | Word::Weekday(_)) {
            return None;
        }
        let target = self.whole(at + 3)?;
        let whole = self.resolve(&target, at, Tense::Unknown)?;
        let stretch = match part {
            Word::Half => half_of(whole, nth),
            Word::Weekday(offset) => weekday_of(whole, nth, calendar::weekday(offset)?).and_then(Stretch::day),
            Word::Unit(unit) => unit_of(whole, nth, unit),
            _ => None,
        }?;
        let is_inside = stretch.from >= whole.from && stretch.from < whole.until;
        is_inside.then_some(Phrase { relative: target.relative, ..Phrase::absolute(stretch, target.next) })
    }
}

/// Returns the nth such weekday of a month.
fn weekday_of(whole: Stretch, nth: i8, weekday: Weekday) -> Option<Date> {
    let is_month = whole.precision == Precision::Month;
    calendar::nth_weekday(whole.from.date(), nth, weekday).filter(|_| is_month)
}

/// Returns the nth unit of a longer stretch; weeks of a month are counted from its first day.
fn unit_of(whole: Stretch, nth: i8, unit: Unit) -> Option<Stretch> {
    let (start, end) = (whole.from.date(), whole.until.date());
    let index = i64::from(nth) - 1;
    let is_last = nth < 0;
    let months = |count: i64, precision: Precision| {
        let from =
            if is_last { calendar::shift_months(end, -count) } else { calendar::shift_months(start, index * count) }?;
        let is_coarser = whole.precision > precision;
        is_coarser.then_some(Stretch::days(from, calendar::shift_months(from, count)?, precision))
    };
    match unit {
        Unit::Day => {
            Stretch::day(if is_last { calendar::shift_days(end, -1)? } else { calendar::shift_days(start, index)? })
        }
        Unit::Week => {
            let from = if is_last { calendar::shift_days(end, -7) } else { calendar::shift_days(start, index * 7) }?;
            let until = calendar::shift_days(from, 7)?.min(end);
            (from < until).then_some(Stretch::days(from, until, Precision::Week))
        }
        Unit::Weekend => {
            let saturday = weekday_of(whole, nth, Weekday::Saturday)?;
            Some(Stretch::days(saturday, calendar::shift_days(saturday, 2)?, Precision::Weekend))
        }
        Unit::Month => months(1, Precision::Month),
        Unit::Quarter => months(3, Precision::Season),
        Unit::Year => months(12, Precision::Year),
        Unit::Minute | Unit::Hour | Unit::Decade | Unit::Century => None,
    }
}

/// Returns the first or second half of a month, year or decade.
fn half_of(whole: Stretch, nth: i8) -> Option<Stretch> {
    let (start, end) = (whole.from.date(), whole.until.date());
    let (middle, precision) = match whole.precision {
        Precision::Month => (calendar::shift_days(start, 15)?, Precision::Week),
        Precision::Year => (calendar::shift_months(start, 6)?, Precision::Season),
        Precision::Decade => (calendar::shift_months(start, 60)?, Precision::Year),
        _ => return None,
    };
    match nth {
        1 => Some(Stretch::days(start, middle, precision)),
        2 | -1 => Some(Stretch::days(middle, end, precision)),
        _ => None,
    }
}
