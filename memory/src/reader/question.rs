//! A question becomes a call: what it wants, whom it names, and which times.

use crate::error::Result;
use crate::limits::Limits;
use crate::operator::{AskedTime, Intent, MemoryCall};
use crate::reader::temporal::find_times;
use crate::vault::Space;

/// Openings of a question and what they ask for. The first that fits counts, so longer ones stand first.
const OPENINGS: &[(&[&str], Intent)] = &[
    (&["how", "many"], Intent::Quantity),
    (&["how", "much"], Intent::Quantity),
    (&["how", "old"], Intent::Quantity),
    (&["how", "long"], Intent::Time),
    (&["how", "come"], Intent::Reason),
    (&["since", "when"], Intent::Time),
    (&["what", "time"], Intent::Time),
    (&["what", "day"], Intent::Time),
    (&["what", "date"], Intent::Time),
    (&["what", "year"], Intent::Time),
    (&["which", "month"], Intent::Time),
    (&["which", "year"], Intent::Time),
    (&["what", "city"], Intent::Place),
    (&["which", "city"], Intent::Place),
    (&["which", "country"], Intent::Place),
    (&["what", "country"], Intent::Place),
    (&["when"], Intent::Time),
    (&["where"], Intent::Place),
    (&["who"], Intent::Person),
    (&["whose"], Intent::Person),
    (&["whom"], Intent::Person),
    (&["why"], Intent::Reason),
];

/// Fills in what the question of `call` says: intent, the speakers of the spaces that it names, and times.
///
/// # Errors
/// `Invalid` when the question is empty or longer than the limit.
pub fn read_question(spaces: &[&Space], mut call: MemoryCall) -> Result<MemoryCall> {
    let limits = spaces.first().map(|space| space.limits().clone()).unwrap_or_default();
    Limits::check("the question", call.question.len(), limits.question_bytes, "bytes")?;
    if call.question.trim().is_empty() {
        return Err(crate::Error::invalid("the question is empty; ask something"));
    }
    let words: Vec<String> = words(&call.question).map(str::to_lowercase).collect();
    call.intent = intent(&words);
    let mut speakers: Vec<(usize, String)> = Vec::new();
    for space in spaces {
        speakers.extend(space.speakers_in(&call.caller, &words));
    }
    speakers.sort();
    speakers.dedup();
    call.subject = subject(&speakers, &words);
    call.entities = speakers.into_iter().map(|(_, name)| name).collect();
    let mentions = find_times(&call.question, call.now.to_civil());
    call.times = mentions
        .into_iter()
        .map(|mention| {
            let text = call.question.get(mention.range).unwrap_or_default();
            AskedTime { window: mention.window, any_year: names_month_without_year(text) }
        })
        .collect();
    Ok(call)
}

/// Returns whom the question is about: the only speaker it names, or the first of several unless it asks about them together.
fn subject(speakers: &[(usize, String)], words: &[String]) -> Option<String> {
    let (at, first) = speakers.first()?;
    if let Some((next, _)) = speakers.get(1) {
        let joined = *next == at + 2 && words.get(at + 1).is_some_and(|word| word == "and");
        if joined || words.iter().any(|word| word == "both") {
            return None;
        }
    }
    Some(first.clone())
}

fn names_month_without_year(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut words = words(&lower);
    let year = |word: &str| word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_digit());
    let pinned = |word: &str| year(word) || ["last", "next", "this", "past", "coming"].contains(&word);
    MONTHS.iter().any(|month| lower.contains(month)) && !words.any(pinned)
}

const MONTHS: &[&str] = &[
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

fn intent(words: &[String]) -> Intent {
    let begins_at = |at: usize, opening: &[&str]| {
        opening.iter().enumerate().all(|(offset, word)| words.get(at + offset).is_some_and(|found| found == word))
    };
    // The question word may stand after a few others: "In which city …", "And since when …".
    let fitting = |at: usize| OPENINGS.iter().find(|(opening, _)| begins_at(at, opening));
    (0..words.len().min(4)).find_map(fitting).map_or(Intent::Any, |(_, intent)| *intent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_about_somebody() {
        for (question, speakers, expect) in [
            ("what did mira buy", &[(2, "Mira")][..], Some("Mira")),
            ("what did mira buy for bo", &[(2, "Mira"), (5, "Bo")], Some("Mira")),
            ("what do mira and bo like", &[(2, "Mira"), (4, "Bo")], None),
            ("who likes tea", &[], None),
        ] {
            let words: Vec<String> = words(question).map(str::to_owned).collect();
            let speakers: Vec<_> = speakers.iter().map(|(at, name)| (*at, (*name).to_owned())).collect();
            assert_eq!(subject(&speakers, &words).as_deref(), expect, "{question}");
        }
        assert!(
            names_month_without_year("on 7 May")
                && !names_month_without_year("May 2023")
                && !names_month_without_year("today")
        );
    }

    #[test]
    fn questions_want_something() {
        for (question, expect) in [
            ("When did Mira move?", Intent::Time),
            ("In which city does she live?", Intent::Place),
            ("How many boats are there?", Intent::Quantity),
            ("How long ago was it?", Intent::Time),
            ("Whose dog is it?", Intent::Person),
            ("Why so late?", Intent::Reason),
            ("What did Mira say about when to leave?", Intent::Any),
            ("", Intent::Any),
        ] {
            let words: Vec<String> = words(question).map(str::to_lowercase).collect();
            assert_eq!(intent(&words), expect, "{question}");
        }
    }
}
