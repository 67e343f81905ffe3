//! Damaged storage: whatever byte is flipped and whatever file is cut or gone, a space opens as it was or says `Corrupt`;
//! it never panics, and never serves what was not stored.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/seeded.rs"]
mod seeded;
#[path = "support/space.rs"]
mod space;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use memos_memory::cube::{Cube, CubeDraft, CubeId, Layer, Payload, State, Update, UpdateMode, Usage, UseSignal};
use memos_memory::graph::{Link, LinkKind};
use memos_memory::limits::Limits;
use memos_memory::vault::{Batch, CubeHead, Space};
use memos_memory::{Error, ErrorKind, Result};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use space::{Random, fact, open, options, principal, segment, space_name};

const STORE: &str = "ledger.redb";
const SNAPSHOT: &str = "projection.bin";
const RING: &str = "keys.ring";
const MASTER_KEY: &str = "master.key";
const TABLES: [&str; 3] = ["events", "records", "vectors"];

fn table(name: &str) -> TableDefinition<'_, u64, &'static [u8]> {
    TableDefinition::new(name)
}

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// What a reader was told: a value, or the kind of a refusal.
type Told<T> = std::result::Result<T, ErrorKind>;

/// A cube's present version, all its versions, and its use.
type Seen = (Told<(Cube, CubeHead)>, Told<Vec<Cube>>, Told<Usage>);

/// All that a space says of its cubes.
#[derive(Debug, Clone, PartialEq)]
struct Image {
    cubes: Vec<Seen>,
    /// Cubes, links, sessions and events.
    counts: (usize, usize, usize, u64),
}

/// A small space with all kinds of events, a large body in a file, and a snapshot that reaches to its end.
struct Sample {
    root: tempfile::TempDir,
    ids: Vec<CubeId>,
    large: Payload,
    image: Image,
}

fn limits() -> Limits {
    Limits { inline_body_bytes: 300, ..Limits::default() }
}

fn folder_of(root: &Path) -> PathBuf {
    root.join(space_name().as_str())
}

fn image(space: &Space, ids: &[CubeId]) -> Image {
    let ada = principal("ada");
    let kind = |error: Error| error.kind();
    let of = |id: &CubeId| {
        (space.get(&ada, id).map_err(kind), space.versions(&ada, id).map_err(kind), space.usage(&ada, id).map_err(kind))
    };
    let stats = space.stats(&ada);
    Image {
        cubes: ids.iter().map(of).collect(),
        counts: (stats.cubes, stats.links, stats.sessions, stats.ledger.events),
    }
}

fn sample() -> Sample {
    let root = tempfile::tempdir().unwrap();
    let ada = principal("ada");
    let space = open(root.path(), &options(limits())).unwrap();
    let mut ids = Vec::new();
    for n in 0..6 {
        let draft = CubeDraft {
            layer: if n % 2 == 0 { Layer::Private } else { Layer::Global },
            session: Some(format!("session {}", n / 2)),
            tags: vec![format!("topic:{n}")],
            ..fact(format!("box {n} holds {} apples", n * 7))
        };
        ids.push(space.remember(&ada, draft).unwrap());
    }
    let large = Payload::text("a long story ".repeat(40));
    ids.push(space.remember(&ada, CubeDraft { payload: large.clone(), ..fact("") }).unwrap());
    ids.push(space.remember(&ada, CubeDraft { payload: segment(2), ..fact("") }).unwrap());
    for text in ["box 0 is empty", "box 0 is full"] {
        let parent = space.get(&ada, &ids[0]).unwrap().1.digest;
        space.update(&ada, Update { cube: ids[0], parent, mode: UpdateMode::Overwrite(Payload::text(text)) }).unwrap();
    }
    let mut batch = Batch::default();
    for pair in ids.windows(2) {
        batch.link(Link { from: pair[1], kind: LinkKind::Follows, to: pair[0] });
    }
    batch.unlink(Link { from: ids[2], kind: LinkKind::Follows, to: ids[1] });
    batch.set_state(ids[3], State::Archived, "not needed").record_use(vec![(ids[4], UseSignal::Read)]);
    space.commit(&ada, batch).unwrap();
    space.save_snapshot().unwrap();
    let image = image(&space, &ids);
    Sample { root, ids, large, image }
}

impl Sample {
    fn folder(&self) -> PathBuf {
        folder_of(self.root.path())
    }

    /// Makes a copy to spoil; without its snapshot all of the ledger is read when it opens.
    fn copy(&self, with_snapshot: bool) -> tempfile::TempDir {
        let copy = space::quick_folder();
        let (from, to) = (self.folder(), folder_of(copy.path()));
        fs::create_dir_all(to.join("bodies")).unwrap();
        fs::copy(from.join(STORE), to.join(STORE)).unwrap();
        fs::copy(from.join(RING), to.join(RING)).unwrap();
        fs::copy(self.root.path().join(MASTER_KEY), copy.path().join(MASTER_KEY)).unwrap();
        for body in fs::read_dir(from.join("bodies")).unwrap() {
            let body = body.unwrap();
            fs::copy(body.path(), to.join("bodies").join(body.file_name())).unwrap();
        }
        if with_snapshot {
            fs::copy(from.join(SNAPSHOT), to.join(SNAPSHOT)).unwrap();
        }
        copy
    }

    fn file_of_large(&self, root: &Path) -> PathBuf {
        let (large, _) = self.image.cubes[6].0.as_ref().unwrap();
        folder_of(root).join("bodies").join(large.header.seal.digest.to_string())
    }

    /// Opens a spoiled copy: it must be as it was, or say what is wrong where it is wrong. Returns what the opening said.
    fn check(&self, root: &Path, place: &str) -> Option<ErrorKind> {
        let opened = catch_unwind(AssertUnwindSafe(|| self.look(root)));
        match opened.unwrap_or_else(|_| panic!("{place}: a panic")) {
            Ok(found) => {
                assert_eq!(found.counts, self.image.counts, "{place}");
                for (found, expect) in found.cubes.iter().zip(&self.image.cubes) {
                    same_or_corrupt(&found.0, &expect.0, place);
                    same_or_corrupt(&found.1, &expect.1, place);
                    same_or_corrupt(&found.2, &expect.2, place);
                }
                None
            }
            Err(error) => {
                // An event that says it is of a later format may also be damaged; nobody can tell.
                let newer = error.kind() == ErrorKind::Invalid && error.to_string().contains("newer");
                assert!(error.kind() == ErrorKind::Corrupt || newer, "{place}: {:?}, {error}", error.kind());
                Some(error.kind())
            }
        }
    }

    fn look(&self, root: &Path) -> Result<Image> {
        Ok(image(&open(root, &options(limits()))?, &self.ids))
    }
}

fn same_or_corrupt<T: std::fmt::Debug + PartialEq>(found: &Told<T>, expect: &Told<T>, place: &str) {
    match found {
        Err(ErrorKind::Corrupt) => {}
        found => assert_eq!(found, expect, "{place}: altered content was served"),
    }
}

#[test]
fn a_damaged_snapshot_is_made_again() {
    let sample = sample();
    let whole = fs::read(sample.folder().join(SNAPSHOT)).unwrap();
    let mut random = Random::new(21);
    let copy = sample.copy(true);
    let file = folder_of(copy.path()).join(SNAPSHOT);
    for round in 0..80 {
        let mut bytes = whole.clone();
        let at = if round < 48 { round } else { random.below(bytes.len()) };
        match round % 4 {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_slice(b"more"),
            _ => bytes[at] ^= 1 << random.below(8),
        }
        fs::write(&file, bytes).unwrap();
        assert_eq!(sample.look(copy.path()).unwrap(), sample.image, "round {round}, byte {at}");
    }
    fs::write(&file, b"").unwrap();
    assert_eq!(sample.look(copy.path()).unwrap(), sample.image);
    fs::remove_file(&file).unwrap();
    assert_eq!(sample.look(copy.path()).unwrap(), sample.image);
}

#[test]
fn a_snapshot_of_another_space_is_not_taken() {
    let (sample, other) = (sample(), tempfile::tempdir().unwrap());
    let space = open(other.path(), &options(limits())).unwrap();
    let ada = principal("ada");
    let id = space.remember(&ada, fact("another space")).unwrap();
    drop(space);
    fs::copy(sample.folder().join(SNAPSHOT), folder_of(other.path()).join(SNAPSHOT)).unwrap();
    let space = open(other.path(), &options(limits())).unwrap();
    assert_eq!(space.stats(&ada).cubes, 1);
    assert_eq!(space.get(&ada, &id).unwrap().0.payload.as_text(), Some("another space"));
}

/// Changes the rows of a table below the program: flips a bit, cuts, or takes a row away.
fn spoil_row(root: &Path, name: &str, row: usize, change: impl FnOnce(&mut Vec<u8>) -> bool) {
    let database = Database::open(folder_of(root).join(STORE)).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut rows = transaction.open_table(table(name)).unwrap();
        let (key, mut value) =
            rows.iter().unwrap().nth(row).unwrap().map(|(key, value)| (key.value(), value.value().to_vec())).unwrap();
        if change(&mut value) {
            rows.insert(key, value.as_slice()).unwrap();
        } else {
            rows.remove(key).unwrap();
        }
    }
    transaction.commit().unwrap();
}

fn row_lengths(root: &Path, name: &str) -> Vec<usize> {
    let database = Database::open(folder_of(root).join(STORE)).unwrap();
    let rows = database.begin_read().unwrap().open_table(table(name)).unwrap();
    rows.iter().unwrap().map(|row| row.unwrap().1.value().len()).collect()
}

#[test]
fn spoiled_rows_are_noticed_and_never_served() {
    let sample = sample();
    let mut random = Random::new(22);
    for name in TABLES {
        let lengths = row_lengths(sample.root.path(), name);
        for (row, length) in lengths.iter().enumerate() {
            for with_snapshot in [false, true] {
                for round in 0..6 {
                    let copy = sample.copy(with_snapshot);
                    let (at, bit) = (random.below(*length), random.below(8));
                    let place =
                        format!("{name}, row {row}, round {round}, byte {at}, bit {bit}, snapshot {with_snapshot}");
                    spoil_row(copy.path(), name, row, |value| {
                        match round {
                            4 => value.truncate(at),
                            5 => return false,
                            _ => value[at] ^= 1 << bit,
                        }
                        true
                    });
                    // A record that is gone is what erasing leaves, and whether its cube was erased is looked up where events
                    // are read.
                    if name == "records" && round == 5 {
                        let told = sample.look(copy.path()).err().map(|error| error.kind());
                        assert!(
                            told == Some(ErrorKind::Corrupt) || (with_snapshot && told.is_none()),
                            "{place}: {told:?}"
                        );
                        continue;
                    }
                    let told = sample.check(copy.path(), &place);
                    // Without a snapshot every event is read, and none can be other than it was; a vector that is gone is
                    // made again.
                    let must_tell = !with_snapshot && (name == "events" || round < 5);
                    assert!(told.is_some() || !must_tell, "{place}: nothing was noticed");
                }
            }
        }
    }
}

#[test]
fn damage_is_not_carried_into_the_next_version() {
    let sample = sample();
    let ada = principal("ada");
    let head = sample.image.cubes[1].0.clone().unwrap().1;
    // The owner's name in the event still reads as one; the others are within the sealed description and the sealed body.
    for (name, row, from_end) in
        [("events", head.event, None), ("records", head.event - 1, Some(20)), ("records", 1, Some(80))]
    {
        let copy = sample.copy(true);
        spoil_row(copy.path(), name, row as usize, |value| {
            let owner = || value.windows(3).rposition(|part| part == b"ada").unwrap() + 1;
            let at = from_end.map_or_else(owner, |from_end| value.len() - from_end);
            value[at] ^= 1;
            true
        });
        let space = open(copy.path(), &options(limits())).unwrap();
        let update = Update { cube: sample.ids[1], parent: head.digest, mode: UpdateMode::Append("more".into()) };
        assert_eq!(space.update(&ada, update).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn flipped_bytes_of_the_store_are_noticed_or_do_not_matter() {
    let sample = sample();
    let whole = fs::read(sample.folder().join(STORE)).unwrap();
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let mut random = Random::new(23);
    let (mut noticed, rounds) = (0, 300);
    let copy = sample.copy(false);
    let file = folder_of(copy.path()).join(STORE);
    for round in 0..rounds {
        let mut bytes = whole.clone();
        // Most of the file is room that is not used yet.
        let at = if round % 10 == 0 { random.below(bytes.len()) } else { *random.pick(&used) };
        bytes[at] ^= 1 << random.below(8);
        fs::write(&file, bytes).unwrap();
        noticed += usize::from(sample.check(copy.path(), &format!("round {round}, byte {at}")).is_some());
    }
    println!("{noticed} of {rounds} were noticed at opening");
    assert!(noticed > rounds / 20);
}

#[test]
fn a_store_that_is_cut_or_is_none_is_corrupt() {
    let sample = sample();
    let whole = fs::read(sample.folder().join(STORE)).unwrap();
    let copy = sample.copy(true);
    let file = folder_of(copy.path()).join(STORE);
    let mut damaged: Vec<(String, Vec<u8>)> = vec![
        ("an empty file".into(), Vec::new()),
        ("one byte".into(), b"r".to_vec()),
        ("a text".into(), b"this is no ledger".repeat(1000)),
        ("zeros".into(), vec![0; whole.len()]),
    ];
    damaged.extend(
        [8, 9, 64, 320, 4096, whole.len() / 2, whole.len() - 1]
            .map(|size| (format!("cut to {size}"), whole[..size].to_vec())),
    );
    for (place, bytes) in damaged {
        fs::write(&file, bytes).unwrap();
        let told =
            catch_unwind(AssertUnwindSafe(|| sample.look(copy.path()))).unwrap_or_else(|_| panic!("{place}: a panic"));
        assert_eq!(told.err().map(|error| error.kind()), Some(ErrorKind::Corrupt), "{place}");
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(
        sample.look(copy.path()).err().map(|error| error.kind()),
        Some(ErrorKind::Corrupt),
        "a store that is gone"
    );
}

#[test]
fn a_format_of_later_programs_is_refused() {
    let sample = sample();
    let copy = sample.copy(true);
    let set = |format: &[u8]| {
        let database = Database::open(folder_of(copy.path()).join(STORE)).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("format", format).unwrap();
        transaction.commit().unwrap();
    };
    for (format, kind, part) in [
        (99_u32.to_le_bytes().to_vec(), ErrorKind::Invalid, "format 99"),
        (vec![1, 0], ErrorKind::Corrupt, "format"),
        (vec![], ErrorKind::Corrupt, "format"),
    ] {
        set(&format);
        let error = sample.look(copy.path()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    set(&1_u32.to_le_bytes());
    assert_eq!(sample.look(copy.path()).unwrap(), sample.image);

    let copy = sample.copy(false);
    spoil_row(copy.path(), "events", 3, |value| {
        value[0] = 77;
        true
    });
    let error = sample.look(copy.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("format 77") && error.to_string().contains("newer"), "{error}");
}

#[test]
fn large_bodies_are_files_and_are_checked() {
    let sample = sample();
    let (ada, id) = (principal("ada"), sample.ids[6]);
    let get = |root: &Path| open(root, &options(limits())).and_then(|space| Ok(space.get(&ada, &id)?.0.payload));
    let copy = sample.copy(true);
    let file = sample.file_of_large(copy.path());
    let stored = fs::read(&file).unwrap();
    let text = &sample.large.body()[..13];
    assert!(!stored.windows(text.len()).any(|part| part == text), "a large body is encrypted too");
    assert_eq!(get(copy.path()).unwrap(), sample.large);

    let mut altered = stored.clone();
    altered[100] ^= 1;
    for (place, bytes) in
        [("altered", Some(altered)), ("cut", Some(stored[..50].to_vec())), ("empty", Some(vec![])), ("gone", None)]
    {
        match bytes {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        assert_eq!(get(copy.path()).unwrap_err().kind(), ErrorKind::Corrupt, "{place}");
        // Without a snapshot the body is needed to open.
        let without = folder_of(copy.path()).join(SNAPSHOT);
        let kept = fs::read(&without).unwrap();
        fs::remove_file(&without).unwrap();
        assert_eq!(get(copy.path()).unwrap_err().kind(), ErrorKind::Corrupt, "{place}");
        fs::write(&without, kept).unwrap();
    }
}

#[test]
fn a_spoiled_file_harms_no_other_cube_with_the_same_body() {
    let sample = sample();
    let ada = principal("ada");
    let copy = sample.copy(true);
    let file = sample.file_of_large(copy.path());
    // What a program leaves that died while it wrote, and a file that was spoiled.
    fs::write(file.with_extension("partial"), b"half").unwrap();
    fs::write(&file, b"spoiled").unwrap();
    let options = options(limits());
    let id = CubeId::from_bytes([9; 16]);
    let space = open(copy.path(), &options).unwrap();
    let mut batch = Batch::default();
    batch.store(id, CubeDraft { payload: sample.large.clone(), ..fact("") });
    space.commit(&ada, batch).unwrap();
    assert_eq!(space.get(&ada, &id).unwrap().0.payload, sample.large, "what was acknowledged can be read");
    assert_eq!(space.get(&ada, &sample.ids[6]).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_ring_that_is_damaged_or_gone_is_told_and_never_made_anew() {
    let sample = sample();
    let copy = sample.copy(true);
    let file = folder_of(copy.path()).join(RING);
    let whole = fs::read(&file).unwrap();
    let mut random = Random::new(24);
    let told = |place: &str| {
        let looked = catch_unwind(AssertUnwindSafe(|| sample.look(copy.path())));
        let error = looked.unwrap_or_else(|_| panic!("{place}: a panic")).err();
        error.unwrap_or_else(|| panic!("{place}: it was not noticed")).kind()
    };
    for round in 0..60 {
        let mut bytes = whole.clone();
        let at = if round < 30 { round } else { random.below(bytes.len()) };
        if round % 3 == 0 {
            bytes.truncate(at)
        } else {
            bytes[at] ^= 1 << random.below(8)
        }
        fs::write(&file, bytes).unwrap();
        let place = format!("round {round}, byte {at}");
        let kind = told(&place);
        // A ring that names another master key may also be damaged; nobody can tell.
        assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::Denied | ErrorKind::Invalid), "{place}: {kind:?}");
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(told("a ring that is gone"), ErrorKind::Corrupt);
    assert!(!file.exists(), "a new ring would read nothing");
    fs::write(&file, &whole).unwrap();
    assert_eq!(sample.look(copy.path()).unwrap(), sample.image);
    fs::remove_file(copy.path().join(MASTER_KEY)).unwrap();
    assert_eq!(told("a master key that is gone"), ErrorKind::Denied);
    assert!(!copy.path().join(MASTER_KEY).exists());
}
