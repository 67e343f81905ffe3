//! Supervision: who is begun again when it fails, how often, and when it is given up.
//!
//! The library tells a supervisor that a child has ended, and nothing more; its default is to end with it. What is done
//! about it stands here: a child that failed is begun again from its spec, at once the first time and later and later
//! after that, until it fails too often within a window. Then it is given up, and nothing else with it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use memos_memory::error::{Error, Result};
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorStatus, SupervisionEvent};
use tokio::time::Instant;

use super::behaviour::{Behaviour, STOPPED_ITSELF};
use super::envelope::Reply;
use super::handle::Presence;
use super::shell::{ChildSpec, Later, spawn};
use crate::limits::RuntimeLimits;

/// What became of an actor of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActorFact {
    /// It is there.
    Started {
        /// Its name.
        actor: String,
        /// How many times it was begun before.
        generation: u64,
    },
    /// It failed, and will be begun again.
    Failed {
        /// Its name.
        actor: String,
        /// Why.
        why: String,
    },
    /// It failed too often and is not begun again.
    GivenUp {
        /// Its name.
        actor: String,
        /// Why, the last time.
        why: String,
    },
    /// It was stopped, or stopped itself.
    Stopped {
        /// Its name.
        actor: String,
    },
}

/// A child of any kind.
trait Child: Send + Sync {
    fn name(&self) -> &str;
    fn begin(self: Arc<Self>, generation: u64, supervisor: ActorCell) -> Later<Result<ActorCell>>;
    fn starting(&self);
    fn gone(&self, why: &str);
}

impl<B: Behaviour> Child for ChildSpec<B> {
    fn name(&self) -> &str {
        self.home.name()
    }

    fn begin(self: Arc<Self>, generation: u64, supervisor: ActorCell) -> Later<Result<ActorCell>> {
        Box::pin(spawn(self, generation, supervisor))
    }

    fn starting(&self) {
        self.home.set(Presence::Starting);
    }

    fn gone(&self, why: &str) {
        self.home.set(Presence::Gone(why.to_owned()));
    }
}

enum Order {
    Begin(Arc<dyn Child>, Reply<()>),
    Begun(u64, Arc<dyn Child>, Result<ActorCell>),
    Stop(String, Reply<()>),
}

#[cfg(feature = "cluster")]
impl ractor::Message for Order {}

struct Ward {
    child: Arc<dyn Child>,
    generation: u64,
    cell: Option<ActorCell>,
    restarts: VecDeque<Instant>,
    /// Who waits for the first beginning.
    begun: Option<Reply<()>>,
    /// Who waits for the end.
    ended: Vec<Reply<()>>,
}

struct Tree {
    wards: HashMap<u64, Ward>,
    next: u64,
    limits: RuntimeLimits,
    tell: Box<dyn Fn(ActorFact) + Send + Sync>,
}

struct Keeper;

impl Actor for Keeper {
    type Msg = Order;
    type State = Tree;
    type Arguments = Tree;

    async fn pre_start(&self, _: ActorRef<Order>, tree: Tree) -> std::result::Result<Tree, ActorProcessingErr> {
        Ok(tree)
    }

    async fn handle(
        &self,
        myself: ActorRef<Order>,
        order: Order,
        tree: &mut Tree,
    ) -> std::result::Result<(), ActorProcessingErr> {
        match order {
            Order::Begin(child, reply) => tree.adopt(&myself, child, reply),
            Order::Begun(number, child, begun) => tree.begun(&myself, number, &*child, begun),
            Order::Stop(name, reply) => tree.stop(&name, reply),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Order>,
        event: SupervisionEvent,
        tree: &mut Tree,
    ) -> std::result::Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, error) => tree.ended(&myself, cell.get_id(), Some(error.to_string())),
            SupervisionEvent::ActorTerminated(cell, state, reason) => {
                // Whoever waits for the end of the actor waits for what it held, too.
                drop(state);
                // Only a stop that was asked for is no failure.
                let asked = reason.as_deref().is_none_or(|reason| reason == STOPPED_ITSELF);
                tree.ended(&myself, cell.get_id(), (!asked).then(|| reason.unwrap_or_default()));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Tree {
    fn adopt(&mut self, myself: &ActorRef<Order>, child: Arc<dyn Child>, reply: Reply<()>) {
        let number = self.next;
        self.next += 1;
        let ward =
            Ward { child, generation: 0, cell: None, restarts: VecDeque::new(), begun: Some(reply), ended: Vec::new() };
        begin(myself, number, &ward, Duration::ZERO);
        self.wards.insert(number, ward);
    }

    fn begun(&mut self, myself: &ActorRef<Order>, number: u64, child: &dyn Child, begun: Result<ActorCell>) {
        let Some(ward) = self.wards.get_mut(&number) else {
            // It was stopped while it waited to be begun again.
            child.gone("it was stopped");
            return begun.into_iter().for_each(|cell| cell.stop(None));
        };
        match begun {
            Ok(cell) => {
                if !ward.ended.is_empty() {
                    // It was to be stopped while it was begun.
                    cell.stop(None);
                }
                let has_failed = cell.get_status() >= ActorStatus::Stopping;
                ward.cell = (!has_failed).then_some(cell);
                let (actor, generation) = (ward.child.name().to_owned(), ward.generation);
                (self.tell)(ActorFact::Started { actor, generation });
                if let Some(reply) = ward.begun.take() {
                    reply.send(Ok(()));
                }
                if has_failed {
                    // Its event came before this order, and named nobody who was known.
                    self.failed(myself, number, "it failed as it began");
                }
            }
            Err(error) => match ward.begun.take() {
                // The first time its caller is told, and decides.
                Some(reply) => {
                    ward.child.gone(&error.to_string());
                    ward.ended.drain(..).for_each(|reply| reply.send(Ok(())));
                    self.wards.remove(&number);
                    reply.send(Err(error));
                }
                None => self.failed(myself, number, &error.to_string()),
            },
        }
    }

    fn ended(&mut self, myself: &ActorRef<Order>, actor: ActorId, failure: Option<String>) {
        let found = self.wards.iter().find(|(_, ward)| ward.cell.as_ref().is_some_and(|cell| cell.get_id() == actor));
        let Some((&number, ward)) = found else { return };
        match failure {
            Some(why) if ward.ended.is_empty() => self.failed(myself, number, &why),
            _ => self.stopped(number),
        }
    }

    fn stopped(&mut self, number: u64) {
        let Some(ward) = self.wards.remove(&number) else { return };
        ward.child.gone("it was stopped");
        (self.tell)(ActorFact::Stopped { actor: ward.child.name().to_owned() });
        ward.ended.into_iter().for_each(|reply| reply.send(Ok(())));
    }

    fn failed(&mut self, myself: &ActorRef<Order>, number: u64, why: &str) {
        let Some(ward) = self.wards.get_mut(&number) else { return };
        if !ward.ended.is_empty() {
            return self.stopped(number);
        }
        ward.cell = None;
        let (now, actor) = (Instant::now(), ward.child.name().to_owned());
        ward.restarts.retain(|at| now.duration_since(*at) < self.limits.restart_window);
        if ward.restarts.len() >= self.limits.restarts {
            let why =
                format!("it failed {} times in a short while, the last time because {why}", ward.restarts.len() + 1);
            ward.child.gone(&why);
            self.wards.remove(&number);
            (self.tell)(ActorFact::GivenUp { actor, why });
            return;
        }
        let delay = match u32::try_from(ward.restarts.len()).unwrap_or(u32::MAX) {
            0 => Duration::ZERO,
            again => self.limits.restart_delay.saturating_mul(2_u32.saturating_pow(again - 1)),
        };
        ward.restarts.push_back(now);
        ward.generation += 1;
        ward.child.starting();
        begin(myself, number, ward, delay);
        (self.tell)(ActorFact::Failed { actor, why: why.to_owned() });
    }

    fn stop(&mut self, name: &str, reply: Reply<()>) {
        let Some((&number, ward)) = self.wards.iter_mut().find(|(_, ward)| ward.child.name() == name) else {
            return reply.send(Ok(()));
        };
        ward.ended.push(reply);
        if let Some(cell) = &ward.cell {
            cell.stop(None);
        } else if ward.generation > 0 {
            // It waits to be begun again, and will not be.
            self.stopped(number);
        }
    }
}

/// Begins a child beside the supervisor, who must not wait for it.
fn begin(myself: &ActorRef<Order>, number: u64, ward: &Ward, delay: Duration) {
    let (myself, child, generation) = (myself.clone(), ward.child.clone(), ward.generation);
    tokio::spawn(async move {
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let begun = child.clone().begin(generation, myself.get_cell()).await;
        // A supervisor that is gone took its children with it.
        let _ = myself.send_message(Order::Begun(number, child, begun));
    });
}

/// The way to a supervisor, for the kernel alone.
#[derive(Clone)]
pub(crate) struct Supervisor {
    myself: ActorRef<Order>,
}

impl Supervisor {
    pub(crate) async fn begin(limits: RuntimeLimits, tell: impl Fn(ActorFact) + Send + Sync + 'static) -> Result<Self> {
        let tree = Tree { wards: HashMap::new(), next: 0, limits, tell: Box::new(tell) };
        let (myself, _) = Keeper::spawn(None, Keeper, tree)
            .await
            .map_err(|e| Error::unavailable(format!("the supervisor could not be begun: {e}")))?;
        Ok(Self { myself })
    }

    /// Begins a child, and returns when it is there.
    pub(crate) async fn adopt<B: Behaviour>(&self, spec: ChildSpec<B>) -> Result<()> {
        let child: Arc<dyn Child> = Arc::new(spec);
        self.order(|reply| Order::Begin(child, reply)).await
    }

    /// Stops a child, and returns when it is gone.
    pub(crate) async fn stop_child(&self, name: &str) -> Result<()> {
        self.order(|reply| Order::Stop(name.to_owned(), reply)).await
    }

    async fn order(&self, order: impl FnOnce(Reply<()>) -> Order) -> Result<()> {
        let gone = || Error::unavailable("the kernel is shut down; open it again");
        let (reply, answer) = Reply::new();
        self.myself.send_message(order(reply)).map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Stops without waiting for the end; the children go with it.
    pub(crate) fn stop_soon(&self) {
        self.myself.stop(None);
    }

    pub(crate) async fn stop(&self) {
        // It is gone already, or goes now: both are what was asked.
        let _ = self.myself.stop_and_wait(None, None).await;
    }
}
