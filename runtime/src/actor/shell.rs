//! The shell around a behaviour: what every actor does the same way, before its own handler is called.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use memos_memory::error::{Error, Result};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::behaviour::{Alive, Behaviour, Context, Mailbox};
use super::envelope::Envelope;
use super::handle::{Handle, Home, Presence};
use crate::telemetry::ActorMeter;

pub(crate) type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What lies in an actor's mailbox.
pub(crate) enum Mail<B: Behaviour> {
    /// From others, with a place that it takes.
    Asked(Envelope<B::Command>),
    /// From itself.
    Note(B::Note),
}

// Not serialisable, so the library refuses to send it to another machine, and that is right: what comes over its wire
// lands in the mailbox itself, past the handle, without a place and in the name of whomever the peer says. A peer's
// messages come through a door, which hands bytes to the gateway; and the gateway asks by a handle.
#[cfg(feature = "cluster")]
impl<B: Behaviour> ractor::Message for Mail<B> {}

struct Shell<B>(PhantomData<fn() -> B>);

struct Standing<B: Behaviour> {
    behaviour: B,
    context: Context<B>,
    meter: Arc<ActorMeter>,
}

struct Beginning<B: Behaviour> {
    spec: Arc<ChildSpec<B>>,
    generation: u64,
}

impl<B: Behaviour> Actor for Shell<B> {
    type Msg = Mail<B>;
    type State = Standing<B>;
    type Arguments = Beginning<B>;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<B>>,
        beginning: Beginning<B>,
    ) -> std::result::Result<Standing<B>, ActorProcessingErr> {
        let Beginning { spec, generation } = beginning;
        let tasks = Arc::new(Semaphore::new(spec.tasks.min(Semaphore::MAX_PERMITS)));
        let mut context = Context { mailbox: Mailbox { myself }, generation, tasks, alive: Alive::default() };
        let mut behaviour = (spec.begin)(generation).await?;
        if let Some(first) = (spec.first_note)() {
            behaviour.note(&mut context, first)?;
        }
        Ok(Standing { behaviour, context, meter: spec.home.meter() })
    }

    async fn handle(
        &self,
        _: ActorRef<Mail<B>>,
        mail: Mail<B>,
        state: &mut Standing<B>,
    ) -> std::result::Result<(), ActorProcessingErr> {
        let Standing { behaviour, context, meter } = state;
        let begun = Instant::now();
        let done = match mail {
            Mail::Asked(mut envelope) => match envelope.in_vain(begun) {
                Some(why) => {
                    envelope.bury(why);
                    return Ok(());
                }
                None => envelope.end_wait(begun).in_scope(|| behaviour.handle(context, envelope)),
            },
            Mail::Note(note) => behaviour.note(context, note),
        };
        meter.served(begun.elapsed());
        Ok(done?)
    }
}

/// How one actor is begun, each time.
pub(crate) struct ChildSpec<B: Behaviour> {
    pub(crate) home: Arc<Home<B>>,
    /// Makes the state, from what is durable.
    pub(crate) begin: Box<dyn Fn(u64) -> Later<Result<B>> + Send + Sync>,
    /// What it tells itself first.
    pub(crate) first_note: Box<dyn Fn() -> Option<B::Note> + Send + Sync>,
    pub(crate) tasks: usize,
}

/// Begins one actor under a supervisor, and makes its handles lead to it.
pub(super) async fn spawn<B: Behaviour>(
    spec: Arc<ChildSpec<B>>,
    generation: u64,
    supervisor: ActorCell,
) -> Result<ActorCell> {
    let home = spec.home.clone();
    let beginning = Beginning { spec, generation };
    // No name: the library's names are the process's, and ours are the kernel's.
    let (actor, _) = Shell::spawn_linked(None, Shell(PhantomData), beginning, supervisor).await.map_err(not_begun)?;
    home.set(Presence::Up(actor.clone()));
    Ok(actor.get_cell())
}

/// Begins one actor without a supervisor, for what measures and tests the way to it.
pub(crate) async fn spawn_alone<B: Behaviour>(spec: ChildSpec<B>) -> Result<(Handle<B>, Alone)> {
    let home = spec.home.clone();
    let beginning = Beginning { spec: Arc::new(spec), generation: 0 };
    let (actor, _) = Shell::spawn(None, Shell(PhantomData), beginning).await.map_err(not_begun)?;
    home.set(Presence::Up(actor.clone()));
    Ok((Handle::new(home), Alone(actor.get_cell())))
}

/// Stops an actor without a supervisor when it is dropped.
pub(crate) struct Alone(ActorCell);

impl Drop for Alone {
    fn drop(&mut self) {
        self.0.stop(None);
    }
}

fn not_begun(error: SpawnErr) -> Error {
    match error {
        SpawnErr::StartupFailed(error) => match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => Error::unavailable(format!("the actor could not be begun: {error}")),
        },
        error => Error::unavailable(format!("the actor could not be begun: {error}")),
    }
}
