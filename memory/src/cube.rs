//! MemCube: the unit of memory, a header and a payload of one kind (MemOS paper, section 3.1).
//!
//! Everything here is plain data and its rules. A cube is never changed: an update makes the next version, which names
//! its parent by digest. Storage, ranking and access decisions live elsewhere and read what stands here.

mod header;
mod id;
mod payload;
mod update;
mod usage;

pub(crate) use header::coded_enum;
pub use header::{
    Chain, Fingerprint, Governance, Grant, Grantee, Header, Layer, Lifecycle, Lifespan, Origin, OriginKind, Priority,
    Rights, Seal, SemanticType, Source, State, Times, VersionRef,
};
pub use id::{CubeId, Digest, GroupName, IdSource, PrincipalId, RandomIds, SeededIds, SpaceName};
#[cfg(test)]
pub(crate) use payload::small_segment;
pub use payload::{Activation, Dtype, Form, Kind, LayerShape, ModelFingerprint, Parametric, Payload, TargetShape};
pub(crate) use update::is_role;
pub use update::{Adoption, CubeDraft, GovernanceChange, Revision, Update, UpdateMode};
pub use usage::{Usage, UseSignal};

/// One version of a memory: what is known about it and what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Cube {
    /// What is known about the memory.
    pub header: Header,
    /// What the memory says.
    pub payload: Payload,
}
