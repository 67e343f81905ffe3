//! The bounds of MemStore by name, with their units and defaults.

use std::time::Duration;

/// The bounds within which offers are made, found and taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreLimits {
    /// Offers of one space, ended ones included. The oldest ended one makes place for a new one.
    pub offers: usize,
    /// Memories of one offer.
    pub offer_cubes: usize,
    /// Bytes of all that one offer hands over.
    pub offer_bytes: usize,
    /// Bytes of an offer's name, of a tag, and of a reason.
    pub name_bytes: usize,
    /// Tags of one offer, and of one subscription.
    pub tags: usize,
    /// Principals, groups and spaces that one offer names, each.
    pub takers: usize,
    /// Licences that one space keeps a record of.
    pub licences: usize,
    /// Licences under which one principal took one offer into one space.
    pub takes: usize,
    /// Subscriptions of one principal in one space.
    pub subscriptions: usize,
    /// Subscriptions of one space.
    pub space_subscriptions: usize,
    /// Bytes of the sentence of a subscription.
    pub sentence_bytes: usize,
    /// Principals who listen in one kernel.
    pub listeners: usize,
    /// Facts that wait for one listener. Beyond it the oldest are dropped, and the listener is told how many.
    pub backlog: usize,
    /// Spaces whose offers are kept at hand.
    pub shelves: usize,
    /// How long after it was seen whether something is held longer than it may be, that is seen again. One hour.
    pub enforce_every: Duration,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            offers: 1024,
            offer_cubes: 256,
            offer_bytes: 16 * 1024 * 1024,
            name_bytes: 256,
            tags: 16,
            takers: 64,
            licences: 16_384,
            takes: 256,
            subscriptions: 64,
            space_subscriptions: 4096,
            sentence_bytes: 1024,
            listeners: 4096,
            backlog: 256,
            shelves: 64,
            enforce_every: Duration::from_secs(3600),
        }
    }
}
