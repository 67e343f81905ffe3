//! Writes a bundle in one go: cubes, links, bodies, and at last what they add up to.

use std::collections::BTreeSet;
use std::io::Write;

use serde::Serialize;

use super::archive::{write_end, write_member};
use super::check::{check_cube, check_link};
use super::manifest::{BundleCounts, BundleMember, Heading, Manifest, Seal, SealSignature};
use super::record::{BundleCube, BundleForm, BundleLink};
use super::signature::BundleSigner;
use super::{ALGORITHM, BundleLimits, FORMAT, PART_BYTES, Place};
use crate::cube::{CubeId, Digest};
use crate::error::{Error, Result};
use crate::graph::Link;
use crate::limits::Limits;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenBundle {
    /// The digest of the manifest, and so of everything.
    pub manifest: Digest,
    /// Bytes of the bundle.
    pub bytes: u64,
    /// How much is in it.
    pub counts: BundleCounts,
}

/// A bundle on its way out. Cubes come first, by ascending id; then links, ascending; then bodies, by ascending digest.
///
/// # Limits
/// Those of [`BundleLimits`], so that what was written can be read. Memory: one part and the ids.
pub struct BundleWriter<W> {
    out: W,
    limits: BundleLimits,
    bytes: u64,
    part: Vec<u8>,
    place: Place,
    members: Vec<BundleMember>,
    cubes: Vec<CubeId>,
    last_link: Option<Link>,
    bodies: BTreeSet<Digest>,
    counts: BundleCounts,
}

impl<W: Write> BundleWriter<W> {
    /// Begins a bundle.
    pub fn new(out: W, limits: BundleLimits) -> Self {
        Self {
            out,
            limits,
            bytes: 0,
            part: Vec::new(),
            place: Place::Cubes(1),
            members: Vec::new(),
            cubes: Vec::new(),
            last_link: None,
            bodies: BTreeSet::new(),
            counts: BundleCounts::default(),
        }
    }

    /// Adds a cube.
    ///
    /// # Errors
    /// `Invalid` when it is out of order, or when it breaks a limit; `Unavailable` when the disk fails.
    pub fn cube(&mut self, cube: &BundleCube) -> Result<()> {
        let place = |error: Error| error.at(format_args!("cube `{}`", cube.id));
        if !matches!(self.place, Place::Cubes(_)) || self.cubes.last().is_some_and(|last| *last >= cube.id) {
            return Err(place(out_of_order()));
        }
        Limits::check("the bundle", self.cubes.len() + 1, self.limits.cubes, "cubes")?;
        check_cube(cube, &self.limits).map_err(place)?;
        self.line(cube).map_err(place)?;
        self.cubes.push(cube.id);
        if cube.form != BundleForm::Plaintext && self.bodies.insert(cube.content) {
            Limits::check("the bundle", self.bodies.len(), self.limits.bodies, "bodies")?;
        }
        self.counts.cubes += 1;
        self.counts.redacted += u64::from(cube.redacted);
        Ok(())
    }

    /// Adds a link, of which at least one end was added.
    ///
    /// # Errors
    /// As [`BundleWriter::cube`].
    pub fn link(&mut self, link: Link) -> Result<()> {
        self.move_to(Place::Links(1))?;
        if self.last_link.is_some_and(|last| last >= link) {
            return Err(out_of_order().at(format_args!("the link from `{}` to `{}`", link.from, link.to)));
        }
        Limits::check("the bundle", self.counts.links as usize + 1, self.limits.links, "links")?;
        let here = |id: &CubeId| self.cubes.binary_search(id).is_ok();
        let foreign = !(here(&link.from) && here(&link.to));
        let record = BundleLink { from: link.from, kind: link.kind, to: link.to, foreign };
        check_link(&record, &self.cubes)?;
        self.line(&record)?;
        self.last_link = Some(link);
        self.counts.links += 1;
        Ok(())
    }

    /// Returns the digests of the bodies that the cubes so far need and that were not added yet, ascending.
    pub fn needed_bodies(&self) -> Vec<Digest> {
        self.bodies.iter().copied().collect()
    }

    /// Adds a body that a cube needs.
    ///
    /// # Errors
    /// `Invalid` when no cube needs it, or when it is out of order; `Unavailable` when the disk fails.
    pub fn body(&mut self, body: &[u8]) -> Result<()> {
        let digest = Digest::of(body);
        if self.bodies.first() != Some(&digest) {
            return Err(out_of_order().at(format_args!("body `{digest}`")));
        }
        self.move_to(Place::Body(digest))?;
        self.bodies.pop_first();
        self.counts.bodies += 1;
        self.member(Place::Body(digest), body, digest)
    }

    /// Ends the bundle, and signs it where there is a signer.
    ///
    /// # Errors
    /// `Invalid` when a body is missing; `Unavailable` when the disk fails.
    pub fn finish(mut self, heading: Heading, signer: Option<&BundleSigner>) -> Result<WrittenBundle> {
        self.move_to(Place::Manifest)?;
        if let Some(missing) = self.bodies.first() {
            return Err(Error::invalid(format!("body `{missing}` is missing")));
        }
        let members = std::mem::take(&mut self.members);
        let manifest = to_json(&Manifest { format: FORMAT, heading, counts: self.counts, members })?;
        let digest = Digest::of(&manifest);
        let signature = signer.map(|signer| SealSignature {
            algorithm: ALGORITHM.to_owned(),
            key: signer.key().to_string(),
            value: signer.sign(&digest),
        });
        let seal = to_json(&Seal { manifest: digest, signature })?;
        self.bytes += write_member(&mut self.out, &Place::Manifest.name(), &manifest)?;
        self.bytes += write_member(&mut self.out, &Place::Seal.name(), &seal)?;
        self.bytes += write_end(&mut self.out)?;
        Ok(WrittenBundle { manifest: digest, bytes: self.bytes, counts: self.counts })
    }

    fn line(&mut self, record: &impl Serialize) -> Result<()> {
        let before = self.part.len();
        serde_json::to_writer(&mut self.part, record).map_err(unwritable)?;
        self.part.push(b'\n');
        if self.part.len() <= PART_BYTES {
            return Ok(());
        }
        let line = self.part.split_off(before);
        Limits::check("its line", line.len(), PART_BYTES, "bytes")?;
        self.end_part()?;
        self.part = line;
        Ok(())
    }

    /// Writes what has gathered, and goes on with the next part.
    fn end_part(&mut self) -> Result<()> {
        if self.part.is_empty() {
            return Ok(());
        }
        let mut part = std::mem::take(&mut self.part);
        self.member(self.place, &part, Digest::of(&part))?;
        part.clear();
        self.part = part;
        self.place = match self.place {
            Place::Cubes(number) => Place::Cubes(number + 1),
            Place::Links(number) => Place::Links(number + 1),
            other => other,
        };
        Ok(())
    }

    /// Leaves a section for a later one.
    fn move_to(&mut self, place: Place) -> Result<()> {
        let same = matches!((self.place, place), (Place::Links(_), Place::Links(_)));
        if same {
            return Ok(());
        }
        if place <= self.place {
            return Err(out_of_order());
        }
        self.end_part()?;
        self.place = place;
        Ok(())
    }

    fn member(&mut self, place: Place, content: &[u8], sha256: Digest) -> Result<()> {
        let name = place.name();
        self.bytes += write_member(&mut self.out, &name, content)?;
        if self.bytes > self.limits.bundle_bytes {
            let most = self.limits.bundle_bytes;
            return Err(Error::invalid(format!("the bundle has more than the {most} bytes that are accepted")));
        }
        self.members.push(BundleMember { name, bytes: content.len() as u64, sha256 });
        Ok(())
    }
}

pub(super) fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(value).map_err(unwritable)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::invalid(format!("it cannot be written as JSON: {error}")).with_source(error)
}

fn out_of_order() -> Error {
    Error::invalid("it is out of order: cubes come first, then links, then the bodies that cubes need, each ascending")
}
