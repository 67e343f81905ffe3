//! Tests of the keys as a whole: rings over a disk in memory.

mod disk;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use self::disk::BreakingDisk;
use super::file;
use super::tree::{Cover, KeyTree, SLOTS, descend};
use super::*;
use crate::disk::Disk;
use crate::error::{ErrorKind, Result};

const FILE: &str = "vault/acme/support/keys.ring";
const SPACE: &str = "acme/support";

fn file() -> &'static Path {
    Path::new(FILE)
}

fn master(byte: u8) -> MasterKey {
    MasterKey::from_bytes([byte; 32])
}

fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SeededEntropy::new(7))
}

fn begin(disk: &BreakingDisk) -> KeyRing {
    KeyRing::begin(Arc::new(disk.clone()), file(), &master(1), SPACE, entropy()).unwrap()
}

fn open_with(disk: &BreakingDisk, key: u8, space: &str) -> Result<KeyRing> {
    KeyRing::open(Arc::new(disk.clone()), file(), &master(key), space, Arc::new(SeededEntropy::new(8)))
}

fn open(disk: &BreakingDisk) -> KeyRing {
    open_with(disk, 1, SPACE).unwrap()
}

fn key(ring: &KeyRing, number: u32, slot: u64) -> Option<[u8; 32]> {
    ring.record_key(number, slot, &[9; 16]).map(|key| *key.to_bytes().unwrap())
}

fn folder() -> &'static Path {
    file().parent().unwrap()
}

fn new_disk() -> BreakingDisk {
    let disk = BreakingDisk::default();
    disk.make_folder(folder()).unwrap();
    disk
}

fn only_ring_is_left(disk: &BreakingDisk) -> bool {
    disk.list(folder()).unwrap() == ["keys.ring"]
}

#[test]
fn subjects_have_numbers_that_stay() {
    let disk = new_disk();
    let ring = begin(&disk);
    assert_eq!(ring.subject("ada").unwrap(), 1);
    assert_eq!(ring.subjects(["bob", "ada", "cy", "bob"]).unwrap(), [2, 1, 3, 2]);
    for (name, kind) in [("", ErrorKind::Invalid), (&*"x".repeat(4097), ErrorKind::Invalid)] {
        assert_eq!(ring.subject(name).unwrap_err().kind(), kind);
        assert_eq!(ring.subjects(["dora", name]).unwrap_err().kind(), kind);
    }
    assert_eq!(ring.number_of("dora"), None);
    let ring = open(&disk);
    for (name, number) in [("ada", Some(1)), ("bob", Some(2)), ("cy", Some(3)), ("dora", None)] {
        assert_eq!(ring.number_of(name), number);
        assert!(number.is_none_or(|number| ring.name_of(number).as_deref() == Some(name)));
    }
    assert_eq!((ring.name_of(0), ring.name_of(4)), (None, None));

    ring.burn(&[], &[2], 5).unwrap();
    for ring in [ring, open(&disk)] {
        assert_eq!((ring.number_of("bob"), ring.name_of(2), key(&ring, 2, 0)), (None, None, None));
        assert_eq!(ring.burned_through(), 5);
    }
    // Who comes back comes as someone else.
    assert_eq!(open(&disk).subject("bob").unwrap(), 4);
    assert_eq!(open(&disk).number_of("bob"), Some(4));
}

#[test]
fn no_two_records_share_a_key() {
    let ring = begin(&new_disk());
    ring.subjects(["ada", "bob"]).unwrap();
    let mut seen = BTreeSet::new();
    for number in 0..3 {
        for slot in (0..5000).chain([SLOTS - 1, SLOTS / 2, SLOTS / 2 - 1]) {
            assert!(seen.insert(key(&ring, number, slot).unwrap()), "{number} {slot}");
        }
    }
    let other = ring.record_key(1, 0, &[8; 16]).unwrap();
    assert!(seen.insert(*other.to_bytes().unwrap()));
    assert!(seen.insert(*ring.snapshot_key(&[9; 16]).to_bytes().unwrap()));
    for (number, slot) in [(3, 0), (u32::MAX, 0), (0, SLOTS), (1, u64::MAX)] {
        assert_eq!(key(&ring, number, slot), None);
    }
}

#[test]
fn slots_are_handed_out_once() {
    let ring = begin(&new_disk());
    ring.set_next_slot(10);
    ring.set_next_slot(3);
    assert_eq!([ring.next_slot(), ring.next_slot()], [10, 11]);
}

#[test]
fn what_cannot_be_burned_is_refused_and_nothing_changes() {
    let disk = new_disk();
    let ring = begin(&disk);
    let before = disk.read(file()).unwrap();
    for (slots, subjects) in
        [(vec![(1, 0)], vec![]), (vec![(0, SLOTS)], vec![]), (vec![(0, 1)], vec![1]), (vec![], vec![0])]
    {
        assert_eq!(ring.burn(&slots, &subjects, 1).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert!(key(&ring, 0, 1).is_some());
    assert_eq!(disk.read(file()).unwrap(), before);
}

#[test]
fn burning_twice_is_burning_once_and_changes_the_snapshots_key() {
    let disk = new_disk();
    let ring = begin(&disk);
    let number = ring.subject("ada").unwrap();
    let snapshot = |ring: &KeyRing| *ring.snapshot_key(&[0; 16]).to_bytes().unwrap();
    let seed = ring.signing_seed().unwrap();
    let mut keys = vec![snapshot(&ring)];
    for through in [3, 3, 2] {
        ring.burn(&[(number, 4), (number, 4), (0, 4)], &[], through).unwrap();
        keys.push(snapshot(&ring));
        assert_eq!((ring.burned_through(), key(&ring, number, 4), key(&ring, 0, 4)), (3, None, None));
        assert!(key(&ring, number, 5).is_some());
    }
    ring.burn(&[(number, 7)], &[number], 4).unwrap();
    ring.burn(&[(number, 7)], &[number], 4).unwrap();
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 4);
    assert_eq!(snapshot(&ring), snapshot(&open(&disk)));
    assert_eq!((open(&disk).signing_seed().unwrap(), ring.signing_seed().unwrap()), (seed.clone(), seed));
}

#[test]
fn rotation_keeps_all_keys_and_refuses_the_old_master() {
    let disk = new_disk();
    let ring = begin(&disk);
    ring.subject("ada").unwrap();
    ring.burn(&[(1, 3)], &[], 1).unwrap();
    let keys = |ring: &KeyRing| (0..9).map(|slot| key(ring, 1, slot)).collect::<Vec<_>>();
    let before = keys(&ring);
    assert_eq!(KeyRing::sealed_by(&disk, file()).unwrap(), master(1).id());
    ring.rotate(&master(2)).unwrap();
    ring.subject("bob").unwrap();
    assert_eq!(KeyRing::sealed_by(&disk, file()).unwrap(), master(2).id());
    assert_eq!((keys(&ring), ring.master_id()), (before.clone(), Some(master(2).id())));
    assert_eq!(keys(&open_with(&disk, 2, SPACE).unwrap()), before);
    let refused = open_with(&disk, 1, SPACE).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    assert!(refused.to_string().contains(SPACE));
    assert_eq!(open_with(&disk, 2, "acme/other").unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(only_ring_is_left(&disk));
}

#[test]
fn a_ring_is_not_begun_twice_nor_ignored() {
    let disk = new_disk();
    assert_eq!(open_with(&disk, 1, SPACE).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(Keys::Open.begin(Arc::new(disk.clone()), file(), SPACE, entropy()).unwrap().is_plain());
    begin(&disk);
    let again = KeyRing::begin(Arc::new(disk.clone()), file(), &master(1), SPACE, entropy());
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Conflict);
    let plain = Keys::Open.open(Arc::new(disk.clone()), file(), SPACE, entropy());
    assert_eq!(plain.unwrap_err().kind(), ErrorKind::Denied);
    KeyRing::destroy(&disk, file()).unwrap();
    KeyRing::destroy(&disk, file()).unwrap();
    assert!(disk.list(folder()).unwrap().is_empty());
}

#[test]
fn a_plain_ring_changes_nothing() {
    let disk = new_disk();
    let ring = KeyRing::plain(Arc::new(disk.clone()), file()).unwrap();
    assert_eq!((ring.subject("ada").unwrap(), ring.subjects(["a", "b"]).unwrap()), (0, vec![0, 0]));
    ring.burn(&[(0, 1)], &[], 1).unwrap();
    ring.rotate(&master(2)).unwrap();
    assert_eq!((ring.burned_through(), ring.signing_seed(), ring.master_id()), (u64::MAX, None, None));
    let key = ring.record_key(0, 1, &[0; 16]).unwrap();
    let mut out = b"before ".to_vec();
    key.seal(Part::Body, b"text", &mut out);
    assert_eq!((&*out, key.open(Part::Body, b"text").unwrap()), (&b"before text"[..], b"text".to_vec()));
    assert!(ring.snapshot_key(&[0; 16]).is_plain() && disk.list(folder()).unwrap().is_empty());
}

#[test]
fn every_damage_to_the_file_is_an_error() {
    let disk = new_disk();
    let ring = begin(&disk);
    ring.subjects(["ada lovelace", "bob"]).unwrap();
    ring.burn(&[(1, 3)], &[2], 1).unwrap();
    let good = disk.read(file()).unwrap();
    assert!(!good.windows(4).any(|bytes| bytes == b"love"));
    let refused = |bytes: &[u8]| {
        disk.replace_private(file(), &[bytes]).unwrap();
        let error = open_with(&disk, 1, SPACE).unwrap_err();
        let kind = error.kind();
        assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::Denied | ErrorKind::Invalid), "{error}");
    };
    (0..good.len()).for_each(|len| refused(&good[..len]));
    for at in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        refused(&bytes);
    }
    refused(&[&good[..], b"x"].concat());
    disk.replace_private(file(), &[&good]).unwrap();
    assert!(open_with(&disk, 1, SPACE).is_ok());
}

#[test]
fn a_burned_seed_is_in_no_byte_that_opens() {
    let disk = new_disk();
    let ring = begin(&disk);
    ring.subjects(["ada", "bob"]).unwrap();
    let seeds = |disk: &BreakingDisk| {
        let ring = file::decode(disk.read(file()).unwrap(), &master(1), SPACE).unwrap();
        let covers = |subject: file::SubjectV1| {
            let covers = subject.covers.into_iter();
            covers.map(|cover| (cover.depth, cover.prefix, *cover.seed)).collect::<Vec<_>>()
        };
        ring.subjects.into_iter().map(covers).collect::<Vec<_>>()
    };
    let before = seeds(&disk);
    ring.burn(&[(1, 6)], &[2], 1).unwrap();
    let removed = std::mem::take(&mut *disk.removed.lock());
    assert!(removed.len() == 2 && removed.iter().flatten().all(|byte| *byte == 0), "zeros before they went");
    let after = seeds(&disk);
    assert_eq!((before[1].len(), after[1].len(), after[2].len()), (1, 40, 0));
    let above = (0..=40).map(|depth| *descend(&Secret::new(before[1][0].2), depth, 6 >> (40 - depth)));
    let above: BTreeSet<_> = above.collect();
    assert!(above.len() == 41 && after[1].iter().all(|(.., seed)| !above.contains(seed)));
    assert!(after.iter().flatten().all(|(.., seed)| *seed != before[2][0].2));
}

#[test]
fn a_crash_at_any_step_leaves_the_old_or_the_new_ring() {
    for steps in 0.. {
        let disk = new_disk();
        let ring = begin(&disk);
        ring.subject("ada").unwrap();
        let kept = key(&ring, 1, 4);
        *disk.steps.lock() = Some(steps);
        let done = ring.burn(&[(1, 3)], &[], 1);
        *disk.steps.lock() = None;
        assert!(KeyRing::exists(&disk, file()));
        assert_eq!(KeyRing::sealed_by(&disk, file()).unwrap(), master(1).id());
        let after = open(&disk);
        let burned = key(&after, 1, 3).is_none();
        assert_eq!(burned, after.burned_through() == 1);
        assert!(burned || done.is_err());
        assert_eq!(key(&after, 1, 4), kept);
        assert!(only_ring_is_left(&disk), "{steps}");
        // The ring that failed goes on where it was.
        ring.burn(&[(1, 3)], &[], 1).unwrap();
        assert_eq!((key(&ring, 1, 3), key(&open(&disk), 1, 3), key(&ring, 1, 4)), (None, None, kept));
        if done.is_ok() {
            assert!(steps > 5);
            break;
        }
    }
}

#[test]
fn covers_that_no_tree_leaves_are_refused() {
    let cover = |(depth, prefix)| Cover { depth, prefix, seed: Secret::default() };
    for (covers, good) in [
        (vec![], true),
        (vec![(0, 0)], true),
        (vec![(40, SLOTS - 1)], true),
        (vec![(2, 1), (1, 1)], true),
        (vec![(0, 1)], false),
        (vec![(41, 0)], false),
        (vec![(255, u64::MAX)], false),
        (vec![(64, u64::MAX)], false),
        (vec![(40, SLOTS)], false),
        (vec![(1, 0), (1, 1)], false),
        (vec![(1, 1), (2, 1)], false),
        (vec![(1, 0), (2, 1)], false),
        (vec![(1, 0), (1, 0)], false),
    ] {
        let found = KeyTree::from_covers(covers.iter().copied().map(cover).collect());
        assert_eq!(found.is_some(), good, "{covers:?}");
    }
}

/// Worked out once with other programs after the description of the format.
#[test]
fn keys_and_sealed_bytes_stay_what_they_are() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let root = Secret::new(std::array::from_fn(|at| at as u8));
    let tree = KeyTree::new(root.clone());
    let leaf = tree.cover_of(0x12_3456_789a).unwrap().leaf(0x12_3456_789a);
    let key = RecordKey::of_leaf(&leaf, &[9; 16]);
    let mut sealed = Vec::new();
    RecordKey::from_bytes(*root).seal(Part::Body, b"memory", &mut sealed);
    for (found, expect) in [
        (&leaf[..], "d53a8bb1ad56d86ec52598f79192ac4d0ea05fd98f1471c96206d9c80e737242"),
        (&key.to_bytes().unwrap()[..], "c8c4878ed30332ffae62b307b44e1575391dda3eb45ebcfb953ee5850bfaff6c"),
        (&key.commitment().unwrap(), "a9afaada694f649d4dc62155f854c4684820290b6f529554825288f6d670a356"),
        (&MasterKey::from_bytes(*root).id(), "88afae348ffb4863"),
        (&sealed, "8f49ef50d6d6381bc2b4fce229c73913fa304347917c"),
    ] {
        assert_eq!(hex(found), expect);
    }
}

#[test]
fn a_key_burned_beside_readers_is_not_remembered() {
    let ring = begin(&new_disk());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..20_000).for_each(|at| drop(ring.record_key(0, at % 64, &[0; 16]))));
        }
        for slot in 0..64 {
            ring.burn(&[(0, slot)], &[], 1).unwrap();
            assert!((0..=slot).all(|slot| key(&ring, 0, slot).is_none()));
        }
    });
}

#[test]
fn keys_of_records_open_only_what_they_sealed() {
    let (one, other) = (RecordKey::from_bytes([1; 32]), RecordKey::from_bytes([2; 32]));
    for plain in [&b""[..], b"a", &[7; 1000]] {
        let mut sealed = Vec::new();
        one.seal(Part::Body, plain, &mut sealed);
        assert_eq!(
            (sealed.len(), one.open(Part::Body, &sealed).unwrap()),
            (one.sealed_len(plain.len()), plain.to_vec())
        );
        assert_eq!(one.open(Part::Description, &sealed).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(other.open(Part::Body, &sealed).unwrap_err().kind(), ErrorKind::Corrupt);
        for len in 0..sealed.len() {
            assert!(one.open(Part::Body, &sealed[..len]).is_err());
            let mut changed = sealed.clone();
            changed[len] ^= 1;
            assert!(one.open(Part::Body, &changed).is_err());
        }
    }
    assert_ne!(one.commitment(), other.commitment());
    assert_eq!(format!("{one:?}"), "RecordKey(..)");
}

#[test]
fn master_keys_read_and_never_show() {
    let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let key = MasterKey::from_bytes(std::array::from_fn(|at| at as u8));
    for text in [hex, base64, &format!(" {}\r\n", hex.to_uppercase()), base64.trim_end_matches('=')] {
        assert_eq!(*MasterKey::parse(text).unwrap().to_hex(), hex, "{text}");
    }
    let all = "-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_8";
    assert_eq!(
        MasterKey::parse(all).unwrap().id(),
        MasterKey::parse(&all.replace('-', "+").replace('_', "/")).unwrap().id()
    );
    let long = format!("{hex}0");
    for text in ["", "secret", &hex[1..], &long, &hex.replace('0', "g"), &base64.replace("8=", "9="), &"é".repeat(32)]
    {
        let error = MasterKey::parse(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(text.is_empty() || !error.to_string().contains(text));
    }
    assert!(!format!("{key:?}").contains("0a0b"));
    assert!(format!("{key:?}").len() < 30);
}

#[test]
fn a_master_key_is_made_once() {
    let disk = new_disk();
    let path = folder().join("master.key");
    assert_eq!(MasterKey::read(&disk, &path).unwrap_err().kind(), ErrorKind::NotFound);
    let made = MasterKey::read_or_make(&disk, &path, &SystemEntropy).unwrap();
    let again = MasterKey::read_or_make(&disk, &path, &SystemEntropy).unwrap();
    assert_eq!((made.id(), disk.read(&path).unwrap().len()), (again.id(), 65));
    assert_eq!(MasterKey::read(&disk, &path).unwrap().id(), made.id());
    assert_ne!(MasterKey::make(&SystemEntropy).unwrap().id(), made.id());
    disk.replace_private(&path, &[b"\xff"]).unwrap();
    assert_eq!(MasterKey::read_or_make(&disk, &path, &SystemEntropy).unwrap_err().kind(), ErrorKind::Invalid);
}

/// Slots that stand near each other, so that blocks are burned in part and whole, and some far apart.
fn any_slot() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..64_u64, 2 => 4090..4100_u64, 1 => 0..SLOTS, 1 => SLOTS - 3..SLOTS]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_burned_is_gone_and_the_rest_stays(
        burned in prop::collection::vec((0..3_u32, any_slot()), 0..60),
        asked in prop::collection::vec((0..3_u32, any_slot()), 0..40),
        parts in 1..5_usize,
    ) {
        let (disk, other) = (new_disk(), new_disk());
        let (ring, at_once) = (begin(&disk), begin(&other));
        for ring in [&ring, &at_once] {
            ring.subjects(["ada", "bob"]).unwrap();
        }
        let asked: Vec<_> = asked.into_iter().chain(burned.clone()).chain((0..70).map(|slot| (1, slot))).collect();
        let before: Vec<_> = asked.iter().map(|(number, slot)| key(&ring, *number, *slot)).collect();
        for some in burned.chunks(burned.len() / parts + 1) {
            ring.burn(some, &[], 1).unwrap();
        }
        at_once.burn(&burned.iter().rev().copied().collect::<Vec<_>>(), &[], 1).unwrap();
        let gone: BTreeSet<_> = burned.into_iter().collect();
        for ring in [ring, at_once, open(&disk), open(&other)] {
            for (asked, before) in asked.iter().zip(&before) {
                let expect = if gone.contains(asked) { None } else { *before };
                prop_assert_eq!(key(&ring, asked.0, asked.1), expect);
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = file::decode(bytes.clone(), &master(1), SPACE);
        let disk = new_disk();
        disk.replace_private(file(), &[b"MEMOSKEY\x01\0\0\0", &master(1).id(), &bytes]).unwrap();
        prop_assert!(open_with(&disk, 1, SPACE).is_err());
        let _ = MasterKey::parse(&String::from_utf8_lossy(&bytes));
    }
}
