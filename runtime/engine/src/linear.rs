//! A linear layer in the form that multiplies fastest, and what adapters add to it.

mod panels;

use std::sync::Arc;

use candle_core::Tensor;
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_nn::Module;

use crate::error::Result;
use crate::held::Held;

use panels::Panels;

/// `x W^T + b` over rows of `x`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
    shape: (usize, usize),
}

#[derive(Debug, Clone)]
enum Weight {
    /// On the processor: our own multiplication, of plain weights and of Q8_0.
    Panels(Arc<Panels>),
    /// (in, out): as the multiplication reads it, which is up to three times as fast as turning it each time.
    Dense(Tensor),
    Quantized(Arc<QMatMul>),
}

impl Linear {
    /// Makes a layer of a weight (out, in) and a bias (out).
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn dense(weight: &Tensor, bias: Option<Tensor>) -> Result<Self> {
        let shape = weight.dims2()?;
        if weight.device().is_cpu() && panels::is_quick() {
            let weight = weight.contiguous()?;
            let panels = Panels::plain(&Held::of(&weight)?, shape);
            return Ok(Self { weight: Weight::Panels(Arc::new(panels)), bias, shape });
        }
        Ok(Self { weight: Weight::Dense(weight.t()?.contiguous()?), bias, shape })
    }

    /// Makes a layer of a quantized weight (out, in) and a bias (out).
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn quantized(weight: Arc<QTensor>, bias: Option<Tensor>) -> Result<Self> {
        let shape = weight.shape().dims2()?;
        if weight.device().is_cpu()
            && weight.dtype() == GgmlDType::Q8_0
            && panels::is_quick()
            && let Some(panels) = Panels::q8_0(&weight.data()?, shape)
        {
            return Ok(Self { weight: Weight::Panels(Arc::new(panels)), bias, shape });
        }
        Ok(Self { weight: Weight::Quantized(Arc::new(QMatMul::from_arc(weight)?)), bias, shape })
    }

    /// Returns its width out and in.
    pub fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// Applies it to rows: (rows, in) to (rows, out).
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let y = match &self.weight {
            Weight::Panels(panels) => {
                let x = x.contiguous()?;
                Tensor::from_vec(panels.multiply(&Held::of(&x)?), (x.dim(0)?, self.shape.0), x.device())?
            }
            Weight::Dense(weight) => x.matmul(weight)?,
            Weight::Quantized(weight) => weight.forward(x)?,
        };
        Ok(match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        })
    }
}
