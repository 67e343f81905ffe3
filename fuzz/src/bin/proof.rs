//! Checks proofs, and reads signed heads. Nobody signs but a space.
#![no_main]

use memos_memory::ledger::{SignedHead, Trust};
use memos_memory::vault::check_proof;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = memos_fuzz::text(bytes);
    if let Ok(checked) = check_proof(&text, Trust::default()) {
        assert!(checked.index < checked.head.events && checked.event.sequence == checked.index);
    }
    if let Ok(head) = SignedHead::parse(&text) {
        let written = head.to_json().expect("a signed head is written");
        assert_eq!(SignedHead::parse(&written).ok(), Some(head));
    }
});
