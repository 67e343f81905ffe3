//! Exponential decay: what heat and weight have in common.

use crate::time::Timestamp;

/// Returns what is left at `now` of an amount of `since`, when half of it goes in `half_life_millis`.
pub(crate) fn decayed(amount: f32, since: Timestamp, now: Timestamp, half_life_millis: u64) -> f32 {
    let age = age_millis(since, now);
    if age == 0 {
        return amount;
    }
    // A half-life of 0 divides by zero: the quotient is infinite, and nothing is left.
    amount * (-(age as f64) / half_life_millis as f64).exp2() as f32
}

/// Returns how long ago `since` was; a clock that was set back makes nothing younger than new.
pub(crate) fn age_millis(since: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.as_millis().saturating_sub(since.as_millis())).unwrap_or(0)
}
