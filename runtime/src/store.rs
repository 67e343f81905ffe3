//! MemStore: memory that is offered to others, found by them, and taken under terms that hold.
//!
//! A publisher offers memories that they may share. Who may take them sees the offer; to everybody else it is not there.
//! Who has subscribed by tag or by meaning is told of it, or asks. Taking it makes copies in a space of the taker: of this
//! kernel, or of another organisation by a signed bundle. Copies end with their licence and with their offer, and a new
//! edition is their next version.
//!
//! What terms decide, what fits whom and what becomes of a copy are pure (`terms`, `matching`, `delivery`). All that is
//! known stands in registers of the spaces, in the same durable step as what it stands for, so that the actor remembers
//! nothing. Each publishing, taking, refusal and revocation is on record.
//!
//! What this cannot do: who has read a text can retype it. A bundle is in clear, and its terms bind those whose program
//! holds to them.

mod actor;
mod delivery;
mod desk;
mod facts;
mod licence;
mod limits;
mod matching;
mod offer;
mod parcel;
mod registers;
mod shelf;
mod terms;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use memos_memory::cube::PrincipalId;
use memos_memory::error::{Error, Result};
use memos_memory::governance::Principal;
use memos_memory::ledger::SpaceKey;
use tokio::time::Instant;

use self::actor::{Ask, Gates, StoreCommand, Storekeeper, first_note};
use self::desk::Shop;
use self::facts::Switchboard;
use crate::actor::{Call, Handle, IdempotencyKey, Reply, Subscription, TraceLink};
use crate::kernel::Kernel;
use crate::vault::SpaceHandle;

pub use delivery::Delivered;
pub use desk::{Arrived, Match, Revoked, Taken};
pub use facts::StoreFact;
pub use limits::StoreLimits;
pub use matching::{Fits, Interest, THRESHOLD};
pub use offer::{LicenceId, Offer, OfferDraft, OfferId, OfferView, Revocation, SubscriptionId, Vouched};
pub use shelf::StandingInterest;
pub use terms::{Takers, Terms};

/// The name of the actor.
const NAME: &str = "store";

/// The way to the actor, as the kernel keeps it.
#[derive(Clone)]
pub(crate) struct Counter {
    handle: Handle<Storekeeper>,
    shop: Arc<Shop>,
}

impl Counter {
    pub(crate) async fn begin(kernel: &Kernel) -> Result<Self> {
        let limits = kernel.limits().store.clone();
        let shop = Arc::new(Shop { kernel: kernel.downgrade(), board: Switchboard::new(&limits), limits });
        let (served, gates) = (shop.clone(), Gates::default());
        let begin = move |_| {
            let (shop, gates) = (served.clone(), gates.clone());
            async move { Ok(Storekeeper::new(shop, gates)) }
        };
        Ok(Self { handle: kernel.spawn_with_note(NAME, begin, first_note).await?, shop })
    }
}

/// MemStore of a kernel. It is cheap to clone.
#[derive(Clone)]
pub struct MemStore {
    kernel: Kernel,
    counter: Counter,
}

impl MemStore {
    pub(crate) fn new(kernel: Kernel, counter: Counter) -> Self {
        Self { kernel, counter }
    }

    /// Begins what a principal does at the desks of spaces. Whoever makes it vouches for them.
    pub fn session(&self, principal: Principal) -> StoreSession {
        let patience = self.kernel.limits().request;
        StoreSession { store: self.clone(), call: Call::new(Arc::new(principal)), patience }
    }

    /// Withdraws what is held in a space longer than its licence allows, whoever brought it back, and returns how many
    /// copies went. By itself the store does so in all open spaces every hour ([`StoreLimits::enforce_every`]).
    ///
    /// # Errors
    /// Those of reading and writing the space.
    pub async fn enforce(&self, space: &SpaceHandle) -> Result<usize> {
        self.session(Principal::keeper()?).send(space, |reply| Ask::Enforce { reply }).await
    }

    /// Makes the actor fail, as a broken invariant of its own would, so that it is begun again: for tests of what stands
    /// on it.
    ///
    /// # Errors
    /// `Unavailable` when the kernel is shut down.
    pub async fn fail(&self, why: impl Into<String>) -> Result<()> {
        let call = Call::new(Arc::new(Principal::keeper()?));
        self.counter.handle.send(call, StoreCommand::Fail { why: why.into() }).await
    }
}

/// What one principal does at the desks of spaces. It is cheap to clone.
///
/// # Cancellation
/// What has begun when its caller gives up is done to its end. Under a key, asking again tells what came of it.
#[derive(Clone)]
pub struct StoreSession {
    store: MemStore,
    call: Call,
    patience: Duration,
}

impl StoreSession {
    /// Gives each request so much time to begin and end.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Puts what it asks under a trace.
    pub fn in_trace(mut self, trace: TraceLink) -> Self {
        self.call.trace = trace;
        self
    }

    /// Makes a taking or an export a request of this name: asking again, also after a crash, takes nothing twice.
    ///
    /// # Errors
    /// `Invalid` when the key is empty or too long.
    pub fn with_key(mut self, key: &str) -> Result<Self> {
        self.call.key = Some(IdempotencyKey::new(key, self.store.kernel.limits().key_bytes)?);
        Ok(self)
    }

    async fn ask<T: Send>(&self, space: &SpaceHandle, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T> {
        if self.call.principal.is_keeper() {
            return Err(Error::denied("nobody acts in the name of the space itself"));
        }
        self.send(space, ask).await
    }

    async fn send<T: Send>(&self, space: &SpaceHandle, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T> {
        let call = Call { deadline: Instant::now().checked_add(self.patience), ..self.call.clone() };
        let space = space.clone();
        self.store.counter.handle.ask(call, |reply| StoreCommand::Serve { space, ask: ask(reply) }).await
    }

    /// Offers memories of a space to others.
    ///
    /// # Errors
    /// `Denied` for a memory that the principal may not read in full and share, or took under a licence that does not let
    /// it be passed on; `NotFound` for one that they may not see; `Invalid` when the draft breaks a limit; `Busy` when the
    /// space has as many offers as it may.
    pub async fn publish(&self, space: &SpaceHandle, draft: OfferDraft) -> Result<Offer> {
        self.ask(space, |reply| Ask::Publish { draft: Box::new(draft), reply }).await
    }

    /// Makes the next edition of an offer, of what its memories say now, and tells those who have it. When they say what
    /// they said, nothing changes.
    ///
    /// # Errors
    /// `NotFound` when there is none that the principal may see; `Denied` when it is not theirs or was revoked.
    pub async fn renew(&self, space: &SpaceHandle, offer: OfferId) -> Result<Offer> {
        self.ask(space, |reply| Ask::Renew { offer, reply }).await
    }

    /// Returns the offers of a space that are for the principal or theirs, oldest first.
    ///
    /// # Errors
    /// Those of reading the space.
    pub async fn offers(&self, space: &SpaceHandle) -> Result<Vec<OfferView>> {
        self.ask(space, |reply| Ask::Offers { reply }).await
    }

    /// Returns the offers of a space that the principal can take and has subscribed to.
    ///
    /// # Errors
    /// Those of reading the space.
    pub async fn matching(&self, space: &SpaceHandle) -> Result<Vec<Match>> {
        self.ask(space, |reply| Ask::Matching { reply }).await
    }

    /// Subscribes to offers of a space, until the principal ends it.
    ///
    /// # Errors
    /// `Invalid` when the interest breaks a limit; `Busy` when there are as many as there may be.
    pub async fn subscribe(&self, space: &SpaceHandle, interest: Interest) -> Result<StandingInterest> {
        self.ask(space, |reply| Ask::Subscribe { interest, reply }).await
    }

    /// Returns the principal's subscriptions to a space.
    ///
    /// # Errors
    /// Those of reading the space.
    pub async fn subscriptions(&self, space: &SpaceHandle) -> Result<Vec<StandingInterest>> {
        self.ask(space, |reply| Ask::Subscriptions { reply }).await
    }

    /// Ends a subscription.
    ///
    /// # Errors
    /// `NotFound` when the principal has none of this id.
    pub async fn unsubscribe(&self, space: &SpaceHandle, subscription: SubscriptionId) -> Result<()> {
        self.ask(space, |reply| Ask::Unsubscribe { subscription, reply }).await
    }

    /// Hears from now on of offers of a space that fit the principal's subscriptions, and of changes of those and of what
    /// they have taken. Who is heard of here is as they are vouched for now.
    ///
    /// # Errors
    /// `Busy` when as many listen as may.
    pub fn listen(&self, space: &SpaceHandle) -> Result<Subscription<StoreFact>> {
        if self.call.principal.is_keeper() {
            return Err(Error::denied("nobody acts in the name of the space itself"));
        }
        self.store.counter.shop.board.listen(space.name(), &self.call.principal)
    }

    /// Takes an offer of a space into another one of this kernel: makes copies there, which belong to the principal or to
    /// an owner for whom they may write. Taking a later edition makes the next version of the copies; taking the same one
    /// again changes and counts nothing.
    ///
    /// # Errors
    /// `NotFound` when there is none that is for the principal; `Denied` when its terms do not allow it, or when the
    /// principal may not write there.
    pub async fn take(
        &self,
        from: &SpaceHandle,
        offer: OfferId,
        into: &SpaceHandle,
        owner: Option<PrincipalId>,
    ) -> Result<Taken> {
        let into = into.clone();
        self.ask(from, |reply| Ask::Take { offer, into, owner, reply }).await
    }

    /// Ends an offer: it is not taken any more, and what was taken is withdrawn where its licence says so.
    ///
    /// # Errors
    /// `NotFound` when there is none that the principal may see; `Denied` when it is not theirs, and they govern the space
    /// not.
    pub async fn revoke(&self, space: &SpaceHandle, offer: OfferId, reason: impl Into<String>) -> Result<Revoked> {
        let reason = reason.into();
        self.ask(space, |reply| Ask::Revoke { offer, reason, reply }).await
    }

    /// Makes a signed bundle of an offer for one receiver, to be taken once, into the space with this key. That is one use.
    /// Its texts are marked with the receiver's name.
    ///
    /// # Errors
    /// As [`StoreSession::take`]; `Invalid` in a space that has no key.
    pub async fn export_offer(
        &self,
        space: &SpaceHandle,
        offer: OfferId,
        to: Principal,
        key: SpaceKey,
    ) -> Result<Vec<u8>> {
        self.ask(space, |reply| Ask::Export { offer, to: Box::new(to), key, reply }).await
    }

    /// Makes a signed notice that an offer was revoked, for those who took it by a bundle.
    ///
    /// # Errors
    /// `NotFound` when there is none that the principal may see; `Invalid` when it is not revoked.
    pub async fn notice(&self, space: &SpaceHandle, offer: OfferId) -> Result<Vec<u8>> {
        self.ask(space, |reply| Ask::Notice { offer, reply }).await
    }

    /// Takes what a bundle brings that [`StoreSession::export_offer`] or [`StoreSession::notice`] made elsewhere.
    ///
    /// # Errors
    /// `Invalid` when it was changed, is signed by nobody or by another key than `signed_by`; `Denied` when it is for
    /// somebody else or another space, was taken up, has ended or was revoked.
    pub async fn take_bundle(
        &self,
        into: &SpaceHandle,
        bundle: Vec<u8>,
        owner: Option<PrincipalId>,
        signed_by: Option<SpaceKey>,
    ) -> Result<Arrived> {
        let bytes: Arc<[u8]> = bundle.into();
        self.ask(into, |reply| Ask::TakeBundle { bytes, owner, signed_by, reply }).await
    }
}
