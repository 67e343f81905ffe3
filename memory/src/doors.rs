//! Doors for the fuzzer into rooms that read bytes and that nobody else may enter. They are there with `--cfg fuzzing` alone.

use crate::cube::{CubeDraft, CubeId, SemanticType};
use crate::embed::EmbedderId;
use crate::keys;
use crate::ledger;
use crate::time::Timestamp;
use crate::vault;

/// Reads an event; what can be read can be written, and is the same then.
pub fn event(bytes: &[u8]) {
    ledger::fuzz_event(bytes);
}

/// Reads what stands behind a snapshot's digest.
pub fn snapshot(body: &[u8], dimensions: usize) {
    vault::fuzz_snapshot(body, dimensions);
}

/// Reads the ring of a space's keys, as a file and as what is sealed in one.
pub fn ring(bytes: &[u8]) {
    keys::fuzz_ring(bytes);
}

/// Reads the row of a record.
pub fn record(bytes: &[u8]) {
    let (id, at) = (CubeId::from_bytes([1; 16]), Timestamp::from_millis(0));
    let (Ok(owner), Ok(embedder)) = ("user:ada".parse(), "none:0".parse::<EmbedderId>()) else { return };
    let (mut header, _) = CubeDraft::text(SemanticType::Fact, "").into_first(id, &owner, at, &embedder);
    ledger::fuzz_record(bytes, &mut header);
}
