//! Rows of a lesson: memories, questions about them, and the answers that are to be learnt.
//!
//! A row holds several questions for the price of one reading. None sees the others, and each stands right behind the
//! memories, so for the model each is the only one. In some rows each memory sees itself alone: that is how segments look that
//! were made apart and joined, and a model that has seen it reads them without mending.

use tokenizers::Tokenizer;

use crate::dice::Dice;
use crate::error::{Error, Result};

use super::grammar::{Fact, NOT_KNOWN, RELATIONS, questions, random_subject};
use super::vocabulary::{Control, tokenizer_json};
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
    /// How many targets each answer has, in their order.
    pub answers: Vec<usize>,
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

/// Makes rows without end.
pub struct Rows {
    tokenizer: Tokenizer,
}

impl Rows {
    /// Makes rows with the small model's own tokenizer.
    ///
    /// # Errors
    /// `Invalid` when the tokenizer cannot be made.
    pub fn new() -> Result<Self> {
        let tokenizer = tokenizer_json().to_string().parse();
        let tokenizer = tokenizer.map_err(|e| Error::invalid(format!("the lesson's tokenizer cannot be made: {e}")))?;
        Ok(Self { tokenizer })
    }

    /// Returns how many tokens there are.
    pub fn vocabulary(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// Returns the tokens of a text, without control tokens.
    ///
    /// # Errors
    /// `Invalid` when the text cannot be cut.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode(text, false);
        let encoding = encoding.map_err(|e| Error::invalid(format!("the text cannot be cut into tokens: {e}")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Makes a row of facts by chance.
    ///
    /// # Errors
    /// `Invalid` when a text cannot be cut into tokens.
    pub fn recall(&self, dice: &mut Dice, shape: &RowShape) -> Result<Row> {
        let facts = random_facts(dice, shape.pool, shape.facts);
        let mut asked: Vec<(String, String)> = Vec::with_capacity(shape.questions);
        let mut order: Vec<&Fact> = facts.iter().collect();
        dice.shuffle(&mut order);
        let mut known = order.into_iter().cycle();
        for _ in 0..shape.questions {
            let (questions, answer) = if dice.happens(shape.not_known) || facts.is_empty() {
                (unanswerable(dice, shape.pool, &facts), NOT_KNOWN.to_owned())
            } else {
                let Some(fact) = known.next() else { break };
                (fact.questions(), fact.value.clone())
            };
            let question = dice.pick(&questions).cloned().unwrap_or_default();
            asked.push((question, answer));
        }
        self.row(&memories(dice, &facts), &asked, shape.is_apart)
    }

    /// Makes a row of memories, and questions with their answers.
    ///
    /// # Errors
    /// `Invalid` when a text cannot be cut into tokens.
    pub fn row(&self, memories: &[String], asked: &[(String, String)], is_apart: bool) -> Result<Row> {
        let mut row = Row::default();
        for (number, memory) in memories.iter().enumerate() {
            let group = if is_apart { i32::try_from(number).unwrap_or(i32::MAX) } else { 0 };
            row.push(Control::Memory.token(), row.tokens.len(), group);
            for token in self.encode(memory)? {
                row.push(token, row.tokens.len(), group);
            }
        }
        let told = row.tokens.len();
        for (number, (question, answer)) in asked.iter().enumerate() {
            let group = -1 - i32::try_from(number).unwrap_or(i32::MAX - 1);
            let begin = row.tokens.len();
            row.push(Control::Question.token(), told, group);
            for token in self.encode(question)? {
                row.push(token, told + row.tokens.len() - begin, group);
            }
            row.push(Control::Answer.token(), told + row.tokens.len() - begin, group);
            let mut answer = self.encode(answer)?;
            answer.push(Control::End.token());
            row.answers.push(answer.len());
            for token in answer {
                row.targets.push((row.tokens.len() - 1, token));
                // The end itself is followed by nothing, so it need not be read.
                if token != Control::End.token() {
                    row.push(token, told + row.tokens.len() - begin, group);
                }
            }
        }
        Ok(row)
    }

    /// Makes a row that says a list of tokens twice: what follows is learnt in the second saying. This is where reading begins:
    /// without it, recall is not learnt at all.
    pub fn copy(&self, dice: &mut Dice, length: usize, alphabet: usize, is_fixed: bool) -> Row {
        let first = Control::ALL.len() + 256;
        let pieces = self.vocabulary().saturating_sub(first).max(1);
        // The pieces of a small alphabet lie far apart, so that all kinds are among them.
        let stride = (pieces / alphabet.max(1)).max(1);
        let mut piece =
            || u32::try_from(first + dice.below(alphabet.min(pieces)) * stride % pieces).unwrap_or(u32::MAX);
        let mut once: Vec<u32> = (0..length).map(|_| piece()).collect();
        let between: Vec<u32> = (0..length / 2).map(|_| piece()).collect();
        let gap = if is_fixed { 0 } else { dice.below(length / 2 + 1) };
        let from = if is_fixed { 0 } else { dice.below(length / 2) };
        let again: Vec<u32> = once.iter().skip(from).copied().collect();
        once.extend(between.iter().take(gap));
        let begin = once.len();
        once.extend(&again);
        let mut row = Row::default();
        for (place, token) in once.iter().enumerate() {
            row.push(*token, place, 0);
        }
        for (step, next) in again.iter().enumerate().skip(1) {
            row.targets.push((begin + step - 1, *next));
            row.answers.push(1);
        }
        row
    }
}

/// Makes facts of which no two say different things of the same.
fn random_facts(dice: &mut Dice, pool: WordPool, count: usize) -> Vec<Fact> {
    let subjects = dice.between(count.div_ceil(4).max(1), count.max(1));
    let subjects: Vec<(String, bool)> = (0..subjects)
        .map(|_| {
            let is_thing = dice.happens(0.25);
            (random_subject(dice, pool, is_thing), is_thing)
        })
        .collect();
    let mut facts: Vec<Fact> = Vec::with_capacity(count);
    while facts.len() < count {
        let Some((subject, is_thing)) = dice.pick(&subjects) else { break };
        let relation = dice.below(RELATIONS.len());
        let fits = RELATIONS.get(relation).is_some_and(|relation| relation.is_of_thing == *is_thing);
        if !fits || facts.iter().any(|fact| fact.subject == *subject && fact.relation == relation) {
            continue;
        }
        let mut fact = Fact::random(dice, pool, subject, relation);
        // People are spoken of as values too.
        if RELATIONS.get(relation).is_some_and(|r| r.value == super::grammar::Value::Name) && dice.happens(0.15) {
            if let Some((other, false)) = dice.pick(&subjects).filter(|(other, _)| other != subject) {
                fact.value.clone_from(other);
            }
        }
        facts.push(fact);
    }
    facts
}

/// Makes a question that none of the facts answers: another thing of a known subject, or a known thing of another subject.
fn unanswerable(dice: &mut Dice, pool: WordPool, facts: &[Fact]) -> Vec<String> {
    for _ in 0..8 {
        let Some(fact) = dice.pick(facts) else { break };
        let is_thing = RELATIONS.get(fact.relation).is_some_and(|relation| relation.is_of_thing);
        if dice.happens(0.5) {
            return questions(&random_subject(dice, pool, is_thing), fact.relation);
        }
        let relation = dice.below(RELATIONS.len());
        let fits = RELATIONS.get(relation).is_some_and(|relation| relation.is_of_thing == is_thing);
        if fits && !facts.iter().any(|other| other.subject == fact.subject && other.relation == relation) {
            return questions(&fact.subject, relation);
        }
    }
    let relation = dice.below(RELATIONS.len());
    let is_thing = RELATIONS.get(relation).is_some_and(|relation| relation.is_of_thing);
    questions(&random_subject(dice, pool, is_thing), relation)
}

/// Puts facts into memories: all in one, each in its own, or as it falls.
fn memories(dice: &mut Dice, facts: &[Fact]) -> Vec<String> {
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
