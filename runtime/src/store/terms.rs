//! The terms of an offer, and whether somebody may take it under them. Pure: who asks, where to and when are handed in.
//!
//! What counts as a use is one taking: the first of somebody, and each of a later edition. Reading what was taken is not
//! counted, since a read waits for no disk and a count that is not durable would be none.

use std::collections::BTreeSet;

use memos_memory::cube::{GroupName, PrincipalId, SpaceName};
use memos_memory::error::{Error, Result};
use memos_memory::governance::Principal;
use memos_memory::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::limits::StoreLimits;
use super::offer::{Offer, OfferId, check_count};

/// Under which terms memories are handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How often it may be taken, over all takers; none: as often as anybody likes.
    pub uses: Option<u64>,
    /// Until when it may be taken, and what was taken be kept; none: for ever.
    pub until: Option<Timestamp>,
    /// Whether who takes it may offer it to others.
    pub pass_on: bool,
    /// Whether what is sensitive goes along to those who may read it in its own space. To everybody else it is redacted
    /// whatever is said here.
    pub sensitive: bool,
    /// Whether what was taken is withdrawn when the offer is revoked.
    pub revocable: bool,
    /// Who may take it.
    pub takers: Takers,
}

impl Default for Terms {
    /// The tightest: nobody, nothing sensitive, not to be passed on, and revocable.
    fn default() -> Self {
        let takers = Takers::default();
        Self { uses: None, until: None, pass_on: false, sensitive: false, revocable: true, takers }
    }
}

/// Who may take an offer, and where to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takers {
    /// Whether everybody may.
    pub everybody: bool,
    /// These principals.
    pub principals: BTreeSet<PrincipalId>,
    /// The members of these groups.
    pub groups: BTreeSet<GroupName>,
    /// Into these spaces alone; into any where none is named.
    pub spaces: BTreeSet<SpaceName>,
}

impl Takers {
    /// Names everybody.
    pub fn everybody() -> Self {
        Self { everybody: true, ..Self::default() }
    }

    /// Returns whether a principal is one of them.
    pub fn name(&self, taker: &Principal) -> bool {
        self.everybody || self.principals.contains(&taker.id) || !self.groups.is_disjoint(&taker.groups)
    }
}

impl Terms {
    /// Refuses terms that break a limit, and those under which nobody could ever take anything.
    ///
    /// # Errors
    /// `Invalid`, naming what is wrong.
    pub fn check(&self, limits: &StoreLimits, at: Timestamp) -> Result<()> {
        let Takers { everybody, principals, groups, spaces } = &self.takers;
        for (count, unit) in [(principals.len(), "principals"), (groups.len(), "groups"), (spaces.len(), "spaces")] {
            check_count("the offer", count, limits.takers, unit)?;
        }
        if !everybody && principals.is_empty() && groups.is_empty() {
            return Err(Error::invalid("the offer names nobody who may take it; name principals, groups or everybody"));
        }
        if self.uses == Some(0) {
            return Err(Error::invalid("an offer of no use can be taken by nobody; give at least one"));
        }
        if self.until.is_some_and(|until| until <= at) {
            return Err(Error::invalid("the offer would have ended already; name a later time"));
        }
        Ok(())
    }
}

/// Why an offer cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Refusal {
    /// To this taker there is no such offer.
    Unknown,
    /// It was revoked.
    Revoked,
    /// It has ended.
    Expired,
    /// It was taken as often as it may be.
    UsedUp,
    /// It may not be taken into that space.
    OtherSpace,
}

impl Refusal {
    /// Returns why, in words for those who may see the offer.
    pub(super) fn reason(self, offer: &Offer) -> String {
        match self {
            Self::Unknown => "it is not for this taker".to_owned(),
            Self::Revoked => {
                format!("it was revoked: {}", offer.revoked.as_ref().map_or("", |revoked| revoked.reason.as_str()))
            }
            Self::Expired => {
                offer.terms.until.map_or_else(|| "it has ended".to_owned(), |until| format!("it ended at {until}"))
            }
            Self::UsedUp => format!("it was taken as often as it may be, {} times", offer.taken),
            Self::OtherSpace => "it may not be taken into that space".to_owned(),
        }
    }

    /// Returns the error for the taker: an offer that is not for them is one that is not there.
    pub(super) fn error(self, offer: &Offer) -> Error {
        match self {
            Self::Unknown => unknown(&offer.id, &offer.space),
            refusal => Error::denied(format!("offer `{}` cannot be taken: {}", offer.id, refusal.reason(offer))),
        }
    }
}

/// Says that there is no offer, in the same words whether there is none or it is for others.
pub(super) fn unknown(offer: &OfferId, space: &SpaceName) -> Error {
    Error::not_found(format!("there is no offer `{offer}` in space `{space}` that the caller may see"))
}

/// Decides whether a principal may take an offer at a time; into a space, where one is named.
///
/// # Errors
/// Why not. What does not concern the taker comes before all else, so that nothing else is told to them.
pub(super) fn admit(
    offer: &Offer,
    taker: &Principal,
    into: Option<&SpaceName>,
    at: Timestamp,
) -> std::result::Result<(), Refusal> {
    let Terms { until, takers, .. } = &offer.terms;
    if !takers.name(taker) {
        return Err(Refusal::Unknown);
    }
    if offer.revoked.is_some() {
        return Err(Refusal::Revoked);
    }
    if until.is_some_and(|until| at >= until) {
        return Err(Refusal::Expired);
    }
    if into.is_some_and(|into| !takers.spaces.is_empty() && !takers.spaces.contains(into)) {
        return Err(Refusal::OtherSpace);
    }
    match offer.left() {
        Some(0) => Err(Refusal::UsedUp),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::offer::Revocation;
    use memos_memory::cube::CubeId;

    pub(in crate::store) fn offer(terms: Terms) -> Offer {
        Offer {
            id: OfferId(CubeId::from_bytes([1; 16])),
            space: "acme/ops".parse().unwrap(),
            publisher: (&principal("user:ada")).into(),
            name: "how we deploy".to_owned(),
            tags: vec!["ops".to_owned()],
            cubes: Vec::new(),
            edition: 1,
            terms,
            taken: 0,
            created: Timestamp::from_millis(0),
            renewed: None,
            revoked: None,
        }
    }

    fn principal(name: &str) -> Principal {
        Principal::new(name.parse().unwrap())
    }

    #[test]
    fn terms_decide_who_takes_what_when_and_where_to() {
        let (bo, eve) = (principal("user:bo"), principal("user:eve"));
        let member = eve.clone().in_group("kitchen".parse().unwrap());
        let named = Takers {
            principals: ["user:bo".parse().unwrap()].into(),
            groups: ["kitchen".parse().unwrap()].into(),
            ..Takers::default()
        };
        let base = offer(Terms { takers: named.clone(), ..Terms::default() });
        let until =
            Offer { terms: Terms { until: Some(Timestamp::from_millis(10)), ..base.terms.clone() }, ..base.clone() };
        let once = Offer { terms: Terms { uses: Some(1), ..base.terms.clone() }, ..base.clone() };
        let used = Offer { taken: 1, ..once.clone() };
        let spaces = Takers { spaces: ["acme/desk".parse().unwrap()].into(), ..named };
        let narrow = Offer { terms: Terms { takers: spaces, ..base.terms.clone() }, ..base.clone() };
        let by = Revocation { at: Timestamp::from_millis(5), by: bo.id.clone(), reason: "wrong".to_owned() };
        let revoked = Offer { revoked: Some(by), ..used.clone() };
        let open = offer(Terms { takers: Takers::everybody(), ..Terms::default() });
        for (offer, taker, into, at, expect) in [
            (&base, &bo, "acme/desk", 0, Ok(())),
            (&base, &eve, "acme/desk", 0, Err(Refusal::Unknown)),
            (&base, &member, "acme/desk", 0, Ok(())),
            (&open, &eve, "acme/desk", 0, Ok(())),
            (&until, &bo, "acme/desk", 9, Ok(())),
            (&until, &bo, "acme/desk", 10, Err(Refusal::Expired)),
            (&until, &eve, "acme/desk", 10, Err(Refusal::Unknown)),
            (&once, &bo, "acme/desk", 0, Ok(())),
            (&used, &bo, "acme/desk", 0, Err(Refusal::UsedUp)),
            (&used, &eve, "acme/desk", 0, Err(Refusal::Unknown)),
            (&narrow, &bo, "acme/desk", 0, Ok(())),
            (&narrow, &bo, "acme/else", 0, Err(Refusal::OtherSpace)),
            (&revoked, &bo, "acme/desk", 0, Err(Refusal::Revoked)),
            (&revoked, &eve, "acme/desk", 0, Err(Refusal::Unknown)),
        ] {
            let into: SpaceName = into.parse().unwrap();
            let at = Timestamp::from_millis(at);
            assert_eq!(admit(offer, taker, Some(&into), at), expect, "{taker:?} {into} {at:?} {offer:?}");
        }
    }

    #[test]
    fn what_is_not_for_somebody_is_not_there() {
        let hidden = offer(Terms {
            takers: Takers { principals: ["user:bo".parse().unwrap()].into(), ..Takers::default() },
            ..Terms::default()
        });
        let at = Timestamp::from_millis(0);
        assert_eq!(hidden.seen_by(&principal("user:eve"), at), None);
        assert!(hidden.seen_by(&principal("user:bo"), at).is_some_and(|seen| !seen.is_own && seen.ended.is_none()));
        assert!(hidden.seen_by(&principal("user:ada"), at).is_some_and(|seen| seen.is_own));
        let missing = unknown(&hidden.id, &hidden.space).to_string();
        assert_eq!(Refusal::Unknown.error(&hidden).to_string(), missing, "nothing tells one from the other");
    }

    #[test]
    fn terms_under_which_nobody_can_take_are_refused() {
        let at = Timestamp::from_millis(10);
        let open = Terms { takers: Takers::everybody(), ..Terms::default() };
        for (terms, expect) in [
            (open.clone(), true),
            (Terms::default(), false),
            (Terms { uses: Some(0), ..open.clone() }, false),
            (Terms { until: Some(at), ..open.clone() }, false),
            (Terms { until: Some(Timestamp::from_millis(11)), ..open.clone() }, true),
            (Terms { takers: Takers { spaces: ["a/b".parse().unwrap()].into(), ..Takers::default() }, ..open }, false),
        ] {
            assert_eq!(terms.check(&StoreLimits::default(), at).is_ok(), expect, "{terms:?}");
        }
    }
}
