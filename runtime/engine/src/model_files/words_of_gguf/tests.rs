use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value as Entry};

use super::*;
use crate::dice::Dice;
use crate::error::ErrorKind;

type Entries = Vec<(&'static str, Entry)>;

fn list(texts: &[&str]) -> Entry {
    Entry::Array(texts.iter().map(|text| Entry::String((*text).to_owned())).collect())
}

fn write(path: &Path, entries: &Entries) {
    let named: Vec<_> = entries.iter().map(|(name, value)| (format!("tokenizer.{name}"), value)).collect();
    let named: Vec<_> = named.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    gguf_file::write(&mut std::fs::File::create(path).unwrap(), &named, &[]).unwrap();
}

fn read(entries: &Entries) -> Result<Option<Words>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    write(&path, entries);
    super::read(&Gguf::open(&path, 1 << 20)?)
}

fn with(mut entries: Entries, name: &'static str, value: Entry) -> Entries {
    entries.retain(|(other, _)| *other != name);
    entries.push((name, value));
    entries
}

fn without(mut entries: Entries, name: &str) -> Entries {
    entries.retain(|(other, _)| *other != name);
    entries
}

/// Digits that would all be merged, letters, and control tokens.
fn merged_file(pre: &str) -> Entries {
    let tokens = ["<end>", "<note>", "1", "2", "3", "4", "a", "Ġ", "12", "123", "1234", "Ġa", "Ã", "©"];
    let kinds = [CONTROL, OF_THE_USER].into_iter().chain([1; 12]);
    vec![
        ("ggml.model", Entry::String("gpt2".to_owned())),
        ("ggml.pre", Entry::String(pre.to_owned())),
        ("ggml.tokens", list(&tokens)),
        ("ggml.token_type", Entry::Array(kinds.map(|kind| Entry::I32(kind as i32)).collect())),
        ("ggml.merges", list(&["1 2", "12 3", "123 4", "Ġ a"])),
        ("ggml.eos_token_id", Entry::U32(0)),
        (
            "chat_template",
            Entry::String("{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}".to_owned()),
        ),
    ]
}

/// Pieces with scores: `▁ab` is the best way to begin with `ab`.
fn scored_file() -> Entries {
    let bytes: Vec<String> = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect();
    let pieces = ["▁", "a", "b", "ab", "▁a", "▁ab"];
    let scores = [-10.0, -11.0, -12.0, -3.0, -2.0, -4.0];
    let tokens: Vec<&str> =
        ["<unk>", "<s>"].into_iter().chain(bytes.iter().map(String::as_str)).chain(pieces).collect();
    let kinds = [UNKNOWN, CONTROL].into_iter().chain([6; 256]).chain([1; 6]);
    let scores = [0.0; 258].into_iter().chain(scores);
    vec![
        ("ggml.model", Entry::String("llama".to_owned())),
        ("ggml.tokens", list(&tokens)),
        ("ggml.scores", Entry::Array(scores.map(Entry::F32).collect())),
        ("ggml.token_type", Entry::Array(kinds.map(|kind| Entry::I32(kind as i32)).collect())),
    ]
}

fn spelled(words: &Words, text: &str) -> Vec<String> {
    let tokens = words.tokenizer.encode_data(text).unwrap();
    assert_eq!(words.tokenizer.decode(&tokens), text);
    tokens.iter().map(|token| words.tokenizer.decode(&[*token])).collect()
}

#[test]
fn text_is_cut_as_the_name_says_before_it_is_merged() {
    for (pre, digits) in [
        ("gpt-2", &["1234"][..]),
        ("smollm", &["1", "2", "3", "4"]),
        ("llama-bpe", &["123", "4"]),
        ("qwen2", &["1", "2", "3", "4"]),
    ] {
        let words = read(&merged_file(pre)).unwrap().unwrap();
        assert_eq!(spelled(&words, "1234"), digits, "{pre}");
        assert_eq!(spelled(&words, "a a"), ["a", " a"], "{pre}");
        assert_eq!(words.tokenizer.decode(&words.tokenizer.encode_data("é").unwrap()), "é", "{pre}");
    }
}

#[test]
fn control_tokens_steer_in_templates_alone_and_the_template_comes_along() {
    let words = read(&merged_file("smollm")).unwrap().unwrap();
    assert!(words.tokenizer.is_control(0) && !words.tokenizer.is_control(1));
    assert_eq!(words.tokenizer.encode_template("a<end>").unwrap(), [6, 0]);
    let message = crate::chat::Message { role: crate::chat::Role::User, content: "a".to_owned() };
    let today = crate::chat::Date { year: 2026, month: 1, day: 1 };
    assert_eq!(words.template.unwrap().render(&[message], today).unwrap().text, "a<end>");
}

#[test]
fn pieces_with_scores_are_merged_from_the_best_on_and_fall_back_to_bytes() {
    let words = read(&scored_file()).unwrap().unwrap();
    let ids = |text: &str| words.tokenizer.encode_data(text).unwrap();
    let piece = |place: u32| 2 + 256 + place;
    assert_eq!(ids("ab"), [piece(5)]);
    assert_eq!(ids("a b"), [piece(4), piece(0), piece(2)]);
    assert_eq!(ids("é"), [piece(0), 2 + 0xc3, 2 + 0xa9]);
    for text in ["ab", "a b", "é", "  a"] {
        assert_eq!(words.tokenizer.decode(&ids(text)), text);
    }
    assert!(words.template.is_none());
}

#[test]
fn words_that_cannot_be_read_are_refused_and_a_file_may_have_none() {
    use ErrorKind::{Corrupt, Invalid};
    assert!(read(&Vec::new()).unwrap().is_none());
    let merged = || merged_file("smollm");
    for (entries, kind, says) in [
        (with(merged(), "ggml.model", Entry::String("t5".to_owned())), Invalid, "kind `t5`"),
        (merged_file("tekken"), Invalid, "as `tekken` does"),
        (without(merged(), "ggml.pre"), Invalid, "does not say how text is cut"),
        (without(merged(), "ggml.tokens"), Corrupt, "has no tokens"),
        (without(merged(), "ggml.merges"), Corrupt, "no merges"),
        (with(merged(), "ggml.merges", list(&["1 x"])), Corrupt, "`1 x` is of no tokens"),
        (with(merged(), "ggml.merges", list(&["1"])), Corrupt, "`1` is of no tokens"),
        (with(merged(), "ggml.tokens", list(&["a", "a"])), Corrupt, "`a` is there twice"),
        (with(merged(), "ggml.tokens", Entry::U32(1)), Corrupt, "no list of texts"),
        (without(scored_file(), "ggml.scores"), Corrupt, "score for each token"),
        (with(scored_file(), "ggml.scores", Entry::Array(vec![Entry::F32(0.0)])), Corrupt, "score for each token"),
    ] {
        let error = read(&entries).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(says), "`{error}` should say `{says}`");
    }
}

#[test]
fn a_thousand_mutations_are_refused_or_read_text_some_other_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut dice = Dice::new(11);
    for entries in [merged_file("llama-bpe"), scored_file()] {
        write(&path, &entries);
        let whole = std::fs::read(&path).unwrap();
        for _ in 0..500 {
            let mut bytes = whole.clone();
            for _ in 0..dice.between(1, 4) {
                let place = dice.below(bytes.len());
                bytes[place] = dice.below(256) as u8;
            }
            std::fs::write(&path, &bytes).unwrap();
            match Gguf::open(&path, 1 << 20).and_then(|file| super::read(&file)) {
                Ok(words) => drop(words.map(|words| words.tokenizer.encode_data("ab 1234 é"))),
                Err(error) => assert!([ErrorKind::Corrupt, ErrorKind::Invalid].contains(&error.kind()), "{error}"),
            }
        }
    }
}
