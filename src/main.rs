//! The `memos` program: memory from the command line.

mod cli;

use std::backtrace::Backtrace;
use std::panic::{catch_unwind, set_hook};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

/// What the last panic said.
static PANIC: Mutex<String> = Mutex::new(String::new());
/// What the shell is told of a panic.
const PANICKED: u8 = 101;

fn main() -> ExitCode {
    // On a damaged page the store's library panics, which is caught and becomes an error like any other. What a panic says is
    // said only where nobody caught it, or standard error would not be the one object that programs are promised.
    set_hook(Box::new(|panic| {
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = format!("{panic}\n{}", Backtrace::capture());
    }));
    catch_unwind(|| cli::run(std::env::args_os())).unwrap_or_else(|_| {
        eprintln!("{}", PANIC.lock().unwrap_or_else(PoisonError::into_inner));
        ExitCode::from(PANICKED)
    })
}

/// A recall makes many small, short-lived lists. This allocator makes it a tenth faster than the system's, at the price of a
/// quarter more memory in use.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
