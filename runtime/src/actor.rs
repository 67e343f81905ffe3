//! Actors: how a message reaches one, what it may do, and what happens when it fails.
//!
//! They stand on ractor, whose name no other room of the house says: handles, envelopes, supervision and topics are
//! ours, so that what its defaults leave open is closed here once, for all actors. A handler is a plain function. It
//! cannot wait for a peer, because it cannot wait; work beside it is spawned, and comes back as a note to itself.

mod behaviour;
mod directory;
#[cfg(feature = "cluster")]
mod door;
mod envelope;
mod handle;
mod letters;
pub mod measure;
mod shell;
pub(crate) mod supervisor;
mod topic;

pub use behaviour::{Behaviour, Broken, Command, Context, Mailbox};
pub use directory::Directory;
#[cfg(feature = "cluster")]
pub use door::{Door, send_through};
pub use envelope::{Call, Envelope, IdempotencyKey, Reply, TraceLink};
pub use handle::Handle;
pub use letters::{DeadLetter, DeadLetters, Undelivered};
pub use supervisor::ActorFact;
pub use topic::{Heard, Subscription, Topic};

pub(crate) use handle::Home;
pub(crate) use shell::{ChildSpec, spawn_alone};

#[cfg(test)]
mod tests;
