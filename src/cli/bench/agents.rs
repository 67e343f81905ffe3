//! Many agents at once on one space: most of what they do is to recall, and a part is to remember, durably.
//!
//! What they reach is held against what recall alone costs, measured before and after in the same run, on as many threads.
//! Afterwards each memory that was acknowledged is looked for. With `--settled` the agents note uses in place of new memories,
//! so that what is stored does not grow, and memory in use says something about the actors alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use memos::cube::{CubeId, Layer, UseSignal};
use memos::error::ErrorKind;
use memos::governance::Principal;
use memos::operator::{MemoryCall, recall};
use memos::reader::read_question;
use memos::vault::{Batch, Space, VaultOptions};
use memos::{Error, Result};
use memos_runtime::{Kernel, KernelOptions, RuntimeLimits, Session, SpaceHandle, block_on_threads};
use serde::Serialize;

use super::corpus::{BATCH, Corpus, draft, fill};
use super::measure::{Times, folder, principal, resident_megabytes, rounded};
use super::{Screen, report};

const SPACE: &str = "bench/agents";

/// How long recall alone is measured.
const CAPACITY_SECONDS: u64 = 3;

/// Points at which memory in use is looked at.
const MEMORY_POINTS: u32 = 6;

#[derive(Args)]
pub(super) struct AgentsArguments {
    /// Agents that work at the same time
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    agents: u32,
    /// Memories in the space when they begin
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    cubes: u32,
    /// How long they work
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Of a hundred things that they do, how many are to remember
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=100))]
    remembering: u8,
    /// The share of what recall alone would allow that they ask for; 1 is as fast as they are answered
    #[arg(long, default_value_t = 1.0)]
    load: f64,
    /// Note uses in place of remembering, so that what is stored does not grow
    #[arg(long)]
    settled: bool,
    /// Threads of the pool, and threads that read
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
}

/// With `--json`. Times are milliseconds from asking to the answer.
#[derive(Serialize)]
struct Figures {
    agents: u32,
    cubes: u32,
    ops_per_s: f64,
    recalls_per_s: f64,
    writes_per_s: f64,
    /// Recalls a second on as many threads, with nothing else.
    capacity_recalls_per_s: f64,
    /// What they reached of what recall's own cost allows.
    share_of_capacity: f64,
    p50_ms: f64,
    p99_ms: f64,
    recall_p99_ms: f64,
    write_p99_ms: f64,
    /// Memories that were acknowledged and are not there.
    lost: u64,
    /// Requests that were refused because a queue was full.
    busy: u64,
    /// Requests that failed otherwise, by the kind of failure.
    failed: BTreeMap<String, u64>,
    /// Memory in use over the run, from its beginning to its end.
    rss_mb: Vec<f64>,
}

/// What all agents do together.
#[derive(Default)]
struct Tally {
    is_over: AtomicBool,
    busy: AtomicU64,
    failed: Mutex<BTreeMap<String, u64>>,
    recalls: Mutex<Times>,
    writes: Mutex<Times>,
}

impl Tally {
    fn recalled(&self) -> MutexGuard<'_, Times> {
        self.recalls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self) -> MutexGuard<'_, Times> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was acknowledged, and to whom.
type Stored = Vec<(Arc<Principal>, CubeId)>;

pub(super) fn run(arguments: &AgentsArguments, screen: &mut Screen) -> Result<()> {
    if !(0.01..=1.0).contains(&arguments.load) {
        return Err(Error::invalid(format!("`{}` is no load; use one from 0.01 to 1", arguments.load)));
    }
    let folder = folder()?;
    let figures = block_on_threads(usize::from(arguments.threads), work(arguments, folder.path()))?;
    report(
        screen,
        &figures,
        &[
            ("operations", format!("{} a second by {} agents", figures.ops_per_s.round(), figures.agents)),
            ("recall alone", format!("{} a second", figures.capacity_recalls_per_s.round())),
            ("of that", format!("{:.0} %", figures.share_of_capacity * 100.0)),
            ("answered in", format!("{} ms, and {} ms for one of a hundred", figures.p50_ms, figures.p99_ms)),
            ("lost", format!("{}, refused as busy {}, failed {:?}", figures.lost, figures.busy, figures.failed)),
            ("memory in use", format!("{:?} MB", figures.rss_mb)),
        ],
    )
}

async fn work(arguments: &AgentsArguments, folder: &std::path::Path) -> Result<Figures> {
    let threads = usize::from(arguments.threads);
    let limits = RuntimeLimits { reader_threads: threads, ..RuntimeLimits::default() };
    let kernel = Kernel::open_with(folder, KernelOptions { vault: VaultOptions::builtin()?, limits }).await?;
    let space = kernel.space(SPACE).await?;
    let total = arguments.cubes as usize;
    let patient = space.session(principal()?).with_patience(Duration::from_secs(3600));
    let (_, questions) = patient.work(move |space, me| fill(space, me, total, BATCH, Layer::Global)).await?;
    let questions: Arc<[String]> = questions.into();
    let capacity = capacity(&patient, &questions, threads).await?;
    let tally = Arc::new(Tally::default());
    // At full load an agent asks again as soon as it is answered.
    let operations = capacity * arguments.load;
    let pause = (arguments.load < 1.0).then(|| Duration::from_secs_f64(f64::from(arguments.agents) / operations));
    let started = Instant::now();
    let mut agents = Vec::new();
    for number in 0..arguments.agents {
        let principal = Principal::new(format!("agent:{number}").parse()?);
        let agent = Agent {
            session: space.session(principal.clone()),
            principal: Arc::new(principal),
            corpus: Corpus::new(1000 + u64::from(number)),
            questions: questions.clone(),
            remembering: arguments.remembering,
            settled: arguments.settled,
            number: number as usize,
        };
        agents.push(tokio::spawn(agent.work(tally.clone(), pause)));
    }
    let mut rss_mb = Vec::new();
    for _ in 0..MEMORY_POINTS {
        tokio::time::sleep(Duration::from_secs(arguments.seconds) / MEMORY_POINTS).await;
        rss_mb.extend(resident_megabytes());
    }
    tally.is_over.store(true, Ordering::Relaxed);
    let took = started.elapsed().as_secs_f64();
    let mut stored = Stored::new();
    for agent in agents {
        stored.extend(agent.await.map_err(|e| Error::unavailable(format!("an agent failed: {e}")))?);
    }
    // The space has grown, and recall with it: what recall alone allows lies between before and after.
    let capacity = (capacity + self::capacity(&patient, &questions, threads).await?) / 2.0;
    let lost = lost(&space, stored).await?;
    kernel.shutdown(Duration::from_secs(60)).await?;
    let (recalls, writes) = (tally.recalled().clone(), tally.written().clone());
    let all = recalls.and(&writes);
    let recalls_per_s = recalls.count() as f64 / took;
    Ok(Figures {
        agents: arguments.agents,
        cubes: arguments.cubes,
        ops_per_s: rounded(all.count() as f64 / took),
        recalls_per_s: rounded(recalls_per_s),
        writes_per_s: rounded(writes.count() as f64 / took),
        capacity_recalls_per_s: rounded(capacity),
        share_of_capacity: rounded(recalls_per_s / capacity),
        p50_ms: rounded(all.percentile(0.5)),
        p99_ms: rounded(all.percentile(0.99)),
        recall_p99_ms: rounded(recalls.percentile(0.99)),
        write_p99_ms: rounded(writes.percentile(0.99)),
        lost,
        busy: tally.busy.load(Ordering::Relaxed),
        failed: tally.failures().clone(),
        rss_mb,
    })
}

/// Returns how many recalls a second the threads make when they do nothing else.
async fn capacity(session: &Session, questions: &Arc<[String]>, threads: usize) -> Result<f64> {
    let until = Instant::now() + Duration::from_secs(CAPACITY_SECONDS);
    let mut counting = Vec::new();
    for number in 0..threads {
        let (session, questions) = (session.clone(), questions.clone());
        counting.push(tokio::spawn(async move {
            let count = move |space: &Space, me: &Principal| {
                let (mut corpus, mut made) = (Corpus::new(number as u64), 0_u64);
                while Instant::now() < until {
                    let call = MemoryCall::new(me.clone(), question(&mut corpus, &questions)?, space.now());
                    recall(&[space], &read_question(&[space], call)?)?;
                    made += 1;
                }
                Ok(made)
            };
            session.work(count).await
        }));
    }
    let mut made = 0;
    for counted in counting {
        made += counted.await.map_err(|e| Error::unavailable(format!("a thread failed: {e}")))??;
    }
    Ok(made as f64 / CAPACITY_SECONDS as f64)
}

fn question(corpus: &mut Corpus, questions: &[String]) -> Result<String> {
    let at = (corpus.number() % questions.len().max(1) as u64) as usize;
    questions.get(at).cloned().ok_or_else(|| Error::invalid("there is nothing to ask for"))
}

struct Agent {
    session: Session,
    principal: Arc<Principal>,
    corpus: Corpus,
    questions: Arc<[String]>,
    remembering: u8,
    settled: bool,
    number: usize,
}

impl Agent {
    /// Works until the time is over, once in each pause if there are pauses.
    async fn work(mut self, tally: Arc<Tally>, pause: Option<Duration>) -> Stored {
        let mut stored = Stored::new();
        let mut last_read = None;
        let mut turn = tokio::time::interval(pause.unwrap_or(Duration::from_secs(3600)));
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        if let Some(pause) = pause {
            // Not all at the same moment.
            tokio::time::sleep(pause.mul_f64((self.corpus.number() % 1000) as f64 / 1000.0)).await;
        }
        while !tally.is_over.load(Ordering::Relaxed) {
            if pause.is_some() {
                turn.tick().await;
            }
            let (started, writes) = (Instant::now(), self.corpus.number() % 100 < u64::from(self.remembering));
            let outcome = match (writes, self.settled, last_read) {
                (true, true, Some(cube)) => {
                    let mut batch = Batch::default();
                    batch.record_use(vec![(cube, UseSignal::Read)]);
                    self.session.commit(batch).await.map(|_| tally.written())
                }
                (true, false, _) => {
                    let turn = self.corpus.turn(self.number);
                    self.session.remember(draft(&turn, self.number)).await.map(|id| {
                        stored.push((self.principal.clone(), id));
                        tally.written()
                    })
                }
                _ => match question(&mut self.corpus, &self.questions) {
                    Ok(question) => self.session.ask(question).await.map(|answer| {
                        last_read = answer.receipts.first().map(|receipt| receipt.cube);
                        tally.recalled()
                    }),
                    Err(error) => Err(error),
                },
            };
            match outcome {
                Ok(mut times) => times.record(started.elapsed().as_secs_f64() * 1000.0),
                Err(error) if error.kind() == ErrorKind::Busy => {
                    tally.busy.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => *tally.failures().entry(format!("{:?}", error.kind()).to_lowercase()).or_default() += 1,
            }
        }
        stored
    }
}

/// Counts the memories that are not there.
async fn lost(space: &SpaceHandle, stored: Vec<(Arc<Principal>, CubeId)>) -> Result<u64> {
    let session = space.session(principal()?).with_patience(Duration::from_secs(3600));
    let missing = move |space: &Space, _: &Principal| {
        Ok(stored.iter().filter(|(agent, id)| space.get(agent, id).is_err()).count() as u64)
    };
    session.work(missing).await
}
