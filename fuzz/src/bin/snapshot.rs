//! Reads a snapshot, behind its digest.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| memos_memory::doors::snapshot(bytes, 4));
