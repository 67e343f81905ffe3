//! The ledger: the append-only, hash-chained record of every event in a space, and the only source of truth.
//!
//! Each event names the digest of the event before it, so that none can be changed, dropped or added in between without
//! notice. Bodies stand beside the events, keyed by the event that stored them, so that erasing a body leaves the chain
//! whole. A commit is a batch of events: all of them are on disk when it returns, or none is. What an event means for the
//! graph and the index is no business of this room. The bytes are described in `docs/format.md`.

mod event;
mod store;
mod wire;

pub use event::{Change, Event};
pub use store::{Ledger, LedgerHead, LedgerReader, LedgerReaders, NewEvent};
pub(crate) use wire::{check_header, header_digest};
