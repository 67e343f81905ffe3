//! Exact against approximate dense search: where they cost the same, and what the approximation finds.

use std::collections::HashSet;
use std::time::Instant;

use clap::Args;
use memos::Result;
use memos::cube::SemanticType;
use memos::embed::{Embedder, builtin};
use memos::index::{CandidateIndex, ClassSet, Document, EmbeddedIndex, Facets, Filter, IndexQuery, QuantizedVector};
use memos::time::{Timestamp, Window};
use serde::Serialize;

use super::Screen;
use super::corpus::Corpus;
use super::measure::{percentile, rounded};

/// Candidates asked for, as a recall asks.
const CANDIDATES: usize = 100;
const QUESTIONS: usize = 50;

#[derive(Args)]
pub(super) struct CrossoverArguments {
    /// Numbers of memories to measure at
    #[arg(long, value_delimiter = ',', default_values_t = [2_000, 5_000, 10_000, 20_000, 50_000, 100_000])]
    cubes: Vec<u32>,
}

/// With `--json`, one for each number of memories: milliseconds at the median, and the share of the ten and of all
/// candidates of the exact search that the approximate one finds.
#[derive(Serialize)]
struct Figures {
    cubes: u32,
    exact_ms: f64,
    approximate_ms: f64,
    found_of_10: f64,
    found_of_100: f64,
}

pub(super) fn run(arguments: &CrossoverArguments, screen: &mut Screen) -> Result<()> {
    let embedder = builtin()?;
    let mut all = Vec::new();
    for &cubes in &arguments.cubes {
        let mut exact = EmbeddedIndex::new(embedder.dimensions()).with_exact_up_to(usize::MAX);
        let mut approximate = EmbeddedIndex::new(embedder.dimensions()).with_exact_up_to(0);
        let mut corpus = Corpus::new(7);
        let mut questions = Vec::new();
        for slot in 0..cubes {
            let turn = corpus.turn(slot as usize);
            let vector = QuantizedVector::of(&embedder.embed(&turn.text)?);
            exact.put(slot, document(vector.clone()))?;
            approximate.put(slot, document(vector))?;
            if slot % (cubes / QUESTIONS as u32).max(1) == 0 {
                questions.push(turn.question);
            }
        }
        let filter = Filter { classes: ClassSet::from_iter([0]), ..Filter::default() };
        let (mut exact_ms, mut approximate_ms, mut of_10, mut of_100) = (Vec::new(), Vec::new(), 0.0, 0.0);
        for question in &questions {
            let query = IndexQuery { vector: embedder.embed(question)?, terms: Vec::new() };
            let search = |index: &EmbeddedIndex, times: &mut Vec<f64>| -> Result<Vec<u32>> {
                let started = Instant::now();
                let mut matches = index.search(&query, &filter, CANDIDATES)?.matches;
                times.push(started.elapsed().as_secs_f64() * 1000.0);
                matches.sort_by(|a, b| b.dense.total_cmp(&a.dense));
                Ok(matches.into_iter().map(|found| found.slot).collect())
            };
            let (best, near) = (search(&exact, &mut exact_ms)?, search(&approximate, &mut approximate_ms)?);
            let near: HashSet<u32> = near.into_iter().collect();
            let share = |most: usize| {
                let best = best.iter().take(most);
                best.clone().filter(|slot| near.contains(slot)).count() as f64 / best.count().max(1) as f64
            };
            of_10 += share(10) / questions.len() as f64;
            of_100 += share(CANDIDATES) / questions.len() as f64;
        }
        all.push(Figures {
            cubes,
            exact_ms: rounded(percentile(&exact_ms, 0.5)),
            approximate_ms: rounded(percentile(&approximate_ms, 0.5)),
            found_of_10: rounded(of_10),
            found_of_100: rounded(of_100),
        });
    }
    if screen.json {
        return screen.object(&all);
    }
    screen.result(format!(
        "{:>9}  {:>9}  {:>14}  {:>12}  {:>13}",
        "memories", "exact", "approximate", "found of 10", "found of 100"
    ));
    for row in &all {
        let Figures { cubes, exact_ms, approximate_ms, found_of_10, found_of_100 } = row;
        screen.result(format!(
            "{cubes:>9}  {exact_ms:>6} ms  {approximate_ms:>11} ms  {found_of_10:>12}  {found_of_100:>13}"
        ));
    }
    Ok(())
}

fn document(vector: QuantizedVector) -> Document {
    let facets = Facets {
        class: 0,
        semantic: SemanticType::Message,
        observed: Timestamp::from_millis(0),
        valid: Window::ALWAYS,
        archived: false,
        withheld: false,
    };
    Document { facets, vector, terms: Vec::new(), length: 0 }
}
