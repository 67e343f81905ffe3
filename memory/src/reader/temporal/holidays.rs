//! Holidays and seasons by name.

use super::calendar::{DayPart, Holiday, Season, Stretch, Unit};
use super::phrase::{Phrase, Reading};
use super::shape::Shape;
use super::vocabulary::Word;

impl Reading<'_> {
    /// Reads a holiday; one of a single word needs a preposition or a year, since `Christmas tree` is no time.
    pub(super) fn holiday_phrase(&self, at: usize, lead: Word) -> Option<Phrase> {
        let (holiday, next) = self.holiday(at)?;
        let phrase = self.with_year(Shape::Holiday(holiday), next)?;
        let is_placed = matches!(
            lead,
            Word::On
                | Word::At
                | Word::For
                | Word::Over
                | Word::During
                | Word::Before
                | Word::After
                | Word::Since
                | Word::Until
                | Word::By
                | Word::From
                | Word::Around
                | Word::Between
        );
        let is_compound = next > at + 1;
        (is_placed || is_compound || phrase.next > next).then_some(phrase)
    }

    /// Reads the name of a holiday.
    pub(super) fn holiday(&self, at: usize) -> Option<(Holiday, usize)> {
        let second = at + 1;
        // `Valentine's`, `Mothers'` and `Valentines` are all in use.
        let after_possessive = match (self.word(second), self.mark(second)) {
            (Word::Possessive, _) => second + 1,
            (_, b'\'') if self.is_glued(second) => second + 1,
            _ => second,
        };
        let is_day = self.word(after_possessive) == Word::Unit(Unit::Day);
        let day = |holiday: Holiday| is_day.then_some((holiday, after_possessive + 1));
        let name = |holiday: Holiday| day(holiday).filter(|_| self.is_capital(at));
        let weekday = |offset: i8, holiday: Holiday| {
            let is_name = self.is_capital(at) && self.is_capital(second) && self.word(second) == Word::Weekday(offset);
            is_name.then_some((holiday, second + 1))
        };
        let (holiday, next) = match self.word(at) {
            Word::Holiday(Holiday::Christmas) if self.word(second) == Word::Eve => (Holiday::ChristmasEve, second + 1),
            Word::Holiday(Holiday::Easter) => weekday(6, Holiday::Easter)
                .or_else(|| weekday(0, Holiday::EasterMonday))
                .unwrap_or((Holiday::Easter, second)),
            Word::Holiday(holiday) => day(holiday).unwrap_or((holiday, second)),
            Word::New => self.new_year(at)?,
            Word::Good => weekday(4, Holiday::GoodFriday)?,
            Word::Black => weekday(4, Holiday::BlackFriday)?,
            Word::Cyber => weekday(0, Holiday::CyberMonday)?,
            Word::Valentine => day(Holiday::Valentines)?,
            Word::Patrick => day(Holiday::SaintPatricks)?,
            Word::Fool => day(Holiday::AprilFools)?,
            Word::Independence => name(Holiday::IndependenceDay)?,
            Word::Labor => name(Holiday::LaborDay)?,
            Word::Memorial => name(Holiday::MemorialDay)?,
            Word::Mother => name(Holiday::MothersDay)?,
            Word::Father => name(Holiday::FathersDay)?,
            Word::Boxing => name(Holiday::BoxingDay)?,
            _ => return None,
        };
        (self.word(next) != Word::Festive).then_some((holiday, next))
    }

    /// Reads `New Year's Eve`, `New Year's Day` and `New Year's`.
    fn new_year(&self, at: usize) -> Option<(Holiday, usize)> {
        let is_plural = match self.word(at + 1) {
            Word::Unit(Unit::Year) => false,
            Word::Units(Unit::Year) => true,
            _ => return None,
        };
        let is_possessive = self.word(at + 2) == Word::Possessive;
        let next = self.over_mark(at + 2 + usize::from(is_possessive), b'\'');
        match self.word(next) {
            Word::Eve => Some((Holiday::NewYearsEve, next + 1)),
            Word::Unit(Unit::Day) => Some((Holiday::NewYearsDay, next + 1)),
            _ => (is_possessive && !is_plural && self.is_capital(at)).then_some((Holiday::NewYearsDay, next)),
        }
    }

    /// Reads a season without `the`: `summer 2022`, `in winter`.
    pub(super) fn season_phrase(&self, at: usize, lead: Word) -> Option<Phrase> {
        let Word::Season(season) = self.word(at) else { return None };
        if let Some(said) = self.year_said(at + 1) {
            let stretch = Stretch::season(season, said.year)?;
            return Some(Phrase { relative: said.relative, ..Phrase::absolute(stretch, said.next) });
        }
        let is_placed = matches!(lead, Word::In | Word::During | Word::Since | Word::Until | Word::By | Word::Over);
        let is_whole = !matches!(self.word(at + 1), Word::Of | Word::Part(DayPart::Night));
        // `in fall`, `in spring`: both are other words more often than seasons.
        let is_clear = matches!(season, Season::Summer | Season::Winter) || lead == Word::In;
        (is_placed && is_whole && is_clear).then_some(Phrase::open(Shape::Season(season), at + 1))
    }

    /// Reads a season after `the`: `the summer of 2022`, `in the fall`, but not `the fall of Rome`.
    pub(super) fn season_said(&self, at: usize, lead: Word) -> Option<Phrase> {
        self.season_phrase(at, if lead == Word::The { Word::Absent } else { lead })
    }
}
