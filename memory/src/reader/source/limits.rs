//! What an input may hold at most, so that no file can take more memory or time than its size warrants.

/// Bounds on one input. Each is checked before the work it bounds; what breaks one is an error, never a silent cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLimits {
    /// Size of the file. Bytes; 64 MiB.
    pub file_bytes: usize,
    /// How deep arrays and objects of a JSON file lie in each other; 64. Above 127 the parser's own bound holds.
    pub json_depth: usize,
    /// Values, keys and containers in a JSON file, each of which costs far more memory than its bytes; 4,000,000.
    pub json_values: usize,
    /// Turns in all conversations of a file; 200,000.
    pub turns: usize,
    /// Text and caption of one turn. Bytes; 64 KiB.
    pub turn_bytes: usize,
    /// A speaker's name, and a turn's own id. Characters; 128.
    pub speaker_chars: usize,
    /// A heading. Characters; 256. A longer one is read as a paragraph, a longer name of a session or title is cut.
    pub heading_chars: usize,
    /// Sections of a document; 100,000.
    pub sections: usize,
    /// Paragraphs of a document; 500,000.
    pub paragraphs: usize,
    /// One passage of a document. Characters; 1,000.
    pub passage_chars: usize,
    /// Passages of a document; 200,000.
    pub passages: usize,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self {
            file_bytes: 64 * 1024 * 1024,
            json_depth: 64,
            json_values: 4_000_000,
            turns: 200_000,
            turn_bytes: 64 * 1024,
            speaker_chars: 128,
            heading_chars: 256,
            sections: 100_000,
            paragraphs: 500_000,
            passage_chars: 1_000,
            passages: 200_000,
        }
    }
}
