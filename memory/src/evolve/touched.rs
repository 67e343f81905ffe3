//! What has changed since a job looked last: the cubes that events of the ledger have stored or brought to another state.

use std::collections::HashSet;

use super::Work;
use crate::cube::{CubeId, Digest};
use crate::error::Result;
use crate::graph::Slot;
use crate::ledger::Change;
use crate::vault::CubeHead;

/// One cube that has changed.
#[derive(Debug, Clone)]
pub(super) struct Touched {
    /// The first event of this step that has changed it.
    pub(super) event: u64,
    pub(super) slot: Slot,
    pub(super) head: CubeHead,
}

/// Returns the cubes that have changed, each once, as they are now, and moves on behind what it has looked at. A cube of which
/// `concerns` says no is passed over, and costs nothing.
pub(super) fn touched(work: &mut Work<'_>, concerns: impl Fn(&CubeHead) -> bool) -> Result<Vec<Touched>> {
    let (start, end) = (work.from.at, work.space.ledger_head().events);
    let until = end.min(start.saturating_add(u64::try_from(work.budget.events).unwrap_or(u64::MAX).max(1)));
    if start >= until {
        return Ok(Vec::new());
    }
    let named = named(work, start, until)?;
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    let mut reached = until;
    let view = work.space.view();
    for (event, cube) in named {
        let Some(slot) = view.slot(&cube) else { continue };
        let Some(head) = view.head(slot).filter(|head| concerns(head)) else { continue };
        if seen.contains(&slot) {
            continue;
        }
        if all.len() >= work.budget.cubes.max(1) {
            reached = event;
            break;
        }
        seen.insert(slot);
        all.push(Touched { event, slot, head: head.clone() });
    }
    drop(view);
    work.found.reached.at = reached;
    work.found.ended = reached >= end;
    work.found.report.looked_at += all.len();
    Ok(all)
}

/// Returns the cubes that events name, in order.
fn named(work: &Work<'_>, start: u64, until: u64) -> Result<Vec<(u64, CubeId)>> {
    let ledger = work.space.ledger()?;
    let before = match start.checked_sub(1) {
        Some(before) => ledger.digest(before)?,
        None => Digest::from_bytes([0; 32]),
    };
    let mut named = Vec::new();
    ledger.replay(start..until, before, |event| {
        match event.change {
            Change::CubeStored(header) => named.push((event.sequence, header.id)),
            Change::StateChanged { cube, .. } | Change::Unfrozen { cube, .. } => named.push((event.sequence, cube)),
            _ => {}
        }
        Ok(())
    })?;
    Ok(named)
}

/// Makes the next step begin again at a cube, for want of room in this one.
pub(super) fn stop_before(work: &mut Work<'_>, touched: &Touched) {
    work.found.reached.at = touched.event;
    work.found.ended = false;
}
