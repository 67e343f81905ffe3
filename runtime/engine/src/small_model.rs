//! A model for tests: as small as one can be that has all that models have, with weights of chance; and a place for its files.

use std::collections::{BTreeMap, HashMap};

use candle_core::{Device, Tensor};

use crate::adapter::{LowRank, Target};
use crate::config::{ModelConfig, RopeConfig, RopeScaling};
use crate::decoder::Decoder;
use crate::dice::Dice;
use crate::weights::{Weight, Weights};

pub(crate) fn small_config() -> ModelConfig {
    ModelConfig {
        vocabulary: 40,
        hidden: 32,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_size: 8,
        feed_forward: 48,
        rope: RopeConfig { theta: 10_000.0, scaling: RopeScaling::None },
        norm_epsilon: 1e-5,
        positions: 512,
        is_tied: true,
        has_query_bias: false,
        has_head_norm: false,
        end_tokens: Vec::new(),
    }
}

pub(crate) fn random(dice: &mut Dice, shape: &[usize]) -> Tensor {
    let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| (dice.normal() * 0.2) as f32).collect();
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

pub(crate) fn small_weights(config: &ModelConfig, seed: u64) -> HashMap<String, Tensor> {
    let mut dice = Dice::new(seed);
    let mut weights = HashMap::new();
    let mut add = |name: String, shape: &[usize]| weights.insert(name, random(&mut dice, shape));
    add("model.embed_tokens.weight".to_owned(), &[config.vocabulary, config.hidden]);
    add("model.norm.weight".to_owned(), &[config.hidden]);
    if !config.is_tied {
        add("lm_head.weight".to_owned(), &[config.vocabulary, config.hidden]);
    }
    for layer in 0..config.layers {
        let path = |part: &str| format!("model.layers.{layer}.{part}");
        for norm in ["input_layernorm.weight", "post_attention_layernorm.weight"] {
            add(path(norm), &[config.hidden]);
        }
        if config.has_head_norm {
            for norm in ["self_attn.q_norm.weight", "self_attn.k_norm.weight"] {
                add(path(norm), &[config.head_size]);
            }
        }
        for target in Target::ALL {
            let (out, width) = target.shape(config);
            add(path(&format!("{}.weight", target.path())), &[out, width]);
            if config.has_query_bias && matches!(target, Target::Query | Target::Key | Target::Value) {
                add(path(&format!("{}.bias", target.path())), &[out]);
            }
        }
    }
    weights
}

pub(crate) fn small_decoder(config: &ModelConfig, seed: u64) -> Decoder {
    let weights = small_weights(config, seed).into_iter().map(|(name, tensor)| (name, Weight::Plain(tensor)));
    Decoder::new(config.clone(), &Weights::new(weights.collect()), &Device::Cpu).unwrap()
}

pub(crate) fn tokens(seed: u64, count: usize, config: &ModelConfig) -> Vec<u32> {
    let mut dice = Dice::new(seed);
    (0..count).map(|_| u32::try_from(dice.below(config.vocabulary)).unwrap()).collect()
}

pub(crate) fn small_changes(config: &ModelConfig, seed: u64, rank: usize) -> BTreeMap<(usize, Target), LowRank> {
    let mut dice = Dice::new(seed);
    let mut changes = BTreeMap::new();
    for layer in 0..config.layers {
        for target in [Target::Query, Target::Value, Target::Down] {
            let (out, width) = target.shape(config);
            let (a, b) = (random(&mut dice, &[rank, width]), random(&mut dice, &[out, rank]));
            changes.insert((layer, target), LowRank { a, b });
        }
    }
    changes
}

/// Makes a folder for a test, in memory where the system has a place for that: thousands of files are written and broken.
pub(crate) fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap()
}
