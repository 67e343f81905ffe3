//! Each habit of the actors, beside what the library does by itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::governance::Principal;
use ractor::{Actor, ActorProcessingErr, ActorRef, OutputPort, RpcReplyPort};
use tokio::task::yield_now;
use tokio::time::{Instant, advance, sleep};

use super::supervisor::Supervisor;
use super::*;
use crate::limits::RuntimeLimits;

/// What the probe was seen to do; it outlives the probe.
#[derive(Default)]
struct Seen {
    handled: AtomicUsize,
    jobs: AtomicUsize,
    jobs_at_once: AtomicUsize,
}

enum Ask {
    /// To answer how many such questions this life of the actor has had.
    Count(Reply<usize>),
    /// To keep the envelope until `LetGo`.
    Hold,
    LetGo,
    Refuse(Reply<usize>),
    Break,
    Panic,
    /// To ask another probe to count, and pass its answer on.
    Through(Handle<Probe>, Reply<usize>),
    /// To begin a job of ten seconds every second.
    Tick,
}

impl Command for Ask {
    fn name(&self) -> &'static str {
        "Ask"
    }

    fn is_awaited(&self) -> bool {
        match self {
            Self::Count(reply) | Self::Refuse(reply) | Self::Through(_, reply) => reply.is_awaited(),
            _ => true,
        }
    }
}

enum Note {
    Passed(Result<usize>, Reply<usize>),
    Tick,
    JobDone,
}

struct Probe {
    seen: Arc<Seen>,
    counted: usize,
    held: Vec<Envelope<Ask>>,
}

impl Behaviour for Probe {
    type Command = Ask;
    type Note = Note;

    fn handle(&mut self, context: &mut Context<Self>, mut envelope: Envelope<Ask>) -> std::result::Result<(), Broken> {
        self.seen.handled.fetch_add(1, Ordering::SeqCst);
        match envelope.open().unwrap() {
            Ask::Count(reply) => {
                self.counted += 1;
                reply.send(Ok(self.counted));
            }
            Ask::Hold => self.held.push(envelope),
            Ask::LetGo => self.held.clear(),
            Ask::Refuse(reply) => reply.send(Err(Error::denied("no"))),
            Ask::Break => return Err(Broken::new("it is broken")),
            Ask::Panic => panic!("a test's panic"),
            Ask::Through(other, reply) => {
                let asked = async move { Note::Passed(other.ask(call(), Ask::Count).await, reply) };
                context.spawn(asked).unwrap();
            }
            Ask::Tick => context.after(Duration::from_secs(1), Note::Tick).unwrap(),
        }
        Ok(())
    }

    fn note(&mut self, context: &mut Context<Self>, note: Note) -> std::result::Result<(), Broken> {
        match note {
            Note::Passed(answer, reply) => reply.send(answer),
            Note::Tick => {
                self.seen.jobs.fetch_add(1, Ordering::SeqCst);
                self.seen.jobs_at_once.fetch_add(1, Ordering::SeqCst);
                let work = async {
                    sleep(Duration::from_secs(10)).await;
                    Note::JobDone
                };
                context.spawn(work).unwrap();
            }
            Note::JobDone => {
                self.seen.jobs_at_once.fetch_sub(1, Ordering::SeqCst);
                context.after(Duration::from_secs(1), Note::Tick).unwrap();
            }
        }
        Ok(())
    }
}

fn call() -> Call {
    Call::new(Arc::new(Principal::new("user:ada".parse().unwrap())))
}

fn in_seconds(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

struct House {
    supervisor: Supervisor,
    facts: Subscription<ActorFact>,
    letters: Arc<DeadLetters>,
    seen: Arc<Seen>,
    limits: RuntimeLimits,
}

impl House {
    async fn new(limits: RuntimeLimits) -> Self {
        let topic = Topic::new(limits.topic_backlog, 1);
        let facts = topic.subscribe().unwrap();
        let supervisor = Supervisor::begin(limits.clone(), move |fact| topic.publish(&fact)).await.unwrap();
        let letters = Arc::new(DeadLetters::new(limits.dead_letters));
        Self { supervisor, facts, letters, seen: Arc::default(), limits }
    }

    async fn probe(&self, name: &str) -> Handle<Probe> {
        let home = Home::new(name.to_owned(), self.limits.mailbox, self.letters.clone(), Arc::default());
        let handle = Handle::new(home.clone());
        let seen = self.seen.clone();
        let begin = move |_| {
            let seen = seen.clone();
            Box::pin(async { Ok(Probe { seen, counted: 0, held: Vec::new() }) }) as _
        };
        let spec = ChildSpec { home, begin: Box::new(begin), first_note: Box::new(|| None), tasks: 8 };
        self.supervisor.adopt(spec).await.unwrap();
        handle
    }

    async fn wait_for(&mut self, wanted: impl Fn(&ActorFact) -> bool) -> ActorFact {
        loop {
            match self.facts.next().await.unwrap() {
                Heard::Fact(fact) if wanted(&fact) => return fact,
                _ => {}
            }
        }
    }

    fn why(&self) -> Vec<Undelivered> {
        self.letters.kept().iter().map(|letter| letter.why).collect()
    }
}

fn small() -> RuntimeLimits {
    RuntimeLimits { mailbox: 4, dead_letters: 3, topic_backlog: 32, restarts: 3, ..RuntimeLimits::default() }
}

/// A raw actor of the library.
struct Raw(Arc<AtomicUsize>);

enum RawAsk {
    Count(RpcReplyPort<usize>),
    Slow,
    Fail,
    Through(ActorRef<RawAsk>, RpcReplyPort<usize>),
    Note,
}

#[cfg(feature = "cluster")]
impl ractor::Message for RawAsk {}

impl Actor for Raw {
    type Msg = RawAsk;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<RawAsk>, (): ()) -> std::result::Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<RawAsk>,
        ask: RawAsk,
        (): &mut (),
    ) -> std::result::Result<(), ActorProcessingErr> {
        match ask {
            RawAsk::Fail => return Err("a domain error".into()),
            RawAsk::Slow => sleep(Duration::from_secs(10)).await,
            RawAsk::Through(peer, reply) => {
                let answer = peer.call(RawAsk::Count, Some(Duration::from_secs(60))).await;
                let _ = reply.send(if answer.is_ok_and(|answer| answer.is_success()) { 1 } else { 0 });
            }
            RawAsk::Count(reply) => {
                let _ = reply.send(self.0.fetch_add(1, Ordering::SeqCst) + 1);
            }
            RawAsk::Note => {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        Ok(())
    }
}

async fn raw() -> (ActorRef<RawAsk>, Arc<AtomicUsize>) {
    let seen = Arc::<AtomicUsize>::default();
    (Raw::spawn(None, Raw(seen.clone()), ()).await.unwrap().0, seen)
}

async fn settle() {
    for _ in 0..32 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_has_a_bound() {
    // The library takes whatever comes.
    let (actor, _) = raw().await;
    actor.send_message(RawAsk::Slow).unwrap();
    assert!((0..10_000).all(|_| actor.send_message(RawAsk::Note).is_ok()));

    let house = House::new(small()).await;
    let probe = house.probe("probe").await;
    for _ in 0..4 {
        probe.try_send(call(), Ask::Hold).unwrap();
    }
    settle().await;
    // They are with the actor, which keeps them: their places are taken still.
    assert_eq!(house.seen.handled.load(Ordering::SeqCst), 4);
    assert_eq!(probe.try_send(call(), Ask::LetGo).unwrap_err().kind(), ErrorKind::Busy);
    let late = probe.send(call().by(in_seconds(1)), Ask::LetGo).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Deadline);
}

#[tokio::test(start_paused = true)]
async fn send_waits_for_a_place() {
    let house = House::new(RuntimeLimits { mailbox: 1, ..small() }).await;
    let probe = house.probe("probe").await;
    for expect in 1..=20 {
        // Each finds the place of the one before it free, as soon as that is handled.
        assert_eq!(probe.ask(call(), Ask::Count).await.unwrap(), expect);
    }
    let asked = (0..20).map(|_| {
        let probe = probe.clone();
        tokio::spawn(async move { probe.ask(call(), Ask::Count).await.unwrap() })
    });
    let mut answers = Vec::new();
    for asked in asked.collect::<Vec<_>>() {
        answers.push(asked.await.unwrap());
    }
    assert_eq!(answers, (21..=40).collect::<Vec<_>>(), "those who wait come in turn");
}

#[tokio::test(start_paused = true)]
async fn what_comes_too_late_or_for_nobody_is_not_done() {
    // The library does work for a caller who has gone.
    let (actor, handled) = raw().await;
    actor.send_message(RawAsk::Slow).unwrap();
    let asked = actor.call(RawAsk::Count, Some(Duration::from_secs(1))).await.unwrap();
    assert!(matches!(asked, ractor::rpc::CallResult::Timeout));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(handled.load(Ordering::SeqCst), 1);

    let house = House::new(small()).await;
    let probe = house.probe("probe").await;
    let (reply, answer) = Reply::new();
    probe.try_send(call(), Ask::Count(reply)).unwrap();
    drop(answer);
    let (reply, answer) = Reply::new();
    probe.try_send(call().by(Instant::now()), Ask::Count(reply)).unwrap();
    assert!(answer.await.is_err());
    assert_eq!(house.seen.handled.load(Ordering::SeqCst), 0);
    assert_eq!(house.why(), [Undelivered::CallerGone, Undelivered::Late]);
    assert_eq!(probe.ask(call(), Ask::Count).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_does_not_wait_for_a_peer() {
    // Two of the library's actors that ask each other from their handlers wait until their patience ends.
    let ((one, _), (two, _)) = (raw().await, raw().await);
    let (first, second) = tokio::join!(
        one.call(|reply| RawAsk::Through(two.clone(), reply), None),
        two.call(|reply| RawAsk::Through(one.clone(), reply), None),
    );
    assert!(matches!(first.unwrap(), ractor::rpc::CallResult::Success(0)));
    drop(second);

    let house = House::new(small()).await;
    let (one, two) = (house.probe("one").await, house.probe("two").await);
    let started = Instant::now();
    let (first, second) = tokio::join!(
        one.ask(call(), |reply| Ask::Through(two.clone(), reply)),
        two.ask(call(), |reply| Ask::Through(one.clone(), reply)),
    );
    assert_eq!((first.unwrap(), second.unwrap()), (1, 1));
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_answer_and_no_death() {
    let (actor, _) = raw().await;
    actor.send_message(RawAsk::Fail).unwrap();
    settle().await;
    assert!(actor.send_message(RawAsk::Note).is_err(), "the library's actor dies of any error");

    let house = House::new(small()).await;
    let probe = house.probe("probe").await;
    assert_eq!(probe.ask(call(), Ask::Count).await.unwrap(), 1);
    assert_eq!(probe.ask(call(), Ask::Refuse).await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(probe.ask(call(), Ask::Count).await.unwrap(), 2, "it is the same life");
}

/// A supervisor of the library with its own idea of what a child's death means.
struct RawSupervisor;

impl Actor for RawSupervisor {
    type Msg = RawAsk;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<RawAsk>, (): ()) -> std::result::Result<(), ActorProcessingErr> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_begun_again() {
    // The library's supervisor dies with its child.
    let (above, _) = RawSupervisor::spawn(None, RawSupervisor, ()).await.unwrap();
    let (below, _) = Raw::spawn_linked(None, Raw(Arc::default()), (), above.get_cell()).await.unwrap();
    below.send_message(RawAsk::Fail).unwrap();
    settle().await;
    assert!(above.send_message(RawAsk::Note).is_err());

    let mut house = House::new(small()).await;
    let (probe, other) = (house.probe("probe").await, house.probe("other").await);
    for (generation, blow) in [(1, Ask::Break), (2, Ask::Panic), (3, Ask::Break), (4, Ask::Panic)] {
        assert_eq!(probe.ask(call(), Ask::Count).await.unwrap(), 1, "a new life has a new state");
        probe.send(call(), blow).await.unwrap();
        let begun = ActorFact::Started { actor: "probe".to_owned(), generation };
        house.wait_for(|fact| *fact == begun).await;
        // What failed outside of the window is not counted.
        advance(house.limits.restart_window).await;
    }
    assert_eq!(probe.ask(call(), Ask::Count).await.unwrap(), 1, "the handle stays good");
    assert_eq!(other.ask(call(), Ask::Count).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_fails_too_often_is_given_up() {
    let mut house = House::new(small()).await;
    let (probe, other) = (house.probe("probe").await, house.probe("other").await);
    let started = Instant::now();
    let mut generations = Vec::new();
    for _ in 0..4 {
        probe.send(call(), Ask::Break).await.unwrap();
        let next =
            |fact: &ActorFact| !matches!(fact, ActorFact::Failed { .. } | ActorFact::Started { generation: 0, .. });
        generations.push(match house.wait_for(next).await {
            ActorFact::Started { generation, .. } => Some(generation),
            _ => None,
        });
    }
    assert_eq!(generations, [Some(1), Some(2), Some(3), None]);
    // At once, then after one delay, then after two.
    assert_eq!(started.elapsed(), house.limits.restart_delay * 3);
    assert_eq!(probe.ask(call(), Ask::Count).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(other.ask(call(), Ask::Count).await.unwrap(), 1, "its neighbour lives on");
}

#[tokio::test(start_paused = true)]
async fn what_an_actor_dies_with_is_told_and_counted() {
    let house = House::new(small()).await;
    let probe = house.probe("probe").await;
    probe.try_send(call(), Ask::Break).unwrap();
    let asked = (0..3).map(|_| {
        let (reply, answer) = Reply::new();
        probe.try_send(call(), Ask::Count(reply)).unwrap();
        answer
    });
    for answer in asked.collect::<Vec<_>>() {
        assert!(answer.await.is_err());
    }
    assert_eq!(house.why(), [Undelivered::ActorDied; 3]);
    // Their places are free again.
    for _ in 0..4 {
        probe.send(call(), Ask::Hold).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_bounded_and_counted() {
    let house = House::new(small()).await;
    let probe = house.probe("probe").await;
    for number in 0..5_u64 {
        let (reply, answer) = Reply::new();
        drop(answer);
        let trace = TraceLink { trace_id: 7, span_id: number };
        probe.send(Call { trace, ..call() }, Ask::Count(reply)).await.unwrap();
        settle().await;
    }
    let spans: Vec<u64> = house.letters.kept().iter().map(|letter| letter.trace.span_id).collect();
    assert_eq!((spans, house.letters.total()), (vec![2, 3, 4], 5));
}

#[tokio::test(start_paused = true)]
async fn slow_work_is_not_begun_twice() {
    // The library's interval fills the mailbox of an actor that is slower than it.
    let (actor, handled) = raw().await;
    actor.send_message(RawAsk::Slow).unwrap();
    actor.send_interval(Duration::from_secs(1), || RawAsk::Note);
    sleep(Duration::from_millis(9500)).await;
    assert_eq!(handled.load(Ordering::SeqCst), 0);
    sleep(Duration::from_millis(600)).await;
    assert_eq!(handled.load(Ordering::SeqCst), 10, "ten had piled up");

    let house = House::new(small()).await;
    let probe = house.probe("probe").await;
    probe.send(call(), Ask::Tick).await.unwrap();
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        assert!(house.seen.jobs_at_once.load(Ordering::SeqCst) <= 1);
    }
    // Eleven seconds each: one of waiting, ten of work.
    assert_eq!(house.seen.jobs.load(Ordering::SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_is_told_what_it_missed() {
    // The library's port drops what is too much, and nobody learns of it.
    let (actor, handled) = raw().await;
    let port = OutputPort::<u32>::default();
    port.subscribe(actor, |_| Some(RawAsk::Note));
    (0..100).for_each(|number| port.send(number));
    sleep(Duration::from_secs(1)).await;
    assert!(handled.load(Ordering::SeqCst) < 100);

    let topic = Topic::new(4, 2);
    let (mut slow, mut quick) = (topic.subscribe().unwrap(), topic.subscribe().unwrap());
    assert_eq!(topic.subscribe().err().unwrap().kind(), ErrorKind::Busy);
    for number in 0..10 {
        topic.publish(&number);
        assert_eq!(quick.next().await, Some(Heard::Fact(number)));
    }
    drop(topic);
    let mut heard = Vec::new();
    while let Some(fact) = slow.next().await {
        heard.push(fact);
    }
    let expect = [Heard::Lagged(6), Heard::Fact(6), Heard::Fact(7), Heard::Fact(8), Heard::Fact(9)];
    assert_eq!(heard, expect);
    assert_eq!(quick.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn names_are_a_kernels_own() {
    // The library's names are the process's.
    let spawn = || Raw::spawn(Some("the one".to_owned()), Raw(Arc::default()), ());
    let first = spawn().await.unwrap();
    assert!(spawn().await.is_err());
    first.0.stop(None);

    let house = House::new(small()).await;
    let probe = house.probe("probe").await;
    let directories = [Directory::new(1), Directory::new(1)];
    for directory in &directories {
        directory.enter(&probe).unwrap();
        assert_eq!(directory.enter(&probe).unwrap_err().kind(), ErrorKind::Busy);
        assert_eq!(directory.names(), ["probe"]);
    }
    directories[0].leave("probe");
    assert!(directories[0].find::<Probe>("probe").is_none());
    let found = directories[1].find::<Probe>("probe").unwrap();
    probe.send(call(), Ask::Break).await.unwrap();
    settle().await;
    assert_eq!(found.ask(call(), Ask::Count).await.unwrap(), 1, "a name stays with its actor");
    let taken = Directory::new(9);
    taken.enter(&probe).unwrap();
    assert_eq!(taken.enter(&probe).unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn an_end_in_order_loses_nothing() {
    // The library's stop goes before what waits.
    let (actor, handled) = raw().await;
    (0..5).for_each(|_| actor.send_message(RawAsk::Note).unwrap());
    actor.stop_and_wait(None, None).await.unwrap();
    assert_eq!(handled.load(Ordering::SeqCst), 0);

    let house = House::new(small()).await;
    let home = Home::new("probe".to_owned(), 4, house.letters.clone(), Arc::default());
    let (handle, seen) = (Handle::<Probe>::new(home.clone()), house.seen.clone());
    let begin = move |_| {
        let seen = seen.clone();
        Box::pin(async { Ok(Probe { seen, counted: 0, held: Vec::new() }) }) as _
    };
    let spec = ChildSpec { home: home.clone(), begin: Box::new(begin), first_note: Box::new(|| None), tasks: 8 };
    house.supervisor.adopt(spec).await.unwrap();
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.ask(call(), Ask::Count).await })
        })
        .collect();
    yield_now().await;
    home.close();
    home.drained().await;
    house.supervisor.stop_child("probe").await.unwrap();
    let mut outcomes = HashMap::new();
    for asked in waiting {
        let outcome = asked.await.unwrap().map_err(|error| error.kind());
        *outcomes.entry(outcome.is_ok()).or_insert(0) += 1;
        assert!(matches!(outcome, Ok(_) | Err(ErrorKind::Unavailable)));
    }
    assert_eq!(outcomes.get(&true).copied().unwrap_or(0), house.seen.handled.load(Ordering::SeqCst));
    assert!(house.letters.kept().is_empty(), "what was taken was handled");
    assert_eq!(handle.try_send(call(), Ask::LetGo).unwrap_err().kind(), ErrorKind::Unavailable);
}

#[cfg(feature = "cluster")]
#[tokio::test(start_paused = true)]
async fn nothing_from_another_machine_goes_past_a_handle() {
    // The library puts what its wire brings into the mailbox, whatever bound stands before it.
    assert!(<u64 as ractor::Message>::serializable());
    assert!(!<super::shell::Mail<Probe> as ractor::Message>::serializable());
}
