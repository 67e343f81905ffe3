//! The end of an offer and of what was taken of it.

use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::governance::Outcome;
use memos_memory::vault::{Batch, Space};
use serde::Serialize;

use super::{Desk, Due, at, closed, keeper_of};
use crate::store::delivery::withdraw;
use crate::store::facts::StoreFact;
use crate::store::licence::{Destination, Ended, Held, Licence, Standing};
use crate::store::offer::{Offer, OfferId, Revocation, check_words};
use crate::store::registers;
use crate::store::terms::unknown;
use crate::vault::SpaceHandle;

/// What a revocation has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Revoked {
    /// Copies in spaces of this kernel that were withdrawn.
    pub withdrawn: usize,
    /// Copies that stay: they are under legal hold.
    pub held_back: usize,
    /// Takings that left the kernel in a bundle: only a notice can reach them.
    pub elsewhere: usize,
}

impl Desk {
    pub(in crate::store) async fn revoke(&mut self, id: OfferId, reason: String) -> Result<Revoked> {
        check_words("the reason", &reason, self.shop.limits.name_bytes)?;
        let governs = {
            let caller = self.caller.clone();
            at(&self.space, move |space, _| Ok(space.decide_governing(&caller).allowed())).await?
        };
        let (offer, now) = match self.visible(id).await {
            Err(_) if governs => {
                let now = at(&self.space, |space, _| Ok(space.now())).await?;
                (self.shelf.offer(&id).cloned().ok_or_else(|| unknown(&id, self.space.name()))?, now)
            }
            visible => visible?,
        };
        if offer.publisher.id != self.caller.id && !governs {
            return Err(Error::denied(format!("only `{}` or a custodian revokes offer `{id}`", offer.publisher.id)));
        }
        if offer.revoked.is_none() {
            let revocation = Revocation { at: now, by: self.caller.id.clone(), reason: reason.clone() };
            let revoked = Offer { revoked: Some(revocation), ..offer };
            let mut batch = Batch::default();
            registers::set(&mut batch, registers::offer(&id), &revoked)?;
            let cubes = revoked.cubes.iter().map(|version| version.cube).collect();
            self.line(&mut batch, now, "revoke", format!("offer {id}: {reason}"), cubes);
            self.commit(batch).await?;
            self.shelf.replace(revoked);
            self.tell_concerned(id, |_| Some(StoreFact::Revoked { offer: id, reason: reason.clone() }));
        }
        let mut done = Revoked::default();
        let licences: Vec<Licence> = self.shelf.licences_of(id).cloned().collect();
        done.elsewhere = licences.iter().filter(|licence| matches!(licence.to, Destination::Bundle(_))).count();
        for licence in licences {
            if !matches!(self.due(&licence), Some(Due::Withdrawal)) {
                continue;
            }
            let (withdrawn, held_back) = self.take_back(&licence).await?;
            done.withdrawn += withdrawn;
            done.held_back += held_back;
        }
        Ok(done)
    }

    /// Withdraws what is held under a licence of a revoked offer.
    pub(super) async fn take_back(&mut self, licence: &Licence) -> Result<(usize, usize)> {
        let Destination::Space(into) = &licence.to else { return Ok((0, 0)) };
        let reason = self.shelf.offer(&licence.offer).and_then(|offer| offer.revoked.as_ref());
        let reason = reason.map_or_else(String::new, |revoked| revoked.reason.clone());
        let why = format!("offer {} of {} was revoked: {reason}", licence.offer, self.space.name());
        let into = self.shop.kernel.upgrade().ok_or_else(closed)?.space(into.as_str()).await?;
        let (name, ending) = (registers::held(&licence.offer, &licence.owner), why.clone());
        let done =
            end_held(&into, move |space| Ok(registers::get(space, &name)?.into_iter().collect()), ending).await?;
        self.settle(licence, Standing::Withdrawn(why)).await?;
        Ok(done)
    }

    /// Withdraws what is held in the space longer than its licence allows, whoever brought it back.
    pub(in crate::store) async fn enforce(&self) -> Result<usize> {
        let held = |space: &Space| {
            let now = space.now();
            Ok(registers::all_held(space)?.into_iter().filter(|held| held.end(now).is_some()).collect())
        };
        Ok(end_held(&self.space, held, String::new()).await?.0)
    }
}

/// Withdraws the copies of what is held, and returns how many went and how many stay under legal hold.
pub(super) async fn end_held(
    space: &SpaceHandle,
    held: impl FnOnce(&Space) -> Result<Vec<Held>> + Send + 'static,
    why: String,
) -> Result<(usize, usize)> {
    let planned = at(space, move |space, keeper| {
        let (now, mut batch, mut done) = (space.now(), Batch::default(), (0, 0));
        for held in held(space)? {
            let why = held.end(now).unwrap_or_else(|| why.clone());
            let mut gone = Vec::new();
            for copied in &held.copies {
                let found = space.get(keeper, &copied.cube);
                let head = match found {
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    found => found?.1,
                };
                // Nothing that is held expires, and only a custodian ends a hold.
                if head.legal_hold {
                    done.1 += 1;
                } else if withdraw(&mut batch, copied.cube, head.state, &why) {
                    gone.push(copied.cube);
                }
            }
            done.0 += gone.len();
            let is_new = held.ended.is_none();
            if !gone.is_empty() || is_new {
                let line = registers::line(keeper, now, "withdraw", (Outcome::Done, why.clone()), gone, 0);
                batch.record(line);
            }
            if is_new {
                let name = registers::held(&held.offer, &held.owner);
                let ended = Some(Ended { at: now, reason: why });
                registers::set(&mut batch, name, &Held { ended, ..held })?;
            }
        }
        Ok((batch, done))
    });
    let (batch, done) = planned.await?;
    if !batch.is_empty() {
        keeper_of(space)?.commit(batch).await?;
    }
    Ok(done)
}
