//! What makes tokens of a text: the model's own tokenizer, with the model's limits in the place of those in its file.
//!
//! What is published often pads each text, and cuts it at 128 tokens where the model reads 256.

use std::path::Path;

use serde_json::Value;
use tokenizers::{PostProcessor, PostProcessorWrapper, Tokenizer, TruncationParams};

use crate::{Error, Result};

/// The most bytes of a text that are read; what lies behind them is ignored.
pub const MAX_ENCODED_BYTES: usize = 64 * 1024;

/// A tokenizer that gives nothing but tokens that the weights have.
pub(super) struct Words {
    tokenizer: Tokenizer,
    /// How many tokens the weights have.
    known: usize,
    /// The most tokens of a text.
    most: usize,
}

impl Words {
    /// Reads a tokenizer for weights that know so many tokens, and at `most` so many of a text.
    pub(super) fn read(file: &Path, bytes: &[u8], known: usize, most: usize) -> Result<Self> {
        let broken = |why: &str| Error::corrupt(format!("`{}`: {why}; get it again", file.display()));
        let mut tokenizer = parsed(bytes).map_err(|error| broken(&error.to_string()).with_source(error))?;
        if let Some(around) = tokenizer.get_post_processor() {
            check_template(around).map_err(|why| broken(&why))?;
            let added = around.added_tokens(false);
            if added >= most {
                return Err(broken(&format!(
                    "it puts {added} tokens around each text, where {most} tokens is the most"
                )));
            }
        }
        match tokenizer.get_vocab(true).values().max() {
            None => return Err(broken("it has no words")),
            Some(highest) if *highest as usize >= known => {
                let message =
                    format!("`{}` has a token {highest}, and the weights have {known} tokens", file.display());
                return Err(Error::mismatch(message));
            }
            Some(_) => {}
        }
        // `[SEP]` in somebody's text is five characters, and must not end it.
        tokenizer.set_encode_special_tokens(true);
        tokenizer.with_padding(None);
        let cut = TruncationParams { max_length: most, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(cut)).map_err(|error| broken(&error.to_string()).with_source(error))?;
        Ok(Self { tokenizer, known, most })
    }

    /// Returns the tokens of a text, none where there is no word in it.
    pub(super) fn of(&self, text: &str) -> Result<Vec<u32>> {
        let (text, _) = text.split_at(text.floor_char_boundary(MAX_ENCODED_BYTES));
        let encoding = self.tokenizer.encode_fast(text, true).map_err(|error| {
            Error::corrupt(format!("the encoder's tokenizer cannot read a text: {error}")).with_source(error)
        })?;
        let (ids, Self { known, most, .. }) = (encoding.get_ids(), self);
        if encoding.get_special_tokens_mask().iter().all(|special| *special == 1) {
            return Ok(Vec::new());
        }
        if ids.len() > *most {
            let given = ids.len();
            return Err(Error::mismatch(format!("the tokenizer gives {given} tokens where {most} is the most")));
        }
        // The marks around a text need not be in its vocabulary.
        match ids.iter().find(|id| **id as usize >= *known) {
            None => Ok(ids.to_vec()),
            Some(id) => {
                Err(Error::mismatch(format!("the tokenizer gives token {id}, and the weights have {known} tokens")))
            }
        }
    }
}

/// Reads a tokenizer without what makes text of tokens, which is not needed here. The library reads parts of a file only
/// when it is sure that they are JSON, and so they are made sure to be.
fn parsed(bytes: &[u8]) -> serde_json::Result<Tokenizer> {
    let mut whole: Value = serde_json::from_slice(bytes)?;
    if let Some(decoder) = whole.get_mut("decoder") {
        *decoder = Value::Null;
    }
    if whole.get("normalizer").is_some_and(has_character_map) {
        let what = "its `Precompiled` character map is not read, give an encoder with BERT's own tokenizer";
        return Err(serde::de::Error::custom(what));
    }
    serde_json::from_slice(&serde_json::to_vec(&whole)?)
}

/// Returns whether a normalizer has a character map anywhere. The library follows its numbers wherever they lead.
fn has_character_map(normalizer: &Value) -> bool {
    match normalizer {
        Value::Object(fields) => {
            fields.get("type").is_some_and(|kind| kind == "Precompiled") || fields.values().any(has_character_map)
        }
        Value::Array(values) => values.iter().any(has_character_map),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => false,
    }
}

/// Checks that what is put around a text is there: the library looks it up without asking.
fn check_template(around: &PostProcessorWrapper) -> std::result::Result<(), String> {
    match around {
        PostProcessorWrapper::Sequence(sequence) => sequence.as_ref().iter().try_for_each(check_template),
        PostProcessorWrapper::Template(template) => {
            let template = serde_json::to_value(template).map_err(|error| error.to_string())?;
            for piece in template.get("single").and_then(Value::as_array).into_iter().flatten() {
                let id = |kind: &str| piece.get(kind).and_then(|piece| piece.get("id")).and_then(Value::as_str);
                let has = |id: &str| template.get("special_tokens").is_some_and(|tokens| tokens.get(id).is_some());
                match (id("SpecialToken"), id("Sequence")) {
                    (Some(id), None) if has(id) => {}
                    (None, Some("A")) => {}
                    (Some(id), _) | (_, Some(id)) => {
                        return Err(format!(
                            "it puts `{}` around each text, and does not say what that is",
                            id.escape_debug()
                        ));
                    }
                    (None, None) => return Err("what it puts around each text cannot be read".to_owned()),
                }
            }
            Ok(())
        }
        PostProcessorWrapper::Roberta(_) | PostProcessorWrapper::Bert(_) | PostProcessorWrapper::ByteLevel(_) => Ok(()),
    }
}
