//! The desk of one space: what is done when something is published, taken or revoked. One thing at a time, so that two
//! takers of the last use cannot both have it.
//!
//! A taking touches two ledgers. The use is counted and the licence granted where the offer is, in one step; then the
//! copies are stored where they go, with the memory that the licence was taken up, in one step. A crash in between leaves
//! a licence that is granted and not delivered; whoever opens the shelf next delivers it, and that it was delivered
//! already is found in the other ledger. So each licence is delivered once.

use std::sync::Arc;

use memos_memory::cube::{CubeId, Digest, PrincipalId, SpaceName, State, VersionRef};
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::exchange::bundle::{Bundle, BundleLicence, BundleLimits, read_bundle};
use memos_memory::exchange::import::Incoming;
use memos_memory::governance::{Operation, Outcome, Principal};
use memos_memory::ledger::SpaceKey;
use memos_memory::time::Timestamp;
use memos_memory::vault::{Batch, Space};
use serde::Serialize;

use super::delivery::{Consignment, Delivered, Delivery, There, plan, withdraw};
use super::facts::{StoreFact, Switchboard};
use super::licence::{Destination, Ended, Held, Licence, Standing, keyed_licence};
use super::limits::StoreLimits;
use super::matching::{Fits, Interest};
use super::offer::{
    LicenceId, Offer, OfferDraft, OfferId, OfferView, Revocation, SubscriptionId, Vouched, check_words,
};
use super::parcel::{Packing, notice};
use super::registers;
use super::shelf::{Embedded, Shelf, StandingInterest};
use super::terms::{Refusal, admit, unknown};
use crate::actor::Call;
use crate::kernel::WeakKernel;
use crate::vault::{Session, SpaceHandle};

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

/// An offer that somebody waits for, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Match {
    /// The offer.
    pub offer: OfferView,
    /// Why it fits.
    pub fits: Fits,
}

/// What the desks of a kernel share.
pub(super) struct Shop {
    pub(super) kernel: WeakKernel,
    pub(super) limits: StoreLimits,
    pub(super) board: Switchboard,
}

/// One space with one caller at it.
pub(super) struct Desk {
    pub(super) shop: Arc<Shop>,
    pub(super) space: SpaceHandle,
    pub(super) caller: Arc<Principal>,
    pub(super) call: Call,
    pub(super) shelf: Shelf,
}

/// Begins a session of the space itself. It waits as long as it takes, so that it is known what became of a write when
/// the next is begun.
pub(super) fn keeper_of(space: &SpaceHandle) -> Result<Session> {
    Ok(space.session(Principal::keeper()?).with_patience(std::time::Duration::MAX))
}

/// Does work in a space as the space itself.
async fn at<T: Send + 'static>(
    space: &SpaceHandle,
    work: impl FnOnce(&Space, &Principal) -> Result<T> + Send + 'static,
) -> Result<T> {
    keeper_of(space)?.work(work).await
}

impl Desk {
    /// Opens the shelf, and finishes what a crash left behind.
    pub(super) async fn open(&mut self) -> Result<()> {
        self.shelf = at(&self.space, |space, _| Shelf::load(space)).await?;
        let open: Vec<Licence> = self.shelf.licences.values().filter(|l| self.is_unfinished(l)).cloned().collect();
        for licence in open {
            // What cannot be finished now is found again at the next opening, and at the next try of its taker.
            let _ = match licence.standing {
                Standing::Granted => self.finish(licence).await.map(|_| ()),
                _ => self.take_back(&licence).await.map(|_| ()),
            };
        }
        Ok(())
    }

    fn is_unfinished(&self, licence: &Licence) -> bool {
        let offer = self.shelf.offer(&licence.offer);
        match (&licence.standing, &licence.to) {
            (Standing::Granted, Destination::Space(_)) => true,
            (Standing::Delivered, Destination::Space(_)) => {
                offer.is_some_and(|offer| offer.revoked.is_some() && offer.terms.revocable)
            }
            _ => false,
        }
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        keeper_of(&self.space)?.commit(batch).await.map(|_| ())
    }

    fn line(&self, batch: &mut Batch, at: Timestamp, operation: &str, why: String, cubes: Vec<CubeId>) {
        let trace = self.call.trace.trace_id;
        batch.record(registers::line(&self.caller, at, operation, (Outcome::Done, why), cubes, trace));
    }

    /// Puts a refusal on record and returns it.
    pub(super) async fn refused(&self, operation: &'static str, error: Error) -> Error {
        let outcome = match error.kind() {
            ErrorKind::Denied | ErrorKind::NotFound => Outcome::Denied,
            _ => Outcome::Failed,
        };
        let (caller, trace, why) = (self.caller.clone(), self.call.trace.trace_id, error.to_string());
        let noted = at(&self.space, move |space, _| {
            let why: String = why.chars().take(512).collect();
            space.note(registers::line(&caller, space.now(), operation, (outcome, why), Vec::new(), trace))
        });
        match noted.await {
            Ok(()) => error,
            // Nothing is refused or done off the record.
            Err(unnoted) => unnoted,
        }
    }

    /// Returns an offer that the caller may see, and the present moment.
    async fn visible(&self, id: OfferId) -> Result<(Offer, Timestamp)> {
        let now = at(&self.space, |space, _| Ok(space.now())).await?;
        let offer = self.shelf.offer(&id).filter(|offer| offer.seen_by(&self.caller, now).is_some());
        Ok((offer.cloned().ok_or_else(|| unknown(&id, self.space.name()))?, now))
    }

    pub(super) async fn publish(&mut self, draft: OfferDraft) -> Result<Offer> {
        let (shop, caller, shelf) = (self.shop.clone(), self.caller.clone(), self.shelf.clone());
        let (offer, vector, evicted) = at(&self.space, move |space, _| {
            let now = space.now();
            draft.check(&shop.limits, now)?;
            let evicted = shelf.room_for_offer(&shop.limits, now)?;
            let cubes = offered_versions(space, &caller, &draft.cubes)?;
            let offer = Offer {
                id: OfferId(space.new_id()),
                space: space.name().clone(),
                publisher: Vouched::from(&*caller),
                name: draft.name,
                tags: draft.tags,
                cubes,
                edition: 1,
                terms: draft.terms,
                taken: 0,
                created: now,
                renewed: None,
                revoked: None,
            };
            let vector = space.embedder().embed(&offer.words())?;
            Ok((offer, vector, evicted))
        })
        .await?;
        let mut batch = Batch::default();
        for (id, licences) in &evicted {
            batch.set_register(registers::offer(id), None);
            for licence in licences {
                batch.set_register(registers::licence(licence), None);
            }
        }
        registers::set(&mut batch, registers::offer(&offer.id), &offer)?;
        let cubes = offer.cubes.iter().map(|version| version.cube).collect();
        self.line(&mut batch, offer.created, "publish", format!("offer {}: {}", offer.id, offer.name), cubes);
        self.commit(batch).await?;
        if let Some((id, licences)) = evicted {
            self.shelf.offers.remove(&id);
            licences.iter().for_each(|licence| drop(self.shelf.licences.remove(licence)));
        }
        let published = Embedded { value: offer.clone(), vector };
        let now = offer.created;
        self.shop.board.tell(self.space.name(), |listener| {
            let fits = self.shelf.fits(&published, &listener.id)?;
            let offer = published.value.seen_by(listener, now)?;
            Some(StoreFact::Offered { offer, fits })
        });
        self.shelf.offers.insert(offer.id, published);
        Ok(offer)
    }

    /// Makes the next edition of an offer, of what its memories say now.
    pub(super) async fn renew(&mut self, id: OfferId) -> Result<Offer> {
        let (offer, now) = self.visible(id).await?;
        if offer.publisher.id != self.caller.id {
            return Err(Error::denied(format!("only `{}` renews offer `{id}`", offer.publisher.id)));
        }
        if offer.revoked.is_some() {
            return Err(Refusal::Revoked.error(&offer));
        }
        let caller = self.caller.clone();
        let cubes: Vec<CubeId> = offer.cubes.iter().map(|version| version.cube).collect();
        let versions = at(&self.space, move |space, _| {
            // What may not be offered any more is left out of the new edition.
            let still = cubes.iter().filter(|cube| offered_versions(space, &caller, &[**cube]).is_ok());
            let still: Vec<CubeId> = still.copied().collect();
            match still.is_empty() {
                true => Err(Error::denied("none of its memories may be offered any more; revoke it")),
                false => offered_versions(space, &caller, &still),
            }
        })
        .await?;
        if versions == offer.cubes {
            return Ok(offer);
        }
        let edition = offer.edition.saturating_add(1);
        let next =
            Offer { cubes: versions, edition, renewed: Some(now), publisher: Vouched::from(&*self.caller), ..offer };
        let mut batch = Batch::default();
        registers::set(&mut batch, registers::offer(&id), &next)?;
        let cubes = next.cubes.iter().map(|version| version.cube).collect();
        self.line(&mut batch, now, "renew", format!("offer {id}, edition {edition}"), cubes);
        self.commit(batch).await?;
        self.shelf.replace(next.clone());
        self.tell_concerned(id, |listener| Some(StoreFact::Renewed { offer: next.seen_by(listener, now)? }));
        Ok(next)
    }

    /// Tells those who have taken an offer, and those whose subscription it fits.
    fn tell_concerned(&self, id: OfferId, fact: impl Fn(&Principal) -> Option<StoreFact>) {
        let Some(offer) = self.shelf.offers.get(&id) else { return };
        self.shop.board.tell(self.space.name(), |listener| {
            let is_named = offer.value.terms.takers.name(listener);
            let concerned = is_named && self.shelf.fits(offer, &listener.id).is_some();
            if concerned || self.shelf.has_taken(id, listener) { fact(listener) } else { None }
        });
    }

    pub(super) async fn offers(&self) -> Result<Vec<OfferView>> {
        let now = at(&self.space, |space, _| Ok(space.now())).await?;
        let offers = self.shelf.offers.values();
        Ok(offers.filter_map(|offer| offer.value.seen_by(&self.caller, now)).collect())
    }

    /// Returns the offers that the caller waits for and can take.
    pub(super) async fn matching(&self) -> Result<Vec<Match>> {
        let now = at(&self.space, |space, _| Ok(space.now())).await?;
        let offers = self.shelf.offers.values();
        let open = offers.filter(|offer| admit(&offer.value, &self.caller, None, now).is_ok());
        let found = open.filter_map(|offer| {
            let fits = self.shelf.fits(offer, &self.caller.id)?;
            Some(Match { offer: offer.value.seen_by(&self.caller, now)?, fits })
        });
        Ok(found.collect())
    }

    pub(super) async fn subscribe(&mut self, interest: Interest) -> Result<StandingInterest> {
        interest.check(&self.shop.limits)?;
        self.shelf.check_interests(&self.caller.id, &self.shop.limits)?;
        let subscriber = self.caller.id.clone();
        let (standing, vector) = at(&self.space, move |space, _| {
            let vector = interest.sentence().map(|sentence| space.embedder().embed(sentence)).transpose()?;
            let (id, since) = (SubscriptionId(space.new_id()), space.now());
            Ok((StandingInterest { id, subscriber, interest, since }, vector.unwrap_or_default()))
        })
        .await?;
        let mut batch = Batch::default();
        registers::set(&mut batch, registers::subscription(&standing.id), &standing)?;
        self.line(&mut batch, standing.since, "subscribe", format!("subscription {}", standing.id), Vec::new());
        self.commit(batch).await?;
        self.shelf.interests.insert(standing.id, Embedded { value: standing.clone(), vector });
        Ok(standing)
    }

    pub(super) fn subscriptions(&self) -> Vec<StandingInterest> {
        let own = self.shelf.interests.values().filter(|standing| standing.value.subscriber == self.caller.id);
        own.map(|standing| standing.value.clone()).collect()
    }

    pub(super) async fn unsubscribe(&mut self, id: SubscriptionId) -> Result<()> {
        let own = self.shelf.interests.get(&id).filter(|standing| standing.value.subscriber == self.caller.id);
        if own.is_none() {
            return Err(Error::not_found(format!("there is no subscription `{id}` of the caller")));
        }
        let now = at(&self.space, |space, _| Ok(space.now())).await?;
        let mut batch = Batch::default();
        batch.set_register(registers::subscription(&id), None);
        self.line(&mut batch, now, "unsubscribe", format!("subscription {id}"), Vec::new());
        self.commit(batch).await?;
        self.shelf.interests.remove(&id);
        Ok(())
    }

    pub(super) async fn take(&mut self, id: OfferId, into: SpaceHandle, owner: Option<PrincipalId>) -> Result<Taken> {
        let (offer, now) = self.visible(id).await?;
        let owner = owner.unwrap_or_else(|| self.caller.id.clone());
        let to = Destination::Space(into.name().clone());
        let before = match self.known_request(id, &to, &owner)? {
            Some(Licence { standing: Standing::Returned(_), id, .. }) => Some(id),
            Some(Licence { standing: Standing::Withdrawn(why), .. }) => return Err(Error::denied(why)),
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

    async fn licence(
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
    async fn grant(&mut self, offer: &Offer, licence: Licence) -> Result<Licence> {
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
    async fn settle(&mut self, licence: &Licence, standing: Standing) -> Result<()> {
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

    async fn pack(
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
    async fn finish(&mut self, licence: Licence) -> Result<Taken> {
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
    async fn arrive(
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

    pub(super) async fn revoke(&mut self, id: OfferId, reason: String) -> Result<Revoked> {
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
            if !self.is_unfinished(&licence) {
                continue;
            }
            let (withdrawn, held_back) = self.take_back(&licence).await?;
            done.withdrawn += withdrawn;
            done.held_back += held_back;
        }
        Ok(done)
    }

    /// Withdraws what is held under a licence of a revoked offer.
    async fn take_back(&mut self, licence: &Licence) -> Result<(usize, usize)> {
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
    pub(super) async fn enforce(&self) -> Result<usize> {
        let held = |space: &Space| {
            let now = space.now();
            Ok(registers::all_held(space)?.into_iter().filter(|held| held.end(now).is_some()).collect())
        };
        Ok(end_held(&self.space, held, String::new()).await?.0)
    }

    /// Makes a bundle of an offer for one receiver elsewhere. That is one use.
    pub(super) async fn export(&mut self, id: OfferId, to: Principal, key: SpaceKey) -> Result<Vec<u8>> {
        let (offer, now) = self.visible(id).await?;
        if self.caller.id != offer.publisher.id && self.caller.id != to.id {
            return Err(Error::denied(format!("only `{}` hands offer `{id}` to others", offer.publisher.id)));
        }
        let destination = Destination::Bundle(key);
        let request = self.call.key.as_ref().map(|key| keyed_licence(&id, &to.id, key.as_str()));
        let known = request.and_then(|request| self.shelf.licences.get(&request)).cloned();
        let (licence, is_new) = match known {
            Some(licence) if licence.to == destination => (licence, false),
            Some(_) => {
                return Err(Error::conflict("the key names an earlier request, to another place; use another key"));
            }
            None => {
                admitted(&offer, &to, None, now, false)?;
                if !offer.terms.takers.spaces.is_empty() {
                    return Err(Refusal::OtherSpace.error(&offer));
                }
                self.shelf.check_licences(&self.shop.limits)?;
                let licence = self.licence(&offer, request, to.id.clone(), destination, now).await?;
                (Licence { taker: Vouched::from(&to), ..licence }, true)
            }
        };
        let signed = BundleLicence {
            id: licence.id.0,
            offer: id.0,
            name: offer.name.clone(),
            edition: offer.edition,
            publisher: offer.publisher.id.clone(),
            to: to.id.clone(),
            into: key,
            until: offer.terms.until,
            pass_on: offer.terms.pass_on,
            revocable: offer.terms.revocable,
        };
        let (bytes, _) = self.pack(&offer, &licence, Some(signed)).await?;
        if is_new {
            self.grant(&offer, Licence { standing: Standing::Delivered, ..licence }).await?;
        }
        Ok(bytes.to_vec())
    }

    /// Makes a notice for spaces elsewhere that an offer was revoked.
    pub(super) async fn notice(&self, id: OfferId) -> Result<Vec<u8>> {
        let (offer, _) = self.visible(id).await?;
        let Some(revocation) = offer.revoked.clone() else {
            return Err(Error::invalid(format!("offer `{id}` is not revoked")));
        };
        at(&self.space, move |space, _| notice(space, &offer, &revocation)).await
    }

    /// Takes what a bundle of elsewhere brings: an offer's memories, or the notice that one was revoked.
    pub(super) async fn take_bundle(
        &self,
        bytes: Arc<[u8]>,
        owner: Option<PrincipalId>,
        signed_by: Option<SpaceKey>,
    ) -> Result<Arrived> {
        let (shop, caller, trace) = (self.shop.clone(), self.caller.clone(), self.call.trace.trace_id);
        let parcel = bytes.clone();
        let found = at(&self.space, move |space, _| {
            let bundle = read(&bytes, &shop.limits)?;
            let signer = checked_signer(&bundle, signed_by)?;
            let heading = &bundle.manifest.heading;
            if let Some(revoked) = &heading.revoked {
                let why = format!("offer {} of {} was revoked: {}", revoked.offer, heading.space, revoked.reason);
                check_words("the reason", &revoked.reason, shop.limits.name_bytes)?;
                return Ok(Found::Notice(OfferId(revoked.offer), signer, why));
            }
            let licence = heading.licence.as_ref();
            let licence = licence.ok_or_else(|| Error::invalid("the bundle is no offer's; import it"))?;
            let receipt = Receipt::of_bundle(&heading.space, licence, signer, &caller, owner);
            check_receiver(space, licence, &receipt)?;
            if let Some(held) = taken_up(space, &receipt)? {
                return Ok(Found::Held(Box::new(taken(&held, receipt.licence, Delivered::default(), true))));
            }
            Ok(Found::Parcel(
                Box::new(receipt),
                bundle.manifest.heading.left_out.iter().map(|l| l.cubes as usize).sum(),
            ))
        });
        match found.await? {
            Found::Held(taken) => Ok(Arrived::Taken(taken)),
            Found::Parcel(receipt, left_out) => {
                let taken = self.arrive(&self.space, &parcel, left_out, &receipt, false).await?;
                Ok(Arrived::Taken(Box::new(taken)))
            }
            Found::Notice(offer, signer, why) => {
                let caller = self.caller.clone();
                let reason = why.clone();
                let name = registers::revoked(&offer);
                let held = move |space: &Space| {
                    let held = registers::all_held(space)?.into_iter();
                    Ok(held
                        .filter(|held| held.offer == offer && held.signer == Some(signer) && held.revocable)
                        .collect())
                };
                let (withdrawn, held_back) = end_held(&self.space, held, why).await?;
                let mut batch = Batch::default();
                registers::set(&mut batch, name, RevokedElsewhere { signer })?;
                let now = at(&self.space, |space, _| Ok(space.now())).await?;
                batch.record(registers::line(&caller, now, "heed-notice", (Outcome::Done, reason), Vec::new(), trace));
                self.commit(batch).await?;
                Ok(Arrived::Notice { offer, withdrawn, held_back })
            }
        }
    }
}

/// What a bundle has brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrived {
    /// The memories of an offer.
    Taken(Box<Taken>),
    /// The notice that an offer was revoked.
    Notice {
        /// The offer.
        offer: OfferId,
        /// Copies that were withdrawn.
        withdrawn: usize,
        /// Copies that stay: they are under legal hold.
        held_back: usize,
    },
}

enum Found {
    Held(Box<Taken>),
    Parcel(Box<Receipt>, usize),
    Notice(OfferId, SpaceKey, String),
}

#[derive(Serialize, serde::Deserialize)]
struct RevokedElsewhere {
    signer: SpaceKey,
}

/// With what a parcel arrives.
#[derive(Debug, Clone)]
struct Receipt {
    licence: LicenceId,
    offer: OfferId,
    from: SpaceName,
    publisher: PrincipalId,
    signer: Option<SpaceKey>,
    taker: Principal,
    owner: PrincipalId,
    edition: u32,
    until: Option<Timestamp>,
    pass_on: bool,
    revocable: bool,
}

impl Receipt {
    fn of_offer(offer: &Offer, licence: &Licence) -> Self {
        Self {
            licence: licence.id,
            offer: offer.id,
            from: offer.space.clone(),
            publisher: offer.publisher.id.clone(),
            signer: None,
            taker: licence.taker.principal(),
            owner: licence.owner.clone(),
            edition: licence.edition,
            until: offer.terms.until,
            pass_on: offer.terms.pass_on,
            revocable: offer.terms.revocable,
        }
    }

    fn of_bundle(
        from: &SpaceName,
        licence: &BundleLicence,
        signer: SpaceKey,
        taker: &Principal,
        owner: Option<PrincipalId>,
    ) -> Self {
        Self {
            licence: LicenceId(licence.id),
            offer: OfferId(licence.offer),
            from: from.clone(),
            publisher: licence.publisher.clone(),
            signer: Some(signer),
            taker: taker.clone(),
            owner: owner.unwrap_or_else(|| taker.id.clone()),
            edition: licence.edition,
            until: licence.until,
            pass_on: licence.pass_on,
            revocable: licence.revocable,
        }
    }
}

fn closed() -> Error {
    Error::unavailable("the kernel is shut down; open it again")
}

/// Refuses what the terms refuse. What somebody holds already they may have again when all uses are made.
fn admitted(offer: &Offer, taker: &Principal, into: Option<&SpaceName>, now: Timestamp, holds: bool) -> Result<()> {
    match admit(offer, taker, into, now) {
        Err(Refusal::UsedUp) if holds => Ok(()),
        admitted => admitted.map_err(|refusal| refusal.error(offer)),
    }
}

/// Returns the present versions of memories that a caller may offer.
fn offered_versions(space: &Space, caller: &Principal, cubes: &[CubeId]) -> Result<Vec<VersionRef>> {
    let now = space.now();
    let bound: Vec<CubeId> = registers::all_held(space)?
        .into_iter()
        .filter(|held| !held.pass_on || held.end(now).is_some())
        .flat_map(|held| held.copies.into_iter().map(|copied| copied.cube))
        .collect();
    let mut versions = Vec::with_capacity(cubes.len());
    for id in cubes {
        let (cube, head) = space.get(caller, id)?;
        for operation in [Operation::Read, Operation::Share] {
            let decision = space.decide_on(caller, operation, id);
            if !decision.allowed() {
                return Err(Error::denied(format!("`{}` may not offer cube `{id}`: {}", caller.id, decision.rule)));
            }
        }
        if matches!(head.state, State::Expired | State::Merged) {
            return Err(Error::invalid(format!("cube `{id}` is {}, and is not offered", head.state)));
        }
        let sources = cube.header.chain.derived_from.iter().map(|source| source.cube);
        if sources.chain([*id]).any(|cube| bound.contains(&cube)) {
            return Err(Error::denied(format!(
                "cube `{id}` was taken under a licence that does not let it be passed on"
            )));
        }
        versions.push(cube.header.version_ref());
    }
    Ok(versions)
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

fn taken(held: &Held, licence: LicenceId, delivered: Delivered, again: bool) -> Taken {
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

fn read(bytes: &[u8], limits: &StoreLimits) -> Result<Bundle> {
    let bounds =
        BundleLimits { bundle_bytes: limits.offer_bytes as u64, cubes: limits.offer_cubes, ..BundleLimits::default() };
    read_bundle(bytes, &bounds).map_err(|error| match error.kind() {
        // A damaged file that was brought is bad input, not damage of what is kept here.
        ErrorKind::Corrupt => Error::invalid(error.to_string()),
        _ => error,
    })
}

fn checked_signer(bundle: &Bundle, expected: Option<SpaceKey>) -> Result<SpaceKey> {
    let signer =
        bundle.signer.ok_or_else(|| Error::invalid("the bundle is signed by nobody; its terms bind nobody"))?;
    match expected {
        Some(expected) if expected != signer => {
            Err(Error::invalid(format!("the bundle is signed by key {signer}, and not by {expected}")))
        }
        _ => Ok(signer),
    }
}

/// Refuses a bundle that is for somebody else, for another space, too late, or taken back.
fn check_receiver(space: &Space, licence: &BundleLicence, receipt: &Receipt) -> Result<()> {
    if licence.to != receipt.taker.id {
        return Err(Error::denied("the bundle is for somebody else"));
    }
    if space.public_key().ok() != Some(licence.into) {
        return Err(Error::denied(format!("the bundle is for the space with key {}", licence.into)));
    }
    if licence.until.is_some_and(|until| space.now() >= until) {
        return Err(Error::denied("the licence of the bundle has ended"));
    }
    let revoked: Option<RevokedElsewhere> = registers::get(space, &registers::revoked(&receipt.offer))?;
    if revoked.is_some_and(|revoked| Some(revoked.signer) == receipt.signer) {
        return Err(Error::denied("the offer of the bundle was revoked"));
    }
    Ok(())
}

/// Returns what is held under a licence that was taken up.
///
/// # Errors
/// `Denied` when it was taken up for another owner, or its copies went since.
fn taken_up(space: &Space, receipt: &Receipt) -> Result<Option<Held>> {
    let Some(name) = registers::get::<String>(space, &registers::taken(&receipt.licence))? else { return Ok(None) };
    let held = registers::get::<Held>(space, &name)?;
    match held.filter(|held| held.owner == receipt.owner && held.end(space.now()).is_none()) {
        Some(held) => Ok(Some(held)),
        None => Err(Error::denied("the licence of the bundle was taken up already")),
    }
}

/// Says what a space has under an id.
fn look(space: &Space, keeper: &Principal, id: &CubeId) -> Result<Option<There>> {
    match space.get(keeper, id) {
        Ok((cube, head)) => Ok(Some(There {
            owner: cube.header.governance.owner,
            state: head.state,
            content: cube.header.fingerprint.content,
            version: head.digest,
        })),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Err(_) => match space.usage(keeper, id) {
            // A tombstone is used no more, and yet it is there.
            Ok(_) => Ok(Some(There {
                owner: keeper.id.clone(),
                state: State::Erased,
                content: Digest::default(),
                version: Digest::default(),
            })),
            Err(_) => Ok(None),
        },
    }
}

/// Makes the batch that stores a parcel, with what is kept of it.
fn unpack(
    space: &Space,
    keeper: &Principal,
    parcel: &[u8],
    left_out: usize,
    receipt: &Receipt,
    limits: &StoreLimits,
    trace: u128,
) -> Result<(Batch, Taken)> {
    let bundle = read(parcel, limits)?;
    let name = registers::held(&receipt.offer, &receipt.owner);
    let before: Option<Held> = registers::get(space, &name)?;
    if before.as_ref().is_some_and(|held| held.signer != receipt.signer || held.from != receipt.from) {
        return Err(Error::denied("what is held under this offer's id is of somebody else"));
    }
    let (incoming, links) = Incoming::of_bundle(bundle)?;
    let at = space.now();
    let consignment = Consignment { offer: receipt.offer, owner: &receipt.owner, until: receipt.until, at };
    let Delivery { mut batch, copies, mut report } =
        plan(&consignment, incoming, &links, before.as_ref(), |id| look(space, keeper, id))?;
    report.left_out += left_out;
    // The space itself will write it, together with its registers; it is the taker who must be allowed to.
    if !batch.is_empty() {
        space.check(&receipt.taker, batch.clone())?;
    }
    let mut licences = before.map(|held| held.licences).unwrap_or_default();
    licences.push(receipt.licence);
    if licences.len() > limits.takes {
        let oldest = licences.remove(0);
        batch.set_register(registers::taken(&oldest), None);
    }
    let held = Held {
        offer: receipt.offer,
        from: receipt.from.clone(),
        publisher: receipt.publisher.clone(),
        signer: receipt.signer,
        owner: receipt.owner.clone(),
        taker: receipt.taker.id.clone(),
        edition: receipt.edition,
        taken: at,
        until: receipt.until,
        pass_on: receipt.pass_on,
        revocable: receipt.revocable,
        licences,
        copies,
        ended: None,
    };
    registers::set(&mut batch, registers::taken(&receipt.licence), &name)?;
    registers::set(&mut batch, name, &held)?;
    let why = format!("offer {} of {}, edition {}, licence {}", held.offer, held.from, held.edition, receipt.licence);
    let cubes = held.copies.iter().map(|copied| copied.cube).collect();
    batch.record(registers::line(&receipt.taker, at, "take", (Outcome::Done, why), cubes, trace));
    let taken = taken(&held, receipt.licence, report, false);
    Ok((batch, taken))
}

/// Withdraws the copies of what is held, and returns how many went and how many stay under legal hold.
async fn end_held(
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
