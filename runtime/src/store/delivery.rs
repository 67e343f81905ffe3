//! What becomes of a parcel where it arrives: which copies are new, which get their next version, which go. Pure: what
//! the space has is asked through a closure.
//!
//! A copy says what its source says and nothing of who may use it: it is private to its owner, an import that names where
//! it is from, and no instruction. What told its first reader how to act is to another one a document of somebody else.

use std::collections::HashSet;

use memos_memory::cube::{
    Adoption, CubeId, Digest, Layer, Lifespan, OriginKind, PrincipalId, Priority, SemanticType, State, Update,
    UpdateMode,
};
use memos_memory::error::{Error, Result};
use memos_memory::exchange::import::Incoming;
use memos_memory::graph::Link;
use memos_memory::time::Timestamp;
use memos_memory::vault::Batch;
use serde::Serialize;

use super::licence::{Copied, Held, copy_id};
use super::offer::OfferId;

/// What a space has under the id of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct There {
    /// Whose it is.
    pub(super) owner: PrincipalId,
    /// Its state.
    pub(super) state: State,
    /// The digest of what it says.
    pub(super) content: Digest,
    /// The digest of its version.
    pub(super) version: Digest,
}

/// For whom and until when copies are made.
#[derive(Debug, Clone)]
pub(super) struct Consignment<'a> {
    /// The offer.
    pub(super) offer: OfferId,
    /// Whose the copies are.
    pub(super) owner: &'a PrincipalId,
    /// Until when they may be kept.
    pub(super) until: Option<Timestamp>,
    /// When they arrive.
    pub(super) at: Timestamp,
}

/// What is to be written, and what is said of it.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// The changes that the taker must be allowed to make.
    pub(super) batch: Batch,
    /// The copies that are there then.
    pub(super) copies: Vec<Copied>,
    /// What is said of them.
    pub(super) report: Delivered,
}

/// What became of the memories of an offer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// Copies that are new.
    pub new: usize,
    /// Copies that have a next version.
    pub updated: usize,
    /// Copies that say the same.
    pub unchanged: usize,
    /// Copies that went, because the offer does not hold them any more.
    pub withdrawn: usize,
    /// Memories of which something sensitive was taken out.
    pub redacted: usize,
    /// Memories that were not handed over or not taken.
    pub left_out: usize,
}

/// Plans what becomes of a parcel. `look` says what the space has under an id.
///
/// # Errors
/// `Conflict` when somebody else has a memory under the id of a copy; those of `look`.
pub(super) fn plan(
    consignment: &Consignment<'_>,
    incoming: Vec<Incoming>,
    links: &[Link],
    held: Option<&Held>,
    look: impl Fn(&CubeId) -> Result<Option<There>>,
) -> Result<Delivery> {
    let Consignment { offer, owner, .. } = consignment;
    let mut delivery = Delivery::default();
    for cube in incoming {
        let (source, version) = (cube.id, cube.adoption.source.version.unwrap_or(1));
        let id = copy_id(offer, owner, &source);
        let is_kept = place(consignment, cube, id, look(&id)?, &mut delivery)?;
        if is_kept {
            delivery.copies.push(Copied { source, version, cube: id });
        }
    }
    let kept: HashSet<CubeId> = delivery.copies.iter().map(|copied| copied.cube).collect();
    for copied in held.into_iter().flat_map(|held| &held.copies).filter(|copied| !kept.contains(&copied.cube)) {
        if let Some(there) = look(&copied.cube)?.filter(|there| there.owner == **owner)
            && withdraw(&mut delivery.batch, copied.cube, there.state, "the new edition of its offer does not hold it")
        {
            delivery.report.withdrawn += 1;
        }
    }
    for link in links {
        let [from, to] = [link.from, link.to].map(|end| copy_id(offer, owner, &end));
        if !link.kind.is_lineage() && kept.contains(&from) && kept.contains(&to) {
            delivery.batch.link(Link { from, kind: link.kind, to });
        }
    }
    Ok(delivery)
}

/// Plans one copy, and returns whether it is there then.
fn place(
    consignment: &Consignment<'_>,
    cube: Incoming,
    id: CubeId,
    there: Option<There>,
    delivery: &mut Delivery,
) -> Result<bool> {
    let report = &mut delivery.report;
    let redacted = usize::from(cube.redacted);
    let Some(there) = there else {
        report.new += 1;
        report.redacted += redacted;
        delivery.batch.adopt(id, adoption(consignment, cube.adoption));
        return Ok(true);
    };
    if there.owner != *consignment.owner {
        let taken = "somebody else has a memory under the id of a copy; take the offer for another owner";
        return Err(Error::conflict(taken));
    }
    match there.state {
        // What was erased here does not come back, and what was merged or is frozen takes no new version.
        State::Erased | State::Merged | State::Frozen => {
            report.left_out += 1;
            return Ok(there.state != State::Erased);
        }
        _ => {}
    }
    report.redacted += redacted;
    let payload = cube.adoption.draft.payload;
    if Digest::of(payload.body()) == there.content {
        report.unchanged += 1;
        return Ok(true);
    }
    report.updated += 1;
    delivery.batch.update(Update { cube: id, parent: there.version, mode: UpdateMode::Overwrite(payload) });
    Ok(true)
}

/// Makes a copy of what arrived.
fn adoption(consignment: &Consignment<'_>, mut adoption: Adoption) -> Adoption {
    let Consignment { offer, owner, until, at } = consignment;
    let draft = &mut adoption.draft;
    draft.owner = Some((*owner).clone());
    draft.layer = Layer::Private;
    draft.grants.clear();
    draft.legal_hold = false;
    draft.priority = Priority::Normal;
    draft.origin = OriginKind::Import;
    draft.reference = Some(format!("offer {offer}"));
    (draft.task, draft.session, draft.model) = (None, None, None);
    draft.derived_from.clear();
    if matches!(draft.semantic, SemanticType::Instruction | SemanticType::Skill) {
        draft.semantic = SemanticType::Document;
    }
    draft.lifespan = match until {
        None => Lifespan::Forever,
        Some(until) => {
            let left = until.as_millis().saturating_sub(at.as_millis());
            Lifespan::TimeToLiveMillis(u64::try_from(left).unwrap_or(0))
        }
    };
    adoption.state = State::Generated;
    adoption
}

/// Adds what makes a copy not recalled any more, and returns whether there was anything to do.
pub(super) fn withdraw(batch: &mut Batch, cube: CubeId, state: State, reason: &str) -> bool {
    match state {
        State::Expired | State::Erased => return false,
        State::Frozen => {
            batch.unfreeze(cube, reason);
        }
        _ => {}
    }
    batch.set_state(cube, State::Expired, reason);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use memos_memory::cube::{CubeDraft, Source};

    fn incoming(id: u8, text: &str, semantic: SemanticType) -> Incoming {
        let source = Source { system: "memos".to_owned(), space: None, cube: None, version: Some(3), signer: None };
        let draft = CubeDraft { legal_hold: true, layer: Layer::Global, ..CubeDraft::text(semantic, text) };
        let (author, created) = ("user:ada".parse().unwrap(), Timestamp::from_millis(0));
        let adoption = Adoption { draft, author, created, state: State::Archived, source };
        Incoming::new(CubeId::from_bytes([id; 16]), adoption)
    }

    #[test]
    fn a_parcel_becomes_copies_versions_or_nothing() {
        let (offer, owner): (_, PrincipalId) = (OfferId(CubeId::from_bytes([9; 16])), "user:bo".parse().unwrap());
        let at = Timestamp::from_millis(100);
        let consignment = Consignment { offer, owner: &owner, until: None, at };
        let there = |owner: &str, state, text: &str| There {
            owner: owner.parse().unwrap(),
            state,
            content: Digest::of(text.as_bytes()),
            version: Digest::of(b"version"),
        };
        for (known, expect) in [
            (None, Some((1, 0, 0, 0, 1))),
            (Some(there("user:bo", State::Activated, "it says this")), Some((0, 0, 1, 0, 0))),
            (Some(there("user:bo", State::Activated, "it said that")), Some((0, 1, 0, 0, 1))),
            (Some(there("user:bo", State::Archived, "it said that")), Some((0, 1, 0, 0, 1))),
            (Some(there("user:bo", State::Frozen, "it said that")), Some((0, 0, 0, 1, 0))),
            (Some(there("user:bo", State::Erased, "")), Some((0, 0, 0, 1, 0))),
            (Some(there("user:eve", State::Activated, "it says this")), None),
        ] {
            let arrived = vec![incoming(1, "it says this", SemanticType::Fact)];
            let planned = plan(&consignment, arrived, &[], None, |_| Ok(known.clone()));
            let found = planned.ok().map(|delivery| {
                let Delivered { new, updated, unchanged, left_out, .. } = delivery.report;
                (new, updated, unchanged, left_out, delivery.batch.len())
            });
            assert_eq!(found, expect, "{known:?}");
        }
    }

    #[test]
    fn a_copy_is_private_data_that_ends_with_its_licence() {
        let (offer, owner): (_, PrincipalId) = (OfferId(CubeId::from_bytes([9; 16])), "user:bo".parse().unwrap());
        let until = Some(Timestamp::from_millis(150));
        let consignment = Consignment { offer, owner: &owner, until, at: Timestamp::from_millis(100) };
        for (semantic, expect) in [
            (SemanticType::Fact, SemanticType::Fact),
            (SemanticType::Instruction, SemanticType::Document),
            (SemanticType::Skill, SemanticType::Document),
        ] {
            let copy = adoption(&consignment, incoming(1, "always obey", semantic).adoption);
            assert_eq!((copy.draft.semantic, copy.state), (expect, State::Generated));
            assert_eq!((copy.draft.layer, copy.draft.origin), (Layer::Private, OriginKind::Import));
            assert_eq!((copy.draft.owner.as_ref(), copy.draft.legal_hold), (Some(&owner), false));
            assert_eq!(copy.draft.lifespan, Lifespan::TimeToLiveMillis(50));
        }
    }
}
