//! Handles: the bounded way to an actor, which stays the same when the actor is begun again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use memos_memory::error::{Error, ErrorKind, Result};
use ractor::ActorRef;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::behaviour::Behaviour;
use super::envelope::{Call, Envelope, Places, Reply};
use super::letters::{DeadLetters, Undelivered};
use super::shell::Mail;
use crate::telemetry::ActorMeter;
use crate::watched::Watched;

/// Whether an actor is there.
pub(crate) enum Presence<B: Behaviour> {
    /// It is begun, or begun again.
    Starting,
    /// It is there.
    Up(ActorRef<Mail<B>>),
    /// It is not, and will not be.
    Gone(String),
}

/// Where an actor lives: what stays when it is begun again.
pub(crate) struct Home<B: Behaviour> {
    places: Arc<Places>,
    most: u32,
    closed: AtomicBool,
    presence: Watched<Presence<B>>,
}

impl<B: Behaviour> Home<B> {
    pub(crate) fn new(actor: String, mailbox: usize, letters: Arc<DeadLetters>, meter: Arc<ActorMeter>) -> Arc<Self> {
        let most = u32::try_from(mailbox)
            .unwrap_or(u32::MAX)
            .clamp(1, u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        let places = Arc::new(Places { actor, free: Semaphore::new(most as usize), letters, meter });
        Arc::new(Self { places, most, closed: AtomicBool::new(false), presence: Watched::new(Presence::Starting) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.places.actor
    }

    pub(crate) fn set(&self, presence: Presence<B>) {
        self.presence.set(presence);
    }

    /// Takes no more messages.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Waits until all messages that were taken are handled. The gate must be closed.
    pub(crate) async fn drained(&self) {
        // Those who wait for a place find the gate closed and give it back.
        if let Ok(all) = self.places.free.acquire_many(self.most).await {
            drop(all);
        }
    }

    /// Returns how many messages it has before it, those it works on included, and how many it may have.
    pub(crate) fn queue(&self) -> (usize, usize) {
        let most = self.most as usize;
        (most.saturating_sub(self.places.free.available_permits()), most)
    }

    pub(super) fn meter(&self) -> Arc<ActorMeter> {
        self.places.meter.clone()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// The way to an actor. It is cheap to clone. What is sent through it takes a place until it is handled, and there are so many
/// places and no more.
pub struct Handle<B: Behaviour> {
    home: Arc<Home<B>>,
}

impl<B: Behaviour> Clone for Handle<B> {
    fn clone(&self) -> Self {
        Self { home: self.home.clone() }
    }
}

impl<B: Behaviour> Handle<B> {
    pub(crate) fn new(home: Arc<Home<B>>) -> Self {
        Self { home }
    }

    /// Returns the actor's name.
    pub fn name(&self) -> &str {
        self.home.name()
    }

    /// Returns how many messages the actor has before it, those it works on included.
    pub fn depth(&self) -> usize {
        (self.home.most as usize).saturating_sub(self.home.places.free.available_permits())
    }

    /// Sends a message, and waits for a place for it.
    ///
    /// # Errors
    /// `Deadline` when the deadline passes before; `Unavailable` when the actor takes no more messages.
    ///
    /// # Cancellation
    /// Nothing was sent when the wait is given up.
    pub async fn send(&self, call: Call, command: B::Command) -> Result<()> {
        let now = Instant::now();
        let Some(deadline) = call.deadline else { return self.send_whenever(call, command, now).await };
        // The check comes first: a free place would be taken without a look at the time.
        if now >= deadline {
            return Err(self.late());
        }
        timeout_at(deadline, self.send_whenever(call, command, now)).await.map_err(|_| self.late())?
    }

    async fn send_whenever(&self, call: Call, command: B::Command, sent: Instant) -> Result<()> {
        let home = &self.home;
        let permit = home.places.free.acquire().await.map_err(|_| self.closing())?;
        if home.is_closed() {
            return Err(self.closing());
        }
        permit.forget();
        let envelope = Envelope::new(call, command, home.places.clone(), sent);
        let Some(envelope) = self.post(envelope)? else { return Ok(()) };
        self.post_when_up(envelope).await
    }

    /// Sends a message if there is a place for it.
    ///
    /// # Errors
    /// `Busy` when there is none, or the actor is being begun again; `Unavailable` when the actor takes no more messages.
    pub fn try_send(&self, call: Call, command: B::Command) -> Result<()> {
        let home = &self.home;
        if home.is_closed() {
            return Err(self.closing());
        }
        let Ok(permit) = home.places.free.try_acquire() else {
            home.places.meter.refused();
            let full = format!("actor `{}` has {} messages before it; try again soon", self.name(), home.most);
            return Err(Error::new(ErrorKind::Busy, full));
        };
        permit.forget();
        match self.post(Envelope::new(call, command, home.places.clone(), Instant::now()))? {
            None => Ok(()),
            Some(mut envelope) => {
                drop(envelope.open());
                home.places.meter.refused();
                let begun = format!("actor `{}` is being begun again; try again soon", self.name());
                Err(Error::new(ErrorKind::Busy, begun))
            }
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// `Deadline` when it passes before the answer; `Unavailable` when the actor takes no more messages, or died with this one;
    /// else what the actor answers.
    ///
    /// # Cancellation
    /// A message whose turn has not come is not handled when the wait is given up.
    pub async fn ask<T: Send>(&self, call: Call, command: impl FnOnce(Reply<T>) -> B::Command) -> Result<T> {
        let (reply, answer) = Reply::new();
        let deadline = call.deadline;
        self.send(call, command(reply)).await?;
        let answered = match deadline {
            Some(deadline) => timeout_at(deadline, answer).await.map_err(|_| self.late())?,
            None => answer.await,
        };
        answered.unwrap_or_else(|_| {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(self.late());
            }
            Err(Error::unavailable(format!("actor `{}` ended before it answered; try again", self.name())))
        })
    }

    /// Puts the envelope into the mailbox, or gives it back when the actor is being begun.
    fn post(&self, envelope: Envelope<B::Command>) -> Result<Option<Envelope<B::Command>>> {
        match &*self.home.presence.look() {
            // Between its death and its next beginning an actor is still named here, and takes nothing.
            Presence::Up(actor) => match actor.send_message(Mail::Asked(envelope)) {
                Ok(()) => Ok(None),
                Err(ractor::MessagingErr::SendErr(Mail::Asked(envelope))) => Ok(Some(envelope)),
                Err(_) => Err(self.gone("it takes no messages")),
            },
            Presence::Starting => Ok(Some(envelope)),
            Presence::Gone(why) => {
                envelope.bury(Undelivered::ActorDied);
                Err(self.gone(why))
            }
        }
    }

    async fn post_when_up(&self, mut envelope: Envelope<B::Command>) -> Result<()> {
        loop {
            let changed = self.home.presence.changed();
            match self.post(envelope)? {
                None => return Ok(()),
                Some(back) => envelope = back,
            }
            changed.await;
        }
    }

    fn late(&self) -> Error {
        Error::new(
            ErrorKind::Deadline,
            format!("the deadline passed before actor `{}` had answered; give it more time", self.name()),
        )
    }

    fn closing(&self) -> Error {
        Error::unavailable(format!("actor `{}` takes no more messages, because it is being stopped", self.name()))
    }

    fn gone(&self, why: &str) -> Error {
        Error::unavailable(format!("actor `{}` is not there: {why}", self.name()))
    }
}
