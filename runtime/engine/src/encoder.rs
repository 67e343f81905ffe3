//! The sentence encoder: a BERT-type network that turns a text into a unit vector, such that texts of one meaning lie close.
//!
//! It is read from a folder as the sentence-transformers publish it, and every file is held against what it says of itself
//! before anything runs. Texts are sorted by length and laid one behind the other, not beside each other in a padded square:
//! the matrices see tokens only, attention goes over texts of one length at a time, and so there is neither padding to
//! compute nor a mask that could leak. It runs on the processor.
//!
//! It knows texts and vectors, and must never know what they are compared for.

mod bert;
mod settings;
#[cfg(test)]
mod tests;
mod weights;
mod words;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use self::bert::Bert;
use self::settings::{Pooling, Settings};
use self::weights::Weights;
use self::words::Words;
use crate::{Error, Result};

pub use self::words::MAX_ENCODED_BYTES;

/// The largest file with weights, in bytes.
const MAX_WEIGHTS_BYTES: u64 = 4 << 30;
/// The largest tokenizer, in bytes.
const MAX_TOKENIZER_BYTES: u64 = 64 << 20;
/// Tokens that go through the network at once: enough to fill the matrices, and few enough to stay in the cache.
const TOKENS_AT_ONCE: usize = 1024;
/// The longest name in an id, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// A sentence encoder: texts in, unit vectors out.
pub struct SentenceEncoder {
    id: String,
    settings: Settings,
    words: Words,
    network: Bert,
}

/// A text as the network reads it.
struct Tokens {
    /// Where its vector belongs.
    place: usize,
    ids: Vec<u32>,
}

impl SentenceEncoder {
    /// Loads an encoder from a folder with `config.json`, `tokenizer.json` and `model.safetensors`; `modules.json`,
    /// `sentence_bert_config.json` and `1_Pooling/config.json` are heeded where they are.
    ///
    /// # Errors
    /// `NotFound` when a file is missing; `Invalid` when the architecture is not BERT's or a file is over its limit; `Corrupt`
    /// when a tensor is missing, has a wrong shape or numbers that are not finite, or when a file is cut.
    ///
    /// # Limits
    /// 4 GiB of weights, 64 MiB of tokenizer, 1 MiB for each of the other files.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let settings = Settings::read(folder)?;
        let tokenizer_bytes = needed(folder, "tokenizer.json", MAX_TOKENIZER_BYTES)?;
        let words = Words::read(&folder.join("tokenizer.json"), &tokenizer_bytes, settings.words, settings.max_tokens)?;
        let weights_bytes = needed(folder, "model.safetensors", MAX_WEIGHTS_BYTES)?;
        let network = Bert::of(&Weights::read(folder, &weights_bytes)?, &settings)?;
        let digest = Sha256::new()
            .chain_update(settings.fingerprint())
            .chain_update(Sha256::digest(&tokenizer_bytes))
            .chain_update(Sha256::digest(&weights_bytes))
            .finalize();
        let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { id: format!("{}:{digest}", name(folder)), settings, words, network })
    }

    /// Returns the folder's name and a digest of all that makes its vectors, such as `all-MiniLM-L6-v2:3f9a0c51d2e47b86`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the length of every vector.
    pub fn dimensions(&self) -> usize {
        self.settings.hidden
    }

    /// Returns how many tokens of a text are read, with those that begin and end it.
    pub fn max_tokens(&self) -> usize {
        self.settings.max_tokens
    }

    /// Encodes texts into unit vectors, in their order. A text without a word becomes all zeros.
    ///
    /// # Errors
    /// `Mismatch` when the tokenizer gives a token that the weights do not have; `Corrupt` when a vector is not finite.
    pub fn encode(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let mut vectors = vec![vec![0.0; self.dimensions()]; texts.len()];
        let mut tokens = Vec::with_capacity(texts.len());
        for (place, text) in texts.iter().enumerate() {
            let ids = self.words.of(text)?;
            if !ids.is_empty() {
                tokens.push(Tokens { place, ids });
            }
        }
        tokens.sort_by_key(|text| text.ids.len());
        let mut rest = tokens.as_slice();
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(batch_length(rest));
            for (text, vector) in batch.iter().zip(self.vectors(batch)?) {
                if let Some(place) = vectors.get_mut(text.place) {
                    *place = vector;
                }
            }
            rest = later;
        }
        Ok(vectors)
    }

    /// Runs the network over a batch.
    fn vectors(&self, batch: &[Tokens]) -> Result<Vec<Vec<f32>>> {
        let ids: Vec<u32> = batch.iter().flat_map(|text| text.ids.iter().copied()).collect();
        let lengths: Vec<usize> = batch.iter().map(|text| text.ids.len()).collect();
        let states = self.network.forward(&ids, &lengths)?.flatten_all()?.to_vec1::<f32>()?;
        let mut rest = states.as_slice();
        let mut own = |length: usize| rest.split_off(..length * self.settings.hidden).unwrap_or_default();
        lengths.iter().map(|length| pooled(own(*length), &self.settings)).collect()
    }
}

/// Returns how many of the texts go through the network together; at least one.
fn batch_length(texts: &[Tokens]) -> usize {
    let mut tokens = 0;
    let fit = texts.iter().take_while(|text| {
        tokens += text.ids.len();
        tokens <= TOKENS_AT_ONCE
    });
    fit.count().max(1)
}

/// Makes one unit vector of the states of a text's tokens, which lie one behind the other.
fn pooled(states: &[f32], settings: &Settings) -> Result<Vec<f32>> {
    let tokens = match settings.pooling {
        // Its length is made one below, so the sum has the mean's direction.
        Pooling::Mean => settings.max_tokens,
        Pooling::First => 1,
    };
    let mut vector = vec![0.0f32; settings.hidden];
    for state in states.chunks_exact(settings.hidden).take(tokens) {
        vector.iter_mut().zip(state).for_each(|(sum, value)| *sum += value);
    }
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() {
        return Err(Error::corrupt("the encoder's weights give a vector that is not finite; get the model again"));
    }
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
    Ok(vector)
}

/// Returns the folder's name, with what an id cannot have replaced.
fn name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let last = whole.file_name().unwrap_or_default().to_string_lossy();
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-+@".contains(c) { c } else { '-' };
    let name: String = last.chars().map(allowed).take(MAX_NAME_BYTES).collect();
    if name.is_empty() { "encoder".to_owned() } else { name }
}

/// Reads a file that must be there.
fn needed(folder: &Path, name: &str, most: u64) -> Result<Vec<u8>> {
    let found = optional(folder, name, most)?;
    found.ok_or_else(|| {
        let folder = folder.display();
        Error::not_found(format!("there is no `{name}` in `{folder}`; name the folder of a sentence encoder"))
    })
}

/// Reads a file where it is there.
fn optional(folder: &Path, name: &str, most: u64) -> Result<Option<Vec<u8>>> {
    let path = folder.join(name);
    let failed = |error: std::io::Error| {
        let message = format!("`{}` cannot be read: {error}", path.display());
        Error::unavailable(message).with_source(error)
    };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let expected = file.metadata().map_err(failed)?.len();
    // A file may grow while it is read, so its length is no bound.
    let mut bytes = Vec::with_capacity(usize::try_from(expected.min(most)).unwrap_or(0));
    file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        let message = format!("`{}` has more than {most} bytes, the most that is read", path.display());
        return Err(Error::invalid(message));
    }
    Ok(Some(bytes))
}
