//! Cubes that the space derives itself: how they are stored, renewed, and taken back when their sources go elsewhere.
//!
//! A derived cube belongs to one access class, that of its sources. It carries what is known to be sensitive in them, so it is
//! never easier to read than they are. Its next version is made when it would say something else.

use std::collections::{BTreeMap, BTreeSet};

use super::{What, Work};
use crate::cube::{
    Cube, CubeDraft, CubeId, OriginKind, Payload, Revision, SemanticType, State, Update, UpdateMode, VersionRef,
};
use crate::error::Result;
use crate::governance::KEEPER;
use crate::graph::{Direction, Edge, Link, LinkKind, Slot};
use crate::index::ClassId;
use crate::vault::{CubeHead, Projection};

/// A cube that something is derived from, read whole.
pub(super) struct SourceCube {
    pub(super) slot: Slot,
    pub(super) head: CubeHead,
    pub(super) cube: Cube,
}

impl SourceCube {
    pub(super) fn text(&self) -> &str {
        self.cube.payload.as_text().unwrap_or_default()
    }

    pub(super) fn speaker(&self) -> &str {
        self.cube.header.origin.speaker.as_deref().unwrap_or_default()
    }
}

/// What is to be derived from sources of one class.
pub(super) struct Derivation<'a> {
    pub(super) semantic: SemanticType,
    pub(super) title: String,
    pub(super) tags: Vec<String>,
    pub(super) path: Vec<String>,
    pub(super) text: String,
    /// All sources, which are linked by `kind`.
    pub(super) sources: &'a [SourceCube],
    pub(super) kind: LinkKind,
    /// Those whose words stand in the text.
    pub(super) quoted: Vec<usize>,
    pub(super) session: Option<String>,
}

/// Returns whether a derived cube was made by the space, and not by a reading or a model.
pub(super) fn is_our_own(work: &Work<'_>, head: &CubeHead) -> Result<bool> {
    let first = head.versions().next().unwrap_or(head.event);
    Ok(work.space.ledger()?.bare_header(first)?.origin.principal.as_str() == KEEPER)
}

/// Returns what a derived cube leads to by links of a type.
pub(super) fn sources_of(view: &Projection, slot: Slot, kind: LinkKind) -> Vec<Slot> {
    let leads = |edge: &Edge| edge.kind == kind && edge.direction == Direction::Forward;
    view.graph().edges(slot).filter(leads).map(|edge| edge.slot).collect()
}

/// Reads cubes, without those that were erased meanwhile.
pub(super) fn read_all(work: &Work<'_>, slots: impl IntoIterator<Item = (Slot, CubeId)>) -> Result<Vec<SourceCube>> {
    let mut read = Vec::new();
    for (slot, id) in slots {
        read.extend(work.read(&id)?.map(|(cube, head)| SourceCube { slot, head, cube }));
    }
    Ok(read)
}

/// Stores what is derived, or makes the next version of what was derived before when that says something else.
pub(super) fn put(work: &mut Work<'_>, existing: Option<&(Slot, CubeHead)>, derivation: Derivation<'_>) -> Result<()> {
    let quoted: Vec<&SourceCube> =
        derivation.quoted.iter().filter_map(|place| derivation.sources.get(*place)).collect();
    let refs: BTreeSet<VersionRef> = quoted.iter().map(|source| source.cube.header.version_ref()).collect();
    let sensitivity = derivation.sources.iter().flat_map(|source| source.cube.header.governance.sensitivity.clone());
    let sensitivity: BTreeSet<_> = sensitivity.collect();
    let (id, slot) = match existing {
        None => {
            let Some(first) = derivation.sources.first() else { return Ok(()) };
            let id = work.space.new_id();
            let draft = draft(&derivation, first, sensitivity, refs.into_iter().collect());
            let what = if derivation.semantic == SemanticType::Summary { What::Summarised } else { What::Reflected };
            work.found.batch.store(id, draft);
            work.note(id, what, None, format!("from {} memories", derivation.sources.len()));
            (id, None)
        }
        Some((slot, head)) => {
            let Some((before, head)) = work.read(&head.id)? else { return Ok(()) };
            if before.payload.as_text() != Some(derivation.text.as_str()) {
                let known: BTreeSet<_> = before.header.chain.derived_from.iter().copied().collect();
                let room = work.space.limits().derived_from.saturating_sub(known.len());
                let revision = Revision {
                    payload: Some(Payload::text(derivation.text.clone())),
                    tags: fresh_tags(work, &before, &derivation.tags),
                    sensitivity,
                    sources: refs.difference(&known).copied().take(room).collect(),
                    ..Revision::default()
                };
                let mode = UpdateMode::Revise(Box::new(revision));
                work.found.batch.update(Update { cube: head.id, parent: head.digest, mode });
                work.note(head.id, What::Renewed, None, format!("from {} memories", derivation.sources.len()));
            }
            (head.id, Some(*slot))
        }
    };
    link_sources(work, id, slot, &derivation);
    for source in derivation.sources {
        work.found.batch.expect(source.head.id, source.head.digest);
    }
    Ok(())
}

fn draft(
    derivation: &Derivation<'_>,
    first: &SourceCube,
    sensitivity: BTreeSet<crate::governance::sensitivity::SensitivityKind>,
    derived_from: Vec<VersionRef>,
) -> CubeDraft {
    let governance = &first.cube.header.governance;
    // What is of one person is forgotten with that person; what is of several belongs to whoever owns it.
    let subject = &first.cube.header.subject;
    let is_common = derivation.sources.iter().all(|source| source.cube.header.subject == *subject);
    let task = &first.cube.header.origin.task;
    let is_common_task = derivation.sources.iter().all(|source| source.cube.header.origin.task == *task);
    CubeDraft {
        title: derivation.title.clone(),
        tags: derivation.tags.clone(),
        path: derivation.path.clone(),
        origin: OriginKind::Inference,
        task: task.clone().filter(|_| is_common_task),
        session: derivation.session.clone(),
        subject: is_common.then(|| subject.clone()),
        observed: derivation.sources.iter().map(|source| source.head.observed).max(),
        owner: Some(governance.owner.clone()),
        layer: governance.layer.clone(),
        grants: governance.grants.clone(),
        sensitivity,
        derived_from,
        ..CubeDraft::text(derivation.semantic, derivation.text.clone())
    }
}

/// Returns the tags that a cube does not have, as many as there is room for.
fn fresh_tags(work: &Work<'_>, before: &Cube, tags: &[String]) -> Vec<String> {
    let room = work.space.limits().tags.saturating_sub(before.header.tags.len());
    tags.iter().filter(|tag| !before.header.tags.contains(tag)).take(room).cloned().collect()
}

fn link_sources(work: &mut Work<'_>, id: CubeId, slot: Option<Slot>, derivation: &Derivation<'_>) {
    let most = work.space.limits().links_per_cube;
    let missing: Vec<CubeId> = {
        let view = work.space.view();
        let known: BTreeSet<Slot> =
            slot.map(|slot| sources_of(&view, slot, derivation.kind)).into_iter().flatten().collect();
        let room = most.saturating_sub(slot.map_or(0, |slot| view.graph().degree(slot, Direction::Forward, most)));
        let missing = derivation.sources.iter().filter(|source| !known.contains(&source.slot));
        // What is full takes no more; the text names its sources all the same.
        let has_room = |source: &&SourceCube| view.graph().degree(source.slot, Direction::Backward, most) < most;
        missing.filter(has_room).take(room).map(|source| source.head.id).collect()
    };
    for to in missing {
        work.found.batch.link(Link { from: id, kind: derivation.kind, to });
    }
}

/// Takes a derived cube back of which not enough is left to derive anything from: its sources have gone to another class, and
/// its readers may not be theirs.
pub(super) fn take_back(work: &mut Work<'_>, head: &CubeHead) {
    const BECAUSE: &str = "what it was made from is not shared with its readers any more";
    let state = if head.legal_hold { State::Archived } else { State::Expired };
    if matches!(head.state, State::Generated | State::Activated | State::Archived) && head.state != state {
        work.found.batch.set_state(head.id, state, BECAUSE).expect(head.id, head.digest);
        work.note(head.id, What::Moved(state), None, BECAUSE);
    }
}

/// Takes the links to sources away that have gone to another class.
pub(super) fn unlink_strays(work: &mut Work<'_>, slot: Slot, head: &CubeHead, kind: LinkKind) -> bool {
    let strays: Vec<CubeId> = {
        let view = work.space.view();
        let sources = sources_of(&view, slot, kind).into_iter().filter_map(|slot| view.head(slot));
        sources.filter(|source| source.class != head.class).map(|source| source.id).collect()
    };
    for to in &strays {
        work.found.batch.unlink(Link { from: head.id, kind, to: *to });
    }
    !strays.is_empty()
}

/// Groups slots by the access class of their cubes.
pub(super) fn by_class(heads: impl IntoIterator<Item = (Slot, CubeHead)>) -> BTreeMap<ClassId, Vec<(Slot, CubeHead)>> {
    let mut groups: BTreeMap<ClassId, Vec<(Slot, CubeHead)>> = BTreeMap::new();
    for (slot, head) in heads {
        groups.entry(head.class).or_default().push((slot, head));
    }
    groups
}
