//! What a space promises: versions, batches, rights, and the same state after every way of opening it.

use std::fs;
use std::sync::Arc;

use super::*;
use crate::cube::{CubeDraft, Layer, SeededIds, SemanticType, State, Update, UpdateMode, UseSignal};
use crate::error::ErrorKind;
use crate::governance::Principal;
use crate::graph::{Link, LinkKind};
use crate::index::CandidateIndex;
use crate::time::Timestamp;

/// A clock that stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }
}

fn options() -> VaultOptions {
    VaultOptions { clock: Arc::new(Still), ids: Arc::new(SeededIds::new(1)), ..VaultOptions::builtin().unwrap() }
}

fn principal(name: &str) -> Principal {
    Principal::new(name.parse().unwrap())
}

fn open(folder: &Path) -> Space {
    Vault::open(folder, options()).unwrap().space(&"acme/test".parse().unwrap()).unwrap()
}

fn fact(text: &str) -> CubeDraft {
    CubeDraft::text(SemanticType::Fact, text)
}

#[test]
fn updates_make_a_chain_and_refuse_a_stale_parent() {
    let folder = tempfile::tempdir().unwrap();
    let (space, ada) = (open(folder.path()), principal("ada"));
    let id = space.remember(&ada, fact("Bo lives in Lisbon")).unwrap();
    let (_, first) = space.get(&ada, &id).unwrap();
    let overwrite = |text: &str| Update {
        cube: id,
        parent: first.digest,
        mode: UpdateMode::Overwrite(crate::cube::Payload::text(text)),
    };
    space.update(&ada, overwrite("Bo lives in Oslo")).unwrap();
    assert_eq!(space.update(&ada, overwrite("Bo lives in Rome")).unwrap_err().kind(), ErrorKind::Conflict);

    let (cube, second) = space.get(&ada, &id).unwrap();
    assert_eq!((cube.header.version, cube.header.chain.parent), (2, Some(first.digest)));
    space
        .update(&ada, Update { cube: id, parent: second.digest, mode: UpdateMode::Append("near the harbour".into()) })
        .unwrap();
    assert_eq!(space.get(&ada, &id).unwrap().0.payload.as_text(), Some("Bo lives in Oslo\nnear the harbour"));
    assert_eq!(space.versions(&ada, &id).unwrap().len(), 3);
}

#[test]
fn a_batch_is_whole_or_absent() {
    let folder = tempfile::tempdir().unwrap();
    let (space, ada) = (open(folder.path()), principal("ada"));
    let (a, b) = (space.new_id(), space.new_id());
    let link = Link { from: b, kind: LinkKind::DerivedFrom, to: a };
    let mut batch = Batch::default();
    batch.store(a, fact("the boat is red")).store(b, fact("boats can be red")).link(link);
    // The circle is found although neither link is in the graph yet.
    batch.link(Link { from: a, kind: LinkKind::DerivedFrom, to: b });
    assert_eq!(space.commit(&ada, batch.clone()).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(space.stats(&ada).cubes, 0);

    batch.writes.pop();
    batch.link(link);
    let committed = space.commit(&ada, batch).unwrap();
    assert_eq!((committed.first_event, committed.events), (1, 3));
    assert_eq!(space.stats(&ada).links, 1);
}

#[test]
fn what_may_not_be_read_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let (space, ada, bo) = (open(folder.path()), principal("ada"), principal("bo"));
    let id = space.remember(&ada, fact("the safe opens with 4418")).unwrap();
    let open_id = space.remember(&ada, CubeDraft { layer: Layer::Global, ..fact("the safe is grey") }).unwrap();
    assert_eq!(space.get(&bo, &id).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(space.versions(&bo, &id).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(space.get(&bo, &open_id).is_ok());
    assert_eq!(space.stats(&bo).cubes, 1);
    let try_to = |change: &dyn Fn(&mut Batch) -> usize| {
        let mut batch = Batch::default();
        change(&mut batch);
        space.commit(&bo, batch).unwrap_err().kind()
    };
    assert_eq!(try_to(&|batch| batch.set_state(id, State::Archived, "").len()), ErrorKind::NotFound);
    assert_eq!(try_to(&|batch| batch.set_state(open_id, State::Archived, "").len()), ErrorKind::Denied);
    assert_eq!(
        try_to(&|batch| batch.link(Link { from: open_id, kind: LinkKind::About, to: id }).len()),
        ErrorKind::Denied
    );
    assert_eq!(try_to(&|batch| batch.record_use(vec![(id, UseSignal::Read)]).len()), ErrorKind::NotFound);
    assert_eq!(
        try_to(&|batch| batch.store(space.new_id(), CubeDraft { owner: Some(ada.id.clone()), ..fact("x") }).len()),
        ErrorKind::Denied
    );
}

#[test]
fn every_way_of_opening_gives_the_same_space() {
    let folder = tempfile::tempdir().unwrap();
    let ada = principal("ada");
    let image = |space: &Space| {
        let view = space.view();
        // In the order in which recall walks them.
        let links: Vec<Vec<_>> = (0..view.heads.len()).map(|slot| view.graph().edges(slot as u32).collect()).collect();
        (view.heads.clone(), links, view.ledger, view.classes.clone(), view.index.len())
    };
    let space = open(folder.path());
    let ids: Vec<_> =
        (0..20).map(|n| space.remember(&ada, fact(&format!("box {n} holds {} apples", n * 7))).unwrap()).collect();
    let mut batch = Batch::default();
    for other in &ids[1..] {
        batch.link(Link { from: ids[0], kind: LinkKind::Mentions, to: *other });
    }
    batch.unlink(Link { from: ids[0], kind: LinkKind::Mentions, to: ids[5] });
    space.commit(&ada, batch).unwrap();
    space.save_snapshot().unwrap();
    let mut batch = Batch::default();
    for pair in ids.windows(2) {
        batch.link(Link { from: pair[1], kind: LinkKind::Follows, to: pair[0] });
    }
    batch.set_state(ids[3], State::Archived, "not needed").record_use(vec![(ids[4], UseSignal::Helpful)]);
    space.commit(&ada, batch).unwrap();
    let before = image(&space);
    drop(space);

    let snapshot = folder.path().join("acme/test/projection.bin");
    assert_eq!(image(&open(folder.path())), before, "from the snapshot and what came after it");
    let mut bytes = fs::read(&snapshot).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&snapshot, bytes).unwrap();
    assert_eq!(image(&open(folder.path())), before, "from a damaged snapshot");
    fs::remove_file(&snapshot).unwrap();
    assert_eq!(image(&open(folder.path())), before, "from the ledger alone");
}

#[test]
fn many_writers_share_commits_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (space, ada) = (open(folder.path()), principal("ada"));
    std::thread::scope(|scope| {
        for writer in 0..16 {
            let (space, ada) = (space.clone(), &ada);
            scope.spawn(move || {
                for n in 0..10 {
                    let id = space.remember(ada, fact(&format!("writer {writer} wrote note {n}"))).unwrap();
                    assert!(space.get(ada, &id).is_ok(), "a writer reads what it wrote");
                }
            });
        }
    });
    drop(space);
    assert_eq!(open(folder.path()).stats(&ada).cubes, 160);
}

#[test]
fn of_many_writers_of_one_version_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let (space, ada) = (open(folder.path()), principal("ada"));
    let id = space.remember(&ada, fact("the count is 0")).unwrap();
    let parent = space.get(&ada, &id).unwrap().1.digest;
    let won = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..16)
            .map(|n| {
                let (space, ada) = (space.clone(), &ada);
                let mode = UpdateMode::Overwrite(crate::cube::Payload::text(format!("the count is {n}")));
                scope.spawn(move || space.update(ada, Update { cube: id, parent, mode }).is_ok())
            })
            .collect();
        tries.into_iter().map(|thread| thread.join().unwrap()).filter(|won| *won).count()
    });
    assert_eq!(won, 1);
    assert_eq!(space.get(&ada, &id).unwrap().1.version, 2);
}

#[test]
fn a_form_goes_with_the_memory_that_it_was_made_from() {
    use super::Erasure;
    use crate::cube::{Activation, Digest, Dtype, LayerShape, ModelFingerprint, Payload};
    let folder = tempfile::tempdir().unwrap();
    let (space, ada, bo) = (open(folder.path()), principal("ada"), principal("bo"));
    let keeper = Principal::keeper().unwrap();
    // The space itself makes the form, and whoever reads the memory need not be able to read it.
    let form_of = |source| {
        let (form, mut batch) = (space.new_id(), Batch::default());
        let model = ModelFingerprint { model: Digest::of(b"model"), tokenizer: Digest::of(b"tokenizer") };
        let shape = LayerShape { layers: 1, tokens: 1, heads: 2, head_size: 4 };
        let tokens = Digest::of(&[1, 0, 0, 0]);
        let segment = Activation { model, tokens, position: 0, dtype: Dtype::F16, shape };
        let payload = Payload::activation(segment, crate::cube::small_segment([1, 0, 0, 0])).unwrap();
        let draft = CubeDraft { subject: Some("Bo".into()), ..CubeDraft::new(SemanticType::Fact, payload) };
        batch.store(form, draft).link(Link { from: form, kind: LinkKind::DerivedFrom, to: source });
        space.commit(&keeper, batch).unwrap();
        form
    };
    let of_bo = |text: &str| CubeDraft { subject: Some("Bo".into()), layer: Layer::Global, ..fact(text) };
    let [first, second, kept] = ["one", "two", "three"].map(|text| space.remember(&ada, of_bo(text)).unwrap());
    let [of_first, of_second, of_kept] = [first, second, kept].map(form_of);
    let present = |cube| space.present_states(&keeper, &[cube])[0].is_some();
    assert_eq!(space.erase(&bo, Erasure::Cubes(vec![first]), "").unwrap_err().kind(), ErrorKind::Denied);
    assert!(present(of_first), "an erasure that is refused takes nothing");

    let erased = space.erase(&ada, Erasure::Cubes(vec![first]), "").unwrap();
    assert_eq!((erased.cubes, erased.derived), (vec![first, of_first], vec![]));
    assert!(!present(of_first) && present(of_second));
    assert_eq!(space.present_states(&ada, &[of_second, second]), [None, Some((1, State::Generated))]);

    let mut batch = Batch::default();
    batch.set_state(kept, State::Archived, "");
    space.commit(&ada, batch).unwrap();
    space.erase(&ada, Erasure::Subject("Bo".into()), "").unwrap();
    assert!(![second, kept, of_second, of_kept].into_iter().any(present));
}
