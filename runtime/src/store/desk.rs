//! The desk of one space: what is done when something is published, taken or revoked. One thing at a time, so that two
//! takers of the last use cannot both have it.
//!
//! A taking touches two ledgers. The use is counted and the licence granted where the offer is, in one step; then the
//! copies are stored where they go, with the memory that the licence was taken up, in one step. A crash in between leaves
//! a licence that is granted and not delivered; whoever opens the shelf next delivers it, and that it was delivered
//! already is found in the other ledger. So each licence is delivered once.

mod abroad;
mod arrival;
mod ending;
mod taking;

use std::sync::Arc;

use memos_memory::cube::{CubeId, State, VersionRef};
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::governance::{Operation, Outcome, Principal};
use memos_memory::time::Timestamp;
use memos_memory::vault::{Batch, Space};
use serde::Serialize;

use super::facts::{StoreFact, Switchboard};
use super::licence::{Destination, Licence, Standing};
use super::limits::StoreLimits;
use super::matching::{Fits, Interest};
use super::offer::{Offer, OfferDraft, OfferId, OfferView, SubscriptionId, Vouched};
use super::registers;
use super::shelf::{Embedded, Shelf, StandingInterest};
use super::terms::{Refusal, admit, unknown};
use crate::actor::Call;
use crate::kernel::WeakKernel;
use crate::vault::{Session, SpaceHandle};

pub use abroad::Arrived;
pub use ending::Revoked;
pub use taking::Taken;

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
    Ok(space.keeper_session()?.with_patience(std::time::Duration::MAX))
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
        let open: Vec<Licence> = self.shelf.licences.values().filter(|l| self.due(l).is_some()).cloned().collect();
        for licence in open {
            // What cannot be finished now is found again at the next opening, and at the next try of its taker.
            let _ = match self.due(&licence) {
                Some(Due::Delivery) => self.finish(licence).await.map(|_| ()),
                Some(Due::Withdrawal) => self.take_back(&licence).await.map(|_| ()),
                None => Ok(()),
            };
        }
        Ok(())
    }

    /// Returns what is still to be done about a licence.
    fn due(&self, licence: &Licence) -> Option<Due> {
        let Destination::Space(_) = &licence.to else { return None };
        let offer = self.shelf.offer(&licence.offer)?;
        match licence.standing {
            Standing::Granted | Standing::Delivered if offer.revoked.is_some() && offer.terms.revocable => {
                Some(Due::Withdrawal)
            }
            Standing::Granted => Some(Due::Delivery),
            _ => None,
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
        if let Some((id, licences)) = &evicted {
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
}

/// What is still to be done about a licence.
enum Due {
    Delivery,
    Withdrawal,
}

fn closed() -> Error {
    Error::unavailable("the kernel is shut down; open it again")
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
