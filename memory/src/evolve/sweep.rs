//! Sweeping, a part of the space at a time: what the rules of time ask for.

use super::{What, Work};
use crate::cube::State;
use crate::error::Result;
use crate::graph::Slot;
use crate::lifecycle::Transition;
use crate::vault::{CROWDED_OUT, Sweeping};

pub(super) fn find(work: &mut Work<'_>) -> Result<()> {
    let rules = &work.rules.retention;
    let from = Slot::try_from(work.from.at).unwrap_or(Slot::MAX);
    let part = Sweeping { from, most: work.budget.events, most_due: work.budget.changes };
    let (due, next) = work.space.due_in(work.keeper, rules, &part)?;
    work.found.report.looked_at += due.looked_at;
    for due in due.due {
        let state = match due.transition {
            Transition::Expire => State::Expired,
            Transition::Erase => {
                work.found.erase.push(due.cube);
                work.note(due.cube, What::Erased, None, due.reason.to_string());
                continue;
            }
            _ => State::Archived,
        };
        work.found.batch.set_state(due.cube, state, due.reason.to_string());
        work.note(due.cube, What::Moved(state), None, due.reason.to_string());
    }
    work.found.reached.at = next.map_or(0, u64::from);
    work.found.ended = next.is_none();
    // What exceeds the number is asked for when all else is done, since that makes room, too.
    if work.found.ended && work.found.batch.is_empty() && work.found.erase.is_empty() {
        crowd_out(work)?;
    }
    Ok(())
}

fn crowd_out(work: &mut Work<'_>) -> Result<()> {
    let Some(most) = work.rules.most_recalled else { return Ok(()) };
    let over = work.space.over_budget(work.keeper, most, work.budget.changes)?;
    for cube in over {
        work.found.batch.set_state(cube, State::Archived, CROWDED_OUT);
        work.note(cube, What::Moved(State::Archived), None, CROWDED_OUT);
    }
    // There may be more than one step takes.
    work.found.ended = work.found.batch.is_empty();
    Ok(())
}
