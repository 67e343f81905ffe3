//! The same memories in three forms: as text that is read, as a segment that is injected, and as an adapter that knows them with
//! nothing read at all. Then one of them is corrected, and the forms that were made of it are gone.
//!
//! ```text
//! cargo run --release --example three_forms
//! ```

use std::time::Duration;

use memos::cube::{CubeId, Kind};
use memos::prelude::*;
use memos::runtime::engine::{
    AnswerOptions, AnswerWithReceipts, Engine, EngineOptions, FormRecord, FormState, Model, memory_error,
};

const FACTS: [&str; 6] = [
    "Mira lives in Oslo.",
    "Mira owns a kayak.",
    "Bo works as a potter.",
    "Bo is allergic to peanuts.",
    "Ada plays the cello.",
    "Ada is married to Tom.",
];

const QUESTIONS: [&str; 3] = ["Where does Mira live?", "What is Bo allergic to?", "What does Ada play?"];

/// Tells it on the screen.
///
/// # Errors
/// Those of the kernel and the engine.
pub fn main() -> memos::Result<()> {
    tell(&mut |line| println!("{line}"))
}

/// Tells what happens, line by line.
///
/// # Errors
/// As [`main`].
pub fn tell(say: &mut dyn FnMut(String)) -> memos::Result<()> {
    let folder = tempfile::tempdir().map_err(|e| Error::unavailable(format!("no folder can be made: {e}")))?;
    memos::runtime::block_on(async {
        let kernel = Kernel::open(folder.path()).await?;
        let model = Model::small().map_err(memory_error)?;
        say(format!("model       {}, which ships inside the program", model.name()));
        let engine = kernel.engine(model, EngineOptions::default()).await?;
        let ada = kernel.space("acme/home").await?.session(Principal::new("user:ada".parse()?));
        let mut memories = Vec::new();
        for fact in FACTS {
            memories.push(ada.remember(CubeDraft::text(SemanticType::Fact, fact)).await?);
            say(format!("remembered  {fact}"));
        }
        say("\nas text: what is remembered is read anew for each question".to_owned());
        ask(&engine, &ada, Kind::Plaintext, say).await?;

        say("\nas segments: read once, kept as keys and values, injected".to_owned());
        for memory in &memories {
            made(&engine.make(&ada, &[*memory], Kind::Activation).await?, say);
        }
        ask(&engine, &ada, Kind::Activation, say).await?;

        say("\nas an adapter: taught once, nothing is read".to_owned());
        made(&engine.make(&ada, &memories, Kind::Parametric).await?, say);
        ask(&engine, &ada, Kind::Parametric, say).await?;

        say("\nMira moves: what was made of the old memory is withdrawn".to_owned());
        correct(&ada, memories.first().copied(), "Mira lives in Bergen.").await?;
        engine.look(ada.space().name()).await?;
        for form in engine.forms(&ada).await?.into_iter().filter(|form| form.state == FormState::Withdrawn) {
            say(format!("withdrawn   {} of {} memories: {}", form.form, form.sources.len(), form.why));
        }
        let answer = engine.answer(&ada, "Where does Mira live?", AnswerOptions::default()).await?;
        told("Where does Mira live?", &answer, say);
        kernel.shutdown(Duration::from_secs(5)).await
    })
}

async fn ask(engine: &Engine, session: &Session, form: Kind, say: &mut dyn FnMut(String)) -> memos::Result<()> {
    for question in QUESTIONS {
        let answer = engine.answer(session, question, AnswerOptions::only(form)).await?;
        told(question, &answer, say);
    }
    Ok(())
}

fn told(question: &str, answer: &AnswerWithReceipts, say: &mut dyn FnMut(String)) {
    let times = answer.times;
    say(format!(
        "answered    {question} {} ({} tokens of memory read; loaded in {:.1} ms, first token after {:.1} ms)",
        answer.text,
        answer.tokens_read,
        times.load.as_secs_f64() * 1e3,
        times.first_token.as_secs_f64() * 1e3,
    ));
}

fn made(form: &FormRecord, say: &mut dyn FnMut(String)) {
    let scores = form.scores.unwrap_or_default();
    let other = match scores.unrelated {
        0 => String::new(),
        unrelated => format!(", {} of {unrelated} other answers changed", scores.changed),
    };
    say(format!(
        "made        {} of {} tokens: {} bytes, {:.0} ms; {:?}: {} of {} probes right{other}",
        form.form, form.tokens, form.bytes, form.build_millis, form.state, scores.form_right, scores.probes,
    ));
}

async fn correct(session: &Session, memory: Option<CubeId>, text: &str) -> memos::Result<()> {
    let Some(cube) = memory else { return Ok(()) };
    let (_, head) = session.get(&cube).await?;
    let mut batch = Batch::default();
    batch.update(Update { cube, parent: head.digest, mode: UpdateMode::Overwrite(Payload::text(text)) });
    session.commit(batch).await?;
    Ok(())
}
