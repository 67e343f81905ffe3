//! What MemScheduler looks at in cubes, as far as a caller may see them.
//!
//! Only what the caller may read as it is comes into question: a redacted memory is neither read ahead nor put into a
//! form. Whoever asks for others must ask again in their name.

use super::projection::CubeHead;
use super::space::Space;
use super::sweep::standing_of;
use crate::cube::{Cube, CubeId, Kind, State};
use crate::error::{ErrorKind, Result};
use crate::governance::{Operation, Principal};
use crate::graph::Slot;
use crate::operator::estimated_tokens;
use crate::schedule::{Candidate, Wanted};
use crate::time::Timestamp;

impl Space {
    /// Returns cubes as candidates of the scheduler, unscored and without forms, with their texts. Those that are erased, that are no text, or that the
    /// caller may not read as they are, are not there.
    ///
    /// # Errors
    /// `Corrupt` when what is stored fails its checks.
    pub fn candidates(&self, caller: &Principal, cubes: &[(CubeId, Wanted)]) -> Result<Vec<(Candidate, String)>> {
        let heads: Vec<(CubeHead, Wanted)> = {
            let view = self.view();
            let head = |(cube, wanted): &(CubeId, Wanted)| {
                let slot = view.slot(cube)?;
                let may = self.decide(&view, caller, Operation::Read, slot).allowed();
                let head = view.head(slot).filter(|head| may && head.state != State::Erased)?;
                Some((head.clone(), *wanted))
            };
            cubes.iter().filter_map(head).collect()
        };
        let ledger = self.ledger()?;
        let mut candidates = Vec::with_capacity(heads.len());
        for (head, wanted) in heads {
            let Cube { header, payload } = match self.cube_at(&ledger, &head) {
                // It was erased since the projection was read.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                cube => cube?,
            };
            let Some(text) = payload.as_text() else { continue };
            let mut labels = header.tags;
            labels.extend(header.origin.task.map(|task| format!("task:{task}")));
            let candidate = Candidate {
                standing: standing_of(&ledger, &head, &header.governance)?,
                version: head.version,
                written: header.times.created,
                wanted,
                tokens: estimated_tokens(text),
                score: 0.0,
                scored: Timestamp::default(),
                labels,
                forms: Vec::new(),
                at_hand_since: None,
            };
            candidates.push((candidate, text.to_owned()));
        }
        Ok(candidates)
    }

    /// Returns for each cube its present version, if the caller may read it as it is and it is not erased.
    pub fn present_versions(&self, caller: &Principal, cubes: &[CubeId]) -> Vec<Option<u32>> {
        let view = self.view();
        let version = |cube: &CubeId| {
            let slot = view.slot(cube)?;
            let may = self.decide(&view, caller, Operation::Read, slot).allowed();
            view.head(slot).filter(|head| may && head.state != State::Erased).map(|head| head.version)
        };
        cubes.iter().map(version).collect()
    }

    /// Returns for each cube its present version and state, if the caller may read it as it is and it is not erased.
    pub fn present_states(&self, caller: &Principal, cubes: &[CubeId]) -> Vec<Option<(u32, State)>> {
        let view = self.view();
        let state = |cube: &CubeId| {
            let slot = view.slot(cube)?;
            let may = self.decide(&view, caller, Operation::Read, slot).allowed();
            let head = view.head(slot).filter(|head| may && head.state != State::Erased)?;
            Some((head.version, head.state))
        };
        cubes.iter().map(state).collect()
    }

    /// Returns the segments and adapters that are recalled and that the caller may read as they are, in the order they were stored.
    pub fn present_forms(&self, caller: &Principal) -> Vec<CubeId> {
        let view = self.view();
        let forms = (0..).zip(&view.heads).filter(|(_, head)| head.kind != Kind::Plaintext && head.state.is_recalled());
        let readable = |slot: Slot| self.decide(&view, caller, Operation::Read, slot).allowed();
        forms.filter(|(slot, _)| readable(*slot)).map(|(_, head)| head.id).collect()
    }

    /// Returns the cubes at most `hops` links away from one, nearest first and at most `most`, and how far they are. What the
    /// caller may not read is not there, and nothing is reached through it.
    ///
    /// # Errors
    /// `NotFound` when there is no such cube that the caller may read.
    pub fn around(&self, caller: &Principal, cube: &CubeId, hops: usize, most: usize) -> Result<Vec<(CubeId, usize)>> {
        let (_, start) = self.readable_head(caller, cube)?;
        let view = self.view();
        let readable = self.readable(&view, caller);
        let visible = |slot: Slot| view.head(slot).is_some_and(|head| readable.contains(head.class));
        let near = view.graph().neighbourhood(start, hops, most, visible);
        Ok(near.into_iter().filter_map(|(slot, hops)| Some((view.head(slot)?.id, hops))).collect())
    }
}
