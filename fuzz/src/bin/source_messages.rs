//! Reads a source as `messages`.
#![no_main]

use memos_memory::reader::source::Format;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| memos_fuzz::source::read("input", bytes, Some(Format::Messages)));
