//! Making vectors of texts: one by one, as questions come, and in batches, as a source is read.

use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use memos::Result;
use memos::embed::{Embedder, EmbedderId};
use serde::Serialize;

use super::corpus::Corpus;
use super::measure::rounded;
use super::{Screen, report};

/// Texts in a batch.
const BATCH: usize = 64;

#[derive(Args)]
pub(super) struct EmbedArguments {
    /// How many texts to embed each way
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    texts: u32,
}

/// With `--json`. One thread is measured with RAYON_NUM_THREADS=1.
#[derive(Serialize)]
struct Figures {
    embedder: EmbedderId,
    dimensions: usize,
    texts: usize,
    bytes_per_text: f64,
    single_per_s: f64,
    batch_per_s: f64,
}

pub(super) fn run(arguments: &EmbedArguments, embedder: &Arc<dyn Embedder>, screen: &mut Screen) -> Result<()> {
    let mut corpus = Corpus::new(1);
    let texts: Vec<String> = (0..arguments.texts as usize).map(|number| corpus.turn(number).text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let per_second = |started: Instant| (texts.len() as f64 / started.elapsed().as_secs_f64()).round();
    // The first one finds memory cold.
    embedder.embed_batch(&texts.iter().copied().take(BATCH).collect::<Vec<_>>())?;
    let started = Instant::now();
    for text in &texts {
        embedder.embed(text)?;
    }
    let single_per_s = per_second(started);
    let started = Instant::now();
    for batch in texts.chunks(BATCH) {
        embedder.embed_batch(batch)?;
    }
    let figures = Figures {
        embedder: embedder.id().clone(),
        dimensions: embedder.dimensions(),
        texts: texts.len(),
        bytes_per_text: rounded(texts.iter().map(|text| text.len()).sum::<usize>() as f64 / texts.len().max(1) as f64),
        single_per_s,
        batch_per_s: per_second(started),
    };
    report(
        screen,
        &figures,
        &[
            ("embedder", figures.embedder.to_string()),
            ("dimensions", figures.dimensions.to_string()),
            ("texts", format!("{} of {} bytes", figures.texts, figures.bytes_per_text)),
            ("one by one", format!("{} per second", figures.single_per_s)),
            ("in batches", format!("{} per second, {BATCH} at once", figures.batch_per_s)),
        ],
    )
}
