//! The journal: the last decisions of the scheduler, to be asked why at once.

use std::collections::VecDeque;
use std::fmt;

use memos_memory::cube::{CubeId, Kind, SpaceName, VersionRef};
use memos_memory::schedule::{Part, Plan, PlannedLoad, PlannedStep, Reason, Step, Wanted};
use memos_memory::time::Timestamp;
use serde::Serialize;

/// What the scheduler does with a memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheduling {
    /// It is loaded for a call.
    Load,
    /// It is left out of a call.
    Leave,
    /// It is read ahead into the working set of a task.
    Prefetch,
    /// A form of it is built.
    Promote,
    /// A form of it is dropped.
    Demote,
    /// It leaves the working set.
    Evict,
    /// It is archived.
    Archive,
}

impl Scheduling {
    /// Returns the word for it on record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Leave => "leave",
            Self::Prefetch => "prefetch",
            Self::Promote => "promote",
            Self::Demote => "demote",
            Self::Evict => "evict",
            Self::Archive => "archive",
        }
    }
}

/// Why a decision was made, or how it ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Because {
    /// The planner's reason.
    Planned(Reason),
    /// What was decided could not be done.
    Failed {
        /// What went wrong.
        failed: String,
    },
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Planned(reason) => reason.fmt(f),
            Self::Failed { failed } => write!(f, "it failed: {failed}"),
        }
    }
}

/// One decision, and all that speaks for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScheduleDecision {
    /// Counts decisions since the scheduler was begun.
    pub number: u64,
    /// When it was made.
    pub at: Timestamp,
    /// The space of the memory.
    pub space: SpaceName,
    /// The task or session for which it was made, as `task:NAME` or `session:NAME`.
    pub setting: Option<String>,
    /// The memory.
    pub version: VersionRef,
    /// What was decided.
    pub scheduling: Scheduling,
    /// The form that is loaded, built or dropped.
    pub form: Option<Kind>,
    /// Why.
    pub because: Because,
    /// Its claim, from 0 to 1, where it had one.
    pub claim: Option<f32>,
    /// What each strategy said of it, where it was asked for.
    pub parts: Vec<Part>,
    /// The forms that it could have had, and why it has not.
    pub not: Vec<(Kind, Reason)>,
}

impl fmt::Display for ScheduleDecision {
    /// Writes one line: what, which memory, and why.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.at, self.scheduling.as_str(), self.version)?;
        if let Some(form) = self.form {
            write!(f, " as {form}")?;
        }
        write!(f, ": {}", self.because)?;
        for (form, reason) in &self.not {
            write!(f, "; not {form}, since {reason}")?;
        }
        Ok(())
    }
}

/// What is looked for in the journal. What is not set is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionQuery {
    /// About this memory.
    pub cube: Option<CubeId>,
    /// For this task or session, as `task:NAME` or `session:NAME`.
    pub setting: Option<String>,
    /// Of this sort.
    pub scheduling: Option<Scheduling>,
    /// The most decisions; the last are returned.
    pub most: usize,
}

impl Default for DecisionQuery {
    fn default() -> Self {
        Self { cube: None, setting: None, scheduling: None, most: 100 }
    }
}

/// A bounded list of decisions, the last of them last.
pub(super) struct Journal {
    decisions: VecDeque<ScheduleDecision>,
    most: usize,
    next: u64,
}

impl Journal {
    pub(super) fn new(most: usize) -> Self {
        Self { decisions: VecDeque::new(), most, next: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.decisions.len()
    }

    /// Keeps a decision and gives it its number.
    pub(super) fn keep(&mut self, mut decision: ScheduleDecision) -> ScheduleDecision {
        decision.number = self.next;
        self.next += 1;
        if self.decisions.len() >= self.most {
            self.decisions.pop_front();
        }
        self.decisions.push_back(decision.clone());
        decision
    }

    /// Returns what a query is after, in one space, the last first.
    pub(super) fn find(&self, space: &SpaceName, query: &DecisionQuery) -> Vec<ScheduleDecision> {
        let fits = |decision: &&ScheduleDecision| {
            decision.space == *space
                && query.cube.is_none_or(|cube| decision.version.cube == cube)
                && query.setting.as_ref().is_none_or(|setting| decision.setting.as_ref() == Some(setting))
                && query.scheduling.is_none_or(|scheduling| decision.scheduling == scheduling)
        };
        self.decisions.iter().rev().filter(fits).take(query.most).cloned().collect()
    }
}

/// Where and when a plan was made.
pub(super) struct Occasion<'a> {
    pub(super) at: Timestamp,
    pub(super) space: &'a SpaceName,
    pub(super) setting: Option<&'a str>,
}

impl Occasion<'_> {
    pub(super) fn decision(&self, version: VersionRef, scheduling: Scheduling, because: Because) -> ScheduleDecision {
        ScheduleDecision {
            number: 0,
            at: self.at,
            space: self.space.clone(),
            setting: self.setting.map(str::to_owned),
            version,
            scheduling,
            form: None,
            because,
            claim: None,
            parts: Vec::new(),
            not: Vec::new(),
        }
    }

    /// Returns the decisions of a plan: of the loads those of memories that were asked for.
    pub(super) fn decisions(&self, plan: &Plan, wanted: impl Fn(CubeId) -> Option<Wanted>) -> Vec<ScheduleDecision> {
        let asked = |load: &&PlannedLoad| wanted(load.version.cube) == Some(Wanted::Asked);
        let loads = plan.loads.iter().filter(asked).map(|load| {
            let scheduling = if load.form.is_some() { Scheduling::Load } else { Scheduling::Leave };
            let decision = self.decision(load.version, scheduling, Because::Planned(load.reason));
            let (claim, parts, not) = (Some(load.claim), load.parts.clone(), load.not.clone());
            ScheduleDecision { form: load.form, claim, parts, not, ..decision }
        });
        loads.chain(plan.steps.iter().map(|step| self.step(step))).collect()
    }

    fn step(&self, planned: &PlannedStep) -> ScheduleDecision {
        let (scheduling, form) = match planned.step {
            Step::Promote(form) => (Scheduling::Promote, Some(form)),
            Step::Demote(form) => (Scheduling::Demote, Some(form)),
            Step::Prefetch => (Scheduling::Prefetch, None),
            Step::Evict => (Scheduling::Evict, None),
            Step::Archive => (Scheduling::Archive, None),
        };
        let decision = self.decision(planned.version, scheduling, Because::Planned(planned.reason));
        ScheduleDecision { form, ..decision }
    }
}
