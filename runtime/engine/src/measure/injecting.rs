//! The first token behind a memory: read in full, against injected from its file.

use std::path::Path;

use candle_core::Device;
use serde::Serialize;

use super::{likeliest, median, rounded, timed};
use crate::adapter::AdapterMix;
use crate::chance;
use crate::decoder::Decoder;
use crate::error::Result;
use crate::segment::{Context, Expected, Precision, Segment, SegmentAbout};

/// One length of memory behind one length of question. Times are milliseconds.
#[derive(Debug, Serialize)]
pub struct Cell {
    /// Tokens of the memory.
    pub memory_tokens: usize,
    /// Tokens of the question.
    pub query_tokens: usize,
    /// From the tokens of memory and question to the first token of the answer.
    pub full_ms: f64,
    /// From the segment's file and the tokens of the question to the first token of the answer.
    pub injected_ms: f64,
    /// Of which the file took, from opening it to checked keys and values.
    pub load_ms: f64,
    /// Reading the memory, once and for all.
    pub compute_ms: f64,
    /// Writing the file, flushed.
    pub write_ms: f64,
    /// How many times as long reading takes.
    pub ratio: f64,
    /// How many times as long computing keys and values takes as loading them.
    pub compute_over_load: f64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// All cells.
#[derive(Debug, Serialize)]
pub struct Injecting {
    /// Threads that multiply.
    pub threads: usize,
    /// One for each length of memory and of question.
    pub cells: Vec<Cell>,
    /// After how many uses making the longest segment for the middle question has paid.
    pub break_even_reuses: f64,
}

/// Measures every length of memory with every length of question, so many times each, in turns.
///
/// # Errors
/// `Invalid` for lengths that the model does not have; `Unavailable` where the folder cannot be written.
pub fn injecting(folder: &Path, memories: &[usize], questions: &[usize], rounds: usize) -> Result<Injecting> {
    let config = chance::smol_shape();
    let decoder = Decoder::new(config.clone(), &chance::weights(&config, 1, false)?, &Device::Cpu)?;
    let expected = Expected { model: "chance", tokenizer: "chance", config: &config, device: &Device::Cpu };
    let mut cells = Vec::new();
    for &memory_tokens in memories {
        let memory = chance::tokens(&config, 2, memory_tokens);
        let path = folder.join(format!("{memory_tokens}.safetensors"));
        let (mut compute, mut write, mut load, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let mut times = vec![(Vec::new(), Vec::new()); questions.len()];
        for _ in 0..rounds {
            let (keys_values, compute_ms) = timed(|| decoder.memorise(&memory))?;
            let segment = Segment::new(&config, keys_values, &memory, about())?;
            let (written, write_ms) = timed(|| segment.write(&path, Precision::F32))?;
            drop(segment);
            bytes = written;
            compute.push(compute_ms);
            write.push(write_ms);
            for (&question_tokens, (full, injected)) in questions.iter().zip(&mut times) {
                let question = chance::tokens(&config, 3, question_tokens);
                full.push(timed(|| read(&decoder, &memory, &question))?.1);
                injected.push(timed(|| inject(&decoder, &path, &expected, &question))?.1);
                load.push(timed(|| Segment::open(&path, &expected))?.1);
            }
        }
        let (compute_ms, write_ms, load_ms) = (median(compute), median(write), median(load));
        for (&query_tokens, (full, injected)) in questions.iter().zip(times) {
            let (full_ms, injected_ms) = (median(full), median(injected));
            cells.push(Cell {
                memory_tokens,
                query_tokens,
                full_ms: rounded(full_ms),
                injected_ms: rounded(injected_ms),
                load_ms: rounded(load_ms),
                compute_ms: rounded(compute_ms),
                write_ms: rounded(write_ms),
                ratio: rounded(full_ms / injected_ms),
                compute_over_load: rounded(compute_ms / load_ms),
                bytes,
            });
        }
    }
    let last = cells.len().saturating_sub(questions.len().div_ceil(2));
    let break_even =
        cells.get(last).map_or(0.0, |cell| (cell.compute_ms + cell.write_ms) / (cell.full_ms - cell.injected_ms));
    Ok(Injecting { threads: super::threads(), cells, break_even_reuses: rounded(break_even) })
}

fn about() -> SegmentAbout {
    SegmentAbout {
        model: "chance".to_owned(),
        tokenizer: "chance".to_owned(),
        context: Context::Independent,
        adapter: None,
        cubes: Vec::new(),
        created_ms: 0,
    }
}

/// Reads all, in the chunks that are quickest.
fn read(decoder: &Decoder, memory: &[u32], question: &[u32]) -> Result<u32> {
    let tokens: Vec<u32> = memory.iter().chain(question).copied().collect();
    likeliest(&decoder.prefill(&tokens, &mut decoder.cache(), &AdapterMix::default())?)
}

fn inject(decoder: &Decoder, path: &Path, expected: &Expected<'_>, question: &[u32]) -> Result<u32> {
    let segment = Segment::open(path, expected)?;
    let mut cache = decoder.cache();
    cache.inject(segment.keys_values().clone())?;
    likeliest(&decoder.prefill(question, &mut cache, &AdapterMix::default())?)
}
