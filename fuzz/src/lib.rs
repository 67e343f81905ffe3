//! What the fuzz targets have in common.
//!
//! A target is one file in `src/bin`; `fuzz/run` finds it by itself. It gets bytes, and panics where a promise is broken.

pub mod exchange;
pub mod source;

use std::ops::Range;

/// Returns the bytes as text, as a reader of files would.
pub fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Checks that ranges lie in the text, in order and apart, with whole characters in them.
pub fn check_ranges<'a>(text: &str, ranges: impl Iterator<Item = &'a Range<usize>>) {
    let mut end = 0;
    for range in ranges {
        assert!(range.start >= end && range.start < range.end, "{range:?} behind {end}");
        assert!(text.get(range.clone()).is_some(), "{range:?} is not in the text");
        end = range.end;
    }
}
