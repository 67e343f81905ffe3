//! The Merkle tree over a ledger's events (RFC 6962, section 2.1): what proves that an event stands in it, and that it only
//! ever grew.
//!
//! A leaf is an event's digest, SHA-256 of byte 0 and the event's bytes; a node is SHA-256 of byte 1 and its two children.
//! Which nodes a proof needs, and whether one holds, is decided by the crate `ct-merkle`; what stands here is how a node's
//! digest is found without a whole tree. Of the complete subtrees only those at every fourth level are kept: that is a
//! fifteenth of a row for each event, and no node is more than fifteen neighbours away from what is kept. Subtrees at the
//! right edge that are not complete yet change with each event, so they are never kept.
//!
//! This room knows neither a store nor an event: digests come through `Nodes`. A ledger that goes on from another one
//! looks a subtree up where its last leaf was written: there it was completed, and kept.

mod frontier;
mod proof;
#[cfg(test)]
mod tests;

use ct_merkle::{indices_for_consistency_proof, indices_for_inclusion_proof};

use crate::cube::Digest;
use crate::error::{Error, Result};

pub(crate) use frontier::Frontier;
pub use proof::{ConsistencyProof, InclusionProof};

/// Levels between two that are kept.
const STRIDE: u32 = 4;

/// Most events of one tree. Beyond it a node's key would not hold its index.
pub(crate) const MOST_LEAVES: u64 = 1 << 48;

const _: () = assert!(MOST_LEAVES.ilog2().is_multiple_of(STRIDE) && MOST_LEAVES.ilog2() < 56);

/// RFC 6962 puts this byte before the two children of a node.
const NODE_PREFIX: &[u8] = &[1];

/// Names a complete subtree: the `index`-th of those with 2^`level` leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeKey {
    /// How many levels it stands above the leaves.
    pub(crate) level: u8,
    /// Its place among its neighbours, from 0.
    pub(crate) index: u64,
}

impl NodeKey {
    /// Returns the key as one number; the keys of neighbours follow each other.
    pub(crate) fn to_number(self) -> u64 {
        u64::from(self.level) << 56 | self.index
    }

    /// Returns how many events stand before the end of the subtree: it is complete, and kept, once there are so many.
    pub(crate) fn complete_at(self) -> u64 {
        (self.index + 1) << self.level
    }
}

/// Where the digests of a tree are read.
pub(crate) trait Nodes {
    /// Returns the digests of `count` events, from event `first` on.
    fn leaves(&self, first: u64, count: usize) -> Result<Vec<Digest>>;

    /// Returns the digests of `count` neighbouring subtrees, from `first` on. Its level is always one that is kept.
    fn nodes(&self, first: NodeKey, count: usize) -> Result<Vec<Digest>>;
}

/// Returns the root of the tree over the first `size` events.
pub(crate) fn root(nodes: &impl Nodes, size: u64) -> Result<Digest> {
    check_size(size)?;
    range_root(nodes, 0, size)
}

/// Makes the proof that event `index` is one of the first `size`.
///
/// # Errors
/// `Invalid` when it is not.
pub(crate) fn inclusion(nodes: &impl Nodes, index: u64, size: u64) -> Result<InclusionProof> {
    check_size(size)?;
    if index >= size {
        return Err(Error::invalid(format!("event {index} is not one of the first {size}, counted from 0")));
    }
    let path = path(nodes, size, indices_for_inclusion_proof(size, index))?;
    Ok(InclusionProof { index, size, path })
}

/// Makes the proof that the first `old` of the first `new` events are the ones that they were.
///
/// # Errors
/// `Invalid` when `old` is 0, of which there is nothing to prove, or more than `new`.
pub(crate) fn consistency(nodes: &impl Nodes, old: u64, new: u64) -> Result<ConsistencyProof> {
    check_size(new)?;
    if old == 0 || old > new {
        return Err(Error::invalid(format!("{new} events cannot be shown to go on from {old}")));
    }
    let path = path(nodes, new, indices_for_consistency_proof(old, new - old))?;
    Ok(ConsistencyProof { old, new, path })
}

fn check_size(size: u64) -> Result<()> {
    if size > MOST_LEAVES {
        return Err(Error::invalid(format!("a ledger of {size} events is beyond the most of {MOST_LEAVES}")));
    }
    Ok(())
}

/// Returns the digests of nodes that are numbered as in an array of the whole tree (RFC 9420, appendix C): leaves have
/// the even numbers, and as many ones as a number ends with, so many levels its node stands above the leaves.
fn path(nodes: &impl Nodes, size: u64, numbers: Vec<u64>) -> Result<Vec<Digest>> {
    let digest = |number: u64| {
        let level = number.trailing_ones();
        let begin = (number >> (level + 1)) << level;
        range_root(nodes, begin, size.min(begin + (1 << level)))
    };
    numbers.into_iter().map(digest).collect()
}

/// Returns the root over the events from `begin` to before `end`. No bit of `begin` may be lower than the length.
fn range_root(nodes: &impl Nodes, begin: u64, end: u64) -> Result<Digest> {
    Ok(join(&peaks(nodes, begin, end)?))
}

/// Returns the roots of the complete subtrees that cover the range, the largest first: one for each bit of its length.
fn peaks(nodes: &impl Nodes, begin: u64, end: u64) -> Result<Vec<Digest>> {
    let length = end - begin;
    let mut peaks = Vec::with_capacity(64);
    let mut at = begin;
    for level in (0..=MOST_LEAVES.ilog2()).rev().step_by(STRIDE as usize) {
        // So many of the subtrees that are kept at this level stand in a row, at most fifteen of them.
        let count = (length >> level) % (1 << STRIDE);
        if count == 0 {
            continue;
        }
        let row = read_row(nodes, level, at, count)?;
        let mut rest = row.as_slice();
        for height in (0..STRIDE).rev().filter(|height| count >> height & 1 == 1) {
            let Some((peak, others)) = rest.split_at_checked(1 << height) else {
                return Err(missing(level, at));
            };
            peaks.push(fold(peak.to_vec()));
            rest = others;
        }
        at += count << level;
    }
    Ok(peaks)
}

fn read_row(nodes: &impl Nodes, level: u32, at: u64, count: u64) -> Result<Vec<Digest>> {
    let count = count as usize;
    let row = match level {
        0 => nodes.leaves(at, count)?,
        _ => nodes.nodes(NodeKey { level: level as u8, index: at >> level }, count)?,
    };
    if row.len() != count { Err(missing(level, at)) } else { Ok(row) }
}

fn missing(level: u32, at: u64) -> Error {
    Error::corrupt(format!("the tree over the ledger's events lacks a node of level {level} from event {at} on"))
}

/// Returns the root above a row of neighbours whose number is a power of two.
fn fold(mut row: Vec<Digest>) -> Digest {
    while row.len() > 1 {
        row = row.chunks(2).map(join).collect();
    }
    join(&row)
}

/// Returns the root above the peaks; of no peaks, it is the digest of nothing.
fn join(peaks: &[Digest]) -> Digest {
    let above = peaks.iter().rev().copied().reduce(|right, left| node(&left, &right));
    above.unwrap_or_else(|| Digest::of(&[]))
}

fn node(left: &Digest, right: &Digest) -> Digest {
    Digest::of_parts(&[NODE_PREFIX, left.as_bytes(), right.as_bytes()])
}
