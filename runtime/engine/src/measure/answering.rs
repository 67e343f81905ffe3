//! Tokens a second: of one request, and of several with adapters and segments of their own, together and one after another.

use std::sync::Arc;

use candle_core::Device;
use serde::Serialize;

use super::{likeliest, median, rounded, timed};
use crate::adapter::AdapterMix;
use crate::chance;
use crate::decoder::Decoder;
use crate::error::Result;
use crate::generate::{Answer, Context, Request, Talk};

/// All figures.
#[derive(Debug, Serialize)]
pub struct Answering {
    /// Threads that multiply.
    pub threads: usize,
    /// One request, for each kind of weights.
    pub alone: Vec<Alone>,
    /// Several requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub together: Option<Together>,
}

/// One request.
#[derive(Debug, Serialize)]
pub struct Alone {
    /// What the weights are held in: `f32` or `q8_0`.
    pub kind: &'static str,
    /// Tokens that are read.
    pub prefill_tokens: usize,
    /// Tokens that are said behind them.
    pub decode_tokens: usize,
    /// Tokens read a second.
    pub prefill_tokens_per_s: f64,
    /// Tokens said a second.
    pub decode_tokens_per_s: f64,
}

/// Eight requests with four adapters and three segments.
#[derive(Debug, Serialize)]
pub struct Together {
    /// How many requests.
    pub requests: usize,
    /// How many adapters they have among them.
    pub adapters: usize,
    /// How many segments.
    pub segments: usize,
    /// Tokens that each says.
    pub tokens: usize,
    /// One after another, tokens a second.
    pub one_by_one_tokens_per_s: f64,
    /// All at once, tokens a second.
    pub together_tokens_per_s: f64,
    /// How many times as many.
    pub ratio: f64,
    /// How many answers were not the same as alone.
    pub differing_answers: usize,
    /// Giving a request another adapter, in milliseconds.
    pub swap_ms: f64,
    /// The largest difference of a logit before an adapter was used and after it was taken away.
    pub residue: f64,
}

fn decoder(is_quantized: bool) -> Result<Decoder> {
    let config = chance::smol_shape();
    Decoder::new(config.clone(), &chance::weights(&config, 1, is_quantized)?, &Device::Cpu)
}

/// Measures one request on weights of a kind.
///
/// # Errors
/// `Invalid` for more tokens than the model has positions.
pub fn alone(is_quantized: bool, prefill: usize, decode: usize, rounds: usize) -> Result<Alone> {
    let decoder = decoder(is_quantized)?;
    let (base, tokens) = (AdapterMix::default(), chance::tokens(decoder.config(), 2, prefill));
    // The first step waits for threads and pages.
    decoder.fill(&tokens, &mut decoder.cache(), &base)?;
    let (mut reading, mut saying) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut cache = decoder.cache();
        let (mut token, read_ms) = timed(|| likeliest(&decoder.prefill(&tokens, &mut cache, &base)?))?;
        let ((), said_ms) = timed(|| {
            for _ in 0..decode {
                token = likeliest(&decoder.prefill(&[token], &mut cache, &base)?)?;
            }
            Ok(())
        })?;
        reading.push(prefill as f64 / read_ms * 1000.0);
        saying.push(decode as f64 / said_ms * 1000.0);
    }
    Ok(Alone {
        kind: if is_quantized { "q8_0" } else { "f32" },
        prefill_tokens: prefill,
        decode_tokens: decode,
        prefill_tokens_per_s: rounded(median(reading)),
        decode_tokens_per_s: rounded(median(saying)),
    })
}

/// Measures eight requests with four adapters and three segments.
///
/// # Errors
/// `Invalid` for more tokens than the model has positions.
pub fn together(tokens: usize, rounds: usize) -> Result<Together> {
    const REQUESTS: usize = 8;
    const ADAPTERS: usize = 4;
    const SEGMENTS: usize = 3;
    let decoder = decoder(false)?;
    let config = decoder.config();
    let tokenizer = crate::lesson::tokenizer()?;
    let adapters: Vec<AdapterMix> = (0..ADAPTERS as u64)
        .map(|seed| Ok(AdapterMix::one(Arc::new(chance::adapter(config, seed, 8)?))))
        .collect::<Result<_>>()?;
    let segments: Vec<Arc<_>> = (0..SEGMENTS as u64)
        .map(|seed| Ok(Arc::new(decoder.memorise(&chance::tokens(config, seed, 128))?)))
        .collect::<Result<_>>()?;
    let request = |number: usize| Request {
        context: segments.get(number % SEGMENTS).cloned().map(Context::Segment).into_iter().collect(),
        question: chance::tokens(config, 100 + number as u64, 8),
        adapters: adapters.get(number % ADAPTERS).cloned().unwrap_or_default(),
        most_tokens: tokens,
        ..Request::default()
    };
    let mut talk = Talk::new(&decoder, &tokenizer);
    talk.answer(vec![request(0)])?;
    let (mut one_by_one, mut at_once, mut differing_answers) = (Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        let answer = |requests: Vec<Request>| timed(|| Talk::new(&decoder, &tokenizer).answer(requests));
        let mut singles: Vec<Answer> = Vec::new();
        let mut took = 0.0;
        for number in 0..REQUESTS {
            let (answers, ms) = answer(vec![request(number)])?;
            singles.extend(answers);
            took += ms;
        }
        one_by_one.push(took);
        let (answers, ms) = answer((0..REQUESTS).map(request).collect())?;
        at_once.push(ms);
        differing_answers += answers.iter().zip(&singles).filter(|(answer, single)| answer != single).count();
    }
    let (swap_ms, residue) = swap(&decoder, &adapters)?;
    let (one_by_one, at_once) = (median(one_by_one), median(at_once));
    let rate = |ms: f64| rounded((REQUESTS * tokens) as f64 / ms * 1000.0);
    Ok(Together {
        requests: REQUESTS,
        adapters: ADAPTERS,
        segments: SEGMENTS,
        tokens,
        one_by_one_tokens_per_s: rate(one_by_one),
        together_tokens_per_s: rate(at_once),
        ratio: rounded(one_by_one / at_once),
        differing_answers,
        swap_ms,
        residue,
    })
}

/// Gives a request one adapter after the other, then none, and holds what is left against what was there before.
fn swap(decoder: &Decoder, adapters: &[AdapterMix]) -> Result<(f64, f64)> {
    const SWAPS: usize = 1000;
    let tokens = chance::tokens(decoder.config(), 7, 16);
    let base = AdapterMix::default();
    let logits = |mix: &AdapterMix| decoder.prefill(&tokens, &mut decoder.cache(), mix);
    let before = logits(&base)?;
    let mut request = Request::default();
    let ((), ms) = timed(|| {
        for mix in adapters.iter().cycle().take(SWAPS) {
            request.adapters = std::hint::black_box(mix.clone());
        }
        Ok(())
    })?;
    logits(&request.adapters)?;
    let off = (logits(&base)? - before)?.abs()?.max_all()?.to_scalar::<f32>()?;
    Ok((ms / SWAPS as f64, f64::from(off)))
}
