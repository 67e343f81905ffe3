//! Dates that name a day, month, year, decade or century: `7 May 2023`, `2023-05-07`, `in 2019`, `the 1980s`.

use jiff::civil::{Date, DateTime};

use super::calendar::{self, Stretch, Unit};
use super::phrase::{Phrase, Reading};
use super::shape::Shape;
use super::token::Kind;
use super::vocabulary::Word;

/// A year that was said after a month, day, season or holiday.
pub(super) struct YearSaid {
    pub(super) year: i16,
    /// Whether it was said as `last year`.
    pub(super) relative: bool,
    pub(super) next: usize,
}

impl Reading<'_> {
    /// Reads a phrase that starts with digits or an ordinal.
    pub(super) fn number_phrase(&self, at: usize, lead: Word) -> Option<Phrase> {
        if !self.is_free_before(at, lead) {
            return None;
        }
        self.dated_number(at, lead)
            .or_else(|| self.decade(at, lead))
            .or_else(|| self.nth_of(at))
            .or_else(|| self.counted(at))
    }

    /// Reads a date or year that starts with digits or an ordinal.
    pub(super) fn dated_number(&self, at: usize, lead: Word) -> Option<Phrase> {
        self.numeric_date(at).or_else(|| self.day_and_month(at)).or_else(|| self.year_phrase(at, lead))
    }

    /// Reads dates of digits alone, and their ISO 8601 time.
    fn numeric_date(&self, at: usize) -> Option<Phrase> {
        if let Some((time, offset_minutes, next)) = self.iso_time(at) {
            let shift = jiff::Span::new().try_minutes(-i64::from(offset_minutes)).ok()?;
            let stretch = Stretch::unit(Unit::Minute, time.checked_add(shift).ok()?, 0)?;
            return Some(Phrase::absolute(stretch, next));
        }
        if let Some((date, next)) = self.full_numeric_date(at) {
            return Some(Phrase::absolute(Stretch::day(date)?, next));
        }
        // `2023-05` is a month; a month needs two digits, so that `2010-3` stays a score.
        let year = self.year_number(at)?;
        let Some(Kind::Number { value, digits: 2 }) = self.kind(at + 2) else { return None };
        let is_month = self.mark(at + 1) == b'-' && self.is_joined(at, 3) && self.is_free_after(at + 3);
        let month = i8::try_from(value).ok().filter(|month| is_month && (1..=12).contains(month))?;
        Some(Phrase::absolute(Stretch::month(year, month)?, at + 3))
    }

    /// Reads a year, month and day in digits, in any of the orders that the separator allows.
    pub(super) fn full_numeric_date(&self, at: usize) -> Option<(Date, usize)> {
        let separator = self.mark(at + 1);
        if !matches!(separator, b'-' | b'/' | b'.') || self.mark(at + 3) != separator || !self.is_joined(at, 5) {
            return None;
        }
        let part = |index: usize| match self.kind(at + index) {
            Some(Kind::Number { value, digits }) if digits <= 4 => Some((value, digits)),
            _ => None,
        };
        let ((first, first_digits), (second, second_digits), (third, third_digits)) = (part(0)?, part(2)?, part(4)?);
        let small = |value: u32| i8::try_from(value).ok();
        let date = |year: i16, month: u32, day: u32| Date::new(year, small(month)?, small(day)?).ok();
        let found = match (first_digits, second_digits, third_digits) {
            (4, 1..=2, 1..=2) => date(i16::try_from(first).ok()?, second, third)?,
            (1..=2, 1..=2, 2 | 4) if separator != b'.' || third_digits == 4 => {
                let year = if third_digits == 4 { i16::try_from(third).ok()? } else { two_digit_year(third)? };
                let (month_first, day_first) = (date(year, first, second), date(year, second, first));
                if separator == b'.' { day_first.or(month_first)? } else { month_first.or(day_first)? }
            }
            _ => return None,
        };
        // The time of `2023-05-07T10:30` touches it; anything else that does makes it another number.
        (self.is_free_after(at + 5) || self.is_time_mark(at + 5)).then_some((found, at + 5))
    }

    /// Reads `2023-05-07T10:30:00+02:00`: the civil time, its offset from UTC in minutes, and where it ends.
    pub(super) fn iso_time(&self, at: usize) -> Option<(DateTime, i32, usize)> {
        let (date, time_at) = self.full_numeric_date(at).filter(|(_, next)| self.is_time_mark(*next))?;
        let Some(Kind::Number { value: hour, digits: 2 }) = self.kind(time_at + 1) else { return None };
        let (minute, mut next) = self.sixty(time_at + 2)?;
        let mut second = 0;
        if let Some((value, after)) = self.sixty(next) {
            (second, next) = (value, after);
            let is_fraction = matches!(self.kind(next + 1), Some(Kind::Number { .. })) && self.is_joined(next - 1, 3);
            if self.mark(next) == b'.' && is_fraction {
                next += 2;
            }
        }
        let (offset, next) = self.offset(next).unwrap_or((0, next));
        let hour = i8::try_from(hour).ok().filter(|hour| *hour < 24)?;
        Some((date.at(hour, minute, second, 0), offset, next))
    }

    /// Reads `Z`, `+02:00` or `-0530`, in minutes.
    pub(super) fn offset(&self, at: usize) -> Option<(i32, usize)> {
        if self.is_glued(at) && self.written(at).eq_ignore_ascii_case("z") {
            return Some((0, at + 1));
        }
        let sign = match self.mark(at) {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let Some(Kind::Number { value, digits }) = self.kind(at + 1).filter(|_| self.is_glued(at + 1)) else {
            return None;
        };
        let (hours, minutes, next) = match (digits, self.sixty(at + 2)) {
            (2, Some((minutes, next))) => (value, u32::from(minutes.unsigned_abs()), next),
            (2, None) => (value, 0, at + 2),
            (4, _) => (value / 100, value % 100, at + 2),
            _ => return None,
        };
        let total = i32::try_from(hours * 60 + minutes).ok().filter(|_| hours < 24 && minutes < 60)?;
        Some((sign * total, next))
    }

    fn is_time_mark(&self, at: usize) -> bool {
        self.is_glued(at) && self.is_glued(at + 1) && self.written(at).eq_ignore_ascii_case("t")
    }

    /// Reads `7 May 2023`, `7th of May` and `3-5 May`.
    fn day_and_month(&self, at: usize) -> Option<Phrase> {
        let (first, mut next) = self.day_said(at)?;
        let mut last = first;
        if self.mark(next) == b'-' || matches!(self.word(next), Word::To | Word::Through) {
            (last, next) = self.day_said(next + 1)?;
        }
        let month_at = self.over_word(next, Word::Of);
        let (month, after) = self.month_said(month_at)?;
        let shape = Shape::MonthDays { month, first, last, weekday: None };
        let phrase = self.with_year(shape, after)?;
        // `7 may come` is no date: a month that is also a verb must look like one.
        (self.is_month_name(month_at) || !phrase.relative).then_some(phrase)
    }

    /// Reads a phrase that starts with a month.
    pub(super) fn month_phrase(&self, at: usize, lead: Word) -> Option<Phrase> {
        let (month, after) = self.month_said(at)?;
        if let Some(phrase) = self.month_and_day(month, at, after) {
            return Some(phrase);
        }
        if let Some(said) = self.year_said(after) {
            let stretch = Stretch::month(said.year, month)?;
            return Some(Phrase { relative: said.relative, ..Phrase::absolute(stretch, said.next) });
        }
        let is_placed = match lead {
            Word::In | Word::Since | Word::Until => true,
            Word::By
            | Word::From
            | Word::During
            | Word::Before
            | Word::After
            | Word::Through
            | Word::Between
            | Word::Around => self.is_month_name(at),
            Word::Of => self.is_month_name(at) && at >= 2 && self.word(at - 2) == Word::Unit(Unit::Month),
            _ => false,
        };
        is_placed.then_some(Phrase::open(Shape::Month(month), after))
    }

    /// Reads `May 7`, `May the 7th`, `May 7-9` and `May 7, 2023`.
    fn month_and_day(&self, month: i8, at: usize, after: usize) -> Option<Phrase> {
        let (first, mut next) = self.day_said(self.over_word(after, Word::The))?;
        let mut last = first;
        if self.mark(next) == b'-' || matches!(self.word(next), Word::To | Word::Through) {
            // In `May 7 - 9 June` the second number belongs to the next month.
            if let Some((day, end)) = self.day_said(next + 1).filter(|(_, end)| self.month_said(*end).is_none()) {
                (last, next) = (day, end);
            }
        }
        let is_count = matches!(self.word(next), Word::Counted | Word::Units(_) | Word::Am | Word::Pm);
        if is_count || !self.is_free_after(next) {
            return None;
        }
        let phrase = self.with_year(Shape::MonthDays { month, first, last, weekday: None }, next)?;
        (self.is_month_name(at) || !phrase.relative).then_some(phrase)
    }

    /// Puts a shape into the year said after it, if one was.
    pub(super) fn with_year(&self, shape: Shape, at: usize) -> Option<Phrase> {
        match self.year_said(at) {
            Some(said) => {
                let stretch = shape.in_year(said.year)?;
                Some(Phrase { relative: said.relative, ..Phrase::absolute(stretch, said.next) })
            }
            None => Some(Phrase::open(shape, at)),
        }
    }

    /// Reads `2023`, `, 2023`, `of 2023`, `'23`, `last year` and `of next year`.
    pub(super) fn year_said(&self, at: usize) -> Option<YearSaid> {
        let at = self.over_mark(at, b',');
        let number_at = match self.word(at) {
            Word::Of | Word::In => at + 1,
            _ => at,
        };
        if let Some(year) = self.year_number(number_at) {
            let is_year = self.is_free_after(number_at + 1) && !self.is_count(number_at + 1);
            return is_year.then_some(YearSaid { year, relative: false, next: number_at + 1 });
        }
        if self.mark(number_at) == b'\'' && self.is_glued(number_at + 1) {
            let Some(Kind::Number { value, digits: 2 }) = self.kind(number_at + 1) else { return None };
            return Some(YearSaid { year: two_digit_year(value)?, relative: false, next: number_at + 2 });
        }
        let shift = match self.word(self.over_word(at, Word::Of)) {
            Word::Last | Word::Previous => -1,
            Word::This => 0,
            Word::Next => 1,
            _ => return None,
        };
        let unit_at = self.over_word(at, Word::Of) + 1;
        let year = self.anchor.year().checked_add(shift)?;
        (self.word(unit_at) == Word::Unit(Unit::Year)).then_some(YearSaid { year, relative: true, next: unit_at + 1 })
    }

    /// Reads a year on its own, which a preposition must announce.
    pub(super) fn year_phrase(&self, at: usize, lead: Word) -> Option<Phrase> {
        let year = self.year_number(at)?;
        let is_bracketed = at > 0 && self.mark(at - 1) == b'(' && self.mark(at + 1) == b')';
        let is_year = match lead {
            Word::In | Word::Since | Word::Until | Word::During | Word::Unit(Unit::Year) => true,
            Word::By | Word::From | Word::Before | Word::After | Word::Around | Word::Through | Word::Between => {
                (1700..=2100).contains(&year)
            }
            _ => is_bracketed && (1900..=2100).contains(&year),
        };
        let is_year = is_year && self.is_free_after(at + 1) && !self.is_count(at + 1);
        if is_year { Some(Phrase::absolute(Stretch::year(year)?, at + 1)) } else { None }
    }

    /// Reads `the 1980s`, `the 80s`, `'80s` and `the 19th century`.
    pub(super) fn decade(&self, at: usize, lead: Word) -> Option<Phrase> {
        let nth = match self.kind(at)? {
            Kind::Ordinal(nth) => Some(nth),
            Kind::Word(Word::Nth(nth)) => Some(nth),
            _ => None,
        };
        if let Some(nth) = nth {
            let unit_at = self.over_mark(at + 1, b'-');
            let first = Date::new(i16::try_from(nth.checked_sub(1)? * 100).ok()?, 1, 1).ok()?;
            let is_century = self.word(unit_at) == Word::Unit(Unit::Century) && nth <= 30;
            let century = Stretch::unit(Unit::Century, calendar::midnight(first), 0).filter(|_| is_century)?;
            return Some(Phrase::absolute(century, unit_at + 1));
        }
        let is_short = self.mark(at) == b'\'';
        let number_at = at + usize::from(is_short);
        let (year, next) = match self.kind(number_at)? {
            Kind::Number { value, digits: 4 } if !is_short => (value, number_at + 1),
            Kind::Number { value, digits: 2 } if is_short || lead == Word::The => {
                (if value < 20 { 2000 + value } else { 1900 + value }, number_at + 1)
            }
            _ => return None,
        };
        let ending_at = self.over_mark(next, b'\'');
        let is_plural = self.is_glued(ending_at) && self.written(ending_at) == "s";
        let first = Date::new(i16::try_from(year).ok().filter(|year| is_plural && year % 10 == 0)?, 1, 1).ok()?;
        // `the 1900s` is a century, but `the 2000s` is what came before the 2010s.
        let unit = if year % 100 == 0 && year != 2000 { Unit::Century } else { Unit::Decade };
        Some(Phrase::absolute(Stretch::unit(unit, calendar::midnight(first), 0)?, ending_at + 1))
    }

    /// Reads `Q1 2022`.
    pub(super) fn quarter(&self, at: usize) -> Option<Phrase> {
        let Some(Kind::Number { value: nth @ 1..=4, digits: 1 }) = self.kind(at + 1) else { return None };
        let said = self.year_said(at + 2).filter(|_| self.is_glued(at + 1))?;
        let first = calendar::first_of(said.year, i8::try_from(nth * 3).ok()? - 2)?;
        let stretch = Stretch::unit(Unit::Quarter, calendar::midnight(first), 0)?;
        Some(Phrase { relative: said.relative, ..Phrase::absolute(stretch, said.next) })
    }

    /// Reads the rest of `on the 7th`, where the clause must end or go on without a noun.
    pub(super) fn day_of_month(&self, at: usize, lead: Word) -> Option<Phrase> {
        let Some(Kind::Ordinal(_)) = self.kind(at) else { return None };
        let is_placed = matches!(
            lead,
            Word::On
                | Word::By
                | Word::Until
                | Word::Since
                | Word::Before
                | Word::After
                | Word::From
                | Word::Weekday(_)
        );
        let (day, next) = self.day_said(at).filter(|_| is_placed)?;
        let goes_on = matches!(self.word(next), Word::To | Word::Through | Word::For | Word::In | Word::Between);
        (goes_on || self.ends_clause(next)).then_some(Phrase::open(Shape::DayOfMonth(day), next))
    }

    /// Reads a month's name and the dot of an abbreviation.
    pub(super) fn month_said(&self, at: usize) -> Option<(i8, usize)> {
        match self.word(at) {
            Word::Month(month) => Some((month, at + 1)),
            Word::MonthShort(month) => {
                let has_dot = self.mark(at + 1) == b'.' && self.is_glued(at + 1);
                Some((month, at + 1 + usize::from(has_dot)))
            }
            _ => None,
        }
    }

    /// Returns whether a month is written as a name; `may`, `march` and abbreviations need their capital for that.
    pub(super) fn is_month_name(&self, at: usize) -> bool {
        match self.word(at) {
            Word::Month(3 | 5) | Word::MonthShort(_) => self.is_capital(at),
            Word::Month(_) => true,
            _ => false,
        }
    }

    /// Reads a day of a month as digits, ordinal or word: `7`, `7th`, `seventh`, `twenty-first`.
    fn day_said(&self, at: usize) -> Option<(i8, usize)> {
        let (day, next) = match self.kind(at)? {
            Kind::Number { value, digits: 1..=2 } => (value, at + 1),
            Kind::Ordinal(value) | Kind::Word(Word::Nth(value)) => (value, at + 1),
            Kind::Word(Word::Count(tens @ (20 | 30))) => {
                let unit_at = self.over_mark(at + 1, b'-');
                let Word::Nth(unit @ 1..=9) = self.word(unit_at) else { return None };
                (tens + unit, unit_at + 1)
            }
            _ => return None,
        };
        Some((i8::try_from(day).ok().filter(|day| (1..=31).contains(day))?, next))
    }

    /// Returns the day that a bare number can be.
    pub(super) fn day_number(&self, at: usize) -> Option<i8> {
        self.day_said(at).filter(|(_, next)| *next == at + 1).map(|(day, _)| day)
    }

    /// Returns the year that four digits can be.
    pub(super) fn year_number(&self, at: usize) -> Option<i16> {
        match self.kind(at)? {
            Kind::Number { value: year @ 1000..=2999, digits: 4 } => i16::try_from(year).ok(),
            _ => None,
        }
    }

    /// Returns whether the word at a token is something a number before it counts.
    pub(super) fn is_count(&self, at: usize) -> bool {
        matches!(self.word(at), Word::Counted | Word::Units(_))
    }

    /// Returns whether `count` tokens from `at` touch one another.
    fn is_joined(&self, at: usize, count: usize) -> bool {
        (at + 1..at + count).all(|at| self.is_glued(at))
    }

    /// Returns whether a number starts here, and not in the middle of `2,019`, `$2019` or `v2019`.
    pub(super) fn is_free_before(&self, at: usize, lead: Word) -> bool {
        let Some(before) = at.checked_sub(1).filter(|_| self.is_glued(at)) else { return true };
        match self.kind(before) {
            Some(Kind::Mark(b'-')) => lead == Word::From,
            Some(Kind::Mark(b':')) => {
                !matches!(before.checked_sub(1).and_then(|at| self.kind(at)), Some(Kind::Number { .. }))
            }
            Some(Kind::Mark(mark)) => !matches!(mark, b'.' | b',' | b'$' | b'#' | b'/' | b'+' | b'_' | b'%' | b'\\'),
            Some(_) => false,
            None => true,
        }
    }

    /// Returns whether a number that ended before `next` is whole, and not followed by `.5`, `%` or letters.
    pub(super) fn is_free_after(&self, next: usize) -> bool {
        if !self.is_glued(next) {
            return true;
        }
        match self.kind(next) {
            Some(Kind::Mark(b',' | b'.' | b':' | b'/')) => {
                !(self.is_glued(next + 1)
                    && matches!(self.kind(next + 1), Some(Kind::Number { .. } | Kind::Ordinal(_))))
            }
            Some(Kind::Mark(mark)) => !matches!(mark, b'%' | b'_' | b'@' | b'=' | b'\\'),
            Some(Kind::Word(Word::Possessive)) | None => true,
            _ => false,
        }
    }
}

/// Returns the year between 1969 and 2068 that two digits mean, as POSIX does.
pub(super) fn two_digit_year(digits: u32) -> Option<i16> {
    i16::try_from(if digits < 69 { 2000 + digits } else { 1900 + digits }).ok()
}
