//! What the scheduler works with, and its bounds.

use std::sync::Arc;
use std::time::Duration;

use memos_memory::error::{Error, Result};
use memos_memory::schedule::{Budgets, SchedulerRules};
use memos_memory::time::{Clock, SystemClock};

/// What a scheduler works with.
#[derive(Clone)]
pub struct SchedulerOptions {
    /// How the planner judges.
    pub rules: SchedulerRules,
    /// What there is room for.
    pub budgets: Budgets,
    /// Its bounds.
    pub limits: SchedulerLimits,
    /// Where "now" comes from; the vault's own.
    pub clock: Arc<dyn Clock>,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self {
            rules: SchedulerRules::default(),
            budgets: Budgets::default(),
            limits: SchedulerLimits::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

impl SchedulerOptions {
    pub(super) fn check(&self) -> Result<()> {
        self.rules.check()?;
        let limits = &self.limits;
        for (name, most) in [
            ("tasks", limits.tasks),
            ("task_name_bytes", limits.task_name_bytes),
            ("observed", limits.observed),
            ("held_uses", limits.held_uses),
            ("uses_per_write", limits.uses_per_write),
            ("journal", limits.journal),
        ] {
            if most == 0 {
                return Err(Error::invalid(format!("the scheduler's limit `{name}` is 0; give it at least 1")));
            }
        }
        Ok(())
    }
}

/// The bounds within which a scheduler works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulerLimits {
    /// Tasks whose working sets are kept. Beyond it the set that was not used for longest goes.
    pub tasks: usize,
    /// Bytes of a task's or a session's name. One that is longer has no working set.
    pub task_name_bytes: usize,
    /// Memories of one answer that are looked at; the others are counted only.
    pub observed: usize,
    /// Uses that wait to be written. Beyond it they are counted as lost; when half of it waits, it is written at once.
    pub held_uses: usize,
    /// Uses that are written in one batch; at most a space's `batch_changes`.
    pub uses_per_write: usize,
    /// Decisions that wait to be put on record. Beyond it they are counted as lost; the journal has them.
    pub held_decisions: usize,
    /// Decisions of the journal; older ones go.
    pub journal: usize,
    /// Forms whose building failed, and when they are tried again. Beyond it the one that is due first is forgotten.
    pub set_aside: usize,
    /// Memories of a task around which the graph is looked at, the last used first.
    pub seeds: usize,
    /// Links from a memory that the task uses to one that is read ahead.
    pub hops: usize,
    /// Memories around each that come into question.
    pub neighbours: usize,
    /// How long after a recall the working set of its task is looked after. All recalls in between share that.
    pub look_after: Duration,
    /// How long uses and decisions are held before they are written together.
    pub write_after: Duration,
    /// How long a task is not used before its working set goes.
    pub task_idle: Duration,
    /// How often a write is tried, when the space is busy or gone.
    pub tries: u32,
    /// How long the second try waits, of a write or of a form that was not built. Each further one waits twice as long.
    pub retry: Duration,
    /// The longest such wait.
    pub longest_retry: Duration,
}

impl Default for SchedulerLimits {
    fn default() -> Self {
        Self {
            tasks: 256,
            task_name_bytes: 256,
            observed: 64,
            held_uses: 65_536,
            uses_per_write: 1024,
            held_decisions: 4096,
            journal: 4096,
            set_aside: 1024,
            seeds: 4,
            hops: 1,
            neighbours: 8,
            look_after: Duration::from_millis(100),
            write_after: Duration::from_secs(1),
            task_idle: Duration::from_secs(600),
            tries: 8,
            retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(3600),
        }
    }
}

impl SchedulerLimits {
    /// Returns how long to wait after so many failures in a row.
    pub(super) fn wait_after(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.retry.saturating_mul(2_u32.saturating_pow(doublings)).min(self.longest_retry)
    }
}
