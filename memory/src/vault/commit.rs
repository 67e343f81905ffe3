//! Group commit: many callers, one writer, one durable transaction for all that waits.
//!
//! There is no writer thread. A caller puts its batch into the queue; whoever finds the writer free takes all that waits,
//! validates it in order, writes it in one transaction and applies it. The others sleep until their answer is there. So a
//! single caller pays no hand-over, and many callers share the cost of one flush to disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, RwLock};

use super::batch::Committed;
use super::projection::{Indexed, Projection};
use super::stage::Stage;
use crate::cube::VersionRef;
use crate::error::{Error, ErrorKind, Result};
use crate::governance::{Policy, Principal};
use crate::ledger::{Change, Event, Ledger, NewEvent};
use crate::limits::Limits;
use crate::time::Timestamp;

/// A change made ready by its caller.
pub(super) struct Prepared {
    pub(super) change: Change,
    /// The versions of other cubes that the change says its cube was made from; those of versions before are known.
    pub(super) sources: Vec<VersionRef>,
    pub(super) body: Option<Vec<u8>>,
    pub(super) indexed: Option<Indexed>,
}

type Answer = Arc<Mutex<Option<Result<Committed>>>>;

/// A batch that waits, and where its answer goes.
struct Waiting {
    principal: Principal,
    at: Timestamp,
    changes: Vec<Prepared>,
    answer: Answer,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    changes: usize,
    writing: bool,
    /// Set when the projection could not follow the ledger; then nothing is written any more.
    failed: bool,
}

/// The one way by which a space changes.
pub(super) struct Writer {
    queue: Mutex<Queue>,
    answered: Condvar,
    ledger: Mutex<Ledger>,
}

/// What the writer works on.
pub(super) struct Target<'a> {
    pub(super) projection: &'a RwLock<Projection>,
    pub(super) policy: &'a dyn Policy,
    pub(super) limits: &'a Limits,
}

impl Writer {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { queue: Mutex::default(), answered: Condvar::new(), ledger: Mutex::new(ledger) }
    }

    /// Makes a batch durable and visible, and returns what it has become.
    pub(super) fn commit(
        &self,
        target: &Target<'_>,
        principal: &Principal,
        at: Timestamp,
        changes: Vec<Prepared>,
    ) -> Result<Committed> {
        let answer = Answer::default();
        let mut queue = self.queue.lock();
        Limits::check("the batch", changes.len(), target.limits.waiting_changes, "changes")?;
        let waiting = queue.changes + changes.len();
        if waiting > target.limits.waiting_changes {
            return Err(Error::new(
                ErrorKind::Busy,
                format!("{} changes wait for the writer already; try again soon", queue.changes),
            ));
        }
        queue.changes = waiting;
        queue.waiting.push(Waiting { principal: principal.clone(), at, changes, answer: answer.clone() });
        loop {
            if let Some(answer) = answer.lock().take() {
                return answer;
            }
            if queue.writing {
                self.answered.wait(&mut queue);
                continue;
            }
            if queue.failed {
                return Err(Error::corrupt("the space stopped taking changes; open it again"));
            }
            queue.writing = true;
            let group = take_group(&mut queue, target.limits.commit_changes);
            drop(queue);
            let answers: Vec<Answer> = group.iter().map(|waiting| waiting.answer.clone()).collect();
            let ended = catch_unwind(AssertUnwindSafe(|| self.write(target, group)));
            let followed = ended.unwrap_or_else(|_| self.answer_after_panic(target, answers));
            queue = self.queue.lock();
            queue.writing = false;
            queue.failed = !followed;
            self.answered.notify_all();
        }
    }

    /// Answers those whose batches were at hand when a policy or the writer panicked, so that nobody waits for ever. Returns
    /// false when the projection is not where the ledger ends.
    fn answer_after_panic(&self, target: &Target<'_>, answers: Vec<Answer>) -> bool {
        for answer in answers {
            answer
                .lock()
                .get_or_insert_with(|| Err(Error::unavailable("the writer failed while it had this batch; try again")));
        }
        target.projection.read().ledger() == self.ledger.lock().head()
    }

    /// Writes one group and answers each of its callers. Returns false when the projection could not follow.
    fn write(&self, target: &Target<'_>, group: Vec<Waiting>) -> bool {
        let mut ledger = self.ledger.lock();
        let accepted = validate(target, group);
        let (mut news, mut indexed, mut callers) = (Vec::new(), Vec::new(), Vec::new());
        let mut first_event = ledger.head().events;
        for Waiting { principal, at, changes, answer } in accepted {
            let events = changes.len() as u64;
            let stored = changes.iter().filter_map(|prepared| match &prepared.change {
                Change::CubeStored(header) => Some(header.version_ref()),
                _ => None,
            });
            callers.push((answer, Committed { first_event, events, stored: stored.collect() }));
            first_event += events;
            for Prepared { change, body, indexed: of_body, .. } in changes {
                let vector = of_body.as_ref().map(|indexed| indexed.vector.to_bytes());
                news.push(NewEvent { at, principal: principal.id.clone(), change, body, vector });
                indexed.push(of_body);
            }
        }
        let outcome = if news.is_empty() { Ok(Vec::new()) } else { ledger.append(news) };
        let outcome = outcome.map(|events| apply(target, &ledger, &events, indexed));
        let followed = !matches!(outcome, Ok(Err(_)));
        for (answer, committed) in callers {
            *answer.lock() = Some(match &outcome {
                Ok(Ok(())) => Ok(committed),
                Ok(Err(error)) | Err(error) => Err(Error::new(error.kind(), error.to_string())),
            });
        }
        followed
    }
}

/// Takes batches from the front of the queue, at least one, up to `most` changes.
fn take_group(queue: &mut Queue, most: usize) -> Vec<Waiting> {
    let mut taken = 0;
    let fits = queue.waiting.iter().take_while(|waiting| {
        taken += waiting.changes.len();
        taken <= most
    });
    let count = fits.count().max(1).min(queue.waiting.len());
    let group: Vec<Waiting> = queue.waiting.drain(..count).collect();
    queue.changes -= group.iter().map(|waiting| waiting.changes.len()).sum::<usize>();
    group
}

/// Returns the batches that may be written, without the changes that change nothing, and answers the others.
fn validate(target: &Target<'_>, group: Vec<Waiting>) -> Vec<Waiting> {
    let projection = target.projection.read();
    let mut stage = Stage::new(&projection, target.policy, target.limits);
    let mut accepted = Vec::with_capacity(group.len());
    for mut waiting in group {
        let mut failure = None;
        waiting.changes.retain(|prepared| {
            failure.is_none()
                && stage.admit(&waiting.principal, &prepared.change, &prepared.sources).unwrap_or_else(|error| {
                    failure = Some(error);
                    false
                })
        });
        match failure {
            None => {
                stage.accept();
                accepted.push(waiting);
            }
            Some(error) => {
                stage.refuse();
                *waiting.answer.lock() = Some(Err(error));
            }
        }
    }
    accepted
}

fn apply(target: &Target<'_>, ledger: &Ledger, events: &[Event], indexed: Vec<Option<Indexed>>) -> Result<()> {
    let mut projection = target.projection.write();
    for (event, indexed) in events.iter().zip(indexed) {
        projection.apply(event, indexed)?;
    }
    projection.follow(ledger.head());
    Ok(())
}
