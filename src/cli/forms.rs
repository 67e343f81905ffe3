//! `memos answer`, `memos segment` and `memos adapter`: what the local model says, and the forms it takes memory in.
//!
//! With `--json`, `segment` and `adapter` give `{"forms": [{"key": "…", "form": "activation", "state": "adopted", "why": "…",
//! "sources": ["…@1"], "bytes": 1, "tokens": 1, "scores": {…}}]}`, and `answer` gives `{"text": "…", "tokens_read": 1,
//! "tokens_said": 1, "receipts": [{"cube": "…", "form": "parametric", "key": "…", "why": "…"}]}`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use memos::cube::{CubeId, Kind};
use memos::runtime::engine::{AnswerOptions, Engine, EngineOptions, FormRecord, curve_svg};
use memos::runtime::{Kernel, KernelOptions, RuntimeLimits, Session, block_on};
use memos::{Error, Result};
use serde_json::json;

use super::Found;
use super::files;
use super::ids;
use super::models::ModelArgument;
use super::scope::Scope;
use super::screen::{DIM, NAME, NOTICE, Screen, paint};
use super::table::Table;

#[derive(Args)]
pub(super) struct AnswerArguments {
    /// The question
    question: String,
    /// Load memories in one form alone: plaintext, activation or parametric [default: the cheapest that there is]
    #[arg(long, value_name = "FORM")]
    form: Option<Kind>,
    /// The most memories
    #[arg(long, value_name = "N", default_value_t = 8)]
    memories: usize,
    #[command(flatten)]
    model: ModelArgument,
}

#[derive(Args)]
pub(super) struct FormArguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    model: ModelArgument,
}

#[derive(Subcommand)]
enum Action {
    /// Makes one form of some memories, examines it, and adopts it when it says what they say
    Make {
        /// The memories
        #[arg(required = true)]
        memories: Vec<String>,
        /// Make it even though one was refused before
        #[arg(long)]
        again: bool,
        /// The most steps of an adapter's teaching [default: 1000]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        steps: Option<u32>,
        /// Draw how an adapter's teaching went, as SVG
        #[arg(long, value_name = "FILE")]
        curve: Option<PathBuf>,
    },
    /// Lists the forms that there are and were
    List,
    /// Shows one form: how it stands, why, and what it scored
    Show {
        /// Its key, or the beginning of it
        key: String,
        /// Draw how an adapter's teaching went, as SVG
        #[arg(long, value_name = "FILE")]
        curve: Option<PathBuf>,
    },
    /// Takes a form out of use, and erases it
    Retire {
        /// Its key, or the beginning of it
        key: String,
    },
}

impl Action {
    /// Returns where the curve of what it shows is to be drawn.
    fn curve(&self) -> Option<&Path> {
        match self {
            Self::Make { curve, .. } | Self::Show { curve, .. } => curve.as_deref(),
            Self::List | Self::Retire { .. } => None,
        }
    }
}

pub(super) fn answer(arguments: &AnswerArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let mut options = arguments.form.map_or_else(AnswerOptions::default, AnswerOptions::only);
    options.memories = arguments.memories;
    let question = arguments.question.clone();
    let answer = with_engine(&arguments.model, EngineOptions::default(), scope, async |engine, session| {
        engine.answer(session, question, options).await
    })?;
    if screen.json {
        let receipts: Vec<_> = answer
            .receipts
            .iter()
            .map(|receipt| {
                let form = receipt.form.map(Kind::as_str);
                json!({"cube": receipt.memory.cube, "form": form, "key": receipt.key, "why": receipt.why})
            })
            .collect();
        return screen.object(&json!({
            "text": answer.text,
            "tokens_read": answer.tokens_read,
            "tokens_said": answer.tokens_said,
            "first_token_ms": answer.times.first_token.as_secs_f64() * 1e3,
            "receipts": receipts,
        }));
    }
    screen.result(&answer.text);
    for receipt in &answer.receipts {
        let form = receipt.form.map_or("left out", Kind::as_str);
        screen.line(paint(DIM, format!("  {} {form}: {}", ids::short(&receipt.memory.cube), receipt.why)));
    }
    let first = answer.times.first_token.as_secs_f64() * 1e3;
    screen.line(paint(DIM, format!("  {} tokens of memory read; first token after {first:.1} ms", answer.tokens_read)));
    Ok(())
}

pub(super) fn segment(arguments: &FormArguments, scope: &Scope, screen: &mut Screen) -> Result<Found> {
    forms(arguments, Kind::Activation, scope, screen)
}

pub(super) fn adapter(arguments: &FormArguments, scope: &Scope, screen: &mut Screen) -> Result<Found> {
    forms(arguments, Kind::Parametric, scope, screen)
}

fn forms(arguments: &FormArguments, form: Kind, scope: &Scope, screen: &mut Screen) -> Result<Found> {
    let bar = screen.progress("");
    let shown = bar.clone();
    let mut options = EngineOptions::default();
    if let Action::Make { steps: Some(steps), .. } = &arguments.action {
        options.teaching.steps = *steps as usize;
    }
    let records =
        with_engine(&arguments.model, options, scope, async move |engine, session| match &arguments.action {
            Action::Make { memories, again, .. } => {
                let cubes = find_all(session, memories.clone()).await?;
                let mut progress = engine.progress();
                let follow = tokio::spawn(async move {
                    while progress.changed().await.is_ok() {
                        if let Some(job) = progress.borrow_and_update().clone() {
                            shown.set_message(job.what.clone());
                            shown.set_length(job.of as u64);
                            shown.set_position(job.done as u64);
                        }
                    }
                });
                let made = match again {
                    true => engine.make_again(session, &cubes, form).await,
                    false => engine.make(session, &cubes, form).await,
                };
                follow.abort();
                Ok(vec![made?])
            }
            Action::List => Ok(of_kind(engine.forms(session).await?, form)),
            Action::Show { key, .. } => Ok(vec![one(engine, session, key, form).await?]),
            Action::Retire { key } => {
                let key = one(engine, session, key, form).await?.key;
                Ok(vec![engine.retire(session, &key).await?])
            }
        })?;
    bar.finish_and_clear();
    if let (Some(path), Some(record)) = (arguments.action.curve(), records.first()) {
        draw(record, path)?;
    }
    if screen.json {
        screen.object(&json!({ "forms": records }))?;
    } else {
        print(&records, screen);
    }
    Ok(if records.is_empty() { Found::Nothing } else { Found::Something })
}

fn draw(record: &FormRecord, path: &Path) -> Result<()> {
    if record.curve.is_empty() {
        return Err(Error::invalid(format!(
            "the {} `{}` was not taught here, so it has no curve",
            record.form, record.key
        )));
    }
    let title = format!("How {} memories were taught to an adapter", record.sources.len());
    files::write(path, &curve_svg(&title, &record.curve))
}

fn print(records: &[FormRecord], screen: &mut Screen) {
    if records.is_empty() {
        screen.line(paint(DIM, "there is none for this model; `make` makes one"));
        return;
    }
    let mut table = Table::new(2).words("key", NAME).words("state", NOTICE).numbers("tokens").numbers("KB").text("why");
    for record in records {
        let key: String = record.key.chars().take(8).collect();
        let scores = record.scores.map_or_else(String::new, |scores| {
            let changed = match scores.unrelated {
                0 => String::new(),
                unrelated => format!(", {} of {unrelated} other answers changed", scores.changed),
            };
            format!("; {} of {} probes right{changed}", scores.form_right, scores.probes)
        });
        let state = format!("{:?}", record.state).to_lowercase();
        let kilobytes = record.bytes.div_ceil(1024).to_string();
        table.row([key, state, record.tokens.to_string(), kilobytes, format!("{}{scores}", record.why)]);
    }
    table.lines(screen.columns).into_iter().for_each(|line| screen.line(line));
}

/// Runs work with a model over the data folder.
fn with_engine<T>(
    model: &ModelArgument,
    engine: EngineOptions,
    scope: &Scope,
    work: impl AsyncFnOnce(&Engine, &Session) -> Result<T>,
) -> Result<T> {
    // It must be there: to answer from nothing is no use, and nothing is made by looking.
    scope.space()?;
    let model = model.load()?;
    let options = KernelOptions { vault: scope.options()?, limits: RuntimeLimits::default() };
    block_on(async {
        let kernel = Kernel::open_with(scope.data()?, options).await?;
        let engine = kernel.engine(model, engine).await?;
        let session = kernel.space(scope.space_name()?.as_str()).await?.session(scope.caller.clone());
        // What became of the sources while no model was at work comes first.
        engine.look(session.space().name()).await?;
        let done = work(&engine, &session).await;
        kernel.shutdown(std::time::Duration::from_secs(30)).await?;
        done
    })
}

async fn find_all(session: &Session, typed: Vec<String>) -> Result<Vec<CubeId>> {
    session.work(move |space, caller| typed.iter().map(|typed| ids::find(space, caller, typed)).collect()).await
}

fn of_kind(mut records: Vec<FormRecord>, form: Kind) -> Vec<FormRecord> {
    records.retain(|record| record.form == form);
    records
}

async fn one(engine: &Engine, session: &Session, key: &str, form: Kind) -> Result<FormRecord> {
    let mut found = of_kind(engine.forms(session).await?, form);
    found.retain(|record| record.key.starts_with(key));
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Error::not_found(format!("there is no {form} form `{key}`; `list` names them"))),
        (Some(_), false) => Err(Error::invalid(format!("`{key}` begins several keys; give more of it"))),
    }
}
