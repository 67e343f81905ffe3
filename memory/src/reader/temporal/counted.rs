//! Times that are counted from another one: `two weeks ago`, `in three days`, `the weekend before 17 July`, and weekdays.

use jiff::civil::DateTime;

use super::calendar::{self, Stretch, Unit};
use super::phrase::{Phrase, Reading};
use super::shape::Shape;
use super::tense::Tense;
use super::token::Kind;
use super::vocabulary::Word;

/// An amount of time: least, most, unit, and the token after it. `a few` is why there are two numbers.
pub(super) type Amount = (i64, i64, Unit, usize);

impl Reading<'_> {
    /// Reads a number of units.
    pub(super) fn amount(&self, at: usize) -> Option<Amount> {
        if self.word(at) == Word::Half {
            return match (self.word(at + 1), self.word(at + 2)) {
                (Word::A, Word::Unit(Unit::Year)) => Some((6, 6, Unit::Month, at + 3)),
                (Word::A, Word::Unit(Unit::Hour)) => Some((30, 30, Unit::Minute, at + 3)),
                _ => None,
            };
        }
        let (low, mut high, mut next) = self.quantity(at)?;
        // `two or three weeks`, `2-3 weeks`
        let joins = matches!(self.word(next), Word::Or | Word::To) || self.mark(next) == b'-';
        if let Some((_, second, after)) = self.quantity(next + 1).filter(|(second, _, _)| joins && *second > high) {
            (high, next) = (second, after);
        }
        match self.word(next) {
            Word::Unit(unit) | Word::Units(unit) if unit != Unit::Century => Some((low, high, unit, next + 1)),
            _ => None,
        }
    }

    /// Reads how many: least, most, and the token after it.
    fn quantity(&self, at: usize) -> Option<(i64, i64, usize)> {
        let (low, high, next) = match self.kind(at)? {
            Kind::Number { value, digits: 1..=4 } if self.is_free_after(at + 1) => {
                (i64::from(value), i64::from(value), at + 1)
            }
            Kind::Word(Word::Count(tens)) => {
                let unit_at = self.over_mark(at + 1, b'-');
                match self.word(unit_at) {
                    Word::Count(unit @ 1..=9) if tens >= 20 => {
                        (i64::from(tens + unit), i64::from(tens + unit), unit_at + 1)
                    }
                    _ => (i64::from(tens), i64::from(tens), at + 1),
                }
            }
            Kind::Word(Word::A) => match self.word(at + 1) {
                Word::Couple | Word::Few => return self.quantity_word(at + 1),
                _ => (1, 1, at + 1),
            },
            _ => return self.quantity_word(at),
        };
        (low > 0).then_some((low, high, next))
    }

    fn quantity_word(&self, at: usize) -> Option<(i64, i64, usize)> {
        match self.word(at) {
            Word::Couple => Some((2, 2, self.over_word(at + 1, Word::Of))),
            Word::Few => Some((2, 5, at + 1)),
            Word::Several => Some((3, 7, at + 1)),
            _ => None,
        }
    }

    /// Reads `two weeks ago`, `three days before Christmas`, `a week from tomorrow` and `three days later`.
    pub(super) fn counted(&self, at: usize) -> Option<Phrase> {
        let amount @ (_, _, unit, next) = self.amount(at)?;
        let (from_previous, to) = match self.word(next) {
            Word::Ago | Word::Back => return shifted(self.anchor, amount, -1, next + 1),
            Word::From if matches!(self.word(next + 1), Word::Now) => return shifted(self.anchor, amount, 1, next + 2),
            Word::Later => (1, None),
            Word::Earlier => (-1, None),
            Word::Before | Word::Previous => (-1, self.complement(self.over_word(next + 1, Word::To), Tense::Unknown)),
            Word::After => (1, self.complement(next + 1, Tense::Unknown)),
            Word::From => (1, Some(self.complement(next + 1, Tense::Future)?)),
            _ => return None,
        };
        match to {
            // `a week from Friday` is a Friday.
            Some((stretch, end, relative))
                if unit == Unit::Week && stretch.is_day() && self.word(next) == Word::From =>
            {
                let (_, high, _, _) = amount;
                let phrase = shifted(stretch.from, (high * 7, high * 7, Unit::Day, end), 1, end)?;
                Some(Phrase { relative, ..phrase })
            }
            Some((stretch, end, relative)) => {
                Some(Phrase { relative, ..shifted(stretch.from, amount, from_previous, end)? })
            }
            None if self.ends_clause(next + 1) || matches!(self.word(next), Word::Later | Word::Earlier) => {
                shifted(self.previous?.from, amount, from_previous, next + 1)
            }
            None => None,
        }
    }

    /// Reads `in three days` and `within two weeks`.
    pub(super) fn ahead_by(&self, at: usize) -> Option<Phrase> {
        let amount @ (_, _, unit, next) = self.amount(at + 1)?;
        let tense = self.tense(at, next);
        let is_duration = match unit {
            Unit::Minute => true,
            Unit::Hour => tense != Tense::Future,
            _ => matches!(tense, Tense::Past | Tense::Habit),
        };
        if is_duration || self.word_before(at) == Word::Time || self.word(next) == Word::Ago {
            return None;
        }
        if self.word(at) == Word::Within { self.rolling(amount, 1) } else { shifted(self.anchor, amount, 1, next) }
    }

    /// Reads what starts with a unit: `day before yesterday`, `week before last`, `weekend before 17 July`, `week of May 7`.
    pub(super) fn unit_phrase(&self, at: usize, has_the: bool) -> Option<Phrase> {
        let Word::Unit(unit) = self.word(at) else { return None };
        let sign = match self.word(at + 1) {
            Word::Before => -1,
            Word::After => 1,
            Word::Of => 0,
            _ => return None,
        };
        if matches!(unit, Unit::Minute | Unit::Hour | Unit::Century) {
            return None;
        }
        match (sign, self.word(at + 2)) {
            (-1, Word::Last) if !matches!(self.word(at + 3), Word::Unit(_)) && self.is_last_alone(at + 3) => {
                return Some(Phrase::relative(Stretch::unit(unit, self.anchor, -2)?, at + 3));
            }
            (1, Word::Next) if self.is_last_alone(at + 3) => {
                return Some(Phrase::relative(Stretch::unit(unit, self.anchor, 2)?, at + 3));
            }
            _ => {}
        }
        if let Some((stretch, next, relative)) = self.complement(at + 2, Tense::Unknown) {
            let stretch = beside(unit, stretch, sign)?;
            return Some(Phrase { relative, ..Phrase::absolute(stretch, next) });
        }
        if !has_the || sign == 0 || !self.ends_clause(at + 2) {
            return None;
        }
        let base = match (sign, self.previous) {
            (_, Some(previous)) => previous,
            (-1, None) => Stretch::day(self.anchor.date())?,
            _ => return None,
        };
        Some(Phrase::relative(beside(unit, base, sign)?, at + 2))
    }

    /// Returns whether the `last` of `the week before last` ends there, and does not begin `last Christmas`.
    fn is_last_alone(&self, at: usize) -> bool {
        !matches!(
            self.word(at),
            Word::Unit(_)
                | Word::Units(_)
                | Word::Weekday(_)
                | Word::Month(_)
                | Word::Season(_)
                | Word::Holiday(_)
                | Word::Part(_)
        )
    }

    /// Reads `the weekend` where a preposition makes it one weekend.
    pub(super) fn weekend_said(&self, at: usize, lead: Word) -> Option<Phrase> {
        let is_placed = matches!(
            lead,
            Word::Over
                | Word::During
                | Word::Before
                | Word::After
                | Word::By
                | Word::Until
                | Word::Since
                | Word::On
                | Word::At
        );
        let goes_on = matches!(self.word(at + 1), Word::Before | Word::After | Word::Of);
        if self.word(at) != Word::Unit(Unit::Weekend) || !is_placed || goes_on {
            return None;
        }
        let this = Stretch::unit(Unit::Weekend, self.anchor, 0)?;
        let latest = if this.from <= self.anchor { this } else { Stretch::unit(Unit::Weekend, self.anchor, -1)? };
        let stretch = match self.tense(at, at + 1) {
            Tense::Future => this,
            Tense::Unknown if matches!(lead, Word::By | Word::Until) => this,
            Tense::Past => latest,
            Tense::Unknown if !matches!(lead, Word::On | Word::At) => latest,
            Tense::Unknown | Tense::Habit => return None,
        };
        Some(Phrase::relative(stretch, at + 1))
    }

    /// Reads a weekday with what can follow it: a date, a week, `before last`, `before 15 July`.
    pub(super) fn weekday_phrase(&self, at: usize, lead: Word) -> Option<Phrase> {
        let (offset, is_short) = match self.word(at) {
            Word::Weekday(offset) => (offset, false),
            Word::WeekdayShort(offset) => (offset, true),
            _ => return None,
        };
        let weekday = calendar::weekday(offset)?;
        let has_dot = is_short && self.mark(at + 1) == b'.' && self.is_glued(at + 1);
        let next = at + 1 + usize::from(has_dot);
        if let Some(dated) = self.date_after_weekday(next, lead) {
            return match dated.shape {
                Shape::MonthDays { month, first, last, .. } => {
                    let shape = Shape::MonthDays { month, first, last, weekday: Some(weekday) };
                    Some(Phrase { shape, ..dated })
                }
                _ => Some(dated),
            };
        }
        if !self.is_weekday_name(at, offset, is_short, lead) || matches!(self.word(next), Word::Parts) {
            return None;
        }
        // `a Friday` is any of them, and `Sunday school` and its like are no days.
        if self.is_indefinite(at) || matches!(self.written(next), "school" | "roast" | "best") {
            return None;
        }
        if let Some(phrase) = self.weekday_of_week(offset, next) {
            return Some(phrase);
        }
        let sign = match self.word(next) {
            Word::Before => -1,
            Word::After => 1,
            _ => return Some(Phrase::open(Shape::Weekday(weekday), next)),
        };
        if sign < 0 && self.word(next + 1) == Word::Last && self.is_last_alone(next + 2) {
            let last = calendar::nearest_weekday(self.anchor.date(), -1, weekday)?;
            return Some(Phrase::relative(Stretch::day(calendar::shift_days(last, -7)?)?, next + 2));
        }
        let Some((stretch, end, relative)) = self.complement(next + 1, Tense::Unknown) else {
            return Some(Phrase::open(Shape::Weekday(weekday), next));
        };
        let from = if sign < 0 { stretch.from.date() } else { calendar::shift_days(stretch.until.date(), -1)? };
        let day = Stretch::day(calendar::nearest_weekday(from, sign, weekday)?)?;
        Some(Phrase { relative, ..Phrase::absolute(day, end) })
    }

    /// Returns whether `a` or a number stands before a noun, with at most one adjective between them.
    fn is_indefinite(&self, at: usize) -> bool {
        let has_adjective = matches!(self.word_before(at), Word::Other | Word::Good | Word::Black);
        matches!(self.word_before(at), Word::A | Word::Count(_))
            || (has_adjective && self.word_before(at.saturating_sub(1)) == Word::A)
    }

    /// Reads `, May 12`, `7 May 2023` or `the 13th` after a weekday.
    fn date_after_weekday(&self, at: usize, lead: Word) -> Option<Phrase> {
        let at = self.over_mark(at, b',');
        let date_at = self.over_word(at, Word::The);
        let dated = match self.kind(date_at)? {
            Kind::Word(Word::Month(_) | Word::MonthShort(_)) => self.month_phrase(date_at, Word::Absent),
            Kind::Number { .. } | Kind::Ordinal(_) => {
                let day_lead = if date_at > at { Word::On } else { lead };
                self.dated_number(date_at, Word::Absent)
                    .or_else(|| self.day_of_month(date_at, day_lead).filter(|_| date_at > at))
            }
            _ => None,
        }?;
        self.may_be_day(&dated).then_some(dated)
    }

    /// Reads `of last week` and `next week` after a weekday.
    fn weekday_of_week(&self, offset: i8, at: usize) -> Option<Phrase> {
        let at = match self.word(at) {
            Word::Of | Word::In => at + 1,
            _ => self.over_mark(at, b','),
        };
        let week = self.modified(at, false).filter(|_| self.word(at + 1) == Word::Unit(Unit::Week))?;
        let Shape::Fixed(stretch) = week.shape else { return None };
        let day = calendar::shift_days(calendar::monday_of(stretch.from.date())?, i64::from(offset))?;
        Some(Phrase::relative(Stretch::day(day)?, week.next))
    }

    /// Returns whether a weekday is written as one; `sat`, `sun`, `mon` and `wed` need a capital and a preposition.
    fn is_weekday_name(&self, at: usize, offset: i8, is_short: bool, lead: Word) -> bool {
        let is_placed = matches!(
            lead,
            Word::On | Word::Since | Word::Until | Word::By | Word::From | Word::Before | Word::After | Word::Between
        );
        let has_clock = || self.clock(self.over_word(at + 1, Word::At), Word::At).is_some();
        !is_short || (self.is_capital(at) && (is_placed || matches!(offset, 1 | 3 | 4) || has_clock()))
    }

    /// Reads what others count from: a date, a weekday, a holiday, `last week`; never something that counts itself, so
    /// that `the day before the day before ...` cannot nest. Returns it with its end and whether it is relative.
    fn complement(&self, at: usize, default: Tense) -> Option<(Stretch, usize, bool)> {
        let at = self.over_word(at, Word::The);
        let day = |count: i64| Some(Phrase::relative(Stretch::unit(Unit::Day, self.anchor, count)?, at + 1));
        let phrase = match self.kind(at)? {
            Kind::Number { .. } | Kind::Ordinal(_) => self.dated_number(at, Word::In),
            Kind::Word(Word::Yesterday) => day(-1),
            Kind::Word(Word::Today) => day(0),
            Kind::Word(Word::Tomorrow) => day(1),
            Kind::Word(Word::Month(_) | Word::MonthShort(_)) => self.month_phrase(at, Word::After),
            Kind::Word(Word::This | Word::Last | Word::Next) => self.modified(at, false),
            Kind::Word(Word::Weekday(offset)) => {
                let dated = self.date_after_weekday(at + 1, Word::On);
                dated.or(Some(Phrase::open(Shape::Weekday(calendar::weekday(offset)?), at + 1)))
            }
            Kind::Word(_) => {
                let (holiday, next) = self.holiday(at)?;
                self.with_year(Shape::Holiday(holiday), next)
            }
            Kind::Mark(_) => None,
        }?;
        let stretch = self.resolve(&phrase, at, default)?;
        Some((stretch, phrase.next, phrase.relative))
    }
}

/// Returns the calendar units that hold `base` moved by the least and by the most of an amount.
fn shifted(base: DateTime, (low, high, unit, _): Amount, sign: i64, next: usize) -> Option<Phrase> {
    let near = Stretch::unit(unit, base, sign * low)?;
    Some(Phrase::relative(near.joined(Stretch::unit(unit, base, sign * high)?), next))
}

/// Returns the unit just before, holding, or just after a stretch.
fn beside(unit: Unit, stretch: Stretch, sign: i64) -> Option<Stretch> {
    if sign <= 0 {
        return Stretch::unit(unit, stretch.from, sign);
    }
    // An end at midnight lies just outside the last day.
    let is_whole_days = stretch.until == calendar::midnight(stretch.until.date());
    let last = calendar::shift_days(stretch.until.date(), -i64::from(is_whole_days))?;
    // The weekend after a Wednesday is the one of its own week.
    let count = if unit == Unit::Weekend && last.weekday().to_monday_zero_offset() < 5 { 0 } else { 1 };
    Stretch::unit(unit, calendar::midnight(last), count)
}
