//! Adapters beside the library that named their format: PEFT reads ours, and we read its. Runs where Python has `torch`,
//! `transformers` and `peft`, and says so where it has not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use candle_core::{Device, Tensor};
use memos_engine::adapter::{AdapterMix, LowRank, Target};
use memos_engine::adapter_file::{AdapterAbout, AdapterFile, Scope};
use memos_engine::decoder::Decoder;
use memos_engine::dice::Dice;
use memos_engine::model_files::ModelFiles;
use memos_engine::segment::Expected;
use memos_engine::tensor_file::{self, RawTensor};
use safetensors::Dtype;

const TOKENS: [u32; 6] = [3, 1, 4, 1, 5, 9];

/// Answers with an adapter of ours, then makes one of its own, saves it and answers with that.
const SCRIPT: &str = r#"
import json, sys, torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM
model, ours, theirs, tokens = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
def base():
    return AutoModelForCausalLM.from_pretrained(model, torch_dtype=torch.float32).eval()
def answer(model):
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0, -1].tolist()
torch.manual_seed(1)
with_ours = answer(PeftModel.from_pretrained(base(), ours).eval())
config = LoraConfig(r=3, lora_alpha=5, target_modules=["k_proj", "gate_proj"], use_rslora=True,
    rank_pattern={"k_proj": 2}, init_lora_weights=False, task_type="CAUSAL_LM")
made = get_peft_model(base(), config).eval()
made.save_pretrained(theirs)
print(json.dumps([with_ours, answer(made)]))
"#;

fn random(dice: &mut Dice, shape: &[usize]) -> Tensor {
    let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| (dice.normal() * 0.2) as f32).collect();
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

fn write_model(folder: &Path) {
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 40, "hidden_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "intermediate_size": 48, "rms_norm_eps": 1e-5, "max_position_embeddings": 512,
        "tie_word_embeddings": false, "hidden_act": "silu", "rope_theta": 10000.0
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut dice = Dice::new(1);
    let mut weights = Vec::new();
    let mut add = |name: String, shape: &[usize]| {
        let numbers: Vec<f32> = random(&mut dice, shape).flatten_all().unwrap().to_vec1().unwrap();
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        weights.push((name, shape.to_vec(), bytes));
    };
    add("model.embed_tokens.weight".to_owned(), &[40, 32]);
    add("lm_head.weight".to_owned(), &[40, 32]);
    add("model.norm.weight".to_owned(), &[32]);
    for layer in 0..2 {
        let path = |part: &str| format!("model.layers.{layer}.{part}.weight");
        add(path("input_layernorm"), &[32]);
        add(path("post_attention_layernorm"), &[32]);
        for (target, shape) in
            Target::ALL.into_iter().zip([[32, 32], [16, 32], [16, 32], [32, 32], [48, 32], [48, 32], [32, 48]])
        {
            add(path(target.path()), &shape);
        }
    }
    let tensors =
        weights.iter().map(|(name, shape, bytes)| (name.clone(), RawTensor { kind: Dtype::F32, shape, bytes }));
    // What reads models of PyTorch looks for this.
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    tensor_file::write(&folder.join("model.safetensors"), metadata, &tensors.collect()).unwrap();
}

fn answer(decoder: &Decoder, adapter: &AdapterFile) -> Vec<f32> {
    let mix = AdapterMix::one(adapter.adapter(decoder.config()).unwrap().into());
    let logits = decoder.prefill(&TOKENS, &mut decoder.cache(), &mix).unwrap();
    logits.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_near(one: &[f32], other: &[f32]) {
    assert_eq!(one.len(), other.len());
    let off = one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
    assert!(off < 1e-4, "they differ by {off}");
}

#[test]
fn peft_reads_ours_and_we_read_its() {
    let python = |code: &str| Command::new("python3").args(["-c", code]).output();
    if !python("import torch, transformers, peft").is_ok_and(|output| output.status.success()) {
        println!("skipped: Python has no torch, transformers and peft");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [model, ours, theirs] = ["model", "ours", "theirs"].map(|name| folder.path().join(name));
    std::fs::create_dir(&model).unwrap();
    write_model(&model);
    let files = ModelFiles::load(&model, |_| ()).unwrap();
    let fingerprint = files.fingerprint().unwrap();
    let decoder = Decoder::new(files.config, &files.weights, &Device::Cpu).unwrap();
    let config = decoder.config();

    let mut dice = Dice::new(2);
    let mut changes = BTreeMap::new();
    // Ranks that differ, and a layer of one block only.
    for (layer, target, rank) in [(0, Target::Query, 3), (1, Target::Query, 3), (1, Target::Down, 2)] {
        let (out, width) = target.shape(config);
        let (a, b) = (random(&mut dice, &[rank, width]), random(&mut dice, &[out, rank]));
        changes.insert((layer, target), LowRank { a, b });
    }
    let about = AdapterAbout {
        base_name: None,
        model: Some(fingerprint.clone()),
        tokenizer: None,
        scope: Scope::Question,
        cubes: Vec::new(),
        scores: None,
        created_ms: None,
    };
    let adapter = AdapterFile { about, scale: 2.0, changes };
    adapter.write(&ours, config).unwrap();

    let tokens = format!("{TOKENS:?}");
    let output =
        Command::new("python3").args(["-c", SCRIPT]).args([&model, &ours, &theirs]).arg(tokens).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: [Vec<f32>; 2] = serde_json::from_slice(&output.stdout).unwrap();
    assert_near(&answer(&decoder, &adapter), &said[0]);
    let expected = Expected { model: &fingerprint, tokenizer: "", config, device: &Device::Cpu };
    assert_near(&answer(&decoder, &AdapterFile::open(&theirs, &expected).unwrap()), &said[1]);
}
