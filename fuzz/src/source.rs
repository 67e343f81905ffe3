//! Sources, whatever their format: what every one that can be read must keep.

use memos_memory::reader::source::{Format, Part, SourceLimits, read_source};

/// Small bounds, so that inputs of a few kilobytes reach them.
fn limits() -> SourceLimits {
    SourceLimits {
        json_depth: 8,
        json_values: 300,
        turns: 30,
        turn_bytes: 300,
        speaker_chars: 20,
        heading_chars: 30,
        sections: 12,
        paragraphs: 40,
        passage_chars: 60,
        passages: 60,
        ..SourceLimits::default()
    }
}

/// Reads a source with common and with small bounds.
pub fn read(name: &str, bytes: &[u8], format: Option<Format>) {
    for limits in [SourceLimits::default(), limits()] {
        let Ok(source) = read_source(name, bytes, format, &limits) else { continue };
        assert!(!source.parts.is_empty() && format.is_none_or(|format| format == source.format));
        for part in &source.parts {
            check(part, &limits);
        }
    }
}

fn check(part: &Part, limits: &SourceLimits) {
    match part {
        Part::Conversation(conversation) => {
            assert!(!conversation.sessions.is_empty());
            for session in &conversation.sessions {
                assert!(!session.turns.is_empty());
                for turn in &session.turns {
                    assert!(!turn.text.trim().is_empty() || turn.caption.is_some());
                    assert!(turn.text.len() + turn.caption.as_ref().map_or(0, String::len) <= limits.turn_bytes);
                    assert!(turn.speaker.chars().count() <= limits.speaker_chars && !turn.speaker.is_empty());
                }
            }
        }
        Part::Document(document) => {
            assert!(!document.sections.is_empty() && document.sections.len() <= limits.sections);
            for passage in document.passages(limits).into_iter().flatten() {
                assert!(!passage.text.is_empty() && passage.text.chars().count() <= limits.passage_chars);
            }
        }
    }
}
