//! What is put on record beside the changes themselves: who read what by whose leave, what was refused, and what the
//! space's own actors decided and why.
//!
//! A record says who, when, what and on which cubes, never what a memory says. It stands in the ledger like every event,
//! so it can be neither changed nor taken out without a trace.

mod lines;

use serde::Serialize;

use super::policy::{Access, CallingContext};
use crate::cube::{CubeId, PrincipalId, coded_enum};
use crate::error::Result;
use crate::limits::Limits;
use crate::time::{Timestamp, Window};

coded_enum! {
    /// What a record is about.
    AuditKind, "kind of record" {
        /// Somebody asked for memories.
        Access = 0 "access",
        /// A decision of MemScheduler.
        Schedule = 1 "schedule",
        /// Work of MemLifecycle.
        Lifecycle = 2 "lifecycle",
        /// An offer, a licence or a subscription of MemStore.
        Store = 3 "store",
        /// A change of rules.
        Governance = 4 "governance",
        /// A change of memories. The ledger's own events are the record of those that were made.
        Change = 5 "change",
    }
}

coded_enum! {
    /// How what was asked for ended.
    Outcome, "outcome" {
        /// It was done as asked.
        Done = 0 "done",
        /// It was done without what is sensitive.
        Redacted = 1 "redacted",
        /// The rules did not allow it.
        Denied = 2 "denied",
        /// It failed for another reason.
        Failed = 3 "failed",
    }
}

impl From<Access> for Outcome {
    fn from(access: Access) -> Self {
        match access {
            Access::Full => Self::Done,
            Access::Redacted => Self::Redacted,
            Access::Denied => Self::Denied,
        }
    }
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditRecord {
    /// When it happened.
    pub at: Timestamp,
    /// Who asked for it, or whose work it was.
    pub principal: PrincipalId,
    /// In which setting.
    pub context: CallingContext,
    /// What it is about.
    pub kind: AuditKind,
    /// What was done, in a word: `recall`, `get`, `promote`, `merge`, `take`.
    pub operation: String,
    /// How it ended.
    pub outcome: Outcome,
    /// By which rule, or why.
    pub reason: String,
    /// The cubes.
    pub cubes: Vec<CubeId>,
    /// The trace that it belongs to.
    pub trace: Option<u128>,
}

impl AuditRecord {
    pub(crate) fn check(&self, limits: &Limits) -> Result<()> {
        let CallingContext { purpose, task, session, model } = &self.context;
        let texts = [Some(&self.operation), Some(&self.reason), purpose.as_ref(), task.as_ref(), session.as_ref()];
        for text in texts.into_iter().chain([model.as_ref()]).flatten() {
            Limits::check("a text of the record", text.len(), limits.name_bytes, "bytes")?;
        }
        Limits::check("the record", self.cubes.len(), limits.batch_changes, "cubes")
    }
}

/// What is looked for in the audit log. What is not set is not looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditQuery {
    /// When it happened.
    pub window: Window,
    /// Who asked.
    pub principal: Option<PrincipalId>,
    /// What it is about.
    pub kind: Option<AuditKind>,
    /// What was done.
    pub operation: Option<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// One of its cubes.
    pub cube: Option<CubeId>,
    /// The most lines; the latest are returned.
    pub most: usize,
}

impl Default for AuditQuery {
    fn default() -> Self {
        Self {
            window: Window::ALWAYS,
            principal: None,
            kind: None,
            operation: None,
            outcome: None,
            cube: None,
            most: 1000,
        }
    }
}

impl AuditQuery {
    /// Returns whether a record is looked for.
    pub fn admits(&self, record: &AuditRecord) -> bool {
        self.window.contains(record.at)
            && self.principal.as_ref().is_none_or(|principal| *principal == record.principal)
            && self.kind.is_none_or(|kind| kind == record.kind)
            && self.operation.as_ref().is_none_or(|operation| *operation == record.operation)
            && self.outcome.is_none_or(|outcome| outcome == record.outcome)
            && self.cube.is_none_or(|cube| record.cubes.contains(&cube))
    }
}
