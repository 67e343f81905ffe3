//! Parametric memory on disk: low-rank adapters in the folders that the library PEFT writes and reads.
//!
//! A folder has `adapter_config.json`, which says how the numbers are meant, and `adapter_model.safetensors` with them. Whatever
//! asks for more than low-rank changes of a block's linear layers is refused by name, since leaving it out would be another
//! adapter. What is ours to say stands in the metadata of the tensors, which other programs pass over: the model it was made
//! for, whose tokens it is to act on, the cubes it was taught, how it did, and a checksum. It never knows what the cubes are.

mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::{Device, Tensor};
use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use crate::adapter::{Adapter, LowRank, Target};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::mapped::read_text;
use crate::numbers::{self, Precision};
use crate::segment::{Differing, Expected};
use crate::tensor_file::{self, RawTensor, TensorFile};

use settings::Settings;

/// The file that says how an adapter is meant.
pub const SETTINGS_FILE: &str = "adapter_config.json";
/// The file with an adapter's numbers.
pub const NUMBERS_FILE: &str = "adapter_model.safetensors";
/// The most bytes of an adapter's settings.
pub const MAX_SETTINGS_BYTES: u64 = 1 << 20;
/// The most bytes of an adapter's numbers.
pub const MAX_ADAPTER_BYTES: u64 = 1 << 34;
/// The most cubes that an adapter names.
pub const MAX_ADAPTER_CUBES: usize = 65_536;
/// The highest rank of a change.
pub const MAX_RANK: usize = 4096;

/// What our metadata begins with; a later format has another number.
const FORMAT: &str = "adapter 1";

/// Whose tokens an adapter is to act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All that a request reads.
    All,
    /// The question's alone: what is in the cache stays as the base model made it, so segments fit beside it.
    Question,
}

/// How an adapter did on probes that it was not taught with: shares of right answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// Of the base model without it.
    pub before: f64,
    /// With it.
    pub after: f64,
}

/// Where an adapter comes from. Of one that others made, little is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterAbout {
    /// The name of the base model, as its maker calls it.
    pub base_name: Option<String>,
    /// The fingerprint of the model it was made for.
    pub model: Option<String>,
    /// The fingerprint of its tokenizer.
    pub tokenizer: Option<String>,
    /// Whose tokens it acts on.
    pub scope: Scope,
    /// The cubes that it was taught.
    pub cubes: Vec<String>,
    /// How it did.
    pub scores: Option<Scores>,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: Option<u64>,
}

/// An adapter as it is kept: its changes, their common scale and where they come from.
#[derive(Debug, Clone)]
pub struct AdapterFile {
    /// Where it comes from.
    pub about: AdapterAbout,
    /// What the product of each change is multiplied by.
    pub scale: f64,
    /// By block and layer.
    pub changes: BTreeMap<(usize, Target), LowRank>,
}

impl AdapterFile {
    /// Reads an adapter's folder.
    ///
    /// # Errors
    /// `Invalid` where it asks for what is not done here; `Mismatch` where it was made for another model or does not fit this one;
    /// `Corrupt` where a file is cut, changed, or holds what is no number; `NotFound` and `Unavailable` as the disk has it.
    pub fn open(folder: &Path, expected: &Expected<'_>) -> Result<Self> {
        let path = folder.join(SETTINGS_FILE);
        let text = read_text(&path, MAX_SETTINGS_BYTES)?;
        let settings = Settings::read(&text)
            .map_err(|error| Error::new(error.kind(), format!("`{}`: {}", path.display(), error.message())))?;
        let path = folder.join(NUMBERS_FILE);
        let file = TensorFile::open(&path, MAX_ADAPTER_BYTES)?;
        let bad = |what: String| Error::corrupt(format!("`{}` is no sound adapter: {what}", path.display()));
        let about = about(&file, &settings, &text).map_err(bad)?;
        let differs = |differing, made: &Option<String>, expected: &str| match made {
            Some(made) if made != expected => Err(Differing::error(differing, &path, made, expected)),
            _ => Ok(()),
        };
        differs(Differing::Model, &about.model, expected.model)?;
        differs(Differing::Tokenizer, &about.tokenizer, expected.tokenizer)?;
        let mut halves: BTreeMap<(usize, Target), [Option<Tensor>; 2]> = BTreeMap::new();
        for (name, raw) in file.tensors() {
            let (layer, target, half) =
                place(name).map_err(|what| Error::invalid(format!("`{}`: {what}", path.display())))?;
            let tensor = tensor(name, raw, expected.device).map_err(&bad)?;
            if let Some(slot) = halves.entry((layer, target)).or_default().get_mut(half) {
                *slot = Some(tensor);
            }
        }
        if halves.is_empty() {
            return Err(bad("it changes nothing".to_owned()));
        }
        let mut changes = BTreeMap::new();
        for ((layer, target), halves) in halves {
            let name = module(layer, target);
            let [Some(a), Some(b)] = halves else {
                return Err(bad(format!("half of the change of `{name}` is missing")));
            };
            let rank = a.dims2().map_or(0, |(rank, _)| rank);
            let said = settings.rank(&name);
            if rank != said || b.dims2().map_or(0, |(_, rank)| rank) != said {
                return Err(bad(format!("the change of `{name}` is not of rank {said}, as its settings say")));
            }
            let b = match settings.scale_beside(&name) {
                Some(scale) => (b * scale)?,
                None => b,
            };
            changes.insert((layer, target), LowRank { a, b });
        }
        let adapter = Self { about, scale: settings.scale(), changes };
        // What does not fit the model is told here, and not when it is first used.
        adapter.adapter(expected.config)?;
        Ok(adapter)
    }

    /// Returns it ready to be applied to a model.
    ///
    /// # Errors
    /// `Mismatch` where it does not fit.
    pub fn adapter(&self, config: &ModelConfig) -> Result<Adapter> {
        Adapter::new(config, self.scale, &self.changes)
    }

    /// Writes it into a folder, which is made where there is none: the numbers first, then the settings without which nobody
    /// reads them. Returns the bytes.
    ///
    /// # Errors
    /// `Invalid` where a limit is broken or it holds what is no number, `Unavailable` where the disk does not do its part.
    pub fn write(&self, folder: &Path, config: &ModelConfig) -> Result<u64> {
        check(&self.about).map_err(Error::invalid)?;
        if self.changes.is_empty() {
            return Err(Error::invalid("an adapter that changes nothing cannot be written"));
        }
        let settings = settings::written(self, config)?;
        let mut parts = Vec::new();
        for ((layer, target), LowRank { a, b }) in &self.changes {
            for (tensor, half) in [(a, "lora_A"), (b, "lora_B")] {
                let name = format!("base_model.model.{}.{half}.weight", module(*layer, *target));
                parts.push((name, tensor.dims().to_vec(), numbers::written(tensor, Precision::F32)?));
            }
        }
        let tensors = parts
            .iter()
            .map(|(name, shape, bytes)| (name.clone(), RawTensor { kind: Dtype::F32, shape, bytes }))
            .collect();
        let metadata = BTreeMap::from([
            // What programs that read weights of PyTorch look for.
            ("format".to_owned(), "pt".to_owned()),
            ("memos".to_owned(), FORMAT.to_owned()),
            ("about".to_owned(), serde_json::json!(self.about).to_string()),
            ("settings".to_owned(), settings_sum(&settings)),
        ]);
        std::fs::create_dir_all(folder).map_err(|error| {
            Error::unavailable(format!("the folder `{}` cannot be made: {error}", folder.display())).with_source(error)
        })?;
        let bytes = tensor_file::write(&folder.join(NUMBERS_FILE), metadata, &tensors)?;
        tensor_file::replace(&folder.join(SETTINGS_FILE), [settings.as_bytes()].into_iter())?;
        Ok(bytes + settings.len() as u64)
    }
}

/// A linear layer's name in published models.
fn module(layer: usize, target: Target) -> String {
    format!("model.layers.{layer}.{}", target.path())
}

/// Returns which half of which change a tensor is.
fn place(name: &str) -> std::result::Result<(usize, Target, usize), String> {
    let unknown = || format!("it changes `{name}`, which is no linear layer of a block; use an adapter of those alone");
    let rest = name.strip_prefix("base_model.model.model.layers.").ok_or_else(unknown)?;
    let (layer, rest) = rest.split_once('.').ok_or_else(unknown)?;
    // A number has one spelling, so that no two names mean one place.
    let layer = layer.parse().ok().filter(|number: &usize| number.to_string() == layer).ok_or_else(unknown)?;
    let (path, half) = match (rest.strip_suffix(".lora_A.weight"), rest.strip_suffix(".lora_B.weight")) {
        (Some(path), _) => (path, 0),
        (_, Some(path)) => (path, 1),
        _ => return Err(unknown()),
    };
    let target = Target::ALL.into_iter().find(|target| target.path() == path).ok_or_else(unknown)?;
    Ok((layer, target, half))
}

fn tensor(name: &str, raw: RawTensor<'_>, device: &Device) -> std::result::Result<Tensor, String> {
    let precision = Precision::of(raw.kind).ok_or_else(|| format!("`{name}` is {}, use F32, F16 or BF16", raw.kind))?;
    let [rows, columns] = raw.shape else { return Err(format!("`{name}` does not have two dimensions")) };
    if raw.shape.contains(&0) || (*rows).min(*columns) > MAX_RANK {
        return Err(format!("`{name}` has shape {:?}, its rank must be 1 to {MAX_RANK}", raw.shape));
    }
    let (numbers, _, is_sound) = numbers::read(raw, precision);
    if !is_sound {
        return Err(format!("`{name}` holds what is no number"));
    }
    Tensor::from_vec(numbers, raw.shape, device).map_err(|error| error.to_string())
}

fn about(file: &TensorFile, settings: &Settings, text: &str) -> std::result::Result<AdapterAbout, String> {
    let said = |error: Error| error.message().to_owned();
    // One mark that was lost makes ours no one else's.
    if !["memos", "about", "settings", "checksum"].iter().any(|name| file.metadata().contains_key(*name)) {
        return Ok(AdapterAbout {
            base_name: settings.base_name.clone(),
            model: None,
            tokenizer: None,
            scope: Scope::All,
            cubes: Vec::new(),
            scores: None,
            created_ms: None,
        });
    }
    let format = file.says("memos").map_err(said)?;
    if format != FORMAT {
        return Err(format!("its format is `{format}`, this program reads `{FORMAT}`"));
    }
    file.verify().map_err(said)?;
    if file.says("settings").map_err(said)? != settings_sum(text) {
        return Err(format!("its {SETTINGS_FILE} is not the one it was written with"));
    }
    let about = file.says("about").map_err(said)?;
    let about =
        serde_json::from_str(about).map_err(|error| format!("what it says of itself cannot be read: {error}"))?;
    check(&about)?;
    Ok(about)
}

fn settings_sum(text: &str) -> String {
    format!("crc32:{:08x}", tensor_file::sum(text.as_bytes()).finalize())
}

fn check(about: &AdapterAbout) -> std::result::Result<(), String> {
    use crate::segment::MAX_SEGMENT_NAME_BYTES as MAX;
    if about.cubes.len() > MAX_ADAPTER_CUBES {
        return Err(format!("the adapter names {} cubes, at most {MAX_ADAPTER_CUBES} are kept", about.cubes.len()));
    }
    let names = [&about.base_name, &about.model, &about.tokenizer];
    if names.into_iter().flatten().chain(&about.cubes).any(|name| name.len() > MAX) {
        return Err(format!("the adapter has a name of more than {MAX} bytes, give it a shorter one"));
    }
    if about.scores.is_some_and(|Scores { before, after }| !before.is_finite() || !after.is_finite()) {
        return Err("the adapter has scores that are no numbers".to_owned());
    }
    Ok(())
}

/// Returns the linear layers that are changed, in the fewest names.
fn changed_modules(changes: &BTreeMap<(usize, Target), LowRank>, layers: usize) -> BTreeSet<String> {
    let is_everywhere = |target: Target| (0..layers).all(|layer| changes.contains_key(&(layer, target)));
    let name = |(layer, target): &(usize, Target)| match is_everywhere(*target) {
        true => target.name().to_owned(),
        false => module(*layer, *target),
    };
    changes.keys().map(name).collect()
}

#[cfg(test)]
mod tests;
