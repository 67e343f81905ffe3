//! The time of a whole recall: read the question, embed, find, spread, rank, check, pack.

use std::time::Instant;

use clap::Args;
use memos::Result;
use memos::operator::{MemoryCall, recall};
use memos::reader::read_question;
use serde::Serialize;

use super::corpus::store;
use super::measure::{folder, percentile, principal, resident_megabytes, rounded, space};
use super::{Screen, report};

#[derive(Args)]
pub(super) struct RecallArguments {
    /// Memories to recall from
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    cubes: u32,
    /// Questions to ask
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    questions: u32,
}

/// With `--json`: milliseconds of one recall, and megabytes of memory in use after all.
#[derive(Serialize)]
struct Figures {
    cubes: u32,
    questions: u32,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    /// Share of questions whose memory is among the ten that were recalled.
    found: f64,
    rss_mb: Option<f64>,
    /// Milliseconds of the parts, at the median of each.
    parts_p50_ms: Parts,
}

#[derive(Serialize)]
struct Parts {
    embed: f64,
    find: f64,
    rank: f64,
    pack: f64,
}

pub(super) fn run(arguments: &RecallArguments, screen: &mut Screen) -> Result<()> {
    let (folder, me) = (folder()?, principal()?);
    let space = space(folder.path())?;
    let total = arguments.cubes as usize;
    let mut stored = store(screen, &space, &me, total)?;
    let (mut times, mut parts) = (Vec::new(), [const { Vec::new() }; 4]);
    let mut found = 0_usize;
    let warm_up = (arguments.questions / 20).max(5);
    for number in 0..arguments.questions + warm_up {
        let Some((at, _, question)) = stored.pick(total) else { continue };
        let call = MemoryCall::new(me.clone(), question, space.now());
        let started = Instant::now();
        let answer = recall(&[&space], &read_question(&[&space], call)?)?;
        let took = started.elapsed().as_secs_f64() * 1000.0;
        if number < warm_up {
            continue;
        }
        let ticket = format!("ticket {at},");
        found += usize::from(answer.receipts.iter().any(|receipt| receipt.text.contains(&ticket)));
        times.push(took);
        let measured = [answer.times.embed, answer.times.find, answer.times.rank, answer.times.pack];
        parts.iter_mut().zip(measured).for_each(|(part, micros)| part.push(micros as f64 / 1000.0));
    }
    let [embed, find, rank, pack] = parts.map(|part| rounded(percentile(&part, 0.5)));
    let figures = Figures {
        cubes: arguments.cubes,
        questions: arguments.questions,
        p50_ms: rounded(percentile(&times, 0.5)),
        p95_ms: rounded(percentile(&times, 0.95)),
        p99_ms: rounded(percentile(&times, 0.99)),
        found: rounded(found as f64 / times.len().max(1) as f64),
        rss_mb: resident_megabytes(),
        parts_p50_ms: Parts { embed, find, rank, pack },
    };
    report(
        screen,
        &figures,
        &[
            ("memories", figures.cubes.to_string()),
            ("recall p50", format!("{} ms", figures.p50_ms)),
            ("recall p95", format!("{} ms", figures.p95_ms)),
            ("recall p99", format!("{} ms", figures.p99_ms)),
            ("embed, find, rank, pack", format!("{embed}, {find}, {rank}, {pack} ms")),
            ("found among ten", format!("{:.1}%", figures.found * 100.0)),
            ("memory in use", figures.rss_mb.map_or("not told".to_owned(), |mb| format!("{mb} MB"))),
        ],
    )
}
