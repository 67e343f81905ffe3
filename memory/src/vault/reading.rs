//! Reading a space: cubes and versions as a caller may see them, each held against what names it.
//!
//! Whoever may not read a cube is told that there is none; whoever may read it without what is sensitive gets it redacted.

use super::projection::CubeHead;
use super::space::Space;
use crate::cube::{Cube, CubeId, Lifecycle, Payload, State, Usage, is_role};
use crate::error::{Error, ErrorKind, Result};
use crate::governance::redaction::{NO_DIGEST, redacted};
use crate::governance::{Access, Decision, Operation, Outcome, Principal};
use crate::graph::Slot;
use crate::ledger::{Change, Event, LedgerReader, check_header};

impl Space {
    /// Returns the present version of a cube with its body, and how it is used: redacted, and without digests, for those who
    /// may read it no further.
    ///
    /// # Errors
    /// `NotFound` when there is none that the caller may read; `Corrupt` when what is stored fails its checks.
    pub fn get(&self, caller: &Principal, cube: &CubeId) -> Result<(Cube, CubeHead)> {
        let (mut head, _) = self.readable_head(caller, cube)?;
        let access = self.access(caller, &head);
        let cube = self.cube_for(&self.ledger()?, &head, access)?;
        if access != Access::Full {
            head.digest = NO_DIGEST;
        }
        self.note_access(caller, "get", access.into(), "", vec![head.id])?;
        Ok((cube, head))
    }

    /// Returns the versions of a cube, oldest first, without those that the caller might not read at their time and those
    /// whose body is gone.
    ///
    /// # Errors
    /// As [`Space::get`]; `Corrupt` when a version is not the one that the next names as its parent.
    pub fn versions(&self, caller: &Principal, cube: &CubeId) -> Result<Vec<Cube>> {
        let (head, _) = self.readable_head(caller, cube)?;
        if head.state == State::Erased {
            // What a fork erased of its origin's is still in the origin's ledger.
            return Ok(Vec::new());
        }
        let ledger = self.ledger()?;
        let mut versions = Vec::with_capacity(head.earlier.len() + 1);
        let mut named = Some(head.digest);
        for event in head.versions().rev() {
            let mut header = ledger.bare_header(event)?;
            let digest =
                named.ok_or_else(|| Error::corrupt(format!("cube `{cube}` has a version before its first")))?;
            check_header(&header, &digest)?;
            named = header.chain.parent;
            let access = self.ruling().decide(caller, Operation::Read, &(&header.governance).into()).access;
            if access == Access::Denied {
                continue;
            }
            if let Some(body) = ledger.record(event, &mut header)? {
                let cube = Cube { payload: Payload::checked(header.form.clone(), body)?, header };
                versions.push(if access == Access::Full { cube } else { redacted(cube) });
            }
        }
        versions.reverse();
        self.note_access(caller, "history", self.access(caller, &head).into(), "", vec![head.id])?;
        Ok(versions)
    }

    /// Returns how a cube is used.
    ///
    /// # Errors
    /// As [`Space::get`].
    pub fn usage(&self, caller: &Principal, cube: &CubeId) -> Result<Usage> {
        Ok(self.readable_head(caller, cube)?.0.usage)
    }

    /// Decides one operation of a caller on the present version of a cube, for those who act in somebody's name. A cube
    /// that is not there is denied like one that the caller may not see.
    pub fn decide_on(&self, caller: &Principal, operation: Operation, cube: &CubeId) -> Decision {
        let view = self.view();
        match view.slot(cube).filter(|slot| view.head(*slot).is_some_and(|head| head.state != State::Erased)) {
            Some(slot) => self.decide(&view, caller, operation, slot),
            None => Decision::deny("there is no such cube"),
        }
    }

    /// Decides whether a caller may change the rules of the space.
    pub fn decide_governing(&self, caller: &Principal) -> Decision {
        self.ruling().decide_governing(caller)
    }

    /// Returns the ids of the cubes that the caller may read and whose id begins or ends with `part`, at most `most`.
    pub fn find_ids(&self, caller: &Principal, part: &str, most: usize) -> Vec<CubeId> {
        let view = self.view();
        let classes = self.readable(&view, caller);
        let readable = |slot: Slot| view.head(slot).is_some_and(|head| classes.contains(head.class));
        let fits = |head: &CubeHead| {
            let id = head.id.to_string();
            id.starts_with(part) || id.ends_with(part)
        };
        let ids = view.heads.iter().enumerate().filter(|(slot, head)| fits(head) && readable(*slot as Slot));
        ids.map(|(_, head)| head.id).take(most).collect()
    }

    /// Reads a cube's present version and checks it against its digests.
    pub(crate) fn cube_at(&self, ledger: &LedgerReader, head: &CubeHead) -> Result<Cube> {
        if head.state == State::Erased {
            return Err(Error::not_found(format!("cube `{}` was erased", head.id)));
        }
        let (mut header, body) = ledger.version(head.event, &head.digest)?;
        let payload = Payload::checked(header.form.clone(), body)?;
        // A state that the cube began with stands in its header.
        if head.versions().next() != Some(head.state_event)
            && let Some(lifecycle) = lifecycle_of(ledger, head.state, head.state_event)?
        {
            header.lifecycle = lifecycle;
        }
        Ok(Cube { header, payload })
    }

    /// Reads a cube's present version as those see it who have this access.
    pub(crate) fn cube_for(&self, ledger: &LedgerReader, head: &CubeHead, access: Access) -> Result<Cube> {
        let cube = self.cube_at(ledger, head)?;
        Ok(if access == Access::Full { cube } else { redacted(cube) })
    }

    /// Returns how far the caller may read the cube of a head.
    pub(crate) fn access(&self, caller: &Principal, head: &CubeHead) -> Access {
        let view = self.view();
        let slot = view.slot(&head.id);
        slot.map_or(Access::Denied, |slot| self.decide(&view, caller, Operation::Read, slot).access)
    }

    /// Returns the head of a cube that the caller may read, be it redacted.
    pub(crate) fn readable_head(&self, caller: &Principal, cube: &CubeId) -> Result<(CubeHead, Slot)> {
        let found = {
            let view = self.view();
            let found = view.slot(cube).and_then(|slot| Some((view.head(slot)?.clone(), slot)));
            found.map(|(head, slot)| (head, slot, self.decide(&view, caller, Operation::Read, slot)))
        };
        match found {
            Some((head, slot, decision)) if decision.shows() => return Ok((head, slot)),
            // It is on record that it was refused, and the answer is as if it were not there.
            Some((.., decision)) => self.note_access(caller, "read", Outcome::Denied, &decision.rule, vec![*cube])?,
            None => self.note_access(caller, "read", Outcome::Failed, "there is no such cube", vec![*cube])?,
        }
        Err(Error::not_found(format!("there is no cube `{cube}` that the caller may see in space `{}`", self.name())))
    }

    /// Returns the speakers, heard where the caller may listen, whom the words of a question name, and at which word.
    pub(crate) fn speakers_in(&self, caller: &Principal, words: &[String]) -> Vec<(usize, String)> {
        let view = self.view();
        // A name can be an address: whoever reads redacted is not told that it was heard.
        let readable = self.readable_in_full(&view, caller);
        let mut found = Vec::new();
        for (name, classes) in view.speakers.all().zip(&view.speaker_classes) {
            // A role is no name, and neither is what was forgotten.
            if name.is_empty() || is_role(name) || !classes.meets(&readable) {
                continue;
            }
            let first_named = name.split_whitespace().filter_map(|part| {
                let part = part.to_lowercase();
                words.iter().position(|word| *word == part)
            });
            found.extend(first_named.min().map(|at| (at, name.to_owned())));
        }
        found
    }
}

/// Reads when and why a cube came to its state; none when it has it since it was stored.
pub(super) fn lifecycle_of(ledger: &LedgerReader, state: State, event: u64) -> Result<Option<Lifecycle>> {
    let Event { at, change, .. } = ledger.event(event).map_err(whole)?;
    Ok(match change {
        Change::StateChanged { reason, .. } | Change::Unfrozen { reason, .. } | Change::Erased { reason, .. } => {
            Some(Lifecycle { state, since: at, reason })
        }
        Change::CubesUsed(_) => Some(Lifecycle { state, since: at, reason: "used".to_owned() }),
        _ => None,
    })
}

/// Says of an event that must be there that it is damaged when it is not.
fn whole(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::corrupt(error.to_string()),
        _ => error,
    }
}
