//! Reads ids, digests, names and times from text. What is read is written so that it is read again as the same.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use memos_memory::cube::{CubeId, Digest, GroupName, Layer, PrincipalId, SemanticType, SpaceName, State};
use memos_memory::embed::EmbedderId;
use memos_memory::exchange::foreign::System;
use memos_memory::keys::MasterKey;
use memos_memory::ledger::SpaceKey;
use memos_memory::reader::source::Format;
use memos_memory::time::Timestamp;
use memos_memory::vault::Point;

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
    again::<Layer>(&text);
    again::<State>(&text);
    again::<SemanticType>(&text);
    again::<Format>(&text);
    again::<System>(&text);
    again::<SpaceKey>(&text);
    if let Ok(key) = MasterKey::parse(&text) {
        assert_eq!(MasterKey::parse(&key.to_hex()).ok().map(|again| again.id()), Some(key.id()));
    }
    if let Ok(Point::Events(events)) = text.parse() {
        assert_eq!(Point::Events(events).to_string().parse().ok(), Some(Point::Events(events)));
    }
    // A time is written to the second.
    if let Ok(at) = text.parse::<Timestamp>() {
        let second = at.to_string().parse::<Timestamp>().expect("a time is written as it is read");
        assert!((at.as_millis() - second.as_millis()).abs() < 1000, "{at:?} {second:?}");
    }
});
