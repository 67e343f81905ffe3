//! The spaces of a kernel as its callers see them: handles, and sessions that read what they wrote.
//!
//! Writes go to the space's one writer; reads go to worker threads and take one consistent point of the space, whatever
//! waits to be written. A space is opened by its first use and let go of when it is idle; a handle outlives that.

mod answered;
mod room;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use memos_memory::cube::{Cube, CubeDraft, CubeId, SpaceName, VersionRef};
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::governance::Principal;
use memos_memory::operator::{Answer, MemoryCall, recall};
use memos_memory::reader::read_question;
use memos_memory::vault::{Batch, Committed, CubeHead, Space};
use tokio::time::{Instant, timeout_at};

use crate::actor::{Call, IdempotencyKey, Subscription, TraceLink};
use crate::governance::GovernorCommand;
use crate::kernel::Life;
use crate::telemetry::{CountedSession, spans};
pub(crate) use room::Room;
use room::{Loaded, Visit};
use writer::WriterCommand;

/// A point of a space's ledger: what is read at or after it shows all that was written before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
pub struct ReadPoint(u64);

impl ReadPoint {
    pub(crate) fn after(events: u64) -> Self {
        Self(events)
    }
}

/// A batch became durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Where the ledger stood then.
    pub reached: ReadPoint,
    /// The versions that it stored.
    pub stored: Vec<VersionRef>,
}

/// A space of a kernel. It is cheap to clone, and stays good when the space is unloaded.
#[derive(Clone)]
pub struct SpaceHandle {
    room: Arc<Room>,
    life: Arc<Life>,
}

impl SpaceHandle {
    pub(crate) fn new(room: Arc<Room>, life: Arc<Life>) -> Self {
        Self { room, life }
    }

    /// Returns the space's name.
    pub fn name(&self) -> &SpaceName {
        self.room.name()
    }

    /// Begins a session of a principal. Whoever makes it vouches for them.
    pub fn session(&self, principal: Principal) -> Session {
        self.session_of(principal, false)
    }

    /// Begins a session of the space itself, for what works in its name. Reading in it does not keep the space open.
    pub(crate) fn keeper_session(&self) -> Result<Session> {
        Ok(self.session_of(Principal::keeper()?, true))
    }

    fn session_of(&self, principal: Principal, is_keepers: bool) -> Session {
        let call = Call::new(Arc::new(principal));
        Session {
            space: self.clone(),
            call,
            is_keepers,
            patience: self.room.limits().request,
            seen: Arc::default(),
            _counted: CountedSession::begin(self.room.counters()),
        }
    }

    /// Returns how much waits for the space's writer, and for a thread that reads.
    pub(crate) fn waiting(&self) -> usize {
        self.room.waiting()
    }

    /// Gives the space other rules, in the name of a principal who may, or takes its charter away. They hold for every read and
    /// write that begins after this returns.
    ///
    /// # Errors
    /// `Denied` when the principal may not; `Invalid` when the charter cannot be read or its policies do not fit; the rules stay
    /// as they are then.
    pub async fn set_charter(&self, principal: Principal, charter: Option<&str>) -> Result<Committed> {
        let session = self.session(principal);
        session.check_principal()?;
        let (room, charter) = (self.room.clone(), charter.map(str::to_owned));
        let governor = self.life.governor()?;
        governor.ask(session.call(), |reply| GovernorCommand::SetCharter { room, charter, reply }).await
    }

    /// Hears of every batch that becomes durable from now on.
    ///
    /// # Errors
    /// `Busy` when the space has as many subscribers as it may.
    pub fn changes(&self) -> Result<Subscription<Changed>> {
        self.room.changes()
    }

    /// Returns whether the space is open at the moment. Using it opens it.
    pub fn is_open(&self) -> bool {
        self.room.is_open()
    }

    /// Comes in, and waits until the deadline for the space to be opened.
    async fn enter(&self, deadline: Option<Instant>) -> Result<(Visit, Arc<Loaded>)> {
        let visit = self.room.visit();
        let Some(deadline) = deadline else { return visit.await };
        timeout_at(deadline, visit).await.unwrap_or_else(|_| {
            let late = format!("the deadline passed while space `{}` was being opened", self.name());
            Err(Error::new(ErrorKind::Deadline, late + "; give it more time"))
        })
    }

    /// Makes the space's writer fail, as a broken invariant of its own would, so that it is begun again: for tests and
    /// measures of what stands on it.
    ///
    /// # Errors
    /// `Unavailable` when the kernel is shut down.
    pub async fn fail_writer(&self, principal: Principal, why: impl Into<String>) -> Result<()> {
        let (_visit, loaded) = self.room.visit().await?;
        let writer = loaded.writer.clone();
        // While a writer is begun again the space is closed and opened, for which all must let go of it.
        drop(loaded);
        writer.send(Call::new(Arc::new(principal)), WriterCommand::Fail { why: why.into() }).await
    }
}

/// One principal's work in one space: it reads what it wrote. It is cheap to clone; clones see each other's writes.
///
/// # Cancellation
/// A write whose turn has not come is not made when its caller gives up; one that is being made becomes durable all the
/// same.
#[derive(Clone)]
pub struct Session {
    space: SpaceHandle,
    call: Call,
    /// Whether it is one of the space itself.
    is_keepers: bool,
    patience: Duration,
    /// The point of the ledger that its reads must have reached.
    seen: Arc<AtomicU64>,
    _counted: Arc<CountedSession>,
}

impl Session {
    /// Gives each request so much time.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Puts what it asks under a trace.
    pub fn in_trace(mut self, trace: TraceLink) -> Self {
        self.call.trace = trace;
        self
    }

    /// Makes all that the session writes one request of this name: the first write is made, and every further one, in
    /// this or another session of the same principal with the same key, is answered as the first was, also after a
    /// restart. What it holds is not looked at. A space remembers its last 4,096 keys; refusals are remembered as long as
    /// the space is in use in this process.
    ///
    /// # Errors
    /// `Invalid` when the key is empty or too long.
    pub fn with_key(mut self, key: &str) -> Result<Self> {
        self.call.key = Some(IdempotencyKey::new(key, self.space.room.limits().key_bytes)?);
        Ok(self)
    }

    /// Returns the point of the ledger up to which this session has written: for another session that must see it.
    pub fn point(&self) -> ReadPoint {
        ReadPoint(self.seen.load(Ordering::Acquire))
    }

    /// Sees all that was written before the point.
    pub fn after(self, point: ReadPoint) -> Self {
        self.seen.fetch_max(point.0, Ordering::AcqRel);
        self
    }

    /// Refuses who gives themselves out as the space itself.
    fn check_principal(&self) -> Result<()> {
        match self.call.principal.is_keeper() && !self.is_keepers {
            true => {
                Err(Error::denied(format!("`{}` is the space itself; nobody acts in its name", self.call.principal.id)))
            }
            false => Ok(()),
        }
    }

    /// Returns in whose name it works.
    pub fn principal(&self) -> &Principal {
        &self.call.principal
    }

    /// Returns where it works.
    pub fn space(&self) -> &SpaceHandle {
        &self.space
    }

    fn call(&self) -> Call {
        let deadline = Instant::now().checked_add(self.patience);
        Call { deadline, ..self.call.clone() }
    }

    /// Begins a request, whose span is on its call.
    fn request(&self, what: &'static str) -> Call {
        let mut call = self.call();
        spans::begin_request(what, self.space.name(), &mut call);
        call
    }

    /// Comes into the space, which may have to be opened first.
    async fn enter(&self, deadline: Option<Instant>) -> Result<(Visit, Arc<Loaded>)> {
        self.check_principal()?;
        self.space.enter(deadline).await
    }

    /// Stores one new cube and returns its id. It is durable then.
    ///
    /// # Errors
    /// As [`Session::commit`].
    pub async fn remember(&self, draft: CubeDraft) -> Result<CubeId> {
        let committed = self.write("remember", |space| {
            let mut batch = Batch::default();
            batch.store(space.new_id(), draft);
            batch
        });
        // Under a key that was used before, the id is the one of that time.
        let stored = committed.await?.stored.first().map(|version| version.cube);
        stored.ok_or_else(|| Error::invalid("the key names an earlier request, which stored no cube; use another key"))
    }

    /// Makes a batch durable and visible: all of it, or nothing.
    ///
    /// # Errors
    /// Those of [`Space::commit`]; `Deadline` when the session's patience ends before; `Unavailable` when the writer
    /// died with it or the kernel is shut down. After these two the batch may have become durable or not; under a key,
    /// asking again tells.
    pub async fn commit(&self, batch: Batch) -> Result<Committed> {
        self.write("commit", |_| batch).await
    }

    async fn write(&self, what: &'static str, batch: impl FnOnce(&Space) -> Batch) -> Result<Committed> {
        let call = self.request(what);
        let span = call.span.clone();
        let outcome = self.write_for(call, batch).await;
        spans::end_request(&span, &outcome);
        outcome
    }

    async fn write_for(&self, call: Call, batch: impl FnOnce(&Space) -> Batch) -> Result<Committed> {
        let (visit, loaded) = self.enter(call.deadline).await?;
        let (mut batch, writer) = (batch(loaded.space()?), loaded.writer.clone());
        self.space.room.admit(&loaded, &call.principal, batch.len())?;
        if let Some(key) = &call.key {
            batch.keyed(key.as_str());
        }
        // While a writer is begun again the space is closed and opened, for which all must let go of it.
        drop(loaded);
        let committed = writer.ask(call, |reply| WriterCommand::Commit { batch, reply }).await?;
        self.seen.fetch_max(committed.first_event + committed.events, Ordering::AcqRel);
        drop(visit);
        Ok(committed)
    }

    /// Returns an id for a new cube of a batch.
    ///
    /// # Errors
    /// Those of opening the space.
    pub async fn new_id(&self) -> Result<CubeId> {
        self.enter(self.call().deadline).await?.1.space().map(Space::new_id)
    }

    /// Answers a bare question, read as far as that goes without a model.
    ///
    /// # Errors
    /// As [`Session::recall`].
    pub async fn ask(&self, question: impl Into<String>) -> Result<Answer> {
        let question = question.into();
        self.answer(move |space, principal| {
            let call = MemoryCall::new(principal.clone(), question, space.now());
            recall(&[space], &read_question(&[space], call)?)
        })
        .await
    }

    /// Answers a call, in the name of the session's principal.
    ///
    /// # Errors
    /// Those of [`recall`]; `Deadline` when its turn comes too late; `Unavailable` when the kernel is shut down.
    pub async fn recall(&self, call: MemoryCall) -> Result<Answer> {
        self.answer(move |space, principal| recall(&[space], &MemoryCall { caller: principal.clone(), ..call })).await
    }

    /// Answers a call from this space and others together, with one ranking over all.
    ///
    /// # Errors
    /// As [`Session::recall`].
    pub async fn recall_across(&self, others: &[SpaceHandle], call: MemoryCall) -> Result<Answer> {
        let most = self.space.room.limits().open_spaces;
        if others.len() >= most {
            let named = others.len() + 1;
            return Err(Error::invalid(format!(
                "the recall names {named} spaces, and at most {most} are open at a time"
            )));
        }
        let deadline = self.call().deadline;
        let mut visits = Vec::with_capacity(others.len());
        for other in others {
            // What is open here is held while the next is opened. Two who wait for each other's wait no longer than this.
            visits.push(other.enter(deadline).await?);
        }
        self.answer(move |space, principal| {
            let mut spaces = vec![space];
            for (_, loaded) in &visits {
                spaces.push(loaded.space()?);
            }
            recall(&spaces, &MemoryCall { caller: principal.clone(), ..call })
        })
        .await
    }

    /// Returns the present version of a cube.
    ///
    /// # Errors
    /// Those of [`Space::get`], and as [`Session::recall`].
    pub async fn get(&self, cube: &CubeId) -> Result<(Cube, CubeHead)> {
        let cube = *cube;
        self.read("get", move |space, principal| space.get(principal, &cube)).await
    }

    /// Does other work of the vault on a thread that may block: history, erasure, taking in a file. What it writes is
    /// as durable as ever, beside the writer's queue and without a key.
    ///
    /// # Errors
    /// What the work returns, and as [`Session::recall`].
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Space, &Principal) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.read("work", work).await
    }

    /// Recalls, and counts it.
    async fn answer(
        &self,
        recall: impl FnOnce(&Space, &Principal) -> Result<Answer> + Send + 'static,
    ) -> Result<Answer> {
        let asked = std::time::Instant::now();
        let outcome = self.read("recall", move |space, principal| {
            let answer = recall(space, principal)?;
            spans::recalled(&answer.times);
            Ok(answer)
        });
        let outcome = outcome.await;
        self.space.room.counters().recalled(asked.elapsed(), &outcome);
        if let (Some(scheduler), Ok(answer)) = (self.space.life.scheduler(), &outcome) {
            scheduler.observe(&self.call.principal, answer);
        }
        outcome
    }

    async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Space, &Principal) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let call = self.request(what);
        let span = call.span.clone();
        let outcome = self.read_for(call, work).await;
        spans::end_request(&span, &outcome);
        outcome
    }

    async fn read_for<T: Send + 'static>(
        &self,
        call: Call,
        work: impl FnOnce(&Space, &Principal) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (visit, loaded) = self.enter(call.deadline).await?;
        self.space.room.admit(&loaded, &call.principal, 0)?;
        let (seen, deadline, is_keepers) = (self.point(), call.deadline, self.is_keepers);
        let (readers, room, span) = (self.space.life.readers(), self.space.room.clone(), call.span.clone());
        room.meter().read_once();
        let done = readers.run_for(&span, deadline, move || {
            let space = loaded.space()?;
            let head = space.ledger_head().events;
            if head < seen.0 {
                let behind =
                    format!("space `{}` stands at event {head}, and event {} is asked for", space.name(), seen.0);
                return Err(Error::unavailable(behind + "; try again when it has come so far"));
            }
            let done = work(space, &call.principal);
            room.noted(&loaded, &call);
            if space.ledger_head().events > head {
                // It may have been others; to look once more costs little.
                room.tell_news();
            }
            if done.is_err() && space.has_stopped() {
                // Its writer finds so too, when it writes next, and may have nothing to write.
                let _ = loaded.writer.try_send(Call::new(call.principal), WriterCommand::Look);
            }
            // What the space does by itself does not keep it open.
            if !is_keepers {
                loaded.touch();
            }
            drop(visit);
            done
        });
        done.await
    }
}
