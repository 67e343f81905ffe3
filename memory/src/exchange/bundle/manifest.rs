//! The manifest of a bundle, and the seal that holds it to its digest.

use serde::{Deserialize, Serialize};

use super::named;
use crate::cube::{CubeId, Digest, PrincipalId, SpaceName};
use crate::ledger::SpaceKey;
use crate::time::Timestamp;

/// What a bundle is, and what it is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The number of the format.
    pub format: u32,
    /// Where the bundle comes from.
    pub heading: Heading,
    /// How much is in it.
    pub counts: BundleCounts,
    /// All files before the manifest, in their order.
    pub members: Vec<BundleMember>,
}

/// Where a bundle comes from, as its maker says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heading {
    /// The space.
    pub space: SpaceName,
    /// Who exported it.
    pub exported_by: PrincipalId,
    /// When.
    pub exported_at: Timestamp,
    /// The head of the space's ledger at that moment.
    pub ledger: BundleLedger,
    /// What the exporter may read and the bundle does not hold, by reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<BundleLeftOut>,
    /// The terms under which its memories may be taken. Absent: those of nobody but its receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<BundleLicence>,
    /// What it takes back of what was handed out before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<BundleRevocation>,
}

/// The terms under which one receiver may take the memories of one bundle. A reader that knows no licences refuses them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleLicence {
    /// Names the licence: it is taken up once.
    pub id: CubeId,
    /// The offer that it was granted for.
    pub offer: CubeId,
    /// What the offer is called.
    pub name: String,
    /// Which edition of it this is.
    pub edition: u32,
    /// Who offers it.
    pub publisher: PrincipalId,
    /// Who may take it.
    pub to: PrincipalId,
    /// The key of the one space that it may be taken into.
    pub into: SpaceKey,
    /// Until when its memories may be taken and kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Whether the receiver may offer them to others.
    pub pass_on: bool,
    /// Whether they go when the offer is revoked.
    pub revocable: bool,
}

/// An offer that is no more. Who has taken it under a licence that can be revoked gives it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleRevocation {
    /// The offer.
    pub offer: CubeId,
    /// When it was revoked.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// The head of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleLedger {
    /// Events in it.
    pub events: u64,
    /// The digest of its last event.
    #[serde(with = "named")]
    pub digest: Digest,
    /// The root of the tree over its events.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "named::maybe")]
    pub root: Option<Digest>,
}

/// How many cubes were left out for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleLeftOut {
    /// Why.
    pub why: String,
    /// How many.
    pub cubes: u64,
}

/// How much is in a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleCounts {
    /// Cubes.
    pub cubes: u64,
    /// Cubes of which the text was redacted.
    pub redacted: u64,
    /// Links.
    pub links: u64,
    /// Bodies in files of their own.
    pub bodies: u64,
}

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleMember {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The digest of its content.
    #[serde(with = "named")]
    pub sha256: Digest,
}

/// The last file of a bundle: holds the manifest to its digest, and says who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seal {
    #[serde(with = "named")]
    pub(super) manifest: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) signature: Option<SealSignature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SealSignature {
    pub(super) algorithm: String,
    pub(super) key: String,
    pub(super) value: String,
}
