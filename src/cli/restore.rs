//! `memos restore`: the way back, for one memory or for all of a space. It is a new event; nothing of the past is undone.
//!
//! With `--json`: `{"space": "home/main", "cube": "…", "restored": 1, "version": 4}` for one memory, and
//! `{"space": "home/main", "to": {"events": 12}, "first_event": 40, "events": 7}` for all.

use clap::Args;
use memos::cube::{CubeId, SpaceName};
use memos::vault::Point;
use memos::{Error, Result};
use serde::Serialize;

use super::ids::{find, short};
use super::scope::Scope;
use super::screen::{DIM, NAME, Screen, paint};

#[derive(Args)]
pub(super) struct RestoreArguments {
    /// The memory's id, or a beginning or end of it
    #[arg(required_unless_present = "all", conflicts_with = "all", requires = "version")]
    id: Option<String>,
    /// The version whose words it is to say again, as `memos history` lists them
    #[arg(long, value_name = "N", conflicts_with = "all")]
    version: Option<u32>,
    /// Bring all memories and links back to what they were at a point
    #[arg(long, requires = "to", requires = "reason")]
    all: bool,
    /// The point: a time, or `#1200` for after 1200 events
    #[arg(long, value_name = "POINT", requires = "all")]
    to: Option<Point>,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT", requires = "all")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct Restored<'a> {
    space: &'a SpaceName,
    cube: CubeId,
    restored: u32,
    version: u32,
}

#[derive(Serialize)]
struct RestoredAll<'a> {
    space: &'a SpaceName,
    to: Point,
    first_event: u64,
    events: u64,
}

pub(super) fn run(arguments: &RestoreArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    match (&arguments.id, arguments.version, arguments.to, &arguments.reason) {
        (Some(id), Some(version), ..) => one(id, version, scope, screen),
        (_, _, Some(point), Some(reason)) => all(point, reason, scope, screen),
        _ => Err(Error::invalid("give an id with `--version N`, or `--all --to POINT --reason TEXT`")),
    }
}

fn one(id: &str, version: u32, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let space = scope.space()?;
    let id = find(&space, &scope.caller, id)?;
    let restored = space.restore(&scope.caller, &id, version)?;
    if screen.json {
        let (space, cube) = (space.name(), restored.cube);
        return screen.object(&Restored { space, cube, restored: version, version: restored.version });
    }
    let now = restored.version;
    screen.line(format!("{} says in version {now} what it said in version {version}", paint(NAME, short(&id))));
    Ok(())
}

fn all(point: Point, reason: &str, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let space = scope.space()?;
    let before = space.ledger_head().events;
    let committed = space.restore_space(&scope.caller, point, reason)?;
    if screen.json {
        let (first_event, events) = (committed.first_event, committed.events);
        return screen.object(&RestoredAll { space: space.name(), to: point, first_event, events });
    }
    if committed.events == 0 {
        screen.line(format!("{} is as it was; nothing was written", paint(NAME, space.name())));
        return Ok(());
    }
    screen.line(format!(
        "{} is as it was at {point}; {} events were written",
        paint(NAME, space.name()),
        committed.events
    ));
    screen.line(paint(DIM, format!("`memos restore --all --to '#{before}' --reason TEXT` takes it back")));
    Ok(())
}
