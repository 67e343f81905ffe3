//! Single bits that turn in the files of a vault: each is found, with an error that says what is damaged, or harms
//! nothing. Never is anything served that was not written, and nothing panics or hangs.
//!
//! The vault has all that a vault can have: two spaces and a fork, a master key and rings, large bodies, a snapshot, an
//! erased cube. After each bit everything is opened, read, recalled and verified.
//!
//! `MEMOS_FLIPS=10000 MEMOS_SEED=1 cargo test --release -p memos-memory --test bit_flips -- --nocapture` turns ten
//! thousand bits and says how many of each file were found.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/seeded.rs"]
mod seeded;
#[path = "support/space.rs"]
mod space;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use memos_memory::cube::{Cube, CubeDraft, CubeId, Payload, State, Update, UpdateMode, UseSignal};
use memos_memory::disk::{Disk, MemoryDisk};
use memos_memory::graph::{Link, LinkKind};
use memos_memory::limits::Limits;
use memos_memory::operator::{MemoryCall, recall};
use memos_memory::reader::read_question;
use memos_memory::vault::{Batch, Erasure, Space, Vault, VaultOptions};
use memos_memory::{Error, ErrorKind, Result};
use space::{Random, fact, options, principal, segment, space_name};

const ROOT: &str = "/vault";

/// Bits of a run that is not told how many.
const FLIPS: u64 = 500;

/// Cubes of the first space.
const CUBES: u8 = 12;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

fn id(number: u8) -> CubeId {
    CubeId::from_bytes([number; 16])
}

fn opened(disk: &MemoryDisk) -> Result<Vault> {
    let limits = Limits { inline_body_bytes: 300, open_wait_millis: 0, ..Limits::default() };
    Vault::open(ROOT, VaultOptions { disk: Arc::new(disk.clone()), ..options(limits) })
}

fn commit(space: &Space, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::default();
    fill(&mut batch);
    space.commit(&principal("ada"), batch).unwrap();
}

fn text(number: u8) -> String {
    let words = ["boat", "harbour", "red", "house", "garden", "winter", "music"];
    let word = |at: u8| words[usize::from(number.wrapping_mul(7).wrapping_add(at)) % words.len()];
    let repeats = if number.is_multiple_of(5) { 60 } else { 2 };
    format!("memory {number} of the {} and the {}{}", word(0), word(3), " by the sea".repeat(repeats))
}

/// Makes a vault with everything in it.
fn vault() -> MemoryDisk {
    let disk = MemoryDisk::default();
    let (vault, ada) = (opened(&disk).unwrap(), principal("ada"));
    let space = vault.space(&space_name()).unwrap();
    for number in 0..CUBES {
        commit(&space, |batch| {
            let subject = number.is_multiple_of(6).then(|| "bo".to_owned());
            let (speaker, session) = (Some("Ada".to_owned()), Some(format!("day {}", number / 8)));
            batch.store(id(number), CubeDraft { subject, speaker, session, ..fact(text(number)) });
            if number > 0 {
                batch.link(Link { from: id(number), kind: LinkKind::Follows, to: id(number - 1) });
            }
        });
    }
    commit(&space, |batch| {
        batch.store(id(100), CubeDraft::new(memos_memory::cube::SemanticType::Fact, segment(4)));
        batch.set_state(id(3), State::Archived, "not needed").record_use(vec![(id(2), UseSignal::Read)]);
    });
    for number in [1, 10] {
        let parent = space.get(&ada, &id(number)).unwrap().1.digest;
        let mode = UpdateMode::Overwrite(Payload::text(format!("{}, since yesterday", text(number))));
        space.update(&ada, Update { cube: id(number), parent, mode }).unwrap();
    }
    space.erase(&ada, Erasure::Cubes(vec![id(5), id(7)]), "not wanted").unwrap();
    space.save_snapshot().unwrap();
    commit(&space, |batch| _ = batch.store(id(101), fact("behind the snapshot")));
    let fork = vault.fork(&ada, &space_name(), None, &"acme/fork".parse().unwrap()).unwrap();
    commit(&fork, |batch| _ = batch.store(id(102), fact(text(15))));
    let other = vault.space(&"acme/other".parse().unwrap()).unwrap();
    commit(&other, |batch| _ = batch.store(id(0), fact(text(0))));
    drop((space, fork, other, vault));
    disk
}

/// What a vault says when it is asked everything.
#[derive(Default)]
struct Said {
    /// What was asked, and what was answered.
    answers: BTreeMap<String, String>,
    /// What was found damaged.
    damage: Vec<Error>,
}

impl Said {
    fn note(&mut self, asked: String, answered: Result<String>) {
        match answered {
            Ok(answer) => _ = self.answers.insert(asked, answer),
            Err(error) => self.damage.push(error.at(asked)),
        }
    }

    /// Asks for everything that the sound vault has.
    fn of(disk: &MemoryDisk) -> Self {
        let mut said = Self::default();
        let names = ["acme/fork", "acme/other", "acme/test"];
        let vault = match opened(disk) {
            Ok(vault) => vault,
            Err(error) => {
                said.damage.push(error);
                return said;
            }
        };
        for name in names {
            match vault.existing_space(&name.parse().unwrap()) {
                Ok(space) => said.ask(&space, name),
                Err(error) => said.damage.push(error),
            }
        }
        said
    }

    fn ask(&mut self, space: &Space, name: &str) {
        let ada = principal("ada");
        for number in (0..CUBES).chain([100, 101, 102]) {
            let cube = id(number);
            let shown = |cube: &Cube| format!("{:?}", (&cube.header, cube.payload.body()));
            let read = hidden(space.get(&ada, &cube).map(|(cube, head)| format!("{} {:?}", shown(&cube), head.usage)));
            self.note(format!("{name}: cube {number}"), read);
            let versions = space.versions(&ada, &cube);
            let versions = versions.map(|all| all.iter().map(shown).collect::<Vec<_>>().join(" then "));
            self.note(format!("{name}: versions of {number}"), hidden(versions));
            let links = space.neighbourhood(&ada, &cube, 2, 20).map(|around| format!("{:?}", around.links));
            self.note(format!("{name}: links of {number}"), hidden(links));
        }
        for question in ["the boat of the harbour", "behind the snapshot"] {
            let answer = read_question(&[space], MemoryCall::new(ada.clone(), question, space.now()))
                .and_then(|call| recall(&[space], &call))
                .map(|answer| answer.receipts.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
            self.note(format!("{name}: `{question}`"), answer);
        }
        let verified = space.verify(|_, _| {}).map(|verified| format!("{verified:?}"));
        self.note(format!("{name}: verification"), verified);
    }
}

/// That there is no such cube is an answer too.
fn hidden(answer: Result<String>) -> Result<String> {
    match answer {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(format!("none: {error}")),
        other => other,
    }
}

/// Returns the files of a disk that have bytes.
fn files(disk: &MemoryDisk, folder: &Path, found: &mut Vec<PathBuf>) {
    for name in disk.list(folder).unwrap() {
        let path = folder.join(name);
        if disk.is_folder(&path) {
            files(disk, &path, found);
        } else if disk.size(&path).unwrap() > 0 {
            found.push(path);
        }
    }
}

/// A file, and which of its bytes are not zero.
struct Content {
    file: PathBuf,
    bytes: usize,
    written: Vec<usize>,
}

impl Content {
    fn of(disk: &MemoryDisk, file: PathBuf) -> Self {
        let bytes = disk.read(&file).unwrap();
        let written = bytes.iter().enumerate().filter(|(_, byte)| **byte != 0).map(|(at, _)| at).collect();
        Self { file, bytes: bytes.len(), written }
    }

    /// Chooses a byte. Most of a store's file is room, so three of four are bytes that are not zero.
    fn draw(&self, random: &mut Random) -> usize {
        if random.chance(3, 4) { *random.pick(&self.written) } else { random.below(self.bytes) }
    }
}

/// One bit of a file.
struct Flip {
    file: PathBuf,
    at: usize,
    bit: u8,
}

/// Returns the name under which a file is counted; large bodies are counted together.
fn counted(file: &Path) -> String {
    let folder = file.parent().unwrap();
    if folder.ends_with("bodies") { folder } else { file }.display().to_string()
}

/// Draws so many bits, as many of each kind of file.
fn drawn(disk: &MemoryDisk, flips: u64, seed: u64) -> Vec<Flip> {
    let mut paths = Vec::new();
    files(disk, Path::new(ROOT), &mut paths);
    let mut kinds: BTreeMap<String, Vec<Content>> = BTreeMap::new();
    for path in paths {
        kinds.entry(counted(&path)).or_default().push(Content::of(disk, path));
    }
    let kinds: Vec<_> = kinds.into_values().collect();
    let mut random = Random::new(seed);
    let mut draw = || {
        let kind = random.below(kinds.len());
        let content = &kinds[kind][random.below(kinds[kind].len())];
        Flip { file: content.file.clone(), at: content.draw(&mut random), bit: random.below(8) as u8 }
    };
    (0..flips).map(|_| draw()).collect()
}

/// Turns one bit and asks for everything. Returns whether the damage was found, or why it should have been.
fn turned(sound: &MemoryDisk, answers: &BTreeMap<String, String>, flip: &Flip) -> std::result::Result<bool, String> {
    let disk = sound.copy();
    let opened = disk.open(&flip.file, false).unwrap();
    let mut byte = [0];
    opened.read_at(flip.at as u64, &mut byte).unwrap();
    opened.write_at(flip.at as u64, &[byte[0] ^ (1 << flip.bit)]).unwrap();
    drop(opened);
    let said = catch_unwind(AssertUnwindSafe(|| Said::of(&disk))).map_err(|_| "it panics".to_owned())?;
    for error in &said.damage {
        if !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Denied | ErrorKind::Invalid) {
            return Err(format!("the error is {:?}: {error}", error.kind()));
        }
    }
    for (asked, answered) in &said.answers {
        let is_told = answered.starts_with("none: ") && !said.damage.is_empty();
        if answers[asked] != *answered && !is_told {
            return Err(format!("{asked}: {answered}, and not {}; found: {:?}", answers[asked], said.damage));
        }
    }
    if said.damage.is_empty() && said.answers.len() != answers.len() {
        return Err("something is not there, and nothing is said to be damaged".to_owned());
    }
    Ok(!said.damage.is_empty())
}

#[test]
fn a_bit_that_turns_is_found_or_harmless() {
    let (flips, seed) = (number("MEMOS_FLIPS", FLIPS), number("MEMOS_SEED", 1));
    let sound = vault();
    let Said { answers, damage } = Said::of(&sound.copy());
    assert!(damage.is_empty(), "{damage:?}");
    let flips = drawn(&sound, flips, seed);
    // Below, the store panics on some damages, which is caught and told; what it prints would bury what matters.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    let work = || {
        while let Some(flip) = flips.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = turned(&sound, &answers, flip);
            outcomes.lock().unwrap().push((flip, outcome));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    std::panic::set_hook(hook);
    let (mut counts, mut wrong) = (BTreeMap::<String, (u64, u64)>::new(), Vec::new());
    for (Flip { file, at, bit }, outcome) in outcomes.into_inner().unwrap() {
        match outcome {
            Ok(found) => {
                let (found_here, harmless) = counts.entry(counted(file)).or_default();
                *(if found { found_here } else { harmless }) += 1;
            }
            Err(why) => wrong.push(format!("bit {bit} of byte {at} of `{}`: {why}", file.display())),
        }
    }
    for (file, (found, harmless)) in &counts {
        println!("{file:32} {found:6} found {harmless:6} harmless");
    }
    let first = wrong[..wrong.len().min(10)].join("\n");
    assert!(wrong.is_empty(), "seed {seed}: {} of {}:\n{first}", wrong.len(), flips.len());
}
