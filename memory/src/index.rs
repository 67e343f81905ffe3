//! Candidates: which cubes a question may be about, by meaning (dense) and by words (lexical), inside a filter.
//!
//! The index is a projection: it is filled from the ledger and can be thrown away. It decides nothing about rights; the
//! filter names the access classes that the caller may read, and whatever is outside them is never looked at, so that
//! neither a score nor a count can tell that it is there.

mod dense;
mod document;
mod embedded;
mod filter;
mod lexical;
mod pieces;
mod runs;
mod terms;

pub use dense::EXACT_UP_TO;
pub use document::{Document, Facets, QuantizedVector};
pub use embedded::EmbeddedIndex;
pub(crate) use embedded::FlatIndex;
pub use filter::{ClassId, ClassSet, Filter};
pub(crate) use pieces::{Coverage, FlatPieces, PieceIndex, TextMarks};
pub use terms::{TermReader, tag_term};

use crate::error::Result;
use crate::graph::Slot;

/// What is searched for.
#[derive(Debug, Clone)]
pub struct IndexQuery {
    /// The question's unit vector.
    pub vector: Vec<f32>,
    /// The question's terms, each once.
    pub terms: Vec<String>,
}

/// One cube with its two scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// The cube.
    pub slot: Slot,
    /// The cosine between its vector and the question's, -1 to 1.
    pub dense: f32,
    /// Its BM25 score as a share of the most that the question's terms can give, 0 to 1.
    pub lexical: f32,
}

/// What a search found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The best by the sum of both scores, without order.
    pub matches: Vec<Match>,
    /// How much each term of the question weighs inside the filter, in the order of the query.
    pub term_weights: Vec<f32>,
    /// The mean length in words inside the filter.
    pub mean_length: f32,
    /// How many cubes the filter let through.
    pub considered: usize,
}

/// A source of candidates. One space has one; an outside vector store can stand behind it.
pub trait CandidateIndex: Send + Sync {
    /// Puts a cube's present version in, in place of the one before.
    ///
    /// # Errors
    /// `Invalid` when the vector does not have the index's dimensions.
    fn put(&mut self, slot: Slot, document: Document) -> Result<()>;

    /// Changes what a cube can be filtered by, and leaves its content.
    ///
    /// # Errors
    /// `Unavailable` when the index does not answer.
    fn set_facets(&mut self, slot: Slot, facets: Facets) -> Result<()>;

    /// Takes a cube out.
    ///
    /// # Errors
    /// `Unavailable` when the index does not answer.
    fn remove(&mut self, slot: Slot) -> Result<()>;

    /// Finds the `most` best by the sum of both scores among what the filter lets through.
    ///
    /// # Errors
    /// `Unavailable` when the index does not answer.
    fn search(&self, query: &IndexQuery, filter: &Filter, most: usize) -> Result<Found>;

    /// Scores given cubes as [`CandidateIndex::search`] would; those that the filter keeps out are left out.
    ///
    /// # Errors
    /// `Unavailable` when the index does not answer.
    fn score(&self, query: &IndexQuery, filter: &Filter, found: &Found, slots: &[Slot]) -> Result<Vec<Match>>;

    /// Returns how many cubes are in it.
    fn len(&self) -> usize;

    /// Returns whether it holds nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
