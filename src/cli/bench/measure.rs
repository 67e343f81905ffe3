//! What the measures share: a space of their own, percentiles, and memory in use.

use std::path::Path;

use memos::Result;
use memos::governance::Principal;
use memos::vault::{Space, Vault, VaultOptions};

/// Returns whoever measures.
pub(super) fn principal() -> Result<Principal> {
    Ok(Principal::new("user:bench".parse()?))
}

/// Opens the space that is measured in `folder`.
pub(super) fn space(folder: &Path) -> Result<Space> {
    Vault::open(folder, VaultOptions::builtin()?)?.space(&"bench/measure".parse()?)
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
}
