//! A sentence as words, and the few questions that the rules ask of it.

use std::ops::Range;

use jiff::civil::date;

use crate::governance::sensitivity::find_sensitive;
use crate::reader::temporal::find_times;

/// One word: where it stands, and how it is compared.
pub(super) struct Word {
    range: Range<usize>,
    pub(super) lower: String,
    capital: bool,
    /// Whether a clause ends behind it.
    closes: bool,
}

/// Cuts a sentence into words. Contractions become two: "I'm" is "i" and "am", "I've" is "i" and "have".
pub(super) fn words_of(sentence: &str) -> Vec<Word> {
    let mut words = Vec::new();
    for (start, raw) in split_with_start(sentence) {
        let core = raw.trim_matches(|c: char| !c.is_alphanumeric() && !"€$£+".contains(c));
        if core.is_empty() {
            continue;
        }
        let from = start + raw.find(core).unwrap_or(0);
        let closes = raw.ends_with([',', ';', ':', '.', '!', '?', ')']) || raw.ends_with('\u{2014}');
        let plain = core.replace('\u{2019}', "'");
        let capital = plain.chars().next().is_some_and(char::is_uppercase);
        let (head, be) = match plain.split_once('\'') {
            Some((head, "m")) => (head, Some("am")),
            Some((head, "re")) => (head, Some("are")),
            Some((head, "ve")) => (head, Some("have")),
            // Behind a pronoun this is "is"; behind a name it is mostly a possessive.
            Some((head, "s")) if ["it", "that", "he", "she", "there"].contains(&head.to_lowercase().as_str()) => {
                (head, Some("is"))
            }
            _ => (plain.as_str(), None),
        };
        let range = from..from + core.len();
        words.push(Word { range: range.clone(), lower: head.to_lowercase(), capital, closes: closes && be.is_none() });
        if let Some(be) = be {
            words.push(Word { range: range.end..range.end, lower: be.to_owned(), capital: false, closes });
        }
    }
    words
}

fn split_with_start(sentence: &str) -> impl Iterator<Item = (usize, &str)> {
    sentence.split_whitespace().map(move |word| (word.as_ptr() as usize - sentence.as_ptr() as usize, word))
}

/// Cuts a sentence where its speaker starts to assert something else: "I live in Lisbon, and I work as a nurse".
pub(super) fn clauses(sentence: &str) -> Vec<&str> {
    let mut clauses = Vec::new();
    let mut start = 0;
    let words: Vec<(usize, &str)> = split_with_start(sentence).collect();
    for pair in words.windows(2) {
        let [(at, joint), (next, word)] = pair else { continue };
        let joins = ["and", "but", "so"].contains(&joint.to_lowercase().as_str());
        let subject = word.split(['\'', '\u{2019}']).next().unwrap_or_default();
        let begins = ["I", "my", "joined", "moved", "started"].contains(&subject);
        if joins && *at > start && begins {
            clauses.extend(sentence.get(start..*at));
            start = *next;
        }
    }
    clauses.extend(sentence.get(start..));
    clauses
}

/// A sentence whose words were found.
pub(super) struct Phrase<'a> {
    pub(super) text: &'a str,
    words: Vec<Word>,
    /// Where times stand that are said in passing, such as "last week"; they are no part of a value.
    passing: Vec<Range<usize>>,
}

const BE: &[&str] = &["is", "are", "am", "was"];
const ADVERBS: &[&str] = &[
    "now",
    "actually",
    "currently",
    "just",
    "still",
    "recently",
    "already",
    "finally",
    "really",
    "also",
    "officially",
    "have",
    "has",
    "had",
];
const PREPOSITIONS: &[&str] =
    &["on", "at", "now", "still", "going", "to", "be", "set", "for", "moved", "postponed", "changed", "been"];
const CUES: &[&str] = &[
    "now",
    "new",
    "instead",
    "moved",
    "changed",
    "postponed",
    "switched",
    "no longer",
    "anymore",
    "from now on",
    "started",
    "left",
];
const CLAUSE_WORDS: &[&str] = &[
    "with", "but", "because", "so", "since", "which", "who", "when", "where", "while", "though", "and", "until", "if",
    "after", "before",
];
const DANGLING: &[&str] = &["on", "in", "at", "since", "from", "for", "by", "the", "a"];
/// Most words of a value.
const VALUE_WORDS: usize = 8;

impl<'a> Phrase<'a> {
    pub(super) fn new(text: &'a str, words: Vec<Word>) -> Self {
        // Whichever day stands in for today: here only places in the text matter.
        let mentions = find_times(text, date(2000, 1, 1).at(0, 0, 0, 0));
        let passing = mentions.into_iter().filter(|mention| mention.relative).map(|mention| mention.range).collect();
        Self { text, words, passing }
    }

    pub(super) fn word(&self, at: usize) -> Option<&str> {
        self.words.get(at).map(|word| word.lower.as_str())
    }

    pub(super) fn matches(&self, at: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(offset, word)| self.word(at + offset) == Some(word))
    }

    pub(super) fn find(&self, any: &[&str]) -> Option<usize> {
        self.words.iter().position(|word| any.contains(&word.lower.as_str()))
    }

    pub(super) fn find_be(&self, from: usize) -> Option<usize> {
        self.words.iter().skip(from).position(|word| BE.contains(&word.lower.as_str())).map(|at| at + from)
    }

    /// Returns the place behind a form of "be" at `at`.
    pub(super) fn after_be(&self, at: usize) -> Option<usize> {
        self.word(at).filter(|word| BE.contains(word)).map(|_| at + 1)
    }

    pub(super) fn skip_adverbs(&self, at: usize) -> usize {
        self.skip(at, ADVERBS)
    }

    pub(super) fn skip_prepositions(&self, at: usize) -> usize {
        self.skip(at, PREPOSITIONS)
    }

    fn skip(&self, mut at: usize, any: &[&str]) -> usize {
        while self.word(at).is_some_and(|word| any.contains(&word)) {
            at += 1;
        }
        at
    }

    /// Returns the person that the sentence begins with, and the place behind: the speaker for "I", or a name.
    pub(super) fn person(&self, speaker: &str) -> Option<(String, usize)> {
        // "And now I live in …": a few words may stand before.
        if let Some(at) = self.words.iter().take(5).position(|word| word.lower == "i") {
            let before_is_plain = self.words.iter().take(at).all(|word| !word.capital || word.range.start == 0);
            let at = before_is_plain.then_some(at + 1)?;
            let at =
                if self.word(at) == Some("am") && matches!(self.word(at + 1), Some("living")) { at + 1 } else { at };
            return Some((speaker.to_owned(), at));
        }
        // "… and joined Bosch": the pronoun is left out.
        if self.word(0).is_some_and(|word| ["joined", "moved", "started"].contains(&word)) {
            return Some((speaker.to_owned(), 0));
        }
        let name =
            self.words.first().filter(|word| word.capital && word.lower.len() > 2 && !word.lower.contains('\''))?;
        let verb = self.word(1)?;
        let known = BE.contains(&verb)
            || ["lives", "works", "moved", "eats", "started"].contains(&verb)
            || ADVERBS.contains(&verb);
        let pronoun = [
            "the",
            "this",
            "that",
            "there",
            "she",
            "they",
            "you",
            "what",
            "who",
            "here",
            "everything",
            "everyone",
            "breakfast",
        ];
        (known && !pronoun.contains(&name.lower.as_str()))
            .then(|| (self.text.get(name.range.clone()).unwrap_or_default().to_owned(), 1))
    }

    /// Returns where the place of work begins in "work as a nurse at …", "joined Bosch", "got a job at …".
    pub(super) fn place_of_work(&self, verb: usize) -> Option<usize> {
        let named = |at: usize| self.words.get(at).is_some_and(|word| word.capital);
        if self.word(verb) == Some("joined") {
            return named(verb + 1).then_some(verb + 1);
        }
        let as_something = self.word(verb + 1) == Some("as") && matches!(self.word(verb), Some("work" | "works"));
        let got_job = self.word(verb) == Some("got") && (verb + 1..verb + 5).any(|at| self.word(at) == Some("job"));
        let at = (verb + 2..verb + 7).find(|at| matches!(self.word(*at), Some("at" | "for")))?;
        ((as_something || got_job) && named(at + 1)).then_some(at + 1)
    }

    /// Returns whose the thing named before `end` is (the speaker for "my", nobody for "the" and "our"), and where its
    /// name begins.
    pub(super) fn owner(&self, end: usize, speaker: &str) -> Option<(String, usize)> {
        let start = self.words.iter().take(end).rposition(|word| {
            matches!(word.lower.as_str(), "my" | "our" | "the") || word.lower.ends_with("'s") || word.closes
        })?;
        let word = self.words.get(start)?;
        let name_from = start + 1;
        match word.lower.as_str() {
            "my" => Some((speaker.to_owned(), name_from)),
            "our" | "the" => Some((String::new(), name_from)),
            _ => {
                let owner = self.text.get(word.range.clone())?;
                let owner = owner.strip_suffix("'s").or_else(|| owner.strip_suffix("\u{2019}s"))?;
                Some((owner.to_owned(), name_from))
            }
        }
    }

    /// Returns the name of a thing in plain words, or none when it is more than a name.
    pub(super) fn name_of_thing(&self, from: usize, to: usize) -> Option<String> {
        let from = if self.word(from) == Some("new") { from + 1 } else { from };
        let vague = [
            "thing", "point", "problem", "one", "idea", "question", "rest", "best", "answer", "plan", "only", "other",
            "same", "first", "last",
        ];
        let words: Vec<&str> = (from..to).filter_map(|at| self.word(at)).collect();
        let fits = (1..=3).contains(&words.len())
            && words.iter().all(|word| word.chars().all(|c| c.is_alphanumeric() || c == '-') && !vague.contains(word))
            && !self.words.iter().take(to).skip(from).any(|word| word.closes);
        fits.then(|| words.join(" "))
    }

    pub(super) fn joined(&self, from: usize, to: usize) -> String {
        (from..to).filter_map(|at| self.word(at)).collect::<Vec<_>>().join(" ")
    }

    /// Returns the value that begins at `from`: up to where the clause ends, without times said in passing.
    pub(super) fn value(&self, from: usize) -> String {
        let mut taken: Vec<&Word> = Vec::new();
        for (count, word) in self.words.iter().skip(from).enumerate() {
            // A time that the value begins with is the value.
            let begin = taken.first().map_or(word.range.start, |first| first.range.start);
            let in_passing =
                self.passing.iter().any(|passing| passing.contains(&word.range.start) && passing.start > begin);
            let stop = in_passing
                || count == VALUE_WORDS
                || count > 0 && CLAUSE_WORDS.contains(&word.lower.as_str())
                || count > 0 && matches!(word.lower.as_str(), "now" | "anymore" | "instead" | "too");
            if stop {
                break;
            }
            taken.push(word);
            if word.closes {
                break;
            }
        }
        // "… on" of "… on Monday" belongs to the time that was left out.
        while taken.len() > 1 && taken.last().is_some_and(|word| DANGLING.contains(&word.lower.as_str())) {
            taken.pop();
        }
        let range = taken.first().zip(taken.last()).map(|(first, last)| first.range.start..last.range.end);
        range.and_then(|range| self.text.get(range)).unwrap_or_default().trim().to_owned()
    }

    /// Returns whether the value says a time, a number or an address, of which a thing has one.
    pub(super) fn is_precise(&self, from: usize) -> bool {
        let value = self.value(from);
        value.chars().any(|c| c.is_ascii_digit()) || !find_sensitive(&value).is_empty()
    }

    pub(super) fn has_change_cue(&self) -> bool {
        self.words.iter().any(|word| CUES.contains(&word.lower.as_str()))
    }
}
