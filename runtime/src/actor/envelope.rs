//! What travels with every message: in whose name, until when, under which trace, and the place that it takes.

use std::sync::Arc;

use memos_memory::error::{Error, Result};
use memos_memory::governance::Principal;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Span;

use super::behaviour::Command;
use super::letters::{DeadLetter, DeadLetters, Undelivered};
use crate::telemetry::{ActorMeter, spans};

/// Where a message belongs in a trace, as W3C Trace Context has it; all zeros when it belongs to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub struct TraceLink {
    /// The trace.
    pub trace_id: u128,
    /// The span in which the message was sent.
    pub span_id: u64,
}

/// Names a request, so that asking again does not do it again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// Makes a key of up to `most` bytes.
    ///
    /// # Errors
    /// `Invalid` when it is empty or too long.
    pub fn new(key: &str, most: usize) -> Result<Self> {
        if key.is_empty() || key.len() > most {
            return Err(Error::invalid(format!(
                "an idempotency key has 1 to {most} bytes, and this one has {}",
                key.len()
            )));
        }
        Ok(Self(key.into()))
    }

    /// Returns its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// With what a caller asks.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who asks.
    pub principal: Arc<Principal>,
    /// When the caller waits no longer.
    pub deadline: Option<Instant>,
    /// Where it belongs in a trace.
    pub trace: TraceLink,
    /// The request's name, where it has one.
    pub key: Option<IdempotencyKey>,
    /// The request's span, which the spans of whoever works on it stand below.
    pub(crate) span: Span,
}

impl Call {
    /// Makes a call without deadline, trace and key.
    pub fn new(principal: Arc<Principal>) -> Self {
        Self { principal, deadline: None, trace: TraceLink::default(), key: None, span: Span::none() }
    }

    /// Sets the deadline.
    pub fn by(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Puts it under a trace.
    pub fn in_trace(self, trace: TraceLink) -> Self {
        Self { trace, ..self }
    }
}

/// Where an answer goes. Dropping it tells the caller that there will be none.
#[derive(Debug)]
pub struct Reply<T>(oneshot::Sender<Result<T>>);

impl<T> Reply<T> {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Result<T>>) {
        let (to, from) = oneshot::channel();
        (Self(to), from)
    }

    /// Answers. A caller who has gone is not told.
    pub fn send(self, answer: Result<T>) {
        let _ = self.0.send(answer);
    }

    /// Returns whether the caller still waits.
    pub fn is_awaited(&self) -> bool {
        !self.0.is_closed()
    }
}

/// What the places of one actor are counted by. It outlives the actor's restarts.
pub(super) struct Places {
    pub(super) actor: String,
    pub(super) free: tokio::sync::Semaphore,
    pub(super) letters: Arc<DeadLetters>,
    pub(super) meter: Arc<ActorMeter>,
}

/// The place that a message takes until it is handled.
struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.free.add_permits(1);
    }
}

/// A message on its way: the command, with what a handler must know of the caller. The place that it takes among the actor's
/// messages is free again when the envelope is dropped, so a handler that answers later keeps it.
pub struct Envelope<C: Command> {
    /// With what it was asked.
    pub call: Call,
    command: Option<C>,
    name: &'static str,
    place: Place,
    sent: Instant,
    waiting: Span,
}

impl<C: Command> Envelope<C> {
    /// Takes a place that was found free, for what was sent then.
    pub(super) fn new(call: Call, command: C, places: Arc<Places>, sent: Instant) -> Self {
        let waiting = spans::wait(&call.span, &places.actor);
        Self { call, name: command.name(), command: Some(command), place: Place(places), sent, waiting }
    }

    /// Ends its waiting, as its turn has come, and returns the span in which it is handled.
    pub(super) fn end_wait(&mut self, now: Instant) -> Span {
        self.place.0.meter.waited(now.saturating_duration_since(self.sent));
        self.waiting = Span::none();
        spans::handle(&self.call.span, &self.place.0.actor, self.name)
    }

    /// Returns the command, once.
    pub fn open(&mut self) -> Option<C> {
        self.command.take()
    }

    /// Returns why the message is not worth handling any more.
    pub(crate) fn in_vain(&self, now: Instant) -> Option<Undelivered> {
        if self.call.deadline.is_some_and(|deadline| now >= deadline) {
            return Some(Undelivered::Late);
        }
        let awaited = self.command.as_ref().is_none_or(Command::is_awaited);
        (!awaited).then_some(Undelivered::CallerGone)
    }

    /// Puts it to the dead letters.
    pub(crate) fn bury(mut self, why: Undelivered) {
        self.command = None;
        self.write_letter(why);
    }

    fn write_letter(&self, why: Undelivered) {
        let Places { actor, letters, meter, .. } = &*self.place.0;
        meter.buried();
        letters.put(DeadLetter {
            actor: actor.clone(),
            command: self.name,
            principal: self.call.principal.id.clone(),
            trace: self.call.trace,
            why,
        });
    }
}

impl<C: Command> Drop for Envelope<C> {
    fn drop(&mut self) {
        // It was never opened: the actor died with it in its mailbox.
        if self.command.is_some() {
            self.write_letter(Undelivered::ActorDied);
        }
    }
}
