//! The audit log: what waits to be put on record, and the ledger read as a log.
//!
//! What was changed is on record by itself: each event names who made it. What was read or refused is noted in memory and
//! written with the next durable step, or by whoever notes one line too many, so that noting waits for no disk and
//! nothing is dropped.

use serde::Serialize;

use super::commit::Prepared;
use super::past::Point;
use super::space::{Shared, Space};
use crate::cube::{CubeId, UseSignal};
use crate::error::Result;
use crate::governance::{AUDITOR, AuditKind, AuditQuery, AuditRecord, CallingContext, Outcome, Principal};
use crate::ledger::{Change, Event};
use crate::limits::Limits;

/// The most lines of one answer.
const MOST_LINES: usize = 1_000_000;

/// A line of the audit log, and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditLine {
    /// The event that it stands in.
    pub event: u64,
    /// What it says.
    #[serde(flatten)]
    pub record: AuditRecord,
}

impl Space {
    /// Notes something for the audit log. It is durable after the next [`Space::write_records`], or with the space's
    /// closing.
    ///
    /// # Errors
    /// `Invalid` when a text of it is too long; those of the disk, when so many lines wait that they are written first.
    pub fn note(&self, record: AuditRecord) -> Result<()> {
        record.check(self.limits())?;
        let waiting = {
            let mut records = self.shared().records.lock();
            records.push(record);
            records.len()
        };
        if waiting >= self.limits().waiting_records { self.write_records().map(|_| ()) } else { Ok(()) }
    }

    /// Returns how many lines wait to be written.
    pub fn waiting_records(&self) -> usize {
        self.shared().records.lock().len()
    }

    /// Puts all lines that wait on record, and returns how many there were.
    ///
    /// # Errors
    /// Those of [`Space::commit`]. The lines wait on then.
    pub fn write_records(&self) -> Result<usize> {
        self.shared().write_records()
    }

    /// Returns the lines of the audit log that are looked for, oldest first: reads, refusals and what actors decided, and the
    /// changes that the ledger itself is the record of. Who may govern the space, or is an [`AUDITOR`], sees all of them;
    /// everybody else sees their own.
    ///
    /// # Errors
    /// `Invalid` when more lines are asked for than there can be; `Corrupt` when an event fails its checks.
    pub fn audit(&self, caller: &Principal, query: &AuditQuery) -> Result<Vec<AuditLine>> {
        Limits::check("the answer", query.most, MOST_LINES, "lines")?;
        let ruling = self.ruling();
        let sees_all = ruling.decide_governing(caller).allowed() || ruling.has_role(caller, AUDITOR);
        let visible = |record: &AuditRecord| (sees_all || record.principal == caller.id) && query.admits(record);
        let ledger = self.ledger()?;
        let until = match query.window.until {
            Some(until) => self.events_at(Point::Time(until))?,
            None => self.ledger_head().events,
        };
        let mut lines = Vec::new();
        for event in (0..until).rev() {
            if lines.len() >= query.most {
                break;
            }
            let event = ledger.event(event)?;
            // Lines are older than the event that they stand in, so the first event before the window ends the search.
            if query.window.from.is_some_and(|from| event.at < from) {
                break;
            }
            let sequence = event.sequence;
            let records = records_of(event).into_iter().rev().filter(&visible);
            lines.extend(records.map(|record| AuditLine { event: sequence, record }));
        }
        lines.truncate(query.most);
        lines.reverse();
        Ok(lines)
    }
}

impl Shared {
    pub(super) fn write_records(&self) -> Result<usize> {
        let Some(writer) = &self.writer else { return Ok(0) };
        let records = std::mem::take(&mut *self.records.lock());
        let mut written = 0;
        while written < records.len() {
            let part =
                records.iter().skip(written).take(self.options.limits.batch_changes).cloned().collect::<Vec<_>>();
            let count = part.len();
            let changes = vec![Prepared::bare(Change::Recorded(part))];
            let (keeper, at) = (Principal::keeper()?, self.options.clock.now());
            if let Err(error) = writer.commit(&self.target(&|_| Ok(())), &keeper, at, changes, Vec::new()) {
                let unwritten = records.into_iter().skip(written);
                self.records.lock().splice(0..0, unwritten);
                return Err(error);
            }
            written += count;
        }
        Ok(written)
    }
}

/// Returns what an event says as lines of the log.
fn records_of(event: Event) -> Vec<AuditRecord> {
    let Event { at, principal, change, .. } = event;
    let line = |operation: &str, reason: String, cubes: Vec<CubeId>| AuditRecord {
        at,
        principal: principal.clone(),
        context: CallingContext::default(),
        kind: AuditKind::Change,
        operation: operation.to_owned(),
        outcome: Outcome::Done,
        reason,
        cubes,
        trace: None,
    };
    match change {
        Change::Recorded(records) => records,
        Change::CubeStored(header) => {
            let operation = if header.version == 1 { "store" } else { "update" };
            vec![line(operation, format!("version {}", header.version), vec![header.id])]
        }
        Change::Linked(link) => vec![line("link", link.kind.to_string(), vec![link.from, link.to])],
        Change::Unlinked(link) => vec![line("unlink", link.kind.to_string(), vec![link.from, link.to])],
        Change::StateChanged { cube, state, reason } => vec![line(state.as_str(), reason, vec![cube])],
        Change::Unfrozen { cube, reason } => vec![line("unfreeze", reason, vec![cube])],
        Change::Erased { cubes, reason, .. } => vec![line("erase", reason, cubes)],
        Change::CubesUsed(uses) => {
            let read = uses.iter().filter(|(_, signal)| *signal == UseSignal::Read).map(|(cube, _)| *cube).collect();
            vec![line("use", String::new(), read)]
        }
        Change::RegisterSet { name, value } => {
            let operation = if value.is_some() { "set-register" } else { "clear-register" };
            vec![AuditRecord { kind: AuditKind::Governance, ..line(operation, name, Vec::new()) }]
        }
        Change::SpaceCreated { .. } => vec![line("begin-space", String::new(), Vec::new())],
        Change::SpaceForked { origin, .. } => vec![line("fork-space", format!("from {origin}"), Vec::new())],
        Change::EmbedderChanged { embedder } => vec![line("reembed", embedder.to_string(), Vec::new())],
        Change::Requested { .. } => Vec::new(),
    }
}
