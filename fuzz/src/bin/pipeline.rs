//! Reads pipelines.
#![no_main]

use memos_memory::pipeline::Pipeline;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = memos_fuzz::text(bytes);
    if let Ok(pipeline) = Pipeline::from_toml(&text) {
        assert!(!pipeline.steps().is_empty() && !pipeline.name().is_empty());
    }
});
