//! Near-duplicates: the same thing said again in nearly the same words.

use std::collections::BTreeSet;

use crate::cube::{CubeId, SemanticType};
use crate::english::{is_number_word, is_time_word};
use crate::error::Result;
use crate::governance::{AccessClass, Principal};
use crate::index::{CandidateIndex, ClassSet, Filter, IndexQuery, TermReader};
use crate::vault::{CubeHead, Space};

/// Fewest terms of a text that can be a duplicate. "Thanks, see you!" is said many times and means another time each.
const FEWEST_TERMS: usize = 6;
/// Share of common terms from which two texts say the same.
const SAME: f32 = 0.8;
/// Share of common terms from which two texts are similar.
const SIMILAR: f32 = 0.5;
/// Candidates looked at.
const CANDIDATES: usize = 4;

/// Words that turn what a text says into its opposite. They are stop words, and so no terms.
const NEGATIONS: &[&str] = &["no", "not", "never", "none", "neither", "nor", "without", "cannot"];

/// The terms of a text as a set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terms {
    all: BTreeSet<String>,
    /// Those with which a text says something else: names, numbers, times, and whether it denies.
    telling: BTreeSet<String>,
}

impl Terms {
    /// Returns how many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns which share of these stands in the other text, too; 0 when there are fewer than `fewest`.
    pub(crate) fn share_in(&self, other: &Self, fewest: usize) -> f32 {
        if self.len() < fewest.max(1) {
            return 0.0;
        }
        self.all.intersection(&other.all).count() as f32 / self.len() as f32
    }
}

/// How near another cube is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nearness {
    Same,
    Similar,
}

pub(crate) fn terms_of(reader: &TermReader, text: &str) -> Terms {
    let mut terms = Terms::default();
    for raw in text.split_whitespace() {
        let word = raw.trim_matches(|c: char| !c.is_alphanumeric());
        let lower = word.to_lowercase();
        if NEGATIONS.contains(&lower.as_str()) || lower.ends_with("n't") || lower.ends_with("n\u{2019}t") {
            terms.telling.insert("not".to_owned());
        }
        let tells =
            word.chars().any(|c| c.is_uppercase() || c.is_numeric()) || is_time_word(&lower) || is_number_word(&lower);
        reader.each(word, |term| {
            terms.all.insert(term.to_owned());
            if tells {
                terms.telling.insert(term.to_owned());
            }
        });
    }
    terms
}

/// Returns how near two texts are, by the share of their terms that is common to both. Texts that differ in a name, a
/// number or a time, or of which one denies, do not say the same, however long they are.
pub(crate) fn nearness(a: &Terms, b: &Terms) -> Option<Nearness> {
    if a.len().min(b.len()) < FEWEST_TERMS {
        return None;
    }
    let common = a.all.intersection(&b.all).count() as f32;
    let share = common / (a.len() + b.len()) as f32 * 2.0;
    let tells = |one: &Terms, other: &Terms| {
        one.telling.iter().any(|term| !other.all.contains(term) && !other.telling.contains(term))
    };
    match share {
        share if share >= SAME && !tells(a, b) && !tells(b, a) => Some(Nearness::Same),
        share if share >= SIMILAR => Some(Nearness::Similar),
        _ => None,
    }
}

/// Finds the nearest cube of the same type, speaker and access class that says the same or nearly so.
pub(super) fn nearest(
    space: &Space,
    caller: &Principal,
    class: &AccessClass,
    semantic: SemanticType,
    speaker: Option<&str>,
    text: &str,
) -> Result<Option<(CubeId, Nearness)>> {
    let terms = terms_of(space.terms(), text);
    let mut best = None;
    for head in alike(space, class, semantic, speaker, text, CANDIDATES)? {
        let (cube, _) = space.get(caller, &head.id)?;
        match nearness(&terms, &terms_of(space.terms(), cube.payload.as_text().unwrap_or_default())) {
            Some(Nearness::Same) => return Ok(Some((head.id, Nearness::Same))),
            Some(Nearness::Similar) => best = best.or(Some((head.id, Nearness::Similar))),
            None => {}
        }
    }
    Ok(best)
}

/// Finds the cubes of the same type, speaker and access class that come nearest to a text, the nearest first; none for a text
/// that is too short to be a duplicate.
pub(crate) fn alike(
    space: &Space,
    class: &AccessClass,
    semantic: SemanticType,
    speaker: Option<&str>,
    text: &str,
    most: usize,
) -> Result<Vec<CubeHead>> {
    if terms_of(space.terms(), text).len() < FEWEST_TERMS {
        return Ok(Vec::new());
    }
    let query = IndexQuery { vector: space.embedder().embed(text)?, terms: space.terms().question(text, |_| false) };
    let view = space.view();
    let Some(class) = view.class_id(class) else { return Ok(Vec::new()) };
    let filter = Filter { classes: ClassSet::from_iter([class]), semantic: vec![semantic], ..Filter::default() };
    let mut matches = view.index.search(&query, &filter, most)?.matches;
    matches.sort_by(|a, b| b.lexical.total_cmp(&a.lexical).then(a.slot.cmp(&b.slot)));
    let same_speaker = |number: Option<u32>| number.and_then(|number| view.speakers.name(number)) == speaker;
    let heads = matches.into_iter().take(most).filter_map(|found| view.head(found.slot).cloned());
    Ok(heads.filter(|head| same_speaker(head.speaker)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_as_near_as_their_words() {
        let reader = TermReader::default();
        let receipts = "Please remember to send me your receipts for the paint before Friday evening";
        for (other, expect) in [
            ("Remember to send me your receipts for the paint before Friday evening, please!", Some(Nearness::Same)),
            ("Please send the receipts for the roof and the paint soon, before Friday", Some(Nearness::Similar)),
            ("The boat was painted on Friday by the neighbours in the evening sun", None),
            ("Remember to send me your receipts for the paint before Monday evening, please!", Some(Nearness::Similar)),
            (
                "Please remember not to send me your receipts for the paint before Friday evening",
                Some(Nearness::Similar),
            ),
            ("Please remember to send Ada your receipts for the paint before Friday evening", Some(Nearness::Similar)),
            ("Please remember to send me your 3 receipts for the paint before Friday evening", Some(Nearness::Similar)),
            ("Thanks!", None),
        ] {
            assert_eq!(nearness(&terms_of(&reader, receipts), &terms_of(&reader, other)), expect, "{other}");
        }
    }
}
