use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::adapter::AdapterMix;
use crate::dice::Dice;
use crate::error::ErrorKind;
use crate::small_model::{folder, random, small_changes, small_config, small_decoder, tokens};

fn expected(config: &ModelConfig) -> Expected<'_> {
    Expected { model: "model", tokenizer: "tokenizer", config, device: &Device::Cpu }
}

fn ours(config: &ModelConfig) -> AdapterFile {
    let about = AdapterAbout {
        base_name: Some("small".to_owned()),
        model: Some("model".to_owned()),
        tokenizer: Some("tokenizer".to_owned()),
        scope: Scope::Question,
        cubes: vec!["cube \"1\"".to_owned()],
        scores: Some(Scores { before: 0.1, after: 0.95 }),
        created_ms: Some(1_700_000_000_000),
    };
    AdapterFile { about, scale: 2.0, changes: small_changes(config, 5, 3) }
}

/// An adapter as PEFT writes one: two layers of one block, alpha 8 over rank 4.
struct Theirs {
    folder: tempfile::TempDir,
    config: ModelConfig,
    settings: Value,
    tensors: BTreeMap<String, Tensor>,
}

impl Theirs {
    fn new() -> Self {
        let config = small_config();
        let mut dice = Dice::new(3);
        let mut tensors = BTreeMap::new();
        for target in [Target::Query, Target::Value] {
            let (out, width) = target.shape(&config);
            let name = format!("base_model.model.model.layers.1.{}", target.path());
            tensors.insert(format!("{name}.lora_A.weight"), random(&mut dice, &[4, width]));
            tensors.insert(format!("{name}.lora_B.weight"), random(&mut dice, &[out, 4]));
        }
        let settings = json!({
            "alora_invocation_tokens": null, "alpha_pattern": {}, "arrow_config": null, "auto_mapping": null,
            "base_model_name_or_path": "someone/model", "bias": "none", "corda_config": null,
            "ensure_weight_tying": false, "eva_config": null, "kasa_config": null, "lora_ga_config": null,
            "monteclora_config": null, "use_bdlora": null, "velora_config": null, "exclude_modules": null, "fan_in_fan_out": false,
            "inference_mode": true, "init_lora_weights": true, "layer_replication": null, "layers_pattern": null,
            "layers_to_transform": null, "loftq_config": {}, "lora_alpha": 8, "lora_bias": false, "lora_dropout": 0.05,
            "megatron_config": null, "megatron_core": "megatron.core", "modules_to_save": null, "peft_type": "LORA",
            "peft_version": "0.21.2", "qalora_group_size": 16, "r": 4, "rank_pattern": {}, "revision": null,
            "target_modules": ["v_proj", "q_proj"], "target_parameters": null, "task_type": "CAUSAL_LM",
            "trainable_token_indices": null, "use_dora": false, "use_qalora": false, "use_rslora": false
        });
        Self { folder: folder(), config, settings, tensors }
    }

    fn open(&self) -> Result<AdapterFile> {
        std::fs::write(self.folder.path().join(SETTINGS_FILE), self.settings.to_string()).unwrap();
        candle_core::safetensors::save(
            &self.tensors.clone().into_iter().collect(),
            self.folder.path().join(NUMBERS_FILE),
        )
        .unwrap();
        AdapterFile::open(self.folder.path(), &expected(&self.config))
    }

    fn tensor(&mut self, end: &str) -> &mut Tensor {
        self.tensors.iter_mut().find(|(name, _)| name.ends_with(end)).unwrap().1
    }
}

fn numbers_of(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn logits(config: &ModelConfig, adapter: &AdapterFile) -> Vec<f32> {
    let decoder = small_decoder(config, 1);
    let mix = AdapterMix::one(adapter.adapter(config).unwrap().into());
    numbers_of(&decoder.prefill(&tokens(2, 9, config), &mut decoder.cache(), &mix).unwrap())
}

#[test]
fn what_is_written_comes_back_bit_for_bit() {
    let (folder, config) = (folder(), small_config());
    let folder = folder.path().join("new");
    let written = ours(&config);
    let bytes = written.write(&folder, &config).unwrap();
    let on_disk = |name: &str| std::fs::metadata(folder.join(name)).unwrap().len();
    assert_eq!(bytes, on_disk(NUMBERS_FILE) + on_disk(SETTINGS_FILE));
    let read = AdapterFile::open(&folder, &expected(&config)).unwrap();
    assert_eq!((&read.about, read.scale), (&written.about, written.scale));
    assert!(read.changes.keys().eq(written.changes.keys()));
    assert_eq!(logits(&config, &read), logits(&config, &written));
}

#[test]
fn ranks_and_layers_that_differ_come_back_too() {
    let (folder, config) = (folder(), small_config());
    let mut written = ours(&config);
    written.changes.remove(&(1, Target::Value));
    let (out, width) = Target::Down.shape(&config);
    let mut dice = Dice::new(9);
    let change = LowRank { a: random(&mut dice, &[1, width]), b: random(&mut dice, &[out, 1]) };
    written.changes.insert((0, Target::Down), change);
    written.write(folder.path(), &config).unwrap();
    let settings: Value = serde_json::from_slice(&std::fs::read(folder.path().join(SETTINGS_FILE)).unwrap()).unwrap();
    assert_eq!(settings["target_modules"], json!(["down_proj", "model.layers.0.self_attn.v_proj", "q_proj"]));
    assert_eq!(settings["rank_pattern"], json!({"model.layers.0.mlp.down_proj": 1}));
    let read = AdapterFile::open(folder.path(), &expected(&config)).unwrap();
    let off =
        logits(&config, &read).iter().zip(logits(&config, &written)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 1e-5, "{off}");
}

#[test]
fn an_adapter_of_others_is_scaled_as_its_settings_say() {
    let check = |settings: &[(&str, Value)], scale: f64, of_value: f64| {
        let mut theirs = Theirs::new();
        for (name, value) in settings {
            theirs.settings[*name] = value.clone();
        }
        let read = theirs.open().unwrap();
        assert_eq!((read.about.base_name.as_deref(), read.about.scope), (Some("someone/model"), Scope::All));
        let change = &read.changes[&(1, Target::Value)];
        let raw = numbers_of(theirs.tensor("v_proj.lora_B.weight"));
        for (read, raw) in numbers_of(&change.b).iter().zip(raw) {
            assert!((f64::from(*read) * scale - f64::from(raw) * of_value).abs() < 1e-6, "{settings:?}");
        }
        assert!((read.scale - scale).abs() < 1e-12, "{} for {settings:?}", read.scale);
    };
    check(&[], 2.0, 2.0);
    check(&[("lora_alpha", json!(1.5))], 0.375, 0.375);
    check(&[("use_rslora", json!(true))], 4.0, 4.0);
    check(&[("alpha_pattern", json!({"v_proj": 2}))], 1.0, 0.5);
    check(&[("alpha_pattern", json!({"q_proj": 2}))], 1.0, 2.0);
    check(&[("alpha_pattern", json!({"^model.layers.1.self_attn.v_proj$": 2}))], 1.0, 0.5);
    check(&[("alpha_pattern", json!({"proj": 2}))], 1.0, 2.0);
    check(&[("r", json!(8)), ("rank_pattern", json!({"q_proj": 4, "v_proj": 4}))], 1.0, 2.0);
    check(&[("target_modules", json!(".*(q|v)_proj"))], 2.0, 2.0);
}

#[test]
fn what_is_not_done_here_is_refused_by_name() {
    let check = |name: &str, value: Value, says: &str| {
        let mut theirs = Theirs::new();
        theirs.settings[name] = value;
        let error = theirs.open().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.message().contains(says), "`{error}` should say `{says}`");
    };
    check("use_dora", json!(true), "uses `use_dora`");
    check("bias", json!("all"), "uses `bias`");
    check("lora_bias", json!(true), "uses `lora_bias`");
    check("modules_to_save", json!(["lm_head"]), "uses `modules_to_save`");
    check("fan_in_fan_out", json!(true), "uses `fan_in_fan_out`");
    check("layer_replication", json!([[0, 1]]), "uses `layer_replication`");
    check("trainable_token_indices", json!([1]), "uses `trainable_token_indices`");
    check("alora_invocation_tokens", json!([1]), "uses `alora_invocation_tokens`");
    check("something_new", json!(true), "uses `something_new`");
    check("peft_type", json!("IA3"), "of type `IA3`");
    check("init_lora_weights", json!("pissa_niter_4"), "`pissa_niter_4`, which may change the base model");
    check("rank_pattern", json!({"(q|v)_proj": 4}), "the pattern `(q|v)_proj`");
}

#[test]
fn files_that_do_not_agree_are_refused() {
    let check = |kind: ErrorKind, says: &str, change: &dyn Fn(&mut Theirs)| {
        let mut theirs = Theirs::new();
        change(&mut theirs);
        let error = theirs.open().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(says), "`{error}` should say `{says}`");
    };
    let renamed = |theirs: &mut Theirs, from: &str, to: &str| {
        let tensors = std::mem::take(&mut theirs.tensors);
        theirs.tensors = tensors.into_iter().map(|(name, tensor)| (name.replace(from, to), tensor)).collect();
    };
    use ErrorKind::{Corrupt, Invalid, Mismatch};
    check(Corrupt, "not of rank 5", &|theirs| theirs.settings["r"] = json!(5));
    check(Corrupt, "its `r` is not", &|theirs| theirs.settings["r"] = json!(0));
    check(Corrupt, "its `r` is not", &|theirs| theirs.settings["r"] = json!(2.5));
    check(Corrupt, "its `r` is not", &|theirs| theirs.settings["r"] = json!(1e300));
    check(Corrupt, "its `lora_alpha` is not", &|theirs| theirs.settings["lora_alpha"] = json!("8"));
    check(Corrupt, "its `lora_alpha` is not", &|theirs| theirs.settings["lora_alpha"] = json!(1e300));
    check(Corrupt, "its `rank_pattern` is not", &|theirs| theirs.settings["rank_pattern"] = json!(["q_proj"]));
    check(Corrupt, "half of the change of `model.layers.1.self_attn.q_proj`", &|theirs| {
        theirs.tensors.retain(|name, _| !name.ends_with("q_proj.lora_B.weight"));
    });
    check(Corrupt, "changes nothing", &|theirs| theirs.tensors.clear());
    check(Corrupt, "holds what is no number", &|theirs| {
        let tensor = theirs.tensor("v_proj.lora_A.weight");
        *tensor = (tensor.clone() * f64::NAN).unwrap();
    });
    check(Corrupt, "is I64, use F32, F16 or BF16", &|theirs| {
        let tensor = theirs.tensor("v_proj.lora_A.weight");
        *tensor = tensor.to_dtype(candle_core::DType::I64).unwrap();
    });
    check(Corrupt, "does not have two dimensions", &|theirs| {
        let tensor = theirs.tensor("v_proj.lora_A.weight");
        *tensor = tensor.flatten_all().unwrap();
    });
    check(Mismatch, "this model takes", &|theirs| theirs.config.hidden = 16);
    check(Mismatch, "in blocks under 1", &|theirs| theirs.config.layers = 1);
    check(Invalid, "is no linear layer of a block", &|theirs| renamed(theirs, "model.layers.1", "lm_head"));
    check(Invalid, "is no linear layer of a block", &|theirs| renamed(theirs, "layers.1.", "layers.01."));
    check(Invalid, "is no linear layer of a block", &|theirs| {
        renamed(theirs, "lora_A.weight", "lora_magnitude_vector")
    });
}

fn written(folder: &tempfile::TempDir) -> (ModelConfig, PathBuf) {
    let config =
        ModelConfig { layers: 1, hidden: 8, feed_forward: 8, heads: 2, kv_heads: 1, head_size: 4, ..small_config() };
    let folder = folder.path().to_owned();
    AdapterFile { changes: small_changes(&config, 5, 1), ..ours(&config) }.write(&folder, &config).unwrap();
    (config, folder)
}

#[test]
fn ours_tells_what_it_was_made_for() {
    let folder = folder();
    let (config, path) = written(&folder);
    let check = |differing: Differing, expected: Expected<'_>| {
        let error = AdapterFile::open(&path, &expected).unwrap_err();
        assert_eq!((error.kind(), Differing::of(&error)), (ErrorKind::Mismatch, Some(differing)), "{error}");
    };
    check(Differing::Model, Expected { model: "other", ..expected(&config) });
    check(Differing::Tokenizer, Expected { tokenizer: "other", ..expected(&config) });
    let settings = std::fs::read_to_string(path.join(SETTINGS_FILE)).unwrap();
    std::fs::write(path.join(SETTINGS_FILE), settings.replace("\"lora_alpha\": 2.0", "\"lora_alpha\": 9.0")).unwrap();
    let error = AdapterFile::open(&path, &expected(&config)).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Corrupt && error.message().contains("not the one it was written with"),
        "{error}"
    );
    std::fs::remove_file(path.join(SETTINGS_FILE)).unwrap();
    assert_eq!(AdapterFile::open(&path, &expected(&config)).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn an_adapter_cut_at_any_byte_is_refused() {
    let folder = folder();
    let (config, path) = written(&folder);
    for name in [NUMBERS_FILE, SETTINGS_FILE] {
        let file = path.join(name);
        let bytes = std::fs::read(&file).unwrap();
        for length in 0..bytes.len() {
            std::fs::write(&file, &bytes[..length]).unwrap();
            let error = AdapterFile::open(&path, &expected(&config)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{name} cut to {length} bytes: {error}");
        }
        std::fs::write(&file, &bytes).unwrap();
    }
}

#[test]
fn a_thousand_mutations_load_nothing_else() {
    let folder = folder();
    let (config, path) = written(&folder);
    let whole = AdapterFile::open(&path, &expected(&config)).unwrap();
    let files = [NUMBERS_FILE, SETTINGS_FILE].map(|name| (path.join(name), std::fs::read(path.join(name)).unwrap()));
    let mut dice = Dice::new(13);
    let mut refused = 0;
    for round in 0..1000 {
        let (file, bytes) = &files[round % 2];
        let mut changed = bytes.clone();
        for _ in 0..dice.between(1, 3) {
            let place = dice.below(changed.len());
            match dice.below(3) {
                0 => changed[place] ^= 1 << dice.below(8),
                1 => drop(changed.remove(place)),
                _ => changed.insert(place, dice.next_u64() as u8),
            }
        }
        std::fs::write(file, &changed).unwrap();
        match AdapterFile::open(&path, &expected(&config)) {
            // A changed setting may ask for what is not done.
            Err(error) => {
                assert!([ErrorKind::Corrupt, ErrorKind::Invalid].contains(&error.kind()), "{error}");
                refused += 1;
            }
            Ok(read) => {
                assert_eq!((&read.about, read.scale), (&whole.about, whole.scale));
                for (place, change) in &read.changes {
                    let other = &whole.changes[place];
                    assert_eq!(
                        (numbers_of(&change.a), numbers_of(&change.b)),
                        (numbers_of(&other.a), numbers_of(&other.b))
                    );
                }
            }
        }
        std::fs::write(file, bytes).unwrap();
    }
    assert!(refused > 950, "{refused} of 1,000 were refused");
}
