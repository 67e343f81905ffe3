//! What the small files beside an encoder's weights say: its shape, how states become one vector, and how long a text may be.
//!
//! Whatever would make other vectors than the model's makers mean is refused by name, not passed over.

use std::path::{Component, Path};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{needed, optional};
use crate::{Error, Result};

/// The largest of these files, in bytes.
const MAX_SETTINGS_BYTES: u64 = 1 << 20;
/// How many tokens are read where no file says it. Tables have 512 places, but sentence encoders were seldom taught beyond this.
const USUAL_TOKENS: usize = 256;

/// The largest sizes that are loaded, far above those of any encoder that is used.
const MAX_WORDS: usize = 2 << 20;
const MAX_WIDTH: usize = 1 << 16;
const MAX_LAYERS: usize = 256;
const MAX_PLACES: usize = 1 << 16;

/// How the states of a text's tokens become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    /// Their mean.
    Mean,
    /// The first one, which stands for the whole.
    First,
}

/// The shape of an encoder and how it is used.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    /// Tokens it knows.
    pub(super) words: usize,
    /// Numbers in a token's state, and in the vector.
    pub(super) hidden: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    /// Numbers between the two halves of a layer.
    pub(super) between: usize,
    /// Places of its table: no text may have more tokens.
    pub(super) places: usize,
    /// Kinds of a token, of which a sentence has the first.
    pub(super) kinds: usize,
    pub(super) epsilon: f32,
    pub(super) pooling: Pooling,
    pub(super) max_tokens: usize,
}

/// What tells whether `config.json` is of a kind that is read.
#[derive(Deserialize)]
struct Architecture {
    model_type: Option<String>,
    #[serde(default)]
    architectures: Vec<String>,
}

/// `config.json`.
#[derive(Deserialize)]
struct Config {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "usual_epsilon")]
    layer_norm_eps: f32,
    hidden_act: Option<String>,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

/// A line of `modules.json`.
#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// `1_Pooling/config.json`.
#[derive(Deserialize)]
struct PoolingConfig {
    word_embedding_dimension: usize,
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
}

/// `sentence_bert_config.json`.
#[derive(Deserialize)]
struct Lengths {
    max_seq_length: Option<usize>,
}

fn two() -> usize {
    2
}

fn usual_epsilon() -> f32 {
    1e-12
}

impl Settings {
    /// Reads the settings of the encoder in a folder.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let name = "config.json";
        let bytes = needed(folder, name, MAX_SETTINGS_BYTES)?;
        check_architecture(&parsed(folder, name, &bytes)?)?;
        let config: Config = parsed(folder, name, &bytes)?;
        check_shape(&config).map_err(|what| Error::invalid(format!("`{}`: {what}", folder.join(name).display())))?;
        let pooling = pooling(folder, config.hidden_size)?;
        let lengths: Option<Lengths> = optional_json(folder, "sentence_bert_config.json")?;
        let told = lengths.and_then(|lengths| lengths.max_seq_length);
        let max_tokens = told.unwrap_or(USUAL_TOKENS).min(config.max_position_embeddings);
        Ok(Self {
            words: config.vocab_size,
            hidden: config.hidden_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            between: config.intermediate_size,
            places: config.max_position_embeddings,
            kinds: config.type_vocab_size,
            epsilon: config.layer_norm_eps,
            pooling,
            max_tokens,
        })
    }

    /// Returns what of the settings changes a vector, though weights and tokenizer are the same.
    pub(super) fn fingerprint(&self) -> String {
        let Self { heads, epsilon, pooling, max_tokens, .. } = self;
        format!("bert heads={heads} epsilon={epsilon:e} pooling={pooling:?} tokens={max_tokens}\n")
    }
}

fn check_architecture(found: &Architecture) -> Result<()> {
    let is_bert = match &found.model_type {
        Some(kind) => kind == "bert",
        None => found.architectures.iter().any(|name| name.starts_with("Bert")),
    };
    if is_bert {
        return Ok(());
    }
    let named = found.model_type.as_deref().or(found.architectures.first().map(String::as_str)).unwrap_or("unknown");
    let named = named.escape_debug();
    Err(Error::invalid(format!("the architecture `{named}` is not known; give a sentence encoder of the type `bert`")))
}

/// Checks what `config.json` says; the error tells what is wrong with it.
fn check_shape(config: &Config) -> std::result::Result<(), String> {
    let sizes = [
        ("vocab_size", config.vocab_size, MAX_WORDS),
        ("hidden_size", config.hidden_size, MAX_WIDTH),
        ("num_hidden_layers", config.num_hidden_layers, MAX_LAYERS),
        ("num_attention_heads", config.num_attention_heads, MAX_WIDTH),
        ("intermediate_size", config.intermediate_size, MAX_WIDTH),
        ("max_position_embeddings", config.max_position_embeddings, MAX_PLACES),
        ("type_vocab_size", config.type_vocab_size, MAX_PLACES),
    ];
    for (name, size, most) in sizes {
        if !(1..=most).contains(&size) {
            return Err(format!("`{name}` is {size}, and must be 1 to {most}"));
        }
    }
    let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
    if hidden % heads != 0 {
        return Err(format!("`hidden_size` {hidden} cannot be shared among {heads} attention heads"));
    }
    if !(0.0..1.0).contains(&config.layer_norm_eps) {
        return Err(format!("`layer_norm_eps` is {}, and must be at least 0 and below 1", config.layer_norm_eps));
    }
    if config.is_decoder {
        return Err("it is a decoder, and not a sentence encoder".to_owned());
    }
    let words = [
        ("hidden_act", &config.hidden_act, "gelu"),
        ("position_embedding_type", &config.position_embedding_type, "absolute"),
    ];
    for (name, found, known) in words {
        if let Some(found) = found.as_deref().filter(|found| *found != known) {
            return Err(format!("`{name}` is `{}`, and only `{known}` is known", found.escape_debug()));
        }
    }
    Ok(())
}

/// Returns how states become a vector: as the files say, else as their mean.
fn pooling(folder: &Path, hidden: usize) -> Result<Pooling> {
    let mut place = "1_Pooling".to_owned();
    for module in optional_json::<Vec<Module>>(folder, "modules.json")?.unwrap_or_default() {
        match module.kind.rsplit('.').next().unwrap_or_default() {
            "Transformer" | "Normalize" => {}
            "Pooling" => place = module.path,
            other => {
                let other = other.escape_debug();
                return Err(Error::invalid(format!(
                    "the encoder has a module `{other}`, which is not known; only a transformer with pooling is"
                )));
            }
        }
    }
    let mut parts = Path::new(&place).components();
    if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
        let place = place.escape_debug();
        return Err(Error::invalid(format!(
            "`modules.json` has the pooling in `{place}`, which is not a folder beside it"
        )));
    }
    let name = format!("{place}/config.json");
    let Some(config) = optional_json::<PoolingConfig>(folder, &name)? else { return Ok(Pooling::Mean) };
    if config.word_embedding_dimension != hidden {
        let told = config.word_embedding_dimension;
        return Err(Error::invalid(format!("`{name}` is for {told} dimensions, and the encoder has {hidden}")));
    }
    let unknown = config.pooling_mode_max_tokens
        || config.pooling_mode_mean_sqrt_len_tokens
        || config.pooling_mode_weightedmean_tokens
        || config.pooling_mode_lasttoken;
    match (config.pooling_mode_mean_tokens, config.pooling_mode_cls_token, unknown) {
        (true, false, false) => Ok(Pooling::Mean),
        (false, true, false) => Ok(Pooling::First),
        _ => Err(Error::invalid(format!("`{name}` asks for neither the mean alone nor the first token alone"))),
    }
}

fn optional_json<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>> {
    optional(folder, name, MAX_SETTINGS_BYTES)?.map(|bytes| parsed(folder, name, &bytes)).transpose()
}

fn parsed<T: DeserializeOwned>(folder: &Path, name: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        let file = folder.join(name);
        Error::corrupt(format!("`{}`: {error}", file.display())).with_source(error)
    })
}
