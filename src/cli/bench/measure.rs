//! What the measures share: a space of their own, percentiles, and memory in use.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use memos::Result;
use memos::cube::SpaceName;
use memos::embed::Embedder;
use memos::governance::Principal;
use memos::operator::{MemoryCall, recall};
use memos::reader::read_question;
use memos::vault::{Space, Vault, VaultOptions};

/// Returns whoever measures.
pub(super) fn principal() -> Result<Principal> {
    Ok(Principal::new("user:bench".parse()?))
}

/// Returns the name of the space that is measured.
pub(super) fn space_name() -> Result<SpaceName> {
    "bench/measure".parse()
}

/// Opens the space that is measured in `folder`.
pub(super) fn space(folder: &Path) -> Result<Space> {
    Vault::open(folder, VaultOptions::builtin()?)?.space(&space_name()?)
}

/// Opens the space that is measured in `folder`, with an embedder of its own.
pub(super) fn space_with(folder: &Path, embedder: &Arc<dyn Embedder>) -> Result<Space> {
    Vault::open(folder, VaultOptions { embedder: embedder.clone(), ..VaultOptions::builtin()? })?.space(&space_name()?)
}

/// Makes a folder that goes away with its handle.
pub(super) fn folder() -> Result<tempfile::TempDir> {
    tempfile::tempdir()
        .map_err(|e| memos::Error::unavailable(format!("no temporary folder can be made: {e}")).with_source(e))
}

/// Returns the value below which `share` of the values lie. The values need no order.
pub(super) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(0.0)
}

/// Returns the value in the middle.
pub(super) fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// How often something took how long, told apart to a hundredth, so that a run of hours takes no more memory than one of
/// seconds.
#[derive(Debug, Default, Clone)]
pub(super) struct Times(BTreeMap<i32, u64>);

impl Times {
    const STEP: f64 = 1.01;

    /// Counts one time, in milliseconds.
    pub(super) fn record(&mut self, milliseconds: f64) {
        let step = milliseconds.max(1e-6).log(Self::STEP).round() as i32;
        *self.0.entry(step).or_default() += 1;
    }

    /// Returns how many were counted.
    pub(super) fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// Returns these and others.
    pub(super) fn and(&self, others: &Self) -> Self {
        let mut both = self.clone();
        others.0.iter().for_each(|(step, count)| *both.0.entry(*step).or_default() += count);
        both
    }

    /// Returns the time below which `share` of all lie, in milliseconds.
    pub(super) fn percentile(&self, share: f64) -> f64 {
        let wanted = (self.count().saturating_sub(1) as f64 * share).round() as u64;
        let mut below = 0;
        let reached = self.0.iter().find(|(_, count)| {
            below += **count;
            below > wanted
        });
        reached.map_or(0.0, |(step, _)| Self::STEP.powi(*step))
    }
}

/// Returns what the work gives, and how many milliseconds it took.
pub(super) fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let started = Instant::now();
    let done = work()?;
    Ok((done, started.elapsed().as_secs_f64() * 1000.0))
}

/// Asks one question, and returns the milliseconds until it is answered.
pub(super) fn ask(space: &Space, me: &Principal, question: &str) -> Result<f64> {
    let call = MemoryCall::new(me.clone(), question, space.now());
    let ((), took) = timed(|| recall(&[space], &read_question(&[space], call)?).map(drop))?;
    Ok(took)
}

/// Does two things one after the other, the second one first in every other round, so that neither has the warmer caches.
pub(super) fn in_turns<T>(
    round: u32,
    first: impl FnOnce() -> Result<T>,
    second: impl FnOnce() -> Result<T>,
) -> Result<(T, T)> {
    if round.is_multiple_of(2) {
        let first = first()?;
        return Ok((first, second()?));
    }
    let second = second()?;
    Ok((first()?, second))
}

/// Rounds to three digits behind the point, as finer ones are noise.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Returns the memory that the process has in use, in megabytes, where the system tells.
pub(super) fn resident_megabytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kilobytes / 1024.0).round())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_from_sorted_values() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!((percentile(&values, 0.0), percentile(&values, 0.5), percentile(&values, 1.0)), (1.0, 3.0, 5.0));
        assert_eq!(percentile(&[], 0.5), 0.0);
    }

    #[test]
    fn counted_times_have_the_percentiles_of_the_times() {
        let values: Vec<f64> = (1..=1000).map(|value| f64::from(value) * 0.037).collect();
        let (mut low, mut high) = (Times::default(), Times::default());
        values.iter().for_each(|value| if *value < 9.0 { low.record(*value) } else { high.record(*value) });
        let times = low.and(&high);
        assert_eq!(times.count(), 1000);
        for share in [0.0, 0.5, 0.99, 1.0] {
            let (counted, exact) = (times.percentile(share), percentile(&values, share));
            assert!((counted / exact - 1.0).abs() < 0.006, "{counted} for {exact}");
        }
        assert_eq!(Times::default().percentile(0.5), 0.0);
    }
}
