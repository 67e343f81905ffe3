//! What a pipeline promises: its file says what is wrong and where, its steps see each other, and it is whole or absent.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;
use crate::cube::{
    CubeDraft, CubeId, Grant, Grantee, Layer, Rights, SeededIds, SemanticType, State, Update, UpdateMode,
};
use crate::error::ErrorKind;
use crate::governance::{AccessClass, Decision, LayerPolicy, Operation, Policy, Principal};
use crate::graph::{Link, LinkKind};
use crate::time::{Clock, Timestamp};
use crate::vault::{Space, Vault, VaultOptions};

const NOW: i64 = 1_700_000_000_000;
const DAY: i64 = 24 * 3600 * 1000;

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(NOW)
    }
}

fn open(folder: &Path) -> Space {
    let options =
        VaultOptions { clock: Arc::new(Still), ids: Arc::new(SeededIds::new(1)), ..VaultOptions::builtin().unwrap() };
    Vault::open(folder, options).unwrap().space(&"acme/test".parse().unwrap()).unwrap()
}

fn principal(name: &str) -> Principal {
    Principal::new(name.parse().unwrap())
}

fn fact(text: &str, days_ago: i64) -> CubeDraft {
    CubeDraft {
        observed: Some(Timestamp::from_millis(NOW - days_ago * DAY)),
        ..CubeDraft::text(SemanticType::Fact, text)
    }
}

/// A space of Ada's with a few memories.
struct Harbour {
    _folder: tempfile::TempDir,
    space: Space,
    ada: Principal,
    ids: Vec<CubeId>,
}

const SAID: &[&str] = &[
    "The red boat needs paint before the summer.",
    "Bo bought blue paint for the red boat.",
    "The harbour master wants the fee in May.",
    "Mira plays the violin in the town's orchestra.",
];

fn harbour() -> Harbour {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let space = open(folder.path());
    let ada = principal("ada");
    let ids = SAID.iter().zip([40, 30, 20, 10]).map(|(text, days)| space.remember(&ada, fact(text, days)).unwrap());
    let ids = ids.collect();
    Harbour { _folder: folder, space, ada, ids }
}

impl Harbour {
    fn run(&self, pipeline: PipelineBuilder) -> Result<Report> {
        pipeline.build()?.run(&self.space, &self.ada, &BTreeMap::new())
    }

    fn text(&self, id: &CubeId) -> String {
        self.space.get(&self.ada, id).unwrap().0.payload.as_text().unwrap().to_owned()
    }

    fn state(&self, id: &CubeId) -> State {
        self.space.get(&self.ada, id).unwrap().1.state
    }

    fn head(&self) -> crate::ledger::LedgerHead {
        self.space.view().ledger
    }

    /// Begins a pipeline whose step `set` is these memories.
    fn of(&self, places: &[usize]) -> PipelineBuilder {
        let ids = places.iter().map(|place| self.ids[*place]).collect();
        Pipeline::builder("test").step("set", Select { ids, ..Select::default() })
    }
}

fn of(set: &str) -> String {
    set.to_owned()
}

fn retrieve(question: &str, memories: usize) -> Retrieve {
    Retrieve { question: question.to_owned(), memories, ..Retrieve::default() }
}

fn store(text: &str) -> Store {
    Store { text: text.to_owned(), ..Store::default() }
}

fn update(set: &str, text: &str) -> Overwrite {
    Overwrite { of: of(set), text: text.to_owned() }
}

fn archive(set: &str) -> SetState {
    SetState { of: of(set), state: State::Archived, reason: "reviewed".into() }
}

fn require(set: &str, at_least: usize) -> Require {
    Require { of: of(set), at_least: Some(at_least), at_most: None }
}

#[test]
fn a_file_is_the_same_as_code() {
    let text = r#"
        name = "weekly-review"
        about = "what was said of the boat"
        [parameters.question]
        default = "the red boat"
        [[steps]]
        name = "found"
        retrieve = { question = "${question}", memories = 3, types = ["fact"], since = "2023-01-01" }
        [[steps]]
        name = "old"
        select = { from = "found", older_than = "2w", at_most = 5 }
        [[steps]]
        name = "note"
        store = { text = "{{old.list}}", type = "summary", layer = "shared:crew", derived_from = ["old"] }
        [[steps]]
        name = "joined"
        link = { from = "note", kind = "summarises", to = "old" }
        [[steps]]
        name = "away"
        archive = { of = "old", reason = "in the review" }
    "#;
    let code = Pipeline::builder("weekly-review")
        .about("what was said of the boat")
        .parameter("question", Some("the red boat"))
        .step(
            "found",
            Retrieve {
                types: vec![SemanticType::Fact],
                since: Some("2023-01-01".parse().unwrap()),
                ..retrieve("${question}", 3)
            },
        )
        .step(
            "old",
            Select {
                from: Some(of("found")),
                older_than: Some("14d".parse().unwrap()),
                at_most: Some(5),
                ..Select::default()
            },
        )
        .step(
            "note",
            Store {
                semantic: SemanticType::Summary,
                layer: "shared:crew".parse().unwrap(),
                derived_from: vec![of("old")],
                ..store("{{old.list}}")
            },
        )
        .step("joined", LinkEach { from: of("note"), kind: LinkKind::Summarises, to: of("old") })
        .step("away", SetState { reason: "in the review".into(), ..archive("old") });
    assert_eq!(Pipeline::from_toml(text).unwrap(), code.build().unwrap());
}

#[test]
fn a_file_says_what_is_wrong_and_where() {
    let found = "[[steps]]\nname = \"found\"\nretrieve = { question = \"boats\" }\n";
    for (text, part) in [
        ("name = ".to_owned(), "line 1: "),
        ("steps = []".to_owned(), "missing field `name`"),
        ("name = \"x\"".to_owned(), "the pipeline has no steps"),
        ("name = \"X\"\n".to_owned() + found, "`X` is not the pipeline's name"),
        ("name = \"x\"\ncolour = 1\n".to_owned() + found, "line 2: unknown field `colour`"),
        (format!("name = \"x\"\n{found}colour = 1\n"), "unknown field `colour`"),
        (format!("name = \"x\"\n{}", found.replace("question", "qestion")), "line 4: unknown field `qestion`"),
        (format!("name = \"x\"\n{}", found.replace("boats", " ")), "step `found`: ask a question"),
        (format!("name = \"x\"\n{}", found.replace("boats", "${what}")), "`${what}` is no parameter"),
        (format!("name = \"x\"\n{}", found.replace("boats", "{{found.text}}")), "names no step before it"),
        (format!("name = \"x\"\n{}", found.replace("boats", "{{it.text}}")), "has no meaning here"),
        (format!("name = \"x\"\n{found}{found}"), "step `found`: the name is taken"),
        (format!("name = \"x\"\n{found}[[steps]]\nname = \"a\"\n"), "line 5: step `a` says nothing to do"),
        (
            format!("name = \"x\"\n{found}[[steps]]\nname = \"a\"\narchive = {{ of = \"b\" }}\n"),
            "step `a`: there is no step `b` before it",
        ),
        (
            format!("name = \"x\"\n{found}require = {{ of = \"found\", at_least = 1 }}\n"),
            "step `found` is to `retrieve` and to `require`",
        ),
        (
            format!(
                "name = \"x\"\n{found}[[steps]]\nname = \"a\"\nset_state = {{ of = \"found\", state = \"erased\" }}\n"
            ),
            "step `a`: a step cannot make a memory erased",
        ),
        (
            format!(
                "name = \"x\"\n{found}[[steps]]\nname = \"a\"\nset_state = {{ of = \"found\", state = \"old\" }}\n"
            ),
            "line 7: `old` is no state",
        ),
        (
            format!("name = \"x\"\n{found}[[steps]]\nname = \"a\"\nselect = {{ older_than = \"soon\" }}\n"),
            "line 7: `soon` is no age",
        ),
        (
            format!("name = \"x\"\n{found}[[steps]]\nname = \"a\"\nrequire = {{ of = \"found\" }}\n"),
            "it would require nothing",
        ),
        (" ".repeat(FILE_BYTES + 1), "bytes"),
    ] {
        let error = Pipeline::from_toml(&text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(part), "{text}\ngave: {error}\nexpected: {part}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn parameters_are_given_or_have_a_default() {
    let harbour = harbour();
    let pipeline = Pipeline::builder("test").parameter("what", None).step("found", retrieve("${what}", 1)).build();
    let pipeline = pipeline.unwrap();
    for (given, expect) in [
        (vec![], Err("parameter `what` has no default")),
        (vec![("who", "x")], Err("`who` is no parameter of the pipeline; there are: `what`")),
        (vec![("what", "who plays the violin?")], Ok(harbour.ids[3])),
        (vec![("what", "${what}")], Err("")),
    ] {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        match (pipeline.run(&harbour.space, &harbour.ada, &given), expect) {
            (Ok(report), Ok(id)) => assert_eq!(report.steps[0].memories, [id]),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            // A value is never read as a text with places.
            (Ok(_), Err("")) => {}
            (result, expect) => panic!("{result:?} {expect:?}"),
        }
    }
}

#[test]
fn each_step_does_what_it_says() {
    let harbour = harbour();
    let report = harbour
        .run(
            harbour
                .of(&[0, 1])
                .step(
                    "more",
                    Augment {
                        of: of("set"),
                        tags: vec!["boat".into()],
                        append: Some("({{it.observed}})".into()),
                        ..Augment::default()
                    },
                )
                .step("gist", Summarise { of: of("more") })
                .step(
                    "note",
                    Store { derived_from: vec![of("more")], ..store("{{set.count}} of the boat: {{gist.text}}") },
                )
                .step("links", LinkEach { from: of("note"), kind: LinkKind::Summarises, to: of("more") })
                .step("away", archive("set")),
        )
        .unwrap();
    assert_eq!(report.stored.events, 2 + 1 + 2 + 2);
    let (cube, head) = harbour.space.get(&harbour.ada, &harbour.ids[0]).unwrap();
    assert_eq!(cube.payload.as_text().unwrap(), format!("{}\n(2023-10-05)", SAID[0]));
    assert_eq!(
        (cube.header.tags.as_slice(), cube.header.version, head.state),
        (&["boat".to_owned()][..], 2, State::Archived)
    );
    assert_eq!(cube.header.lifecycle.reason, "reviewed");
    let note = report.steps[3].memories[0];
    let (cube, _) = harbour.space.get(&harbour.ada, &note).unwrap();
    assert!(cube.payload.as_text().unwrap().starts_with("2 of the boat: "));
    assert!(cube.header.chain.derived_from.iter().all(|source| source.version == 2));
    assert_eq!(cube.header.chain.derived_from.len(), 2);
    let around = harbour.space.neighbourhood(&harbour.ada, &note, 1, 10).unwrap();
    assert_eq!(around.links.iter().filter(|link| link.kind == LinkKind::Summarises).count(), 2);
}

#[test]
fn merging_leaves_one() {
    let harbour = harbour();
    let report = harbour.run(harbour.of(&[0, 1, 2]).step("one", Merge { of: of("set"), ..Merge::default() })).unwrap();
    assert_eq!(report.steps[1].memories, [harbour.ids[0]]);
    assert_eq!(harbour.text(&harbour.ids[0]), SAID[..3].join("\n"));
    for other in &harbour.ids[1..3] {
        assert_eq!(harbour.state(other), State::Merged);
        let around = harbour.space.neighbourhood(&harbour.ada, other, 1, 10).unwrap();
        assert!(around.links.contains(&Link { from: *other, kind: LinkKind::MergedInto, to: harbour.ids[0] }));
    }
    let (cube, _) = harbour.space.get(&harbour.ada, &harbour.ids[0]).unwrap();
    assert_eq!((cube.header.version, cube.header.chain.derived_from.len()), (2, 2));
}

#[test]
fn states_go_the_way_that_the_steps_go() {
    let harbour = harbour();
    let state = |state, set: &str| SetState { of: of(set), state, reason: String::new() };
    harbour.run(harbour.of(&[0, 1]).step("one", Merge { of: of("set"), ..Merge::default() })).unwrap();
    // What is merged is taken back, changed, and archived.
    let back = harbour.of(&[1]).step("back", state(State::Activated, "set")).step("new", update("set", "again"));
    let report = harbour.run(back.step("away", archive("set"))).unwrap();
    assert_eq!(report.stored.events, 3);
    assert_eq!((harbour.state(&harbour.ids[1]), harbour.text(&harbour.ids[1])), (State::Archived, "again".into()));
}

#[test]
fn selecting_narrows_by_what_is_known() {
    let harbour = harbour();
    harbour.run(harbour.of(&[2]).step("a", archive("set"))).unwrap();
    harbour
        .run(harbour.of(&[1]).step("a", Augment { of: of("set"), tags: vec!["paint".into()], ..Augment::default() }))
        .unwrap();
    let none = Select::default;
    for (select, expect) in [
        (none(), vec![0, 1, 3]),
        (Select { states: vec![State::Archived], ..none() }, vec![2]),
        (Select { older_than: Some("25d".parse().unwrap()), ..none() }, vec![0, 1]),
        (Select { newer_than: Some("25d".parse().unwrap()), ..none() }, vec![3]),
        (Select { tags: vec!["paint".into()], ..none() }, vec![1]),
        (Select { order: Order::Newest, at_most: Some(2), ..none() }, vec![3, 1]),
        (Select { types: vec![SemanticType::Skill], ..none() }, vec![]),
        (Select { ids: vec![harbour.ids[2], harbour.ids[0]], ..none() }, vec![0, 2]),
    ] {
        let report = harbour.run(Pipeline::builder("test").step("s", select.clone())).unwrap();
        let expect: Vec<CubeId> = expect.into_iter().map(|place: usize| harbour.ids[place]).collect();
        assert_eq!(report.steps[0].memories, expect, "{select:?}");
    }
}

#[test]
fn steps_see_what_steps_before_have_staged() {
    let harbour = harbour();
    let violin = retrieve("who plays the violin?", 1);
    // What is archived is not found, what is updated is found by what it says now, and what is stored is found.
    let report = harbour
        .run(
            harbour
                .of(&[3])
                .step("new", update("set", "Mira learned the trumpet in winter."))
                .step("by-new", retrieve("who learned the trumpet?", 1))
                .step("by-old", violin.clone())
                .step("away", archive("set"))
                .step("gone", retrieve("who learned the trumpet?", 4))
                .step("archived", Retrieve { archived: true, ..retrieve("who learned the trumpet?", 1) })
                .step("stored", store("Otto plays the violin at night."))
                .step("found", violin)
                .step("copy", store("He said: {{found.text}}")),
        )
        .unwrap();
    let memories = |step: usize| report.steps[step].memories.as_slice();
    assert_eq!(memories(2), [harbour.ids[3]]);
    assert!(report.steps[3].memories.iter().all(|id| *id != harbour.ids[3] || report.steps[3].text.is_none()));
    assert!(!memories(5).contains(&harbour.ids[3]));
    assert_eq!(memories(6), [harbour.ids[3]]);
    assert_eq!(memories(8), memories(7));
    assert_eq!(harbour.text(&report.steps[9].memories[0]), "He said: Otto plays the violin at night.");
    // Two changes of one memory are one version.
    assert_eq!(harbour.space.versions(&harbour.ada, &harbour.ids[3]).unwrap().len(), 2);
}

/// A pipeline that changes something in every way, of which one step fails.
fn failing_at(harbour: &Harbour, at: usize) -> PipelineBuilder {
    let steps: Vec<(&str, Action)> = vec![
        ("a", update("set", "changed {{it.text}}").into()),
        ("b", store("a note on {{set.count}}").into()),
        ("c", LinkEach { from: of("b"), kind: LinkKind::About, to: of("set") }.into()),
        ("d", archive("set").into()),
        ("e", Augment { of: of("b"), tags: vec!["t".into()], ..Augment::default() }.into()),
    ];
    let mut pipeline = harbour.of(&[0, 1]);
    for (place, (name, action)) in steps.into_iter().enumerate() {
        if place == at {
            pipeline = pipeline.step("guard", require("set", 3));
        }
        pipeline = pipeline.step(name, action);
    }
    if at >= 5 { pipeline.step("guard", require("set", 3)) } else { pipeline }
}

#[test]
fn a_failure_at_any_step_leaves_nothing() {
    let harbour = harbour();
    let before = harbour.head();
    for at in 0..=5 {
        let error = harbour.run(failing_at(&harbour, at)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.to_string(), "step `guard`: `set` has 2 memories, and at least 3 are required");
        assert_eq!(harbour.head(), before);
    }
}

#[test]
fn what_only_the_writer_sees_names_its_step_too() {
    let harbour = harbour();
    let (a, b) = (harbour.ids[0], harbour.ids[1]);
    let pick = |id| Select { ids: vec![id], ..Select::default() };
    let before = harbour.head();
    let circle = || {
        Pipeline::builder("test")
            .step("a", pick(a))
            .step("b", pick(b))
            .step("there", LinkEach { from: of("a"), kind: LinkKind::DerivedFrom, to: of("b") })
            .step("back", LinkEach { from: of("b"), kind: LinkKind::DerivedFrom, to: of("a") })
            .build()
            .unwrap()
    };
    for error in [
        circle().run(&harbour.space, &harbour.ada, &BTreeMap::new()).unwrap_err(),
        circle().dry_run(&harbour.space, &harbour.ada, &BTreeMap::new()).unwrap_err(),
    ] {
        assert!(error.to_string().starts_with("step `back`: the `derived-from` link would close a circle"), "{error}");
    }
    let frozen = harbour.of(&[0]).step("freeze", SetState { state: State::Frozen, ..archive("set") });
    let error = harbour.run(frozen.step("late", update("set", "x"))).unwrap_err();
    assert!(error.to_string().starts_with("step `late`: cube") && error.to_string().contains("is frozen"), "{error}");
    let source = harbour.of(&[0]).step("first", update("set", "new"));
    let source = source.step("note", Store { derived_from: vec![of("set")], ..store("n") });
    let error = harbour.run(source.step("late", update("set", "newer"))).unwrap_err();
    assert!(error.to_string().starts_with("step `late`: another memory was made from"), "{error}");
    assert_eq!(harbour.head(), before);
}

/// A policy that lets somebody else write first, once, when it is asked whether a link may be drawn.
struct Meddling {
    armed: Arc<AtomicBool>,
    meddle: parking_lot::Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Policy for Meddling {
    fn decide(&self, principal: &Principal, operation: Operation, class: &AccessClass, at: Timestamp) -> Decision {
        if operation == Operation::Share && self.armed.swap(false, Ordering::SeqCst) {
            let meddle = self.meddle.lock().take();
            if let Some(meddle) = meddle {
                meddle();
            }
        }
        LayerPolicy.decide(principal, operation, class, at)
    }
}

#[test]
fn a_writer_in_between_makes_it_a_conflict() {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let armed = Arc::new(AtomicBool::new(false));
    let policy = Arc::new(Meddling { armed: armed.clone(), meddle: parking_lot::Mutex::default() });
    let options = VaultOptions { policy: policy.clone(), ..VaultOptions::builtin().unwrap() };
    let space = Vault::open(folder.path(), options).unwrap().space(&"acme/test".parse().unwrap()).unwrap();
    let ada = principal("ada");
    let (a, b) = (space.remember(&ada, fact("a", 1)).unwrap(), space.remember(&ada, fact("b", 1)).unwrap());
    let pick = |id| Select { ids: vec![id], ..Select::default() };
    // The one is only read: what is written was made from it, so it must still say the same.
    let pipeline = Pipeline::builder("test")
        .step("read", pick(a))
        .step("changed", pick(b))
        .step("new", update("changed", "{{read.text}} and {{it.text}}"))
        .step("joined", LinkEach { from: of("changed"), kind: LinkKind::About, to: of("read") })
        .build()
        .unwrap();
    for (meddled, step) in [(a, "read"), (b, "new")] {
        let (other, writer) = (space.clone(), ada.clone());
        *policy.meddle.lock() = Some(Box::new(move || {
            let parent = other.get(&writer, &meddled).unwrap().1.digest;
            let mode = UpdateMode::Append("more".into());
            other.update(&writer, Update { cube: meddled, parent, mode }).unwrap();
        }));
        armed.store(true, Ordering::SeqCst);
        let events = space.view().ledger.events;
        let error = pipeline.run(&space, &ada, &BTreeMap::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().starts_with(&format!("step `{step}`: ")), "{error}");
        assert_eq!(space.view().ledger.events, events + 1);
    }
    assert_eq!(pipeline.run(&space, &ada, &BTreeMap::new()).unwrap().stored.events, 2);
}

#[test]
fn what_the_caller_may_not_change_stops_the_pipeline() {
    let harbour = harbour();
    let bo = principal("bo");
    let shown = CubeDraft { layer: Layer::Global, ..fact("the quay is closed", 1) };
    let shown = harbour.space.remember(&harbour.ada, shown).unwrap();
    let grant = Grant {
        to: Grantee::Principal("user:bo".parse().unwrap()),
        rights: Rights { read: true, write: true, share: false },
    };
    let open = CubeDraft { grants: vec![grant], ..fact("the tide table", 1) };
    let open = harbour.space.remember(&harbour.ada, open).unwrap();
    let before = harbour.head();
    let pick = |id| {
        Pipeline::builder("test")
            .step("note", store("a note"))
            .step("set", Select { ids: vec![id], ..Select::default() })
    };
    for (pipeline, kind) in [
        (pick(shown).step("x", update("set", "open")), ErrorKind::Denied),
        (pick(shown).step("x", archive("set")), ErrorKind::Denied),
        (pick(open).step("x", LinkEach { from: of("set"), kind: LinkKind::About, to: of("note") }), ErrorKind::Denied),
        (pick(harbour.ids[0]), ErrorKind::NotFound),
    ] {
        let pipeline = pipeline.build().unwrap();
        for result in [
            pipeline.run(&harbour.space, &bo, &BTreeMap::new()),
            pipeline.dry_run(&harbour.space, &bo, &BTreeMap::new()),
        ] {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().starts_with("step `"), "{error}");
        }
    }
    assert_eq!(harbour.head(), before);
    let pipeline = pick(open).step("x", update("set", "the tide table of May")).build().unwrap();
    pipeline.run(&harbour.space, &bo, &BTreeMap::new()).unwrap();
    assert_eq!(harbour.text(&open), "the tide table of May");
}

#[test]
fn what_is_sensitive_stays_so_in_what_is_made_of_it() {
    let harbour = harbour();
    let mut draft = fact("Bo's illness is a secret", 1);
    draft.sensitivity.insert(crate::governance::sensitivity::SensitivityKind::Secret);
    let id = harbour.space.remember(&harbour.ada, draft).unwrap();
    let pipeline = Pipeline::builder("test")
        .step("set", Select { ids: vec![id], ..Select::default() })
        .step("note", Store { layer: Layer::Global, ..store("{{set.text}}") })
        .step("count", Store { layer: Layer::Global, ..store("{{set.count}} memory") });
    let report = harbour.run(pipeline).unwrap();
    for (step, sensitive) in [(1, true), (2, false)] {
        let (cube, _) = harbour.space.get(&harbour.ada, &report.steps[step].memories[0]).unwrap();
        assert_eq!(!cube.header.governance.sensitivity.is_empty(), sensitive);
    }
}

#[test]
fn limits_hold_for_what_is_made() {
    let harbour = harbour();
    let long = "x".repeat(40 * 1024);
    let twice = harbour.of(&[0]).step("a", update("set", &long)).step("b", update("set", "{{set.text}}{{set.text}}"));
    let error = harbour.run(twice).unwrap_err();
    assert!(error.to_string().starts_with("step `b`: the text that it makes has"), "{error}");
    let steps = (0..=STEPS).fold(harbour.of(&[0]), |pipeline, at| pipeline.step(format!("s{at}"), store("x")));
    assert!(steps.build().unwrap_err().to_string().contains("steps"));
}

/// Takes ids and places of events out, which differ from run to run.
fn plain(report: &Report) -> String {
    let mut text = serde_json::to_string(&Report {
        dry_run: false,
        stored: Stored { first_event: None, ..report.stored },
        ..report.clone()
    })
    .unwrap();
    for (number, id) in report.steps.iter().flat_map(|step| &step.memories).enumerate() {
        text = text.replace(&id.to_string(), &format!("#{number}"));
    }
    text
}

fn any_step() -> impl Strategy<Value = (usize, usize)> {
    (0_usize..9, 0_usize..4)
}

/// Makes a pipeline of random steps; each works on what one of the steps before has.
fn random(harbour: &Harbour, steps: &[(usize, usize)]) -> PipelineBuilder {
    let mut sets = vec![of("set")];
    let mut pipeline = harbour.of(&[0, 1, 2]);
    for (number, (what, which)) in steps.iter().enumerate() {
        let name = format!("s{number}");
        let set = sets[which % sets.len()].clone();
        let action: Action = match what {
            0 => retrieve("what of the red boat and its paint?", 2).into(),
            1 => update(&set, &format!("{{{{it.text}}}} and {number}")).into(),
            2 => Augment { of: set, tags: vec![format!("t{which}")], ..Augment::default() }.into(),
            3 => Store { derived_from: vec![set.clone()], ..store(&format!("note {number} on {{{{{set}.count}}}}")) }
                .into(),
            4 => LinkEach { from: set, kind: LinkKind::About, to: of("set") }.into(),
            5 => Merge { of: set, ..Merge::default() }.into(),
            6 => archive(&set).into(),
            7 => require(&set, *which).into(),
            _ => SetState {
                of: set,
                state: if *which == 0 { State::Frozen } else { State::Activated },
                reason: String::new(),
            }
            .into(),
        };
        if action.yields_set() {
            sets.push(name.clone());
        }
        pipeline = pipeline.step(name, action);
    }
    pipeline
}

#[test]
fn the_example_can_be_read() {
    let text = include_str!("../../../examples/pipelines/weekly_review.toml");
    assert_eq!(Pipeline::from_toml(text).unwrap().steps().len(), 7);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn a_pipeline_is_whole_or_absent(steps in proptest::collection::vec(any_step(), 1..7)) {
        let harbour = harbour();
        let pipeline = random(&harbour, &steps).build().unwrap();
        let before = harbour.head();
        let dry = pipeline.dry_run(&harbour.space, &harbour.ada, &BTreeMap::new());
        prop_assert_eq!(harbour.head(), before);
        let real = pipeline.run(&harbour.space, &harbour.ada, &BTreeMap::new());
        match (dry, real) {
            (Err(dry), Err(real)) => {
                prop_assert_eq!(dry.kind(), real.kind());
                // Only what a step asks for can be wrong, never the order in which it is written.
                prop_assert_eq!(real.kind(), ErrorKind::Invalid, "{}", real);
                prop_assert!(real.to_string().starts_with("step `"), "{}", real);
                prop_assert_eq!(harbour.head(), before);
            }
            (Ok(dry), Ok(real)) => {
                prop_assert_eq!(plain(&dry), plain(&real));
                prop_assert_eq!(harbour.head().events, before.events + real.stored.events);
                check_visible(&harbour, &real);
            }
            (dry, real) => prop_assert!(false, "{dry:?} {real:?}"),
        }
    }
}

/// Holds what a report says last of each memory against the space.
fn check_visible(harbour: &Harbour, report: &Report) {
    let (mut texts, mut states) = (BTreeMap::new(), BTreeMap::new());
    for change in report.steps.iter().flat_map(|step| &step.changes) {
        match change {
            Change::Stored { cube, text } | Change::Revised { cube, after: text, .. } => {
                texts.insert(*cube, text.clone());
            }
            Change::State { cube, to, .. } => {
                states.insert(*cube, *to);
            }
            Change::Linked(link) => {
                let around = harbour.space.neighbourhood(&harbour.ada, &link.from, 1, 100).unwrap();
                assert!(around.links.contains(link));
            }
        }
    }
    for (cube, text) in texts {
        assert_eq!(harbour.text(&cube), text);
    }
    for (cube, state) in states {
        assert_eq!(harbour.state(&cube), state);
    }
}
