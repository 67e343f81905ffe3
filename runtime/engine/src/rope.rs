//! How positions turn queries and keys: rotary embedding, and its use to move keys that were made elsewhere.
//!
//! A key at position `p` is the key at 0 turned by `p` times each frequency. So a segment that was made at one position is moved
//! to another by turning its keys by the difference, without a look at its text.

use candle_core::{Device, Tensor};

use crate::config::{ModelConfig, RopeScaling};
use crate::error::Result;

/// The frequencies of a model's heads.
#[derive(Debug, Clone)]
pub struct Rope {
    frequencies: Vec<f64>,
}

impl Rope {
    /// Returns the frequencies of a model.
    pub fn new(config: &ModelConfig) -> Self {
        let half = config.head_size / 2;
        let frequency = |i: usize| config.rope.theta.powf(-(i as f64) / half as f64);
        let frequencies = (0..half).map(|i| scaled(i, frequency(i), &config.rope.scaling)).collect();
        Self { frequencies }
    }

    /// Returns cosines and sines for positions, each of shape (positions, half a head). Positions may be negative: that turns
    /// back.
    ///
    /// # Errors
    /// `Unavailable` when the device has no room.
    pub fn rows(&self, positions: impl Iterator<Item = i64>, device: &Device) -> Result<(Tensor, Tensor)> {
        let (mut cosines, mut sines) = (Vec::new(), Vec::new());
        for position in positions {
            for frequency in &self.frequencies {
                let (sine, cosine) = (position as f64 * frequency).sin_cos();
                cosines.push(cosine as f32);
                sines.push(sine as f32);
            }
        }
        let shape = (cosines.len() / self.frequencies.len(), self.frequencies.len());
        Ok((Tensor::from_vec(cosines, shape, device)?, Tensor::from_vec(sines, shape, device)?))
    }
}

/// Turns heads by rows of cosines and sines: (tokens, heads, size) by (tokens, half a head).
///
/// # Errors
/// `Unavailable` when the device has no room.
pub fn turn(heads: &Tensor, (cosines, sines): &(Tensor, Tensor)) -> Result<Tensor> {
    let heads = heads.unsqueeze(0)?.contiguous()?;
    Ok(candle_nn::rotary_emb::rope_thd(&heads, cosines, sines)?.squeeze(0)?)
}

/// Stretches a frequency, as Llama 3.1's paper and configuration say.
fn scaled(number: usize, frequency: f64, scaling: &RopeScaling) -> f64 {
    match *scaling {
        RopeScaling::None => frequency,
        RopeScaling::Each { ref factors } => frequency / factors.get(number).copied().unwrap_or(1.0),
        RopeScaling::Linear { factor } => frequency / factor,
        RopeScaling::Llama3 { factor, low, high, original } => {
            let wavelength = 2.0 * std::f64::consts::PI / frequency;
            if wavelength < original / high {
                frequency
            } else if wavelength > original / low {
                frequency / factor
            } else {
                let kept = (original / wavelength - low) / (high - low);
                (1.0 - kept) * frequency / factor + kept * frequency
            }
        }
    }
}
