//! A program that is there to be killed: it does one durable operation after the other, says each when it is acknowledged,
//! and can be told to look whether what it said is true.
//!
//! Every operation has a number, and all it does follows from that and the seed, so another process can hold the space
//! against it. An operation has a first part, which makes what it needs, and the one durable step that it is about. `start N
//! NAME` is said between the two, and `ack N` behind the second. A new operation is a row of [`OPERATIONS`].

use std::path::{Path, PathBuf};

use clap::Args;
use memos::cube::{Cube, Digest, VersionRef};
use memos::limits::Limits;
use memos::prelude::*;
use memos::{Error, Result};

use super::Screen;
use super::corpus::Corpus;
use super::measure::principal;

#[derive(Args)]
pub(super) struct TortureArguments {
    /// The folder that the space is in
    #[arg(long)]
    folder: PathBuf,
    /// What the operations follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of the first operation
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Operations to do; without it, until it is killed
    #[arg(long)]
    count: Option<u64>,
    /// Looks instead whether the operations from the first on that were acknowledged, so many, are whole, and the one behind
    /// them whole or absent
    #[arg(long)]
    acknowledged: Option<u64>,
}

pub(super) fn run(arguments: &TortureArguments, screen: &mut Screen) -> Result<()> {
    let run = Run { space: space(&arguments.folder)?, me: principal()?, seed: arguments.seed };
    let TortureArguments { first, count, acknowledged, .. } = *arguments;
    if let Some(acknowledged) = acknowledged {
        return check(&run, first, acknowledged, screen);
    }
    for number in first..count.map_or(u64::MAX, |count| first.saturating_add(count)) {
        let (operation, job) = (run.operation(number), run.job(number));
        (operation.prepare)(&job)?;
        screen.result(format_args!("start {number} {}", operation.name));
        screen.flush()?;
        (operation.step)(&job)?;
        screen.result(format_args!("ack {number}"));
        screen.flush()?;
    }
    Ok(())
}

/// Opens the space with bounds under which bodies of some kilobytes are kept in files.
fn space(folder: &Path) -> Result<Space> {
    let limits = Limits { inline_body_bytes: 8192, ..Limits::default() };
    Vault::open(folder, VaultOptions { limits, ..VaultOptions::builtin()? })?.space(&"bench/measure".parse()?)
}

/// Says `next N NAME whole` or `next N NAME absent` of the operation that was not acknowledged, and fails when another one is
/// not whole, or any is half there.
fn check(run: &Run, first: u64, acknowledged: u64, screen: &mut Screen) -> Result<()> {
    let behind = first.saturating_add(acknowledged);
    for number in first..behind {
        let operation = run.operation(number);
        if !(operation.is_there)(&run.job(number))? {
            return Err(Error::corrupt(format!(
                "operation {number}, {}, was acknowledged and is gone",
                operation.name
            )));
        }
    }
    let operation = run.operation(behind);
    let there = (operation.is_there)(&run.job(behind))?;
    screen.result(format_args!("next {behind} {} {}", operation.name, if there { "whole" } else { "absent" }));
    Ok(())
}

struct Run {
    space: Space,
    me: Principal,
    seed: u64,
}

impl Run {
    fn job(&self, number: u64) -> Job<'_> {
        Job { space: &self.space, me: &self.me, seed: self.seed, number }
    }

    fn operation(&self, number: u64) -> &'static Operation {
        let which = Corpus::new(self.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9))).number();
        let place = (which % OPERATIONS.len() as u64) as usize;
        OPERATIONS.get(place).unwrap_or(&REMEMBER)
    }
}

/// One operation with its number.
struct Job<'a> {
    space: &'a Space,
    me: &'a Principal,
    seed: u64,
    number: u64,
}

impl Job<'_> {
    /// Returns the id of a cube of this operation.
    fn id(&self, item: u64) -> CubeId {
        let digest = Digest::of(format!("{}/{}/{item}", self.seed, self.number).as_bytes());
        CubeId::from_bytes(*digest.as_bytes().first_chunk().unwrap_or(&[0; 16]))
    }

    /// Returns what a cube of this operation says. Some are so long that they are kept in files.
    fn text(&self, item: u64) -> String {
        let repeats = if item == 1 && self.number.is_multiple_of(3) { 1000 } else { 3 };
        format!("item {item} of operation {}{}", self.number, " is on the shelf".repeat(repeats))
    }

    fn draft(&self, item: u64) -> CubeDraft {
        CubeDraft::text(SemanticType::Fact, self.text(item))
    }

    /// Stores the first cubes of the operation where they are not there yet.
    fn store(&self, items: u64) -> Result<()> {
        let mut batch = Batch::default();
        for item in 0..items {
            if self.cube(item)?.is_none() {
                batch.store(self.id(item), self.draft(item));
            }
        }
        self.commit(batch)
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        if batch.is_empty() { Ok(()) } else { self.space.commit(self.me, batch).map(drop) }
    }

    fn cube(&self, item: u64) -> Result<Option<Cube>> {
        match self.space.get(self.me, &self.id(item)) {
            Ok((cube, _)) => Ok(Some(cube)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns whether a cube says this now. It may say what it said at first, or be absent, and nothing else.
    fn says(&self, item: u64, text: &str) -> Result<bool> {
        let Some(cube) = self.cube(item)? else { return Ok(false) };
        match cube.payload.as_text() {
            Some(found) if found == text => Ok(true),
            Some(found) if found == self.text(item) => Ok(false),
            _ => Err(Error::corrupt(format!("operation {}: item {item} says something else", self.number))),
        }
    }

    fn update(&self, item: u64, mode: UpdateMode) -> Result<()> {
        let cube = self.id(item);
        let parent = self.space.get(self.me, &cube)?.1.digest;
        self.space.update(self.me, Update { cube, parent, mode }).map(drop)
    }

    /// Returns whether all parts are there or none is.
    fn whole(&self, parts: &[bool]) -> Result<bool> {
        let there = parts.iter().filter(|part| **part).count();
        if there != 0 && there != parts.len() {
            return Err(Error::corrupt(format!("operation {} is half there: {parts:?}", self.number)));
        }
        Ok(there > 0)
    }

    fn link(&self, from: u64, to: u64) -> Link {
        Link { from: self.id(from), kind: LinkKind::Follows, to: self.id(to) }
    }

    fn is_linked(&self, from: u64, to: u64) -> Result<bool> {
        match self.space.neighbourhood(self.me, &self.id(from), 1, 10) {
            Ok(around) => Ok(around.links.contains(&self.link(from, to))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Something durable that a space can be told to do.
struct Operation {
    name: &'static str,
    /// Makes what the step needs; it may be there already.
    prepare: fn(&Job<'_>) -> Result<()>,
    /// The one step, durable when it returns.
    step: fn(&Job<'_>) -> Result<()>,
    /// Returns whether the step is done; fails when it is half done. What can be repeated is completed here.
    is_there: fn(&Job<'_>) -> Result<bool>,
}

const REMEMBER: Operation = Operation {
    name: "remember",
    prepare: |_| Ok(()),
    step: |job| {
        let mut batch = Batch::default();
        for item in 0..4 {
            batch.store(job.id(item), job.draft(item));
            if item > 0 {
                batch.link(job.link(item, item - 1));
            }
        }
        batch.record_use(vec![(job.id(0), UseSignal::Read)]);
        job.commit(batch)
    },
    is_there: |job| {
        let mut parts = Vec::new();
        for item in 0..4 {
            parts.push(job.says(item, &job.text(item))?);
            if item > 0 {
                parts.push(job.is_linked(item, item - 1)?);
            }
        }
        parts.push(job.space.usage(job.me, &job.id(0)).is_ok_and(|usage| usage.reads == 1));
        job.whole(&parts)
    },
};

const OPERATIONS: &[Operation] = &[
    REMEMBER,
    Operation {
        name: "update",
        prepare: |job| job.store(2),
        step: |job| job.update(1, UpdateMode::Overwrite(Payload::text(format!("{} no more", job.text(1))))),
        is_there: |job| job.says(1, &format!("{} no more", job.text(1))),
    },
    Operation {
        name: "merge",
        prepare: |job| job.store(3),
        step: |job| {
            let sources = [1, 2].map(|item| VersionRef { cube: job.id(item), version: 1 }).to_vec();
            job.update(0, UpdateMode::Merge { payload: Payload::text("all of it"), sources })
        },
        is_there: |job| {
            let merged = job.says(0, "all of it")?;
            let sources = job.cube(0)?.map_or(0, |cube| cube.header.chain.derived_from.len());
            job.whole(&[merged, sources == 2])
        },
    },
    Operation {
        name: "link",
        prepare: |job| job.store(2),
        step: |job| {
            let mut batch = Batch::default();
            batch.link(job.link(0, 1)).set_state(job.id(1), State::Archived, "linked");
            job.commit(batch)
        },
        is_there: |job| {
            let archived = job.cube(1)?.is_some_and(|cube| cube.header.lifecycle.state == State::Archived);
            job.whole(&[job.is_linked(0, 1)?, archived])
        },
    },
    Operation {
        name: "ingest",
        prepare: |_| Ok(()),
        step: |job| read(job).map(drop),
        // What is not there yet is taken in by reading again, and then nothing is left to take in.
        is_there: |job| {
            let missing = read(job)?;
            job.whole(&[read(job)? == 0])?;
            Ok(missing == 0)
        },
    },
    Operation { name: "snapshot", prepare: |_| Ok(()), step: |job| job.space.save_snapshot(), is_there: |_| Ok(true) },
];

/// Reads a conversation of this operation, and returns how many cubes it added.
fn read(job: &Job<'_>) -> Result<usize> {
    let mut text = String::new();
    for session in 1..=3 {
        text.push_str(&format!("# Session {session} - {session} May 2024\n"));
        for turn in 0..6 {
            let speaker = if turn % 2 == 0 { "Ada" } else { "Bo" };
            text.push_str(&format!("{speaker}: {}, said in turn {turn} of session {session}\n", job.text(0)));
        }
    }
    let name = format!("conversation-{}.txt", job.number);
    let source = read_source(&name, text.as_bytes(), Some(Format::Transcript), &SourceLimits::default())?;
    Ok(ingest(job.space, job.me, &source, &IngestOptions::default(), &mut |_, _| {})?.cubes)
}
