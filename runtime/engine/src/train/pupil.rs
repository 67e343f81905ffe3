//! A decoder that can be taught: its weights as variables, and a forward pass over a batch of rows with gradients.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Tensor, Var};

use crate::config::ModelConfig;
use crate::dice::Dice;
use crate::error::{Error, Result};
use crate::lesson::Row;
use crate::rope::Rope;

use super::operations::{masked_softmax, rms_norm, turn};

/// Rows of one lesson, padded to one length.
pub struct Batch {
    tokens: Tensor,
    mask: Tensor,
    cosines: Tensor,
    sines: Tensor,
    /// Which flat places are asked for.
    places: Tensor,
    /// What is to follow there.
    targets: Tensor,
    target_list: Vec<u32>,
    answers: Vec<usize>,
    rows: usize,
    length: usize,
}

impl Batch {
    /// Lays rows side by side.
    ///
    /// # Errors
    /// `Invalid` where a row asks for nothing.
    pub fn new(rows: &[Row], rope: &Rope, padding: u32) -> Result<Self> {
        let device = Device::Cpu;
        let length = rows.iter().map(|row| row.tokens.len()).max().unwrap_or(0);
        let (mut tokens, mut mask, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        let (mut places, mut targets, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for (number, row) in rows.iter().enumerate() {
            let missing = length - row.tokens.len();
            tokens.extend(row.tokens.iter().copied().chain(std::iter::repeat_n(padding, missing)));
            positions.extend(row.positions.iter().map(|p| i64::from(*p)).chain(std::iter::repeat_n(0, missing)));
            for place in 0..length {
                mask.extend((0..length).map(|other| if row.sees(place, other) { 0.0 } else { f32::NEG_INFINITY }));
            }
            for (place, target) in &row.targets {
                places.push(u32::try_from(number * length + place).unwrap_or(u32::MAX));
                targets.push(*target);
            }
            answers.extend(&row.answers);
        }
        if targets.is_empty() {
            return Err(Error::invalid("a lesson asks for nothing, give its rows answers"));
        }
        let (cosines, sines) = rope.rows(positions.into_iter(), &device)?;
        let half = cosines.dim(1)?;
        Ok(Self {
            tokens: Tensor::from_vec(tokens, rows.len() * length, &device)?,
            mask: Tensor::from_vec(mask, (rows.len(), 1, length, length), &device)?,
            cosines: cosines.reshape((rows.len(), length, half))?,
            sines: sines.reshape((rows.len(), length, half))?,
            places: Tensor::new(places, &device)?,
            targets: Tensor::new(targets.as_slice(), &device)?,
            target_list: targets,
            answers,
            rows: rows.len(),
            length,
        })
    }

    /// Returns how many tokens are read, padding too.
    pub fn tokens(&self) -> usize {
        self.rows * self.length
    }

    /// Returns the mean surprise at the answers.
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn loss(&self, logits: &Tensor) -> Result<Tensor> {
        Ok(candle_nn::loss::cross_entropy(logits, &self.targets)?)
    }

    /// Returns for each answer whether all of it would have been said.
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn right(&self, logits: &Tensor) -> Result<Vec<bool>> {
        let said: Vec<u32> = logits.argmax(D::Minus1)?.to_vec1()?;
        let mut pairs = said.iter().zip(&self.target_list);
        Ok(self
            .answers
            .iter()
            .map(|length| pairs.by_ref().take(*length).filter(|(a, b)| a != b).count() == 0)
            .collect())
    }
}

/// A decoder whose weights are variables.
pub struct Pupil {
    config: ModelConfig,
    rope: Rope,
    variables: BTreeMap<String, Var>,
}

impl Pupil {
    /// Makes a decoder that knows nothing yet.
    ///
    /// # Errors
    /// `Invalid` where the shape is none that can be taught: biases, and a head of its own.
    pub fn new(config: ModelConfig, seed: u64) -> Result<Self> {
        config.check()?;
        if config.has_query_bias || config.has_head_norm || !config.is_tied {
            return Err(Error::invalid(
                "a model with biases, head norms or a head of its own cannot be taught from nothing",
            ));
        }
        let mut dice = Dice::new(seed);
        let mut variables = BTreeMap::new();
        let mut add = |name: String, shape: &[usize], deviation: Option<f64>| -> Result<()> {
            let count = shape.iter().product();
            let values: Vec<f32> = match deviation {
                None => vec![1.0; count],
                Some(deviation) => (0..count).map(|_| (dice.normal() * deviation) as f32).collect(),
            };
            variables.insert(name, Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu)?)?);
            Ok(())
        };
        let (hidden, inner) = (config.hidden, config.feed_forward);
        let (query, key) = (config.query_width(), config.kv_width());
        let from = |width: usize| 1.0 / (width as f64).sqrt();
        // What writes into the residual stream begins small, so that depth does not drown the embedding.
        let quiet = 0.2;
        add("model.embed_tokens.weight".to_owned(), &[config.vocabulary, hidden], Some(from(hidden)))?;
        add("model.norm.weight".to_owned(), &[hidden], None)?;
        for layer in 0..config.layers {
            let named = |part: &str| format!("model.layers.{layer}.{part}.weight");
            add(named("input_layernorm"), &[hidden], None)?;
            add(named("post_attention_layernorm"), &[hidden], None)?;
            add(named("self_attn.q_proj"), &[query, hidden], Some(from(hidden)))?;
            add(named("self_attn.k_proj"), &[key, hidden], Some(from(hidden)))?;
            add(named("self_attn.v_proj"), &[key, hidden], Some(from(hidden)))?;
            add(named("self_attn.o_proj"), &[hidden, query], Some(from(query) * quiet))?;
            add(named("mlp.gate_proj"), &[inner, hidden], Some(from(hidden)))?;
            add(named("mlp.up_proj"), &[inner, hidden], Some(from(hidden)))?;
            add(named("mlp.down_proj"), &[hidden, inner], Some(from(inner) * quiet))?;
        }
        Ok(Self { rope: Rope::new(&config), config, variables })
    }

    /// Returns how its positions turn.
    pub fn rope(&self) -> &Rope {
        &self.rope
    }

    /// Returns its weights by name.
    pub fn variables(&self) -> &BTreeMap<String, Var> {
        &self.variables
    }

    /// Returns how many numbers it has.
    pub fn parameters(&self) -> usize {
        self.variables.values().map(|variable| variable.elem_count()).sum()
    }

    /// Returns the logits at the places that a batch asks for: (places, vocabulary).
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn read(&self, batch: &Batch) -> Result<Tensor> {
        let config = &self.config;
        let (rows, length) = (batch.rows, batch.length);
        let epsilon = config.norm_epsilon as f32;
        let scale = 1.0 / (config.head_size as f32).sqrt();
        let embedding = self.weight("model.embed_tokens")?;
        let mut x = embedding.index_select(&batch.tokens, 0)?;
        for layer in 0..config.layers {
            let named = |part: &str| self.weight(&format!("model.layers.{layer}.{part}"));
            let apply = |x: &Tensor, part: &str| -> Result<Tensor> { Ok(x.matmul(&named(part)?.t()?)?) };
            let y = rms_norm(&x, named("input_layernorm")?, epsilon)?;
            let heads = |y: Tensor, heads: usize| y.reshape((rows, length, heads, config.head_size));
            let q = turn(&heads(apply(&y, "self_attn.q_proj")?, config.heads)?, &batch.cosines, &batch.sines)?;
            let k = turn(&heads(apply(&y, "self_attn.k_proj")?, config.kv_heads)?, &batch.cosines, &batch.sines)?;
            let v = heads(apply(&y, "self_attn.v_proj")?, config.kv_heads)?;
            let grouped = (rows, config.kv_heads, config.group() * length, config.head_size);
            let q = q.transpose(1, 2)?.contiguous()?.reshape(grouped)?;
            let k = k.transpose(1, 2)?.contiguous()?;
            let v = v.transpose(1, 2)?.contiguous()?;
            let scores = q.matmul(&k.transpose(2, 3)?)?.reshape((rows, config.heads, length, length))?;
            let weights = masked_softmax(&scores, &batch.mask, scale)?;
            let weights = weights.reshape((rows, config.kv_heads, config.group() * length, length))?;
            let seen = weights.matmul(&v)?.reshape((rows, config.heads, length, config.head_size))?;
            let seen = seen.transpose(1, 2)?.contiguous()?.reshape((rows * length, config.query_width()))?;
            x = (x + apply(&seen, "self_attn.o_proj")?)?;
            let y = rms_norm(&x, named("post_attention_layernorm")?, epsilon)?;
            let gate = apply(&y, "mlp.gate_proj")?.silu()?;
            x = (x + apply(&(gate * apply(&y, "mlp.up_proj")?)?, "mlp.down_proj")?)?;
        }
        let x = x.index_select(&batch.places, 0)?;
        let x = rms_norm(&x, self.weight("model.norm")?, epsilon)?;
        Ok(x.matmul(&embedding.t()?)?)
    }

    fn weight(&self, name: &str) -> Result<&Tensor> {
        let variable = self.variables.get(&format!("{name}.weight"));
        Ok(variable.ok_or_else(|| Error::not_found(format!("the model has no weight `{name}`")))?.as_tensor())
    }

    /// Writes its weights as safetensors, in F16 or as they are.
    ///
    /// # Errors
    /// `Unavailable` when the file cannot be written.
    pub fn save(&self, path: &std::path::Path, kind: DType) -> Result<()> {
        let tensors = self.variables.iter().map(|(name, variable)| Ok((name.clone(), variable.to_dtype(kind)?)));
        let tensors: std::collections::HashMap<String, Tensor> = tensors.collect::<Result<_>>()?;
        Ok(candle_core::safetensors::save(&tensors, path)?)
    }
}
