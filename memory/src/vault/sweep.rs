//! Sweeping: what time and rules ask for, done once over a whole space.
//!
//! What is due is decided by [`crate::lifecycle`]; here it is gathered and written, by someone who may. Whoever runs
//! this when, and how often, is a worker's business.

use serde::Serialize;

use super::batch::Batch;
use super::erasure::Erasure;
use super::projection::CubeHead;
use super::space::Space;
use crate::cube::{CubeId, Governance, State};
use crate::error::Result;
use crate::governance::{Operation, Principal};
use crate::ledger::LedgerReader;
use crate::lifecycle::{self, Due, Retention, Standing, Transition};

/// What a sweep has found, and done unless it was a dry run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// What was due.
    pub due: Vec<Due>,
    /// Cubes that were archived because more are recalled than wanted.
    pub over_budget: Vec<CubeId>,
    /// Cubes for which something was due, and that the caller may not change.
    pub denied: usize,
}

impl Space {
    /// Expires, archives and erases what is due, and archives what exceeds `most_recalled`. With `dry_run` nothing is
    /// written.
    ///
    /// # Errors
    /// `Invalid` when the rules are none; else as [`Space::commit`] and [`Space::erase`].
    pub fn sweep(
        &self,
        caller: &Principal,
        rules: &Retention,
        most_recalled: Option<usize>,
        dry_run: bool,
    ) -> Result<Swept> {
        rules.check()?;
        let now = self.now();
        let standings = self.standings(caller)?;
        let mut swept = Swept::default();
        let mut moved = std::collections::HashSet::new();
        for (standing, may_write, may_erase) in &standings {
            let Some(due) = lifecycle::due(standing, now, rules) else { continue };
            if if due.transition == Transition::Erase { *may_erase } else { *may_write } {
                moved.insert(due.cube);
                swept.due.push(due);
            } else {
                swept.denied += 1;
            }
        }
        if let Some(most) = most_recalled {
            let left: Vec<Standing> = standings
                .iter()
                .filter(|(standing, may_write, _)| *may_write && !moved.contains(&standing.id))
                .map(|(standing, ..)| *standing)
                .collect();
            swept.over_budget = lifecycle::over_budget(&left, most, now);
        }
        if !dry_run {
            self.carry_out(caller, &swept)?;
        }
        Ok(swept)
    }

    fn carry_out(&self, caller: &Principal, swept: &Swept) -> Result<()> {
        let mut batch = Batch::default();
        let mut erased = Vec::new();
        for due in &swept.due {
            let state = match due.transition {
                Transition::Expire => State::Expired,
                Transition::Erase => {
                    erased.push(due.cube);
                    continue;
                }
                _ => State::Archived,
            };
            batch.set_state(due.cube, state, due.reason.to_string());
        }
        for cube in &swept.over_budget {
            batch.set_state(*cube, State::Archived, "the space recalls as many as it shall, and others matter more");
        }
        if !batch.is_empty() {
            self.commit_whole(caller, batch)?;
        }
        if !erased.is_empty() {
            self.erase(caller, Erasure::Cubes(erased), lifecycle::Reason::ExpiredLongEnough.to_string())?;
        }
        Ok(())
    }

    /// Returns what the rules look at in each cube that is not erased, and whether the caller may write and erase it.
    fn standings(&self, caller: &Principal) -> Result<Vec<(Standing, bool, bool)>> {
        let view = self.view().clone();
        let ledger = self.ledger()?;
        let mut standings = Vec::with_capacity(view.heads.len());
        for (slot, head) in (0..).zip(&view.heads).filter(|(_, head)| head.state != State::Erased) {
            let header = ledger.bare_header(head.event)?;
            let standing = standing_of(&ledger, head, &header.governance)?;
            let may = |operation| self.decide(&view, caller, operation, slot).allowed();
            standings.push((standing, may(Operation::Write), may(Operation::Erase)));
        }
        Ok(standings)
    }
}

/// Returns what the rules look at in the cube of a head.
pub(super) fn standing_of(ledger: &LedgerReader, head: &CubeHead, governance: &Governance) -> Result<Standing> {
    let first = head.versions().next().unwrap_or(head.event);
    let since = ledger.written_at(head.state_event)?;
    let came_back = head.state == State::Activated
        && head.earlier_states.last().is_some_and(|(_, state)| {
            matches!(state, State::Merged | State::Archived | State::Expired | State::Frozen)
        });
    Ok(Standing {
        id: head.id,
        state: head.state,
        since,
        begun: if came_back { since } else { ledger.written_at(first)? },
        usage: head.usage,
        lifespan: governance.lifespan,
        legal_hold: head.legal_hold,
        priority: governance.priority,
    })
}
