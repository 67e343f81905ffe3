//! Many clients at once on one kernel, whose writers die, whose disk fails and whose process loses its power: the history
//! of what they asked and were told is held against the ledger that is there in the end.
//!
//! Run in one thread, a seed gives the same history each time; in several threads the seed gives what the clients ask for
//! and when things break, and the machine decides what comes first. `MEMOS_SEEDS` tells how many seeds are run, `MEMOS_SEED`
//! the first of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../memory/tests/support/faulty_disk.rs"]
mod faulty_disk;
#[path = "../../memory/tests/support/seeded.rs"]
mod seeded;
mod support {
    mod bad_histories;
    pub(crate) mod checker;
    pub(crate) mod client;
    pub(crate) mod history;
    pub(crate) mod model;
    pub(crate) mod wire;
    pub(crate) mod world;
}

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faulty_disk::{Fault, Plan};
use memos_memory::ErrorKind;
use memos_memory::cube::{CubeDraft, PrincipalId, SemanticType};
use memos_memory::governance::{LayerPolicy, Principal};
use memos_runtime::{Kernel, RuntimeLimits, SpaceHandle};
use seeded::Random;
use support::checker::check;
use support::client::{Client, Town, live};
use support::history::{Op, Recorder, Written};
use support::world::{Mode, World, principal};

const SPACES: &[&str] = &["acme/one", "acme/two"];
const CLIENTS: usize = 32;
const STEPS: usize = 14;
/// Processes that lose their power before the last one.
const CRASHES: u64 = 2;

/// The rooms of a kernel are small, so that they fill up.
fn limits() -> RuntimeLimits {
    RuntimeLimits {
        mailbox: 8,
        reader_queue: 8,
        group_batches: 4,
        idle: Duration::from_millis(40),
        restart_delay: Duration::from_millis(2),
        restart_window: Duration::from_millis(200),
        ..RuntimeLimits::default()
    }
}

fn principals() -> Vec<Principal> {
    let groups = |number: usize| match number {
        0..3 => &["red"][..],
        3 => &["red", "blue"],
        _ => &["blue"],
    };
    (0..7).map(|number| principal(&format!("user:p{number}"), groups(number))).collect()
}

/// Breaks things until the power goes, when it is to go.
async fn disturb(kernel: Kernel, world: Arc<World>, mut random: Random, power_goes: bool) {
    let end = 20 + random.below(120) as u64;
    let mut now = 0;
    loop {
        let pause = 1 + random.below(30) as u64;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        now += pause;
        if power_goes && now >= end {
            // In the middle of whatever is written next.
            world.disk.plan(Plan { fault: Fault::Broken, at: random.below(60), lasting: true });
            tokio::time::sleep(Duration::from_millis(5)).await;
            return;
        }
        match random.below(4) {
            0 => {
                let fault = *random.pick(&[Fault::Broken, Fault::Full, Fault::Short, Fault::Torn]);
                world.disk.plan(Plan { fault, at: random.below(200), lasting: false });
            }
            1 | 2 => {
                let space = kernel.space(SPACES[random.below(SPACES.len())]).await;
                if let Ok(space) = space {
                    let _ = space.fail_writer(principal("user:p0", &[]), "it was told to").await;
                }
            }
            _ => {}
        }
    }
}

/// Runs one process until its power goes, or until all clients are done.
fn one_life(world: &Arc<World>, clients: &[Arc<Mutex<Client>>], town: &Arc<Town>, random: Random, power_goes: bool) {
    world.process(async {
        let kernel = world.kernel(limits()).await.unwrap();
        let lives: Vec<_> = clients
            .iter()
            .map(|client| tokio::spawn(live(client.clone(), town.clone(), world.clone(), Arc::new(kernel.clone()))))
            .collect();
        // Somebody uses the spaces all the time, so that refusals are remembered too.
        let mut used = Vec::new();
        for space in SPACES {
            used.extend(kernel.space(space).await);
        }
        let disturbing = tokio::spawn(disturb(kernel.clone(), world.clone(), random, power_goes));
        if power_goes {
            disturbing.await.unwrap();
            return;
        }
        for life in lives {
            life.await.unwrap();
        }
        disturbing.abort();
        world.disk.heal();
        kernel.shutdown(Duration::from_secs(10)).await.unwrap();
    });
}

type History = (Vec<Op>, Vec<Vec<(PrincipalId, Written)>>);

/// Runs all processes of one seed, and returns the history and the ledgers.
fn run(mode: Mode, seed: u64) -> History {
    let mut random = Random::new(seed);
    let mut world = Arc::new(World::new(mode, seed, Arc::new(LayerPolicy)));
    let town = Arc::new(Town {
        recorder: Recorder::default(),
        principals: principals(),
        groups: &["red", "blue"],
        spaces: SPACES,
        thinks: 6,
        steps: STEPS,
        until: i64::MAX,
        known: Mutex::new(vec![Vec::new(); SPACES.len()]),
    });
    let client = |number| Arc::new(Mutex::new(Client::new(number, &town, seed)));
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    for life in 0..=CRASHES {
        one_life(&world, &clients, &town, Random::new(random.number()), life < CRASHES);
        if life < CRASHES {
            // What still runs of the process keeps its disk, on which nothing is written any more.
            world = Arc::new(world.after_power_cut(random.number()));
        }
    }
    let vault = world.vault();
    for name in vault.spaces().unwrap() {
        vault.space(&name).unwrap().verify(|_, _| {}).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    drop(vault);
    let ledgers = SPACES.iter().map(|space| world.ledger(space).iter().map(Written::of).collect());
    (town.recorder.ops(), ledgers.collect())
}

/// Runs a seed and checks it. Returns how many requests there were, and what is wrong.
fn look(mode: Mode, seed: u64) -> (usize, Option<String>) {
    let (ops, ledgers) = run(mode, seed);
    for (space, ledger) in ledgers.iter().enumerate() {
        let ops: Vec<Op> = ops.iter().filter(|op| op.space == space).cloned().collect();
        if let Err(violation) = check(&ops, ledger) {
            return (ops.len(), Some(violation.tell(&ops, ledger)));
        }
    }
    (ops.len(), None)
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("`{name}` is a number")))
}

/// Runs seeds on all cores.
fn run_seeds(mode: Mode, test: &str, few: u64) {
    let (first, count) = (number("MEMOS_SEED", 1), number("MEMOS_SEEDS", few));
    let (next, requests) = (AtomicU64::new(first), AtomicU64::new(0));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return;
            }
            let looked = std::panic::catch_unwind(|| look(mode, seed));
            let told = match looked {
                Ok((ops, None)) => {
                    requests.fetch_add(ops as u64, Ordering::Relaxed);
                    continue;
                }
                Ok((_, Some(told))) => told,
                Err(_) => "it panicked; see above".to_owned(),
            };
            let again = "cargo test --release --workspace --test history";
            panic!("seed {seed}: {told}\nagain: MEMOS_SEEDS=1 MEMOS_SEED={seed} {again} {test} -- --nocapture");
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..cores).for_each(|_| _ = scope.spawn(work)));
    println!("{count} seeds from {first}, {mode:?}: {} requests", requests.into_inner());
}

#[test]
fn what_clients_are_told_is_so() {
    run_seeds(Mode::Exact, "what_clients_are_told_is_so", 2);
}

#[test]
fn what_clients_are_told_is_so_in_threads() {
    run_seeds(Mode::Threads, "what_clients_are_told_is_so_in_threads", 2);
}

#[test]
fn a_seed_gives_the_same_history_each_time() {
    let told = |(ops, _): History| ops.iter().map(|op| format!("{op}\n")).collect::<String>();
    assert_eq!(told(run(Mode::Exact, 7)), told(run(Mode::Exact, 7)));
}

/// Runs one process with one space, in one thread.
fn in_one_space<F: Future<Output = ()>>(work: impl FnOnce(Arc<World>, SpaceHandle) -> F) {
    let world = Arc::new(World::new(Mode::Exact, 1, Arc::new(LayerPolicy)));
    world.process(async {
        let kernel = world.kernel(limits()).await.unwrap();
        work(world.clone(), kernel.space(SPACES[0]).await.unwrap()).await;
        kernel.shutdown(Duration::from_secs(10)).await.unwrap();
    });
}

#[test]
fn a_space_whose_disk_failed_once_is_opened_again() {
    in_one_space(async |world, space| {
        let session = space.session(principal("user:p0", &[]));
        let draft = || CubeDraft::text(SemanticType::Fact, "the harbour is red");
        let kept = session.remember(draft()).await.unwrap();
        world.disk.plan(Plan { fault: Fault::Broken, at: 0, lasting: false });
        assert_eq!(session.remember(draft()).await.unwrap_err().kind(), ErrorKind::Unavailable);
        session.remember(draft()).await.unwrap();
        session.get(&kept).await.unwrap();
    });
}

#[test]
fn who_fails_a_writer_while_it_is_begun_again_does_not_keep_it_from_that() {
    in_one_space(async |_, space| {
        let p0 = || principal("user:p0", &[]);
        let fail = || space.fail_writer(p0(), "it was told to");
        let draft = CubeDraft::text(SemanticType::Fact, "the harbour is red");
        let _ = tokio::join!(fail(), fail(), fail(), fail());
        // It may be told to fail once more while it has this.
        tokio::time::sleep(Duration::from_millis(100)).await;
        space.session(p0()).remember(draft).await.unwrap();
    });
}
