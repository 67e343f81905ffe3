//! The summary of a session without a model: the sentences that speak most of what the session is about.

use std::collections::HashMap;

use super::sentences::sentences;
use crate::english::{is_number_word, is_time_word};
use crate::governance::sensitivity::find_sensitive;
use crate::index::TermReader;

/// Sentences of a summary.
const SENTENCES: usize = 4;
/// Topics named for a session.
const TOPICS: usize = 6;
/// Words below and above which a sentence does not stand for a session.
const WORDS: std::ops::RangeInclusive<usize> = 5..=40;

/// What a session is about.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Digest {
    /// Words that stand for it, the most frequent first.
    pub(crate) topics: Vec<String>,
    /// Turns and sentences that stand for it, in their order.
    pub(crate) sentences: Vec<(usize, String)>,
}

impl Digest {
    /// Returns the summary: the topics, and the sentences with who said them. `speaker` names who that is for a turn.
    pub(crate) fn text<'a>(&self, speaker: impl Fn(usize) -> &'a str) -> String {
        let line = |(turn, sentence): &(usize, String)| match speaker(*turn) {
            "" => sentence.trim().to_owned(),
            speaker => format!("{speaker}: {}", sentence.trim()),
        };
        let lines: Vec<String> = self.sentences.iter().map(line).collect();
        let about = if self.topics.is_empty() { String::new() } else { format!("About {}. ", self.topics.join(", ")) };
        format!("{about}{}", lines.join(" / "))
    }

    /// Returns the tags of the topics.
    pub(crate) fn tags(&self) -> Vec<String> {
        self.topics.iter().map(|topic| format!("topic:{topic}")).collect()
    }
}

/// Finds what the turns of a session are about. Sensitive sentences are never taken.
pub(crate) fn digest(reader: &TermReader, turns: &[&str]) -> Digest {
    // A term counts once a turn: what one speaker repeats in one breath is not the session's subject.
    let mut turns_with: HashMap<String, usize> = HashMap::new();
    for turn in turns {
        for (term, _) in reader.document(turn).0 {
            *turns_with.entry(term).or_default() += 1;
        }
    }
    let weight =
        |term: &str| turns_with.get(term).filter(|count| **count > 1).map_or(0.0, |count| (*count as f32).sqrt());
    let mut scored = Vec::new();
    for (turn, text) in turns.iter().enumerate() {
        for sentence in sentences(text) {
            let words = sentence.split_whitespace().count();
            if WORDS.contains(&words) && !sentence.ends_with('?') && find_sensitive(sentence).is_empty() {
                let score: f32 = reader.document(sentence).0.iter().map(|(term, _)| weight(term)).sum();
                scored.push((score / (words as f32).sqrt(), turn, sentence.to_owned()));
            }
        }
    }
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut chosen: Vec<(usize, String)> = Vec::new();
    for (score, turn, sentence) in scored {
        let fresh = chosen.iter().all(|(other, _)| *other != turn);
        if score > 0.0 && fresh && chosen.len() < SENTENCES {
            chosen.push((turn, sentence));
        }
    }
    chosen.sort();
    Digest { topics: topics(&turns_with, turns), sentences: chosen }
}

/// Returns the most frequent terms, each as the word of the text that it was made from.
fn topics(turns_with: &HashMap<String, usize>, turns: &[&str]) -> Vec<String> {
    let mut terms: Vec<(&String, &usize)> =
        turns_with.iter().filter(|(term, count)| **count > 2 && term.len() > 3).collect();
    terms.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let word_of = |term: &str| {
        let words = turns.iter().flat_map(|turn| turn.split(|c: char| !c.is_alphanumeric()));
        let mut words = words.map(str::to_lowercase).filter(|word| word.starts_with(term.trim_end_matches('i')));
        // Numbers and times are spoken of in every session.
        words.next().filter(|word| !is_time_word(word) && !is_number_word(word))
    };
    terms.into_iter().filter_map(|(term, _)| word_of(term)).take(TOPICS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spoken_of_most_stands_for_the_session() {
        let turns = [
            "The boats need paint before the boats go out.",
            "I bought paint for two boats on Friday.",
            "Lovely weather, is it not?",
            "The paint for the boats is in the shed, and the boats are dry.",
            "Write to ada@example.org about the paint for the boats.",
        ];
        let digest = digest(&TermReader::default(), &turns);
        assert_eq!(digest.topics, ["boats", "paint"]);
        assert!(digest.sentences.iter().any(|(turn, _)| *turn == 3));
        assert!(digest.sentences.iter().all(|(turn, _)| *turn != 2 && *turn != 4));
    }
}
