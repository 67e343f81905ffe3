//! Validation: what a batch may do, given the projection and the batches that are written together with it.
//!
//! The writer validates many batches before one commit, so a batch must see those before it that are not applied yet. A
//! stage holds just what they change. It is one layer over another: a batch that is refused is dropped with its layer.

use std::collections::{HashMap, HashSet};

use super::charter::CHARTER;
use crate::cube::{CubeId, Digest, Header, PrincipalId, State, UseSignal, VersionRef};
use crate::error::{Error, Result};
use crate::governance::quota::Quota;
use crate::governance::{AccessClass, Operation, Principal, Ruling};
use crate::graph::{Direction, Link, LinkKind, Slot};
use crate::keys::KeyRing;
use crate::ledger::{Change, header_digest};
use crate::lifecycle::{self, Guard, Transition};
use crate::limits::Limits;
use crate::vault::projection::{Owned, Projection};

/// A head as it will be.
#[derive(Debug, Clone)]
struct StagedHead {
    digest: Digest,
    version: u32,
    state: State,
    class: AccessClass,
    legal_hold: bool,
}

/// What the batches of one layer change.
#[derive(Debug, Default)]
struct Layer {
    slots: HashMap<CubeId, Slot>,
    heads: HashMap<CubeId, StagedHead>,
    links: HashMap<(Slot, LinkKind, Slot), bool>,
    /// How many more links leave and enter a slot.
    degrees: HashMap<(Slot, Direction), isize>,
    lineage: HashMap<Slot, Vec<(LinkKind, Slot)>>,
    lineage_targets: HashSet<Slot>,
    /// Whether a register has a value.
    registers: HashMap<String, bool>,
    /// How much more somebody owns.
    owned: HashMap<PrincipalId, Owned>,
}

/// The projection with what is about to be written.
pub(super) struct Stage<'a> {
    projection: &'a Projection,
    ruling: &'a Ruling,
    limits: &'a Limits,
    ring: &'a KeyRing,
    accepted: Layer,
    current: Layer,
}

impl<'a> Stage<'a> {
    pub(super) fn new(projection: &'a Projection, ruling: &'a Ruling, limits: &'a Limits, ring: &'a KeyRing) -> Self {
        Self { projection, ruling, limits, ring, accepted: Layer::default(), current: Layer::default() }
    }

    /// Keeps what the batch at hand has changed.
    pub(super) fn accept(&mut self) {
        let batch = std::mem::take(&mut self.current);
        self.accepted.slots.extend(batch.slots);
        self.accepted.heads.extend(batch.heads);
        self.accepted.links.extend(batch.links);
        self.accepted.lineage_targets.extend(batch.lineage_targets);
        self.accepted.registers.extend(batch.registers);
        for (owner, more) in batch.owned {
            let owned = self.accepted.owned.entry(owner).or_default();
            owned.memories += more.memories;
            owned.bytes += more.bytes;
        }
        for (end, more) in batch.degrees {
            *self.accepted.degrees.entry(end).or_default() += more;
        }
        for (from, to) in batch.lineage {
            self.accepted.lineage.entry(from).or_default().extend(to);
        }
    }

    /// Forgets what the batch at hand has changed.
    pub(super) fn refuse(&mut self) {
        self.current = Layer::default();
    }

    /// Refuses a batch that was made from versions that are no longer the heads.
    pub(super) fn require_expected(&self, principal: &Principal, expected: &[(CubeId, Digest)]) -> Result<()> {
        for (cube, digest) in expected {
            self.require(principal, cube, Operation::Read)?;
            if self.head(cube).is_none_or(|head| head.digest != *digest || head.state == State::Erased) {
                return Err(Error::conflict(format!(
                    "cube `{cube}` has changed by now; read it again and repeat the change on that"
                )));
            }
        }
        Ok(())
    }

    /// Checks one change and takes it in. Returns false when it changes nothing.
    pub(super) fn admit(&mut self, principal: &Principal, change: &Change, sources: &[VersionRef]) -> Result<bool> {
        match change {
            Change::CubeStored(header) => self.admit_cube(principal, header, sources),
            Change::Linked(link) => self.admit_link(principal, link, true),
            Change::Unlinked(link) => self.admit_link(principal, link, false),
            Change::StateChanged { cube, state, .. } => self.admit_state(principal, cube, *state),
            Change::Unfrozen { cube, .. } => self.admit_unfreezing(principal, cube),
            Change::Erased { cubes, .. } => {
                cubes.iter().try_for_each(|cube| self.admit_erasure(principal, cube))?;
                Ok(!cubes.is_empty())
            }
            Change::CubesUsed(uses) => {
                for (cube, signal) in uses {
                    let head = self.require(principal, cube, Operation::Read)?;
                    if *signal == UseSignal::Read && head.state == State::Generated {
                        self.current.heads.insert(*cube, StagedHead { state: State::Activated, ..head });
                    }
                }
                Ok(!uses.is_empty())
            }
            Change::RegisterSet { name, value } => self.admit_register(principal, name, value.is_some()),
            Change::Recorded(records) => match principal.is_keeper() {
                true => Ok(!records.is_empty()),
                false => Err(Error::denied("the space itself alone puts something on record")),
            },
            Change::Requested { .. } => Ok(true),
            Change::SpaceCreated { .. } | Change::SpaceForked { .. } | Change::EmbedderChanged { .. } => {
                Err(Error::invalid("a batch can change cubes and links alone"))
            }
        }
    }

    fn admit_register(&mut self, principal: &Principal, name: &str, is_set: bool) -> Result<bool> {
        if name == CHARTER {
            let decision = self.ruling.decide_governing(principal);
            if !decision.allowed() {
                let why = format!("`{}` may not change the rules of the space: {}", principal.id, decision.rule);
                return Err(Error::denied(why));
            }
        } else if !principal.is_keeper() {
            return Err(Error::denied(format!("the space itself alone sets its register `{name}`")));
        }
        let there = self.current.registers.get(name).or_else(|| self.accepted.registers.get(name)).copied();
        let was_set = there.unwrap_or_else(|| self.projection.registers.get(name).is_some());
        let most = self.limits.registers;
        if is_set && !was_set && self.projection.registers.len() + self.current.registers.len() >= most {
            return Err(Error::invalid(format!("the space has {most} registers, and no more are accepted")));
        }
        self.current.registers.insert(name.to_owned(), is_set);
        Ok(is_set || was_set)
    }

    fn admit_cube(&mut self, principal: &Principal, header: &Header, sources: &[VersionRef]) -> Result<bool> {
        let class = AccessClass::from(&header.governance);
        let legal_hold = header.governance.legal_hold;
        if !lives(self.ring, header.seal.ring) {
            return Err(Error::conflict("all memories of this subject were erased meanwhile; store it again"));
        }
        let state = match (header.chain.parent, self.head(&header.id)) {
            (None, None) => {
                let count = self.projection.heads.len() + self.accepted.slots.len() + self.current.slots.len();
                if count >= self.limits.cubes {
                    return Err(Error::invalid(format!("the space has {count} cubes, and no more are accepted")));
                }
                // The draft's own grants do not count: with them its writer could let itself write in another's name.
                let granted = AccessClass { grants: Vec::new(), ..class.clone() };
                if class.owner != principal.id && !self.ruling.decide(principal, Operation::Write, &granted).allowed() {
                    return Err(Error::denied(format!("`{}` may not write for `{}`", principal.id, class.owner)));
                }
                self.require_quota(&class.owner, 1, header.fingerprint.bytes)?;
                self.current.slots.insert(header.id, count as Slot);
                header.lifecycle.state
            }
            (None, Some(_)) => return Err(Error::conflict(format!("cube `{}` is there already", header.id))),
            (Some(_), None) => return Err(missing(&header.id)),
            (Some(parent), Some(head)) => {
                self.require(principal, &header.id, Operation::Write)?;
                self.require_governance(principal, &header.id, &head, &class, legal_hold)?;
                if parent != head.digest || header.version != head.version + 1 {
                    return Err(Error::conflict(format!(
                        "cube `{}` is at version {} by now; read it again and repeat the change on that",
                        header.id, head.version
                    )));
                }
                let there = self.projection.slot(&header.id).and_then(|slot| self.projection.head(slot));
                let more = header.fingerprint.bytes.saturating_sub(there.map_or(0, |head| head.bytes));
                self.require_quota(&class.owner, 0, more)?;
                if matches!(head.state, State::Frozen | State::Erased | State::Merged) {
                    return Err(Error::invalid(format!(
                        "cube `{}` is {} and takes no new version",
                        header.id, head.state
                    )));
                }
                head.state
            }
        };
        for source in sources {
            self.require(principal, &source.cube, Operation::Read)?;
            let versions = self.head(&source.cube).map_or(0, |head| head.version);
            if !(1..=versions).contains(&source.version) {
                return Err(Error::not_found(format!(
                    "there is no version `{source}`; cube `{}` has {versions}",
                    source.cube
                )));
            }
        }
        let digest = header_digest(header)?;
        self.current.heads.insert(header.id, StagedHead { digest, version: header.version, state, class, legal_hold });
        Ok(true)
    }

    /// Refuses what would give somebody more than their quota.
    fn require_quota(&mut self, owner: &PrincipalId, memories: u64, bytes: u64) -> Result<()> {
        let quota = self.ruling.quota(owner);
        let staged = self.current.owned.entry(owner.clone()).or_default();
        staged.memories += memories;
        staged.bytes += bytes;
        let accepted = self.accepted.owned.get(owner).copied().unwrap_or_default();
        let there = self.projection.owned.get(owner).copied().unwrap_or_default();
        let refused = |has: u64, most: u64, unit: &str| {
            let advice = "erase some, or ask for a larger quota";
            Err(Error::denied(format!("`{owner}` would own {has} {unit}, and its quota is {most}; {advice}")))
        };
        let (memories, bytes) =
            (there.memories + accepted.memories + staged.memories, there.bytes + accepted.bytes + staged.bytes);
        match quota {
            Quota { memories: Some(most), .. } if memories > most => refused(memories, most, "memories"),
            Quota { bytes: Some(most), .. } if bytes > most => refused(bytes, most, "bytes"),
            _ => Ok(()),
        }
    }

    fn admit_link(&mut self, principal: &Principal, link: &Link, there: bool) -> Result<bool> {
        let ends = [
            self.require(principal, &link.from, Operation::Share)?.state,
            self.require(principal, &link.to, Operation::Read)?.state,
        ];
        if there && ends.contains(&State::Erased) {
            return Err(Error::invalid("an erased cube takes no link"));
        }
        let (from, to) = (self.slot(&link.from)?, self.slot(&link.to)?);
        let key = (from, link.kind, to);
        if self.linked(key) == there {
            return Ok(false);
        }
        let ends = [(from, Direction::Forward), (to, Direction::Backward)];
        if there {
            if from == to {
                return Err(Error::invalid("a cube cannot be linked to itself"));
            }
            ends.iter().try_for_each(|end| self.require_room(*end))?;
            if link.kind.is_lineage() {
                if self.is_ancestor(from, to) {
                    let kind = link.kind;
                    return Err(Error::invalid(format!(
                        "the `{kind}` link would close a circle: the one was made from the other"
                    )));
                }
                self.current.lineage.entry(from).or_default().push((link.kind, to));
                self.current.lineage_targets.insert(to);
            }
        }
        self.current.links.insert(key, there);
        for end in ends {
            *self.current.degrees.entry(end).or_default() += if there { 1 } else { -1 };
        }
        Ok(true)
    }

    /// Refuses one more link where there are as many as a cube may have, counting those that are about to come and go.
    fn require_room(&self, end: (Slot, Direction)) -> Result<()> {
        let most = self.limits.links_per_cube;
        let staged: isize = [&self.current, &self.accepted].iter().filter_map(|layer| layer.degrees.get(&end)).sum();
        // Counting stops where there is no room, so a cube with many links costs no more than that.
        let room = most.saturating_add_signed(-staged);
        if self.projection.graph.degree(end.0, end.1, room) == room {
            return Err(Error::invalid(format!("the cube has {most} links already, and no more are accepted")));
        }
        Ok(())
    }

    /// Refuses what changes who may use a cube, or ends its hold, to those who may only write it.
    fn require_governance(
        &self,
        principal: &Principal,
        cube: &CubeId,
        head: &StagedHead,
        class: &AccessClass,
        legal_hold: bool,
    ) -> Result<()> {
        // What is found to be sensitive is so, whoever wrote it.
        let rights = AccessClass { sensitive: head.class.sensitive, ..class.clone() };
        if rights != head.class {
            self.require(principal, cube, Operation::Share)?;
        }
        if head.legal_hold && !legal_hold {
            self.require(principal, cube, Operation::Release)?;
        }
        Ok(())
    }

    fn admit_state(&mut self, principal: &Principal, cube: &CubeId, state: State) -> Result<bool> {
        let head = self.require(principal, cube, Operation::Write)?;
        if state == State::Erased {
            return Err(Error::invalid("a change of state erases nothing; erase the cube instead"));
        }
        if head.state == state {
            return Ok(false);
        }
        let slot = self.slot(cube)?;
        let guard = Guard {
            legal_hold: head.legal_hold,
            has_merge_target: self.has_merge_target(slot),
            // Going from frozen to another state is not to unfreeze it.
            may_unfreeze: false,
        };
        if head.state == State::Frozen {
            return Err(Error::invalid(format!("cube `{cube}` is frozen; unfreeze it first")));
        }
        let state = lifecycle::next(head.state, Transition::between(head.state, state)?, &guard)
            .map_err(|e| e.at(format!("cube `{cube}`")))?;
        self.current.heads.insert(*cube, StagedHead { state, ..head });
        Ok(true)
    }

    fn admit_unfreezing(&mut self, principal: &Principal, cube: &CubeId) -> Result<bool> {
        let head = self.require(principal, cube, Operation::Unfreeze)?;
        let guard = Guard { may_unfreeze: true, ..Guard::default() };
        let state =
            lifecycle::next(head.state, Transition::Unfreeze, &guard).map_err(|e| e.at(format!("cube `{cube}`")))?;
        self.current.heads.insert(*cube, StagedHead { state, ..head });
        Ok(true)
    }

    fn admit_erasure(&mut self, principal: &Principal, cube: &CubeId) -> Result<()> {
        let head = self.require(principal, cube, Operation::Erase)?;
        let guard = Guard { legal_hold: head.legal_hold, ..Guard::default() };
        let state =
            lifecycle::next(head.state, Transition::Erase, &guard).map_err(|e| e.at(format!("cube `{cube}`")))?;
        self.current.heads.insert(*cube, StagedHead { state, ..head });
        Ok(())
    }

    fn has_merge_target(&self, slot: Slot) -> bool {
        let known = self.projection.graph.slots() as Slot;
        let there = (slot < known).then(|| self.projection.graph.edges(slot)).into_iter().flatten();
        let there = there
            .filter(|edge| edge.kind == LinkKind::MergedInto && edge.direction == Direction::Forward)
            .map(|edge| (edge.kind, edge.slot));
        let coming = [&self.current, &self.accepted].into_iter().filter_map(|layer| layer.lineage.get(&slot)).flatten();
        let coming = coming.filter(|(kind, _)| *kind == LinkKind::MergedInto).copied();
        there.chain(coming).any(|(kind, to)| self.linked((slot, kind, to)))
    }

    /// Returns a cube's head. Refuses what the policy does not allow; who may not even read a cube is told that it is
    /// not there.
    fn require(&self, principal: &Principal, cube: &CubeId, operation: Operation) -> Result<StagedHead> {
        let Some(head) = self.head(cube) else { return Err(missing(cube)) };
        let decision = self.ruling.decide(principal, operation, &head.class);
        let reads = self.ruling.decide(principal, Operation::Read, &head.class).shows();
        if operation == Operation::Read && reads || decision.allowed() {
            return Ok(head);
        }
        if !reads {
            return Err(missing(cube));
        }
        Err(Error::denied(format!("`{}` may not change cube `{cube}`: {}", principal.id, decision.rule)))
    }

    fn head(&self, cube: &CubeId) -> Option<StagedHead> {
        if let Some(head) = self.current.heads.get(cube).or_else(|| self.accepted.heads.get(cube)) {
            return Some(head.clone());
        }
        let slot = self.projection.slot(cube)?;
        let (head, class) = (self.projection.head(slot)?, self.projection.class(slot)?);
        Some(StagedHead {
            digest: head.digest,
            version: head.version,
            state: head.state,
            class: class.clone(),
            legal_hold: head.legal_hold,
        })
    }

    fn slot(&self, cube: &CubeId) -> Result<Slot> {
        let staged = self.current.slots.get(cube).or_else(|| self.accepted.slots.get(cube)).copied();
        staged.or_else(|| self.projection.slot(cube)).ok_or_else(|| missing(cube))
    }

    fn linked(&self, key: (Slot, LinkKind, Slot)) -> bool {
        let staged = self.current.links.get(&key).or_else(|| self.accepted.links.get(&key)).copied();
        staged.unwrap_or_else(|| {
            let known = self.projection.graph.slots() as Slot;
            key.0 < known && key.2 < known && self.projection.graph.contains(key.0, key.1, key.2)
        })
    }

    /// Returns whether `slot` was made from `ancestor`, over what is there and what is about to be.
    fn is_ancestor(&self, ancestor: Slot, slot: Slot) -> bool {
        let staged = [&self.current, &self.accepted];
        // Nothing was made from most cubes, and then no circle can close.
        let known = self.projection.graph.slots() as Slot;
        let made_from_it = ancestor < known && self.projection.graph.edges(ancestor).any(|edge| edge.is_descendant());
        if !made_from_it && !staged.iter().any(|layer| layer.lineage_targets.contains(&ancestor)) {
            return false;
        }
        let mut seen = HashSet::from([slot]);
        let mut open = vec![slot];
        while let Some(at) = open.pop() {
            if at == ancestor {
                return true;
            }
            let there = (at < known).then(|| self.projection.graph.edges(at)).into_iter().flatten();
            let there = there.filter(|edge| edge.is_source()).map(|edge| (edge.kind, edge.slot));
            let coming = staged.iter().filter_map(|layer| layer.lineage.get(&at)).flatten().copied();
            // A link that is about to go leads nowhere any more.
            let next = there.chain(coming).filter(|&(kind, next)| self.linked((at, kind, next)) && seen.insert(next));
            open.extend(next.map(|(_, next)| next));
        }
        false
    }
}

/// Returns whether the keys that a record was sealed with are still there.
fn lives(ring: &KeyRing, number: u32) -> bool {
    ring.is_plain() || ring.name_of(number).is_some()
}

pub(super) fn missing(cube: &CubeId) -> Error {
    Error::not_found(format!("there is no cube `{cube}` that the caller may see"))
}
