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
use crate::graph::Slot;
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

/// Which part of a space is swept.
pub(crate) struct Sweeping {
    /// The first cube.
    pub(crate) from: Slot,
    /// Cubes that are looked at.
    pub(crate) most: usize,
    /// Cubes for which something is due, after which it ends.
    pub(crate) most_due: usize,
}

/// What is due in a part of a space.
#[derive(Debug, Default)]
pub(crate) struct DueIn {
    pub(crate) due: Vec<Due>,
    pub(crate) looked_at: usize,
}

/// The reason that stands on what is archived for its number.
pub(crate) const CROWDED_OUT: &str = "the space recalls as many as it shall, and others matter more";

impl Space {
    /// Finds what is due in a part of the space, as far as the caller may do it, and from where to go on; none at its end.
    pub(crate) fn due_in(
        &self,
        caller: &Principal,
        rules: &Retention,
        part: &Sweeping,
    ) -> Result<(DueIn, Option<Slot>)> {
        let now = self.now();
        let mut found = DueIn::default();
        let mut from = part.from;
        while found.looked_at < part.most.max(1) && found.due.len() < part.most_due.max(1) {
            let standings = self.standings(caller, from, PART.min(part.most - found.looked_at))?;
            if standings.is_empty() {
                return Ok((found, None));
            }
            for (slot, standing, may) in standings {
                found.looked_at += 1;
                from = slot + 1;
                let due = standing.and_then(|standing| lifecycle::due(&standing, now, rules));
                found.due.extend(due.filter(|due| may.allows(due.transition)));
                if found.due.len() >= part.most_due.max(1) {
                    break;
                }
            }
        }
        let is_over = from as usize >= self.view().heads.len();
        Ok((found, (!is_over).then_some(from)))
    }

    /// Returns up to `limit` of the cubes that are to be archived so that at most `most` are recalled.
    pub(crate) fn over_budget(&self, caller: &Principal, most: usize, limit: usize) -> Result<Vec<CubeId>> {
        let recalled = self.view().heads.iter().filter(|head| head.state.is_recalled()).count();
        if recalled <= most {
            return Ok(Vec::new());
        }
        let standings = self.standings(caller, 0, usize::MAX)?;
        let movable: Vec<Standing> =
            standings.into_iter().filter(|(.., may)| may.write).filter_map(|(_, standing, _)| standing).collect();
        let mut over = lifecycle::over_budget(&movable, most, self.now());
        over.truncate(limit.max(1));
        Ok(over)
    }

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
        let standings = self.standings(caller, 0, usize::MAX)?;
        let standings: Vec<(Standing, May)> =
            standings.into_iter().filter_map(|(_, standing, may)| Some((standing?, may))).collect();
        let mut swept = Swept::default();
        let mut moved = std::collections::HashSet::new();
        for (standing, may) in &standings {
            let Some(due) = lifecycle::due(standing, now, rules) else { continue };
            if may.allows(due.transition) {
                moved.insert(due.cube);
                swept.due.push(due);
            } else {
                swept.denied += 1;
            }
        }
        if let Some(most) = most_recalled {
            let left: Vec<Standing> = standings
                .iter()
                .filter(|(standing, may)| may.write && !moved.contains(&standing.id))
                .map(|(standing, _)| *standing)
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
            batch.set_state(*cube, State::Archived, CROWDED_OUT);
        }
        if !batch.is_empty() {
            self.commit_whole(caller, batch)?;
        }
        if !erased.is_empty() {
            self.erase(caller, Erasure::Cubes(erased), lifecycle::Reason::ExpiredLongEnough.to_string())?;
        }
        Ok(())
    }

    /// Returns what the rules look at in up to `most` cubes from one on, and what the caller may do with them; of one that is
    /// erased nothing.
    fn standings(&self, caller: &Principal, from: Slot, most: usize) -> Result<Vec<(Slot, Option<Standing>, May)>> {
        // A copy of the heads alone: whoever holds the whole makes every writer copy it, too.
        let heads: Vec<(Slot, CubeHead, May)> = {
            let view = self.view();
            let heads = (0..).zip(&view.heads).skip(from as usize).take(most);
            let may = |slot, operation| self.decide(&view, caller, operation, slot).allowed();
            let may = |slot| May { write: may(slot, Operation::Write), erase: may(slot, Operation::Erase) };
            heads.map(|(slot, head)| (slot, head.clone(), may(slot))).collect()
        };
        let ledger = self.ledger()?;
        let standing = |head: &CubeHead| match head.state {
            State::Erased => Ok(None),
            _ => standing_of(&ledger, head, &ledger.bare_header(head.event)?.governance).map(Some),
        };
        heads.into_iter().map(|(slot, head, may)| Ok((slot, standing(&head)?, may))).collect()
    }
}

/// Cubes whose heads are copied at a time.
const PART: usize = 1024;

/// What a caller may do with a cube.
#[derive(Debug, Clone, Copy)]
struct May {
    write: bool,
    erase: bool,
}

impl May {
    fn allows(self, transition: Transition) -> bool {
        if transition == Transition::Erase { self.erase } else { self.write }
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
