//! A parcel: what an offer hands over to one taker, as a bundle. The only place where the memories of an offer are read.
//!
//! Its publisher's rights are asked again for each memory and each taking, as they were vouched for when it was
//! published: who may not share a memory any more hands it over no more. What is sensitive goes along only where the
//! terms say so and the taker may read it in its own space; else it is taken out, and what cannot be taken out stays.

use memos_memory::cube::{Cube, PrincipalId, State, VersionRef};
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::exchange::bundle::{
    BundleCube, BundleGovernance, BundleLedger, BundleLeftOut, BundleLicence, BundleLifespan, BundleLimits,
    BundleRevocation, BundleWriter, Heading,
};
use memos_memory::governance::sensitivity::{find_sensitive, redact};
use memos_memory::governance::watermark::{Mark, mark};
use memos_memory::governance::{Operation, Principal};
use memos_memory::vault::Space;

use super::limits::StoreLimits;
use super::offer::{Offer, Revocation};

/// What is packed, for whom.
pub(super) struct Packing<'a> {
    pub(super) space: &'a Space,
    pub(super) offer: &'a Offer,
    pub(super) taker: &'a Principal,
    /// Stands in the bundle when it leaves the kernel. It is signed then, and its texts say who they were handed to.
    pub(super) licence: Option<BundleLicence>,
    pub(super) limits: &'a StoreLimits,
}

/// A bundle on its way, and how many memories of the offer are not in it.
pub(super) struct Parcel {
    pub(super) bytes: Vec<u8>,
    pub(super) left_out: usize,
}

impl Packing<'_> {
    /// Packs what the publisher may hand over and the taker may have.
    ///
    /// # Errors
    /// `Denied` when nothing of it may be handed over any more; `Invalid` above a limit, or when it must be signed and the
    /// space has no key.
    pub(super) fn pack(self) -> Result<Parcel> {
        let keeper = Principal::keeper()?;
        let mut bytes = Vec::new();
        let limits = BundleLimits { bundle_bytes: self.limits.offer_bytes as u64, ..BundleLimits::default() };
        let mut writer = BundleWriter::new(&mut bytes, limits);
        let (mut bodies, mut packed) = (std::collections::BTreeMap::new(), Vec::new());
        let mut offered: Vec<VersionRef> = self.offer.cubes.clone();
        offered.sort_unstable_by_key(|version| version.cube);
        for version in &offered {
            let Some((record, cube)) = self.record(&keeper, version)? else { continue };
            writer.cube(&record)?;
            packed.push(version.cube);
            if record.text.is_none() {
                bodies.insert(record.content, cube.payload.into_body());
            }
        }
        if packed.is_empty() {
            return Err(Error::denied(format!(
                "nothing of offer `{}` may be handed over: its publisher has lost the right, or it is sensitive",
                self.offer.id
            )));
        }
        for link in self.space.links_between(&keeper, &packed) {
            writer.link(link)?;
        }
        bodies.values().try_for_each(|body| writer.body(body))?;
        let left_out = offered.len() - packed.len();
        let signer = self.licence.is_some().then(|| self.space.bundle_signer()).transpose()?;
        let mut heading = heading(self.space, &self.offer.publisher.id);
        heading.left_out = (left_out > 0)
            .then(|| BundleLeftOut { why: "it may not be handed over".to_owned(), cubes: left_out as u64 })
            .into_iter()
            .collect();
        heading.licence = self.licence;
        writer.finish(heading, signer.as_ref())?;
        Ok(Parcel { bytes, left_out })
    }

    /// Makes the record of one memory; none when it is not handed over.
    fn record(&self, keeper: &Principal, version: &VersionRef) -> Result<Option<(BundleCube, Cube)>> {
        let publisher = self.offer.publisher.principal();
        let may = |operation| self.space.decide_on(&publisher, operation, &version.cube).allowed();
        if !(may(Operation::Share) && may(Operation::Read)) {
            return Ok(None);
        }
        let Some(cube) = version_of(self.space, keeper, version)? else { return Ok(None) };
        let header = &cube.header;
        let sensitivity = &header.governance.sensitivity;
        let reads_all =
            self.offer.terms.sensitive && self.space.decide_on(self.taker, Operation::Read, &version.cube).allowed();
        let text = cube.payload.as_text();
        let spans = text.filter(|_| !reads_all).map(find_sensitive).unwrap_or_default();
        let is_shown = |kind| spans.iter().any(|span| span.kind == kind);
        if !reads_all && !sensitivity.iter().all(|kind| is_shown(*kind)) {
            return Ok(None);
        }
        let mut record = BundleCube::describe(header, State::Generated);
        if !reads_all {
            take_out(&mut record);
        }
        self.disown(&mut record);
        if let Some(text) = text {
            record.redacted = !spans.is_empty();
            record = record.with_text(self.marked(redact(text, &spans))?);
        }
        Ok(Some((record, cube)))
    }

    /// Takes out of a record whose the memory is and what it belongs to: that is the business of its own space.
    fn disown(&self, record: &mut BundleCube) {
        record.governance = BundleGovernance {
            owner: self.offer.publisher.id.clone(),
            grants: Vec::new(),
            lifespan: BundleLifespan::Forever,
            legal_hold: false,
            watermark: self.licence.as_ref().map(|licence| format!("{} to {}", licence.publisher, licence.to)),
            ..record.governance.clone()
        };
        let origin = &mut record.origin;
        (origin.task, origin.session, origin.model, origin.reference, origin.source) = (None, None, None, None, None);
        record.derived_from.clear();
        record.reason.clear();
    }

    /// Weaves in who the text was handed to, where it leaves the kernel.
    fn marked(&self, text: String) -> Result<String> {
        let Some(licence) = &self.licence else { return Ok(text) };
        Ok(mark(&text, &Mark { key: &self.space.mark_key()?, sharer: &licence.to }))
    }
}

/// Takes out of what describes a memory whatever is sensitive.
fn take_out(record: &mut BundleCube) {
    let described = [&mut record.title, &mut record.subject].into_iter().chain(&mut record.tags);
    let described = described.chain(&mut record.path).chain(&mut record.origin.speaker);
    described.for_each(|name| *name = redact(name, &find_sensitive(name)));
    // What is found in the text that is left is found again where it arrives.
    record.governance.sensitivity.clear();
}

/// Reads one version of a memory; none when it is gone.
fn version_of(space: &Space, keeper: &Principal, version: &VersionRef) -> Result<Option<Cube>> {
    let found = match space.get(keeper, &version.cube) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        present => present?,
    };
    let (present, head) = found;
    if matches!(head.state, State::Expired | State::Erased) {
        return Ok(None);
    }
    if present.header.version == version.version {
        return Ok(Some(present));
    }
    let versions = space.versions(keeper, &version.cube)?;
    Ok(versions.into_iter().find(|cube| cube.header.version == version.version))
}

/// Makes a signed bundle that holds no memory and takes an offer back.
pub(super) fn notice(space: &Space, offer: &Offer, revocation: &Revocation) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut heading = heading(space, &offer.publisher.id);
    let (at, reason) = (revocation.at, revocation.reason.clone());
    heading.revoked = Some(BundleRevocation { offer: offer.id.0, at, reason });
    BundleWriter::new(&mut bytes, BundleLimits::default()).finish(heading, Some(&space.bundle_signer()?))?;
    Ok(bytes)
}

fn heading(space: &Space, publisher: &PrincipalId) -> Heading {
    let ledger = space.ledger_head();
    Heading {
        space: space.name().clone(),
        exported_by: publisher.clone(),
        exported_at: space.now(),
        ledger: BundleLedger { events: ledger.events, digest: ledger.digest, root: None },
        left_out: Vec::new(),
        licence: None,
        revoked: None,
    }
}
