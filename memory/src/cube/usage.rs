//! How a cube is used: counts beside the header, because usage never rewrites a cube.

use serde::Serialize;

use super::header::coded_enum;
use crate::lifecycle::decayed;
use crate::time::Timestamp;

/// The time in which heat falls to half: one week.
const HEAT_HALF_LIFE_MILLIS: u64 = 7 * 24 * 3600 * 1000;

coded_enum! {
    /// What a use of a memory was.
    UseSignal, "use signal" {
        /// It was part of an answer.
        Read = 0 "read",
        /// Whoever used it said that it helped.
        Helpful = 1 "helpful",
        /// Whoever used it said that it did not help.
        Unhelpful = 2 "unhelpful",
    }
}

/// Usage indicators of one cube.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Usage {
    /// Answers it was part of.
    pub reads: u32,
    /// When it was last part of an answer.
    pub last_read: Option<Timestamp>,
    /// Times it was called helpful.
    pub helpful: u32,
    /// Times it was called unhelpful.
    pub unhelpful: u32,
    /// Reads that decay exponentially, as of `heat_at`. Ask [`Usage::heat`] for the value at a time.
    heat: f32,
    heat_at: Timestamp,
}

impl Usage {
    /// Counts one use.
    pub fn record(&mut self, signal: UseSignal, at: Timestamp) {
        match signal {
            UseSignal::Read => {
                self.heat = self.heat(at) + 1.0;
                self.heat_at = at;
                self.reads = self.reads.saturating_add(1);
                self.last_read = Some(at);
            }
            UseSignal::Helpful => self.helpful = self.helpful.saturating_add(1),
            UseSignal::Unhelpful => self.unhelpful = self.unhelpful.saturating_add(1),
        }
    }

    /// Returns the exponentially decaying count of reads as of `at`.
    pub fn heat(&self, at: Timestamp) -> f32 {
        decayed(self.heat, self.heat_at, at, HEAT_HALF_LIFE_MILLIS)
    }

    /// Returns how many reads there will be within a time if it goes on as it did: the rate that keeps heat where it is.
    pub fn expected_reads(&self, at: Timestamp, within_millis: u64) -> f32 {
        let half_lives = within_millis as f64 / HEAT_HALF_LIFE_MILLIS as f64;
        self.heat(at) * (std::f64::consts::LN_2 * half_lives) as f32
    }

    /// Returns the parts that [`Usage::from_parts`] takes, for a snapshot.
    pub(crate) fn heat_parts(&self) -> (f32, Timestamp) {
        (self.heat, self.heat_at)
    }

    /// Makes usage from its stored parts.
    pub(crate) fn from_parts(counts: (u32, u32, u32), last_read: Option<Timestamp>, heat: (f32, Timestamp)) -> Self {
        let ((reads, helpful, unhelpful), (heat, heat_at)) = (counts, heat);
        Self { reads, last_read, helpful, unhelpful, heat, heat_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_halves_in_a_week() {
        let week = HEAT_HALF_LIFE_MILLIS as i64;
        let mut usage = Usage::default();
        usage.record(UseSignal::Read, Timestamp::from_millis(0));
        usage.record(UseSignal::Read, Timestamp::from_millis(week));
        assert!((usage.heat(Timestamp::from_millis(week)) - 1.5).abs() < 1e-6);
        assert!((usage.heat(Timestamp::from_millis(3 * week)) - 0.375).abs() < 1e-6);
        assert_eq!((usage.reads, usage.last_read), (2, Some(Timestamp::from_millis(week))));
    }

    #[test]
    fn reads_are_expected_at_the_rate_at_which_they_came() {
        let (hour, day) = (3_600_000, 24 * 3_600_000);
        let mut usage = Usage::default();
        // Six reads a day for ten weeks.
        (0..10 * 7 * 6).for_each(|read| usage.record(UseSignal::Read, Timestamp::from_millis(read * 4 * hour)));
        let end = Timestamp::from_millis(10 * 7 * day);
        assert!((usage.expected_reads(end, day as u64) - 6.0).abs() < 0.1);
        assert_eq!(usage.expected_reads(end, 0), 0.0);
    }
}
