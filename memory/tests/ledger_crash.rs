//! Programs that die, and programs that meet: what was acknowledged before a kill is there whole, what was not is absent or
//! whole, one program at a time has a space open, and a space with another embedder's vectors is refused until it is mended.
//!
//! The dying program is this test binary, started again with one of the ignored tests below and the folder in its
//! environment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/seeded.rs"]
mod seeded;
#[path = "support/space.rs"]
mod space;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use memos_memory::ErrorKind;
use memos_memory::cube::{CubeDraft, CubeId, Digest, SeededIds, SpaceName, UseSignal};
use memos_memory::graph::{Link, LinkKind};
use memos_memory::limits::Limits;
use memos_memory::vault::{Batch, Space, Vault, VaultOptions};
use space::{Random, WordEmbedder, fact, open, open_ledger, options, principal, space_name};

const FOLDER: &str = "MEMOS_TEST_FOLDER";
const FIRST_BATCH: &str = "MEMOS_TEST_FIRST_BATCH";

/// Small, so that some bodies go into files.
fn limits() -> Limits {
    Limits { inline_body_bytes: 400, open_wait_millis: 300, ..Limits::default() }
}

fn folder_of(root: &Path) -> std::path::PathBuf {
    root.join(space_name().as_str())
}

/// Item `item` of batch `batch`, the same in every process.
fn item_id(batch: u64, item: u64) -> CubeId {
    let digest = Digest::of(format!("{batch}/{item}").as_bytes());
    CubeId::from_bytes(*digest.as_bytes().first_chunk().unwrap())
}

fn items(batch: u64) -> u64 {
    1 + batch * 7 % 5
}

fn item_text(batch: u64, item: u64) -> String {
    let repeats = if (batch + item).is_multiple_of(6) { 60 } else { 2 };
    format!("item {item} of batch {batch}{}", " is on the shelf".repeat(repeats))
}

/// Stores the batch's items, links each to the one before, and uses the first: twice as many events as items.
fn fill(batch: &mut Batch, number: u64) {
    for item in 0..items(number) {
        batch.store(item_id(number, item), fact(item_text(number, item)));
        if item > 0 {
            batch.link(Link { from: item_id(number, item), kind: LinkKind::Follows, to: item_id(number, item - 1) });
        }
    }
    batch.record_use(vec![(item_id(number, 0), UseSignal::Read)]);
}

/// Starts this binary again with one of its ignored tests.
fn start(test: &str, root: &Path, first: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, root)
        .env(FIRST_BATCH, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Returns what a started program said with this word in front, in order.
fn said(line: &str, word: &str) -> Option<String> {
    line.find(word).map(|at| line[at + word.len()..].trim().to_owned())
}

#[test]
#[ignore = "is started and killed by the test below"]
fn dying_program() {
    let Ok(root) = std::env::var(FOLDER) else { return };
    let first: u64 = std::env::var(FIRST_BATCH).unwrap().parse().unwrap();
    let space = open(Path::new(&root), &options(limits())).unwrap();
    let mut out = std::io::stdout();
    for number in first.. {
        let mut batch = Batch::default();
        fill(&mut batch, number);
        space.commit(&principal("ada"), batch).unwrap();
        writeln!(out, "durable {number}").unwrap();
        out.flush().unwrap();
        if number.is_multiple_of(9) {
            space.save_snapshot().unwrap();
        }
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let seed = 11;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let root = tempfile::tempdir().unwrap();
    let mut first = 0;
    for kill in 0..20 {
        let mut child = start("dying_program", root.path(), first);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (wait_for, wait) = (random.below(15), Duration::from_micros(random.below(4000) as u64));
        let mut durable = Vec::new();
        while durable.len() < wait_for {
            let line = lines.next().expect("the program ended by itself").unwrap();
            durable.extend(said(&line, "durable ").map(|number| number.parse::<u64>().unwrap()));
        }
        std::thread::sleep(wait);
        child.kill().unwrap();
        child.wait().unwrap();
        durable.extend(lines.map_while(Result::ok).filter_map(|line| said(&line, "durable ")?.parse::<u64>().ok()));
        assert!(durable.iter().copied().eq(first..first + durable.len() as u64), "kill {kill}: {durable:?}");
        first = check_after_kill(root.path(), first + durable.len() as u64, kill);
    }
    assert!(first > 60, "the programs died before they did anything: {first} batches");
}

/// Checks that the batches below `durable` are there whole and that the next one is whole or absent; returns how many
/// batches there are.
fn check_after_kill(root: &Path, durable: u64, kill: usize) -> u64 {
    let (space, ada) = (open(root, &options(limits())).unwrap(), principal("ada"));
    let there = |number: u64, item: u64| match space.get(&ada, &item_id(number, item)) {
        Ok((cube, _)) => {
            assert_eq!(cube.payload.as_text(), Some(item_text(number, item).as_str()));
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "kill {kill}: {error}");
            false
        }
    };
    let whole = |number: u64| {
        let found = (0..items(number)).filter(|item| there(number, *item)).count() as u64;
        assert!(
            found == 0 || found == items(number),
            "kill {kill}: batch {number} has {found} of {} items",
            items(number)
        );
        found > 0
    };
    for number in 0..durable {
        assert!(whole(number), "kill {kill}: batch {number} was acknowledged and is gone");
        assert_eq!(space.usage(&ada, &item_id(number, 0)).unwrap().reads, 1);
    }
    let batches = if whole(durable) { durable + 1 } else { durable };
    assert!(!there(batches, 0) && !there(batches + 1, 0));
    let links: u64 = (0..batches).map(|number| items(number) - 1).sum();
    let stats = space.stats(&ada);
    assert_eq!(
        (stats.links as u64, stats.ledger.events),
        (links, 1 + (0..batches).map(|number| 2 * items(number)).sum::<u64>())
    );
    drop(space);

    let ledger = open_ledger(root, limits());
    let digest =
        ledger.readers().reader().unwrap().replay(0..ledger.head().events, Digest::from_bytes([0; 32]), |_| Ok(()));
    assert_eq!(digest.unwrap(), ledger.head().digest);
    batches
}

#[test]
fn a_kill_while_a_space_begins_does_no_harm() {
    let seed = 12;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    for _ in 0..20 {
        let root = tempfile::tempdir().unwrap();
        let mut child = start("dying_program", root.path(), 0);
        // It takes a moment until the file is there, and another one until it is a ledger.
        let file = folder_of(root.path());
        while !file.exists() {
            std::hint::spin_loop();
        }
        std::thread::sleep(Duration::from_micros(random.below(3000) as u64));
        child.kill().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let durable = lines.map_while(Result::ok).filter(|line| said(line, "durable ").is_some()).count() as u64;
        child.wait().unwrap();
        check_after_kill(root.path(), durable, 0);
    }
}

#[test]
#[ignore = "is started by the test below"]
fn second_program() {
    let Ok(root) = std::env::var(FOLDER) else { return };
    let kind = open(Path::new(&root), &options(limits())).err().map(|error| error.kind());
    println!("told {kind:?}");
}

fn second_program_is_told(root: &Path) -> String {
    let output = start("second_program", root, 0).wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().find_map(|line| said(line, "told ")).unwrap()
}

#[test]
fn one_program_at_a_time_has_a_space_open() {
    let root = tempfile::tempdir().unwrap();
    let vault = Vault::open(root.path(), options(limits())).unwrap();
    let space = vault.space(&space_name()).unwrap();
    let again = vault.space(&space_name()).unwrap();
    let id = again.remember(&principal("ada"), fact("the same vault shares one space")).unwrap();
    assert!(space.get(&principal("ada"), &id).is_ok());

    let refused = |result: memos_memory::Result<Space>| result.err().map(|error| error.kind());
    assert_eq!(refused(open(root.path(), &options(limits()))), Some(ErrorKind::Busy));
    assert_eq!(second_program_is_told(root.path()), "Some(Busy)");
    assert_eq!(vault.reembed(&space_name(), |_, _| {}).unwrap_err().kind(), ErrorKind::Busy);
    assert!(ErrorKind::Busy.is_retryable());
    drop((space, again));
    assert_eq!(second_program_is_told(root.path()), "None");
    assert_eq!(refused(open(root.path(), &options(limits()))), None);
}

fn with_embedder(seed: u64) -> VaultOptions {
    let (embedder, ids) = (Arc::new(WordEmbedder::new(seed)), Arc::new(SeededIds::new(seed)));
    VaultOptions { embedder, ids, ..options(limits()) }
}

#[test]
fn a_space_of_another_embedder_is_refused_until_it_is_mended() {
    let root = tempfile::tempdir().unwrap();
    let ada = principal("ada");
    let space = open(root.path(), &with_embedder(1)).unwrap();
    let texts = ["Bo is allergic to peanuts".to_owned(), "the harbour is red".to_owned(), item_text(0, 0)];
    let ids: Vec<CubeId> = texts.iter().map(|text| space.remember(&ada, fact(text)).unwrap()).collect();
    space.remember(&ada, CubeDraft { payload: space::segment(3), ..fact("") }).unwrap();
    space.save_snapshot().unwrap();
    drop(space);
    let vectors = || {
        let reader = open_ledger(root.path(), limits()).readers().reader().unwrap();
        let vector = |event| reader.vector(event, &reader.bare_header(event).unwrap().seal).unwrap();
        (1..=texts.len() as u64).map(vector).collect::<Vec<_>>()
    };
    let before = vectors();

    let error = open(root.path(), &with_embedder(2)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    for part in ["`words-1:0`", "`words-2:0`", "reembed"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    let mut told = Vec::new();
    let vault = Vault::open(root.path(), with_embedder(2)).unwrap();
    assert_eq!(vault.reembed(&space_name(), |done, all| told.push((done, all))).unwrap(), 3);
    assert_eq!((told.first(), told.last()), (Some(&(0, 5)), Some(&(5, 5))));

    assert_eq!(open(root.path(), &with_embedder(1)).err().unwrap().kind(), ErrorKind::Invalid);
    let space = vault.space(&space_name()).unwrap();
    for (id, text) in ids.iter().zip(&texts) {
        assert_eq!(space.get(&ada, id).unwrap().0.payload.as_text(), Some(text.as_str()));
    }
    assert_eq!((space.stats(&ada).cubes, space.stats(&ada).embedder.as_str()), (4, "words-2:0"));
    let later = space.remember(&ada, fact("written with the new one")).unwrap();
    drop((space, vault));
    let after = vectors();
    assert!(before.iter().zip(&after).all(|(before, after)| after.is_some() && before != after));
    assert!(open(root.path(), &with_embedder(2)).unwrap().get(&ada, &later).is_ok());
}

#[test]
fn mending_what_is_not_there_makes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let vault = Vault::open(root.path(), with_embedder(2)).unwrap();
    let missing: SpaceName = "acme/other".parse().unwrap();
    assert_eq!(vault.reembed(&missing, |_, _| {}).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(vault.spaces().unwrap(), []);
    // A folder that a program made and died in, before it was a space.
    std::fs::create_dir_all(root.path().join(missing.as_str())).unwrap();
    assert_eq!(vault.reembed(&missing, |_, _| {}).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(vault.space(&missing).is_ok(), "it can begin there all the same");
}
