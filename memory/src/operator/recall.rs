//! Recall: the whole way from a call to an answer, over one or several spaces.

use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

use super::call::MemoryCall;
use super::features::Weights;
use super::pack::{Pack, Packed, estimated_tokens};
use super::rank::{self, Question, Ranked};
use super::receipt::{Answer, PathStep, RecallTimes, Receipt};
use crate::cube::CubeId;
use crate::embed::builtin;
use crate::error::{Error, ErrorKind, Result};
use crate::governance::redaction::NO_DIGEST;
use crate::governance::{Decision, Operation, Outcome};
use crate::index::{Filter, tag_term};
use crate::ledger::LedgerReader;
use crate::limits::Limits;
use crate::vault::{CubeHead, Projection, Space};

/// Candidates of one space that are kept after ranking, for each memory that is asked for: room for those that say the
/// same as a better one, are too long, or fail a check.
const KEPT_PER_MEMORY: usize = 3;

/// Links of a path that stand on a receipt.
const PATH_STEPS: usize = 3;

/// Rules that stand on the record of one recall.
const RULES_ON_RECORD: usize = 4;

/// A ranked candidate with all that its receipt needs from the projection.
struct Candidate {
    space: usize,
    head: CubeHead,
    ranked: Ranked,
    path: Vec<PathStep>,
    superseded_by: Option<CubeId>,
    decision: Decision,
}

/// Answers a call from one or several spaces, with one ranking over all.
///
/// # Errors
/// `Invalid` when the call breaks a limit; `Corrupt` when what is stored fails its checks; `Unavailable` when the disk or the
/// embedder fails.
pub fn recall(spaces: &[&Space], call: &MemoryCall) -> Result<Answer> {
    recall_without(&HashSet::new(), spaces, call)
}

/// Answers a call as [`recall`] does, as if the `hidden` cubes were not in the first space.
///
/// # Errors
/// As [`recall`].
pub(crate) fn recall_without(hidden: &HashSet<CubeId>, spaces: &[&Space], call: &MemoryCall) -> Result<Answer> {
    check(spaces, call)?;
    let weights = Weights::default();
    let mut times = RecallTimes::default();
    let mut considered = 0;
    let mut candidates = Vec::new();
    for (number, space) in spaces.iter().enumerate() {
        let more = if number == 0 { hidden.len() } else { 0 };
        considered += candidates_of(number, space, call, more, &weights, &mut candidates, &mut times)?;
        if number == 0 {
            candidates.retain(|candidate: &Candidate| !hidden.contains(&candidate.head.id));
        }
    }
    candidates.sort_by(|a, b| {
        let by_score = b.ranked.score.total_cmp(&a.ranked.score);
        by_score.then(a.space.cmp(&b.space)).then(a.ranked.slot.cmp(&b.ranked.slot))
    });
    let started = Instant::now();
    let (receipts, tokens) = pack(spaces, call, candidates)?;
    times.pack += micros(started);
    spaces.iter().try_for_each(|space| note(space, call, &receipts))?;
    Ok(Answer { receipts, tokens, considered, times })
}

/// Puts on record what a space has answered.
fn note(space: &Space, call: &MemoryCall, receipts: &[Receipt]) -> Result<()> {
    if !space.notes_access(&call.caller, Outcome::Done) {
        return Ok(());
    }
    let of_space = || receipts.iter().filter(|receipt| receipt.space == *space.name());
    let cubes = of_space().map(|receipt| receipt.cube).collect();
    let outcome = of_space().map(|receipt| receipt.decision.access).min().map_or(Outcome::Done, Outcome::from);
    let rules: BTreeSet<&str> = of_space().map(|receipt| &*receipt.decision.rule).collect();
    let rules: Vec<&str> = rules.into_iter().take(RULES_ON_RECORD).collect();
    space.note_access(&call.caller, "recall", outcome, &rules.join("; "), cubes)
}

fn check(spaces: &[&Space], call: &MemoryCall) -> Result<()> {
    let Some(space) = spaces.first() else { return Err(Error::invalid("name at least one space to recall from")) };
    let limits = space.limits();
    Limits::check("the recall", spaces.len(), limits.spaces_per_recall, "spaces")?;
    Limits::check("the question", call.question.len(), limits.question_bytes, "bytes")?;
    Limits::check("the answer", call.memories, limits.answer_memories, "memories")?;
    Limits::check("the answer", call.tokens, limits.answer_tokens, "tokens")?;
    if call.question.trim().is_empty() {
        return Err(Error::invalid("the question is empty; ask something"));
    }
    Ok(())
}

/// Adds the best candidates of one space, `more` than would else be kept, and returns how many cubes the filter let through.
fn candidates_of(
    number: usize,
    space: &Space,
    call: &MemoryCall,
    more: usize,
    weights: &Weights,
    candidates: &mut Vec<Candidate>,
    times: &mut RecallTimes,
) -> Result<usize> {
    let meaning = builtin()?;
    let started = Instant::now();
    let mut question = {
        let view = space.view();
        let filter = Filter {
            classes: space.readable(&view, &call.caller),
            semantic: call.semantic.clone(),
            required_terms: call.tags.iter().map(|tag| tag_term(tag)).collect(),
            window: call.window,
            true_at: call.true_at,
            archived: call.archived,
        };
        Question::new(&view, call, filter, space.terms(), &meaning)
    };
    question.embed(space.embedder())?;
    times.embed += micros(started);
    let started = Instant::now();
    let view = space.view();
    let found = rank::find(&view, &question)?;
    times.find += micros(started);
    let started = Instant::now();
    let kept = call.memories.saturating_mul(KEPT_PER_MEMORY).saturating_add(more);
    for ranked in rank::rank(&view, &question, &found, &meaning, weights, kept)? {
        // The second check: the class was let through, and still each cube is decided on by itself.
        let Some(head) = view.head(ranked.slot) else { continue };
        let decision = space.decide(&view, &call.caller, Operation::Read, ranked.slot);
        if decision.shows() {
            let by = replaced_by(&view, &ranked, &question.filter);
            let path = path(&view, &ranked);
            candidates.push(Candidate { space: number, head: head.clone(), ranked, path, superseded_by: by, decision });
        }
    }
    times.rank += micros(started);
    Ok(found.considered)
}

fn path(view: &Projection, ranked: &Ranked) -> Vec<PathStep> {
    let steps = ranked.path.iter().take(PATH_STEPS);
    let step = |(edge, gain): &(crate::graph::Edge, f32)| {
        let from = view.head(edge.slot)?.id;
        Some(PathStep { from, link: edge.kind, direction: edge.direction, gain: *gain })
    };
    steps.filter_map(step).collect()
}

/// Returns what holds by now in place of a cube, or of what was concluded from it, if the caller may see that.
fn replaced_by(view: &Projection, ranked: &Ranked, filter: &Filter) -> Option<CubeId> {
    let by = ranked.superseded_by?;
    view.head(by).filter(|head| filter.classes.contains(head.class)).map(|head| head.id)
}

/// Reads the bodies of the best candidates and fills the budget.
fn pack(spaces: &[&Space], call: &MemoryCall, candidates: Vec<Candidate>) -> Result<(Vec<Receipt>, usize)> {
    let ledgers: Vec<LedgerReader> = spaces.iter().map(|space| space.ledger()).collect::<Result<_>>()?;
    let mut pack = Pack::new(call.memories, call.tokens);
    let mut receipts: Vec<Receipt> = Vec::new();
    for candidate in candidates {
        if pack.is_full() {
            break;
        }
        let Some((space, ledger)) = spaces.get(candidate.space).zip(ledgers.get(candidate.space)) else { continue };
        let cube = match space.cube_for(ledger, &candidate.head, candidate.decision.access) {
            // It was erased since the projection was read.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            cube => cube?,
        };
        let Some(text) = cube.payload.as_text() else { continue };
        let tokens = estimated_tokens(text);
        let mut terms = std::collections::BTreeSet::new();
        space.terms().each(text, |term| {
            terms.insert(term.to_owned());
        });
        match pack.put(terms, tokens) {
            Packed::TooLong => {}
            Packed::SaidBy(other) => {
                if let Some(receipt) = receipts.get_mut(other) {
                    receipt.stands_for.push(cube.header.id);
                }
            }
            Packed::In => receipts.push(receipt(space, candidate, &cube.header, text.to_owned(), tokens)),
        }
    }
    Ok((receipts, pack.used_tokens()))
}

fn receipt(space: &Space, candidate: Candidate, header: &crate::cube::Header, text: String, tokens: usize) -> Receipt {
    let Candidate { head, ranked, path, superseded_by, decision, .. } = candidate;
    Receipt {
        space: space.name().clone(),
        cube: header.id,
        version: header.version,
        digest: if decision.allowed() { head.digest } else { NO_DIGEST },
        semantic: header.semantic,
        state: head.state,
        title: header.title.clone(),
        text,
        speaker: header.origin.speaker.clone(),
        session: header.origin.session.clone(),
        reference: header.origin.reference.clone(),
        observed: header.times.observed,
        valid: header.times.valid,
        superseded_by,
        form: "text",
        tokens,
        score: ranked.score,
        features: ranked.features(),
        path,
        decision,
        stands_for: Vec::new(),
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
