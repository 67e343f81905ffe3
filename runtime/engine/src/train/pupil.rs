//! A decoder that can be taught: a forward pass over a batch of rows through which gradients flow, to all of its weights or to
//! an adapter over weights that stay as they are.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};

use crate::adapter::{LowRank, Target};
use crate::config::ModelConfig;
use crate::dice::Dice;
use crate::error::{Error, Result};
use crate::numbers::Precision;
use crate::rope::Rope;
use crate::weights::Weights;

use super::batch::{Batch, Part};
use super::operations::{adapted, attention, frozen, gated, rms_norm, surprise, turn};

/// A decoder in a school.
pub struct Pupil {
    config: ModelConfig,
    rope: Rope,
    /// All weights by name; those that are taught are those of the variables.
    weights: BTreeMap<String, Tensor>,
    variables: BTreeMap<String, Var>,
    changes: BTreeMap<(usize, Target), (Var, Var)>,
    scale: f64,
}

impl Pupil {
    /// Makes a decoder that knows nothing yet; all of its weights are taught.
    ///
    /// # Errors
    /// `Invalid` where the shape is none that is taught from nothing: with biases, head norms or a head of its own.
    pub fn new(config: ModelConfig, seed: u64) -> Result<Self> {
        config.check()?;
        if config.has_query_bias || config.has_head_norm || !config.is_tied {
            return Err(Error::invalid(
                "a model with biases, head norms or a head of its own is not taught from nothing",
            ));
        }
        let mut dice = Dice::new(seed);
        let mut variables = BTreeMap::new();
        let mut add = |name: String, shape: &[usize], deviation: f64| -> Result<()> {
            let values = random(&mut dice, shape.iter().product(), deviation);
            variables.insert(name, Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu)?)?);
            Ok(())
        };
        let narrowed = |width: usize| 1.0 / (width as f64).sqrt();
        add("model.embed_tokens.weight".to_owned(), &[config.vocabulary, config.hidden], narrowed(config.hidden))?;
        for layer in 0..config.layers {
            for target in Target::ALL {
                let (out, width) = target.shape(&config);
                // What writes into the residual stream begins small, so that depth does not drown the embedding.
                let quiet = if matches!(target, Target::Output | Target::Down) { 0.2 } else { 1.0 };
                add(format!("model.layers.{layer}.{}.weight", target.path()), &[out, width], narrowed(width) * quiet)?;
            }
        }
        let norms = (0..config.layers).flat_map(|layer| {
            ["input_layernorm", "post_attention_layernorm"].map(|norm| format!("model.layers.{layer}.{norm}.weight"))
        });
        for name in norms.chain(["model.norm.weight".to_owned()]) {
            let ones = Tensor::ones(config.hidden, DType::F32, &Device::Cpu)?;
            variables.insert(name, Var::from_tensor(&ones)?);
        }
        let weights = variables.iter().map(|(name, variable)| (name.clone(), variable.as_tensor().clone())).collect();
        Ok(Self { rope: Rope::new(&config), config, weights, variables, changes: BTreeMap::new(), scale: 0.0 })
    }

    /// Takes a model as it is, to teach it an adapter.
    ///
    /// # Errors
    /// As [`crate::decoder::Decoder::new`].
    pub fn with_adapter(config: ModelConfig, weights: &Weights, plan: &AdapterShape) -> Result<Self> {
        config.check()?;
        plan.check()?;
        let device = Device::Cpu;
        let mut all = BTreeMap::new();
        let mut take = |name: String, shape: &[usize]| -> Result<()> {
            let tensor = weights.tensor(&name, shape, &device)?;
            all.insert(name, tensor);
            Ok(())
        };
        take("model.embed_tokens.weight".to_owned(), &[config.vocabulary, config.hidden])?;
        take("model.norm.weight".to_owned(), &[config.hidden])?;
        if !config.is_tied && weights.has("lm_head.weight") {
            take("lm_head.weight".to_owned(), &[config.vocabulary, config.hidden])?;
        }
        for layer in 0..config.layers {
            let named = |part: &str| format!("model.layers.{layer}.{part}");
            take(named("input_layernorm.weight"), &[config.hidden])?;
            take(named("post_attention_layernorm.weight"), &[config.hidden])?;
            for target in Target::ALL {
                let (out, width) = target.shape(&config);
                take(named(&format!("{}.weight", target.path())), &[out, width])?;
                if config.has_query_bias && matches!(target, Target::Query | Target::Key | Target::Value) {
                    take(named(&format!("{}.bias", target.path())), &[out])?;
                }
            }
            if config.has_head_norm {
                take(named("self_attn.q_norm.weight"), &[config.head_size])?;
                take(named("self_attn.k_norm.weight"), &[config.head_size])?;
            }
        }
        let mut dice = Dice::new(plan.seed);
        let mut changes = BTreeMap::new();
        for layer in 0..config.layers {
            for target in &plan.targets {
                let (out, width) = target.shape(&config);
                let a = random(&mut dice, plan.rank * width, 1.0 / (width as f64).sqrt());
                let a = Var::from_tensor(&Tensor::from_vec(a, (plan.rank, width), &device)?)?;
                // From nothing: before the first step, the model is as it was.
                let b = Var::from_tensor(&Tensor::zeros((out, plan.rank), DType::F32, &device)?)?;
                changes.insert((layer, *target), (a, b));
            }
        }
        let variables = BTreeMap::new();
        Ok(Self { rope: Rope::new(&config), config, weights: all, variables, changes, scale: plan.scale() })
    }

    /// Returns how its positions turn.
    pub fn rope(&self) -> &Rope {
        &self.rope
    }

    /// Returns its shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Returns all that is taught.
    pub fn variables(&self) -> Vec<Var> {
        let changes = self.changes.values().flat_map(|(a, b)| [a.clone(), b.clone()]);
        self.variables.values().cloned().chain(changes).collect()
    }

    /// Returns how many numbers are taught.
    pub fn parameters(&self) -> usize {
        self.variables().iter().map(|variable| variable.elem_count()).sum()
    }

    /// Returns a copy of the adapter as it is now.
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn changes(&self) -> Result<BTreeMap<(usize, Target), LowRank>> {
        let copy = |variable: &Var| variable.as_tensor().detach().copy();
        self.changes.iter().map(|(at, (a, b))| Ok((*at, LowRank { a: copy(a)?, b: copy(b)? }))).collect()
    }

    /// Writes the weights that are taught as safetensors.
    ///
    /// # Errors
    /// `Unavailable` when the file cannot be written.
    pub fn save(&self, path: &Path, precision: Precision) -> Result<()> {
        let kind = match precision {
            Precision::F32 => DType::F32,
            Precision::F16 => DType::F16,
            Precision::Bf16 => DType::BF16,
        };
        let weights = self.variables.iter().map(|(name, variable)| Ok((name.clone(), variable.to_dtype(kind)?)));
        let weights: HashMap<String, Tensor> = weights.collect::<Result<_>>()?;
        candle_core::safetensors::save(&weights, path)
            .map_err(|e| Error::unavailable(format!("`{}` cannot be written: {e}", path.display())).with_source(e))
    }

    /// Goes on with weights that were saved.
    ///
    /// # Errors
    /// `Corrupt` where a weight is missing or has another shape.
    pub fn restore(&self, path: &Path) -> Result<()> {
        let saved = candle_core::safetensors::load(path, &Device::Cpu)?;
        for (name, variable) in &self.variables {
            let weight = saved.get(name).filter(|weight| weight.dims() == variable.dims());
            let weight =
                weight.ok_or_else(|| Error::corrupt(format!("`{}` lacks the weight `{name}`", path.display())))?;
            variable.set(&weight.to_dtype(DType::F32)?)?;
        }
        Ok(())
    }

    /// Returns the logits at the places that a batch asks for: (places, vocabulary).
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn read(&self, batch: &Batch) -> Result<Tensor> {
        let x = self.ask(batch, &self.tell(batch)?, Acts::Yes)?;
        self.product(&x, self.head()?)
    }

    /// Returns the mean surprise of the adapter at what a batch expects beside the base, and for each answer whether it is one
    /// that is kept and whether all of it is as expected.
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn read_beside_base(&self, batch: &Batch) -> Result<(Tensor, Vec<(bool, bool)>)> {
        let (told, head) = (self.tell(batch)?, self.head()?);
        let base = self.ask(batch, &told, Acts::No)?.detach().matmul(&head.t()?)?;
        let x = self.ask(batch, &told, Acts::Yes)?;
        let right = batch.right_beside(&x.detach().matmul(&head.t()?)?, &base)?;
        Ok((surprise(&x, head, &batch.expected_beside(&base)?)?, right))
    }

    /// Reads what a batch tells, and returns the keys and values of each block.
    fn tell(&self, batch: &Batch) -> Result<Vec<(Tensor, Tensor)>> {
        let mut told = Vec::new();
        if batch.told.length == 0 {
            return Ok(told);
        }
        let mut x = self.embed(&batch.told)?;
        for layer in 0..self.config.layers {
            let (next, keys, values) = self.block(layer, &x, batch.rows, &batch.told, None, Acts::No)?;
            // An adapter acts from the question on: what was told stays as the base reads it, and is not gone back through.
            let kept = |tensor: Tensor| if self.changes.is_empty() { tensor } else { tensor.detach() };
            x = kept(next);
            told.push((kept(keys), kept(values)));
        }
        Ok(told)
    }

    /// Returns what the head reads at the places that a batch asks for: (places, in).
    fn ask(&self, batch: &Batch, told: &[(Tensor, Tensor)], acts: Acts) -> Result<Tensor> {
        let mut x = self.embed(&batch.asked)?;
        for layer in 0..self.config.layers {
            (x, _, _) = self.block(layer, &x, batch.rows, &batch.asked, told.get(layer), acts)?;
        }
        let x = x.index_select(&batch.places, 0)?;
        Ok(rms_norm(&x, self.weight("model.norm")?, self.config.norm_epsilon as f32)?)
    }

    fn head(&self) -> Result<&Tensor> {
        self.weights.get("lm_head.weight").map_or_else(|| self.weight("model.embed_tokens"), Ok)
    }

    fn embed(&self, part: &Part) -> Result<Tensor> {
        Ok(self.weight("model.embed_tokens")?.index_select(&part.tokens, 0)?)
    }

    /// Returns the stream behind a block, and the block's keys and values: (rows, heads, places, size).
    fn block(
        &self,
        layer: usize,
        x: &Tensor,
        rows: usize,
        part: &Part,
        told: Option<&(Tensor, Tensor)>,
        acts: Acts,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let config = &self.config;
        let epsilon = config.norm_epsilon as f32;
        let named = |part: &str| self.weight(&format!("model.layers.{layer}.{part}"));
        let apply = |target: Target, x: &Tensor| self.apply(layer, target, x, acts);
        let y = rms_norm(x, named("input_layernorm")?, epsilon)?;
        let heads = |target: Target, heads: usize, norm: &str| -> Result<Tensor> {
            let made = apply(target, &y)?.reshape((rows, part.length, heads, config.head_size))?;
            match self.weights.get(&format!("model.layers.{layer}.self_attn.{norm}.weight")) {
                Some(norm) => rms_norm(&made, norm, epsilon).map_err(Into::into),
                None => Ok(made),
            }
        };
        let turned = |x: Tensor| turn(&x, &part.cosines, &part.sines);
        let query = turned(heads(Target::Query, config.heads, "q_norm")?)?;
        let keys = turned(heads(Target::Key, config.kv_heads, "k_norm")?)?.transpose(1, 2)?.contiguous()?;
        let values = heads(Target::Value, config.kv_heads, "")?.transpose(1, 2)?.contiguous()?;
        let seen = self.attend(&query, &keys, &values, told, part)?;
        let x = (x + apply(Target::Output, &seen)?)?;
        let y = rms_norm(&x, named("post_attention_layernorm")?, epsilon)?;
        let inner = gated(&apply(Target::Gate, &y)?, &apply(Target::Up, &y)?)?;
        Ok(((x + apply(Target::Down, &inner)?)?, keys, values))
    }

    fn attend(
        &self,
        query: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        told: Option<&(Tensor, Tensor)>,
        part: &Part,
    ) -> Result<Tensor> {
        let config = &self.config;
        let (rows, length) = (query.dim(0)?, part.length);
        let all = |told: Option<&Tensor>, own: &Tensor| match told {
            Some(told) => Tensor::cat(&[told, own], 2),
            None => Ok(own.clone()),
        };
        let keys = all(told.map(|(keys, _)| keys), keys)?;
        let values = all(told.map(|(_, values)| values), values)?;
        let grouped = (rows, config.kv_heads, config.group() * length, config.head_size);
        let query = query.transpose(1, 2)?.contiguous()?.reshape(grouped)?;
        let seen = attention(&query, &keys, &values, &part.mask)?;
        let seen = seen.reshape((rows, config.heads, length, config.head_size))?;
        Ok(seen.transpose(1, 2)?.contiguous()?.reshape((rows * length, config.query_width()))?)
    }

    fn apply(&self, layer: usize, target: Target, x: &Tensor, acts: Acts) -> Result<Tensor> {
        let path = format!("model.layers.{layer}.{}", target.path());
        let weight = self.weight(&path)?;
        let y = match self.changes.get(&(layer, target)).filter(|_| acts == Acts::Yes) {
            Some((a, b)) => adapted(x, weight, a, b, self.scale)?,
            None => self.product(x, weight)?,
        };
        Ok(match self.weights.get(&format!("{path}.bias")) {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        })
    }

    /// Multiplies with a weight, which is taught unless an adapter is.
    fn product(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        Ok(if self.changes.is_empty() { x.matmul(&weight.t()?)? } else { frozen(x, weight)? })
    }

    fn weight(&self, name: &str) -> Result<&Tensor> {
        let weight = self.weights.get(&format!("{name}.weight"));
        weight.ok_or_else(|| Error::not_found(format!("the model has no weight `{name}`")))
    }
}

/// Whether an adapter acts on a part of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acts {
    Yes,
    No,
}

/// The shape of an adapter that is to be taught.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterShape {
    /// Width of the narrow part.
    pub rank: usize,
    /// What its changes are multiplied by, over the rank.
    pub alpha: f64,
    /// Which layers of each block it changes. Facts go into the feed-forward; what attention reads stays as it is.
    pub targets: Vec<Target>,
    /// Decides its first numbers.
    pub seed: u64,
}

/// The widest narrow part.
pub const MAX_RANK: usize = 256;

impl Default for AdapterShape {
    fn default() -> Self {
        Self { rank: 32, alpha: 64.0, targets: vec![Target::Gate, Target::Up, Target::Down], seed: 1 }
    }
}

impl AdapterShape {
    /// Returns the factor of its changes.
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    fn check(&self) -> Result<()> {
        if self.rank == 0 || self.rank > MAX_RANK || self.targets.is_empty() || !self.alpha.is_finite() {
            return Err(Error::invalid(format!(
                "an adapter of rank {} on {} layers cannot be taught, use a rank of 1 to {MAX_RANK} and at least one layer",
                self.rank,
                self.targets.len()
            )));
        }
        Ok(())
    }
}

fn random(dice: &mut Dice, count: usize, deviation: f64) -> Vec<f32> {
    (0..count).map(|_| (dice.normal() * deviation) as f32).collect()
}
