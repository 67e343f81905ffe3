//! Reflections: what several memories say of the same subject, brought together in one.
//!
//! A subject is a name that memories are tagged with. When it recurs, within one access class and whatever task, session or
//! agent it comes from, the facts that hold now and the sentences that name it most tellingly stand together in one cube. It
//! says nothing that they do not say, and gets its next version when they say something else.

use std::collections::{BTreeMap, BTreeSet};

use super::derived::{Derivation, SourceCube, is_our_own, put, read_all, take_back, unlink_strays};
use super::touched::{stop_before, touched};
use super::{Work, speaks};
use crate::cube::{SemanticType, State};
use crate::error::Result;
use crate::governance::sensitivity::find_sensitive;
use crate::graph::{Direction, LinkKind, Slot};
use crate::index::{CandidateIndex, ClassId, ClassSet, Filter, IndexQuery, tag_term};
use crate::reader::drafts::entity_tag;
use crate::reader::sentences::sentences;
use crate::reader::summary::digest;
use crate::vault::{CubeHead, Projection};

/// Facts that make a subject recur; so do twice as many memories of any sort.
const RECURS: usize = 3;
/// Memories of one subject that are looked at.
const MOST_LOOKED_AT: usize = 64;
/// Facts that a reflection brings together, the latest.
const MOST_FACTS: usize = 8;
/// Subjects of one cube that are looked at.
const MOST_SUBJECTS: usize = 8;

/// What a reflection is made from.
const SOURCES: [SemanticType; 6] = [
    SemanticType::Fact,
    SemanticType::Preference,
    SemanticType::Event,
    SemanticType::Instruction,
    SemanticType::Skill,
    SemanticType::Message,
];

pub(super) fn find(work: &mut Work<'_>) -> Result<()> {
    // What does not speak any more may have spoken in a reflection.
    let concerns = |head: &CubeHead| SOURCES.contains(&head.semantic) && head.state != State::Erased;
    let mut done: BTreeSet<(ClassId, String)> = BTreeSet::new();
    for touched in touched(work, concerns)? {
        if work.is_full() || done.len() >= work.budget.cubes.max(1) {
            stop_before(work, &touched);
            break;
        }
        let Some((cube, head)) = work.read(&touched.head.id)? else { continue };
        let names = cube.header.tags.iter().filter_map(|tag| tag.strip_prefix("entity:")).take(MOST_SUBJECTS);
        let mut subjects: Vec<(ClassId, String)> = names.map(|name| (head.class, name.to_owned())).collect();
        subjects.extend(reflected_elsewhere(work, touched.slot, &head)?);
        for (class, name) in subjects {
            if done.insert((class, name.to_lowercase())) {
                reflect(work, class, &name)?;
            }
        }
    }
    Ok(())
}

/// Returns the subjects of reflections of another class that were made from a cube before it went to its present one.
fn reflected_elsewhere(work: &Work<'_>, slot: Slot, head: &CubeHead) -> Result<Vec<(ClassId, String)>> {
    let reflections: Vec<CubeHead> = {
        let view = work.space.view();
        let made_from_it =
            view.graph().edges(slot).filter(|edge| edge.is_descendant()).filter_map(|edge| view.head(edge.slot));
        made_from_it
            .filter(|other| other.semantic == SemanticType::Reflection && other.class != head.class)
            .cloned()
            .collect()
    };
    let mut subjects = Vec::new();
    for reflection in reflections {
        if is_our_own(work, &reflection)?
            && let Some((cube, _)) = work.read(&reflection.id)?
        {
            subjects.push((reflection.class, cube.header.title));
        }
    }
    Ok(subjects)
}

fn reflect(work: &mut Work<'_>, class: ClassId, name: &str) -> Result<()> {
    let members = read_all(work, members(work, class, name)?)?;
    let members: Vec<SourceCube> = members.into_iter().filter(|member| member.head.class == class).collect();
    let existing = existing(work, class, name, &members)?;
    if existing.as_ref().is_some_and(|(_, head)| head.state == State::Frozen || head.state == State::Merged) {
        return Ok(());
    }
    let has_strays = match &existing {
        Some((slot, head)) => unlink_strays(work, *slot, head, LinkKind::DerivedFrom),
        None => false,
    };
    let Some((text, quoted)) = text_of(work, &members, name) else {
        if let Some((_, head)) = existing.filter(|_| has_strays) {
            take_back(work, &head);
        }
        return Ok(());
    };
    let sources: Vec<SourceCube> =
        members.into_iter().enumerate().filter(|(place, _)| quoted.contains(place)).map(|(_, member)| member).collect();
    let derivation = Derivation {
        semantic: SemanticType::Reflection,
        title: name.to_owned(),
        tags: vec![entity_tag(name)],
        path: vec![name.to_owned()],
        text,
        quoted: (0..sources.len()).collect(),
        sources: &sources,
        kind: LinkKind::DerivedFrom,
        session: None,
    };
    put(work, existing.as_ref(), derivation)
}

/// Finds the memories of a subject within one class, the latest.
fn members(work: &Work<'_>, class: ClassId, name: &str) -> Result<Vec<(Slot, crate::cube::CubeId)>> {
    let view = work.space.view();
    let filter = Filter {
        classes: ClassSet::from_iter([class]),
        semantic: SOURCES.to_vec(),
        required_terms: vec![tag_term(&entity_tag(name))],
        ..Filter::default()
    };
    let query = IndexQuery { vector: vec![0.0; work.space.embedder().dimensions()], terms: Vec::new() };
    let mut slots: Vec<Slot> =
        view.index.search(&query, &filter, usize::MAX)?.matches.iter().map(|found| found.slot).collect();
    slots.sort_unstable();
    slots.drain(..slots.len().saturating_sub(MOST_LOOKED_AT));
    let speaking = |slot: &Slot| view.head(*slot).filter(|head| speaks(head)).map(|head| (*slot, head.id));
    Ok(slots.iter().filter_map(speaking).collect())
}

/// Finds the reflection of a subject that was made before: by its subject, or, where somebody has put it away and recall does
/// not find it, by what it was made from.
fn existing(work: &Work<'_>, class: ClassId, name: &str, members: &[SourceCube]) -> Result<Option<(Slot, CubeHead)>> {
    let found: BTreeMap<Slot, CubeHead> = {
        let view = work.space.view();
        let filter = Filter {
            classes: ClassSet::from_iter([class]),
            semantic: vec![SemanticType::Reflection],
            required_terms: vec![tag_term(&entity_tag(name))],
            archived: true,
            ..Filter::default()
        };
        let query = IndexQuery { vector: vec![0.0; work.space.embedder().dimensions()], terms: Vec::new() };
        let matches = view.index.search(&query, &filter, MOST_LOOKED_AT)?.matches;
        let made_from = members.iter().flat_map(|member| view.graph().edges(member.slot));
        let slots = made_from.filter(|edge| edge.is_descendant()).map(|edge| edge.slot);
        let slots = matches.iter().map(|found| found.slot).chain(slots);
        let is_one = |head: &&CubeHead| {
            head.semantic == SemanticType::Reflection && head.class == class && head.state != State::Erased
        };
        slots.filter_map(|slot| Some((slot, view.head(slot).filter(is_one)?.clone()))).collect()
    };
    // The latest is the one that goes on.
    for (slot, head) in found.into_iter().rev() {
        if is_our_own(work, &head)?
            && let Some((cube, head)) = work.read(&head.id)?
            && cube.header.title.to_lowercase() == name.to_lowercase()
        {
            return Ok(Some((slot, head)));
        }
    }
    Ok(None)
}

/// Returns what the memories of a subject say together, and which of them are quoted; none when it does not recur.
fn text_of(work: &Work<'_>, members: &[SourceCube], name: &str) -> Option<(String, Vec<usize>)> {
    let is_fact = |member: &SourceCube| member.head.semantic != SemanticType::Message;
    let holds = |member: &SourceCube| !is_superseded(&work.space.view(), member.slot);
    let mut facts: BTreeMap<String, usize> = BTreeMap::new();
    for (place, member) in members.iter().enumerate() {
        let text = member.text().trim();
        let is_short = text.len() <= LONGEST_FACT && !text.contains('\n');
        if is_fact(member) && is_short && holds(member) && find_sensitive(text).is_empty() {
            // The same again counts once, as the earlier one said it.
            facts.entry(text.to_lowercase()).or_insert(place);
        }
    }
    if facts.len() < RECURS && members.len() < 2 * RECURS {
        return None;
    }
    let mut facts: Vec<usize> = facts.into_values().collect();
    facts.sort_unstable();
    facts.drain(..facts.len().saturating_sub(MOST_FACTS));
    let mut said: Vec<(usize, String)> = Vec::new();
    for (place, member) in members.iter().enumerate().filter(|(_, member)| !is_fact(member)) {
        let telling: Vec<&str> = sentences(member.text()).filter(|said| speaks_of(said, name)).collect();
        if !telling.is_empty() {
            said.push((place, telling.join(" ")));
        }
    }
    let texts: Vec<&str> = said.iter().map(|(_, text)| text.as_str()).collect();
    let chosen = digest(work.space.terms(), &texts).sentences;
    let mut lines: Vec<(usize, String)> =
        facts.iter().filter_map(|place| Some((*place, members.get(*place)?.text().trim().to_owned()))).collect();
    for (turn, sentence) in &chosen {
        let Some((place, member)) = said.get(*turn).and_then(|(place, _)| Some((*place, members.get(*place)?))) else {
            continue;
        };
        let sentence = sentence.trim();
        lines.push((
            place,
            match member.speaker() {
                "" => sentence.to_owned(),
                speaker => format!("{speaker}: {sentence}"),
            },
        ));
    }
    if lines.len() < RECURS {
        return None;
    }
    let quoted = lines.iter().map(|(place, _)| *place).collect();
    let lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
    Some((lines.join("\n"), quoted))
}

/// Bytes of a fact beyond which it is a text of its own.
const LONGEST_FACT: usize = 400;

fn is_superseded(view: &Projection, slot: Slot) -> bool {
    let mut edges = view.graph().edges(slot);
    edges.any(|edge| edge.kind == LinkKind::Supersedes && edge.direction == Direction::Backward)
}

/// Words behind which a name is called, not spoken of.
const CALLS: &[&str] =
    &["hey", "hi", "hello", "thanks", "thank", "you", "oh", "wow", "yeah", "yes", "no", "dear", "bye"];

/// Returns whether a sentence says something of a name, and does not merely address whoever bears it.
fn speaks_of(sentence: &str, name: &str) -> bool {
    sentence.match_indices(name).any(|(at, _)| {
        let (before, after) =
            (sentence.get(..at).unwrap_or_default(), sentence.get(at + name.len()..).unwrap_or_default());
        let last = before.split_whitespace().next_back().unwrap_or_default().to_lowercase();
        let is_called = last.ends_with(',') || CALLS.contains(&last.trim_matches(|c: char| !c.is_alphanumeric()));
        let owns = after.starts_with("'s ") || after.starts_with("\u{2019}s ");
        let goes_on = after.strip_prefix(' ').and_then(|rest| rest.chars().next()).is_some_and(char::is_lowercase);
        !is_called && (owns || goes_on || (!last.is_empty() && after.trim() == "."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_called_is_not_spoken_of() {
        for (sentence, expect) in [
            ("Mira teaches sailing at the harbour.", true),
            ("I gave the key to Mira.", true),
            ("That is Mira's kayak over there.", true),
            ("Hey Mira, how was the storm?", false),
            ("Thanks for the advice, Mira!", false),
            ("Mira, the boat is dry.", false),
            ("Yes Mira that is it", false),
            ("The admiral is here.", false),
        ] {
            assert_eq!(speaks_of(sentence, "Mira"), expect, "{sentence}");
        }
    }
}
