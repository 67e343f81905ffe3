//! How often which value was seen, counted without a lock: eight steps for each doubling, and never more memory.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Distribution;

/// Steps within one doubling: a value is told from another that is an eighth larger.
const STEPS: u64 = 8;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Values from 2^40 on, eighteen minutes in nanoseconds, are all in the last bucket.
const BUCKETS: usize = 304;

/// Values in buckets. Who records pays two atomic additions, and never waits.
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
    largest: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum: AtomicU64::new(0), largest: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts one value.
    pub(crate) fn record(&self, value: u64) {
        if let Some(bucket) = self.buckets.get(bucket_of(value)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
        // Looking is cheaper than writing, and a new largest value is rare.
        if value > self.largest.load(Ordering::Relaxed) {
            self.largest.fetch_max(value, Ordering::Relaxed);
        }
    }

    /// Counts one span of time, in nanoseconds.
    pub(crate) fn record_time(&self, time: std::time::Duration) {
        self.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Returns what was counted. Values that are counted meanwhile may be in one figure and not in another.
    pub(crate) fn read(&self) -> Distribution {
        let mut buckets = Vec::new();
        for (number, bucket) in self.buckets.iter().enumerate() {
            let count = bucket.load(Ordering::Relaxed);
            if count > 0 {
                buckets.push((largest_of(number), count));
            }
        }
        Distribution::of(buckets, self.sum.load(Ordering::Relaxed), self.largest.load(Ordering::Relaxed))
    }
}

fn bucket_of(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let doubling = value.ilog2() - STEP_BITS;
    let step = (value >> doubling) & (STEPS - 1);
    let bucket = u64::from(doubling + 1) * STEPS + step;
    (bucket as usize).min(BUCKETS - 1)
}

/// Returns the largest value that a bucket counts.
fn largest_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    if bucket as usize >= BUCKETS - 1 {
        return u64::MAX;
    }
    let (doubling, step) = (bucket / STEPS - 1, bucket % STEPS);
    ((STEPS + step + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_the_bucket_that_ends_first_after_it() {
        for value in (0..5000).chain([1 << 20, (1 << 20) + 1, (1 << 39) + 7, 1 << 40, 1 << 50, u64::MAX]) {
            let bucket = bucket_of(value);
            assert!(value <= largest_of(bucket), "{value}");
            assert!(bucket == 0 || value > largest_of(bucket - 1), "{value}");
            // Told apart to an eighth, as far as buckets go.
            assert!(value >= 1 << 40 || largest_of(bucket) <= value + value / STEPS, "{value}");
        }
    }

    #[test]
    fn what_was_counted_is_read() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read(), Distribution::default());
        for value in 1..=1000 {
            histogram.record(value);
        }
        let read = histogram.read();
        assert_eq!((read.count, read.sum, read.largest), (1000, 500_500, 1000));
        for (share, expect) in [(read.p50, 500.0), (read.p90, 900.0), (read.p99, 990.0)] {
            assert!((share - expect).abs() / expect < 0.07, "{share} for {expect}");
        }
    }
}
