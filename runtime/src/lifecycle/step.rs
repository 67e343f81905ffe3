//! One step of a job in one space, as the space itself.

use std::time::Duration;

use memos_memory::cube::SpaceName;
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::evolve::{self, ERASED_BECAUSE, Found, Job, MOST_CONFLICTS, Place, Report};
use memos_memory::governance::{AuditKind, AuditRecord, Outcome as Ended};
use memos_memory::vault::{Batch, Erasure};

use super::plan::{Begin, Outcome, Stepped};
use super::{Evolution, SetAside};
use crate::kernel::WeakKernel;
use crate::vault::{Session, SpaceHandle};

/// Makes one step, if the space is open and has time for it.
pub(super) async fn step(kernel: WeakKernel, begun: &Begin, evolution: &Evolution) -> Outcome {
    let open = kernel.upgrade().and_then(|kernel| kernel.open_space(&begun.space));
    let Some(space) = open else { return Outcome::Closed };
    if space.waiting() >= evolution.busy_queue.max(1) {
        return Outcome::Busy;
    }
    let made = async {
        let session = space.keeper_session()?;
        one(&session, begun.job, begun.place, evolution).await
    };
    match made.await {
        Ok(stepped) => Outcome::Stepped(stepped),
        Err(error) if error.kind() == ErrorKind::Busy => Outcome::Busy,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// Does a job to its end, whatever the load.
pub(super) async fn run(kernel: WeakKernel, space: &SpaceName, job: Job, evolution: &Evolution) -> Result<Report> {
    let kernel = kernel.upgrade().ok_or_else(|| Error::unavailable("the kernel is shut down; open it again"))?;
    let space: SpaceHandle = kernel.space(space.as_str()).await?;
    let session = space.keeper_session()?;
    let (mut place, mut report, mut conflicts) = (None, Report::default(), 0);
    loop {
        match one(&session, job, place, evolution).await {
            Ok(stepped) => {
                (place, conflicts) = (Some(stepped.reached), 0);
                report.add(stepped.report);
                if stepped.ended {
                    return Ok(report);
                }
            }
            Err(error) if error.kind() == ErrorKind::Conflict && conflicts < MOST_CONFLICTS => conflicts += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Finds one step on a reading thread, and has the space's writer write it.
async fn one(session: &Session, job: Job, place: Option<Place>, evolution: &Evolution) -> Result<Stepped> {
    let (rules, budget) = (evolution.rules.clone(), evolution.step);
    let found = session.work(move |space, keeper| {
        let from = place.map_or_else(|| evolve::place_of(space, job), Ok)?;
        let found = evolve::find(space, keeper, job, from, &rules, budget)?;
        let wait = found.again_at.map(|at| at.as_millis().saturating_sub(space.now().as_millis()));
        Ok((found, wait.map(|wait| Duration::from_millis(u64::try_from(wait).unwrap_or(0)))))
    });
    let (Found { batch, erase, reached, ended, report, .. }, again_in) = found.await?;
    let written = batch.len() + erase.len();
    if !erase.is_empty() {
        session.work(|space, keeper| space.erase(keeper, Erasure::Cubes(erase), ERASED_BECAUSE)).await?;
    }
    if !batch.is_empty() {
        session.commit(batch).await?;
    }
    Ok(Stepped { reached, ended, again_in, written, report })
}

/// Puts it on record that a job was set aside, if the space is open.
pub(super) async fn record(kernel: WeakKernel, aside: SetAside) {
    let Some(space) = kernel.upgrade().and_then(|kernel| kernel.open_space(&aside.space)) else { return };
    let Ok(session) = space.keeper_session() else { return };
    let written = session.work(move |space, keeper| {
        let mut reason = format!("set aside after {} attempts: {}", aside.attempts, aside.why);
        reason.truncate(reason.floor_char_boundary(space.limits().name_bytes));
        let mut batch = Batch::default();
        batch.record(AuditRecord {
            at: space.now(),
            principal: keeper.id.clone(),
            context: keeper.context.clone(),
            kind: AuditKind::Lifecycle,
            operation: aside.job.to_string(),
            outcome: Ended::Failed,
            reason,
            cubes: Vec::new(),
            trace: None,
        });
        Ok(batch)
    });
    if let Ok(batch) = written.await {
        // A space that cannot be written to may be why.
        let _ = session.commit(batch).await;
    }
}
