//! Adding and finding the lines of a file: for figures beside other systems on the very same texts.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use memos::cube::{CubeDraft, CubeId, SemanticType};
use memos::operator::{MemoryCall, recall};
use memos::reader::read_question;
use memos::vault::Batch;
use memos::{Error, Result};
use serde::Serialize;

use super::measure::{folder, percentile, principal, resident_megabytes, rounded, space};
use super::{Screen, report};

#[derive(Args)]
pub(super) struct TextsArguments {
    /// A file with one text a line
    texts: PathBuf,
    /// A file with one question a line: the number of the text that answers it, counted from 0, a tab, the question
    questions: PathBuf,
    /// Texts in a batch
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=2000))]
    batch: u32,
}

/// With `--json`: durable adds per second, milliseconds of one recall, and the share of questions whose text was among ten.
#[derive(Serialize)]
struct Figures {
    texts: usize,
    batch: u32,
    add_per_s: f64,
    search_p50_ms: f64,
    search_p95_ms: f64,
    search_p99_ms: f64,
    recall_at_10: f64,
    rss_mb: Option<f64>,
}

pub(super) fn run(arguments: &TextsArguments, screen: &mut Screen) -> Result<()> {
    let texts: Vec<String> = lines(&arguments.texts)?;
    let questions =
        lines(&arguments.questions)?.iter().map(|line| question(line, texts.len())).collect::<Result<Vec<_>>>()?;
    let (folder, me) = (folder()?, principal()?);
    let space = space(folder.path())?;
    let mut ids: Vec<CubeId> = Vec::with_capacity(texts.len());
    let started = Instant::now();
    for chunk in texts.chunks(arguments.batch as usize) {
        let mut batch = Batch::default();
        for text in chunk {
            let id = space.new_id();
            batch.store(id, CubeDraft::text(SemanticType::Fact, text.clone()));
            ids.push(id);
        }
        space.commit(&me, batch)?;
    }
    let add_per_s = texts.len() as f64 / started.elapsed().as_secs_f64();
    let (mut times, mut hits) = (Vec::new(), 0_usize);
    for (answer, question) in &questions {
        let call = MemoryCall::new(me.clone(), question.clone(), space.now());
        let started = Instant::now();
        let found = recall(&[&space], &read_question(&[&space], call)?)?;
        times.push(started.elapsed().as_secs_f64() * 1000.0);
        hits += usize::from(found.receipts.iter().any(|receipt| ids.get(*answer) == Some(&receipt.cube)));
    }
    let figures = Figures {
        texts: texts.len(),
        batch: arguments.batch,
        add_per_s: add_per_s.round(),
        search_p50_ms: rounded(percentile(&times, 0.5)),
        search_p95_ms: rounded(percentile(&times, 0.95)),
        search_p99_ms: rounded(percentile(&times, 0.99)),
        recall_at_10: rounded(hits as f64 / questions.len().max(1) as f64),
        rss_mb: resident_megabytes(),
    };
    let Figures { search_p50_ms, search_p95_ms, search_p99_ms, recall_at_10, .. } = figures;
    report(
        screen,
        &figures,
        &[
            ("texts", figures.texts.to_string()),
            ("added per second", format!("{} in batches of {}", figures.add_per_s, figures.batch)),
            ("recall p50, p95, p99", format!("{search_p50_ms}, {search_p95_ms}, {search_p99_ms} ms")),
            ("found among ten", format!("{:.1}%", recall_at_10 * 100.0)),
        ],
    )
}

fn lines(file: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| Error::invalid(format!("`{}`: {e}", file.display())).with_source(e))?;
    let lines: Vec<String> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if lines.is_empty() {
        return Err(Error::invalid(format!("`{}` has no lines", file.display())));
    }
    Ok(lines)
}

fn question(line: &str, texts: usize) -> Result<(usize, String)> {
    let read = line
        .split_once('\t')
        .and_then(|(number, question)| Some((number.trim().parse::<usize>().ok()?, question.to_owned())));
    match read {
        Some((number, question)) if number < texts => Ok((number, question)),
        _ => Err(Error::invalid(format!("`{line}` is not the number of one of {texts} texts, a tab, and a question"))),
    }
}
