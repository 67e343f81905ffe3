//! `memos history`: how one memory came to say what it says, and to be where it is in its life.
//!
//! With `--json`:
//!
//! ```json
//! {"space": "home/main", "cube": "…", "versions": [{"event": 12, "header": {…}, "text": "…"}],
//!  "states": [{"event": 12, "state": "archived", "since": 0, "reason": "…"}],
//!  "chain": [{"cube": "…", "observed": 0, "valid": {…}, "state": "generated", "text": "…", "place": "replaced"}]}
//! ```
//!
//! with the fields of [`memos::cube::Header`]. `event` is the place in the ledger, so that `--as-of '#13'` shows what
//! event 12 has made. `chain` runs from the oldest statement to the newest, and `place` is `replaced`, `this` or
//! `replaces`.

use std::collections::HashSet;

use clap::Args;
use memos::Result;
use memos::cube::{Cube, CubeId, Header, SpaceName, State};
use memos::governance::Principal;
use memos::graph::{Direction, LinkKind};
use memos::time::{Timestamp, Window};
use memos::vault::{CubeHead, Point, Space};
use serde::Serialize;

use super::ids::{find, short};
use super::receipts::{day, moment, stretch};
use super::scope::Scope;
use super::screen::{DIM, NAME, NOTICE, Screen, paint};
use super::table::Table;

/// Links of one memory that are followed.
const MOST_LINKS: usize = 200;
/// Statements that replaced each other, followed one after the other.
const LONGEST_CHAIN: usize = 64;

#[derive(Args)]
pub(super) struct HistoryArguments {
    /// The memory's id, or a beginning or end of it
    id: String,
}

#[derive(Serialize)]
struct History<'a> {
    space: &'a SpaceName,
    cube: CubeId,
    versions: Vec<ShownVersion<'a>>,
    states: Vec<ShownState>,
    chain: Vec<Statement>,
}

#[derive(Serialize)]
struct ShownVersion<'a> {
    event: Option<u64>,
    header: &'a Header,
    text: Option<&'a str>,
}

#[derive(Serialize)]
struct ShownState {
    event: u64,
    state: State,
    since: Timestamp,
    reason: String,
}

/// One of several statements that replaced each other.
#[derive(Serialize)]
pub(super) struct Statement {
    pub(super) cube: CubeId,
    observed: Timestamp,
    valid: Window,
    state: State,
    text: String,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    Replaced,
    This,
    Replaces,
}

pub(super) fn run(arguments: &HistoryArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let space = scope.space()?;
    let id = find(&space, &scope.caller, &arguments.id)?;
    let versions = space.versions(&scope.caller, &id)?;
    let (_, head) = space.get(&scope.caller, &id)?;
    let states = states(&space, &scope.caller, &head);
    let chain = chain(&space, &scope.caller, &id)?;
    if screen.json {
        let versions = versions.iter().map(|cube| ShownVersion {
            event: event_of(&head, cube),
            header: &cube.header,
            text: cube.payload.as_text(),
        });
        return screen.object(&History { space: space.name(), cube: id, versions: versions.collect(), states, chain });
    }
    show_versions(screen, &versions, &head);
    show_states(screen, &states);
    show_chain(screen, &chain);
    Ok(())
}

/// Returns the event that stored a version.
fn event_of(head: &CubeHead, cube: &Cube) -> Option<u64> {
    head.versions().nth(cube.header.version.checked_sub(1)? as usize)
}

/// Returns the states that a memory has had, oldest first, as far as the caller may read what it said then.
fn states(space: &Space, caller: &Principal, head: &CubeHead) -> Vec<ShownState> {
    let events = head.earlier_states.iter().map(|(event, _)| *event).chain([head.state_event]);
    let then = |event: u64| {
        let cube = space.get_at(caller, &head.id, Point::Events(event + 1)).ok()?;
        let lifecycle = cube.header.lifecycle;
        Some(ShownState { event, state: lifecycle.state, since: lifecycle.since, reason: lifecycle.reason })
    };
    events.filter_map(then).collect()
}

fn show_states(screen: &mut Screen, states: &[ShownState]) {
    if states.len() < 2 {
        return;
    }
    screen.line("");
    screen.line(paint(DIM, "  where it stood in its life"));
    let mut table = Table::new(2).words("state", NOTICE).words("since", DIM).words("as of", DIM).text("because");
    for state in states {
        table.row([
            state.state.to_string(),
            moment(state.since),
            format!("#{}", state.event + 1),
            state.reason.clone(),
        ]);
    }
    table.lines(screen.columns).into_iter().for_each(|line| screen.result(line));
}

/// Shows what each version says and when it is true.
fn show_versions(screen: &mut Screen, versions: &[Cube], head: &CubeHead) {
    let mut table =
        Table::new(2).numbers("version").words("written", DIM).words("as of", DIM).words("by", DIM).text("says");
    for cube in versions {
        let header = &cube.header;
        let mut says = cube.payload.as_text().map_or_else(|| header.kind().to_string(), str::to_owned);
        says.extend(stretch(&header.times.valid).map(|when| format!(" (true {when})")));
        table.row([
            header.version.to_string(),
            moment(header.times.created),
            event_of(head, cube).map(|event| format!("#{}", event + 1)).unwrap_or_default(),
            header.origin.principal.to_string(),
            says,
        ]);
    }
    table.lines(screen.columns).into_iter().for_each(|line| screen.result(line));
}

/// Shows the statements that replaced each other, if there are several.
pub(super) fn show_chain(screen: &mut Screen, chain: &[Statement]) {
    if chain.len() < 2 {
        return;
    }
    screen.line("");
    screen.line(paint(DIM, "  statements that replaced each other, oldest first"));
    let mut table = Table::new(2).words("", NOTICE).words("said", DIM).words("id", NAME).text("says");
    for (at, statement) in chain.iter().enumerate() {
        let holds = at + 1 == chain.len();
        // Where an old statement ended says more than where it began.
        let end = Window { from: None, until: statement.valid.until };
        let standing = match (holds, stretch(&end), stretch(&statement.valid)) {
            (false, Some(end), _) => format!("true {end}"),
            (false, None, _) => "replaced".to_owned(),
            (true, _, Some(when)) => format!("holds {when}"),
            (true, _, None) => "holds".to_owned(),
        };
        let this = if statement.place == Place::This { "*" } else { "" };
        table.row([
            standing,
            day(statement.observed),
            format!("{}{this}", short(&statement.cube)),
            statement.text.clone(),
        ]);
    }
    table.lines(screen.columns).into_iter().for_each(|line| screen.result(line));
}

/// Follows the `supersedes` links of a memory both ways.
pub(super) fn chain(space: &Space, caller: &Principal, id: &CubeId) -> Result<Vec<Statement>> {
    let mut chain = Vec::new();
    let mut seen = HashSet::from([*id]);
    for (direction, place) in [(Direction::Forward, Place::Replaced), (Direction::Backward, Place::Replaces)] {
        let mut open = vec![*id];
        while let Some(at) = open.pop() {
            let around = space.neighbourhood(caller, &at, 1, MOST_LINKS)?;
            if at == *id && place == Place::Replaced {
                chain.push(statement(space, caller, &at, Place::This)?);
            }
            for link in around.links.iter().filter(|link| link.kind == LinkKind::Supersedes) {
                let (here, next) =
                    if direction == Direction::Forward { (link.from, link.to) } else { (link.to, link.from) };
                if here == at && chain.len() < LONGEST_CHAIN && seen.insert(next) {
                    chain.push(statement(space, caller, &next, place)?);
                    open.push(next);
                }
            }
        }
    }
    chain.sort_by_key(|statement| (statement.place as u8, statement.observed));
    Ok(chain)
}

fn statement(space: &Space, caller: &Principal, id: &CubeId, place: Place) -> Result<Statement> {
    let (cube, head) = space.get(caller, id)?;
    let (times, text) = (cube.header.times, cube.payload.as_text().unwrap_or_default().to_owned());
    Ok(Statement { cube: *id, observed: times.observed, valid: times.valid, state: head.state, text, place })
}
