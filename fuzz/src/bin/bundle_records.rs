//! Reads cubes and links as they stand in a bundle, one in a line, and writes a bundle of those that can be read. It is read
//! again as the same.
#![no_main]

use memos_fuzz::exchange::{bundle_limits, heading};
use memos_memory::exchange::bundle::{BundleCube, BundleLink, BundleWriter, read_bundle};
use memos_memory::exchange::import::Incoming;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut written = Vec::new();
    let mut writer = BundleWriter::new(&mut written, bundle_limits());
    let (mut cubes, mut links) = (Vec::new(), 0);
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(cube) = serde_json::from_slice::<BundleCube>(line) {
            // Payloads that are not text have their own target.
            if cube.text.is_some() && writer.cube(&cube).is_ok() {
                cubes.push(cube);
            }
        } else if let Ok(link) = serde_json::from_slice::<BundleLink>(line) {
            links += usize::from(writer.link(link.link()).is_ok());
        }
    }
    writer.finish(heading(), None).expect("a bundle of what was taken is finished");
    let bundle = read_bundle(written.as_slice(), &bundle_limits()).expect("what was written is read");
    assert!(bundle.cubes == cubes && bundle.links.len() == links);
    assert!(Incoming::of_bundle(bundle).is_ok_and(|(incoming, _)| incoming.len() == cubes.len()));
});
