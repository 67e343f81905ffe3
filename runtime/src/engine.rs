//! Where the local model meets memory. Tensors and files are the business of `memos-engine`; this room says in memory's words
//! what came of them.

use memos_engine::ErrorKind as EngineErrorKind;
use memos_memory::error::{Error, ErrorKind};

/// Says a failure of the engine in memory's words, with the failure itself below.
pub(crate) fn memory_error(error: memos_engine::Error) -> Error {
    let kind = match error.kind() {
        EngineErrorKind::Busy => ErrorKind::Busy,
        EngineErrorKind::Cancelled => ErrorKind::Deadline,
        EngineErrorKind::Corrupt => ErrorKind::Corrupt,
        EngineErrorKind::Invalid | EngineErrorKind::Mismatch => ErrorKind::Invalid,
        EngineErrorKind::NotFound => ErrorKind::NotFound,
        // Kinds that come later: nothing is known of them but that the engine did not do it.
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, error.to_string()).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_engine_keeps_its_kind_and_its_words() {
        for (engine, memory) in [
            (EngineErrorKind::Busy, ErrorKind::Busy),
            (EngineErrorKind::Corrupt, ErrorKind::Corrupt),
            (EngineErrorKind::Mismatch, ErrorKind::Invalid),
            (EngineErrorKind::NotFound, ErrorKind::NotFound),
            (EngineErrorKind::Unavailable, ErrorKind::Unavailable),
        ] {
            let error = memory_error(memos_engine::Error::new(engine, "`model` is cut"));
            assert_eq!((error.kind(), error.to_string().as_str()), (memory, "`model` is cut"));
            assert!(std::error::Error::source(&error).is_some());
        }
    }
}
