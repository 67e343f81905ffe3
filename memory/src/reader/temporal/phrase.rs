//! The grammar from the top: bounds (`since`, `until`), ranges (`from X to Y`), and a phrase with its time of day.
//!
//! Each rule reads at a token, looks at a bounded number of tokens after it, and answers what it read and where it ended.
//! So the whole text costs a bounded amount for each token.

use std::ops::Range;

use jiff::civil::DateTime;

use super::Precision;
use super::calendar::{self, DayPart, Stretch, Third, Unit};
use super::clock::{self, Clock};
use super::shape::Shape;
use super::tense::Tense;
use super::token::{self, Kind, Token};
use super::vocabulary::Word;

/// A text that is being read.
pub(super) struct Reading<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    pub(super) anchor: DateTime,
    /// What the mention before meant, for `the next day`.
    pub(super) previous: Option<Stretch>,
    /// The token after the mention before.
    pub(super) previous_next: usize,
}

/// A mention, by tokens.
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) next: usize,
    pub(super) from: Option<DateTime>,
    pub(super) until: Option<DateTime>,
    pub(super) precision: Precision,
    pub(super) relative: bool,
    /// What `the next day` after it counts from.
    pub(super) stretch: Option<Stretch>,
}

/// A time as it was said, with what narrows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phrase {
    pub(super) shape: Shape,
    pub(super) third: Option<Third>,
    pub(super) clock: Option<Clock>,
    /// Whether a fixed shape was computed from the anchor; every other shape is relative.
    pub(super) relative: bool,
    /// The token after it.
    pub(super) next: usize,
}

impl Phrase {
    /// Makes a phrase that needs no anchor.
    pub(super) fn absolute(stretch: Stretch, next: usize) -> Self {
        Self { shape: Shape::Fixed(stretch), third: None, clock: None, relative: false, next }
    }

    /// Makes a phrase that was computed from the anchor or from another mention.
    pub(super) fn relative(stretch: Stretch, next: usize) -> Self {
        Self { relative: true, ..Self::absolute(stretch, next) }
    }

    /// Makes a phrase that has still to find its place.
    pub(super) fn open(shape: Shape, next: usize) -> Self {
        Self { shape, third: None, clock: None, relative: true, next }
    }
}

impl<'a> Reading<'a> {
    pub(super) fn new(text: &'a str, anchor: DateTime) -> Self {
        Self { text, tokens: token::tokens(text), anchor, previous: None, previous_next: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn kind(&self, at: usize) -> Option<Kind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    pub(super) fn word(&self, at: usize) -> Word {
        match self.kind(at) {
            Some(Kind::Word(word)) => word,
            _ => Word::Absent,
        }
    }

    pub(super) fn word_before(&self, at: usize) -> Word {
        at.checked_sub(1).map_or(Word::Absent, |before| self.word(before))
    }

    /// Returns the punctuation mark at a token, or zero.
    pub(super) fn mark(&self, at: usize) -> u8 {
        match self.kind(at) {
            Some(Kind::Mark(mark)) => mark,
            _ => 0,
        }
    }

    pub(super) fn is_capital(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|token| token.capital)
    }

    pub(super) fn is_glued(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|token| token.glued)
    }

    /// Returns the text of one token.
    pub(super) fn written(&self, at: usize) -> &str {
        self.text.get(self.range(at, at + 1)).unwrap_or_default()
    }

    /// Returns the bytes from the start of one token to the end of the one before `next`.
    pub(super) fn range(&self, start: usize, next: usize) -> Range<usize> {
        let from = self.tokens.get(start).map_or(0, |token| token.start as usize);
        let until = next.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(from, |token| token.end as usize);
        from..until.max(from)
    }

    /// Returns `at` moved over a token with this mark, if there is one.
    pub(super) fn over_mark(&self, at: usize, mark: u8) -> usize {
        if self.mark(at) == mark { at + 1 } else { at }
    }

    /// Returns `at` moved over a token with this word, if there is one.
    pub(super) fn over_word(&self, at: usize, word: Word) -> usize {
        if self.word(at) == word { at + 1 } else { at }
    }

    /// Returns whether nothing that could change the meaning follows directly: the clause ends here.
    pub(super) fn ends_clause(&self, at: usize) -> bool {
        match self.kind(at) {
            None => true,
            Some(Kind::Mark(mark)) => !matches!(mark, b'\'' | b'$' | b'#' | b'%' | b'/'),
            Some(Kind::Word(word)) => matches!(word, Word::And | Word::Or | Word::At),
            _ => false,
        }
    }

    /// Returns the token to go on with where nothing was found: behind a habit such as `every Friday`, else the next one.
    pub(super) fn skip(&self, at: usize) -> usize {
        if self.word(at) != Word::Every {
            return at + 1;
        }
        let mut next = at + 1;
        if matches!(self.word(next), Word::Another | Word::Nth(_) | Word::Count(_))
            || matches!(self.kind(next), Some(Kind::Number { .. } | Kind::Ordinal(_)))
        {
            next += 1;
        }
        match self.word(next) {
            Word::Weekday(_) | Word::WeekdayShort(_) | Word::Unit(_) | Word::Units(_) => {
                next + usize::from(matches!(self.word(next + 1), Word::Part(_)))
            }
            Word::Month(_) | Word::Season(_) | Word::Part(_) | Word::Holiday(_) => next,
            _ => return at + 1,
        }
        .saturating_add(1)
    }

    /// Reads a mention that starts at a token.
    pub(super) fn mention(&self, at: usize) -> Option<Found> {
        // Most words of a text are none of the grammar's; they must cost next to nothing.
        match self.kind(at)? {
            Kind::Mark(b'\'') => self.plain(at),
            Kind::Mark(_) => None,
            Kind::Word(Word::Other | Word::Possessive | Word::And | Word::Of | Word::Behind | Word::Ahead) => None,
            Kind::Word(bound @ (Word::Since | Word::Until | Word::By | Word::Before | Word::After)) => {
                self.bounded(at, bound)
            }
            Kind::Word(word @ (Word::From | Word::Between)) => self.announced_range(at, word),
            _ => self.plain(at),
        }
    }

    /// Reads a phrase, or a range without `from` such as `May 3 to May 5`.
    fn plain(&self, at: usize) -> Option<Found> {
        let lead = self.word_before(at);
        let phrase = self.phrase(at, lead)?;
        if let Some(range) = self.range_from(at, &phrase, lead) {
            return Some(range);
        }
        let stretch = self.resolve(&phrase, at, Tense::Unknown)?;
        Some(Found {
            start: at,
            next: phrase.next,
            from: Some(stretch.from),
            until: Some(stretch.until),
            precision: stretch.precision,
            relative: phrase.relative,
            stretch: Some(stretch),
        })
    }

    /// Reads `since X`, `until X`, `by X`, `before X` and `after X`.
    fn bounded(&self, at: usize, bound: Word) -> Option<Found> {
        let phrase = self.phrase(at + 1, bound)?;
        let default = if matches!(bound, Word::By | Word::Until) { Tense::Future } else { Tense::Unknown };
        let stretch = self.resolve(&phrase, at, default)?;
        let stretch = stretch.or_point();
        let day = stretch.from.date();
        let is_within_day = stretch.precision <= Precision::PartOfDay;
        let day_start = is_within_day.then(|| calendar::midnight(day));
        let day_end = || is_within_day.then(|| calendar::shift_days(day, 1).map(calendar::midnight)).flatten();
        let (from, until) = match bound {
            Word::Since => (Some(stretch.from), None),
            Word::Before => (day_start, Some(stretch.from)),
            Word::After => (Some(stretch.until), day_end()),
            _ => (None, Some(stretch.until)),
        };
        if from.zip(until).is_some_and(|(from, until)| from >= until) {
            return None;
        }
        Some(Found {
            start: at,
            next: phrase.next,
            from,
            until,
            precision: stretch.precision,
            relative: phrase.relative,
            stretch: Some(stretch),
        })
    }

    /// Reads `from X to Y` and `between X and Y`, where X may be a bare day as in `between 3 and 5 May`.
    fn announced_range(&self, start: usize, lead: Word) -> Option<Found> {
        let bare_day = || self.day_number(start + 1).map(|day| Phrase::open(Shape::DayOfMonth(day), start + 2));
        let first = self.phrase(start + 1, lead).or_else(bare_day)?;
        self.range_from(start, &first, lead)
    }

    /// Reads what follows the first end of a range: `to`, `until`, `through`, `and` or a dash, and the second end.
    fn range_from(&self, start: usize, first: &Phrase, lead: Word) -> Option<Found> {
        let is_connected = match (self.word(first.next), self.mark(first.next)) {
            (Word::And, _) => lead == Word::Between,
            (Word::To | Word::Until | Word::Through, _) | (_, b'-') => lead != Word::Between,
            _ => false,
        };
        if !is_connected {
            return None;
        }
        let second = self.phrase(first.next + 1, Word::From)?;
        let (from, until) = self.resolve_range(first, &second, start)?;
        let until = until.or_point();
        if from.from >= until.until || (from.until > until.until && until.from != until.until) {
            return None;
        }
        let stretch = Stretch { from: from.from, until: until.until, precision: from.precision.min(until.precision) };
        Some(Found {
            start,
            next: second.next,
            from: Some(from.from),
            until: Some(until.until),
            precision: stretch.precision,
            // One fixed end places the other.
            relative: first.relative && second.relative,
            stretch: Some(stretch),
        })
    }

    /// Resolves both ends of a range so that the second follows the first.
    fn resolve_range(&self, first: &Phrase, second: &Phrase, start: usize) -> Option<(Stretch, Stretch)> {
        let is_fixed = |phrase: &Phrase| matches!(phrase.shape, Shape::Fixed(_));
        match (first.shape, second.shape) {
            (Shape::DayOfMonth(hour), Shape::Anchor) => {
                let until = self.resolve(second, start, Tense::Unknown)?;
                let hour = clock::hour_before(hour, until.from.hour())?;
                Some((Clock::hour(hour).on(until.from.date())?, until))
            }
            // `Friday from 2 pm to 4 pm`: the second time is on the day of the first.
            (_, Shape::Anchor) => {
                let from = self.resolve(first, start, Tense::Unknown)?;
                Some((from, self.narrow(Stretch::day(from.from.date())?, second)?))
            }
            (Shape::Anchor, _) => {
                let until = self.resolve(second, start, Tense::Unknown)?;
                Some((self.narrow(Stretch::day(until.from.date())?, first)?, until))
            }
            (Shape::Fixed(from), Shape::Fixed(until)) => Some((self.narrow(from, first)?, self.narrow(until, second)?)),
            _ if is_fixed(first) || (!is_fixed(second) && self.tense(start, second.next) == Tense::Future) => {
                let from = self.resolve(first, start, Tense::Future)?;
                Some((from, self.narrow(second.shape.after(from.from)?, second)?))
            }
            _ => {
                let until = self.resolve(second, start, Tense::Past)?;
                Some((self.narrow(first.shape.before(until.from)?, first)?, until))
            }
        }
    }

    /// Places a phrase in time, by the tense around it; `default` stands in where no cue is found.
    pub(super) fn resolve(&self, phrase: &Phrase, start: usize, default: Tense) -> Option<Stretch> {
        let tense = match phrase.shape {
            Shape::Fixed(_) => Tense::Unknown,
            _ => match self.tense(start, phrase.next) {
                Tense::Unknown => default,
                found => found,
            },
        };
        if matches!(phrase.shape, Shape::Anchor) && self.is_habit(start) {
            return None;
        }
        let day = self.day_said_before(start).filter(|_| matches!(phrase.shape, Shape::Anchor));
        self.narrow(phrase.shape.resolve(day.unwrap_or(self.anchor), tense)?, phrase)
    }

    /// Returns the day mentioned before in the same sentence, which a time of day alone is on.
    fn day_said_before(&self, start: usize) -> Option<DateTime> {
        let day = self.previous.filter(|previous| previous.precision <= Precision::Day)?.from;
        let is_near = start.saturating_sub(self.previous_next) <= super::tense::TOKENS_LOOKED_AT;
        (is_near && !(self.previous_next..start).any(|at| self.ends_sentence(at))).then_some(day)
    }

    /// Narrows a stretch to the third and to the time of day that were said with it.
    fn narrow(&self, stretch: Stretch, phrase: &Phrase) -> Option<Stretch> {
        let stretch = match phrase.third {
            Some(third) => stretch.third(third)?,
            None => stretch,
        };
        match phrase.clock {
            Some(clock) if stretch.is_day() => clock.on(stretch.from.date()),
            _ => Some(stretch),
        }
    }

    /// Reads a phrase: a day or longer time with or without a time of day, or a time of day alone.
    pub(super) fn phrase(&self, at: usize, lead: Word) -> Option<Phrase> {
        if let Some((clock, next)) = self.clock(at, lead) {
            let day_at = match self.word(next) {
                Word::On | Word::Of => next + 1,
                _ => self.over_mark(next, b','),
            };
            let day = self.day_phrase(self.over_word(day_at, Word::On), Word::On).filter(|day| self.may_be_day(day));
            return match day {
                Some(day) => Some(Phrase { clock: Some(clock), ..day }),
                None => Some(Phrase { clock: Some(clock), ..Phrase::open(Shape::Anchor, next) }),
            };
        }
        let phrase = self.part_of_day(at).or_else(|| self.day_phrase(at, lead))?;
        if phrase.clock.is_some() || !self.may_be_day(&phrase) {
            return Some(phrase);
        }
        Some(self.with_clock(phrase))
    }

    /// Returns whether a phrase means one day, so that a time of day can be said with it.
    pub(super) fn may_be_day(&self, phrase: &Phrase) -> bool {
        match phrase.shape {
            Shape::Fixed(stretch) => stretch.is_day(),
            Shape::MonthDays { first, last, .. } => first == last,
            Shape::Weekday(_) | Shape::DayOfMonth(_) | Shape::Holiday(_) => true,
            Shape::Month(_) | Shape::Season(_) | Shape::Anchor => false,
        }
    }

    /// Reads the time of day after a day: `Friday at 5 pm`, `tomorrow morning`, `May 7 in the evening`.
    fn with_clock(&self, day: Phrase) -> Phrase {
        let at = self.over_mark(day.next, b',');
        let lead = match self.word(at) {
            Word::At | Word::Around => at + 1,
            _ => at,
        };
        if let Some((clock, next)) = self.clock(lead, Word::At) {
            return Phrase { clock: Some(clock), next, ..day };
        }
        let part_at = match (self.word(at), self.word(at + 1), self.word(at + 2)) {
            (Word::In, Word::The, Word::Part(_)) => at + 2,
            (Word::At, Word::Part(_), _) => at + 1,
            _ => day.next,
        };
        match self.word(part_at) {
            Word::Part(part) => Phrase { clock: Some(Clock::Part(part)), next: part_at + 1, ..day },
            _ => day,
        }
    }

    /// Reads `this morning`, `last night`, `tonight`, `the night of May 7` and `the night before last`.
    fn part_of_day(&self, at: usize) -> Option<Phrase> {
        let today = self.anchor.date();
        let on = |days: i64, part: DayPart, next: usize| {
            Some(Phrase::relative(Stretch::part(calendar::shift_days(today, days)?, part)?, next))
        };
        let after_the = self.over_word(at, Word::The);
        match (self.word(after_the), self.word(after_the + 1)) {
            (Word::Tonight, _) => on(0, DayPart::Night, after_the + 1),
            (Word::This, Word::Part(part)) => on(0, part, after_the + 2),
            (Word::Last, Word::Part(part)) => on(-1, part, after_the + 2),
            (Word::Next | Word::Following, Word::Part(part)) => {
                let day = calendar::shift_days(self.previous?.from.date(), 1)?;
                Some(Phrase::relative(Stretch::part(day, part)?, after_the + 2))
            }
            (Word::Part(DayPart::Night), Word::Before) if self.word(after_the + 2) == Word::Last => {
                on(-2, DayPart::Night, after_the + 3)
            }
            (Word::Part(DayPart::Night), Word::Before) if self.ends_clause(after_the + 2) => {
                let base = self.previous.map_or(today, |previous| previous.from.date());
                Some(Phrase::relative(Stretch::part(calendar::shift_days(base, -1)?, DayPart::Night)?, after_the + 2))
            }
            (Word::Part(part), Word::Of | Word::On) => {
                let day = self.day_phrase(after_the + 2, Word::On).filter(|day| self.may_be_day(day))?;
                Some(Phrase { clock: Some(Clock::Part(part)), ..day })
            }
            _ => None,
        }
    }

    /// Reads everything that means a day or longer.
    fn day_phrase(&self, at: usize, lead: Word) -> Option<Phrase> {
        let today = self.anchor.date();
        let unit = |count: i64| {
            let stretch = Stretch::unit(Unit::Day, self.anchor, count)?;
            Some(Phrase::relative(stretch, at + 1))
        };
        match self.kind(at)? {
            Kind::Number { .. } | Kind::Ordinal(_) => self.number_phrase(at, lead),
            Kind::Mark(b'\'') => self.decade(at, lead),
            Kind::Mark(_) => None,
            Kind::Word(word) => match word {
                Word::Today => unit(0),
                Word::Yesterday => unit(-1),
                Word::Tomorrow => unit(1),
                Word::The => self.the_phrase(at, lead),
                Word::Month(_) | Word::MonthShort(_) => self.month_phrase(at, lead),
                Word::Weekday(_) | Word::WeekdayShort(_) => self.weekday_phrase(at, lead),
                Word::Season(_) => self.season_phrase(at, lead),
                Word::This | Word::Last | Word::Next | Word::Past | Word::Previous | Word::Coming => {
                    self.nth_of(at).or_else(|| self.modified(at, false))
                }
                Word::Early | Word::Late | Word::Middle | Word::End | Word::Start => self.third_phrase(at),
                Word::Earlier | Word::Later => self.rest_of(at, today),
                Word::In | Word::Within => self.ahead_by(at),
                Word::Unit(_) => self.unit_phrase(at, false),
                Word::Nth(_) => self.nth_of(at).or_else(|| self.number_phrase(at, lead)),
                Word::LetterQ => self.quarter(at),
                Word::Count(_) => self.dated_number(at, lead).or_else(|| self.counted(at)),
                Word::A | Word::Couple | Word::Few | Word::Several | Word::Half => self.counted(at),
                _ => self.holiday_phrase(at, lead),
            },
        }
    }

    /// Reads what only `the` makes a time, or else the same without it.
    fn the_phrase(&self, at: usize, lead: Word) -> Option<Phrase> {
        let next = at + 1;
        match self.word(next) {
            Word::Unit(_) => self.weekend_said(next, lead).or_else(|| self.unit_phrase(next, true)),
            Word::Last | Word::Next | Word::Past | Word::Previous | Word::Following | Word::Coming => {
                self.nth_of(next).or_else(|| self.modified(next, true))
            }
            Word::Another if self.word(next + 1) == Word::Unit(Unit::Day) => {
                let today = self.anchor.date();
                let stretch = Stretch::days(calendar::shift_days(today, -7)?, today, Precision::Day);
                Some(Phrase::relative(stretch, next + 2))
            }
            Word::Season(_) => self.season_said(next, lead),
            Word::Weekday(_) => self.weekday_phrase(next, lead),
            Word::The | Word::In | Word::Within | Word::Month(_) | Word::MonthShort(_) => None,
            Word::Today | Word::Yesterday | Word::Tomorrow => None,
            _ => match self.kind(next)? {
                Kind::Number { .. } | Kind::Mark(b'\'') => {
                    self.decade(next, Word::The).or_else(|| self.number_phrase(next, lead))
                }
                _ => self.day_of_month(next, lead).or_else(|| self.day_phrase(next, Word::The)),
            },
        }
    }
}
