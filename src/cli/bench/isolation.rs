//! One space is flooded by writers, and another is asked: what the second feels of it. And what a kernel costs in which
//! nothing happens.

use std::time::{Duration, Instant};

use clap::Args;
use memos::cube::Layer;
use memos::{Error, Result};
use memos_runtime::actor::Heard;
use memos_runtime::{Kernel, Session, SpaceHandle, block_on_threads, measure};
use serde::Serialize;

use super::corpus::{BATCH, Corpus, draft, fill};
use super::measure::{folder, percentile, principal, rounded};
use super::{Screen, report};

const FLOODED: &str = "bench/flooded";
const ASKED: &str = "bench/asked";

#[derive(Args)]
pub(super) struct IsolationArguments {
    /// Memories in the space that is asked
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    cubes: u32,
    /// Recalls of each measure
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    questions: u32,
    /// Sessions that write into the other space as fast as they are let
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    writers: u16,
    /// Seconds in which nothing happens
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    idle_seconds: u64,
    /// Threads of the pool
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
}

/// With `--json`. Times are milliseconds.
#[derive(Serialize)]
struct Figures {
    cubes: u32,
    idle_p50_ms: f64,
    idle_p99_ms: f64,
    flooded_p50_ms: f64,
    flooded_p99_ms: f64,
    /// The one over the other.
    p99_ratio: f64,
    /// Durable batches that the flood made meanwhile, each second.
    flood_per_s: f64,
    /// Milliseconds of processor time that the kernel took in each second in which nothing happened; none where the system
    /// does not tell.
    idle_cpu_ms_per_s: Option<f64>,
}

pub(super) fn run(arguments: &IsolationArguments, screen: &mut Screen) -> Result<()> {
    let folder = folder()?;
    let figures = block_on_threads(usize::from(arguments.threads), work(arguments, folder.path()))?;
    report(
        screen,
        &figures,
        &[
            ("recall p99", format!("{} ms, and {} ms in the flood", figures.idle_p99_ms, figures.flooded_p99_ms)),
            ("the flood", format!("{} durable batches a second", figures.flood_per_s)),
            (
                "idle",
                figures
                    .idle_cpu_ms_per_s
                    .map_or("not known here".into(), |ms| format!("{ms} ms of processor a second")),
            ),
        ],
    )
}

async fn work(arguments: &IsolationArguments, folder: &std::path::Path) -> Result<Figures> {
    let kernel = Kernel::open(folder).await?;
    let (asked, flooded) = (kernel.space(ASKED).await?, kernel.space(FLOODED).await?);
    let (session, total) = (asked.session(principal()?), arguments.cubes as usize);
    let patient = session.clone().with_patience(Duration::from_secs(3600));
    let (_, questions) = patient.work(move |space, me| fill(space, me, total, BATCH, Layer::Private)).await?;
    let idle_cpu_ms_per_s = idle(arguments.idle_seconds).await;
    let mut corpus = Corpus::new(11);
    let idle = recalls(&session, &mut corpus, &questions, arguments.questions).await?;
    let (times, flood_per_s) = in_flood(&flooded, arguments, &session, &mut corpus, &questions).await?;
    kernel.shutdown(Duration::from_secs(60)).await?;
    let (idle_p99, flooded_p99) = (percentile(&idle, 0.99), percentile(&times, 0.99));
    Ok(Figures {
        cubes: arguments.cubes,
        idle_p50_ms: rounded(percentile(&idle, 0.5)),
        idle_p99_ms: rounded(idle_p99),
        flooded_p50_ms: rounded(percentile(&times, 0.5)),
        flooded_p99_ms: rounded(flooded_p99),
        p99_ratio: rounded(flooded_p99 / idle_p99),
        flood_per_s: flood_per_s.round(),
        idle_cpu_ms_per_s,
    })
}

async fn recalls(session: &Session, corpus: &mut Corpus, questions: &[String], count: u32) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..count {
        let at = (corpus.number() % questions.len().max(1) as u64) as usize;
        let question = questions.get(at).cloned().ok_or_else(|| Error::invalid("there is nothing to ask for"))?;
        let started = Instant::now();
        session.ask(question).await?;
        times.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(times)
}

/// Recalls from one space while many sessions write into the other.
async fn in_flood(
    flooded: &SpaceHandle,
    arguments: &IsolationArguments,
    session: &Session,
    corpus: &mut Corpus,
    questions: &[String],
) -> Result<(Vec<f64>, f64)> {
    let mut changes = flooded.changes()?;
    let started = Instant::now();
    let mut writing = Vec::new();
    for number in 0..u64::from(arguments.writers) {
        let writer = flooded.session(principal()?);
        writing.push(measure::in_background(async move {
            let mut corpus = Corpus::new(100 + number);
            for turn in 0_usize.. {
                writer.remember(draft(&corpus.turn(turn), turn)).await?;
            }
            Ok(())
        }));
    }
    // The first write says that the flood has begun.
    changes.next().await;
    let times = recalls(session, corpus, questions, arguments.questions).await?;
    let took = started.elapsed().as_secs_f64();
    drop(writing);
    let mut written = 1_u64;
    while let Some(heard) = changes.try_next() {
        written += match heard {
            Heard::Fact(_) => 1,
            Heard::Lagged(missed) => missed,
        };
    }
    Ok((times, written as f64 / took))
}

/// Waits, and returns the processor time that the process took meanwhile, in milliseconds a second.
async fn idle(seconds: u64) -> Option<f64> {
    // What was just written may still be looked at.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = processor_ticks()?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    // A tick is a hundredth of a second on every Linux that tells.
    Some(rounded((processor_ticks()? - before) as f64 * 10.0 / seconds as f64))
}

fn processor_ticks() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = status.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}
