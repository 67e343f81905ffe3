//! The decoder beside an independent one: `transformers` on PyTorch reads the same weights and gives the same logits.
//!
//! Its logits are kept in `parity.json`, and held against ours wherever the tests run. Where Python has `torch` and `transformers`
//! they are computed anew too; with `MEMOS_PARITY=write` they are written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use candle_core::{DType, Device};
use memos_engine::adapter::AdapterMix;
use memos_engine::chance;
use memos_engine::decoder::Decoder;
use memos_engine::model::Model;
use memos_engine::model_files::ModelFiles;
use memos_engine::tensor_file::{self, RawTensor};
use memos_engine::weights::{Weight, Weights};
use safetensors::Dtype;
use serde_json::{Value, json};

/// Reads so many tokens at a time, so that a cache is met too.
const STEP: usize = 5;

/// Prints the logits behind the last token of each model: {name: [...]}.
const SCRIPT: &str = r#"
import json, sys, torch
from transformers import AutoModelForCausalLM
said = {}
for folder, name, tokens in json.loads(sys.argv[1]):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        said[name] = model(torch.tensor([tokens])).logits[0, -1].tolist()
print(json.dumps(said))
"#;

struct Case {
    name: &'static str,
    config: Value,
    weights: Weights,
}

fn shape(family: &str, extra: Value) -> Value {
    let mut config = json!({
        "model_type": family, "vocab_size": 96, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6,
        "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 80, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 256, "tie_word_embeddings": true, "hidden_act": "silu", "rope_theta": 10000.0,
        "initializer_range": 0.02, "bos_token_id": 0, "eos_token_id": 1
    });
    config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    config
}

fn cases() -> Vec<Case> {
    let scaled = json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}, "rope_theta": 500.0});
    let wide = json!({"head_dim": 16, "use_sliding_window": false});
    let mut cases: Vec<Case> = [
        ("llama", "llama", json!({"attention_bias": false, "mlp_bias": false})),
        ("llama with scaled positions", "llama", scaled),
        ("qwen2", "qwen2", json!({"use_sliding_window": false})),
        ("qwen3", "qwen3", wide),
    ]
    .into_iter()
    .map(|(name, family, extra)| {
        let config = shape(family, extra);
        let read = memos_engine::config::ModelConfig::from_json(&config.to_string()).unwrap();
        Case { name, weights: chance::weights(&read, 5, false).unwrap(), config }
    })
    .collect();
    let small = Model::small().unwrap();
    let own = small.decoder().config();
    let config = json!({
        "model_type": "llama", "vocab_size": own.vocabulary, "hidden_size": own.hidden, "num_hidden_layers": own.layers,
        "num_attention_heads": own.heads, "num_key_value_heads": own.kv_heads, "head_dim": own.head_size,
        "intermediate_size": own.feed_forward, "rms_norm_eps": own.norm_epsilon,
        "max_position_embeddings": own.positions, "tie_word_embeddings": own.is_tied, "hidden_act": "silu",
        "rope_theta": own.rope.theta, "attention_bias": false, "mlp_bias": false
    });
    let weights = small.weights().iter().map(|(name, weight)| (name.to_owned(), weight.clone())).collect();
    cases.push(Case { name: "the one that ships", config, weights: Weights::new(weights) });
    cases
}

fn write(case: &Case, folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("config.json"), case.config.to_string()).unwrap();
    let mut tensors = BTreeMap::new();
    let mut held: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, weight) in case.weights.iter() {
        let Weight::Plain(tensor) = weight else { panic!("{name} is quantized") };
        let numbers: Vec<f32> = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        held.push((name.to_owned(), tensor.dims().to_vec(), bytes));
    }
    for (name, shape, bytes) in &held {
        tensors.insert(name.clone(), RawTensor { kind: Dtype::F32, shape, bytes });
    }
    // What reads models of PyTorch looks for this.
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    tensor_file::write(&folder.join("model.safetensors"), metadata, &tensors).unwrap();
}

fn ours(folder: &Path, tokens: &[u32]) -> Vec<f32> {
    let files = ModelFiles::load(folder, |_| ()).unwrap();
    let decoder = Decoder::new(files.config, &files.weights, &Device::Cpu).unwrap();
    let (mut cache, none) = (decoder.cache(), AdapterMix::default());
    let mut logits = Vec::new();
    for tokens in tokens.chunks(STEP) {
        logits = decoder.prefill(tokens, &mut cache, &none).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    }
    logits
}

/// Computes the logits anew. Nothing where there is no PyTorch.
fn theirs(asked: &[(PathBuf, &str, Vec<u32>)]) -> Option<BTreeMap<String, Vec<f32>>> {
    let python = |arguments: &[&str]| Command::new("python3").arg("-c").args(arguments).output();
    if !python(&["import torch, transformers"]).is_ok_and(|output| output.status.success()) {
        println!("PyTorch is not here: ours is held against the logits that are kept");
        return None;
    }
    let output = python(&[SCRIPT, &json!(asked).to_string()]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn assert_near(name: &str, one: &[f32], other: &[f32]) {
    assert_eq!(one.len(), other.len(), "{name}");
    let off = one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
    println!("{name}: logits differ by at most {off:.1e}");
    assert!(off < 1e-4, "{name}: they differ by {off}");
}

#[test]
fn logits_are_those_of_an_independent_implementation() {
    let folder = tempfile::tempdir().unwrap();
    let mut asked = Vec::new();
    for (number, case) in cases().iter().enumerate() {
        let path = folder.path().join(number.to_string());
        write(case, &path);
        let config = memos_engine::config::ModelConfig::from_json(&case.config.to_string()).unwrap();
        asked.push((path, case.name, chance::tokens(&config, 3, 40)));
    }
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity.json");
    let computed = theirs(&asked);
    if let Some(computed) = &computed
        && std::env::var("MEMOS_PARITY").is_ok_and(|what| what == "write")
    {
        std::fs::write(&kept, serde_json::to_string(computed).unwrap()).unwrap();
    }
    let kept: BTreeMap<String, Vec<f32>> = serde_json::from_str(&std::fs::read_to_string(&kept).unwrap()).unwrap();
    for (path, name, tokens) in &asked {
        let ours = ours(path, tokens);
        assert_near(name, &ours, &kept[*name]);
        if let Some(computed) = &computed {
            assert_near(name, &ours, &computed[*name]);
        }
    }
}
