//! How fast the engine is, measured on a model of chance, and how well an adapter is taught, measured on the one that ships:
//! `memos bench inject`, `decode` and `adapter` say it.
//!
//! What is compared is measured in turns, round by round, and the median is told: a machine that others use is not the same
//! from one second to the next.

mod answering;
mod injecting;
mod taught;

use std::time::Instant;

use candle_core::Tensor;

use crate::error::Result;

pub use answering::{Alone, Answering, Together, alone, together};
pub use injecting::{Cell, Injecting, injecting};
pub use taught::{Taught, taught};

pub use crate::threads::threads;

/// Returns what something gave, and the milliseconds it took.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let started = Instant::now();
    let made = work()?;
    Ok((made, started.elapsed().as_secs_f64() * 1000.0))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Rounds to three digits behind the point.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn likeliest(logits: &Tensor) -> Result<u32> {
    Ok(logits.get(0)?.argmax(0)?.to_scalar()?)
}
