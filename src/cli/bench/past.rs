//! The past against the present: reading and recalling as of the middle of a ledger, and as of now.
//!
//! The first half of the ledger stores memories. The second stores more, and new versions of some of the first, so that then
//! and now differ in what is there and in what it says. All that is asked for was there in both.

use clap::Args;
use memos::Result;
use memos::cube::{CubeId, Update, UpdateMode};
use memos::governance::Principal;
use memos::vault::{Batch, Point, Space};
use serde::Serialize;

use super::corpus::{BATCH, Stored, store_events};
use super::measure::{ask, folder, in_turns, median, principal, rounded, space, timed};
use super::{Screen, report};

/// Every so manieth memory of the first half gets another version in the second.
const UPDATED: usize = 3;

#[derive(Args)]
pub(super) struct PastArguments {
    /// Events in the ledger
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1000..=10_000_000))]
    events: u64,
    /// Memories to read, and questions to ask, then and now
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    questions: u32,
    /// Views of the past to make
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    views: u32,
}

/// With `--json`: milliseconds at the median, as of the middle and as of now, and the one over the other.
#[derive(Serialize)]
struct Figures {
    events: u64,
    middle: u64,
    get_p50_ms: f64,
    get_at_p50_ms: f64,
    get_ratio: f64,
    recall_p50_ms: f64,
    recall_at_p50_ms: f64,
    recall_ratio: f64,
    /// Milliseconds to make the view that is recalled from.
    view_ms: f64,
}

pub(super) fn run(arguments: &PastArguments, screen: &mut Screen) -> Result<()> {
    let (folder, me) = (folder()?, principal()?);
    let space = space(folder.path())?;
    let mut stored = store_events(screen, &space, &me, arguments.events / 2)?;
    let (early, middle) = (stored.ids.len(), space.ledger_head().events);
    go_on(screen, &space, &me, &mut stored, arguments.events)?;

    let mut views = Vec::new();
    for before in (0..u64::from(arguments.views)).rev() {
        // Another point each time, because the last few views are kept at hand.
        let (_, took) = timed(|| space.at(Point::Events(middle - before)))?;
        views.push(took);
    }
    let view = space.at(Point::Events(middle))?;
    let (mut gets, mut recalls) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    let warm_up = (arguments.questions / 20).max(5);
    let bar = screen.progress("reading");
    bar.set_length(u64::from(arguments.questions));
    for round in 0..arguments.questions + warm_up {
        let Some((_, id, question)) = stored.pick(early) else { continue };
        let then = || timed(|| space.get_at(&me, &id, Point::Events(middle)).map(drop));
        let read = in_turns(round, || timed(|| space.get(&me, &id).map(drop)), then)?;
        let asked = in_turns(round, || ask(&space, &me, question), || ask(&view, &me, question))?;
        if round < warm_up {
            continue;
        }
        bar.inc(1);
        gets.0.push(read.0.1);
        gets.1.push(read.1.1);
        recalls.0.push(asked.0);
        recalls.1.push(asked.1);
    }
    bar.finish_and_clear();
    let [get, get_at] = [median(&gets.0), median(&gets.1)];
    let [recall, recall_at] = [median(&recalls.0), median(&recalls.1)];
    let figures = Figures {
        events: space.ledger_head().events,
        middle,
        get_p50_ms: rounded(get),
        get_at_p50_ms: rounded(get_at),
        get_ratio: rounded(get_at / get),
        recall_p50_ms: rounded(recall),
        recall_at_p50_ms: rounded(recall_at),
        recall_ratio: rounded(recall_at / recall),
        view_ms: rounded(median(&views)),
    };
    let against = |then: f64, now: f64, ratio: f64| format!("{then} ms then, {now} ms now: {ratio} times");
    report(
        screen,
        &figures,
        &[
            ("events", format!("{}, read as of {middle}", figures.events)),
            ("one memory read", against(figures.get_at_p50_ms, figures.get_p50_ms, figures.get_ratio)),
            ("recall", against(figures.recall_at_p50_ms, figures.recall_p50_ms, figures.recall_ratio)),
            ("view made in", format!("{} ms", figures.view_ms)),
        ],
    )
}

/// Writes the rest of the ledger: new memories and new versions in turns.
fn go_on(screen: &Screen, space: &Space, me: &Principal, stored: &mut Stored, events: u64) -> Result<()> {
    let early: Vec<CubeId> = stored.ids.iter().copied().step_by(UPDATED).collect();
    let mut next = early.chunks(BATCH).cycle();
    let bar = screen.progress("going on");
    bar.set_length(events);
    while space.ledger_head().events < events {
        stored.add(space, me, BATCH)?;
        let mut batch = Batch::default();
        for id in next.next().unwrap_or_default() {
            let parent = space.get(me, id)?.1.digest;
            batch.update(Update { cube: *id, parent, mode: UpdateMode::Append("And it is still so.".to_owned()) });
        }
        space.commit(me, batch)?;
        bar.set_position(space.ledger_head().events);
    }
    bar.finish_and_clear();
    Ok(())
}
