//! Reads a bundle. What can be read can be taken in.
#![no_main]

use memos_fuzz::exchange::bundle_limits;
use memos_memory::exchange::bundle::read_bundle;
use memos_memory::exchange::import::Incoming;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(bundle) = read_bundle(bytes, &bundle_limits()) else { return };
    assert_eq!(bundle.bytes, bytes.len() as u64);
    assert!(bundle.cubes.iter().all(|cube| bundle.payload(cube).is_ok()));
    let cubes = bundle.cubes.len();
    assert!(Incoming::of_bundle(bundle).is_ok_and(|(incoming, _)| incoming.len() == cubes));
});
