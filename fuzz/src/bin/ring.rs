//! Reads the ring of a space's keys.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| memos_memory::doors::ring(bytes));
