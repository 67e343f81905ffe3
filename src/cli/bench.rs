//! Measures that anyone can run again: recall on conversations, and speed on generated text.
//!
//! Each works in a temporary folder of its own with nothing else known, through the same calls as any other program. The
//! figures of the README come from here.

mod actors;
mod adapter;
mod agents;
mod corpus;
mod crossover;
mod decode;
mod embed;
mod encryption;
mod exchange;
mod fork;
mod inject;
mod isolation;
mod locomo;
mod measure;
mod past;
mod proof;
mod recall;
mod texts;
mod torture;
mod verify;
mod write;

use clap::{Args, Subcommand};
use memos::Result;
use serde::Serialize;

use super::scope::Scope;
use super::screen::Screen;

/// Measures recall and speed on this machine.
#[derive(Args)]
pub(super) struct BenchArguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Evidence recall on LoCoMo conversations, without a language model
    Locomo(locomo::LocomoArguments),
    /// The time of a whole recall among N memories of generated text, on one thread
    Recall(recall::RecallArguments),
    /// Durable writes of N memories of generated text, and opening the space again
    Write(write::WriteArguments),
    /// Reading and recalling as of the middle of a ledger against now
    Past(past::PastArguments),
    /// Forking a space of N memories until the first answer out of the fork, and what its first write costs
    Fork(fork::ForkArguments),
    /// Verifying a ledger of N events with their records, index and graph
    Verify(verify::VerifyArguments),
    /// Making and checking proofs that a memory is in a ledger of N events
    Proof(proof::ProofArguments),
    /// Writing and recalling in a space with keys against one without, in turns
    Encryption(encryption::EncryptionArguments),
    /// Exporting N memories as a signed bundle, and importing it elsewhere
    Exchange(exchange::ExchangeArguments),
    /// Actors: messages, recall through the kernel, a crash, and a flood, each beside what it is held against
    Actors(actors::ActorsArguments),
    /// Many agents at once, recalling and remembering, beside what recall alone costs
    Agents(agents::AgentsArguments),
    /// Recall in one space while another is flooded, and what an idle kernel costs
    Isolation(isolation::IsolationArguments),
    /// Exact against approximate dense search, by number of memories
    Crossover(crossover::CrossoverArguments),
    /// Making vectors of texts one by one and in batches, with the embedder of `--encoder` or the built-in one
    Embed(embed::EmbedArguments),
    /// The first token behind a memory injected from its file, against reading its text
    Inject(inject::InjectArguments),
    /// Facts taught to an adapter of the model that ships: how long it takes, and what is right afterwards
    Adapter(adapter::AdapterArguments),
    /// The local model's tokens a second: one request, and several with adapters and segments at once
    Decode(decode::DecodeArguments),
    /// Adding and finding the lines of a file, for figures beside other systems on the same texts
    Texts(texts::TextsArguments),
    /// Durable operations without end, for a test that kills the program
    #[command(hide = true)]
    Torture(torture::TortureArguments),
}

pub(super) fn run(arguments: BenchArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    match arguments.bench {
        Bench::Locomo(arguments) => locomo::run(&arguments, &scope.embedder()?, screen),
        Bench::Recall(arguments) => recall::run(&arguments, screen),
        Bench::Write(arguments) => write::run(&arguments, screen),
        Bench::Past(arguments) => past::run(&arguments, screen),
        Bench::Fork(arguments) => fork::run(&arguments, screen),
        Bench::Verify(arguments) => verify::run(&arguments, screen),
        Bench::Proof(arguments) => proof::run(&arguments, screen),
        Bench::Encryption(arguments) => encryption::run(&arguments, screen),
        Bench::Exchange(arguments) => exchange::run(&arguments, screen),
        Bench::Actors(arguments) => actors::run(&arguments, screen),
        Bench::Agents(arguments) => agents::run(&arguments, screen),
        Bench::Isolation(arguments) => isolation::run(&arguments, screen),
        Bench::Crossover(arguments) => crossover::run(&arguments, screen),
        Bench::Embed(arguments) => embed::run(&arguments, &scope.embedder()?, screen),
        Bench::Inject(arguments) => inject::run(&arguments, screen),
        Bench::Adapter(arguments) => adapter::run(&arguments, screen),
        Bench::Decode(arguments) => decode::run(&arguments, screen),
        Bench::Texts(arguments) => texts::run(&arguments, screen),
        Bench::Torture(arguments) => torture::run(&arguments, screen),
    }
}

/// Says what was measured: as JSON, or as lines of name and figure.
fn report(screen: &mut Screen, figures: &impl Serialize, lines: &[(&str, String)]) -> Result<()> {
    if screen.json {
        return screen.object(figures);
    }
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, figure) in lines {
        screen.result(format!("{name:width$}  {figure}"));
    }
    Ok(())
}
