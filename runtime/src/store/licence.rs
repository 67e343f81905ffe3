//! Licences: what was granted for one taking of an offer, kept where the offer is; and what is held under licences, kept
//! where the copies are. Pure.

use memos_memory::cube::{CubeId, PrincipalId, SpaceName};
use memos_memory::exchange::import::stable_id;
use memos_memory::ledger::SpaceKey;
use memos_memory::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::offer::{LicenceId, OfferId, Vouched};

/// One taking of an offer, as the offer's space keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Licence {
    /// Names it.
    pub(super) id: LicenceId,
    /// The offer.
    pub(super) offer: OfferId,
    /// The edition that was taken.
    pub(super) edition: u32,
    /// Who took it.
    pub(super) taker: Vouched,
    /// Whose the copies are.
    pub(super) owner: PrincipalId,
    /// Where to.
    pub(super) to: Destination,
    /// When.
    pub(super) granted: Timestamp,
    /// What became of it.
    pub(super) standing: Standing,
}

/// Where copies go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Destination {
    /// Into a space of this kernel.
    Space(SpaceName),
    /// Out of it, in a bundle for the space with this key.
    Bundle(SpaceKey),
}

/// What became of a licence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    /// The use is counted, and the copies are on their way.
    Granted,
    /// The copies are there, or the bundle is made.
    Delivered,
    /// The copies could not be stored, and the use was given back.
    Returned(String),
    /// The copies were withdrawn.
    Withdrawn(String),
}

/// What somebody holds of one offer, as the space with the copies keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    /// The offer.
    pub(super) offer: OfferId,
    /// The space that offers it.
    pub(super) from: SpaceName,
    /// Who offers it.
    pub(super) publisher: PrincipalId,
    /// The key of a space elsewhere, which alone can revoke it.
    pub(super) signer: Option<SpaceKey>,
    /// Whose the copies are.
    pub(super) owner: PrincipalId,
    /// Who took them last.
    pub(super) taker: PrincipalId,
    /// The edition that they are of.
    pub(super) edition: u32,
    /// When it was taken.
    pub(super) taken: Timestamp,
    /// Until when they may be kept.
    pub(super) until: Option<Timestamp>,
    /// Whether they may be offered to others.
    pub(super) pass_on: bool,
    /// Whether they go when the offer is revoked.
    pub(super) revocable: bool,
    /// The licences, oldest first.
    pub(super) licences: Vec<LicenceId>,
    /// The copies.
    pub(super) copies: Vec<Copied>,
    /// When and why they were withdrawn.
    pub(super) ended: Option<Ended>,
}

/// A copy, and what it is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Copied {
    /// The memory in its own space.
    pub(super) source: CubeId,
    /// Its version there.
    pub(super) version: u32,
    /// The copy.
    pub(super) cube: CubeId,
}

/// The end of what was held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    /// When.
    pub(super) at: Timestamp,
    /// Why.
    pub(super) reason: String,
}

impl Held {
    /// Returns why the copies must not be recalled any more, if they must not.
    pub(super) fn end(&self, at: Timestamp) -> Option<String> {
        match (&self.ended, self.until) {
            (Some(ended), _) => Some(ended.reason.clone()),
            (None, Some(until)) if at >= until => {
                Some(format!("the licence for offer {} of {} ended at {until}", self.offer, self.from))
            }
            _ => None,
        }
    }
}

/// Returns the name under which somebody holds an offer: one set of copies for each owner, however often it is taken.
pub(super) fn held_id(offer: &OfferId, owner: &PrincipalId) -> CubeId {
    stable_id("store held", &[offer.0.as_bytes(), owner.as_str().as_bytes()])
}

/// Returns the id of a copy: the same each time, so that taking again makes a next version and no second copy.
pub(super) fn copy_id(offer: &OfferId, owner: &PrincipalId, source: &CubeId) -> CubeId {
    stable_id("store copy", &[offer.0.as_bytes(), owner.as_str().as_bytes(), source.as_bytes()])
}

/// Returns the id of the licence of a request with a key: the same each time, so that asking again takes nothing twice.
pub(super) fn keyed_licence(offer: &OfferId, taker: &PrincipalId, key: &str) -> LicenceId {
    LicenceId(stable_id("store licence", &[offer.0.as_bytes(), taker.as_str().as_bytes(), key.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_ends_by_time_or_by_word() {
        let at = Timestamp::from_millis;
        let held = |until, ended: Option<&str>| Held {
            offer: OfferId(CubeId::from_bytes([1; 16])),
            from: "acme/ops".parse().unwrap(),
            publisher: "user:ada".parse().unwrap(),
            signer: None,
            owner: "user:bo".parse().unwrap(),
            taker: "user:bo".parse().unwrap(),
            edition: 1,
            taken: at(0),
            until,
            pass_on: false,
            revocable: true,
            licences: Vec::new(),
            copies: Vec::new(),
            ended: ended.map(|reason| Ended { at: at(1), reason: reason.to_owned() }),
        };
        for (held, now, expect) in [
            (held(None, None), 1_000, None),
            (held(Some(at(10)), None), 9, None),
            (held(Some(at(10)), None), 10, Some("ended at")),
            (held(None, Some("revoked")), 0, Some("revoked")),
            (held(Some(at(10)), Some("revoked")), 20, Some("revoked")),
        ] {
            let end = held.end(at(now));
            assert_eq!(end.is_some(), expect.is_some(), "{held:?}");
            assert!(end.is_none_or(|end| expect.is_some_and(|part| end.contains(part))));
        }
    }

    #[test]
    fn ids_follow_from_what_they_name() {
        let offer = OfferId(CubeId::from_bytes([1; 16]));
        let (bo, eve) = ("user:bo".parse().unwrap(), "user:eve".parse().unwrap());
        let cube = CubeId::from_bytes([2; 16]);
        assert_eq!(copy_id(&offer, &bo, &cube), copy_id(&offer, &bo, &cube));
        assert_ne!(copy_id(&offer, &bo, &cube), copy_id(&offer, &eve, &cube));
        assert_ne!(held_id(&offer, &bo), held_id(&offer, &eve));
        assert_eq!(keyed_licence(&offer, &bo, "a"), keyed_licence(&offer, &bo, "a"));
        assert_ne!(keyed_licence(&offer, &bo, "a"), keyed_licence(&offer, &eve, "a"));
    }
}
