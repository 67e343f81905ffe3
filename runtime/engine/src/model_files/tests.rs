use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
use serde_json::{Value, json};

use super::*;
use crate::adapter::AdapterMix;
use crate::config::RopeScaling;
use crate::decoder::Decoder;
use crate::dice::Dice;
use crate::error::ErrorKind;
use crate::small_model::{folder, small_config, small_decoder, small_weights, tokens};

/// A model's folder before it is written.
struct Folder {
    folder: tempfile::TempDir,
    settings: Value,
    weights: HashMap<String, Tensor>,
}

fn family(config: &ModelConfig) -> &'static str {
    match (config.has_query_bias, config.has_head_norm) {
        (true, _) => "qwen2",
        (_, true) => "qwen3",
        _ => "llama",
    }
}

impl Folder {
    fn new(config: ModelConfig) -> Self {
        let settings = json!({
            "model_type": family(&config), "vocab_size": config.vocabulary, "hidden_size": config.hidden,
            "num_hidden_layers": config.layers, "num_attention_heads": config.heads,
            "num_key_value_heads": config.kv_heads, "head_dim": config.head_size,
            "intermediate_size": config.feed_forward, "rms_norm_eps": config.norm_epsilon,
            "max_position_embeddings": config.positions, "tie_word_embeddings": config.is_tied, "hidden_act": "silu"
        });
        Self { folder: folder(), weights: small_weights(&config, 1), settings }
    }

    fn write(&self) -> &Path {
        let path = self.folder.path();
        std::fs::write(path.join("config.json"), self.settings.to_string()).unwrap();
        candle_core::safetensors::save(&self.weights, path.join("model.safetensors")).unwrap();
        path
    }

    /// Writes its weights in two files and an index.
    fn write_parts(&self) -> &Path {
        let path = self.write();
        std::fs::remove_file(path.join("model.safetensors")).unwrap();
        let (mut parts, mut map) = ([HashMap::new(), HashMap::new()], serde_json::Map::new());
        for (number, (name, tensor)) in self.weights.iter().enumerate() {
            parts[number % 2].insert(name.clone(), tensor.clone());
            map.insert(name.clone(), json!(format!("part-{}.safetensors", number % 2)));
        }
        for (number, part) in parts.iter().enumerate() {
            candle_core::safetensors::save(part, path.join(format!("part-{number}.safetensors"))).unwrap();
        }
        let index = json!({"metadata": {"total_size": 1}, "weight_map": map});
        std::fs::write(path.join("model.safetensors.index.json"), index.to_string()).unwrap();
        path
    }

    fn convert(&mut self, kind: DType) {
        self.weights.values_mut().for_each(|tensor| *tensor = tensor.to_dtype(kind).unwrap());
    }
}

fn load(path: &Path) -> Result<ModelFiles> {
    ModelFiles::load(path, |_| ())
}

/// Everything that a bad model must fail on the way to answers.
fn built(path: &Path) -> Result<Decoder> {
    let model = load(path)?;
    Decoder::new(model.config, &model.weights, &Device::Cpu)
}

fn logits(decoder: &Decoder) -> Vec<f32> {
    let tokens = tokens(2, 9, decoder.config());
    let logits = decoder.prefill(&tokens, &mut decoder.cache(), &AdapterMix::default()).unwrap();
    logits.flatten_all().unwrap().to_vec1().unwrap()
}

fn difference(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

fn families() -> [ModelConfig; 4] {
    // Sizes that quantized blocks divide.
    let llama = ModelConfig { feed_forward: 64, ..small_config() };
    let qwen2 = ModelConfig { has_query_bias: true, is_tied: false, ..llama.clone() };
    let qwen3 = ModelConfig { has_head_norm: true, head_size: 16, ..llama.clone() };
    let factors = (0..4).map(|i| f64::from(1 << i)).collect();
    let mut stretched = llama.clone();
    stretched.rope.scaling = RopeScaling::Each { factors };
    [llama, qwen2, qwen3, stretched]
}

#[test]
fn a_folder_gives_the_model_that_was_written() {
    for config in families().into_iter().take(3) {
        let mut folder = Folder::new(config.clone());
        let expect = logits(&small_decoder(&config, 1));
        let whole = load(folder.write()).unwrap();
        assert_eq!((&whole.config, &whole.tokenizer), (&config, &None));
        let fingerprint = whole.fingerprint().unwrap();
        assert_eq!(logits(&Decoder::new(config.clone(), &whole.weights, &Device::Cpu).unwrap()), expect);
        let mut told = Vec::new();
        let parts = ModelFiles::load(folder.write_parts(), |progress| told.push(progress)).unwrap();
        assert_eq!(parts.fingerprint().unwrap(), fingerprint, "in parts it is the same model");
        assert_eq!(told.len(), folder.weights.len());
        assert!(told.is_sorted_by_key(|progress| progress.bytes));
        assert!(told.iter().all(|progress| progress.bytes_total == told.last().unwrap().bytes));

        std::fs::write(folder.folder.path().join("tokenizer.json"), "{}").unwrap();
        for (kind, most) in [(DType::F16, 1e-2), (DType::BF16, 1e-1)] {
            folder.convert(kind);
            std::fs::remove_file(folder.folder.path().join("model.safetensors.index.json")).ok();
            let half = load(folder.write()).unwrap();
            assert_ne!(half.fingerprint().unwrap(), fingerprint);
            assert!(half.tokenizer.is_some());
            let off = difference(&logits(&Decoder::new(config.clone(), &half.weights, &Device::Cpu).unwrap()), &expect);
            assert!(off > 0.0 && off < most, "{kind:?} differs by {off}");
        }
    }
}

/// Writes a model as converters to GGUF do: other names, and the rows of a Llama's queries and keys interleaved.
fn write_gguf(path: &Path, config: &ModelConfig, kind: GgmlDType) {
    let family = family(config);
    let mut tensors = Vec::new();
    for (name, tensor) in small_weights(config, 1) {
        let mut new = name.clone();
        for (from, to) in [
            ("model.embed_tokens", "token_embd"),
            ("model.norm", "output_norm"),
            ("lm_head", "output"),
            ("model.layers.", "blk."),
            ("input_layernorm", "attn_norm"),
            ("post_attention_layernorm", "ffn_norm"),
            ("self_attn.q_norm", "attn_q_norm"),
            ("self_attn.k_norm", "attn_k_norm"),
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.k_proj", "attn_k"),
            ("self_attn.v_proj", "attn_v"),
            ("self_attn.o_proj", "attn_output"),
            ("mlp.gate_proj", "ffn_gate"),
            ("mlp.up_proj", "ffn_up"),
            ("mlp.down_proj", "ffn_down"),
        ] {
            new = new.replace(from, to);
        }
        let heads = match () {
            () if family == "llama" && name.contains("q_proj") => Some(config.heads),
            () if family == "llama" && name.contains("k_proj") => Some(config.kv_heads),
            () => None,
        };
        let tensor = match heads {
            Some(heads) => {
                let (rows, width) = tensor.dims2().unwrap();
                let halves = tensor.reshape((heads, 2, rows / heads / 2, width)).unwrap();
                halves.transpose(1, 2).unwrap().contiguous().unwrap().reshape((rows, width)).unwrap()
            }
            None => tensor,
        };
        let kind = if tensor.rank() == 1 { GgmlDType::F32 } else { kind };
        tensors.push((new, QTensor::quantize(&tensor, kind).unwrap()));
    }
    if let RopeScaling::Each { factors } = &config.rope.scaling {
        let factors = Tensor::new(factors.as_slice(), &Device::Cpu).unwrap();
        tensors.push(("rope_freqs.weight".to_owned(), QTensor::quantize(&factors, GgmlDType::F32).unwrap()));
    }
    use gguf_file::Value::{F32, String as Text, U32};
    let whole = |number: usize| U32(u32::try_from(number).unwrap());
    let entries: Vec<(String, gguf_file::Value)> = [
        ("block_count", whole(config.layers)),
        ("embedding_length", whole(config.hidden)),
        ("feed_forward_length", whole(config.feed_forward)),
        ("attention.head_count", whole(config.heads)),
        ("attention.head_count_kv", whole(config.kv_heads)),
        ("attention.key_length", whole(config.head_size)),
        ("attention.layer_norm_rms_epsilon", F32(config.norm_epsilon as f32)),
        ("rope.freq_base", F32(config.rope.theta as f32)),
        ("context_length", whole(config.positions)),
    ]
    .into_iter()
    .map(|(name, value)| (format!("{family}.{name}"), value))
    .chain([
        ("general.architecture".to_owned(), Text(family.to_owned())),
        ("tokenizer.ggml.eos_token_id".to_owned(), U32(7)),
    ])
    .collect();
    let entries: Vec<_> = entries.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    gguf_file::write(&mut std::fs::File::create(path).unwrap(), &entries, &tensors).unwrap();
}

#[test]
fn a_gguf_file_gives_the_model_it_was_made_from() {
    for config in families() {
        let folder = folder();
        let path = folder.path().join("model.gguf");
        let expect = logits(&small_decoder(&config, 1));
        write_gguf(&path, &config, GgmlDType::F32);
        let model = load(folder.path()).unwrap();
        let read = ModelConfig { norm_epsilon: config.norm_epsilon, end_tokens: Vec::new(), ..model.config.clone() };
        assert_eq!((read, &model.config.end_tokens[..]), (config.clone(), &[7][..]));
        assert_eq!(logits(&built(&path).unwrap()), expect, "{}", family(&config));
        for (kind, most) in [(GgmlDType::F16, 1e-2), (GgmlDType::Q8_0, 0.3)] {
            write_gguf(&path, &config, kind);
            let off = difference(&logits(&built(&path).unwrap()), &expect);
            assert!(off > 0.0 && off < most, "{kind:?} of {} differs by {off}", family(&config));
        }
    }
}

#[test]
fn folders_that_do_not_agree_are_refused() {
    use ErrorKind::{Corrupt, Invalid, NotFound};
    let config = ModelConfig { layers: 1, ..small_config() };
    let check = |kind: ErrorKind, says: &str, change: &dyn Fn(&mut Folder)| {
        let mut folder = Folder::new(config.clone());
        change(&mut folder);
        let error = built(folder.write()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(says), "`{error}` should say `{says}`");
    };
    let query = "model.layers.0.self_attn.q_proj.weight";
    check(Corrupt, query, &|folder| drop(folder.weights.remove(query)));
    check(Corrupt, "has shape [32, 16], its configuration says [32, 32]", &|folder| {
        let weight = folder.weights.get_mut(query).unwrap();
        *weight = weight.narrow(1, 0, 16).unwrap().contiguous().unwrap();
    });
    check(Corrupt, "holds what is no number", &|folder| {
        let weight = folder.weights.get_mut(query).unwrap();
        *weight = (weight.clone() * f64::NAN).unwrap();
    });
    check(Invalid, "is I64, use F32, F16 or BF16", &|folder| {
        let weight = folder.weights.get_mut(query).unwrap();
        *weight = weight.to_dtype(DType::I64).unwrap();
    });
    check(Invalid, "has the weight `model.layers.0.self_attn.q_proj.bias`", &|folder| {
        let bias = Tensor::zeros(32, DType::F32, &Device::Cpu).unwrap();
        folder.weights.insert("model.layers.0.self_attn.q_proj.bias".to_owned(), bias);
    });
    check(Invalid, "has the weight `model.layers.1.", &|folder| {
        folder.weights = small_weights(&small_config(), 1);
    });
    check(Invalid, "of type `mamba`", &|folder| folder.settings["model_type"] = json!("mamba"));
    check(Invalid, "use 1 to", &|folder| folder.settings["hidden_size"] = json!(0));
    check(Invalid, "cannot be read", &|folder| folder.settings["hidden_size"] = json!(-1));
    check(Invalid, "config.json", &|folder| folder.settings = json!([]));
    // What older files keep, and a head that is not used, do no harm.
    let mut folder = Folder::new(config.clone());
    let more = [("model.layers.0.self_attn.rotary_emb.inv_freq", 4), ("lm_head.weight", 40)];
    let more = more.map(|(name, size)| (name.to_owned(), Tensor::ones(size, DType::F32, &Device::Cpu).unwrap()));
    let plain = load(folder.write()).unwrap().fingerprint().unwrap();
    folder.weights.extend(more);
    assert_eq!(load(folder.write()).unwrap().fingerprint().unwrap(), plain);

    let empty = tempfile::tempdir().unwrap();
    assert_eq!(load(empty.path()).unwrap_err().kind(), NotFound);
    assert_eq!(load(&empty.path().join("none")).unwrap_err().kind(), NotFound);
    std::fs::remove_file(folder.folder.path().join("model.safetensors")).unwrap();
    assert!(load(folder.folder.path()).unwrap_err().message().contains("no `model.safetensors`"));
}

#[test]
fn an_index_that_lies_is_refused() {
    let check = |kind: ErrorKind, says: &str, change: &dyn Fn(&mut Value)| {
        let folder = Folder::new(ModelConfig { layers: 1, ..small_config() });
        let index = folder.write_parts().join("model.safetensors.index.json");
        let mut value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
        change(&mut value);
        std::fs::write(&index, value.to_string()).unwrap();
        let error = load(folder.folder.path()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(says), "`{error}` should say `{says}`");
    };
    let place = |name: &'static str| move |index: &mut Value| index["weight_map"]["model.norm.weight"] = json!(name);
    check(ErrorKind::Invalid, "names the file `../model.safetensors`", &place("../model.safetensors"));
    check(ErrorKind::Invalid, "names the file `/etc/passwd`", &place("/etc/passwd"));
    check(ErrorKind::NotFound, "part-9.safetensors", &place("part-9.safetensors"));
    check(ErrorKind::Corrupt, "the weight `more` is not in", &|index| {
        index["weight_map"]["more"] = json!("part-0.safetensors");
    });
    check(ErrorKind::Corrupt, "cannot be read", &|index| index["weight_map"] = json!(3));
    check(ErrorKind::Corrupt, "cannot be read", &|index| index["weight_map"]["more"] = json!(3));
}

/// Breaks a file in many ways; whatever is not refused must give finite answers and no panic.
fn broken(bytes: &[u8], file: &Path, model: &Path, rounds: usize, seed: u64) {
    let mut dice = Dice::new(seed);
    let (mut refused, begin) = (0, bytes.len().min(3000));
    for _ in 0..rounds {
        let mut changed = bytes.to_vec();
        for _ in 0..dice.between(1, 3) {
            // The beginning says what the rest means.
            let bound = if dice.happens(0.8) { begin.min(changed.len()) } else { changed.len() };
            let place = dice.below(bound);
            match dice.below(4) {
                0 => changed[place] ^= 1 << dice.below(8),
                1 => drop(changed.remove(place)),
                2 => changed.insert(place, dice.next_u64() as u8),
                _ => changed[place] = [0, 0xff, b'9', b'"'][dice.below(4)],
            }
        }
        std::fs::write(file, &changed).unwrap();
        match built(model) {
            Err(error) => {
                let kinds = [ErrorKind::Corrupt, ErrorKind::Invalid];
                assert!(kinds.contains(&error.kind()) && !error.message().is_empty(), "{:?} {error}", error.kind());
                refused += 1;
            }
            Ok(decoder) => drop(decoder),
        }
    }
    std::fs::write(file, bytes).unwrap();
    built(model).unwrap();
    assert!(refused > rounds / 4, "{refused} of {rounds} were refused");
}

#[test]
fn a_thousand_mutations_of_a_folder_do_no_harm() {
    let folder = Folder::new(ModelConfig { layers: 1, ..small_config() });
    let path = folder.write();
    for (name, rounds) in [("model.safetensors", 600), ("config.json", 400)] {
        let file = path.join(name);
        broken(&std::fs::read(&file).unwrap(), &file, path, rounds, 17);
    }
}

#[test]
fn a_thousand_mutations_of_a_gguf_file_do_no_harm() {
    let folder = folder();
    let path = folder.path().join("model.gguf");
    let config = ModelConfig { layers: 1, feed_forward: 64, ..small_config() };
    write_gguf(&path, &config, GgmlDType::Q8_0);
    broken(&std::fs::read(&path).unwrap(), &path, &path, 1000, 19);
}

#[test]
fn a_model_cut_at_any_byte_is_refused() {
    let config =
        ModelConfig { layers: 1, hidden: 8, heads: 1, kv_heads: 1, feed_forward: 8, vocabulary: 4, ..small_config() };
    let folder = Folder::new(config.clone());
    let path = folder.write();
    let gguf = folder.folder.path().join("cut.gguf");
    write_gguf(&gguf, &config, GgmlDType::F16);
    let [safetensors, settings] = ["model.safetensors", "config.json"].map(|name| path.join(name));
    for (file, model) in [(&safetensors, path), (&settings, path), (&gguf, gguf.as_path())] {
        let bytes = std::fs::read(file).unwrap();
        load(model).unwrap();
        for length in (0..bytes.len()).filter(|length| *length < 600 || length % 7 == 0) {
            std::fs::write(file, &bytes[..length]).unwrap();
            let error = load(model).unwrap_err();
            let kinds = [ErrorKind::Corrupt, ErrorKind::Invalid];
            assert!(kinds.contains(&error.kind()), "cut to {length} bytes: {error}");
        }
        std::fs::write(file, &bytes).unwrap();
    }
}

#[test]
fn a_gguf_file_that_would_break_its_reader_is_refused() {
    let check = |says: &str, entries: &[u8], tensors: u64, rest: &[u8]| {
        let folder = folder();
        let path = folder.path().join("model.gguf");
        let count = u64::from(!entries.is_empty()).to_le_bytes();
        let head = [b"GGUF", &3u32.to_le_bytes()[..], &tensors.to_le_bytes(), &count].concat();
        std::fs::write(&path, [&head[..], entries, rest].concat()).unwrap();
        let error = load(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.message().contains(says), "`{error}` should say `{says}`");
    };
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let entry = |name: &str, kind: u32, value: &[u8]| [&text(name)[..], &kind.to_le_bytes(), value].concat();
    let tensor = |shape: &[u64], kind: u32, offset: u64| {
        let sizes: Vec<u8> = shape.iter().flat_map(|size| size.to_le_bytes()).collect();
        let count = u32::try_from(shape.len()).unwrap();
        [&text("t")[..], &count.to_le_bytes(), &sizes, &kind.to_le_bytes(), &offset.to_le_bytes()].concat()
    };
    let two = [tensor(&[4], 0, 0), tensor(&[4], 0, 0)].concat();
    check("its alignment", &entry("general.alignment", 4, &[0; 4]), 0, &[]);
    check("its alignment", &entry("general.alignment", 5, &[0xff; 4]), 0, &[]);
    check("a list says it has", &entry("x", 9, &[&8u32.to_le_bytes()[..], &[0xff; 8]].concat()), 0, &[]);
    check(
        "a value is of kind 9",
        &entry("x", 9, &[&9u32.to_le_bytes()[..], &1u64.to_le_bytes(), &[0; 20]].concat()),
        0,
        &[],
    );
    check("a text says it has", &entry("x", 8, &[0xff; 8]), 0, &[]);
    check("a value is of kind 13", &entry("x", 13, &[0; 8]), 0, &[]);
    check("tensors and 0 entries", &[], u64::MAX, &[]);
    check("cannot have shape", &[], 1, &tensor(&[1 << 63, 4], 0, 0));
    check("cannot have shape", &[], 1, &tensor(&[0, 4], 0, 0));
    check("cannot have shape", &[], 1, &tensor(&[31], 8, 0));
    check("has 9 dimensions", &[], 1, &tensor(&[1; 9], 0, 0));
    check("is of kind 16", &[], 1, &tensor(&[256], 16, 0));
    check("ends behind the file", &[], 1, &tensor(&[1 << 40], 0, 0));
    check("ends behind the file", &[], 1, &tensor(&[4], 0, u64::MAX - 31));
    check("is no multiple of 32", &[], 1, &[&tensor(&[4], 0, 8)[..], &[0; 64]].concat());
    check("stands there twice", &[], 2, &[&two[..], &[0; 64]].concat());
}
