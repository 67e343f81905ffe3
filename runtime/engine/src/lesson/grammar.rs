//! The English of the lessons: what can be said of a person or a thing, and how it is asked for.
//!
//! A sentence is a subject, what is said of it, and a value: "Mira", "lives in", "Oslo". The answer to its question is the
//! sentence again: having said "Mira lives in", the model finds how that went on in what it was told. [`Fact::read`] takes such a sentence apart again, so that a memory's own text can be turned into questions.

use crate::dice::Dice;

use super::vocabulary::capital;
use super::words::{WordPool, random_word};

/// How the model goes on when nothing that it was told answers the question: "Mira lives in... I do not know."
pub const NOT_KNOWN: &str = "... I do not know.";

/// Something that can be said.
#[derive(Debug)]
pub struct Relation {
    /// What stands between subject and value.
    pub says: &'static str,
    /// Questions for the value; `{}` is where the subject stands.
    pub asks: &'static [&'static str],
    /// What the value is.
    pub value: Value,
    /// Whether it is said of things; else it is said of people.
    pub is_of_thing: bool,
}

/// What kind of words a value is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// A name: "Oslo".
    Name,
    /// A common word: "green".
    Word,
    /// A common word with its article: "a kayak".
    Counted,
    /// A common word with a definite article: "the oboe".
    Definite,
    /// A number under 100.
    Number,
    /// A year.
    Year,
}

const fn of_person(says: &'static str, value: Value, asks: &'static [&'static str]) -> Relation {
    Relation { says, asks, value, is_of_thing: false }
}

const fn of_thing(says: &'static str, value: Value, asks: &'static [&'static str]) -> Relation {
    Relation { says, asks, value, is_of_thing: true }
}

/// All that can be said.
pub const RELATIONS: [Relation; 24] = [
    of_person("lives in", Value::Name, &["Where does {} live?", "In which town does {} live?"]),
    of_person("was born in", Value::Name, &["Where was {} born?"]),
    of_person("works for", Value::Name, &["Who does {} work for?"]),
    of_person("works as", Value::Counted, &["What does {} work as?", "What is the job of {}?"]),
    of_person("is married to", Value::Name, &["Who is {} married to?"]),
    of_person("is a friend of", Value::Name, &["Who is {} a friend of?"]),
    of_person("speaks", Value::Name, &["Which language does {} speak?", "What does {} speak?"]),
    of_person("owns", Value::Counted, &["What does {} own?"]),
    of_person("wants", Value::Counted, &["What does {} want?"]),
    of_person("drives", Value::Counted, &["What does {} drive?"]),
    of_person("likes", Value::Word, &["What does {} like?"]),
    of_person("fears", Value::Word, &["What does {} fear?"]),
    of_person("studies", Value::Word, &["What does {} study?"]),
    of_person("drinks", Value::Word, &["What does {} drink?"]),
    of_person("is allergic to", Value::Word, &["What is {} allergic to?"]),
    of_person("plays", Value::Definite, &["What does {} play?"]),
    of_person("is aged", Value::Number, &["How old is {}?", "What is the age of {}?"]),
    of_thing("is coloured", Value::Word, &["What colour is {}?"]),
    of_thing("is made of", Value::Word, &["What is {} made of?"]),
    of_thing("belongs to", Value::Name, &["Who does {} belong to?"]),
    of_thing("stands in", Value::Definite, &["Where does {} stand?", "Where is {}?"]),
    of_thing("comes from", Value::Name, &["Where does {} come from?"]),
    of_thing("weighs", Value::Number, &["What does {} weigh?"]),
    of_thing("was made in", Value::Year, &["When was {} made?"]),
];

/// One thing that is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Of whom or what, as it begins a sentence: "Mira", "The kayak".
    pub subject: String,
    /// Which of [`RELATIONS`].
    pub relation: usize,
    /// What is so: "Oslo".
    pub value: String,
}

impl Fact {
    /// Makes a fact of a relation about a subject, with a value of chance.
    pub fn random(dice: &mut Dice, pool: WordPool, subject: &str, relation: usize) -> Self {
        let value = RELATIONS.get(relation).map_or(Value::Word, |relation| relation.value);
        Self { subject: subject.to_owned(), relation, value: random_value(dice, pool, value) }
    }

    /// Returns the sentence that says it, with its full stop.
    pub fn sentence(&self) -> String {
        let says = RELATIONS.get(self.relation).map_or("is", |relation| relation.says);
        format!("{} {says} {}.", self.subject, self.value)
    }

    /// Returns the questions for its value, the usual one first.
    pub fn questions(&self) -> Vec<String> {
        // "The kayak" is "the kayak" inside a question.
        let thing = self.subject.strip_prefix("The ");
        let inside = thing.map_or_else(|| self.subject.clone(), |thing| format!("the {thing}"));
        let asks = RELATIONS.get(self.relation).map_or(&[][..], |relation| relation.asks);
        asks.iter().map(|question| question.replace("{}", &inside)).collect()
    }

    /// Returns the answer to its questions where nothing tells the value.
    pub fn not_known(&self) -> String {
        let says = RELATIONS.get(self.relation).map_or("is", |relation| relation.says);
        format!("{} {says}{NOT_KNOWN}", self.subject)
    }

    /// Takes a sentence apart. Nothing where the grammar does not have it.
    pub fn read(sentence: &str) -> Option<Self> {
        let sentence = sentence.trim().trim_end_matches('.');
        // The longest saying first: "is a friend of" before what else begins with "is".
        let mut found: Option<(usize, usize)> = None;
        for (relation, known) in RELATIONS.iter().enumerate() {
            let Some(at) = sentence.find(&format!(" {} ", known.says)) else { continue };
            if found.is_none_or(|(best, start)| at < start || (at == start && known.says.len() > says_length(best))) {
                found = Some((relation, at));
            }
        }
        let (relation, at) = found?;
        let (subject, rest) = sentence.split_at_checked(at)?;
        let value = rest.get(says_length(relation) + 2..)?.trim();
        let is_named =
            |text: &str| !text.is_empty() && text.split(' ').count() <= 4 && !text.contains(['.', '?', '!', '\n']);
        let fact = Self { subject: subject.trim().to_owned(), relation, value: value.to_owned() };
        (is_named(&fact.subject) && is_named(value)).then_some(fact)
    }
}

fn says_length(relation: usize) -> usize {
    RELATIONS.get(relation).map_or(0, |relation| relation.says.len())
}

/// Makes a subject that a relation can be said of.
pub(super) fn random_subject(dice: &mut Dice, pool: WordPool, is_thing: bool) -> String {
    if is_thing { format!("The {}", random_word(dice, pool)) } else { random_name(dice, pool) }
}

fn random_name(dice: &mut Dice, pool: WordPool) -> String {
    let first = capital(&random_word(dice, pool));
    if dice.happens(0.1) { format!("{first} {}", capital(&random_word(dice, pool))) } else { first }
}

fn random_value(dice: &mut Dice, pool: WordPool, value: Value) -> String {
    match value {
        Value::Name => random_name(dice, pool),
        Value::Word if dice.happens(0.1) => format!("{} {}", random_word(dice, pool), random_word(dice, pool)),
        Value::Word => random_word(dice, pool),
        Value::Counted => {
            let word = random_word(dice, pool);
            let article = if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
            format!("{article} {word}")
        }
        Value::Definite => format!("the {}", random_word(dice, pool)),
        Value::Number => dice.between(2, 99).to_string(),
        Value::Year => dice.between(1200, 2099).to_string(),
    }
}
