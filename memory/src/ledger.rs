//! The ledger: the append-only, hash-chained record of every event in a space, and the only source of truth.
//!
//! Each event names the digest of the event before it, so that none can be changed, dropped or added in between without
//! notice. A Merkle tree over the events proves the same to those who do not have them. What a memory says stands
//! beside its event, sealed under a key of its own, so that erasing it leaves the chain whole. A commit is a batch of
//! events: all of them are on disk when it returns, or none is. What an event means for the graph and the index is no
//! business of this room. The bytes are described in `docs/format.md`.

mod event;
mod head;
mod merkle;
mod proof;
mod record;
mod store;
mod text;
mod wire;

pub use event::{Change, Event};
pub(crate) use head::sign;
pub use head::{Head, SignedHead, SpaceKey};
pub use merkle::{ConsistencyProof, InclusionProof};
pub(crate) use merkle::{Frontier, consistency, inclusion, root};
pub(crate) use proof::check_proof;
pub use proof::{Checked, LargeBody, Older, OpenedKey, Opening, Proof, Trust};
pub use record::Record;
#[cfg(fuzzing)]
pub(crate) use record::fuzz_record;
pub(crate) use record::{Place, Row, Session, vector_row};
pub use store::{ForkPoint, Found, Ledger, LedgerHead, LedgerOptions, LedgerReader, LedgerReaders, NewEvent};
pub(crate) use text::{from_hex, to_hex};
#[cfg(fuzzing)]
pub(crate) use wire::fuzz_event;
pub(crate) use wire::{check_header, decode_event, header_digest};
