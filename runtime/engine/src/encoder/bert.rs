//! The network: embeddings, and layers of attention and a widening step, each with a residual and a norm behind it.
//!
//! After Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers". Several texts go through at once, laid one
//! behind the other: `[tokens, hidden]` everywhere but within attention. Nothing here is trained, so the fused operations,
//! which have no gradient, are right.

use candle_core::{CpuStorage, CustomOp1, DType, Device, IndexOp, Layout, Shape, Tensor};
use candle_nn::ops::{layer_norm, softmax_last_dim};

use super::settings::Settings;
use super::weights::Weights;
use crate::{Error, Result};

/// A BERT encoder.
pub(super) struct Bert {
    words: Tensor,
    /// What each place adds, and with it the kind that all tokens of a sentence have.
    places: Tensor,
    norm: Norm,
    layers: Vec<Layer>,
    heads: usize,
}

struct Layer {
    /// Query, key and value of all heads in one matrix.
    asked: Linear,
    attended: Linear,
    attended_norm: Norm,
    widen: Linear,
    narrow: Linear,
    norm: Norm,
}

/// `x · weight + bias`. The weight lies as it is multiplied, which is about twice as fast as turned around.
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

struct Norm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

impl Bert {
    /// Takes the network out of its weights.
    pub(super) fn of(weights: &Weights<'_>, settings: &Settings) -> Result<Self> {
        let Settings { words, hidden, places, kinds, .. } = *settings;
        let kind = weights.tensor("embeddings.token_type_embeddings.weight", &[kinds, hidden])?.i(0)?;
        let places = weights.tensor("embeddings.position_embeddings.weight", &[places, hidden])?;
        Ok(Self {
            words: weights.tensor("embeddings.word_embeddings.weight", &[words, hidden])?,
            places: places.broadcast_add(&kind)?,
            norm: Norm::of(weights, "embeddings.LayerNorm", settings)?,
            layers: (0..settings.layers).map(|number| Layer::of(weights, number, settings)).collect::<Result<_>>()?,
            heads: settings.heads,
        })
    }

    /// Returns the last state of each token, `[tokens, hidden]`. The texts lie one behind the other in `ids`, and `lengths`
    /// tells them apart; texts of one length that are neighbours go through attention together.
    pub(super) fn forward(&self, ids: &[u32], lengths: &[usize]) -> Result<Tensor> {
        if lengths.iter().sum::<usize>() != ids.len() {
            return Err(Error::invalid("the lengths of the texts do not add up to their tokens"));
        }
        let places: Vec<u32> = lengths.iter().flat_map(|length| (0..*length).map(|place| place as u32)).collect();
        let at = |table: &Tensor, rows: &[u32]| table.index_select(&Tensor::new(rows, &Device::Cpu)?, 0);
        let mut states = self.norm.apply(&(at(&self.words, ids)? + at(&self.places, &places)?)?)?;
        for layer in &self.layers {
            states = layer.forward(&states, lengths, self.heads)?;
        }
        Ok(states)
    }
}

impl Layer {
    fn of(weights: &Weights<'_>, number: usize, settings: &Settings) -> Result<Self> {
        let Settings { hidden, between, .. } = *settings;
        let name = |part: &str| format!("encoder.layer.{number}.{part}");
        let one = |part: &str, from: usize, to: usize| -> Result<(Tensor, Tensor)> {
            let weight = weights.tensor(&name(&format!("{part}.weight")), &[to, from])?;
            Ok((weight, weights.tensor(&name(&format!("{part}.bias")), &[to])?))
        };
        let (query, query_bias) = one("attention.self.query", hidden, hidden)?;
        let (key, key_bias) = one("attention.self.key", hidden, hidden)?;
        let (value, value_bias) = one("attention.self.value", hidden, hidden)?;
        let asked = (Tensor::cat(&[query, key, value], 0)?, Tensor::cat(&[query_bias, key_bias, value_bias], 0)?);
        Ok(Self {
            asked: Linear::of(asked)?,
            attended: Linear::of(one("attention.output.dense", hidden, hidden)?)?,
            attended_norm: Norm::of(weights, &name("attention.output.LayerNorm"), settings)?,
            widen: Linear::of(one("intermediate.dense", hidden, between)?)?,
            narrow: Linear::of(one("output.dense", between, hidden)?)?,
            norm: Norm::of(weights, &name("output.LayerNorm"), settings)?,
        })
    }

    fn forward(&self, states: &Tensor, lengths: &[usize], heads: usize) -> Result<Tensor> {
        let attended = attention(&self.asked.apply(states)?, lengths, heads)?;
        let states = self.attended_norm.apply(&(self.attended.apply(&attended)? + states)?)?;
        let wide = self.widen.apply(&states)?.apply_op1_no_bwd(&Gelu)?;
        self.norm.apply(&(self.narrow.apply(&wide)? + states)?)
    }
}

/// Lets the tokens of each text look at one another. `asked` has query, key and value beside each other, `[tokens, 3 hidden]`.
fn attention(asked: &Tensor, lengths: &[usize], heads: usize) -> Result<Tensor> {
    let (_, width) = asked.dims2()?;
    let (hidden, size) = (width / 3, width / 3 / heads);
    let scale = 1.0 / (size as f64).sqrt();
    let (mut begin, mut runs) = (0, Vec::new());
    for run in lengths.chunk_by(|one, next| one == next) {
        let (texts, length) = (run.len(), run.first().copied().unwrap_or(0));
        let rows = asked.narrow(0, begin, texts * length)?;
        let split = rows.reshape((texts, length, 3, heads, size))?.permute((2, 0, 3, 1, 4))?.contiguous()?;
        let (query, key, value) = (split.i(0)?, split.i(1)?, split.i(2)?);
        let weights = softmax_last_dim(&(query.matmul(&key.t()?)? * scale)?)?;
        runs.push(weights.matmul(&value)?.transpose(1, 2)?.reshape((texts * length, hidden))?);
        begin += texts * length;
    }
    Ok(Tensor::cat(&runs, 0)?)
}

impl Linear {
    fn of((weight, bias): (Tensor, Tensor)) -> Result<Self> {
        Ok(Self { weight: weight.t()?.contiguous()?, bias })
    }

    fn apply(&self, states: &Tensor) -> Result<Tensor> {
        Ok(states.matmul(&self.weight)?.broadcast_add(&self.bias)?)
    }
}

impl Norm {
    fn of(weights: &Weights<'_>, name: &str, settings: &Settings) -> Result<Self> {
        let part = |part: &str| weights.tensor(&format!("{name}.{part}"), &[settings.hidden]);
        Ok(Self { weight: part("weight")?, bias: part("bias")?, epsilon: settings.epsilon })
    }

    fn apply(&self, states: &Tensor) -> Result<Tensor> {
        Ok(layer_norm(states, &self.weight, &self.bias, self.epsilon)?)
    }
}

/// `x · Φ(x)`, exact to the precision of its numbers. candle's goes through 64 bits, one number at a time, and took a third of
/// the whole.
struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let values = storage.as_slice::<f32>()?;
        let values = match layout.contiguous_offsets() {
            Some((from, to)) => values.get(from..to),
            None => None,
        };
        let Some(values) = values else {
            candle_core::bail!("gelu takes contiguous tensors of {:?}", DType::F32);
        };
        Ok((CpuStorage::F32(values.iter().map(|value| gelu(*value)).collect()), layout.shape().clone()))
    }
}

fn gelu(value: f32) -> f32 {
    0.5 * value * (1.0 + error_function(value * std::f32::consts::FRAC_1_SQRT_2))
}

/// A rational minimax approximation, from Eigen's `generic_fast_erf_float`: off by at most 5e-7.
fn error_function(value: f32) -> f32 {
    // Beyond, it is one in 32 bits.
    let x = value.clamp(-4.0, 4.0);
    let square = x * x;
    let above = [2.770_681_4e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906_3e-4, -2.954_6e-3, -1.609_603_3e-2];
    let below = [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_474e-2];
    let above = above.iter().fold(-2.726_142_3e-10f32, |sum, factor| sum * square + factor);
    let below = below.iter().fold(0.0f32, |sum, factor| sum * square + factor);
    x * above / below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_is_that_of_candle_in_64_bits() {
        let values: Vec<f32> = (-80_000..=80_000).map(|step| step as f32 / 10_000.0).collect();
        let tensor = Tensor::new(values.as_slice(), &Device::Cpu).unwrap();
        let expect = tensor.to_dtype(DType::F64).unwrap().gelu_erf().unwrap().to_vec1::<f64>().unwrap();
        let found = tensor.apply_op1_no_bwd(&Gelu).unwrap().to_vec1::<f32>().unwrap();
        for ((value, found), expect) in values.iter().zip(found).zip(expect) {
            assert!(
                (f64::from(found) - expect).abs() < 5e-7 * f64::from(value.abs().max(1.0)),
                "{value}: {found}, {expect}"
            );
        }
    }
}
