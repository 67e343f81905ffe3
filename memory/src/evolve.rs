//! How the memory of a space evolves: what is to be done so that it stays small, true and connected while many write to it.
//!
//! Each [`Job`] looks at what has changed since it looked last and proposes one batch. It is a function of the space, the
//! time and a place in the ledger, so it can be asked twice, cut off between any two steps, and asked for a proposal that
//! nobody carries out. What it has done it finds done: links, states and versions in the ledger are its memory, and the place
//! that it has reached moves in the same batch as the work up to there.
//!
//! Nothing is invented. What is derived consists of sentences that stand in its sources. It belongs to the owner, layer and
//! grants of its sources, and sources of different access classes are never mixed, so nobody reads in it what they could
//! not read before. This room knows no actor: who does the work, when, and how much of it at a time, is the runtime's.

mod audience;
mod checkpoint;
mod contradictions;
mod derived;
mod link;
mod merge;
mod reflect;
mod summarise;
mod sweep;
mod touched;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

pub use checkpoint::{Place, place_of};

use crate::cube::{Cube, CubeId, Kind, State};
use crate::error::{Error, ErrorKind, Result};
use crate::governance::Principal;
use crate::governance::charter::Charter;
use crate::graph::LinkKind;
use crate::lifecycle::Retention;
use crate::time::Timestamp;
use crate::vault::{Batch, CubeHead, Erasure, Space};

/// One kind of work over a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Merges what says the same within one access class.
    Merge,
    /// Finds facts of which a later one holds in place of an earlier one.
    Contradictions,
    /// Summarises sessions that have ended.
    Summarise,
    /// Brings together what several memories say of the same subject.
    Reflect,
    /// Links what is connected across tasks, sessions and agents.
    Link,
    /// Archives, expires and erases what is due.
    Sweep,
}

impl Job {
    /// All jobs, in the order in which they are best done: each finds what the ones before it have left.
    pub const ALL: [Self; 6] =
        [Self::Merge, Self::Contradictions, Self::Summarise, Self::Reflect, Self::Link, Self::Sweep];

    /// Returns the name that people read and write.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::Contradictions => "contradictions",
            Self::Summarise => "summarise",
            Self::Reflect => "reflect",
            Self::Link => "link",
            Self::Sweep => "sweep",
        }
    }

    /// Returns whether there is something to do only when the space has changed. A sweep has to do with time alone.
    pub const fn follows_changes(self) -> bool {
        !matches!(self, Self::Sweep)
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Job {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|job| job.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|job| job.as_str()).collect();
            Error::invalid(format!("`{text}` is no job; use one of {}", known.join(", ")))
        })
    }
}

/// By what the jobs go. Where the space has a charter, that says when cubes are let go.
#[derive(Debug, Clone, PartialEq)]
pub struct EvolveRules {
    /// A session has ended when nothing was said in it for so long. 30 minutes.
    pub session_quiet_millis: u64,
    /// When cubes are let go.
    pub retention: Retention,
    /// Most cubes that are recalled without being asked for; beyond it the least used are archived.
    pub most_recalled: Option<usize>,
}

impl EvolveRules {
    /// Lets cubes go as a charter says. Nothing is erased where these rules erase nothing.
    fn under(self, charter: &Charter) -> Self {
        let asked = self.retention.erase_after_millis;
        let erase_after_millis = charter.retention().erase_after_millis.filter(|_| asked.is_some());
        let retention = Retention { erase_after_millis, ..*charter.retention() };
        Self { retention, most_recalled: charter.most_recalled().or(self.most_recalled), ..self }
    }
}

impl Default for EvolveRules {
    fn default() -> Self {
        Self { session_quiet_millis: 30 * 60 * 1000, retention: Retention::default(), most_recalled: None }
    }
}

/// How much one step may do. A step ends when any of it is used up, and a little later where what belongs together is not
/// cut in two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Events of the ledger that are looked through.
    pub events: usize,
    /// Cubes that are looked at.
    pub cubes: usize,
    /// Changes that are proposed.
    pub changes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { events: 4096, cubes: 64, changes: 256 }
    }
}

impl Budget {
    /// Everything in one step: for a proposal that nobody carries out.
    pub const ALL: Self = Self { events: usize::MAX, cubes: usize::MAX, changes: usize::MAX };
}

/// What was done to one cube, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deed {
    /// The cube.
    pub cube: CubeId,
    /// What was done.
    #[serde(flatten)]
    pub what: What,
    /// The other cube that it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<CubeId>,
    /// Why.
    pub because: String,
}

/// Something that a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case", tag = "what", content = "as")]
pub enum What {
    /// It became part of the other.
    Merged,
    /// The other holds in its place.
    Superseded,
    /// It was stored as a summary.
    Summarised,
    /// It was stored as a reflection.
    Reflected,
    /// It was derived before, and got its next version.
    Renewed,
    /// It was linked to the other.
    Linked(LinkKind),
    /// It went to another state.
    Moved(State),
    /// It was erased.
    Erased,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Merged => f.pad("merged"),
            Self::Superseded => f.pad("superseded"),
            Self::Summarised => f.pad("summarised"),
            Self::Reflected => f.pad("reflected"),
            Self::Renewed => f.pad("renewed"),
            Self::Linked(kind) => f.pad(kind.as_str()),
            Self::Moved(state) => f.pad(state.as_str()),
            Self::Erased => f.pad("erased"),
        }
    }
}

/// Deeds that a report names; all are counted.
const MOST_DEEDS: usize = 1000;

/// What a job has done, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Cubes that were looked at.
    pub looked_at: usize,
    /// How much was done of each kind.
    pub counts: BTreeMap<String, usize>,
    /// What was done, in order, as far as a report is long.
    pub deeds: Vec<Deed>,
    /// Why something due was left as it is.
    pub left: Vec<String>,
}

impl Report {
    /// Returns how many things were done.
    pub fn total(&self) -> usize {
        self.counts.values().sum()
    }

    fn note(&mut self, cube: CubeId, what: What, with: Option<CubeId>, because: impl Into<String>) {
        *self.counts.entry(what.to_string()).or_default() += 1;
        if self.deeds.len() < MOST_DEEDS {
            self.deeds.push(Deed { cube, what, with, because: because.into() });
        }
    }

    /// Adds what a further step has done.
    pub fn add(&mut self, other: Self) {
        self.looked_at += other.looked_at;
        for (what, count) in other.counts {
            *self.counts.entry(what).or_default() += count;
        }
        let room = MOST_DEEDS.saturating_sub(self.deeds.len());
        self.deeds.extend(other.deeds.into_iter().take(room));
        let room = MOST_DEEDS.saturating_sub(self.left.len());
        self.left.extend(other.left.into_iter().take(room));
    }
}

/// What one step of a job has found to be done.
#[derive(Debug, Clone)]
pub struct Found {
    /// The changes, with the place reached when it is worth keeping. Empty when there is nothing to write.
    pub batch: Batch,
    /// Cubes to erase. An erasure is never part of a batch; it goes before it, so that what is cut off between the two is
    /// found due again.
    pub erase: Vec<CubeId>,
    /// Where the next step goes on.
    pub reached: Place,
    /// Whether there is nothing more to look at for now.
    pub ended: bool,
    /// When there is something to do again, as far as time brings it.
    pub again_at: Option<Timestamp>,
    /// What is done with it.
    pub report: Report,
}

/// Finds what one step of a job has to do from a place on. Nothing is written.
///
/// # Errors
/// `Denied` for anybody but the space itself; `Invalid` when the rules are none; `Corrupt` or `Unavailable` when the space
/// cannot be read.
pub fn find(
    space: &Space,
    caller: &Principal,
    job: Job,
    from: Place,
    rules: &EvolveRules,
    budget: Budget,
) -> Result<Found> {
    if !caller.is_keeper() {
        return Err(Error::denied(format!("`{}` may not do the space's own work", caller.id)));
    }
    let rules = &match space.charter() {
        Some(charter) => rules.clone().under(charter.charter()),
        None => rules.clone(),
    };
    rules.retention.check()?;
    let mut work = Work::new(space, caller, rules, budget, from);
    match job {
        Job::Merge => merge::find(&mut work)?,
        Job::Contradictions => contradictions::find(&mut work)?,
        Job::Summarise => summarise::find(&mut work)?,
        Job::Reflect => reflect::find(&mut work)?,
        Job::Link => link::find(&mut work)?,
        Job::Sweep => sweep::find(&mut work)?,
    }
    let mut found = work.found;
    if !found.batch.is_empty() || checkpoint::is_worth_keeping(space, job, found.reached) {
        checkpoint::keep(&mut found.batch, job, found.reached)?;
    }
    Ok(found)
}

/// Carries out one step that was found, straight on the space. A writer that stands over the space does the same in its own
/// way: first the erasure, then the batch.
///
/// # Errors
/// `Conflict` when the space has changed since; the step is to be found anew then. Else as [`Space::commit`].
pub fn carry_out(space: &Space, caller: &Principal, found: &mut Found) -> Result<()> {
    if !found.erase.is_empty() {
        let erased = std::mem::take(&mut found.erase);
        space.erase(caller, Erasure::Cubes(erased), ERASED_BECAUSE)?;
    }
    let batch = std::mem::take(&mut found.batch);
    if batch.is_empty() { Ok(()) } else { space.commit(caller, batch).map(drop) }
}

/// Conflicts with other writers, one after the other, after which a job gives up.
pub const MOST_CONFLICTS: usize = 16;

/// The reason that stands on what the sweep erases.
pub const ERASED_BECAUSE: &str = "it has been expired for as long as the rules keep it";

/// Does a job to its end, from where it stopped last, and returns what it has done.
///
/// # Errors
/// Those of [`find`] and [`carry_out`].
pub fn run(space: &Space, caller: &Principal, job: Job, rules: &EvolveRules, budget: Budget) -> Result<Report> {
    let mut from = place_of(space, job)?;
    let (mut report, mut conflicts) = (Report::default(), 0);
    loop {
        let mut found = find(space, caller, job, from, rules, budget)?;
        match carry_out(space, caller, &mut found) {
            Err(error) if error.kind() == ErrorKind::Conflict && conflicts < MOST_CONFLICTS => {
                conflicts += 1;
                continue;
            }
            done => done?,
        }
        conflicts = 0;
        report.add(found.report);
        from = found.reached;
        if found.ended {
            return Ok(report);
        }
    }
}

/// One step on its way.
struct Work<'a> {
    space: &'a Space,
    keeper: &'a Principal,
    rules: &'a EvolveRules,
    budget: Budget,
    from: Place,
    now: Timestamp,
    found: Found,
}

impl<'a> Work<'a> {
    fn new(space: &'a Space, keeper: &'a Principal, rules: &'a EvolveRules, budget: Budget, from: Place) -> Self {
        let found = Found {
            batch: Batch::default(),
            erase: Vec::new(),
            reached: from,
            ended: true,
            again_at: None,
            report: Report::default(),
        };
        Self { space, keeper, rules, budget, from, now: space.now(), found }
    }

    /// Returns whether the step has done as much as it may.
    fn is_full(&self) -> bool {
        self.found.batch.len() >= self.budget.changes
    }

    fn note(&mut self, cube: CubeId, what: What, with: Option<CubeId>, because: impl Into<String>) {
        self.found.report.note(cube, what, with, because);
    }

    /// Reads a cube's present version; none when it was erased meanwhile.
    fn read(&self, cube: &CubeId) -> Result<Option<(Cube, CubeHead)>> {
        match self.space.get(self.keeper, cube) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }
}

/// Returns whether a cube says something of its own that recall finds.
fn speaks(head: &CubeHead) -> bool {
    head.kind == Kind::Plaintext && head.state.is_recalled()
}
