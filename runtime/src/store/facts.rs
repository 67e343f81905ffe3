//! What listeners are told, and who listens. It outlives the actor's restarts; who listens too slowly is told how much
//! was missed, and finds it by asking.

use std::collections::HashMap;

use memos_memory::cube::{PrincipalId, SpaceName};
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::governance::Principal;
use parking_lot::Mutex;

use super::limits::StoreLimits;
use super::matching::Fits;
use super::offer::{OfferId, OfferView};
use crate::actor::{Subscription, Topic};

/// What became of an offer.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreFact {
    /// One was published that fits a subscription.
    Offered {
        /// The offer, as the listener sees it.
        offer: OfferView,
        /// Why it fits.
        fits: Fits,
    },
    /// There is a new edition of one that the listener has taken, or that fits a subscription. Taking it again updates the
    /// copies.
    Renewed {
        /// The offer, as the listener sees it.
        offer: OfferView,
    },
    /// One that the listener has taken, or that fits a subscription, was revoked.
    Revoked {
        /// The offer.
        offer: OfferId,
        /// Why.
        reason: String,
    },
}

struct Line {
    /// The listener, as whom they were vouched for last.
    principal: Principal,
    topic: Topic<StoreFact>,
}

/// Ends of the same listener in one space.
const ENDS: usize = 64;

/// Who listens, in which space.
pub(super) struct Switchboard {
    most: usize,
    backlog: usize,
    lines: Mutex<HashMap<SpaceName, HashMap<PrincipalId, Line>>>,
}

impl Switchboard {
    pub(super) fn new(limits: &StoreLimits) -> Self {
        Self { most: limits.listeners, backlog: limits.backlog, lines: Mutex::default() }
    }

    pub(super) fn listen(&self, space: &SpaceName, principal: &Principal) -> Result<Subscription<StoreFact>> {
        let mut lines = self.lines.lock();
        for of_space in lines.values_mut() {
            of_space.retain(|_, line| line.topic.is_heard());
        }
        lines.retain(|_, of_space| !of_space.is_empty());
        let listeners: usize = lines.values().map(HashMap::len).sum();
        let of_space = lines.entry(space.clone()).or_default();
        if listeners >= self.most && !of_space.contains_key(&principal.id) {
            return Err(Error::new(ErrorKind::Busy, format!("{listeners} principals listen already; try again later")));
        }
        let new = || Line { principal: principal.clone(), topic: Topic::new(self.backlog, ENDS) };
        let line = of_space.entry(principal.id.clone()).or_insert_with(new);
        line.principal = principal.clone();
        line.topic.subscribe()
    }

    /// Tells every listener of a space what `fact` finds for them.
    pub(super) fn tell(&self, space: &SpaceName, fact: impl Fn(&Principal) -> Option<StoreFact>) {
        let lines = self.lines.lock();
        for line in lines.get(space).into_iter().flat_map(HashMap::values) {
            if let Some(fact) = fact(&line.principal) {
                line.topic.publish(&fact);
            }
        }
    }
}
