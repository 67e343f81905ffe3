//! The promise that a file written by any released version opens in every later one: `fixtures/format-1` holds a small space
//! as format 1 wrote it, and all of its content is checked here.
//!
//! `docs/format.md` describes the bytes. What is expected below is never changed once format 1 is released. The fixture is
//! written by [`write_the_fixture`], which is run by hand as long as the format is not released:
//!
//! ```text
//! cargo test -p memos-memory --test format -- --ignored write_the_fixture
//! ```
//!
//! A store is mostly room that is not used yet. The fixture has the pages of the store that are not all zeros, each behind
//! its number.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/seeded.rs"]
mod seeded;
#[path = "support/space.rs"]
mod space;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memos_memory::ErrorKind;
use memos_memory::cube::{
    Adoption, Cube, CubeDraft, CubeId, Digest, Dtype, Grant, Grantee, Kind, Layer, Lifespan, ModelFingerprint,
    OriginKind, Parametric, Payload, Priority, Rights, SeededIds, SemanticType, Source, State, TargetShape, Update,
    UpdateMode, UseSignal, VersionRef,
};
use memos_memory::governance::sensitivity::SensitivityKind;
use memos_memory::governance::{AuditKind, AuditRecord, CallingContext, Outcome, Principal, SENSITIVE_READER};
use memos_memory::graph::{Link, LinkKind};
use memos_memory::keys::SeededEntropy;
use memos_memory::ledger::Change;
use memos_memory::limits::Limits;
use memos_memory::time::{Timestamp, Window};
use memos_memory::vault::{Batch, Erasure, Space, Vault, VaultOptions};
use safetensors::tensor::TensorView;
use space::{HandClock, START, WordEmbedder, fact, open, open_ledger, options, principal, segment, space_name};

const PAGE: usize = 4096;
const STORE: &str = "ledger.redb";
const PAGES: &str = "ledger.pages";
const RING: &str = "keys.ring";
const MASTER_KEY: &str = "master.key";

/// The digest of the last event, by which the whole chain is known.
const HEAD: &str = "f35ea17b3adc1f1f346cb0159ebc10cb9be67d720f00abe80dfe7792554c9a91";

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1")
}

/// Small, so that one body lies in a file.
fn limits() -> Limits {
    Limits { inline_body_bytes: 600, ..Limits::default() }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

fn ada() -> Principal {
    principal("ada")
}

fn cook() -> Principal {
    principal("agent:cook").in_group("kitchen".parse().unwrap()).with_role(SENSITIVE_READER)
}

/// The ids of the cubes in the order in which they were stored.
fn ids() -> Vec<CubeId> {
    IDS.iter().map(|id| id.parse().unwrap()).collect()
}

const IDS: [&str; 9] = [
    "018bcfe5-6800-7610-8f84-396dc2d72ce2",
    "018bcfe5-6800-70be-90fe-3b332b7b0468",
    "018bcfe5-6800-75d1-823d-4e8062d2bb7f",
    "018bcfe5-6800-72dc-ad78-d59bc1d92616",
    "018bcfe5-6800-7a98-8a10-14e51d543166",
    "018bcfe5-6800-7f6d-b301-3024c56eb03d",
    "018bcfe5-6800-7614-a29d-4cca1da195bd",
    "018bcfe5-6800-78ce-942a-c165e137a642",
    "018bcfe5-6800-7f28-9a4e-0796fb60a61a",
];

/// The digests of the bodies that are no text: the segment's and the adapter's.
const BODIES: [&str; 2] = [
    "c77b519be96d4720e224044b3e7bc07890c8fdcaa4900b1412ed0fa9bd3df68c",
    "efc2c46738690ad590defea7d3f7ac599480ae29f77954ab6411ed2d74b6de37",
];

fn adapter() -> Payload {
    let (a, b) = (1.5_f32.to_le_bytes().repeat(4), 2.5_f32.to_le_bytes().repeat(6));
    let view = |shape: &[usize], data| TensorView::new(safetensors::Dtype::F32, shape.to_vec(), data).unwrap();
    let body =
        safetensors::serialize([("q.lora_A.weight", view(&[1, 4], &a)), ("q.lora_B.weight", view(&[6, 1], &b))], None);
    let base = ModelFingerprint { model: Digest::of(b"base"), tokenizer: Digest::of(b"pieces") };
    let targets = vec![TargetShape { name: "q".into(), inputs: 4, outputs: 6 }];
    Payload::parametric(Parametric { base, rank: 1, dtype: Dtype::F32, targets }, body.unwrap()).unwrap()
}

fn long_text() -> String {
    "The harbour house has nine rooms. ".repeat(30)
}

/// The drafts of all cubes: every field has a value that is not its default somewhere.
fn drafts(ids: &[CubeId]) -> Vec<CubeDraft> {
    let of = |cube: usize, version| VersionRef { cube: ids[cube], version };
    let full = CubeDraft {
        semantic: SemanticType::Preference,
        title: "Bo's diet".into(),
        tags: vec!["topic:food".into(), "entity:Bo".into()],
        path: vec!["guests".into(), "diets".into()],
        origin: OriginKind::Inference,
        task: Some("plan a dinner".into()),
        session: Some("session-1".into()),
        model: Some("tiny-1".into()),
        speaker: Some("Bo".into()),
        reference: Some("chat.jsonl#7".into()),
        observed: Some(at(-86_400_000)),
        valid: Window::between(at(-1000), at(1_000_000)),
        layer: Layer::Shared("kitchen".parse().unwrap()),
        grants: vec![
            Grant {
                to: Grantee::Principal("bo".parse().unwrap()),
                rights: Rights { read: true, write: true, share: false },
            },
            Grant {
                to: Grantee::Group("guests".parse().unwrap()),
                rights: Rights { read: false, write: false, share: true },
            },
        ],
        lifespan: Lifespan::HalfLifeMillis(604_800_000),
        legal_hold: true,
        priority: Priority::High,
        sensitivity: BTreeSet::from([SensitivityKind::Email]),
        ..fact("Bo is allergic to peanuts")
    };
    vec![
        full,
        CubeDraft { layer: Layer::Global, lifespan: Lifespan::TimeToLiveMillis(5000), ..fact("the boat is red") },
        CubeDraft { semantic: SemanticType::Document, path: vec!["House".into()], ..fact(long_text()) },
        CubeDraft { origin: OriginKind::FineTuning, ..CubeDraft::new(SemanticType::Skill, segment(3)) },
        CubeDraft { priority: Priority::Low, ..CubeDraft::new(SemanticType::Skill, adapter()) },
        CubeDraft {
            derived_from: vec![of(0, 1), of(1, 2)],
            ..CubeDraft::text(SemanticType::Reflection, "dinner without peanuts")
        },
        CubeDraft { title: "Gone".into(), ..of_dee("the cellar floods in spring") },
        of_dee("Dee keeps bees"),
        CubeDraft { observed: Some(at(-9000)), ..CubeDraft::text(SemanticType::Event, "the roof was mended") },
    ]
}

/// A fact about a person who is neither its owner nor its speaker.
fn of_dee(text: &str) -> CubeDraft {
    CubeDraft { subject: Some("Dee".into()), ..fact(text) }
}

/// The last draft, as it came from another system.
fn adoption(draft: CubeDraft) -> Adoption {
    let source = Source {
        system: "notes".into(),
        space: Some("house".into()),
        cube: Some("note-12".into()),
        version: Some(3),
        signer: Some("ab".repeat(32)),
    };
    Adoption { draft, author: "eve".parse().unwrap(), created: at(-8000), state: State::Archived, source }
}

/// The cube that was erased.
const ERASED: usize = 6;
/// The cube that was frozen and unfrozen.
const UNFROZEN: usize = 7;
/// The cube that came from another system.
const ADOPTED: usize = 8;

fn links(ids: &[CubeId]) -> Vec<Link> {
    vec![
        Link { from: ids[5], kind: LinkKind::DerivedFrom, to: ids[0] },
        Link { from: ids[5], kind: LinkKind::Mentions, to: ids[1] },
        Link { from: ids[1], kind: LinkKind::Follows, to: ids[2] },
    ]
}

/// Writes the space; everything in it follows from this function.
fn write(root: &Path) -> Vec<CubeId> {
    let clock = HandClock::default();
    let options = VaultOptions {
        clock: Arc::new(clock.clone()),
        ids: Arc::new(SeededIds::new(7)),
        embedder: Arc::new(WordEmbedder::new(1)),
        entropy: Arc::new(SeededEntropy::new(7)),
        ..options(limits())
    };
    let space = open(root, &options).unwrap();
    let ids: Vec<CubeId> = (0..9).map(|_| space.new_id()).collect();
    let drafts = drafts(&ids);
    for (id, draft) in ids.iter().zip(drafts).take(5) {
        clock.advance(1000);
        commit(&space, |batch| {
            batch.store(*id, draft);
        });
    }
    clock.advance(1000);
    let update = |cube: CubeId, mode| Update { cube, parent: space.get(&ada(), &cube).unwrap().1.digest, mode };
    space.update(&ada(), update(ids[1], UpdateMode::Overwrite(Payload::text("the boat is blue")))).unwrap();
    clock.advance(1000);
    let window = Window { from: Some(at(0)), until: None };
    space.update(&cook_with_a_grant(), update(ids[0], UpdateMode::Revalidate(window))).unwrap();
    clock.advance(1000);
    let derived = self::drafts(&ids).remove(5);
    commit(&space, |batch| {
        batch.store(ids[5], derived);
        for link in links(&ids) {
            batch.link(link);
        }
        batch.link(Link { from: ids[2], kind: LinkKind::Similar, to: ids[3] });
    });
    clock.advance(1000);
    commit(&space, |batch| {
        batch.unlink(Link { from: ids[2], kind: LinkKind::Similar, to: ids[3] });
        batch.set_state(ids[2], State::Archived, "nobody reads it");
        batch.set_state(ids[4], State::Frozen, "");
        batch.record_use(vec![(ids[0], UseSignal::Read), (ids[0], UseSignal::Helpful), (ids[1], UseSignal::Unhelpful)]);
    });
    let merged = UpdateMode::Merge {
        payload: Payload::text("the boat is blue and old"),
        sources: vec![VersionRef { cube: ids[5], version: 1 }],
    };
    clock.advance(1000);
    space.update(&ada(), update(ids[1], merged)).unwrap();
    clock.advance(1000);
    commit(&space, |batch| {
        let mut drafts = self::drafts(&ids).into_iter().skip(ERASED);
        batch.store(ids[ERASED], drafts.next().unwrap());
        batch.store(ids[UNFROZEN], drafts.next().unwrap());
        batch.set_state(ids[UNFROZEN], State::Frozen, "");
        batch.adopt(ids[ADOPTED], adoption(drafts.next().unwrap()));
    });
    clock.advance(1000);
    commit(&space, |batch| {
        batch.unfreeze(ids[UNFROZEN], "it may change");
    });
    clock.advance(1000);
    space.erase(&ada(), Erasure::Cubes(vec![ids[ERASED]]), "asked for").unwrap();
    clock.advance(1000);
    let mut batch = Batch::default();
    batch.set_register(REGISTER, Some(b"12".to_vec())).record(on_record(ids[1])).keyed("request 1");
    space.commit(&Principal::keeper().unwrap(), batch).unwrap();
    drop(space);
    let other = VaultOptions { embedder: Arc::new(WordEmbedder::new(2)), ..options };
    clock.advance(1000);
    Vault::open(root, other).unwrap().reembed(&space_name(), |_, _| {}).unwrap();
    ids
}

const REGISTER: &str = "lifecycle/link";

/// A line of the audit log in which everything is set.
fn on_record(cube: CubeId) -> AuditRecord {
    let some = |text: &str| Some(text.to_owned());
    AuditRecord {
        at: at(7),
        principal: cook().id,
        context: CallingContext {
            purpose: some("dinner"),
            task: some("plan"),
            session: some("evening"),
            model: some("tiny-1"),
        },
        kind: AuditKind::Access,
        operation: "recall".into(),
        outcome: Outcome::Redacted,
        reason: "it is sensitive".into(),
        cubes: vec![cube],
        trace: Some(0x1234),
    }
}

fn cook_with_a_grant() -> Principal {
    principal("bo")
}

fn commit(space: &Space, change: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::default();
    change(&mut batch);
    space.commit(&ada(), batch).unwrap();
}

/// Copies the fixture to where it can be opened; opening writes.
fn restored() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join(space_name().as_str());
    fs::create_dir_all(folder.join("bodies")).unwrap();
    let packed = fs::read(fixture().join(PAGES)).unwrap();
    let (size, packed) = packed.split_first_chunk::<8>().unwrap();
    let mut store = vec![0; u64::from_le_bytes(*size) as usize];
    for row in packed.chunks(8 + PAGE) {
        let (number, page) = row.split_first_chunk::<8>().unwrap();
        let start = u64::from_le_bytes(*number) as usize * PAGE;
        store[start..start + page.len()].copy_from_slice(page);
    }
    fs::write(folder.join(STORE), store).unwrap();
    fs::copy(fixture().join(MASTER_KEY), root.path().join(MASTER_KEY)).unwrap();
    fs::copy(fixture().join(RING), folder.join(RING)).unwrap();
    for body in fs::read_dir(fixture().join("bodies")).unwrap() {
        let body = body.unwrap();
        fs::copy(body.path(), folder.join("bodies").join(body.file_name())).unwrap();
    }
    root
}

#[test]
#[ignore = "writes the fixture, as long as its format is not released"]
fn write_the_fixture() {
    let root = tempfile::tempdir().unwrap();
    let ids = write(root.path());
    let (folder, target) = (root.path().join(space_name().as_str()), fixture());
    fs::remove_dir_all(&target).ok();
    fs::create_dir_all(target.join("bodies")).unwrap();
    let store = fs::read(folder.join(STORE)).unwrap();
    let mut packed = (store.len() as u64).to_le_bytes().to_vec();
    for (number, page) in store.chunks(PAGE).enumerate().filter(|(_, page)| page.iter().any(|byte| *byte != 0)) {
        packed.extend((number as u64).to_le_bytes());
        packed.extend(page);
    }
    fs::write(target.join(PAGES), packed).unwrap();
    for body in fs::read_dir(folder.join("bodies")).unwrap() {
        let body = body.unwrap();
        fs::copy(body.path(), target.join("bodies").join(body.file_name())).unwrap();
    }
    fs::copy(root.path().join(MASTER_KEY), target.join(MASTER_KEY)).unwrap();
    fs::copy(folder.join(RING), target.join(RING)).unwrap();
    let head = open_ledger(root.path(), limits()).head();
    let bodies = [segment(3), adapter()].map(|payload| Digest::of(payload.body()).to_string());
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    println!("IDS: {ids:#?}\nBODIES: {bodies:#?}\nHEAD: {}", head.digest);
}

fn opened(root: &Path) -> Space {
    let options = VaultOptions { embedder: Arc::new(WordEmbedder::new(2)), ..options(limits()) };
    open(root, &options).unwrap()
}

fn texts(cubes: &[Cube]) -> Vec<&str> {
    cubes.iter().filter_map(|cube| cube.payload.as_text()).collect()
}

#[test]
fn format_1_opens_and_says_what_was_written() {
    let root = restored();
    let space = opened(root.path());
    let (ids, drafts) = (ids(), drafts(&ids()));
    for (number, (id, draft)) in ids.iter().zip(&drafts).enumerate().filter(|(number, _)| *number != ERASED) {
        let first = space.versions(&ada(), id).unwrap().remove(0);
        let Cube { header, payload } = first;
        assert_eq!((header.id, header.version, header.chain.parent), (*id, 1, None), "cube {number}");
        assert_eq!(
            (payload.form(), payload.as_text()),
            (draft.payload.form(), draft.payload.as_text()),
            "cube {number}"
        );
        assert_eq!(
            (header.semantic, &header.title, &header.tags, &header.path),
            (draft.semantic, &draft.title, &draft.tags, &draft.path)
        );
        let origin = header.origin;
        let adopted = (number == ADOPTED).then(|| adoption(draft.clone()));
        let author = adopted.as_ref().map_or(ada().id, |adopted| adopted.author.clone());
        assert_eq!((origin.principal, origin.kind), (author, draft.origin));
        assert_eq!(origin.source, adopted.as_ref().map(|adopted| adopted.source.clone()));
        let subject = draft.subject.clone().or_else(|| draft.speaker.clone());
        assert_eq!(header.subject, subject.unwrap_or_else(|| ada().id.to_string()));
        assert_eq!((&origin.task, &origin.session, &origin.model), (&draft.task, &draft.session, &draft.model));
        assert_eq!((&origin.speaker, &origin.reference), (&draft.speaker, &draft.reference));
        let stored = at([1000, 2000, 3000, 4000, 5000, 8000, 11_000, 11_000, 11_000][number]);
        let created = adopted.as_ref().map_or(stored, |adopted| adopted.created);
        assert_eq!((header.times.created, header.times.observed), (created, draft.observed.unwrap_or(created)));
        assert_eq!(header.times.valid, draft.valid);
        let governance = header.governance;
        assert_eq!((governance.owner, &governance.layer, &governance.grants), (ada().id, &draft.layer, &draft.grants));
        assert_eq!(
            (governance.lifespan, governance.legal_hold, governance.priority),
            (draft.lifespan, draft.legal_hold, draft.priority)
        );
        // What its writer calls sensitive and its text does not show is concealed.
        let mut sensitivity = draft.sensitivity.clone();
        sensitivity.extend((!draft.sensitivity.is_empty()).then_some(SensitivityKind::Concealed));
        assert_eq!((governance.sensitivity, governance.watermark), (sensitivity, None));
        let began = adopted.map_or(State::Generated, |adopted| adopted.state);
        let lifecycle = header.lifecycle;
        assert_eq!((lifecycle.state, lifecycle.since, lifecycle.reason.as_str()), (began, stored, ""));
        assert_eq!(header.chain.derived_from, draft.derived_from);
        assert_eq!(
            (header.fingerprint.content, header.fingerprint.bytes),
            (Digest::of(payload.body()), payload.body().len() as u64)
        );
        assert_eq!(header.fingerprint.embedding.is_some(), payload.form().kind() == Kind::Plaintext);
    }
    let body = |id: &CubeId| Digest::of(space.get(&ada(), id).unwrap().0.payload.body()).to_string();
    assert_eq!([body(&ids[3]), body(&ids[4])], BODIES);
}

#[test]
fn format_1_keeps_versions_states_uses_and_links() {
    let root = restored();
    let (space, ids) = (opened(root.path()), ids());
    let versions = space.versions(&ada(), &ids[1]).unwrap();
    assert_eq!(texts(&versions), ["the boat is red", "the boat is blue", "the boat is blue and old"]);
    assert_eq!(versions[2].header.chain.derived_from, [VersionRef { cube: ids[5], version: 1 }]);
    assert_eq!(versions[2].header.times.created, at(10_000));
    let revalidated = space.versions(&ada(), &ids[0]).unwrap();
    assert_eq!(texts(&revalidated), ["Bo is allergic to peanuts"; 2]);
    assert_eq!(revalidated[1].header.times.valid, Window { from: Some(at(0)), until: None });

    let state = |id: &CubeId| {
        let lifecycle = space.get(&ada(), id).unwrap().0.header.lifecycle;
        (lifecycle.state, lifecycle.since, lifecycle.reason)
    };
    assert_eq!(state(&ids[2]), (State::Archived, at(9000), "nobody reads it".into()));
    assert_eq!(state(&ids[4]), (State::Frozen, at(9000), String::new()));
    assert_eq!(state(&ids[1]), (State::Generated, at(2000), String::new()));
    assert_eq!(state(&ids[0]), (State::Activated, at(9000), "used".into()), "the first reading takes a cube into use");
    assert_eq!(state(&ids[UNFROZEN]), (State::Activated, at(12_000), "it may change".into()));
    assert_eq!(state(&ids[ADOPTED]), (State::Archived, at(11_000), String::new()));
    let usage = |id| space.usage(&ada(), id).unwrap();
    assert_eq!((usage(&ids[0]).reads, usage(&ids[0]).helpful, usage(&ids[0]).last_read), (1, 1, Some(at(9000))));
    assert_eq!((usage(&ids[1]).reads, usage(&ids[1]).unhelpful), (0, 1));
    assert!((usage(&ids[0]).heat(at(9000)) - 1.0).abs() < 1e-6);

    let around = space.neighbourhood(&ada(), &ids[5], 3, 10).unwrap();
    let found: BTreeSet<Link> = around.links.into_iter().collect();
    assert_eq!(found, links(&ids).into_iter().collect());
    let (stats, seen) = (space.stats(&ada()), space.stats(&cook()));
    assert_eq!((stats.cubes, stats.links, stats.sessions), (9, 3, 1));
    assert_eq!((seen.cubes, seen.links), (2, 0));
    assert_eq!((stats.ledger.events, stats.ledger.digest.to_string().as_str()), (EVENTS, HEAD));
    assert_eq!(stats.embedder.as_str(), "words-2:0");
}

/// The space's beginning, twelve versions, five changes of links, four states, one record of uses, one erasure, one request with a
/// register and a line of the audit log, one change of embedder.
const EVENTS: u64 = 1 + 12 + 5 + 4 + 1 + 1 + 3 + 1;

#[test]
fn format_1_keeps_what_was_erased_unreadable_and_what_is_held() {
    let root = restored();
    let (space, ids) = (opened(root.path()), ids());
    let kind = |error: memos_memory::Error| error.kind();
    assert_eq!(space.get(&ada(), &ids[ERASED]).map_err(kind), Err(ErrorKind::NotFound));
    assert!(space.versions(&ada(), &ids[ERASED]).unwrap().is_empty());
    let around = space.neighbourhood(&ada(), &ids[ERASED], 1, 10).unwrap();
    assert_eq!(
        (around.cubes[0].state, around.cubes[0].title.as_str(), around.cubes[0].text.as_str()),
        (State::Erased, "", "")
    );
    let erase = |erasure| space.erase(&ada(), erasure, "").map_err(kind);
    assert_eq!(erase(Erasure::Cubes(vec![ids[0]])), Err(ErrorKind::Denied), "it is under legal hold");
    assert_eq!(erase(Erasure::Subject("Dee".into())).unwrap().cubes, [ids[UNFROZEN]]);
}

#[test]
fn format_1_is_one_chain_of_known_events() {
    let root = restored();
    let ledger = open_ledger(root.path(), limits());
    let reader = ledger.readers().reader().unwrap();
    let mut names = Vec::new();
    let digest = reader.replay(0..ledger.head().events, Digest::from_bytes([0; 32]), |event| {
        names.push(match event.change {
            Change::SpaceCreated { name, embedder } => {
                assert_eq!(
                    (event.principal.as_str(), name, embedder.as_str()),
                    ("agent:memos", space_name(), "words-1:0")
                );
                "created"
            }
            Change::CubeStored(_) => "stored",
            Change::Linked(_) => "linked",
            Change::Unlinked(_) => "unlinked",
            Change::StateChanged { .. } => "state",
            Change::EmbedderChanged { embedder } => {
                assert_eq!(embedder.as_str(), "words-2:0");
                "embedder"
            }
            Change::CubesUsed(_) => "used",
            Change::Unfrozen { .. } => "unfrozen",
            Change::Erased { cubes, subject, reason } => {
                assert_eq!((cubes, subject, reason.as_str()), (vec![ids()[ERASED]], None, "asked for"));
                "erased"
            }
            Change::SpaceForked { .. } => "forked",
            Change::RegisterSet { name, value } => {
                assert_eq!((name.as_str(), value), (REGISTER, Some(b"12".to_vec())));
                "register"
            }
            Change::Recorded(records) => {
                assert_eq!(records, [on_record(ids()[1])]);
                "recorded"
            }
            Change::Requested { events, .. } => {
                assert_eq!(events, 2);
                "requested"
            }
        });
        Ok(())
    });
    assert_eq!(digest.unwrap().to_string(), HEAD);
    let expect = [
        &["created"],
        &["stored"; 8][..],
        &["linked"; 4],
        &["unlinked", "state", "state", "used", "stored"],
        &["stored", "stored", "state", "stored", "unfrozen", "erased", "register", "recorded"],
        &["requested", "embedder"],
    ]
    .concat();
    assert_eq!(names, expect);
}

#[test]
fn format_1_goes_on() {
    let root = restored();
    let space = opened(root.path());
    let id = space.remember(&ada(), fact("written by a later program")).unwrap();
    let parent = space.get(&ada(), &ids()[1]).unwrap().1.digest;
    space.update(&ada(), Update { cube: ids()[1], parent, mode: UpdateMode::Append("and sold".into()) }).unwrap();
    drop(space);
    let space = opened(root.path());
    assert!(space.get(&ada(), &id).is_ok());
    assert_eq!(space.get(&ada(), &ids()[1]).unwrap().0.payload.as_text(), Some("the boat is blue and old\nand sold"));
}
