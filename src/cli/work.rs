//! `memos work`: lets the memory of a space evolve, once: merges, resolves, summarises, reflects, links, sweeps.
//!
//! The space itself does the work, over all memories. What it does to those that the caller may not read is counted, and no
//! more is said of it. With `--json`:
//!
//! ```json
//! {"space": "home/main", "dry_run": false, "jobs": [{"job": "merge", "looked_at": 12, "counts": {"merged": 1},
//!  "deeds": [{"cube": "…", "what": "merged", "with": "…", "because": "it says the same", "text": "…"}]}]}
//! ```
//!
//! `counts` counts all that a job has done, and `deeds` names up to a thousand of it. A link has its type under `as`, a change
//! of state the state.

use std::collections::{BTreeMap, HashMap};

use clap::Args;
use memos::Result;
use memos::cube::{CubeId, SpaceName};
use memos::evolve::{Budget, Deed, EvolveRules, Job, Report, find, place_of, run as run_job};
use memos::governance::Principal;
use memos::lifecycle::Retention;
use memos::vault::Space;
use serde::Serialize;

use super::govern::millis;
use super::ids::{short, text_of};
use super::scope::Scope;
use super::screen::{DIM, NAME, NOTICE, Screen, one_line, paint};
use super::table::Table;

/// Rows that people are shown.
const MOST_ROWS: usize = 200;

#[derive(Args)]
pub(super) struct WorkArguments {
    /// What to do: merge, contradictions, summarise, reflect, link or sweep [default: all of it]
    #[arg(value_name = "JOB")]
    jobs: Vec<Job>,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// For how long nothing must have been said in a session for it to be summarised
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = millis)]
    session_quiet: u64,
    /// Erase what has been expired for 30 days, which nothing brings back
    #[arg(long)]
    erase_expired: bool,
    /// Archive, least used first, what exceeds so many memories that are recalled
    #[arg(long, value_name = "N")]
    most: Option<usize>,
}

#[derive(Serialize)]
struct Work<'a> {
    space: &'a SpaceName,
    dry_run: bool,
    jobs: Vec<JobDone>,
}

#[derive(Serialize)]
struct JobDone {
    job: Job,
    looked_at: usize,
    counts: BTreeMap<String, usize>,
    deeds: Vec<DeedSaid>,
}

#[derive(Serialize)]
struct DeedSaid {
    #[serde(flatten)]
    deed: Deed,
    text: String,
}

pub(super) fn run(arguments: &WorkArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let rules = EvolveRules {
        session_quiet_millis: arguments.session_quiet,
        retention: Retention {
            erase_after_millis: Retention::default().erase_after_millis.filter(|_| arguments.erase_expired),
            ..Retention::default()
        },
        most_recalled: arguments.most,
    };
    let (space, keeper) = (scope.space()?, Principal::keeper()?);
    let mut jobs = Vec::new();
    for job in Job::ALL.into_iter().filter(|job| arguments.jobs.is_empty() || arguments.jobs.contains(job)) {
        // What is erased cannot be read afterwards, so its text is looked up before.
        let from = place_of(&space, job)?;
        let found = find(&space, &keeper, job, from, &rules, Budget::ALL)?.report;
        let texts = texts_of(&space, scope, &found);
        let report = match arguments.dry_run {
            true => found,
            false => run_job(&space, &keeper, job, &rules, Budget::default())?,
        };
        let text = |deed: &Deed| texts.get(&deed.cube).cloned().or_else(|| text_for(&space, scope, &deed.cube));
        let deeds = report.deeds.into_iter().filter_map(|deed| Some(DeedSaid { text: text(&deed)?, deed })).collect();
        jobs.push(JobDone { job, looked_at: report.looked_at, counts: report.counts, deeds });
    }
    let work = Work { space: space.name(), dry_run: arguments.dry_run, jobs };
    if screen.json {
        return screen.object(&work);
    }
    print(&work, screen);
    Ok(())
}

/// Returns what the caller may read of the cubes that are there already.
fn texts_of(space: &Space, scope: &Scope, report: &Report) -> HashMap<CubeId, String> {
    report.deeds.iter().filter_map(|deed| Some((deed.cube, text_for(space, scope, &deed.cube)?))).collect()
}

fn text_for(space: &Space, scope: &Scope, cube: &CubeId) -> Option<String> {
    space.get(&scope.caller, cube).ok().map(|_| text_of(space, &scope.caller, cube))
}

fn print(work: &Work<'_>, screen: &mut Screen) {
    let room = screen.columns.saturating_sub(30);
    let deeds: Vec<&DeedSaid> = work.jobs.iter().flat_map(|done| &done.deeds).collect();
    let mut table = Table::new(2).words("", NAME).words("", NOTICE).text("");
    for DeedSaid { deed, text } in deeds.iter().take(MOST_ROWS) {
        let with = deed.with.map(|with| format!(" {}", short(&with))).unwrap_or_default();
        let said = if text.is_empty() { String::new() } else { one_line(text, room) + "\n" };
        table.row([short(&deed.cube), deed.what.to_string(), format!("{said}{}{with}", deed.because)]);
    }
    table.lines(screen.columns).into_iter().for_each(|line| screen.line(line));
    if deeds.len() > MOST_ROWS {
        screen.line(paint(DIM, format!("  and {} more; `--json` lists all", deeds.len() - MOST_ROWS)));
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (what, count) in work.jobs.iter().flat_map(|done| &done.counts) {
        *counts.entry(what).or_default() += count;
    }
    let counts: Vec<String> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
    screen.result(match (counts.is_empty(), work.dry_run) {
        (true, _) => "nothing to do".to_owned(),
        (false, true) => format!("{}; nothing was changed", counts.join(", ")),
        (false, false) => counts.join(", "),
    });
}
