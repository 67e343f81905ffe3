//! Reads a bundle and checks all of it. What is returned holds; there is no bundle that is half read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::archive::{Archive, shown};
use super::check::{check_cube, check_link};
use super::manifest::{BundleCounts, BundleMember, Manifest, Seal};
use super::record::{BundleCube, BundleForm, BundleLink};
use super::signature;
use super::writer::to_json;
use super::{ALGORITHM, BundleLimits, FORMAT, PART_BYTES, Place};
use crate::cube::{CubeId, Digest, Form, Payload};
use crate::error::{Error, Result};
use crate::ledger::SpaceKey;
use crate::limits::Limits;

/// A bundle that passed every check.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// What it is and where it comes from, as its maker says.
    pub manifest: Manifest,
    /// The digest of the manifest.
    pub digest: Digest,
    /// Whose signature it bears; none when nobody vouches for it.
    pub signer: Option<SpaceKey>,
    /// Its cubes, by ascending id.
    pub cubes: Vec<BundleCube>,
    /// Its links, ascending.
    pub links: Vec<BundleLink>,
    /// Payloads that are not text.
    pub bodies: BTreeMap<Digest, Vec<u8>>,
    /// Bytes of the bundle.
    pub bytes: u64,
}

impl Bundle {
    /// Returns what a cube of this bundle says.
    ///
    /// # Errors
    /// `Invalid` when the cube is not one of this bundle.
    pub fn payload(&self, cube: &BundleCube) -> Result<Payload> {
        match (&cube.text, self.bodies.get(&cube.content)) {
            (Some(text), _) => Ok(Payload::text(text.clone())),
            (None, Some(body)) => Payload::checked(Form::from(&cube.form), body.clone()),
            (None, None) => Err(Error::invalid(format!("the bundle has no body for cube `{}`", cube.id))),
        }
    }
}

/// Reads a bundle and checks everything: names, order and sizes of its files, digests, each record, what links and
/// bodies belong to, the counts, and the signature where there is one.
///
/// # Errors
/// `Invalid` for what is no bundle, breaks the format or a limit; `Corrupt` when a digest or the signature does not
/// fit; `Unavailable` when the input cannot be read. The message names the file and the line.
///
/// # Limits
/// Those of `limits`. Never takes more memory than a few times the bytes that it was given.
pub fn read_bundle(input: impl Read, limits: &BundleLimits) -> Result<Bundle> {
    let mut archive = Archive::new(input, limits.bundle_bytes);
    let mut reading = Reading::new(limits);
    while let Some(member) = archive.next_member()? {
        let named = |error: Error| error.at(format_args!("`{}`", shown(&member.name)));
        let place = Place::of(&member.name)
            .ok_or_else(|| named(Error::invalid("no file of a bundle of format 1 is called so")))?;
        reading.enter(place).map_err(named)?;
        let content = archive.content(&member, most_bytes(place, limits)).map_err(named)?;
        reading.read(place, content).map_err(named)?;
    }
    reading.finish(archive.bytes())
}

fn most_bytes(place: Place, limits: &BundleLimits) -> u64 {
    match place {
        Place::Cubes(_) | Place::Links(_) => PART_BYTES as u64,
        Place::Body(_) => limits.space.body_bytes as u64,
        Place::Manifest => limits.manifest_bytes,
        Place::Seal => 4096,
    }
}

/// What was read so far.
struct Reading<'a> {
    limits: &'a BundleLimits,
    last: Option<Place>,
    members: Vec<BundleMember>,
    cubes: Vec<BundleCube>,
    ids: Vec<CubeId>,
    links: Vec<BundleLink>,
    bodies: BTreeMap<Digest, Vec<u8>>,
    manifest: Option<(Manifest, Digest)>,
    signer: Option<SpaceKey>,
}

impl<'a> Reading<'a> {
    fn new(limits: &'a BundleLimits) -> Self {
        Self {
            limits,
            last: None,
            members: Vec::new(),
            cubes: Vec::new(),
            ids: Vec::new(),
            links: Vec::new(),
            bodies: BTreeMap::new(),
            manifest: None,
            signer: None,
        }
    }

    /// Refuses a file that does not stand where it belongs.
    fn enter(&mut self, place: Place) -> Result<()> {
        let follows = match (self.last, place) {
            (Some(Place::Cubes(last)), Place::Cubes(next)) | (Some(Place::Links(last)), Place::Links(next)) => {
                last.checked_add(1) == Some(next)
            }
            (last, Place::Cubes(1) | Place::Links(1)) => last.is_none_or(|last| last < place),
            (_, Place::Cubes(_) | Place::Links(_)) => false,
            (last, Place::Seal) => last == Some(Place::Manifest),
            (last, Place::Body(_) | Place::Manifest) => last.is_none_or(|last| last < place),
        };
        self.last = Some(place);
        if follows { Ok(()) } else { Err(Error::invalid("the file is there twice or does not belong at this place")) }
    }

    fn read(&mut self, place: Place, content: Vec<u8>) -> Result<()> {
        let sha256 = Digest::of(&content);
        if place < Place::Manifest {
            let bytes = content.len() as u64;
            self.members.push(BundleMember { name: place.name(), bytes, sha256 });
        }
        match place {
            Place::Cubes(_) => self.read_lines(&content, Self::add_cube),
            Place::Links(_) => self.read_lines(&content, Self::add_link),
            Place::Body(digest) if digest != sha256 => Err(Error::corrupt("the payload is not the one of its digest")),
            Place::Body(digest) => {
                Limits::check("the bundle", self.bodies.len() + 1, self.limits.bodies, "bodies")?;
                self.bodies.insert(digest, content);
                Ok(())
            }
            Place::Manifest => {
                self.manifest = Some((read_manifest(&content)?, sha256));
                Ok(())
            }
            Place::Seal => self.read_seal(&content),
        }
    }

    fn read_lines<T: DeserializeOwned>(
        &mut self,
        content: &[u8],
        add: impl Fn(&mut Self, T) -> Result<()>,
    ) -> Result<()> {
        let lines = content.strip_suffix(b"\n").ok_or_else(|| Error::invalid("it does not end with a whole line"))?;
        for (at, line) in lines.split(|byte| *byte == b'\n').enumerate() {
            let record = parse(line);
            record.and_then(|record| add(self, record)).map_err(|error| error.at(format_args!("line {}", at + 1)))?;
        }
        Ok(())
    }

    fn add_cube(&mut self, cube: BundleCube) -> Result<()> {
        Limits::check("the bundle", self.cubes.len() + 1, self.limits.cubes, "cubes")?;
        let named = |error: Error| error.at(format_args!("cube `{}`", cube.id));
        if self.ids.last().is_some_and(|last| *last >= cube.id) {
            return Err(named(Error::invalid("it is there twice or stands behind one with a greater id")));
        }
        check_cube(&cube, self.limits).map_err(named)?;
        self.ids.push(cube.id);
        self.cubes.push(cube);
        Ok(())
    }

    fn add_link(&mut self, link: BundleLink) -> Result<()> {
        Limits::check("the bundle", self.links.len() + 1, self.limits.links, "links")?;
        let named = |error: Error| error.at(format_args!("the link from `{}` to `{}`", link.from, link.to));
        if self.links.last().is_some_and(|last| last.link() >= link.link()) {
            return Err(named(Error::invalid("it is there twice or stands behind a greater one")));
        }
        check_link(&link, &self.ids).map_err(named)?;
        self.links.push(link);
        Ok(())
    }

    fn read_seal(&mut self, content: &[u8]) -> Result<()> {
        let seal: Seal = parse(content.strip_suffix(b"\n").unwrap_or(content))?;
        if to_json(&seal)? != content {
            return Err(Error::invalid("it is not written as seals are"));
        }
        let Some((_, digest)) = &self.manifest else { return Err(incomplete()) };
        if seal.manifest != *digest {
            return Err(Error::corrupt("the manifest is not the one that was sealed"));
        }
        let Some(signature) = seal.signature else { return Ok(()) };
        if signature.algorithm != ALGORITHM {
            return Err(Error::invalid(format!("signatures are made with `{ALGORITHM}`")));
        }
        let key: SpaceKey = signature.key.parse()?;
        signature::check(&key, digest, &signature.value)?;
        self.signer = Some(key);
        Ok(())
    }

    /// Holds the whole against what the manifest says of it.
    fn finish(mut self, bytes: u64) -> Result<Bundle> {
        let (Some((manifest, digest)), Some(Place::Seal)) = (self.manifest.take(), self.last) else {
            return Err(incomplete());
        };
        if manifest.members != self.members {
            let differs = manifest.members.iter().zip(&self.members).find(|(told, found)| told != found);
            let name = differs.map_or("the list of files", |(_, found)| found.name.as_str());
            return Err(Error::corrupt(format!("`{name}` is not what the manifest says of it")));
        }
        let counts = BundleCounts {
            cubes: self.cubes.len() as u64,
            redacted: self.cubes.iter().filter(|cube| cube.redacted).count() as u64,
            links: self.links.len() as u64,
            bodies: self.bodies.len() as u64,
        };
        if manifest.counts != counts {
            return Err(Error::corrupt(format!("the manifest counts {:?}, and there are {counts:?}", manifest.counts)));
        }
        check_bodies(&self.cubes, &mut self.bodies)?;
        let Self { cubes, links, bodies, signer, .. } = self;
        Ok(Bundle { manifest, digest, signer, cubes, links, bodies, bytes })
    }
}

/// Refuses bodies that are not what the forms of their cubes promise, cubes without bodies, and bodies without cubes.
fn check_bodies(cubes: &[BundleCube], bodies: &mut BTreeMap<Digest, Vec<u8>>) -> Result<()> {
    let mut used = BTreeSet::new();
    for cube in cubes.iter().filter(|cube| cube.form != BundleForm::Plaintext) {
        let named = |error: Error| error.at(format_args!("cube `{}`", cube.id));
        let body = bodies.get_mut(&cube.content);
        let body = body.filter(|body| body.len() as u64 == cube.bytes);
        let body = body.ok_or_else(|| named(Error::invalid("the bundle does not hold its body")))?;
        // The body is lent to the check, which keeps it, and is put back.
        let payload = Payload::checked(Form::from(&cube.form), std::mem::take(body)).map_err(named)?;
        *body = payload.into_body();
        used.insert(cube.content);
    }
    match bodies.keys().find(|digest| !used.contains(digest)) {
        None => Ok(()),
        Some(digest) => Err(Error::invalid(format!("no cube has the body `{digest}`"))),
    }
}

fn read_manifest(content: &[u8]) -> Result<Manifest> {
    #[derive(Deserialize)]
    struct Numbered {
        format: u32,
    }
    let Numbered { format } = parse(content)?;
    if format != FORMAT {
        return Err(Error::invalid(format!(
            "the bundle is of format {format}, and this version reads format {FORMAT}; use a later one"
        )));
    }
    parse(content)
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|error| {
        let message = error.to_string();
        let cause = message.rsplit_once(" at line ").map_or(message.as_str(), |(cause, _)| cause);
        Error::invalid(format!("column {}: {}", error.column(), shown(cause)))
    })
}

fn incomplete() -> Error {
    Error::corrupt("the bundle is not complete: `manifest.json` and `seal.json` are its last files")
}
