//! Batches: changes that become durable together or not at all.

use crate::cube::State;
use crate::cube::{CubeDraft, CubeId, Update, UseSignal, VersionRef};
use crate::graph::Link;

/// One change on its way in.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Store(CubeId, Box<CubeDraft>),
    Update(Box<Update>),
    Link(Link),
    Unlink(Link),
    SetState(CubeId, State, String),
    Use(Vec<(CubeId, UseSignal)>),
}

/// Changes that are made in order, all or none.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(crate) writes: Vec<Write>,
}

impl Batch {
    /// Stores a new cube under an id from [`super::Space::new_id`], so that later changes of the batch can name it.
    pub fn store(&mut self, id: CubeId, draft: CubeDraft) -> &mut Self {
        self.push(Write::Store(id, Box::new(draft)))
    }

    /// Makes the next version of a cube.
    pub fn update(&mut self, update: Update) -> &mut Self {
        self.push(Write::Update(Box::new(update)))
    }

    /// Links two cubes. A link that is there already stays as it is.
    pub fn link(&mut self, link: Link) -> &mut Self {
        self.push(Write::Link(link))
    }

    /// Takes a link away.
    pub fn unlink(&mut self, link: Link) -> &mut Self {
        self.push(Write::Unlink(link))
    }

    /// Takes a cube to another state.
    pub fn set_state(&mut self, cube: CubeId, state: State, reason: impl Into<String>) -> &mut Self {
        self.push(Write::SetState(cube, state, reason.into()))
    }

    /// Records that cubes were used.
    pub fn record_use(&mut self, uses: Vec<(CubeId, UseSignal)>) -> &mut Self {
        self.push(Write::Use(uses))
    }

    /// Returns how many changes there are.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Returns whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    fn push(&mut self, write: Write) -> &mut Self {
        self.writes.push(write);
        self
    }
}

/// What a durable batch has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The number of the batch's first event.
    pub first_event: u64,
    /// How many events it has; a change that changed nothing has none.
    pub events: u64,
    /// The versions that it stored, in order.
    pub stored: Vec<VersionRef>,
}
