//! The gateway: how requests of other processes and machines reach a kernel.
//!
//! A handle of this process vouches for its principal; bytes from elsewhere vouch for nothing. So what comes in is a *sealed
//! request*, which shows a pass and is sealed with that pass's key. The gateway finds out whose it is, that it is fresh and
//! was not done before, and asks through an ordinary session, in which the space's rules decide. It takes no message when
//! it has as many before it as an actor may, whatever road they come by.
//!
//! It knows nothing of what carries the bytes. Nothing is encrypted here: the road does that, or whoever listens on it reads
//! along.

mod checks;
mod pass;
mod remembered;
mod request;
mod serve;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use memos_memory::cube::{GroupName, PrincipalId, SpaceName};
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::governance::{Charter, Member, Principal};
use memos_memory::keys::{Entropy, SystemEntropy};
use memos_memory::time::{Clock, SystemClock, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

pub use checks::Refusal;
use checks::{Checks, Known, Refused};
pub use pass::{GatewaySecret, IssuedPass, Pass, PassId, PassTerms};
use remembered::{Before, Rates, Remembered, RequestName};
pub use request::{Answer, Change, Command, Memory, Question, Request, RequestId, SealedRequest};
use request::{busy, failed, refused};

use crate::actor::{Behaviour, Broken, Call, Context, Envelope, Handle, Reply};
use crate::kernel::{Kernel, WeakKernel};

/// The gateway's name among the kernel's actors.
const ACTOR: &str = "gateway";

/// In whose name a request waits until it is known whose it is. No session is ever begun in it.
const UNKNOWN: &str = "agent:gateway";

/// The bounds of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayLimits {
    /// Bytes of a request.
    pub request_bytes: usize,
    /// Bytes of a pass.
    pub pass_bytes: usize,
    /// Spaces of one pass.
    pub pass_spaces: usize,
    /// How long a pass may be good for.
    pub pass_lifetime: Duration,
    /// Bytes of the name of a task or session.
    pub name_bytes: usize,
    /// Changes of one request, or cubes that it erases.
    pub changes: usize,
    /// How old a request may be when it comes. So long is it remembered.
    pub window: Duration,
    /// How far the clock of a sender may be ahead. So long after its beginning a gateway takes nothing, since a gateway
    /// before it may have taken the same.
    pub skew: Duration,
    /// Requests that are remembered.
    pub remembered: usize,
    /// Requests that are remembered of one principal.
    pub remembered_each: usize,
    /// Bytes of the answers that are remembered. Those under way may go beyond it.
    pub remembered_bytes: usize,
    /// Passes that are revoked. There is no room for more then, and the secret must be changed.
    pub revoked: usize,
    /// Principals who have asked lately.
    pub principals: usize,
    /// Requests of one principal in a second, over a long time, by all of their passes together.
    pub requests_per_second: u32,
    /// Requests of one principal at once.
    pub burst: u32,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self {
            request_bytes: 1024 * 1024,
            pass_bytes: 16 * 1024,
            pass_spaces: 64,
            pass_lifetime: Duration::from_secs(90 * 86_400),
            name_bytes: 256,
            changes: 256,
            window: Duration::from_secs(60),
            skew: Duration::from_secs(2),
            remembered: 262_144,
            remembered_each: 16_384,
            remembered_bytes: 64 * 1024 * 1024,
            revoked: 65_536,
            principals: 16_384,
            requests_per_second: 200,
            burst: 400,
        }
    }
}

/// What a principal is in a space: it stands on the roll, and in no request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The groups they belong to.
    pub groups: BTreeSet<GroupName>,
    /// Their roles.
    pub roles: BTreeSet<String>,
}

impl Standing {
    /// Returns what a charter's roll says of a principal. Where there is no roll, everybody is without groups and roles;
    /// where there is one, who is not on it is nobody.
    pub fn of(charter: &Charter, principal: &PrincipalId) -> Option<Self> {
        if charter.members().is_empty() {
            return Some(Self::default());
        }
        let Member { groups, roles } = charter.members().get(principal)?.clone();
        Some(Self { groups, roles })
    }
}

/// Says what a principal is in a space; none when they are nobody there. It is asked for each request, and answers at once.
pub type Roll = Arc<dyn Fn(&SpaceName, &PrincipalId) -> Option<Standing> + Send + Sync>;

/// What a gateway works with.
#[derive(Clone)]
pub struct GatewayOptions {
    /// The secret from which it makes passes.
    pub secret: GatewaySecret,
    /// Who is who.
    pub roll: Roll,
    /// Passes that were revoked before. Whoever revokes one keeps its id, until it would have expired.
    pub revoked: Vec<PassId>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives the randomness that passes' ids are made of.
    pub entropy: Arc<dyn Entropy>,
    /// The bounds.
    pub limits: GatewayLimits,
}

impl GatewayOptions {
    /// Makes options with the machine's clock and randomness and the default bounds.
    pub fn new(secret: GatewaySecret, roll: Roll) -> Self {
        Self {
            secret,
            roll,
            revoked: Vec::new(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            limits: GatewayLimits::default(),
        }
    }
}

/// What outlives the actor: a gateway that is begun again still knows what the one before it took.
struct State {
    secret: GatewaySecret,
    roll: Roll,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    limits: GatewayLimits,
    began: Timestamp,
    kernel: WeakKernel,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    remembered: Remembered,
    rates: Rates,
    revoked: HashSet<PassId>,
    refusals: HashMap<Refusal, u64>,
    /// The latest time that was seen: a clock that is put back makes nothing fresh again.
    latest: Timestamp,
}

/// What becomes of a request after its checks.
enum Next {
    /// It is answered with these bytes.
    Answer(Vec<u8>),
    /// It is done.
    Do(Box<Known>, InFlight),
}

impl State {
    fn now(&self, books: &mut Books) -> Timestamp {
        books.latest = books.latest.max(self.clock.now());
        books.latest
    }

    fn check(self: &Arc<Self>, bytes: &[u8]) -> Next {
        let mut books = self.books.lock();
        let now = self.now(&mut books);
        match self.admit(&mut books, bytes, now) {
            Ok(next) => next,
            Err(Refused { why, to }) => {
                *books.refusals.entry(why).or_default() += 1;
                Next::Answer(match to {
                    None => refused(),
                    Some(asker) => asker.seal(&encoded(&failed(&why.error(now)))),
                })
            }
        }
    }

    fn admit(self: &Arc<Self>, books: &mut Books, bytes: &[u8], now: Timestamp) -> std::result::Result<Next, Refused> {
        let Books { remembered, rates, revoked, .. } = books;
        let checks = Checks { secret: &self.secret, limits: &self.limits, revoked, now, began: self.began };
        let known = checks.know(bytes)?;
        let told = |why| Refused { why, to: Some(known.asker.clone()) };
        if let Before::Answered(answer) = remembered.look(&known, &self.limits).map_err(told)? {
            return Ok(Next::Answer(known.asker.seal(&answer)));
        }
        rates.take(&known.pass.terms.principal, &self.limits, now).map_err(told)?;
        let name = remembered.begin(&known, &self.limits, now).map_err(told)?;
        let writes = known.command.changes();
        Ok(Next::Do(Box::new(known), InFlight { state: self.clone(), name, writes, is_over: false }))
    }

    fn refuse(&self, why: Refusal) -> Error {
        let mut books = self.books.lock();
        *books.refusals.entry(why).or_default() += 1;
        why.error(books.latest)
    }

    /// Does a request, and returns the bytes of its answer.
    async fn answer(self: Arc<Self>, known: Known, in_flight: InFlight) -> Vec<u8> {
        let asker = known.asker.clone();
        let done = match (self.kernel.upgrade(), (self.roll)(&known.space, &known.pass.terms.principal)) {
            (_, None) => Err(self.refuse(Refusal::Roll)),
            (None, _) => Err(Error::unavailable("the kernel is shut down")),
            (Some(kernel), Some(standing)) => {
                let now = self.clock.now();
                serve::serve(kernel, known, standing, now).await
            }
        };
        let may_change = done.as_ref().is_err_and(|error| error.kind().is_retryable());
        let body = encoded(&done.unwrap_or_else(|error| failed(&error)));
        in_flight.end(&body, may_change);
        asker.seal(&body)
    }
}

fn encoded(answer: &wire::AnswerV1) -> Vec<u8> {
    // Writing to memory what holds numbers and texts does not fail. Were it to, nobody could open the answer.
    wire::encode(answer).unwrap_or_default()
}

/// A request that is being done. One that is dropped before its end has come to nothing.
struct InFlight {
    state: Arc<State>,
    name: RequestName,
    writes: bool,
    is_over: bool,
}

impl InFlight {
    fn end(mut self, answer: &[u8], may_change: bool) {
        self.is_over = true;
        let mut books = self.state.books.lock();
        match (self.writes, may_change) {
            (false, _) => books.remembered.end(&self.name, None),
            (true, false) => books.remembered.end(&self.name, Some(answer.to_vec())),
            // It may be done or not; the space knows, by the request's key, when it is sent again.
            (true, true) => books.remembered.forget(&self.name),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut books = self.state.books.lock();
        match self.writes {
            true => books.remembered.forget(&self.name),
            false => books.remembered.end(&self.name, None),
        }
    }
}

/// What the actor can be asked to do: to answer a sealed request.
struct Ask {
    bytes: Vec<u8>,
    reply: Reply<Vec<u8>>,
}

impl crate::actor::Command for Ask {
    fn name(&self) -> &'static str {
        "Ask"
    }

    fn is_awaited(&self) -> bool {
        self.reply.is_awaited()
    }
}

struct Porter(Arc<State>);

/// A request was answered.
struct Answered;

impl Behaviour for Porter {
    type Command = Ask;
    type Note = Answered;

    fn handle(&mut self, context: &mut Context<Self>, mut envelope: Envelope<Ask>) -> std::result::Result<(), Broken> {
        let Some(Ask { bytes, reply }) = envelope.open() else { return Ok(()) };
        match self.0.check(&bytes) {
            Next::Answer(answer) => reply.send(Ok(answer)),
            Next::Do(known, in_flight) => {
                let state = self.0.clone();
                // It keeps its place until it is answered. Where there is no room for it, all of it is dropped, and whoever
                // waits is told that there is no place.
                let _ = context.spawn(async move {
                    let answer = state.answer(*known, in_flight).await;
                    drop(envelope);
                    reply.send(Ok(answer));
                    Answered
                });
            }
        }
        Ok(())
    }

    fn note(&mut self, _: &mut Context<Self>, _: Answered) -> std::result::Result<(), Broken> {
        Ok(())
    }
}

/// An answer on its way.
type Coming = tokio::sync::oneshot::Receiver<Result<Vec<u8>>>;

/// The way in for sealed requests. It is cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    handle: Handle<Porter>,
    state: Arc<State>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

impl Gateway {
    /// Opens the gateway of a kernel.
    ///
    /// # Errors
    /// `Conflict` when it has one; `Invalid` when more passes are revoked than the bounds let be.
    pub async fn open(kernel: &Kernel, options: GatewayOptions) -> Result<Self> {
        let GatewayOptions { secret, roll, revoked, clock, entropy, limits } = options;
        if revoked.len() > limits.revoked {
            let most = limits.revoked;
            return Err(Error::invalid(format!("{} passes are revoked, and at most {most} may be", revoked.len())));
        }
        let began = clock.now();
        let books = Books { revoked: revoked.into_iter().collect(), latest: began, ..Books::default() };
        let kernel_again = kernel.downgrade();
        let books = Mutex::new(books);
        let state = Arc::new(State { secret, roll, clock, entropy, limits, began, kernel: kernel_again, books });
        let begun = state.clone();
        let begin = move |_| std::future::ready(Ok(Porter(begun.clone())));
        Ok(Self { handle: kernel.spawn(ACTOR, begin).await?, state })
    }

    /// Makes a pass.
    ///
    /// # Errors
    /// As [`GatewaySecret::issue`].
    pub fn issue(&self, terms: PassTerms) -> Result<IssuedPass> {
        let State { secret, clock, entropy, limits, .. } = &*self.state;
        secret.issue(terms, limits, clock.now(), &**entropy)
    }

    /// Revokes a pass. What comes under it from now on is refused; what was begun before may still be answered.
    ///
    /// # Errors
    /// `Busy` when there is no room for one more; change the secret, which ends all passes.
    pub fn revoke(&self, pass: PassId) -> Result<()> {
        let mut books = self.state.books.lock();
        if books.revoked.len() >= self.state.limits.revoked && !books.revoked.contains(&pass) {
            let full = format!("{} passes are revoked already; change the gateway's secret", books.revoked.len());
            return Err(Error::new(ErrorKind::Busy, full));
        }
        books.revoked.insert(pass);
        Ok(())
    }

    /// Answers a sealed request, whatever it is: what is wrong with it stands in the answer, for whom it concerns.
    pub async fn ask(&self, request: Vec<u8>) -> Vec<u8> {
        self.begin(request).await
    }

    /// Takes a request in if there is a place for it, before anybody waits.
    pub(crate) fn begin(&self, bytes: Vec<u8>) -> impl Future<Output = Vec<u8>> + Send + 'static {
        let sent = self.send(bytes);
        async move {
            match sent {
                Ok(answer) => answer.await.ok().and_then(Result::ok).unwrap_or_else(busy),
                Err(answer) => answer,
            }
        }
    }

    fn send(&self, bytes: Vec<u8>) -> std::result::Result<Coming, Vec<u8>> {
        // Too long is not even kept until its turn comes.
        if bytes.len() > self.state.limits.request_bytes {
            self.state.refuse(Refusal::TooLong);
            return Err(refused());
        }
        let principal = UNKNOWN.parse().map(Principal::new).map_err(|_| busy())?;
        let mut call = Call::new(Arc::new(principal));
        let kernel = self.state.kernel.upgrade().ok_or_else(busy)?;
        call.deadline = Instant::now().checked_add(kernel.limits().request);
        let (reply, answer) = Reply::new();
        self.handle.try_send(call, Ask { bytes, reply }).map_err(|_| busy())?;
        Ok(answer)
    }

    /// Opens a door to the gateway for the other machines of the cluster, which find it under this name and send through it
    /// with [`send_through`](crate::actor::send_through).
    ///
    /// # Errors
    /// `Unavailable` when it cannot be opened.
    #[cfg(feature = "cluster")]
    pub async fn open_door(&self, group: &str) -> Result<crate::actor::Door> {
        let gateway = self.clone();
        crate::actor::Door::open(group, move |bytes| Box::pin(gateway.begin(bytes))).await
    }

    /// Returns how many requests were refused since the gateway was opened, by reason, in the order of the checks.
    pub fn refusals(&self) -> Vec<(Refusal, u64)> {
        let books = self.state.books.lock();
        Refusal::ALL.iter().filter_map(|why| Some((*why, *books.refusals.get(why)?))).collect()
    }
}
