//! The keys of a vault: what is forgotten is forgotten because its key is gone.
//!
//! A ledger that only grows cannot take a memory out of its past, and a backup or a flash disk keeps what a program deleted.
//! So each record is sealed with a key of its own, the keys of a space stand in one small file, its *ring*, and to erase is
//! to write that file anew without the key. What is left of the record, wherever a copy of it lies, says nothing; the chain
//! of events goes over sealed bytes and still verifies. The ring itself is sealed with the vault's *master key*.
//!
//! This room knows keys, slots and subjects' names. It must never know what a record is about, who may read it, or what
//! made its erasure due.

mod file;
mod known;
mod mac;
mod master;
mod ring;
mod seal;
#[cfg(test)]
mod tests;
mod tree;

pub use mac::{MacKey, SECRET_BYTES, TAG_BYTES};
pub use master::{Entropy, MasterKey, SeededEntropy, SystemEntropy};
#[cfg(fuzzing)]
pub(crate) use ring::fuzz_ring;
pub use ring::{KeyRing, Keys};
pub use seal::{Part, RecordKey};
pub use tree::SLOTS;

/// Thirty-two secret bytes, overwritten with zeros when they are dropped.
pub(crate) type Secret = zeroize::Zeroizing<[u8; 32]>;
