//! Output of a given form: JSON, JSON of a schema, or what a regular expression matches.
//!
//! Before every token it tells which may come next, by the bytes of each token, so that any token which keeps to the form is
//! allowed, however the tokenizer would have cut the text. The grammar's work is llguidance's, and this is the only room that
//! names it.
//!
//! This room must never know a model, nor a request.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{JsonCompileOptions, Matcher, ParserFactory, TokenParser};
use serde_json::Value;

use crate::sampling::TokenMask;
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// The largest JSON schema, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 64 << 10;

/// How deep a JSON schema may be nested.
pub const SCHEMA_DEPTH_MAX: usize = 32;

/// The most references in a JSON schema.
pub const SCHEMA_REFERENCES_MAX: usize = 256;

/// The longest regular expression, in bytes.
pub const PATTERN_BYTES_MAX: usize = 4 << 10;

/// The longest token that a constraint allows, in bytes. Longer ones are long runs of white space.
const TOKEN_BYTES_MAX: usize = 512;

/// Room for a schema to be unfolded in: the library follows references into each other by calling itself.
const UNFOLDING_STACK_BYTES: usize = 256 << 20;

/// White space between the parts of JSON. Where it had no end, a model could write nothing else until its last token.
const BETWEEN_PARTS: &str = r"[\x20\x0A\x0D\x09]{1,16}";

/// What an answer has to look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Any JSON value.
    Json,
    /// JSON that keeps to this schema. References may point inside of it only.
    JsonSchema(String),
    /// Text that this regular expression matches from start to end.
    Pattern(String),
}

/// Makes constraints for one tokenizer. It holds the tree of all tokens' bytes, so it is made once for a model.
pub struct Constraints {
    factory: ParserFactory,
}

impl Constraints {
    /// Sorts the tokens of a vocabulary by their bytes. The end tokens come where an answer has its form.
    ///
    /// # Errors
    ///
    /// `Invalid` without an end token, or where one is not in the vocabulary.
    pub fn of(tokenizer: &Tokenizer, end_tokens: &[u32]) -> Result<Self> {
        let size = tokenizer.vocabulary_size();
        let Some(first) = end_tokens.first() else {
            return Err(Error::invalid("a constraint needs a token that ends the answer, and the model names none"));
        };
        if let Some(token) = end_tokens.iter().find(|token| **token as usize >= size) {
            return Err(Error::invalid(format!("the end token `{token}` is not in the vocabulary of {size} tokens")));
        }
        let pieces = tokenizer.pieces();
        let marker = TokTrie::SPECIAL_TOKEN_MARKER;
        let words: Vec<Vec<u8>> = (0..size as u32)
            .map(|token| match pieces.bytes(token) {
                _ if end_tokens.contains(&token) => [&[marker], format!("<{token}>").as_bytes()].concat(),
                // No text holds the marker's byte, and a token without bytes is never allowed.
                bytes if bytes.first() == Some(&marker) || bytes.len() > TOKEN_BYTES_MAX => Vec::new(),
                bytes => bytes.to_vec(),
            })
            .collect();
        let trie = TokTrie::from(&TokRxInfo::new(size as u32, *first), &words).with_eos_tokens(end_tokens);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&environment)
            .map_err(|error| Error::invalid(format!("no constraint can be made for this vocabulary: {error}")))?;
        factory.quiet();
        // Its messages would quote what the model wrote, and the whole grammar.
        factory.limits_mut().verbose_errors = false;
        Ok(Self { factory })
    }

    /// Begins an answer of a form.
    ///
    /// # Errors
    ///
    /// `Invalid` for a schema or an expression that cannot be read, is above its limit, says what is not supported, or allows nothing.
    pub fn begin(&self, form: &Form) -> Result<Constraint> {
        let grammar = match form {
            Form::Json => json(Value::Object(serde_json::Map::new())),
            Form::JsonSchema(schema) => json(read_schema(schema)?),
            Form::Pattern(pattern) if pattern.len() > PATTERN_BYTES_MAX => {
                let bytes = pattern.len();
                return Err(Error::invalid(format!(
                    "the expression of {bytes} bytes is too long: at most {PATTERN_BYTES_MAX}"
                )));
            }
            Form::Pattern(pattern) => TopLevelGrammar::from_regex(pattern),
        };
        let what = match form {
            Form::Pattern(pattern) => format!("the expression `{pattern}`"),
            _ => "the JSON schema".to_owned(),
        };
        let parser = self.unfold(grammar)?.map_err(|said| {
            Error::invalid(format!("{what} cannot be used: {}", said.lines().next().unwrap_or_default()))
        })?;
        Ok(Constraint { matcher: Matcher::new(Ok(parser)) })
    }

    fn unfold(&self, grammar: TopLevelGrammar) -> Result<std::result::Result<TokenParser, String>> {
        std::thread::scope(|scope| {
            let unfolding = move || self.factory.create_parser(grammar).map_err(|error| error.to_string());
            let thread = std::thread::Builder::new().stack_size(UNFOLDING_STACK_BYTES).spawn_scoped(scope, unfolding);
            let thread = thread.map_err(|error| {
                Error::unavailable(format!("no thread could be started to read the form: {error}")).with_source(error)
            })?;
            thread.join().map_err(|_| Error::invalid("the form of the answer cannot be read"))
        })
    }
}

/// An answer on its way to a form. A clone goes on from the same place on its own.
#[derive(Clone)]
pub struct Constraint {
    matcher: Matcher,
}

impl Constraint {
    /// Returns which tokens may come next. Where the answer has its form, the end tokens are among them; where nothing can be added,
    /// they are the only ones.
    ///
    /// # Errors
    ///
    /// `Invalid` where the form has become too costly to follow.
    pub fn allowed(&mut self) -> Result<TokenMask> {
        let mask = self.matcher.compute_mask_or_eos().map_err(lost)?;
        Ok(TokenMask::from_words(mask.as_slice().to_vec()))
    }

    /// Takes the token that came.
    ///
    /// # Errors
    ///
    /// `Invalid` for a token that was not allowed, and the answer stays where it was.
    pub fn accept(&mut self, token: u32) -> Result<()> {
        if !self.allowed()?.allows(token) {
            return Err(Error::invalid(format!("token {token} does not keep to the form that the answer must have")));
        }
        // Past its end an answer stays as it is, whichever end token comes.
        if self.is_complete() {
            return Ok(());
        }
        self.matcher.consume_token(token).map_err(lost)
    }

    /// Tells whether the answer has its form and nothing can be added.
    pub fn is_complete(&self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error()
    }

    /// Tells whether the answer has its form as it is, though more might follow, as after the first digit of a number.
    pub fn may_end(&mut self) -> bool {
        self.is_complete() || self.matcher.is_accepting().unwrap_or(false)
    }
}

fn lost(error: impl std::fmt::Display) -> Error {
    let said = error.to_string();
    let said = said.lines().next().unwrap_or_default().to_owned();
    Error::invalid(format!("the form of the answer cannot be followed any further: {said}"))
}

fn json(mut schema: Value) -> TopLevelGrammar {
    let options =
        JsonCompileOptions { whitespace_pattern: Some(BETWEEN_PARTS.to_owned()), ..JsonCompileOptions::default() };
    options.apply_to(&mut schema);
    TopLevelGrammar::from_json_schema(schema)
}

/// Reads a schema, and what is only `true` as one that allows anything.
fn read_schema(text: &str) -> Result<Value> {
    if text.len() > SCHEMA_BYTES_MAX {
        let bytes = text.len();
        return Err(Error::invalid(format!(
            "the JSON schema of {bytes} bytes is too large: at most {SCHEMA_BYTES_MAX}"
        )));
    }
    let schema: Value = serde_json::from_str(text)
        .map_err(|error| Error::invalid(format!("the JSON schema is not JSON: {error}")).with_source(error))?;
    if depth(&schema) > SCHEMA_DEPTH_MAX {
        return Err(Error::invalid(format!("the JSON schema is nested too deep: at most {SCHEMA_DEPTH_MAX} levels")));
    }
    if references(&schema) > SCHEMA_REFERENCES_MAX {
        return Err(Error::invalid(format!(
            "the JSON schema has too many references: at most {SCHEMA_REFERENCES_MAX}"
        )));
    }
    match schema {
        Value::Object(_) => Ok(schema),
        Value::Bool(true) => Ok(Value::Object(serde_json::Map::new())),
        _ => Err(Error::invalid("a JSON schema is an object, as in `{\"type\": \"object\"}`")),
    }
}

fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Array(values) => values.iter().map(depth).max(),
        Value::Object(entries) => entries.values().map(depth).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or(0)
}

fn references(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(references).sum(),
        Value::Object(entries) => {
            usize::from(entries.contains_key("$ref")) + entries.values().map(references).sum::<usize>()
        }
        _ => 0,
    }
}
