//! What the kernel can be seen to do: meters, traces, and the ways to look at both.
//!
//! Meters are always on and belong to one kernel: counters and histograms of a fixed size, which cost who counts a few
//! atomic additions. Traces are `tracing` spans, in the target `memos`; where nobody subscribes they cost a look at one
//! number. Nothing leaves the process unless somebody asks: `memos top` by the socket in the kernel's folder ([`watch`]),
//! or a collector that is configured (`otlp`, with the feature of that name). Figures and names are told, and
//! nothing of what memories say.

mod histogram;
mod meters;
#[cfg(feature = "otlp")]
pub mod otlp;
mod snapshot;
pub(crate) mod spans;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

pub use meters::Kind;
pub(crate) use meters::{ActorMeter, CountedSession, Counters, SpaceMeter, WorkerMeter};
pub use snapshot::{ActorFigures, CommitFigures, Distribution, RecallFigures, Snapshot, SpaceFigures, WorkerFigures};

use crate::kernel::Shared;

/// The meters of one kernel. They are cheap to clone and do not keep it running.
#[derive(Clone)]
pub struct Meters {
    counters: Arc<Counters>,
    kernel: Weak<Shared>,
}

impl Meters {
    pub(crate) fn of(kernel: &Arc<Shared>) -> Self {
        Self { counters: kernel.counters.clone(), kernel: Arc::downgrade(kernel) }
    }

    /// Counts what was done so many times.
    pub fn count(&self, kind: Kind, many: u64) {
        self.counters.count(kind, many);
    }

    /// Returns whether the kernel is there no more.
    pub fn is_over(&self) -> bool {
        self.kernel.strong_count() == 0
    }

    /// Returns what all meters say now. What goes on meanwhile may be in one figure and not yet in another.
    pub fn snapshot(&self) -> Snapshot {
        let counters = &self.counters;
        let (sessions, sessions_begun) = counters.sessions();
        let mut snapshot = Snapshot {
            process: std::process::id(),
            taken: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis),
            sessions,
            sessions_begun,
            spaces: counters.spaces(),
            actors: counters.actors(),
            recall: counters.recall(),
            commits: counters.commits(),
            counts: counters.counts(),
            ..Snapshot::default()
        };
        if let Some(kernel) = self.kernel.upgrade() {
            snapshot.uptime = millis(kernel.started.elapsed());
            snapshot.workers = vec![kernel.readers.figures(), kernel.writers.figures()];
            snapshot.dead_letters = kernel.letters.total();
            let open = kernel.open_spaces();
            snapshot.open_spaces = open.len();
            mark_open(&mut snapshot.spaces, &open);
            add_queues(&mut snapshot.actors, kernel.queues());
        }
        snapshot
    }
}

fn mark_open(spaces: &mut [SpaceFigures], open: &BTreeSet<String>) {
    for space in spaces {
        space.open = open.contains(&space.name);
    }
}

/// Puts the queues of actors to their kinds.
fn add_queues(actors: &mut [ActorFigures], queues: Vec<(String, usize, usize)>) {
    let mut kinds: BTreeMap<String, (usize, usize, usize)> = BTreeMap::new();
    for (actor, queue, places) in queues {
        let (count, taken, most) = kinds.entry(meters::kind_of(&actor).to_owned()).or_default();
        (*count, *taken, *most) = (*count + 1, *taken + queue, *most + places);
    }
    for figures in actors {
        let (count, taken, most) = kinds.get(&figures.kind).copied().unwrap_or_default();
        (figures.actors, figures.queue, figures.places) = (count, taken, most);
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
