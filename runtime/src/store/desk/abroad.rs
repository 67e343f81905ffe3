//! What leaves the kernel and what comes from elsewhere: bundles for one receiver, and notices. Who brings a bundle is
//! believed in nothing: its terms are signed, and name who may take it, and where to.

use std::sync::Arc;

use memos_memory::cube::PrincipalId;
use memos_memory::error::{Error, Result};
use memos_memory::exchange::bundle::{Bundle, BundleLicence};
use memos_memory::governance::{Outcome, Principal};
use memos_memory::ledger::SpaceKey;
use memos_memory::vault::{Batch, Space};
use serde::{Deserialize, Serialize};

use super::arrival::{Receipt, read};
use super::ending::end_held;
use super::taking::{Taken, admitted, taken};
use super::{Desk, at};
use crate::store::delivery::Delivered;
use crate::store::licence::{Destination, Held, Licence, Standing, keyed_licence};
use crate::store::offer::{OfferId, Vouched, check_words};
use crate::store::parcel::notice;
use crate::store::registers;
use crate::store::terms::Refusal;

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

#[derive(Serialize, Deserialize)]
struct RevokedElsewhere {
    signer: SpaceKey,
}

impl Desk {
    /// Makes a bundle of an offer for one receiver elsewhere. That is one use.
    pub(in crate::store) async fn export(&mut self, id: OfferId, to: Principal, key: SpaceKey) -> Result<Vec<u8>> {
        let (offer, now) = self.visible(id).await?;
        if self.caller.id != offer.publisher.id && self.caller.id != to.id {
            return Err(Error::denied(format!("only `{}` hands offer `{id}` to others", offer.publisher.id)));
        }
        // Who asks for a bundle of their own is who the session vouches for, whatever else they say they are.
        let to = if self.caller.id == to.id { Principal::clone(&self.caller) } else { to };
        let destination = Destination::Bundle(key);
        let request = self.call.key.as_ref().map(|key| keyed_licence(&id, &to.id, key.as_str()));
        let known = request.and_then(|request| self.shelf.licences.get(&request)).cloned();
        let (licence, is_new) = match known {
            Some(licence) if licence.to == destination => {
                admitted(&offer, &to, None, now, true)?;
                (licence, false)
            }
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
    pub(in crate::store) async fn notice(&self, id: OfferId) -> Result<Vec<u8>> {
        let (offer, _) = self.visible(id).await?;
        let Some(revocation) = offer.revoked.clone() else {
            return Err(Error::invalid(format!("offer `{id}` is not revoked")));
        };
        at(&self.space, move |space, _| notice(space, &offer, &revocation)).await
    }

    /// Takes what a bundle of elsewhere brings: an offer's memories, or the notice that one was revoked.
    pub(in crate::store) async fn take_bundle(
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
