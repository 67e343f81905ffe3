//! The one writer of a space: an actor that puts all batches that wait into one durable step.
//!
//! It decides what is written next and never touches the disk: a group goes to a writer thread, and what comes in meanwhile is
//! the next group. Batches are written in the order in which they came. The thread answers the callers itself, and remembers
//! the answers of requests with a key, so that nothing acknowledged depends on this actor's living on.

use std::collections::VecDeque;
use std::sync::Arc;

use memos_memory::governance::Principal;
use memos_memory::vault::{Batch, Committed, Space};
use tokio::time::Instant;
use tracing::Span;

use super::answered::RequestId;
use super::room::{Loaded, Room};
use super::{Changed, ReadPoint};
use crate::actor::{Behaviour, Broken, Command, Context, Envelope, Mailbox, Reply, Undelivered};
use crate::telemetry::spans;

/// What the writer can be asked to do.
pub(crate) enum WriterCommand {
    /// To make a batch durable.
    Commit { batch: Batch, reply: Reply<Committed> },
    /// To look whether the space still works, because somebody could not read it.
    Look,
    /// To fail as a broken invariant would make it.
    Fail { why: String },
}

impl Command for WriterCommand {
    fn name(&self) -> &'static str {
        match self {
            Self::Commit { .. } => "Commit",
            Self::Look => "Look",
            Self::Fail { .. } => "Fail",
        }
    }

    fn is_awaited(&self) -> bool {
        match self {
            Self::Commit { reply, .. } => reply.is_awaited(),
            Self::Look | Self::Fail { .. } => true,
        }
    }
}

/// What the writer tells itself.
pub(crate) enum WriterNote {
    /// A group is written, or was cut off.
    Written,
    /// The space may be idle by now.
    LookIdle,
}

struct Waiting {
    envelope: Envelope<WriterCommand>,
    batch: Batch,
    reply: Reply<Committed>,
    commit: Span,
}

/// The writer of one space.
pub(crate) struct Writer {
    room: Arc<Room>,
    loaded: Arc<Loaded>,
    waiting: VecDeque<Waiting>,
    is_writing: bool,
}

impl Writer {
    pub(super) fn new(room: Arc<Room>, loaded: Arc<Loaded>) -> Self {
        Self { room, loaded, waiting: VecDeque::new(), is_writing: false }
    }

    /// Hands all that waits to a writer thread, when none has a group of this space.
    fn write_on(&mut self, context: &Context<Self>) {
        if self.is_writing {
            return;
        }
        let most = self.room.limits().group_batches.max(1);
        let mut group = Group::new(&self.room, &self.loaded, context.mailbox());
        while group.len() < most
            && let Some(waiting) = self.waiting.pop_front()
        {
            group.take(waiting);
        }
        if group.len() > 0 {
            self.is_writing = true;
            group.is_begun = true;
            self.room.write(move || group.write());
        }
    }

    /// Fails when the space works no more, so that it is opened again.
    fn check_space(&self) -> Result<(), Broken> {
        match self.loaded.space().is_ok_and(Space::has_stopped) {
            true => Err(Broken::new("the disk failed, or the projection could not follow the ledger")),
            false => Ok(()),
        }
    }

    fn look_idle(&mut self, context: &Context<Self>) -> Result<(), Broken> {
        let is_busy = self.is_writing || !self.waiting.is_empty();
        let is_idle = self.room.idle_for(&self.loaded).is_some_and(|idle| idle >= self.room.limits().idle);
        if is_idle && !is_busy && self.room.unload() {
            context.stop();
            return Ok(());
        }
        self.look_later(context)
    }

    fn look_later(&self, context: &Context<Self>) -> Result<(), Broken> {
        let idle = self.room.idle_for(&self.loaded).unwrap_or_default();
        let left = self.room.limits().idle.saturating_sub(idle).max(self.room.limits().idle / 16);
        context.after(left, WriterNote::LookIdle).map_err(|error| Broken::new(error.to_string()))
    }
}

impl Behaviour for Writer {
    type Command = WriterCommand;
    type Note = WriterNote;

    fn handle(&mut self, context: &mut Context<Self>, mut envelope: Envelope<WriterCommand>) -> Result<(), Broken> {
        match envelope.open() {
            Some(WriterCommand::Commit { batch, reply }) => {
                let commit = spans::commit(&envelope.call.span);
                self.waiting.push_back(Waiting { envelope, batch, reply, commit });
                self.write_on(context);
                Ok(())
            }
            Some(WriterCommand::Look) => self.check_space(),
            Some(WriterCommand::Fail { why }) => Err(Broken::new(why)),
            None => Ok(()),
        }
    }

    fn note(&mut self, context: &mut Context<Self>, note: WriterNote) -> Result<(), Broken> {
        match note {
            WriterNote::Written => {
                self.is_writing = false;
                self.check_space()?;
                self.write_on(context);
                Ok(())
            }
            WriterNote::LookIdle => self.look_idle(context),
        }
    }
}

/// One durable step on its way: what is written, and who is answered.
struct Group {
    room: Arc<Room>,
    loaded: Arc<Loaded>,
    mailbox: Mailbox<Writer>,
    batches: Vec<(Principal, Batch)>,
    callers: Vec<Caller>,
    /// Whether the writer waits for its end.
    is_begun: bool,
}

struct Caller {
    /// Holds the place among the actor's messages until the answer is there.
    _envelope: Envelope<WriterCommand>,
    reply: Option<Reply<Committed>>,
    request: Option<RequestId>,
    commit: Span,
}

impl Group {
    fn new(room: &Arc<Room>, loaded: &Arc<Loaded>, mailbox: Mailbox<Writer>) -> Self {
        let (room, loaded) = (room.clone(), loaded.clone());
        Self { room, loaded, mailbox, batches: Vec::new(), callers: Vec::new(), is_begun: false }
    }

    fn len(&self) -> usize {
        self.callers.len()
    }

    /// Takes a batch in, unless it is too late for it, nobody waits for it, or it was written before.
    fn take(&mut self, waiting: Waiting) {
        let Waiting { envelope, batch, reply, commit } = waiting;
        let gone = (!reply.is_awaited()).then_some(Undelivered::CallerGone);
        if let Some(why) = envelope.in_vain(Instant::now()).or(gone) {
            return envelope.bury(why);
        }
        let principal = &envelope.call.principal;
        let request = envelope.call.key.clone().map(|key| (principal.id.clone(), key));
        let reply = match &request {
            Some(request) => match self.room.answers().begin(request, reply) {
                Some(reply) => reply,
                None => return,
            },
            None => reply,
        };
        self.batches.push((Principal::clone(principal), batch));
        self.callers.push(Caller { _envelope: envelope, reply: Some(reply), request, commit });
    }

    fn write(mut self) {
        let Ok(space) = self.loaded.space() else { return };
        let flush = spans::flush(space.name(), self.callers.iter().map(|caller| &caller.commit));
        let begun = std::time::Instant::now();
        let answers = flush.in_scope(|| space.commit_each(std::mem::take(&mut self.batches)));
        self.room.counters().committed(self.room.meter(), begun.elapsed(), &answers);
        drop(flush);
        for (caller, answer) in self.callers.iter_mut().zip(answers) {
            if let Some(request) = caller.request.take() {
                self.room.answers().end(request, Some(&answer));
            }
            if let Ok(Committed { first_event, events, stored }) = &answer
                && *events > 0
            {
                let (reached, stored) = (ReadPoint::after(first_event + events), stored.clone());
                self.room.publish(&Changed { reached, stored });
            }
            if let Some(reply) = caller.reply.take() {
                reply.send(answer);
            }
        }
        self.loaded.touch();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What has no answer here was cut off by a panic.
        for request in self.callers.iter_mut().filter_map(|caller| caller.request.take()) {
            self.room.answers().end(request, None);
        }
        self.callers.clear();
        if self.is_begun {
            self.mailbox.tell(WriterNote::Written);
        }
    }
}
