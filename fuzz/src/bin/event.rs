//! Reads an event of the ledger.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| memos_memory::doors::event(bytes));
