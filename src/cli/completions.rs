//! Completion scripts for shells.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Arguments;
use super::screen::Screen;

/// Prints a completion script.
#[derive(Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &CompletionsArguments, screen: &mut Screen) {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "memos", &mut script);
    screen.result(String::from_utf8_lossy(&script).trim_end());
}
