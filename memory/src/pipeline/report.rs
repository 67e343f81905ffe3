//! What a run found and changed, step by step; of a dry run, what it would have changed.

use serde::Serialize;

use crate::cube::{CubeId, State};
use crate::graph::Link;
use crate::time::Window;

/// What a run did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The pipeline's name.
    pub pipeline: String,
    /// Whether nothing was written, on request.
    pub dry_run: bool,
    /// What each step found and changed.
    pub steps: Vec<StepReport>,
    /// What was written, or would have been.
    pub stored: Stored,
}

/// What a run has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Stored {
    /// The first event; none for a dry run, and where nothing was to be written.
    pub first_event: Option<u64>,
    /// How many events.
    pub events: u64,
}

/// What one step found and changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReport {
    /// The step's name.
    pub name: String,
    /// What it does, as in a file.
    pub action: &'static str,
    /// The memories that later steps see under its name.
    pub memories: Vec<CubeId>,
    /// The text that it made.
    pub text: Option<String>,
    /// What it changed.
    pub changes: Vec<Change>,
}

/// One change of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// A memory is new.
    Stored {
        /// The memory.
        cube: CubeId,
        /// What it says.
        text: String,
    },
    /// A memory has a next version.
    Revised {
        /// The memory.
        cube: CubeId,
        /// What it said.
        before: String,
        /// What it says.
        after: String,
        /// The tags that it has got.
        tags: Vec<String>,
        /// When it is true from now on, where that changed.
        valid: Option<Window>,
    },
    /// A memory is in another state.
    State {
        /// The memory.
        cube: CubeId,
        /// The state before.
        from: State,
        /// The state from now on.
        to: State,
        /// Why.
        reason: String,
    },
    /// Two memories are linked.
    Linked(Link),
}
