//! The pool's actor: it hears of changes, begins what is due, and waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use memos_memory::cube::SpaceName;
use memos_memory::error::{Error, Result};
use memos_memory::evolve::{Job, Report};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::news::{Ear, News};
use super::plan::{Aside, Begin, Followed, Outcome, Plan};
use super::step::{record, run, step};
use super::{Evolution, JobStatus, SetAside, Worked};
use crate::actor::{Behaviour, Broken, Command, Context, Envelope, Reply, Topic};
use crate::kernel::WeakKernel;

/// What the pool can be asked.
pub(super) enum PoolCommand {
    Run { space: SpaceName, job: Job, reply: Reply<Report> },
    Status { reply: Reply<Vec<JobStatus>> },
    ListSetAside { reply: Reply<Vec<SetAside>> },
    Resume { space: SpaceName, job: Job, reply: Reply<()> },
}

impl Command for PoolCommand {
    fn name(&self) -> &'static str {
        match self {
            Self::Run { .. } => "Run",
            Self::Status { .. } => "Status",
            Self::ListSetAside { .. } => "ListSetAside",
            Self::Resume { .. } => "Resume",
        }
    }

    fn is_awaited(&self) -> bool {
        match self {
            Self::Run { reply, .. } => reply.is_awaited(),
            Self::Status { reply } => reply.is_awaited(),
            Self::ListSetAside { reply } => reply.is_awaited(),
            Self::Resume { reply, .. } => reply.is_awaited(),
        }
    }
}

/// What the pool tells itself.
pub(super) enum PoolNote {
    /// There is news, or something is due.
    Look,
    /// A step has ended.
    Ended(Begin, Outcome),
    /// It is on record that a job was set aside.
    Recorded,
    /// A job that was run by hand has ended.
    RunEnded { space: SpaceName, job: Job, done: Result<Report>, reply: Reply<Report> },
}

pub(super) fn first_note() -> Option<PoolNote> {
    Some(PoolNote::Look)
}

/// The pool. What was set aside outlives its restarts; all else follows from the ledgers of the spaces.
pub(super) struct Pool {
    kernel: WeakKernel,
    news: Arc<Ear>,
    evolution: Arc<Evolution>,
    worked: Arc<Topic<Worked>>,
    aside: Arc<Mutex<Aside>>,
    plan: Plan,
    started: Instant,
    /// Whether somebody waits for news or for the time of what is due next.
    is_watched: bool,
}

impl Pool {
    pub(super) fn new(
        kernel: WeakKernel,
        news: &News,
        evolution: Arc<Evolution>,
        worked: Arc<Topic<Worked>>,
        aside: Arc<Mutex<Aside>>,
    ) -> Self {
        // Who begins nothing by itself hears of nothing.
        let news = if evolution.jobs.is_empty() { Arc::default() } else { news.listen() };
        let mut plan = Plan::new(evolution.clone());
        if let Some(kernel) = kernel.upgrade() {
            kernel.open_spaces().into_iter().for_each(|space| plan.changed(space, Duration::ZERO));
        }
        Self { kernel, news, evolution, worked, aside, plan, started: Instant::now(), is_watched: false }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Begins what is due, and sees to it that the pool looks again when there is something to look at.
    fn look(&mut self, context: &Context<Self>) -> std::result::Result<(), Broken> {
        let broken = |error: Error| Broken::new(error.to_string());
        let now = self.now();
        for space in self.news.take() {
            self.plan.changed(space, now);
        }
        for begun in self.plan.begin(now, &self.aside.lock()) {
            let (kernel, evolution) = (self.kernel.clone(), self.evolution.clone());
            let work = async move {
                let outcome = step(kernel, &begun, &evolution).await;
                PoolNote::Ended(begun, outcome)
            };
            context.spawn(work).map_err(broken)?;
        }
        if self.is_watched {
            // Whoever waits may wait for a later time than what is due now.
            self.news.ring();
            return Ok(());
        }
        self.is_watched = true;
        let due = self.plan.next(&self.aside.lock()).and_then(|due| self.started.checked_add(due));
        let news = self.news.clone();
        let watch = async move {
            match due {
                Some(due) => tokio::select! {
                    () = news.heard() => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => news.heard().await,
            }
            PoolNote::Look
        };
        context.spawn(watch).map_err(broken)
    }

    fn ended(&mut self, context: &Context<Self>, begun: &Begin, outcome: Outcome) {
        let Followed { report, set_aside } = self.plan.ended(begun, outcome, self.now());
        if let Some(report) = report {
            self.worked.publish(&Worked { space: begun.space.clone(), job: begun.job, report });
        }
        let Some(set_aside) = set_aside else { return };
        let kernel = self.kernel.clone();
        self.aside.lock().insert((begun.space.clone(), begun.job), set_aside.clone());
        // Where it cannot be put on record it can be seen all the same.
        let _ = context.spawn(async move {
            record(kernel, set_aside).await;
            PoolNote::Recorded
        });
    }

    fn resume(&mut self, space: &SpaceName, job: Job) -> Result<()> {
        let was_aside = self.aside.lock().remove(&(space.clone(), job)).is_some();
        if !was_aside {
            return Err(Error::not_found(format!("the job `{job}` was not set aside in space `{space}`")));
        }
        self.plan.resume(space, job, self.now());
        Ok(())
    }

    fn run_by_hand(&self, context: &Context<Self>, space: SpaceName, job: Job, reply: Reply<Report>) {
        let (kernel, evolution) = (self.kernel.clone(), self.evolution.clone());
        let work = async move {
            let done = run(kernel, &space, job, &evolution).await;
            PoolNote::RunEnded { space, job, done, reply }
        };
        // A caller whose reply is dropped is told that the pool could not.
        let _ = context.spawn(work);
    }
}

impl Behaviour for Pool {
    type Command = PoolCommand;
    type Note = PoolNote;

    fn handle(
        &mut self,
        context: &mut Context<Self>,
        mut envelope: Envelope<PoolCommand>,
    ) -> std::result::Result<(), Broken> {
        match envelope.open() {
            Some(PoolCommand::Run { space, job, reply }) => self.run_by_hand(context, space, job, reply),
            Some(PoolCommand::Status { reply }) => reply.send(Ok(self.plan.status(&self.aside.lock()))),
            Some(PoolCommand::ListSetAside { reply }) => {
                reply.send(Ok(self.aside.lock().values().cloned().collect()));
            }
            Some(PoolCommand::Resume { space, job, reply }) => {
                reply.send(self.resume(&space, job));
                return self.look(context);
            }
            None => {}
        }
        Ok(())
    }

    fn note(&mut self, context: &mut Context<Self>, note: PoolNote) -> std::result::Result<(), Broken> {
        match note {
            PoolNote::Look => self.is_watched = false,
            PoolNote::Ended(begun, outcome) => self.ended(context, &begun, outcome),
            PoolNote::Recorded => return Ok(()),
            PoolNote::RunEnded { space, job, done, reply } => {
                if let Ok(report) = &done
                    && report.total() > 0
                {
                    self.worked.publish(&Worked { space, job, report: report.clone() });
                }
                reply.send(done);
                return Ok(());
            }
        }
        self.look(context)
    }
}
