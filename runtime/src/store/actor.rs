//! The actor: who comes to which desk when. It decides the order and does nothing itself: what is done at a desk runs
//! beside it, one thing at a time for each space, and comes back with the shelf.
//!
//! What is under way outlives an actor that fails, since it may be written already. The actor that is begun after it waits
//! at the gate of the space until that is known, and makes the shelf again from the registers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use memos_memory::cube::{PrincipalId, SpaceName};
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::governance::Principal;
use memos_memory::ledger::SpaceKey;
use parking_lot::Mutex;

use super::desk::{Arrived, Desk, Match, Revoked, Shop, Taken};
use super::matching::Interest;
use super::offer::{Offer, OfferDraft, OfferId, OfferView, SubscriptionId};
use super::shelf::{Shelf, StandingInterest};
use crate::actor::{Behaviour, Broken, Command, Context, Envelope, Reply};
use crate::vault::SpaceHandle;

/// What can be asked of the desk of a space.
pub(crate) enum Ask {
    Publish { draft: Box<OfferDraft>, reply: Reply<Offer> },
    Renew { offer: OfferId, reply: Reply<Offer> },
    Offers { reply: Reply<Vec<OfferView>> },
    Matching { reply: Reply<Vec<Match>> },
    Subscribe { interest: Interest, reply: Reply<StandingInterest> },
    Subscriptions { reply: Reply<Vec<StandingInterest>> },
    Unsubscribe { subscription: SubscriptionId, reply: Reply<()> },
    Take { offer: OfferId, into: SpaceHandle, owner: Option<PrincipalId>, reply: Reply<Taken> },
    Revoke { offer: OfferId, reason: String, reply: Reply<Revoked> },
    Export { offer: OfferId, to: Box<Principal>, key: SpaceKey, reply: Reply<Vec<u8>> },
    Notice { offer: OfferId, reply: Reply<Vec<u8>> },
    TakeBundle { bytes: Arc<[u8]>, owner: Option<PrincipalId>, signed_by: Option<SpaceKey>, reply: Reply<Arrived> },
    Enforce { reply: Reply<usize> },
}

/// What the actor can be asked to do.
pub(crate) enum StoreCommand {
    /// To do something at the desk of a space.
    Serve { space: SpaceHandle, ask: Ask },
    /// To fail as a broken invariant would make it.
    Fail { why: String },
}

impl Command for StoreCommand {
    fn name(&self) -> &'static str {
        match self {
            Self::Serve { ask, .. } => ask.name(),
            Self::Fail { .. } => "Fail",
        }
    }

    fn is_awaited(&self) -> bool {
        match self {
            Self::Serve { ask, .. } => ask.is_awaited(),
            Self::Fail { .. } => true,
        }
    }
}

impl Ask {
    fn name(&self) -> &'static str {
        match self {
            Self::Publish { .. } => "Publish",
            Self::Renew { .. } => "Renew",
            Self::Offers { .. } => "Offers",
            Self::Matching { .. } => "Matching",
            Self::Subscribe { .. } => "Subscribe",
            Self::Subscriptions { .. } => "Subscriptions",
            Self::Unsubscribe { .. } => "Unsubscribe",
            Self::Take { .. } => "Take",
            Self::Revoke { .. } => "Revoke",
            Self::Export { .. } => "Export",
            Self::Notice { .. } => "Notice",
            Self::TakeBundle { .. } => "TakeBundle",
            Self::Enforce { .. } => "Enforce",
        }
    }

    fn is_awaited(&self) -> bool {
        match self {
            Self::Publish { reply, .. } | Self::Renew { reply, .. } => reply.is_awaited(),
            Self::Offers { reply } => reply.is_awaited(),
            Self::Matching { reply } => reply.is_awaited(),
            Self::Subscribe { reply, .. } => reply.is_awaited(),
            Self::Subscriptions { reply } => reply.is_awaited(),
            Self::Unsubscribe { reply, .. } => reply.is_awaited(),
            Self::Take { reply, .. } => reply.is_awaited(),
            Self::Revoke { reply, .. } => reply.is_awaited(),
            Self::Export { reply, .. } | Self::Notice { reply, .. } => reply.is_awaited(),
            Self::TakeBundle { reply, .. } => reply.is_awaited(),
            Self::Enforce { reply } => reply.is_awaited(),
        }
    }

    /// Answers that it cannot be done.
    fn refuse(self, error: Error) {
        match self {
            Self::Publish { reply, .. } | Self::Renew { reply, .. } => reply.send(Err(error)),
            Self::Offers { reply } => reply.send(Err(error)),
            Self::Matching { reply } => reply.send(Err(error)),
            Self::Subscribe { reply, .. } => reply.send(Err(error)),
            Self::Subscriptions { reply } => reply.send(Err(error)),
            Self::Unsubscribe { reply, .. } => reply.send(Err(error)),
            Self::Take { reply, .. } => reply.send(Err(error)),
            Self::Revoke { reply, .. } => reply.send(Err(error)),
            Self::Export { reply, .. } | Self::Notice { reply, .. } => reply.send(Err(error)),
            Self::TakeBundle { reply, .. } => reply.send(Err(error)),
            Self::Enforce { reply } => reply.send(Err(error)),
        }
    }
}

impl Desk {
    /// Does what is asked, and returns whether the shelf is known to be as the registers are.
    async fn serve(&mut self, ask: Ask) -> bool {
        match ask {
            Ask::Publish { draft, reply } => {
                let done = self.publish(*draft).await;
                self.answer("publish", done, reply).await
            }
            Ask::Renew { offer, reply } => {
                let done = self.renew(offer).await;
                self.answer("renew", done, reply).await
            }
            Ask::Offers { reply } => {
                let done = self.offers().await;
                self.answer("offers", done, reply).await
            }
            Ask::Matching { reply } => {
                let done = self.matching().await;
                self.answer("matching", done, reply).await
            }
            Ask::Subscribe { interest, reply } => {
                let done = self.subscribe(interest).await;
                self.answer("subscribe", done, reply).await
            }
            Ask::Subscriptions { reply } => {
                let done = Ok(self.subscriptions());
                self.answer("subscriptions", done, reply).await
            }
            Ask::Unsubscribe { subscription, reply } => {
                let done = self.unsubscribe(subscription).await;
                self.answer("unsubscribe", done, reply).await
            }
            Ask::Take { offer, into, owner, reply } => {
                let done = self.take(offer, into, owner).await;
                self.answer("take", done, reply).await
            }
            Ask::Revoke { offer, reason, reply } => {
                let done = self.revoke(offer, reason).await;
                self.answer("revoke", done, reply).await
            }
            Ask::Export { offer, to, key, reply } => {
                let done = self.export(offer, *to, key).await;
                self.answer("export-offer", done, reply).await
            }
            Ask::Notice { offer, reply } => {
                let done = self.notice(offer).await;
                self.answer("notice", done, reply).await
            }
            Ask::TakeBundle { bytes, owner, signed_by, reply } => {
                let done = self.take_bundle(bytes, owner, signed_by).await;
                self.answer("take", done, reply).await
            }
            Ask::Enforce { reply } => {
                let done = self.enforce().await;
                self.answer("enforce", done, reply).await
            }
        }
    }

    async fn answer<T>(&self, operation: &'static str, done: Result<T>, reply: Reply<T>) -> bool {
        match done {
            Ok(done) => {
                reply.send(Ok(done));
                true
            }
            Err(error) => {
                let error = self.refused(operation, error).await;
                // What failed on the way may have been written or not.
                let is_known = matches!(error.kind(), ErrorKind::Denied | ErrorKind::NotFound | ErrorKind::Invalid);
                reply.send(Err(error));
                is_known
            }
        }
    }
}

/// One desk, as the actor sees it.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Envelope<StoreCommand>, SpaceHandle, Ask)>,
    is_served: bool,
    shelf: Option<Shelf>,
    used: u64,
}

/// The gates of the spaces: who does something at a desk holds its gate, whichever actor sent them.
#[derive(Clone, Default)]
pub(super) struct Gates(Arc<Mutex<HashMap<SpaceName, Arc<tokio::sync::Mutex<()>>>>>);

impl Gates {
    fn of(&self, space: &SpaceName) -> Arc<tokio::sync::Mutex<()>> {
        let mut gates = self.0.lock();
        gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        gates.entry(space.clone()).or_default().clone()
    }
}

/// What the actor tells itself.
pub(crate) enum StoreNote {
    /// What was asked at a desk is done, and this is its shelf, where it is known.
    Served { space: SpaceName, shelf: Option<Shelf> },
    /// It is time to see whether something is held longer than it may be.
    Look,
    /// That was seen to.
    Looked,
}

/// The actor begins as if it had just looked.
pub(super) fn first_note() -> Option<StoreNote> {
    Some(StoreNote::Looked)
}

/// Withdraws in all open spaces what is held longer than its licence allows.
async fn look(shop: Arc<Shop>) -> StoreNote {
    if let Some(kernel) = shop.kernel.upgrade()
        && let Ok(store) = kernel.store().await
    {
        for space in kernel.open_spaces().iter().filter_map(|name| kernel.open_space(name)) {
            // A failure is on record, and what is left is found the next time.
            let _ = store.enforce(&space).await;
        }
    }
    StoreNote::Looked
}

/// Serves the desks of a kernel.
pub(crate) struct Storekeeper {
    shop: Arc<Shop>,
    gates: Gates,
    queues: HashMap<SpaceName, Queue>,
    served: u64,
    /// Whether a look is due, or under way.
    is_look_set: bool,
}

impl Storekeeper {
    pub(super) fn new(shop: Arc<Shop>, gates: Gates) -> Self {
        Self { shop, gates, queues: HashMap::new(), served: 0, is_look_set: false }
    }

    fn serve_next(&mut self, context: &Context<Self>, space: &SpaceName) {
        let Some(queue) = self.queues.get_mut(space).filter(|queue| !queue.is_served) else { return };
        let next = std::iter::from_fn(|| queue.waiting.pop_front());
        let Some((envelope, handle, ask)) = next.into_iter().find(|(_, _, ask)| ask.is_awaited()) else { return };
        if envelope.in_vain(tokio::time::Instant::now()).is_some() {
            let late = Error::new(ErrorKind::Deadline, "the deadline passed before the desk was free");
            ask.refuse(late);
            context.mailbox().tell(StoreNote::Served { space: space.clone(), shelf: queue.shelf.take() });
            queue.is_served = true;
            return;
        }
        queue.is_served = true;
        let (shop, gate, shelf, name) = (self.shop.clone(), self.gates.of(space), queue.shelf.take(), space.clone());
        let under_way = tokio::spawn(async move {
            let _gate = gate.lock_owned().await;
            let call = envelope.call.clone();
            let caller = call.principal.clone();
            let is_open = shelf.is_some();
            let mut desk = Desk { shop, space: handle, caller, call, shelf: shelf.unwrap_or_default() };
            let opened = if is_open { Ok(()) } else { desk.open().await };
            let is_known = match opened {
                Ok(()) => desk.serve(ask).await,
                Err(error) => {
                    ask.refuse(error);
                    false
                }
            };
            drop(envelope);
            is_known.then_some(desk.shelf)
        });
        let back = async move { StoreNote::Served { space: name, shelf: under_way.await.unwrap_or_default() } };
        if context.spawn(back).is_err() {
            // It goes on by itself; who comes next waits at the gate, and makes the shelf anew.
            context.mailbox().tell(StoreNote::Served { space: space.clone(), shelf: None });
        }
    }

    /// Lets go of the shelves that were not used for longest.
    fn tidy(&mut self) {
        let idle = |queue: &Queue| !queue.is_served && queue.waiting.is_empty();
        while self.queues.len() > self.shop.limits.shelves.max(1) {
            let oldest = self.queues.iter().filter(|(_, queue)| idle(queue)).min_by_key(|(_, queue)| queue.used);
            let Some(oldest) = oldest.map(|(space, _)| space.clone()) else { return };
            self.queues.remove(&oldest);
        }
    }
}

impl Behaviour for Storekeeper {
    type Command = StoreCommand;
    type Note = StoreNote;

    fn handle(
        &mut self,
        context: &mut Context<Self>,
        mut envelope: Envelope<StoreCommand>,
    ) -> std::result::Result<(), Broken> {
        let (space, ask) = match envelope.open() {
            Some(StoreCommand::Serve { space, ask }) => (space, ask),
            Some(StoreCommand::Fail { why }) => return Err(Broken::new(why)),
            None => return Ok(()),
        };
        self.served += 1;
        let name = space.name().clone();
        let queue = self.queues.entry(name.clone()).or_default();
        queue.used = self.served;
        queue.waiting.push_back((envelope, space, ask));
        self.serve_next(context, &name);
        self.tidy();
        Ok(())
    }

    fn note(&mut self, context: &mut Context<Self>, note: StoreNote) -> std::result::Result<(), Broken> {
        match note {
            StoreNote::Served { space, shelf } => {
                if let Some(queue) = self.queues.get_mut(&space) {
                    queue.is_served = false;
                    queue.shelf = shelf;
                }
                self.serve_next(context, &space);
                self.tidy();
            }
            StoreNote::Look => self.is_look_set = context.spawn(look(self.shop.clone())).is_ok(),
            StoreNote::Looked => self.is_look_set = false,
        }
        // Where too much is under way, the next note asks again.
        if !self.is_look_set {
            self.is_look_set = context.after(self.shop.limits.enforce_every, StoreNote::Look).is_ok();
        }
        Ok(())
    }
}
