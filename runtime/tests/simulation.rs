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

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faulty_disk::{Fault, Plan};
use memos_memory::cube::{Digest, PrincipalId};
use memos_memory::evolve::EvolveRules;
use memos_memory::governance::{CUSTODIAN, KEEPER, LayerPolicy, Principal};
use memos_memory::lifecycle::Retention;
use memos_runtime::lifecycle::Evolution;
use memos_runtime::scheduler::SchedulerOptions;
use memos_runtime::telemetry::{ActorFigures, Snapshot, WorkerFigures};
use memos_runtime::{Kernel, RuntimeLimits, SpaceHandle};
use seeded::Random;
use support::checker::check;
use support::client::{Client, Town, live};
use support::history::{BARRED, Op, Recorder, Told, Written};
use support::network::Network;
use support::world::{Mode, World, principal};
use tokio::time::sleep;

const AGENTS: usize = 20;
const GROUPS: &[&str] = &["support", "kitchen", "garden"];
const SPACES: &[&str] = &["acme/support", "acme/kitchen", "acme/garden"];
/// The space that has rules of its own. They change now and then.
const RULED: &str = SPACES[1];

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
    worked: Worked,
    /// Versions that the space made, and changes of state.
    made: usize,
    moved: usize,
}

/// What the workers of all processes have done, as they say themselves.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Worked {
    rules: u64,
    jobs: u64,
    observed: u64,
}

/// Lets memory evolve, and lets it be loaded by plan.
async fn begin_workers(kernel: &Kernel, world: &World, seed: u64) {
    let rules = EvolveRules {
        session_quiet_millis: 5 * MINUTE as u64,
        retention: Retention { erase_after_millis: Some(60 * MINUTE as u64), ..Retention::default() },
        ..EvolveRules::default()
    };
    let sweep_every = Duration::from_secs(600);
    kernel.evolve(Evolution { rules, sweep_every, seed, ..Evolution::default() }).await.unwrap();
    let clock = world.clock.clone();
    kernel.schedule(SchedulerOptions { clock, ..SchedulerOptions::default() }, None).await.unwrap();
}

/// Returns what the workers of a process did until now.
async fn worked(kernel: &Kernel) -> Worked {
    let jobs = kernel.lifecycle().unwrap().status().await.unwrap().iter().map(|job| job.done).sum();
    let observed = kernel.scheduler().unwrap().figures().await.unwrap().observed;
    Worked { rules: 0, jobs, observed }
}

/// Returns rules by which the roll says who belongs where, and one group, perhaps, has no part in what is global.
fn charter(barred: Option<&str>) -> String {
    let mut charter = "[members.\"user:ada\"]\nroles = [\"custodian\"]\n".to_owned();
    for agent in agents() {
        let groups: Vec<String> = agent.groups.iter().map(|group| format!("\"{group}\"")).collect();
        charter += &format!("[members.\"{}\"]\ngroups = [{}]\n", agent.id, groups.join(", "));
    }
    if let Some(barred) = barred {
        let actions = ["Read", "ReadInFull", "Write", "Share", "Erase"].map(|name| format!("Action::\"{name}\""));
        let actions = actions.join(", ");
        let global = "when { resource.layer == Layer::\"global\" }";
        charter +=
            &format!("[policies]\ntext = '''\n{BARRED}{barred}\", action in [{actions}], resource) {global};\n'''\n");
    }
    charter
}

/// Changes the rules of a space now and then. They hold from the next request on.
async fn govern(space: SpaceHandle, mut random: Random, changed: Arc<AtomicU64>) {
    loop {
        let barred = random.chance(2, 3).then(|| *random.pick(GROUPS));
        let ada = principal("user:ada", &[]).with_role(CUSTODIAN);
        // When the disk fails, they stay as they are.
        if space.set_charter(ada, Some(&charter(barred))).await.is_ok() {
            changed.fetch_add(1, Ordering::Relaxed);
        }
        sleep(Duration::from_millis(random.below(20 * MINUTE as usize) as u64)).await;
    }
}

/// Holds what waits against the places that there are.
async fn watch_queues(kernel: Kernel) {
    loop {
        sleep(Duration::from_secs(1)).await;
        let Snapshot { actors, workers, .. } = kernel.meters().snapshot();
        for ActorFigures { kind, queue, places, .. } in actors {
            assert!(queue <= places, "actors `{kind}` have {queue} messages before them, and {places} places");
        }
        for WorkerFigures { name, queue, .. } in workers {
            let most = limits().reader_queue.max(limits().writer_queue) + SPACES.len();
            assert!(queue <= most, "workers `{name}` have {queue} pieces of work before them");
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
            let _ = random.pick(&spaces).fail_writer(principal("user:ada", &[]), "it was told to").await;
        }
    }
}

/// Runs one process, until its power goes or the traffic is over. Returns whether it is over, and what its workers did.
fn one_process(
    world: &Arc<World>,
    clients: &[Arc<Mutex<Client>>],
    town: &Arc<Town>,
    mut random: Random,
) -> (bool, Worked) {
    world.process(async {
        let kernel: Kernel = world.kernel(limits()).await.unwrap();
        let mut spaces = Vec::new();
        for space in SPACES {
            spaces.push(kernel.space(space).await.unwrap());
        }
        begin_workers(&kernel, world, random.number()).await;
        let ruled = kernel.space(RULED).await.unwrap();
        let ada = principal("user:ada", &[]).with_role(CUSTODIAN);
        ruled.set_charter(ada, Some(&charter(None))).await.unwrap();
        let changed = Arc::new(AtomicU64::new(0));
        let network = Arc::new(Network::new(kernel.clone(), (RULED, GROUPS), Random::new(random.number())));
        let lives: Vec<_> = clients
            .iter()
            .map(|client| tokio::spawn(live(client.clone(), town.clone(), world.clone(), network.clone())))
            .collect();
        let watching = tokio::spawn(watch_queues(kernel.clone()));
        let beside = [
            tokio::spawn(govern(ruled, Random::new(random.number()), changed.clone())),
            tokio::spawn(disturb(world.clone(), spaces, Random::new(random.number()))),
        ];
        let all = async {
            for life in lives {
                life.await.unwrap();
            }
        };
        let power = Duration::from_millis((20 * MINUTE + random.below(180 * MINUTE as usize) as i64) as u64);
        let is_over = tokio::time::timeout(power, all).await.is_ok();
        assert!(!watching.is_finished(), "the queues are out of bounds; see above");
        assert!(network.broken_promises().is_empty(), "{:?}", network.broken_promises());
        let worked = Worked { rules: changed.load(Ordering::Relaxed), ..worked(&kernel).await };
        if !is_over {
            world.disk.plan(Plan { fault: Fault::Broken, at: random.below(60), lasting: true });
            sleep(Duration::from_millis(200)).await;
            return (false, worked);
        }
        beside.iter().for_each(tokio::task::JoinHandle::abort);
        watching.abort();
        world.disk.heal();
        kernel.shutdown(Duration::from_secs(30)).await.unwrap();
        (true, worked)
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
    let (mut processes, mut worked) = (0, Worked::default());
    loop {
        let (is_over, of_one) = one_process(&world, &clients, &town, Random::new(random.number()));
        processes += 1;
        worked.rules += of_one.rules;
        worked.jobs += of_one.jobs;
        worked.observed += of_one.observed;
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
            let trace = Digest::of_parts(&[said.as_bytes(), written.as_bytes()]);
            let kept = ledgers.iter().flatten().filter(|(who, _)| who.as_str() == KEEPER);
            let made = kept.clone().filter(|(_, written)| matches!(written, Written::Stored { .. })).count();
            let moved =
                kept.filter(|(_, written)| matches!(written, Written::State { .. } | Written::Erased { .. })).count();
            return Run { ops, trace, processes, worked, made, moved };
        }
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("`{name}` is a number")))
}

#[test]
fn agents_get_what_is_theirs_whatever_breaks() {
    let (seed, hours) = (number("MEMOS_SEED", 1), number("MEMOS_HOURS", 1));
    println!("again: MEMOS_SEED={seed} MEMOS_HOURS={hours} cargo test --release --workspace --test simulation");
    let Run { ops, trace, processes, worked, made, moved } = run(seed, hours as i64 * 60);
    let count = |which: fn(&Told) -> bool| ops.iter().filter(|op| which(&op.told)).count();
    println!(
        "seed {seed}, {hours} h: {} requests ({} done, {} read, {} refused, {} open), {processes} processes, trace {trace}",
        ops.len(),
        count(|told| matches!(told, Told::Done { .. })),
        count(|told| matches!(told, Told::Saw(_))),
        count(|told| matches!(told, Told::Refused(_))),
        count(|told| matches!(told, Told::Nothing)),
    );
    println!("{worked:?}; the space made {made} versions and {moved} changes of state");
    // All of it took part.
    assert!(worked.rules > 0 && worked.jobs > 0 && worked.observed > 0 && made > 0 && moved > 0);
}

#[test]
fn a_seed_gives_the_same_trace_each_time() {
    assert_eq!(run(7, 40).trace, run(7, 40).trace);
}
