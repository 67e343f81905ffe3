//! Verification: the time to hold a whole ledger against its records, its index and its graph, over all cores.

use clap::Args;
use memos::Result;
use serde::Serialize;

use super::corpus::store_events;
use super::measure::{folder, median, principal, rounded, space, timed};
use super::{Screen, report};

#[derive(Args)]
pub(super) struct VerifyArguments {
    /// Events in the ledger, half of them with a body
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    events: u64,
    /// Times to verify it
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// With `--json`: the median over all rounds.
#[derive(Serialize)]
struct Figures {
    events: u64,
    /// Events that stored a memory.
    records: u64,
    /// Bytes of their bodies.
    bytes: u64,
    verify_ms: f64,
    events_per_s: f64,
    /// Megabytes of bodies per second.
    mb_per_s: f64,
}

pub(super) fn run(arguments: &VerifyArguments, screen: &mut Screen) -> Result<()> {
    let (folder, me) = (folder()?, principal()?);
    let space = space(folder.path())?;
    store_events(screen, &space, &me, arguments.events)?;
    let bar = screen.progress("verifying");
    bar.set_length(u64::from(arguments.rounds) * space.ledger_head().events);
    let (mut verified, mut times) = (None, Vec::new());
    for round in 0..u64::from(arguments.rounds) {
        let (done, took) = timed(|| space.verify(|at, of| bar.set_position(round * of + at)))?;
        verified = Some(done);
        times.push(took);
    }
    bar.finish_and_clear();
    let (events, records, bytes) =
        verified.map_or((0, 0, 0), |verified| (verified.events, verified.records, verified.bytes));
    let seconds = median(&times) / 1000.0;
    let figures = Figures {
        events,
        records,
        bytes,
        verify_ms: rounded(median(&times)),
        events_per_s: (events as f64 / seconds).round(),
        mb_per_s: rounded(bytes as f64 / 1e6 / seconds),
    };
    report(
        screen,
        &figures,
        &[
            ("events", format!("{events}, {records} with a body")),
            ("verified in", format!("{} ms", figures.verify_ms)),
            ("per second", format!("{} events; {} MB of bodies", figures.events_per_s, figures.mb_per_s)),
        ],
    )
}
