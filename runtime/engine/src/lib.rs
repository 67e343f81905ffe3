//! The local language model: it takes memory as text, as key-value segments and as adapters, and makes the last two.
//!
//! This crate knows tensors, tokens and files. It must never know what a cube, a space or an actor is: `memos-runtime` decides
//! what is made of which memory, and when.

mod error;

pub use error::{Error, ErrorKind, Result};
