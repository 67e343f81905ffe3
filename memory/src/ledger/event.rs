//! Events: what can happen in a space.

use serde::Serialize;

use crate::cube::{CubeId, Digest, Header, PrincipalId, SpaceName, State, UseSignal};
use crate::embed::EmbedderId;
use crate::governance::AuditRecord;
use crate::graph::Link;
use crate::time::Timestamp;

/// One entry of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Its place in the ledger, counted from 0.
    pub sequence: u64,
    /// When it was written.
    pub at: Timestamp,
    /// Who caused it.
    pub principal: PrincipalId,
    /// The digest of the event before it; zeros for the first.
    pub previous: Digest,
    /// What happened.
    pub change: Change,
}

/// What an event says has happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The space began; always the first event and never again.
    SpaceCreated {
        /// The space's name.
        name: SpaceName,
        /// The embedder of its index.
        embedder: EmbedderId,
    },
    /// A cube got its first or its next version. Its description and body stand beside the event, in its record; the
    /// description is empty when they were erased.
    CubeStored(Box<Header>),
    /// Two cubes were linked.
    Linked(Link),
    /// A link was taken away.
    Unlinked(Link),
    /// A cube went to another state.
    StateChanged {
        /// The cube.
        cube: CubeId,
        /// Its state from now on.
        state: State,
        /// Why.
        reason: String,
    },
    /// All vectors were made again with another embedder.
    EmbedderChanged {
        /// The embedder of the index from now on.
        embedder: EmbedderId,
    },
    /// Cubes were used. One that was never used before is activated by its first reading.
    CubesUsed(Vec<(CubeId, UseSignal)>),
    /// The space began as a fork; always the first event that is its own. All events before it are those of its origin.
    SpaceForked {
        /// The fork's name.
        name: SpaceName,
        /// The space that it was forked from.
        origin: SpaceName,
    },
    /// A frozen cube may be changed again.
    Unfrozen {
        /// The cube.
        cube: CubeId,
        /// Why.
        reason: String,
    },
    /// Cubes were erased: their records are gone, and so are the keys of them.
    Erased {
        /// The cubes.
        cubes: Vec<CubeId>,
        /// The number of the subject all of whose memories were erased, when a subject was.
        subject: Option<u32>,
        /// Why.
        reason: String,
    },
    /// A register got another value, or none any more.
    RegisterSet {
        /// The register's name.
        name: String,
        /// Its value from now on.
        value: Option<Vec<u8>>,
    },
    /// Something was put on record that changes nothing.
    Recorded(Vec<AuditRecord>),
    /// The events before it were made for one request, which is answered the same when it comes again.
    Requested {
        /// The digest of the principal and the request's name.
        key: Digest,
        /// How many events before this one are of the request.
        events: u64,
    },
}
