//! Measures of the actor layer beside the library it stands on, for `memos bench actors`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use memos_memory::cube::PrincipalId;
use memos_memory::error::{Error, Result};
use memos_memory::governance::Principal;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::{Behaviour, Broken, Call, ChildSpec, Command, Context, DeadLetters, Envelope, Home, Reply, spawn_alone};
use crate::limits::RuntimeLimits;

struct Echo;

struct Say(u64, Reply<u64>);

impl Command for Say {
    fn name(&self) -> &'static str {
        "Say"
    }

    fn is_awaited(&self) -> bool {
        self.1.is_awaited()
    }
}

impl Behaviour for Echo {
    type Command = Say;
    type Note = ();

    fn handle(&mut self, _: &mut Context<Self>, mut envelope: Envelope<Say>) -> std::result::Result<(), Broken> {
        if let Some(Say(number, reply)) = envelope.open() {
            reply.send(Ok(number));
        }
        Ok(())
    }

    fn note(&mut self, _: &mut Context<Self>, (): ()) -> std::result::Result<(), Broken> {
        Ok(())
    }
}

struct RawEcho;

struct RawSay(u64, RpcReplyPort<u64>);

#[cfg(feature = "cluster")]
impl ractor::Message for RawSay {}

impl Actor for RawEcho {
    type Msg = RawSay;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<RawSay>, (): ()) -> std::result::Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<RawSay>,
        RawSay(number, reply): RawSay,
        (): &mut (),
    ) -> std::result::Result<(), ActorProcessingErr> {
        // A caller who has gone needs no answer.
        let _ = reply.send(number);
        Ok(())
    }
}

/// Sends so many messages from so many callers, at most `mailbox` at a time, through a bounded handle to one actor,
/// each with a deadline, and waits for each answer. Returns how long it took.
///
/// # Errors
/// Those of the actor.
pub async fn round_trips(callers: usize, messages_each: u64, mailbox: usize) -> Result<Duration> {
    let letters = Arc::new(DeadLetters::new(RuntimeLimits::default().dead_letters));
    let home = Home::new("echo".to_owned(), mailbox, letters, Arc::default());
    let spec =
        ChildSpec { home, begin: Box::new(|_| Box::pin(async { Ok(Echo) })), first_note: Box::new(|| None), tasks: 1 };
    let (handle, alive) = spawn_alone(spec).await?;
    let principal = Arc::new(Principal::new("user:bench".parse::<PrincipalId>()?));
    let call = Call::new(principal).by(tokio::time::Instant::now() + Duration::from_secs(600));
    let started = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..callers {
        let (handle, call) = (handle.clone(), call.clone());
        tasks.push(tokio::spawn(async move {
            for number in 0..messages_each {
                if handle.ask(call.clone(), |reply| Say(number, reply)).await? != number {
                    return Err(Error::corrupt("another answer came back"));
                }
            }
            Ok(())
        }));
    }
    finish(tasks).await?;
    let took = started.elapsed();
    drop(alive);
    Ok(took)
}

/// Does the same with the library alone: no bound, no envelope, no deadline.
///
/// # Errors
/// Those of the actor.
pub async fn raw_round_trips(callers: usize, messages_each: u64) -> Result<Duration> {
    let failed = |e: &dyn std::fmt::Display| Error::unavailable(format!("the actor failed: {e}"));
    let (actor, _) = RawEcho::spawn(None, RawEcho, ()).await.map_err(|e| failed(&e))?;
    let started = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..callers {
        let actor = actor.clone();
        tasks.push(tokio::spawn(async move {
            for number in 0..messages_each {
                let answer = actor.call(|reply| RawSay(number, reply), None).await.map_err(|e| failed(&e))?;
                if !matches!(answer, ractor::rpc::CallResult::Success(back) if back == number) {
                    return Err(Error::corrupt("another answer came back"));
                }
            }
            Ok(())
        }));
    }
    finish(tasks).await?;
    let took = started.elapsed();
    actor.stop(None);
    Ok(took)
}

async fn finish(tasks: Vec<tokio::task::JoinHandle<Result<()>>>) -> Result<()> {
    for task in tasks {
        task.await.map_err(|e| Error::unavailable(format!("a caller failed: {e}")))??;
    }
    Ok(())
}

/// Waits a while, for a load that has its pace.
pub async fn rest(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Work beside the one that began it. Dropping it ends it.
pub struct Background(tokio::task::JoinHandle<Result<()>>);

/// Begins work beside this one.
pub fn in_background(work: impl Future<Output = Result<()>> + Send + 'static) -> Background {
    Background(tokio::spawn(work))
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}
