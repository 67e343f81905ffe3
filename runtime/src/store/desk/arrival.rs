//! A parcel where it arrives: what the space has, what becomes of it there, and what is kept of that.

use memos_memory::cube::{CubeId, Digest, PrincipalId, SpaceName, State};
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::exchange::bundle::{Bundle, BundleLicence, BundleLimits, read_bundle};
use memos_memory::exchange::import::Incoming;
use memos_memory::governance::{Outcome, Principal};
use memos_memory::ledger::SpaceKey;
use memos_memory::time::Timestamp;
use memos_memory::vault::{Batch, Space};

use super::taking::{Taken, taken};
use crate::store::delivery::{Consignment, Delivery, There, plan};
use crate::store::licence::{Held, Licence};
use crate::store::limits::StoreLimits;
use crate::store::offer::{LicenceId, Offer, OfferId};
use crate::store::registers;

/// With what a parcel arrives.
#[derive(Debug, Clone)]
pub(super) struct Receipt {
    pub(super) licence: LicenceId,
    pub(super) offer: OfferId,
    pub(super) from: SpaceName,
    pub(super) publisher: PrincipalId,
    pub(super) signer: Option<SpaceKey>,
    pub(super) taker: Principal,
    pub(super) owner: PrincipalId,
    pub(super) edition: u32,
    pub(super) until: Option<Timestamp>,
    pub(super) pass_on: bool,
    pub(super) revocable: bool,
}

impl Receipt {
    pub(super) fn of_offer(offer: &Offer, licence: &Licence) -> Self {
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

    pub(super) fn of_bundle(
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

pub(super) fn read(bytes: &[u8], limits: &StoreLimits) -> Result<Bundle> {
    let bounds =
        BundleLimits { bundle_bytes: limits.offer_bytes as u64, cubes: limits.offer_cubes, ..BundleLimits::default() };
    read_bundle(bytes, &bounds).map_err(|error| match error.kind() {
        // A damaged file that was brought is bad input, not damage of what is kept here.
        ErrorKind::Corrupt => Error::invalid(error.to_string()),
        _ => error,
    })
}

/// Says what a space has under an id.
pub(super) fn look(space: &Space, keeper: &Principal, id: &CubeId) -> Result<Option<There>> {
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
pub(super) fn unpack(
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
