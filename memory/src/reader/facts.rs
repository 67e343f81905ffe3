//! Facts on record: what was asserted becomes a cube of its own, and what it replaces is linked, dated and kept.

use std::collections::HashMap;

use super::assertions::Assertion;
use super::drafts::{entity_tag, task_of};
use super::ingest::{IngestOptions, IngestReport};
use crate::cube::{CubeDraft, CubeId, OriginKind, SemanticType, Update, UpdateMode, VersionRef};
use crate::error::{ErrorKind, Result};
use crate::governance::{Operation, Principal};
use crate::graph::{Direction, Link, LinkKind, Slot};
use crate::index::{CandidateIndex, Filter, IndexQuery, tag_term};
use crate::time::{Timestamp, Window};
use crate::vault::{Batch, Space};

/// Facts about the same thing that are looked at.
pub(crate) const MOST_KNOWN: usize = 160;

/// A fact that holds at present, as far as this reading knows.
#[derive(Debug, Clone)]
struct Current {
    id: CubeId,
    value: String,
    observed: Timestamp,
    from: Option<Timestamp>,
}

/// Where an assertion was found.
pub(super) struct FoundIn<'a> {
    pub(super) message: CubeId,
    pub(super) at: Timestamp,
    pub(super) speaker: &'a str,
    pub(super) session: Option<&'a str>,
    pub(super) conversation: &'a str,
    pub(super) model: Option<&'a str>,
}

/// The facts that hold at present, by what they are about.
#[derive(Default)]
pub(super) struct FactBook {
    current: HashMap<String, Vec<Current>>,
}

/// What a new assertion is to those on record.
enum Standing {
    /// Nothing is known of it yet.
    New,
    /// It says what is known.
    Known(CubeId),
    /// It holds in place of what is known.
    Replaces(Current),
    /// It was said earlier than what is known, and no longer holds.
    Outdated(Current),
}

impl FactBook {
    /// Puts an assertion on record. What it needs of the batch so far is committed first.
    pub(super) fn record(
        &mut self,
        space: &Space,
        caller: &Principal,
        assertion: Assertion,
        found_in: &FoundIn<'_>,
        options: &IngestOptions,
        batch: &mut Batch,
    ) -> Result<IngestReport> {
        let key = fact_tag(&assertion);
        if !self.current.contains_key(&key) {
            self.current.insert(key.clone(), known(space, caller, &key)?);
        }
        let known = self.current.entry(key.clone()).or_default();
        let mut report = IngestReport::default();
        let derived = |fact: CubeId| Link { from: fact, kind: LinkKind::DerivedFrom, to: found_in.message };
        let standing = standing(known, &assertion, found_in.at);
        if let Standing::Known(fact) = standing {
            if may_link(space, caller, &fact) {
                batch.link(derived(fact));
            }
            return Ok(report);
        }
        let id = space.new_id();
        let mut valid = assertion.valid;
        if let Standing::Outdated(later) = &standing {
            valid.until = later.from.filter(|until| valid.from.is_none_or(|from| from < *until));
        }
        let value = assertion.value.clone();
        batch.store(id, draft(assertion, key, valid, found_in, options)).link(derived(id));
        report.facts += 1;
        let fresh = Current { id, value, observed: found_in.at, from: valid.from };
        match standing {
            Standing::Replaces(old) => {
                known.retain(|other| other.id != old.id);
                known.push(fresh);
                for kind in [LinkKind::Supersedes, LinkKind::Contradicts] {
                    batch.link(Link { from: id, kind, to: old.id });
                }
                end_validity(space, caller, &old, valid.from, batch)?;
                report.superseded += 1;
            }
            Standing::Outdated(later) => {
                if may_link(space, caller, &later.id) {
                    batch.link(Link { from: later.id, kind: LinkKind::Supersedes, to: id });
                }
                report.superseded += 1;
            }
            Standing::New | Standing::Known(_) => known.push(fresh),
        }
        Ok(report)
    }
}

/// The tag by which a fact is found again.
pub(crate) fn fact_tag(assertion: &Assertion) -> String {
    format!("fact:{}/{}", assertion.subject.to_lowercase(), assertion.attribute.to_lowercase())
}

fn standing(known: &[Current], assertion: &Assertion, at: Timestamp) -> Standing {
    let same = |value: &str| value.to_lowercase() == assertion.value.to_lowercase();
    if let Some(current) = known.iter().find(|current| same(&current.value)) {
        return Standing::Known(current.id);
    }
    match known.iter().max_by_key(|current| current.observed) {
        Some(current) if assertion.replaces && current.observed > at => Standing::Outdated(current.clone()),
        Some(current) if assertion.replaces => Standing::Replaces(current.clone()),
        _ => Standing::New,
    }
}

fn draft(
    assertion: Assertion,
    key: String,
    valid: Window,
    found_in: &FoundIn<'_>,
    options: &IngestOptions,
) -> CubeDraft {
    let concept = if assertion.subject.is_empty() { assertion.attribute.clone() } else { assertion.subject.clone() };
    let mut tags = vec![key, format!("value:{}", assertion.value.to_lowercase())];
    if !assertion.subject.is_empty() {
        tags.push(entity_tag(&assertion.subject));
    }
    CubeDraft {
        title: format!("{concept}: {}", assertion.attribute),
        tags,
        path: vec![task_of(options, found_in.conversation).to_owned(), concept, assertion.attribute],
        origin: OriginKind::Inference,
        task: options.task.clone(),
        session: found_in.session.map(str::to_owned),
        model: found_in.model.map(str::to_owned),
        speaker: Some(found_in.speaker.to_owned()),
        observed: Some(found_in.at),
        valid,
        layer: options.layer.clone(),
        derived_from: vec![VersionRef { cube: found_in.message, version: 1 }],
        ..CubeDraft::text(assertion.semantic, assertion.statement)
    }
}

/// Notes until when an old fact held. Whoever may not write it leaves it as it is; the link says enough.
fn end_validity(
    space: &Space,
    caller: &Principal,
    old: &Current,
    until: Option<Timestamp>,
    batch: &mut Batch,
) -> Result<()> {
    // The old fact may still be in the batch, and an update needs its version.
    space.commit(caller, std::mem::take(batch))?;
    let (cube, head) = match space.get(caller, &old.id) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let from = cube.header.times.valid.from;
    let window = Window { from, until: until.filter(|until| from.is_none_or(|from| from < *until)) };
    if may_write(space, caller, &old.id) && window != cube.header.times.valid {
        batch.update(Update { cube: old.id, parent: head.digest, mode: UpdateMode::Revalidate(window) });
    }
    Ok(())
}

fn may_write(space: &Space, caller: &Principal, cube: &CubeId) -> bool {
    may(space, caller, cube, Operation::Write)
}

fn may_link(space: &Space, caller: &Principal, cube: &CubeId) -> bool {
    // A cube that is not there yet is in the caller's own batch.
    space.view().slot(cube).is_none() || may(space, caller, cube, Operation::Share)
}

fn may(space: &Space, caller: &Principal, cube: &CubeId, operation: Operation) -> bool {
    let view = space.view();
    let class = view.slot(cube).and_then(|slot| view.class(slot));
    class.is_some_and(|class| space.ruling().decide(caller, operation, class).allowed())
}

/// Returns the facts under a tag that the caller may read and that nothing supersedes.
fn known(space: &Space, caller: &Principal, key: &str) -> Result<Vec<Current>> {
    let found: Vec<_> = {
        let view = space.view();
        let filter = Filter {
            classes: space.readable_in_full(&view, caller),
            semantic: vec![SemanticType::Fact, SemanticType::Preference],
            required_terms: vec![tag_term(key)],
            ..Filter::default()
        };
        let query = IndexQuery { vector: vec![0.0; space.embedder().dimensions()], terms: Vec::new() };
        let superseded = |slot: Slot| {
            view.graph()
                .edges(slot)
                .any(|edge| edge.kind == LinkKind::Supersedes && edge.direction == Direction::Backward)
        };
        let matches = view.index.search(&query, &filter, MOST_KNOWN)?.matches;
        matches
            .iter()
            .filter(|found| !superseded(found.slot))
            .filter_map(|found| view.head(found.slot).cloned())
            .collect()
    };
    let ledger = space.ledger()?;
    let mut current = Vec::with_capacity(found.len());
    for head in found {
        let header = ledger.header(head.event)?;
        let value = header.tags.iter().find_map(|tag| tag.strip_prefix("value:")).unwrap_or_default().to_owned();
        current.push(Current { id: head.id, value, observed: head.observed, from: header.times.valid.from });
    }
    Ok(current)
}
