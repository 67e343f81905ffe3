//! Answers of the local model: what is remembered for a question, each memory in the cheapest form that there is and that its caller may use,
//! and a receipt for each.
//!
//! A form is used only when the caller may read all of its sources as they are, at this moment and in the versions that it was
//! made from: the same decision by which their text would be shown. What has no such form is read as text.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use memos_engine::adapter::{Adapter, AdapterMix};
use memos_engine::constraint::Constraints;
pub use memos_engine::constraint::Form as AnswerShape;
use memos_engine::generate::{Context, Ended, Request};
use memos_engine::sampling::Sampling;
use memos_engine::segment::Segment;
use memos_memory::cube::{CubeId, Kind, VersionRef};
use memos_memory::error::Result;
use memos_memory::operator::{MemoryCall, Receipt};
use memos_memory::reader::read_question;
use serde::Serialize;
use tokio::time::Instant;

use super::host::{Pieces, Spoken};
use super::record::{FormRecord, FormState};
use super::shaping::Ready;
use super::{Parts, making, memory_error, record};
use crate::vault::Session;

/// How a question is to be answered.
#[derive(Debug, Clone)]
pub struct AnswerOptions {
    /// The most memories. 8.
    pub memories: usize,
    /// The forms in which memories may be loaded. A memory that has none of them is left out. All three.
    pub forms: BTreeSet<Kind>,
    /// The most tokens of the answer. 64.
    pub most_tokens: usize,
    /// How many first tokens of a segment that does not come first are read again. 2.
    pub mend: usize,
    /// How tokens are chosen; the likeliest.
    pub sampling: Sampling,
    /// Where the answer ends, beside the model's own end.
    pub stops: Vec<String>,
    /// What the answer must look like.
    pub shape: Option<AnswerShape>,
    /// How long it may take; the engine's own patience when not given.
    pub patience: Option<Duration>,
}

impl Default for AnswerOptions {
    fn default() -> Self {
        Self {
            memories: 8,
            forms: Kind::ALL.iter().copied().collect(),
            most_tokens: 64,
            mend: memos_engine::joining::MENDED_TOKENS,
            sampling: Sampling::default(),
            stops: Vec::new(),
            shape: None,
            patience: None,
        }
    }
}

impl AnswerOptions {
    /// Loads memories in one form alone.
    pub fn only(form: Kind) -> Self {
        Self { forms: BTreeSet::from([form]), ..Self::default() }
    }
}

/// In which form a memory of an answer was loaded.
#[derive(Debug, Clone, Serialize)]
pub struct FormReceipt {
    /// Why it was remembered, and by whose leave.
    pub memory: Receipt,
    /// The form; none when it was left out.
    pub form: Option<Kind>,
    /// The key of the form, where it is a segment or an adapter.
    pub key: Option<String>,
    /// Tokens that were read for it.
    pub tokens_read: usize,
    /// Why in this form.
    pub why: String,
}

/// How long the parts of an answer took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct AnswerTimes {
    /// To remember.
    pub recall: Duration,
    /// To load forms.
    pub load: Duration,
    /// From asking the model to its first token.
    pub first_token: Duration,
    /// From asking the model to its last token.
    pub said: Duration,
}

/// An answer of the local model, with what it rests on.
#[derive(Debug, Clone)]
pub struct AnswerWithReceipts {
    /// What was said.
    pub text: String,
    /// Why it ended.
    pub ended: Ended,
    /// The memories, and the form of each, best first.
    pub receipts: Vec<FormReceipt>,
    /// Tokens of memories that were read, and not injected or known.
    pub tokens_read: usize,
    /// Tokens of the answer.
    pub tokens_said: usize,
    /// How long it took.
    pub times: AnswerTimes,
}

/// An answer on its way: its receipts are there, its words are coming. Dropping it ends the answer.
pub struct Answering {
    /// The memories, and the form of each, best first.
    pub receipts: Vec<FormReceipt>,
    /// The words.
    pub pieces: Pieces,
    times: AnswerTimes,
}

impl Answering {
    /// Waits for all of it.
    ///
    /// # Errors
    /// As [`Pieces::whole`].
    pub async fn whole(self) -> Result<AnswerWithReceipts> {
        let Self { receipts, pieces, times } = self;
        let Spoken { text, tokens, ended, first_token, took } = pieces.whole().await?;
        Ok(AnswerWithReceipts {
            text: text.trim().to_owned(),
            ended,
            tokens_read: receipts.iter().map(|receipt| receipt.tokens_read).sum(),
            tokens_said: tokens.len(),
            receipts,
            times: AnswerTimes { first_token, said: took, ..times },
        })
    }
}

/// What the model is to be given for a question.
#[derive(Default)]
struct Laid {
    segments: Vec<Segment>,
    texts: Vec<String>,
    adapters: Vec<Arc<Adapter>>,
}

/// Remembers for a question, loads what there is, and has the model begin to answer.
pub(super) async fn begin(
    parts: &Parts,
    session: &Session,
    question: String,
    options: AnswerOptions,
) -> Result<Answering> {
    let begun = Instant::now();
    let (asked, memories) = (question.clone(), options.memories);
    let call = session.work(move |space, caller| {
        let call = MemoryCall { memories, ..MemoryCall::new(caller.clone(), asked, space.now()) };
        read_question(&[space], call)
    });
    let receipts = session.recall(call.await?).await?.receipts;
    let recall = begun.elapsed();
    let begun = Instant::now();
    let (receipts, laid) = lay_out(parts, session, receipts, &options).await?;
    let load = begun.elapsed();
    let deadline = options.patience.and_then(|patience| Instant::now().checked_add(patience));
    let pieces = parts.host.ask(deadline, move |model| {
        let Laid { segments, texts, adapters } = laid;
        let mut context = match segments.is_empty() {
            true => model.told(&[]),
            false => model.injected(&segments, options.mend),
        }
        .map_err(memory_error)?;
        for text in &texts {
            context.push(Context::Tokens(model.memory_tokens(text).map_err(memory_error)?));
        }
        let constraint = match &options.shape {
            None => None,
            Some(shape) => {
                let ends = &model.decoder().config().end_tokens;
                let constraints = Constraints::of(model.tokenizer(), ends).map_err(memory_error)?;
                Some(constraints.begin(shape).map_err(memory_error)?)
            }
        };
        Ok(Request {
            context,
            question: model.question_tokens(&question).map_err(memory_error)?,
            adapters: AdapterMix::new(adapters.into_iter().map(|adapter| (adapter, 1.0)).collect()),
            sampling: options.sampling,
            stops: options.stops,
            constraint,
            most_tokens: options.most_tokens,
        })
    })?;
    Ok(Answering { receipts, pieces, times: AnswerTimes { recall, load, ..AnswerTimes::default() } })
}

/// Chooses a form for each memory and loads it.
async fn lay_out(
    parts: &Parts,
    session: &Session,
    memories: Vec<Receipt>,
    options: &AnswerOptions,
) -> Result<(Vec<FormReceipt>, Laid)> {
    let space = session.space().name().clone();
    // A memory of another space has its forms there, and is read as text here.
    let own: Vec<VersionRef> = memories
        .iter()
        .filter(|memory| memory.space == space && memory.decision.allowed())
        .map(|memory| VersionRef { cube: memory.cube, version: memory.version })
        .collect();
    let (model, forms, recalled) = (parts.model.clone(), options.forms.clone(), own.clone());
    let usable = session.work(move |space, caller| {
        let mut records = record::all(space, &model)?;
        records.retain(|record| {
            record.state == FormState::Adopted
                && forms.contains(&record.form)
                && record.sources.iter().any(|source| recalled.contains(source))
                && making::may_use(space, caller, record)
        });
        Ok(records)
    });
    let chosen = choose(usable.await?, &own, parts.options.limits.adapters_at_once);
    let mut laid = Laid::default();
    let mut receipts: Vec<FormReceipt> = memories
        .into_iter()
        .map(|memory| {
            let why = "it has no form that is allowed here".to_owned();
            FormReceipt { memory, form: None, key: None, tokens_read: 0, why }
        })
        .collect();
    if !chosen.is_empty() {
        let keeper = making::keeper(&parts.kernel()?, &space, parts).await?;
        for record in chosen {
            let why = match making::ready(parts, &keeper, &space, &record).await {
                Ok(Ready::Adapter(adapter)) => {
                    laid.adapters.push(adapter);
                    "the model was taught it, and passed its examination".to_owned()
                }
                Ok(Ready::Segment(segment)) => {
                    laid.segments.push(segment);
                    "it was read before, and says what its text says".to_owned()
                }
                // What cannot be loaded is read.
                Err(_) => continue,
            };
            let cubes: Vec<CubeId> = record.sources.iter().map(|source| source.cube).collect();
            for receipt in receipts.iter_mut().filter(|receipt| cubes.contains(&receipt.memory.cube)) {
                receipt.form = Some(record.form);
                receipt.key = Some(record.key.clone());
                receipt.why.clone_from(&why);
            }
        }
    }
    if options.forms.contains(&Kind::Plaintext) {
        for receipt in receipts.iter_mut().filter(|receipt| receipt.form.is_none()) {
            let tokens = parts.host.model().memory_tokens(&receipt.memory.text).map_err(memory_error)?;
            receipt.form = Some(Kind::Plaintext);
            receipt.tokens_read = tokens.len();
            receipt.why = "it has no other form that may be used".to_owned();
            laid.texts.push(receipt.memory.text.clone());
        }
    }
    Ok((receipts, laid))
}

/// Chooses among forms that may be used: adapters first, as they cost nothing; then segments, of which all that they say is
/// wanted. What covers most comes first, and nothing is loaded twice.
fn choose(mut usable: Vec<FormRecord>, recalled: &[VersionRef], adapters: usize) -> Vec<FormRecord> {
    let mut open: BTreeSet<VersionRef> = recalled.iter().copied().collect();
    let covers = |record: &FormRecord| record.sources.iter().filter(|source| recalled.contains(source)).count();
    usable.sort_by(|a, b| {
        let of = |record: &FormRecord| (std::cmp::Reverse(record.form), std::cmp::Reverse(covers(record)));
        of(a).cmp(&of(b)).then_with(|| a.key.cmp(&b.key))
    });
    let mut chosen: Vec<FormRecord> = Vec::new();
    for record in usable {
        let fits = match record.form {
            Kind::Parametric => chosen.len() < adapters && record.sources.iter().any(|source| open.contains(source)),
            _ => record.sources.iter().all(|source| open.contains(source)),
        };
        if fits {
            open.retain(|open| !record.sources.contains(open));
            chosen.push(record);
        }
    }
    chosen
}
