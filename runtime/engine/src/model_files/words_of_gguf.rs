//! The tokenizer and the chat template that a GGUF file keeps, put as the files beside a published model put them.
//!
//! A file says its tokens, their merges or scores, and by name how text is cut before. What a name stands for is written here for
//! the families that the decoder reads; other names are refused, since a text that is cut otherwise is read, but wrongly.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use crate::chat::ChatTemplate;
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};
use crate::tokenizer::Tokenizer;

/// What cuts text into words before merges: GPT-2's expression, and those of Llama 3 and Qwen 2, which differ in how many digits
/// stand together.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DIGIT: &str = r"\p{N}";

/// Kinds of tokens by the format's own count.
const UNKNOWN: i128 = 2;
const CONTROL: i128 = 3;
const OF_THE_USER: i128 = 4;

/// What a model needs to read and write text.
#[derive(Debug)]
pub struct Words {
    /// How text becomes tokens.
    pub tokenizer: Tokenizer,
    /// How messages become text, where the file says so.
    pub template: Option<ChatTemplate>,
}

/// The parts of a `tokenizer.json`.
struct Way {
    normalizer: Json,
    /// What cuts text before it is merged.
    cut: Json,
    decoder: Json,
    model: Json,
}

/// Returns the words of a file, or nothing where it has none.
pub(super) fn read(file: &Gguf) -> Result<Option<Words>> {
    let Some(Value::Text(kind)) = file.value("tokenizer.ggml.model") else { return Ok(None) };
    let tokens = texts(file, "tokens")?.ok_or_else(|| Error::corrupt("it names its tokenizer, but has no tokens"))?;
    let mut vocabulary = HashMap::with_capacity(tokens.len());
    for (id, token) in tokens.iter().enumerate() {
        if vocabulary.insert(*token, id).is_some() {
            return Err(Error::corrupt(format!("its token `{token}` is there twice")));
        }
    }
    let kinds = match file.value("tokenizer.ggml.token_type") {
        Some(Value::List(kinds)) => kinds.as_slice(),
        _ => &[],
    };
    let of_kind = |wanted: i128| {
        let is_wanted = move |(_, kind): &(&&str, &Value)| **kind == Value::Whole(wanted);
        tokens.iter().zip(kinds).filter(is_wanted).map(|(token, _)| *token)
    };
    let way = match kind.as_str() {
        "gpt2" => merged(file, &vocabulary)?,
        "llama" => scored(file, &tokens, &vocabulary, of_kind(UNKNOWN).next())?,
        other => {
            return Err(Error::invalid(format!(
                "its tokenizer is of kind `{other}`, which is read from the model's own `tokenizer.json` alone; put that beside it"
            )));
        }
    };
    let special = of_kind(CONTROL).map(|token| (token, true)).chain(of_kind(OF_THE_USER).map(|token| (token, false)));
    let mut added: Vec<_> =
        special.filter_map(|(token, is_special)| Some((*vocabulary.get(token)?, token, is_special))).collect();
    added.sort_unstable();
    let added = added.into_iter().map(|(id, token, is_special)| {
        json!({
            "id": id, "content": token, "special": is_special,
            "normalized": false, "single_word": false, "lstrip": false, "rstrip": false,
        })
    });
    let json = json!({
        "version": "1.0",
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": way.normalizer,
        "pre_tokenizer": way.cut,
        "decoder": way.decoder,
        "model": way.model,
    });
    let tokenizer = Tokenizer::from_bytes(json.to_string().as_bytes())?;
    let token = |name: &str| match file.value(&format!("tokenizer.ggml.{name}_token_id")) {
        Some(Value::Whole(id)) => usize::try_from(*id).ok().and_then(|id| tokens.get(id)).copied().unwrap_or_default(),
        _ => "",
    };
    let template = match file.value("tokenizer.chat_template") {
        Some(Value::Text(source)) => Some(ChatTemplate::new(source, token("bos"), token("eos"))?),
        _ => None,
    };
    Ok(Some(Words { tokenizer, template }))
}

/// Bytes as characters, merged in the order of a list.
fn merged(file: &Gguf, vocabulary: &HashMap<&str, usize>) -> Result<Way> {
    let (cut, normalizer, is_whole_first) = match file.value("tokenizer.ggml.pre") {
        Some(Value::Text(name)) => match name.as_str() {
            "gpt-2" => (vec![GPT2], Json::Null, false),
            "smollm" => (vec![DIGIT, GPT2], Json::Null, false),
            "llama-bpe" | "llama3" | "llama-v3" => (vec![LLAMA3], Json::Null, true),
            "qwen2" => (vec![QWEN2], json!({"type": "NFC"}), false),
            other => {
                return Err(Error::invalid(format!(
                    "its text is cut as `{other}` does, which is not known here; put the model's own `tokenizer.json` beside it"
                )));
            }
        },
        _ => {
            return Err(Error::invalid(
                "it does not say how text is cut; put the model's own `tokenizer.json` beside it",
            ));
        }
    };
    let merges = texts(file, "merges")?.ok_or_else(|| Error::corrupt("it has no merges"))?;
    let merges = merges.iter().map(|merge| {
        let pair =
            merge.split_once(' ').filter(|(one, other)| vocabulary.contains_key(one) && vocabulary.contains_key(other));
        pair.map(|(one, other)| json!([one, other]))
            .ok_or_else(|| Error::corrupt(format!("its merge `{merge}` is of no tokens")))
    });
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let cut = cut
        .iter()
        .map(|cut| json!({"type": "Split", "pattern": {"Regex": cut}, "behavior": "Isolated", "invert": false}));
    Ok(Way {
        normalizer,
        cut: json!({"type": "Sequence", "pretokenizers": cut.chain([byte_level.clone()]).collect::<Vec<_>>()}),
        decoder: byte_level,
        model: json!({
            "type": "BPE",
            "ignore_merges": is_whole_first,
            "vocab": vocabulary,
            "merges": merges.collect::<Result<Vec<Json>>>()?,
        }),
    })
}

/// Pieces with scores: of two that are side by side, those are merged first whose piece has the highest.
fn scored(file: &Gguf, tokens: &[&str], vocabulary: &HashMap<&str, usize>, unknown: Option<&str>) -> Result<Way> {
    let scores: Vec<f64> = match file.value("tokenizer.ggml.scores") {
        Some(Value::List(scores)) if scores.len() == tokens.len() => {
            scores.iter().map(|score| if let Value::Real(score) = score { *score } else { f64::NEG_INFINITY }).collect()
        }
        _ => return Err(Error::corrupt("it has not a score for each token")),
    };
    let mut merges = Vec::new();
    for (token, score) in tokens.iter().zip(scores) {
        let places = token.char_indices().skip(1).map(|(place, _)| token.split_at(place));
        let pairs = places.filter(|(one, other)| vocabulary.contains_key(one) && vocabulary.contains_key(other));
        merges.extend(pairs.map(|(one, other)| (score, one, other)));
    }
    merges.sort_by(|(one, ..), (other, ..)| other.total_cmp(one));
    let is_prefixed = !matches!(file.value("tokenizer.ggml.add_space_prefix"), Some(Value::Bool(false)));
    let prefix = is_prefixed.then(|| json!({"type": "Prepend", "prepend": "▁"}));
    let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let strip = is_prefixed.then(|| json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    let decoders = [
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    Ok(Way {
        normalizer: json!({"type": "Sequence", "normalizers": prefix.into_iter().chain([spaces]).collect::<Vec<_>>()}),
        cut: Json::Null,
        decoder: json!({"type": "Sequence", "decoders": decoders.into_iter().chain(strip).collect::<Vec<_>>()}),
        model: json!({
            "type": "BPE",
            "unk_token": unknown,
            "fuse_unk": true,
            "byte_fallback": true,
            "vocab": vocabulary,
            "merges": merges.iter().map(|(_, one, other)| json!([one, other])).collect::<Vec<_>>(),
        }),
    })
}

fn texts<'a>(file: &'a Gguf, name: &str) -> Result<Option<Vec<&'a str>>> {
    let name = format!("tokenizer.ggml.{name}");
    let Some(value) = file.value(&name) else { return Ok(None) };
    let wrong = || Error::corrupt(format!("its `{name}` is no list of texts"));
    let Value::List(list) = value else { return Err(wrong()) };
    let texts = list.iter().map(|value| if let Value::Text(text) = value { Ok(text.as_str()) } else { Err(wrong()) });
    texts.collect::<Result<_>>().map(Some)
}

#[cfg(test)]
mod tests;
