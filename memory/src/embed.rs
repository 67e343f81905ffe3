//! Turning text into vectors: the contract every embedder keeps, and the one that ships inside the program.
//!
//! Recall compares vectors, so vectors of two embedders must never meet in one index. That is why an embedder has an
//! [`EmbedderId`] that names its exact weights: a space records it and refuses to mix. The [`builtin`] embedder needs no
//! server, no key and no download; it is a table of word pieces, so a text costs microseconds.
//!
//! This room must never know what a cube or a space is: it sees text and gives back numbers.

#[doc(hidden)]
pub mod asset;
mod builtin;
mod wordpiece;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub use builtin::{BuiltinEmbedder, MAX_EMBEDDED_BYTES, Piece, builtin};
pub use wordpiece::WordPiece;

/// The most bytes an [`EmbedderId`] may have.
pub const MAX_EMBEDDER_ID_BYTES: usize = 128;

/// Turns text into a vector of fixed length.
pub trait Embedder: Send + Sync {
    /// Names the embedder and its exact weights, such as `builtin-1:3f9a0c51d2e47b86`.
    fn id(&self) -> &EmbedderId;

    /// Returns the length of every vector this embedder makes.
    fn dimensions(&self) -> usize;

    /// Embeds one text into a unit vector, or into all zeros when nothing in it is known.
    ///
    /// # Errors
    ///
    /// An embedder that has to ask someone else fails with `Unavailable` when it gets no answer.
    fn embed(&self, text: &str) -> Result<Vec<f32>>;

    /// Embeds a question. `rarity` tells how rare a word piece is among the memories that are asked.
    ///
    /// # Errors
    ///
    /// Fails as [`Embedder::embed`] does.
    fn embed_question(&self, question: &str, rarity: &dyn Fn(Piece) -> f32) -> Result<Vec<f32>> {
        // An encoder that reads whole sentences weighs their words itself.
        let _ = rarity;
        self.embed(question)
    }

    /// Embeds several texts, in their order.
    ///
    /// # Errors
    ///
    /// Fails as [`Embedder::embed`] does, and then returns no vector at all.
    fn embed_batch(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        texts.iter().map(|text| self.embed(text)).collect()
    }
}

/// The name of an embedder and its exact weights; vectors may be compared only where this is the same.
///
/// # Limits
///
/// 1 to [`MAX_EMBEDDER_ID_BYTES`] bytes: ASCII letters and digits, and `.`, `_`, `-`, `:`, `/`, `@` and `+`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmbedderId(String);

impl EmbedderId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EmbedderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EmbedderId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::invalid("the embedder id is empty, name the embedder and its weights"));
        }
        if text.len() > MAX_EMBEDDER_ID_BYTES {
            let length = text.len();
            return Err(Error::invalid(format!(
                "the embedder id has {length} bytes, use at most {MAX_EMBEDDER_ID_BYTES}"
            )));
        }
        let allowed = |character: char| character.is_ascii_alphanumeric() || "._-:/@+".contains(character);
        if !text.chars().all(allowed) {
            return Err(Error::invalid(format!(
                "the embedder id `{}` has characters that are not allowed, use letters, digits and ._-:/@+",
                text.escape_debug()
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for EmbedderId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<EmbedderId> for String {
    fn from(id: EmbedderId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedder_id_is_checked_and_survives_serialization() {
        fn check(input: &str, expect: std::result::Result<(), &str>) {
            let parsed = input.parse::<EmbedderId>();
            match expect {
                Ok(()) => {
                    let id = parsed.unwrap();
                    assert_eq!(id.to_string(), input);
                    let json = serde_json::to_string(&id).unwrap();
                    assert_eq!(serde_json::from_str::<EmbedderId>(&json).unwrap(), id);
                }
                Err(part) => {
                    let message = parsed.unwrap_err().to_string();
                    assert!(message.contains(part), "`{message}` does not contain `{part}`");
                    let json = serde_json::to_string(input).unwrap();
                    assert!(serde_json::from_str::<EmbedderId>(&json).is_err());
                }
            }
        }
        check("builtin-1:3f9a0c51d2e47b86", Ok(()));
        check("http/localhost:8080/nomic_v1.5@rev+1", Ok(()));
        check(&"x".repeat(MAX_EMBEDDER_ID_BYTES), Ok(()));
        check("", Err("is empty"));
        check(&"x".repeat(MAX_EMBEDDER_ID_BYTES + 1), Err("129 bytes"));
        check("two words", Err("`two words`"));
        check("line\n", Err("`line\\n`"));
        check("été", Err("not allowed"));
    }

    #[test]
    fn a_batch_gives_the_vectors_of_its_texts_in_order() {
        let embedder = builtin().unwrap();
        let texts = ["Bo is allergic to peanuts", "", "the train leaves at nine"];
        let batch = embedder.embed_batch(&texts).unwrap();
        let single: Vec<_> = texts.iter().map(|text| embedder.embed(text).unwrap()).collect();
        assert_eq!(batch, single);
        assert!(batch.iter().all(|vector| vector.len() == embedder.dimensions()));
    }
}
