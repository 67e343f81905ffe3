//! What agent memory is and how it is kept.
//!
//! The unit is the [`cube::Cube`]. A [`vault::Space`] keeps the cubes of one tenant in a [`ledger`], and from it a
//! [`graph`] and an [`index`]. [`reader`] turns text into cubes and questions into calls; [`operator`] answers a call with
//! receipts; [`governance`] says who may see what. Time, ids and randomness are handed in.
//!
//! This crate knows no actors, no language models and no network.
//!
//! ```
//! use memos_memory::cube::{CubeDraft, SemanticType, Update, UpdateMode};
//! use memos_memory::governance::Principal;
//! use memos_memory::vault::{Vault, VaultOptions};
//!
//! # fn main() -> memos_memory::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! let vault = Vault::open(folder.path(), VaultOptions::builtin()?)?;
//! let space = vault.space(&"acme/kitchen".parse()?)?;
//! let cook = Principal::new("agent:cook".parse()?);
//!
//! let id = space.remember(&cook, CubeDraft::text(SemanticType::Fact, "There are 12 lemons left"))?;
//! let seen = space.get(&cook, &id)?.1.digest;
//! let add = || Update { cube: id, parent: seen, mode: UpdateMode::Append("and 3 limes".into()) };
//! assert_eq!(space.update(&cook, add())?.version, 2);
//! // The version that was seen is not the head any more.
//! assert_eq!(space.update(&cook, add()).unwrap_err().kind(), memos_memory::ErrorKind::Conflict);
//! # Ok(())
//! # }
//! ```

pub mod cube;
pub mod disk;
#[cfg(fuzzing)]
pub mod doors;
pub mod embed;
pub mod english;
pub mod error;
pub mod evolve;
pub mod exchange;
pub mod governance;
pub mod graph;
pub mod index;
mod kernel;
pub mod keys;
pub mod ledger;
pub mod lifecycle;
pub mod limits;
pub mod operator;
pub mod pipeline;
pub mod reader;
pub mod schedule;
pub mod time;
pub mod vault;

pub use error::{Error, ErrorKind, Result};
