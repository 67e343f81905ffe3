//! The scheduler in a kernel: what it learns, keeps at hand, builds, drops and tells, and to whom.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use memos_memory::cube::{CubeDraft, CubeId, Kind, Layer, Priority, SemanticType, SpaceName, State, VersionRef};
use memos_memory::cube::{Update, UpdateMode};
use memos_memory::disk::MemoryDisk;
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::governance::Principal;
use memos_memory::graph::{Link, LinkKind};
use memos_memory::operator::{Answer, MemoryCall};
use memos_memory::reader::read_question;
use memos_memory::schedule::{Budgets, FormCost, Plan, Reason};
use memos_memory::time::{Clock, Timestamp};
use memos_memory::vault::{Batch, Erasure, VaultOptions};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::*;
use crate::{Kernel, KernelOptions, RuntimeLimits, Session};

const LONG: Duration = Duration::from_secs(60);
const MINUTE: i64 = 60 * 1000;
const DAY: i64 = 24 * 60 * MINUTE;

/// A clock that stands until it is moved.
struct HandClock(Mutex<i64>);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(*self.0.lock())
    }
}

/// An engine that makes nothing and notes what it was asked for.
#[derive(Default)]
struct Script {
    asked: Mutex<Vec<String>>,
    loaded: Mutex<HashMap<FormName, MadeForm>>,
    /// How many of the next builds fail, or panic.
    fails: Mutex<Vec<&'static str>>,
    clock: Option<Arc<HandClock>>,
}

impl Script {
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock())
    }
}

/// What the scheduler has of it.
struct Maker(Arc<Script>);

impl FormMaker for Maker {
    fn costs(&self, _: &SpaceName, _: VersionRef, _: usize) -> Making<Vec<(Kind, FormCost)>> {
        let cost = FormCost { build_millis: 100.0, saved_millis_per_use: 100.0, bytes: 100 };
        Box::pin(async move { Ok(vec![(Kind::Activation, cost)]) })
    }

    fn build(&self, name: FormName) -> Making<MadeForm> {
        let script = self.0.clone();
        Box::pin(async move {
            script.asked.lock().push(format!("build {}", name.version.version));
            match script.fails.lock().pop() {
                Some("panic") => panic!("a test's panic"),
                Some(why) => return Err(Error::unavailable(why)),
                None => {}
            }
            let since = script.clock.as_ref().unwrap().now();
            let form = MadeForm { name: name.clone(), bytes: 100, since };
            script.loaded.lock().insert(name, form.clone());
            Ok(form)
        })
    }

    fn drop_form(&self, name: FormName) -> Making<()> {
        let script = self.0.clone();
        Box::pin(async move {
            script.asked.lock().push(format!("drop {}", name.version.version));
            script.loaded.lock().remove(&name);
            Ok(())
        })
    }

    fn loaded(&self) -> Making<Vec<MadeForm>> {
        let loaded = self.0.loaded.lock().values().cloned().collect();
        Box::pin(async move { Ok(loaded) })
    }
}

/// A kernel with a scheduler that looks after a task at once and writes when it is told to.
struct Stage {
    kernel: Kernel,
    scheduler: Scheduler,
    script: Arc<Script>,
    clock: Arc<HandClock>,
    _folder: TempDir,
}

struct Setup {
    engine: bool,
    budgets: Budgets,
    mailbox: usize,
    tasks: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self { engine: false, budgets: Budgets::default(), mailbox: 1024, tasks: 256 }
    }
}

impl Stage {
    async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    async fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(HandClock(Mutex::new(1000 * DAY)));
        let kernel = kernel(&clock, folder.path(), setup.mailbox, None).await;
        let script = Arc::new(Script { clock: Some(clock.clone()), ..Script::default() });
        let maker: Option<Arc<dyn FormMaker>> = if setup.engine { Some(Arc::new(Maker(script.clone()))) } else { None };
        let scheduler = Scheduler::begin(&kernel, options(&clock, &setup), maker).await.unwrap();
        Self { kernel, scheduler, script, clock, _folder: folder }
    }

    async fn session(&self, principal: &Principal) -> Session {
        self.kernel.space("acme/support").await.unwrap().session(principal.clone())
    }

    fn wait(&self, millis: i64) {
        *self.clock.0.lock() += millis;
    }

    /// Asks, tells the scheduler so often, and waits until it has done what it does then.
    async fn ask(&self, session: &Session, question: &str, times: usize) -> Answer {
        let answer = answer(session, question).await.1;
        for _ in 0..times {
            self.scheduler.observe(session.principal(), &answer);
        }
        self.scheduler.settle().await.unwrap();
        answer
    }

    async fn at_hand(&self, session: &Session) -> Vec<(String, bool)> {
        let set = self.scheduler.working_set(session).await.unwrap();
        set.into_iter().map(|at_hand| (at_hand.text.to_string(), at_hand.used)).collect()
    }

    async fn plan(&self, session: &Session, question: &str) -> Plan {
        let (call, answer) = answer(session, question).await;
        let plan = self.scheduler.plan(session, &call, &answer).await.unwrap();
        self.scheduler.settle().await.unwrap();
        plan
    }

    async fn figures(&self) -> SchedulerFigures {
        self.scheduler.figures().await.unwrap()
    }
}

async fn kernel(
    clock: &Arc<HandClock>,
    folder: &std::path::Path,
    mailbox: usize,
    disk: Option<Arc<MemoryDisk>>,
) -> Kernel {
    let mut vault = VaultOptions { clock: clock.clone(), ..VaultOptions::builtin().unwrap() };
    if let Some(disk) = disk {
        vault.disk = disk;
    }
    let limits = RuntimeLimits { mailbox, writer_threads: 1, reader_threads: 1, ..RuntimeLimits::default() };
    Kernel::open_with(folder, KernelOptions { vault, limits }).await.unwrap()
}

fn options(clock: &Arc<HandClock>, setup: &Setup) -> SchedulerOptions {
    let limits = SchedulerLimits {
        look_after: Duration::ZERO,
        write_after: Duration::from_secs(3600),
        tasks: setup.tasks,
        ..SchedulerLimits::default()
    };
    SchedulerOptions { limits, budgets: setup.budgets, clock: clock.clone(), ..SchedulerOptions::default() }
}

async fn answer(session: &Session, question: &str) -> (MemoryCall, Answer) {
    let question = question.to_owned();
    let asked = session.work(move |space, caller| {
        let call = read_question(
            &[space],
            MemoryCall { memories: 1, ..MemoryCall::new(caller.clone(), question, space.now()) },
        )?;
        Ok((call.clone(), memos_memory::operator::recall(&[space], &call)?))
    });
    asked.await.unwrap()
}

fn user(name: &str) -> Principal {
    Principal::new(format!("user:{name}").parse().unwrap()).in_task("move")
}

fn draft(text: &str) -> CubeDraft {
    CubeDraft::text(SemanticType::Fact, text)
}

/// Stores memories, each linked to the one before it.
async fn store(session: &Session, drafts: Vec<CubeDraft>) -> Vec<CubeId> {
    let (mut batch, mut ids) = (Batch::default(), Vec::<CubeId>::new());
    for draft in drafts {
        let id = session.new_id().await.unwrap();
        batch.store(id, draft);
        if let Some(before) = ids.last() {
            batch.link(Link { from: id, kind: LinkKind::Follows, to: *before });
        }
        ids.push(id);
    }
    session.commit(batch).await.unwrap();
    ids
}

async fn three(session: &Session) -> Vec<CubeId> {
    let texts = ["The piano goes to Ann", "The harbour office opens at nine", "Bo is allergic to peanuts"];
    store(session, texts.map(draft).to_vec()).await
}

const PEANUTS: &str = "What is Bo allergic to?";

#[tokio::test]
async fn what_a_task_uses_and_what_stands_near_is_at_hand_and_says_why() {
    let stage = Stage::new().await;
    let session = stage.session(&user("ada")).await;
    let ids = three(&session).await;
    stage.ask(&session, PEANUTS, 1).await;
    let expect =
        [("Bo is allergic to peanuts".to_owned(), true), ("The harbour office opens at nine".to_owned(), false)];
    assert_eq!(stage.at_hand(&session).await, expect);
    let why = stage.scheduler.why(&session, &ids[1]).await.unwrap();
    assert_eq!((why.len(), why[0].scheduling, why[0].setting.as_deref()), (1, Scheduling::Prefetch, Some("task:move")));
    assert!(matches!(why[0].because, Because::Planned(Reason::Near { of, hops: 1, .. }) if of == ids[2]), "{}", why[0]);
    // Another task has a set of its own, and so has a session without a task.
    for other in [user("ada").in_task("cook"), Principal::new("user:ada".parse().unwrap()).in_session("s1")] {
        assert!(stage.at_hand(&stage.session(&other).await).await.is_empty());
    }
    // Without an engine there is text, and a plan says so with all its parts.
    let plan = stage.plan(&session, PEANUTS).await;
    assert_eq!((plan.loads[0].form, plan.loads[0].parts.len()), (Some(Kind::Plaintext), 6));
    let why = stage.scheduler.why(&session, &ids[2]).await.unwrap();
    assert_eq!((why[0].scheduling, why[0].form), (Scheduling::Load, Some(Kind::Plaintext)));
    assert!(why[0].to_string().contains("tokens fit"), "{}", why[0]);
    let query = DecisionQuery { scheduling: Some(Scheduling::Prefetch), ..DecisionQuery::default() };
    assert_eq!(stage.scheduler.journal(&session, query).await.unwrap().len(), 1);
    stage.kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn nobody_learns_of_what_they_may_not_read() {
    let stage = Stage::new().await;
    let (ada, bo) = (stage.session(&user("ada")).await, stage.session(&user("bo")).await);
    let global = |text: &str| CubeDraft { layer: Layer::Global, ..draft(text) };
    let ids = store(&ada, vec![draft("The safe opens with 4711"), global("Bo is allergic to peanuts")]).await;
    stage.ask(&ada, PEANUTS, 1).await;
    assert_eq!(stage.at_hand(&ada).await.len(), 2);
    // Bo works in the same task: the set is shared, and what is Ada's alone is not there.
    assert_eq!(stage.at_hand(&bo).await, [("Bo is allergic to peanuts".to_owned(), true)]);
    assert_eq!(stage.scheduler.why(&bo, &ids[0]).await.unwrap_err().kind(), ErrorKind::NotFound);
    let told = stage.scheduler.journal(&bo, DecisionQuery::default()).await.unwrap();
    assert!(told.iter().all(|decision| decision.version.cube != ids[0]), "{told:?}");
    let plan = stage.plan(&bo, PEANUTS).await;
    assert!(plan.loads.iter().all(|load| load.version.cube == ids[1]));
    // His plan did not take from the set what he cannot see.
    assert_eq!(stage.at_hand(&ada).await.len(), 2);
    // In another task nothing is told of this one.
    let elsewhere = stage.session(&user("bo").in_task("cook")).await;
    assert!(stage.scheduler.journal(&elsewhere, DecisionQuery::default()).await.unwrap().is_empty());
    stage.kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn heat_is_written_once_and_outlives_the_kernel() {
    let (clock, disk) = (Arc::new(HandClock(Mutex::new(1000 * DAY))), Arc::new(MemoryDisk::default()));
    let id = {
        let kernel = kernel(&clock, "nowhere".as_ref(), 1024, Some(disk.clone())).await;
        let scheduler = Scheduler::begin(&kernel, options(&clock, &Setup::default()), None).await.unwrap();
        let session = kernel.space("acme/support").await.unwrap().session(user("ada"));
        let ids = three(&session).await;
        let answer = answer(&session, PEANUTS).await.1;
        (0..5).for_each(|_| scheduler.observe(session.principal(), &answer));
        scheduler.settle().await.unwrap();
        scheduler.settle().await.unwrap();
        let figures = scheduler.figures().await.unwrap();
        assert_eq!((figures.observed, figures.written_uses, figures.lost_uses, figures.missed), (5, 5, 0, 0));
        kernel.shutdown(LONG).await.unwrap();
        ids[2]
    };
    let kernel = kernel(&clock, "nowhere".as_ref(), 1024, Some(disk)).await;
    let session = kernel.space("acme/support").await.unwrap().session(user("ada"));
    let usage = session.work(move |space, caller| space.usage(caller, &id)).await.unwrap();
    assert_eq!((usage.reads, usage.heat(clock.now())), (5, 5.0));
    assert_eq!(session.get(&id).await.unwrap().1.state, State::Activated);
    kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn what_is_hot_gets_a_form_and_what_cools_loses_it() {
    let stage = Stage::with(Setup { engine: true, ..Setup::default() }).await;
    let session = stage.session(&user("ada")).await;
    let ids = three(&session).await;
    // It was written just now, so it is left alone.
    stage.ask(&session, PEANUTS, 40).await;
    assert!(stage.script.asked().is_empty());
    let not = stage.plan(&session, PEANUTS).await.loads[0].not.clone();
    assert!(matches!(not[..], [(Kind::Activation, Reason::Unsettled { .. })]), "{not:?}");
    stage.wait(11 * MINUTE);
    stage.ask(&session, PEANUTS, 1).await;
    assert_eq!(stage.script.asked(), ["build 1"]);
    let plan = stage.plan(&session, PEANUTS).await;
    assert_eq!((plan.loads[0].form, plan.spent.tokens), (Some(Kind::Activation), 0));
    let scheduled =
        |scheduling| DecisionQuery { cube: Some(ids[2]), scheduling: Some(scheduling), ..DecisionQuery::default() };
    let promoted = stage.scheduler.journal(&session, scheduled(Scheduling::Promote)).await.unwrap();
    assert!(matches!(promoted[0].because, Because::Planned(Reason::Pays { worth }) if worth.expected_uses > 3.0));
    // A new version makes the form stale: it is dropped, and not made again before the memory is settled.
    let seen = session.get(&ids[2]).await.unwrap().1.digest;
    let mut batch = Batch::default();
    batch.update(Update { cube: ids[2], parent: seen, mode: UpdateMode::Append("and to lupins".into()) });
    session.commit(batch).await.unwrap();
    assert_eq!(stage.at_hand(&session).await.iter().filter(|(_, used)| *used).count(), 0);
    stage.ask(&session, PEANUTS, 1).await;
    assert_eq!(stage.script.asked(), ["drop 1"]);
    stage.wait(11 * MINUTE);
    stage.ask(&session, PEANUTS, 1).await;
    assert_eq!(stage.script.asked(), ["build 2"]);
    // Two months later it has cooled, whatever else is asked in the task.
    stage.wait(60 * DAY);
    stage.ask(&session, "When does the harbour office open?", 1).await;
    assert_eq!(stage.script.asked(), ["drop 2"]);
    let demoted = stage.scheduler.journal(&session, scheduled(Scheduling::Demote)).await.unwrap();
    assert!(matches!(demoted[0].because, Because::Planned(Reason::Cooled { .. })), "{}", demoted[0]);
    stage.kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn a_form_that_fails_is_set_aside_for_longer_each_time_and_visibly() {
    let stage = Stage::with(Setup { engine: true, ..Setup::default() }).await;
    let session = stage.session(&user("ada")).await;
    let ids = three(&session).await;
    stage.wait(11 * MINUTE);
    *stage.script.fails.lock() = vec!["panic", "out of memory"];
    for (wait, expect) in [(0, 1), (999, 0), (1, 1), (1999, 0), (1, 1), (3600 * 1000, 0)] {
        stage.wait(wait);
        stage.ask(&session, PEANUTS, 20).await;
        assert_eq!(stage.script.asked().len(), expect, "after {wait} ms");
        if expect == 0 && wait < 2000 {
            let plan = stage.plan(&session, PEANUTS).await;
            assert!(
                matches!(plan.loads[0].not[..], [(Kind::Activation, Reason::SetAside { .. })]),
                "{:?}",
                plan.loads[0]
            );
            assert_eq!(plan.loads[0].form, Some(Kind::Plaintext));
        }
    }
    let figures = stage.figures().await;
    assert_eq!((figures.failed, figures.forms, figures.set_aside), (2, 1, 0));
    let query = DecisionQuery { cube: Some(ids[2]), scheduling: Some(Scheduling::Promote), ..DecisionQuery::default() };
    let told = stage.scheduler.journal(&session, query).await.unwrap();
    assert!(told.iter().any(|decision| decision.to_string().contains("out of memory")), "{told:?}");
    stage.kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn the_forms_of_what_was_erased_are_dropped_and_its_text_is_nowhere() {
    let stage = Stage::with(Setup { engine: true, ..Setup::default() }).await;
    let session = stage.session(&user("ada")).await;
    let ids = three(&session).await;
    stage.wait(11 * MINUTE);
    stage.ask(&session, PEANUTS, 20).await;
    assert_eq!(stage.script.asked(), ["build 1"]);
    let gone = ids[2];
    let erase = session.work(move |space, caller| space.erase(caller, Erasure::Cubes(vec![gone]), "asked for"));
    erase.await.unwrap();
    assert_eq!(stage.at_hand(&session).await, [("The harbour office opens at nine".to_owned(), false)]);
    stage.ask(&session, "When does the harbour office open?", 1).await;
    assert_eq!(stage.script.asked(), ["drop 1"]);
    assert_eq!(stage.figures().await.forms, 0);
    stage.kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn a_scheduler_that_is_begun_again_knows_what_is_loaded() {
    let stage = Stage::with(Setup { engine: true, ..Setup::default() }).await;
    let session = stage.session(&user("ada")).await;
    three(&session).await;
    stage.wait(11 * MINUTE);
    stage.ask(&session, PEANUTS, 20).await;
    assert_eq!(stage.script.asked(), ["build 1"]);
    stage.kernel.stop("scheduler", LONG).await.unwrap();
    let maker: Arc<dyn FormMaker> = Arc::new(Maker(stage.script.clone()));
    let again = Scheduler::begin(&stage.kernel, options(&stage.clock, &Setup::default()), Some(maker)).await.unwrap();
    let (call, answer) = answer(&session, PEANUTS).await;
    let plan = again.plan(&session, &call, &answer).await.unwrap();
    again.settle().await.unwrap();
    assert_eq!(plan.loads[0].form, Some(Kind::Activation));
    assert!(stage.script.asked().is_empty());
    // The one that was stopped is told nothing more, and slows nobody.
    stage.scheduler.observe(session.principal(), &answer);
    assert_eq!(stage.scheduler.missed.load(Ordering::Relaxed), 1);
    stage.kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn what_is_cold_and_of_low_priority_is_archived_and_nothing_else() {
    let stage = Stage::new().await;
    let session = stage.session(&user("ada")).await;
    let low = |text: &str| CubeDraft { priority: Priority::Low, ..draft(text) };
    let ids = store(&session, vec![low("The piano goes to Ann"), draft("Bo is allergic to peanuts")]).await;
    stage.ask(&session, "Who gets the piano?", 1).await;
    // Kept busy: a task that nobody uses has no set.
    stage.wait(200 * DAY);
    stage.ask(&session, PEANUTS, 1).await;
    stage.ask(&session, PEANUTS, 1).await;
    let state = async |id: &CubeId| session.get(id).await.unwrap().1.state;
    assert_eq!((state(&ids[0]).await, state(&ids[1]).await), (State::Archived, State::Activated));
    let archived = DecisionQuery { scheduling: Some(Scheduling::Archive), ..DecisionQuery::default() };
    let told = stage.scheduler.journal(&session, archived).await.unwrap();
    assert_eq!((told.len(), told[0].version.cube, &told[0].because), (1, ids[0], &Because::Planned(Reason::Cold)));
    stage.kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn what_it_has_no_place_for_is_counted() {
    let stage = Stage::with(Setup { mailbox: 4, tasks: 2, ..Setup::default() }).await;
    let session = stage.session(&user("ada")).await;
    three(&session).await;
    let answer = answer(&session, PEANUTS).await.1;
    // Nothing else runs on this thread meanwhile.
    for _ in 0..10 {
        stage.scheduler.observe(session.principal(), &answer);
    }
    stage.scheduler.settle().await.unwrap();
    let figures = stage.figures().await;
    assert_eq!((figures.observed, figures.missed, figures.written_uses), (4, 6, 4));
    for task in ["cook", "clean", "sail"] {
        stage.scheduler.observe(&user("ada").in_task(task), &answer);
        stage.scheduler.settle().await.unwrap();
    }
    let figures = stage.figures().await;
    assert_eq!((figures.tasks, figures.at_hand), (2, 4));
    // A name that is too long has no working set, and its uses count.
    stage.scheduler.observe(&user("ada").in_task("x".repeat(300)), &answer);
    stage.scheduler.settle().await.unwrap();
    let figures = stage.figures().await;
    assert_eq!((figures.tasks, figures.written_uses), (2, 8));
    stage.kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn rules_and_names_are_checked() {
    let stage = Stage::new().await;
    let twice = Scheduler::begin(&stage.kernel, SchedulerOptions::default(), None).await;
    assert_eq!(twice.err().unwrap().kind(), ErrorKind::Conflict);
    let limits = SchedulerLimits { journal: 0, ..SchedulerLimits::default() };
    let wrong = Scheduler::begin(&stage.kernel, SchedulerOptions { limits, ..SchedulerOptions::default() }, None).await;
    assert_eq!(wrong.err().unwrap().kind(), ErrorKind::Invalid);
    stage.kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measure: run it by name with --nocapture, in release"]
async fn what_observing_costs() -> Result<()> {
    let stage = Stage::with(Setup { mailbox: 1 << 16, ..Setup::default() }).await;
    let session = stage.session(&user("ada")).await;
    three(&session).await;
    let mut answer = answer(&session, PEANUTS).await.1;
    let receipt = answer.receipts[0].clone();
    answer.receipts = vec![receipt; 10];
    for _ in 0..5 {
        let (times, begun) = (20_000, std::time::Instant::now());
        (0..times).for_each(|_| stage.scheduler.observe(session.principal(), &answer));
        let each = begun.elapsed().as_nanos() / times;
        stage.scheduler.settle().await?;
        println!("{each} ns to tell of ten receipts; {:?}", stage.figures().await);
    }
    stage.kernel.shutdown(LONG).await
}
