//! The embedder inside the program: a text is the normalised mean of its word pieces' weighted vectors.
//!
//! The vectors come from a sentence encoder that saw each piece alone, so words that mean nearly the same are close, but
//! the order of words is lost. That is enough to find candidates, which the graph and the words themselves then rank, and
//! it costs microseconds where the encoder costs milliseconds. `memory/assets/README.md` says how the vectors were made.
//!
//! Sums are taken in one fixed order, so a text has the same vector on every machine.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use crate::embed::asset::Asset;
use crate::embed::{Embedder, EmbedderId, WordPiece};
use crate::error::{Error, Result};
use crate::kernel::dot_rows;

/// Only so many bytes at the start of a text count; the rest is cut off, at the end of a character.
///
/// A longer text has a vector that says next to nothing, as everything is in it; texts are to be split before.
pub const MAX_EMBEDDED_BYTES: usize = 64 * 1024;

static WEIGHTS: &[u8] = include_bytes!("../../assets/embedder.bin");

/// Names how vectors are made from the weights. It changes when the same weights would give other vectors.
const NAME: &str = "builtin-1";

/// Independent sums let the processor work on several at a time, and still in a fixed order.
const LANES: usize = 8;

/// Returns the built-in embedder, which the whole process shares.
///
/// # Errors
///
/// `Corrupt` when the weights in the program are damaged.
pub fn builtin() -> Result<Arc<BuiltinEmbedder>> {
    static SHARED: OnceLock<Arc<BuiltinEmbedder>> = OnceLock::new();
    if let Some(shared) = SHARED.get() {
        return Ok(Arc::clone(shared));
    }
    let loaded = Arc::new(BuiltinEmbedder::load()?);
    Ok(Arc::clone(SHARED.get_or_init(|| loaded)))
}

/// A word piece of the built-in vocabulary.
pub type Piece = u16;

/// Embeds with a table of word pieces and their vectors.
#[derive(Debug)]
pub struct BuiltinEmbedder {
    id: EmbedderId,
    asset: Asset,
    word_piece: WordPiece,
    /// One over the length of each piece's row of steps; 0 for a row of zeros.
    inverse_lengths: Vec<f32>,
}

impl BuiltinEmbedder {
    /// Loads the weights that ship in the program.
    ///
    /// # Errors
    ///
    /// `Corrupt` when they are damaged.
    pub fn load() -> Result<Self> {
        Self::from_bytes(WEIGHTS)
    }

    /// Loads weights that `cargo xtask distill` has made.
    ///
    /// # Errors
    ///
    /// `Corrupt` when they are not as they were written.
    pub fn from_bytes(weights: impl Into<Cow<'static, [u8]>>) -> Result<Self> {
        let asset = Asset::open(weights.into())?;
        let word_piece = WordPiece::new(asset.vocabulary()?)
            .map_err(|error| Error::corrupt(format!("the weights of the built-in embedder are damaged, {error}")))?;
        if asset.pieces() > usize::from(Piece::MAX) + 1 {
            return Err(Error::corrupt("the weights of the built-in embedder are damaged, they have too many pieces"));
        }
        let id = format!("{NAME}:{}", asset.short_digest()).parse()?;
        let inverse_lengths = asset.rows().chunks_exact(asset.dimensions()).map(inverse_length).collect();
        Ok(Self { id, asset, word_piece, inverse_lengths })
    }

    /// Returns the pieces of a text that say something, each once, in order. Stop words and marks say nothing.
    ///
    /// # Limits
    ///
    /// What lies behind the first [`MAX_EMBEDDED_BYTES`] is ignored.
    pub fn pieces(&self, text: &str) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = self.speaking_pieces(text).collect();
        pieces.sort_unstable();
        pieces.dedup();
        pieces
    }

    /// Writes the cosine between a piece's vector and each of the others'.
    pub fn similarities(&self, piece: Piece, others: &[u32], out: &mut Vec<f32>) {
        let Some((row, _)) = self.asset.row(u32::from(piece)) else { return out.clear() };
        let mut products = Vec::with_capacity(others.len());
        dot_rows(self.asset.rows(), row, others, &mut products);
        let inverse = |piece: usize| self.inverse_lengths.get(piece).copied().unwrap_or(0.0);
        let own = inverse(usize::from(piece));
        out.clear();
        out.extend(
            products.iter().zip(others).map(|(&product, &other)| product as f32 * own * inverse(other as usize)),
        );
    }

    fn speaking_pieces(&self, text: &str) -> impl Iterator<Item = Piece> {
        let (text, _) = text.split_at(text.floor_char_boundary(MAX_EMBEDDED_BYTES));
        let speaks =
            |piece: &Piece| self.inverse_lengths.get(usize::from(*piece)).is_some_and(|inverse| *inverse > 0.0);
        self.word_piece.split(text).into_iter().filter_map(|piece| Piece::try_from(piece).ok()).filter(speaks)
    }

    fn weighted_sum(&self, pieces: impl Iterator<Item = (Piece, f32)>) -> Vec<f32> {
        let mut sum = vec![0.0; self.asset.dimensions()];
        for (piece, weight) in pieces {
            if let Some((row, scale)) = self.asset.row(u32::from(piece)) {
                for (total, &value) in sum.iter_mut().zip(row) {
                    *total += weight * scale * f32::from(value.cast_signed());
                }
            }
        }
        normalise(&mut sum);
        sum
    }

    /// Returns the cutter for this embedder's vocabulary.
    pub fn word_piece(&self) -> &WordPiece {
        &self.word_piece
    }
}

impl Embedder for BuiltinEmbedder {
    fn id(&self) -> &EmbedderId {
        &self.id
    }

    fn dimensions(&self) -> usize {
        self.asset.dimensions()
    }

    /// # Limits
    ///
    /// What lies behind the first [`MAX_EMBEDDED_BYTES`] is ignored.
    fn embed(&self, text: &str) -> Result<Vec<f32>> {
        Ok(self.weighted_sum(self.speaking_pieces(text).map(|piece| (piece, 1.0))))
    }

    /// Each piece of the question counts once, and the more the rarer it is where the question is asked.
    fn embed_question(&self, question: &str, rarity: &dyn Fn(Piece) -> f32) -> Result<Vec<f32>> {
        Ok(self.weighted_sum(self.pieces(question).into_iter().map(|piece| (piece, rarity(piece)))))
    }
}

fn inverse_length(row: &[u8]) -> f32 {
    let squares: i32 = row.iter().map(|value| i32::from(value.cast_signed())).map(|value| value * value).sum();
    if squares > 0 { 1.0 / (squares as f32).sqrt() } else { 0.0 }
}

/// Gives a vector the length 1, or leaves it when it is all zeros.
fn normalise(vector: &mut [f32]) {
    let (chunks, rest) = vector.as_chunks::<LANES>();
    let mut squares = [0.0_f32; LANES];
    for chunk in chunks.iter().map(|chunk| chunk.as_slice()).chain([rest]) {
        for (square, number) in squares.iter_mut().zip(chunk) {
            *square += number * number;
        }
    }
    let length = squares.iter().sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|number| *number /= length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn cosine(left: &str, right: &str) -> f32 {
        let embedder = builtin().unwrap();
        let (left, right) = (embedder.embed(left).unwrap(), embedder.embed(right).unwrap());
        left.iter().zip(&right).map(|(left, right)| left * right).sum()
    }

    #[test]
    fn texts_that_mean_the_same_are_closer() {
        fn check(text: &str, near: &str, far: &str) {
            let (to_near, to_far) = (cosine(text, near), cosine(text, far));
            assert!(to_near > to_far + 0.1, "{text}: {near} {to_near}, {far} {to_far}");
        }
        check("dog", "puppy", "democracy");
        check("car", "automobile", "poem");
        check("Bo is allergic to peanuts", "Bo cannot eat nuts", "the train leaves at nine");
        check("When does the train depart?", "the train leaves at nine", "Rust is a programming language");
        check("She adopted a puppy from the shelter", "they have a new dog", "the invoice is due on Friday");
    }

    #[test]
    fn vectors_have_length_one_or_are_zero() {
        let embedder = builtin().unwrap();
        let check = |text: &str, expect: f32| {
            let vector = embedder.embed(text).unwrap();
            assert_eq!(vector.len(), embedder.dimensions());
            let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
            assert!((length - expect).abs() < 1e-5, "{text:?} has the length {length}");
        };
        check("memory", 1.0);
        check("Grüße aus Zürich, 東京!", 1.0);
        check("", 0.0);
        check(" \u{200b}\n", 0.0);
        // Nothing in it is known, and what is unknown says nothing.
        check("\u{2603} \u{1f9c0}", 0.0);
        check(&"x".repeat(101), 0.0);
    }

    #[test]
    fn case_accents_and_white_space_do_not_matter() {
        let embedder = builtin().unwrap();
        let plain = embedder.embed("a cafe in zurich").unwrap();
        assert_eq!(embedder.embed("  A Café\tin\nZÜRICH ").unwrap(), plain);
    }

    #[test]
    fn the_end_of_a_very_long_text_is_cut_off_between_characters() {
        let embedder = builtin().unwrap();
        let start = "é ".repeat(MAX_EMBEDDED_BYTES / 3);
        let text = format!("{start}éééé {}", "peanuts ".repeat(100_000));
        assert!(!text.is_char_boundary(MAX_EMBEDDED_BYTES));
        let kept = text.split_at(MAX_EMBEDDED_BYTES - 1).0;
        assert_eq!(embedder.embed(&text).unwrap(), embedder.embed(kept).unwrap());
        assert_ne!(embedder.embed(&text).unwrap(), embedder.embed("peanuts").unwrap());
    }

    #[test]
    fn the_id_names_the_weights_and_is_shared() {
        let shared = builtin().unwrap();
        assert!(Arc::ptr_eq(&shared, &builtin().unwrap()));
        let digest = shared.id().as_str().strip_prefix("builtin-1:").unwrap();
        assert!(digest.len() == 16 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
    }

    #[test]
    fn damaged_weights_are_not_loaded() {
        let mut damaged = WEIGHTS.to_vec();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        for weights in [damaged, WEIGHTS[..middle].to_vec(), Vec::new()] {
            let error = BuiltinEmbedder::from_bytes(weights).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains("weights of the built-in embedder"), "{error}");
        }
    }
}
