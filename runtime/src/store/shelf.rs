//! The shelf of one space: its offers, licences and subscriptions, made again from its registers whenever it is not at
//! hand.

use std::collections::BTreeMap;

use memos_memory::cube::PrincipalId;
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::governance::Principal;
use memos_memory::time::Timestamp;
use memos_memory::vault::Space;
use serde::{Deserialize, Serialize};

use super::licence::{Licence, Standing};
use super::limits::StoreLimits;
use super::matching::{Fits, Interest, fits};
use super::offer::{LicenceId, Offer, OfferId, SubscriptionId};
use super::registers;

/// Somebody's wish to hear of offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StandingInterest {
    /// Names it.
    pub id: SubscriptionId,
    /// Whose it is.
    pub subscriber: PrincipalId,
    /// What they want to hear of.
    pub interest: Interest,
    /// Since when.
    pub since: Timestamp,
}

/// A value with the vector of its words.
#[derive(Debug, Clone)]
pub(super) struct Embedded<T> {
    pub(super) value: T,
    pub(super) vector: Vec<f32>,
}

/// What one space keeps for MemStore.
#[derive(Debug, Clone, Default)]
pub(super) struct Shelf {
    pub(super) offers: BTreeMap<OfferId, Embedded<Offer>>,
    pub(super) licences: BTreeMap<LicenceId, Licence>,
    pub(super) interests: BTreeMap<SubscriptionId, Embedded<StandingInterest>>,
}

impl Shelf {
    /// Makes it from the registers.
    pub(super) fn load(space: &Space) -> Result<Self> {
        let mut shelf = Self::default();
        for offer in registers::all::<Offer>(space, "store/offer/")? {
            let vector = space.embedder().embed(&offer.words())?;
            shelf.offers.insert(offer.id, Embedded { value: offer, vector });
        }
        for licence in registers::all::<Licence>(space, "store/licence/")? {
            shelf.licences.insert(licence.id, licence);
        }
        for interest in registers::all::<StandingInterest>(space, "store/subscription/")? {
            let vector = interest.interest.sentence().map(|sentence| space.embedder().embed(sentence)).transpose()?;
            shelf.interests.insert(interest.id, Embedded { value: interest, vector: vector.unwrap_or_default() });
        }
        Ok(shelf)
    }

    pub(super) fn offer(&self, id: &OfferId) -> Option<&Offer> {
        self.offers.get(id).map(|offer| &offer.value)
    }

    /// Puts a changed offer in the place of the one there was; its words never change.
    pub(super) fn replace(&mut self, offer: Offer) {
        if let Some(there) = self.offers.get_mut(&offer.id) {
            there.value = offer;
        }
    }

    /// Returns the licences of an offer.
    pub(super) fn licences_of(&self, offer: OfferId) -> impl Iterator<Item = &Licence> {
        self.licences.values().filter(move |licence| licence.offer == offer)
    }

    /// Returns why an offer is one that a principal waits for.
    pub(super) fn fits(&self, offer: &Embedded<Offer>, subscriber: &PrincipalId) -> Option<Fits> {
        let own = self.interests.values().filter(|standing| standing.value.subscriber == *subscriber);
        let found = own
            .filter_map(|standing| fits(&standing.value.interest, &standing.vector, &offer.value.tags, &offer.vector));
        let nearness = |fits: &Fits| if let Fits::Meaning(near) = fits { *near } else { 1.0 };
        found.max_by(|one, other| nearness(one).total_cmp(&nearness(other)))
    }

    /// Returns whether a principal has taken an offer and holds it.
    pub(super) fn has_taken(&self, offer: OfferId, principal: &Principal) -> bool {
        self.licences_of(offer)
            .any(|licence| licence.taker.id == principal.id && licence.standing == Standing::Delivered)
    }

    /// Finds a place for one more offer: returns the ended one that makes room where there is none, with its licences.
    ///
    /// # Errors
    /// `Busy` when all of them are still open.
    pub(super) fn room_for_offer(
        &self,
        limits: &StoreLimits,
        at: Timestamp,
    ) -> Result<Option<(OfferId, Vec<LicenceId>)>> {
        if self.offers.len() < limits.offers {
            return Ok(None);
        }
        let settled = |offer: &Offer| {
            let withdrawn = !offer.terms.revocable || offer.terms.until.is_some_and(|until| at >= until);
            self.licences_of(offer.id).all(|licence| match licence.standing {
                Standing::Granted => false,
                Standing::Delivered => withdrawn,
                Standing::Returned(_) | Standing::Withdrawn(_) => true,
            })
        };
        let ended =
            self.offers.values().map(|offer| &offer.value).filter(|offer| offer.has_ended(at) && settled(offer));
        let Some(oldest) = ended.min_by_key(|offer| (offer.created, offer.id)) else {
            let full = format!("the space has {} offers; revoke one that is not needed any more", self.offers.len());
            return Err(Error::new(ErrorKind::Busy, full));
        };
        Ok(Some((oldest.id, self.licences_of(oldest.id).map(|licence| licence.id).collect())))
    }

    /// Refuses one more licence above the limits.
    pub(super) fn check_licences(&self, limits: &StoreLimits) -> Result<()> {
        if self.licences.len() < limits.licences {
            return Ok(());
        }
        let full = format!("the space has granted {} licences, and keeps no more", self.licences.len());
        Err(Error::new(ErrorKind::Busy, full))
    }

    /// Refuses one more subscription above the limits.
    pub(super) fn check_interests(&self, subscriber: &PrincipalId, limits: &StoreLimits) -> Result<()> {
        let own = self.interests.values().filter(|standing| standing.value.subscriber == *subscriber).count();
        if own >= limits.subscriptions || self.interests.len() >= limits.space_subscriptions {
            return Err(Error::new(
                ErrorKind::Busy,
                format!("there are {own} subscriptions of yours; end one of them"),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::licence::Destination;
    use crate::store::terms::tests::offer;
    use crate::store::terms::{Takers, Terms};
    use memos_memory::cube::CubeId;

    #[test]
    fn an_ended_offer_makes_room_and_an_open_one_does_not() {
        let at = Timestamp::from_millis(20);
        let limits = StoreLimits { offers: 1, ..StoreLimits::default() };
        let taken = |standing| Licence {
            id: LicenceId(CubeId::from_bytes([7; 16])),
            offer: OfferId(CubeId::from_bytes([1; 16])),
            edition: 1,
            taker: (&Principal::new("user:bo".parse().unwrap())).into(),
            owner: "user:bo".parse().unwrap(),
            to: Destination::Space("acme/desk".parse().unwrap()),
            granted: at,
            standing,
        };
        let terms = Terms { takers: Takers::everybody(), ..Terms::default() };
        let once = Terms { uses: Some(1), ..terms.clone() };
        let until = Terms { until: Some(Timestamp::from_millis(10)), ..terms.clone() };
        for (terms, used, licence, expect) in [
            (terms, 0, None, false),
            (once.clone(), 1, None, true),
            (once.clone(), 1, Some(Standing::Delivered), false),
            (Terms { revocable: false, ..once.clone() }, 1, Some(Standing::Delivered), true),
            (once.clone(), 1, Some(Standing::Withdrawn(String::new())), true),
            (once, 1, Some(Standing::Granted), false),
            (until, 0, Some(Standing::Delivered), true),
        ] {
            let mut shelf = Shelf::default();
            let offer = Offer { taken: used, ..offer(terms) };
            shelf.offers.insert(offer.id, Embedded { value: offer.clone(), vector: Vec::new() });
            shelf.licences.extend(licence.map(taken).map(|licence| (licence.id, licence)));
            let room = shelf.room_for_offer(&limits, at);
            assert_eq!(room.is_ok(), expect, "{offer:?} {:?}", shelf.licences);
            assert_eq!(shelf.room_for_offer(&StoreLimits::default(), at).unwrap(), None);
        }
    }
}
