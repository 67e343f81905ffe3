//! How fast the local model is on this machine, on weights of chance, and how well the one that ships is taught.

use std::path::Path;

use memos_engine::measure;
pub use memos_engine::measure::{Alone, Answering, Cell, Injecting, Taught, Together};
use memos_engine::train::{AdapterPlan, AdapterReport, AdapterShape};
use memos_memory::error::Result;

use super::memory_error;

/// Measures the first token behind memories injected from their files, against reading them, in a folder.
///
/// # Errors
/// `Invalid` for lengths that the model does not have; `Unavailable` where the folder cannot be written.
pub fn injecting(folder: &Path, memories: &[usize], questions: &[usize], rounds: usize) -> Result<Injecting> {
    measure::injecting(folder, memories, questions, rounds).map_err(memory_error)
}

/// Measures reading and saying tokens for one request, on weights in F32 or quantized.
///
/// # Errors
/// `Invalid` for more tokens than the model has positions.
pub fn alone(is_quantized: bool, prefill: usize, decode: usize, rounds: usize) -> Result<Alone> {
    measure::alone(is_quantized, prefill, decode, rounds).map_err(memory_error)
}

/// Measures eight requests with four adapters and three segments, together and one after another.
///
/// # Errors
/// `Invalid` for more tokens than the model has positions.
pub fn together(tokens: usize, rounds: usize) -> Result<Together> {
    measure::together(tokens, rounds).map_err(memory_error)
}

/// Teaches facts by chance to an adapter of the model that ships, as an engine does, and examines it with so many questions of
/// each kind. It is told how far the teaching is.
///
/// # Errors
/// `Invalid` for no facts or too many.
pub fn taught(facts: usize, questions: usize, seed: u64, mut tell: impl FnMut(&AdapterReport)) -> Result<Taught> {
    let plan = AdapterPlan { seed, ..AdapterPlan::default() };
    let tell = |report: &AdapterReport| {
        tell(report);
        Ok(true)
    };
    measure::taught(facts, questions, &plan, &AdapterShape::default(), tell).map_err(memory_error)
}

/// Returns how many threads multiply.
pub fn threads() -> usize {
    measure::threads()
}
