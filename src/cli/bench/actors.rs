//! The actors: messages through a bounded handle, recall through the kernel, a crash, and a flood.
//!
//! Each figure stands beside what it is held against, measured in the same run: the actor library alone, the vault without a
//! kernel, the space at rest.

use std::time::{Duration, Instant};

use clap::Args;
use memos::cube::Layer;
use memos::governance::{AccessClass, Charter, Operation, Policy, Principal};
use memos::operator::{MemoryCall, recall};
use memos::reader::read_question;
use memos::time::Timestamp;
use memos::vault::{Space, VaultOptions};
use memos::{Error, Result};
use memos_runtime::actor::Heard;
use memos_runtime::{Kernel, KernelOptions, RuntimeLimits, Session, SpaceHandle, block_on_threads, measure};
use serde::Serialize;

use super::corpus::{BATCH, Corpus, draft, fill};
use super::measure::{folder, percentile, principal, rounded};
use super::{Screen, report};

/// What is compared is measured in turns, as a machine that others use is not the same from one second to the next.
const ROUNDS: u32 = 4;

const KNOWN_DECISIONS: u32 = 1_000_000;
const NEW_DECISIONS: u32 = 5_000;

const SPACE: &str = "bench/measure";

#[derive(Args)]
pub(super) struct ActorsArguments {
    /// Memories in the space
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    cubes: u32,
    /// Recalls of each measure
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    questions: u32,
    /// Messages of each measure
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    messages: u64,
    /// Callers who send them at the same time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    callers: u16,
    /// Threads of the pool
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
}

/// With `--json`. A message is one question to an actor and its answer; times are milliseconds.
#[derive(Serialize)]
struct Figures {
    threads: u16,
    callers: u16,
    messages_per_s: f64,
    raw_messages_per_s: f64,
    /// The library's rate over ours.
    over_raw_ractor: f64,
    cubes: u32,
    vault_recall_p50_ms: f64,
    kernel_recall_p50_ms: f64,
    recall_over_direct: f64,
    /// From the crash of a writer until it has stored one more memory.
    restart_ms: f64,
    idle_recall_p99_ms: f64,
    flooded_recall_p99_ms: f64,
    flooded_over_idle: f64,
    /// A decision of a charter with policies that was made before, in microseconds.
    decision_cached_us: f64,
    /// One that was not.
    decision_us: f64,
    /// Durable batches that the flood made meanwhile, each second.
    flood_per_s: f64,
}

pub(super) fn run(arguments: &ActorsArguments, screen: &mut Screen) -> Result<()> {
    let folder = folder()?;
    let messages = block_on_threads(usize::from(arguments.threads), messages(arguments))?;
    let figures = block_on_threads(usize::from(arguments.threads), spaces(arguments, folder.path(), messages))?;
    let beside = |ours: f64, other: f64, unit: &str| format!("{ours} {unit}, beside {other}");
    report(
        screen,
        &figures,
        &[
            ("messages", beside(figures.messages_per_s.round(), figures.raw_messages_per_s.round(), "a second")),
            ("recall p50", beside(figures.kernel_recall_p50_ms, figures.vault_recall_p50_ms, "ms")),
            ("restart", format!("{} ms", figures.restart_ms)),
            ("a decision", format!("{} µs, and {} µs the first time", figures.decision_cached_us, figures.decision_us)),
            ("recall p99 in a flood", beside(figures.flooded_recall_p99_ms, figures.idle_recall_p99_ms, "ms")),
        ],
    )
}

/// Measures ours and the library's in turns, and takes the best of each.
async fn messages(arguments: &ActorsArguments) -> Result<(f64, f64)> {
    let callers = usize::from(arguments.callers);
    let each = (arguments.messages / u64::from(ROUNDS) / u64::from(arguments.callers)).max(1);
    let rate = |took: Duration| (each * callers as u64) as f64 / took.as_secs_f64();
    let (mut ours, mut raw) = (0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        ours = ours.max(rate(measure::round_trips(callers, each, 1024).await?));
        raw = raw.max(rate(measure::raw_round_trips(callers, each).await?));
    }
    Ok((ours, raw))
}

async fn spaces(arguments: &ActorsArguments, folder: &std::path::Path, messages: (f64, f64)) -> Result<Figures> {
    let (me, total) = (principal()?, arguments.cubes as usize);
    // That the second crash within a minute waits longer than the first is not what is measured.
    let limits = RuntimeLimits { restart_delay: Duration::ZERO, ..RuntimeLimits::default() };
    let kernel = Kernel::open_with(folder, KernelOptions { vault: VaultOptions::builtin()?, limits }).await?;
    let space = kernel.space(SPACE).await?;
    let session = space.session(me.clone());
    let (corpus, questions) = session.work(move |space, me| fill(space, me, total, BATCH, Layer::Private)).await?;
    let mut asker = Asker { corpus, questions };
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        direct.extend(direct_recalls(&session, &asker, round, arguments.questions.div_ceil(ROUNDS)).await?);
        through.extend(asker.recalls(&session, arguments.questions.div_ceil(ROUNDS)).await?);
    }
    let restart_ms = restart(&space, &session, &me).await?;
    let idle = asker.recalls(&session, arguments.questions).await?;
    let (flooded, flood_per_second) = flood(&space, &me, &mut asker, arguments.questions).await?;
    kernel.shutdown(Duration::from_secs(60)).await?;
    let (decision_cached_us, decision_us) = decisions()?;
    let (ours, raw) = messages;
    let (vault_p50, kernel_p50) = (percentile(&direct, 0.5), percentile(&through, 0.5));
    let (idle_p99, flooded_p99) = (percentile(&idle, 0.99), percentile(&flooded, 0.99));
    Ok(Figures {
        threads: arguments.threads,
        callers: arguments.callers,
        messages_per_s: ours.round(),
        raw_messages_per_s: raw.round(),
        over_raw_ractor: rounded(raw / ours),
        cubes: arguments.cubes,
        vault_recall_p50_ms: rounded(vault_p50),
        kernel_recall_p50_ms: rounded(kernel_p50),
        recall_over_direct: rounded(kernel_p50 / vault_p50),
        restart_ms: rounded(restart_ms),
        idle_recall_p99_ms: rounded(idle_p99),
        flooded_recall_p99_ms: rounded(flooded_p99),
        flooded_over_idle: rounded(flooded_p99 / idle_p99),
        decision_cached_us: rounded(decision_cached_us),
        decision_us: rounded(decision_us),
        flood_per_s: flood_per_second.round(),
    })
}

struct Asker {
    corpus: Corpus,
    questions: Vec<String>,
}

impl Asker {
    fn question(&mut self) -> Result<String> {
        let at = (self.corpus.number() % self.questions.len().max(1) as u64) as usize;
        self.questions.get(at).cloned().ok_or_else(|| Error::invalid("there is nothing to ask for"))
    }

    /// Asks through the kernel, one question after the other.
    async fn recalls(&mut self, session: &Session, questions: u32) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for _ in 0..questions {
            let question = self.question()?;
            let started = Instant::now();
            session.ask(question).await?;
            times.push(millis(started));
        }
        Ok(times)
    }
}

/// Asks the vault itself, on one thread without anything between.
async fn direct_recalls(session: &Session, asker: &Asker, round: u32, questions: u32) -> Result<Vec<f64>> {
    let mut asker = Asker { corpus: Corpus::new(u64::from(round)), questions: asker.questions.clone() };
    let patient = session.clone().with_patience(Duration::from_secs(3600));
    let work = move |space: &Space, me: &Principal| {
        let mut times = Vec::new();
        for _ in 0..questions {
            let question = asker.question()?;
            let started = Instant::now();
            recall(&[space], &read_question(&[space], MemoryCall::new(me.clone(), question, space.now()))?)?;
            times.push(millis(started));
        }
        Ok(times)
    };
    patient.work(work).await
}

/// Decides by the charter of the examples: again and again the same for a few principals, and once for each of many.
fn decisions() -> Result<(f64, f64)> {
    let rules = Charter::parse(include_str!("../../../examples/charter.toml"))?.rules()?;
    let at = Timestamp::from_millis(1_700_000_000_000);
    let class = AccessClass {
        layer: Layer::Global,
        owner: "user:owner".parse()?,
        grants: Vec::new(),
        sensitive: false,
        concealed: false,
    };
    let asker = |number: u32| Ok(Principal::new(format!("agent:asker-{number}").parse()?).acting_for("dinner"));
    let few: Vec<Principal> = (0..16).map(asker).collect::<Result<_>>()?;
    let many: Vec<Principal> = (100..100 + NEW_DECISIONS).map(asker).collect::<Result<_>>()?;
    let each = |askers: &mut dyn Iterator<Item = &Principal>, count: u32| {
        let started = Instant::now();
        for asker in askers {
            std::hint::black_box(rules.decide(asker, Operation::Read, &class, at));
        }
        started.elapsed().as_secs_f64() * 1e6 / f64::from(count)
    };
    each(&mut few.iter(), 16);
    let cached = each(&mut few.iter().cycle().take(KNOWN_DECISIONS as usize), KNOWN_DECISIONS);
    Ok((cached, each(&mut many.iter(), NEW_DECISIONS)))
}

/// Makes the writer fail, and stores a memory; the median of five.
async fn restart(space: &SpaceHandle, session: &Session, me: &Principal) -> Result<f64> {
    let mut times = Vec::new();
    for number in 0..5 {
        let started = Instant::now();
        space.fail_writer(me.clone(), "the bench wants it to").await?;
        let turn = Corpus::new(number).turn(0);
        loop {
            match session.remember(draft(&turn, 0)).await {
                // It died with this one before it.
                Err(error) if error.kind().is_retryable() => {}
                outcome => {
                    outcome?;
                    break;
                }
            }
        }
        times.push(millis(started));
    }
    Ok(percentile(&times, 0.5))
}

/// Recalls while other sessions write as fast as they are let, and counts what they wrote.
async fn flood(space: &SpaceHandle, me: &Principal, asker: &mut Asker, questions: u32) -> Result<(Vec<f64>, f64)> {
    let mut changes = space.changes()?;
    let (started, from) = (Instant::now(), space.session(me.clone()));
    let mut flooding = Vec::new();
    for number in 0..8_u64 {
        let session = space.session(me.clone());
        flooding.push(measure::in_background(async move {
            let mut corpus = Corpus::new(100 + number);
            for turn in 0_usize.. {
                session.remember(draft(&corpus.turn(turn), turn)).await?;
            }
            Ok(())
        }));
    }
    // The first write says that the flood has begun.
    changes.next().await;
    let times = asker.recalls(&from, questions).await?;
    let took = started.elapsed().as_secs_f64();
    drop(flooding);
    let mut written = 1_u64;
    while let Some(heard) = changes.try_next() {
        written += match heard {
            Heard::Fact(_) => 1,
            Heard::Lagged(missed) => missed,
        };
    }
    Ok((times, written as f64 / took))
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
