//! `memos`: a memory operating system for agents.
//!
//! The face of the house. It gathers what a program needs of the crates below under one name, and adds a
//! [`picture`] of a memory's neighbourhood. What memory is and how it is kept is the business of those crates; nothing is
//! decided here.
//!
//! ```
//! use memos::prelude::*;
//!
//! # fn main() -> memos::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path();
//! let vault = Vault::open(path, VaultOptions::builtin()?)?; // a folder: no server, no key, no download
//! let space = vault.space(&"acme/support".parse()?)?;
//! let ada = Principal::new("user:ada".parse()?);
//!
//! space.remember(&ada, CubeDraft::text(SemanticType::Fact, "Bo is allergic to peanuts"))?;
//!
//! let call = MemoryCall::new(ada, "What is Bo allergic to?", space.now());
//! let answer = recall(&[&space], &read_question(&[&space], call)?)?;
//! for receipt in &answer.receipts {
//!     println!("{receipt}"); // which cube, which version, why, and by whose leave
//! }
//! # assert_eq!(answer.receipts.len(), 1);
//! # Ok(())
//! # }
//! ```

pub mod picture;

pub use memos_memory::{
    Error, ErrorKind, Result, cube, disk, embed, error, evolve, exchange, governance, graph, index, keys, ledger,
    lifecycle, limits, operator, pipeline, reader, schedule, time, vault,
};

pub use memos_runtime as runtime;

/// The names that most programs use.
pub mod prelude {
    pub use crate::cube::{
        Cube, CubeDraft, CubeId, Grant, Grantee, GroupName, Layer, Payload, PrincipalId, Rights, SemanticType,
        SpaceName, State, Update, UpdateMode, UseSignal,
    };
    pub use crate::error::{Error, ErrorKind};
    pub use crate::governance::Principal;
    pub use crate::graph::{Link, LinkKind};
    pub use crate::operator::{Answer, MemoryCall, Receipt, recall};
    pub use crate::reader::source::{Format, SourceLimits, read_source};
    pub use crate::reader::{IngestOptions, IngestReport, ingest, read_question};
    pub use crate::runtime::actor::{Heard, Subscription};
    pub use crate::runtime::lifecycle::{Evolution, Lifecycle, Worked};
    pub use crate::runtime::scheduler::{Scheduler, SchedulerOptions};
    pub use crate::runtime::store::MemStore;
    pub use crate::runtime::{self, Kernel, KernelOptions, RuntimeLimits, Session, SpaceHandle};
    pub use crate::time::{Timestamp, Window};
    pub use crate::vault::{Batch, Erasure, MasterKeySource, Point, Space, Vault, VaultOptions};
}

/// The code of the README, compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeCode;
