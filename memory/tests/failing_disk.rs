//! A disk that fails at every operation in turn, in every way: the program is told, never panics, and never says that
//! something is kept which is not. When the disk is well again, and also when the power goes first, a space opens, has all
//! that was acknowledged, and the rest whole or not at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/faulty_disk.rs"]
mod faulty_disk;
#[path = "support/seeded.rs"]
mod seeded;
#[path = "support/space.rs"]
mod space;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use faulty_disk::{Fault, FaultyDisk, Plan};
use memos_memory::cube::{
    CubeDraft, CubeId, Layer, Payload, SpaceName, State, Update, UpdateMode, UseSignal, VersionRef,
};
use memos_memory::disk::Disk;
use memos_memory::exchange::bundle::{BundleLimits, read_bundle};
use memos_memory::exchange::import::ImportOptions;
use memos_memory::exchange::transfer::{ExportOptions, Selection, export, import};
use memos_memory::graph::{Link, LinkKind};
use memos_memory::keys::MasterKey;
use memos_memory::ledger::SignedHead;
use memos_memory::limits::Limits;
use memos_memory::vault::{Batch, Erasure, OnConflict, ProofOptions, Space, Vault, VaultOptions};
use memos_memory::{ErrorKind, Result};
use space::{fact, options, principal, space_name};

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

/// A vault with the space that most is done in.
struct Home {
    vault: Vault,
    space: Space,
}

impl Home {
    /// Opens all spaces. Held, they need not be opened again for each look.
    fn all(&self) -> Result<Vec<Space>> {
        self.vault.spaces()?.iter().map(|name| self.vault.existing_space(name)).collect()
    }

    /// Returns a space beside it, if that is there.
    fn beside(&self, name: &str) -> Option<Space> {
        let name = named(name);
        let there = self.vault.spaces().unwrap().contains(&name);
        there.then(|| self.vault.existing_space(&name).unwrap_or_else(|error| panic!("{name}: {error}")))
    }
}

fn named(name: &str) -> SpaceName {
    name.parse().unwrap()
}

/// The fork, the space that a bundle is taken into, and one that is erased.
const FORK: &str = "acme/fork";
const COPY: &str = "acme/copy";
const SHORT: &str = "acme/short";

/// The key that the vault's own is changed to.
fn next_key() -> MasterKey {
    MasterKey::from_bytes([7; 32])
}

/// Something that is done in one step, and what is there afterwards: all of it or nothing.
struct Step {
    name: &'static str,
    work: fn(&mut Home) -> Result<()>,
    /// The versions that it stores: a cube, and what this version says.
    stores: &'static [(u8, &'static str)],
    /// The cubes that it erases.
    erases: &'static [u8],
    /// What else is there afterwards.
    also: fn(&Home) -> Vec<bool>,
    links: usize,
}

const NOTHING: Step = Step { name: "", work: |_| Ok(()), stores: &[], erases: &[], also: |_| Vec::new(), links: 0 };

/// A text that stands for [`large`] in the table.
const LARGE: &str = "LARGE";

/// Everything that a vault can be told to do. Between the steps it is closed and opened again.
const STEPS: &[Step] = &[
    Step {
        name: "remember",
        work: |home| commit(&home.space, |batch| _ = batch.store(id(1), fact("the harbour is red"))),
        stores: &[(1, "the harbour is red")],
        ..NOTHING
    },
    Step {
        name: "update",
        work: |home| overwrite(&home.space, 1, "the harbour is blue"),
        stores: &[(1, "the harbour is blue")],
        ..NOTHING
    },
    Step {
        name: "batch with large bodies",
        work: |home| {
            commit(&home.space, |batch| {
                batch.store(id(2), fact(large("2"))).store(id(3), fact("small")).store(id(4), fact(large("4")));
                batch.link(follows(3, 2)).link(follows(4, 3)).record_use(vec![(id(3), UseSignal::Read)]);
            })
        },
        stores: &[(2, LARGE), (3, "small"), (4, LARGE)],
        also: |home| vec![home.space.usage(&principal("ada"), &id(3)).is_ok_and(|usage| usage.reads > 0)],
        links: 2,
        ..NOTHING
    },
    Step { name: "snapshot", work: |home| home.space.save_snapshot(), ..NOTHING },
    Step { name: "link", work: |home| commit(&home.space, |batch| _ = batch.link(follows(3, 1))), links: 1, ..NOTHING },
    Step {
        name: "merge",
        work: |home| {
            let (cube, head) = home.space.get(&principal("ada"), &id(3))?;
            let (_, other) = home.space.get(&principal("ada"), &id(1))?;
            let sources = vec![VersionRef { cube: id(1), version: other.version }];
            let mode = UpdateMode::Merge { payload: Payload::text("small and blue"), sources };
            home.space.update(&principal("ada"), Update { cube: cube.header.id, parent: head.digest, mode }).map(drop)
        },
        stores: &[(3, "small and blue")],
        ..NOTHING
    },
    Step {
        name: "archive",
        work: |home| commit(&home.space, |batch| _ = batch.set_state(id(4), State::Archived, "not needed")),
        also: |home| {
            let found = home.space.get(&principal("ada"), &id(4));
            vec![found.is_ok_and(|(_, head)| head.state == State::Archived)]
        },
        ..NOTHING
    },
    Step {
        name: "the same large body again",
        work: |home| commit(&home.space, |batch| _ = batch.store(id(5), fact(large("2")))),
        stores: &[(5, LARGE)],
        ..NOTHING
    },
    Step {
        name: "two people",
        work: |home| {
            commit(&home.space, |batch| {
                for number in [6, 7, 8] {
                    let subject = Some(if number == 8 { "cy" } else { "bo" }.to_owned());
                    batch.store(id(number), CubeDraft { subject, ..fact("lives by the harbour") });
                }
            })
        },
        stores: &[(6, "lives by the harbour"), (7, "lives by the harbour"), (8, "lives by the harbour")],
        ..NOTHING
    },
    Step { name: "second snapshot", work: |home| home.space.save_snapshot(), ..NOTHING },
    Step {
        name: "erase a cube",
        work: |home| erase(&home.space, Erasure::Cubes(vec![id(5)])),
        erases: &[5],
        ..NOTHING
    },
    Step {
        name: "erase a subject",
        work: |home| erase(&home.space, Erasure::Subject("bo".to_owned())),
        erases: &[6, 7],
        ..NOTHING
    },
    Step {
        name: "restore",
        work: |home| home.space.restore(&principal("ada"), &id(1), 1).map(drop),
        also: |home| {
            let found = home.space.get(&principal("ada"), &id(1));
            vec![
                found
                    .is_ok_and(|(cube, head)| head.version > 1 && cube.payload.as_text() == Some("the harbour is red")),
            ]
        },
        ..NOTHING
    },
    Step {
        name: "fork",
        work: |home| home.vault.fork(&principal("ada"), &space_name(), None, &named(FORK)).map(drop),
        also: |home| {
            let Some(fork) = home.beside(FORK) else { return vec![false] };
            let of_origin = |number| is_known(&fork, number) == is_known(&home.space, number);
            vec![true, of_origin(1), of_origin(2), of_origin(8)]
        },
        ..NOTHING
    },
    Step {
        name: "write in the fork",
        work: |home| commit(&home.vault.existing_space(&named(FORK))?, |batch| _ = batch.store(id(9), fact("what if"))),
        also: |home| vec![home.beside(FORK).is_some_and(|fork| is_known(&fork, 9))],
        ..NOTHING
    },
    Step {
        name: "merge back",
        work: |home| home.vault.merge_back(&principal("ada"), &named(FORK), OnConflict::Refuse).map(drop),
        // Where the fork has nothing there is nothing to merge.
        also: |home| {
            let written = home.beside(FORK).is_some_and(|fork| is_known(&fork, 9));
            written.then(|| is_known(&home.space, 9)).into_iter().collect()
        },
        ..NOTHING
    },
    Step {
        name: "erase under the fork",
        work: |home| erase(&home.space, Erasure::Cubes(vec![id(2)])),
        erases: &[2],
        also: |home| {
            let read = home.beside(FORK).and_then(|fork| fork.get(&principal("ada"), &id(2)).ok());
            vec![is_erased(&home.space, 2) && read.is_none()]
        },
        ..NOTHING
    },
    Step { name: "rotate", work: |home| home.vault.rotate(&next_key()).map(drop), ..NOTHING },
    Step {
        name: "export and import",
        work: |home| {
            let (ada, mut bytes) = (principal("ada"), Vec::new());
            export(&home.space, &ada, &Selection::default(), ExportOptions::default(), &mut bytes)?;
            let bundle = read_bundle(bytes.as_slice(), &BundleLimits::default())?;
            import(&home.vault.space(&named(COPY))?, &ada, bundle, ImportOptions::default()).map(drop)
        },
        also: |home| {
            let copy = home.beside(COPY);
            let exported = [1, 3, 4, 8].into_iter().filter(|number| is_known(&home.space, *number));
            exported.map(|number| copy.as_ref().is_some_and(|copy| is_known(copy, number))).collect()
        },
        ..NOTHING
    },
    Step {
        name: "a short space",
        work: |home| commit(&home.vault.space(&named(SHORT))?, |batch| _ = batch.store(id(1), fact(large("short")))),
        ..NOTHING
    },
    Step {
        name: "erase it",
        work: |home| home.vault.erase_space(&principal("ada"), &named(SHORT)).map(drop),
        also: |home| vec![home.beside(SHORT).is_none()],
        ..NOTHING
    },
];

fn erase(space: &Space, erasure: Erasure) -> Result<()> {
    space.erase(&principal("ada"), erasure, "not wanted").map(drop)
}

/// Returns whether a space has a cube, and it is not erased.
fn is_known(space: &Space, number: u8) -> bool {
    match space.get(&principal("ada"), &id(number)) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => panic!("cube {number} of {}: {error}", space.name()),
    }
}

/// Returns whether a cube was erased. Panics when something of it can still be read.
fn is_erased(space: &Space, number: u8) -> bool {
    let ada = principal("ada");
    if is_known(space, number) || space.usage(&ada, &id(number)).is_err() {
        return false;
    }
    assert!(space.versions(&ada, &id(number)).unwrap().is_empty(), "cube {number} is erased, and has versions");
    true
}

/// Says whether all that a step does is there, or nothing of it. Panics when it is half there or not what was written.
fn is_there(home: &Home, step: &Step, context: &str) -> bool {
    let ada = principal("ada");
    let stored = |(number, text): &(u8, &str)| match home.space.versions(&ada, &id(*number)) {
        Ok(versions) => versions.iter().any(|cube| {
            let found = cube.payload.as_text().unwrap();
            if *text == LARGE { found.ends_with("goes into a file ") } else { found == *text }
        }),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{context}: {}: {error}", step.name);
            false
        }
    };
    // What a later step erased says nothing of this one.
    let left = step.stores.iter().filter(|(number, _)| !is_erased(&home.space, *number));
    let mut parts: Vec<bool> = left.map(stored).collect();
    parts.extend(step.erases.iter().map(|number| is_erased(&home.space, *number)));
    parts.extend((step.also)(home));
    let whole = parts.iter().all(|part| *part);
    assert!(whole || !parts.contains(&true), "{context}: `{}` is half there: {parts:?}", step.name);
    whole
}

/// Opens the vault and its space. A change of the key that was cut off is done again first, as the documentation tells.
fn open_on(disk: Arc<dyn Disk>) -> Result<Home> {
    let options = VaultOptions { disk, ..options(limits()) };
    let mut vault = Vault::open(ROOT, options)?;
    let all_open = |vault: &Vault| -> Result<Space> {
        // A fork keeps its origin open, so that this opens each once.
        let _all = vault.spaces()?.iter().map(|name| vault.existing_space(name)).collect::<Result<Vec<_>>>()?;
        vault.space(&space_name())
    };
    let space = match all_open(&vault) {
        Err(error) if error.kind() == ErrorKind::Denied => {
            vault.rotate(&next_key())?;
            all_open(&vault)?
        }
        opened => opened?,
    };
    Ok(Home { vault, space })
}

/// Does all steps; a step that fails is not tried again, and the vault is opened again then. Returns which were acknowledged,
/// and the word of the space for what it had at the end.
fn run(disk: &FaultyDisk, context: &str) -> (Vec<bool>, Option<SignedHead>) {
    let mut told = false;
    let mut fails = |error: memos_memory::Error, name: &str| {
        // What follows from the first failure may be that something is not there.
        let fits = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Corrupt) || told;
        assert!(fits && disk.struck() > 0, "{context}: {name}: {:?} {error}", error.kind());
        told = true;
    };
    let mut acknowledged = Vec::new();
    let mut home = None;
    for (number, step) in STEPS.iter().enumerate() {
        if number.is_multiple_of(4) {
            home = None;
        }
        if home.is_none() {
            home = open_on(Arc::new(disk.clone())).map_err(|error| fails(error, "open")).ok();
        }
        let done = home.as_mut().map(|home| (step.work)(home));
        acknowledged.push(matches!(done, Some(Ok(()))));
        if let Some(Err(error)) = done {
            fails(error, step.name);
            home = None;
        }
    }
    let head = home.and_then(|home| home.space.signed_head().ok());
    (acknowledged, head)
}

/// Opens the vault and holds it against what was acknowledged, and then goes on with it.
fn check(disk: Arc<dyn Disk>, acknowledged: &[bool], context: &str) {
    let home = open_on(disk.clone()).unwrap_or_else(|error| panic!("{context}: opening: {error}"));
    let all = home.all().unwrap();
    let mut links = 0..=0;
    for (step, acknowledged) in STEPS.iter().zip(acknowledged) {
        let there = is_there(&home, step, context);
        assert!(there || !acknowledged, "{context}: `{}` was acknowledged and is gone", step.name);
        let certain = *acknowledged || (there && !step.stores.is_empty());
        let possible = there || step.stores.is_empty();
        links =
            links.start() + if certain { step.links } else { 0 }..=links.end() + if possible { step.links } else { 0 };
    }
    // A link goes with an end of it.
    let gone = usize::from(is_erased(&home.space, 2) && *links.end() > 0);
    let links = links.start().saturating_sub(gone)..=links.end() - gone;
    let ada = principal("ada");
    let found = home.space.stats(&ada).links;
    assert!(links.contains(&found), "{context}: {found} links, not {links:?}");
    home.space.remember(&ada, fact("it goes on")).unwrap_or_else(|error| panic!("{context}: going on: {error}"));
    home.space.save_snapshot().unwrap();
    let events = home.space.stats(&ada).ledger.events;
    drop((home, all));

    let home = open_on(disk.clone()).unwrap();
    assert_eq!(home.space.stats(&ada).ledger.events, events);
    for space in home.all().unwrap() {
        space.verify(|_, _| {}).unwrap_or_else(|error| panic!("{context}: {}: {error}", space.name()));
    }
}

#[test]
fn the_steps_do_what_they_say() {
    let disk = FaultyDisk::new(None);
    assert!(run(&disk, "no fault").0.iter().all(|acknowledged| *acknowledged));
    for seed in 0..20 {
        check(Arc::new(disk.power_cut(seed)), &[true; STEPS.len()], &format!("power cut {seed}"));
    }
    check(Arc::new(disk), &[true; STEPS.len()], "no fault");
}

/// Places of which one is looked at, which one `MEMOS_SEED` tells, unless `MEMOS_FAULTS` is `all`; of those where a
/// fault lasts, which ends the program's work as a power cut does, fewer still.
const SAMPLED: (usize, usize) = (29, 131);

/// Runs the steps with a fault at every operation in turn, and returns how many there were.
fn every_place(fault: Fault, lasting: bool, look: impl Fn(&FaultyDisk, &[bool], Option<&SignedHead>, &str)) -> usize {
    let all = std::env::var("MEMOS_FAULTS").is_ok_and(|which| which == "all");
    let step = match (all, lasting) {
        (true, _) => 1,
        (false, false) => SAMPLED.0,
        (false, true) => SAMPLED.1,
    };
    let seed: usize = std::env::var("MEMOS_SEED").map_or(0, |seed| seed.parse().expect("a number"));
    for at in (seed % step..).step_by(step) {
        let disk = FaultyDisk::new(Some(Plan { fault, at, lasting }));
        let context = format!("{fault:?} at {at}{}", if lasting { " and behind" } else { "" });
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let (acknowledged, head) = run(&disk, &context);
            if disk.heal() == 0 {
                return false;
            }
            look(&disk, &acknowledged, head.as_ref(), &context);
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
        let places = every_place(fault, lasting, |disk, acknowledged, _, context| {
            for seed in 0..CUTS {
                check(Arc::new(disk.power_cut(seed)), acknowledged, &format!("{context}, power cut {seed}"));
            }
            check(Arc::new(disk.clone()), acknowledged, context);
        });
        println!("{fault:?}{}: {places} places", if lasting { " and behind" } else { "" });
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

/// Steps are checked together with those before them that are not written yet.
#[test]
fn nobody_is_refused_for_what_was_not_written() {
    let disk = FaultyDisk::new(None);
    let home = open_on(Arc::new(disk.clone())).unwrap();
    let (mut stored, mut moved) = (Batch::default(), Batch::default());
    stored.store(id(1), CubeDraft { layer: Layer::Global, ..fact("the harbour is red") });
    moved.set_state(id(1), State::Archived, "Bo may see it, and not change it");
    let both = || vec![(principal("ada"), stored.clone()), (principal("bo"), moved.clone())];
    // So that her key stands in the ring already, and only the step itself has to be written.
    home.space.remember(&principal("ada"), fact("the pier is long")).unwrap();
    disk.plan(Plan { fault: Fault::Broken, at: 0, lasting: true });
    let kinds =
        |answers: Vec<Result<_>>| answers.into_iter().map(|answer| answer.err().map(|e| e.kind())).collect::<Vec<_>>();
    assert_eq!(kinds(home.space.commit_each(both())), [Some(ErrorKind::Unavailable); 2]);
    assert!(home.space.has_stopped());
    drop(home);
    disk.heal();
    let home = open_on(Arc::new(disk)).unwrap();
    assert_eq!(kinds(home.space.commit_each(both())), [None, Some(ErrorKind::Denied)]);
}

/// Nothing that a program does can keep what a disk throws away. It can say so, and must not serve what was not written.
#[test]
fn a_disk_that_lies() {
    for lasting in [false, true] {
        let places = every_place(Fault::LostSync, lasting, |disk, acknowledged, head, context| {
            assert!(acknowledged.iter().all(|acknowledged| *acknowledged), "{context}");
            for seed in 0..CUTS {
                let cut: Arc<dyn Disk> = Arc::new(disk.power_cut(seed));
                lies(cut, head.unwrap(), &format!("{context}, power cut {seed}"));
            }
            check(Arc::new(disk.clone()), acknowledged, context);
        });
        println!("LostSync{}: {places} places", if lasting { " and behind" } else { "" });
    }
}

/// The vault says that it is damaged when it is opened or verified, or has some first steps whole; and whoever kept the
/// space's word sees that what came behind is missing.
fn lies(disk: Arc<dyn Disk>, head: &SignedHead, context: &str) {
    let home = match open_on(disk) {
        Ok(home) => home,
        Err(error) => {
            // A key that was lost cannot be told from one that was not given, or was given wrong.
            let named = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Denied | ErrorKind::Invalid);
            assert!(named, "{context}: {error}");
            return;
        }
    };
    let all = home.all().unwrap();
    for space in &all {
        if let Err(error) = space.verify(|_, _| {}) {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{context}: {}: {error}", space.name());
            return;
        }
    }
    let mut ended = false;
    for step in STEPS.iter().filter(|step| !step.stores.is_empty()) {
        if step.stores.iter().all(|(number, _)| is_erased(&home.space, *number)) {
            continue;
        }
        let there = is_there(&home, step, context);
        assert!(!(there && ended), "{context}: `{}` is there and a step before it is not", step.name);
        ended |= !there;
    }
    let ada = principal("ada");
    let since = ProofOptions { since: Some(head.clone()), ..ProofOptions::default() };
    let lost = home.space.ledger_head().events < head.events;
    home.space.remember(&ada, fact("it goes on")).unwrap();
    if let Ok((cube, _)) = home.space.get(&ada, &id(1)) {
        let proof = home.space.prove(&ada, &cube.header.id, &since);
        assert!(proof.is_err() == lost, "{context}: {lost}: {proof:?}");
    }
}
