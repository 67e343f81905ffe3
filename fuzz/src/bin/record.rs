//! Reads the row of a record.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| memos_memory::doors::record(bytes));
