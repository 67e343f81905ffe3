//! `memos sweep`: what time and rules ask for, done once: memories that have outlived their time, faded or gone cold move on.
//!
//! With `--json`:
//!
//! ```json
//! {"space": "home/main", "dry_run": true, "due": [{"cube": "…", "transition": "archive", "reason": "cold", "text": "…"}],
//!  "over_budget": [{"cube": "…", "text": "…"}], "denied": 0}
//! ```
//!
//! `transition` is `archive`, `expire` or `erase`; `reason` is one of [`memos::lifecycle::Reason`]. `over_budget` is
//! what was archived because of `--most`, and `denied` counts what is due and not the caller's to change.

use std::collections::HashMap;

use clap::Args;
use memos::Result;
use memos::cube::{CubeId, SpaceName};
use memos::lifecycle::{Due, Retention, Transition};
use serde::Serialize;

use super::govern::millis;
use super::ids::{short, text_of};
use super::scope::Scope;
use super::screen::{DIM, NAME, NOTICE, Screen, one_line, paint};
use super::table::Table;

/// Rows that people are shown.
const MOST_ROWS: usize = 200;

#[derive(Args)]
pub(super) struct SweepArguments {
    /// Say what is due, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Erase what has been expired for long enough, which nothing brings back
    #[arg(long)]
    erase_expired: bool,
    /// For how long a memory must have been expired to be erased
    #[arg(long, value_name = "TIME", default_value = "30d", requires = "erase_expired", value_parser = millis)]
    erase_after: u64,
    /// Archive what has faded below this weight, from 0 to 1
    #[arg(long, value_name = "WEIGHT", default_value_t = Retention::default().archive_below_weight)]
    archive_below: f32,
    /// Archive what is of low priority and was not used for so long
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = millis)]
    cold_after: u64,
    /// Archive, least used first, what exceeds so many memories that are recalled
    #[arg(long, value_name = "N")]
    most: Option<usize>,
}

#[derive(Serialize)]
struct Report<'a> {
    space: &'a SpaceName,
    dry_run: bool,
    due: Vec<DueMemory>,
    over_budget: Vec<Said>,
    denied: usize,
}

#[derive(Serialize)]
struct DueMemory {
    #[serde(flatten)]
    due: Due,
    text: String,
}

#[derive(Serialize)]
struct Said {
    cube: CubeId,
    text: String,
}

pub(super) fn run(arguments: &SweepArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let rules = Retention {
        archive_below_weight: arguments.archive_below,
        cold_after_millis: arguments.cold_after,
        erase_after_millis: arguments.erase_expired.then_some(arguments.erase_after),
        ..Retention::default()
    };
    let space = scope.space()?;
    let said = |cube: &CubeId| text_of(&space, &scope.caller, cube);
    // What is erased cannot be read afterwards; so it is looked up first what is due.
    let found = space.sweep(&scope.caller, &rules, arguments.most, true)?;
    let texts: HashMap<CubeId, String> =
        found.due.iter().map(|due| &due.cube).chain(&found.over_budget).map(|cube| (*cube, said(cube))).collect();
    let swept = match arguments.dry_run {
        true => found,
        false => space.sweep(&scope.caller, &rules, arguments.most, false)?,
    };
    let text = |cube: &CubeId| texts.get(cube).cloned().unwrap_or_default();
    let report = Report {
        space: space.name(),
        dry_run: arguments.dry_run,
        due: swept.due.into_iter().map(|due| DueMemory { text: text(&due.cube), due }).collect(),
        over_budget: swept.over_budget.into_iter().map(|cube| Said { text: text(&cube), cube }).collect(),
        denied: swept.denied,
    };
    if screen.json {
        return screen.object(&report);
    }
    print(&report, screen);
    Ok(())
}

fn print(report: &Report<'_>, screen: &mut Screen) {
    let room = screen.columns.saturating_sub(26);
    let mut rows = Vec::new();
    for DueMemory { due, text } in &report.due {
        rows.push([short(&due.cube), due.transition.to_string(), format!("{}\n{}", one_line(text, room), due.reason)]);
    }
    for Said { cube, text } in &report.over_budget {
        let because = "more are recalled than wanted";
        rows.push([short(cube), Transition::Archive.to_string(), format!("{}\n{because}", one_line(text, room))]);
    }
    let mut table = Table::new(2).words("", NAME).words("", NOTICE).text("");
    rows.iter().take(MOST_ROWS).for_each(|row| table.row(row.clone()));
    table.lines(screen.columns).into_iter().for_each(|line| screen.line(line));
    if rows.len() > MOST_ROWS {
        screen.line(paint(DIM, format!("  and {} more; `--json` lists all", rows.len() - MOST_ROWS)));
    }
    screen.result(match (rows.len(), report.dry_run) {
        (0, _) => "nothing is due".to_owned(),
        (count, true) => format!("{count} due; nothing was changed"),
        (count, false) => format!("{count} moved on"),
    });
    if report.denied > 0 {
        screen.line(paint(DIM, format!("{} more are due, and not yours to change", report.denied)));
    }
}
