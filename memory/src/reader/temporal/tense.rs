//! Guesses from the words around a time whether it lies behind, ahead, or comes again and again.
//!
//! Only the nearest cue of the same sentence counts, and only a few words are looked at, so the cost for a mention is
//! bounded whatever the length of its sentence.

use super::phrase::Reading;
use super::token::Kind;
use super::vocabulary::Word;

/// Where a time lies, by the words around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tense {
    Past,
    Future,
    Habit,
    Unknown,
}

/// How many tokens on each side may hold a cue.
pub(super) const TOKENS_LOOKED_AT: usize = 16;

impl Reading<'_> {
    /// Returns the tense of the nearest cue around the tokens from `start` to `next`.
    pub(super) fn tense(&self, start: usize, next: usize) -> Tense {
        let (mut left, mut right) = (start.checked_sub(1), Some(next));
        for _ in 0..TOKENS_LOOKED_AT {
            for side in [&mut left, &mut right] {
                let Some(at) = *side else { continue };
                if at >= self.len() || self.ends_sentence(at) {
                    *side = None;
                    continue;
                }
                if let Some(tense) = self.cue(at) {
                    return tense;
                }
            }
            left = left.and_then(|at| at.checked_sub(1));
            right = right.map(|at| at + 1);
        }
        Tense::Unknown
    }

    /// Returns whether a habit is told within a few words before `at`, as in `every day at 5 pm`.
    pub(super) fn is_habit(&self, at: usize) -> bool {
        (1..=TOKENS_LOOKED_AT)
            .map_while(|back| at.checked_sub(back).filter(|&at| !self.ends_sentence(at)))
            .any(|at| self.cue(at) == Some(Tense::Habit))
    }

    /// Returns whether the token ends a sentence; the dot of an abbreviation such as `Dec.` does not.
    pub(super) fn ends_sentence(&self, at: usize) -> bool {
        match self.mark(at) {
            b'!' | b'?' | b'\n' | b';' => true,
            b'.' => !matches!(
                self.word_before(at),
                Word::MonthShort(_) | Word::WeekdayShort(_) | Word::LetterM | Word::LetterP
            ),
            _ => false,
        }
    }

    fn cue(&self, at: usize) -> Option<Tense> {
        match self.word(at) {
            // `Will said` in the middle of a sentence is a name.
            Word::Ahead if !self.is_capital(at) || at == 0 || self.ends_sentence(at - 1) => Some(Tense::Future),
            // `won't` is cut into `won` and its ending.
            Word::Behind if self.written(at).eq_ignore_ascii_case("won") && self.is_glued(at + 1) => {
                Some(Tense::Future)
            }
            Word::Behind => Some(Tense::Past),
            Word::Should if self.word(at + 1) == Word::Have => Some(Tense::Past),
            Word::Should => Some(Tense::Future),
            Word::Going if self.word(at + 1) == Word::To => Some(Tense::Future),
            Word::Be | Word::Am | Word::Possessive => {
                let acts = self.word(at + 1) == Word::Going || self.is_action(at + 1);
                acts.then_some(Tense::Future)
            }
            Word::Have => self.is_past_form(at + 1).then_some(Tense::Past),
            Word::Habit | Word::Every | Word::Weekdays | Word::Parts => Some(Tense::Habit),
            Word::Other => self.is_past_form(at).then_some(Tense::Past),
            _ => None,
        }
    }

    /// Returns whether a word after `is` tells of a plan: `meeting`, but not `amazing`.
    fn is_action(&self, at: usize) -> bool {
        let written = self.written(at);
        let is_verb = written.len() > 5 && written.as_bytes().ends_with(b"ing");
        let is_adjective = matches!(
            written,
            "amazing"
                | "exciting"
                | "interesting"
                | "boring"
                | "surprising"
                | "stunning"
                | "nothing"
                | "something"
                | "everything"
                | "anything"
                | "inspiring"
                | "relaxing"
                | "fascinating"
                | "challenging"
                | "loving"
        );
        self.is_other(at) && is_verb && !is_adjective
    }

    /// Returns whether a word looks like a regular past form: `visited`, but not `need` or `excited`.
    fn is_past_form(&self, at: usize) -> bool {
        let written = self.written(at);
        let is_adjective = matches!(
            written,
            "need"
                | "indeed"
                | "speed"
                | "exceed"
                | "proceed"
                | "succeed"
                | "hundred"
                | "sacred"
                | "united"
                | "excited"
                | "interested"
                | "planned"
                | "supposed"
                | "tired"
                | "married"
                | "breed"
                | "agreed"
                | "naked"
                | "wicked"
        );
        self.is_other(at) && written.len() > 3 && written.as_bytes().ends_with(b"ed") && !is_adjective
    }

    fn is_other(&self, at: usize) -> bool {
        matches!(self.kind(at), Some(Kind::Word(Word::Other)))
    }
}
