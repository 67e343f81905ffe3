//! What may be a candidate: access classes first, then what the caller asked to narrow by.

use super::document::Facets;
use crate::cube::SemanticType;
use crate::time::{Timestamp, Window};

/// The number of an access class: all cubes of a space that the same principals may read.
pub type ClassId = u32;

/// A set of access classes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClassSet {
    words: Vec<u64>,
}

impl ClassSet {
    /// Adds a class.
    pub fn insert(&mut self, class: ClassId) {
        let word = class as usize / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(bits) = self.words.get_mut(word) {
            *bits |= 1 << (class % 64);
        }
    }

    /// Returns whether the class is in the set.
    pub fn contains(&self, class: ClassId) -> bool {
        self.words.get(class as usize / 64).is_some_and(|bits| bits >> (class % 64) & 1 == 1)
    }

    /// Returns whether the two sets have a class in common.
    pub fn meets(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(a, b)| a & b != 0)
    }
}

impl FromIterator<ClassId> for ClassSet {
    fn from_iter<I: IntoIterator<Item = ClassId>>(classes: I) -> Self {
        let mut set = Self::default();
        classes.into_iter().for_each(|class| set.insert(class));
        set
    }
}

/// What may be a candidate.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The access classes that the caller may read.
    pub classes: ClassSet,
    /// The semantic types that are asked for; empty for all.
    pub semantic: Vec<SemanticType>,
    /// Terms that a candidate must have, all of them, such as those of [`super::tag_term`].
    pub required_terms: Vec<String>,
    /// When a candidate was said or seen, or was true.
    pub window: Window,
    /// A time at which a candidate must be true, whenever it was said.
    pub true_at: Option<Timestamp>,
    /// Whether archived cubes are candidates too.
    pub archived: bool,
}

impl Filter {
    /// Returns whether a cube behind this gate may be looked at.
    pub(super) fn opens(&self, gate: Gate) -> bool {
        self.classes.contains(gate.0 & !ARCHIVED) && (self.archived || gate.0 & ARCHIVED == 0)
    }

    /// Returns whether more than the gate is asked for, required terms aside.
    pub(super) fn narrows(&self) -> bool {
        !self.semantic.is_empty() || !self.window.is_always() || self.true_at.is_some()
    }

    /// Returns whether a cube with these facets is what was asked for, required terms aside.
    pub(super) fn accepts(&self, facets: &Facets) -> bool {
        (self.semantic.is_empty() || self.semantic.contains(&facets.semantic))
            && self.true_at.is_none_or(|at| facets.valid.contains(at))
            && (self.window.is_always()
                || self.window.contains(facets.observed)
                || (!facets.valid.is_always() && self.window.overlaps(&facets.valid)))
    }
}

/// Bit of a gate: the cube is recalled on request only.
const ARCHIVED: u32 = 1 << 31;

/// What is looked at of every cube at every search: its class, and whether it is archived. No class is beyond the bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gate(u32);

impl Gate {
    /// The gate of a slot that holds nothing, or nothing to be recalled. There is no such class.
    pub(super) const SHUT: Self = Self(u32::MAX);

    pub(super) fn of(facets: &Facets) -> Self {
        match facets {
            Facets { withheld: true, .. } => Self::SHUT,
            Facets { archived: true, class, .. } => Self(class | ARCHIVED),
            Facets { class, .. } => Self(class & !ARCHIVED),
        }
    }
}
