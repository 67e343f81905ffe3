//! Summaries of sessions that have ended, without a model: the sentences that speak most of what the session is about.
//!
//! There is one summary for each session and access class. A session that goes on after that gets the next version of it when
//! it has ended again. A summary that a reading has stored is taken as the summary.

use std::collections::{BTreeMap, BTreeSet};

use super::Work;
use super::derived::{Derivation, by_class, is_our_own, put, read_all, sources_of, take_back, unlink_strays};
use super::touched::{stop_before, touched};
use crate::cube::{Kind, SemanticType, State};
use crate::error::Result;
use crate::graph::{LinkKind, Slot};
use crate::index::ClassId;
use crate::reader::summary::digest;
use crate::time::Timestamp;
use crate::vault::CubeHead;

/// Fewest turns of one class that are worth a summary.
const FEWEST_TURNS: usize = 4;
/// Turns that a summary is made from, the latest.
const MOST_TURNS: usize = 512;

type Placed = (Slot, CubeHead);

/// A session as its cubes stand: those that say something and those that sum up.
#[derive(Default)]
struct SessionCubes {
    turns: Vec<Placed>,
    summaries: Vec<Placed>,
    /// The event that stored the latest of its turns.
    latest: u64,
}

pub(super) fn find(work: &mut Work<'_>) -> Result<()> {
    let concerns = |head: &CubeHead| head.session.is_some() && head.semantic == SemanticType::Message;
    let mut sessions: BTreeSet<u32> = BTreeSet::new();
    for touched in touched(work, concerns)? {
        let Some(session) = touched.head.session.filter(|session| sessions.insert(*session)) else { continue };
        if work.is_full() {
            stop_before(work, &touched);
            break;
        }
        let cubes = cubes_of(work, session);
        let ends = ends_at(work, &cubes)?;
        if ends > work.now {
            // It is too early for this one, and none after it waits for it.
            work.found.reached.hold(touched.event);
            work.found.again_at = Some(work.found.again_at.map_or(ends, |again| again.min(ends)));
            continue;
        }
        summarise(work, session, cubes)?;
    }
    Ok(())
}

fn cubes_of(work: &Work<'_>, session: u32) -> SessionCubes {
    let view = work.space.view();
    let mut cubes = SessionCubes::default();
    for &slot in view.session_slots.get(session as usize).into_iter().flatten() {
        let Some(head) = view.head(slot) else { continue };
        let is_there = head.kind == Kind::Plaintext && (head.state.is_recalled() || head.state == State::Archived);
        if head.semantic == SemanticType::Message {
            cubes.latest = cubes.latest.max(head.versions().next().unwrap_or_default());
        }
        match head.semantic {
            SemanticType::Message if is_there => cubes.turns.push((slot, head.clone())),
            SemanticType::Summary if is_there => cubes.summaries.push((slot, head.clone())),
            _ => {}
        }
    }
    cubes
}

/// Returns when a session has been quiet for long enough.
fn ends_at(work: &Work<'_>, cubes: &SessionCubes) -> Result<Timestamp> {
    let latest = work.space.ledger()?.written_at(cubes.latest)?;
    let quiet = i64::try_from(work.rules.session_quiet_millis).unwrap_or(i64::MAX);
    Ok(Timestamp::from_millis(latest.as_millis().saturating_add(quiet)))
}

fn summarise(work: &mut Work<'_>, session: u32, cubes: SessionCubes) -> Result<()> {
    let Some(name) = work.space.view().sessions.name(session).map(str::to_owned) else { return Ok(()) };
    let mut turns = by_class(cubes.turns);
    let mut summaries: BTreeMap<ClassId, Placed> = BTreeMap::new();
    for (slot, head) in cubes.summaries {
        turns.entry(head.class).or_default();
        // The latest is the one that goes on.
        summaries.insert(head.class, (slot, head));
    }
    for (class, turns) in turns {
        summarise_class(work, &name, turns, summaries.get(&class))?;
    }
    Ok(())
}

fn summarise_class(work: &mut Work<'_>, name: &str, mut turns: Vec<Placed>, existing: Option<&Placed>) -> Result<()> {
    turns.drain(..turns.len().saturating_sub(MOST_TURNS));
    let mut has_strays = false;
    if let Some((slot, head)) = existing {
        if head.state == State::Frozen {
            return Ok(());
        }
        has_strays = is_our_own(work, head)? && unlink_strays(work, *slot, head, LinkKind::Summarises);
        let known: BTreeSet<Slot> = sources_of(&work.space.view(), *slot, LinkKind::Summarises).into_iter().collect();
        if !has_strays && turns.iter().all(|(slot, _)| known.contains(slot)) {
            return Ok(());
        }
    }
    let sources = read_all(work, turns.iter().map(|(slot, head)| (*slot, head.id)))?;
    let texts: Vec<&str> = sources.iter().map(|source| source.text()).collect();
    let digest = digest(work.space.terms(), &texts);
    if sources.len() < FEWEST_TURNS || digest.sentences.is_empty() {
        if let Some((_, head)) = existing.filter(|_| has_strays) {
            take_back(work, head);
        }
        return Ok(());
    }
    let speaker = |turn: usize| sources.get(turn).map_or("", |source| source.speaker());
    let path = sources.first().and_then(|source| source.cube.header.path.first()).cloned();
    let derivation = Derivation {
        semantic: SemanticType::Summary,
        title: name.to_owned(),
        tags: digest.tags(),
        path: path.into_iter().collect(),
        text: digest.text(speaker),
        quoted: digest.sentences.iter().map(|(turn, _)| *turn).collect(),
        sources: &sources,
        kind: LinkKind::Summarises,
        session: Some(name.to_owned()),
    };
    put(work, existing, derivation)
}
