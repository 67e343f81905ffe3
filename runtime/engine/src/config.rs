//! What shape a model has: read from the `config.json` beside its weights, and checked before a tensor is made.
//!
//! One decoder serves the Llama family: Llama 3, TinyLlama, SmolLM2, Qwen 2.5 (biases on query, key and value) and Qwen 3
//! (norms on query and key). What the file asks for and the decoder does not do is refused by name, never ignored.

use serde::Deserialize;

use crate::error::{Error, Result};

/// The most bytes a `config.json` may have.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;

/// The shape of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// How many tokens it knows.
    pub vocabulary: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// How many blocks.
    pub layers: usize,
    /// Attention heads of the queries.
    pub heads: usize,
    /// Attention heads of keys and values; a divisor of [`ModelConfig::heads`].
    pub kv_heads: usize,
    /// Size of one head; even.
    pub head_size: usize,
    /// Width inside the feed-forward.
    pub feed_forward: usize,
    /// How positions turn the heads.
    pub rope: RopeConfig,
    /// Added to a mean square before its root.
    pub norm_epsilon: f64,
    /// The most positions it was made for.
    pub positions: usize,
    /// Whether the head is the table of embeddings.
    pub is_tied: bool,
    /// Whether query, key and value have a bias.
    pub has_query_bias: bool,
    /// Whether each head of query and key is normalised.
    pub has_head_norm: bool,
    /// The tokens that end an answer.
    pub end_tokens: Vec<u32>,
}

/// How positions turn the heads.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// The base of the frequencies.
    pub theta: f64,
    /// How the frequencies are stretched for long texts.
    pub scaling: RopeScaling,
}

/// How the frequencies are stretched for long texts.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All by one factor.
    Linear {
        /// By how much.
        factor: f64,
    },
    /// Low frequencies by a factor, high ones not, those between by a part of it (Llama 3.1).
    Llama3 {
        /// By how much.
        factor: f64,
        /// Wavelengths over `original / low` are stretched.
        low: f64,
        /// Wavelengths under `original / high` are left.
        high: f64,
        /// The positions it was first made for.
        original: f64,
    },
    /// Each by a factor of its own, as GGUF files say it.
    Each {
        /// By how much, for each frequency of half a head.
        factors: Vec<f64>,
    },
}

/// Bounds of what a configuration may ask for; far over any published model that this decoder takes.
const MAX_VOCABULARY: usize = 1 << 20;
const MAX_WIDTH: usize = 1 << 17;
const MAX_LAYERS: usize = 1024;
const MAX_POSITIONS: usize = 1 << 24;

/// `config.json`, as published models have it.
#[derive(Deserialize)]
struct File {
    model_type: Option<String>,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    hidden_act: Option<String>,
    #[serde(default = "default_epsilon")]
    rms_norm_eps: f64,
    #[serde(default = "default_positions")]
    max_position_embeddings: usize,
    rope_theta: Option<f64>,
    rope_scaling: Option<Scaling>,
    rope_parameters: Option<Scaling>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    use_sliding_window: Option<bool>,
    eos_token_id: Option<OneOrMany>,
}

#[derive(Deserialize)]
struct Scaling {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

fn default_epsilon() -> f64 {
    1e-6
}

fn default_positions() -> usize {
    2048
}

impl ModelConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// `Invalid` where it is no configuration, asks for what the decoder does not do, or breaks a bound.
    pub fn from_json(text: &str) -> Result<Self> {
        if text.len() > MAX_CONFIG_BYTES {
            return Err(Error::invalid(format!(
                "the model's config.json has {} bytes, use at most {MAX_CONFIG_BYTES}",
                text.len()
            )));
        }
        let file: File = serde_json::from_str(text).map_err(|e| {
            Error::invalid(format!("the model's config.json cannot be read: {e}; give a decoder of the Llama family"))
                .with_source(e)
        })?;
        let family = file.model_type.as_deref().unwrap_or("llama");
        if !["llama", "qwen2", "qwen3"].contains(&family) {
            return Err(Error::invalid(format!(
                "the model is of type `{family}`, use one of type llama, qwen2 or qwen3"
            )));
        }
        if let Some(activation) = file.hidden_act.as_deref().filter(|activation| *activation != "silu") {
            return Err(Error::invalid(format!("the model's activation is `{activation}`, use one with silu")));
        }
        if file.mlp_bias == Some(true) || (family != "qwen2" && file.attention_bias == Some(true)) {
            return Err(Error::invalid(
                "the model has biases that its type does not have in this decoder, use another",
            ));
        }
        if file.use_sliding_window == Some(true) {
            return Err(Error::invalid("the model attends in a sliding window, use one that attends to all"));
        }
        let config = Self {
            vocabulary: file.vocab_size,
            hidden: file.hidden_size,
            layers: file.num_hidden_layers,
            heads: file.num_attention_heads,
            kv_heads: file.num_key_value_heads.unwrap_or(file.num_attention_heads),
            head_size: file.head_dim.unwrap_or(file.hidden_size / file.num_attention_heads.max(1)),
            feed_forward: file.intermediate_size,
            rope: rope(&file)?,
            norm_epsilon: file.rms_norm_eps,
            positions: file.max_position_embeddings,
            is_tied: file.tie_word_embeddings.unwrap_or(false),
            has_query_bias: family == "qwen2",
            has_head_norm: family == "qwen3",
            end_tokens: match file.eos_token_id {
                None => Vec::new(),
                Some(OneOrMany::One(token)) => vec![token],
                Some(OneOrMany::Many(tokens)) => tokens,
            },
        };
        config.check()?;
        Ok(config)
    }

    /// Checks that a decoder can have this shape.
    ///
    /// # Errors
    /// `Invalid`, naming the first thing that is wrong.
    pub fn check(&self) -> Result<()> {
        let within = |name: &str, value: usize, most: usize| {
            if value == 0 || value > most {
                return Err(Error::invalid(format!("the model's {name} is {value}, use 1 to {most}")));
            }
            Ok(())
        };
        within("vocabulary", self.vocabulary, MAX_VOCABULARY)?;
        within("hidden size", self.hidden, MAX_WIDTH)?;
        within("number of layers", self.layers, MAX_LAYERS)?;
        within("number of heads", self.heads, MAX_WIDTH)?;
        within("number of key and value heads", self.kv_heads, self.heads)?;
        within("head size", self.head_size, MAX_WIDTH)?;
        within("feed-forward size", self.feed_forward, MAX_WIDTH)?;
        within("number of positions", self.positions, MAX_POSITIONS)?;
        within("width of all heads", self.heads.saturating_mul(self.head_size), MAX_WIDTH)?;
        if !self.heads.is_multiple_of(self.kv_heads) || !self.head_size.is_multiple_of(2) {
            return Err(Error::invalid(format!(
                "the model has {} heads of size {} over {} key and value heads; the size must be even and the heads a multiple",
                self.heads, self.head_size, self.kv_heads
            )));
        }
        let is_sound = |value: f64| value.is_finite() && value > 0.0;
        let scaling = match &self.rope.scaling {
            RopeScaling::None => true,
            RopeScaling::Linear { factor } => is_sound(*factor),
            RopeScaling::Llama3 { factor, low, high, original } => {
                [*factor, *low, *high, *original].into_iter().all(is_sound) && high > low
            }
            RopeScaling::Each { factors } => {
                factors.len() == self.head_size / 2 && factors.iter().copied().all(is_sound)
            }
        };
        if !is_sound(self.norm_epsilon) || !is_sound(self.rope.theta) || !scaling {
            return Err(Error::invalid("the model's norm or position constants are not positive numbers"));
        }
        Ok(())
    }

    /// Returns how many query heads share one key and value head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Returns the width of all query heads.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_size
    }

    /// Returns the width of all key heads, which is that of all value heads too.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_size
    }

    /// Returns the bytes that keys and values of one token take in F32.
    pub fn kv_bytes_per_token(&self) -> usize {
        self.layers * 2 * self.kv_width() * 4
    }
}

fn rope(file: &File) -> Result<RopeConfig> {
    let scaling = file.rope_parameters.as_ref().or(file.rope_scaling.as_ref());
    let theta = scaling.and_then(|scaling| scaling.rope_theta).or(file.rope_theta).unwrap_or(10_000.0);
    let Some(scaling) = scaling else { return Ok(RopeConfig { theta, scaling: RopeScaling::None }) };
    let needed = |value: Option<f64>, name: &str| {
        value.ok_or_else(|| Error::invalid(format!("the model's rope_scaling lacks `{name}`")))
    };
    let scaling = match scaling.rope_type.as_deref().unwrap_or("default") {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: needed(scaling.factor, "factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: needed(scaling.factor, "factor")?,
            low: needed(scaling.low_freq_factor, "low_freq_factor")?,
            high: needed(scaling.high_freq_factor, "high_freq_factor")?,
            original: needed(scaling.original_max_position_embeddings, "original_max_position_embeddings")?,
        },
        other => {
            return Err(Error::invalid(format!(
                "the model stretches positions by `{other}`, use one with default, linear or llama3"
            )));
        }
    };
    Ok(RopeConfig { theta, scaling })
}
