//! A day of many agents in one thread, on a clock that jumps: the network loses, delays and doubles what they send, the disk
//! fails, actors die, and the process loses its power. Whenever it does, all that was said so far is held against the ledger
//! and against plain rules of who may see what.
//!
//! All of it follows from the seed, to the last byte. `MEMOS_SEED` tells the seed, `MEMOS_HOURS` how long the traffic lasts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../memory/tests/support/faulty_disk.rs"]
mod faulty_disk;
#[path = "../../memory/tests/support/seeded.rs"]
mod seeded;
mod support {
    pub(crate) mod checker;
    pub(crate) mod client;
    pub(crate) mod history;
    pub(crate) mod model;
    pub(crate) mod network;
    pub(crate) mod wire;
    pub(crate) mod world;
}

use std::sync::{Arc, Mutex};
use std::time::Duration;

use faulty_disk::{Fault, Plan};
use memos_memory::cube::{Digest, PrincipalId};
use memos_memory::governance::{LayerPolicy, Principal};
use memos_memory::lifecycle::Retention;
use memos_runtime::{Kernel, RuntimeLimits, SpaceHandle};
use seeded::Random;
use support::checker::check;
use support::client::{Client, Town, live};
use support::history::{Op, Recorder, Told, Written};
use support::network::Network;
use support::world::{Mode, World, principal};
use tokio::time::sleep;

const AGENTS: usize = 20;
const GROUPS: &[&str] = &["support", "kitchen", "garden"];
const SPACES: &[&str] = &["acme/support", "acme/kitchen", "acme/garden"];

const MINUTE: i64 = 60_000;

fn limits() -> RuntimeLimits {
    RuntimeLimits {
        mailbox: 8,
        reader_queue: 8,
        group_batches: 4,
        idle: Duration::from_secs(120),
        ..Default::default()
    }
}

fn agents() -> Vec<Principal> {
    // Every fifth works for two groups.
    let groups = |number: usize| match number % 5 {
        0 => vec![GROUPS[number % 3], GROUPS[(number + 1) % 3]],
        _ => vec![GROUPS[number % 3]],
    };
    (0..AGENTS).map(|number| principal(&format!("agent:a{number}"), &groups(number))).collect()
}

/// What became of a run.
struct Run {
    ops: Vec<Op>,
    /// What follows from all that was said and written.
    trace: Digest,
    processes: usize,
}

/// Lets time and rules have their way with the cubes, as a worker of the space does.
async fn sweep(spaces: Vec<SpaceHandle>) {
    let rules = Retention { erase_after_millis: Some(60 * MINUTE as u64), ..Retention::default() };
    loop {
        sleep(Duration::from_secs(600)).await;
        for space in &spaces {
            // What fails is due the next time, too.
            let session = space.session(principal("agent:sweeper", &[]));
            let _ = session.work(move |space, _| space.sweep(&Principal::keeper()?, &rules, None, false)).await;
        }
    }
}

/// Breaks things, now and then.
async fn disturb(world: Arc<World>, spaces: Vec<SpaceHandle>, mut random: Random) {
    loop {
        sleep(Duration::from_millis(random.below(20 * MINUTE as usize) as u64)).await;
        if random.chance(1, 2) {
            let fault = *random.pick(&[Fault::Broken, Fault::Full, Fault::Short, Fault::Torn]);
            world.disk.plan(Plan { fault, at: random.below(500), lasting: false });
        } else {
            let _ = random.pick(&spaces).fail_writer(principal("agent:sweeper", &[]), "it was told to").await;
        }
    }
}

/// Runs one process, until its power goes or the traffic is over. Returns whether it is over.
fn one_process(world: &Arc<World>, clients: &[Arc<Mutex<Client>>], town: &Arc<Town>, mut random: Random) -> bool {
    world.process(async {
        let kernel: Kernel = world.kernel(limits()).await.unwrap();
        let mut spaces = Vec::new();
        for space in SPACES {
            spaces.push(kernel.space(space).await.unwrap());
        }
        let network = Arc::new(Network::new(kernel.clone(), Random::new(random.number())));
        let lives: Vec<_> = clients
            .iter()
            .map(|client| tokio::spawn(live(client.clone(), town.clone(), world.clone(), network.clone())))
            .collect();
        let beside = [
            tokio::spawn(sweep(spaces.clone())),
            tokio::spawn(disturb(world.clone(), spaces, Random::new(random.number()))),
        ];
        let all = async {
            for life in lives {
                life.await.unwrap();
            }
        };
        let power = Duration::from_millis((20 * MINUTE + random.below(180 * MINUTE as usize) as i64) as u64);
        let is_over = tokio::time::timeout(power, all).await.is_ok();
        if !is_over {
            world.disk.plan(Plan { fault: Fault::Broken, at: random.below(60), lasting: true });
            sleep(Duration::from_millis(200)).await;
            return false;
        }
        beside.iter().for_each(tokio::task::JoinHandle::abort);
        world.disk.heal();
        kernel.shutdown(Duration::from_secs(30)).await.unwrap();
        true
    })
}

/// Holds all that was said so far against what is there.
fn look(ops: &[Op], ledgers: &[Vec<(PrincipalId, Written)>]) {
    for (space, ledger) in ledgers.iter().enumerate() {
        let ops: Vec<Op> = ops.iter().filter(|op| op.space == space).cloned().collect();
        check(&ops, ledger).unwrap_or_else(|violation| panic!("{}", violation.tell(&ops, ledger)));
    }
}

/// Runs so many minutes of traffic.
fn run(seed: u64, minutes: i64) -> Run {
    let mut random = Random::new(seed);
    let mut world = Arc::new(World::new(Mode::Exact, seed, Arc::new(LayerPolicy)));
    let town = Arc::new(Town {
        recorder: Recorder::default(),
        principals: agents(),
        groups: GROUPS,
        spaces: SPACES,
        thinks: 2 * MINUTE as usize,
        steps: usize::MAX,
        until: minutes * MINUTE,
        known: Mutex::new(vec![Vec::new(); SPACES.len()]),
    });
    let clients: Vec<_> = (0..AGENTS).map(|number| Arc::new(Mutex::new(Client::new(number, &town, seed)))).collect();
    let mut processes = 0;
    loop {
        let is_over = one_process(&world, &clients, &town, Random::new(random.number()));
        processes += 1;
        if !is_over {
            world = Arc::new(world.after_power_cut(random.number()));
        }
        let events: Vec<_> = SPACES.iter().map(|space| world.ledger(space)).collect();
        let ledgers: Vec<Vec<_>> = events.iter().map(|events| events.iter().map(Written::of).collect()).collect();
        let ops = town.recorder.ops();
        look(&ops, &ledgers);
        if is_over {
            let said: String = ops.iter().map(|op| format!("{op}\n")).collect();
            let written = format!("{events:?}");
            return Run { ops, trace: Digest::of_parts(&[said.as_bytes(), written.as_bytes()]), processes };
        }
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("`{name}` is a number")))
}

#[test]
fn agents_get_what_is_theirs_whatever_breaks() {
    let (seed, hours) = (number("MEMOS_SEED", 1), number("MEMOS_HOURS", 1));
    println!("again: MEMOS_SEED={seed} MEMOS_HOURS={hours} cargo test --release -p memos-runtime --test simulation");
    let Run { ops, trace, processes } = run(seed, hours as i64 * 60);
    let count = |which: fn(&Told) -> bool| ops.iter().filter(|op| which(&op.told)).count();
    println!(
        "seed {seed}, {hours} h: {} requests ({} done, {} read, {} refused, {} open), {processes} processes, trace {trace}",
        ops.len(),
        count(|told| matches!(told, Told::Done { .. })),
        count(|told| matches!(told, Told::Saw(_))),
        count(|told| matches!(told, Told::Refused(_))),
        count(|told| matches!(told, Told::Nothing)),
    );
}

#[test]
fn a_seed_gives_the_same_trace_each_time() {
    assert_eq!(run(7, 15).trace, run(7, 15).trace);
}
