//! The right edge of the tree: what must be at hand to add an event.

use super::{NodeKey, Nodes, STRIDE, check_size, join, node, peaks};
use crate::cube::Digest;
use crate::error::Result;

/// The roots of the complete subtrees that cover all events: one for each bit of their number, so that adding an event costs
/// about one node, and the root a few.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// Finds the right edge of the first `size` events again, from what is kept.
    pub(crate) fn restore(size: u64, nodes: &impl Nodes) -> Result<Self> {
        check_size(size)?;
        Ok(Self { size, peaks: peaks(nodes, 0, size)? })
    }

    /// Adds an event, and hands out each subtree that it completes and that is to be kept.
    ///
    /// # Errors
    /// `Invalid` when the tree is full.
    pub(crate) fn push(&mut self, leaf: Digest, completed: &mut impl FnMut(NodeKey, Digest)) -> Result<()> {
        check_size(self.size + 1)?;
        let mut digest = leaf;
        let mut level = 0_u32;
        while self.size >> level & 1 == 1
            && let Some(left) = self.peaks.pop()
        {
            digest = node(&left, &digest);
            level += 1;
            if level.is_multiple_of(STRIDE) {
                completed(NodeKey { level: level as u8, index: self.size >> level }, digest);
            }
        }
        self.peaks.push(digest);
        self.size += 1;
        Ok(())
    }

    /// Returns how many events there are.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Returns the root over all events.
    pub(crate) fn root(&self) -> Digest {
        join(&self.peaks)
    }
}
