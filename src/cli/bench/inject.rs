//! The first token behind a memory: its keys and values injected from their file, against reading its text.

use clap::Args;
use memos::Result;
use memos_runtime::engine::speed;

use super::measure::folder;
use super::{Screen, report};

#[derive(Args)]
pub(super) struct InjectArguments {
    /// Tokens of the memory
    #[arg(long, value_delimiter = ',', default_value = "256,512,1024,2048,4096")]
    memory: Vec<usize>,
    /// Tokens of the question
    #[arg(long, value_delimiter = ',', default_value = "1,32,128")]
    question: Vec<usize>,
    /// Measures of each, in turns; the median is said
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
}

pub(super) fn run(arguments: &InjectArguments, screen: &mut Screen) -> Result<()> {
    let folder = folder()?;
    let rounds = usize::from(arguments.rounds);
    let figures = speed::injecting(folder.path(), &arguments.memory, &arguments.question, rounds)?;
    let mut lines: Vec<(String, String)> = Vec::new();
    for cell in &figures.cells {
        lines.push((
            format!("{} + {} tokens", cell.memory_tokens, cell.query_tokens),
            format!("{} ×: {} ms in full, {} ms injected", cell.ratio, cell.full_ms, cell.injected_ms),
        ));
    }
    lines.push(("pays after".to_owned(), format!("{} uses", figures.break_even_reuses)));
    let lines: Vec<(&str, String)> = lines.iter().map(|(name, figure)| (name.as_str(), figure.clone())).collect();
    report(screen, &figures, &lines)
}
