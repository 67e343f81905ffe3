//! Doors for the fuzzer into rooms that read bytes and that nobody else may enter. They are there with `--cfg fuzzing` alone.

use crate::ledger;
use crate::vault;

/// Reads an event; what can be read can be written, and is the same then.
pub fn event(bytes: &[u8]) {
    ledger::fuzz_event(bytes);
}

/// Reads what stands behind a snapshot's digest.
pub fn snapshot(body: &[u8], dimensions: usize) {
    vault::fuzz_snapshot(body, dimensions);
}
