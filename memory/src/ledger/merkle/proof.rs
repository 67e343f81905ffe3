//! Proofs, and whether they hold. Nothing of the ledger is needed to check one but the roots that are trusted.

use ct_merkle::RootHash;
use sha2::Sha256;

use super::{MOST_LEAVES, check_size};
use crate::cube::Digest;
use crate::error::{Error, Result};

/// Most digests in the path of a proof: one for each level of the largest tree, and one to begin with.
const MOST_PATH: usize = MOST_LEAVES.ilog2() as usize + 1;

/// Shows that an event is one of the first `size` of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// The event's sequence number, from 0.
    pub index: u64,
    /// How many events the tree is over.
    pub size: u64,
    /// The digests beside the way from the event to the root, the lowest first (`PATH` of RFC 6962, section 2.1.1).
    pub path: Vec<Digest>,
}

impl InclusionProof {
    /// Checks that an event with exactly these bytes stands at `index` of the tree with this root.
    ///
    /// # Errors
    /// `Invalid` when the proof does not show it.
    pub fn verify(&self, event: &[u8], root: &Digest) -> Result<()> {
        check_path(self.size, &self.path)?;
        let proof = ct_merkle::InclusionProof::from_digests(self.path.iter().map(|digest| digest.as_bytes().into()));
        tree(root, self.size).verify_inclusion(&event, self.index, &proof).map_err(|why| {
            Error::invalid(format!(
                "event {} is not shown to be in the ledger of {} events: {why}",
                self.index, self.size
            ))
        })
    }
}

/// Shows that a ledger only grew: that the first `old` of its events are the ones that they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// How many events there were.
    pub old: u64,
    /// How many events there are.
    pub new: u64,
    /// The digests that both roots follow from (`PROOF` of RFC 6962, section 2.1.2).
    pub path: Vec<Digest>,
}

impl ConsistencyProof {
    /// Checks that the tree with `new_root` goes on from the tree with `old_root`.
    ///
    /// # Errors
    /// `Invalid` when the proof does not show it.
    pub fn verify(&self, old_root: &Digest, new_root: &Digest) -> Result<()> {
        check_path(self.new, &self.path)?;
        let proof = ct_merkle::ConsistencyProof::from_digests(self.path.iter().map(|digest| digest.as_bytes().into()));
        tree(new_root, self.new).verify_consistency(&tree(old_root, self.old), &proof).map_err(|why| {
            let (old, new) = (self.old, self.new);
            Error::invalid(format!("the ledger of {new} events is not shown to go on from that of {old}: {why}"))
        })
    }
}

fn tree(root: &Digest, size: u64) -> RootHash<Sha256> {
    RootHash::new((*root.as_bytes()).into(), size)
}

/// The verifier asserts on sizes near the end of their range, so they are checked before.
fn check_path(size: u64, path: &[Digest]) -> Result<()> {
    check_size(size)?;
    if path.len() > MOST_PATH {
        let found = path.len();
        return Err(Error::invalid(format!(
            "the proof has {found} digests in its path, and at most {MOST_PATH} are accepted"
        )));
    }
    Ok(())
}
