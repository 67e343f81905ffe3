//! Taking what is offered: the use is counted, the copies are delivered, and what a crash left is finished.

use std::sync::Arc;

use memos_memory::cube::{CubeId, PrincipalId, SpaceName, State};
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::exchange::bundle::BundleLicence;
use memos_memory::governance::{Outcome, Principal};
use memos_memory::time::Timestamp;
use memos_memory::vault::{Batch, Space};
use serde::Serialize;

use super::arrival::{Receipt, look, unpack};
use super::{Desk, Due, at, closed, keeper_of};
use crate::store::delivery::Delivered;
use crate::store::licence::{Destination, Held, Licence, Standing, keyed_licence};
use crate::store::offer::{LicenceId, Offer, OfferId, Vouched};
use crate::store::parcel::Packing;
use crate::store::registers;
use crate::store::terms::{Refusal, admit, unknown};
use crate::vault::SpaceHandle;

/// What a taking has brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// The offer.
    pub offer: OfferId,
    /// The space that offers it.
    pub from: SpaceName,
    /// The edition that was taken.
    pub edition: u32,
    /// The licence under which the copies are held.
    pub licence: LicenceId,
    /// Whose they are.
    pub owner: PrincipalId,
    /// Until when they may be kept.
    pub until: Option<Timestamp>,
    /// The copies.
    pub copies: Vec<CubeId>,
    /// What became of the memories.
    #[serde(flatten)]
    pub delivered: Delivered,
    /// Whether it was taken before, and nothing was taken or counted now.
    pub again: bool,
}

impl Desk {
    pub(in crate::store) async fn take(
        &mut self,
        id: OfferId,
        into: SpaceHandle,
        owner: Option<PrincipalId>,
    ) -> Result<Taken> {
        let (offer, now) = self.visible(id).await?;
        let owner = owner.unwrap_or_else(|| self.caller.id.clone());
        let to = Destination::Space(into.name().clone());
        let before = match self.known_request(id, &to, &owner)? {
            Some(Licence { standing: Standing::Returned(_), id, .. }) => Some(id),
            Some(Licence { standing: Standing::Withdrawn(why), .. }) => return Err(Error::denied(why)),
            Some(licence) if matches!(self.due(&licence), Some(Due::Withdrawal)) => {
                self.take_back(&licence).await?;
                return Err(Refusal::Revoked.error(&offer));
            }
            Some(licence) => return self.finish(licence).await,
            None => None,
        };
        let wanted = offer.clone();
        let (by, whose) = (self.caller.clone(), owner.clone());
        let holds = at(&into, move |space, _| holds_already(space, &wanted, &by, &whose)).await?;
        if let Some(taken) = holds {
            admitted(&offer, &self.caller, None, now, true)?;
            return Ok(taken);
        }
        admitted(&offer, &self.caller, Some(into.name()), now, false)?;
        self.shelf.check_licences(&self.shop.limits)?;
        let licence = self.licence(&offer, before, owner, to, now).await?;
        let (parcel, left_out) = self.pack(&offer, &licence, None).await?;
        // Whatever the taker may not do there is found before the use is counted.
        let receipt = Receipt::of_offer(&offer, &licence);
        self.arrive(&into, &parcel, left_out, &receipt, true).await?;
        let licence = self.grant(&offer, licence).await?;
        self.deliver(&into, parcel, left_out, licence).await
    }

    /// Returns the licence of the request with the caller's key, if it was made before.
    fn known_request(&self, offer: OfferId, to: &Destination, owner: &PrincipalId) -> Result<Option<Licence>> {
        let Some(key) = &self.call.key else { return Ok(None) };
        let known = self.shelf.licences.get(&keyed_licence(&offer, &self.caller.id, key.as_str()));
        match known {
            Some(licence) if licence.to != *to || licence.owner != *owner => {
                Err(Error::conflict("the key names an earlier request, to another place; use another key"))
            }
            known => Ok(known.cloned()),
        }
    }

    pub(super) async fn licence(
        &self,
        offer: &Offer,
        before: Option<LicenceId>,
        owner: PrincipalId,
        to: Destination,
        granted: Timestamp,
    ) -> Result<Licence> {
        let id = match (before, &self.call.key) {
            (Some(id), _) => id,
            (None, Some(key)) => keyed_licence(&offer.id, &self.caller.id, key.as_str()),
            (None, None) => LicenceId(at(&self.space, |space, _| Ok(space.new_id())).await?),
        };
        let (edition, taker) = (offer.edition, Vouched::from(&*self.caller));
        Ok(Licence { id, offer: offer.id, edition, taker, owner, to, granted, standing: Standing::Granted })
    }

    /// Counts the use and grants the licence, in one durable step.
    pub(super) async fn grant(&mut self, offer: &Offer, licence: Licence) -> Result<Licence> {
        let counted = Offer { taken: offer.taken.saturating_add(1), ..offer.clone() };
        let mut batch = Batch::default();
        registers::set(&mut batch, registers::offer(&offer.id), &counted)?;
        registers::set(&mut batch, registers::licence(&licence.id), &licence)?;
        let why = format!("offer {}, edition {}, licence {}", offer.id, offer.edition, licence.id);
        let cubes = offer.cubes.iter().map(|version| version.cube).collect();
        self.line(&mut batch, licence.granted, "grant", why, cubes);
        self.commit(batch).await?;
        self.shelf.replace(counted);
        self.shelf.licences.insert(licence.id, licence.clone());
        Ok(licence)
    }

    /// Notes what became of a licence; a use that was not made is given back in the same step.
    pub(super) async fn settle(&mut self, licence: &Licence, standing: Standing) -> Result<()> {
        let settled = Licence { standing, ..licence.clone() };
        let mut batch = Batch::default();
        registers::set(&mut batch, registers::licence(&licence.id), &settled)?;
        let mut refunded = None;
        if let Standing::Returned(why) = &settled.standing
            && let Some(offer) = self.shelf.offer(&licence.offer)
        {
            let offer = Offer { taken: offer.taken.saturating_sub(1), ..offer.clone() };
            registers::set(&mut batch, registers::offer(&offer.id), &offer)?;
            let why = format!("licence {}: {}", licence.id, why.chars().take(400).collect::<String>());
            let line = registers::line(
                &licence.taker.principal(),
                licence.granted,
                "give-back",
                (Outcome::Failed, why),
                Vec::new(),
                0,
            );
            batch.record(line);
            refunded = Some(offer);
        }
        self.commit(batch).await?;
        refunded.into_iter().for_each(|offer| self.shelf.replace(offer));
        self.shelf.licences.insert(settled.id, settled);
        Ok(())
    }

    pub(super) async fn pack(
        &self,
        offer: &Offer,
        licence: &Licence,
        signed: Option<BundleLicence>,
    ) -> Result<(Arc<[u8]>, usize)> {
        let (offer, taker, shop) = (offer.clone(), licence.taker.principal(), self.shop.clone());
        at(&self.space, move |space, _| {
            let packing = Packing { space, offer: &offer, taker: &taker, licence: signed, limits: &shop.limits };
            let parcel = packing.pack()?;
            Ok((Arc::from(parcel.bytes), parcel.left_out))
        })
        .await
    }

    /// Finishes a licence that was granted: it is delivered, or found to be.
    pub(super) async fn finish(&mut self, licence: Licence) -> Result<Taken> {
        let Destination::Space(into) = &licence.to else {
            return Err(Error::conflict("the key names an earlier request, to another place; use another key"));
        };
        let offer = self.shelf.offer(&licence.offer).cloned();
        let offer = offer.ok_or_else(|| unknown(&licence.offer, self.space.name()))?;
        let into = self.shop.kernel.upgrade().ok_or_else(closed)?.space(into.as_str()).await?;
        let there = licence.clone();
        let found = at(&into, move |space, _| {
            let name: Option<String> = registers::get(space, &registers::taken(&there.id))?;
            name.map_or(Ok(None), |name| registers::get::<Held>(space, &name))
        });
        if let Some(held) = found.await? {
            if licence.standing == Standing::Granted {
                self.settle(&licence, Standing::Delivered).await?;
            }
            return Ok(taken(&held, licence.id, Delivered::default(), true));
        }
        if licence.standing != Standing::Granted {
            return Err(Error::denied("the request was made too long ago to be answered again; make another one"));
        }
        let now = at(&self.space, |space, _| Ok(space.now())).await?;
        if offer.terms.until.is_some_and(|until| now >= until) {
            return Err(self.give_back(&licence, Refusal::Expired.error(&offer)).await);
        }
        // The edition may be a later one by now: then it is that which is delivered.
        let licence = Licence { edition: offer.edition, ..licence };
        match self.pack(&offer, &licence, None).await {
            Ok((parcel, left_out)) => self.deliver(&into, parcel, left_out, licence).await,
            Err(error) => Err(self.give_back(&licence, error).await),
        }
    }

    /// Stores the copies, and notes that they are. When they cannot be stored, the use is given back.
    async fn deliver(
        &mut self,
        into: &SpaceHandle,
        parcel: Arc<[u8]>,
        left_out: usize,
        licence: Licence,
    ) -> Result<Taken> {
        let offer = self.shelf.offer(&licence.offer).cloned();
        let offer = offer.ok_or_else(|| unknown(&licence.offer, self.space.name()))?;
        let receipt = Receipt::of_offer(&offer, &licence);
        match self.arrive(into, &parcel, left_out, &receipt, false).await {
            Ok(taken) => {
                self.settle(&licence, Standing::Delivered).await?;
                Ok(taken)
            }
            Err(error) => Err(self.give_back(&licence, error).await),
        }
    }

    /// Gives a use back when another try would end the same way; else the next try goes on with it.
    async fn give_back(&mut self, licence: &Licence, error: Error) -> Error {
        if error.kind().is_retryable() || error.kind() == ErrorKind::Conflict {
            return error;
        }
        match self.settle(licence, Standing::Returned(error.to_string())).await {
            Ok(()) => error,
            Err(unsettled) => unsettled,
        }
    }

    /// Stores a parcel where it goes, with the memory that its licence was taken up. A trial only checks it.
    pub(super) async fn arrive(
        &self,
        into: &SpaceHandle,
        parcel: &Arc<[u8]>,
        left_out: usize,
        receipt: &Receipt,
        is_trial: bool,
    ) -> Result<Taken> {
        let (parcel, receipt, shop) = (parcel.clone(), receipt.clone(), self.shop.clone());
        let trace = self.call.trace.trace_id;
        let (batch, taken) =
            at(into, move |space, keeper| unpack(space, keeper, &parcel, left_out, &receipt, &shop.limits, trace))
                .await?;
        if !is_trial {
            keeper_of(into)?.commit(batch).await?;
        }
        Ok(taken)
    }
}

/// Refuses what the terms refuse. What somebody holds already they may have again when all uses are made.
pub(super) fn admitted(
    offer: &Offer,
    taker: &Principal,
    into: Option<&SpaceName>,
    now: Timestamp,
    holds: bool,
) -> Result<()> {
    match admit(offer, taker, into, now) {
        Err(Refusal::UsedUp) if holds => Ok(()),
        admitted => admitted.map_err(|refusal| refusal.error(offer)),
    }
}

/// Returns what somebody holds of this edition of an offer already.
fn holds_already(space: &Space, offer: &Offer, taker: &Principal, owner: &PrincipalId) -> Result<Option<Taken>> {
    let held: Option<Held> = registers::get(space, &registers::held(&offer.id, owner))?;
    let Some(held) = held.filter(|held| {
        held.from == offer.space
            && held.taker == taker.id
            && held.edition == offer.edition
            && held.end(space.now()).is_none()
    }) else {
        return Ok(None);
    };
    let keeper = Principal::keeper()?;
    for copied in &held.copies {
        // What was erased or expired here is not held any more.
        match look(space, &keeper, &copied.cube)? {
            Some(there) if !matches!(there.state, State::Erased | State::Expired) => {}
            _ => return Ok(None),
        }
    }
    let licence = held.licences.last().copied();
    let Some(licence) = licence else { return Ok(None) };
    let unchanged = Delivered { unchanged: held.copies.len(), ..Delivered::default() };
    Ok(Some(taken(&held, licence, unchanged, true)))
}

pub(super) fn taken(held: &Held, licence: LicenceId, delivered: Delivered, again: bool) -> Taken {
    Taken {
        offer: held.offer,
        from: held.from.clone(),
        edition: held.edition,
        licence,
        owner: held.owner.clone(),
        until: held.until,
        copies: held.copies.iter().map(|copied| copied.cube).collect(),
        delivered,
        again,
    }
}
