//! Facts taught to an adapter of the model that ships: how long it takes, and what is right afterwards.

use clap::Args;
use memos::Result;
use memos_runtime::engine::speed;

use super::{Screen, report};

#[derive(Args)]
pub(super) struct AdapterArguments {
    /// Facts to teach
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=4096))]
    facts: u16,
    /// Questions of each kind
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    questions: u16,
    /// Decides facts, lessons and questions
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(arguments: &AdapterArguments, screen: &mut Screen) -> Result<()> {
    let bar = screen.progress("teaching");
    let taught = speed::taught(arguments.facts.into(), arguments.questions.into(), arguments.seed, |report| {
        bar.set_length(report.last as u64);
        bar.set_position(report.step as u64);
    })?;
    bar.finish_and_clear();
    let share = |share: f64| format!("{:.1}%", share * 100.0);
    report(
        screen,
        &taught,
        &[
            ("taught", format!("{} facts in {} s, {} steps", taught.facts, taught.seconds, taught.steps)),
            ("right with nothing told", share(taught.right_closed)),
            ("beside other segments", share(taught.right_beside_segments)),
            ("told, and not taught", format!("{} ({} without it)", share(taught.right_told), share(taught.base_told))),
            ("told otherwise", share(taught.right_corrected)),
            ("not known", format!("{} ({} without it)", share(taught.right_not_known), share(taught.base_not_known))),
            ("other answers changed", share(taught.unrelated_changed)),
            ("another adapter", format!("{} ms, residue {}", taught.swap_ms, taught.residue)),
        ],
    )
}
