//! Parametric memory in use: low-rank changes to linear layers, laid over the base for the tokens of one request.
//!
//! The base is never touched: a request with an adapter adds `scale * (x A^T) B^T` to its own rows, and the next one without it
//! finds the model as it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Tensor;

use crate::config::ModelConfig;
use crate::error::{Error, Result};

/// A linear layer of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Makes queries.
    Query,
    /// Makes keys.
    Key,
    /// Makes values.
    Value,
    /// Takes what attention found.
    Output,
    /// Opens the feed-forward.
    Gate,
    /// Widens into the feed-forward.
    Up,
    /// Narrows out of the feed-forward.
    Down,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// Returns its name in published models.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "q_proj",
            Self::Key => "k_proj",
            Self::Value => "v_proj",
            Self::Output => "o_proj",
            Self::Gate => "gate_proj",
            Self::Up => "up_proj",
            Self::Down => "down_proj",
        }
    }

    /// Returns its path inside a block, as published models have it.
    pub fn path(self) -> &'static str {
        match self {
            Self::Query => "self_attn.q_proj",
            Self::Key => "self_attn.k_proj",
            Self::Value => "self_attn.v_proj",
            Self::Output => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }

    /// Returns the target of a name such as `q_proj`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }

    /// Returns its width out and in.
    pub fn shape(self, config: &ModelConfig) -> (usize, usize) {
        let (hidden, inner) = (config.hidden, config.feed_forward);
        match self {
            Self::Query => (config.query_width(), hidden),
            Self::Key | Self::Value => (config.kv_width(), hidden),
            Self::Output => (hidden, config.query_width()),
            Self::Gate | Self::Up => (inner, hidden),
            Self::Down => (hidden, inner),
        }
    }
}

/// The low-rank change of one linear layer.
#[derive(Debug, Clone)]
pub struct LowRank {
    /// (rank, in)
    pub a: Tensor,
    /// (out, rank)
    pub b: Tensor,
}

/// The changes of an adapter, by block and layer, ready to be applied.
#[derive(Debug, Clone)]
pub struct Adapter {
    scale: f64,
    /// Each with both parts turned for multiplication: (in, rank) and (rank, out).
    changes: BTreeMap<(usize, Target), (Tensor, Tensor)>,
}

impl Adapter {
    /// Makes an adapter of its changes.
    ///
    /// # Errors
    /// `Mismatch` where a change does not fit the model.
    pub fn new(config: &ModelConfig, scale: f64, changes: &BTreeMap<(usize, Target), LowRank>) -> Result<Self> {
        if !scale.is_finite() {
            return Err(Error::invalid("an adapter's scale is not a number"));
        }
        let mut turned = BTreeMap::new();
        for ((layer, target), LowRank { a, b }) in changes {
            let (out, width) = target.shape(config);
            let fits = a.dims2().ok().zip(b.dims2().ok()).is_some_and(|((rank, a_in), (b_out, b_rank))| {
                *layer < config.layers && a_in == width && b_out == out && rank == b_rank && rank > 0
            });
            if !fits {
                return Err(Error::mismatch(format!(
                    "the adapter's change of {} in block {layer} has shapes {:?} and {:?}, this model takes (rank, {width}) and \
                     ({out}, rank) in blocks under {}",
                    target.name(),
                    a.dims(),
                    b.dims(),
                    config.layers
                )));
            }
            turned.insert((*layer, *target), (a.t()?.contiguous()?, b.t()?.contiguous()?));
        }
        Ok(Self { scale, changes: turned })
    }

    /// Returns the bytes that its numbers take.
    pub fn bytes(&self) -> usize {
        let of = |tensor: &Tensor| tensor.elem_count() * tensor.dtype().size_in_bytes();
        self.changes.values().map(|(a, b)| of(a) + of(b)).sum()
    }

    fn change(&self, layer: usize, target: Target, x: &Tensor, weight: f64) -> Result<Option<Tensor>> {
        let Some((a, b)) = self.changes.get(&(layer, target)) else { return Ok(None) };
        Ok(Some((x.matmul(a)?.matmul(b)? * (self.scale * weight))?))
    }
}

/// The adapters of one request, each with its weight, and none for most.
#[derive(Debug, Clone, Default)]
pub struct AdapterMix(Vec<(Arc<Adapter>, f64)>);

impl AdapterMix {
    /// Mixes adapters by weights.
    pub fn new(parts: Vec<(Arc<Adapter>, f64)>) -> Self {
        Self(parts)
    }

    /// Takes one adapter as it is.
    pub fn one(adapter: Arc<Adapter>) -> Self {
        Self(vec![(adapter, 1.0)])
    }

    /// Returns whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns what it adds to a layer's rows, where it adds something.
    pub(crate) fn change(&self, layer: usize, target: Target, x: &Tensor) -> Result<Option<Tensor>> {
        let mut sum: Option<Tensor> = None;
        for (adapter, weight) in &self.0 {
            let change = adapter.change(layer, target, x, *weight)?;
            sum = match (sum, change) {
                (Some(sum), Some(change)) => Some((sum + change)?),
                (sum, change) => sum.or(change),
            };
        }
        Ok(sum)
    }

    /// Returns whether two requests have the same mix, so that their rows can be changed together.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let mut pairs = self.0.iter().zip(&other.0);
        self.0.len() == other.0.len() && pairs.all(|((a, x), (b, y))| Arc::ptr_eq(a, b) && x == y)
    }
}
