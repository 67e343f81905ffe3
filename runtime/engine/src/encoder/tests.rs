//! A tiny encoder whose weights a formula gives, so that another implementation can have the same ones; and, where it is
//! installed, the real one.

use std::fs;
use std::path::PathBuf;

use safetensors::tensor::{Dtype, TensorView};

use super::*;
use crate::ErrorKind;

/// Names the folder of all-MiniLM-L6-v2.
const ENCODER_VARIABLE: &str = "MEMOS_ENCODER";
const HIDDEN: usize = 16;
const BETWEEN: usize = 32;
const WORDS: [&str; 16] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "on", "mat", "dog", "ran", "##s", "fast", "a", "and",
    "tree",
];
/// Places of the table.
const PLACES: usize = 16;

/// Returns number `element` of tensor `tensor`: splitmix64 of both, its upper 24 bits as -0.25 to 0.25.
fn number(tensor: u64, element: u64) -> f32 {
    let mut bits = ((tensor << 32) + element + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^= bits >> 31;
    ((bits >> 40) as f32 / 16_777_216.0 - 0.5) * 0.5
}

/// Returns the names and shapes of all tensors, in the order in which the formula numbers them.
fn shapes() -> Vec<(String, Vec<usize>)> {
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![WORDS.len(), HIDDEN]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![PLACES, HIDDEN]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, HIDDEN]),
    ];
    let mut both = |name: &str, weight: &[usize]| {
        shapes.push((format!("{name}.weight"), weight.to_vec()));
        shapes.push((format!("{name}.bias"), weight[..1].to_vec()));
    };
    both("embeddings.LayerNorm", &[HIDDEN]);
    for layer in 0..2 {
        for (part, shape) in [
            ("attention.self.query", &[HIDDEN, HIDDEN][..]),
            ("attention.self.key", &[HIDDEN, HIDDEN]),
            ("attention.self.value", &[HIDDEN, HIDDEN]),
            ("attention.output.dense", &[HIDDEN, HIDDEN]),
            ("attention.output.LayerNorm", &[HIDDEN]),
            ("intermediate.dense", &[BETWEEN, HIDDEN]),
            ("output.dense", &[HIDDEN, BETWEEN]),
            ("output.LayerNorm", &[HIDDEN]),
        ] {
            both(&format!("encoder.layer.{layer}.{part}"), shape);
        }
    }
    shapes
}

struct Model {
    folder: tempfile::TempDir,
}

impl Model {
    fn new() -> Self {
        let model = Self { folder: tempfile::tempdir().unwrap() };
        model.write("config.json", config());
        model.write("tokenizer.json", tokenizer_json());
        model.write("model.safetensors", weights(|_, _| {}));
        model
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tiny")
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let file = self.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }

    fn load(&self) -> Result<SentenceEncoder> {
        SentenceEncoder::load(self.path())
    }
}

fn config() -> String {
    format!(
        r#"{{"model_type": "bert", "vocab_size": {}, "hidden_size": {HIDDEN}, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": {BETWEEN}, "max_position_embeddings": {PLACES}, "hidden_act": "gelu"}}"#,
        WORDS.len()
    )
}

/// Pads to 128 and cuts at 4, as no model means it.
fn tokenizer_json() -> String {
    let vocabulary: serde_json::Map<_, _> =
        WORDS.iter().enumerate().map(|(id, word)| ((*word).to_owned(), id.into())).collect();
    let special = |id: usize| {
        serde_json::json!({"id": id, "content": WORDS[id], "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    serde_json::json!({
        "version": "1.0",
        "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 128}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": (0..4).map(special).collect::<Vec<_>>(),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
    .to_string()
}

/// Writes the tensors, after `change` had its way with each.
fn weights(change: impl Fn(&mut String, &mut (Dtype, Vec<usize>, Vec<u8>))) -> Vec<u8> {
    let mut tensors = Vec::new();
    for (place, (mut name, shape)) in shapes().into_iter().enumerate() {
        let one = if name.contains("LayerNorm.weight") { 1.0 } else { 0.0 };
        let count = shape.iter().product::<usize>() as u64;
        let bytes = (0..count).flat_map(|element| (one + number(place as u64, element)).to_le_bytes()).collect();
        let mut tensor = (Dtype::F32, shape, bytes);
        change(&mut name, &mut tensor);
        tensors.push((name, tensor));
    }
    let views = tensors
        .iter()
        .map(|(name, (kind, shape, bytes))| (name.as_str(), TensorView::new(*kind, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

#[track_caller]
fn assert_near(found: &[f32], expect: &[f32], most: f32) {
    assert!(found.len() >= expect.len());
    for (found, expect) in found.iter().zip(expect) {
        assert!((found - expect).abs() <= most, "{found} is not {expect}");
    }
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

/// The start of each vector, from a program in Python that has nothing but the formula in common.
const EXPECTED: [(&str, [f32; 6], [f32; 6]); 4] = [
    (
        "The cat sat on the mat",
        [-0.0824244, 0.2971238, 0.0873613, -0.1502442, 0.1093022, 0.1676864],
        [-0.1366215, 0.2185072, 0.311632, -0.1613377, 0.1448407, 0.125905],
    ),
    (
        "dogs",
        [0.034464, 0.271008, 0.1817987, -0.3037492, 0.0273539, 0.0373842],
        [-0.2018683, 0.2598585, 0.29453, -0.1297996, 0.0865103, 0.1175655],
    ),
    (
        "a tree and a fast dog and the cat ran",
        [-0.0092059, 0.2587973, 0.0673281, -0.1304287, 0.15202, 0.1574111],
        [-0.1273657, 0.2056512, 0.3237831, -0.150728, 0.148791, 0.1234365],
    ),
    (
        // Cut at the model's 16 tokens, and not at the tokenizer's 4.
        "a a a a a a a a a a a a a a a a a a a a a a a a tree",
        [0.0678521, 0.0077488, 0.027503, 0.1469339, 0.3115657, 0.3257474],
        [-0.0353576, 0.1330659, 0.3445827, -0.1420267, 0.2233375, 0.151212],
    ),
];

#[test]
fn vectors_are_those_of_another_implementation() {
    let model = Model::new();
    let texts: Vec<&str> = EXPECTED.iter().map(|(text, ..)| *text).collect();
    let mean = model.load().unwrap();
    assert_eq!((mean.dimensions(), mean.max_tokens()), (HIDDEN, PLACES));
    for (found, (_, expect, _)) in mean.encode(&texts).unwrap().iter().zip(EXPECTED) {
        assert_near(found, &expect, 2e-6);
        assert!((cosine(found, found) - 1.0).abs() < 1e-6, "not a unit vector");
    }
    model.write(
        "1_Pooling/config.json",
        format!(r#"{{"word_embedding_dimension": {HIDDEN}, "pooling_mode_cls_token": true}}"#),
    );
    let first = model.load().unwrap();
    for (found, (_, _, expect)) in first.encode(&texts).unwrap().iter().zip(EXPECTED) {
        assert_near(found, &expect, 2e-6);
    }
    assert_ne!(first.id(), mean.id(), "vectors of another pooling must not be compared");
}

#[test]
fn a_text_has_one_vector_whatever_is_beside_it() {
    let encoder = Model::new().load().unwrap();
    let words = ["the", "cat", "dogs", "sat", "on", "a", "fast", "mat", "unheard"];
    let texts: Vec<String> = (0..300)
        .map(|seed| {
            (0..=seed % 20).map(|place| words[(seed * 7 + place * 5) % words.len()]).collect::<Vec<_>>().join(" ")
        })
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = encoder.encode(&texts).unwrap();
    for (text, vector) in texts.iter().zip(together) {
        assert_near(&encoder.encode(&[text]).unwrap()[0], &vector, 1e-6);
    }
    assert!(encoder.encode(&[]).unwrap().is_empty());
}

#[test]
fn a_text_without_words_is_zeros_and_marks_in_a_text_are_words() {
    let encoder = Model::new().load().unwrap();
    let vectors = encoder.encode(&["", "the cat", " \n\t", "the cat [SEP]", "the cat sep"]).unwrap();
    assert!(vectors[0].iter().chain(&vectors[2]).all(|value| *value == 0.0));
    assert!(vectors[1].iter().any(|value| *value != 0.0));
    // `[`, `sep` and `]` are unknown words, and three of them are not one.
    assert_ne!(vectors[3], vectors[4]);
    assert_near(&vectors[3], &encoder.encode(&["the cat x y z"]).unwrap()[0], 1e-6);
    let long = "é cat ".repeat(MAX_ENCODED_BYTES);
    assert_near(&encoder.encode(&[&long]).unwrap()[0], &encoder.encode(&[long.get(..200).unwrap()]).unwrap()[0], 1e-6);
}

#[test]
fn the_id_names_the_folder_and_what_makes_the_vectors() {
    let model = Model::new();
    let id = model.load().unwrap().id().to_owned();
    assert!(id.starts_with("tiny:") && id.len() == "tiny:".len() + 16, "{id}");
    assert_eq!(model.load().unwrap().id(), id);
    model.write("sentence_bert_config.json", r#"{"max_seq_length": 8, "do_lower_case": false}"#);
    let shorter = model.load().unwrap();
    assert_eq!(shorter.max_tokens(), 8);
    assert_ne!(shorter.id(), id);
    fs::remove_file(model.path().join("sentence_bert_config.json")).unwrap();
    model.write("tokenizer.json", tokenizer_json().replace("100", "99"));
    assert_ne!(model.load().unwrap().id(), id);
    let odd = model.folder.path().join("my model: é");
    fs::rename(model.path(), &odd).unwrap();
    assert!(SentenceEncoder::load(odd).unwrap().id().starts_with("my-model---:"));
}

#[test]
fn an_encoder_inside_of_a_larger_model_is_found() {
    let model = Model::new();
    let expect = model.load().unwrap().encode(&["dogs"]).unwrap();
    model.write("model.safetensors", weights(|name, _| *name = format!("bert.{name}")));
    assert_eq!(model.load().unwrap().encode(&["dogs"]).unwrap(), expect);
}

#[test]
fn bad_files_are_refused_with_what_is_wrong() {
    fn check(change: impl Fn(&Model), kind: ErrorKind, parts: &[&str]) {
        let model = Model::new();
        change(&model);
        let error = model.load().err().unwrap_or_else(|| panic!("loaded, where {parts:?} was due"));
        let message = error.to_string();
        assert_eq!(error.kind(), kind, "{message}");
        parts.iter().for_each(|part| assert!(message.contains(part), "`{message}` does not contain `{part}`"));
    }
    use ErrorKind::{Corrupt, Invalid, Mismatch, NotFound};
    let gone = |name: &'static str| move |model: &Model| fs::remove_file(model.path().join(name)).unwrap();
    check(gone("config.json"), NotFound, &["no `config.json`"]);
    check(gone("tokenizer.json"), NotFound, &["no `tokenizer.json`"]);
    check(gone("model.safetensors"), NotFound, &["no `model.safetensors`"]);

    let changed = |from: &'static str, to: &'static str| {
        move |model: &Model| {
            assert!(config().contains(from));
            model.write("config.json", config().replace(from, to));
        }
    };
    check(changed(r#""bert""#, r#""roberta""#), Invalid, &["`roberta` is not known", "`bert`"]);
    check(changed(r#""model_type": "bert""#, r#""architectures": ["T5Model"]"#), Invalid, &["`T5Model`"]);
    check(changed(r#""num_attention_heads": 4"#, r#""num_attention_heads": 5"#), Invalid, &["5 attention heads"]);
    check(
        changed(r#""num_attention_heads": 4"#, r#""num_attention_heads": 0"#),
        Invalid,
        &["`num_attention_heads` is 0"],
    );
    check(
        changed(r#""num_hidden_layers": 2"#, r#""num_hidden_layers": 3"#),
        Corrupt,
        &["encoder.layer.2", "is missing"],
    );
    check(changed(r#""num_hidden_layers": 2"#, r#""num_hidden_layers": 999999"#), Invalid, &["must be 1 to 256"]);
    check(changed(r#""intermediate_size": 32"#, r#""intermediate_size": 48"#), Corrupt, &["[32, 16]", "[48, 16]"]);
    check(changed(r#""hidden_size": 16, "#, ""), Corrupt, &["config.json", "missing field `hidden_size`"]);
    check(changed(r#""gelu""#, r#""relu""#), Invalid, &["`hidden_act` is `relu`"]);
    check(changed(r#""gelu""#, r#""gelu", "position_embedding_type": "relative_key""#), Invalid, &["relative_key"]);
    check(changed(r#""gelu""#, r#""gelu", "layer_norm_eps": -1"#), Invalid, &["`layer_norm_eps`"]);
    check(changed(r#""gelu""#, r#""gelu", "is_decoder": true"#), Invalid, &["decoder"]);
    check(
        |model| model.write("config.json", vec![b' '; (1 << 20) + 1]),
        Invalid,
        &["config.json", "more than 1048576"],
    );
    check(|model| model.write("config.json", &config()[..50]), Corrupt, &["config.json"]);

    let pooling = |text: &'static str| move |model: &Model| model.write("1_Pooling/config.json", text);
    check(pooling(r#"{"word_embedding_dimension": 384}"#), Invalid, &["384 dimensions", "has 16"]);
    check(pooling(r#"{"word_embedding_dimension": 16}"#), Invalid, &["neither"]);
    let both = r#"{"word_embedding_dimension": 16, "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}"#;
    check(pooling(both), Invalid, &["neither"]);
    let modules = |text: &'static str| move |model: &Model| model.write("modules.json", text);
    let dense =
        r#"[{"path": "", "type": "sentence_transformers.models.Transformer"}, {"path": "2_Dense", "type": "a.Dense"}]"#;
    check(modules(dense), Invalid, &["`Dense`"]);
    check(modules(r#"[{"path": "../x", "type": "a.Pooling"}]"#), Invalid, &["`../x`"]);
    let none = |model: &Model| model.write("sentence_bert_config.json", r#"{"max_seq_length": 0}"#);
    check(none, Corrupt, &["2 tokens around each text", "0 tokens"]);

    check(|model| model.write("tokenizer.json", "{}"), Corrupt, &["tokenizer.json"]);
    let mark = |model: &Model| {
        model.write("tokenizer.json", tokenizer_json().replace(r#"{"id":"[SEP]","type"#, r#"{"id":"B","type"#))
    };
    check(mark, Corrupt, &["puts `B` around each text"]);
    let map = |model: &Model| {
        let tokenizer = tokenizer_json().replace(r#""type":"BertNormalizer""#, r#""type":"Precompiled""#);
        model.write("tokenizer.json", tokenizer);
    };
    check(map, Corrupt, &["`Precompiled` character map is not read"]);
    let more = |model: &Model| model.write("tokenizer.json", tokenizer_json().replace("\"tree\":15", "\"tree\":16"));
    check(more, Mismatch, &["token 16", "have 16 tokens"]);

    let weights = |bytes: Vec<u8>| move |model: &Model| model.write("model.safetensors", &bytes);
    let whole = self::weights(|_, _| {});
    check(weights(whole[..whole.len() - 1].to_vec()), Corrupt, &["model.safetensors", "cut or damaged"]);
    check(weights(whole[..5].to_vec()), Corrupt, &["cut or damaged"]);
    check(weights(Vec::new()), Corrupt, &["cut or damaged"]);
    check(weights(u64::MAX.to_le_bytes().repeat(2)), Invalid, &["header has 18446744073709551615 bytes"]);
    let key = "encoder.layer.1.attention.self.key.bias";
    type Change<'a> = &'a dyn Fn(&mut String, &mut (Dtype, Vec<usize>, Vec<u8>));
    let one = |change: Change<'_>| {
        weights(self::weights(|name, tensor| {
            if name == key {
                change(name, tensor)
            }
        }))
    };
    check(one(&|name, _| name.push('x')), Corrupt, &[key, "is missing"]);
    check(one(&|_, tensor| tensor.1 = vec![2, 8]), Corrupt, &[key, "[2, 8]", "[16]"]);
    check(one(&|_, tensor| tensor.0 = Dtype::I32), Corrupt, &[key, "I32"]);
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        check(one(&|_, tensor| tensor.2[8..12].copy_from_slice(&odd.to_le_bytes())), Corrupt, &[key, "not finite"]);
    }
}

#[test]
fn weights_in_16_bits_are_read() {
    let model = Model::new();
    let expect = model.load().unwrap().encode(&["dogs"]).unwrap();
    let halved = |_: &mut String, tensor: &mut (Dtype, Vec<usize>, Vec<u8>)| {
        // The upper half of a float is one of 16 bits.
        tensor.0 = Dtype::BF16;
        tensor.2 = tensor.2.chunks(4).flat_map(|bytes| bytes[2..].to_vec()).collect();
    };
    model.write("model.safetensors", weights(halved));
    assert_near(&model.load().unwrap().encode(&["dogs"]).unwrap()[0], &expect[0], 0.02);
}

#[test]
fn a_thousand_mutations_are_refused_or_are_another_encoder() {
    let model = Model::new();
    let id = model.load().unwrap().id().to_owned();
    let files = ["model.safetensors", "tokenizer.json", "config.json"];
    let mut refused = 0;
    for round in 0..1_000u64 {
        let draw = |of: u64, place: u64| ((f64::from(number(round, place)) + 0.25) * 2.0 * of as f64) as usize;
        let name = files[draw(3, 0)];
        let path = model.path().join(name);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        // Half of them within what the file says of itself, where a header or a number's sign lies.
        let until = if round % 2 == 0 { changed.len().min(4_000) } else { changed.len() };
        let place = draw(until as u64, 1);
        match draw(4, 2) {
            0 => changed.truncate(place),
            1 => drop(changed.remove(place)),
            2 => changed.insert(place, draw(256, 3) as u8),
            _ => changed[place] ^= 1 << draw(8, 3),
        }
        fs::write(&path, &changed).unwrap();
        match model.load() {
            Ok(encoder) => {
                assert!(encoder.id() != id || name == "config.json", "round {round} of {name} has the same id");
                for vector in encoder.encode(&["The cat sat", "dogs"]).into_iter().flatten() {
                    assert!(vector.iter().all(|value| value.is_finite()), "round {round} of {name}");
                }
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
        fs::write(&path, whole).unwrap();
    }
    assert!(refused > 500, "{refused}");
    assert_eq!(model.load().unwrap().id(), id);
}

/// Returns the folder of the real encoder, where there is one.
fn installed() -> Option<PathBuf> {
    let folder = std::env::var_os(ENCODER_VARIABLE).map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: name the folder of all-MiniLM-L6-v2 in {ENCODER_VARIABLE}");
    }
    folder
}

#[test]
fn all_minilm_gives_its_published_vectors() {
    let Some(folder) = installed() else { return };
    let encoder = SentenceEncoder::load(&folder).unwrap();
    assert_eq!((encoder.dimensions(), encoder.max_tokens()), (384, 256));
    let long = "word ".repeat(1000);
    let texts = ["This is an example sentence", &long, "Each sentence is converted"];
    let vectors = encoder.encode(&texts).unwrap();
    assert_near(&vectors[0], &[0.067657, 0.063496, 0.048713], 1e-6);
    assert!((cosine(&vectors[0], &vectors[2]) - 0.404559).abs() < 1e-6);
    // 254 words and the two marks around them.
    assert_near(&encoder.encode(&["word ".repeat(254).as_str()]).unwrap()[0], &vectors[1], 1e-6);
    assert!(cosine(&encoder.encode(&["word ".repeat(126).as_str()]).unwrap()[0], &vectors[1]) < 0.9999);
}
