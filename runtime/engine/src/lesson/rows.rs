//! Rows of a lesson: memories, questions about them, and the answers that are to be learnt.
//!
//! A row holds several questions for the price of one reading. None sees the others, and each stands right behind the
//! memories, so for the model each is the only one. In some rows each memory sees itself alone: that is how segments look that
//! were made apart and joined, and a model that has seen it reads them without mending.

use crate::dice::Dice;
use crate::error::Result;
use crate::tokenizer::Tokenizer;

use super::grammar::{Fact, RELATIONS, Value, random_subject};
use super::vocabulary::{Control, tokenizer};
use super::words::WordPool;

/// What a row is to hold.
#[derive(Debug, Clone)]
pub struct RowShape {
    /// How many facts are told.
    pub facts: usize,
    /// How many questions are asked.
    pub questions: usize,
    /// The share of questions that no fact answers.
    pub not_known: f64,
    /// Whether each memory sees itself alone.
    pub is_apart: bool,
    /// Which words it may use.
    pub pool: WordPool,
}

/// Tokens with what each may see and what is to follow it.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// Where each stands.
    pub positions: Vec<u32>,
    /// What each belongs to: a memory (0 and up) or a question (below 0).
    pub groups: Vec<i32>,
    /// After which places which token is to follow.
    pub targets: Vec<(usize, u32)>,
    /// The answers, in their order.
    pub answers: Vec<AnswerTargets>,
}

/// An answer of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerTargets {
    /// How many targets it has.
    pub count: usize,
    /// As [`Asked::is_kept`].
    pub is_kept: bool,
}

/// A question with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The question.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// Whether an adapter must leave the answer as the model gives it without one.
    pub is_kept: bool,
}

impl Row {
    /// Returns whether the token at a place may see that at another.
    pub fn sees(&self, place: usize, other: usize) -> bool {
        match (self.groups.get(place), self.groups.get(other)) {
            (Some(own), Some(group)) => other <= place && (own == group || (*own < 0 && *group >= 0)),
            // Padding sees itself, so that it sees something.
            _ => place == other,
        }
    }

    fn push(&mut self, token: u32, position: usize, group: i32) {
        self.tokens.push(token);
        self.positions.push(u32::try_from(position).unwrap_or(u32::MAX));
        self.groups.push(group);
    }
}

/// How a model wants its text laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What stands before all.
    pub begin: Vec<u32>,
    /// What stands before each memory.
    pub memory: Vec<u32>,
    /// What stands behind each memory.
    pub memory_end: Vec<u32>,
    /// What stands before a question.
    pub question: Vec<u32>,
    /// What stands between a question and its answer.
    pub answer: Vec<u32>,
    /// What ends an answer.
    pub end: u32,
}

impl Layout {
    /// Returns the layout of the small model.
    pub fn small() -> Self {
        let [memory, question, answer] = [Control::Memory, Control::Question, Control::Answer].map(|c| vec![c.token()]);
        Self { begin: Vec::new(), memory, memory_end: Vec::new(), question, answer, end: Control::End.token() }
    }

    /// Returns all of its tokens.
    pub fn tokens(&self) -> impl Iterator<Item = u32> {
        let parts = [&self.begin, &self.memory, &self.memory_end, &self.question, &self.answer];
        parts.into_iter().flatten().copied().chain([self.end])
    }
}

/// Makes rows without end.
pub struct Rows {
    tokenizer: Tokenizer,
    layout: Layout,
}

impl Rows {
    /// Makes rows for a model's tokenizer and layout.
    pub fn new(tokenizer: Tokenizer, layout: Layout) -> Self {
        Self { tokenizer, layout }
    }

    /// Makes rows for the small model.
    ///
    /// # Errors
    /// `Invalid` when its tokenizer cannot be made.
    pub fn small() -> Result<Self> {
        Ok(Self::new(tokenizer()?, Layout::small()))
    }

    /// Returns how many tokens there are.
    pub fn vocabulary(&self) -> usize {
        self.tokenizer.vocabulary_size()
    }

    /// Makes a row of facts by chance.
    ///
    /// # Errors
    /// `Invalid` when a text cannot be cut into tokens.
    pub fn recall(&self, dice: &mut Dice, shape: &RowShape) -> Result<Row> {
        let facts = random_facts(dice, shape.pool, shape.facts);
        let mut asked = Vec::with_capacity(shape.questions);
        let mut order: Vec<&Fact> = facts.iter().collect();
        dice.shuffle(&mut order);
        let mut known = order.into_iter().cycle();
        for _ in 0..shape.questions {
            let (questions, answer) = if dice.happens(shape.not_known) || facts.is_empty() {
                let asked = unanswerable(dice, shape.pool, &facts);
                (asked.questions(), asked.not_known())
            } else {
                let Some(fact) = known.next() else { break };
                (fact.questions(), fact.sentence())
            };
            let question = dice.pick(&questions).cloned().unwrap_or_default();
            asked.push(Asked { question, answer, is_kept: false });
        }
        self.row(&memories(dice, &facts), &asked, shape.is_apart)
    }

    /// Makes a row of memories, and questions with their answers.
    ///
    /// # Errors
    /// `Invalid` when a text cannot be cut into tokens.
    pub fn row(&self, memories: &[String], asked: &[Asked], is_apart: bool) -> Result<Row> {
        let mut row = Row::default();
        for token in &self.layout.begin {
            row.push(*token, row.tokens.len(), 0);
        }
        for (number, memory) in memories.iter().enumerate() {
            let group = if is_apart { i32::try_from(number).unwrap_or(i32::MAX) } else { 0 };
            let memory = self.tokenizer.encode_data(memory)?;
            for token in self.layout.memory.iter().chain(&memory).chain(&self.layout.memory_end) {
                row.push(*token, row.tokens.len(), group);
            }
        }
        let told = row.tokens.len();
        for (number, Asked { question, answer, is_kept }) in asked.iter().enumerate() {
            let group = -1 - i32::try_from(number).unwrap_or(i32::MAX - 1);
            let begin = row.tokens.len();
            let question = self.tokenizer.encode_data(question)?;
            for token in self.layout.question.iter().chain(&question).chain(&self.layout.answer) {
                row.push(*token, told + row.tokens.len() - begin, group);
            }
            let answer = self.tokenizer.encode_data(answer)?;
            row.answers.push(AnswerTargets { count: answer.len() + 1, is_kept: *is_kept });
            for token in answer {
                row.targets.push((row.tokens.len() - 1, token));
                row.push(token, told + row.tokens.len() - begin, group);
            }
            // The end itself is followed by nothing, so it need not be read.
            row.targets.push((row.tokens.len() - 1, self.layout.end));
        }
        Ok(row)
    }

    /// Makes a row that says a list of tokens twice, with up to `jitter` others before each saying: what follows is learnt in
    /// the second. This is where reading begins: without it, recall is not learnt at all.
    pub fn copy(&self, dice: &mut Dice, length: usize, alphabet: usize, jitter: usize) -> Row {
        let first = Control::ALL.len() + 256;
        let pieces = self.vocabulary().saturating_sub(first).max(1);
        // The pieces of a small alphabet lie far apart, so that all kinds are among them.
        let stride = (pieces / alphabet.max(1)).max(1);
        let mut some = |count: usize| -> Vec<u32> {
            let piece =
                |_| u32::try_from(first + dice.below(alphabet.min(pieces)) * stride % pieces).unwrap_or(u32::MAX);
            (0..count).map(piece).collect()
        };
        let (said, before, between) = (some(length), some(jitter), some(jitter));
        let mut row = Row::default();
        let (skipped, gap) = (dice.below(jitter + 1), dice.below(jitter + 1));
        for token in before.iter().skip(skipped).chain(&said).chain(between.iter().skip(gap)).chain(&said) {
            // All of it is asked: nothing is told before.
            row.push(*token, row.tokens.len(), -1);
        }
        let again = row.tokens.len() - length;
        for (step, next) in said.iter().enumerate().skip(1) {
            row.targets.push((again + step - 1, *next));
            row.answers.push(AnswerTargets { count: 1, is_kept: false });
        }
        row
    }
}

/// So often in a row a fact is drawn of which all is said before another subject comes.
const MOST_IN_VAIN: usize = 1000;

/// Makes facts of which no two say different things of the same.
///
/// In some rows many subjects share few relations, in others few subjects have many: so neither alone tells which fact is
/// asked for, and both must be read.
pub fn random_facts(dice: &mut Dice, pool: WordPool, count: usize) -> Vec<Fact> {
    let of_people = RELATIONS.iter().filter(|relation| !relation.is_of_thing).count();
    let mut relations: Vec<usize> = (0..RELATIONS.len()).collect();
    let few = count.div_ceil(4).max(1);
    let subjects = match dice.below(4) {
        0 => few,
        1 => dice.between(few, count.max(1)),
        _ => {
            // One kind of subject, so that all of them share what is said.
            let is_thing = dice.happens(0.3);
            relations.retain(|relation| (*relation >= of_people) == is_thing);
            dice.shuffle(&mut relations);
            relations.truncate(dice.between(1, 3));
            count.max(1)
        }
    };
    let mut subjects: Vec<(String, bool)> = (0..subjects)
        .map(|_| {
            let is_thing = match relations.as_slice() {
                some if some.len() == RELATIONS.len() => dice.happens(0.25),
                some => some.iter().all(|relation| *relation >= of_people),
            };
            (random_subject(dice, pool, is_thing), is_thing)
        })
        .collect();
    let mut facts: Vec<Fact> = Vec::with_capacity(count);
    let mut in_vain = 0;
    while facts.len() < count {
        let (Some((subject, is_thing)), Some(relation)) = (dice.pick(&subjects), dice.pick(&relations)) else { break };
        let Some(known) = RELATIONS.get(*relation) else { break };
        if known.is_of_thing != *is_thing
            || facts.iter().any(|fact| fact.subject == *subject && fact.relation == *relation)
        {
            in_vain += 1;
            if in_vain > MOST_IN_VAIN {
                // Two subjects were given one name, and all is said of them.
                let another = (random_subject(dice, pool, known.is_of_thing), known.is_of_thing);
                subjects.push(another);
                in_vain = 0;
            }
            continue;
        }
        in_vain = 0;
        let mut fact = Fact::random(dice, pool, subject, *relation);
        // People are spoken of as values too.
        if known.value == Value::Name
            && dice.happens(0.15)
            && let Some((other, false)) = dice.pick(&subjects).filter(|(other, _)| other != subject)
        {
            fact.value.clone_from(other);
        }
        facts.push(fact);
    }
    facts
}

/// Makes a fact that is not among the facts, nor against one of them: another thing of a known subject, or a known thing of
/// another subject.
pub(super) fn unanswerable(dice: &mut Dice, pool: WordPool, facts: &[Fact]) -> Fact {
    let is_of_thing = |relation: usize| RELATIONS.get(relation).is_some_and(|relation| relation.is_of_thing);
    for _ in 0..8 {
        let Some(fact) = dice.pick(facts) else { break };
        let is_thing = is_of_thing(fact.relation);
        if dice.happens(0.5) {
            let subject = random_subject(dice, pool, is_thing);
            return Fact::random(dice, pool, &subject, fact.relation);
        }
        let relation = dice.below(RELATIONS.len());
        let is_told = facts.iter().any(|other| other.subject == fact.subject && other.relation == relation);
        if is_of_thing(relation) == is_thing && !is_told {
            return Fact::random(dice, pool, &fact.subject, relation);
        }
    }
    let relation = dice.below(RELATIONS.len());
    let subject = random_subject(dice, pool, is_of_thing(relation));
    Fact::random(dice, pool, &subject, relation)
}

/// Puts facts into memories: all in one, each in its own, or as it falls.
pub(super) fn memories(dice: &mut Dice, facts: &[Fact]) -> Vec<String> {
    let breaks = match dice.below(5) {
        0 => 0.0,
        1 => 1.0,
        _ => dice.unit(),
    };
    let mut memories: Vec<String> = Vec::new();
    for fact in facts {
        match memories.last_mut() {
            Some(memory) if !dice.happens(breaks) => {
                memory.push(' ');
                memory.push_str(&fact.sentence());
            }
            _ => memories.push(fact.sentence()),
        }
    }
    memories
}
