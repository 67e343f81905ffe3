//! A tree of keys out of which single keys can be burned.
//!
//! A binary tree stands over 2^40 slots. The seed of a node gives the seeds of its two children by a hash, and the leaf of a
//! slot is its key; so one seed of 32 bytes holds all the keys. Burning a slot replaces the seed that stands over it by the
//! seeds beside the way down to it: every other leaf can still be made, and that one never again, since the hash cannot be
//! turned round. (Goldreich, Goldwasser and Micali, "How to construct random functions", 1986; with holes: Boneh and Waters,
//! 2013.)
//!
//! The tree keeps its seeds as *covers*: the largest subtrees without a burned slot, in order. Which slots are burned decides
//! what covers there are, whatever the order in which they were burned.

use sha2::{Digest as _, Sha256};

use super::Secret;

/// Levels between the root and a slot.
pub(crate) const DEPTH: u8 = 40;

/// The number of slots of one tree.
pub const SLOTS: u64 = 1 << DEPTH;

/// Levels of the subtrees whose nodes are worth remembering; see [`Block`].
pub(crate) const BLOCK_DEPTH: u8 = 12;

const CHILD_LABEL: &[u8; 16] = b"memos key tree 1";

/// Goes down from a node, child by child.
struct Descent {
    /// The node, the bit of the child, and the label: 32 + 1 + 16 bytes, with its padding one block of SHA-256.
    input: zeroize::Zeroizing<[u8; 49]>,
}

impl Descent {
    fn from(node: &Secret) -> Self {
        let mut input = zeroize::Zeroizing::new([0; 49]);
        let whole = node.iter().chain(&[0]).chain(CHILD_LABEL);
        input.iter_mut().zip(whole).for_each(|(to, from)| *to = *from);
        Self { input }
    }

    /// Goes to the left or right child, and returns its seed.
    fn step(&mut self, right: bool) -> &[u8] {
        if let Some(bit) = self.input.get_mut(32) {
            *bit = u8::from(right);
        }
        let child = Sha256::digest(self.input.as_slice());
        let (node, _) = self.input.split_at_mut(32);
        node.copy_from_slice(&child);
        node
    }

    fn node(&self) -> Secret {
        let mut node = Secret::default();
        node.copy_from_slice(self.input.split_at(32).0);
        node
    }
}

/// Returns the seed of a node's left or right child.
fn child(seed: &Secret, right: bool) -> Secret {
    descend(seed, 1, u64::from(right))
}

/// Returns the secret that follows from another one for one purpose and one occasion.
pub(crate) fn derive(secret: &Secret, occasion: &[u8; 16], purpose: &[u8; 7]) -> Secret {
    // 32 + 16 + 7 bytes: the most that fits one block, and never as long as the input of `child`.
    let mut input = zeroize::Zeroizing::new([0; 55]);
    let from = secret.iter().chain(occasion).chain(purpose);
    input.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    Secret::new(Sha256::digest(input.as_slice()).into())
}

/// Returns the node `levels` below a seed, on the way that the lowest `levels` bits of `way` name, highest first.
pub(crate) fn descend(seed: &Secret, levels: u8, way: u64) -> Secret {
    let mut descent = Descent::from(seed);
    for level in (0..levels).rev() {
        descent.step(way >> level & 1 == 1);
    }
    descent.node()
}

/// The seed of a subtree: all slots whose highest `depth` bits are `prefix`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Cover {
    pub(crate) depth: u8,
    pub(crate) prefix: u64,
    pub(crate) seed: Secret,
}

impl Cover {
    fn levels(&self) -> u8 {
        DEPTH.saturating_sub(self.depth)
    }

    fn first(&self) -> u64 {
        self.prefix << self.levels()
    }

    /// Returns the key of one of its slots.
    pub(crate) fn leaf(&self, slot: u64) -> Secret {
        descend(&self.seed, self.levels(), slot)
    }

    /// Returns the slot behind the last.
    fn end(&self) -> u64 {
        self.first() + (1 << self.levels())
    }
}

/// The keys of one subject.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct KeyTree {
    covers: Vec<Cover>,
}

impl KeyTree {
    /// Makes a tree of which no slot is burned.
    pub(crate) fn new(seed: Secret) -> Self {
        Self { covers: vec![Cover { depth: 0, prefix: 0, seed }] }
    }

    /// Takes covers that were stored; `None` unless a tree could have left them: in order, apart, and none beside the one
    /// that would make a larger one with it.
    pub(crate) fn from_covers(covers: Vec<Cover>) -> Option<Self> {
        let stands = |cover: &Cover| cover.depth <= DEPTH && cover.prefix >> cover.depth == 0;
        let follows = |pair: &[Cover]| {
            let [a, b] = pair else { return false };
            let siblings = a.depth == b.depth && a.prefix ^ 1 == b.prefix;
            a.end() <= b.first() && !siblings
        };
        (covers.iter().all(stands) && covers.windows(2).all(follows)).then_some(Self { covers })
    }

    /// Returns the covers in order.
    pub(crate) fn covers(&self) -> &[Cover] {
        &self.covers
    }

    /// Returns the cover over a slot, unless that is burned.
    pub(crate) fn cover_of(&self, slot: u64) -> Option<&Cover> {
        let behind = self.covers.partition_point(|cover| cover.first() <= slot);
        self.covers.get(behind.checked_sub(1)?).filter(|cover| slot < cover.end())
    }

    /// Returns the tree without the keys of some slots, which must be in order.
    pub(crate) fn without(&self, slots: &[u64]) -> Self {
        let mut kept = Vec::with_capacity(self.covers.len());
        for cover in &self.covers {
            let from = slots.partition_point(|slot| *slot < cover.first());
            let until = slots.partition_point(|slot| *slot < cover.end());
            split(cover, slots.get(from..until).unwrap_or_default(), &mut kept);
        }
        Self { covers: kept }
    }
}

/// Adds the covers of what a cover holds beside `slots`, all of which it holds. It calls itself once a level.
fn split(cover: &Cover, slots: &[u64], kept: &mut Vec<Cover>) {
    if slots.is_empty() {
        kept.push(cover.clone());
        return;
    }
    if cover.levels() == 0 {
        return;
    }
    let half = |right| Cover {
        depth: cover.depth + 1,
        prefix: cover.prefix << 1 | u64::from(right),
        seed: child(&cover.seed, right),
    };
    let (left, right) = (half(false), half(true));
    let (in_left, in_right) = slots.split_at(slots.partition_point(|slot| *slot < right.first()));
    split(&left, in_left, kept);
    split(&right, in_right, kept);
}

/// The way down to the last slot asked for in one run of 2^12 slots, of which none is burned.
///
/// Slots are handed out in order, and the slots of what is read together often stand together: beginning where the way to
/// the last one parts from the way to this one costs two hashes on average when they follow each other, and never more
/// than twelve.
pub(crate) struct Block {
    /// The node over the run, and then those below it towards `slot`.
    way: [Secret; BLOCK_DEPTH as usize + 1],
    slot: u64,
}

impl Block {
    /// Returns the number of the block that a slot stands in.
    pub(crate) fn number(slot: u64) -> u64 {
        slot >> BLOCK_DEPTH
    }

    /// Makes the block over a slot out of its cover; `None` when a slot beside it is burned, so that no node stands over all.
    pub(crate) fn over(cover: &Cover, slot: u64) -> Option<Self> {
        let levels = cover.levels().checked_sub(BLOCK_DEPTH)?;
        let mut way = std::array::from_fn(|_| Secret::default());
        if let Some(top) = way.first_mut() {
            *top = descend(&cover.seed, levels, Self::number(slot));
        }
        let mut block = Self { way, slot };
        block.walk(slot, 0);
        Some(block)
    }

    /// Returns the key of a slot of this block.
    pub(crate) fn leaf(&mut self, slot: u64) -> Secret {
        let parted = u64::BITS - (self.slot ^ slot).leading_zeros();
        self.walk(slot, usize::from(BLOCK_DEPTH).saturating_sub(parted as usize));
        self.way.last().cloned().unwrap_or_default()
    }

    /// Makes the way to a slot anew below a level; above it, the way to the last one is the same.
    fn walk(&mut self, slot: u64, below: usize) {
        self.slot = slot;
        let Some((above, rest)) = self.way.get_mut(below..).and_then(<[Secret]>::split_first_mut) else { return };
        let mut descent = Descent::from(above);
        for (level, node) in (0..rest.len()).rev().zip(rest) {
            node.copy_from_slice(descent.step(slot >> level & 1 == 1));
        }
    }
}
