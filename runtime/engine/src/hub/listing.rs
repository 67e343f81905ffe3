//! What the hub says it has of a model, and which of it is needed.
//!
//! It must never ask the hub itself.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{FILE_BYTES_MAX, FILES_MAX, is_plain};
use crate::{Error, Result};

/// What describes a model, beside its weights.
const DESCRIPTIONS: &[&str] = &[
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    "model.safetensors.index.json",
];

/// The files of a model at one commit.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<RemoteFile>,
}

/// One file, as the hub describes it.
#[derive(Debug)]
pub(super) struct RemoteFile {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// The SHA-256 in hex, for the large ones. The hub has none for small ones.
    pub(super) sha256: Option<String>,
}

impl Listing {
    /// Reads the hub's answer, and keeps what is needed: the descriptions, and the weights as safetensors, else as one GGUF.
    pub(super) fn read(answer: &[u8], gguf: Option<&str>) -> Result<Self> {
        let answer: Value = serde_json::from_slice(answer).map_err(|error| {
            Error::corrupt(format!("the hub's list of files is not JSON: {error}")).with_source(error)
        })?;
        let commit = answer.get("sha").and_then(Value::as_str).filter(|commit| is_hex(commit, 40));
        let commit = commit.ok_or_else(|| Error::corrupt("the hub's list of files names no commit"))?.to_owned();
        let siblings = answer.get("siblings").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut files: Vec<RemoteFile> = siblings.iter().filter_map(RemoteFile::read).collect();
        let has_safetensors = files.iter().any(|file| file.name.ends_with(".safetensors"));
        let ggufs: Vec<String> =
            files.iter().filter(|file| file.name.ends_with(".gguf")).map(|file| file.name.clone()).collect();
        let gguf = match (gguf, ggufs.as_slice()) {
            (Some(name), _) if !ggufs.iter().any(|has| has == name) => {
                return Err(Error::not_found(format!("the model has no `{name}`; it has {}", quoted(&ggufs))));
            }
            (Some(name), _) => Some(name.to_owned()),
            _ if has_safetensors => None,
            (None, []) => return Err(Error::not_found("the model has weights neither as safetensors nor as GGUF")),
            (None, [only]) => Some(only.clone()),
            (None, _) => {
                return Err(Error::invalid(format!(
                    "the model has several files of weights: give one of them as `org/name/file.gguf`, of {}",
                    quoted(&ggufs)
                )));
            }
        };
        files.retain(|file| {
            let weights = match &gguf {
                Some(gguf) => file.name == *gguf,
                None => file.name.ends_with(".safetensors"),
            };
            weights || DESCRIPTIONS.contains(&file.name.as_str())
        });
        if files.len() > FILES_MAX {
            let count = files.len();
            return Err(Error::invalid(format!("the model has {count} files: at most {FILES_MAX} are fetched")));
        }
        if let Some(file) = files.iter().find(|file| file.bytes > FILE_BYTES_MAX) {
            let RemoteFile { name, bytes, .. } = file;
            return Err(Error::invalid(format!("`{name}` has {bytes} bytes: at most {FILE_BYTES_MAX} are fetched")));
        }
        let is_weights = |name: &str| name.ends_with(".safetensors") || name.ends_with(".gguf");
        if let Some(file) = files.iter().find(|file| is_weights(&file.name) && file.sha256.is_none()) {
            let name = &file.name;
            return Err(Error::corrupt(format!(
                "the hub gives no checksum for `{name}`: weights are not taken on trust"
            )));
        }
        // What is small comes first: it shows early whether the model can be read at all.
        files.sort_by(|one, other| one.bytes.cmp(&other.bytes).then_with(|| one.name.cmp(&other.name)));
        Ok(Self { commit, files })
    }

    pub(super) fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Tells whether all files are in a folder, by their sizes: their checksums were right when they came.
    pub(super) fn is_whole_in(&self, folder: &Path) -> bool {
        let here = |file: &RemoteFile| fs::metadata(folder.join(&file.name)).is_ok_and(|data| data.len() == file.bytes);
        self.files.iter().all(here)
    }

    /// Writes it as the hub would.
    pub(super) fn written(&self) -> String {
        let files = self.files.iter().map(|file| match &file.sha256 {
            Some(sha256) => json!({ "rfilename": file.name, "size": file.bytes, "lfs": { "sha256": sha256 } }),
            None => json!({ "rfilename": file.name, "size": file.bytes }),
        });
        json!({ "sha": self.commit, "siblings": files.collect::<Vec<_>>() }).to_string()
    }
}

impl RemoteFile {
    /// Reads one entry. What lies in a folder of its own, or has no size, is nothing that is fetched.
    fn read(entry: &Value) -> Option<Self> {
        let name = entry.get("rfilename")?.as_str().filter(|name| is_plain(name))?.to_owned();
        let bytes = entry.get("size")?.as_u64()?;
        let sha256 = entry.get("lfs").and_then(|lfs| lfs.get("sha256")).and_then(Value::as_str);
        Some(Self { name, bytes, sha256: sha256.filter(|sha256| is_hex(sha256, 64)).map(str::to_owned) })
    }
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
