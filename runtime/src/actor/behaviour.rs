//! What an actor does, and what it can reach while it does it.

use std::sync::Arc;
use std::time::Duration;

use memos_memory::error::{Error, ErrorKind, Result};
use ractor::ActorRef;
use tokio::sync::{Notify, Semaphore};

use super::envelope::Envelope;
use super::shell::Mail;

/// What an actor can be asked to do. Imperatives (`Store`), each with the place where its answer goes.
pub trait Command: Send + 'static {
    /// Returns the name that stands on a dead letter.
    fn name(&self) -> &'static str;

    /// Returns whether somebody still waits for the answer; true where there is none.
    fn is_awaited(&self) -> bool;
}

/// What an actor does with what it is sent. Its state is its own fields; a restart makes them again.
pub trait Behaviour: Sized + Send + 'static {
    /// What others ask of it.
    type Command: Command;
    /// What it tells itself: results of spawned work, and timers.
    type Note: Send + 'static;

    /// Handles a message of another. Failures that are the caller's business travel in the reply.
    ///
    /// # Errors
    /// When an invariant of the actor itself is broken. It is killed then, and begun again.
    fn handle(
        &mut self,
        context: &mut Context<Self>,
        envelope: Envelope<Self::Command>,
    ) -> std::result::Result<(), Broken>;

    /// Handles a message of its own.
    ///
    /// # Errors
    /// As [`Behaviour::handle`].
    fn note(&mut self, context: &mut Context<Self>, note: Self::Note) -> std::result::Result<(), Broken>;
}

/// An invariant of an actor that does not hold any more.
#[derive(Debug)]
pub struct Broken(String);

impl Broken {
    /// Says what does not hold.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// Where an actor tells itself something from another thread or task. It can be cloned and outlive the actor; what it
/// tells then is dropped.
pub struct Mailbox<B: Behaviour> {
    pub(super) myself: ActorRef<Mail<B>>,
}

impl<B: Behaviour> Clone for Mailbox<B> {
    fn clone(&self) -> Self {
        Self { myself: self.myself.clone() }
    }
}

impl<B: Behaviour> Mailbox<B> {
    /// Tells the actor a note.
    pub fn tell(&self, note: B::Note) {
        // An actor that is gone has nobody to tell; whoever waits for it learns so from the dropped reply.
        let _ = self.myself.send_message(Mail::Note(note));
    }
}

/// What a handler can reach.
pub struct Context<B: Behaviour> {
    pub(super) mailbox: Mailbox<B>,
    pub(super) generation: u64,
    pub(super) tasks: Arc<Semaphore>,
    pub(super) alive: Alive,
}

/// Tells the tasks of an actor, in the order in which they were begun, that it is gone.
#[derive(Default)]
pub(super) struct Alive(Arc<Notify>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

impl<B: Behaviour> Context<B> {
    /// Returns how many times the actor was begun before this time.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns where other threads tell this actor what they found.
    pub fn mailbox(&self) -> Mailbox<B> {
        self.mailbox.clone()
    }

    /// Does work beside the actor, and tells it what came of it. The work ends with the actor.
    ///
    /// # Errors
    /// `Busy` when the actor has as much under way as it may.
    pub fn spawn(&self, work: impl Future<Output = B::Note> + Send + 'static) -> Result<()> {
        let Ok(permit) = self.tasks.clone().try_acquire_owned() else {
            return Err(Error::new(ErrorKind::Busy, "the actor has as much under way as it may; try again soon"));
        };
        let (mailbox, gone) = (self.mailbox.clone(), self.alive.0.clone().notified_owned());
        tokio::spawn(async move {
            let _permit = permit;
            // In a fixed order, so that a run can be repeated.
            tokio::select! {
                biased;
                () = gone => {}
                note = work => mailbox.tell(note),
            }
        });
        Ok(())
    }

    /// Tells the actor a note once, after a while. There is no repetition: whoever wants to be told again says so when
    /// the work that the note began is done, so that slow work is never begun twice.
    ///
    /// # Errors
    /// As [`Context::spawn`].
    pub fn after(&self, delay: Duration, note: B::Note) -> Result<()> {
        self.spawn(async move {
            tokio::time::sleep(delay).await;
            note
        })
    }

    /// Stops the actor when this handler has ended. It is not begun again.
    pub fn stop(&self) {
        self.mailbox.myself.stop(Some(STOPPED_ITSELF.to_owned()));
    }
}

pub(super) const STOPPED_ITSELF: &str = "stopped itself";
