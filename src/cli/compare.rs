//! `memos compare`: what changed in a space since a point, between two points, or between a fork and its origin.
//!
//! With `--json`:
//!
//! ```json
//! {"first": {"space": "home/main", "events": 12}, "second": {"space": "home/main", "events": 20},
//!  "added": [{"cube": "…", "text": "…"}], "removed": [{"cube": "…", "text": "…"}],
//!  "changed": [{"cube": "…", "before": 1, "after": 2, "text_before": "…", "text_after": "…"}],
//!  "moved": [{"cube": "…", "before": "generated", "after": "archived", "text": "…"}],
//!  "linked": [{"from": "…", "kind": "about", "to": "…"}], "unlinked": []}
//! ```
//!
//! `added` is what only the second has. What the caller may not read is in none of the lists.

use clap::Args;
use memos::cube::{CubeId, SpaceName, State};
use memos::governance::Principal;
use memos::graph::Link;
use memos::vault::{Comparison, Point, Space};
use memos::{Error, Result};
use serde::Serialize;

use super::ids::{short, text_of};
use super::scope::Scope;
use super::screen::{DIM, FAILURE, NAME, NOTICE, SCORE, Screen, one_line, paint};
use super::table::Table;

/// Rows of one sort that people are shown.
const MOST_ROWS: usize = 200;

#[derive(Args)]
pub(super) struct CompareArguments {
    /// Compare from this point on: a time, or `#1200` for after 1200 events
    #[arg(long, value_name = "POINT")]
    as_of: Option<Point>,
    /// Compare up to this point [default: now]
    #[arg(long, value_name = "POINT", requires = "as_of", conflicts_with = "with")]
    to: Option<Point>,
    /// Compare with this space, such as a fork
    #[arg(long, value_name = "ORG/NAME")]
    with: Option<SpaceName>,
}

#[derive(Serialize)]
struct Compared<'a> {
    first: Side<'a>,
    second: Side<'a>,
    added: Vec<Said>,
    removed: Vec<Said>,
    changed: Vec<Changed>,
    moved: Vec<Moved>,
    linked: Vec<Link>,
    unlinked: Vec<Link>,
}

#[derive(Serialize)]
struct Side<'a> {
    space: &'a SpaceName,
    events: u64,
}

#[derive(Serialize)]
struct Said {
    cube: CubeId,
    text: String,
}

#[derive(Serialize)]
struct Changed {
    cube: CubeId,
    before: u32,
    after: u32,
    text_before: String,
    text_after: String,
}

#[derive(Serialize)]
struct Moved {
    cube: CubeId,
    before: State,
    after: State,
    text: String,
}

pub(super) fn run(arguments: &CompareArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    if arguments.as_of.is_none() && arguments.with.is_none() {
        return Err(Error::invalid("there is nothing to compare with; give `--as-of POINT` or `--with ORG/NAME`"));
    }
    let vault = scope.vault()?;
    let space = vault.existing_space(scope.space_name()?)?;
    let second = match (&arguments.with, arguments.to) {
        (Some(name), _) => vault.existing_space(name)?,
        (None, Some(point)) => space.at(point)?,
        (None, None) => space.clone(),
    };
    let first = match arguments.as_of {
        Some(point) => space.at(point)?,
        None => space,
    };
    let comparison = first.compare(&scope.caller, &second)?;
    let compared = with_texts(comparison, &first, &second, &scope.caller);
    if screen.json {
        return screen.object(&compared);
    }
    print(&compared, screen);
    Ok(())
}

fn with_texts<'a>(comparison: Comparison, first: &'a Space, second: &'a Space, caller: &Principal) -> Compared<'a> {
    let side = |space: &'a Space| Side { space: space.name(), events: space.ledger_head().events };
    let said = |space: &Space, cubes: Vec<CubeId>| {
        cubes.into_iter().map(|cube| Said { cube, text: text_of(space, caller, &cube) }).collect()
    };
    let changed = comparison.changed.into_iter().map(|change| Changed {
        cube: change.cube,
        before: change.before,
        after: change.after,
        text_before: text_of(first, caller, &change.cube),
        text_after: text_of(second, caller, &change.cube),
    });
    let moved = comparison.moved.into_iter().map(|moved| Moved {
        cube: moved.cube,
        before: moved.before,
        after: moved.after,
        // What was erased in the second may still be said by the first.
        text: text_of(if moved.after == State::Erased { first } else { second }, caller, &moved.cube),
    });
    Compared {
        first: side(first),
        second: side(second),
        added: said(second, comparison.added),
        removed: said(first, comparison.removed),
        changed: changed.collect(),
        moved: moved.collect(),
        linked: comparison.linked,
        unlinked: comparison.unlinked,
    }
}

fn print(compared: &Compared<'_>, screen: &mut Screen) {
    let named = |side: &Side<'_>| format!("{} after {} events", side.space, side.events);
    screen.line(paint(DIM, format!("from {}\nto   {}", named(&compared.first), named(&compared.second))));
    let room = screen.columns.saturating_sub(18);
    let said =
        |said: &[Said]| said.iter().map(|said| [short(&said.cube), one_line(&said.text, room)]).collect::<Vec<_>>();
    section(screen, "added", SCORE, &said(&compared.added));
    section(screen, "removed", FAILURE, &said(&compared.removed));
    let mut changed = Vec::new();
    for Changed { cube, before, after, text_before, text_after } in &compared.changed {
        // What changed beside the text is what `memos diff` shows.
        if text_before != text_after {
            changed.push([short(cube), format!("{before}: {}", one_line(text_before, room))]);
            changed.push([String::new(), format!("{after}: {}", one_line(text_after, room))]);
        } else {
            changed.push([short(cube), format!("described anew in version {after}: {}", one_line(text_after, room))]);
        }
    }
    section(screen, "changed", NOTICE, &changed);
    let moved = compared.moved.iter().map(|moved| {
        [short(&moved.cube), format!("{} → {}: {}", moved.before, moved.after, one_line(&moved.text, room))]
    });
    section(screen, "moved", NOTICE, &moved.collect::<Vec<_>>());
    let links = |links: &[Link]| {
        links.iter().map(|link| [short(&link.from), format!("{} {}", link.kind, short(&link.to))]).collect::<Vec<_>>()
    };
    section(screen, "linked", SCORE, &links(&compared.linked));
    section(screen, "unlinked", FAILURE, &links(&compared.unlinked));
    let counts = [
        (compared.added.len(), "added"),
        (compared.removed.len(), "removed"),
        (compared.changed.len(), "changed"),
        (compared.moved.len(), "moved"),
        (compared.linked.len(), "linked"),
        (compared.unlinked.len(), "unlinked"),
    ];
    let counts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    screen.result(if counts.is_empty() { "no difference".to_owned() } else { counts.join(", ") });
}

fn section(screen: &mut Screen, title: &str, style: anstyle::Style, rows: &[[String; 2]]) {
    if rows.is_empty() {
        return;
    }
    screen.line(paint(style, title));
    let mut table = Table::new(2).words("", NAME).text("");
    rows.iter().take(MOST_ROWS).for_each(|row| table.row(row.clone()));
    table.lines(screen.columns).into_iter().for_each(|line| screen.line(line));
    if rows.len() > MOST_ROWS {
        screen.line(paint(DIM, format!("  and {} more; `--json` lists all", rows.len() - MOST_ROWS)));
    }
    screen.line("");
}
