//! Evidence recall on LoCoMo: of the turns that answer a question, which share is among the first k that are recalled.
//!
//! Each conversation is ingested into a fresh space and asked through the same calls as any other, with nothing else known:
//! neither the question's category nor its answer. The mean is over questions that have evidence.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use memos::cube::SemanticType;
use memos::embed::{Embedder, EmbedderId};
use memos::evolve::{Budget, EvolveRules, Job, run as run_job};
use memos::governance::Principal;
use memos::operator::{MemoryCall, recall};
use memos::reader::source::{Format, LocomoSample, Part, Source, SourceLimits, read_locomo_questions, read_source};
use memos::reader::{IngestOptions, ingest, read_question};
use memos::vault::Space;
use memos::{Error, Result};
use serde::Serialize;

use super::Screen;
use super::measure::{folder, percentile, principal, rounded, space_with};

/// Depths at which recall is measured.
const DEPTHS: [usize; 4] = [5, 10, 25, 50];
/// Tokens that the deepest answer may take: more than fifty turns ever do.
const TOKENS: usize = 200_000;

#[derive(Args)]
pub(super) struct LocomoArguments {
    /// A file in LoCoMo's format
    file: PathBuf,
    /// Let the memory evolve before it is asked
    #[arg(long)]
    evolved: bool,
}

/// With `--json`: what made the vectors, the mean share of evidence among the first k, over all questions and by category, and the
/// milliseconds of one recall of fifty memories.
#[derive(Serialize)]
struct Figures {
    embedder: EmbedderId,
    questions: usize,
    recall: BTreeMap<usize, f64>,
    by_category: BTreeMap<u8, BTreeMap<usize, f64>>,
    recall_ms: Milliseconds,
    turns: usize,
    ingest_turns_per_s: f64,
}

#[derive(Serialize)]
struct Milliseconds {
    p50: f64,
    p95: f64,
}

/// What one question found.
struct Asked {
    category: u8,
    shares: [f64; DEPTHS.len()],
    millis: f64,
}

pub(super) fn run(arguments: &LocomoArguments, embedder: &Arc<dyn Embedder>, screen: &mut Screen) -> Result<()> {
    let file = &arguments.file;
    let bytes = std::fs::read(file).map_err(|e| Error::invalid(format!("`{}`: {e}", file.display())).with_source(e))?;
    let source = read_source("locomo.json", &bytes, Some(Format::Locomo), &SourceLimits::default())?;
    let samples = read_locomo_questions(&bytes)?;
    let bar = screen.progress("asking");
    bar.set_length(samples.iter().map(|sample| sample.questions.len() as u64).sum());
    let (mut asked, mut turns, mut seconds) = (Vec::new(), 0, 0.0);
    for (part, sample) in source.parts.iter().zip(&samples) {
        let conversation = Source { parts: vec![part.clone()], name: source.name.clone(), format: source.format };
        let evolved = arguments.evolved;
        let (stored, took) = ask_all(&conversation, sample, (evolved, embedder), &mut asked, &mut || bar.inc(1))?;
        turns += stored;
        seconds += took;
    }
    bar.finish_and_clear();
    if asked.is_empty() {
        return Err(Error::invalid(format!("`{}` has no question with evidence", file.display())));
    }
    let millis: Vec<f64> = asked.iter().map(|asked| asked.millis).collect();
    let mut categories: BTreeMap<u8, Vec<&Asked>> = BTreeMap::new();
    asked.iter().for_each(|question| categories.entry(question.category).or_default().push(question));
    let figures = Figures {
        embedder: embedder.id().clone(),
        questions: asked.len(),
        recall: means(&asked.iter().collect::<Vec<_>>()),
        by_category: categories.iter().map(|(category, asked)| (*category, means(asked))).collect(),
        recall_ms: Milliseconds { p50: rounded(percentile(&millis, 0.5)), p95: rounded(percentile(&millis, 0.95)) },
        turns,
        ingest_turns_per_s: (turns as f64 / seconds).round(),
    };
    say(screen, &figures, &categories.iter().map(|(category, asked)| (*category, asked.len())).collect())
}

/// Does all jobs in a space until they find nothing.
fn evolve(space: &Space) -> Result<()> {
    let (keeper, rules) = (Principal::keeper()?, EvolveRules { session_quiet_millis: 0, ..EvolveRules::default() });
    loop {
        let mut done = 0;
        for job in Job::ALL {
            done += run_job(space, &keeper, job, &rules, Budget::default())?.total();
        }
        if done == 0 {
            return Ok(());
        }
    }
}

/// Ingests one conversation and asks its questions. Returns how many turns were stored in how many seconds.
fn ask_all(
    source: &Source,
    sample: &LocomoSample,
    (evolved, embedder): (bool, &Arc<dyn Embedder>),
    asked: &mut Vec<Asked>,
    done: &mut dyn FnMut(),
) -> Result<(usize, f64)> {
    let (folder, me) = (folder()?, principal()?);
    let space = space_with(folder.path(), embedder)?;
    let started = Instant::now();
    let report = ingest(&space, &me, source, &IngestOptions::default(), &mut |_, _| {})?;
    let seconds = started.elapsed().as_secs_f64();
    if evolved {
        evolve(&space)?;
    }
    let sessions = source.parts.iter().filter_map(|part| match part {
        Part::Conversation(conversation) => Some(&conversation.sessions),
        Part::Document(_) => None,
    });
    let known: HashSet<&str> =
        sessions.flatten().flat_map(|session| &session.turns).filter_map(|turn| turn.reference.as_deref()).collect();
    for question in &sample.questions {
        done();
        let evidence: Vec<&str> =
            question.evidence.iter().map(String::as_str).filter(|id| known.contains(id)).collect();
        if evidence.is_empty() {
            continue;
        }
        let mut call = MemoryCall::new(me.clone(), question.question.clone(), space.now());
        call.semantic = vec![SemanticType::Message];
        call.memories = DEPTHS.iter().copied().max().unwrap_or(0);
        call.tokens = TOKENS;
        let started = Instant::now();
        let answer = recall(&[&space], &read_question(&[&space], call)?)?;
        let millis = started.elapsed().as_secs_f64() * 1000.0;
        let recalled: Vec<&str> = answer.receipts.iter().filter_map(|receipt| receipt.reference.as_deref()).collect();
        let share = |depth: usize| {
            let first: HashSet<&str> = recalled.iter().take(depth).copied().collect();
            evidence.iter().filter(|id| first.contains(*id)).count() as f64 / evidence.len() as f64
        };
        asked.push(Asked { category: question.category, shares: DEPTHS.map(share), millis });
    }
    Ok((report.turns, seconds))
}

fn means(asked: &[&Asked]) -> BTreeMap<usize, f64> {
    let mean = |place: usize| {
        let sum: f64 = asked.iter().filter_map(|asked| asked.shares.get(place)).sum();
        (sum / asked.len().max(1) as f64 * 10_000.0).round() / 10_000.0
    };
    DEPTHS.iter().enumerate().map(|(place, depth)| (*depth, mean(place))).collect()
}

fn say(screen: &mut Screen, figures: &Figures, counts: &BTreeMap<u8, usize>) -> Result<()> {
    if screen.json {
        return screen.object(figures);
    }
    let row = |name: &str, count: usize, means: &BTreeMap<usize, f64>| {
        let cells: String = means.values().map(|mean| format!("  {mean:>6.3}")).collect();
        format!("{name:<12}  {count:>9}{cells}")
    };
    let depths: String = DEPTHS.iter().map(|depth| format!("  {:>6}", format!("R@{depth}"))).collect();
    screen.result(format!("{:<12}  {:>9}{depths}", "category", "questions"));
    for (category, means) in &figures.by_category {
        let name = match category {
            1 => "multi-hop",
            2 => "temporal",
            3 => "open",
            4 => "single-hop",
            5 => "adversarial",
            _ => "other",
        };
        screen.result(row(name, counts.get(category).copied().unwrap_or(0), means));
    }
    screen.result(row("all", figures.questions, &figures.recall));
    screen.line(format!("recall of fifty: p50 {} ms, p95 {} ms", figures.recall_ms.p50, figures.recall_ms.p95));
    screen.line(format!("{} turns ingested, {} a second", figures.turns, figures.ingest_turns_per_s));
    Ok(())
}
