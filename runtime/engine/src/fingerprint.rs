//! Fingerprints: short names of models and token lists that nobody else can have, by which a segment or an adapter knows what it
//! was made with.
//!
//! A model's covers the meaning of its shape and every number of its weights in the form they are kept, and nothing of the files
//! they came in: split in three or in one, they are the same model; in F16 they are another than in F32, since keys and values
//! would not be the same bits. The names of the end tokens and the most positions do not count: they change no key.

use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use candle_core::{CpuStorage, Device, Storage, Tensor};
use sha2::{Digest, Sha256};

use crate::config::{ModelConfig, RopeConfig, RopeScaling};
use crate::error::{Error, Result};
use crate::weights::{Weight, Weights};

/// Returns the fingerprint of a model. Takes about a second for a gigabyte on each processor, of which it uses up to eight.
///
/// # Errors
/// `Invalid` where a weight is of no kind that a model has.
pub fn of_model(config: &ModelConfig, weights: &Weights) -> Result<String> {
    let mut all: Vec<(&str, &Weight)> = weights.iter().collect();
    all.sort_unstable_by_key(|(name, _)| *name);
    let digests = each_of(all.len(), |number| {
        let Some((name, weight)) = all.get(number) else { return Ok(String::new()) };
        let mut digest = Sha256::new();
        let (kind, shape) = match weight {
            Weight::Plain(tensor) => {
                add_numbers(&mut digest, tensor)?;
                (format!("{:?}", tensor.dtype()), tensor.dims())
            }
            Weight::Quantized(tensor) => {
                digest.update(&tensor.data()?);
                (format!("{:?}", tensor.dtype()), tensor.shape().dims())
            }
        };
        Ok(format!("{name}\n{kind} {shape:?} {}\n", hex(&digest.finalize())))
    })?;
    let mut digest = Sha256::new();
    digest.update(format!("memos model 1\n{}\n", meaning(config)));
    digests.iter().for_each(|line| digest.update(line));
    Ok(hex(&digest.finalize()))
}

/// Returns the fingerprint of a list of tokens.
pub fn of_tokens(tokens: &[u32]) -> String {
    let mut digest = Sha256::new();
    digest.update("memos tokens 1\n");
    tokens.iter().for_each(|token| digest.update(token.to_le_bytes()));
    hex(&digest.finalize())
}

/// Returns how positions turn heads, in words that are equal where the turning is.
pub(crate) fn rope_in_words(rope: &RopeConfig) -> String {
    let scaling = match &rope.scaling {
        RopeScaling::None => "none".to_owned(),
        RopeScaling::Linear { factor } => format!("linear {factor:?}"),
        RopeScaling::Llama3 { factor, low, high, original } => {
            format!("llama3 {factor:?} {low:?} {high:?} {original:?}")
        }
        RopeScaling::Each { factors } => format!("each {factors:?}"),
    };
    format!("theta {:?}, scaling {scaling}", rope.theta)
}

/// Runs jobs by number on up to eight processors and returns what they made, in order.
///
/// # Errors
/// Those of the first job that failed.
pub(crate) fn each_of<T: Send>(jobs: usize, job: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let workers = thread::available_parallelism().map_or(1, usize::from).min(8).min(jobs);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut made = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= jobs {
                return made;
            }
            made.push((number, job(number)));
        }
    };
    let mut made: Vec<(usize, Result<T>)> = thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        let mut made = work();
        for other in others {
            // A job that stopped in the middle leaves a gap, which is found below.
            made.extend(other.join().unwrap_or_default());
        }
        made
    });
    made.sort_by_key(|(number, _)| *number);
    if made.len() != jobs {
        return Err(Error::unavailable("a part of the work stopped in the middle, try again"));
    }
    made.into_iter().map(|(_, made)| made).collect()
}

fn meaning(config: &ModelConfig) -> String {
    let ModelConfig { vocabulary, hidden, layers, heads, kv_heads, head_size, feed_forward, rope, .. } = config;
    format!(
        "{vocabulary} tokens, {hidden} wide, {layers} blocks, {heads} heads on {kv_heads} of {head_size}, feed-forward \
         {feed_forward}, rope {}, epsilon {:?}, tied {}, query bias {}, head norm {}",
        rope_in_words(rope),
        config.norm_epsilon,
        config.is_tied,
        config.has_query_bias,
        config.has_head_norm
    )
}

fn add_numbers(digest: &mut Sha256, tensor: &Tensor) -> Result<()> {
    let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let none = || Error::invalid("a weight has no fingerprint, use F32, F16 or BF16");
    let (from, to) = layout.contiguous_offsets().ok_or_else(none)?;
    let Storage::Cpu(storage) = &*storage else { return Err(none()) };
    match storage {
        CpuStorage::F32(all) => add_bytes(digest, all.get(from..to).ok_or_else(none)?, |x| x.to_le_bytes()),
        CpuStorage::F16(all) => add_bytes(digest, all.get(from..to).ok_or_else(none)?, |x| x.to_le_bytes()),
        CpuStorage::BF16(all) => add_bytes(digest, all.get(from..to).ok_or_else(none)?, |x| x.to_le_bytes()),
        _ => return Err(none()),
    }
    Ok(())
}

fn add_bytes<T: Copy, const SIZE: usize>(digest: &mut Sha256, numbers: &[T], bytes_of: impl Fn(T) -> [u8; SIZE]) {
    let mut bytes = Vec::new();
    for numbers in numbers.chunks(8192) {
        bytes.clear();
        numbers.iter().for_each(|number| bytes.extend_from_slice(&bytes_of(*number)));
        digest.update(&bytes);
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::DType;

    use super::*;
    use crate::small_model::{small_config, small_weights};

    #[test]
    fn a_model_is_told_from_every_other() {
        let config = small_config();
        let of = |change: &dyn Fn(&mut ModelConfig, &mut HashMap<String, Tensor>)| {
            let (mut config, mut weights) = (config.clone(), small_weights(&config, 1));
            change(&mut config, &mut weights);
            let weights = weights.into_iter().map(|(name, tensor)| (name, Weight::Plain(tensor))).collect();
            of_model(&config, &Weights::new(weights)).unwrap()
        };
        let plain = of(&|_, _| ());
        assert_eq!(plain, of(&|_, _| ()), "it is the same every time");
        assert_eq!(plain, of(&|config, _| config.end_tokens.push(3)), "what changes no key does not count");
        let others = [
            of(&|config, _| config.rope.theta += 1.0),
            of(&|config, _| config.rope.scaling = RopeScaling::Linear { factor: 2.0 }),
            of(&|config, _| config.norm_epsilon *= 2.0),
            of(&|_, weights| drop(weights.remove("model.norm.weight"))),
            of(&|_, weights| {
                let norm = weights.get_mut("model.norm.weight").unwrap();
                *norm = norm.to_dtype(DType::F16).unwrap();
            }),
            of(&|_, weights| {
                let norm = weights.get_mut("model.norm.weight").unwrap();
                *norm = norm.reshape((1, ())).unwrap();
            }),
            of(&|config, weights| *weights = small_weights(config, 2)),
            of(&|_, weights| {
                let [a, b] = ["q_proj", "o_proj"].map(|name| format!("model.layers.0.self_attn.{name}.weight"));
                let (query, output) = (weights[&a].clone(), weights[&b].clone());
                weights.extend([(a, output), (b, query)]);
            }),
        ];
        for (number, other) in others.iter().enumerate() {
            assert_ne!(plain, *other, "{number}");
            assert!(others.iter().skip(number + 1).all(|later| later != other), "{number}");
        }
    }

    #[test]
    fn jobs_come_back_in_order_and_the_first_failure_is_told() {
        let made = each_of(100, |number| Ok(number * 2)).unwrap();
        assert_eq!(made, (0..100).map(|number| number * 2).collect::<Vec<_>>());
        assert!(each_of(0, |_| Ok(())).unwrap().is_empty());
        let failed =
            each_of(100, |number| if number % 30 == 29 { Err(Error::invalid(number.to_string())) } else { Ok(()) });
        assert_eq!(failed.unwrap_err().message(), "29");
    }

    #[test]
    fn token_lists_are_told_apart() {
        assert_eq!(of_tokens(&[1, 2]), of_tokens(&[1, 2]));
        for other in [&[][..], &[1], &[2, 1], &[1, 2, 0], &[258]] {
            assert_ne!(of_tokens(&[1, 2]), of_tokens(other));
        }
    }
}
