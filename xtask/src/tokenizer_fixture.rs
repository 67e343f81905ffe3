//! Writing down how the encoder's own tokenizer cuts the test texts, so that the tests of the memory crate can hold theirs
//! against it without depending on it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result};
use serde_json::{Value, json};
use tokenizers::Tokenizer;

#[path = "../../memory/tests/support/tokenizer_texts.rs"]
mod tokenizer_texts;

/// Writes four bytes for each test text, to the fixture of the memory crate if no other file is named.
pub(crate) fn run(directory: &Path, out: Option<PathBuf>) -> Result<()> {
    let out = out.unwrap_or_else(|| Path::new(crate::MEMORY_CRATE).join("tests/fixtures/tokenizer.bin"));
    let path = directory.join("tokenizer.json");
    let file = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut definition: Value = serde_json::from_slice(&file)?;
    let fields = definition.as_object_mut().with_context(|| format!("{} is not an object", path.display()))?;
    // Texts are cut as they are, and the name of a special piece inside one is ordinary text.
    for (name, value) in [("truncation", json!(null)), ("padding", json!(null)), ("added_tokens", json!([]))] {
        fields.insert(name.to_owned(), value);
    }
    let tokenizer = Tokenizer::from_bytes(serde_json::to_vec(&definition)?).map_err(Error::from_boxed)?;
    let mut fixture = Vec::new();
    for text in tokenizer_texts::texts() {
        let encoding = tokenizer.encode(text, false).map_err(Error::from_boxed)?;
        fixture.extend(tokenizer_texts::fingerprint(encoding.get_ids()).to_le_bytes());
    }
    fs::write(&out, &fixture).with_context(|| format!("cannot write {}", out.display()))?;
    println!("{} texts, {}", fixture.len() / 4, out.display());
    Ok(())
}
