use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::Tensor;
use safetensors::Dtype;

use super::*;
use crate::adapter::AdapterMix;
use crate::config::RopeScaling;
use crate::decoder::Decoder;
use crate::dice::Dice;
use crate::error::ErrorKind;
use crate::small_model::{folder, small_config, small_decoder, tokens};
use crate::tensor_file::{self, RawTensor, TensorFile};

fn about() -> SegmentAbout {
    SegmentAbout {
        model: "model".to_owned(),
        tokenizer: "tokenizer".to_owned(),
        context: Context::Independent,
        adapter: Some("adapter".to_owned()),
        cubes: vec!["cube \"1\"".to_owned(), "cube 2".to_owned()],
        created_ms: 1_700_000_000_000,
    }
}

fn expected(config: &ModelConfig) -> Expected<'_> {
    Expected { model: "model", tokenizer: "tokenizer", config, device: &Device::Cpu }
}

fn segment(decoder: &Decoder, tokens: &[u32]) -> Segment {
    Segment::new(decoder.config(), decoder.memorise(tokens).unwrap(), tokens, about()).unwrap()
}

/// A segment of a few tokens of a model of one block, in a file.
fn small(folder: &tempfile::TempDir) -> (ModelConfig, PathBuf) {
    let config = ModelConfig { layers: 1, ..small_config() };
    let path = folder.path().join("segment.safetensors");
    let written = segment(&small_decoder(&config, 1), &tokens(2, 3, &config));
    written.write(&path, Precision::F32).unwrap();
    (config, path)
}

/// Writes a file anew with changes, under a checksum that is right.
fn forged(
    path: &Path,
    change: impl FnOnce(&mut BTreeMap<String, String>, &mut BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>),
) {
    let file = TensorFile::open(path, MAX_SEGMENT_BYTES).unwrap();
    let mut metadata = file.metadata().clone();
    let all = file.tensors().map(|(name, raw)| (name.to_owned(), (raw.kind, raw.shape.to_vec(), raw.bytes.to_vec())));
    let mut all = all.collect();
    change(&mut metadata, &mut all);
    let raw = |(name, (kind, shape, bytes)): (&String, &'_ (Dtype, Vec<usize>, Vec<u8>))| {
        (name.clone(), *kind, shape.clone(), bytes.clone())
    };
    let kept: Vec<_> = all.iter().map(raw).collect();
    let tensors = kept.iter().map(|(name, kind, shape, bytes)| (name.clone(), RawTensor { kind: *kind, shape, bytes }));
    tensor_file::write(path, metadata, &tensors.collect()).unwrap();
}

fn logits(decoder: &Decoder, segment: Option<&Segment>, memory: &[u32], question: &[u32]) -> Vec<f32> {
    let (mut cache, none) = (decoder.cache(), AdapterMix::default());
    match segment {
        Some(segment) => cache.inject(segment.keys_values().clone()).unwrap(),
        None => {
            decoder.prefill(memory, &mut cache, &none).unwrap();
            cache.seal().unwrap();
        }
    }
    decoder.prefill(question, &mut cache, &none).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn largest_difference(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

#[test]
fn a_segment_from_a_file_gives_the_bits_that_its_text_gives() {
    let folder = folder();
    let plain = small_config();
    let qwen2 = ModelConfig { has_query_bias: true, is_tied: false, ..small_config() };
    let qwen3 = ModelConfig { has_head_norm: true, head_size: 16, ..small_config() };
    for (number, config) in [plain, qwen2, qwen3].iter().enumerate() {
        let decoder = small_decoder(config, 3);
        let (memory, question) = (tokens(4, 300, config), tokens(5, 9, config));
        let path = folder.path().join(number.to_string());
        segment(&decoder, &memory).write(&path, Precision::F32).unwrap();
        let read = Segment::open(&path, &expected(config)).unwrap();
        assert_eq!((read.tokens(), read.about(), read.precision()), (&memory[..], &about(), Precision::F32));
        let from_text = logits(&decoder, None, &memory, &question);
        assert_eq!(logits(&decoder, Some(&read), &memory, &question), from_text);
    }
}

#[test]
fn half_precision_changes_little() {
    let (folder, config) = (folder(), small_config());
    let decoder = small_decoder(&config, 3);
    let (memory, question) = (tokens(4, 300, &config), tokens(5, 9, &config));
    let from_text = logits(&decoder, None, &memory, &question);
    let check = |precision: Precision, least: f32, most: f32| {
        let path = folder.path().join(precision.name());
        let bytes = segment(&decoder, &memory).write(&path, precision).unwrap();
        let read = Segment::open(&path, &expected(&config)).unwrap();
        let difference = largest_difference(&logits(&decoder, Some(&read), &memory, &question), &from_text);
        println!("{}: {difference:e} in {bytes} bytes", precision.name());
        assert!((least..=most).contains(&difference), "{precision:?} differs by {difference}");
        // Written again from what was read, nothing more is lost.
        let again = folder.path().join("again");
        read.write(&again, precision).unwrap();
        assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&path).unwrap());
    };
    check(Precision::F16, 1e-9, 1e-3);
    check(Precision::Bf16, 1e-9, 1e-2);
}

#[test]
fn what_a_segment_was_made_with_is_told_where_it_differs() {
    let folder = folder();
    let (config, path) = small(&folder);
    let check = |differing: Differing, expected: Expected<'_>| {
        let error = Segment::open(&path, &expected).unwrap_err();
        assert_eq!((error.kind(), Differing::of(&error)), (ErrorKind::Mismatch, Some(differing)), "{error}");
        assert!(error.message().contains(&differing.to_string()), "{error}");
    };
    Segment::open(&path, &expected(&config)).unwrap();
    check(Differing::Model, Expected { model: "other", ..expected(&config) });
    check(Differing::Tokenizer, Expected { tokenizer: "other", ..expected(&config) });
    check(Differing::Layout, expected(&ModelConfig { layers: 2, ..config.clone() }));
    check(Differing::Layout, expected(&ModelConfig { kv_heads: 4, ..config.clone() }));
    check(Differing::Layout, expected(&ModelConfig { head_size: 16, ..config.clone() }));
    let mut stretched = config.clone();
    stretched.rope.scaling = RopeScaling::Linear { factor: 2.0 };
    check(Differing::Rope, expected(&stretched));
    stretched = config.clone();
    stretched.rope.theta = 500_000.0;
    check(Differing::Rope, expected(&stretched));
}

#[test]
fn a_flipped_bit_in_a_fingerprint_is_no_foreign_model() {
    let folder = folder();
    let (config, path) = small(&folder);
    let bytes = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).find("\"model\":\"model\"").unwrap();
    let mut changed = std::fs::read(&path).unwrap();
    changed[bytes + 10] ^= 1;
    std::fs::write(&path, &changed).unwrap();
    assert_eq!(Segment::open(&path, &expected(&config)).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn files_that_lie_under_a_right_checksum_are_refused() {
    type All = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;
    type Metadata = BTreeMap<String, String>;
    let check = |says: &str, change: &dyn Fn(&mut Metadata, &mut All)| {
        let folder = folder();
        let (config, path) = small(&folder);
        forged(&path, |metadata, tensors| change(metadata, tensors));
        let error = Segment::open(&path, &expected(&config)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.message().contains(says), "`{error}` should say `{says}`");
    };
    let entry = |name: &'static str, value: &'static str| {
        move |metadata: &mut Metadata, _: &mut All| drop(metadata.insert(name.to_owned(), value.to_owned()))
    };
    check("its format is `memos segment 2`", &entry("format", "memos segment 2"));
    check("its layout is `1 2`", &entry("layout", "1 2"));
    check("its layout is `1 2 8 9`", &entry("layout", "1 2 8 9"));
    check("its precision is `F64`", &entry("precision", "F64"));
    check("is not F16 of shape", &entry("precision", "F16"));
    check("its position is `-1`", &entry("position", "-1"));
    check("its created_ms is `soon`", &entry("created_ms", "soon"));
    check("its cubes are no list", &entry("cubes", "{}"));
    check("its context is `behind`", &entry("context", "behind"));
    check("its tokens are not those", &entry("tokens", "00"));
    check("lacks the entry `model`", &|metadata, _| drop(metadata.remove("model")));
    check("a name of more than", &|metadata, _| drop(metadata.insert("adapter".to_owned(), "a".repeat(513))));
    check("does not have the tensors of 1 blocks", &|_, tensors| drop(tensors.remove("l000.v")));
    check("lacks the tensor `l000.v`", &|_, tensors| {
        let values = tensors.remove("l000.v").unwrap();
        tensors.insert("l001.v".to_owned(), values);
    });
    check("`l000.k` is not F32 of shape [3, 2, 8]", &|_, tensors| {
        tensors.get_mut("l000.k").unwrap().1 = vec![3, 8, 2];
    });
    check("`l000.v` holds what is no number", &|_, tensors| {
        tensors.get_mut("l000.v").unwrap().2[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    check("the token 40, the model knows 40", &|metadata, tensors| {
        tensors.get_mut("tokens").unwrap().2[..4].copy_from_slice(&40u32.to_le_bytes());
        let tokens = &tensors["tokens"].2;
        let tokens: Vec<u32> = tokens.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        metadata.insert("tokens".to_owned(), crate::fingerprint::of_tokens(&tokens));
    });
    check("no list of tokens", &|_, tensors| tensors.get_mut("tokens").unwrap().0 = Dtype::I32);
    check("does not have the tensors", &|metadata, tensors| {
        for (name, tensor) in tensors {
            tensor.1[0] = 0;
            tensor.2.clear();
            assert!(name.starts_with('l') || name == "tokens");
        }
        metadata.insert("tokens".to_owned(), crate::fingerprint::of_tokens(&[]));
    });
}

#[test]
fn a_segment_cut_at_any_byte_is_refused() {
    let folder = folder();
    let (config, path) = small(&folder);
    let bytes = std::fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let error = Segment::open(&path, &expected(&config)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "cut to {length} bytes: {error}");
    }
}

#[test]
fn a_thousand_mutations_load_nothing_else() {
    let folder = folder();
    let (config, path) = small(&folder);
    let whole = Segment::open(&path, &expected(&config)).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let mut dice = Dice::new(11);
    let mut refused = 0;
    for _ in 0..1000 {
        let mut changed = bytes.clone();
        for _ in 0..dice.between(1, 3) {
            let place = dice.below(changed.len());
            match dice.below(3) {
                0 => changed[place] ^= 1 << dice.below(8),
                1 => drop(changed.remove(place)),
                _ => changed.insert(place, dice.next_u64() as u8),
            }
        }
        std::fs::write(&path, &changed).unwrap();
        match Segment::open(&path, &expected(&config)) {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                refused += 1;
            }
            Ok(read) => {
                assert_eq!((read.about(), read.tokens()), (whole.about(), whole.tokens()));
                let numbers = |segment: &Segment| -> Vec<Vec<f32>> {
                    let KeysValues { keys, values, .. } = &**segment.keys_values();
                    let of = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1().unwrap();
                    keys.iter().chain(values).map(of).collect()
                };
                assert_eq!(numbers(&read), numbers(&whole));
            }
        }
    }
    assert!(refused > 950, "{refused} of 1,000 were refused");
}

#[test]
fn a_segment_takes_only_what_is_its_own() {
    let config = small_config();
    let decoder = small_decoder(&config, 1);
    let read = tokens(2, 5, &config);
    let check = |tokens: &[u32], about: SegmentAbout, says: &str| {
        let error = Segment::new(&config, decoder.memorise(&read).unwrap(), tokens, about).unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.message().contains(says), "{error}");
    };
    check(&read[..4], about(), "keys for 5 tokens, and 4 tokens");
    check(&[1, 2, 3, 4, 40], about(), "the token 40, the model knows 40");
    check(&read, SegmentAbout { model: "m".repeat(513), ..about() }, "a name of more than 512 bytes");
    check(&read, SegmentAbout { cubes: vec![String::new(); MAX_SEGMENT_CUBES + 1], ..about() }, "names 65537 cubes");
    let other = ModelConfig { kv_heads: 4, ..small_config() };
    let error = Segment::new(&other, decoder.memorise(&read).unwrap(), &read, about()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
}

#[test]
fn a_segment_comes_back_from_bytes_that_were_never_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = small_config();
    let decoder = small_decoder(&config, 1);
    let tokens = tokens(3, 10, &config);
    let segment = Segment::new(&config, decoder.memorise(&tokens).unwrap(), &tokens, about()).unwrap();
    let path = folder.path().join("segment");
    for precision in Precision::ALL {
        segment.write(&path, precision).unwrap();
        let bytes = segment.to_bytes(precision).unwrap();
        assert_eq!(bytes, std::fs::read(&path).unwrap());
        let read = SegmentFile::held("body", bytes.clone()).unwrap().load(&expected(&config)).unwrap();
        assert_eq!(read.to_bytes(precision).unwrap(), bytes);
        assert!(SegmentFile::held("body", bytes[..bytes.len() - 1].to_vec()).is_err());
    }
}
