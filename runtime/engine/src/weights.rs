//! Named weights of a model, wherever they come from, each checked for its shape before it is used.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::linear::Linear;

/// One weight.
#[derive(Debug, Clone)]
pub enum Weight {
    /// Numbers as they are.
    Plain(Tensor),
    /// Numbers in quantized blocks.
    Quantized(Arc<QTensor>),
}

/// The weights of a model under the names of published models, such as `model.layers.0.self_attn.q_proj.weight`.
#[derive(Debug, Default)]
pub struct Weights(HashMap<String, Weight>);

impl Weights {
    /// Takes weights by name.
    pub fn new(weights: HashMap<String, Weight>) -> Self {
        Self(weights)
    }

    /// Returns whether there is a weight of that name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns all of them by name, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Weight)> {
        self.0.iter().map(|(name, weight)| (name.as_str(), weight))
    }

    /// Returns a weight as F32 on a device.
    ///
    /// # Errors
    /// `Corrupt` where it is missing, has another shape, or holds what is no number.
    pub fn tensor(&self, name: &str, shape: &[usize], device: &Device) -> Result<Tensor> {
        let tensor = match self.find(name, shape)? {
            Weight::Plain(tensor) => tensor.to_dtype(DType::F32)?.to_device(device)?,
            Weight::Quantized(tensor) => tensor.dequantize(device)?.to_dtype(DType::F32)?,
        };
        check_numbers(name, &tensor)?;
        Ok(tensor)
    }

    /// Returns a linear layer of a weight (out, in) and, where it has one, its bias.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn linear(&self, name: &str, (out, width): (usize, usize), has_bias: bool, device: &Device) -> Result<Linear> {
        let bias = has_bias.then(|| self.tensor(&format!("{name}.bias"), &[out], device)).transpose()?;
        let weight = format!("{name}.weight");
        match self.find(&weight, &[out, width])? {
            Weight::Plain(_) => Linear::dense(&self.tensor(&weight, &[out, width], device)?, bias),
            Weight::Quantized(tensor) => {
                check_numbers(&weight, &tensor.dequantize(&Device::Cpu)?)?;
                Linear::quantized(tensor.clone(), bias)
            }
        }
    }

    fn find(&self, name: &str, shape: &[usize]) -> Result<&Weight> {
        let weight = self.0.get(name);
        let weight = weight.ok_or_else(|| Error::corrupt(format!("the model lacks the weight `{name}`")))?;
        let found = match weight {
            Weight::Plain(tensor) => tensor.dims(),
            Weight::Quantized(tensor) => tensor.shape().dims(),
        };
        if found != shape {
            return Err(Error::corrupt(format!(
                "the weight `{name}` has shape {found:?}, its configuration says {shape:?}"
            )));
        }
        Ok(weight)
    }
}

/// A single number that is none would spread to all: so a sum of squares that is none tells of it.
fn check_numbers(name: &str, tensor: &Tensor) -> Result<()> {
    let sum = tensor.sqr()?.sum_all()?.to_dtype(DType::F32)?.to_scalar::<f32>()?;
    if sum.is_finite() {
        return Ok(());
    }
    Err(Error::corrupt(format!("the weight `{name}` holds what is no number, get the model again")))
}
