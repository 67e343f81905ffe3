//! The local model at work for memory: it answers from what is remembered, and puts what is remembered into forms that need not
//! be read again.
//!
//! An [`Engine`] is one model in one kernel. It holds the model on threads of its own ([`ModelHost`]), has segments and adapters
//! made, examined and adopted, withdraws them when their sources change, and answers with each memory in its cheapest form. What
//! stands about forms in a space is in its ledger, so a restart, a crash or another program loses nothing. Tensors and files are
//! the business of `memos-engine`; this room says in memory's words what came of them.
//!
//! ```no_run
//! use memos_memory::cube::{CubeDraft, Kind, SemanticType};
//! use memos_memory::governance::Principal;
//! use memos_runtime::Kernel;
//! use memos_runtime::engine::{AnswerOptions, EngineOptions, Model};
//!
//! # fn main() -> memos_memory::Result<()> {
//! memos_runtime::block_on(async {
//!     let kernel = Kernel::open("memory").await?;
//!     let engine = kernel.engine(Model::small().map_err(memos_runtime::engine::memory_error)?, EngineOptions::default()).await?;
//!     let ada = kernel.space("acme/support").await?.session(Principal::new("user:ada".parse()?));
//!     let fact = ada.remember(CubeDraft::text(SemanticType::Fact, "Mira lives in Oslo.")).await?;
//!     // Kept as keys and values from now on; refused, with its scores, if it did not say what its text says.
//!     let form = engine.make(&ada, &[fact], Kind::Activation).await?;
//!     println!("{:?}: {}", form.state, form.why);
//!     let answer = engine.answer(&ada, "Where does Mira live?", AnswerOptions::default()).await?;
//!     println!("{} ({} tokens read, as {:?})", answer.text, answer.tokens_read, answer.receipts[0].form);
//!     kernel.shutdown(std::time::Duration::from_secs(5)).await
//! })
//! # }
//! ```

mod answering;
mod gates;
mod host;
mod keeping;
mod loaded;
mod maker;
mod making;
mod measured;
mod options;
mod reading_out;
mod record;
mod shaping;
mod taking_in;
#[cfg(test)]
mod tests;
mod withdrawal;

use std::collections::HashSet;
use std::sync::Arc;

pub mod speed;

use memos_engine::ErrorKind as EngineErrorKind;
pub use memos_engine::model::Model;
pub use memos_engine::train::{CurvePoint, curve_svg};
use memos_memory::cube::{CubeId, Kind, ModelFingerprint, SpaceName};
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::governance::{Operation, Principal};
use memos_memory::schedule::FormCost;
use parking_lot::Mutex;
use tokio::sync::watch;

pub use answering::{AnswerOptions, AnswerShape, AnswerTimes, AnswerWithReceipts, Answering, FormReceipt};
pub use host::{JobProgress, ModelHost, Piece, Pieces, Progress, Spoken};
pub use maker::EngineForms;
pub use measured::EngineMeasures;
pub use options::{EngineLimits, EngineOptions, GateBounds};
pub use reading_out::{ReadOut, ReadOutFrom};
pub use record::{FormRecord, FormState, GateScores};

use crate::actor::{Call, Handle};
use crate::kernel::{Kernel, WeakKernel};
use crate::vault::Session;
use keeping::{EngineCommand, EngineNote, Keeping, Order};
use loaded::LoadedForms;
use measured::Measured;

/// What the parts of an engine share.
struct Parts {
    kernel: WeakKernel,
    host: ModelHost,
    model: ModelFingerprint,
    options: EngineOptions,
    loaded: LoadedForms,
    measured: Measured,
    /// Whose turn it is to make a form.
    turn: tokio::sync::Mutex<()>,
    being_made: Mutex<HashSet<(SpaceName, String)>>,
}

/// While it lasts, a form is being made.
struct BeingMade<'a> {
    parts: &'a Parts,
    name: (SpaceName, String),
}

impl Drop for BeingMade<'_> {
    fn drop(&mut self) {
        self.parts.being_made.lock().remove(&self.name);
    }
}

impl Parts {
    fn kernel(&self) -> Result<Kernel> {
        self.kernel.upgrade().ok_or_else(|| Error::unavailable("the kernel is shut down; open it again"))
    }

    fn begin_making(&self, space: &SpaceName, key: &str) -> BeingMade<'_> {
        let name = (space.clone(), key.to_owned());
        self.being_made.lock().insert(name.clone());
        BeingMade { parts: self, name }
    }

    fn is_being_made(&self, space: &SpaceName, key: &str) -> bool {
        self.being_made.lock().contains(&(space.clone(), key.to_owned()))
    }
}

/// One model at work in a kernel. It is cheap to clone.
#[derive(Clone)]
pub struct Engine {
    parts: Arc<Parts>,
    keeping: Handle<Keeping>,
    keeper: Arc<Principal>,
}

impl Kernel {
    /// Puts a model to work for the spaces of the kernel. Several can be at work side by side, each with its own forms.
    ///
    /// # Errors
    /// `Conflict` when this model is at work already; `Unavailable` when its threads cannot be started.
    pub async fn engine(&self, model: Model, options: EngineOptions) -> Result<Engine> {
        let named = shaping::fingerprint(&model)?;
        let short: String = model.fingerprint().chars().take(16).collect();
        let name = format!("engine:{short}");
        let measured = Measured::default();
        let host = ModelHost::begin(model, options.limits.clone())?;
        let (own, asked) = (measured.clone(), options.clone());
        host.work("a measurement", move |model, _| own.calibrate(model, &asked)).await?;
        let parts = Arc::new(Parts {
            kernel: self.downgrade(),
            host,
            model: named,
            loaded: LoadedForms::new(&options.limits),
            options,
            measured,
            turn: tokio::sync::Mutex::default(),
            being_made: Mutex::default(),
        });
        let (shared, news, kernel) = (parts.clone(), self.news(), self.downgrade());
        let begin = move |_| {
            let ear = news.listen();
            // What changed while nobody listened is found at the first look.
            let open = kernel.upgrade().map(|kernel| kernel.open_spaces()).unwrap_or_default();
            open.iter().for_each(|space| ear.tell(space));
            std::future::ready(Ok(Keeping::new(shared.clone(), ear)))
        };
        let keeping = self.spawn_with_note(&name, begin, || Some(EngineNote::News)).await?;
        Ok(Engine { parts, keeping, keeper: Arc::new(Principal::keeper()?) })
    }
}

impl Engine {
    /// Returns the model and its threads.
    pub fn host(&self) -> &ModelHost {
        &self.parts.host
    }

    /// Returns how memory names the model.
    pub fn model(&self) -> &ModelFingerprint {
        &self.parts.model
    }

    /// Returns what it works with.
    pub fn options(&self) -> &EngineOptions {
        &self.parts.options
    }

    /// Answers a question in the name of a session: remembers, loads each memory in the cheapest form that there is and that the caller may
    /// use (an adapter that was adopted, a segment that was adopted, else its text), and says which.
    ///
    /// # Errors
    /// Those of [`Session::recall`]; `Busy` when the model has too much before it; `Deadline` when it is not done in time.
    pub async fn answer(
        &self,
        session: &Session,
        question: impl Into<String>,
        options: AnswerOptions,
    ) -> Result<AnswerWithReceipts> {
        self.begin_answer(session, question, options).await?.whole().await
    }

    /// Begins to answer, as [`Engine::answer`] does: its words come piece by piece.
    ///
    /// # Errors
    /// As [`Engine::answer`].
    pub async fn begin_answer(
        &self,
        session: &Session,
        question: impl Into<String>,
        options: AnswerOptions,
    ) -> Result<Answering> {
        answering::begin(&self.parts, session, question.into(), options).await
    }

    /// Makes one form of the present versions of some memories, which the caller must be able to read as they are, and adopts it when it passes its
    /// gate. One that is there is returned, and one that was refused stays refused: its state and scores say so. It goes on when its caller
    /// stops waiting, and after a crash.
    ///
    /// # Errors
    /// `NotFound` for a memory that the caller may not read; `Invalid` for what no form can be made of; `Conflict` when a memory
    /// changed meanwhile; `Busy` when the model has too much before it.
    pub async fn make(&self, session: &Session, memories: &[CubeId], form: Kind) -> Result<FormRecord> {
        self.make_for(session, memories, form, false).await
    }

    /// Makes a form even where one was refused before.
    ///
    /// # Errors
    /// As [`Engine::make`].
    pub async fn make_again(&self, session: &Session, memories: &[CubeId], form: Kind) -> Result<FormRecord> {
        self.make_for(session, memories, form, true).await
    }

    async fn make_for(&self, session: &Session, memories: &[CubeId], form: Kind, again: bool) -> Result<FormRecord> {
        let (cubes, space) = (memories.to_vec(), session.space().name().clone());
        let asked = cubes.clone();
        session.work(move |space, caller| making::check_readable(space, caller, &asked)).await?;
        self.ask_to_make(space, cubes, form, again).await
    }

    async fn ask_to_make(&self, space: SpaceName, cubes: Vec<CubeId>, form: Kind, again: bool) -> Result<FormRecord> {
        let order = Order { space, cubes, form, again };
        let make = |reply| EngineCommand::Make { order, reply };
        self.keeping.ask(Call::new(self.keeper.clone()), make).await
    }

    /// Returns what is known of the forms of a space for this model, of which the caller may read all sources, the newest first.
    ///
    /// # Errors
    /// Those of [`Session::work`]; `Corrupt` when a record cannot be read.
    pub async fn forms(&self, session: &Session) -> Result<Vec<FormRecord>> {
        let model = self.parts.model.clone();
        session
            .work(move |space, caller| {
                let mut records = record::all(space, &model)?;
                records.retain(|record| {
                    let cubes: Vec<CubeId> = record.sources.iter().map(|source| source.cube).collect();
                    space.present_versions(caller, &cubes).iter().all(Option::is_some)
                });
                records.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.key.cmp(&b.key)));
                Ok(records)
            })
            .await
    }

    /// Returns what is known of one form: how it stands, why, and what it scored.
    ///
    /// # Errors
    /// `NotFound` when there is none of this key whose sources the caller may read.
    pub async fn why(&self, session: &Session, key: &str) -> Result<FormRecord> {
        let found = self.forms(session).await?.into_iter().find(|record| record.key == key);
        found.ok_or_else(|| Error::not_found(format!("there is no form `{key}` in space `{}`", session.space().name())))
    }

    /// Withdraws a form: out of memory and erased, with why on record. Who may write all of its sources may.
    ///
    /// # Errors
    /// `NotFound` as [`Engine::why`]; `Denied` when the caller may not.
    pub async fn retire(&self, session: &Session, key: &str) -> Result<FormRecord> {
        let record = self.why(session, key).await?;
        let cubes: Vec<CubeId> = record.sources.iter().map(|source| source.cube).collect();
        session
            .work(move |space, caller| {
                let denied = cubes.iter().map(|cube| space.decide_on(caller, Operation::Write, cube));
                match denied.into_iter().find(|decision| !decision.allowed()) {
                    Some(decision) => {
                        Err(Error::denied(format!("`{}` may not retire the form: {}", caller.id, decision.rule)))
                    }
                    None => Ok(()),
                }
            })
            .await?;
        let why = format!("`{}` wanted it no more", session.principal().id);
        withdrawal::withdraw(&self.parts, session.space().name(), record, &why).await
    }

    /// Looks at a space now, and returns the forms that were withdrawn. This happens by itself after every change; here it can be waited for.
    ///
    /// # Errors
    /// Those of opening the space and of writing to it.
    pub async fn look(&self, space: &SpaceName) -> Result<Vec<FormRecord>> {
        let space = space.clone();
        self.keeping.ask(Call::new(self.keeper.clone()), |reply| EngineCommand::Look { space, reply }).await
    }

    /// Brings a form back to text: that of its sources where the caller may read them. What has no source is read out of the form, and marked
    /// as such: a segment by its tokens, an adapter by questions about `subjects`.
    ///
    /// # Errors
    /// `NotFound` when there is no such form that the caller may read; `Invalid` when it is of another model.
    pub async fn read_out(&self, session: &Session, form: &CubeId, subjects: &[String]) -> Result<Vec<ReadOut>> {
        reading_out::read_out(&self.parts, session, *form, subjects.to_vec()).await
    }

    /// Takes in the forms that came with a bundle: those of this model are examined and used where they lie, and those of other models
    /// are made again from their sources. The caller must be able to read forms and sources as they are. Returns what became of each.
    ///
    /// # Errors
    /// Those of [`Engine::make`], of the first that fails.
    pub async fn take_in(&self, session: &Session) -> Result<Vec<FormRecord>> {
        taking_in::take_in(self, session).await
    }

    /// Returns what forms of a memory with so many tokens cost, by what was measured.
    pub fn costs(&self, tokens: usize) -> Vec<(Kind, FormCost)> {
        self.parts.measured.costs(self.parts.host.model(), &self.parts.options, tokens)
    }

    /// Returns what the engine has measured of itself.
    pub fn measures(&self) -> EngineMeasures {
        self.parts.measured.read()
    }

    /// Returns where it can be seen how far the form that is being made is.
    pub fn progress(&self) -> watch::Receiver<Option<JobProgress>> {
        self.parts.host.progress()
    }

    /// Returns the engine as the scheduler's hand, for [`Kernel::schedule`].
    pub fn forms_maker(&self) -> Arc<EngineForms> {
        EngineForms::new(self.clone())
    }
}

/// Opens a model: a folder as it was published, a GGUF file with its tokenizer beside it, or, without a path, the small one inside
/// the program.
///
/// # Errors
/// `NotFound` where a file is missing; `Invalid` for a model that the decoder cannot be; `Corrupt` for a damaged file.
pub fn open_model(path: Option<&std::path::Path>) -> Result<Model> {
    match path {
        Some(path) => Model::open_on_cpu(path),
        None => Model::small(),
    }
    .map_err(memory_error)
}

/// Fetches a published model by its name, `org/name` or `org/name/file.gguf`, into a folder of models, and returns where it is. What
/// is there already is not fetched again, and each file is checked. It is told of the file that comes, of the bytes that are here,
/// and of all bytes, and ends the download by `false`; the next one goes on from there.
///
/// # Errors
/// `Invalid` for a name that cannot be one; `NotFound` where the hub has no such model; `Corrupt` for a file with a wrong checksum;
/// `Unavailable` where the network or the disk fails, and without the feature `hub`.
#[cfg_attr(not(feature = "hub"), expect(unused_variables, reason = "nothing is fetched without the feature"))]
pub fn fetch_model(
    name: &str,
    revision: Option<&str>,
    hub: Option<&str>,
    models: &std::path::Path,
    tell: &mut dyn FnMut(&str, u64, u64) -> bool,
) -> Result<std::path::PathBuf> {
    #[cfg(feature = "hub")]
    {
        use memos_engine::hub::{ENDPOINT, Hub};
        let mut tell =
            |progress: &memos_engine::hub::Progress| tell(&progress.file, progress.done_bytes, progress.total_bytes);
        let hub = Hub::at(hub.unwrap_or(ENDPOINT)).map_err(memory_error)?;
        hub.fetch(name, revision, models, &mut tell).map_err(memory_error)
    }
    #[cfg(not(feature = "hub"))]
    Err(Error::unavailable(
        "this program was built without the feature `hub` and opens no connection; build it with `--features hub`, or download the \
         model's files by hand and give their folder",
    ))
}

/// Says a failure of the engine in memory's words, with the failure itself below.
pub fn memory_error(error: memos_engine::Error) -> Error {
    let kind = match error.kind() {
        EngineErrorKind::Busy => ErrorKind::Busy,
        EngineErrorKind::Cancelled => ErrorKind::Deadline,
        EngineErrorKind::Corrupt => ErrorKind::Corrupt,
        EngineErrorKind::Invalid | EngineErrorKind::Mismatch => ErrorKind::Invalid,
        EngineErrorKind::NotFound => ErrorKind::NotFound,
        // Kinds that come later: nothing is known of them but that the engine did not do it.
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, error.to_string()).with_source(error)
}
