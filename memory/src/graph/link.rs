//! Links and their types.

use serde::Serialize;

use crate::cube::CubeId;
use crate::cube::coded_enum;

coded_enum! {
    /// What a link says of the cube that it leaves with regard to the one that it enters.
    LinkKind, "link type" {
        /// Came right after it.
        Follows = 0 "follows",
        /// Was made from it.
        DerivedFrom = 1 "derived-from",
        /// Holds in its place from now on.
        Supersedes = 2 "supersedes",
        /// Says something that cannot be true at the same time.
        Contradicts = 3 "contradicts",
        /// Became part of it.
        MergedInto = 4 "merged-into",
        /// Names it.
        Mentions = 5 "mentions",
        /// Is about it.
        About = 6 "about",
        /// Says in short what it says.
        Summarises = 7 "summarises",
        /// Says nearly the same.
        Similar = 8 "similar",
        /// Happened because of it.
        CausedBy = 9 "caused-by",
    }
}

impl LinkKind {
    /// Returns whether such links lead from what was made to what it was made from, and so may not run in a circle.
    pub fn is_lineage(self) -> bool {
        matches!(self, Self::DerivedFrom | Self::Supersedes | Self::MergedInto | Self::Summarises)
    }
}

/// Which way a link is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the cube that the link leaves to the one that it enters.
    Forward,
    /// The other way.
    Backward,
}

/// A typed, directed edge between two cubes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Link {
    /// The cube that it leaves.
    pub from: CubeId,
    /// What it says.
    pub kind: LinkKind,
    /// The cube that it enters.
    pub to: CubeId,
}
