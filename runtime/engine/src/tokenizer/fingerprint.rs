//! What makes two tokenizers the same: every setting that decides which tokens a text becomes, whatever order or white space it is
//! written in.
//!
//! Segments and adapters carry the result, so its form must never change without a new version of theirs.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// What a file may say that does not touch the tokens of a text here.
const LEFT_OUT: &[&str] = &["padding", "truncation", "version"];

/// Returns the SHA-256 of a tokenizer's settings, in hex.
pub(super) fn of(json: &Value) -> String {
    let mut hash = Sha256::new();
    if let Value::Object(settings) = json {
        let mut settings: Vec<_> = settings.iter().filter(|(key, _)| !LEFT_OUT.contains(&key.as_str())).collect();
        settings.sort_by_key(|(key, _)| *key);
        for (key, value) in settings {
            absorb_text(key, &mut hash);
            absorb(value, &mut hash);
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every value begins with its kind, and what has a length with that, so that no two values are written alike.
fn absorb(value: &Value, hash: &mut Sha256) {
    match value {
        Value::Null => hash.update(b"n"),
        Value::Bool(yes) => hash.update(if *yes { b"t" } else { b"f" }),
        Value::Number(number) => {
            hash.update(b"d");
            absorb_text(&number.to_string(), hash);
        }
        Value::String(text) => {
            hash.update(b"s");
            absorb_text(text, hash);
        }
        Value::Array(values) => {
            hash.update(b"a");
            hash.update((values.len() as u64).to_le_bytes());
            values.iter().for_each(|value| absorb(value, hash));
        }
        Value::Object(entries) => {
            hash.update(b"o");
            hash.update((entries.len() as u64).to_le_bytes());
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            for (key, value) in entries {
                absorb_text(key, hash);
                absorb(value, hash);
            }
        }
    }
}

fn absorb_text(text: &str, hash: &mut Sha256) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
}
