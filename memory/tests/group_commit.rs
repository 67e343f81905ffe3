//! Many callers, one writer: what waits is bounded, batches keep their order, and a refused batch harms no other.
//!
//! A policy that lets one decision wait holds the writer, so that a group comes together behind it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/seeded.rs"]
mod seeded;
#[path = "support/space.rs"]
mod space;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread::Scope;

use memos_memory::ErrorKind;
use memos_memory::Result;
use memos_memory::cube::{CubeId, Payload, State, Update, UpdateMode, UseSignal};
use memos_memory::governance::{AccessClass, Decision, LayerPolicy, Operation, Policy, Principal};
use memos_memory::limits::Limits;
use memos_memory::time::Timestamp;
use memos_memory::vault::{Batch, Committed, Space, VaultOptions};
use space::{Random, fact, open, options, principal};

/// Decides as the layers do; a write by `user:gate` waits for a word once it is closed.
struct Gate {
    closed: AtomicBool,
    reached: Barrier,
    word: Barrier,
}

impl Policy for Gate {
    fn decide(&self, who: &Principal, operation: Operation, class: &AccessClass, at: Timestamp) -> Decision {
        if operation == Operation::Write && who.id.as_str() == "user:gate" && self.closed.swap(false, Ordering::SeqCst)
        {
            self.reached.wait();
            self.word.wait();
        }
        LayerPolicy.decide(who, operation, class, at)
    }
}

/// A space whose writer can be held.
struct Held {
    _folder: tempfile::TempDir,
    space: Space,
    gate: Arc<Gate>,
    /// The cube whose state the gate changes.
    cube: CubeId,
}

impl Held {
    fn new(limits: Limits) -> Self {
        let folder = space::quick_folder();
        let gate = Arc::new(Gate { closed: AtomicBool::new(false), reached: Barrier::new(2), word: Barrier::new(2) });
        let options = VaultOptions { policy: gate.clone(), ..options(limits) };
        let space = open(folder.path(), &options).unwrap();
        let cube = space.remember(&principal("gate"), fact("the gate")).unwrap();
        Self { _folder: folder, space, gate, cube }
    }

    /// Lets a batch hold the writer, and returns when it does.
    fn close<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        self.gate.closed.store(true, Ordering::SeqCst);
        scope.spawn(|| {
            let mut batch = Batch::default();
            batch.set_state(self.cube, State::Archived, "held");
            self.space.commit(&principal("gate"), batch).unwrap();
        });
        self.gate.reached.wait();
    }

    fn open(&self) {
        self.gate.word.wait();
    }
}

fn uses(cube: CubeId, changes: usize) -> Batch {
    let mut batch = Batch::default();
    for _ in 0..changes {
        batch.record_use(vec![(cube, UseSignal::Read)]);
    }
    batch
}

fn kind<T>(result: &Result<T>) -> Option<ErrorKind> {
    result.as_ref().err().map(memos_memory::Error::kind)
}

#[test]
fn a_batch_that_is_too_large_is_refused() {
    let held = Held::new(Limits { batch_changes: 10, ..Limits::default() });
    let (space, gate) = (&held.space, principal("gate"));
    let before = space.stats(&gate).ledger;
    let error = space.commit(&gate, uses(held.cube, 11)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("11") && error.to_string().contains("10"), "{error}");
    assert_eq!(space.stats(&gate).ledger, before);
    assert_eq!(space.commit(&gate, uses(held.cube, 10)).unwrap().events, 10);
    let empty = space.commit(&gate, Batch::default()).unwrap();
    assert_eq!((empty.events, empty.stored.len()), (0, 0));
}

#[test]
fn more_than_may_wait_is_refused_as_busy_and_room_comes_back() {
    let held = Held::new(Limits { waiting_changes: 8, ..Limits::default() });
    let gate = principal("gate");
    std::thread::scope(|scope| {
        held.close(scope);
        // One batch holds the writer. Of twenty changes behind it eight may wait, and the others are told at once.
        let (done, told) = channel();
        for _ in 0..10 {
            let (done, gate, held) = (done.clone(), &gate, &held);
            scope.spawn(move || done.send(held.space.commit(gate, uses(held.cube, 2))).unwrap());
        }
        for _ in 0..6 {
            let error = told.recv().unwrap().unwrap_err();
            assert!(error.kind() == ErrorKind::Busy && error.kind().is_retryable(), "{error}");
        }
        assert_eq!(held.space.usage(&gate, &held.cube).unwrap().reads, 0, "nothing is seen before it is durable");
        held.open();
        for _ in 0..4 {
            assert_eq!(told.recv().unwrap().unwrap().events, 2);
        }
        assert_eq!(held.space.commit(&gate, uses(held.cube, 8)).unwrap().events, 8);
    });
    assert_eq!(held.space.usage(&gate, &held.cube).unwrap().reads, 16);
}

#[test]
fn a_refused_batch_in_a_group_harms_no_other() {
    let held = Held::new(Limits { commit_changes: 64, ..Limits::default() });
    let (space, ada) = (&held.space, principal("ada"));
    let shared = space.remember(&ada, fact("the count is 0")).unwrap();
    let parent = space.get(&ada, &shared).unwrap().1.digest;
    let results: Vec<(usize, Result<Committed>)> = std::thread::scope(|scope| {
        held.close(scope);
        let threads: Vec<_> = (0..40)
            .map(|n| {
                let (space, ada) = (space.clone(), &ada);
                let mut batch = Batch::default();
                let id = space.new_id();
                batch.store(id, fact(format!("note {n}")));
                match n % 4 {
                    // Names a cube that is not there, after having stored one.
                    1 => batch.set_state(CubeId::from_bytes([9; 16]), State::Archived, ""),
                    // All of these were made from the same version: one wins.
                    2 => batch.update(overwrite(shared, parent, n)),
                    // Stores under an id that is there already.
                    3 => batch.store(shared, fact("again")),
                    _ => &mut batch,
                };
                scope.spawn(move || (n, space.commit(ada, batch)))
            })
            .collect();
        held.open();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let won = results.iter().filter(|(n, result)| n % 4 == 2 && result.is_ok()).count();
    assert_eq!(won, 1);
    for (n, result) in &results {
        let expect = match n % 4 {
            0 => None,
            1 => Some(ErrorKind::NotFound),
            2 if result.is_ok() => None,
            _ => Some(ErrorKind::Conflict),
        };
        assert_eq!(kind(result), expect, "batch {n}");
    }
    let stats = space.stats(&ada);
    assert_eq!(stats.cubes, 1 + 10 + 1, "what was refused left nothing");
    // The gate's cube, its state, the shared cube, ten notes, and the winner's two changes, after the beginning.
    assert_eq!(stats.ledger.events, 1 + 1 + 1 + 1 + 10 + 2);
    let mut places: Vec<(u64, u64)> =
        results.iter().filter_map(|(_, r)| r.as_ref().ok()).map(|c| (c.first_event, c.events)).collect();
    places.sort_unstable();
    assert!(
        places.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0),
        "batches lie one behind the other: {places:?}"
    );
}

fn overwrite(cube: CubeId, parent: memos_memory::cube::Digest, n: usize) -> Update {
    Update { cube, parent, mode: UpdateMode::Overwrite(Payload::text(format!("the count is {n}"))) }
}

#[test]
fn batches_keep_their_order_for_each_caller_and_cube() {
    let seed = 31;
    println!("seed {seed}");
    // Groups are cut small, so that batches of one caller end up in different ones.
    let held = Held::new(Limits { commit_changes: 7, ..Limits::default() });
    let space = &held.space;
    std::thread::scope(|scope| {
        for writer in 0..8_u64 {
            let space = space.clone();
            scope.spawn(move || {
                let who = principal(&format!("writer{writer}"));
                let mut random = Random::new(seed + writer);
                let id = space.remember(&who, fact("step 0")).unwrap();
                let mut last = 0;
                for step in 1..=12 {
                    let parent = space.get(&who, &id).unwrap().1.digest;
                    let mut batch = uses(id, random.below(4));
                    batch.update(Update { cube: id, parent, mode: UpdateMode::Append(format!("step {step}")) });
                    let committed = space.commit(&who, batch).unwrap();
                    assert!(committed.first_event > last, "later batches lie later");
                    last = committed.first_event;
                    // What was acknowledged is read by whoever wrote it.
                    assert_eq!(space.get(&who, &id).unwrap().0.header.version, step + 1);
                }
                let text: Vec<String> = (0..=12).map(|step| format!("step {step}")).collect();
                assert_eq!(space.get(&who, &id).unwrap().0.payload.as_text(), Some(text.join("\n").as_str()));
                let versions: Vec<u32> =
                    space.versions(&who, &id).unwrap().iter().map(|cube| cube.header.version).collect();
                assert_eq!(versions, (1..=13).collect::<Vec<_>>());
            });
        }
    });
}

#[test]
fn a_policy_that_panics_does_not_hold_the_others() {
    struct Panics(AtomicBool);
    impl Policy for Panics {
        fn decide(&self, who: &Principal, operation: Operation, class: &AccessClass, at: Timestamp) -> Decision {
            assert!(!(operation == Operation::Write && self.0.swap(false, Ordering::SeqCst)), "the policy is broken");
            LayerPolicy.decide(who, operation, class, at)
        }
    }
    let (folder, policy) = (space::quick_folder(), Arc::new(Panics(AtomicBool::new(false))));
    let options = VaultOptions { policy: policy.clone(), ..options(Limits::default()) };
    let (space, ada) = (open(folder.path(), &options).unwrap(), principal("ada"));
    let id = space.remember(&ada, fact("the count is 0")).unwrap();
    policy.0.store(true, Ordering::SeqCst);
    let archive = || {
        let mut batch = Batch::default();
        batch.set_state(id, State::Archived, "");
        batch
    };
    assert_eq!(kind(&space.commit(&ada, archive())), Some(ErrorKind::Unavailable));
    assert_eq!(space.get(&ada, &id).unwrap().1.state, State::Generated);
    assert_eq!(space.commit(&ada, archive()).unwrap().events, 1, "others go on");
    drop(space);
    assert_eq!(open(folder.path(), &options).unwrap().get(&ada, &id).unwrap().1.state, State::Archived);
}
