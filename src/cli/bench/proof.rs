//! Proofs: making and checking that a memory is in a large ledger, without and with what it says.
//!
//! Most of the ledger is cheap events, which say that memories were used. The memories themselves stand all over it.

use clap::Args;
use memos::Result;
use memos::cube::{CubeId, UseSignal};
use memos::governance::Principal;
use memos::ledger::Trust;
use memos::vault::{Batch, ProofOptions, Space, check_proof};
use serde::Serialize;

use super::corpus::{BATCH, Stored};
use super::measure::{folder, median, percentile, principal, rounded, space, timed};
use super::{Screen, report};

/// Events of one commit, and the memories among them.
const COMMIT_EVENTS: usize = 4000;
const COMMIT_CUBES: usize = 8;

#[derive(Args)]
pub(super) struct ProofArguments {
    /// Events in the ledger
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1000..=100_000_000))]
    events: u64,
    /// Proofs to make and check
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    proofs: u32,
}

/// With `--json`: milliseconds of one proof, and its bytes.
#[derive(Serialize)]
struct Figures {
    events: u64,
    proofs: u32,
    /// A proof that a memory is in the ledger.
    bare: Kind,
    /// The same with the key and the record, so that it shows what the memory says.
    reveal: Kind,
}

#[derive(Serialize)]
struct Kind {
    make_p50_ms: f64,
    make_p99_ms: f64,
    check_p50_ms: f64,
    check_p99_ms: f64,
    bytes: f64,
}

pub(super) fn run(arguments: &ProofArguments, screen: &mut Screen) -> Result<()> {
    let (folder, me) = (folder()?, principal()?);
    let space = space(folder.path())?;
    let mut stored = fill(screen, &space, &me, arguments.events)?;
    let bare = measure(arguments, screen, (&space, &me, &mut stored), false)?;
    let reveal = measure(arguments, screen, (&space, &me, &mut stored), true)?;
    let figures = Figures { events: space.ledger_head().events, proofs: arguments.proofs, bare, reveal };
    let said = |kind: &Kind| {
        let Kind { make_p50_ms, make_p99_ms, check_p50_ms, check_p99_ms, bytes } = kind;
        format!(
            "made in {make_p50_ms} and {make_p99_ms} ms, checked in {check_p50_ms} and {check_p99_ms} ms, {bytes} bytes"
        )
    };
    report(
        screen,
        &figures,
        &[
            ("events", figures.events.to_string()),
            ("proof, p50 and p99", said(&figures.bare)),
            ("the same with what it says", said(&figures.reveal)),
        ],
    )
}

/// Fills a ledger with few memories and many uses of them.
fn fill(screen: &Screen, space: &Space, me: &Principal, events: u64) -> Result<Stored> {
    let mut stored = Stored::new();
    let bar = screen.progress("storing");
    bar.set_length(events);
    stored.add(space, me, BATCH)?;
    while space.ledger_head().events < events {
        stored.add(space, me, COMMIT_CUBES)?;
        let used: Vec<CubeId> = stored.ids.iter().rev().take(COMMIT_CUBES).copied().collect();
        let mut batch = Batch::default();
        for id in used.into_iter().cycle().take(COMMIT_EVENTS) {
            batch.record_use(vec![(id, UseSignal::Helpful)]);
        }
        space.commit(me, batch)?;
        bar.set_position(space.ledger_head().events);
    }
    bar.finish_and_clear();
    Ok(stored)
}

fn measure(
    arguments: &ProofArguments,
    screen: &Screen,
    (space, me, stored): (&Space, &Principal, &mut Stored),
    reveal: bool,
) -> Result<Kind> {
    let key = space.public_key()?;
    let options = ProofOptions { reveal, ..ProofOptions::default() };
    let (mut made, mut checked, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    let bar = screen.progress("proving");
    bar.set_length(u64::from(arguments.proofs));
    let warm_up = (arguments.proofs / 20).max(5);
    for round in 0..arguments.proofs + warm_up {
        let Some((_, id, _)) = stored.pick(stored.ids.len()) else { continue };
        let (proof, making) = timed(|| space.prove(me, &id, &options)?.to_json())?;
        let trust = Trust { key: Some(&key), head: None };
        let (_, checking) = timed(|| check_proof(&proof, trust))?;
        if round >= warm_up {
            made.push(making);
            checked.push(checking);
            bytes.push(proof.len() as f64);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(Kind {
        make_p50_ms: rounded(median(&made)),
        make_p99_ms: rounded(percentile(&made, 0.99)),
        check_p50_ms: rounded(median(&checked)),
        check_p99_ms: rounded(percentile(&checked, 0.99)),
        bytes: median(&bytes),
    })
}
