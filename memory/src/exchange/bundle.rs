//! The bundle: the format in which memory travels (Memory Interchange Protocol, format 1).
//!
//! An uncompressed archive with these files, in this order and no others:
//!
//! | file | what is in it |
//! |---|---|
//! | `cubes/000001.jsonl`, … | [`BundleCube`], one in a line, by ascending id; a part has at most 4 MiB |
//! | `links/000001.jsonl`, … | [`BundleLink`], one in a line, ascending |
//! | `bodies/DIGEST`, … | payloads that are not text, named by their SHA-256, ascending |
//! | `manifest.json` | [`Manifest`]: where it comes from, counts, and size and SHA-256 of all files before it |
//! | `seal.json` | SHA-256 of the manifest, and, when somebody vouches for it, key and signature |
//!
//! The manifest stands behind what it names, so that a bundle of any size is written in one go, with one part in
//! memory. The same content gives the same bytes, and every byte is held to a digest, or is the only one that may stand
//! there.
//!
//! Nothing here knows a space, a caller or a policy: what may be exported, and what becomes of an imported cube, is
//! decided by its neighbours.

mod archive;
mod check;
mod manifest;
mod named;
mod reader;
mod record;
mod signature;
mod writer;

pub use manifest::{
    BundleCounts, BundleLedger, BundleLeftOut, BundleLicence, BundleMember, BundleRevocation, Heading, Manifest,
};
pub use reader::{Bundle, read_bundle};
pub use record::{
    BundleActivation, BundleCube, BundleForm, BundleGovernance, BundleGrant, BundleLifespan, BundleLink, BundleOrigin,
    BundleParametric, BundleSource, BundleTarget, BundleVersion,
};
pub use signature::BundleSigner;
pub use writer::{BundleWriter, WrittenBundle};

use crate::cube::Digest;
use crate::limits::Limits;

/// The number of the format that is written, and the only one that is read.
pub const FORMAT: u32 = 1;

/// Bytes of one part of the cubes or links. A longer part is refused.
const PART_BYTES: usize = 4 * 1024 * 1024;

/// The bounds within which a bundle is read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleLimits {
    /// Bytes of the whole bundle. What was read lies in memory, at a few times its size.
    pub bundle_bytes: u64,
    /// Cubes in it.
    pub cubes: usize,
    /// Links in it.
    pub links: usize,
    /// Payloads in files of their own.
    pub bodies: usize,
    /// Digests of earlier versions that one cube names.
    pub earlier: usize,
    /// Bytes of the manifest.
    pub manifest_bytes: u64,
    /// The bounds of a space, which hold for each cube.
    pub space: Limits,
}

impl Default for BundleLimits {
    fn default() -> Self {
        Self {
            bundle_bytes: 4 * 1024 * 1024 * 1024,
            cubes: 1_000_000,
            links: 4_000_000,
            bodies: 65_536,
            earlier: 16_384,
            manifest_bytes: 64 * 1024 * 1024,
            space: Limits::default(),
        }
    }
}

const MANIFEST: &str = "manifest.json";
const SEAL: &str = "seal.json";
const ALGORITHM: &str = "ed25519";

/// A file's place in a bundle. Places ascend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Cubes(u32),
    Links(u32),
    Body(Digest),
    Manifest,
    Seal,
}

impl Place {
    fn name(&self) -> String {
        match self {
            Self::Cubes(part) => format!("cubes/{part:06}.jsonl"),
            Self::Links(part) => format!("links/{part:06}.jsonl"),
            Self::Body(digest) => format!("bodies/{digest}"),
            Self::Manifest => MANIFEST.to_owned(),
            Self::Seal => SEAL.to_owned(),
        }
    }

    /// Reads a file's name; none when no file of a bundle is called so.
    fn of(name: &str) -> Option<Self> {
        let part = |rest: &str| rest.strip_suffix(".jsonl")?.parse().ok();
        let place = match name.split_once('/') {
            Some(("cubes", rest)) => Self::Cubes(part(rest)?),
            Some(("links", rest)) => Self::Links(part(rest)?),
            Some(("bodies", rest)) => Self::Body(rest.parse().ok()?),
            None if name == MANIFEST => Self::Manifest,
            None if name == SEAL => Self::Seal,
            _ => return None,
        };
        // A number or a digest can be written in other ways that mean the same.
        (place.name() == name).then_some(place)
    }
}

#[cfg(test)]
mod tests;
