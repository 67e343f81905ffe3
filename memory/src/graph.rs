//! The MemCube graph: typed, directed links between cubes, lineage both ways, and spreading activation.
//!
//! The graph knows slots, the small numbers that a space gives its cubes, and nothing of their content or of who may read
//! them: whoever walks it hands in what may be seen.

mod link;
mod memory_graph;
mod spread;

pub use link::{Direction, Link, LinkKind};
pub use memory_graph::{Edge, MemoryGraph, Slot};
pub use spread::{Spread, SpreadWeights};
