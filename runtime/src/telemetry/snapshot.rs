//! What a kernel's meters say at one moment, as programs read it. Figures and names; nothing of what memories say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How often which values were seen since the kernel was opened. Times are in nanoseconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Distribution {
    /// How many values there were.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The largest of them.
    pub largest: u64,
    /// What half of them do not exceed; right to an eighth, as the other two.
    pub p50: f64,
    /// What nine in ten do not exceed.
    pub p90: f64,
    /// What ninety-nine in a hundred do not exceed.
    pub p99: f64,
    /// The largest value of each bucket that is not empty, and how many values are in it.
    pub buckets: Vec<(u64, u64)>,
}

impl Distribution {
    /// Makes one of buckets, smallest first.
    pub(crate) fn of(buckets: Vec<(u64, u64)>, sum: u64, largest: u64) -> Self {
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut distribution = Self { count, sum, largest, buckets, ..Self::default() };
        distribution.p50 = distribution.share(0.5);
        distribution.p90 = distribution.share(0.9);
        distribution.p99 = distribution.share(0.99);
        distribution
    }

    /// Returns what was seen since an earlier reading of the same. A reading of another kernel counts as none.
    pub fn since(&self, earlier: &Self) -> Self {
        if earlier.count > self.count || earlier.sum > self.sum {
            return self.clone();
        }
        let before: BTreeMap<u64, u64> = earlier.buckets.iter().copied().collect();
        let new = |(upper, count): &(u64, u64)| {
            let new = count.saturating_sub(before.get(upper).copied().unwrap_or(0));
            (new > 0).then_some((*upper, new))
        };
        let buckets: Vec<(u64, u64)> = self.buckets.iter().filter_map(new).collect();
        let largest = buckets.last().map_or(0, |(upper, _)| *upper).min(self.largest);
        Self::of(buckets, self.sum - earlier.sum, largest)
    }

    /// Returns the mean, or 0 where nothing was seen.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// Returns what this share of the values does not exceed, on a straight line within its bucket.
    fn share(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil();
        let (mut seen, mut lower) = (0_u64, 0_u64);
        for (upper, count) in &self.buckets {
            let until = seen + count;
            if until as f64 >= wanted && *count > 0 {
                let upper = (*upper).min(self.largest);
                // A bucket is an eighth wide; where the one before is empty, the line begins at its own foot.
                let foot = lower.max(upper - upper / 9).min(upper);
                let part = (wanted - seen as f64) / *count as f64;
                return foot as f64 + (upper - foot) as f64 * part;
            }
            (seen, lower) = (until, *upper);
        }
        0.0
    }
}

/// All actors of one kind: those whose names begin alike, up to a colon.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ActorFigures {
    /// The kind.
    pub kind: String,
    /// How many there are.
    pub actors: usize,
    /// Messages that were taken and are not done.
    pub queue: usize,
    /// Messages that may be before them together.
    pub places: usize,
    /// From sending to handling, in nanoseconds.
    pub wait: Distribution,
    /// How long a handler ran, in nanoseconds.
    pub service: Distribution,
    /// How often one failed and was begun again.
    pub restarts: u64,
    /// How many failed too often, and were given up.
    pub given_up: u64,
    /// Messages that were taken and not handled.
    pub dead_letters: u64,
    /// Messages that were refused because there was no place.
    pub busy: u64,
}

/// A kind of worker threads.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WorkerFigures {
    /// What they do.
    pub name: String,
    /// How many there are.
    pub threads: usize,
    /// How many of them work.
    pub working: usize,
    /// Pieces of work that wait.
    pub queue: usize,
    /// From handing over to beginning, in nanoseconds.
    pub wait: Distribution,
    /// How long a piece of work took, in nanoseconds.
    pub service: Distribution,
}

/// Recalls.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RecallFigures {
    /// From asking to the answer, as the caller sees it, in nanoseconds.
    pub latency: Distribution,
    /// Reading the question and embedding it, in nanoseconds.
    pub embed: Distribution,
    /// Finding candidates, in nanoseconds.
    pub find: Distribution,
    /// Spreading and ranking, in nanoseconds.
    pub rank: Distribution,
    /// Reading, checking and packing, in nanoseconds.
    pub pack: Distribution,
    /// How many had no answer.
    pub failed: u64,
}

/// Durable steps.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CommitFigures {
    /// How many there were.
    pub groups: u64,
    /// Callers' batches in one.
    pub batches: Distribution,
    /// Events in one.
    pub events: Distribution,
    /// How long one took until it was durable, in nanoseconds.
    pub flush: Distribution,
    /// Batches that were refused or failed.
    pub failed: u64,
}

/// One space.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SpaceFigures {
    /// Its name.
    pub name: String,
    /// Whether it is open.
    pub open: bool,
    /// Pieces of work that read it or did other work in it.
    pub reads: u64,
    /// Batches that became durable through its writer.
    pub writes: u64,
    /// Events of those.
    pub events: u64,
}

/// What a kernel's meters say at one moment. All counts begin when the kernel is opened.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// The process.
    pub process: u32,
    /// When it was taken, in milliseconds since 1970.
    pub taken: u64,
    /// How long the kernel is open, in milliseconds.
    pub uptime: u64,
    /// Sessions that are held at the moment, their clones not counted.
    pub sessions: u64,
    /// Sessions that were begun.
    pub sessions_begun: u64,
    /// Spaces that are open.
    pub open_spaces: usize,
    /// The spaces that were used, by name.
    pub spaces: Vec<SpaceFigures>,
    /// The actors, by kind.
    pub actors: Vec<ActorFigures>,
    /// The worker threads.
    pub workers: Vec<WorkerFigures>,
    /// Recalls.
    pub recall: RecallFigures,
    /// Durable steps.
    pub commits: CommitFigures,
    /// What was counted by [`super::Kind`]: by its group, then by its name.
    pub counts: BTreeMap<String, BTreeMap<String, u64>>,
    /// Messages that were sent and not handled.
    pub dead_letters: u64,
}

impl Snapshot {
    /// Returns what was counted of one kind.
    pub fn count(&self, kind: super::Kind) -> u64 {
        self.counts.get(kind.group()).and_then(|group| group.get(kind.name())).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_less_an_earlier_one_is_what_came_between() {
        let earlier = Distribution::of(vec![(10, 5), (20, 1)], 70, 20);
        let later = Distribution::of(vec![(10, 5), (20, 3), (40, 2)], 190, 35);
        let between = later.since(&earlier);
        assert_eq!(between.buckets, [(20, 2), (40, 2)]);
        assert_eq!((between.count, between.sum, between.largest), (4, 120, 35));
        assert!((between.mean() - 30.0).abs() < 1e-9);
        // Another kernel stands there now.
        assert_eq!(earlier.since(&later), earlier);
        assert_eq!(later.since(&later), Distribution::default());
    }

    #[test]
    fn shares_of_few_values_are_values_that_may_have_been() {
        assert_eq!(Distribution::default().p99, 0.0);
        let one = Distribution::of(vec![(1023, 1)], 1000, 1000);
        assert!(one.p50 <= 1000.0 && one.p50 > 850.0, "{}", one.p50);
    }
}
