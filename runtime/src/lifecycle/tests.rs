//! The pool: when what is begun, and that it ends well.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use memos_memory::cube::{CubeDraft, Layer, SemanticType, SpaceName, State};
use memos_memory::error::ErrorKind;
use memos_memory::evolve::{Budget, EvolveRules, Job, Place, Report};
use memos_memory::governance::{AuditKind, AuditQuery, Principal};
use memos_memory::lifecycle::Retention;
use memos_memory::vault::VaultOptions;

use super::plan::{Aside, Begin, Outcome, Plan, Stepped};
use super::{Evolution, JobState, Lifecycle, SetAside};
use crate::actor::{ActorFact, Heard};
use crate::{Kernel, KernelOptions, RuntimeLimits, SpaceHandle};

const RECEIPTS: &str = "Please send your receipts for the boat paint to the harbour office";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn name(text: &str) -> SpaceName {
    text.parse().unwrap()
}

fn only(jobs: &[Job]) -> Evolution {
    Evolution { jobs: jobs.iter().copied().collect(), ..Evolution::default() }
}

fn plan(evolution: &Evolution) -> (Plan, Aside) {
    (Plan::new(Arc::new(evolution.clone())), Aside::new())
}

fn stepped(ended: bool, written: usize) -> Outcome {
    let reached = Place { at: 7, held: None };
    Outcome::Stepped(Stepped { reached, ended, again_in: None, written, report: Report::default() })
}

fn failed() -> Outcome {
    Outcome::Failed("it is no good".to_owned())
}

fn jobs(begun: &[Begin]) -> Vec<(&str, Job)> {
    begun.iter().map(|begin| (begin.space.as_str(), begin.job)).collect()
}

#[test]
fn a_job_begins_when_its_space_is_quiet_or_has_waited_long_enough() {
    let (mut plan, aside) = plan(&only(&[Job::Merge]));
    assert_eq!(plan.next(&aside), None);
    plan.changed(name("a/b"), seconds(0));
    plan.changed(name("a/b"), seconds(6));
    assert_eq!(plan.next(&aside), Some(seconds(16)));
    assert!(plan.begin(seconds(15), &aside).is_empty());
    // It is never quiet.
    (7..590).for_each(|at| plan.changed(name("a/b"), seconds(at)));
    assert_eq!(plan.next(&aside), Some(seconds(599)));
    plan.changed(name("a/b"), seconds(599));
    assert_eq!(plan.next(&aside), Some(seconds(600)));
    assert_eq!(jobs(&plan.begin(seconds(600), &aside)), [("a/b", Job::Merge)]);
}

#[test]
fn a_space_has_one_worker_and_all_spaces_have_few() {
    let (mut plan, aside) = plan(&only(&[Job::Merge, Job::Link]));
    for space in ["a/one", "a/two", "a/three"] {
        plan.changed(name(space), seconds(0));
    }
    let begun = plan.begin(seconds(10), &aside);
    assert_eq!(jobs(&begun), [("a/one", Job::Merge), ("a/three", Job::Merge)]);
    assert_eq!(plan.next(&aside), None, "all workers are busy");
    assert!(plan.begin(seconds(11), &aside).is_empty());
    plan.ended(&begun[0], stepped(true, 0), seconds(11));
    assert_eq!(jobs(&plan.begin(seconds(11), &aside)), [("a/one", Job::Link)]);
    plan.ended(&begun[1], stepped(true, 0), seconds(12));
    assert_eq!(jobs(&plan.begin(seconds(12), &aside)), [("a/three", Job::Link)]);
}

#[test]
fn a_job_goes_on_where_it_was_and_what_comes_meanwhile_is_for_the_next_time() {
    let (mut plan, aside) = plan(&only(&[Job::Merge]));
    plan.changed(name("a/b"), seconds(0));
    let begun = plan.begin(seconds(10), &aside);
    assert_eq!(begun[0].place, None);
    plan.changed(name("a/b"), seconds(11));
    plan.ended(&begun[0], stepped(false, 0), seconds(12));
    let begun = plan.begin(seconds(12), &aside);
    assert_eq!(begun[0].place, Some(Place { at: 7, held: None }));
    plan.changed(name("a/b"), seconds(13));
    plan.ended(&begun[0], stepped(true, 0), seconds(14));
    assert_eq!(plan.next(&aside), Some(seconds(23)));
    let begun = plan.begin(seconds(23), &aside);
    plan.ended(&begun[0], stepped(true, 0), seconds(24));
    assert_eq!(plan.next(&aside), None, "an unchanged space costs nothing");
}

#[test]
fn a_sweep_is_due_again_when_it_has_ended() {
    let (mut plan, aside) = plan(&only(&[Job::Sweep]));
    plan.changed(name("a/b"), seconds(0));
    plan.changed(name("a/b"), seconds(5));
    let begun = plan.begin(seconds(10), &aside);
    assert_eq!(plan.next(&aside), None, "it takes as long as it takes");
    plan.ended(&begun[0], stepped(true, 0), seconds(5000));
    assert_eq!(plan.next(&aside), Some(seconds(8600)));
    let begun = plan.begin(seconds(8600), &aside);
    plan.ended(&begun[0], Outcome::Closed, seconds(8601));
    assert_eq!((plan.next(&aside), plan.spaces()), (None, 0), "a closed space is forgotten");
}

#[test]
fn what_time_brings_is_not_asked_for_before() {
    let (mut plan, aside) = plan(&only(&[Job::Summarise]));
    plan.changed(name("a/b"), seconds(0));
    let begun = plan.begin(seconds(10), &aside);
    let step = Stepped {
        reached: Place { at: 9, held: Some(4) },
        ended: true,
        again_in: Some(seconds(1790)),
        written: 0,
        report: Report::default(),
    };
    plan.ended(&begun[0], Outcome::Stepped(step), seconds(10));
    assert_eq!(plan.next(&aside), Some(seconds(1800)));
    assert_eq!(plan.begin(seconds(1800), &aside)[0].place, Some(Place { at: 4, held: None }));
}

#[test]
fn all_jobs_together_write_so_much_a_second() {
    let (mut plan, aside) = plan(&only(&[Job::Merge]));
    plan.changed(name("a/one"), seconds(0));
    plan.changed(name("a/two"), seconds(0));
    let begun = plan.begin(seconds(10), &aside);
    plan.ended(&begun[0], stepped(false, 300), seconds(10));
    plan.ended(&begun[1], stepped(false, 500), seconds(10));
    assert_eq!(plan.next(&aside), Some(seconds(14)));
    assert!(plan.begin(seconds(13), &aside).is_empty());
    assert_eq!(plan.begin(seconds(14), &aside).len(), 2);
}

#[test]
fn a_busy_space_is_left_alone_longer_and_longer() {
    let (mut plan, aside) = plan(&only(&[Job::Merge]));
    plan.changed(name("a/b"), seconds(0));
    let (mut now, mut pauses) = (seconds(10), Vec::new());
    for _ in 0..9 {
        let begun = plan.begin(now, &aside);
        plan.ended(&begun[0], Outcome::Busy, now);
        plan.changed(name("a/b"), now);
        let next = plan.next(&aside).unwrap();
        pauses.push((next - now).as_millis());
        now = next;
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    assert!(plan.status(&aside).iter().all(|status| status.attempts == 0), "busy is no failure");
}

#[test]
fn what_fails_is_tried_later_and_later_and_then_set_aside() {
    let evolution = Evolution { attempts: 4, seed: 3, ..only(&[Job::Merge]) };
    let delays = |evolution: &Evolution| {
        let (mut plan, mut aside) = plan(evolution);
        plan.changed(name("a/b"), seconds(0));
        let (mut now, mut delays) = (seconds(10), Vec::new());
        loop {
            let begun = plan.begin(now, &aside);
            if let Some(set_aside) = plan.ended(&begun[0], failed(), now).set_aside {
                assert_eq!((set_aside.attempts, set_aside.why.as_str()), (4, "it is no good"));
                aside.insert((name("a/b"), Job::Merge), set_aside);
                break;
            }
            // News does not hurry it.
            plan.changed(name("a/b"), now);
            let next = plan.next(&aside).unwrap();
            delays.push((next - now).as_secs_f64());
            now = next;
        }
        plan.changed(name("a/b"), now);
        assert_eq!(plan.next(&aside), None);
        assert_eq!(plan.status(&aside)[0].state, JobState::SetAside);
        aside.clear();
        plan.resume(&name("a/b"), Job::Merge, now);
        assert_eq!(plan.begin(now, &aside).len(), 1);
        delays
    };
    let first = delays(&evolution);
    assert_eq!(first.len(), 3);
    for (delay, expect) in first.iter().zip([1.0, 2.0, 4.0]) {
        assert!((expect * 0.75..expect * 1.25).contains(delay), "{first:?}");
    }
    assert_eq!(first, delays(&evolution), "the same seed gives the same delays");
    assert_ne!(first, delays(&Evolution { seed: 4, ..evolution }));
}

/// An evolution that begins at once.
fn eager() -> Evolution {
    Evolution { quiet: Duration::ZERO, retry_delay: Duration::from_millis(1), attempts: 2, ..Evolution::default() }
}

async fn kernel_at(folder: &Path, idle: Duration) -> Kernel {
    let limits = RuntimeLimits { idle, ..RuntimeLimits::default() };
    Kernel::open_with(folder, KernelOptions { vault: VaultOptions::builtin().unwrap(), limits }).await.unwrap()
}

fn ada() -> Principal {
    Principal::new("user:ada".parse().unwrap())
}

fn fact(text: &str) -> CubeDraft {
    CubeDraft { layer: Layer::Global, ..CubeDraft::text(SemanticType::Fact, text) }
}

async fn states(space: &SpaceHandle) -> Vec<State> {
    let session = space.session(ada());
    let states = session
        .work(|space, ada| space.find_ids(ada, "", 100).iter().map(|id| Ok(space.get(ada, id)?.1.state)).collect());
    states.await.unwrap()
}

/// Waits until a job has done something.
async fn worked(facts: &mut crate::actor::Subscription<super::Worked>, job: Job) -> Report {
    loop {
        match facts.next().await.unwrap() {
            Heard::Fact(worked) if worked.job == job => return worked.report,
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_space_evolves_by_itself_and_then_rests() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = kernel_at(folder.path(), seconds(300)).await;
    let lifecycle = Lifecycle::begin(&kernel, eager()).await.unwrap();
    let mut facts = lifecycle.facts().unwrap();
    let space = kernel.space("acme/support").await.unwrap();
    let session = space.session(ada());
    for text in [RECEIPTS, RECEIPTS, "Ada lives in Lisbon"] {
        session.remember(fact(text)).await.unwrap();
    }
    assert_eq!(worked(&mut facts, Job::Merge).await.counts["merged"], 1);
    session.remember(fact("Ada lives in Porto")).await.unwrap();
    assert_eq!(worked(&mut facts, Job::Contradictions).await.counts["superseded"], 1);
    assert_eq!(states(&space).await.iter().filter(|state| **state == State::Merged).count(), 1);
    // All is done when nobody has anything to do any more but the sweep, which has its time.
    loop {
        let status = lifecycle.status().await.unwrap();
        let rests = |state: JobState| matches!(state, JobState::Idle);
        if status.iter().all(|status| rests(status.state) || status.job == Job::Sweep) {
            assert!(status.iter().any(|status| status.done > 0));
            break;
        }
        tokio::task::yield_now().await;
    }
    kernel.shutdown(seconds(30)).await.unwrap();
    assert_eq!(lifecycle.status().await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn what_was_left_when_a_program_ended_is_done_when_the_space_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = kernel_at(folder.path(), seconds(300)).await;
    let session = kernel.space("acme/support").await.unwrap().session(ada());
    for _ in 0..20 {
        session.remember(fact(RECEIPTS)).await.unwrap();
    }
    kernel.shutdown(seconds(30)).await.unwrap();
    // Each program makes a few steps of one change, and ends.
    let evolution = Evolution { step: Budget { events: 4, cubes: 1, changes: 1 }, ..eager() };
    let mut left = 20;
    while left > 1 {
        let kernel = kernel_at(folder.path(), seconds(300)).await;
        let _lifecycle =
            Lifecycle::begin(&kernel, Evolution { changes_per_s: u32::MAX, ..evolution.clone() }).await.unwrap();
        let space = kernel.space("acme/support").await.unwrap();
        while states(&space).await.iter().filter(|state| **state != State::Merged).count() == left {
            tokio::task::yield_now().await;
        }
        left = states(&space).await.iter().filter(|state| **state != State::Merged).count();
        let _ = kernel.shutdown(seconds(30)).await;
    }
    assert_eq!(left, 1);
}

#[tokio::test]
async fn nothing_begins_by_itself_when_evolution_is_off() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = kernel_at(folder.path(), seconds(300)).await;
    let lifecycle = Lifecycle::begin(&kernel, Evolution::off()).await.unwrap();
    let again = Lifecycle::begin(&kernel, Evolution::off()).await.err().unwrap();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    let session = kernel.space("acme/support").await.unwrap().session(ada());
    for _ in 0..3 {
        session.remember(fact(RECEIPTS)).await.unwrap();
    }
    assert!(lifecycle.status().await.unwrap().is_empty());
    let mut facts = lifecycle.facts().unwrap();
    let report = lifecycle.run(&name("acme/support"), Job::Merge).await.unwrap();
    assert_eq!(report.counts["merged"], 2);
    assert_eq!(
        facts.next().await,
        Some(Heard::Fact(super::Worked { space: name("acme/support"), job: Job::Merge, report }))
    );
    assert_eq!(lifecycle.run(&name("acme/support"), Job::Merge).await.unwrap().total(), 0);
    let unknown = lifecycle.resume(&name("acme/support"), Job::Merge).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_job_that_fails_is_set_aside_and_resumed_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = kernel_at(folder.path(), seconds(300)).await;
    let retention = Retention { archive_below_weight: 2.0, ..Retention::default() };
    let rules = EvolveRules { retention, ..EvolveRules::default() };
    let lifecycle = Lifecycle::begin(&kernel, Evolution { rules, ..eager() }).await.unwrap();
    kernel.space("acme/support").await.unwrap().session(ada()).remember(fact(RECEIPTS)).await.unwrap();
    let set_aside = async |count: usize| -> Vec<SetAside> {
        loop {
            let aside = lifecycle.set_aside().await.unwrap();
            if aside.len() == count {
                return aside;
            }
            tokio::task::yield_now().await;
        }
    };
    let aside = set_aside(Job::ALL.len()).await;
    assert_eq!(aside.iter().map(|aside| aside.job).collect::<BTreeSet<_>>().len(), Job::ALL.len());
    assert!(aside.iter().all(|aside| aside.attempts == 2 && aside.why.contains("weight")), "{aside:?}");
    assert!(lifecycle.status().await.unwrap().iter().all(|status| status.state == JobState::SetAside));
    // The record is written after the list, and each is on it.
    let session = kernel.space("acme/support").await.unwrap().keeper_session().unwrap();
    loop {
        let query = AuditQuery { kind: Some(AuditKind::Lifecycle), ..AuditQuery::default() };
        let lines = session.work(move |space, keeper| space.audit(keeper, &query)).await.unwrap();
        if lines.len() == Job::ALL.len() {
            assert!(lines.iter().all(|line| line.record.reason.starts_with("set aside after 2 attempts")));
            break;
        }
        tokio::task::yield_now().await;
    }
    lifecycle.resume(&name("acme/support"), Job::Merge).await.unwrap();
    set_aside(Job::ALL.len()).await;
}

#[tokio::test]
async fn a_space_is_not_kept_open_for_its_own_work() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = kernel_at(folder.path(), Duration::from_millis(60)).await;
    let sweep_every = Duration::from_millis(5);
    let lifecycle = Lifecycle::begin(&kernel, Evolution { sweep_every, ..eager() }).await.unwrap();
    let mut facts = kernel.facts().unwrap();
    let space = kernel.space("acme/support").await.unwrap();
    space.session(ada()).remember(fact(RECEIPTS)).await.unwrap();
    loop {
        match facts.next().await.unwrap() {
            Heard::Fact(ActorFact::Stopped { actor }) if actor.starts_with("writer:") => break,
            _ => {}
        }
    }
    // Nobody opens it again, and the pool forgets it.
    while !lifecycle.status().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!space.is_open());
}

#[tokio::test]
async fn a_writer_that_fails_in_between_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = kernel_at(folder.path(), seconds(300)).await;
    let step = Budget { changes: 1, ..Budget::default() };
    let lifecycle = Lifecycle::begin(&kernel, Evolution { step, attempts: 50, ..eager() }).await.unwrap();
    let mut facts = lifecycle.facts().unwrap();
    let space = kernel.space("acme/support").await.unwrap();
    let session = space.session(ada());
    for round in 0..12 {
        // A writer that has failed takes its messages with it.
        while session.remember(fact(RECEIPTS)).await.is_err() {}
        if round % 6 == 5 {
            space.fail_writer(ada(), "a test's failure").await.unwrap();
        }
    }
    while states(&space).await.iter().filter(|state| **state != State::Merged).count() > 1 {
        worked(&mut facts, Job::Merge).await;
    }
    assert!(lifecycle.set_aside().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_pool_keeps_no_kernel_running() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = kernel_at(folder.path(), seconds(300)).await;
    let lifecycle = Lifecycle::begin(&kernel, eager()).await.unwrap();
    kernel.space("acme/support").await.unwrap().session(ada()).remember(fact(RECEIPTS)).await.unwrap();
    let weak = kernel.downgrade();
    drop(kernel);
    while weak.upgrade().is_some() || lifecycle.status().await.is_ok() {
        tokio::task::yield_now().await;
    }
}
