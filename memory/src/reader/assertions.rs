//! Plain assertions in a sentence: "I live in Lisbon", "the opening is on 1 September", "my favourite tea is mint".
//!
//! These are rules, not understanding: few sentence shapes that nearly always mean what they seem to mean. What an
//! assertion is about, its attribute, is named so that a later one about the same can be found and held against it. A
//! language model finds more; it plugs in as another [`FactExtractor`].

mod phrase;

use jiff::civil::DateTime;

use self::phrase::{Phrase, clauses, words_of};
use super::sentences::sentences;
use super::temporal::find_times;
use crate::cube::SemanticType;
use crate::error::Result;
use crate::time::{Timestamp, Window};

/// What is known of a text whose assertions are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The text.
    pub text: &'a str,
    /// Who said it.
    pub speaker: &'a str,
    /// When, for words such as "last week".
    pub at: DateTime,
}

/// Something that a text says of somebody or something.
#[derive(Debug, Clone, PartialEq)]
pub struct Assertion {
    /// Whom or what it is about.
    pub subject: String,
    /// What of it, such as `residence`.
    pub attribute: String,
    /// What it says.
    pub value: String,
    /// The assertion as a sentence of its own.
    pub statement: String,
    /// What sort of statement it is.
    pub semantic: SemanticType,
    /// Since when and until when it is true, as far as it says.
    pub valid: Window,
    /// Whether it holds in the place of an earlier one about the same, if there is one that says something else.
    pub replaces: bool,
}

/// Finds what a text asserts. The rules of this room are one; a language model can be another.
pub trait FactExtractor: Send + Sync {
    /// Names the extractor for the origin of what it finds; none for rules.
    fn model(&self) -> Option<&str>;

    /// Finds what `said` asserts.
    ///
    /// # Errors
    /// `Unavailable` when it has to ask someone who does not answer.
    fn extract(&self, said: Said<'_>) -> Result<Vec<Assertion>>;
}

/// The extractor that needs no model.
#[derive(Debug, Clone, Copy, Default)]
pub struct RuleExtractor;

impl FactExtractor for RuleExtractor {
    fn model(&self) -> Option<&str> {
        None
    }

    fn extract(&self, said: Said<'_>) -> Result<Vec<Assertion>> {
        let mut found = Vec::new();
        for sentence in sentences(said.text) {
            // A question asserts nothing, and what is merely supposed must not replace what was said.
            if !sentence.trim_end().ends_with('?') {
                found.extend(clauses(sentence).into_iter().filter_map(|clause| in_clause(clause, said)));
            }
        }
        Ok(found)
    }
}

fn in_clause(clause: &str, said: Said<'_>) -> Option<Assertion> {
    let words = words_of(clause);
    let supposed =
        ["if", "maybe", "perhaps", "wish", "would", "could", "might", "not", "never", "don't", "didn't", "isn't"];
    if words.len() < 3 || words.iter().any(|word| supposed.contains(&word.lower.as_str())) {
        return None;
    }
    let phrase = Phrase::new(clause, words);
    let shape = of_person(&phrase, said.speaker)
        .or_else(|| of_favourite(&phrase, said.speaker))
        .or_else(|| of_thing(&phrase, said.speaker))?;
    Some(shape.into_assertion(&phrase, said))
}

/// A sentence that fits one of the rules.
struct Shape {
    subject: String,
    attribute: String,
    /// Where the value begins, as a number of a word.
    value_from: usize,
    /// What stands before the value in the normal form.
    lead: String,
    semantic: SemanticType,
    /// Whether one value takes the place of another.
    single: bool,
}

impl Shape {
    fn fact(subject: &str, attribute: &str, lead: String, value_from: usize) -> Self {
        Self {
            subject: subject.to_owned(),
            attribute: attribute.to_owned(),
            value_from,
            lead,
            semantic: SemanticType::Fact,
            single: true,
        }
    }

    fn into_assertion(self, phrase: &Phrase<'_>, said: Said<'_>) -> Assertion {
        let value = phrase.value(self.value_from);
        let since =
            find_times(phrase.text, said.at).into_iter().find(|mention| mention.relative).map(|mention| mention.window);
        let from = since.and_then(|window| window.from).unwrap_or_else(|| Timestamp::from_civil(said.at));
        let statement = format!("{} {value}", self.lead);
        Assertion {
            replaces: self.single,
            valid: Window { from: Some(from), until: None },
            subject: self.subject,
            attribute: self.attribute,
            value,
            statement,
            semantic: self.semantic,
        }
    }
}

/// Verbs that say one thing of a person: the words, the attribute, the verb in the normal form.
const OF_PERSON: &[(&[&str], &str, &str)] = &[
    (&["live", "in"], "residence", "lives in"),
    (&["lives", "in"], "residence", "lives in"),
    (&["living", "in"], "residence", "lives in"),
    (&["moved", "to"], "residence", "lives in"),
    (&["moved", "back", "to"], "residence", "lives in"),
    (&["work", "at"], "employer", "works at"),
    (&["works", "at"], "employer", "works at"),
    (&["work", "for"], "employer", "works for"),
    (&["works", "for"], "employer", "works for"),
    (&["working", "at"], "employer", "works at"),
    (&["working", "for"], "employer", "works for"),
    (&["started", "at"], "employer", "works at"),
    (&["started", "working", "at"], "employer", "works at"),
    (&["eat", "meat"], "diet", "eats"),
    (&["eats", "meat"], "diet", "eats"),
];

/// What somebody can be that concerns their food.
const DIETS: &[&str] = &["vegetarian", "vegan", "pescatarian", "celiac", "coeliac", "kosher", "halal"];

/// "I live in Lisbon", "Mira works at the bakery now", "I'm allergic to peanuts", "I'm vegetarian now".
fn of_person(phrase: &Phrase<'_>, speaker: &str) -> Option<Shape> {
    let (subject, after) = phrase.person(speaker)?;
    let verb = phrase.skip_adverbs(after);
    for (words, attribute, normal) in OF_PERSON {
        if phrase.matches(verb, words) {
            let from = if *attribute == "diet" { verb + 1 } else { verb + words.len() };
            return Some(Shape::fact(&subject, attribute, format!("{subject} {normal}"), from));
        }
    }
    if let Some(from) = phrase.place_of_work(verb) {
        return Some(Shape::fact(&subject, "employer", format!("{subject} works at"), from));
    }
    let state = phrase.after_be(after).map(|state| phrase.skip_adverbs(state))?;
    if phrase.matches(state, &["allergic", "to"]) {
        return Some(Shape {
            single: false,
            ..Shape::fact(&subject, "allergy", format!("{subject} is allergic to"), state + 2)
        });
    }
    let state = if phrase.matches(state, &["a"]) { state + 1 } else { state };
    phrase.word(state).filter(|word| DIETS.contains(word))?;
    Some(Shape::fact(&subject, "diet", format!("{subject} is"), state))
}

/// "My favourite tea is mint."
fn of_favourite(phrase: &Phrase<'_>, speaker: &str) -> Option<Shape> {
    let at = phrase.find(&["favourite", "favorite"])?;
    let be = phrase.find_be(at + 1).filter(|be| *be > at && *be <= at + 4)?;
    let (owner, _) = phrase.owner(at, speaker)?;
    let what = if be == at + 1 { "thing".to_owned() } else { phrase.joined(at + 1, be) };
    let attribute = format!("favourite {what}");
    let shape = Shape::fact(&owner, &attribute, format!("{owner}'s {attribute} is"), be + 1);
    Some(Shape { semantic: SemanticType::Preference, ..shape })
}

/// "The opening is on 1 September", "the kitchen budget is now 9,500 euros", "my phone number is …".
fn of_thing(phrase: &Phrase<'_>, speaker: &str) -> Option<Shape> {
    let be = phrase.find_be(1)?;
    let (owner, name_from) = phrase.owner(be, speaker)?;
    let name = phrase.name_of_thing(name_from, be)?;
    let value_from = phrase.skip_prepositions(be + 1);
    // Two such sentences exclude each other only when they give a time, a number or an address, or say that it changed.
    let precise = phrase.is_precise(value_from) || phrase.has_change_cue();
    let lead = if owner.is_empty() { format!("the {name} is") } else { format!("{owner}'s {name} is") };
    precise.then(|| Shape::fact(&owner, &name, lead, value_from))
}

#[cfg(test)]
mod tests;
