//! MemReader: text in. Messages and documents become cubes and links, questions become calls, without a model.
//!
//! Reading a source is idempotent: what the space holds already is left alone, so an interrupted reading is simply
//! repeated. A language model plugs in as a [`FactExtractor`]; what it finds goes the same way as what the rules find.

pub(crate) mod assertions;
pub(crate) mod drafts;
pub(crate) mod duplicates;
mod entities;
pub(crate) mod facts;
mod ingest;
mod question;
pub mod sentences;
pub mod source;
pub(crate) mod summary;
pub mod temporal;

pub use assertions::{Assertion, FactExtractor, RuleExtractor, Said};
pub use ingest::{IngestOptions, IngestReport, extract_facts, ingest};
pub use question::read_question;
