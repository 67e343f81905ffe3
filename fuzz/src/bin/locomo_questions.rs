//! Reads the questions of a LoCoMo file.
#![no_main]

use memos_memory::reader::source::read_locomo_questions;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(read_locomo_questions(bytes)));
