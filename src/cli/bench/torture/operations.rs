//! What a tortured vault is told to do: each operation with what it needs, its one durable step, and how to see whether
//! that is done.

use std::sync::Arc;

use memos::cube::VersionRef;
use memos::disk::MemoryDisk;
use memos::exchange::bundle::{BundleLimits, read_bundle};
use memos::exchange::import::ImportOptions;
use memos::exchange::transfer::{ExportOptions, Selection, export, import};
use memos::prelude::*;
use memos::vault::{Erasure, MasterKeySource, OnConflict, Point};
use memos::{Error, Result};

use super::Job;

/// Cubes of an import.
const IMPORTED: u64 = 200;

/// The space that forks start from.
const ORIGIN: &str = "bench/beginning";
/// The space that is brought back to earlier points.
const UNDONE: &str = "bench/undone";

/// Something durable that a vault can be told to do.
pub(super) struct Operation {
    pub(super) name: &'static str,
    /// Makes what the step needs; it may be there already.
    pub(super) prepare: fn(&Job<'_>) -> Result<()>,
    /// The one step, durable when it returns.
    pub(super) step: fn(&Job<'_>) -> Result<()>,
    /// Returns whether the step is done; fails when it is half done. What can be repeated is completed here.
    pub(super) is_there: fn(&Job<'_>) -> Result<bool>,
}

const FOLLOWS: LinkKind = LinkKind::Follows;

pub(super) const REMEMBER: Operation = Operation {
    name: "remember",
    prepare: |_| Ok(()),
    step: |job| {
        let mut batch = Batch::default();
        for item in 0..4 {
            batch.store(job.id(item), job.draft(item));
            if item > 0 {
                batch.link(job.link(item, FOLLOWS, item - 1));
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
                parts.push(job.is_linked(item, FOLLOWS, item - 1)?);
            }
        }
        parts.push(job.space.usage(job.me(), &job.id(0)).is_ok_and(|usage| usage.reads == 1));
        job.whole(&parts)
    },
};

pub(super) const OPERATIONS: &[Operation] = &[
    REMEMBER,
    Operation {
        name: "update",
        prepare: |job| job.store(2),
        step: |job| job.update(1, no_more(job, 1)),
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
        name: "merge duplicates",
        prepare: |job| job.store(2),
        step: |job| {
            let (into, other) = (job.id(0), job.id(1));
            let parent = job.space.get(job.me(), &into)?.1.digest;
            let sources = vec![VersionRef { cube: other, version: 1 }];
            let mode = UpdateMode::Merge { payload: Payload::text("one of two"), sources };
            let mut batch = Batch::default();
            batch.update(Update { cube: into, parent, mode }).link(job.link(1, LinkKind::MergedInto, 0));
            batch.set_state(other, State::Merged, "the same");
            job.commit(batch)
        },
        is_there: |job| {
            let linked = job.is_linked(1, LinkKind::MergedInto, 0)?;
            job.whole(&[job.says(0, "one of two")?, linked, job.is_in(1, State::Merged)?])
        },
    },
    Operation {
        name: "link",
        prepare: |job| job.store(2),
        step: |job| {
            let mut batch = Batch::default();
            batch.link(job.link(0, FOLLOWS, 1)).set_state(job.id(1), State::Archived, "linked");
            job.commit(batch)
        },
        is_there: |job| job.whole(&[job.is_linked(0, FOLLOWS, 1)?, job.is_in(1, State::Archived)?]),
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
    Operation {
        name: "restore",
        prepare: |job| {
            job.store(1)?;
            if job.cube(0)?.is_some_and(|cube| cube.header.version == 1) {
                job.update(0, no_more(job, 0))
            } else {
                Ok(())
            }
        },
        step: |job| job.space.restore(job.me(), &job.id(0), 1).map(drop),
        is_there: |job| match job.cube(0)? {
            Some(cube) if cube.header.version == 3 => job.whole(&[cube.payload.as_text() == Some(&job.text(0)), true]),
            _ => Ok(false),
        },
    },
    Operation {
        name: "restore space",
        prepare: |job| {
            let job = job.beside_or_new(UNDONE)?;
            job.store(2)?;
            if job.cube(2)?.is_some() {
                return Ok(());
            }
            let (cube, parent) = (job.id(0), job.space.get(job.me(), &job.id(0))?.1.digest);
            let mut batch = Batch::default();
            batch.store(job.id(2), job.draft(2)).update(Update { cube, parent, mode: no_more(&job, 0) });
            batch.link(job.link(0, FOLLOWS, 1));
            job.commit(batch)
        },
        step: |job| {
            let job = job.beside_or_new(UNDONE)?;
            let point = Point::Events(job.space.get(job.me(), &job.id(1))?.1.event + 1);
            job.space.restore_space(job.me(), point, "not meant").map(drop)
        },
        is_there: |job| {
            let job = job.beside_or_new(UNDONE)?;
            if job.cube(2)?.is_none() {
                return Ok(false);
            }
            let back = job.cube(0)?.is_some_and(|cube| cube.payload.as_text() == Some(&job.text(0)));
            job.whole(&[back, job.is_in(2, State::Archived)?, !job.is_linked(0, FOLLOWS, 1)?])
        },
    },
    Operation {
        name: "erase cubes",
        prepare: |job| job.store(2),
        step: |job| {
            let erasure = Erasure::Cubes(vec![job.id(0), job.id(1)]);
            job.space.erase(job.me(), erasure, "not wanted").map(drop)
        },
        is_there: |job| job.whole(&[job.is_erased(0)?, job.is_erased(1)?]),
    },
    Operation {
        name: "erase a subject",
        prepare: |job| {
            job.store_of(Some(&subject(job)), 0..2)?;
            job.store_of(None, 2..3)
        },
        step: |job| job.space.erase(job.me(), Erasure::Subject(subject(job)), "asked to").map(drop),
        is_there: |job| {
            if job.is_erased(2)? {
                return Err(Error::corrupt(format!("operation {} erased what it was not to", job.number)));
            }
            job.whole(&[job.is_erased(0)?, job.is_erased(1)?])
        },
    },
    Operation {
        name: "erase for forks",
        prepare: |job| {
            let origin = origin(job)?;
            origin.store(1)?;
            fork(job)?.space.save_snapshot()
        },
        step: |job| origin(job)?.space.erase(job.me(), Erasure::Cubes(vec![job.id(0)]), "not wanted").map(drop),
        is_there: |job| {
            let Some(fork) = job.beside(&job.space_name("fork")?)? else { return Ok(false) };
            job.whole(&[origin(job)?.is_erased(0)?, fork.cube(0)?.is_none()])
        },
    },
    Operation {
        name: "erase a space",
        prepare: |job| job.in_space(job.run.vault.borrow().space(&job.space_name("short")?)?).store(2),
        step: |job| job.run.vault.borrow().erase_space(job.me(), &job.space_name("short")?).map(drop),
        is_there: |job| match job.beside(&job.space_name("short")?)? {
            None => Ok(true),
            // What is left of it is all of it; one that was only just begun has nothing to lose.
            Some(job) => job.whole(&[job.is_erased(0)?, job.is_erased(1)?, false]),
        },
    },
    Operation {
        name: "fork",
        prepare: |job| origin(job)?.store(2),
        step: |job| fork(job).map(drop),
        is_there: |job| {
            let Some(fork) = job.beside(&job.space_name("fork")?)? else { return Ok(false) };
            job.whole(&[true, fork.says(0, &job.text(0))?, fork.says(1, &job.text(1))?])
        },
    },
    Operation {
        name: "write in a fork",
        prepare: |job| fork(job).map(drop),
        step: |job| fork(job)?.commit(pair(job)),
        is_there: |job| match job.beside(&job.space_name("fork")?)? {
            Some(fork) => has_pair(&fork),
            None => Ok(false),
        },
    },
    Operation {
        name: "merge back",
        prepare: |job| {
            let fork = fork(job)?;
            if has_pair(&fork)? { Ok(()) } else { fork.commit(pair(job)) }
        },
        step: |job| {
            let fork = job.space_name("fork")?;
            job.run.vault.borrow().merge_back(job.me(), &fork, OnConflict::Refuse).map(drop)
        },
        is_there: |job| has_pair(&origin(job)?),
    },
    Operation {
        name: "rotate",
        prepare: |_| Ok(()),
        step: |job| {
            let mut vault = job.run.vault.borrow_mut();
            job.run.key.borrow_mut().change(job.number + 1, |next| vault.rotate(next).map(drop))
        },
        // One that was begun was brought to its end when the vault was opened.
        is_there: |job| Ok(job.run.key.borrow().place() > job.number),
    },
    Operation {
        name: "import",
        prepare: |job| {
            *job.bundle.borrow_mut() = bundle(job)?;
            Ok(())
        },
        step: |job| {
            let bundle = read_bundle(job.bundle.borrow().as_slice(), &BundleLimits::default())?;
            import(&job.space, job.me(), bundle, ImportOptions::default()).map(drop)
        },
        is_there: |job| {
            let mut parts = vec![job.is_linked(IMPORTED - 1, FOLLOWS, IMPORTED - 2)?];
            for item in 0..IMPORTED {
                parts.push(job.says(item, &job.text(item))?);
            }
            job.whole(&parts)
        },
    },
];

fn no_more(job: &Job<'_>, item: u64) -> UpdateMode {
    UpdateMode::Overwrite(Payload::text(format!("{} no more", job.text(item))))
}

fn subject(job: &Job<'_>) -> String {
    format!("person {}", job.number)
}

fn origin<'a>(job: &Job<'a>) -> Result<Job<'a>> {
    job.beside_or_new(ORIGIN)
}

/// Returns the operation in its fork, which is begun if it is not there.
fn fork<'a>(job: &Job<'a>) -> Result<Job<'a>> {
    let name = job.space_name("fork")?;
    if let Some(fork) = job.beside(&name)? {
        return Ok(fork);
    }
    let origin = origin(job)?;
    let vault = job.run.vault.borrow();
    Ok(job.in_space(vault.fork(job.me(), origin.space.name(), None, &name)?))
}

fn pair(job: &Job<'_>) -> Batch {
    let mut batch = Batch::default();
    batch.store(job.id(0), job.draft(0)).store(job.id(1), job.draft(1)).link(job.link(1, FOLLOWS, 0));
    batch
}

fn has_pair(job: &Job<'_>) -> Result<bool> {
    job.whole(&[job.says(0, &job.text(0))?, job.says(1, &job.text(1))?, job.is_linked(1, FOLLOWS, 0)?])
}

/// Makes a bundle of the cubes of this operation, in a vault in memory.
fn bundle(job: &Job<'_>) -> Result<Vec<u8>> {
    let disk = Arc::new(MemoryDisk::default());
    let master_key = MasterKeySource::Unencrypted;
    let vault = Vault::open("/scratch", VaultOptions { disk, master_key, ..VaultOptions::builtin()? })?;
    let scratch = job.in_space(vault.space(&"bench/scratch".parse()?)?);
    let mut batch = Batch::default();
    for item in 0..IMPORTED {
        batch.store(job.id(item), job.draft(item));
    }
    batch.link(job.link(IMPORTED - 1, FOLLOWS, IMPORTED - 2));
    scratch.commit(batch)?;
    let mut bytes = Vec::new();
    export(&scratch.space, job.me(), &Selection::default(), ExportOptions::default(), &mut bytes)?;
    Ok(bytes)
}

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
    Ok(ingest(&job.space, job.me(), &source, &IngestOptions::default(), &mut |_, _| {})?.cubes)
}
