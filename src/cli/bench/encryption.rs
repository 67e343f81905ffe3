//! What encryption costs: the same writes and questions in a space with keys and in one without, in turns.
//!
//! Both are measured in one process, one after the other many times, so that whatever else the machine does meets both.

use clap::Args;
use memos::Result;
use memos::governance::Principal;
use memos::vault::{MasterKeySource, Space, Vault, VaultOptions};
use serde::Serialize;

use super::corpus::{Corpus, Stored, draft};
use super::measure::{ask, folder, in_turns, median, principal, rounded, space_name, timed};
use super::{Screen, report};

#[derive(Args)]
pub(super) struct EncryptionArguments {
    /// Memories to store in batches, and to recall from
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    cubes: u32,
    /// Memories in a batch
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=2000))]
    batch: u32,
    /// Questions to ask
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    questions: u32,
    /// Threads that store one memory at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    writers: u32,
    /// Memories that each of them stores in a round
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    each: u32,
    /// Rounds of that
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
}

/// With `--json`: for each work, milliseconds at the median with keys and without, and the one over the other.
#[derive(Serialize)]
struct Figures {
    cubes: u32,
    /// One batch made durable.
    batch: Both,
    /// All that the threads store in one round.
    singles: Both,
    /// One recall.
    recall: Both,
}

#[derive(Serialize)]
struct Both {
    encrypted_p50_ms: f64,
    plain_p50_ms: f64,
    ratio: f64,
}

/// One of the two spaces.
struct Side {
    _folder: tempfile::TempDir,
    space: Space,
    stored: Stored,
}

impl Side {
    fn new(master_key: MasterKeySource) -> Result<Self> {
        let folder = folder()?;
        let options = VaultOptions { master_key, ..VaultOptions::builtin()? };
        let space = Vault::open(folder.path(), options)?.space(&space_name()?)?;
        Ok(Self { _folder: folder, space, stored: Stored::new() })
    }

    fn add(&mut self, me: &Principal, count: usize) -> Result<f64> {
        Ok(timed(|| self.stored.add(&self.space, me, count))?.1)
    }

    /// Lets many threads store one memory at a time, and returns the milliseconds until all have ended.
    fn add_singly(&self, me: &Principal, arguments: &EncryptionArguments, round: u32) -> Result<f64> {
        let write = |writer: u32| -> Result<()> {
            let mut corpus = Corpus::new(u64::from(round) << 32 | u64::from(writer));
            (0..arguments.each as usize)
                .try_for_each(|number| self.space.remember(me, draft(&corpus.turn(number), number)).map(drop))
        };
        let all = || {
            std::thread::scope(|scope| {
                let writers: Vec<_> = (0..arguments.writers).map(|writer| scope.spawn(move || write(writer))).collect();
                let ended = |thread: std::thread::ScopedJoinHandle<'_, Result<()>>| {
                    thread.join().unwrap_or_else(|_| Err(memos::Error::corrupt("a writer broke down")))
                };
                writers.into_iter().try_for_each(ended)
            })
        };
        Ok(timed(all)?.1)
    }
}

/// Milliseconds with keys and without, round by round.
#[derive(Default)]
struct Times {
    encrypted: Vec<f64>,
    plain: Vec<f64>,
}

impl Times {
    fn push(&mut self, (encrypted, plain): (f64, f64)) {
        self.encrypted.push(encrypted);
        self.plain.push(plain);
    }

    fn both(&self) -> Both {
        let (encrypted, plain) = (median(&self.encrypted), median(&self.plain));
        Both { encrypted_p50_ms: rounded(encrypted), plain_p50_ms: rounded(plain), ratio: rounded(encrypted / plain) }
    }
}

pub(super) fn run(arguments: &EncryptionArguments, screen: &mut Screen) -> Result<()> {
    let me = principal()?;
    let (mut encrypted, mut plain) = (Side::new(MasterKeySource::Folder)?, Side::new(MasterKeySource::Unencrypted)?);
    let (mut batches, mut recalls, mut singles) = (Times::default(), Times::default(), Times::default());
    let count = arguments.batch as usize;
    let bar = screen.progress("storing");
    let rounds = arguments.cubes.div_ceil(arguments.batch);
    bar.set_length(u64::from(rounds));
    for round in 0..rounds {
        batches.push(in_turns(round, || encrypted.add(&me, count), || plain.add(&me, count))?);
        bar.inc(1);
    }
    bar.finish_and_clear();

    let total = encrypted.stored.ids.len();
    let warm_up = (arguments.questions / 20).max(5);
    for round in 0..arguments.questions + warm_up {
        let Some((_, _, question)) = encrypted.stored.pick(total) else { continue };
        let asked = in_turns(round, || ask(&encrypted.space, &me, question), || ask(&plain.space, &me, question))?;
        if round >= warm_up {
            recalls.push(asked);
        }
    }

    let bar = screen.progress("storing singly");
    bar.set_length(u64::from(arguments.rounds));
    for round in 0..arguments.rounds {
        let write = |side: &Side| side.add_singly(&me, arguments, round);
        singles.push(in_turns(round, || write(&encrypted), || write(&plain))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let figures =
        Figures { cubes: arguments.cubes, batch: batches.both(), singles: singles.both(), recall: recalls.both() };
    let said = |both: &Both| {
        format!("{} ms with keys, {} ms without: {} times", both.encrypted_p50_ms, both.plain_p50_ms, both.ratio)
    };
    let singly = format!("{} stored singly by {}", arguments.writers * arguments.each, arguments.writers);
    report(
        screen,
        &figures,
        &[
            ("memories", figures.cubes.to_string()),
            (&format!("a batch of {count}"), said(&figures.batch)),
            (&singly, said(&figures.singles)),
            ("recall", said(&figures.recall)),
        ],
    )
}
