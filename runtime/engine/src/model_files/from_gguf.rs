//! A model out of a GGUF file: its entries become a shape, its names those of published models, and what its writer turned
//! around is turned back.

use std::collections::HashMap;

use super::LoadingProgress;
use crate::adapter::Target;
use crate::config::{ModelConfig, RopeConfig, RopeScaling};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};
use crate::weights::Weight;

/// The factors that Llama 3.1's writers keep as a tensor.
const FACTORS: &str = "rope_freqs.weight";

pub(super) fn load(
    file: &Gguf,
    tell: &mut dyn FnMut(LoadingProgress),
) -> Result<(ModelConfig, HashMap<String, Weight>)> {
    let config = config(file)?;
    let is_llama = matches!(file.value("general.architecture"), Some(Value::Text(family)) if family == "llama");
    let places: Vec<(&str, String)> = file
        .shapes()
        .filter(|(name, _)| *name != FACTORS && !(config.is_tied && *name == "output.weight"))
        .map(|(name, _)| {
            let unused = || Error::invalid(format!("it has the tensor `{name}`, which this decoder does not use"));
            Ok((name, published(name, &config).ok_or_else(unused)?))
        })
        .collect::<Result<_>>()?;
    let bytes_of = |weight: &Weight| match weight {
        Weight::Plain(tensor) => tensor.elem_count() * tensor.dtype().size_in_bytes(),
        Weight::Quantized(tensor) => tensor.storage_size_in_bytes(),
    } as u64;
    let bytes_total = file.bytes_of_tensors();
    let (mut weights, mut bytes) = (HashMap::new(), 0);
    for (name, published) in places {
        let heads = match name.split('.').nth(2) {
            Some("attn_q") if is_llama => Some(config.heads),
            Some("attn_k") if is_llama => Some(config.kv_heads),
            _ => None,
        };
        let size = config.head_size;
        let rows = heads.map(|heads| heads * size);
        let is_turned =
            rows.is_some_and(|rows| file.shapes().any(|(other, shape)| other == name && shape.first() == Some(&rows)));
        let weight =
            if is_turned { file.weight(name, Some(&|row| written_row(row, size)))? } else { file.weight(name, None)? };
        bytes += bytes_of(&weight);
        weights.insert(published, weight);
        tell(LoadingProgress { bytes, bytes_total });
    }
    Ok((config, weights))
}

/// Returns where the writer of a Llama put a row. It lays the halves of a head, which turn together, next to each other row by
/// row; here they stand one behind the other, as they were published.
fn written_row(row: usize, size: usize) -> usize {
    let (head, place) = (row / size, row % size);
    let half = size / 2;
    head * size + place % half * 2 + place / half
}

fn published(name: &str, config: &ModelConfig) -> Option<String> {
    match name {
        "token_embd.weight" => return Some("model.embed_tokens.weight".to_owned()),
        "output_norm.weight" => return Some("model.norm.weight".to_owned()),
        "output.weight" => return Some("lm_head.weight".to_owned()),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let number: usize = layer.parse().ok().filter(|number: &usize| number.to_string() == layer)?;
    let (part, kind) = rest.split_once('.')?;
    let target = match part {
        "attn_q" => Some(Target::Query),
        "attn_k" => Some(Target::Key),
        "attn_v" => Some(Target::Value),
        "attn_output" => Some(Target::Output),
        "ffn_gate" => Some(Target::Gate),
        "ffn_up" => Some(Target::Up),
        "ffn_down" => Some(Target::Down),
        _ => None,
    };
    let has_bias = config.has_query_bias && matches!(target, Some(Target::Query | Target::Key | Target::Value));
    let path = match (part, target) {
        (_, Some(target)) => target.path(),
        ("attn_norm", _) => "input_layernorm",
        ("ffn_norm", _) => "post_attention_layernorm",
        ("attn_q_norm", _) if config.has_head_norm => "self_attn.q_norm",
        ("attn_k_norm", _) if config.has_head_norm => "self_attn.k_norm",
        _ => return None,
    };
    let is_known = number < config.layers && (kind == "weight" || (kind == "bias" && has_bias));
    is_known.then(|| format!("model.layers.{number}.{path}.{kind}"))
}

fn config(file: &Gguf) -> Result<ModelConfig> {
    let family = match file.value("general.architecture") {
        Some(Value::Text(family)) => family.as_str(),
        _ => return Err(Error::corrupt("it does not say its architecture")),
    };
    if !["llama", "qwen2", "qwen3"].contains(&family) {
        return Err(Error::invalid(format!("the model is of type `{family}`, use one of type llama, qwen2 or qwen3")));
    }
    let name = |name: &str| format!("{family}.{name}");
    let whole_or = |key: &str, other: Option<usize>| -> Result<usize> {
        let wrong = || Error::corrupt(format!("its `{}` is missing or no number", name(key)));
        match file.value(&name(key)) {
            Some(Value::Whole(number)) => usize::try_from(*number).map_err(|_| wrong()),
            None => other.ok_or_else(wrong),
            Some(_) => Err(wrong()),
        }
    };
    let real_or = |key: &str, other: Option<f64>| match (file.value(&name(key)), other) {
        (Some(Value::Real(number)), _) => Ok(*number),
        (None, Some(other)) => Ok(other),
        _ => Err(Error::corrupt(format!("its `{}` is missing or no number", name(key)))),
    };
    for key in ["expert_count", "attention.sliding_window"] {
        if whole_or(key, Some(0))? > 0 {
            return Err(Error::invalid(format!("the model has `{}`, which is not done here; use another", name(key))));
        }
    }
    let (hidden, heads) = (whole_or("embedding_length", None)?, whole_or("attention.head_count", None)?);
    let head_size = whole_or("attention.key_length", Some(hidden / heads.max(1)))?;
    for key in ["attention.value_length", "rope.dimension_count"] {
        let size = whole_or(key, Some(head_size))?;
        if size != head_size {
            return Err(Error::invalid(format!(
                "the model's `{}` is {size}, its heads have {head_size}; use another",
                name(key)
            )));
        }
    }
    let shape = |wanted: &str| file.shapes().find(|(name, _)| *name == wanted).map(|(_, shape)| shape);
    let vocabulary = shape("token_embd.weight").and_then(|shape| shape.first().copied());
    let vocabulary = vocabulary.ok_or_else(|| Error::corrupt("it lacks the tensor `token_embd.weight`"))?;
    let end = |key: &str| match file.value(key) {
        Some(Value::Whole(token)) => u32::try_from(*token).ok(),
        _ => None,
    };
    let mut end_tokens: Vec<u32> =
        ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"].into_iter().filter_map(end).collect();
    end_tokens.dedup();
    let mut config = ModelConfig {
        vocabulary,
        hidden,
        layers: whole_or("block_count", None)?,
        heads,
        kv_heads: whole_or("attention.head_count_kv", Some(heads))?,
        head_size,
        feed_forward: whole_or("feed_forward_length", None)?,
        rope: RopeConfig { theta: real_or("rope.freq_base", Some(10_000.0))?, scaling: RopeScaling::None },
        norm_epsilon: real_or("attention.layer_norm_rms_epsilon", None)?,
        positions: whole_or("context_length", None)?,
        is_tied: shape("output.weight").is_none(),
        has_query_bias: family == "qwen2",
        has_head_norm: family == "qwen3",
        end_tokens,
    };
    let is_scaled = match file.value(&name("rope.scaling.type")) {
        None => false,
        Some(Value::Text(kind)) if kind == "none" => false,
        Some(Value::Text(kind)) if kind == "linear" => true,
        other => {
            let kind = format!("{other:?}");
            return Err(Error::invalid(format!(
                "the model stretches positions by `{kind}`, use one with none or linear"
            )));
        }
    };
    if is_scaled {
        config.rope.scaling = RopeScaling::Linear { factor: real_or("rope.scaling.factor", None)? };
    }
    if shape(FACTORS).is_some() {
        let Weight::Plain(factors) = file.weight(FACTORS, None)? else {
            return Err(Error::corrupt(format!("its `{FACTORS}` are quantized")));
        };
        let factors: Vec<f32> = factors.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1()?;
        config.rope.scaling = RopeScaling::Each { factors: factors.into_iter().map(f64::from).collect() };
    }
    config.check()?;
    Ok(config)
}
