//! The real program, killed at random moments: what it acknowledged is there afterwards, the rest is absent or whole, and it
//! goes on from there.
//!
//! `MEMOS_KILLS=500 MEMOS_SEED=7 cargo test --release --test kills -- --nocapture` kills it five hundred times, and says how
//! often in the middle of what. The program's part is `memos bench torture`; after every kill it also verifies every space.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Kills of a run that is not told how many.
const KILLS: u64 = 24;

/// Kills after which another vault is begun, so that looking at all of it stays quick.
const KILLS_OF_A_VAULT: u64 = 40;

/// Operations of the run that is measured first; a kill comes before so many are done.
const MEASURED: u64 = 24;

/// The longest that a program lives, however slow the machine was when it was measured.
const LONGEST_MICROS: u64 = 600_000;

/// Every so many kills all operations since the vault began are looked at; otherwise those that are new.
const WHOLE_CHECKS: u64 = 10;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

fn torture(folder: &Path, seed: u64, first: u64) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memos"));
    command.args(["bench", "torture", "--seed", &seed.to_string(), "--first", &first.to_string(), "--folder"]);
    command.arg(folder).stdin(Stdio::null());
    command
}

/// Numbers that follow from a seed: SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

/// What was going on when the program was killed.
#[derive(Debug, Default)]
struct Moments {
    /// What it was doing, and how often that was whole and absent afterwards.
    during: BTreeMap<String, (u64, u64)>,
    between: u64,
    opening: u64,
    ended: u64,
}

/// Lets the program work for a while and kills it. Returns how many operations it acknowledged, and the name of the one that
/// it had begun, if any; none when it said nothing at all.
fn killed(folder: &Path, seed: u64, first: u64, after: Duration) -> (u64, Option<String>, bool) {
    let mut child = torture(folder, seed, first).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The pipe must not fill up while this sleeps.
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<String>>());
    std::thread::sleep(after);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(status.code().is_none(), "it ended by itself before it was killed: {status}");
    let lines = reader.join().unwrap();
    let (mut acknowledged, mut begun) = (0, None);
    for line in &lines {
        // A line that the kill cut is none.
        match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
            ["start", number, name] if number == (first + acknowledged).to_string() => begun = Some(name.to_owned()),
            ["ack", number] if number == (first + acknowledged).to_string() => {
                (acknowledged, begun) = (acknowledged + 1, None)
            }
            _ => assert_eq!(Some(line), lines.last(), "it says things in another order"),
        }
    }
    (acknowledged, begun, lines.is_empty())
}

/// Lets the program look at what is there. Returns the number of the operation that comes next.
fn checked(folder: &Path, seed: u64, first: u64, acknowledged: u64, context: &str) -> (u64, bool) {
    let output = torture(folder, seed, first).args(["--acknowledged", &acknowledged.to_string()]).output().unwrap();
    let (said, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{context}: {}: {complaints}", output.status);
    let words: Vec<&str> = said.trim().split(' ').collect();
    let ["next", next, .., how @ ("whole" | "absent")] = words[..] else { panic!("{context}: {said}") };
    let (next, whole) = (next.parse::<u64>().unwrap(), how == "whole");
    (next + u64::from(whole), whole)
}

#[test]
fn what_the_program_acknowledges_outlives_a_kill() {
    let (kills, seed) = (number("MEMOS_KILLS", KILLS), number("MEMOS_SEED", 1));
    println!("MEMOS_SEED={seed} MEMOS_KILLS={kills}");
    // A kill is not about the disk, so the files are in memory where the machine has such a place.
    let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let started = Instant::now();
    let measured =
        torture(&root.path().join("measured"), seed, 0).args(["--count", &MEASURED.to_string()]).output().unwrap();
    assert!(measured.status.success(), "{}", String::from_utf8_lossy(&measured.stderr));
    let longest = (started.elapsed().as_micros() as u64).min(LONGEST_MICROS);

    let (mut random, mut moments) = (Random(seed), Moments::default());
    let (mut folder, mut seed, mut first) = (root.path().join("vault"), seed, 0);
    for kill in 0..kills {
        if kill > 0 && kill % KILLS_OF_A_VAULT == 0 {
            std::fs::remove_dir_all(&folder).unwrap();
            (seed, first) = (seed + 1, 0);
            folder = root.path().join(format!("vault-{seed}"));
        }
        let after = Duration::from_micros(random.below(longest));
        let (acknowledged, begun, silent) = killed(&folder, seed, first, after);
        let context = format!(
            "seed {seed}, kill {kill} after {after:?} and {acknowledged} operations from {first}, in {begun:?}"
        );
        let behind = first + acknowledged;
        let snapshot = folder.join("bench/measure/projection.bin");
        if random.below(3) == 0 && snapshot.exists() {
            // Without it all events are read and held against the chain.
            std::fs::remove_file(snapshot).unwrap();
        }
        let from = if (kill + 1) % WHOLE_CHECKS == 0 || kill + 1 == kills { 0 } else { first };
        let (next, whole) = checked(&folder, seed, from, behind - from, &context);
        match begun {
            Some(name) => {
                let (there, absent) = moments.during.entry(name).or_default();
                *(if whole { there } else { absent }) += 1;
            }
            None if silent => moments.opening += 1,
            None => moments.between += 1,
        }
        moments.ended += acknowledged;
        first = next;
    }
    println!(
        "{kills} kills within {longest} us each; {} operations acknowledged, none lost, none half there",
        moments.ended
    );
    println!("killed before the first operation: {}; between two: {}", moments.opening, moments.between);
    for (name, (whole, absent)) in &moments.during {
        println!("killed during {name:16} {:4}: {whole} whole afterwards, {absent} absent", whole + absent);
    }
    assert!(moments.ended > kills, "the programs died before they did anything");
}
