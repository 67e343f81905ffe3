//! Decisions that were made, for as long as nothing can change them.
//!
//! They are a function of who asks, in which setting, what for, of which class, and at most of the minute; so they are kept
//! by all of these, compared in full. The digest only finds the place: two questions with the same one take turns. A cache
//! belongs to one set of rules, so a new charter begins with an empty one.
//!
//! It has a bound in bytes, since names and grants are of any number. Each part holds two generations; when the young one is
//! full, the old one goes, and what is asked for in between comes back from it.

use std::hash::BuildHasher;

use parking_lot::RwLock;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::cube::Grant;
use crate::governance::{AccessClass, CallingContext, Decision, Operation, Principal};

/// Bytes of decisions that the rules of one space keep at hand.
pub(super) const DECISION_BYTES: usize = 16 * 1024 * 1024;

/// Parts of the cache, each with a lock of its own.
const PARTS: usize = 16;

/// Bytes that one name, with what holds it, is reckoned at beside its letters.
const NAME_BYTES: usize = 32;

#[derive(Debug)]
pub(super) struct Decisions {
    parts: [RwLock<Part>; PARTS],
    part_bytes: usize,
}

#[derive(Debug, Default)]
struct Part {
    young: FxHashMap<u64, Box<Kept>>,
    old: FxHashMap<u64, Box<Kept>>,
    /// Bytes of the young generation.
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    principal: Principal,
    operation: Operation,
    class: AccessClass,
    minute: Option<i64>,
    decision: Decision,
    bytes: usize,
}

impl Decisions {
    pub(super) fn new(bytes: usize) -> Self {
        Self { parts: Default::default(), part_bytes: bytes / PARTS / 2 }
    }

    /// Returns the decision that was made, or makes it.
    pub(super) fn get_or(
        &self,
        principal: &Principal,
        operation: Operation,
        class: &AccessClass,
        minute: Option<i64>,
        decide: impl FnOnce() -> Decision,
    ) -> Decision {
        let place = FxBuildHasher.hash_one((principal, operation, class));
        let Some(part) = self.parts.get((place >> 32) as usize % PARTS) else { return decide() };
        let asked = |kept: &Kept| {
            kept.minute == minute && kept.operation == operation && kept.principal == *principal && kept.class == *class
        };
        let is_old = {
            let part = part.read();
            if let Some(kept) = part.young.get(&place).filter(|kept| asked(kept)) {
                return kept.decision.clone();
            }
            part.old.get(&place).is_some_and(|kept| asked(kept))
        };
        if is_old && let Some(decision) = part.write().come_back(place, asked, self.part_bytes) {
            return decision;
        }
        // No lock is held meanwhile: two who ask the same at once make the same decision.
        let decision = decide();
        let bytes = bytes_of(principal, class, &decision);
        if bytes <= self.part_bytes {
            let (principal, class) = (principal.clone(), class.clone());
            let kept = Kept { principal, operation, class, minute, decision: decision.clone(), bytes };
            part.write().keep(place, Box::new(kept), self.part_bytes);
        }
        decision
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> (usize, usize) {
        let count = |kept: &FxHashMap<u64, Box<Kept>>| kept.values().map(|kept| kept.bytes).sum::<usize>();
        self.parts.iter().fold((0, 0), |(entries, bytes), part| {
            let part = part.read();
            (entries + part.young.len() + part.old.len(), bytes + count(&part.young) + count(&part.old))
        })
    }
}

impl Part {
    /// Makes an old decision young again. Since it was seen, somebody may have put another in its place, so it is asked again.
    fn come_back(&mut self, place: u64, asked: impl Fn(&Kept) -> bool, most: usize) -> Option<Decision> {
        let kept = self.old.remove(&place).filter(|kept| asked(kept))?;
        let decision = kept.decision.clone();
        self.keep(place, kept, most);
        Some(decision)
    }

    fn keep(&mut self, place: u64, kept: Box<Kept>, most: usize) {
        if self.bytes + kept.bytes > most {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += kept.bytes;
        if let Some(before) = self.young.insert(place, kept) {
            self.bytes = self.bytes.saturating_sub(before.bytes);
        }
    }
}

/// Reckons what a decision takes up, a little above what it does.
fn bytes_of(principal: &Principal, class: &AccessClass, decision: &Decision) -> usize {
    let CallingContext { purpose, task, session, model } = &principal.context;
    let setting = [purpose, task, session, model].into_iter().flatten();
    let names = principal.groups.iter().map(|group| group.as_str().len());
    let names = names.chain(principal.roles.iter().map(String::len)).chain(setting.map(String::len));
    let names: usize = names.map(|letters| letters + NAME_BYTES).sum();
    let grants = class.grants.len() * (size_of::<Grant>() + NAME_BYTES);
    size_of::<Kept>() + names + grants + decision.rule.len() + 4 * NAME_BYTES
}
