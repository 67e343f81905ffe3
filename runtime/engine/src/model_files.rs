//! A model's files: its shape and its weights, out of a folder as it was published or a single GGUF file.
//!
//! A folder has `config.json` and safetensors, whole or in parts under an index. A weight that the decoder would pass over is
//! refused by name, since a model without its biases answers, but wrongly. Nothing is returned before all of it is there.

mod from_gguf;
mod words_of_gguf;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;
use serde::Deserialize;

use crate::adapter::Target;
use crate::config::{MAX_CONFIG_BYTES, ModelConfig};
use crate::error::{Error, Result};
use crate::fingerprint;
use crate::gguf::Gguf;
use crate::mapped::read_text;
use crate::tensor_file::{Once, RawTensor, TensorFile};
use crate::weights::{Weight, Weights};

pub use words_of_gguf::Words;

/// The most bytes of one file of a model.
pub const MAX_MODEL_FILE_BYTES: u64 = 1 << 40;
/// The most bytes of an index of parts.
pub const MAX_INDEX_BYTES: u64 = 1 << 26;
/// The most files that a model is split into.
pub const MAX_MODEL_PARTS: usize = 1024;

/// A model as it was loaded.
#[derive(Debug)]
pub struct ModelFiles {
    /// Its shape.
    pub config: ModelConfig,
    /// Its weights, under the names that the decoder asks for.
    pub weights: Weights,
    /// Its `tokenizer.json`, where there is one.
    pub tokenizer: Option<PathBuf>,
    /// What a GGUF file says of words, where there is no `tokenizer.json`.
    pub words: Option<Words>,
}

/// How far loading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadingProgress {
    /// Bytes of weights that are there.
    pub bytes: u64,
    /// Bytes of all weights.
    pub bytes_total: u64,
}

impl ModelFiles {
    /// Loads a model from its folder, or from a GGUF file, and tells after each weight how far it is.
    ///
    /// # Errors
    /// `NotFound` where a file is missing; `Invalid` where the model is none that the decoder can be, or a limit is broken;
    /// `Corrupt` where a file is cut or does not hold what the others say; `Unavailable` as the disk has it.
    pub fn load(path: &Path, mut tell: impl FnMut(LoadingProgress)) -> Result<Self> {
        let gguf = if path.is_dir() { only_gguf(path)? } else { Some(path.to_owned()) };
        let folder = gguf.as_deref().map_or(Some(path), Path::parent).unwrap_or(path);
        let tokenizer = Some(folder.join("tokenizer.json")).filter(|file| file.is_file());
        let (config, weights, words) = match &gguf {
            Some(gguf) => {
                let file = Gguf::open(gguf, MAX_MODEL_FILE_BYTES)?;
                let in_file =
                    |error: Error| Error::new(error.kind(), format!("`{}`: {}", gguf.display(), error.message()));
                let words = if tokenizer.is_none() { words_of_gguf::read(&file).map_err(in_file)? } else { None };
                let (config, weights) = from_gguf::load(&file, &mut tell).map_err(in_file)?;
                (config, weights, words)
            }
            None => {
                let (config, weights) = from_folder(path, &mut tell)?;
                (config, weights, None)
            }
        };
        Ok(Self { config, weights: Weights::new(weights), tokenizer, words })
    }

    /// Returns what segments and adapters know the model by. It is computed each time: see [`fingerprint::of_model`].
    ///
    /// # Errors
    /// As [`fingerprint::of_model`].
    pub fn fingerprint(&self) -> Result<String> {
        fingerprint::of_model(&self.config, &self.weights)
    }
}

/// Returns the GGUF file of a folder that has no model in another form.
fn only_gguf(folder: &Path) -> Result<Option<PathBuf>> {
    if folder.join("config.json").is_file() {
        return Ok(None);
    }
    let mut found = named(folder, "gguf")?;
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(Some(only)),
        (None, _) => Err(Error::not_found(format!(
            "`{}` has neither a `config.json` nor a GGUF file, give the folder of a model",
            folder.display()
        ))),
        (Some(_), false) => {
            Err(Error::invalid(format!("`{}` has several GGUF files, give the path of one", folder.display())))
        }
    }
}

/// Returns the files of a folder whose names end so, in order.
fn named(folder: &Path, end: &str) -> Result<Vec<PathBuf>> {
    let unreadable = |error| crate::mapped::unreadable(folder, error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == end) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn from_folder(folder: &Path, tell: &mut dyn FnMut(LoadingProgress)) -> Result<(ModelConfig, HashMap<String, Weight>)> {
    let config = ModelConfig::from_json(&read_text(&folder.join("config.json"), MAX_CONFIG_BYTES as u64)?)?;
    let index = folder.join("model.safetensors.index.json");
    let places = if index.is_file() { Some(places(&index)?) } else { None };
    let parts = match &places {
        Some(places) => places.values().collect::<BTreeSet<_>>().into_iter().map(|name| folder.join(name)).collect(),
        None => {
            let found = named(folder, "safetensors")?;
            match found.iter().find(|path| path.ends_with("model.safetensors")) {
                Some(whole) => vec![whole.clone()],
                None if found.len() == 1 => found,
                None => {
                    return Err(Error::not_found(format!(
                        "`{}` has no `model.safetensors`, and no index of its parts",
                        folder.display()
                    )));
                }
            }
        }
    };
    let files = parts.iter().map(|path| TensorFile::open(path, MAX_MODEL_FILE_BYTES)).collect::<Result<Vec<_>>>()?;
    let mut found: BTreeMap<&str, (RawTensor<'_>, &TensorFile)> = BTreeMap::new();
    for file in &files {
        for (name, raw) in file.tensors() {
            if let Some((_, other)) = found.insert(name, (raw, file)) {
                let (one, other) = (file.path().display(), other.path().display());
                return Err(Error::corrupt(format!("the weight `{name}` is in `{one}` and in `{other}`")));
            }
        }
    }
    if let Some(places) = &places {
        let is_there = |name: &str, place: &str| found.get(name).is_some_and(|(_, file)| file.path().ends_with(place));
        if let Some((name, place)) = places.iter().find(|(name, place)| !is_there(name, place)) {
            return Err(Error::corrupt(format!(
                "the weight `{name}` is not in `{place}`, as the index says; get it again"
            )));
        }
    }
    let names: BTreeSet<String> = names(&config).collect();
    let of_use = |name: &str| names.contains(name) || name == "lm_head.weight";
    if let Some((name, (_, file))) = found.iter().find(|(name, _)| !of_use(name) && !is_derived(name)) {
        return Err(Error::invalid(format!(
            "`{}` has the weight `{name}`, which this decoder does not use; use a model of type llama, qwen2 or qwen3",
            file.path().display()
        )));
    }
    found.retain(|name, _| of_use(name) && !(config.is_tied && *name == "lm_head.weight"));
    let bytes_total = found.values().map(|(raw, _)| raw.bytes.len() as u64).sum();
    let (mut weights, mut bytes) = (HashMap::new(), 0);
    for (name, (raw, file)) in found {
        let kind = match raw.kind {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => {
                let file = file.path().display();
                return Err(Error::invalid(format!(
                    "the weight `{name}` in `{file}` is {other}, use F32, F16 or BF16"
                )));
            }
        };
        let tensor = Tensor::from_raw_buffer(raw.bytes, kind, raw.shape, &Device::Cpu)?;
        weights.insert(name.to_owned(), Weight::Plain(tensor));
        bytes += raw.bytes.len() as u64;
        tell(LoadingProgress { bytes, bytes_total });
    }
    Ok((config, weights))
}

#[derive(Deserialize)]
struct Index {
    weight_map: Once<String>,
}

/// Reads which weight is in which file of the folder.
fn places(index: &Path) -> Result<BTreeMap<String, String>> {
    let shown = index.display();
    let Index { weight_map: Once(places) } = serde_json::from_str(&read_text(index, MAX_INDEX_BYTES)?)
        .map_err(|error| Error::corrupt(format!("`{shown}` cannot be read: {error}")).with_source(error))?;
    // A name that leads out of the folder is none of the model's.
    let is_name =
        |name: &str| name.ends_with(".safetensors") && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0']);
    if let Some(name) = places.values().find(|name| !is_name(name)) {
        return Err(Error::invalid(format!("`{shown}` names the file `{name}`, use names of safetensors beside it")));
    }
    if places.values().collect::<BTreeSet<_>>().len() > MAX_MODEL_PARTS {
        return Err(Error::invalid(format!("`{shown}` names more than {MAX_MODEL_PARTS} files")));
    }
    Ok(places)
}

/// Returns the names of a model's weights, without its head.
fn names(config: &ModelConfig) -> impl Iterator<Item = String> {
    let in_block = |layer: usize| {
        let has_bias = |target| config.has_query_bias && matches!(target, Target::Query | Target::Key | Target::Value);
        let linear = Target::ALL.into_iter().flat_map(move |target| {
            let bias = has_bias(target).then(|| format!("{}.bias", target.path()));
            [format!("{}.weight", target.path())].into_iter().chain(bias)
        });
        let norms = ["self_attn.q_norm", "self_attn.k_norm"].into_iter().filter(|_| config.has_head_norm);
        let norms = ["input_layernorm", "post_attention_layernorm"].into_iter().chain(norms);
        let all = linear.chain(norms.map(|norm| format!("{norm}.weight")));
        all.map(move |part| format!("model.layers.{layer}.{part}"))
    };
    let outer = ["model.embed_tokens.weight", "model.norm.weight"].map(str::to_owned);
    outer.into_iter().chain((0..config.layers).flat_map(in_block))
}

/// Whether older files keep what the configuration says already.
fn is_derived(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
}

#[cfg(test)]
mod tests;
