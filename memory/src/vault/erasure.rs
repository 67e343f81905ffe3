//! Erasure: what is forgotten for good, by destroying its key and every copy of it.
//!
//! An erasure is one event. With it go the records and vectors beside the ledger; then the keys, so that what a disk or
//! a backup still has of them says nothing; then the snapshot. The projection forgets the words, the names and the
//! links. What stays is the tombstone: the ids, owners, times and states of the events, over which the chain still
//! verifies. When a program dies on the way, the next opening goes on where it stopped.
//!
//! A segment or an adapter that was made from a memory holds what it says. It is the space's own, and goes with its source, before
//! it, whoever may read it: when a program dies in between, a form is gone that can be made again.

use std::sync::Weak;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::batch::{Batch, Write};
use super::commit::{Forgotten, gone};
use super::projection::Projection;
use super::space::Space;
use super::stage::missing;
use crate::cube::{CubeId, Kind, State};
use crate::error::{Error, Result};
use crate::governance::{Operation, Principal};
use crate::graph::{Direction, LinkKind, Slot};
use crate::ledger::Change;
use crate::limits::Limits;

/// What is to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erasure {
    /// These cubes, in all versions.
    Cubes(Vec<CubeId>),
    /// All memories of one subject, and the subject's name.
    Subject(String),
}

/// What an erasure took, and what it left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// The event.
    pub event: u64,
    /// The cubes that were erased.
    pub cubes: Vec<CubeId>,
    /// Memories that were made from them and are still there, as far as the caller may read them. They may say the same.
    pub derived: Vec<CubeId>,
}

impl Space {
    /// Erases memories for good: their text, names and vectors are gone from disk, index, graph and snapshot when this
    /// returns, and nothing brings them back. Spaces that were forked from this one erase them too, with the versions
    /// that they have added; a new memory that a fork has stored of the same subject is the fork's own.
    ///
    /// # Errors
    /// `Denied` when a memory is under legal hold or the caller may not erase it; `NotFound` when there is nothing to
    /// erase; nothing was erased then. `Unavailable` when the disk fails; if the event was written already, the next
    /// opening finishes it.
    pub fn erase(&self, caller: &Principal, erasure: Erasure, reason: impl Into<String>) -> Result<Erased> {
        let reason = reason.into();
        let (cubes, forms, subject, derived) = {
            let view = self.view();
            let (mut slots, subject) = match erasure {
                Erasure::Cubes(cubes) => (slots_of(&view, &cubes)?, None),
                Erasure::Subject(name) => {
                    let slots = view.subjects.find(&name).map(|number| {
                        let heads = (0..).zip(&view.heads).filter(|(_, head)| head.subject == Some(number));
                        heads.map(|(slot, _)| slot).collect::<Vec<Slot>>()
                    });
                    let nothing =
                        || Error::not_found(format!("there is no memory of `{name}` in space `{}`", self.name()));
                    let slots = slots.filter(|slots| !slots.is_empty()).ok_or_else(nothing)?;
                    let slots: Vec<Slot> = slots.into_iter().filter(|slot| !is_form(&view, *slot)).collect();
                    let may = |operation| {
                        let view = &view;
                        move |slot: &Slot| self.decide(view, caller, operation, *slot).allowed()
                    };
                    // Who may see none of them is not told that there are any, and nobody is told the ids of those they
                    // may not see.
                    if !slots.iter().all(may(Operation::Erase)) {
                        let sees_one =
                            slots.iter().any(may(Operation::Read)) || slots.iter().any(may(Operation::Erase));
                        let denied =
                            || Error::denied(format!("`{}` may not erase all memories of `{name}`", caller.id));
                        return Err(if sees_one { denied() } else { nothing() });
                    }
                    (slots, self.subject_key(&name))
                }
            };
            if slots.is_empty() {
                return Err(Error::not_found("there is nothing to erase; name at least one cube"));
            }
            Limits::check("the erasure", slots.len(), self.limits().erased_cubes, "cubes")?;
            let forms = self.forms_of(&view, caller, &slots);
            slots.retain(|slot| !forms.contains(slot));
            let derived = self.derived_from(&view, caller, &slots);
            let ids = slots.iter().filter_map(|slot| view.head(*slot)).map(|head| head.id).collect::<Vec<_>>();
            let forms = forms.iter().filter_map(|slot| view.head(*slot)).map(|head| head.id).collect::<Vec<_>>();
            let derived: Vec<CubeId> = derived.into_iter().filter(|id| !forms.contains(id)).collect();
            (ids, forms, subject, derived)
        };
        let mut batch = Batch::default();
        if !forms.is_empty() {
            let mut batch = Batch::default();
            batch.push(Write::Erase { cubes: forms.clone(), subject: None, reason: reason.clone() });
            self.commit_as_space(batch)?;
        }
        batch.push(Write::Erase { cubes, subject, reason });
        let event = self.commit(caller, batch)?.first_event;
        // What was stored of the subject while the erasure waited went with it.
        match self.ledger()?.event(event)?.change {
            Change::Erased { cubes, .. } => {
                Ok(Erased { event, cubes: cubes.into_iter().chain(forms).collect(), derived })
            }
            _ => Err(Error::corrupt(format!("event {event} is not the erasure that was written"))),
        }
    }

    /// Returns the number of a subject's keys, unless they are those of a fork's origin alone.
    fn subject_key(&self, name: &str) -> Option<u32> {
        self.shared().ring.number_of(name).filter(|_| self.is_encrypted())
    }

    /// Returns the forms that were made from memories which the caller may erase, and from their forms.
    fn forms_of(&self, view: &super::projection::Present, caller: &Principal, slots: &[Slot]) -> Vec<Slot> {
        let may = |slot: &Slot| {
            view.head(*slot).is_some_and(|head| !head.legal_hold)
                && self.decide(view, caller, Operation::Erase, *slot).allowed()
        };
        let mut forms = Vec::new();
        if !slots.iter().all(may) {
            // The erasure will be refused, and takes nothing.
            return forms;
        }
        let mut open = slots.to_vec();
        while let Some(at) = open.pop() {
            for edge in view.graph().edges(at).filter(|edge| edge.is_descendant()) {
                if is_form(view, edge.slot) && !forms.contains(&edge.slot) {
                    forms.push(edge.slot);
                    open.push(edge.slot);
                }
            }
        }
        forms
    }

    fn derived_from(&self, view: &super::projection::Present, caller: &Principal, slots: &[Slot]) -> Vec<CubeId> {
        let erased: std::collections::HashSet<Slot> = slots.iter().copied().collect();
        let mut seen = erased.clone();
        let mut open = slots.to_vec();
        let mut derived = Vec::new();
        while let Some(at) = open.pop() {
            for edge in view.graph().edges(at).filter(|edge| edge.is_descendant()) {
                if !seen.insert(edge.slot) {
                    continue;
                }
                open.push(edge.slot);
                if let Some(head) = view.head(edge.slot)
                    && head.state != State::Erased
                    && self.decide(view, caller, Operation::Read, edge.slot).shows()
                {
                    derived.push(head.id);
                }
            }
        }
        derived.sort_unstable();
        derived
    }

    /// Destroys the keys of what an event erased, and every copy outside the ledger. Called by the writer.
    pub(super) fn forget(&self, forgotten: &Forgotten) -> Result<()> {
        let shared = self.shared();
        let unfinished = |error: Error| {
            Error::new(
                error.kind(),
                format!("it is erased, but a copy could not be destroyed yet; the next opening goes on ({error})"),
            )
        };
        shared.governed.fetch_max(forgotten.through, Ordering::Release);
        shared.views.lock().clear();
        let subjects: Vec<u32> = forgotten.subject.into_iter().collect();
        shared.ring.burn(&forgotten.keys, &subjects, forgotten.through).map_err(unfinished)?;
        shared.remove_snapshot().map_err(unfinished)?;
        let forks: Vec<_> = shared.forks.lock().iter().filter_map(Weak::upgrade).collect();
        forks.into_iter().try_for_each(|fork| Self::from_shared(fork).erase_inherited()).map_err(unfinished)
    }

    /// Erases in a fork what was erased in its origin, with the versions that the fork has added. What is under legal
    /// hold here keeps those; its origin's are unreadable all the same.
    pub(super) fn erase_inherited(&self) -> Result<()> {
        let Some(origin) = &self.shared().origin else { return Ok(()) };
        let cubes: Vec<CubeId> = {
            let (ours, theirs) = (self.view(), origin.view());
            let erased_there = |cube: &CubeId| {
                theirs.slot(cube).and_then(|slot| theirs.head(slot)).is_some_and(|head| head.state == State::Erased)
            };
            let here = ours.heads.iter().filter(|head| head.state != State::Erased && !head.legal_hold);
            here.map(|head| head.id).filter(erased_there).collect()
        };
        if cubes.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        let reason = format!("erased in `{}`, from which this space was forked", origin.name());
        batch.push(Write::Erase { cubes, subject: None, reason });
        self.commit_as_space(batch).map(drop)
    }

    /// Finishes erasures that a program did not live to finish.
    pub(super) fn finish_erasures(&self) -> Result<()> {
        let shared = self.shared();
        let through = shared.readers.erased_through()?;
        let burned = shared.ring.burned_through();
        let events = self.view().ledger.events;
        if burned > events && self.is_encrypted() {
            return Err(Error::corrupt(format!(
                "the ledger ends after {events} events, and the keys of what event {} erased are gone already: the disk has lost \
                 what it had acknowledged; bring the ledger back from a copy",
                burned - 1
            )));
        }
        let reader = self.ledger()?;
        if through > 0 && !self.is_encrypted() {
            // No key tells how far it came.
            let erased = self
                .view()
                .heads
                .iter()
                .filter(|head| head.state == State::Erased)
                .map(|head| head.id)
                .collect::<Vec<_>>();
            let (rows, _) = gone(&self.view(), &reader, &erased)?;
            self.writer()?.hold(|ledger| ledger.remove_files(rows.into_iter().map(|(_, file)| file)));
        }
        if through <= burned {
            return Ok(());
        }
        let (mut keys, mut subjects) = (Vec::new(), Vec::new());
        let mut files = Vec::new();
        for sequence in burned.max(reader.first_own())..through {
            if let Change::Erased { cubes, subject, .. } = reader.event(sequence)?.change {
                let (rows, of_cubes) = gone(&self.view(), &reader, &cubes)?;
                files.extend(rows.into_iter().map(|(_, file)| file));
                keys.extend(of_cubes);
                subjects.extend(subject);
            }
        }
        self.writer()?.hold(|ledger| ledger.remove_files(files));
        shared.ring.burn(&keys, &subjects, through)
    }
}

/// Returns whether a cube is a segment or an adapter that was made from a memory of the space, and is not erased.
fn is_form(view: &Projection, slot: Slot) -> bool {
    view.head(slot).is_some_and(|head| head.kind != Kind::Plaintext && head.state != State::Erased && !head.legal_hold)
        && view
            .graph()
            .edges(slot)
            .any(|edge| edge.kind == LinkKind::DerivedFrom && edge.direction == Direction::Forward)
}

fn slots_of(view: &Projection, cubes: &[CubeId]) -> Result<Vec<Slot>> {
    let mut slots: Vec<Slot> =
        cubes.iter().map(|cube| view.slot(cube).ok_or_else(|| missing(cube))).collect::<Result<_>>()?;
    slots.sort_unstable();
    slots.dedup();
    Ok(slots)
}
