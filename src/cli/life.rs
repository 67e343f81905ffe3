//! `memos state` and `memos unfreeze`: where a memory is in its life.
//!
//! With `--json`: `{"space": "home/main", "cube": "…", "before": "generated", "state": "archived", "reason": "…",
//! "event": 12}`.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use memos::cube::{CubeId, SpaceName, State};
use memos::vault::{Batch, Space};
use memos::{Error, Result};
use serde::Serialize;

use super::ids::{find, short};
use super::scope::Scope;
use super::screen::{DIM, NAME, NOTICE, Screen, paint};

/// States that somebody may ask for.
const STATES: [State; 5] = [State::Activated, State::Merged, State::Archived, State::Expired, State::Frozen];

#[derive(Args)]
pub(super) struct StateArguments {
    /// The memory's id, or a beginning or end of it
    id: String,
    /// The state that it is to have
    #[arg(value_parser = states())]
    state: State,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

fn states() -> impl TypedValueParser<Value = State> {
    PossibleValuesParser::new(STATES.map(State::as_str)).try_map(|name| name.parse::<State>())
}

#[derive(Args)]
pub(super) struct UnfreezeArguments {
    /// The memory's id, or a beginning or end of it
    id: String,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Serialize)]
struct Moved<'a> {
    space: &'a SpaceName,
    cube: CubeId,
    before: State,
    state: State,
    reason: &'a str,
    event: u64,
}

pub(super) fn state(arguments: &StateArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let space = scope.space()?;
    let id = find(&space, &scope.caller, &arguments.id)?;
    let before = space.get(&scope.caller, &id)?.1.state;
    if (before, arguments.state) == (State::Frozen, State::Activated) {
        return Err(Error::invalid("the memory is frozen; `memos unfreeze ID --reason TEXT` lets it be changed again"));
    }
    let mut batch = Batch::default();
    batch.set_state(id, arguments.state, &arguments.reason);
    moved(&space, scope, (id, before), (batch, &arguments.reason), screen)
}

pub(super) fn unfreeze(arguments: &UnfreezeArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let space = scope.space()?;
    let id = find(&space, &scope.caller, &arguments.id)?;
    let before = space.get(&scope.caller, &id)?.1.state;
    let mut batch = Batch::default();
    batch.unfreeze(id, &arguments.reason);
    moved(&space, scope, (id, before), (batch, &arguments.reason), screen)
}

fn moved(
    space: &Space,
    scope: &Scope,
    (id, before): (CubeId, State),
    (batch, reason): (Batch, &str),
    screen: &mut Screen,
) -> Result<()> {
    let event = space.commit(&scope.caller, batch)?.first_event;
    let state = space.get(&scope.caller, &id)?.1.state;
    if screen.json {
        return screen.object(&Moved { space: space.name(), cube: id, before, state, reason, event });
    }
    screen.line(format!("{} was {before} and is {} now", paint(NAME, short(&id)), paint(NOTICE, state)));
    if !state.is_recalled() {
        screen.line(paint(DIM, "it is not recalled any more without being asked for"));
    }
    Ok(())
}
