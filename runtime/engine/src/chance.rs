//! A model of chance: weights that a formula decides, the same in every language.
//!
//! What a model says does not change how long it takes, so speed is measured on these, and other programs are held against ours
//! on the same numbers without a download. `benches/beside_llama_cpp.py` and `benches/parity.py` have the same formula.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use crate::adapter::{Adapter, LowRank, Target};
use crate::config::{ModelConfig, RopeConfig, RopeScaling};
use crate::dice::Dice;
use crate::error::Result;
use crate::fingerprint::each_of;
use crate::weights::{Weight, Weights};

/// Returns the shape of SmolLM2-135M, with positions for long memories.
pub fn smol_shape() -> ModelConfig {
    ModelConfig {
        vocabulary: 49_152,
        hidden: 576,
        layers: 30,
        heads: 9,
        kv_heads: 3,
        head_size: 64,
        feed_forward: 1536,
        rope: RopeConfig { theta: 100_000.0, scaling: RopeScaling::None },
        norm_epsilon: 1e-5,
        positions: 8192,
        is_tied: true,
        has_query_bias: false,
        has_head_norm: false,
        end_tokens: Vec::new(),
    }
}

/// Returns the names and shapes of a model's weights, in the order in which the formula numbers them.
fn named(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let mut all = vec![("model.embed_tokens.weight".to_owned(), vec![config.vocabulary, config.hidden])];
    for layer in 0..config.layers {
        let mut add = |part: &str, shape: Vec<usize>| all.push((format!("model.layers.{layer}.{part}"), shape));
        add("input_layernorm.weight", vec![config.hidden]);
        add("post_attention_layernorm.weight", vec![config.hidden]);
        for target in Target::ALL {
            let (out, width) = target.shape(config);
            add(&format!("{}.weight", target.path()), vec![out, width]);
            if config.has_query_bias && matches!(target, Target::Query | Target::Key | Target::Value) {
                add(&format!("{}.bias", target.path()), vec![out]);
            }
        }
        if config.has_head_norm {
            add("self_attn.q_norm.weight", vec![config.head_size]);
            add("self_attn.k_norm.weight", vec![config.head_size]);
        }
    }
    all.push(("model.norm.weight".to_owned(), vec![config.hidden]));
    all
}

/// Makes the weights of a tied model: even over a width of `sqrt(3 / in)` to both sides for layers, around 1 for norms, in F32,
/// or with layers quantized to Q8_0.
///
/// # Errors
/// `Unavailable` when memory runs out.
pub fn weights(config: &ModelConfig, seed: u64, is_quantized: bool) -> Result<Weights> {
    let all = named(config);
    let made = each_of(all.len(), |number| {
        let (name, shape) = all.get(number).cloned().unwrap_or_default();
        let mut dice = Dice::new(seed.wrapping_add((number as u64) << 40));
        let width = match shape.as_slice() {
            [_, width] => (3.0 / *width as f64).sqrt(),
            _ => 0.1,
        };
        let middle = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
        let numbers = (0..shape.iter().product()).map(|_| ((dice.unit() * 2.0 - 1.0) * width + middle) as f32);
        let tensor = Tensor::from_vec(numbers.collect(), shape.as_slice(), &Device::Cpu)?;
        Ok((
            name,
            match is_quantized && shape.len() == 2 {
                true => Weight::Quantized(Arc::new(QTensor::quantize(&tensor, GgmlDType::Q8_0)?)),
                false => Weight::Plain(tensor),
            },
        ))
    })?;
    Ok(Weights::new(made.into_iter().collect::<HashMap<_, _>>()))
}

/// Returns so many tokens of chance.
pub fn tokens(config: &ModelConfig, seed: u64, count: usize) -> Vec<u32> {
    let mut dice = Dice::new(seed);
    (0..count).map(|_| dice.below(config.vocabulary) as u32).collect()
}

/// Makes an adapter of chance over the layers that adapters usually change.
///
/// # Errors
/// `Unavailable` when memory runs out.
pub fn adapter(config: &ModelConfig, seed: u64, rank: usize) -> Result<Adapter> {
    let mut dice = Dice::new(seed);
    let mut random = |shape: [usize; 2]| -> Result<Tensor> {
        let numbers = (0..shape.iter().product()).map(|_| (dice.normal() * 0.05) as f32);
        Ok(Tensor::from_vec(numbers.collect(), &shape, &Device::Cpu)?)
    };
    let mut changes = std::collections::BTreeMap::new();
    for layer in 0..config.layers {
        for target in [Target::Query, Target::Value] {
            let (out, width) = target.shape(config);
            changes.insert((layer, target), LowRank { a: random([rank, width])?, b: random([out, rank])? });
        }
    }
    Adapter::new(config, 1.0, &changes)
}
