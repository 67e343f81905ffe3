//! Finds what is sensitive in a text, and redacts it.
#![no_main]

use memos_memory::governance::sensitivity::{find_sensitive, redact};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = memos_fuzz::text(bytes);
    let spans = find_sensitive(&text);
    memos_fuzz::check_ranges(&text, spans.iter().map(|span| &span.range));
    let redacted = redact(&text, &spans);
    assert_eq!(redacted == text, spans.is_empty(), "{redacted:?}");
    // Spans of another text show nothing that they should hide, and do no harm.
    redact(text.get(..text.floor_char_boundary(text.len() / 2)).unwrap_or_default(), &spans);
});
