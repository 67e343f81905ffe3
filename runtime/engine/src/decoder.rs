//! The decoder: blocks of attention and feed-forward over one residual stream, for several requests in one step.
//!
//! Ours, because its cache and its linear layers are where memory enters: a segment is a part of a request's cache, an adapter
//! a change of its rows. Rows of all requests go through the linear layers together; each attends to its own cache.

use candle_core::{Device, Tensor};

use crate::adapter::{AdapterMix, Target};
use crate::attention::{self, AT_ONCE, Heads, MANY_TOKENS, Places};
use crate::cache::{Cache, KeysValues};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::held::Held;
use crate::linear::Linear;
use crate::rope::{Rope, turn};
use crate::softmax::softmax;
use crate::weights::Weights;

/// How many tokens of a long text are read in one step.
pub const PREFILL_CHUNK: usize = 256;

/// One request's part of a step.
pub struct Turn<'a> {
    /// The tokens to be read, at least one.
    pub tokens: &'a [u32],
    /// What they attend to; they are part of it afterwards.
    pub cache: &'a mut Cache,
    /// What changes the linear layers for this request.
    pub adapters: &'a AdapterMix,
}

/// A model that reads tokens and says what may follow.
#[derive(Debug)]
pub struct Decoder {
    config: ModelConfig,
    rope: Rope,
    embedding: Tensor,
    blocks: Vec<Block>,
    norm: Tensor,
    head: Linear,
    device: Device,
}

#[derive(Debug)]
struct Block {
    attention_norm: Tensor,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    head_norms: Option<(Tensor, Tensor)>,
    feed_norm: Tensor,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Decoder {
    /// Builds a decoder of a shape from its weights.
    ///
    /// # Errors
    /// `Invalid` for a shape that cannot be; `Corrupt` where a weight is missing, has another shape or holds no numbers.
    pub fn new(config: ModelConfig, weights: &Weights, device: &Device) -> Result<Self> {
        config.check()?;
        let blocks =
            (0..config.layers).map(|layer| Block::new(&config, weights, layer, device)).collect::<Result<_>>()?;
        let table = [config.vocabulary, config.hidden];
        let embedding = weights.tensor("model.embed_tokens.weight", &table, device)?;
        let head = match config.is_tied || !weights.has("lm_head.weight") {
            true => weights.linear("model.embed_tokens", table.into(), false, device)?,
            false => weights.linear("lm_head", table.into(), false, device)?,
        };
        Ok(Self {
            rope: Rope::new(&config),
            embedding,
            blocks,
            norm: weights.tensor("model.norm.weight", &[config.hidden], device)?,
            head,
            device: device.clone(),
            config,
        })
    }

    /// Returns its shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Returns where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Returns an empty cache for a request.
    pub fn cache(&self) -> Cache {
        Cache::new(&self.config, &self.device)
    }

    /// Reads some tokens of several requests in one step, and returns for each the logits behind its last token: (requests,
    /// vocabulary).
    ///
    /// # Errors
    /// `Invalid` where a request has no token, one that the model does not know, or more than it has positions; nothing is read
    /// then. `Unavailable` when memory runs out.
    pub fn step(&self, turns: &mut [Turn<'_>]) -> Result<Tensor> {
        let x = self.hidden(turns)?;
        let mut lasts = Vec::with_capacity(turns.len());
        let mut end = 0;
        for turn in turns.iter() {
            end += turn.tokens.len();
            lasts.push(u32::try_from(end - 1).unwrap_or(u32::MAX));
        }
        let x = if x.dim(0)? == lasts.len() { x } else { x.index_select(&Tensor::new(lasts, &self.device)?, 0)? };
        self.logits(&x)
    }

    /// Reads some tokens and returns the logits behind each of them: (tokens, vocabulary).
    ///
    /// # Errors
    /// As [`Decoder::step`].
    pub fn read_all(&self, tokens: &[u32], cache: &mut Cache, adapters: &AdapterMix) -> Result<Tensor> {
        let x = self.hidden(&mut [Turn { tokens, cache, adapters }])?;
        self.logits(&x)
    }

    /// Reads a text of any length in steps of [`PREFILL_CHUNK`], and returns the logits behind its last token: (1, vocabulary).
    ///
    /// # Errors
    /// As [`Decoder::step`].
    pub fn prefill(&self, tokens: &[u32], cache: &mut Cache, adapters: &AdapterMix) -> Result<Tensor> {
        let last = self.read_chunks(tokens, cache, adapters)?;
        self.logits(&last.narrow(0, last.dim(0)? - 1, 1)?)
    }

    /// Reads a text of any length into a cache, without asking what may follow.
    ///
    /// # Errors
    /// As [`Decoder::step`].
    pub fn fill(&self, tokens: &[u32], cache: &mut Cache, adapters: &AdapterMix) -> Result<()> {
        self.read_chunks(tokens, cache, adapters).map(drop)
    }

    /// Reads a memory's tokens at the beginning of a text and returns their keys and values.
    ///
    /// # Errors
    /// As [`Decoder::step`].
    pub fn memorise(&self, tokens: &[u32]) -> Result<KeysValues> {
        let mut cache = self.cache();
        self.fill(tokens, &mut cache, &AdapterMix::default())?;
        cache.export()?.ok_or_else(|| Error::invalid("a memory without tokens has no keys and values, give it text"))
    }

    fn read_chunks(&self, tokens: &[u32], cache: &mut Cache, adapters: &AdapterMix) -> Result<Tensor> {
        self.check(&[Turn { tokens, cache, adapters }])?;
        cache.prepare(self.config.layers, tokens.len())?;
        let mut last = None;
        for tokens in tokens.chunks(PREFILL_CHUNK) {
            last = Some(self.hidden(&mut [Turn { tokens, cache, adapters }])?);
        }
        last.ok_or_else(|| Error::invalid("there is no token to read, give at least one"))
    }

    /// Moves keys and values to another position, by turning the keys.
    ///
    /// # Errors
    /// `Invalid` behind the model's last position.
    pub fn moved(&self, memory: &KeysValues, position: usize) -> Result<KeysValues> {
        if position + memory.tokens > self.config.positions {
            return Err(Error::invalid(format!(
                "a segment of {} tokens does not fit at position {position}, the model has {}",
                memory.tokens, self.config.positions
            )));
        }
        if position == memory.position {
            return Ok(memory.clone());
        }
        let by = position as i64 - memory.position as i64;
        let rows = self.rope.rows(std::iter::repeat_n(by, memory.tokens), &self.device)?;
        let keys = memory.keys.iter().map(|keys| turn(keys, &rows)).collect::<Result<_>>()?;
        Ok(KeysValues { keys, values: memory.values.clone(), tokens: memory.tokens, position })
    }

    fn check(&self, turns: &[Turn<'_>]) -> Result<()> {
        for turn in turns {
            if turn.tokens.is_empty() {
                return Err(Error::invalid("a request has no token to read, give at least one"));
            }
            if let Some(token) = turn.tokens.iter().find(|token| **token as usize >= self.config.vocabulary) {
                return Err(Error::invalid(format!(
                    "the model has no token {token}, it knows {}; use its own tokenizer",
                    self.config.vocabulary
                )));
            }
            let end = turn.cache.next_position() + turn.tokens.len();
            if end > self.config.positions {
                return Err(Error::invalid(format!(
                    "the text takes {end} tokens, the model reads at most {}; give it less memory",
                    self.config.positions
                )));
            }
        }
        Ok(())
    }

    fn logits(&self, x: &Tensor) -> Result<Tensor> {
        self.head.apply(&norm(x, &self.norm, self.config.norm_epsilon)?)
    }

    /// Returns the residual stream behind all blocks, for all tokens of all requests: (tokens, hidden).
    fn hidden(&self, turns: &mut [Turn<'_>]) -> Result<Tensor> {
        self.check(turns)?;
        let tokens: Vec<u32> = turns.iter().flat_map(|turn| turn.tokens).copied().collect();
        let positions = turns.iter().flat_map(|turn| {
            let first = turn.cache.next_position();
            (first..first + turn.tokens.len()).map(|position| position as i64)
        });
        let rows = self.rope.rows(positions, &self.device)?;
        for turn in turns.iter_mut() {
            turn.cache.prepare(self.config.layers, turn.tokens.len())?;
        }
        let masks = turns.iter().map(|turn| causal(turn.tokens.len(), &self.device)).collect::<Result<Vec<_>>>()?;
        let mut x = self.embedding.index_select(&Tensor::new(tokens, &self.device)?, 0)?;
        for (layer, block) in self.blocks.iter().enumerate() {
            x = self.block(layer, block, x, &rows, &masks, turns)?;
        }
        for turn in turns.iter_mut() {
            turn.cache.advance(turn.tokens.len());
        }
        Ok(x)
    }

    fn block(
        &self,
        layer: usize,
        block: &Block,
        x: Tensor,
        rows: &(Tensor, Tensor),
        masks: &[Option<Tensor>],
        turns: &mut [Turn<'_>],
    ) -> Result<Tensor> {
        let config = &self.config;
        let tokens = x.dim(0)?;
        let apply = |linear: &Linear, target: Target, x: &Tensor, turns: &[Turn<'_>]| -> Result<Tensor> {
            adapted(linear.apply(x)?, layer, target, x, turns)
        };
        let y = norm(&x, &block.attention_norm, config.norm_epsilon)?;
        let heads = |y: Tensor, heads: usize| y.reshape((tokens, heads, config.head_size));
        let mut query = heads(apply(&block.query, Target::Query, &y, turns)?, config.heads)?;
        let mut key = heads(apply(&block.key, Target::Key, &y, turns)?, config.kv_heads)?;
        let value = heads(apply(&block.value, Target::Value, &y, turns)?, config.kv_heads)?;
        if let Some((query_norm, key_norm)) = &block.head_norms {
            query = norm(&query, query_norm, config.norm_epsilon)?;
            key = norm(&key, key_norm, config.norm_epsilon)?;
        }
        let (query, key) = (turn(&query, rows)?, turn(&key, rows)?);
        let mut seen = Vec::with_capacity(turns.len());
        let mut begin = 0;
        for (turn, mask) in turns.iter_mut().zip(masks) {
            let count = turn.tokens.len();
            let of = |tensor: &Tensor| tensor.narrow(0, begin, count);
            let parts = turn.cache.append(layer, &of(&key)?, &of(&value)?)?;
            seen.push(attend(config, &of(&query)?, &parts, mask.as_ref())?);
            begin += count;
        }
        let seen = if seen.len() == 1 { seen.swap_remove(0) } else { Tensor::cat(&seen, 0)? };
        let x = (x + apply(&block.output, Target::Output, &seen, turns)?)?;
        let y = norm(&x, &block.feed_norm, config.norm_epsilon)?;
        let gate = apply(&block.gate, Target::Gate, &y, turns)?.silu()?;
        let inner = (gate * apply(&block.up, Target::Up, &y, turns)?)?;
        Ok((x + apply(&block.down, Target::Down, &inner, turns)?)?)
    }
}

impl Block {
    fn new(config: &ModelConfig, weights: &Weights, layer: usize, device: &Device) -> Result<Self> {
        let path = |part: &str| format!("model.layers.{layer}.{part}");
        let vector = |part: &str, width: usize| weights.tensor(&format!("{}.weight", path(part)), &[width], device);
        let linear = |target: Target| {
            let has_bias = config.has_query_bias && matches!(target, Target::Query | Target::Key | Target::Value);
            weights.linear(&path(target.path()), target.shape(config), has_bias, device)
        };
        let head_norms = match config.has_head_norm {
            true => {
                Some((vector("self_attn.q_norm", config.head_size)?, vector("self_attn.k_norm", config.head_size)?))
            }
            false => None,
        };
        Ok(Self {
            attention_norm: vector("input_layernorm", config.hidden)?,
            query: linear(Target::Query)?,
            key: linear(Target::Key)?,
            value: linear(Target::Value)?,
            output: linear(Target::Output)?,
            head_norms,
            feed_norm: vector("post_attention_layernorm", config.hidden)?,
            gate: linear(Target::Gate)?,
            up: linear(Target::Up)?,
            down: linear(Target::Down)?,
        })
    }
}

fn norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    Ok(candle_nn::ops::rms_norm(&x.contiguous()?, weight, epsilon as f32)?)
}

/// Adds the adapters' changes to the rows of the requests that have some.
fn adapted(y: Tensor, layer: usize, target: Target, x: &Tensor, turns: &[Turn<'_>]) -> Result<Tensor> {
    if turns.iter().all(|turn| turn.adapters.is_empty()) {
        return Ok(y);
    }
    let mut pieces = Vec::with_capacity(turns.len());
    let (mut begin, mut rest) = (0, turns);
    while let Some(first) = rest.first() {
        let run = rest.iter().take_while(|turn| turn.adapters.is_same(first.adapters)).count();
        let count = rest.iter().take(run).map(|turn| turn.tokens.len()).sum();
        let own = y.narrow(0, begin, count)?;
        pieces.push(match first.adapters.change(layer, target, &x.narrow(0, begin, count)?)? {
            Some(change) => (own + change)?,
            None => own,
        });
        begin += count;
        rest = rest.get(run..).unwrap_or_default();
    }
    Ok(if pieces.len() == 1 { pieces.swap_remove(0) } else { Tensor::cat(&pieces, 0)? })
}

/// What a step's own tokens see of each other: 0, or minus infinity for what comes later. Nothing for a single one.
fn causal(tokens: usize, device: &Device) -> Result<Option<Tensor>> {
    if tokens == 1 {
        return Ok(None);
    }
    let mask =
        (0..tokens).flat_map(|place| (0..tokens).map(move |other| if other > place { f32::NEG_INFINITY } else { 0.0 }));
    Ok(Some(Tensor::from_vec(mask.collect(), (tokens, tokens), device)?))
}

/// Attention of some tokens (tokens, heads, size) to all parts of their cache, the last of which ends with themselves.
fn attend(config: &ModelConfig, query: &Tensor, parts: &[(Tensor, Tensor)], mask: Option<&Tensor>) -> Result<Tensor> {
    let tokens = query.dim(0)?;
    let (groups, group, size) = (config.kv_heads, config.group(), config.head_size);
    if tokens <= MANY_TOKENS && size.is_multiple_of(AT_ONCE) && query.device().is_cpu() {
        return attend_few(Heads { groups, group, size }, query, parts);
    }
    // One product for all query heads that share a key head.
    let query = query.transpose(0, 1)?.contiguous()?.reshape((groups, group * tokens, size))?;
    let query = (query / (size as f64).sqrt())?;
    let mut scores = Vec::with_capacity(parts.len());
    for (number, (keys, _)) in parts.iter().enumerate() {
        let score = query.matmul(&keys.permute((1, 2, 0))?)?;
        scores.push(match mask.filter(|_| number + 1 == parts.len()) {
            Some(mask) => later_hidden(&score, mask, (groups, group, tokens))?,
            None => score,
        });
    }
    let scores = if scores.len() == 1 { scores.swap_remove(0) } else { Tensor::cat(&scores, 2)? };
    let weights = softmax(&scores)?;
    let mut seen: Option<Tensor> = None;
    let mut begin = 0;
    for (_, values) in parts {
        let count = values.dim(0)?;
        let part = weights.narrow(2, begin, count)?.matmul(&values.transpose(0, 1)?)?;
        seen = Some(match seen {
            Some(seen) => (seen + part)?,
            None => part,
        });
        begin += count;
    }
    let seen = seen.ok_or_else(|| Error::invalid("there is nothing to attend to"))?;
    Ok(seen.reshape((groups * group, tokens, size))?.transpose(0, 1)?.reshape((tokens, groups * group * size))?)
}

/// Attention as [`attend`] gives it, by what is quick for few tokens.
fn attend_few(heads: Heads, query: &Tensor, parts: &[(Tensor, Tensor)]) -> Result<Tensor> {
    let (tokens, all, size) = query.dims3()?;
    let query = query.contiguous()?;
    let parts: Vec<_> =
        parts.iter().map(|(keys, values)| Ok((keys.contiguous()?, values.contiguous()?))).collect::<Result<_>>()?;
    let parts: Vec<_> =
        parts.iter().map(|(keys, values)| Ok((Held::of(keys)?, Held::of(values)?))).collect::<Result<_>>()?;
    let places: Vec<_> = parts.iter().map(|(keys, values)| Places { keys, values }).collect();
    let seen = attention::attend(heads, &Held::of(&query)?, &places);
    Ok(Tensor::from_vec(seen, (tokens, all * size), query.device())?)
}

/// Hides from each of a step's tokens those that come after it; what stood before the step is seen by all.
fn later_hidden(score: &Tensor, mask: &Tensor, (groups, group, tokens): (usize, usize, usize)) -> Result<Tensor> {
    let places = score.dim(2)?;
    let before = places - tokens;
    let score = score.reshape((groups, group, tokens, places))?;
    let own = score.narrow(3, before, tokens)?.broadcast_add(mask)?;
    let score = if before == 0 { own } else { Tensor::cat(&[&score.narrow(3, 0, before)?, &own], 3)? };
    Ok(score.reshape((groups, group * tokens, places))?)
}
