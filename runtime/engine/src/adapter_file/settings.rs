//! What PEFT's `adapter_config.json` says, as far as it is done here; all else is refused by name.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{AdapterFile, MAX_RANK, changed_modules, module};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::tensor_file::Once;

/// What has no meaning once an adapter is made, or is read below.
const HARMLESS: &[&str] = &[
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "target_modules",
    "task_type",
    "use_rslora",
];

/// Ways to choose first weights that leave the base model as it is. Of the others some change it, so that the adapter alone is
/// not the whole change.
const FIRST_WEIGHTS: &[&str] = &["gaussian", "eva", "orthogonal"];

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) base_name: Option<String>,
    rank: usize,
    alpha: f64,
    is_rank_stabilised: bool,
    /// By the end of a layer's name.
    ranks: BTreeMap<String, f64>,
    alphas: BTreeMap<String, f64>,
}

impl Settings {
    pub(super) fn read(text: &str) -> Result<Self> {
        let unreadable =
            |error: serde_json::Error| Error::corrupt(format!("it cannot be read: {error}")).with_source(error);
        let Once(all): Once<Value> = serde_json::from_str(text).map_err(unreadable)?;
        let kind = all.get("peft_type").and_then(Value::as_str).unwrap_or("none");
        if kind != "LORA" {
            return Err(Error::invalid(format!("it is of type `{kind}`, use one of type `LORA`")));
        }
        if let Some(name) = all.iter().find(|(name, value)| !is_done(name, value)).map(|(name, _)| name) {
            return Err(Error::invalid(format!("it uses `{name}`, which is not done here; use an adapter without it")));
        }
        let first = all.get("init_lora_weights").and_then(Value::as_str);
        if let Some(first) = first.filter(|first| !FIRST_WEIGHTS.contains(first)) {
            return Err(Error::invalid(format!(
                "its `init_lora_weights` is `{first}`, which may change the base model too; convert it to a plain adapter"
            )));
        }
        let wrong = |name: &str| Error::corrupt(format!("its `{name}` is not what it should be"));
        let number = |name: &str| all.get(name).and_then(Value::as_f64).ok_or_else(|| wrong(name));
        let pattern = |name: &str| match all.get(name) {
            None | Some(Value::Null) => Ok(BTreeMap::new()),
            Some(Value::Object(of)) => of
                .iter()
                .map(|(end, value)| Ok((plain(name, end)?, value.as_f64().ok_or_else(|| wrong(name))?)))
                .collect(),
            Some(_) => Err(wrong(name)),
        };
        let settings = Self {
            base_name: all.get("base_model_name_or_path").and_then(Value::as_str).map(str::to_owned),
            rank: rank_of(number("r")?).ok_or_else(|| wrong("r"))?,
            alpha: number("lora_alpha")?,
            is_rank_stabilised: all.get("use_rslora").and_then(Value::as_bool).unwrap_or(false),
            ranks: pattern("rank_pattern")?,
            alphas: pattern("alpha_pattern")?,
        };
        let is_sound = |alpha: &f64| alpha.is_finite() && alpha.abs() < 1e9;
        if !is_sound(&settings.alpha) || !settings.alphas.values().all(is_sound) {
            return Err(wrong("lora_alpha"));
        }
        if settings.ranks.values().any(|rank| rank_of(*rank).is_none()) {
            return Err(wrong("rank_pattern"));
        }
        Ok(settings)
    }

    /// Returns the rank of a layer's change.
    pub(super) fn rank(&self, name: &str) -> usize {
        found(&self.ranks, name).and_then(rank_of).unwrap_or(self.rank)
    }

    /// Returns the scale of all changes.
    pub(super) fn scale(&self) -> f64 {
        if self.is_uniform() { self.scale_of(self.alpha, self.rank) } else { 1.0 }
    }

    /// Returns what a layer's change is to be multiplied by beside the scale of all, where layers have scales of their own.
    pub(super) fn scale_beside(&self, name: &str) -> Option<f64> {
        let alpha = found(&self.alphas, name).unwrap_or(self.alpha);
        (!self.is_uniform()).then(|| self.scale_of(alpha, self.rank(name)))
    }

    fn is_uniform(&self) -> bool {
        self.ranks.is_empty() && self.alphas.is_empty()
    }

    fn scale_of(&self, alpha: f64, rank: usize) -> f64 {
        let rank = rank as f64;
        alpha / if self.is_rank_stabilised { rank.sqrt() } else { rank }
    }
}

/// Whether a setting is known, or says no.
fn is_done(name: &str, value: &Value) -> bool {
    let is_no = match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty() || (name == "bias" && text == "none"),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    };
    is_no || HARMLESS.contains(&name)
}

fn rank_of(number: f64) -> Option<usize> {
    (1..=MAX_RANK).contains(&(number as usize)).then_some(number as usize).filter(|rank| *rank as f64 == number)
}

/// Takes the end of a name; PEFT allows regular expressions, which are not read here.
fn plain(setting: &str, end: &str) -> Result<String> {
    // Some writers hold the name to the end of the line.
    let name = end.strip_prefix('^').unwrap_or(end);
    let name = name.strip_suffix('$').unwrap_or(name).replace("\\.", ".");
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.') {
        return Err(Error::invalid(format!("its `{setting}` has the pattern `{end}`; use plain names of layers")));
    }
    Ok(name)
}

fn found(patterns: &BTreeMap<String, f64>, name: &str) -> Option<f64> {
    let fits = |end: &str| name.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    // The longest is the most exact; PEFT takes the first, and no sane file has two.
    patterns.iter().filter(|(end, _)| fits(end)).max_by_key(|(end, _)| end.len()).map(|(_, value)| *value)
}

/// Returns the settings of an adapter, as PEFT reads them.
pub(super) fn written(adapter: &AdapterFile, config: &ModelConfig) -> Result<String> {
    let mut ranks = BTreeMap::new();
    for ((layer, target), change) in &adapter.changes {
        ranks.insert(module(*layer, *target), change.a.dims2()?.0);
    }
    let rank = ranks.values().copied().max().unwrap_or(1);
    ranks.retain(|_, own| *own != rank);
    let alphas: BTreeMap<&String, f64> = ranks.iter().map(|(name, own)| (name, adapter.scale * *own as f64)).collect();
    let settings = json!({
        "alpha_pattern": alphas,
        "base_model_name_or_path": adapter.about.base_name,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "lora_alpha": adapter.scale * rank as f64,
        "lora_dropout": 0.0,
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": rank,
        "rank_pattern": ranks,
        "revision": null,
        "target_modules": changed_modules(&adapter.changes, config.layers),
        "task_type": "CAUSAL_LM",
        "use_dora": false,
        "use_rslora": false,
    });
    Ok(format!("{settings:#}\n"))
}
