//! Reads a question, and the times and sentences of a text.
#![no_main]

use memos_memory::governance::Principal;
use memos_memory::operator::MemoryCall;
use memos_memory::reader::sentences::sentence_ranges;
use memos_memory::reader::{read_question, temporal::find_times};
use memos_memory::time::Timestamp;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The first bytes say when it is asked.
    let Some((at, rest)) = bytes.split_first_chunk::<6>() else { return };
    let mut millis = [0; 8];
    millis[..6].copy_from_slice(at);
    let now = Timestamp::from_millis(i64::from_le_bytes(millis) << 3);
    let text = memos_fuzz::text(rest);
    let mentions = find_times(&text, now.to_civil());
    memos_fuzz::check_ranges(&text, mentions.iter().map(|mention| &mention.range));
    for mention in &mentions {
        let window = mention.window;
        assert!(!window.is_always() && window.from.zip(window.until).is_none_or(|(from, until)| from < until));
    }
    let ranges: Vec<_> = sentence_ranges(&text).collect();
    memos_fuzz::check_ranges(&text, ranges.iter());
    let caller = Principal::new("user:ada".parse().unwrap());
    if let Ok(call) = read_question(&[], MemoryCall::new(caller, text, now)) {
        assert_eq!(call.times.len(), mentions.len());
    }
});
