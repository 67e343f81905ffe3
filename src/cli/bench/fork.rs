//! Forks: how soon a fork answers, what it writes, and what the first write after it costs on either side.
//!
//! A fork shares the projection with its origin until one of the two changes; the first write in it makes the copy. Opened
//! again it has no snapshot of its own the first time.

use std::path::Path;

use clap::Args;
use memos::Result;
use memos::cube::{CubeId, SpaceName};
use memos::governance::Principal;
use memos::vault::{Space, Vault, VaultOptions};
use serde::Serialize;

use super::corpus::{Corpus, draft, store};
use super::measure::{ask, folder, median, principal, rounded, space_name, timed};
use super::{Screen, report};

#[derive(Args)]
pub(super) struct ForkArguments {
    /// Memories in the space that is forked
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    cubes: u32,
    /// Forks to make
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=100))]
    forks: u32,
    /// Forks to open again
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    openings: u32,
}

/// With `--json`: milliseconds at the median of all forks.
#[derive(Serialize)]
struct Figures {
    cubes: u32,
    forks: u32,
    fork_ms: f64,
    first_get_ms: f64,
    first_recall_ms: f64,
    /// From the beginning of the fork until a memory was read and a question answered in it.
    first_answer_ms: f64,
    /// Bytes of the files that the fork has then.
    bytes: f64,
    /// One write in the origin while nothing is forked.
    write_ms: f64,
    /// The first write in the fork, which copies the projection.
    fork_write_ms: f64,
    /// The first write in the origin after that.
    origin_write_ms: f64,
    /// The first opening of the fork after it was closed, while the origin is open.
    open_ms: f64,
    /// The next one.
    open_again_ms: f64,
}

/// What was measured of each fork.
#[derive(Default)]
struct Times {
    fork: Vec<f64>,
    get: Vec<f64>,
    recall: Vec<f64>,
    answer: Vec<f64>,
    bytes: Vec<f64>,
    fork_write: Vec<f64>,
    origin_write: Vec<f64>,
    write: Vec<f64>,
    open: Vec<f64>,
    open_again: Vec<f64>,
}

pub(super) fn run(arguments: &ForkArguments, screen: &mut Screen) -> Result<()> {
    let (folder, me) = (folder()?, principal()?);
    let vault = Vault::open(folder.path(), VaultOptions::builtin()?)?;
    let origin = vault.space(&space_name()?)?;
    let total = arguments.cubes as usize;
    let mut stored = store(screen, &origin, &me, total)?;
    origin.save_snapshot()?;
    let (mut corpus, mut times) = (Corpus::new(11), Times::default());
    let bar = screen.progress("forking");
    bar.set_length(u64::from(arguments.forks));
    for number in 0..arguments.forks {
        let Some((_, id, question)) = stored.pick(total) else { continue };
        let name: SpaceName = format!("bench/fork-{number}").parse()?;
        times.write.push(write(&origin, &me, &mut corpus)?);
        let fork = begin(&vault, &me, &name, (id, question), &mut times)?;
        times.bytes.push(bytes_in(&folder.path().join(name.as_str()))? as f64);
        times.fork_write.push(write(&fork, &me, &mut corpus)?);
        times.origin_write.push(write(&origin, &me, &mut corpus)?);
        drop(fork);
        if number < arguments.openings {
            times.open.push(timed(|| vault.space(&name).map(drop))?.1);
            times.open_again.push(timed(|| vault.space(&name).map(drop))?.1);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let figures = times.figures(arguments);
    let Figures { write_ms, fork_write_ms, origin_write_ms, open_ms, open_again_ms, .. } = figures;
    report(
        screen,
        &figures,
        &[
            ("memories", figures.cubes.to_string()),
            ("forked, and the first answer", format!("{} ms", figures.first_answer_ms)),
            (
                "fork, get, recall",
                format!("{}, {}, {} ms", figures.fork_ms, figures.first_get_ms, figures.first_recall_ms),
            ),
            ("bytes of the fork", figures.bytes.to_string()),
            ("first write in the fork", format!("{fork_write_ms} ms; {write_ms} ms before, in the origin")),
            ("first write in the origin after", format!("{origin_write_ms} ms")),
            ("opened again in", format!("{open_ms} ms; {open_again_ms} ms the next time")),
        ],
    )
}

/// Forks the space, and reads and asks in the fork.
fn begin(vault: &Vault, me: &Principal, name: &SpaceName, asked: (CubeId, &str), times: &mut Times) -> Result<Space> {
    let (id, question) = asked;
    let (fork, forked) = timed(|| vault.fork(me, &space_name()?, None, name))?;
    let (_, read) = timed(|| fork.get(me, &id))?;
    let answered = ask(&fork, me, question)?;
    times.fork.push(forked);
    times.get.push(read);
    times.recall.push(answered);
    times.answer.push(forked + read + answered);
    Ok(fork)
}

/// Stores one memory, and returns the milliseconds that it took.
fn write(space: &Space, me: &Principal, corpus: &mut Corpus) -> Result<f64> {
    let draft = draft(&corpus.turn(0), 0);
    Ok(timed(|| space.remember(me, draft))?.1)
}

fn bytes_in(folder: &Path) -> Result<u64> {
    let unreadable =
        |e: std::io::Error| memos::Error::unavailable(format!("`{}`: {e}", folder.display())).with_source(e);
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let found = entry.and_then(|entry| entry.metadata()).map_err(unreadable)?;
        // Bodies that stand in files of their own are not copied; their folder is empty.
        bytes += if found.is_file() { found.len() } else { 0 };
    }
    Ok(bytes)
}

impl Times {
    fn figures(&self, arguments: &ForkArguments) -> Figures {
        let middle = |values: &[f64]| rounded(median(values));
        Figures {
            cubes: arguments.cubes,
            forks: arguments.forks,
            fork_ms: middle(&self.fork),
            first_get_ms: middle(&self.get),
            first_recall_ms: middle(&self.recall),
            first_answer_ms: middle(&self.answer),
            bytes: median(&self.bytes),
            write_ms: middle(&self.write),
            fork_write_ms: middle(&self.fork_write),
            origin_write_ms: middle(&self.origin_write),
            open_ms: middle(&self.open),
            open_again_ms: middle(&self.open_again),
        }
    }
}
