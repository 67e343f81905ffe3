//! An adapter as one piece of bytes, for whoever keeps it elsewhere than in a folder: its changes as PEFT names them, and what
//! must be known to use them in the metadata. It never knows where the bytes are kept.

use std::collections::BTreeMap;

use candle_core::Tensor;
use safetensors::Dtype;

use crate::adapter::{Adapter, LowRank, Target};
use crate::error::{Error, Result};
use crate::numbers::{self, Precision};
use crate::segment::Expected;
use crate::tensor_file::{self, RawTensor, TensorFile};

/// What a body's first entry says; a later format has another number.
const FORMAT: &str = "memos adapter 1";
/// What stands before a layer's name.
const PREFIX: &str = "base_model.model.model.layers.";

/// An adapter with the model it was made for.
#[derive(Debug, Clone)]
pub struct AdapterBody {
    /// The fingerprint of the model.
    pub model: String,
    /// The fingerprint of its tokenizer.
    pub tokenizer: String,
    /// What the product of each change is multiplied by.
    pub scale: f64,
    /// By block and layer.
    pub changes: BTreeMap<(usize, Target), LowRank>,
}

impl AdapterBody {
    /// Returns the inner size of its changes; 0 when they differ.
    pub fn rank(&self) -> usize {
        let mut ranks = self.changes.values().map(|change| change.a.dims2().map_or(0, |(rank, _)| rank));
        let first = ranks.next().unwrap_or(0);
        if ranks.all(|rank| rank == first) { first } else { 0 }
    }

    /// Returns the name, the inputs and the outputs of each layer that it changes, in the order of their names.
    pub fn targets(&self) -> Vec<(String, usize, usize)> {
        let of = |((layer, target), change): (&(usize, Target), &LowRank)| {
            let inputs = change.a.dims2().map_or(0, |(_, inputs)| inputs);
            let outputs = change.b.dims2().map_or(0, |(outputs, _)| outputs);
            (name(*layer, *target), inputs, outputs)
        };
        let mut targets: Vec<_> = self.changes.iter().map(of).collect();
        targets.sort_unstable();
        targets
    }

    /// Returns it as the bytes of a safetensors file, in F32.
    ///
    /// # Errors
    /// `Invalid` where it holds what is no number.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut parts = Vec::new();
        for ((layer, target), LowRank { a, b }) in &self.changes {
            for (tensor, half) in [(a, "lora_A"), (b, "lora_B")] {
                let name = format!("{}.{half}.weight", name(*layer, *target));
                parts.push((name, tensor.dims().to_vec(), numbers::written(tensor, Precision::F32)?));
            }
        }
        let tensors = parts
            .iter()
            .map(|(name, shape, bytes)| (name.clone(), RawTensor { kind: Dtype::F32, shape, bytes }))
            .collect();
        let metadata = [
            ("format", FORMAT.to_owned()),
            ("model", self.model.clone()),
            ("tokenizer", self.tokenizer.clone()),
            ("scale", format!("{:?}", self.scale)),
        ];
        let metadata = metadata.map(|(name, value)| (name.to_owned(), value));
        Ok(tensor_file::written(BTreeMap::from(metadata), &tensors))
    }

    /// Reads it, under the name by which errors are to call it.
    ///
    /// # Errors
    /// `Corrupt` where it is cut, changed, or no adapter; `Mismatch` where it was made for another model.
    pub fn from_bytes(shown: &str, bytes: Vec<u8>, expected: &Expected<'_>) -> Result<Self> {
        let file = TensorFile::held(shown, bytes)?;
        let bad = |what: String| Error::corrupt(format!("`{shown}` is no sound adapter: {what}"));
        if file.says("format")? != FORMAT {
            return Err(bad(format!("its format is not `{FORMAT}`")));
        }
        file.verify()?;
        let (model, tokenizer) = (file.says("model")?.to_owned(), file.says("tokenizer")?.to_owned());
        for (what, made, expected) in [("model", &model, expected.model), ("tokenizer", &tokenizer, expected.tokenizer)]
        {
            if made != expected {
                return Err(Error::mismatch(format!(
                    "`{shown}` was made with another {what}, `{made}`, this one is `{expected}`; make it again"
                )));
            }
        }
        let scale = file.says("scale")?;
        let scale = scale.parse().map_err(|_| bad(format!("its scale is `{scale}`, which is no number")))?;
        let mut halves: BTreeMap<(usize, Target), [Option<Tensor>; 2]> = BTreeMap::new();
        for (name, raw) in file.tensors() {
            let (layer, target, half) = place(name).ok_or_else(|| bad(format!("it changes `{name}`")))?;
            let precision = Precision::of(raw.kind).ok_or_else(|| bad(format!("`{name}` is {}", raw.kind)))?;
            let (numbers, _, is_sound) = numbers::read(raw, precision);
            if !is_sound || raw.shape.len() != 2 {
                return Err(bad(format!("`{name}` holds what is no number, or has no two dimensions")));
            }
            let tensor = Tensor::from_vec(numbers, raw.shape, expected.device)?;
            if let Some(slot) = halves.entry((layer, target)).or_default().get_mut(half) {
                *slot = Some(tensor);
            }
        }
        let mut changes = BTreeMap::new();
        for ((layer, target), halves) in halves {
            let [Some(a), Some(b)] = halves else {
                return Err(bad(format!("half of the change of `{}` is missing", name(layer, target))));
            };
            changes.insert((layer, target), LowRank { a, b });
        }
        let body = Self { model, tokenizer, scale, changes };
        // What does not fit the model is told here, and not when it is first used.
        Adapter::new(expected.config, scale, &body.changes)?;
        Ok(body)
    }
}

fn name(layer: usize, target: Target) -> String {
    format!("{PREFIX}{layer}.{}", target.path())
}

/// Returns which half of which change a tensor is.
fn place(tensor: &str) -> Option<(usize, Target, usize)> {
    let (path, half) = match tensor.strip_suffix(".lora_A.weight") {
        Some(path) => (path, 0),
        None => (tensor.strip_suffix(".lora_B.weight")?, 1),
    };
    let (layer, path) = path.strip_prefix(PREFIX)?.split_once('.')?;
    // A number has one spelling, so that no two names mean one place.
    let layer = layer.parse().ok().filter(|number: &usize| number.to_string() == layer)?;
    Some((layer, Target::ALL.into_iter().find(|target| target.path() == path)?, half))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::error::ErrorKind;
    use crate::small_model::{small_changes, small_config};

    #[test]
    fn an_adapter_comes_back_from_its_bytes_and_nothing_else_does() {
        let config = small_config();
        let (model, tokenizer) = ("model".to_owned(), "tokenizer".to_owned());
        let body = AdapterBody { model, tokenizer, scale: 2.0, changes: small_changes(&config, 1, 3) };
        assert_eq!((body.rank(), body.targets().len()), (3, body.changes.len()));
        let bytes = body.to_bytes().unwrap();
        let expected = Expected { model: "model", tokenizer: "tokenizer", config: &config, device: &Device::Cpu };
        let read = AdapterBody::from_bytes("body", bytes.clone(), &expected).unwrap();
        assert_eq!(read.scale, 2.0);
        assert_eq!(read.to_bytes().unwrap(), bytes);
        let foreign = Expected { model: "other", ..expected };
        let refused = |bytes: Vec<u8>, expected| AdapterBody::from_bytes("body", bytes, expected).unwrap_err().kind();
        assert_eq!(refused(bytes.clone(), &foreign), ErrorKind::Mismatch);
        for place in (0..bytes.len()).step_by(97) {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert!(matches!(refused(damaged, &expected), ErrorKind::Corrupt | ErrorKind::Mismatch), "byte {place}");
        }
        assert_eq!(refused(bytes[..bytes.len() - 1].to_vec(), &expected), ErrorKind::Corrupt);
    }
}
