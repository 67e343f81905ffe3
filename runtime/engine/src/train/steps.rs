//! Steps along a gradient: AdamW with a bound on the gradient's length.

use candle_core::{Tensor, Var, backprop::GradStore};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};

use crate::error::Result;

/// Takes steps.
pub struct Steps {
    variables: Vec<Var>,
    optimizer: AdamW,
    longest: f64,
}

impl Steps {
    /// Begins with variables; a gradient longer than `longest` is cut to it.
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn new(variables: Vec<Var>, weight_decay: f64, longest: f64) -> Result<Self> {
        // A second moment that forgets sooner than the usual 0.999 follows a course whose lessons change.
        let settings = ParamsAdamW { lr: 0.0, beta1: 0.9, beta2: 0.98, eps: 1e-8, weight_decay };
        Ok(Self { optimizer: AdamW::new(variables.clone(), settings)?, variables, longest })
    }

    /// Takes one step of a length against a loss.
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn take(&mut self, loss: &Tensor, rate: f64) -> Result<()> {
        self.follow(vec![loss.backward()?], rate)
    }

    /// Takes one step of a length against the sum of some gradients.
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn follow(&mut self, parts: Vec<GradStore>, rate: f64) -> Result<()> {
        let mut parts = parts.into_iter();
        let Some(mut gradients) = parts.next() else { return Ok(()) };
        for mut part in parts {
            for variable in &self.variables {
                let sum = match (gradients.remove(variable), part.remove(variable)) {
                    (Some(one), Some(other)) => Some((one + other)?),
                    (one, other) => one.or(other),
                };
                sum.map(|sum| gradients.insert(variable, sum));
            }
        }
        self.bound(&mut gradients)?;
        self.optimizer.set_learning_rate(rate);
        Ok(self.optimizer.step(&gradients)?)
    }

    fn bound(&self, gradients: &mut GradStore) -> Result<()> {
        let mut square = 0.0;
        for variable in &self.variables {
            if let Some(gradient) = gradients.get(variable) {
                square += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
            }
        }
        let length = square.sqrt();
        if length > self.longest {
            for variable in &self.variables {
                if let Some(gradient) = gradients.remove(variable) {
                    gradients.insert(variable, (gradient * (self.longest / length))?);
                }
            }
        }
        Ok(())
    }
}
