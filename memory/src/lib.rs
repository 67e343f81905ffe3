//! What agent memory is and how it is kept.
//!
//! The unit is the [`cube::Cube`]. A [`vault::Space`] keeps the cubes of one tenant in a [`ledger`], and from it a
//! [`graph`] and an [`index`]. [`reader`] turns text into cubes and questions into calls; [`operator`] answers a call with
//! receipts; [`governance`] says who may see what. Time, ids and randomness are handed in.
//!
//! This crate knows no actors, no language models and no network.

pub mod cube;
pub mod embed;
pub mod english;
pub mod error;
pub mod governance;
pub mod graph;
pub mod index;
mod kernel;
pub mod ledger;
pub mod limits;
pub mod operator;
pub mod reader;
pub mod time;
pub mod vault;

pub use error::{Error, ErrorKind, Result};
