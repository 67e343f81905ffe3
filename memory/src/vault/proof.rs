//! Proofs: what a space says of its ledger, in a form that can be checked by those who do not have it.

use super::space::Space;
use crate::cube::{Cube, CubeId, Digest, Payload};
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::bundle::BundleSigner;
use crate::governance::watermark::MarkKey;
use crate::governance::{Access, AccessClass, Operation, Principal};
use crate::keys::RecordKey;
use crate::ledger::{
    self, Change, Checked, Event, Head, LargeBody, Older, OpenedKey, Opening, Proof, SignedHead, SpaceKey, Trust,
};

/// Domain of the key of watermarks.
const MARK_DOMAIN: &[u8] = b"memos watermark key 1\0";

/// What a proof shows beside that a version is in the ledger.
#[derive(Debug, Clone, Default)]
pub struct ProofOptions {
    /// The version; the present one when not given.
    pub version: Option<u32>,
    /// Whether it shows what the version says. The proof then holds the key of this one record.
    pub reveal: bool,
    /// An older signed head of the space, from which the proof shows that the ledger only grew.
    pub since: Option<SignedHead>,
}

impl Space {
    /// Returns the key by which signed heads of this space are checked.
    ///
    /// # Errors
    /// `Invalid` in a space that encrypts nothing: it has no keys at all.
    pub fn public_key(&self) -> Result<SpaceKey> {
        Ok(SpaceKey::of_seed(&*self.signing_seed()?))
    }

    /// Returns where the ledger ends, with the root of the tree over all events, signed.
    ///
    /// # Errors
    /// As [`Space::public_key`].
    pub fn signed_head(&self) -> Result<SignedHead> {
        let seed = self.signing_seed()?;
        let (events, digest, root) =
            self.writer()?.hold(|ledger| (ledger.head().events, ledger.head().digest, ledger.root()));
        let head = Head { space: self.name().clone(), events, root, digest, at: self.now() };
        Ok(head.sign(&seed))
    }

    /// Returns what signs the bundles of this space.
    ///
    /// # Errors
    /// As [`Space::public_key`].
    pub fn bundle_signer(&self) -> Result<BundleSigner> {
        Ok(BundleSigner::from_seed(&*self.signing_seed()?))
    }

    /// Returns the key by which texts of this space are marked, and marks found again. It follows from the space's own keys.
    ///
    /// # Errors
    /// As [`Space::public_key`].
    pub fn mark_key(&self) -> Result<MarkKey> {
        let seed = self.signing_seed()?;
        Ok(MarkKey::from_bytes(*Digest::of_parts(&[MARK_DOMAIN, &*seed]).as_bytes()))
    }

    fn signing_seed(&self) -> Result<zeroize::Zeroizing<[u8; 32]>> {
        self.shared().ring.signing_seed().ok_or_else(|| {
            Error::invalid(format!("space `{}` is not encrypted, so it has no key to sign with", self.name()))
        })
    }

    /// Makes a proof that a version of a cube is in the ledger, which [`check_proof`] checks without the data.
    ///
    /// # Errors
    /// `NotFound` when there is no such version that the caller may read; `Invalid` when the older head is not of this
    /// space, or the space is not encrypted.
    pub fn prove(&self, caller: &Principal, cube: &CubeId, options: &ProofOptions) -> Result<Proof> {
        let (head, _) = self.readable_head(caller, cube)?;
        let version = options.version.unwrap_or(head.version);
        let missing = || Error::not_found(format!("cube `{cube}` has no version {version} that the caller may read"));
        let sequence = usize::try_from(version.wrapping_sub(1)).ok().and_then(|nth| head.versions().nth(nth));
        let sequence = sequence.ok_or_else(missing)?;
        let signed = self.signed_head()?;
        let reader = self.ledger()?;
        let header = reader.bare_header(sequence)?;
        let class = AccessClass::from(&header.governance);
        let then = self.ruling().decide(caller, Operation::Read, &class).access;
        if then.min(self.access(caller, &head)) != Access::Full {
            return Err(missing());
        }
        let inclusion = ledger::inclusion(&reader, sequence, signed.events)?;
        let mut proof = Proof::new(signed.clone(), reader.event_bytes(sequence)?, inclusion)?;
        if let Some(older) = &options.since {
            older.verify()?;
            if older.space != *self.name() {
                return Err(Error::invalid(format!("the older head is of space `{}`", older.space)));
            }
            let path = ledger::consistency(&reader, older.events, signed.events)?.path;
            proof.older = Some(Older { head: older.clone(), path });
        }
        if options.reveal {
            let (record, key) = reader
                .stored_record(sequence, &header.seal)?
                .ok_or_else(|| Error::not_found(format!("version {version} of cube `{cube}` was erased")))?;
            let in_file = ledger::Row::parse(&record, &header.seal)?.is_in_file();
            let body = in_file.then(|| reader.stored_body(sequence, &header.seal).map(LargeBody)).transpose()?;
            proof.opening = Some(Opening { record, body, key: key.to_bytes().map(|bytes| OpenedKey(*bytes)) });
        }
        Ok(proof)
    }
}

/// Checks a proof file, without any data of the space.
///
/// # Errors
/// `Invalid`, saying what does not hold.
pub fn check_proof(text: &str, trust: Trust<'_>) -> Result<Checked<Event, Cube>> {
    let read = |index: u64, bytes: &[u8]| {
        let event = ledger::decode_event(bytes).map_err(refused)?;
        match event.sequence == index {
            true => Ok(event),
            false => Err(Error::invalid("the event says that it stands elsewhere")),
        }
    };
    ledger::check_proof(text, trust, read, |event, opening| open(event, opening).map_err(refused))
}

fn open(event: &Event, opening: &Opening) -> Result<Cube> {
    let Change::CubeStored(header) = &event.change else {
        return Err(Error::invalid("the event stored nothing that could be opened"));
    };
    let row = ledger::Row::parse(&opening.record, &header.seal)?;
    let key = opening.key.map_or_else(RecordKey::plain, |key| RecordKey::from_bytes(key.0));
    if !row.is_key(&key) {
        return Err(Error::invalid("the key is not the one of the record"));
    }
    if opening.body.is_some() != row.is_in_file() {
        return Err(Error::invalid("the record's body stands elsewhere"));
    }
    let mut header = (**header).clone();
    row.describe(&key, &mut header)?;
    let body = row.body(&key, &header, |_| Ok(opening.body.as_ref().map(|body| body.0.clone()).unwrap_or_default()))?;
    Ok(Cube { payload: Payload::checked(header.form.clone(), body)?, header })
}

/// A proof that does not hold is bad input, not damage of what is stored here.
fn refused(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Corrupt => Error::invalid(format!("the proof does not hold: {error}")),
        _ => error,
    }
}
