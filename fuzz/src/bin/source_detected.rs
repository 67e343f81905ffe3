//! Reads a source whose format is found. The first byte chooses the file's ending.
#![no_main]

const NAMES: &[&str] = &["input", "a.json", "a.jsonl", "a.md", "a.txt", "../a.json.gz", "chat.log", ".md"];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    memos_fuzz::source::read(NAMES[usize::from(*first) % NAMES.len()], rest, None);
});
