//! Durable writes: in batches, from many threads one by one, and what opening the space again costs.

use std::time::Instant;

use clap::Args;
use memos::Result;
use serde::Serialize;

use super::corpus::{Corpus, batch, draft};
use super::measure::{folder, principal, resident_megabytes, rounded, space};
use super::{Screen, report};

#[derive(Args)]
pub(super) struct WriteArguments {
    /// Memories to store in batches
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    cubes: u32,
    /// Memories in a batch
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=2000))]
    batch: u32,
    /// Threads that store one memory at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    writers: u32,
    /// Memories that each of them stores
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    each: u32,
}

/// With `--json`: memories stored per second, durable and embedded, and milliseconds to open the space again.
#[derive(Serialize)]
struct Figures {
    cubes: u32,
    batch: u32,
    per_s: f64,
    single_writers: u32,
    single_per_s: f64,
    open_ms: f64,
    /// Milliseconds to open it without its snapshot, from the ledger alone.
    rebuild_ms: f64,
    rss_mb: Option<f64>,
    /// Bytes on disk for each memory.
    disk_bytes: f64,
}

pub(super) fn run(arguments: &WriteArguments, screen: &mut Screen) -> Result<()> {
    let (folder, me) = (folder()?, principal()?);
    let opened = space(folder.path())?;
    let total = arguments.cubes as usize;
    let (mut corpus, mut last, mut stored) = (Corpus::new(7), None, 0);
    let bar = screen.progress("storing");
    bar.set_length(total as u64);
    let started = Instant::now();
    while stored < total {
        let count = (arguments.batch as usize).min(total - stored);
        let (batch, _) = batch(&opened, &mut corpus, stored, count, &mut last);
        opened.commit(&me, batch)?;
        stored += count;
        bar.set_position(stored as u64);
    }
    let per_s = total as f64 / started.elapsed().as_secs_f64();
    bar.finish_and_clear();

    let started = Instant::now();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..arguments.writers)
            .map(|writer| {
                let (space, me) = (opened.clone(), &me);
                scope.spawn(move || -> Result<()> {
                    let mut corpus = Corpus::new(1000 + u64::from(writer));
                    for number in 0..arguments.each as usize {
                        let number = total + writer as usize * arguments.each as usize + number;
                        space.remember(me, draft(&corpus.turn(number), number))?;
                    }
                    Ok(())
                })
            })
            .collect();
        let ended = |thread: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            thread.join().unwrap_or_else(|_| Err(memos::Error::corrupt("a writer broke down")))
        };
        writers.into_iter().try_for_each(ended)
    })?;
    let singles = f64::from(arguments.writers * arguments.each);
    let single_per_s = singles / started.elapsed().as_secs_f64();
    let stats = opened.stats(&me);
    opened.save_snapshot()?;
    drop(opened);

    let open = || -> Result<f64> {
        let started = Instant::now();
        let opened = space(folder.path())?;
        let took = started.elapsed().as_secs_f64() * 1000.0;
        drop(opened);
        Ok(took)
    };
    let open_ms = open()?;
    let snapshot = folder.path().join("bench/measure/projection.bin");
    std::fs::remove_file(&snapshot)
        .map_err(|e| memos::Error::unavailable(format!("`{}`: {e}", snapshot.display())).with_source(e))?;
    let rebuild_ms = open()?;
    let figures = Figures {
        cubes: arguments.cubes,
        batch: arguments.batch,
        per_s: per_s.round(),
        single_writers: arguments.writers,
        single_per_s: single_per_s.round(),
        open_ms: rounded(open_ms),
        rebuild_ms: rounded(rebuild_ms),
        rss_mb: resident_megabytes(),
        disk_bytes: (stats.disk_bytes as f64 / stats.cubes as f64).round(),
    };
    report(
        screen,
        &figures,
        &[
            ("memories", figures.cubes.to_string()),
            ("stored per second", format!("{} in batches of {}", figures.per_s, figures.batch)),
            (
                "stored per second",
                format!("{} by {} threads, one at a time", figures.single_per_s, figures.single_writers),
            ),
            ("opened again in", format!("{open_ms:.0} ms; {rebuild_ms:.0} ms from the ledger alone")),
            ("bytes on disk", format!("{} a memory", figures.disk_bytes)),
        ],
    )
}
