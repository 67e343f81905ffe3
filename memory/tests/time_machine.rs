//! The Time Machine: a space as it was, the way back, and what-ifs that go their own way and come home.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/seeded.rs"]
mod seeded;
#[path = "support/space.rs"]
mod space;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use memos_memory::cube::{
    CubeDraft, CubeId, GovernanceChange, Layer, Payload, SeededIds, SpaceName, State, Update, UpdateMode, UseSignal,
    VersionRef,
};
use memos_memory::governance::Principal;
use memos_memory::graph::{Link, LinkKind};
use memos_memory::limits::Limits;
use memos_memory::operator::{MemoryCall, recall};
use memos_memory::time::Timestamp;
use memos_memory::vault::{Batch, Changed, Erasure, Merged, Moved, OnConflict, Point, Space, Vault, VaultOptions};
use memos_memory::{ErrorKind, Result};
use space::{HandClock, START, fact, options, principal, quick_folder, space_name};

/// A vault with one space, and a clock that goes on a second with every change.
struct House {
    root: tempfile::TempDir,
    vault: Vault,
    clock: HandClock,
    space: Space,
}

impl House {
    fn new() -> Self {
        let (root, clock) = (quick_folder(), HandClock::default());
        let ids = Arc::new(SeededIds::new(5));
        let options = VaultOptions { clock: Arc::new(clock.clone()), ids, ..options(Limits::default()) };
        let vault = Vault::open(root.path(), options).unwrap();
        let space = vault.space(&space_name()).unwrap();
        Self { root, vault, clock, space }
    }

    fn commit(&self, space: &Space, change: impl FnOnce(&mut Batch)) {
        self.clock.advance(1000);
        let mut batch = Batch::default();
        change(&mut batch);
        space.commit(&ada(), batch).unwrap();
    }

    fn store(&self, text: &str) -> CubeId {
        self.store_in(&self.space, fact(text))
    }

    fn store_in(&self, space: &Space, draft: CubeDraft) -> CubeId {
        let id = space.new_id();
        self.commit(space, |batch| {
            batch.store(id, draft);
        });
        id
    }

    fn update(&self, space: &Space, id: CubeId, mode: UpdateMode) {
        let parent = space.get(&ada(), &id).unwrap().1.digest;
        self.commit(space, |batch| {
            batch.update(Update { cube: id, parent, mode });
        });
    }

    fn say(&self, space: &Space, id: CubeId, text: &str) {
        self.update(space, id, UpdateMode::Overwrite(Payload::text(text)));
    }

    fn publish(&self, id: CubeId, layer: Layer) {
        let change = GovernanceChange { layer: Some(layer), ..GovernanceChange::default() };
        self.update(&self.space, id, UpdateMode::Govern(Box::new(change)));
    }

    fn now(&self) -> Point {
        Point::Events(self.space.ledger_head().events)
    }

    fn fork(&self, name: &str, at: Option<Point>) -> Space {
        self.clock.advance(1000);
        self.vault.fork(&ada(), &space_name(), at, &called(name)).unwrap()
    }

    fn merge(&self, fork: &Space, rule: OnConflict) -> Result<Merged> {
        self.vault.merge_back(&ada(), fork.name(), rule)
    }
}

fn called(name: &str) -> SpaceName {
    format!("acme/{name}").parse().unwrap()
}

fn ada() -> Principal {
    principal("ada")
}

fn bo() -> Principal {
    principal("bo")
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

fn text(space: &Space, id: &CubeId) -> String {
    space.get(&ada(), id).unwrap().0.payload.as_text().unwrap().to_owned()
}

fn state(space: &Space, id: &CubeId) -> State {
    space.get(&ada(), id).unwrap().1.state
}

fn link(from: CubeId, kind: LinkKind, to: CubeId) -> Link {
    Link { from, kind, to }
}

/// The texts that a recall of everything finds.
fn found(space: &Space, who: &Principal) -> BTreeSet<String> {
    let call =
        MemoryCall { memories: 100, ..MemoryCall::new(who.clone(), "where is the boat in the harbour", space.now()) };
    let answer = recall(std::slice::from_ref(&space), &call).unwrap();
    answer.receipts.into_iter().map(|receipt| receipt.text).collect()
}

fn texts<const N: usize>(texts: [&str; N]) -> BTreeSet<String> {
    texts.map(str::to_owned).into()
}

#[test]
fn a_space_is_seen_as_it_was_by_number_and_by_time() {
    let house = House::new();
    let space = &house.space;
    let boat = house.store("the boat is red");
    let after_boat = (house.now(), Point::Time(space.now()));
    house.say(space, boat, "the boat is blue");
    let house_id = house.store("the house is old");
    house.commit(space, |batch| {
        batch.link(link(boat, LinkKind::About, house_id));
    });
    let later = (house.now(), Point::Time(space.now()));
    house.commit(space, |batch| {
        batch.set_state(boat, State::Archived, "sold");
    });
    house.commit(space, |batch| {
        batch.unlink(link(boat, LinkKind::About, house_id));
    });

    for point in [after_boat.0, after_boat.1] {
        let then = space.at(point).unwrap();
        assert!(then.is_past() && !space.is_past());
        assert_eq!((text(&then, &boat).as_str(), state(&then, &boat)), ("the boat is red", State::Generated));
        assert_eq!(then.versions(&ada(), &boat).unwrap().len(), 1);
        assert_eq!(kind(then.get(&ada(), &house_id)), Some(ErrorKind::NotFound));
        assert_eq!(found(&then, &ada()), texts(["the boat is red"]));
        assert_eq!(space.get_at(&ada(), &boat, point).unwrap(), then.get(&ada(), &boat).unwrap().0);
        assert_eq!(kind(space.get_at(&ada(), &house_id, point)), Some(ErrorKind::NotFound));
    }
    for point in [later.0, later.1] {
        let then = space.at(point).unwrap();
        assert_eq!((then.stats(&ada()).cubes, then.stats(&ada()).links), (2, 1));
        assert_eq!((text(&then, &boat).as_str(), state(&then, &boat)), ("the boat is blue", State::Generated));
        assert_eq!(then.neighbourhood(&ada(), &boat, 1, 10).unwrap().links, [link(boat, LinkKind::About, house_id)]);
        assert_eq!(found(&then, &ada()), texts(["the boat is blue", "the house is old"]));
    }
    let archived = space.get_at(&ada(), &boat, house.now()).unwrap().header.lifecycle;
    assert_eq!((archived.state, archived.reason.as_str()), (State::Archived, "sold"));
    assert_eq!(found(space, &ada()), texts(["the house is old"]));
}

#[test]
fn points_that_are_none_are_told() {
    let house = House::new();
    house.store("the boat is red");
    for point in [Point::Events(0), Point::Events(3), Point::Time(Timestamp::from_millis(START - 1))] {
        assert_eq!(kind(house.space.at(point)), Some(ErrorKind::NotFound), "{point}");
        let nobody = CubeId::from_bytes([9; 16]);
        assert_eq!(kind(house.space.get_at(&ada(), &nobody, point)), Some(ErrorKind::NotFound), "{point}");
        assert_eq!(
            kind(house.vault.fork(&ada(), &space_name(), Some(point), &called("none"))),
            Some(ErrorKind::NotFound)
        );
    }
    assert_eq!(house.vault.spaces().unwrap(), [space_name()], "a fork that cannot be leaves nothing");
    let beginning = house.space.at(Point::Events(1)).unwrap();
    assert_eq!((beginning.stats(&ada()).cubes, found(&beginning, &ada())), (0, texts([])));
    let far = Point::Time(Timestamp::from_millis(START * 2));
    assert_eq!(house.space.events_at(far).unwrap(), 2, "a time to come is now");
    for (given, expect) in [("#12", Some(Point::Events(12))), ("#", None), ("#-1", None), ("12", None), ("", None)] {
        assert_eq!(given.parse::<Point>().ok(), expect, "{given}");
    }
}

#[test]
fn a_view_of_the_past_takes_no_changes() {
    let house = House::new();
    let boat = house.store("the boat is red");
    let then = house.space.at(house.now()).unwrap();
    assert_eq!(kind(then.remember(&ada(), fact("a new boat"))), Some(ErrorKind::Invalid));
    assert_eq!(kind(then.erase(&ada(), Erasure::Cubes(vec![boat]), "")), Some(ErrorKind::Invalid));
    assert_eq!(kind(then.restore(&ada(), &boat, 1)), Some(ErrorKind::Invalid));
    assert_eq!(kind(then.restore_space(&ada(), Point::Events(2), "")), Some(ErrorKind::Invalid));
    assert_eq!(house.space.ledger_head().events, 2);
}

#[test]
fn the_past_takes_the_rights_of_then_and_of_today() {
    let house = House::new();
    let space = &house.space;
    let opened = house.store("the boat was secret");
    let closed = house.store_in(space, CubeDraft { layer: Layer::Global, ..fact("the boat was public") });
    let always = house.store_in(space, CubeDraft { layer: Layer::Global, ..fact("the harbour is public") });
    let before = house.now();
    assert_eq!(found(&space.at(before).unwrap(), &bo()), texts(["the boat was public", "the harbour is public"]));
    house.publish(opened, Layer::Global);
    house.publish(closed, Layer::Private);

    let then = space.at(before).unwrap();
    let may_read = |space: &Space, id| kind(space.get(&bo(), &id)).is_none();
    assert!(may_read(space, opened) && !may_read(&then, opened), "what was made public later stays hidden in the past");
    assert!(
        !may_read(space, closed) && !may_read(&then, closed),
        "what was made private later is hidden in the past too"
    );
    assert!(may_read(&then, always));
    for id in [opened, closed] {
        assert_eq!(kind(space.get_at(&bo(), &id, before)), Some(ErrorKind::NotFound));
        assert!(space.get_at(&ada(), &id, before).is_ok() && then.get(&ada(), &id).is_ok(), "the owner sees both");
    }
    assert_eq!(space.versions(&bo(), &opened).unwrap().len(), 1);
    assert_eq!((found(&then, &bo()), then.stats(&bo()).cubes), (texts(["the harbour is public"]), 1));
    assert_eq!(then.find_ids(&bo(), "", 10), [always]);
    assert_eq!(then.stats(&ada()).cubes, 3);
}

#[test]
fn a_view_at_hand_goes_stale_when_rights_change_or_memories_are_erased() {
    let house = House::new();
    let space = &house.space;
    let boat = house.store_in(space, CubeDraft { layer: Layer::Global, ..fact("the boat is red") });
    let other = house.store_in(space, CubeDraft { layer: Layer::Global, ..fact("the harbour is deep") });
    let stale = |then: &Space, place: &str| {
        for who in [ada(), bo()] {
            assert_eq!(kind(then.get(&who, &other)), Some(ErrorKind::NotFound), "{place}");
            assert_eq!(kind(then.versions(&who, &other)), Some(ErrorKind::NotFound), "{place}");
            assert_eq!(kind(then.neighbourhood(&who, &other, 1, 5)), Some(ErrorKind::NotFound), "{place}");
            assert_eq!((then.stats(&who).cubes, found(then, &who)), (0, texts([])), "{place}");
            assert!(then.find_ids(&who, "", 10).is_empty(), "{place}");
        }
    };
    let point = house.now();
    let then = space.at(point).unwrap();
    house.say(space, boat, "the boat is blue");
    assert_eq!(found(&then, &bo()), texts(["the boat is red", "the harbour is deep"]), "other changes leave it");
    house.publish(boat, Layer::Private);
    stale(&then, "rights were taken");
    let then = space.at(point).unwrap();
    assert_eq!(found(&then, &bo()), texts(["the harbour is deep"]), "a new view has the rights of today");
    space.erase(&ada(), Erasure::Cubes(vec![boat]), "").unwrap();
    stale(&then, "a memory was erased");
    assert_eq!(found(&space.at(point).unwrap(), &ada()), texts(["the harbour is deep"]));
}

#[test]
fn what_changed_between_two_points() {
    let house = House::new();
    let space = &house.space;
    let [a, b, c] = ["the boat is red", "the house is old", "the garden is wet"].map(|text| house.store(text));
    house.commit(space, |batch| {
        batch.link(link(a, LinkKind::About, b));
    });
    let before = space.at(house.now()).unwrap();
    assert!(before.compare(&ada(), space).unwrap().is_empty());
    house.say(space, a, "the boat is blue");
    house.say(space, b, "the house is new");
    house.say(space, b, "the house is old");
    house.commit(space, |batch| {
        batch.set_state(c, State::Archived, "");
    });
    house.commit(space, |batch| {
        batch.unlink(link(a, LinkKind::About, b)).link(link(b, LinkKind::About, c));
    });
    let d = house.store("the winter is long");
    let found = before.compare(&ada(), space).unwrap();
    assert_eq!((found.removed, found.added), (vec![], vec![d]));
    assert_eq!(found.changed, [Changed { cube: a, before: 1, after: 2 }], "what says the same again has not changed");
    assert_eq!(found.moved, [Moved { cube: c, before: State::Generated, after: State::Archived }]);
    assert_eq!((found.unlinked, found.linked), (vec![link(a, LinkKind::About, b)], vec![link(b, LinkKind::About, c)]));
    let back = space.compare(&ada(), &before).unwrap();
    assert_eq!((back.removed, back.added), (vec![d], vec![]));
    assert!(before.compare(&bo(), space).unwrap().is_empty(), "who may read nothing sees no change");
}

#[test]
fn a_cube_says_again_what_it_said() {
    let house = House::new();
    let space = &house.space;
    let draft = CubeDraft { title: "Boat".into(), tags: vec!["topic:boat".into()], ..fact("the boat is red") };
    let boat = house.store_in(space, draft);
    house.update(space, boat, UpdateMode::Describe { title: Some("Ship".into()), tags: Some(vec![]) });
    house.say(space, boat, "the ship sank");
    house.publish(boat, Layer::Global);
    assert_eq!(
        kind(space.restore(&bo(), &boat, 1)),
        Some(ErrorKind::NotFound),
        "a version that the caller may not read"
    );
    assert_eq!(kind(space.restore(&bo(), &boat, 4)), Some(ErrorKind::Denied));
    assert_eq!(kind(space.restore(&ada(), &boat, 9)), Some(ErrorKind::NotFound));
    house.clock.advance(1000);
    assert_eq!(space.restore(&ada(), &boat, 1).unwrap(), VersionRef { cube: boat, version: 5 });
    let header = space.get(&ada(), &boat).unwrap().0.header;
    assert_eq!((header.title.as_str(), header.tags.len(), header.times.created), ("Boat", 1, space.now()));
    assert_eq!(header.governance.layer, Layer::Global, "who may use it stays as it is");
    assert_eq!((text(space, &boat).as_str(), found(space, &bo())), ("the boat is red", texts(["the boat is red"])));
}

#[test]
fn a_whole_space_comes_back() {
    let house = House::new();
    let space = &house.space;
    let [boat, old, new, gone] = ["the boat is red", "the boat lies here", "the boat lies there", "the boat leaks"]
        .map(|text| house.store(text));
    house.commit(space, |batch| {
        batch.link(link(old, LinkKind::MergedInto, new)).link(link(boat, LinkKind::About, new));
    });
    house.commit(space, |batch| {
        batch.set_state(old, State::Merged, "the same");
    });
    let point = house.now();
    house.say(space, boat, "the boat is blue");
    house.commit(space, |batch| {
        batch.set_state(boat, State::Frozen, "").set_state(old, State::Activated, "apart again");
        batch.unlink(link(old, LinkKind::MergedInto, new)).link(link(new, LinkKind::About, boat));
    });
    house.say(space, old, "the old boat lies here");
    let later = house.store("the boat came later");
    space.erase(&ada(), Erasure::Cubes(vec![gone]), "").unwrap();
    house.publish(new, Layer::Global);

    house.clock.advance(1000);
    space.restore_space(&ada(), point, "a mistake").unwrap();
    let check = |space: &Space, place: &str| {
        assert_eq!(
            (text(space, &boat).as_str(), state(space, &boat)),
            ("the boat is red", State::Activated),
            "{place}"
        );
        assert_eq!((text(space, &old).as_str(), state(space, &old)), ("the boat lies here", State::Merged), "{place}");
        assert_eq!(state(space, &later), State::Archived, "{place}: what came later is not dropped");
        assert_eq!(kind(space.get(&ada(), &gone)), Some(ErrorKind::NotFound), "{place}: what was erased stays so");
        assert_eq!(space.get(&bo(), &new).unwrap().0.header.governance.layer, Layer::Global, "{place}: as it is today");
        let difference = space.at(point).unwrap().compare(&ada(), space).unwrap();
        assert_eq!((difference.linked, difference.unlinked), (vec![], vec![]), "{place}");
    };
    check(space, "at once");
    let events = space.ledger_head().events;
    space.restore_space(&ada(), point, "again").unwrap();
    assert_eq!(space.ledger_head().events, events, "what is there already is not written again");
    let House { vault, space, .. } = house;
    drop(space);
    check(&vault.space(&space_name()).unwrap(), "after reopening");
}

#[test]
fn a_space_with_others_memories_does_not_come_back_and_says_nothing_of_them() {
    let house = House::new();
    let hidden = house.store("the boat is secret");
    let point = house.now();
    house.say(&house.space, hidden, "the boat is very secret");
    let events = house.space.ledger_head().events;
    let error = house.space.restore_space(&bo(), point, "").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!error.to_string().contains(&hidden.to_string()), "{error}");
    assert_eq!(house.space.ledger_head().events, events);
}

#[test]
fn a_fork_shares_the_past_and_no_write() {
    let house = House::new();
    let (space, boat) = (&house.space, house.store("the boat is red"));
    let fork = house.fork("what-if", None);
    assert_eq!((text(&fork, &boat).as_str(), found(&fork, &ada())), ("the boat is red", texts(["the boat is red"])));
    house.say(space, boat, "the boat is blue");
    house.say(&fork, boat, "the boat is green");
    let (ours, theirs) = (house.store("the harbour is ours"), house.store_in(&fork, fact("the harbour is theirs")));
    house.commit(&fork, |batch| {
        batch.link(link(theirs, LinkKind::About, boat)).record_use(vec![(boat, UseSignal::Read)]);
    });
    let inner = house.vault.fork(&ada(), fork.name(), None, &called("inner")).unwrap();
    house.say(&inner, boat, "the boat is black");
    let check = |space: &Space, fork: &Space, inner: &Space, place: &str| {
        assert_eq!(found(space, &ada()), texts(["the boat is blue", "the harbour is ours"]), "{place}");
        assert_eq!(found(fork, &ada()), texts(["the boat is green", "the harbour is theirs"]), "{place}");
        assert_eq!(found(inner, &ada()), texts(["the boat is black", "the harbour is theirs"]), "{place}");
        assert_eq!((state(space, &boat), state(fork, &boat)), (State::Generated, State::Activated), "{place}");
        assert_eq!(kind(space.get(&ada(), &theirs)), Some(ErrorKind::NotFound), "{place}");
        assert_eq!(kind(fork.get(&ada(), &ours)), Some(ErrorKind::NotFound), "{place}");
        assert_eq!(inner.versions(&ada(), &boat).unwrap().len(), 3, "{place}");
        let then = inner.at(Point::Events(2)).unwrap();
        assert_eq!(text(&then, &boat), "the boat is red", "{place}: the shared past");
        assert_eq!((space.stats(&ada()).links, inner.stats(&ada()).links), (0, 1), "{place}");
    };
    check(space, &fork, &inner, "at once");
    fork.save_snapshot().unwrap();
    drop((fork, inner));
    let House { root, vault, space, clock } = house;
    drop(space);
    let inner = vault.space(&called("inner")).unwrap();
    let (fork, space) = (vault.space(&called("what-if")).unwrap(), vault.space(&space_name()).unwrap());
    check(&space, &fork, &inner, "after reopening");
    drop((root, clock));
}

#[test]
fn a_fork_of_the_past_goes_on_from_there() {
    let house = House::new();
    let boat = house.store("the boat is red");
    let point = house.now();
    house.say(&house.space, boat, "the boat is blue");
    let later = house.store("the harbour came later");
    for name in ["at-number", "at-time"] {
        let at = if name == "at-number" { point } else { Point::Time(Timestamp::from_millis(START + 1000)) };
        let fork = house.fork(name, Some(at));
        assert_eq!((text(&fork, &boat).as_str(), fork.stats(&ada()).cubes), ("the boat is red", 1), "{name}");
        house.say(&fork, boat, "the boat is green");
        drop(fork);
        let fork = house.vault.space(&called(name)).unwrap();
        assert_eq!(found(&fork, &ada()), texts(["the boat is green"]), "{name}");
        assert_eq!(kind(fork.get(&ada(), &later)), Some(ErrorKind::NotFound), "{name}");
        assert_eq!(fork.versions(&ada(), &boat).unwrap().len(), 2, "{name}");
    }
}

#[test]
fn a_fork_of_the_past_shows_nobody_what_is_hidden_today() {
    let house = House::new();
    let closed = house.store_in(&house.space, CubeDraft { layer: Layer::Global, ..fact("the boat was public") });
    let point = house.now();
    house.publish(closed, Layer::Private);
    house.clock.advance(1000);
    let trick = house.vault.fork(&bo(), &space_name(), Some(point), &called("trick"));
    assert_eq!(kind(trick), Some(ErrorKind::Denied), "who may read it was changed since");
    assert_eq!(kind(house.vault.existing_space(&called("trick"))), Some(ErrorKind::NotFound));
    let fork = house.vault.fork(&bo(), &space_name(), None, &called("try")).unwrap();
    assert_eq!(kind(fork.get(&bo(), &closed)), Some(ErrorKind::NotFound), "a fork of today has the rights of today");
}

#[test]
fn forks_that_cannot_be_are_told() {
    let house = House::new();
    house.store("the boat is red");
    drop(house.fork("fork", None));
    let fork = |from: &str, to: &str| kind(house.vault.fork(&ada(), &called(from), None, &called(to)));
    assert_eq!(fork("test", "fork"), Some(ErrorKind::Conflict), "there is one already");
    assert_eq!(fork("test", "test"), Some(ErrorKind::Conflict));
    assert_eq!(fork("nowhere", "new"), Some(ErrorKind::NotFound));
    assert_eq!(kind(house.vault.merge_back(&ada(), &space_name(), OnConflict::Refuse)), Some(ErrorKind::Invalid));
    assert_eq!(kind(house.vault.merge_back(&ada(), &called("nowhere"), OnConflict::Refuse)), Some(ErrorKind::NotFound));
    let House { root, vault, space, .. } = house;
    drop(space);
    let (origin, aside) = (root.path().join(space_name().as_str()), root.path().join("acme/aside"));
    fs::rename(&origin, &aside).unwrap();
    let error = vault.space(&called("fork")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("`acme/test`"), "it names what is missing: {error}");
    fs::rename(&aside, &origin).unwrap();
    assert_eq!(vault.space(&called("fork")).unwrap().stats(&ada()).cubes, 1);
}

#[test]
fn a_fork_comes_home() {
    let house = House::new();
    let space = &house.space;
    let [boat, old, held] = ["the boat is red", "the boat was old", "the boat is held"].map(|text| house.store(text));
    let gone_link = link(boat, LinkKind::About, old);
    house.commit(space, |batch| {
        batch.link(gone_link);
    });
    let fork = house.fork("what-if", None);
    house.say(&fork, boat, "the boat is blue");
    house.say(&fork, boat, "the boat is green");
    let new = house.store_in(&fork, CubeDraft { title: "New".into(), ..fact("the harbour is new") });
    house.say(&fork, new, "the harbour is newer");
    let derived = VersionRef { cube: new, version: 2 };
    let made = house.store_in(&fork, CubeDraft { derived_from: vec![derived], ..fact("the harbour was seen") });
    house.commit(&fork, |batch| {
        batch.link(link(old, LinkKind::MergedInto, boat)).set_state(old, State::Merged, "the same");
        batch.link(link(new, LinkKind::About, boat)).unlink(gone_link);
    });
    house.publish(held, Layer::Global);
    house.clock.advance(1000);
    let merged = house.merge(&fork, OnConflict::Refuse).unwrap();
    assert_eq!((merged.added, merged.updated, merged.moved), (vec![new, made], vec![boat], vec![old]));
    assert_eq!((merged.links, merged.conflicts), (3, vec![]));
    assert_eq!((text(space, &boat).as_str(), space.get(&ada(), &boat).unwrap().1.version), ("the boat is green", 2));
    let header = space.get(&ada(), &new).unwrap().0.header;
    assert_eq!((text(space, &new).as_str(), header.title.as_str()), ("the harbour is newer", "New"));
    assert_eq!(header.origin.source.unwrap().space.as_deref(), Some("acme/what-if"));
    assert_eq!((state(space, &old), space.stats(&ada()).links), (State::Merged, 2));
    assert_eq!(text(space, &made), "the harbour was seen");
    let events = space.ledger_head().events;
    assert_eq!(house.merge(&fork, OnConflict::Refuse).unwrap(), Merged::default(), "once is enough");
    assert_eq!(space.ledger_head().events, events);
}

#[test]
fn what_the_origin_changed_meanwhile_stays() {
    let house = House::new();
    let space = &house.space;
    let [boat, old, erased] = ["the boat is red", "the boat was old", "the boat sank"].map(|text| house.store(text));
    let removed = link(boat, LinkKind::About, old);
    house.commit(space, |batch| {
        batch.link(removed);
    });
    let fork = house.fork("what-if", None);
    house.commit(space, |batch| {
        batch.unlink(removed).set_state(old, State::Archived, "");
    });
    house.say(space, boat, "the boat is blue");
    let ours = house.store("the harbour is ours");
    space.erase(&ada(), Erasure::Cubes(vec![erased]), "").unwrap();
    house.store_in(&fork, fact("the harbour is theirs"));
    let merged = house.merge(&fork, OnConflict::Refuse).unwrap();
    assert_eq!((merged.added.len(), merged.updated, merged.moved, merged.links), (1, vec![], vec![], 0));
    assert_eq!(space.stats(&ada()).links, 0, "a link that the origin took away does not come back");
    assert_eq!((text(space, &boat).as_str(), state(space, &old)), ("the boat is blue", State::Archived));
    assert_eq!(text(space, &ours), "the harbour is ours");
    assert_eq!(kind(space.get(&ada(), &erased)), Some(ErrorKind::NotFound));
}

#[test]
fn of_two_changes_of_one_cube_the_rule_decides() {
    for (rule, expect) in [
        (OnConflict::Refuse, None),
        (OnConflict::KeepOrigin, Some("the boat is blue")),
        (OnConflict::TakeFork, Some("the boat is green")),
    ] {
        let house = House::new();
        let space = &house.space;
        let [boat, same] = ["the boat is red", "the house is old"].map(|text| house.store(text));
        let fork = house.fork("what-if", None);
        house.say(space, boat, "the boat is blue");
        house.say(&fork, boat, "the boat is green");
        house.say(space, same, "the house is new");
        house.say(&fork, same, "the house is new");
        let new = house.store_in(&fork, fact("the harbour is new"));
        let events = space.ledger_head().events;
        let merged = house.merge(&fork, rule);
        let Some(expect) = expect else {
            let error = merged.unwrap_err();
            assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains(&boat.to_string()), "{error}");
            assert_eq!(space.ledger_head().events, events, "nothing was merged");
            continue;
        };
        let merged = merged.unwrap();
        assert_eq!((merged.conflicts, merged.added), (vec![boat], vec![new]), "{rule:?}: who says the same is at one");
        assert_eq!(text(space, &boat), expect, "{rule:?}");
        assert_eq!(
            (text(space, &same).as_str(), text(space, &new).as_str()),
            ("the house is new", "the harbour is new")
        );
        assert_eq!(text(&fork, &boat), "the boat is green", "{rule:?}: the fork stays as it is");
    }
}
