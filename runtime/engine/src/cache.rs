//! The keys and values that one request attends to: segments that it shares with others, and what it has read itself.
//!
//! A cache is a list of parts. A segment is a part that is never written and belongs to all who hold it; the last part is the
//! request's own and grows. Where the parts meet decides the order of additions: a memory injected as a segment and the same
//! memory read into a part of its own, then sealed, give the same bits.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use crate::config::ModelConfig;
use crate::error::{Error, Result};

/// Keys and values of a run of tokens, in every block: (tokens, heads, size) each, the keys turned for their positions.
#[derive(Debug, Clone)]
pub struct KeysValues {
    /// Keys by block.
    pub keys: Vec<Tensor>,
    /// Values by block.
    pub values: Vec<Tensor>,
    /// How many tokens.
    pub tokens: usize,
    /// Where the first of them stands.
    pub position: usize,
}

impl KeysValues {
    /// Returns the bytes that they take.
    pub fn bytes(&self) -> usize {
        let of = |tensor: &Tensor| tensor.elem_count() * tensor.dtype().size_in_bytes();
        self.keys.iter().chain(&self.values).map(of).sum()
    }

    /// Returns some of their tokens, without a copy.
    ///
    /// # Errors
    /// `Invalid` where there are fewer.
    pub fn part(&self, from: usize, tokens: usize) -> Result<Self> {
        if from.checked_add(tokens).is_none_or(|end| end > self.tokens) {
            return Err(Error::invalid(format!(
                "there are no {tokens} tokens behind {from}, there are {}",
                self.tokens
            )));
        }
        let of = |tensors: &[Tensor]| -> Result<Vec<Tensor>> {
            tensors.iter().map(|tensor| Ok(tensor.narrow(0, from, tokens)?)).collect()
        };
        Ok(Self { keys: of(&self.keys)?, values: of(&self.values)?, tokens, position: self.position + from })
    }

    /// Checks that they fit a model.
    ///
    /// # Errors
    /// `Mismatch` where a shape is another.
    pub fn check(&self, config: &ModelConfig) -> Result<()> {
        let shape = [self.tokens, config.kv_heads, config.head_size];
        let fits = |tensors: &[Tensor]| tensors.len() == config.layers && tensors.iter().all(|t| t.dims() == shape);
        if self.tokens == 0 || !fits(&self.keys) || !fits(&self.values) {
            return Err(Error::mismatch(format!(
                "the segment does not have keys and values of shape {shape:?} in {} blocks, which this model takes",
                config.layers
            )));
        }
        Ok(())
    }
}

/// What one request attends to.
#[derive(Debug)]
pub struct Cache {
    parts: Vec<Arc<KeysValues>>,
    tail: Tail,
    /// Where the next token stands.
    next: usize,
}

/// The part that grows. Its tensors have room for more tokens than it holds.
#[derive(Debug)]
struct Tail {
    keys: Vec<Tensor>,
    values: Vec<Tensor>,
    tokens: usize,
    room: usize,
    position: usize,
    shape: (usize, usize),
    device: Device,
}

/// The least room that a tail is given.
const LEAST_ROOM: usize = 64;

impl Cache {
    /// Makes an empty cache for a model on a device.
    pub fn new(config: &ModelConfig, device: &Device) -> Self {
        let shape = (config.kv_heads, config.head_size);
        let tail = Tail {
            keys: Vec::new(),
            values: Vec::new(),
            tokens: 0,
            room: 0,
            position: 0,
            shape,
            device: device.clone(),
        };
        Self { parts: Vec::new(), tail, next: 0 }
    }

    /// Returns how many tokens it holds.
    pub fn tokens(&self) -> usize {
        self.parts.iter().map(|part| part.tokens).sum::<usize>() + self.tail.tokens
    }

    /// Returns where the next token stands.
    pub fn next_position(&self) -> usize {
        self.next
    }

    /// Adds a segment behind what is there. It must stand where the next token would.
    ///
    /// # Errors
    /// `Mismatch` where it stands elsewhere: move it first.
    pub fn inject(&mut self, segment: Arc<KeysValues>) -> Result<()> {
        if segment.position != self.next {
            return Err(Error::mismatch(format!(
                "the segment stands at position {}, and the cache goes on at {}; move it there first",
                segment.position, self.next
            )));
        }
        self.seal()?;
        self.next += segment.tokens;
        self.parts.push(segment);
        self.tail.position = self.next;
        Ok(())
    }

    /// Ends the part that grows, so that what follows begins another, as it would behind a segment.
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn seal(&mut self) -> Result<()> {
        if self.tail.tokens > 0 {
            let part = self.tail.taken(0, self.tail.tokens)?;
            self.parts.push(Arc::new(part));
            self.tail.clear(self.next);
        }
        Ok(())
    }

    /// Returns a copy of what was read last, as a segment; nothing where nothing was read since the last seal.
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn export(&self) -> Result<Option<KeysValues>> {
        if self.tail.tokens == 0 { Ok(None) } else { self.tail.taken(0, self.tail.tokens).map(Some) }
    }

    /// Forgets the last tokens of the part that grows.
    ///
    /// # Errors
    /// `Invalid` where that part has fewer.
    pub fn rewind(&mut self, tokens: usize) -> Result<()> {
        if tokens > self.tail.tokens {
            return Err(Error::invalid(format!(
                "{tokens} tokens cannot be taken back, the request itself has read {}",
                self.tail.tokens
            )));
        }
        self.tail.tokens -= tokens;
        self.next -= tokens;
        Ok(())
    }

    /// Begins a step of so many tokens: makes room for them in every block.
    pub(crate) fn prepare(&mut self, layers: usize, tokens: usize) -> Result<()> {
        self.tail.make_room(layers, tokens)
    }

    /// Writes keys and values of a step's tokens into a block, and returns all parts of the block, the step's own last.
    pub(crate) fn append(&mut self, layer: usize, keys: &Tensor, values: &Tensor) -> Result<Vec<(Tensor, Tensor)>> {
        let step = keys.dim(0)?;
        let lacking = || Error::corrupt("a cache has fewer blocks than its model");
        let mut parts = Vec::with_capacity(self.parts.len() + 1);
        for part in &self.parts {
            let (Some(keys), Some(values)) = (part.keys.get(layer), part.values.get(layer)) else {
                return Err(lacking());
            };
            parts.push((keys.clone(), values.clone()));
        }
        let tail = &mut self.tail;
        let (Some(all_keys), Some(all_values)) = (tail.keys.get(layer), tail.values.get(layer)) else {
            return Err(lacking());
        };
        all_keys.slice_set(&keys.contiguous()?, 0, tail.tokens)?;
        all_values.slice_set(&values.contiguous()?, 0, tail.tokens)?;
        let until = tail.tokens + step;
        parts.push((all_keys.narrow(0, 0, until)?, all_values.narrow(0, 0, until)?));
        Ok(parts)
    }

    /// Ends a step: its tokens are part of what was read.
    pub(crate) fn advance(&mut self, tokens: usize) {
        self.tail.tokens += tokens;
        self.next += tokens;
    }
}

impl Tail {
    fn clear(&mut self, position: usize) {
        // The tensors go with the part that was sealed or are too small to keep.
        (self.keys, self.values) = (Vec::new(), Vec::new());
        (self.tokens, self.room, self.position) = (0, 0, position);
    }

    fn taken(&self, from: usize, tokens: usize) -> Result<KeysValues> {
        let take = |tensors: &[Tensor]| -> Result<Vec<Tensor>> {
            tensors.iter().map(|tensor| Ok(tensor.narrow(0, from, tokens)?.copy()?)).collect()
        };
        let (keys, values) = (take(&self.keys)?, take(&self.values)?);
        Ok(KeysValues { keys, values, tokens, position: self.position + from })
    }

    fn make_room(&mut self, layers: usize, more: usize) -> Result<()> {
        let needed = self.tokens + more;
        if needed <= self.room && self.keys.len() == layers {
            return Ok(());
        }
        let room = needed.next_power_of_two().max(LEAST_ROOM);
        let (heads, size) = self.shape;
        let grown = |old: &[Tensor]| -> Result<Vec<Tensor>> {
            (0..layers)
                .map(|layer| {
                    let wide = Tensor::zeros((room, heads, size), DType::F32, &self.device)?;
                    if let Some(old) = old.get(layer).filter(|_| self.tokens > 0) {
                        wide.slice_set(&old.narrow(0, 0, self.tokens)?.contiguous()?, 0, 0)?;
                    }
                    Ok(wide)
                })
                .collect()
        };
        (self.keys, self.values, self.room) = (grown(&self.keys)?, grown(&self.values)?, room);
        Ok(())
    }
}
