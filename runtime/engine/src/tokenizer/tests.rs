use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::ErrorKind;

/// As GPT-2, Llama 3, Qwen and SmolLM2 have it: bytes as characters, merged into words.
pub(crate) fn byte_level() -> Tokenizer {
    read(&byte_level_json())
}

fn byte_level_json() -> Value {
    let pieces = Pieces::byte_level_alphabet();
    let mut vocabulary: HashMap<String, u32> = pieces.into_iter().zip(0..).collect();
    let merges = ["Ġ M", "i r", "ir a", "ĠM ira", "Ġ li", "l i", "Ġ \"", "\" :", "t r", "tr u", "tru e", "Ã ©"];
    for merge in merges {
        let next = vocabulary.len() as u32;
        vocabulary.entry(merge.replace(' ', "")).or_insert(next);
    }
    let added = |id: u32, content: &str, special: bool| json!({ "id": id, "content": content, "special": special, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false });
    let next = vocabulary.len() as u32;
    json!({
        "version": "1.0", "truncation": { "max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right" },
        "padding": { "strategy": { "Fixed": 8 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "!" },
        "added_tokens": [added(next, "<|end|>", true), added(next + 1, "<think>", false), added(next + 2, "   ", false)],
        "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "post_processor": null,
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": merges }
    })
}

/// As Llama 2 and TinyLlama have it: characters merged into words, with a mark for spaces and single bytes for the rest.
pub(crate) fn marked_pairs() -> Tokenizer {
    let mut vocabulary: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    vocabulary.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    vocabulary.extend("▁abcdefghilmorstuvMO.?{}\":,[]".chars().map(String::from));
    let merges = ["▁ M", "i r", "ir a", "▁M ira", "▁ l"];
    vocabulary.extend(merges.map(|merge| merge.replace(' ', "")));
    let vocabulary: HashMap<String, usize> = vocabulary.into_iter().zip(0..).collect();
    let added = |id: u32, content: &str| json!({ "id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false });
    read(&json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "Prepend", "prepend": "▁" }, { "type": "Replace", "pattern": { "String": " " }, "content": "▁" }] },
        "pre_tokenizer": null, "post_processor": null,
        "decoder": { "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "▁" }, "content": " " }, { "type": "ByteFallback" }, { "type": "Fuse" },
            { "type": "Strip", "content": " ", "start": 1, "stop": 0 }] },
        "model": { "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": vocabulary, "merges": merges }
    }))
}

/// As T5 and the model that ships have it: pieces with a likelihood, a mark for spaces and single bytes for the rest. Its control
/// tokens are pieces too, the likeliest of all.
pub(crate) fn pieces() -> Tokenizer {
    let mut vocabulary: Vec<(String, f64)> =
        ["<unk>", "<s>", "<|end|>"].map(|control| (control.to_owned(), 0.0)).to_vec();
    vocabulary.extend((0..=255).map(|byte| (format!("<0x{byte:02X}>"), -1.0)));
    let words = ["▁Mira", "▁lives", "▁in", "▁Oslo", "▁", "ir", "Mi", "ra", "true", "\":", "{\"", "▁\""];
    vocabulary.extend(words.map(|word| (word.to_owned(), -2.0)));
    vocabulary.extend("abcdefghilmnorstuvMO.?{}\":,[]01<>|".chars().map(|single| (single.to_string(), -6.0)));
    let added = |id: u32, content: &str| json!({ "id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false });
    let mark = json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true });
    read(&json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "<|end|>")],
        "normalizer": null, "pre_tokenizer": mark, "post_processor": null,
        "decoder": { "type": "Sequence", "decoders": [{ "type": "ByteFallback" }, mark] },
        "model": { "type": "Unigram", "unk_id": 0, "byte_fallback": true, "vocab": vocabulary }
    }))
}

fn words(decoder: Value) -> Tokenizer {
    let vocabulary = json!({ "?": 0, "Mira": 1, "lives": 2, "##ly": 3 });
    read(&json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" }, "post_processor": null, "decoder": decoder,
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "?" }
    }))
}

fn read(json: &Value) -> Tokenizer {
    Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap()
}

fn every_kind() -> [(&'static str, Tokenizer); 3] {
    [("byte level", byte_level()), ("marked pairs", marked_pairs()), ("pieces", pieces())]
}

/// Spells a token as it stands in the vocabulary.
fn spelling(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<String> {
    tokens.iter().map(|token| tokenizer.parts.template.id_to_token(*token).unwrap()).collect()
}

#[test]
fn text_becomes_the_tokens_of_its_vocabulary() {
    #[track_caller]
    fn check(tokenizer: &Tokenizer, text: &str, expect: &[&str]) {
        assert_eq!(spelling(tokenizer, &tokenizer.encode_data(text).unwrap()), expect);
    }
    check(&byte_level(), " Mira é!", &["ĠMira", "Ġ", "Ã©", "!"]);
    check(&marked_pairs(), "Mira é", &["▁Mira", "▁", "<0xC3>", "<0xA9>"]);
    check(&pieces(), "Mira lives\n", &["▁Mira", "▁lives", "<0x0A>"]);
    check(&words(Value::Null), "Mira ran", &["Mira", "?"]);
}

#[test]
fn padding_and_truncation_of_the_file_are_off() {
    let tokenizer = byte_level();
    assert_eq!(tokenizer.encode_data("abcdefgh").unwrap().len(), 8);
    assert_eq!(tokenizer.encode_template("a").unwrap().len(), 1);
}

#[test]
fn only_a_template_makes_control_tokens() {
    for (kind, tokenizer) in every_kind() {
        let end = if kind == "marked pairs" { "</s>" } else { "<|end|>" };
        let text = format!("Mira{end}lives");
        let control = tokenizer.token_id(end).unwrap();
        assert!(tokenizer.is_control(control));
        assert!(tokenizer.encode_template(&text).unwrap().contains(&control), "{kind}");
        let data = tokenizer.encode_data(&text).unwrap();
        assert!(!data.contains(&control), "{kind}: {:?}", spelling(&tokenizer, &data));
        assert_eq!(tokenizer.decode(&data), text, "{kind}");
    }
}

#[test]
fn a_token_that_was_added_and_is_not_special_is_spelled_in_data() {
    let tokenizer = byte_level();
    let think = tokenizer.token_id("<think>").unwrap();
    assert_eq!(tokenizer.encode_template("<think>").unwrap(), [think]);
    assert_eq!(spelling(&tokenizer, &tokenizer.encode_data("<think>").unwrap()), ["<", "t", "h", "i", "n", "k", ">"]);
    let indent = tokenizer.token_id("   ").unwrap();
    assert_eq!(tokenizer.encode_data("   ").unwrap(), [indent]);
}

#[test]
fn the_name_of_a_byte_is_not_that_byte() {
    for (kind, tokenizer) in every_kind() {
        assert_eq!(tokenizer.decode(&tokenizer.encode_data("b<0x41>b").unwrap()), "b<0x41>b", "{kind}");
    }
}

#[test]
fn control_tokens_and_ids_beyond_the_vocabulary_say_nothing() {
    let tokenizer = byte_level();
    let mut tokens = tokenizer.encode_template("a<|end|>b").unwrap();
    tokens.extend([tokenizer.vocabulary_size() as u32, u32::MAX]);
    assert_eq!(tokenizer.decode(&tokens), "ab");
    assert_eq!(tokenizer.token_id("<|end|>"), Some(tokenizer.vocabulary_size() as u32 - 3));
}

#[test]
fn a_prompt_steers_by_its_template_alone() {
    for (kind, tokenizer) in every_kind() {
        let end = if kind == "marked pairs" { "</s>" } else { "<|end|>" };
        let control = tokenizer.token_id(end).unwrap();
        let text = format!("{end}Mira{end}lives{end}");
        let inner = end.len() + 2..text.len() - end.len();
        let prompt = Prompt { text: text.clone(), data: vec![inner.clone()] };
        let tokens = tokenizer.encode_prompt(&prompt).unwrap();
        assert_eq!(tokens.iter().filter(|token| **token == control).count(), 2, "{kind}");
        assert_eq!(tokenizer.decode(&tokens), text[end.len()..inner.end], "{kind}");
        // A control token may neither begin in data nor end in it.
        for data in [inner.start..text.len() - 1, 1..inner.end] {
            let prompt = Prompt { text: text.clone(), data: vec![data] };
            let tokens = tokenizer.encode_prompt(&prompt).unwrap();
            assert_eq!(tokens.iter().filter(|token| **token == control).count(), 1, "{kind}");
        }
    }
}

#[test]
fn words_are_parted_by_spaces() {
    assert_eq!(words(Value::Null).decode(&[1, 2]), "Mira lives");
    let word_pieces = words(json!({ "type": "WordPiece", "prefix": "##", "cleanup": false }));
    assert_eq!(word_pieces.decode(&[1, 2, 3]), "Mira livesly");
}

#[test]
fn a_stream_gives_whole_characters() {
    let tokenizer = pieces();
    let tokens = tokenizer.encode_data("Mira é€").unwrap();
    let mut stream = tokenizer.stream();
    let given: Vec<_> = tokens.iter().map(|token| stream.push(*token)).collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(given, [text("Mira"), text(" "), None, text("é"), None, None, text("€")]);
    assert_eq!(stream.finish(), None);
}

#[test]
fn bytes_that_are_no_character_are_marked_and_never_held_back() {
    let tokenizer = pieces();
    let byte = |byte: u8| tokenizer.token_id(&format!("<0x{byte:02X}>")).unwrap();
    let mut stream = tokenizer.stream();
    assert_eq!(stream.push(byte(0xFF)).as_deref(), Some("\u{FFFD}"));
    assert_eq!(stream.push(byte(0xE2)), None);
    assert_eq!(stream.push(byte(b'a')).as_deref(), Some("\u{FFFD}a"));
    assert_eq!(stream.push(byte(0xC3)), None);
    assert_eq!(stream.finish().as_deref(), Some("\u{FFFD}"));
    assert_eq!(stream.finish(), None);
}

#[test]
fn a_fingerprint_is_of_what_decides_the_tokens() {
    let json = byte_level_json();
    let fingerprint = |json: &Value| read(json).fingerprint().to_owned();
    let original = fingerprint(&json);
    assert_eq!(original.len(), 64);
    let pretty = serde_json::to_string_pretty(&json).unwrap();
    assert_eq!(Tokenizer::from_bytes(pretty.as_bytes()).unwrap().fingerprint(), original);
    let changed = |pointer: &str, value: Value| {
        let mut json = json.clone();
        *json.pointer_mut(pointer).unwrap() = value;
        fingerprint(&json)
    };
    assert_eq!(changed("/padding", Value::Null), original);
    assert_eq!(changed("/truncation", Value::Null), original);
    assert_ne!(changed("/pre_tokenizer/add_prefix_space", json!(true)), original);
    assert_ne!(changed("/model/merges/0", json!("i r")), original);
    assert_ne!(changed("/normalizer", json!({ "type": "NFC" })), original);
}

#[test]
fn a_fingerprint_stays_the_same_over_releases() {
    let json = json!({ "model": { "b": [1, "x", null], "a": true }, "version": "1.0", "padding": {} });
    let same = json!({ "model": { "a": true, "b": [1, "x", null] } });
    assert_eq!(fingerprint::of(&json), fingerprint::of(&same));
    assert_eq!(fingerprint::of(&json), "bd2d725a11a76ace9f359f7719d7459f25154f47bed8c24170df168dba9a0436");
}

#[test]
fn a_bad_file_is_refused_with_what_is_wrong() {
    #[track_caller]
    fn check(bytes: &[u8], kind: ErrorKind, says: &str) {
        let error = Tokenizer::from_bytes(bytes).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    check(b"{", ErrorKind::Corrupt, "is not JSON");
    check(b"{}", ErrorKind::Corrupt, "cannot be read");
    let changed = |pointer: &str, value: Value| {
        let mut json = byte_level_json();
        *json.pointer_mut(pointer).unwrap() = value;
        json.to_string().into_bytes()
    };
    check(
        &changed("/decoder", json!({ "type": "CTC", "pad_token": "", "word_delimiter_token": "", "cleanup": true })),
        ErrorKind::Invalid,
        "`CTC`",
    );
    check(&changed("/model/vocab/a", json!(4_000_000_000_u32)), ErrorKind::Corrupt, "1048576");
    let missing = Tokenizer::from_folder(Path::new("/nowhere")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let long = "a".repeat(TEXT_BYTES_MAX + 1);
    assert_eq!(byte_level().encode_data(&long).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_file_with_bytes_changed_or_cut_never_panics() {
    let whole = byte_level_json().to_string().into_bytes();
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut refused = 0;
    for round in 0..300 {
        let mut bytes = whole.clone();
        if round % 3 == 0 {
            bytes.truncate(next(whole.len()));
        } else {
            bytes[next(whole.len())] = b"{}[]\",:0-9ex\xFF"[next(13)];
        }
        match Tokenizer::from_bytes(&bytes) {
            Ok(tokenizer) => drop(tokenizer.encode_data("Mira <|end|> é")),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 100, "{refused}");
}

/// Text of what is hard: marks, control tokens, bytes' names, spaces in a row, and any character.
fn hard_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("<|end|>".to_owned()),
        Just("</s>".to_owned()),
        Just("<think>".to_owned()),
        Just("<0x3C>".to_owned()),
        Just("   ".to_owned()),
        Just(" Mira".to_owned()),
        any::<char>().prop_filter("the mark for a space reads as a space", |c| *c != '▁').prop_map(String::from),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn data_reads_back_as_it_was_and_steers_nothing(text in hard_text()) {
        // A vocabulary of pieces does not tell a text's first space from the one it puts there itself.
        let text = format!("a{text}");
        for (kind, tokenizer) in every_kind_once() {
            let tokens = tokenizer.encode_data(&text).unwrap();
            prop_assert_eq!(tokenizer.decode(&tokens), text.as_str(), "{}", kind);
            prop_assert!(tokens.iter().all(|token| !tokenizer.is_control(*token)), "{}", kind);
            let think = tokenizer.token_id("<think>");
            prop_assert!(tokens.iter().all(|token| Some(*token) != think), "{}", kind);
        }
    }

    #[test]
    fn a_prompt_without_data_is_the_template_as_it_is(text in hard_text()) {
        for (kind, tokenizer) in every_kind_once() {
            let prompt = Prompt { text: text.clone(), data: Vec::new() };
            let expect = tokenizer.encode_template(&text).unwrap();
            // In a template the name of a byte is that byte, as the library has it.
            if !text.contains("<0x3C>") {
                prop_assert_eq!(tokenizer.encode_prompt(&prompt).unwrap(), expect, "{}", kind);
            }
        }
    }

    #[test]
    fn decoding_agrees_with_the_library(text in hard_text()) {
        let text = format!("a{text}");
        for (kind, tokenizer) in every_kind_once() {
            let tokens = tokenizer.encode_template(&text).unwrap();
            let expect = tokenizer.parts.template.decode(&tokens, true).unwrap();
            prop_assert_eq!(tokenizer.decode(&tokens), expect, "{}", kind);
        }
    }

    #[test]
    fn any_tokens_are_streamed_as_their_bytes(tokens in proptest::collection::vec(0_u32..320, 0..40)) {
        for (kind, tokenizer) in every_kind_once() {
            let bytes: Vec<u8> = tokens.iter().flat_map(|token| tokenizer.pieces().bytes(*token)).copied().collect();
            let expect = String::from_utf8_lossy(&bytes).into_owned();
            let expect = match *kind {
                "byte level" => expect.as_str(),
                _ => expect.strip_prefix(' ').unwrap_or(&expect),
            };
            prop_assert_eq!(tokenizer.decode(&tokens), expect, "{}", kind);
        }
    }
}

fn every_kind_once() -> &'static [(&'static str, Tokenizer); 3] {
    static KINDS: std::sync::OnceLock<[(&'static str, Tokenizer); 3]> = std::sync::OnceLock::new();
    KINDS.get_or_init(every_kind)
}
