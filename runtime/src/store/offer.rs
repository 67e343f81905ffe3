//! What is offered: an offer as its publisher drafts it, as it stands in its space, and as those see it who may take it.
//!
//! The words of an offer come from somebody else than those who read them, so they are plain: one line, without what a
//! screen would not show.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use memos_memory::cube::{CubeId, GroupName, PrincipalId, SpaceName, VersionRef};
use memos_memory::error::{Error, Result};
use memos_memory::governance::Principal;
use memos_memory::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::limits::StoreLimits;
use super::terms::{Refusal, Terms, admit};

macro_rules! id_type {
    ($(#[$meta:meta])* $name:ident, $what:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub(in crate::store) CubeId);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                let refused = |_| Error::invalid(format!(concat!("`{}` is not the id of ", $what), text));
                text.parse().map(Self).map_err(refused)
            }
        }
    };
}

id_type! {
    /// Names an offer.
    OfferId, "an offer; `memos offers` prints them"
}
id_type! {
    /// Names one taking of an offer.
    LicenceId, "a licence"
}
id_type! {
    /// Names a subscription.
    SubscriptionId, "a subscription; `memos subscribe` prints it"
}

/// What a publisher wants to offer.
#[derive(Debug, Clone, PartialEq)]
pub struct OfferDraft {
    /// What it is called.
    pub name: String,
    /// Labels by which it is found.
    pub tags: Vec<String>,
    /// The memories.
    pub cubes: Vec<CubeId>,
    /// Under which terms.
    pub terms: Terms,
}

impl OfferDraft {
    /// Refuses what breaks a limit, says nothing, or can never be taken.
    ///
    /// # Errors
    /// `Invalid`, naming what is wrong.
    pub fn check(&self, limits: &StoreLimits, at: Timestamp) -> Result<()> {
        check_words("the offer's name", &self.name, limits.name_bytes)?;
        check_tags("the offer", &self.tags, limits)?;
        if self.cubes.is_empty() {
            return Err(Error::invalid("an offer holds at least one memory"));
        }
        check_count("the offer", self.cubes.len(), limits.offer_cubes, "memories")?;
        let different: BTreeSet<&CubeId> = self.cubes.iter().collect();
        if different.len() < self.cubes.len() {
            return Err(Error::invalid("the offer names a memory twice"));
        }
        self.terms.check(limits, at)
    }
}

/// Somebody as they were vouched for: so that what they asked for can be finished in their name, and no further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouched {
    /// The name.
    pub id: PrincipalId,
    /// The groups they belonged to.
    pub groups: BTreeSet<GroupName>,
    /// Their roles.
    pub roles: BTreeSet<String>,
}

impl Vouched {
    /// Returns the principal.
    pub fn principal(&self) -> Principal {
        Principal { groups: self.groups.clone(), roles: self.roles.clone(), ..Principal::new(self.id.clone()) }
    }
}

impl From<&Principal> for Vouched {
    fn from(principal: &Principal) -> Self {
        Self { id: principal.id.clone(), groups: principal.groups.clone(), roles: principal.roles.clone() }
    }
}

/// An offer, as its space keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Names it.
    pub id: OfferId,
    /// The space whose memories it offers.
    pub space: SpaceName,
    /// Who offers them.
    pub publisher: Vouched,
    /// What it is called.
    pub name: String,
    /// Labels.
    pub tags: Vec<String>,
    /// The memories, at the versions that are handed over.
    pub cubes: Vec<VersionRef>,
    /// Counts from 1; each renewal is the next.
    pub edition: u32,
    /// Under which terms.
    pub terms: Terms,
    /// How often it was taken.
    pub taken: u64,
    /// When it was published.
    pub created: Timestamp,
    /// When this edition was.
    pub renewed: Option<Timestamp>,
    /// When, by whom and why it was revoked.
    pub revoked: Option<Revocation>,
}

/// The end of an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub by: PrincipalId,
    /// Why.
    pub reason: String,
}

impl Offer {
    /// Returns how often it can still be taken; none where there is no bound.
    pub fn left(&self) -> Option<u64> {
        self.terms.uses.map(|uses| uses.saturating_sub(self.taken))
    }

    /// Returns whether nobody can take it any more, whatever happens.
    pub fn has_ended(&self, at: Timestamp) -> bool {
        self.revoked.is_some() || self.terms.until.is_some_and(|until| at >= until) || self.left() == Some(0)
    }

    /// Returns its own words, by which it is found.
    pub fn words(&self) -> String {
        [std::slice::from_ref(&self.name), self.tags.as_slice()].concat().join(", ")
    }

    /// Returns it as a principal sees it; none where there is none to see.
    pub fn seen_by(&self, viewer: &Principal, at: Timestamp) -> Option<OfferView> {
        let is_own = viewer.id == self.publisher.id;
        let refusal = admit(self, viewer, None, at).err();
        if !is_own && refusal == Some(Refusal::Unknown) {
            return None;
        }
        Some(OfferView {
            id: self.id,
            space: self.space.clone(),
            publisher: self.publisher.id.clone(),
            name: self.name.clone(),
            tags: self.tags.clone(),
            memories: self.cubes.len(),
            edition: self.edition,
            uses: self.terms.uses,
            left: self.left(),
            until: self.terms.until,
            pass_on: self.terms.pass_on,
            revocable: self.terms.revocable,
            created: self.created,
            renewed: self.renewed,
            is_own,
            ended: refusal.filter(|refusal| *refusal != Refusal::Unknown).map(|refusal| refusal.reason(self)),
        })
    }
}

/// An offer as those see it who may take it: not which memories it holds, nor who else may take it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OfferView {
    /// Names it.
    pub id: OfferId,
    /// The space whose memories it offers.
    pub space: SpaceName,
    /// Who offers them.
    pub publisher: PrincipalId,
    /// What it is called.
    pub name: String,
    /// Labels.
    pub tags: Vec<String>,
    /// How many memories it holds.
    pub memories: usize,
    /// Counts from 1; each renewal is the next.
    pub edition: u32,
    /// How often it may be taken in all; none where there is no bound.
    pub uses: Option<u64>,
    /// How often it can still be taken.
    pub left: Option<u64>,
    /// Until when it may be taken and kept.
    pub until: Option<Timestamp>,
    /// Whether who takes it may offer it to others.
    pub pass_on: bool,
    /// Whether what was taken goes when it is revoked.
    pub revocable: bool,
    /// When it was published.
    pub created: Timestamp,
    /// When this edition was.
    pub renewed: Option<Timestamp>,
    /// Whether it is the viewer's own.
    pub is_own: bool,
    /// Why it cannot be taken any more.
    pub ended: Option<String>,
}

/// Refuses a `found` above `most`.
pub(super) fn check_count(what: &str, found: usize, most: usize, unit: &str) -> Result<()> {
    if found > most {
        return Err(Error::invalid(format!("{what} has {found} {unit}, and at most {most} are accepted")));
    }
    Ok(())
}

/// Refuses words that are empty, too long, or not one line of what a screen shows.
pub(super) fn check_words(what: &str, words: &str, most: usize) -> Result<()> {
    check_count(what, words.len(), most, "bytes")?;
    if words.trim().is_empty() {
        return Err(Error::invalid(format!("{what} is empty")));
    }
    let hides = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            || ('\u{e0000}'..='\u{e007f}').contains(&c)
    };
    match words.chars().any(hides) {
        true => Err(Error::invalid(format!("{what} has characters that no line shows; leave them out"))),
        false => Ok(()),
    }
}

pub(super) fn check_tags(what: &str, tags: &[String], limits: &StoreLimits) -> Result<()> {
    check_count(what, tags.len(), limits.tags, "tags")?;
    tags.iter().try_for_each(|tag| check_words("a tag", tag, limits.name_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::terms::Takers;

    fn draft(name: &str, tags: &[&str], cubes: &[u8]) -> OfferDraft {
        OfferDraft {
            name: name.to_owned(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            cubes: cubes.iter().map(|byte| CubeId::from_bytes([*byte; 16])).collect(),
            terms: Terms { takers: Takers::everybody(), ..Terms::default() },
        }
    }

    #[test]
    fn drafts_are_checked() {
        let limits = StoreLimits { offer_cubes: 2, name_bytes: 20, tags: 2, ..StoreLimits::default() };
        let at = Timestamp::from_millis(0);
        for (draft, expect) in [
            (draft("how we deploy", &["ops"], &[1, 2]), Ok(())),
            (draft(" ", &[], &[1]), Err("is empty")),
            (draft("a name of more than twenty", &[], &[1]), Err("at most 20")),
            (draft("two\nlines", &[], &[1]), Err("no line shows")),
            (draft("turned \u{202e}round", &[], &[1]), Err("no line shows")),
            (draft("x", &["a", "b", "c"], &[1]), Err("3 tags")),
            (draft("x", &[""], &[1]), Err("a tag is empty")),
            (draft("x", &[], &[]), Err("at least one")),
            (draft("x", &[], &[1, 1]), Err("twice")),
            (draft("x", &[], &[1, 2, 3]), Err("3 memories")),
        ] {
            let checked = draft.check(&limits, at).map_err(|error| error.to_string());
            match expect {
                Ok(()) => assert_eq!(checked, Ok(()), "{draft:?}"),
                Err(part) => assert!(checked.as_ref().is_err_and(|said| said.contains(part)), "{draft:?}: {checked:?}"),
            }
        }
    }
}
