//! Work shared among the threads that multiply.

use std::sync::{Mutex, OnceLock, PoisonError};

use candle_core::utils::{barrier_pool, get_num_threads};

/// Returns how many threads multiply. Whoever asks the library has it read what the machine is each time.
pub fn threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(get_num_threads)
}

/// Does each part of some work, side by side where that is worth waking a thread for, and returns the parts.
pub(crate) fn share_out<T: Send>(parts: Vec<T>, is_worth: bool, work: impl Fn(usize, &mut T) + Sync) -> Vec<T> {
    let parts: Vec<Mutex<T>> = parts.into_iter().map(Mutex::new).collect();
    let all = |from: usize, count: usize| {
        for (number, part) in parts.iter().enumerate().skip(from).take(count) {
            work(number, &mut part.lock().unwrap_or_else(PoisonError::into_inner));
        }
    };
    if is_worth && parts.len() > 1 && threads() > 1 {
        barrier_pool().execute_chunked(parts.len(), |mine| all(mine.start, mine.len()));
    } else {
        all(0, parts.len());
    }
    parts.into_iter().map(|part| part.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}
