//! Group commit: many callers, one writer, one durable transaction for all that waits.
//!
//! There is no writer thread. A caller puts its batch into the queue; whoever finds the writer free takes all that waits,
//! validates it in order, writes it in one transaction and applies it. The others sleep until their answer is there. So a
//! single caller pays no hand-over, and many callers share the cost of one flush to disk.

use std::collections::HashSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, RwLock};

use super::VaultOptions;
use super::batch::Committed;
use super::charter::{CHARTER, SpaceRules};
use super::projection::{Indexed, Present, Projection};
use super::stage::Stage;
use crate::cube::{CubeId, Digest, VersionRef};
use crate::error::{Error, ErrorKind, Result};
use crate::governance::{Principal, Ruling};
use crate::keys::KeyRing;
use crate::ledger::{Change, Event, Ledger, LedgerReader, NewEvent, Record};
use crate::limits::Limits;
use crate::time::Timestamp;

/// A change made ready by its caller.
pub(super) struct Prepared {
    pub(super) change: Change,
    /// The versions of other cubes that the change says its cube was made from; those of versions before are known.
    pub(super) sources: Vec<VersionRef>,
    pub(super) record: Option<Record>,
    /// The vector's row in the ledger.
    pub(super) vector: Option<Vec<u8>>,
    pub(super) indexed: Option<Indexed>,
}

impl Prepared {
    /// Makes a change that needs nothing beside its event.
    pub(super) fn bare(change: Change) -> Self {
        Self { change, sources: Vec::new(), record: None, vector: None, indexed: None }
    }

    /// Returns the key of the request that it ends.
    fn request(&self) -> Option<Digest> {
        match &self.change {
            Change::Requested { key, .. } => Some(*key),
            _ => None,
        }
    }

    /// Returns whether it must be written apart from all others: what it takes away must all be applied before, or what comes
    /// after it is decided by it.
    fn is_alone(&self) -> bool {
        matches!(self.change, Change::Erased { .. }) || sets_charter(&self.change)
    }
}

type Answer = Arc<Mutex<Option<Result<Committed>>>>;

/// A batch that was made ready where it came from.
pub(super) struct Ready {
    pub(super) principal: Principal,
    pub(super) at: Timestamp,
    pub(super) changes: Vec<Prepared>,
    pub(super) expected: Vec<(CubeId, Digest)>,
}

/// A batch that waits, and where its answer goes.
struct Waiting {
    principal: Principal,
    at: Timestamp,
    changes: Vec<Prepared>,
    expected: Vec<(CubeId, Digest)>,
    answer: Answer,
}

impl Waiting {
    fn request(&self) -> Option<Digest> {
        self.changes.last().and_then(Prepared::request)
    }
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    changes: usize,
    writing: bool,
    /// Set when the projection could not follow the ledger; then nothing is written any more.
    failed: bool,
}

impl Queue {
    /// Puts a batch at the end, or answers it when too much waits.
    fn put(&mut self, batch: Ready, limits: &Limits) -> Answer {
        let Ready { principal, at, changes, expected } = batch;
        let answer = Answer::default();
        let waiting = self.changes + changes.len();
        // One batch is taken, however large; its own limit was checked where it came from.
        if waiting > limits.waiting_changes && self.changes > 0 {
            let full = format!("{} changes wait for the writer already; try again soon", self.changes);
            *answer.lock() = Some(Err(Error::new(ErrorKind::Busy, full)));
            return answer;
        }
        self.changes = waiting;
        self.waiting.push(Waiting { principal, at, changes, expected, answer: answer.clone() });
        answer
    }
}

fn stopped() -> Error {
    Error::corrupt("the space stopped taking changes; open it again")
}

/// The one way by which a space changes.
pub(super) struct Writer {
    queue: Mutex<Queue>,
    answered: Condvar,
    ledger: Mutex<Ledger>,
}

/// What the writer works on.
pub(super) struct Target<'a> {
    pub(super) present: &'a RwLock<Present>,
    pub(super) rules: &'a RwLock<SpaceRules>,
    pub(super) options: &'a VaultOptions,
    pub(super) ring: &'a KeyRing,
    /// Makes what was erased unreadable wherever else it may be; called when the erasure is durable.
    pub(super) forget: &'a dyn Fn(&Forgotten) -> Result<()>,
}

impl Target<'_> {
    /// Returns by what is decided at this moment, not when the batch was handed in.
    fn ruling(&self) -> Ruling {
        self.rules.read().ruling(self.options.clock.now())
    }

    fn limits(&self) -> &Limits {
        &self.options.limits
    }
}

/// What an erasure takes away.
pub(super) struct Forgotten {
    /// The keys of the records that are this space's own.
    pub(super) keys: Vec<(u32, u64)>,
    pub(super) subject: Option<u32>,
    /// The events up to and including the erasure.
    pub(super) through: u64,
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
        expected: Vec<(CubeId, Digest)>,
    ) -> Result<Committed> {
        let ready = Ready { principal: principal.clone(), at, changes, expected };
        self.commit_each(target, vec![ready]).pop().unwrap_or_else(|| Err(stopped()))
    }

    /// Makes batches durable and visible, each by itself, in this order, and returns what each has become.
    pub(super) fn commit_each(&self, target: &Target<'_>, batches: Vec<Ready>) -> Vec<Result<Committed>> {
        let mut queue = self.queue.lock();
        let answers: Vec<Answer> = batches.into_iter().map(|batch| queue.put(batch, target.limits())).collect();
        loop {
            if answers.iter().all(|answer| answer.lock().is_some()) {
                return answers.iter().map(|answer| answer.lock().take().unwrap_or_else(|| Err(stopped()))).collect();
            }
            if queue.writing {
                self.answered.wait(&mut queue);
                continue;
            }
            if queue.failed {
                for answer in &answers {
                    answer.lock().get_or_insert_with(|| Err(stopped()));
                }
                continue;
            }
            queue.writing = true;
            let group = take_group(&mut queue, target.limits().commit_changes);
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

    /// Returns whether nothing is written any more, because the projection could not follow the ledger.
    pub(super) fn has_failed(&self) -> bool {
        self.queue.lock().failed
    }

    /// Checks what a batch would do now, and returns how many events it would have. Nothing is written.
    pub(super) fn check(
        target: &Target<'_>,
        principal: &Principal,
        changes: &[Prepared],
        expected: &[(CubeId, Digest)],
    ) -> Result<u64> {
        let present = target.present.read();
        let ruling = target.ruling();
        let mut stage = Stage::new(&present, &ruling, target.limits(), target.ring);
        stage.require_expected(principal, expected)?;
        let mut events = 0;
        for prepared in changes {
            events += u64::from(stage.admit(principal, &prepared.change, &prepared.sources)?);
        }
        Ok(events)
    }

    /// Answers those whose batches were at hand when a policy or the writer panicked, so that nobody waits for ever. Returns
    /// false when the projection is not where the ledger ends.
    fn answer_after_panic(&self, target: &Target<'_>, answers: Vec<Answer>) -> bool {
        for answer in answers {
            answer
                .lock()
                .get_or_insert_with(|| Err(Error::unavailable("the writer failed while it had this batch; try again")));
        }
        target.present.read().ledger == self.ledger.lock().head()
    }

    /// Writes one group and answers each of its callers. Returns false when the projection could not follow.
    fn write(&self, target: &Target<'_>, group: Vec<Waiting>) -> bool {
        let mut ledger = self.ledger.lock();
        let Validated { accepted, refused } = validate(target, answer_again(target, &ledger, group));
        let (mut news, mut indexed, mut callers) = (Vec::new(), Vec::new(), Vec::new());
        let mut first_event = ledger.head().events;
        let mut forgotten = None;
        for Waiting { principal, at, mut changes, answer, .. } in accepted {
            let events = changes.len() as u64;
            if let Some(Prepared { change: Change::Requested { events: before, .. }, .. }) = changes.last_mut() {
                *before = events - 1;
            }
            let stored = changes.iter().filter_map(|prepared| match &prepared.change {
                Change::CubeStored(header) => Some(header.version_ref()),
                _ => None,
            });
            callers.push((answer, Committed { first_event, events, stored: stored.collect() }));
            first_event += events;
            for Prepared { change, record, vector, indexed: of_body, .. } in changes {
                let mut new = NewEvent { record, vector, ..NewEvent::bare(at, principal.id.clone(), change) };
                if let Change::Erased { cubes, subject, .. } = &new.change {
                    let reader = ledger.readers().reader();
                    let found = reader.and_then(|reader| gone(&target.present.read(), &reader, cubes));
                    match found {
                        Ok((rows, keys)) => {
                            new.gone = rows;
                            forgotten = Some(Forgotten { keys, subject: *subject, through: first_event });
                        }
                        Err(error) => {
                            let callers = callers.iter().map(|(answer, _)| answer);
                            answer_all(callers.chain(refused.iter().map(|(answer, _)| answer)), &error);
                            return true;
                        }
                    }
                }
                news.push(new);
                indexed.push(of_body);
            }
        }
        let outcome = if news.is_empty() { Ok(Vec::new()) } else { ledger.append(news) };
        let outcome = outcome.map(|events| apply(target, &ledger, &events, indexed));
        let followed = !matches!(outcome, Ok(Err(_)));
        let outcome = match (outcome, &forgotten) {
            (Ok(Ok(())), Some(forgotten)) => (target.forget)(forgotten),
            (Ok(applied), _) => applied,
            (Err(error), _) => Err(error),
        };
        match outcome {
            Ok(()) => {
                callers.into_iter().for_each(|(answer, committed)| *answer.lock() = Some(Ok(committed)));
                refused.into_iter().for_each(|(answer, error)| *answer.lock() = Some(Err(error)));
            }
            // What was refused may have been refused for what was not written now.
            Err(error) => {
                let callers = callers.iter().map(|(answer, _)| answer);
                answer_all(callers.chain(refused.iter().map(|(answer, _)| answer)), &error);
            }
        }
        followed
    }

    /// Runs `work` while nothing is written.
    pub(super) fn hold<T>(&self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        work(&mut self.ledger.lock())
    }
}

fn answer_all<'a>(answers: impl Iterator<Item = &'a Answer>, error: &Error) {
    for answer in answers {
        *answer.lock() = Some(Err(Error::new(error.kind(), error.to_string())));
    }
}

/// Returns the rows of the ledger and the keys that the records of cubes stand in and under.
pub(super) type Gone = (Vec<(u64, Digest)>, Vec<(u32, u64)>);

/// Finds all records of cubes that stand in the ledger itself; those of a fork's origin are not its own.
pub(super) fn gone(projection: &Projection, ledger: &LedgerReader, cubes: &[CubeId]) -> Result<Gone> {
    let (mut rows, mut keys) = (Vec::new(), Vec::new());
    for cube in cubes {
        let head = projection.slot(cube).and_then(|slot| projection.head(slot));
        let events = head.into_iter().flat_map(|head| head.versions()).filter(|event| *event >= ledger.first_own());
        for event in events {
            let seal = ledger.bare_header(event)?.seal;
            rows.push((event, seal.digest));
            keys.push((seal.ring, seal.slot));
        }
    }
    Ok((rows, keys))
}

/// Takes batches from the front of the queue, at least one, up to `most` changes.
fn take_group(queue: &mut Queue, most: usize) -> Vec<Waiting> {
    let mut taken = 0;
    let mut before = false;
    // A request that came twice is answered by what became of it the first time.
    let mut requests = HashSet::new();
    let fits = queue.waiting.iter().take_while(|waiting| {
        if waiting.request().is_some_and(|request| !requests.insert(request)) {
            return false;
        }
        taken += waiting.changes.len();
        let alone = waiting.changes.iter().any(Prepared::is_alone);
        let fits = taken <= most && !(before && alone);
        // Nothing stands behind what is written alone.
        before = true;
        taken += if alone { most } else { 0 };
        fits
    });
    let count = fits.count().max(1).min(queue.waiting.len());
    let group: Vec<Waiting> = queue.waiting.drain(..count).collect();
    queue.changes -= group.iter().map(|waiting| waiting.changes.len()).sum::<usize>();
    group
}

/// Answers the requests that were written before, and returns the others.
fn answer_again(target: &Target<'_>, ledger: &Ledger, group: Vec<Waiting>) -> Vec<Waiting> {
    let present = target.present.read();
    let mut left = Vec::with_capacity(group.len());
    for waiting in group {
        match waiting.request().and_then(|request| present.requests.find(&request)) {
            Some((first_event, events)) => {
                let reader = ledger.readers().reader();
                let stored = reader.and_then(|reader| stored_in(&reader, first_event..first_event + events));
                let answer = stored.map(|stored| Committed { first_event, events, stored });
                *waiting.answer.lock() = Some(answer);
            }
            None => left.push(waiting),
        }
    }
    left
}

/// Returns the versions that events stored.
fn stored_in(ledger: &LedgerReader, events: Range<u64>) -> Result<Vec<VersionRef>> {
    let mut stored = Vec::new();
    for event in events {
        if let Change::CubeStored(header) = ledger.event(event)?.change {
            stored.push(header.version_ref());
        }
    }
    Ok(stored)
}

/// What is to become of a group.
struct Validated {
    /// The batches that may be written, without the changes that change nothing.
    accepted: Vec<Waiting>,
    /// Those that may not, beside what is written before them, and why. They are told when that is durable.
    refused: Vec<(Answer, Error)>,
}

fn validate(target: &Target<'_>, group: Vec<Waiting>) -> Validated {
    let present = target.present.read();
    let ruling = target.ruling();
    let mut stage = Stage::new(&present, &ruling, target.limits(), target.ring);
    let (mut accepted, mut refused) = (Vec::with_capacity(group.len()), Vec::new());
    for mut waiting in group {
        let mut failure = stage.require_expected(&waiting.principal, &waiting.expected).err();
        waiting.changes.iter_mut().for_each(|prepared| complete_erasure(&present, target.ring, &mut prepared.change));
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
                refused.push((waiting.answer, error));
            }
        }
    }
    Validated { accepted, refused }
}

fn sets_charter(change: &Change) -> bool {
    matches!(change, Change::RegisterSet { name, .. } if name == CHARTER)
}

/// Adds to the erasure of a subject what was stored of it while the erasure waited: the keys of all of it go. Nothing
/// is written together with an erasure, so the projection has all of it.
fn complete_erasure(present: &Projection, ring: &KeyRing, change: &mut Change) {
    if let Change::Erased { cubes, subject: Some(number), .. } = change
        && let Some(subject) = ring.name_of(*number).and_then(|name| present.subjects.find(&name))
    {
        *cubes = present.heads.iter().filter(|head| head.subject == Some(subject)).map(|head| head.id).collect();
    }
}

fn apply(target: &Target<'_>, ledger: &Ledger, events: &[Event], indexed: Vec<Option<Indexed>>) -> Result<()> {
    let mut present = target.present.write();
    let projection = present.change();
    for (event, indexed) in events.iter().zip(indexed) {
        projection.apply(event, indexed)?;
        if matches!(event.change, Change::Erased { .. }) {
            projection.index.forget_unused_words();
        }
    }
    present.ledger = ledger.head();
    if events.iter().any(|event| sets_charter(&event.change)) {
        // Nobody reads between the event and its rules.
        *target.rules.write() = SpaceRules::of(&present.registers, &target.options.policy);
    }
    Ok(())
}
