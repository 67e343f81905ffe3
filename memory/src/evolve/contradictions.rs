//! Contradictions: of facts of which only one can hold, the one that was learned later holds.
//!
//! A reading compares what it finds with what its caller may see and what was there by then. What two agents learn at the same
//! time, or store without reading each other's, is compared here. The earlier fact is kept: a link says what holds in its
//! place, and within one access class also until when it held. In another class nothing of it changes, since that would
//! tell its readers of a fact that they may not see.

use std::collections::HashSet;

use super::audience::{audience, is_made_from};
use super::touched::{Touched, stop_before, touched};
use super::{What, Work, speaks};
use crate::cube::{Cube, CubeId, SemanticType, State, Update, UpdateMode};
use crate::error::Result;
use crate::graph::{Direction, Link, LinkKind, Slot};
use crate::index::{CandidateIndex, ClassSet, Filter, IndexQuery, tag_term};
use crate::reader::assertions::{FactExtractor, RuleExtractor, Said};
use crate::reader::facts::{MOST_KNOWN, fact_tag};
use crate::time::{Timestamp, Window};
use crate::vault::CubeHead;

/// Facts without a tag that are looked at, because they come near in meaning.
const NEAR: usize = 16;

const FACTS: [SemanticType; 2] = [SemanticType::Fact, SemanticType::Preference];

/// What a fact claims, when only one value can hold.
struct Claim {
    slot: Slot,
    head: CubeHead,
    key: String,
    value: String,
    valid: Window,
}

pub(super) fn find(work: &mut Work<'_>) -> Result<()> {
    let concerns = |head: &CubeHead| speaks(head) && FACTS.contains(&head.semantic);
    let mut resolved = HashSet::new();
    for touched in touched(work, concerns)? {
        if work.is_full() {
            stop_before(work, &touched);
            break;
        }
        resolve(work, &touched, &mut resolved)?;
    }
    Ok(())
}

fn resolve(work: &mut Work<'_>, touched: &Touched, resolved: &mut HashSet<CubeId>) -> Result<()> {
    let Some((cube, head)) = work.read(&touched.head.id)? else { return Ok(()) };
    let Some(own) = claim(touched.slot, head, &cube)? else { return Ok(()) };
    let mut claims = Vec::new();
    for (slot, id) in about_the_same(work, touched, &own.key, &cube)? {
        if let Some((other, head)) = work.read(&id)?
            && let Some(other) = claim(slot, head, &other)?.filter(|other| other.key == own.key)
        {
            claims.push(other);
        }
    }
    claims.push(own);
    claims.sort_by_key(|claim| (claim.head.observed, claim.slot));
    for (at, old) in claims.iter().enumerate() {
        let later = claims.get(at + 1..).unwrap_or_default();
        let Some(new) = later.iter().find(|new| holds_in_place_of(new, old, work.now)) else { continue };
        if resolved.insert(old.head.id) && !is_superseded(work, old, &claims) {
            supersede(work, old, new);
        }
    }
    Ok(())
}

/// Returns what a fact claims; none when others can hold beside it, or nothing says what it is about.
fn claim(slot: Slot, head: CubeHead, cube: &Cube) -> Result<Option<Claim>> {
    let header = &cube.header;
    // Who says "I" and is not named is whoever the memory is about.
    let speaker = header.origin.speaker.as_deref().unwrap_or(&header.subject);
    let text = cube.payload.as_text().unwrap_or_default();
    let tag = header.tags.iter().find(|tag| tag.starts_with("fact:"));
    let said = Said { text, speaker, at: head.observed.to_civil() };
    let mut asserted = RuleExtractor.extract(said)?.into_iter();
    let fits = asserted.find(|found| tag.is_none_or(|tag| *tag == fact_tag(found)));
    let Some(found) = fits.filter(|found| found.replaces) else { return Ok(None) };
    let noted = header.tags.iter().find_map(|tag| tag.strip_prefix("value:"));
    let value = noted.filter(|_| tag.is_some()).unwrap_or(&found.value).to_lowercase();
    let valid = if header.times.valid.is_always() { found.valid } else { header.times.valid };
    Ok(Some(Claim { slot, head, key: fact_tag(&found), value, valid }))
}

/// Finds the facts under the same tag, and those without one that come near.
fn about_the_same(work: &Work<'_>, touched: &Touched, key: &str, cube: &Cube) -> Result<Vec<(Slot, CubeId)>> {
    let text = cube.payload.as_text().unwrap_or_default();
    let vector = work.space.embedder().embed(text)?;
    let terms = work.space.terms().question(text, |_| false);
    let view = work.space.view();
    let classes: ClassSet = audience(&view, touched.head.class);
    let filter = |required_terms| Filter {
        classes: classes.clone(),
        semantic: FACTS.to_vec(),
        required_terms,
        ..Filter::default()
    };
    let nothing = IndexQuery { vector: vec![0.0; vector.len()], terms: Vec::new() };
    let mut matches = view.index.search(&nothing, &filter(vec![tag_term(key)]), MOST_KNOWN)?.matches;
    matches.extend(view.index.search(&IndexQuery { vector, terms }, &filter(Vec::new()), NEAR)?.matches);
    let mut slots: Vec<Slot> = matches.iter().map(|found| found.slot).filter(|slot| *slot != touched.slot).collect();
    slots.sort_unstable();
    slots.dedup();
    Ok(slots.into_iter().filter_map(|slot| Some((slot, view.head(slot)?.id))).collect())
}

/// Returns whether one fact, learned later, excludes the other.
fn holds_in_place_of(new: &Claim, old: &Claim, now: Timestamp) -> bool {
    let has_ended = new.valid.until.is_some_and(|until| until <= now);
    let ended_before = old.valid.until.is_some() && !old.valid.overlaps(&new.valid);
    new.value != old.value && !has_ended && !ended_before
}

/// Returns whether one of the others holds in place of a fact already.
fn is_superseded(work: &Work<'_>, old: &Claim, claims: &[Claim]) -> bool {
    let view = work.space.view();
    let by = |slot: Slot| claims.iter().any(|claim| claim.slot == slot);
    let mut edges = view.graph().edges(old.slot);
    edges.any(|edge| edge.kind == LinkKind::Supersedes && edge.direction == Direction::Backward && by(edge.slot))
}

fn supersede(work: &mut Work<'_>, old: &Claim, new: &Claim) {
    if is_made_from(&work.space.view(), old.slot, new.slot) {
        return;
    }
    let batch = &mut work.found.batch;
    for kind in [LinkKind::Supersedes, LinkKind::Contradicts] {
        batch.link(Link { from: new.head.id, kind, to: old.head.id });
    }
    let until = new.valid.from.unwrap_or(new.head.observed);
    let window = Window { until: Some(until), ..old.valid };
    let may_end = matches!(old.head.state, State::Generated | State::Activated) && old.head.class == new.head.class;
    let is_stretch = old.valid.from.is_none_or(|from| from < until);
    if may_end && is_stretch && old.valid.until.is_none() {
        batch.update(Update { cube: old.head.id, parent: old.head.digest, mode: UpdateMode::Revalidate(window) });
    }
    batch.expect(old.head.id, old.head.digest).expect(new.head.id, new.head.digest);
    work.note(old.head.id, What::Superseded, Some(new.head.id), "it was learned later");
}
