//! The gateway: who comes in, what comes twice, and what strangers are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use memos_memory::cube::{CubeDraft, CubeId, Layer, PrincipalId, SemanticType, SpaceName, State, Update, UpdateMode};
use memos_memory::error::ErrorKind;
use memos_memory::governance::{CUSTODIAN, KEEPER, Principal};
use memos_memory::graph::{Link, LinkKind};
use memos_memory::keys::{Entropy, SeededEntropy};
use memos_memory::time::{Clock, Timestamp};
use memos_memory::vault::VaultOptions;
use tempfile::TempDir;

use super::checks::Checks;
use super::pass::VERSION;
use super::remembered::{Before, Rates, Remembered};
use super::wire::{self, PassV1};
use super::*;
use crate::actor::TraceLink;
use crate::{KernelOptions, RuntimeLimits};

const LONG: Duration = Duration::from_secs(60);
const NOON: i64 = 1_750_000_000_000;
const SECRET: &[u8] = b"a secret of the tests, and of nobody else";

#[derive(Clone)]
struct Hands(Arc<AtomicI64>);

impl Hands {
    fn put(&self, seconds: i64) {
        self.0.store(NOON + seconds * 1000, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

fn after(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOON + seconds * 1000)
}

fn limits() -> GatewayLimits {
    GatewayLimits { skew: Duration::from_secs(2), window: Duration::from_secs(60), ..GatewayLimits::default() }
}

fn name(text: &str) -> PrincipalId {
    text.parse().unwrap()
}

fn support() -> SpaceName {
    "acme/support".parse().unwrap()
}

fn terms(principal: &str) -> PassTerms {
    PassTerms::new(name(principal), [support()], after(3600))
}

fn fact(text: &str) -> CubeDraft {
    CubeDraft { layer: Layer::Global, ..CubeDraft::text(SemanticType::Fact, text) }
}

/// Numbers requests, so that each is another.
fn fresh() -> RequestId {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    RequestId::from_bytes((NEXT.fetch_add(1, Ordering::SeqCst) as u128).to_be_bytes())
}

/// A kernel with its gateway, ten seconds after it began.
struct House {
    kernel: Kernel,
    gateway: Gateway,
    hands: Hands,
    _folder: TempDir,
}

impl House {
    async fn new() -> Self {
        Self::with(limits(), RuntimeLimits::default()).await
    }

    async fn with(limits: GatewayLimits, runtime: RuntimeLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vault = VaultOptions::builtin().unwrap();
        let kernel = Kernel::open_with(folder.path(), KernelOptions { vault, limits: runtime }).await.unwrap();
        let hands = Hands(Arc::new(AtomicI64::new(NOON - 10_000)));
        let gateway = Gateway::open(&kernel, Self::options(&hands, limits)).await.unwrap();
        hands.put(0);
        Self { kernel, gateway, hands, _folder: folder }
    }

    fn options(hands: &Hands, limits: GatewayLimits) -> GatewayOptions {
        // Cy is a custodian; Eve is nobody here.
        let roll: Roll = Arc::new(|_, principal| match principal.as_str() {
            "user:eve" => None,
            "user:cy" => Some(Standing { roles: [CUSTODIAN.to_owned()].into(), ..Standing::default() }),
            _ => Some(Standing { groups: ["kitchen".parse().unwrap()].into(), ..Standing::default() }),
        });
        GatewayOptions {
            clock: Arc::new(hands.clone()),
            entropy: Arc::new(SeededEntropy::new(1)),
            limits,
            ..GatewayOptions::new(GatewaySecret::new(SECRET).unwrap(), roll)
        }
    }

    fn pass(&self, principal: &str) -> IssuedPass {
        self.gateway.issue(terms(principal)).unwrap()
    }

    fn request(&self, command: Command) -> Request {
        Request::new(support(), fresh(), self.hands.now(), command)
    }

    fn seal(&self, pass: &IssuedPass, command: Command) -> SealedRequest {
        pass.seal(self.request(command)).unwrap()
    }

    async fn send(&self, sealed: &SealedRequest) -> Result<Answer> {
        sealed.open(&self.gateway.ask(sealed.bytes().to_vec()).await)
    }

    async fn ask(&self, pass: &IssuedPass, command: Command) -> Result<Answer> {
        self.send(&self.seal(pass, command)).await
    }

    async fn remember(&self, pass: &IssuedPass, draft: CubeDraft) -> CubeId {
        match self.ask(pass, Command::remember(draft)).await.unwrap() {
            Answer::Committed { stored, .. } => stored[0].cube,
            other => panic!("{other:?}"),
        }
    }

    async fn get(&self, pass: &IssuedPass, cube: CubeId) -> Result<Memory> {
        self.ask(pass, Command::Get(cube)).await.map(|answer| match answer {
            Answer::Got(memory) => *memory,
            other => panic!("{other:?}"),
        })
    }

    /// How many cubes the space has.
    async fn cubes(&self) -> usize {
        let session = self.kernel.space("acme/support").await.unwrap().session(Principal::new(name("ada")));
        session.work(|space, by| Ok(space.stats(by).cubes)).await.unwrap()
    }
}

fn kind(answer: Result<Answer>) -> ErrorKind {
    answer.unwrap_err().kind()
}

#[tokio::test]
async fn a_bearer_does_through_the_gateway_what_a_session_does() {
    let house = House::new().await;
    let (ada, bo) = (house.pass("ada"), house.pass("bo"));
    let oven = house.remember(&ada, fact("The oven is broken since Monday")).await;
    let lemons = house.remember(&ada, fact("There are twelve lemons left")).await;
    let seen = house.get(&bo, lemons).await.unwrap();
    assert_eq!((seen.text.as_str(), seen.version, seen.redacted), ("There are twelve lemons left", 1, false));
    let used = Update { cube: lemons, parent: seen.digest, mode: UpdateMode::Append("and three limes".into()) };
    assert_eq!(kind(house.ask(&bo, Command::update(used.clone())).await), ErrorKind::Denied);
    house.ask(&ada, Command::update(used.clone())).await.unwrap();
    assert_eq!(kind(house.ask(&ada, Command::update(used)).await), ErrorKind::Conflict);
    let link = Link { from: oven, kind: LinkKind::About, to: lemons };
    let archived = Change::SetState { cube: oven, state: State::Archived, reason: "mended".into() };
    house.ask(&ada, Command::Commit(vec![Change::Link(link), archived])).await.unwrap();
    assert_eq!(house.get(&bo, oven).await.unwrap().state, State::Archived);
    let Answer::Recalled { memories, considered, .. } =
        house.ask(&bo, Command::ask("How many lemons are left?")).await.unwrap()
    else {
        panic!("no answer")
    };
    assert_eq!((memories[0].cube, memories[0].rule.as_str(), considered), (lemons, "it is global", 1));
    let erase = |reason: &str| Command::Erase { cubes: vec![lemons], reason: reason.into() };
    assert_eq!(kind(house.ask(&bo, erase("no")).await), ErrorKind::Denied);
    assert!(
        matches!(house.ask(&ada, erase("eaten")).await.unwrap(), Answer::Erased { cubes, .. } if cubes == [lemons])
    );
    house.kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn roles_and_groups_come_from_the_roll() {
    let house = House::new().await;
    let (ada, bo, cy, eve) = (house.pass("ada"), house.pass("bo"), house.pass("cy"), house.pass("eve"));
    let shared = CubeDraft { layer: Layer::Shared("kitchen".parse().unwrap()), ..fact("The salt is behind the flour") };
    let id = house.remember(&ada, shared).await;
    assert!(house.get(&bo, id).await.is_ok());
    // Cy is in no group, and may erase all the same.
    assert_eq!(house.get(&cy, id).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(kind(house.ask(&eve, Command::ask("Where is the salt?")).await), ErrorKind::Denied);
    assert_eq!(house.gateway.refusals(), [(Refusal::Roll, 1)]);
    let erase = Command::Erase { cubes: vec![id], reason: "spilt".into() };
    house.ask(&cy, erase).await.unwrap();
}

/// One request for each reason to refuse it, and what its sender is told.
#[tokio::test]
async fn each_check_refuses_for_its_own_reason() {
    let few = GatewayLimits { request_bytes: 4096, changes: 2, burst: 3, requests_per_second: 1, ..limits() };
    let house = House::with(few.clone(), RuntimeLimits::default()).await;
    let gateway = &house.gateway;
    let ada = house.pass("ada");
    let ask = || Command::ask("Where is the salt?");
    let good = || house.seal(&ada, ask());
    let at = |seconds: i64| ada.seal(Request { sent: after(seconds), ..house.request(ask()) }).unwrap();
    let changed = |sealed: SealedRequest, at: usize| {
        let mut bytes = sealed.bytes().to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let of_secret = |secret: &[u8], terms: PassTerms| {
        let secret = GatewaySecret::new(secret).unwrap();
        secret.issue(terms, &few, house.hands.now(), &SeededEntropy::new(9)).unwrap()
    };
    let (revoked, soon) = (house.pass("ada"), PassTerms { expires: after(5), ..terms("ada") });
    gateway.revoke(revoked.pass().id).unwrap();
    let soon = gateway.issue(soon).unwrap();
    let keeper = forged_pass(&house, KEEPER);
    let elsewhere = |space: &str| Request { space: space.parse().unwrap(), ..house.request(ask()) };
    let long = Command::remember(fact(&"x".repeat(5000)));
    let many = Command::Commit(vec![
        Change::SetState {
            cube: CubeId::from_bytes([1; 16]),
            state: State::Archived,
            reason: String::new()
        };
        3
    ]);
    let end = good().bytes().len() - 1;
    let (silent, told) = (None, Some);
    for (bytes, why, said) in [
        (house.seal(&ada, long).bytes().to_vec(), Refusal::TooLong, silent),
        (Vec::new(), Refusal::Version, silent),
        (b"\x02whatever".to_vec(), Refusal::Version, silent),
        (vec![VERSION], Refusal::Pass, silent),
        (changed(good(), 30), Refusal::Pass, silent),
        (
            of_secret(&[SECRET, b"!"].concat(), terms("ada")).seal(house.request(ask())).unwrap().bytes().to_vec(),
            Refusal::Pass,
            silent,
        ),
        (keeper.seal(house.request(ask())).unwrap().bytes().to_vec(), Refusal::Keeper, silent),
        (house.seal(&revoked, ask()).bytes().to_vec(), Refusal::Revoked, silent),
        (ada.seal(elsewhere("acme/finance")).unwrap().bytes().to_vec(), Refusal::Space, silent),
        (ada.seal_body("../support", b"").unwrap().bytes().to_vec(), Refusal::Space, silent),
        (ada.seal_body("acme/support/../finance", b"").unwrap().bytes().to_vec(), Refusal::Space, silent),
        (changed(good(), end), Refusal::Seal, silent),
        (changed(good(), end - 40), Refusal::Seal, silent),
        (at(-61).bytes().to_vec(), Refusal::Stale, told(ErrorKind::Denied)),
        (at(3).bytes().to_vec(), Refusal::Stale, told(ErrorKind::Denied)),
        (at(i64::MIN / 4000).bytes().to_vec(), Refusal::Stale, told(ErrorKind::Denied)),
        (at(i64::MAX / 4000).bytes().to_vec(), Refusal::Stale, told(ErrorKind::Denied)),
        (
            ada.seal_body("acme/support", b"nothing to read").unwrap().bytes().to_vec(),
            Refusal::Unreadable,
            told(ErrorKind::Invalid),
        ),
        (house.seal(&ada, many).bytes().to_vec(), Refusal::Unreadable, told(ErrorKind::Invalid)),
        (
            ada.seal(Request { task: Some("t".repeat(257)), ..house.request(ask()) }).unwrap().bytes().to_vec(),
            Refusal::Unreadable,
            told(ErrorKind::Invalid),
        ),
        (
            ada.seal(Request { deadline: after(0), ..house.request(ask()) }).unwrap().bytes().to_vec(),
            Refusal::Late,
            told(ErrorKind::Deadline),
        ),
    ] {
        let before = count(gateway, why);
        let answer = gateway.ask(bytes).await;
        assert_eq!(count(gateway, why), before + 1, "{why:?}: {:?}", gateway.refusals());
        assert_eq!(answer == refused(), said.is_none(), "{why:?}");
    }
    house.hands.put(6);
    assert_eq!(kind(house.ask(&soon, ask()).await), ErrorKind::Denied);
    assert_eq!(count(gateway, Refusal::Expired), 1);
    // What holds of a request that is good but comes twice, and then of one too many.
    let read = house.seal(&ada, ask());
    assert!(house.send(&read).await.is_ok());
    assert_eq!(kind(house.send(&read).await), ErrorKind::Conflict);
    let other = Command::ask("Where is the flour?");
    let reused = ada.seal(Request { id: wire_id(&read, &ada), ..house.request(other) }).unwrap();
    assert_eq!(kind(house.send(&reused).await), ErrorKind::Conflict);
    for _ in 0..2 {
        assert!(house.ask(&ada, ask()).await.is_ok());
    }
    assert_eq!(kind(house.ask(&ada, ask()).await), ErrorKind::Busy);
    // Another pass of the same principal asks no more than that; another principal does.
    assert_eq!(kind(house.ask(&house.pass("ada"), ask()).await), ErrorKind::Busy);
    assert!(house.ask(&house.pass("bo"), ask()).await.is_ok());
    house.hands.put(7);
    assert!(house.ask(&ada, ask()).await.is_ok());
    let counts: Vec<(Refusal, u64)> =
        [Refusal::Replayed, Refusal::Reused, Refusal::Rate].map(|why| (why, count(gateway, why))).into();
    assert_eq!(counts, [(Refusal::Replayed, 1), (Refusal::Reused, 1), (Refusal::Rate, 2)]);
}

fn count(gateway: &Gateway, why: Refusal) -> u64 {
    gateway.refusals().iter().find(|(known, _)| *known == why).map_or(0, |(_, count)| *count)
}

/// Reads the id out of a request's bytes.
fn wire_id(sealed: &SealedRequest, pass: &IssuedPass) -> RequestId {
    let start = 1 + 4 + pass.bytes.len() + 1 + "acme/support".len();
    RequestId::from_bytes(sealed.bytes()[start..start + 16].try_into().unwrap())
}

/// A pass that the gateway's own secret sealed, and that it would not have made.
fn forged_pass(house: &House, principal: &str) -> IssuedPass {
    use memos_memory::keys::MacKey;
    let good = house.pass("ada");
    let pass = Pass { terms: PassTerms { principal: name(principal), ..terms("ada") }, ..good.pass().clone() };
    let root = MacKey::from_secret(SECRET).unwrap();
    let mut bytes = vec![VERSION];
    bytes.extend(wire::encode(&PassV1::from(&pass)).unwrap());
    let seal = root.derive(b"memos gateway pass 1", &[]).tag(&[&bytes]);
    bytes.extend(seal);
    let kept = good.expose();
    IssuedPass::read(&[&kept[..32], &bytes].concat()).unwrap()
}

#[tokio::test]
async fn a_write_that_comes_twice_is_done_once_and_answered_as_the_first_time() {
    let house = House::new().await;
    let ada = house.pass("ada");
    let sealed = house.seal(&ada, Command::remember(fact("The oven is mended")));
    let first = house.send(&sealed).await.unwrap();
    assert_eq!(house.send(&sealed).await.unwrap(), first);
    // Sealed anew, as by a sender who did not get the answer.
    let id = wire_id(&sealed, &ada);
    house.hands.put(50);
    let again = Request { id, ..house.request(Command::remember(fact("The oven is mended"))) };
    let resealed = ada.seal(again.clone()).unwrap();
    assert_eq!(house.send(&resealed).await.unwrap(), first);
    house.hands.put(75);
    // The first copy is stale by now; the second is remembered as long as it could pass.
    assert_eq!(kind(house.send(&sealed).await), ErrorKind::Denied);
    assert_eq!(house.send(&resealed).await.unwrap(), first);
    assert_eq!(house.cubes().await, 1);
    // And when it could not, the space still knows the request by its key.
    house.hands.put(300);
    let late = ada.seal(Request { sent: house.hands.now(), deadline: after(330), ..again }).unwrap();
    assert_eq!(house.send(&late).await.unwrap(), first);
    assert_eq!(house.cubes().await, 1);
    // An erasure has no key in the space, and is not done twice either.
    let Answer::Committed { stored, .. } = first else { panic!("{first:?}") };
    let erase = house.seal(&ada, Command::Erase { cubes: vec![stored[0].cube], reason: "done".into() });
    let erased = house.send(&erase).await.unwrap();
    assert_eq!(house.send(&erase).await.unwrap(), erased);
    // What was refused stays refused.
    let wrong = house.seal(&ada, Command::Erase { cubes: vec![stored[0].cube], reason: "again".into() });
    assert_eq!(kind(house.send(&wrong).await), kind(house.send(&wrong).await));
}

#[tokio::test]
async fn a_gateway_that_begins_again_takes_nothing_that_one_before_may_have_taken() {
    let house = House::new().await;
    let ada = house.pass("ada");
    let (now, ahead) = (house.seal(&ada, Command::ask("one")), after(2));
    let fast = ada.seal(Request { sent: ahead, ..house.request(Command::ask("two")) }).unwrap();
    assert!(house.send(&now).await.is_ok() && house.send(&fast).await.is_ok());
    // The actor alone: what it knows outlives it.
    house.kernel.stop(ACTOR, LONG).await.unwrap();
    let reopened = Gateway::open(&house.kernel, House::options(&house.hands, limits())).await.unwrap();
    for seconds in 0..4 {
        house.hands.put(seconds);
        for sealed in [&now, &fast] {
            let answer = reopened.ask(sealed.bytes().to_vec()).await;
            assert_eq!(kind(sealed.open(&answer)), ErrorKind::Denied, "after {seconds} s");
        }
    }
    let next = house.seal(&ada, Command::ask("three"));
    assert!(next.open(&reopened.ask(next.bytes().to_vec()).await).is_ok());
    // A clock that is put back makes nothing fresh.
    house.hands.put(200);
    assert!(next.open(&reopened.ask(house.seal(&ada, Command::ask("four")).bytes().to_vec()).await).is_err());
    house.hands.put(3);
    assert_eq!(kind(next.open(&reopened.ask(next.bytes().to_vec()).await)), ErrorKind::Denied);
}

#[tokio::test]
async fn a_revoked_pass_is_refused_from_then_on() {
    let house = House::new().await;
    let (ada, other) = (house.pass("ada"), house.pass("ada"));
    let id = house.remember(&ada, fact("The door is open")).await;
    let written = house.seal(&ada, Command::remember(fact("The door is shut")));
    house.send(&written).await.unwrap();
    house.gateway.revoke(ada.pass().id).unwrap();
    assert_eq!(house.get(&ada, id).await.unwrap_err().kind(), ErrorKind::Denied);
    // Nor is it told again what it was told before.
    assert_eq!(house.gateway.ask(written.bytes().to_vec()).await, refused());
    assert!(house.get(&other, id).await.is_ok());
    let options = GatewayOptions { revoked: vec![other.pass().id], ..House::options(&house.hands, limits()) };
    house.kernel.stop(ACTOR, LONG).await.unwrap();
    let reopened = Gateway::open(&house.kernel, options).await.unwrap();
    house.hands.put(10);
    assert_eq!(reopened.ask(house.seal(&other, Command::Get(id)).bytes().to_vec()).await, refused());
}

#[tokio::test]
async fn answers_hold_for_their_request_alone() {
    let house = House::new().await;
    let ada = house.pass("ada");
    let (one, two) = (house.seal(&ada, Command::ask("one")), house.seal(&ada, Command::ask("two")));
    let (answer, other) =
        (house.gateway.ask(one.bytes().to_vec()).await, house.gateway.ask(two.bytes().to_vec()).await);
    assert!(one.open(&answer).is_ok() && two.open(&other).is_ok());
    assert_eq!(kind(one.open(&other)), ErrorKind::Corrupt);
    assert_eq!(kind(house.seal(&house.pass("ada"), Command::ask("one")).open(&answer)), ErrorKind::Corrupt);
    for at in 2..answer.len() {
        let mut changed = answer.clone();
        changed[at] ^= 0x10;
        assert_eq!(kind(one.open(&changed)), ErrorKind::Corrupt, "byte {at}");
        assert!(one.open(&answer[..at]).is_err(), "{at} bytes");
    }
}

#[tokio::test]
async fn when_there_is_no_place_the_answer_is_busy() {
    let house = House::with(limits(), RuntimeLimits { mailbox: 2, ..RuntimeLimits::default() }).await;
    let ada = house.pass("ada");
    house.remember(&ada, fact("The gate is green")).await;
    // All are sent before the gateway's turn comes, on the one thread of this test.
    let sealed: Vec<SealedRequest> =
        (0..5).map(|_| house.seal(&ada, Command::ask("What colour is the gate?"))).collect();
    let sent: Vec<_> = sealed.iter().map(|sealed| house.gateway.begin(sealed.bytes().to_vec())).collect();
    let mut kinds = Vec::new();
    for (sealed, answer) in sealed.iter().zip(sent) {
        kinds.push(sealed.open(&answer.await).map_err(|error| error.kind()).map(|_| ()));
    }
    let busy = Err(ErrorKind::Busy);
    assert_eq!(kinds, [Ok(()), Ok(()), busy, busy, busy]);
    // What had no place was not remembered, and can be sent again.
    assert!(house.send(&sealed[2]).await.is_ok());
}

#[test]
fn a_secret_that_is_not_set_opens_no_gateway() {
    for secret in [&b""[..], b"short", &[0; 32], &[b'a'; 64], b"0123456789012345678901234567890"] {
        assert_eq!(GatewaySecret::new(secret).unwrap_err().kind(), ErrorKind::Invalid, "{} bytes", secret.len());
    }
    let said = GatewaySecret::new(b"swordfish").unwrap_err().to_string();
    assert!(!said.contains("swordfish"), "{said}");
    assert!(!format!("{:?}", GatewaySecret::new(SECRET).unwrap()).contains("secret of"));
}

#[test]
fn passes_are_made_within_bounds() {
    let (secret, entropy) = (GatewaySecret::new(SECRET).unwrap(), SeededEntropy::new(3));
    let issue = |terms: PassTerms| secret.issue(terms, &limits(), after(0), &entropy);
    let spaces = |count: usize| (0..count).map(|number| format!("acme/{number}").parse().unwrap()).collect::<Vec<_>>();
    for (terms, good) in [
        (terms("ada"), true),
        (terms(KEEPER), false),
        (PassTerms { spaces: spaces(0), ..terms("ada") }, false),
        (PassTerms { spaces: spaces(64), ..terms("ada") }, true),
        (PassTerms { spaces: spaces(65), ..terms("ada") }, false),
        (PassTerms { expires: after(0), ..terms("ada") }, false),
        (PassTerms { expires: after(90 * 86_400), ..terms("ada") }, true),
        (PassTerms { expires: after(90 * 86_400 + 1), ..terms("ada") }, false),
        (PassTerms { expires: Timestamp::from_millis(i64::MAX), ..terms("ada") }, false),
        (PassTerms { purpose: Some("p".repeat(20_000)), ..terms("ada") }, false),
    ] {
        assert_eq!(issue(terms.clone()).is_ok(), good, "{terms:?}");
    }
    let pass = issue(terms("ada")).unwrap();
    let kept = IssuedPass::read(&pass.expose()).unwrap();
    assert_eq!(kept.pass(), pass.pass());
    assert_ne!(pass.pass().id, issue(terms("ada")).unwrap().pass().id);
    assert_eq!(pass.pass().id.to_string().parse::<PassId>().unwrap(), pass.pass().id);
    assert!("+0000000000000000000000000000001".parse::<PassId>().is_err());
    // Neither the key nor what is needed to make it is shown.
    assert!(!format!("{pass:?}").contains("keys"));
}

#[test]
fn what_a_gateway_does_not_take_is_not_sealed() {
    let pass =
        GatewaySecret::new(SECRET).unwrap().issue(terms("ada"), &limits(), after(0), &SeededEntropy::new(3)).unwrap();
    let seal = |draft: CubeDraft| pass.seal(Request::new(support(), fresh(), after(0), Command::remember(draft)));
    assert!(seal(fact("x")).is_ok());
    assert!(seal(CubeDraft { owner: Some(name("bo")), ..fact("x") }).is_err());
    assert!(seal(CubeDraft { legal_hold: true, ..fact("x") }).is_err());
}

/// Bytes that differ from good ones in every bit, length and order, and bytes that are good up to what a bearer may write:
/// none is taken for another, and none does harm.
#[test]
fn mutated_bytes_are_refused() {
    let (secret, entropy, limits) = (GatewaySecret::new(SECRET).unwrap(), SeededEntropy::new(7), limits());
    let pass = secret.issue(terms("ada"), &limits, after(0), &entropy).unwrap();
    let revoked = HashSet::new();
    let checks = Checks { secret: &secret, limits: &limits, revoked: &revoked, now: after(1), began: after(-100) };
    let trace = TraceLink { trace_id: 7, span_id: 9 };
    let draft = CubeDraft { tags: vec!["a".into()], ..fact("The salt is behind the flour") };
    let request = Request { trace, ..Request::new(support(), fresh(), after(0), Command::remember(draft)) };
    let good = pass.seal(request).unwrap().bytes().to_vec();
    assert_eq!(checks.know(&good).unwrap().trace, trace);
    for bit in 0..8 * good.len() {
        let mut changed = good.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(checks.know(&changed).unwrap_err().to.is_none(), "bit {bit}");
    }
    for length in 0..good.len() {
        assert!(checks.know(&good[..length]).is_err(), "{length} bytes");
        assert!(
            checks.know(&[&good[length..], &good[..length]].concat()).is_err() || length == 0,
            "turned by {length}"
        );
    }
    assert!(checks.know(&[good.as_slice(), &[0]].concat()).is_err());
    for bit in 0..8 * pass.bytes.len() {
        let mut changed = pass.bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(secret.read(&changed).is_none(), "bit {bit}");
    }
    // From here on the bearer seals it: what may be read is read the same again, and the rest is refused with a reason.
    let body = &good[1 + 4 + pass.bytes.len() + 1 + "acme/support".len()..good.len() - 32];
    let mut noise = vec![0; 64];
    let mut taken = 0;
    for round in 0..20_000_usize {
        entropy.fill(&mut noise).unwrap();
        let mut changed = body.to_vec();
        for change in noise.chunks_exact(4).take(1 + round % 5) {
            let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % changed.len();
            match change[2] % 4 {
                0 => changed[at] = change[3],
                1 => changed[at] ^= 1 << (change[3] % 8),
                2 => changed.truncate(at.max(1)),
                _ => changed.insert(at, change[3]),
            }
        }
        let sealed = pass.seal_body("acme/support", &changed).unwrap();
        match checks.know(sealed.bytes()) {
            Err(refused) => assert!(refused.to.is_some(), "{:?}", refused.why),
            Ok(known) => {
                taken += 1;
                let Known { id, sent, deadline, trace, task, session, command, .. } = known;
                let again = Request { space: support(), id, sent, deadline, trace, task, session, command };
                let resealed = pass.seal(again).unwrap();
                assert_eq!(checks.know(resealed.bytes()).unwrap().digest, known.digest);
            }
        }
    }
    assert!(taken > 100, "only {taken} were taken, so nothing was tried");
}

#[test]
fn nothing_that_could_pass_is_forgotten_to_make_room() {
    let secret = GatewaySecret::new(SECRET).unwrap();
    let limits = GatewayLimits { remembered: 5, remembered_each: 3, burst: 2, principals: 2, ..limits() };
    let known = |principal: &str, sent: i64| {
        let pass = secret.issue(terms(principal), &limits, after(0), &SeededEntropy::new(3)).unwrap();
        let request = Request::new(support(), fresh(), after(sent), Command::remember(fact("x")));
        let revoked = HashSet::new();
        let now = after(sent);
        let checks = Checks { secret: &secret, limits: &limits, revoked: &revoked, now, began: after(-100) };
        checks.know(pass.seal(request).unwrap().bytes()).unwrap()
    };
    let mut remembered = Remembered::default();
    let first = known("ada", 0);
    let mut begin = |known: &Known, at: i64| remembered.begin(known, &limits, after(at)).map(|_| ());
    assert_eq!(begin(&first, 0), Ok(()));
    assert_eq!([0; 3].map(|_| begin(&known("ada", 1), 1)), [Ok(()), Ok(()), Err(Refusal::Full)]);
    assert_eq!([0; 3].map(|_| begin(&known("bo", 2), 2)), [Ok(()), Ok(()), Err(Refusal::Full)]);
    assert_eq!(begin(&known("cy", 60), 60), Err(Refusal::Full));
    assert_eq!(remembered.look(&first, &limits), Err(Refusal::InFlight));
    let name = (name("ada"), first.id);
    remembered.end(&name, Some(vec![1, 2, 3]));
    assert_eq!(remembered.look(&first, &limits), Ok(Before::Answered(vec![1, 2, 3])));
    // At 61 seconds no copy of the first can pass any more. The others are still being done.
    assert_eq!(remembered.begin(&known("cy", 61), &limits, after(61)).map(|_| ()), Ok(()));
    assert_eq!(remembered.look(&first, &limits), Ok(Before::New));
    assert_eq!(remembered.len(), (5, 5));
    remembered.begin(&known("cy", 200), &limits, after(200)).unwrap_err();

    let mut rates = Rates::default();
    let mut take = |principal: &str, at: i64| rates.take(&self::name(principal), &limits, after(at));
    assert_eq!([take("ada", 0), take("ada", 0), take("ada", 0)], [Ok(()), Ok(()), Err(Refusal::Rate)]);
    assert_eq!([take("bo", 0), take("cy", 0)], [Ok(()), Err(Refusal::Full)]);
    // A second later the first two have all left again, and need not be known.
    assert_eq!([take("cy", 1), take("ada", 1)], [Ok(()), Ok(())]);
}

#[cfg(feature = "cluster")]
#[tokio::test]
async fn another_machine_comes_in_through_the_door_and_no_further() {
    use crate::actor::{Door, send_through};

    let house = House::with(limits(), RuntimeLimits { mailbox: 2, ..RuntimeLimits::default() }).await;
    let ada = house.pass("ada");
    let door = house.gateway.open_door("memos tests: one door").await.unwrap();
    let green = house.seal(&ada, Command::remember(fact("The gate is green")));
    let (read, echoed) = Door::over_the_wire(green.bytes().to_vec());
    assert_eq!((read.as_slice(), echoed.await.unwrap().as_slice()), (green.bytes(), green.bytes()));
    // What the library decodes reaches the space, in the bearer's name.
    let answer = door.receive(None, green.bytes().to_vec()).await.unwrap();
    assert!(matches!(green.open(&answer), Ok(Answer::Committed { .. })));
    let sent = send_through("memos tests: one door", green.bytes().to_vec(), LONG).await.unwrap();
    assert_eq!(green.open(&sent).unwrap(), green.open(&answer).unwrap());
    // What is no letter is dropped, and what is no request is refused. The door stands.
    door.receive_cast(green.bytes().to_vec());
    assert!(door.receive(Some("Commit"), green.bytes().to_vec()).await.is_err());
    assert_eq!(door.receive(None, b"in the name of user:ada".to_vec()).await.unwrap(), refused());
    // More than the gateway has places for: the rest is told so, and none of it waits anywhere.
    let sealed: Vec<SealedRequest> =
        (0..50).map(|_| house.seal(&ada, Command::ask("What colour is the gate?"))).collect();
    let answers: Vec<_> = sealed.iter().map(|sealed| door.receive(None, sealed.bytes().to_vec())).collect();
    let (mut answered, mut busy) = (0, 0);
    for (sealed, answer) in sealed.iter().zip(answers) {
        match sealed.open(&answer.await.unwrap()) {
            Ok(_) => answered += 1,
            Err(error) => busy += usize::from(error.kind() == ErrorKind::Busy),
        }
    }
    assert!(answered >= 2 && busy > 0 && answered + busy == 50, "{answered} answered, {busy} busy");
    drop(door);
    house.kernel.shutdown(LONG).await.unwrap();
}
