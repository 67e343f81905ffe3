//! Links across tasks, sessions and agents: what shares a rare name, comes near in meaning, or gives the other as its cause.
//!
//! Within one conversation the reading of it has made the links. Here a memory is held against those of other sessions, tasks
//! and owners with the same audience. Each cube gets a few links and no more, so that the graph stays a help.

use super::audience::{audience, is_made_from};
use super::touched::{Touched, stop_before, touched};
use super::{What, Work, speaks};
use crate::cube::{Cube, SemanticType};
use crate::error::Result;
use crate::graph::{Direction, Edge, Link, LinkKind, Slot};
use crate::index::{CandidateIndex, ClassSet, Filter, IndexQuery, tag_term};
use crate::reader::drafts::entity_tag;
use crate::reader::duplicates::{Terms, nearness, terms_of};
use crate::vault::{CubeHead, Projection};

/// Links of one type that this job makes from one cube.
const MOST_FROM: usize = 3;
/// Links of one type that enter a cube, after which this job adds none.
const MOST_TO: usize = 16;
/// Cubes with the same name up to which the name is rare.
const RARE: usize = 8;
/// Names of one cube that are looked at.
const MOST_NAMES: usize = 8;
/// Cubes near in meaning that are looked at.
const NEAR: usize = 12;
/// Cosine from which two memories are near, whatever their words.
const NEAR_COSINE: f32 = 0.85;
/// Fewest terms of a cause, and the share of them that the other memory must have.
const CAUSE: (usize, f32) = (3, 0.75);

/// Words behind which a cause is given.
const BECAUSE: &[&str] = &["because of", "because", "due to", "thanks to", "as a result of", "owing to"];

/// Cubes that speak for themselves.
const SOURCES: [SemanticType; 7] = [
    SemanticType::Fact,
    SemanticType::Preference,
    SemanticType::Event,
    SemanticType::Instruction,
    SemanticType::Skill,
    SemanticType::Document,
    SemanticType::Message,
];

/// A cube on its way to be linked.
struct Linked<'a> {
    slot: Slot,
    head: &'a CubeHead,
    cube: &'a Cube,
    terms: Terms,
    cause: Option<Terms>,
    classes: ClassSet,
}

pub(super) fn find(work: &mut Work<'_>) -> Result<()> {
    let concerns = |head: &CubeHead| speaks(head) && SOURCES.contains(&head.semantic);
    for touched in touched(work, concerns)? {
        if work.is_full() {
            stop_before(work, &touched);
            break;
        }
        link_one(work, &touched)?;
    }
    Ok(())
}

fn link_one(work: &mut Work<'_>, touched: &Touched) -> Result<()> {
    let Some((cube, head)) = work.read(&touched.head.id)? else { return Ok(()) };
    let text = cube.payload.as_text().unwrap_or_default();
    let reader = work.space.terms();
    let cause = cause_in(text).map(|cause| terms_of(reader, cause));
    let classes = audience(&work.space.view(), head.class);
    let linked = Linked { slot: touched.slot, head: &head, cube: &cube, terms: terms_of(reader, text), cause, classes };
    let mentioned = mentioned(work, &linked)?;
    propose(work, &linked, LinkKind::Mentions, &mentioned, "it names the same");
    let near = near(work, &linked, text)?;
    let mut similar = Vec::new();
    let mut causes = Vec::new();
    for (slot, other, cosine) in near {
        let Some((twin, _)) = work.read(&other.id)? else { continue };
        if is_of_one_piece(&linked, &other, &twin) {
            continue;
        }
        let theirs = terms_of(work.space.terms(), twin.payload.as_text().unwrap_or_default());
        let gives_cause = linked.cause.as_ref().is_some_and(|cause| cause.share_in(&theirs, CAUSE.0) >= CAUSE.1);
        if gives_cause && other.observed <= head.observed {
            causes.push((slot, other.clone()));
        }
        if cosine >= NEAR_COSINE || nearness(&linked.terms, &theirs).is_some() {
            similar.push((slot, other));
        }
    }
    propose(work, &linked, LinkKind::CausedBy, &causes, "it gives it as its cause");
    propose(work, &linked, LinkKind::Similar, &similar, "it says nearly the same");
    Ok(())
}

/// Returns what a text gives as a cause: what stands behind the first "because" up to the end of the clause.
fn cause_in(text: &str) -> Option<&str> {
    let lower = text.to_ascii_lowercase();
    let begins = |cue: &&str| lower.find(cue).map(|at| (at, at + cue.len()));
    let (_, from) = BECAUSE.iter().filter_map(begins).min_by_key(|(at, end)| (*at, usize::MAX - end))?;
    text.get(from..)?.split(['.', ';', '!', '?', '\n']).next()
}

/// Finds the facts and preferences about rare names that a cube names.
fn mentioned(work: &Work<'_>, linked: &Linked<'_>) -> Result<Vec<(Slot, CubeHead)>> {
    let names = linked.cube.header.tags.iter().filter_map(|tag| tag.strip_prefix("entity:")).take(MOST_NAMES);
    let mut found: Vec<(Slot, CubeHead)> = Vec::new();
    for name in names {
        let candidates: Vec<(Slot, CubeHead)> = {
            let view = work.space.view();
            let filter = Filter {
                classes: linked.classes.clone(),
                semantic: SOURCES.to_vec(),
                required_terms: vec![tag_term(&entity_tag(name))],
                ..Filter::default()
            };
            let query = IndexQuery { vector: vec![0.0; work.space.embedder().dimensions()], terms: Vec::new() };
            let matches = view.index.search(&query, &filter, RARE + 1)?.matches;
            if matches.len() > RARE {
                continue;
            }
            let mut slots: Vec<Slot> = matches.iter().map(|found| found.slot).collect();
            slots.sort_unstable();
            slots.into_iter().filter_map(|slot| Some((slot, view.head(slot)?.clone()))).collect()
        };
        for (slot, head) in candidates {
            let is_fact = matches!(head.semantic, SemanticType::Fact | SemanticType::Preference);
            if !is_fact || slot == linked.slot || found.iter().any(|(other, _)| *other == slot) {
                continue;
            }
            if let Some((cube, head)) = work.read(&head.id)?
                && !is_of_one_piece(linked, &head, &cube)
            {
                found.push((slot, head));
            }
        }
    }
    Ok(found)
}

/// Finds the cubes that come nearest to a text, the nearest first, and how near they come in meaning.
fn near(work: &Work<'_>, linked: &Linked<'_>, text: &str) -> Result<Vec<(Slot, CubeHead, f32)>> {
    let query =
        IndexQuery { vector: work.space.embedder().embed(text)?, terms: work.space.terms().question(text, |_| false) };
    let view = work.space.view();
    let filter = Filter { classes: linked.classes.clone(), semantic: SOURCES.to_vec(), ..Filter::default() };
    let mut matches = view.index.search(&query, &filter, NEAR)?.matches;
    matches.sort_by(|a, b| (b.lexical + b.dense).total_cmp(&(a.lexical + a.dense)).then(a.slot.cmp(&b.slot)));
    let others = matches.iter().filter(|found| found.slot != linked.slot);
    Ok(others.filter_map(|found| Some((found.slot, view.head(found.slot)?.clone(), found.dense))).collect())
}

/// Returns whether two cubes come from the same session, task and owner: what is of one piece was linked as it was read.
fn is_of_one_piece(linked: &Linked<'_>, other: &CubeHead, twin: &Cube) -> bool {
    linked.head.session == other.session
        && linked.cube.header.origin.task == twin.header.origin.task
        && linked.cube.header.governance.owner == twin.header.governance.owner
        && other.session.is_some()
}

fn propose(work: &mut Work<'_>, linked: &Linked<'_>, kind: LinkKind, to: &[(Slot, CubeHead)], because: &str) {
    let from = linked.head.id;
    let links: Vec<Link> = {
        let view = work.space.view();
        // What this step proposes already counts as well.
        let proposed: Vec<&Link> = work.found.batch.links().filter(|link| link.kind == kind).collect();
        let leaving = proposed.iter().filter(|link| link.from == from).count();
        let room = MOST_FROM.saturating_sub(degree(&view, linked.slot, kind, Direction::Forward) + leaving);
        let takes = |(slot, other): &&(Slot, CubeHead)| {
            let entering = proposed.iter().filter(|link| link.to == other.id).count();
            let is_proposed = proposed
                .iter()
                .any(|link| (link.from, link.to) == (other.id, from) || (link.from, link.to) == (from, other.id));
            !is_proposed
                && degree(&view, *slot, kind, Direction::Backward) + entering < MOST_TO
                && !are_linked(&view, linked.slot, *slot, kind)
        };
        to.iter().filter(takes).take(room).map(|(_, other)| Link { from, kind, to: other.id }).collect()
    };
    for link in links {
        work.found.batch.link(link);
        work.note(link.from, What::Linked(kind), Some(link.to), because);
    }
}

fn degree(view: &Projection, slot: Slot, kind: LinkKind, direction: Direction) -> usize {
    let counts = |edge: &Edge| edge.kind == kind && edge.direction == direction;
    view.graph().edges(slot).filter(counts).take(MOST_TO).count()
}

/// Returns whether two cubes are linked in this way, whichever way round, or one was made from the other.
fn are_linked(view: &Projection, a: Slot, b: Slot, kind: LinkKind) -> bool {
    let graph = view.graph();
    graph.contains(a, kind, b) || graph.contains(b, kind, a) || is_made_from(view, a, b) || is_made_from(view, b, a)
}
