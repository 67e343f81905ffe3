//! Words as the lexical index counts them: lower case, without stop words, stemmed.

use std::cell::RefCell;
use std::collections::HashMap;

use rust_stemmers::{Algorithm, Stemmer};

use crate::english::{each_word, is_stop_word};

/// Turns text into terms.
pub struct TermReader {
    stemmer: Stemmer,
}

impl Default for TermReader {
    fn default() -> Self {
        Self { stemmer: Stemmer::create(Algorithm::English) }
    }
}

/// Stems kept at hand on each thread: words repeat, and stemming costs more than all else here.
const STEMS_AT_HAND: usize = 16_384;

thread_local! {
    static STEMS: RefCell<HashMap<String, Option<Box<str>>>> = RefCell::new(HashMap::new());
}

impl TermReader {
    /// Calls `visit` with each term of the text in order; stop words are left out.
    pub fn each(&self, text: &str, mut visit: impl FnMut(&str)) {
        STEMS.with_borrow_mut(|stems| {
            each_word(text, |word| {
                if let Some(stem) = stems.get(word) {
                    stem.iter().for_each(|stem| visit(stem));
                    return;
                }
                let stem = (!is_stop_word(word)).then(|| Box::from(&*self.stemmer.stem(word)));
                if let Some(stem) = &stem {
                    visit(stem);
                }
                if stems.len() >= STEMS_AT_HAND {
                    stems.clear();
                }
                stems.insert(word.to_owned(), stem);
            });
        });
    }

    /// Returns the terms of a text with their counts, and how many words it has that count.
    pub fn document(&self, text: &str) -> (Vec<(String, u16)>, u32) {
        let mut counts: Vec<(String, u16)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut length = 0;
        self.each(text, |term| {
            length += 1;
            match places.get(term).and_then(|&at| counts.get_mut(at)) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => {
                    places.insert(term.to_owned(), counts.len());
                    counts.push((term.to_owned(), 1));
                }
            }
        });
        (counts, length)
    }

    /// Returns the terms of a question, each once and in order, without the words that `leave_out` names.
    pub fn question(&self, text: &str, leave_out: impl Fn(&str) -> bool) -> Vec<String> {
        let mut terms: Vec<String> = Vec::new();
        each_word(text, |word| {
            if !is_stop_word(word) && !leave_out(word) {
                let stem = self.stemmer.stem(word);
                if !terms.iter().any(|known| *known == *stem) {
                    terms.push(stem.into_owned());
                }
            }
        });
        terms
    }
}

/// Returns the term under which a tag is indexed. No word of a text becomes such a term.
pub fn tag_term(tag: &str) -> String {
    format!("#{}", tag.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_terms() {
        let reader = TermReader::default();
        for (text, expect) in [
            ("Mira's boats are sailing!", "mira boat sail"),
            ("What did you do there?", ""),
            ("It\u{2019}s the CAFÉ", "café"),
            ("call 555-0147", "call 555 0147"),
            ("'' ' --", ""),
        ] {
            let mut terms = Vec::new();
            reader.each(text, |term| terms.push(term.to_owned()));
            assert_eq!(terms.join(" "), expect, "{text}");
        }
        assert_eq!(reader.document("boat, boats and oars"), (vec![("boat".into(), 2), ("oar".into(), 1)], 3));
    }
}
