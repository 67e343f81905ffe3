//! What is erased is gone: no file below the vault says a word of it, no key opens what a backup kept, no view of the
//! past and no fork shows it, and nothing else is lost with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/seeded.rs"]
mod seeded;
#[path = "support/space.rs"]
mod space;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use memos_memory::cube::{
    Cube, CubeDraft, CubeId, Digest, GovernanceChange, Layer, SpaceName, State, Update, UpdateMode, UseSignal,
};
use memos_memory::governance::{CUSTODIAN, Principal};
use memos_memory::graph::{Link, LinkKind};
use memos_memory::keys::{KeyRing, MasterKey, SystemEntropy};
use memos_memory::limits::Limits;
use memos_memory::operator::{MemoryCall, recall};
use memos_memory::vault::{Batch, Erasure, MasterKeySource, Point, Space, Vault, VaultOptions};
use memos_memory::{Error, ErrorKind, Result};
use redb::ReadableTable;
use space::{fact, open_ledger, options, principal, quick_folder, space_name, system_disk};

const STORE: &str = "ledger.redb";
const RING: &str = "keys.ring";
const SNAPSHOT: &str = "projection.bin";
const MASTER_KEY: &str = "master.key";

/// Words that stand nowhere but in what is erased.
const SECRETS: [&str; 9] = [
    "Zanzibar",
    "quinquereme",
    "Ophirtitle",
    "topictag",
    "pathstep",
    "Subjectia",
    "Speakerson",
    "sessionmark",
    "referencemark",
];

fn limits() -> Limits {
    Limits { inline_body_bytes: 200, ..Limits::default() }
}

fn unencrypted() -> VaultOptions {
    VaultOptions { master_key: MasterKeySource::Unencrypted, ..options(limits()) }
}

fn ada() -> Principal {
    principal("ada")
}

fn custodian() -> Principal {
    principal("carl").with_role(CUSTODIAN)
}

fn secret(text: &str) -> CubeDraft {
    CubeDraft {
        title: "Ophirtitle".into(),
        tags: vec!["topictag:one".into()],
        path: vec!["pathstep".into()],
        subject: Some("Subjectia".into()),
        speaker: Some("Speakerson".into()),
        session: Some("sessionmark".into()),
        reference: Some("referencemark".into()),
        ..fact(text)
    }
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// A vault with three cubes that are to be erased, one of them in a file and one in two versions, and two that are not.
struct House {
    root: tempfile::TempDir,
    options: VaultOptions,
    vault: Vault,
    space: Option<Space>,
    gone: Vec<CubeId>,
    kept: Vec<CubeId>,
    before: Vec<Cube>,
}

impl House {
    fn new(options: VaultOptions) -> Self {
        let root = quick_folder();
        let vault = Vault::open(root.path(), options.clone()).unwrap();
        let space = vault.space(&space_name()).unwrap();
        let store = |draft| space.remember(&ada(), draft).unwrap();
        let kept = vec![
            store(fact("the boat is red")),
            store(CubeDraft { layer: Layer::Global, ..fact("bees hum ".repeat(60)) }),
        ];
        let gone = vec![
            store(secret("Zanzibar lies far away")),
            store(secret(&"the quinquereme rows to Zanzibar ".repeat(12))),
            store(secret("cargo of ivory")),
        ];
        let parent = space.get(&ada(), &gone[2]).unwrap().1.digest;
        let mode = UpdateMode::Append("from Zanzibar".into());
        space.update(&ada(), Update { cube: gone[2], parent, mode }).unwrap();
        let mut batch = Batch::default();
        batch.link(Link { from: kept[0], kind: LinkKind::DerivedFrom, to: gone[0] });
        batch.link(Link { from: gone[1], kind: LinkKind::Follows, to: gone[0] });
        batch.record_use(vec![(gone[0], UseSignal::Read)]);
        space.commit(&ada(), batch).unwrap();
        let before = kept.iter().map(|id| space.get(&ada(), id).unwrap().0).collect();
        Self { root, options, vault, space: Some(space), gone, kept, before }
    }

    fn space(&self) -> &Space {
        self.space.as_ref().unwrap()
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join(space_name().as_str())
    }

    fn close(&mut self) {
        self.space = None;
    }

    fn reopen(&mut self) {
        self.close();
        self.space = Some(self.vault.space(&space_name()).unwrap());
    }

    fn erase(&self) -> Vec<CubeId> {
        self.space().erase(&ada(), Erasure::Cubes(self.gone.clone()), "asked for").unwrap().derived
    }

    /// What was erased is not served in any way, and what was not is there as it was.
    fn check(&self, place: &str) {
        let space = self.space();
        for id in &self.gone {
            assert_eq!(kind(space.get(&ada(), id)), Some(ErrorKind::NotFound), "{place}");
            assert!(space.versions(&ada(), id).unwrap_or_default().is_empty(), "{place}");
            let point = Point::Events(space.ledger_head().events - 1);
            assert_eq!(kind(space.get_at(&ada(), id, point)), Some(ErrorKind::NotFound), "{place}");
            let then = space.at(point).unwrap();
            assert_eq!(kind(then.get(&ada(), id)), Some(ErrorKind::NotFound), "{place}: in the past");
            assert!(!found(&then).contains(id), "{place}: found in the past");
            if let Ok(around) = space.neighbourhood(&ada(), id, 2, 10) {
                assert_eq!(around.cubes.len(), 1, "{place}: nothing is linked to it");
                let cube = &around.cubes[0];
                assert_eq!((cube.title.as_str(), cube.text.as_str(), &cube.speaker), ("", "", &None), "{place}");
            }
        }
        assert!(found(space).iter().all(|id| self.kept.contains(id)), "{place}");
        for (id, before) in self.kept.iter().zip(&self.before) {
            assert_eq!(space.get(&ada(), id).unwrap().0, *before, "{place}");
        }
    }
}

/// The cubes that a recall of everything considers.
fn found(space: &Space) -> Vec<CubeId> {
    let question = format!("{} the boat is red bees hum cargo ivory", SECRETS.join(" "));
    let call = MemoryCall { memories: 100, archived: true, ..MemoryCall::new(ada(), question, space.now()) };
    let answer = recall(std::slice::from_ref(&space), &call).unwrap();
    answer.receipts.iter().flat_map(|receipt| receipt.stands_for.iter().copied().chain([receipt.cube])).collect()
}

/// The files below a folder in which one of the secrets stands, in whatever case.
fn telling(folder: &Path) -> Vec<String> {
    let mut telling = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            telling.extend(self::telling(&path));
            continue;
        }
        let bytes = fs::read(&path).unwrap().to_ascii_lowercase();
        let tells = |word: &&&str| bytes.windows(word.len()).any(|part| part == word.to_ascii_lowercase().as_bytes());
        telling.extend(SECRETS.iter().find(tells).map(|word| format!("{} in {}", word, path.display())));
    }
    telling
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_folder(&path, &target),
            false => assert!(fs::copy(&path, &target).is_ok()),
        }
    }
}

fn replays(root: &Path) {
    let ledger = open_ledger(root, limits());
    let reader = ledger.readers().reader().unwrap();
    let digest = reader.replay(0..ledger.head().events, Digest::from_bytes([0; 32]), |_| Ok(())).unwrap();
    assert_eq!(digest, ledger.head().digest, "the chain holds");
}

#[test]
fn no_file_says_a_word_of_what_was_erased_and_nothing_else_is_lost() {
    for erasure in ["cubes", "subject"] {
        let mut house = House::new(options(limits()));
        house.space().save_snapshot().unwrap();
        let what = match erasure {
            "cubes" => Erasure::Cubes(house.gone.clone()),
            _ => Erasure::Subject("Subjectia".into()),
        };
        let events = house.space().ledger_head().events;
        let erased = house.space().erase(&ada(), what, "asked for").unwrap();
        assert_eq!(
            (erased.event, &erased.cubes, &erased.derived),
            (events, &house.gone, &vec![house.kept[0]]),
            "{erasure}"
        );
        assert_eq!(telling(house.root.path()), Vec::<String>::new(), "{erasure}");
        house.check(erasure);
        house.space().save_snapshot().unwrap();
        house.reopen();
        house.check(&format!("{erasure}, from the snapshot"));
        house.close();
        fs::remove_file(house.folder().join(SNAPSHOT)).unwrap();
        house.reopen();
        house.check(&format!("{erasure}, from the ledger"));
        assert_eq!(telling(house.root.path()), Vec::<String>::new(), "{erasure}");
        house.close();
        replays(house.root.path());
    }
}

#[test]
fn an_unencrypted_vault_forgets_in_snapshot_index_and_files() {
    let mut house = House::new(unencrypted());
    house.space().save_snapshot().unwrap();
    assert!(!telling(house.root.path()).is_empty(), "this test can find what is in clear");
    let old_snapshot = fs::read(house.folder().join(SNAPSHOT)).unwrap();
    house.erase();
    house.check("at once");
    let all_but_the_ledger = |house: &House| {
        let mut telling = telling(house.root.path());
        // Freed pages of the store are written over when they are used again.
        telling.retain(|place| !place.ends_with(STORE));
        telling
    };
    assert_eq!(all_but_the_ledger(&house), Vec::<String>::new());
    house.space().save_snapshot().unwrap();
    assert_eq!(all_but_the_ledger(&house), Vec::<String>::new());
    house.reopen();
    house.check("from the snapshot");
    house.close();
    // A program that died before it removed the snapshot.
    fs::write(house.folder().join(SNAPSHOT), old_snapshot).unwrap();
    house.reopen();
    house.check("from a snapshot of before");
    assert_eq!(all_but_the_ledger(&house), Vec::<String>::new(), "a snapshot of before does not stay");
}

#[test]
fn a_backup_of_the_ledger_says_nothing_without_the_keys() {
    let mut house = House::new(options(limits()));
    house.close();
    let backup = quick_folder();
    copy_folder(house.root.path(), backup.path());
    house.reopen();
    let seals = {
        let ledger = |id: &CubeId| house.space().get(&ada(), id).unwrap().0.header.seal;
        (house.gone.iter().map(ledger).collect::<Vec<_>>(), house.kept.iter().map(ledger).collect::<Vec<_>>())
    };
    house.erase();
    house.close();
    let (disk, space) = (system_disk(), space_name());
    let master = MasterKey::read(&*disk, &house.root.path().join(MASTER_KEY)).unwrap();
    let ring =
        KeyRing::open(disk, &house.folder().join(RING), &master, space.as_str(), Arc::new(SystemEntropy)).unwrap();
    assert!(seals.0.iter().all(|seal| ring.record_key(seal.ring, seal.slot, &[0; 16]).is_none()), "no key is left");
    assert!(seals.1.iter().all(|seal| ring.record_key(seal.ring, seal.slot, &[0; 16]).is_some()));
    drop(ring);

    // All files of before but the ring, with the master key: the ledger has lost what it acknowledged, and says so.
    let folder = backup.path().join(space.as_str());
    fs::copy(house.folder().join(RING), folder.join(RING)).unwrap();
    let open = || Vault::open(backup.path(), house.options.clone()).unwrap().space(&space);
    assert_eq!(kind(open()), Some(ErrorKind::Corrupt));
    // The records of before put back beside the events: they stay shut.
    let old = records(&folder.join(STORE), |_| {});
    fs::copy(house.folder().join(STORE), folder.join(STORE)).unwrap();
    let put_back = records(&folder.join(STORE), |rows| {
        for (key, row) in &old {
            rows.insert(key, row.as_slice()).unwrap();
        }
    });
    assert_eq!((put_back.len(), &put_back), (old.len(), &old));
    let space = open().unwrap();
    for id in &house.gone {
        assert_eq!(kind(space.get(&ada(), id)), Some(ErrorKind::NotFound));
        assert!(space.versions(&ada(), id).unwrap().is_empty());
    }
    assert!(found(&space).iter().all(|id| house.kept.contains(id)));
    assert!(house.kept.iter().zip(&house.before).all(|(id, before)| space.get(&ada(), id).unwrap().0 == *before));
}

/// Changes the records of a ledger below the program, and returns them.
fn records(store: &Path, change: impl FnOnce(&mut redb::Table<'_, u64, &'static [u8]>)) -> Vec<(u64, Vec<u8>)> {
    let database = redb::Database::open(store).unwrap();
    let transaction = database.begin_write().unwrap();
    let rows = {
        let table = redb::TableDefinition::<u64, &'static [u8]>::new("records");
        let mut table = transaction.open_table(table).unwrap();
        change(&mut table);
        let rows = table.iter().unwrap().map(|row| row.map(|(key, row)| (key.value(), row.value().to_vec())).unwrap());
        rows.collect()
    };
    transaction.commit().unwrap();
    rows
}

#[test]
fn an_erasure_that_was_interrupted_is_finished_at_the_next_opening() {
    for erasure in [Erasure::Subject("Subjectia".into()), Erasure::Cubes(Vec::new())] {
        let mut house = House::new(options(limits()));
        house.space().save_snapshot().unwrap();
        house.close();
        let before = quick_folder();
        copy_folder(house.root.path(), before.path());
        house.reopen();
        let erasure = match erasure {
            Erasure::Cubes(_) => Erasure::Cubes(house.gone.clone()),
            subject => subject,
        };
        let seals: Vec<_> = house.gone.iter().map(|id| house.space().get(&ada(), id).unwrap().0.header.seal).collect();
        house.space().erase(&ada(), erasure, "").unwrap();
        house.close();
        // The ledger was written; the ring, the snapshot and the files are as before.
        let folder = before.path().join(space_name().as_str());
        fs::copy(house.folder().join(STORE), folder.join(STORE)).unwrap();
        let files = fs::read_dir(folder.join("bodies")).unwrap().count();
        let vault = Vault::open(before.path(), house.options.clone()).unwrap();
        house.space = Some(vault.space(&space_name()).unwrap());
        house.check("after the opening");
        assert_eq!(fs::read_dir(folder.join("bodies")).unwrap().count(), files - 1, "the large body is gone");
        house.close();
        let (disk, file) = (system_disk(), folder.join(RING));
        let master = MasterKey::read(&*disk, &before.path().join(MASTER_KEY)).unwrap();
        let ring = KeyRing::open(disk, &file, &master, space_name().as_str(), Arc::new(SystemEntropy)).unwrap();
        assert!(
            seals.iter().all(|seal| ring.record_key(seal.ring, seal.slot, &[0; 16]).is_none()),
            "the keys are gone"
        );
        drop(ring);
        house.space = Some(vault.space(&space_name()).unwrap());
        house.check("once more");
    }
}

#[test]
fn the_file_of_a_large_body_goes() {
    let house = House::new(options(limits()));
    let file = |id: &CubeId| {
        let name = house.space().get(&ada(), id).unwrap().0.header.seal.digest.to_string();
        house.folder().join("bodies").join(name)
    };
    let (gone, kept) = (file(&house.gone[1]), file(&house.kept[1]));
    assert!(gone.exists() && kept.exists());
    house.erase();
    assert!(!gone.exists() && kept.exists());
}

#[test]
fn a_legal_hold_refuses_every_erasure_until_a_custodian_ends_it() {
    let house = House::new(options(limits()));
    let (space, held) = (house.space(), house.gone[0]);
    let govern = |who: &Principal, legal_hold| {
        let parent = space.get(who, &held)?.1.digest;
        let change = GovernanceChange { legal_hold: Some(legal_hold), ..GovernanceChange::default() };
        space.update(who, Update { cube: held, parent, mode: UpdateMode::Govern(Box::new(change)) })
    };
    govern(&ada(), true).unwrap();
    let events = space.ledger_head().events;
    let erase = |who: &Principal, what| kind(space.erase(who, what, ""));
    for who in [&ada(), &custodian()] {
        for what in [Erasure::Cubes(house.gone.clone()), Erasure::Subject("Subjectia".into())] {
            assert_eq!(erase(who, what.clone()), Some(ErrorKind::Denied), "{} {what:?}", who.id);
        }
    }
    assert_eq!(kind(govern(&ada(), false)), Some(ErrorKind::Denied), "an owner does not end a hold");
    assert_eq!(space.ledger_head().events, events);
    assert!(house.gone.iter().all(|id| space.get(&ada(), id).is_ok()), "nothing was erased");
    // A custodian who owns it may read it, and ends the hold.
    govern(&ada().with_role(CUSTODIAN), false).unwrap();
    assert_eq!(erase(&custodian(), Erasure::Subject("Subjectia".into())), None);
    house.check("after the hold");
}

#[test]
fn who_may_erase_and_what_the_others_are_told() {
    let house = House::new(options(limits()));
    let (space, bo) = (house.space(), principal("bo"));
    let erase = |who: &Principal, cubes: &[CubeId]| space.erase(who, Erasure::Cubes(cubes.to_vec()), "");
    let subject = |who: &Principal, name: &str| space.erase(who, Erasure::Subject(name.into()), "");
    let without_names = |error: Error, id: &str| (error.kind(), error.to_string().replace(id, "it"));
    let nobody = CubeId::from_bytes([9; 16]);
    let hidden = without_names(erase(&bo, &house.gone[..1]).unwrap_err(), &house.gone[0].to_string());
    let missing = without_names(erase(&bo, &[nobody]).unwrap_err(), &nobody.to_string());
    assert_eq!(hidden, missing, "who may not read it is not told that it is there");
    assert_eq!(hidden.0, ErrorKind::NotFound);
    let hidden = without_names(subject(&bo, "Subjectia").unwrap_err(), "Subjectia");
    let missing = without_names(subject(&bo, "Nobody").unwrap_err(), "Nobody");
    assert_eq!(hidden, missing, "nor that there are memories of somebody");
    assert_eq!(kind(erase(&bo, &house.kept[1..])), Some(ErrorKind::Denied), "it is public, and not theirs");
    assert_eq!(kind(erase(&ada(), &[house.gone[0], nobody])), Some(ErrorKind::NotFound), "all or nothing");
    assert!(space.get(&ada(), &house.gone[0]).is_ok());
    assert_eq!(kind(erase(&custodian(), &house.gone[..1])), None, "a custodian erases what they may not read");
    assert_eq!(kind(erase(&ada(), &house.gone[..1])), Some(ErrorKind::Invalid), "once is enough");
    let mut batch = Batch::default();
    batch.set_state(house.gone[1], State::Erased, "");
    assert_eq!(kind(space.commit(&ada(), batch)), Some(ErrorKind::Invalid), "only an erasure erases");
    assert_eq!(subject(&ada(), "Subjectia").unwrap().cubes, house.gone[1..]);
    assert_eq!(kind(subject(&ada(), "Subjectia")), Some(ErrorKind::NotFound));
    house.check("in the end");
}

#[test]
fn a_tombstone_takes_nothing_and_its_subject_can_begin_anew() {
    let mut house = House::new(options(limits()));
    house.space().erase(&ada(), Erasure::Subject("Subjectia".into()), "").unwrap();
    let (space, gone) = (house.space(), house.gone[0]);
    let try_to = |change: &dyn Fn(&mut Batch)| {
        let mut batch = Batch::default();
        change(&mut batch);
        kind(space.commit(&ada(), batch))
    };
    let link = |from, to| Link { from, kind: LinkKind::About, to };
    assert_eq!(
        try_to(&|batch| {
            batch.link(link(gone, house.kept[0]));
        }),
        Some(ErrorKind::Invalid)
    );
    assert_eq!(
        try_to(&|batch| {
            batch.link(link(house.kept[0], gone));
        }),
        Some(ErrorKind::Invalid)
    );
    assert_eq!(
        try_to(&|batch| {
            batch.set_state(gone, State::Activated, "");
        }),
        Some(ErrorKind::Invalid)
    );
    assert_eq!(
        try_to(&|batch| {
            batch.unfreeze(gone, "");
        }),
        Some(ErrorKind::Invalid)
    );
    assert_eq!(
        try_to(&|batch| {
            batch.store(gone, fact("again"));
        }),
        Some(ErrorKind::Conflict)
    );
    let anew = space.remember(&ada(), secret("Zanzibar again")).unwrap();
    house.reopen();
    assert_eq!(house.space().get(&ada(), &anew).unwrap().0.payload.as_text(), Some("Zanzibar again"));
    assert_eq!(house.space().erase(&ada(), Erasure::Subject("Subjectia".into()), "").unwrap().cubes, [anew]);
    house.gone.push(anew);
    house.reopen();
    house.check("erased twice");
    assert_eq!(telling(house.root.path()), Vec::<String>::new());
}

#[test]
fn in_forks_it_is_unreadable_at_once_and_after_reopening() {
    for options in [options(limits()), unencrypted()] {
        let mut house = House::new(options);
        let (near, far): (SpaceName, SpaceName) = ("acme/near".parse().unwrap(), "acme/far".parse().unwrap());
        let unreadable = |fork: &Space, place: &str| {
            for id in &house.gone {
                assert_eq!(kind(fork.get(&ada(), id)), Some(ErrorKind::NotFound), "{place}");
                assert!(fork.versions(&ada(), id).unwrap_or_default().is_empty(), "{place}");
            }
            assert!(found(fork).iter().all(|id| house.kept.contains(id)), "{place}");
            assert_eq!(fork.get(&ada(), &house.kept[0]).unwrap().0.payload, house.before[0].payload, "{place}");
            if !fork.is_past() {
                fork.verify(|_, _| {}).unwrap_or_else(|error| panic!("{place}: {error}"));
            }
        };
        let near_fork = house.vault.fork(&ada(), &space_name(), None, &near).unwrap();
        near_fork.remember(&ada(), fact("the fork goes on")).unwrap();
        // What the fork has added to it goes too.
        let (cube, parent) = (house.gone[0], near_fork.get(&ada(), &house.gone[0]).unwrap().1.digest);
        near_fork.update(&ada(), Update { cube, parent, mode: UpdateMode::Append("and more".into()) }).unwrap();
        let far_fork = house.vault.fork(&ada(), &near, None, &far).unwrap();
        near_fork.save_snapshot().unwrap();
        far_fork.save_snapshot().unwrap();
        let past = near_fork.at(Point::Events(near_fork.ledger_head().events)).unwrap();
        assert!(found(&past).contains(&house.gone[0]));
        house.erase();
        unreadable(&near_fork, "in the fork");
        unreadable(&far_fork, "in the fork's fork");
        assert_eq!(kind(past.get(&ada(), &house.gone[0])), Some(ErrorKind::NotFound), "in a view of the fork's past");
        assert!(!found(&past).contains(&house.gone[0]), "in a view of the fork's past");
        drop((past, near_fork, far_fork));
        let (near_fork, far_fork) = (house.vault.space(&near).unwrap(), house.vault.space(&far).unwrap());
        unreadable(&near_fork, "in the fork, opened again");
        unreadable(&far_fork, "in the fork's fork, opened again");
        unreadable(&near_fork.at(Point::Events(5)).unwrap(), "in the fork's past");
        drop((near_fork, far_fork));
        house.check("in the origin");
        let mut telling = telling(house.root.path());
        telling.retain(|place| !place.ends_with(STORE));
        assert_eq!(telling, Vec::<String>::new());
        house.close();
    }
}

#[test]
fn what_a_fork_erases_of_its_origins_is_hidden_in_the_fork_and_stays_in_the_origin() {
    let house = House::new(options(limits()));
    let name: SpaceName = "acme/fork".parse().unwrap();
    let fork = house.vault.fork(&ada(), &space_name(), None, &name).unwrap();
    fork.erase(&ada(), Erasure::Cubes(house.gone.clone()), "").unwrap();
    let check = |fork: &Space, place: &str| {
        for id in &house.gone {
            assert_eq!(kind(fork.get(&ada(), id)), Some(ErrorKind::NotFound), "{place}");
            assert!(fork.versions(&ada(), id).unwrap().is_empty(), "{place}");
            let around = fork.neighbourhood(&ada(), id, 1, 9).unwrap();
            assert_eq!(
                (around.cubes.len(), around.cubes[0].title.as_str(), &around.cubes[0].speaker),
                (1, "", &None),
                "{place}"
            );
            assert_eq!(kind(fork.restore(&ada(), id, 1)), Some(ErrorKind::NotFound), "{place}");
            assert!(house.space().get(&ada(), id).is_ok(), "{place}: the origin keeps its own");
        }
        assert!(found(fork).iter().all(|id| house.kept.contains(id)), "{place}");
    };
    check(&fork, "at once");
    drop(fork);
    check(&house.vault.space(&name).unwrap(), "after reopening");
}

#[test]
fn forks_that_were_closed_forget_when_they_open() {
    let house = House::new(options(limits()));
    let name: SpaceName = "acme/closed".parse().unwrap();
    let fork = house.vault.fork(&ada(), &space_name(), None, &name).unwrap();
    fork.save_snapshot().unwrap();
    drop(fork);
    house.erase();
    let fork = house.vault.space(&name).unwrap();
    assert!(found(&fork).iter().all(|id| house.kept.contains(id)));
    assert!(house.gone.iter().all(|id| kind(fork.get(&ada(), id)) == Some(ErrorKind::NotFound)));
}

#[test]
fn a_whole_space_goes_with_its_keys_and_only_when_nobody_needs_it() {
    let mut house = House::new(options(limits()));
    let other: SpaceName = "acme/other".parse().unwrap();
    house.vault.space(&other).unwrap().remember(&ada(), fact("another space")).unwrap();
    let fork: SpaceName = "acme/fork".parse().unwrap();
    drop(house.vault.fork(&ada(), &space_name(), None, &fork).unwrap());
    let erase = |house: &House, who: &Principal| house.vault.erase_space(who, &space_name());
    assert_eq!(kind(erase(&house, &ada())), Some(ErrorKind::Conflict), "a fork needs it");
    house.vault.erase_space(&ada(), &fork).unwrap();
    assert_eq!(kind(erase(&house, &ada())), Some(ErrorKind::Busy), "it is open");
    house.close();
    assert_eq!(kind(erase(&house, &principal("bo"))), Some(ErrorKind::Denied));
    assert_eq!(erase(&house, &ada()).unwrap(), 5);
    assert!(!house.folder().exists());
    assert_eq!(telling(house.root.path()), Vec::<String>::new());
    assert_eq!(kind(house.vault.existing_space(&space_name())), Some(ErrorKind::NotFound));
    assert_eq!(house.vault.space(&other).unwrap().stats(&ada()).cubes, 1);
    let again = house.vault.space(&space_name()).unwrap();
    assert_eq!(again.stats(&ada()).cubes, 0, "the name can be used anew");
}

#[test]
fn a_space_with_a_hold_is_not_erased() {
    let mut house = House::new(options(limits()));
    house.space().remember(&ada(), CubeDraft { legal_hold: true, ..fact("keep this") }).unwrap();
    house.close();
    assert_eq!(kind(house.vault.erase_space(&ada(), &space_name())), Some(ErrorKind::Denied));
    house.reopen();
    assert!(house.gone.iter().all(|id| house.space().get(&ada(), id).is_ok()), "nothing was erased");
}

/// Writers go on storing memories of a subject while it is erased again and again.
#[test]
fn writers_of_a_subject_that_is_erased_lose_nothing_and_leave_nothing_unreadable() {
    let root = quick_folder();
    let vault = Vault::open(root.path(), options(limits())).unwrap();
    let space = vault.space(&space_name()).unwrap();
    let done = AtomicBool::new(false);
    let (written, erased) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let space = space.clone();
                scope.spawn(move || {
                    let mut written = Vec::new();
                    for number in 0..60 {
                        let id = space.new_id();
                        let mut batch = Batch::default();
                        batch.store(id, secret(&format!("note {number} of writer {writer}")));
                        match space.commit(&ada(), batch) {
                            Ok(committed) => written.push((id, committed.first_event)),
                            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
                        }
                    }
                    written
                })
            })
            .collect();
        let eraser = scope.spawn(|| {
            let mut erased = Vec::new();
            while !done.load(Ordering::Acquire) {
                match space.erase(&ada(), Erasure::Subject("Subjectia".into()), "") {
                    Ok(gone) => erased.push(gone),
                    Err(error) => assert!(
                        matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Invalid),
                        "{error}"
                    ),
                }
                std::thread::yield_now();
            }
            erased
        });
        let written: Vec<_> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        done.store(true, Ordering::Release);
        (written, eraser.join().unwrap())
    });
    assert!(written.len() > 20 && erased.len() > 2, "{} written, {} erasures", written.len(), erased.len());
    let gone: std::collections::BTreeSet<CubeId> = erased.iter().flat_map(|erased| erased.cubes.clone()).collect();
    let last = erased.iter().map(|erased| erased.event).max().unwrap();
    let check = |space: &Space, place: &str| {
        for (id, event) in &written {
            let head = space.get(&ada(), id);
            match (gone.contains(id), head) {
                (true, head) => assert_eq!(kind(head), Some(ErrorKind::NotFound), "{place}: {id} was erased"),
                (false, Err(error)) => {
                    panic!(
                        "{place}: {id} of event {event} was not erased and cannot be read, the last erasure is {last}: {error}"
                    )
                }
                (false, Ok((cube, _))) => assert!(cube.payload.as_text().unwrap().starts_with("note ")),
            }
            assert!(*event < last || !gone.contains(id), "{place}: what came after the last erasure is there");
        }
    };
    check(&space, "at once");
    drop(space);
    check(&vault.space(&space_name()).unwrap(), "after the opening");
    drop(vault);
    replays(root.path());
}

/// Erasing by id and writing at the same time must not hold one another for ever.
#[test]
fn erasing_cubes_and_writing_go_on_beside_each_other() {
    let root = quick_folder();
    let space = Vault::open(root.path(), options(limits())).unwrap().space(&space_name()).unwrap();
    let (sender, ended) = std::sync::mpsc::channel();
    for worker in 0..4 {
        let (space, sender) = (space.clone(), sender.clone());
        std::thread::spawn(move || {
            for number in 0..40 {
                let id = space.remember(&ada(), fact(format!("note {number} of {worker}"))).unwrap();
                if worker % 2 == 0 {
                    assert_eq!(space.erase(&ada(), Erasure::Cubes(vec![id]), "").unwrap().cubes, [id]);
                }
            }
            sender.send(()).unwrap();
        });
    }
    for _ in 0..4 {
        ended.recv_timeout(std::time::Duration::from_secs(60)).expect("all workers end");
    }
    let states = space.stats(&ada()).states;
    assert_eq!(states, [("erased".to_owned(), 80), ("generated".to_owned(), 80)]);
}
