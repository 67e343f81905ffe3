//! Reads ids, digests, names and times from text. What is read is written so that it is read again as the same.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use memos_memory::cube::{CubeId, Digest, GroupName, PrincipalId, SpaceName};
use memos_memory::embed::EmbedderId;
use memos_memory::time::Timestamp;

fn again<T: FromStr<Err = memos_memory::Error> + Display + Debug + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse::<T>().ok(), Some(value));
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = memos_fuzz::text(bytes);
    again::<CubeId>(&text);
    again::<Digest>(&text);
    again::<SpaceName>(&text);
    again::<GroupName>(&text);
    again::<PrincipalId>(&text);
    again::<EmbedderId>(&text);
    // A time is written to the second.
    if let Ok(at) = text.parse::<Timestamp>() {
        let second = at.to_string().parse::<Timestamp>().expect("a time is written as it is read");
        assert!((at.as_millis() - second.as_millis()).abs() < 1000, "{at:?} {second:?}");
    }
});
