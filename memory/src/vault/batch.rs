//! Batches: changes that become durable together or not at all.

use crate::cube::{Adoption, CubeDraft, CubeId, Digest, State, Update, UseSignal, VersionRef};
use crate::governance::AuditRecord;
use crate::graph::Link;

/// One change on its way in.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Store(CubeId, Box<CubeDraft>),
    Adopt(CubeId, Box<Adoption>),
    Update(Box<Update>),
    Link(Link),
    Unlink(Link),
    SetState(CubeId, State, String),
    Unfreeze(CubeId, String),
    Use(Vec<(CubeId, UseSignal)>),
    SetRegister(String, Option<Vec<u8>>),
    Record(Vec<AuditRecord>),
    /// Never together with other changes; see [`super::Space::erase`].
    Erase {
        cubes: Vec<CubeId>,
        subject: Option<u32>,
        reason: String,
    },
}

/// Changes that are made in order, all or none.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(crate) writes: Vec<Write>,
    pub(crate) expected: Vec<(CubeId, Digest)>,
    pub(crate) key: Option<String>,
}

impl Batch {
    /// Stores a new cube under an id from [`super::Space::new_id`], so that later changes of the batch can name it.
    pub fn store(&mut self, id: CubeId, draft: CubeDraft) -> &mut Self {
        self.push(Write::Store(id, Box::new(draft)))
    }

    /// Stores a cube that comes from elsewhere, with what is known of its past, under an id that the space does not have.
    pub fn adopt(&mut self, id: CubeId, adoption: Adoption) -> &mut Self {
        self.push(Write::Adopt(id, Box::new(adoption)))
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

    /// Takes a cube to another state, as far as [`crate::lifecycle`] lets it go there.
    pub fn set_state(&mut self, cube: CubeId, state: State, reason: impl Into<String>) -> &mut Self {
        self.push(Write::SetState(cube, state, reason.into()))
    }

    /// Lets a frozen cube be changed again.
    pub fn unfreeze(&mut self, cube: CubeId, reason: impl Into<String>) -> &mut Self {
        self.push(Write::Unfreeze(cube, reason.into()))
    }

    /// Records that cubes were used.
    pub fn record_use(&mut self, uses: Vec<(CubeId, UseSignal)>) -> &mut Self {
        self.push(Write::Use(uses))
    }

    /// Gives a register of the space a value, or none any more. What stands there is not encrypted: it is for what actors of the
    /// space must find again, never for what memories say. The space itself alone may.
    pub fn set_register(&mut self, name: impl Into<String>, value: Option<Vec<u8>>) -> &mut Self {
        self.push(Write::SetRegister(name.into(), value))
    }

    /// Puts a line on record. The space itself alone may.
    pub fn record(&mut self, record: AuditRecord) -> &mut Self {
        if let Some(Write::Record(records)) = self.writes.last_mut() {
            records.push(record);
            return self;
        }
        self.push(Write::Record(vec![record]))
    }

    /// Makes the batch one request of this name: when the same principal commits a batch of the same name again, it is answered
    /// as the first was, also after a crash, and nothing is done. What it holds is not looked at. A space remembers the last
    /// 4,096 of them.
    pub fn keyed(&mut self, key: impl Into<String>) -> &mut Self {
        self.key = Some(key.into());
        self
    }

    /// Makes the batch a `Conflict` where a cube is no longer at the version with this digest when it is written: for
    /// changes that were made from what the cube says, and do not change it.
    pub fn expect(&mut self, cube: CubeId, version: Digest) -> &mut Self {
        self.expected.push((cube, version));
        self
    }

    /// Returns the links that it makes.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        self.writes.iter().filter_map(|write| match write {
            Write::Link(link) => Some(link),
            _ => None,
        })
    }

    /// Returns how many changes there are.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Returns whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(super) fn push(&mut self, write: Write) -> &mut Self {
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
