//! Bundles: bounds within which inputs of a few kilobytes reach every limit, and what stands above a bundle.

use memos_memory::cube::Digest;
use memos_memory::exchange::bundle::{BundleLedger, BundleLimits, Heading};
use memos_memory::time::Timestamp;

/// Returns small bounds.
pub fn bundle_limits() -> BundleLimits {
    BundleLimits { cubes: 8, links: 8, bodies: 2, earlier: 4, manifest_bytes: 4096, ..BundleLimits::default() }
}

/// Returns what a bundle says of where it comes from.
pub fn heading() -> Heading {
    Heading {
        space: "acme/fuzz".parse().expect("a name"),
        exported_by: "user:ada".parse().expect("a name"),
        exported_at: Timestamp::from_millis(0),
        ledger: BundleLedger { events: 1, digest: Digest::of(b""), root: None },
        left_out: Vec::new(),
        licence: None,
        revoked: None,
    }
}
