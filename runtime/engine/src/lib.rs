//! The local language model: it takes memory as text, as key-value segments and as adapters, and makes the last two.
//!
//! This crate knows tensors, tokens and files. It must never know what a cube, a space or an actor is: `memos-runtime` decides
//! what is made of which memory, and when.

pub mod adapter;
pub mod adapter_body;
pub mod adapter_file;
mod attention;
pub mod cache;
pub mod chance;
pub mod chat;
pub mod config;
pub mod constraint;
pub mod decoder;
pub mod dice;
pub mod encoder;
mod error;
pub mod fingerprint;
pub mod generate;
pub mod gguf;
mod held;
#[cfg(feature = "hub")]
pub mod hub;
pub mod joining;
pub mod lesson;
mod linear;
pub mod mapped;
pub mod measure;
pub mod model;
pub mod model_files;
pub mod numbers;
pub mod rope;
pub mod sampling;
pub mod segment;
pub mod segment_store;
#[cfg(test)]
mod small_model;
mod softmax;
pub mod stop;
pub mod tensor_file;
mod threads;
pub mod tokenizer;
pub mod train;
pub mod weights;

pub use error::{Error, ErrorKind, Result};
