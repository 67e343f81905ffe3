//! The command line: what may be typed, and which command does it.
//!
//! Each command has a room of its own. It reads its arguments, calls the library, and says what came of it: as text for
//! people, or with `--json` as one object whose shape is documented where it is made. The same rules hold for all: input
//! is checked whole before anything is written, results go to standard output and everything else to standard error, and
//! the exit code tells what happened.

mod audit;
mod bench;
mod charter;
mod compare;
mod completions;
mod demo;
mod diff;
mod erase;
mod export;
mod failure;
mod files;
mod fork;
mod forms;
mod govern;
mod graph;
mod history;
mod ids;
mod import;
mod ingest;
mod keys;
mod life;
mod link;
mod models;
mod pipeline;
mod places;
mod proof;
mod recall;
mod receipts;
mod remember;
mod restore;
mod scope;
mod screen;
mod sending;
mod show;
mod store;
mod sweep;
mod table;
mod top;
mod verify;
mod watermark;
mod work;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::scope::{Scope, ScopeArguments};
use self::screen::Screen;
use memos::Result;

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  refused or failed
  2  wrong usage or bad input; nothing was changed
  3  nothing found: no memory, no such id, no such space

Start with `memos demo`. It needs no set-up and leaves nothing behind but a picture.";

/// A memory operating system for agents: remembers across sessions, shares under rules, and says why.
#[derive(Parser)]
#[command(name = "memos", version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(flatten)]
    scope: ScopeArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows in a few seconds what memos does, on a memory of its own
    Demo(demo::DemoArguments),
    /// Reads conversations and documents into memory
    Ingest(ingest::IngestArguments),
    /// Stores one memory
    Remember(remember::RememberArguments),
    /// Answers a question with the memories that serve it, and says why
    Recall(recall::RecallArguments),
    /// Shows one memory with all that is known about it
    Show(show::ShowArguments),
    /// Shows the versions and states of a memory, what it replaced and what replaced it
    History(history::HistoryArguments),
    /// Shows what a memory says in one version and not in another
    Diff(diff::DiffArguments),
    /// Shows what changed since a point, between two points, or between two spaces
    Compare(compare::CompareArguments),
    /// Brings a memory, or all of a space, back to what it said
    Restore(restore::RestoreArguments),
    /// Begins a space that starts from another one, for a what-if
    Fork(fork::ForkArguments),
    /// Writes what a fork has changed into the space that it was forked from
    Merge(fork::MergeArguments),
    /// Links two memories
    Link(link::LinkArguments),
    /// Shows or draws the memories around one
    Graph(graph::GraphArguments),
    /// Runs several steps over memory from a file, as a whole or not at all
    Pipeline(pipeline::PipelineArguments),
    /// Writes memories into a file that other spaces and systems can take in
    Export(export::ExportArguments),
    /// Takes memories from a file: a bundle, or what another system exported
    Import(import::ImportArguments),
    /// Says who exported a text that turned up somewhere
    Watermark(watermark::WatermarkArguments),
    /// Offers memories to others, under terms
    Publish(store::PublishArguments),
    /// Lists what is offered, and what one waits for
    Offers(store::OffersArguments),
    /// Waits for offers, by tag or by meaning
    Subscribe(store::SubscribeArguments),
    /// Ends a subscription
    Unsubscribe(store::UnsubscribeArguments),
    /// Takes what is offered, here or in a bundle from elsewhere
    Take(store::TakeArguments),
    /// Ends an offer, and withdraws what was taken
    Revoke(store::RevokeArguments),
    /// Takes a memory to another state of its life
    State(life::StateArguments),
    /// Lets a frozen memory be changed again
    Unfreeze(life::UnfreezeArguments),
    /// Puts a memory under legal hold, or ends it
    Hold(govern::HoldArguments),
    /// Says who may use a memory
    Share(govern::ShareArguments),
    /// Says how long a memory is kept, and how much it matters
    Keep(govern::KeepArguments),
    /// Does once what time and rules ask for: archives, expires, erases
    Sweep(sweep::SweepArguments),
    /// Lets memory evolve, once: merges, resolves contradictions, summarises, reflects, links, sweeps
    Work(work::WorkArguments),
    /// Forgets memories for good, with every copy and key
    Erase(erase::EraseArguments),
    /// Shows or changes the rules of a space
    Charter(charter::CharterArguments),
    /// Shows who read, changed or was refused what
    Audit(audit::AuditArguments),
    /// Holds everything that a space keeps against everything else
    Verify(verify::VerifyArguments),
    /// Signs where a space's ledger ends
    Head(proof::HeadArguments),
    /// Proves that a memory is in a space, to those who do not have it
    Prove(proof::ProveArguments),
    /// Checks a proof; needs no data
    CheckProof(proof::CheckProofArguments),
    /// Shows which master key seals which space, makes one, or changes it
    Keys(keys::KeysArguments),
    /// Answers a question with a local model, from what is remembered
    Answer(forms::AnswerArguments),
    /// Keeps memories as what a local model has read of them: its keys and values
    Segment(forms::FormArguments),
    /// Teaches memories to a local model, as an adapter
    Adapter(forms::FormArguments),
    /// Shows a local model
    Model(models::ModelArguments),
    /// Lists the spaces
    Spaces,
    /// Counts what is in a space
    Stats,
    /// Makes all vectors of a space again, with the built-in embedder or the one of `--encoder`
    Reembed,
    /// Shows live what a running kernel does: queues, recalls, commits, decisions
    Top(top::TopArguments),
    /// Measures recall and speed on this machine
    Bench(bench::BenchArguments),
    /// Prints a completion script for a shell
    Completions(completions::CompletionsArguments),
}

/// Runs the program with the arguments of the command line.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // An error in the arguments must come as JSON too, though nothing of them could be read.
    let json = arguments.iter().any(|argument| argument == "--json");
    match Arguments::try_parse_from(&arguments) {
        Ok(parsed) => {
            let mut screen = Screen::new(parsed.scope.json, parsed.scope.quiet);
            let done = Scope::new(parsed.scope).and_then(|scope| dispatch(parsed.command, &scope, &mut screen));
            match done.and_then(|found| screen.flush().map(|()| found)) {
                Ok(Found::Something) => ExitCode::SUCCESS,
                Ok(Found::Nothing) => ExitCode::from(failure::NOTHING_FOUND),
                Err(error) => {
                    // What was said before the failure is still true.
                    let _ = screen.flush();
                    failure::report(&error, json)
                }
            }
        }
        Err(error) => failure::report_usage(&error, json),
    }
}

/// Whether there was anything to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Something,
    Nothing,
}

fn dispatch(command: Command, scope: &Scope, screen: &mut Screen) -> Result<Found> {
    match command {
        Command::Demo(arguments) => demo::run(&arguments, screen)?,
        Command::Ingest(arguments) => ingest::run(arguments, scope, screen)?,
        Command::Remember(arguments) => remember::run(arguments, scope, screen)?,
        Command::Recall(arguments) => return recall::run(arguments, scope, screen),
        Command::Show(arguments) => show::show(&arguments, scope, screen)?,
        Command::History(arguments) => history::run(&arguments, scope, screen)?,
        Command::Diff(arguments) => diff::run(&arguments, scope, screen)?,
        Command::Compare(arguments) => compare::run(&arguments, scope, screen)?,
        Command::Restore(arguments) => restore::run(&arguments, scope, screen)?,
        Command::Fork(arguments) => fork::fork(&arguments, scope, screen)?,
        Command::Merge(arguments) => fork::merge(&arguments, scope, screen)?,
        Command::Link(arguments) => link::run(&arguments, scope, screen)?,
        Command::Graph(arguments) => graph::run(&arguments, scope, screen)?,
        Command::Pipeline(arguments) => pipeline::run(&arguments, scope, screen)?,
        Command::Export(arguments) => export::run(&arguments, scope, screen)?,
        Command::Import(arguments) => import::run(&arguments, scope, screen)?,
        Command::Watermark(arguments) => return watermark::run(arguments, scope, screen),
        Command::Publish(arguments) => store::publish(arguments, scope, screen)?,
        Command::Offers(arguments) => return store::offers(&arguments, scope, screen),
        Command::Subscribe(arguments) => store::subscribe(arguments, scope, screen)?,
        Command::Unsubscribe(arguments) => store::unsubscribe(&arguments, scope, screen)?,
        Command::Take(arguments) => store::take(&arguments, scope, screen)?,
        Command::Revoke(arguments) => store::revoke(&arguments, scope, screen)?,
        Command::State(arguments) => life::state(&arguments, scope, screen)?,
        Command::Unfreeze(arguments) => life::unfreeze(&arguments, scope, screen)?,
        Command::Hold(arguments) => govern::hold(&arguments, scope, screen)?,
        Command::Share(arguments) => govern::share(arguments, scope, screen)?,
        Command::Keep(arguments) => govern::keep(&arguments, scope, screen)?,
        Command::Sweep(arguments) => sweep::run(&arguments, scope, screen)?,
        Command::Work(arguments) => work::run(&arguments, scope, screen)?,
        Command::Erase(arguments) => erase::run(&arguments, scope, screen)?,
        Command::Charter(arguments) => charter::run(&arguments, scope, screen)?,
        Command::Audit(arguments) => return audit::run(arguments, scope, screen),
        Command::Verify(arguments) => verify::run(&arguments, scope, screen)?,
        Command::Head(arguments) => proof::head(&arguments, scope, screen)?,
        Command::Prove(arguments) => proof::prove(&arguments, scope, screen)?,
        Command::CheckProof(arguments) => proof::check(&arguments, screen)?,
        Command::Keys(arguments) => keys::run(&arguments, scope, screen)?,
        Command::Answer(arguments) => forms::answer(&arguments, scope, screen)?,
        Command::Segment(arguments) => return forms::segment(&arguments, scope, screen),
        Command::Adapter(arguments) => return forms::adapter(&arguments, scope, screen),
        Command::Model(arguments) => return models::model(&arguments, scope, screen),
        Command::Spaces => places::spaces(scope, screen)?,
        Command::Stats => places::stats(scope, screen)?,
        Command::Reembed => places::reembed(scope, screen)?,
        Command::Top(arguments) => top::run(&arguments, scope, screen)?,
        Command::Bench(arguments) => bench::run(arguments, scope, screen)?,
        Command::Completions(arguments) => completions::run(&arguments, screen),
    }
    Ok(Found::Something)
}
