//! A disk that fails at every operation in turn, in every way: the program is told, never panics, and never says that
//! something is kept which is not. When the disk is well again, and also when the power goes first, a space opens, has all
//! that was acknowledged, and the rest whole or not at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/faulty_disk.rs"]
mod faulty_disk;
#[path = "support/space.rs"]
mod space;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use faulty_disk::{Fault, FaultyDisk, Plan};
use memos_memory::cube::{CubeId, Payload, State, Update, UpdateMode, UseSignal, VersionRef};
use memos_memory::disk::Disk;
use memos_memory::graph::{Link, LinkKind};
use memos_memory::limits::Limits;
use memos_memory::vault::{Batch, Space};
use memos_memory::{ErrorKind, Result};
use space::{fact, open, options, principal};

const ROOT: &str = "/vault";

/// Power cuts that are looked at after each fault.
const CUTS: u64 = 2;

/// Small, so that some bodies go into files, and so that the store reads its pages again.
fn limits() -> Limits {
    Limits { inline_body_bytes: 300, open_wait_millis: 0, cache_bytes: 16 * 1024, ..Limits::default() }
}

fn id(number: u8) -> CubeId {
    CubeId::from_bytes([number; 16])
}

fn large(letter: &str) -> String {
    format!("{letter} large body {}", "goes into a file ".repeat(60))
}

fn overwrite(space: &Space, number: u8, text: &str) -> Result<()> {
    let parent = space.get(&principal("ada"), &id(number))?.1.digest;
    let mode = UpdateMode::Overwrite(Payload::text(text));
    space.update(&principal("ada"), Update { cube: id(number), parent, mode }).map(drop)
}

fn commit(space: &Space, fill: impl FnOnce(&mut Batch)) -> Result<()> {
    let mut batch = Batch::default();
    fill(&mut batch);
    space.commit(&principal("ada"), batch).map(drop)
}

fn follows(from: u8, to: u8) -> Link {
    Link { from: id(from), kind: LinkKind::Follows, to: id(to) }
}

/// Something that is done in one step, and what is there afterwards: all of it or nothing.
struct Step {
    name: &'static str,
    work: fn(&Space) -> Result<()>,
    /// The versions that it stores: a cube, and what this version says.
    stores: &'static [(u8, &'static str)],
    links: usize,
    /// The cube that it uses.
    uses: Option<u8>,
    state: Option<(u8, State)>,
}

const NOTHING: Step = Step { name: "", work: |_| Ok(()), stores: &[], links: 0, uses: None, state: None };

/// A text that stands for [`large`] in the table.
const LARGE: &str = "LARGE";

/// Everything that a space can be told to do. Between the steps it is closed and opened again.
const STEPS: &[Step] = &[
    Step {
        name: "remember",
        work: |space| commit(space, |batch| _ = batch.store(id(1), fact("the harbour is red"))),
        stores: &[(1, "the harbour is red")],
        ..NOTHING
    },
    Step {
        name: "update",
        work: |space| overwrite(space, 1, "the harbour is blue"),
        stores: &[(1, "the harbour is blue")],
        ..NOTHING
    },
    Step {
        name: "batch with large bodies",
        work: |space| {
            commit(space, |batch| {
                batch.store(id(2), fact(large("2"))).store(id(3), fact("small")).store(id(4), fact(large("4")));
                batch.link(follows(3, 2)).link(follows(4, 3)).record_use(vec![(id(3), UseSignal::Read)]);
            })
        },
        stores: &[(2, LARGE), (3, "small"), (4, LARGE)],
        links: 2,
        uses: Some(3),
        ..NOTHING
    },
    Step { name: "snapshot", work: Space::save_snapshot, ..NOTHING },
    Step { name: "link", work: |space| commit(space, |batch| _ = batch.link(follows(2, 1))), links: 1, ..NOTHING },
    Step {
        name: "merge",
        work: |space| {
            let (cube, head) = space.get(&principal("ada"), &id(3))?;
            let (_, other) = space.get(&principal("ada"), &id(1))?;
            let sources = vec![VersionRef { cube: id(1), version: other.version }];
            let mode = UpdateMode::Merge { payload: Payload::text("small and blue"), sources };
            space.update(&principal("ada"), Update { cube: cube.header.id, parent: head.digest, mode }).map(drop)
        },
        stores: &[(3, "small and blue")],
        ..NOTHING
    },
    Step {
        name: "archive",
        work: |space| commit(space, |batch| _ = batch.set_state(id(4), State::Archived, "not needed")),
        state: Some((4, State::Archived)),
        ..NOTHING
    },
    Step { name: "second snapshot", work: Space::save_snapshot, ..NOTHING },
    Step {
        name: "the same large body again",
        work: |space| commit(space, |batch| _ = batch.store(id(5), fact(large("2")))),
        stores: &[(5, LARGE)],
        ..NOTHING
    },
];

/// Says whether all that a step does is there, or nothing of it. Panics when it is half there or not what was written.
fn is_there(space: &Space, step: &Step, context: &str) -> bool {
    let ada = principal("ada");
    let stored = |(number, text): &(u8, &str)| match space.versions(&ada, &id(*number)) {
        Ok(versions) => versions.iter().any(|cube| {
            let found = cube.payload.as_text().unwrap();
            if *text == LARGE { found.ends_with("goes into a file ") } else { found == *text }
        }),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{context}: {}: {error}", step.name);
            false
        }
    };
    let mut parts: Vec<bool> = step.stores.iter().map(stored).collect();
    parts.extend(step.uses.map(|number| space.usage(&ada, &id(number)).is_ok_and(|usage| usage.reads > 0)));
    parts.extend(
        step.state.map(|(number, state)| space.get(&ada, &id(number)).is_ok_and(|(_, head)| head.state == state)),
    );
    let whole = parts.iter().all(|part| *part);
    assert!(whole || !parts.contains(&true), "{context}: `{}` is half there: {parts:?}", step.name);
    whole
}

fn open_on(disk: Arc<dyn Disk>) -> Result<Space> {
    let options = memos_memory::vault::VaultOptions { disk, ..options(limits()) };
    open(Path::new(ROOT), &options)
}

/// Does all steps; a step that fails is not tried again, and the space is opened again then. Returns which were acknowledged.
fn run(disk: &FaultyDisk, context: &str) -> Vec<bool> {
    let mut told = false;
    let mut fails = |error: memos_memory::Error, name: &str| {
        // What follows from the first failure may be that something is not there.
        let fits = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Corrupt) || told;
        assert!(fits && disk.struck() > 0, "{context}: {name}: {:?} {error}", error.kind());
        told = true;
    };
    let mut acknowledged = Vec::new();
    let mut space = None;
    for (number, step) in STEPS.iter().enumerate() {
        if number.is_multiple_of(3) {
            space = None;
        }
        if space.is_none() {
            space = open_on(Arc::new(disk.clone())).map_err(|error| fails(error, "open")).ok();
        }
        let done = space.as_ref().map(|space| (step.work)(space));
        acknowledged.push(matches!(done, Some(Ok(()))));
        if let Some(Err(error)) = done {
            fails(error, step.name);
            space = None;
        }
    }
    acknowledged
}

/// Opens the space and holds it against what was acknowledged, and then goes on with it.
fn check(disk: Arc<dyn Disk>, acknowledged: &[bool], context: &str) {
    let space = open_on(disk.clone()).unwrap_or_else(|error| panic!("{context}: opening: {error}"));
    let mut links = 0..=0;
    for (step, acknowledged) in STEPS.iter().zip(acknowledged) {
        let there = is_there(&space, step, context);
        assert!(there || !acknowledged, "{context}: `{}` was acknowledged and is gone", step.name);
        let certain = *acknowledged || (there && !step.stores.is_empty());
        let possible = there || step.stores.is_empty();
        links =
            links.start() + if certain { step.links } else { 0 }..=links.end() + if possible { step.links } else { 0 };
    }
    let ada = principal("ada");
    let found = space.stats(&ada).links;
    assert!(links.contains(&found), "{context}: {found} links, not {links:?}");
    space.remember(&ada, fact("it goes on")).unwrap_or_else(|error| panic!("{context}: going on: {error}"));
    space.save_snapshot().unwrap();
    let events = space.stats(&ada).ledger.events;
    drop(space);

    assert_eq!(open_on(disk.clone()).unwrap().stats(&ada).ledger.events, events);
    let verified = open_on(disk.clone()).unwrap().verify(|_, _| {});
    assert_eq!(verified.unwrap_or_else(|error| panic!("{context}: {error}")).events, events);
}

#[test]
fn the_steps_do_what_they_say() {
    let disk = FaultyDisk::new(None);
    assert!(run(&disk, "no fault").iter().all(|acknowledged| *acknowledged));
    for seed in 0..20 {
        check(Arc::new(disk.power_cut(seed)), &[true; STEPS.len()], &format!("power cut {seed}"));
    }
    check(Arc::new(disk), &[true; STEPS.len()], "no fault");
}

/// Runs the steps with a fault at every operation in turn, and returns how many there were. A fault that lasts ends the
/// program's work as a power cut does, so not every place is looked at unless `MEMOS_FAULTS` is `all`.
fn every_place(fault: Fault, lasting: bool, look: impl Fn(&FaultyDisk, &[bool], &str)) -> usize {
    let all = std::env::var("MEMOS_FAULTS").is_ok_and(|which| which == "all");
    for at in (0..).step_by(if lasting && !all { 5 } else { 1 }) {
        let disk = FaultyDisk::new(Some(Plan { fault, at, lasting }));
        let context = format!("{fault:?} at {at}{}", if lasting { " and behind" } else { "" });
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let acknowledged = run(&disk, &context);
            if disk.heal() == 0 {
                return false;
            }
            look(&disk, &acknowledged, &context);
            true
        }));
        match outcome {
            Ok(true) => {}
            Ok(false) => return at,
            Err(_) => panic!("{context}: see above"),
        }
    }
    unreachable!()
}

fn fails_at_every_place(fault: Fault) {
    for lasting in [false, true] {
        let places = every_place(fault, lasting, |disk, acknowledged, context| {
            for seed in 0..CUTS {
                check(Arc::new(disk.power_cut(seed)), acknowledged, &format!("{context}, power cut {seed}"));
            }
            check(Arc::new(disk.clone()), acknowledged, context);
        });
        println!("{fault:?}: {places} places");
        assert!(places > 20);
    }
}

#[test]
fn a_disk_that_breaks() {
    fails_at_every_place(Fault::Broken);
}

#[test]
fn a_disk_that_is_full() {
    fails_at_every_place(Fault::Full);
}

#[test]
fn writes_that_end_early() {
    fails_at_every_place(Fault::Short);
}

#[test]
fn writes_that_are_torn() {
    fails_at_every_place(Fault::Torn);
}

/// Nothing that a program does can keep what a disk throws away. It can say so, and must not serve what was not written.
#[test]
fn a_disk_that_lies() {
    for lasting in [false, true] {
        every_place(Fault::LostSync, lasting, |disk, acknowledged, context| {
            assert!(acknowledged.iter().all(|acknowledged| *acknowledged), "{context}");
            for seed in 0..CUTS {
                let cut: Arc<dyn Disk> = Arc::new(disk.power_cut(seed));
                lies(cut, &format!("{context}, power cut {seed}"));
            }
            check(Arc::new(disk.clone()), acknowledged, context);
        });
    }
}

/// The space says that it is damaged, or has some first steps whole and names what is missing of the others.
fn lies(disk: Arc<dyn Disk>, context: &str) {
    let space = match open_on(disk) {
        Ok(space) => space,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{context}: {error}");
            return;
        }
    };
    let ada = principal("ada");
    let mut ended = false;
    for step in STEPS.iter().filter(|step| !step.stores.is_empty()) {
        let damaged = step.stores.iter().any(|(number, _)| {
            space.versions(&ada, &id(*number)).is_err_and(|error| error.kind() == ErrorKind::Corrupt)
        });
        if damaged {
            continue;
        }
        let there = is_there(&space, step, context);
        assert!(!(there && ended), "{context}: `{}` is there and a step before it is not", step.name);
        ended |= !there;
    }
}
