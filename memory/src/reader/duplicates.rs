//! Near-duplicates: the same thing said again in nearly the same words.

use std::collections::BTreeSet;

use crate::cube::{CubeId, SemanticType};
use crate::error::Result;
use crate::governance::{AccessClass, Principal};
use crate::index::{CandidateIndex, ClassSet, Filter, IndexQuery, TermReader};
use crate::vault::Space;

/// Fewest terms of a text that can be a duplicate. "Thanks, see you!" is said many times and means another time each.
const FEWEST_TERMS: usize = 6;
/// Share of common terms from which two texts say the same.
const SAME: f32 = 0.8;
/// Share of common terms from which two texts are similar.
const SIMILAR: f32 = 0.5;
/// Candidates looked at.
const CANDIDATES: usize = 4;

/// The terms of a text as a set.
pub(super) type Terms = BTreeSet<String>;

/// How near another cube is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nearness {
    Same,
    Similar,
}

pub(super) fn terms_of(reader: &TermReader, text: &str) -> Terms {
    reader.document(text).0.into_iter().map(|(term, _)| term).collect()
}

/// Returns how near two texts are, by the share of their terms that is common to both.
pub(super) fn nearness(a: &Terms, b: &Terms) -> Option<Nearness> {
    if a.len().min(b.len()) < FEWEST_TERMS {
        return None;
    }
    let common = a.intersection(b).count() as f32;
    let share = common / (a.len() + b.len()) as f32 * 2.0;
    match share {
        share if share >= SAME => Some(Nearness::Same),
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
    if terms.len() < FEWEST_TERMS {
        return Ok(None);
    }
    let query = IndexQuery { vector: space.embedder().embed(text)?, terms: space.terms().question(text, |_| false) };
    let found = {
        let view = space.view();
        let Some(class) = view.class_id(class) else { return Ok(None) };
        let filter = Filter { classes: ClassSet::from_iter([class]), semantic: vec![semantic], ..Filter::default() };
        let mut matches = view.index.search(&query, &filter, CANDIDATES)?.matches;
        matches.sort_by(|a, b| b.lexical.total_cmp(&a.lexical).then(a.slot.cmp(&b.slot)));
        let same_speaker = |number: Option<u32>| number.and_then(|number| view.speakers.name(number)) == speaker;
        let heads = matches.into_iter().take(CANDIDATES).filter_map(|found| view.head(found.slot).cloned());
        heads.filter(|head| same_speaker(head.speaker)).collect::<Vec<_>>()
    };
    let mut best = None;
    for head in found {
        let (cube, _) = space.get(caller, &head.id)?;
        match nearness(&terms, &terms_of(space.terms(), cube.payload.as_text().unwrap_or_default())) {
            Some(Nearness::Same) => return Ok(Some((head.id, Nearness::Same))),
            Some(Nearness::Similar) => best = best.or(Some((head.id, Nearness::Similar))),
            None => {}
        }
    }
    Ok(best)
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
            ("Thanks!", None),
        ] {
            assert_eq!(nearness(&terms_of(&reader, receipts), &terms_of(&reader, other)), expect, "{other}");
        }
    }
}
