//! The local model's tokens a second: one request, and several with segments and adapters of their own at once.

use clap::{Args, ValueEnum};
use memos::Result;
use memos_runtime::engine::speed::{self, Answering};

use super::{Screen, report};

#[derive(Args)]
pub(super) struct DecodeArguments {
    /// What the weights are held in; both, if not given
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Tokens to read
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..=4096))]
    prefill: u16,
    /// Tokens to say
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    decode: u16,
    /// Measures of each, in turns; the median is said
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// One request only
    #[arg(long)]
    alone: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Four bytes a number
    F32,
    /// About one byte a number
    #[value(name = "q8_0")]
    Q8,
}

pub(super) fn run(arguments: &DecodeArguments, screen: &mut Screen) -> Result<()> {
    let [prefill, decode, rounds] = [arguments.prefill, arguments.decode, arguments.rounds].map(usize::from);
    let mut figures = Answering { threads: speed::threads(), alone: Vec::new(), together: None };
    for kind in [Kind::F32, Kind::Q8] {
        if arguments.kind.is_none_or(|asked| asked == kind) {
            figures.alone.push(speed::alone(kind == Kind::Q8, prefill, decode, rounds)?);
        }
    }
    if !arguments.alone {
        figures.together = Some(speed::together(decode, rounds)?);
    }
    let mut lines: Vec<(&str, String)> = Vec::new();
    for alone in &figures.alone {
        let (reads, says) = (alone.prefill_tokens_per_s, alone.decode_tokens_per_s);
        lines.push((alone.kind, format!("{reads} tokens read a second, {says} said")));
    }
    if let Some(together) = &figures.together {
        lines.push(("together", format!("{} × of one after another", together.ratio)));
        lines.push(("answers that differ", together.differing_answers.to_string()));
        lines.push(("another adapter", format!("{} ms, residue {}", together.swap_ms, together.residue)));
    }
    report(screen, &figures, &lines)
}
