//! MemLifecycle at work: a pool that lets the memory of every open space evolve while agents use it.
//!
//! What a job finds and does is the business of `memos-memory`; here it is decided when it is done, and how fast. A job begins
//! when its space has changed and been quiet for a while, or when it was put off for long enough. It goes step by step: each
//! step is one batch, the pool writes no more than so much a second, and while callers wait for the space or for a thread it
//! waits, too. A step that fails is tried again later and later, and after that the job is set aside for this space, where it
//! can be seen and resumed by hand. A space in which nothing happens costs nothing, and the pool keeps none open.

mod news;
mod plan;
mod pool;
mod step;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use memos_memory::cube::SpaceName;
use memos_memory::error::Result;
use memos_memory::evolve::{Budget, EvolveRules, Job, Report};
use memos_memory::governance::Principal;

#[cfg(feature = "engine")]
pub(crate) use news::Ear;
pub(crate) use news::News;
use pool::{Pool, PoolCommand};

use crate::actor::{Call, Handle, Subscription, Topic};
use crate::kernel::Kernel;

/// The name of the pool's actor.
pub const LIFECYCLE: &str = "lifecycle";

/// How the memory of a kernel's spaces evolves.
#[derive(Debug, Clone, PartialEq)]
pub struct Evolution {
    /// The jobs that begin by themselves. Any can be run by hand.
    pub jobs: BTreeSet<Job>,
    /// By what the jobs go.
    pub rules: EvolveRules,
    /// How long nothing must have changed in a space before a job begins there. 10 seconds.
    pub quiet: Duration,
    /// How long a job waits at most for a space that is never quiet. 10 minutes.
    pub patience: Duration,
    /// How long after a sweep an open space is swept again. One hour.
    pub sweep_every: Duration,
    /// Steps that are under way at a time, at most one in a space. 2.
    pub workers: usize,
    /// How much one step may do.
    pub step: Budget,
    /// Changes that all jobs write together in a second, on the average. 200.
    pub changes_per_s: u32,
    /// Reads or writes that wait while the pool waits as well. 1.
    pub busy_queue: usize,
    /// How long the pool waits before it looks again at a space that was busy; each further time twice as long, up to `quiet`.
    /// 100 milliseconds.
    pub busy_pause: Duration,
    /// Times that a step is tried before its job is set aside. 5.
    pub attempts: u32,
    /// How long the second attempt is put off; each further one waits twice as long, give or take a quarter. One second.
    pub retry_delay: Duration,
    /// How long an attempt is put off at most. 5 minutes.
    pub longest_retry_delay: Duration,
    /// From what the quarter is drawn.
    pub seed: u64,
}

impl Default for Evolution {
    fn default() -> Self {
        Self {
            jobs: Job::ALL.into_iter().collect(),
            rules: EvolveRules::default(),
            quiet: Duration::from_secs(10),
            patience: Duration::from_secs(600),
            sweep_every: Duration::from_secs(3600),
            workers: 2,
            step: Budget::default(),
            changes_per_s: 200,
            busy_queue: 1,
            busy_pause: Duration::from_millis(100),
            attempts: 5,
            retry_delay: Duration::from_secs(1),
            longest_retry_delay: Duration::from_secs(300),
            seed: 0,
        }
    }
}

impl Evolution {
    /// Nothing begins by itself.
    pub fn off() -> Self {
        Self { jobs: BTreeSet::new(), ..Self::default() }
    }
}

/// A job has done something in a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worked {
    /// The space.
    pub space: SpaceName,
    /// The job.
    pub job: Job,
    /// What it has done.
    pub report: Report,
}

/// A job that failed too often in a space, and is not tried there any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// The space.
    pub space: SpaceName,
    /// The job.
    pub job: Job,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it failed, the last time.
    pub why: String,
}

/// How a job stands in a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobState {
    /// There is nothing to do.
    Idle,
    /// It has something to do, and waits for its time.
    Waiting,
    /// A step of it is under way.
    Working,
    /// It failed, and will be tried again.
    Retrying,
    /// It failed too often.
    SetAside,
}

/// What is known of a job in a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStatus {
    /// The space.
    pub space: SpaceName,
    /// The job.
    pub job: Job,
    /// How it stands.
    pub state: JobState,
    /// Attempts that failed since it last went well.
    pub attempts: u32,
    /// Steps that went well while the kernel has run and the space was in use.
    pub steps: u64,
    /// Things that they have done.
    pub done: u64,
}

/// The way to a kernel's lifecycle pool. It is cheap to clone.
#[derive(Clone)]
pub struct Lifecycle {
    pool: Handle<Pool>,
    worked: Arc<Topic<Worked>>,
    keeper: Arc<Principal>,
}

impl Lifecycle {
    /// Begins the pool of a kernel, which has one at most. It ends with the kernel.
    ///
    /// # Errors
    /// `Conflict` when the kernel has one already.
    pub async fn begin(kernel: &Kernel, evolution: Evolution) -> Result<Self> {
        let limits = kernel.limits();
        let worked = Arc::new(Topic::new(limits.topic_backlog, limits.topic_subscribers));
        let keeper = Arc::new(Principal::keeper()?);
        let (weak, news) = (kernel.downgrade(), kernel.news());
        let (evolution, facts) = (Arc::new(evolution), worked.clone());
        let aside = Arc::default();
        let begin = move |_| {
            let pool = Pool::new(weak.clone(), &news, evolution.clone(), facts.clone(), Arc::clone(&aside));
            async move { Ok(pool) }
        };
        let pool = kernel.spawn_with_note(LIFECYCLE, begin, pool::first_note).await?;
        Ok(Self { pool, worked, keeper })
    }

    fn call(&self) -> Call {
        Call::new(self.keeper.clone())
    }

    /// Does a job in a space to its end, now and without regard to the load, and returns what it has done.
    ///
    /// # Errors
    /// Those of [`Kernel::space`] and [`memos_memory::evolve::find`]; what was done before the error is done.
    pub async fn run(&self, space: &SpaceName, job: Job) -> Result<Report> {
        let space = space.clone();
        self.pool.ask(self.call(), |reply| PoolCommand::Run { space, job, reply }).await
    }

    /// Returns how the jobs stand in the spaces that the pool knows of.
    ///
    /// # Errors
    /// `Unavailable` when the kernel is shut down.
    pub async fn status(&self) -> Result<Vec<JobStatus>> {
        self.pool.ask(self.call(), |reply| PoolCommand::Status { reply }).await
    }

    /// Returns the jobs that were set aside.
    ///
    /// # Errors
    /// `Unavailable` when the kernel is shut down.
    pub async fn set_aside(&self) -> Result<Vec<SetAside>> {
        self.pool.ask(self.call(), |reply| PoolCommand::ListSetAside { reply }).await
    }

    /// Lets a job that was set aside be tried again, at once if its space is open.
    ///
    /// # Errors
    /// `NotFound` when it was not set aside; `Unavailable` when the kernel is shut down.
    pub async fn resume(&self, space: &SpaceName, job: Job) -> Result<()> {
        let space = space.clone();
        self.pool.ask(self.call(), |reply| PoolCommand::Resume { space, job, reply }).await
    }

    /// Hears what jobs do from now on.
    ///
    /// # Errors
    /// `Busy` when there are as many subscribers as there may be.
    pub fn facts(&self) -> Result<Subscription<Worked>> {
        self.worked.subscribe()
    }
}
