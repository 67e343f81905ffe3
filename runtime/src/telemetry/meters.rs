//! The counters themselves. They belong to one kernel, are always on, and cost who counts a few atomic additions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use memos_memory::error::Result;
use memos_memory::operator::Answer;
use memos_memory::vault::Committed;
use parking_lot::RwLock;

use super::histogram::Histogram;
use super::snapshot::{ActorFigures, CommitFigures, RecallFigures, SpaceFigures, WorkerFigures};

/// Kinds of actors, and spaces, that have figures of their own; what comes later is counted together.
const MOST_NAMES: usize = 1024;
/// The name of what is counted together.
const OTHERS: &str = "(others)";

/// Declares what is counted beside messages, reads and writes, with its group and its name.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $kind:ident => $group:literal, $name:literal;)*) => {
        /// Something that the kernel's actors do and count.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[doc = $doc])* $kind,)*
        }

        impl Kind {
            /// All of them, in their order.
            pub const ALL: &[Kind] = &[$(Kind::$kind,)*];

            /// Returns who does it.
            pub fn group(self) -> &'static str {
                match self { $(Kind::$kind => $group,)* }
            }

            /// Returns what was done, past tense.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name,)* }
            }
        }
    };
}

kinds! {
    /// A memory was loaded into a working set or a prompt.
    Loaded => "scheduler", "loaded";
    /// A memory was looked at and not loaded.
    PassedOver => "scheduler", "passed_over";
    /// A memory was loaded before it was asked for.
    Prefetched => "scheduler", "prefetched";
    /// A memory was given a faster form.
    Promoted => "scheduler", "promoted";
    /// A memory was given a cheaper form.
    Demoted => "scheduler", "demoted";
    /// A memory was evicted, which archives it.
    Evicted => "scheduler", "evicted";
    /// Duplicates were merged.
    Merged => "lifecycle", "merged";
    /// A contradiction was resolved.
    Resolved => "lifecycle", "resolved";
    /// Weights were let decay.
    Decayed => "lifecycle", "decayed";
    /// A memory was archived.
    Archived => "lifecycle", "archived";
    /// A memory expired.
    Expired => "lifecycle", "expired";
    /// A memory was erased because it was due.
    Erased => "lifecycle", "erased";
    /// A session was summarised.
    Summarised => "lifecycle", "summarised";
    /// A reflection was made.
    Reflected => "lifecycle", "reflected";
    /// Memories of several tasks or agents were linked.
    Linked => "lifecycle", "linked";
    /// Work failed and will be tried again.
    Retried => "lifecycle", "retried";
    /// Work failed too often and was set aside.
    SetAside => "lifecycle", "set_aside";
    /// Work was put off because the kernel is busy.
    PutOff => "lifecycle", "put_off";
    /// An access was allowed.
    Allowed => "governance", "allowed";
    /// An access was allowed to what is left after redaction.
    Redacted => "governance", "redacted";
    /// An access was denied.
    Denied => "governance", "denied";
    /// A request was refused because of a quota or a rate.
    OverQuota => "governance", "over_quota";
    /// A decision was found in the cache.
    CacheHit => "governance", "cache_hit";
    /// A decision was made anew.
    CacheMiss => "governance", "cache_miss";
    /// A memory was published.
    Published => "store", "published";
    /// Somebody subscribed.
    Subscribed => "store", "subscribed";
    /// Somebody unsubscribed.
    Unsubscribed => "store", "unsubscribed";
    /// A memory was handed to a subscriber.
    Delivered => "store", "delivered";
    /// A licence did not allow it.
    Refused => "store", "refused";
    /// What was published was taken back.
    Revoked => "store", "revoked";
}

/// What is counted of the actors of one kind.
#[derive(Default)]
pub(crate) struct ActorMeter {
    wait: Histogram,
    service: Histogram,
    restarts: AtomicU64,
    given_up: AtomicU64,
    dead_letters: AtomicU64,
    busy: AtomicU64,
}

impl ActorMeter {
    pub(crate) fn waited(&self, time: Duration) {
        self.wait.record_time(time);
    }

    pub(crate) fn served(&self, time: Duration) {
        self.service.record_time(time);
    }

    pub(crate) fn restarted(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn was_given_up(&self) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn buried(&self) {
        self.dead_letters.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self, kind: &str) -> ActorFigures {
        ActorFigures {
            kind: kind.to_owned(),
            wait: self.wait.read(),
            service: self.service.read(),
            restarts: self.restarts.load(Ordering::Relaxed),
            given_up: self.given_up.load(Ordering::Relaxed),
            dead_letters: self.dead_letters.load(Ordering::Relaxed),
            busy: self.busy.load(Ordering::Relaxed),
            ..ActorFigures::default()
        }
    }
}

/// What is counted of one kind of worker threads.
#[derive(Default)]
pub(crate) struct WorkerMeter {
    wait: Histogram,
    service: Histogram,
    working: AtomicUsize,
}

impl WorkerMeter {
    pub(crate) fn begun(&self, waited: Duration) {
        self.wait.record_time(waited);
        self.working.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self, took: Duration) {
        self.service.record_time(took);
        self.working.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, name: &str, threads: usize, queue: usize) -> WorkerFigures {
        let working = self.working.load(Ordering::Relaxed);
        WorkerFigures {
            name: name.to_owned(),
            threads,
            working,
            queue,
            wait: self.wait.read(),
            service: self.service.read(),
        }
    }
}

/// What is counted of one space.
#[derive(Default)]
pub(crate) struct SpaceMeter {
    reads: AtomicU64,
    writes: AtomicU64,
    events: AtomicU64,
}

impl SpaceMeter {
    pub(crate) fn read_once(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self, name: &str) -> SpaceFigures {
        SpaceFigures {
            name: name.to_owned(),
            open: false,
            reads: self.reads.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
            events: self.events.load(Ordering::Relaxed),
        }
    }
}

/// What is counted of one durable step.
#[derive(Default)]
struct CommitMeter {
    groups: AtomicU64,
    batches: Histogram,
    events: Histogram,
    flush: Histogram,
    failed: AtomicU64,
}

/// What is counted of recalls.
#[derive(Default)]
struct RecallMeter {
    latency: Histogram,
    embed: Histogram,
    find: Histogram,
    rank: Histogram,
    pack: Histogram,
    failed: AtomicU64,
}

/// All counters of one kernel.
pub(crate) struct Counters {
    actors: RwLock<BTreeMap<String, Arc<ActorMeter>>>,
    spaces: RwLock<BTreeMap<String, Arc<SpaceMeter>>>,
    recall: RecallMeter,
    commits: CommitMeter,
    counts: Vec<AtomicU64>,
    sessions: AtomicU64,
    sessions_begun: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        let counts = Kind::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        let (actors, spaces) = (RwLock::default(), RwLock::default());
        let (recall, commits) = (RecallMeter::default(), CommitMeter::default());
        let (sessions, sessions_begun) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { actors, spaces, recall, commits, counts, sessions, sessions_begun }
    }
}

impl Counters {
    /// Returns the meter of an actor's kind.
    pub(crate) fn actor(&self, name: &str) -> Arc<ActorMeter> {
        named(&self.actors, kind_of(name))
    }

    /// Returns the meter of a space.
    pub(crate) fn space(&self, name: &str) -> Arc<SpaceMeter> {
        named(&self.spaces, name)
    }

    pub(crate) fn count(&self, kind: Kind, many: u64) {
        if let Some(count) = self.counts.get(kind as usize) {
            count.fetch_add(many, Ordering::Relaxed);
        }
    }

    /// Counts a recall: how long its caller waited, and what came of it.
    pub(crate) fn recalled(&self, took: Duration, outcome: &Result<Answer>) {
        let Ok(Answer { times, .. }) = outcome else {
            self.recall.failed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.recall.latency.record_time(took);
        let parts = [
            (&self.recall.embed, times.embed),
            (&self.recall.find, times.find),
            (&self.recall.rank, times.rank),
            (&self.recall.pack, times.pack),
        ];
        for (histogram, micros) in parts {
            histogram.record_time(Duration::from_micros(micros));
        }
    }

    /// Counts a durable step of a space.
    pub(crate) fn committed(&self, space: &SpaceMeter, took: Duration, answers: &[Result<Committed>]) {
        let durable = answers.iter().flatten();
        let (batches, events) = durable.fold((0, 0), |(batches, events), done| (batches + 1, events + done.events));
        self.commits.groups.fetch_add(1, Ordering::Relaxed);
        self.commits.batches.record(answers.len() as u64);
        self.commits.events.record(events);
        self.commits.flush.record_time(took);
        self.commits.failed.fetch_add(answers.len() as u64 - batches, Ordering::Relaxed);
        space.writes.fetch_add(batches, Ordering::Relaxed);
        space.events.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn actors(&self) -> Vec<ActorFigures> {
        self.actors.read().iter().map(|(kind, meter)| meter.read(kind)).collect()
    }

    pub(super) fn spaces(&self) -> Vec<SpaceFigures> {
        self.spaces.read().iter().map(|(name, meter)| meter.read(name)).collect()
    }

    pub(super) fn recall(&self) -> RecallFigures {
        let RecallMeter { latency, embed, find, rank, pack, failed } = &self.recall;
        RecallFigures {
            latency: latency.read(),
            embed: embed.read(),
            find: find.read(),
            rank: rank.read(),
            pack: pack.read(),
            failed: failed.load(Ordering::Relaxed),
        }
    }

    pub(super) fn commits(&self) -> CommitFigures {
        let CommitMeter { groups, batches, events, flush, failed } = &self.commits;
        CommitFigures {
            groups: groups.load(Ordering::Relaxed),
            batches: batches.read(),
            events: events.read(),
            flush: flush.read(),
            failed: failed.load(Ordering::Relaxed),
        }
    }

    pub(super) fn counts(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for (kind, count) in Kind::ALL.iter().zip(&self.counts) {
            let group = counts.entry(kind.group().to_owned()).or_default();
            group.insert(kind.name().to_owned(), count.load(Ordering::Relaxed));
        }
        counts
    }

    pub(super) fn sessions(&self) -> (u64, u64) {
        (self.sessions.load(Ordering::Relaxed), self.sessions_begun.load(Ordering::Relaxed))
    }
}

/// One session, counted as long as it or a clone of it is there.
pub(crate) struct CountedSession(Arc<Counters>);

impl CountedSession {
    pub(crate) fn begin(counters: &Arc<Counters>) -> Arc<Self> {
        counters.sessions.fetch_add(1, Ordering::Relaxed);
        counters.sessions_begun.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self(counters.clone()))
    }
}

impl Drop for CountedSession {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns what actors of this name are counted as.
pub(super) fn kind_of(actor: &str) -> &str {
    actor.split(':').next().unwrap_or(actor)
}

fn named<T: Default>(meters: &RwLock<BTreeMap<String, Arc<T>>>, name: &str) -> Arc<T> {
    if let Some(meter) = meters.read().get(name) {
        return meter.clone();
    }
    let mut meters = meters.write();
    let name = if meters.len() < MOST_NAMES || meters.contains_key(name) { name } else { OTHERS };
    meters.entry(name.to_owned()).or_default().clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_end_take_no_memory_without_end() {
        let counters = Counters::default();
        for number in 0..3 * MOST_NAMES {
            counters.space(&format!("acme/{number}")).read_once();
        }
        let spaces = counters.spaces();
        assert_eq!(spaces.len(), MOST_NAMES + 1);
        assert_eq!(spaces.iter().map(|space| space.reads).sum::<u64>(), 3 * MOST_NAMES as u64);
        assert_eq!(spaces[0].name, OTHERS);
    }

    #[test]
    fn kinds_have_their_place_and_their_own_name() {
        let mut names: Vec<_> = Kind::ALL.iter().map(|kind| (kind.group(), kind.name())).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
        let counters = Counters::default();
        for (place, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(place, *kind as usize);
            counters.count(*kind, place as u64 + 1);
        }
        assert_eq!(counters.counts()["store"]["revoked"], Kind::ALL.len() as u64);
    }

    #[test]
    fn a_session_is_counted_once_however_often_it_is_cloned() {
        let counters = Arc::default();
        let session = CountedSession::begin(&counters);
        let clone = session.clone();
        assert_eq!(counters.sessions(), (1, 1));
        drop((session, clone));
        assert_eq!(counters.sessions(), (0, 1));
    }
}
