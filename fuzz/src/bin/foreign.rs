//! Reads what other systems export: as the system that the first byte names, or as what it seems to be.
#![no_main]

use memos_memory::exchange::foreign::{ForeignLimits, System, read_foreign};
use memos_memory::time::Timestamp;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, file)) = bytes.split_first() else { return };
    let system = System::ALL.get(usize::from(*first) % (System::ALL.len() + 1)).copied();
    let small = ForeignLimits { bytes: 4096, values: 200, memories: 8, ..ForeignLimits::default() };
    for limits in [ForeignLimits::default(), small] {
        let Ok(read) = read_foreign(file, system, Timestamp::from_millis(0), &limits) else { continue };
        assert!(system.is_none_or(|system| system == read.system));
        assert!(read.cubes.len() + read.links.len() <= limits.memories.max(1));
        for cube in &read.cubes {
            cube.adoption.check(&limits.space).expect("what is read from another system can be taken in");
        }
    }
});
