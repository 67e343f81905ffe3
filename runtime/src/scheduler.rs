//! MemScheduler: what is at hand for which task, and in which form (MemOS paper, section 5.4).
//!
//! It learns from the receipts of recalls, keeps a working set for each task, reads ahead along the graph, has forms built
//! that pay and dropped that do not, and says why. What is decided stands in `memos_memory::schedule`, which is pure; here
//! is who asks it, and who carries it out. Nothing of it is on the way of a recall: it is told afterwards, and what it is
//! told when it has too much before it is counted and forgotten.
//!
//! Nobody learns from it what they may not read. It works in the name of the space itself; whatever it hands out is
//! checked again in the name of whoever asks.

mod forms;
mod journal;
mod keeping;
mod maker;
mod options;
mod reading;
#[cfg(test)]
mod tests;
mod working_sets;
mod writing;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memos_memory::cube::{CubeId, SpaceName, VersionRef};
use memos_memory::error::Result;
use memos_memory::governance::{CUSTODIAN, Principal};
use memos_memory::operator::{Answer, MemoryCall, Receipt};
use memos_memory::schedule::{Plan, Reason};
use serde::Serialize;

use crate::actor::{Call, Handle, Reply};
use crate::kernel::Kernel;
use crate::vault::Session;
pub use journal::{Because, DecisionQuery, ScheduleDecision, Scheduling};
use keeping::{Keeping, SchedulerCommand};
pub use maker::{FormMaker, FormName, MadeForm, Making};
pub use options::{SchedulerLimits, SchedulerOptions};
use reading::{Request, Scored, gather};
use working_sets::Setting;

/// The name of the scheduler's actor.
const NAME: &str = "scheduler";

/// One memory that was used.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Used {
    version: VersionRef,
    score: f32,
}

/// What the scheduler is told of one answer.
#[derive(Debug)]
struct Observation {
    /// What was used, for each space.
    used: Vec<(Setting, Vec<Used>)>,
    /// Memories of the answer beyond those that are looked at.
    unseen: usize,
}

/// How the scheduler is doing. Counts are since it was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SchedulerFigures {
    /// Answers that it was told of.
    pub observed: u64,
    /// Answers that it was to be told of when it had too much before it.
    pub missed: u64,
    /// Memories of answers beyond those that it looks at.
    pub unseen: u64,
    /// Uses that it wrote.
    pub written_uses: u64,
    /// Uses that were not written, since there were too many or the space could not be written.
    pub lost_uses: u64,
    /// Decisions that were not put on record.
    pub lost_decisions: u64,
    /// Times that a task could not be looked after.
    pub unread: u64,
    /// Decisions that could not be carried out.
    pub failed: u64,
    /// Tasks that have a working set.
    pub tasks: usize,
    /// Memories in all working sets.
    pub at_hand: usize,
    /// Decisions in the journal.
    pub journal: usize,
    /// Forms that are loaded.
    pub forms: usize,
    /// Forms that are being built or dropped.
    pub forms_busy: usize,
    /// Forms that failed to be built, and were not built since.
    pub set_aside: usize,
}

/// A memory of a working set, read already.
#[derive(Debug, Clone, PartialEq)]
pub struct AtHand {
    /// The memory.
    pub version: VersionRef,
    /// What it says.
    pub text: Arc<str>,
    /// Tokens of it, as estimated.
    pub tokens: usize,
    /// Whether the task used it; else it was read ahead.
    pub used: bool,
}

/// The way to a kernel's scheduler. It is cheap to clone.
#[derive(Clone)]
pub struct Scheduler {
    handle: Handle<Keeping>,
    keeper: Arc<Principal>,
    options: Arc<SchedulerOptions>,
    maker: Option<Arc<dyn FormMaker>>,
    missed: Arc<AtomicU64>,
}

impl Scheduler {
    /// Begins the scheduler of a kernel. Without a maker there are no forms but text.
    ///
    /// # Errors
    /// `Invalid` when the rules or limits are none; `Conflict` when the kernel has a scheduler already.
    pub async fn begin(kernel: &Kernel, options: SchedulerOptions, maker: Option<Arc<dyn FormMaker>>) -> Result<Self> {
        options.check()?;
        let (options, keeper, weak) = (Arc::new(options), Arc::new(Principal::keeper()?), kernel.downgrade());
        let (known, by, with) = (options.clone(), keeper.clone(), maker.clone());
        let begin = move |generation| {
            let (kernel, keeper, options, maker) = (weak.clone(), (*by).clone(), known.clone(), with.clone());
            async move {
                // What is loaded outlives the actor, and is the engine's to know.
                let loaded = match maker.clone() {
                    Some(maker) => forms::survived(async move { maker.loaded().await }).await?,
                    None => Vec::new(),
                };
                Ok(Keeping::new(kernel, keeper, options, maker, loaded, generation))
            }
        };
        let handle = kernel.spawn(NAME, begin).await?;
        Ok(Self { handle, keeper, options, maker, missed: Arc::default() })
    }

    /// Tells it what an answer used. It never waits; what the scheduler has no place for is counted, and forgotten.
    pub fn observe(&self, principal: &Principal, answer: &Answer) {
        if answer.receipts.is_empty() {
            return;
        }
        let limits = &self.options.limits;
        let mut used: Vec<(Setting, Vec<Used>)> = Vec::with_capacity(1);
        for receipt in answer.receipts.iter().take(limits.observed) {
            let version = VersionRef { cube: receipt.cube, version: receipt.version };
            let one = Used { version, score: receipt.score };
            match used.iter_mut().find(|(setting, _)| setting.space == receipt.space) {
                Some((_, used)) => used.push(one),
                None => {
                    let setting = Setting::of(&receipt.space, principal, limits.task_name_bytes);
                    let mut first = Vec::with_capacity(answer.receipts.len().min(limits.observed));
                    first.push(one);
                    used.push((setting, first));
                }
            }
        }
        let unseen = answer.receipts.len().saturating_sub(limits.observed);
        let observation = SchedulerCommand::Observe(Observation { used, unseen });
        if self.handle.try_send(Call::new(self.keeper.clone()), observation).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Plans in which form the memories of an answer are loaded, best claim first, and why. The answer must be of the
    /// session's own recall; memories that its principal sees redacted are in no plan, and are loaded as text.
    ///
    /// # Errors
    /// Those of [`Session::work`]; `Unavailable` when the scheduler is gone.
    pub async fn plan(&self, session: &Session, call: &MemoryCall, answer: &Answer) -> Result<Plan> {
        let (space, setting) = (session.space().name().clone(), self.setting(session));
        let here = |receipt: &&Receipt| receipt.space == space;
        let now = self.options.clock.now();
        let scored = |receipt: &Receipt| Scored { cube: receipt.cube, score: receipt.score, at: now };
        let asked = answer.receipts.iter().filter(here).map(scored).collect();
        let members = self.members(setting.clone()).await?;
        let known = members.iter().map(|(cube, member)| member.scored(*cube)).collect();
        let request = Request { asked, known, ..Request::default() };
        let mut gathered = session.work(move |space, caller| gather(space, caller, request)).await?;
        gathered.price(&space, self.maker.as_ref()).await?;
        let call = Box::new(call.clone());
        self.ask(|reply| SchedulerCommand::Plan { setting, call, gathered, reply }).await
    }

    /// Returns what is at hand for the session's task, or for the session itself where it has no task: what was used last
    /// first, then what was read ahead. Of what lies there the principal is given what they may read as it is, at its
    /// present version.
    ///
    /// # Errors
    /// As [`Scheduler::plan`].
    pub async fn working_set(&self, session: &Session) -> Result<Vec<AtHand>> {
        let members = self.members(self.setting(session)).await?;
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let cubes: Vec<CubeId> = members.iter().map(|(cube, _)| *cube).collect();
        let present = session.work(move |space, caller| Ok(space.present_versions(caller, &cubes))).await?;
        let at_hand = |((cube, member), present): ((CubeId, working_sets::Member), Option<u32>)| {
            let version = VersionRef { cube, version: member.version };
            let text = member.text.filter(|_| present == Some(member.version))?;
            Some(AtHand { version, text, tokens: member.tokens, used: member.used.is_some() })
        };
        Ok(members.into_iter().zip(present).filter_map(at_hand).collect())
    }

    /// Returns the decisions on a memory, the last first: why it was loaded, or why not.
    ///
    /// # Errors
    /// `NotFound` when there is no such cube that the principal may see; else as [`Scheduler::plan`].
    pub async fn why(&self, session: &Session, cube: &CubeId) -> Result<Vec<ScheduleDecision>> {
        let id = *cube;
        session.work(move |space, caller| space.usage(caller, &id)).await?;
        self.journal(session, DecisionQuery { cube: Some(id), ..DecisionQuery::default() }).await
    }

    /// Returns decisions, the last first: those on memories that the principal may read, of their own task or session and
    /// of none; a custodian's are of all.
    ///
    /// # Errors
    /// As [`Scheduler::plan`].
    pub async fn journal(&self, session: &Session, query: DecisionQuery) -> Result<Vec<ScheduleDecision>> {
        let (space, own) = (session.space().name().clone(), self.setting(session).name);
        let most = query.most;
        let query = DecisionQuery { most: self.options.limits.journal, ..query };
        let mut decisions = self.ask(|reply| SchedulerCommand::Decisions { space, query, reply }).await?;
        if !session.principal().roles.contains(CUSTODIAN) {
            decisions.retain(|decision| decision.setting.is_none() || decision.setting.as_deref() == own.as_deref());
        }
        let named: HashSet<CubeId> = decisions.iter().flat_map(cubes_of).collect();
        let named: Vec<CubeId> = named.into_iter().collect();
        let asked = named.clone();
        let present = session.work(move |space, caller| Ok(space.present_versions(caller, &asked))).await?;
        let readable: HashSet<CubeId> =
            named.into_iter().zip(present).filter_map(|(cube, version)| version.map(|_| cube)).collect();
        decisions.retain(|decision| cubes_of(decision).all(|cube| readable.contains(&cube)));
        decisions.truncate(most);
        Ok(decisions)
    }

    /// Returns how it is doing.
    ///
    /// # Errors
    /// `Unavailable` when the scheduler is gone.
    pub async fn figures(&self) -> Result<SchedulerFigures> {
        let figures = self.ask(SchedulerCommand::Figures).await?;
        Ok(SchedulerFigures { missed: self.missed.load(Ordering::Relaxed), ..figures })
    }

    /// Writes what it holds, and returns when that and all else it has under way is done: before the kernel is shut down,
    /// so that no use is lost.
    ///
    /// # Errors
    /// `Unavailable` when the scheduler is gone.
    pub async fn settle(&self) -> Result<()> {
        self.ask(SchedulerCommand::Settle).await
    }

    fn setting(&self, session: &Session) -> Setting {
        let space: &SpaceName = session.space().name();
        Setting::of(space, session.principal(), self.options.limits.task_name_bytes)
    }

    async fn members(&self, setting: Setting) -> Result<Vec<(CubeId, working_sets::Member)>> {
        self.ask(|reply| SchedulerCommand::Members { setting, reply }).await
    }

    async fn ask<T: Send>(&self, command: impl FnOnce(Reply<T>) -> SchedulerCommand) -> Result<T> {
        self.handle.ask(Call::new(self.keeper.clone()), command).await
    }
}

/// Returns the memories that a decision names.
fn cubes_of(decision: &ScheduleDecision) -> impl Iterator<Item = CubeId> {
    let near = match decision.because {
        Because::Planned(Reason::Near { of, .. }) => Some(of),
        _ => None,
    };
    [decision.version.cube].into_iter().chain(near)
}
