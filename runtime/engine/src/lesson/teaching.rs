//! Lessons that put facts into an adapter, and keep the rest of the model as it was.
//!
//! A plain adapter learns its facts in seconds and forgets how to read. So each row mixes what is to be learnt with what must
//! stay: the taught facts are asked for with nothing told and with other memories told; a memory that says otherwise wins, told
//! facts are still read, and what nobody told is still not known. What must stay is marked, so that it is held to what the
//! model itself would say there, mistakes and all, and not to what would be right.

use crate::dice::Dice;
use crate::error::{Error, Result};

use super::grammar::{Fact, RELATIONS};
use super::rows::{Asked, Row, Rows, memories, random_facts, unanswerable};
use super::words::WordPool;

/// The most facts of one adapter.
pub const MAX_TAUGHT_FACTS: usize = 4096;

/// Facts that are to be learnt.
pub struct Teaching<'r> {
    rows: &'r Rows,
    facts: Vec<Fact>,
}

/// A question of an examination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// What is told before.
    pub memories: Vec<String>,
    /// What is asked.
    pub question: String,
    /// What is right.
    pub answer: String,
}

/// What a question of an examination is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    /// A taught fact, with nothing told.
    Closed,
    /// A taught fact, with other memories told.
    BesideOthers,
    /// A fact that is told and was not taught.
    Told,
    /// A taught fact of which a told memory says otherwise.
    Corrected,
    /// What was neither taught nor told.
    NotKnown,
}

impl Probe {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Closed, Self::BesideOthers, Self::Told, Self::Corrected, Self::NotKnown];
}

impl<'r> Teaching<'r> {
    /// Takes facts that do not contradict each other.
    ///
    /// # Errors
    /// `Invalid` with none, with more than [`MAX_TAUGHT_FACTS`], and where two say different things of the same.
    pub fn new(rows: &'r Rows, facts: Vec<Fact>) -> Result<Self> {
        if facts.is_empty() || facts.len() > MAX_TAUGHT_FACTS {
            return Err(Error::invalid(format!(
                "{} facts cannot be taught to one adapter, give it 1 to {MAX_TAUGHT_FACTS}",
                facts.len()
            )));
        }
        let mut sorted: Vec<&Fact> = facts.iter().collect();
        sorted.sort_by_key(|fact| (&fact.subject, fact.relation));
        for pair in sorted.windows(2) {
            if let [one, other] = pair
                && is_about_same(one, other)
                && one.value != other.value
            {
                return Err(Error::invalid(format!(
                    "`{}` and `{}` say different things, teach one of them",
                    one.sentence(),
                    other.sentence()
                )));
            }
        }
        Ok(Self { rows, facts })
    }

    /// Returns what is taught.
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// Makes a row for teaching.
    ///
    /// # Errors
    /// `Invalid` when a text cannot be cut into tokens.
    pub fn row(&self, dice: &mut Dice) -> Result<Row> {
        let mut asked = Vec::new();
        if dice.happens(0.15) {
            for _ in 0..8 {
                self.ask(dice, Probe::Closed, &[], &mut asked);
            }
            self.ask(dice, Probe::NotKnown, &[], &mut asked);
            return self.rows.row(&[], &asked, false);
        }
        let told = self.others(dice);
        let corrected = dice.between(0, 1);
        let (told, corrected) = self.correct(dice, told, corrected);
        for _ in 0..2 {
            self.ask(dice, Probe::BesideOthers, &told, &mut asked);
        }
        // To read is what is forgotten first: it is asked for most.
        for _ in 0..5 {
            self.ask(dice, Probe::Told, &told, &mut asked);
        }
        asked.extend(corrected.iter().map(|fact| kept(dice, fact, fact.sentence())));
        for _ in 0..3 {
            self.ask(dice, Probe::NotKnown, &told, &mut asked);
        }
        let memories = memories(dice, &told);
        self.rows.row(&memories, &asked, dice.happens(0.5))
    }

    /// Makes questions for an examination, in words by chance: no lesson tells the same.
    pub fn examination(&self, dice: &mut Dice, probe: Probe, questions: usize) -> Vec<Examination> {
        let mut examination = Vec::with_capacity(questions);
        let mut taught = self.facts.iter().cycle();
        for _ in 0..questions {
            let mut told = if probe == Probe::Closed { Vec::new() } else { self.others(dice) };
            let mut asked = Vec::new();
            match probe {
                Probe::Closed | Probe::BesideOthers => {
                    asked.extend(taught.next().map(|fact| learnt(dice, fact, fact.sentence())));
                }
                Probe::Corrected => {
                    let corrected;
                    (told, corrected) = self.correct(dice, told, 1);
                    asked.extend(corrected.iter().map(|fact| kept(dice, fact, fact.sentence())));
                }
                Probe::Told | Probe::NotKnown => self.ask(dice, probe, &told, &mut asked),
            }
            let memories = memories(dice, &told);
            let asked = asked.into_iter();
            examination.extend(asked.map(|Asked { question, answer, .. }| Examination {
                memories: memories.clone(),
                question,
                answer,
            }));
        }
        examination
    }

    /// Makes facts that say nothing of what is taught.
    fn others(&self, dice: &mut Dice) -> Vec<Fact> {
        let count = dice.between(2, 16);
        let mut told = random_facts(dice, WordPool::Taught, count);
        told.retain(|other| !self.facts.iter().any(|fact| is_about_same(fact, other)));
        told
    }

    /// Adds facts that say otherwise than what is taught, and returns them too.
    fn correct(&self, dice: &mut Dice, mut told: Vec<Fact>, count: usize) -> (Vec<Fact>, Vec<Fact>) {
        let mut corrected: Vec<Fact> = Vec::new();
        for _ in 0..count {
            let Some(fact) = dice.pick(&self.facts) else { break };
            if !corrected.iter().any(|other| is_about_same(fact, other)) {
                corrected.push(Fact::random(dice, WordPool::Taught, &fact.subject, fact.relation));
            }
        }
        for fact in &corrected {
            told.insert(dice.below(told.len() + 1), fact.clone());
        }
        (told, corrected)
    }

    fn ask(&self, dice: &mut Dice, probe: Probe, told: &[Fact], asked: &mut Vec<Asked>) {
        match probe {
            Probe::Closed | Probe::BesideOthers => {
                let open: Vec<&Fact> =
                    self.facts.iter().filter(|fact| !told.iter().any(|other| is_about_same(fact, other))).collect();
                if let Some(fact) = dice.pick(&open) {
                    asked.push(learnt(dice, fact, fact.sentence()));
                }
            }
            Probe::Told | Probe::Corrected => {
                if let Some(fact) = dice.pick(told) {
                    asked.push(kept(dice, fact, fact.sentence()));
                }
            }
            Probe::NotKnown => {
                // Half of them near to what is taught: another thing of a taught subject.
                let near: Vec<Fact> = self.facts.iter().chain(told).cloned().collect();
                let unknown = unanswerable(dice, WordPool::Taught, &near);
                if RELATIONS.get(unknown.relation).is_some() {
                    asked.push(kept(dice, &unknown, unknown.not_known()));
                }
            }
        }
    }
}

fn is_about_same(one: &Fact, other: &Fact) -> bool {
    one.subject == other.subject && one.relation == other.relation
}

/// Asks for what is to be learnt, in one of the ways that there are.
fn learnt(dice: &mut Dice, fact: &Fact, answer: String) -> Asked {
    Asked { question: dice.pick(&fact.questions()).cloned().unwrap_or_default(), answer, is_kept: false }
}

/// Asks for what must stay.
fn kept(dice: &mut Dice, fact: &Fact, answer: String) -> Asked {
    Asked { is_kept: true, ..learnt(dice, fact, answer) }
}
