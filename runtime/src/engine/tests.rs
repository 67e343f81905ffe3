//! The engine with the model that ships: forms made, refused, used, withdrawn and resumed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use memos_memory::cube::Payload;
use memos_memory::cube::{
    CubeDraft, CubeId, GovernanceChange, Grant, Grantee, Kind, Rights, SemanticType, State, Update, UpdateMode,
};
use memos_memory::error::ErrorKind;
use memos_memory::governance::Principal;
use memos_memory::vault::{Batch, Erasure, VaultOptions};
use tempfile::TempDir;

use super::host::ModelHost;
use super::record::FormRecord;
use super::shaping::{Ready, examine, shape};
use super::*;
use crate::{Kernel, KernelOptions, RuntimeLimits, Session};

const OSLO: &str = "Mira lives in Oslo. Mira owns a kayak.";
const ROME: &str = "Mira lives in Rome. Mira owns a kayak.";
const ASKED: &str = "Where does Mira live?";

fn person(name: &str) -> Principal {
    Principal::new(format!("user:{name}").parse().unwrap())
}

fn options() -> EngineOptions {
    let gates = GateBounds { probes: 8, unrelated: 8, ..GateBounds::default() };
    EngineOptions { gates, ..EngineOptions::default() }
}

/// One step teaches nothing, and so fails at the gate.
fn unteaching() -> EngineOptions {
    let mut options = options();
    options.teaching.steps = 1;
    options.teaching.rows = 1;
    options
}

async fn kernel_at(folder: &Path) -> Kernel {
    let vault = VaultOptions::builtin().unwrap();
    let limits = RuntimeLimits { writer_threads: 1, reader_threads: 1, ..RuntimeLimits::default() };
    Kernel::open_with(folder, KernelOptions { vault, limits }).await.unwrap()
}

struct Stage {
    kernel: Kernel,
    engine: Engine,
    ada: Session,
    folder: TempDir,
}

impl Stage {
    async fn new(options: EngineOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kernel = kernel_at(folder.path()).await;
        let engine = kernel.engine(Model::small().unwrap(), options).await.unwrap();
        let ada = kernel.space("acme/support").await.unwrap().session(person("ada"));
        Self { kernel, engine, ada, folder }
    }

    async fn tell(&self, text: &str) -> CubeId {
        self.ada.remember(CubeDraft::text(SemanticType::Fact, text)).await.unwrap()
    }

    async fn change(&self, cube: CubeId, mode: UpdateMode) {
        let (_, head) = self.ada.get(&cube).await.unwrap();
        let mut batch = Batch::default();
        batch.update(Update { cube, parent: head.digest, mode });
        self.ada.commit(batch).await.unwrap();
    }

    async fn set(&self, cube: CubeId, state: State) {
        let mut batch = Batch::default();
        batch.set_state(cube, state, "a test");
        self.ada.commit(batch).await.unwrap();
    }

    async fn look(&self) -> Vec<FormRecord> {
        self.engine.look(self.ada.space().name()).await.unwrap()
    }

    async fn why(&self, key: &str) -> FormRecord {
        self.engine.why(&self.ada, key).await.unwrap()
    }

    async fn ask(&self, session: &Session, options: AnswerOptions) -> AnswerWithReceipts {
        self.engine.answer(session, ASKED, options).await.unwrap()
    }

    /// Returns the state of a cube as the space itself sees it.
    async fn state_of(&self, cube: CubeId) -> Option<State> {
        let keeper = self.ada.space().keeper_session().unwrap();
        let states = keeper.work(move |space, keeper| Ok(space.present_states(keeper, &[cube]))).await.unwrap();
        states[0].map(|(_, state)| state)
    }
}

#[tokio::test]
async fn a_segment_answers_as_its_text_and_is_made_once() {
    let stage = Stage::new(options()).await;
    let cube = stage.tell(OSLO).await;
    let from_text = stage.ask(&stage.ada, AnswerOptions::default()).await;
    assert_eq!(from_text.receipts[0].form, Some(Kind::Plaintext));
    assert!(from_text.tokens_read > 0);

    let made = stage.engine.make(&stage.ada, &[cube], Kind::Activation).await.unwrap();
    assert_eq!(made.state, FormState::Adopted, "{}", made.why);
    let scores = made.scores.unwrap();
    assert_eq!((scores.probes, scores.form_right), (2, 2));
    assert!(scores.logits_off < 0.05, "{scores:?}");
    let from_segment = stage.ask(&stage.ada, AnswerOptions::default()).await;
    assert_eq!(from_segment.text, from_text.text);
    assert_eq!((from_segment.receipts[0].form, from_segment.tokens_read), (Some(Kind::Activation), 0));
    assert_eq!(from_segment.receipts[0].key.as_deref(), Some(made.key.as_str()));
    let only_text = stage.ask(&stage.ada, AnswerOptions::only(Kind::Plaintext)).await;
    assert_eq!(only_text.tokens_read, from_text.tokens_read);

    assert_eq!(stage.engine.make(&stage.ada, &[cube], Kind::Activation).await.unwrap(), made);
    let form = made.cube.unwrap();
    let (held, _) = stage.ada.get(&form).await.unwrap();
    assert_eq!((held.header.kind(), held.header.chain.derived_from.as_slice()), (Kind::Activation, &made.sources[..]));
    let read = stage.engine.read_out(&stage.ada, &form, &[]).await.unwrap();
    assert_eq!(read, [ReadOut { text: OSLO.to_owned(), from: ReadOutFrom::Source(made.sources[0]) }]);
}

#[tokio::test]
async fn a_form_that_says_something_else_is_kept_out() {
    let model = Model::small().unwrap();
    let host = ModelHost::begin(model.clone(), EngineLimits::default()).unwrap();
    let made = host.work("a segment", |model, progress| {
        let texts = [OSLO.to_owned()];
        shape(model, Kind::Activation, &texts, &options(), progress)
    });
    let shaped = made.await.unwrap();
    assert!(matches!(shaped.ready, Ready::Segment(_)));
    let scored = |text: &str| examine(&model, &shaped.payload, &[text.to_owned()], &options()).unwrap().1;
    assert_eq!(gates::verdict(false, &scored(OSLO), &options().gates), None);
    let other = scored(ROME);
    assert!(gates::verdict(false, &other, &options().gates).is_some(), "{other:?}");
    // A body that was damaged on the way is not even loaded.
    let mut body = shaped.payload.body().to_vec();
    let last = body.len() - 1;
    body[last] ^= 0x40;
    let form = match shaped.payload.form() {
        memos_memory::cube::Form::Activation(form) => form.clone(),
        other => panic!("{other:?}"),
    };
    if let Ok(damaged) = Payload::activation(form, body) {
        assert!(examine(&model, &damaged, &[OSLO.to_owned()], &options()).is_err());
    }
}

#[tokio::test]
async fn an_adapter_that_learnt_nothing_is_refused_with_its_scores() {
    let stage = Stage::new(unteaching()).await;
    let cube = stage.tell(OSLO).await;
    let refused = stage.engine.make(&stage.ada, &[cube], Kind::Parametric).await.unwrap();
    assert_eq!((refused.state, refused.cube), (FormState::Refused, None), "{}", refused.why);
    assert!(refused.scores.unwrap().probes > 0 && refused.why.contains("questions rightly"), "{}", refused.why);
    assert_eq!(stage.engine.make(&stage.ada, &[cube], Kind::Parametric).await.unwrap(), refused, "it stays refused");
    assert_eq!(stage.why(&refused.key).await, refused);
    assert_eq!(stage.ask(&stage.ada, AnswerOptions::default()).await.receipts[0].form, Some(Kind::Plaintext));
    // What cannot be asked for by rule cannot be taught.
    let vague = stage.tell("It rained all day, and nobody minded.").await;
    let error = stage.engine.make(&stage.ada, &[vague], Kind::Parametric).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn a_correction_withdraws_the_form_at_once() {
    let stage = Stage::new(options()).await;
    let cube = stage.tell(OSLO).await;
    let made = stage.engine.make(&stage.ada, &[cube], Kind::Activation).await.unwrap();
    stage.change(cube, UpdateMode::Overwrite(Payload::text(ROME))).await;
    // Also before anybody has looked.
    let corrected = stage.ask(&stage.ada, AnswerOptions::default()).await;
    assert_eq!(corrected.receipts[0].form, Some(Kind::Plaintext));
    stage.look().await;
    let withdrawn = stage.why(&made.key).await;
    assert_eq!(withdrawn.state, FormState::Withdrawn);
    assert!(withdrawn.why.contains("version 1 became version 2"), "{}", withdrawn.why);
    assert_eq!(stage.state_of(made.cube.unwrap()).await, None, "its body is gone");
    assert!(stage.engine.parts.loaded.all().is_empty());
    let again = stage.engine.make(&stage.ada, &[cube], Kind::Activation).await.unwrap();
    assert!(again.state == FormState::Adopted && again.key != made.key);
    assert_eq!(stage.ask(&stage.ada, AnswerOptions::default()).await.text, corrected.text);
}

#[tokio::test]
async fn a_form_rests_with_its_source_and_goes_with_it() {
    let stage = Stage::new(options()).await;
    let cube = stage.tell(OSLO).await;
    let made = stage.engine.make(&stage.ada, &[cube], Kind::Activation).await.unwrap();
    let form = made.cube.unwrap();
    stage.set(cube, State::Archived).await;
    stage.look().await;
    assert_eq!(
        (stage.why(&made.key).await.state, stage.state_of(form).await),
        (FormState::Resting, Some(State::Archived))
    );
    stage.set(cube, State::Activated).await;
    stage.look().await;
    assert_eq!(
        (stage.why(&made.key).await.state, stage.state_of(form).await),
        (FormState::Adopted, Some(State::Activated))
    );
    let erased =
        stage.ada.work(move |space, ada| space.erase(ada, Erasure::Cubes(vec![cube]), "a test")).await.unwrap();
    assert!(erased.cubes.contains(&form), "the form goes with its source, engine or not");
    assert_eq!(stage.state_of(form).await, None);
    stage.look().await;
    let keeper = stage.ada.space().keeper_session().unwrap();
    let key = made.key.clone();
    let record = keeper.work(move |space, _| record::of(space, &key)).await.unwrap().unwrap();
    assert!(record.state == FormState::Withdrawn && record.why.contains("erased"), "{record:?}");
    assert!(stage.engine.parts.loaded.all().is_empty());
}

#[tokio::test]
async fn a_form_is_never_easier_to_read_than_its_source() {
    let stage = Stage::new(options()).await;
    let read = Rights { read: true, ..Rights::default() };
    let bob = stage.ada.space().session(person("bob"));
    let grants = vec![Grant { to: Grantee::Principal("user:bob".parse().unwrap()), rights: read }];
    let draft = CubeDraft { grants, ..CubeDraft::text(SemanticType::Fact, OSLO) };
    let cube = stage.ada.remember(draft).await.unwrap();
    let made = stage.engine.make(&bob, &[cube], Kind::Activation).await.unwrap();
    assert_eq!(stage.ask(&bob, AnswerOptions::default()).await.receipts[0].form, Some(Kind::Activation));
    assert_eq!(stage.engine.forms(&bob).await.unwrap().len(), 1);
    let form = made.cube.unwrap();
    assert_eq!(bob.get(&form).await.unwrap_err().kind(), ErrorKind::NotFound, "its body is not shared");
    let eve = stage.ada.space().session(person("eve"));
    assert!(stage.engine.forms(&eve).await.unwrap().is_empty());
    assert_eq!(stage.engine.make(&eve, &[cube], Kind::Activation).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(stage.engine.retire(&bob, &made.key).await.unwrap_err().kind(), ErrorKind::Denied);

    let taken = GovernanceChange { grants: Some(Vec::new()), ..GovernanceChange::default() };
    stage.change(cube, UpdateMode::Govern(Box::new(taken))).await;
    assert!(stage.ask(&bob, AnswerOptions::default()).await.receipts.is_empty());
    let (record, principal) = (made.clone(), person("bob"));
    let may = bob.work(move |space, _| Ok(making::may_use(space, &principal, &record))).await.unwrap();
    assert!(!may);
    stage.look().await;
    assert_eq!(stage.why(&made.key).await.state, FormState::Withdrawn);
    assert!(stage.engine.forms(&bob).await.unwrap().is_empty());
}

#[tokio::test]
async fn tenants_share_the_model_and_no_form() {
    let stage = Stage::new(options()).await;
    let other = stage.kernel.space("umbrella/support").await.unwrap().session(person("ada"));
    let (here, there) =
        (stage.tell(OSLO).await, other.remember(CubeDraft::text(SemanticType::Fact, ROME)).await.unwrap());
    let made = stage.engine.make(&stage.ada, &[here], Kind::Activation).await.unwrap();
    assert_eq!(stage.engine.make(&other, &[here], Kind::Activation).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(stage.engine.forms(&other).await.unwrap().is_empty());
    assert_eq!(stage.ask(&other, AnswerOptions::default()).await.receipts[0].form, Some(Kind::Plaintext));
    stage.engine.make(&other, &[there], Kind::Activation).await.unwrap();
    let [ours, theirs] = [&stage.ada, &other].map(|session| stage.ask(session, AnswerOptions::default()));
    let (ours, theirs) = tokio::join!(ours, theirs);
    assert_eq!((ours.receipts[0].form, theirs.receipts[0].form), (Some(Kind::Activation), Some(Kind::Activation)));
    assert_ne!(ours.text, theirs.text);
    let retired = stage.engine.retire(&stage.ada, &made.key).await.unwrap();
    assert_eq!(retired.state, FormState::Withdrawn);
    assert_eq!(stage.engine.forms(&other).await.unwrap()[0].state, FormState::Adopted);
}

#[tokio::test]
async fn what_a_crash_cut_off_is_made_after_a_restart() {
    let stage = Stage::new(options()).await;
    let cube = stage.tell(OSLO).await;
    let Stage { kernel, engine, ada, folder } = stage;
    // As far as a program came that died while the form was being made.
    let model = engine.model().clone();
    let keeper = ada.space().keeper_session().unwrap();
    let asked = keeper.work(move |space, _| {
        let source = memos_memory::cube::VersionRef { cube, version: 1 };
        Ok(FormRecord { tries: 1, ..FormRecord::asked(Kind::Activation, vec![source], model, space.now()) })
    });
    let asked = asked.await.unwrap();
    let mut batch = Batch::default();
    asked.keep(&mut batch).unwrap();
    drop(engine);
    kernel.shutdown(Duration::from_secs(60)).await.unwrap();
    drop((ada, keeper, kernel));

    let kernel = kernel_at(folder.path()).await;
    let space = kernel.space("acme/support").await.unwrap();
    space.keeper_session().unwrap().commit(batch).await.unwrap();
    let mut changes = space.changes().unwrap();
    let engine = kernel.engine(Model::small().unwrap(), options()).await.unwrap();
    let ada = space.session(person("ada"));
    loop {
        let record = engine.why(&ada, &asked.key).await.unwrap();
        if record.state == FormState::Adopted {
            assert_eq!(record.tries, 2);
            break;
        }
        assert_eq!(record.state, FormState::Asked, "{}", record.why);
        changes.next().await.unwrap();
    }
    assert_eq!(engine.answer(&ada, ASKED, AnswerOptions::default()).await.unwrap().tokens_read, 0);

    // And what it adopted is there after another, as long as its model is.
    drop(engine);
    kernel.shutdown(Duration::from_secs(60)).await.unwrap();
    drop((ada, space, kernel));
    let kernel = kernel_at(folder.path()).await;
    let engine = kernel.engine(Model::small().unwrap(), options()).await.unwrap();
    let ada = kernel.space("acme/support").await.unwrap().session(person("ada"));
    assert_eq!(engine.answer(&ada, ASKED, AnswerOptions::default()).await.unwrap().tokens_read, 0);
}

#[tokio::test]
async fn the_scheduler_has_forms_built_and_dropped_at_measured_costs() {
    use crate::scheduler::{FormMaker, FormName};
    let stage = Stage::new(options()).await;
    let cube = stage.tell(OSLO).await;
    let maker = stage.engine.forms_maker();
    let space = stage.ada.space().name().clone();
    let version = memos_memory::cube::VersionRef { cube, version: 1 };
    let costs = maker.costs(&space, version, 100).await.unwrap();
    assert_eq!(costs.iter().map(|(form, _)| *form).collect::<Vec<_>>(), [Kind::Activation, Kind::Parametric]);
    for (form, cost) in &costs {
        assert!(cost.bytes > 0 && cost.saved_millis_per_use > 0.0 && cost.build_millis > 0.0, "{form} {cost:?}");
    }
    assert!(costs[1].1.build_millis > costs[0].1.build_millis);
    let name = FormName { space: space.clone(), version, form: Kind::Activation };
    let made = maker.build(name.clone()).await.unwrap();
    assert_eq!(maker.loaded().await.unwrap(), vec![made]);
    maker.drop_form(name.clone()).await.unwrap();
    assert!(maker.loaded().await.unwrap().is_empty());
    let stale = FormName { version: memos_memory::cube::VersionRef { cube, version: 2 }, ..name };
    assert_eq!(maker.build(stale).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn questions_have_a_bound_and_go_on_beside_a_job() {
    let limits = EngineLimits { questions: 1, jobs: 1, ..EngineLimits::default() };
    let host = Arc::new(ModelHost::begin(Model::small().unwrap(), limits).unwrap());
    let ask = |text: &'static str| {
        move |model: &Model| {
            let context = model.told(&[OSLO]).map_err(memory_error)?;
            let question = model.question_tokens(text).map_err(memory_error)?;
            Ok(memos_engine::generate::Request { context, question, most_tokens: 16, ..Default::default() })
        }
    };
    // A job that takes its time, until it is told to end.
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let (here, begun) = tokio::sync::oneshot::channel();
    let working = host.clone();
    let job = tokio::spawn(async move {
        let work = move |_: &Model, progress: &Progress<'_>| {
            progress.tell(1, 2)?;
            here.send(()).unwrap();
            let _ = ended.recv();
            Ok(7)
        };
        working.work("a test", work).await
    });
    begun.await.unwrap();
    assert_eq!(host.progress().borrow().clone().unwrap().done, 1);
    let spoken = host.ask(None, ask(ASKED)).unwrap().whole().await.unwrap();
    assert!(spoken.text.contains("Mira lives in"), "{spoken:?}");
    assert!(spoken.first_token <= spoken.took);
    drop(end);
    assert_eq!(job.await.unwrap().unwrap(), 7);

    // The thread is held; one waits, and the next is told.
    let (end, held) = std::sync::mpsc::channel::<()>();
    let (here, begun) = tokio::sync::oneshot::channel();
    let make = ask(ASKED);
    let first = host.ask(None, move |model| {
        let _ = here.send(());
        let _ = held.recv();
        make(model)
    });
    begun.await.unwrap();
    let second = host.ask(None, ask("What does Mira own?")).unwrap();
    let refused = host.ask(None, ask(ASKED)).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Busy);
    drop(end);
    let (first, second) = tokio::join!(first.unwrap().whole(), second.whole());
    assert_eq!(first.unwrap().text, spoken.text);
    assert!(second.unwrap().text.contains("Mira owns"));
    // Who comes too late is told so, and costs the model nothing.
    let late = host.ask(Some(tokio::time::Instant::now()), ask(ASKED)).unwrap().whole().await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Deadline);
    let broken = host.ask(None, |_| panic!("a test's panic")).unwrap().whole().await.unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::Unavailable);
    assert_eq!(host.ask(None, ask(ASKED)).unwrap().whole().await.unwrap().text, spoken.text);
}

#[test]
fn a_failure_of_the_engine_keeps_its_kind_and_its_words() {
    for (engine, memory) in [
        (EngineErrorKind::Busy, ErrorKind::Busy),
        (EngineErrorKind::Corrupt, ErrorKind::Corrupt),
        (EngineErrorKind::Mismatch, ErrorKind::Invalid),
        (EngineErrorKind::NotFound, ErrorKind::NotFound),
        (EngineErrorKind::Unavailable, ErrorKind::Unavailable),
    ] {
        let error = memory_error(memos_engine::Error::new(engine, "`model` is cut"));
        assert_eq!((error.kind(), error.to_string().as_str()), (memory, "`model` is cut"));
        assert!(std::error::Error::source(&error).is_some());
    }
}
