//! Quotas: how much somebody may ask of a space, and the bucket of tokens that holds them to a rate.
//!
//! All here is arithmetic over whole numbers and over the time that is handed in, so that a wait that was named is enough.

use std::time::Duration;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::time::Timestamp;

/// The least and the greatest rate, each second.
const RATES: (f64, f64) = (0.001, 1_000_000.0);

/// What is counted in: a millionth of a token. A thousandth of a token a second is one of these a millisecond.
const PARTS: i64 = 1_000_000;

/// How much one principal may do and have in a space. What is not set is not bounded.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Quota {
    /// Requests a second, reading and writing together.
    pub requests_per_second: Option<f64>,
    /// Changes a second.
    pub writes_per_second: Option<f64>,
    /// How many at once after a rest; by default as many as in one second, and at least one.
    pub burst: Option<u32>,
    /// Memories owned.
    pub memories: Option<u64>,
    /// Bytes of all memories owned.
    pub bytes: Option<u64>,
}

impl Quota {
    /// Checks the rates.
    ///
    /// # Errors
    /// `Invalid` when a rate does not lie between 0.001 and 1,000,000 a second, or a burst is 0.
    pub fn check(&self) -> Result<()> {
        let (least, most) = RATES;
        for (name, rate) in
            [("requests_per_second", self.requests_per_second), ("writes_per_second", self.writes_per_second)]
        {
            if let Some(rate) = rate.filter(|rate| !(least..=most).contains(rate)) {
                return Err(Error::invalid(format!(
                    "`{name} = {rate}` is no rate; use one from {least} to {most}, or a policy to forbid all"
                )));
            }
        }
        if self.burst == Some(0) {
            return Err(Error::invalid("`burst = 0` lets nothing through; use 1 or more"));
        }
        Ok(())
    }

    /// Returns this quota with what it leaves open taken from another.
    pub fn or(self, other: Self) -> Self {
        Self {
            requests_per_second: self.requests_per_second.or(other.requests_per_second),
            writes_per_second: self.writes_per_second.or(other.writes_per_second),
            burst: self.burst.or(other.burst),
            memories: self.memories.or(other.memories),
            bytes: self.bytes.or(other.bytes),
        }
    }

    /// Returns a full bucket for requests, or none when they are not bounded.
    pub fn requests(&self, now: Timestamp) -> Option<Bucket> {
        self.requests_per_second.map(|rate| Bucket::new(rate, self.burst, now))
    }

    /// Returns a full bucket for changes, or none when they are not bounded.
    pub fn writes(&self, now: Timestamp) -> Option<Bucket> {
        self.writes_per_second.map(|rate| Bucket::new(rate, self.burst, now))
    }
}

/// A bucket of tokens: it fills at a rate up to its brim, and whoever does something takes out of it.
///
/// More than the bucket holds may be taken at once when it is full, and is owed then: a large batch passes, and who sent it
/// waits for longer afterwards. So everything passes at some time, and the rate holds on the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Parts that flow in each millisecond.
    inflow: i64,
    /// Parts that it holds.
    brim: i64,
    /// Parts that are in it; below zero, what is owed.
    level: i64,
    filled: Timestamp,
}

impl Bucket {
    /// Makes a full bucket. A rate is bounded to 0.001 to 1,000,000 a second.
    pub fn new(per_second: f64, burst: Option<u32>, now: Timestamp) -> Self {
        let rate = if per_second.is_nan() { RATES.0 } else { per_second.clamp(RATES.0, RATES.1) };
        // Whole thousandths of a token a second: from 1 to 10^9, which a float holds exactly.
        let inflow = (rate * 1000.0).round() as i64;
        let brim = burst.map_or((rate.ceil() as i64).max(1), |burst| i64::from(burst.max(1))).saturating_mul(PARTS);
        Self { inflow, brim, level: brim, filled: now }
    }

    /// Takes tokens out, or returns how long to wait until so many can be taken. A clock that goes back fills nothing.
    ///
    /// # Errors
    /// The time to wait; nothing was taken.
    pub fn take(&mut self, now: Timestamp, amount: u32) -> std::result::Result<(), Duration> {
        let passed = now.as_millis().saturating_sub(self.filled.as_millis()).max(0);
        self.level = self.level.saturating_add(passed.saturating_mul(self.inflow)).min(self.brim);
        self.filled = self.filled.max(now);
        let amount = i64::from(amount).saturating_mul(PARTS);
        let missing = amount.min(self.brim).saturating_sub(self.level);
        if missing > 0 {
            // Until the clock is back where it was, nothing flows in.
            let behind = self.filled.as_millis().saturating_sub(now.as_millis()).unsigned_abs();
            let millis = missing.unsigned_abs().div_ceil(self.inflow.unsigned_abs());
            return Err(Duration::from_millis(millis.saturating_add(behind)));
        }
        self.level = self.level.saturating_sub(amount);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bucket_holds_to_its_rate() {
        let millis = |millis| Err(Duration::from_millis(millis));
        let check = |rate: f64, burst: Option<u32>, steps: &[(i64, u32, std::result::Result<(), Duration>)]| {
            let mut bucket = Bucket::new(rate, burst, Timestamp::from_millis(0));
            for (at, amount, expect) in steps {
                let taken = bucket.take(Timestamp::from_millis(*at), *amount);
                assert_eq!(taken, *expect, "{rate} a second, {burst:?} at once: {amount} at {at}");
            }
        };
        // One second's worth at once, then as fast as it fills.
        check(
            2.0,
            None,
            &[(0, 2, Ok(())), (0, 1, millis(500)), (499, 1, millis(1)), (500, 1, Ok(())), (500, 1, millis(500))],
        );
        // A burst above the rate; it never holds more.
        check(1.0, Some(3), &[(0, 3, Ok(())), (0, 1, millis(1000)), (60_000, 3, Ok(())), (60_000, 1, millis(1000))]);
        // Slower than one a second.
        check(0.1, None, &[(0, 1, Ok(())), (0, 1, millis(10_000)), (10_000, 1, Ok(()))]);
        // More than it holds passes when it is full, and is owed.
        check(10.0, None, &[(0, 100, Ok(())), (0, 1, millis(9100)), (9100, 1, Ok(())), (9100, 100, millis(1000))]);
        // A clock that goes back.
        check(1.0, None, &[(5000, 1, Ok(())), (4000, 1, millis(2000)), (6000, 1, Ok(()))]);
        // Nothing asked, and figures that are none.
        check(1.0, None, &[(0, 0, Ok(()))]);
        check(f64::NAN, Some(0), &[(0, 1, Ok(())), (0, 1, millis(1_000_000))]);
        check(1e300, None, &[(0, u32::MAX, Ok(())), (i64::MAX, 1, Ok(())), (i64::MIN, 0, Ok(()))]);
    }

    proptest! {
        #[test]
        fn a_wait_that_was_named_is_enough_and_not_too_long(
            rate in 0.001f64..5000.0,
            burst in proptest::option::of(1u32..100),
            steps in proptest::collection::vec((0i64..5000, 0u32..200), 1..40),
        ) {
            let mut bucket = Bucket::new(rate, burst, Timestamp::from_millis(0));
            let mut now = 0;
            for (passed, amount) in steps {
                now += passed;
                let before = bucket;
                if let Err(wait) = bucket.take(Timestamp::from_millis(now), amount) {
                    let wait = wait.as_millis() as i64;
                    let mut early = before;
                    prop_assert!(early.take(Timestamp::from_millis(now + wait - 1), amount).is_err());
                    now += wait;
                    prop_assert_eq!(bucket.take(Timestamp::from_millis(now), amount), Ok(()));
                }
            }
        }
    }

    #[test]
    fn rates_are_checked_and_taken_over() {
        let quota = |rate| Quota { requests_per_second: Some(rate), ..Quota::default() };
        for (rate, good) in [(0.0, false), (0.001, true), (1e6, true), (1e7, false), (-1.0, false), (f64::NAN, false)] {
            assert_eq!(quota(rate).check().is_ok(), good, "{rate}");
        }
        assert!(Quota { burst: Some(0), ..Quota::default() }.check().is_err());
        let both = Quota { memories: Some(5), ..quota(1.0) }.or(Quota { burst: Some(9), ..quota(2.0) });
        assert_eq!((both.requests_per_second, both.burst, both.memories), (Some(1.0), Some(9), Some(5)));
        let now = Timestamp::from_millis(0);
        assert!(both.requests(now).is_some() && both.writes(now).is_none());
    }
}
