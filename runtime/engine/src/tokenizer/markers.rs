//! The tokens that were added to a vocabulary, found in text by what they are written like.
//!
//! It must never know whose text it looks at.

use std::collections::HashMap;

use tokenizers::AddedToken;

/// Finds added tokens at the start of a text.
pub(super) struct Markers {
    /// By the first byte, the longest first.
    by_first: HashMap<u8, Vec<(String, Marker)>>,
}

/// An added token as it stands in a text.
#[derive(Clone, Copy)]
pub(super) struct Marker {
    pub(super) id: u32,
    /// How many bytes it has.
    pub(super) len: usize,
    /// Whether the white space before it belongs to it.
    pub(super) takes_before: bool,
    /// Whether the white space behind it belongs to it.
    pub(super) takes_behind: bool,
}

impl Markers {
    pub(super) fn of(added: impl IntoIterator<Item = (u32, AddedToken)>) -> Self {
        let mut by_first: HashMap<u8, Vec<(String, Marker)>> = HashMap::new();
        for (id, token) in added {
            let Some(first) = token.content.bytes().next() else { continue };
            let len = token.content.len();
            let marker = Marker { id, len, takes_before: token.lstrip, takes_behind: token.rstrip };
            by_first.entry(first).or_default().push((token.content, marker));
        }
        for tokens in by_first.values_mut() {
            tokens.sort_by(|(one, _), (other, _)| other.len().cmp(&one.len()).then(one.cmp(other)));
        }
        Self { by_first }
    }

    /// Returns the longest added token that a text begins with.
    pub(super) fn at_start_of(&self, text: &str) -> Option<Marker> {
        let tokens = self.by_first.get(text.as_bytes().first()?)?;
        tokens.iter().find(|(content, _)| text.starts_with(content.as_str())).map(|(_, marker)| *marker)
    }
}
