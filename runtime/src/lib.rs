//! Who moves memory: the kernel, its actors, and the one writer of each space.
//!
//! A [`Kernel`] stands over one folder of spaces. Writes of a space go through one actor, which puts all that wait into
//! one durable step; reads go to worker threads and never wait for it. What a memory is, and how it is kept, ranked and
//! guarded, is the business of `memos-memory`; this crate decides when it is done, and where.
//!
//! ```
//! use memos_memory::cube::{CubeDraft, SemanticType};
//! use memos_memory::governance::Principal;
//! use memos_runtime::Kernel;
//!
//! # fn main() -> memos_memory::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! memos_runtime::block_on(async {
//!     let kernel = Kernel::open(folder.path()).await?;
//!     let space = kernel.space("acme/support").await?;
//!     let ada = space.session(Principal::new("user:ada".parse()?));
//!     ada.remember(CubeDraft::text(SemanticType::Fact, "Bo is allergic to peanuts")).await?;
//!     let answer = ada.ask("What is Bo allergic to?").await?;
//!     assert_eq!(answer.receipts.len(), 1);
//!     kernel.shutdown(std::time::Duration::from_secs(5)).await
//! })
//! # }
//! ```

pub mod actor;
#[cfg(feature = "engine")]
pub mod encoder;
#[cfg(feature = "engine")]
pub mod engine;
pub mod gateway;
mod governance;
mod kernel;
pub mod lifecycle;
mod limits;
pub mod scheduler;
pub mod store;
pub mod telemetry;
mod vault;
mod watched;
mod workers;

pub use actor::measure;
pub use governance::RulesChanged;
pub use kernel::{Kernel, KernelOptions, WeakKernel};
pub use limits::RuntimeLimits;
pub use vault::{Changed, ReadPoint, Session, SpaceHandle};

use memos_memory::error::{Error, Result};

/// Runs a program's work to its end on a pool of threads, one for each core and at least two.
///
/// # Errors
/// `Unavailable` when the threads cannot be started; else what the work returns.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    block_on_threads(cores.max(2), work)
}

/// Runs work to its end on a pool of so many threads.
///
/// # Errors
/// As [`block_on`].
pub fn block_on_threads<T>(threads: usize, work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads.max(1)).enable_time().build();
    runtime
        .map_err(|e| Error::unavailable(format!("the program's threads cannot be started: {e}")).with_source(e))?
        .block_on(work)
}
