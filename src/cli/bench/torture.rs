//! A program that is there to be killed: it does one durable operation after the other, says each when it is acknowledged,
//! and can be told to look whether what it said is true.
//!
//! Every operation has a number, and all it does follows from that and the seed, so another process can hold the vault
//! against it. An operation has a first part, which makes what it needs, and the one durable step that it is about. `start N
//! NAME` is said between the two, and `ack N` behind the second. A new operation is a row of `torture/operations.rs`.
//!
//! Most operations work in one space. Forks, spaces that are erased, and what brings a whole space back have spaces of their
//! own beside it. The master key stands in a file beside the folder, and changes on the way.

mod key;
mod operations;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use memos::cube::{Cube, Digest};
use memos::limits::Limits;
use memos::prelude::*;
use memos::vault::MasterKeySource;
use memos::{Error, Result};

use super::Screen;
use super::corpus::Corpus;
use super::measure::principal;
use key::KeyFile;
use operations::{OPERATIONS, Operation, REMEMBER};

#[derive(Args)]
pub(super) struct TortureArguments {
    /// The folder that the vault is in; its key stands beside it
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
    /// them whole or absent, and verifies all spaces
    #[arg(long)]
    acknowledged: Option<u64>,
}

pub(super) fn run(arguments: &TortureArguments, screen: &mut Screen) -> Result<()> {
    let run = Run::open(&arguments.folder, arguments.seed)?;
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

/// Says `next N NAME whole` or `next N NAME absent` of the operation that was not acknowledged, and fails when another one is
/// not whole, any is half there, or a space does not hold together.
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
    let vault = run.vault.borrow();
    for name in vault.spaces()? {
        vault.existing_space(&name)?.verify(|_, _| {}).map_err(|e| e.at(format!("space `{name}`")))?;
    }
    screen.result(format_args!("next {behind} {} {}", operation.name, if there { "whole" } else { "absent" }));
    Ok(())
}

struct Run {
    vault: RefCell<Vault>,
    space: Space,
    key: RefCell<KeyFile>,
    me: Principal,
    seed: u64,
}

impl Run {
    /// Opens the vault with bounds under which bodies of some kilobytes are kept in files, and brings to an end a
    /// change of its key that was cut off.
    fn open(folder: &Path, seed: u64) -> Result<Self> {
        let limits = Limits { inline_body_bytes: 8192, ..Limits::default() };
        let mut key = KeyFile::read(folder.with_extension("key"), seed)?;
        let master_key = MasterKeySource::Given(Arc::new(key.present()?));
        let mut vault = Vault::open(folder, VaultOptions { limits, master_key, ..VaultOptions::builtin()? })?;
        key.go_on(|next| vault.rotate(next).map(drop))?;
        let space = vault.space(&"bench/measure".parse()?)?;
        Ok(Self { vault: RefCell::new(vault), space, key: RefCell::new(key), me: principal()?, seed })
    }

    fn job(&self, number: u64) -> Job<'_> {
        Job { run: self, space: self.space.clone(), number, bundle: RefCell::default() }
    }

    fn operation(&self, number: u64) -> &'static Operation {
        let which = Corpus::new(self.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9))).number();
        let place = (which % OPERATIONS.len() as u64) as usize;
        OPERATIONS.get(place).unwrap_or(&REMEMBER)
    }
}

/// One operation with its number, and the space that it works in.
struct Job<'a> {
    run: &'a Run,
    space: Space,
    number: u64,
    /// What is imported.
    bundle: RefCell<Vec<u8>>,
}

impl<'a> Job<'a> {
    /// Returns the same operation in another space.
    fn in_space(&self, space: Space) -> Job<'a> {
        Job { run: self.run, space, number: self.number, bundle: RefCell::default() }
    }

    fn me(&self) -> &Principal {
        &self.run.me
    }

    /// Returns the name of a space of this operation.
    fn space_name(&self, what: &str) -> Result<SpaceName> {
        format!("bench/{what}-{}", self.number).parse()
    }

    /// Returns the operation in a space beside the one that most work in, if that is there.
    fn beside(&self, name: &SpaceName) -> Result<Option<Job<'a>>> {
        let vault = self.run.vault.borrow();
        if vault.spaces()?.contains(name) { Ok(Some(self.in_space(vault.existing_space(name)?))) } else { Ok(None) }
    }

    /// Returns the operation in such a space, which is begun if it is not there.
    fn beside_or_new(&self, name: &str) -> Result<Job<'a>> {
        Ok(self.in_space(self.run.vault.borrow().space(&name.parse()?)?))
    }

    /// Returns the id of a cube of this operation.
    fn id(&self, item: u64) -> CubeId {
        let digest = Digest::of(format!("{}/{}/{item}", self.run.seed, self.number).as_bytes());
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
        self.store_of(None, 0..items)
    }

    /// Stores cubes of the operation, as memories of a subject, where they are not there yet.
    fn store_of(&self, subject: Option<&str>, items: std::ops::Range<u64>) -> Result<()> {
        let mut batch = Batch::default();
        for item in items {
            if self.cube(item)?.is_none() {
                batch.store(self.id(item), CubeDraft { subject: subject.map(str::to_owned), ..self.draft(item) });
            }
        }
        self.commit(batch)
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        if batch.is_empty() { Ok(()) } else { self.space.commit(self.me(), batch).map(drop) }
    }

    fn cube(&self, item: u64) -> Result<Option<Cube>> {
        match self.space.get(self.me(), &self.id(item)) {
            Ok((cube, _)) => Ok(Some(cube)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns whether a cube was erased. It may be there or never have been, but not be half gone.
    fn is_erased(&self, item: u64) -> Result<bool> {
        let known = self.space.usage(self.me(), &self.id(item)).is_ok();
        Ok(known && self.cube(item)?.is_none() && self.space.versions(self.me(), &self.id(item))?.is_empty())
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
        let parent = self.space.get(self.me(), &cube)?.1.digest;
        self.space.update(self.me(), Update { cube, parent, mode }).map(drop)
    }

    /// Returns whether all parts are there or none is.
    fn whole(&self, parts: &[bool]) -> Result<bool> {
        let there = parts.iter().filter(|part| **part).count();
        if there != 0 && there != parts.len() {
            return Err(Error::corrupt(format!("operation {} is half there: {parts:?}", self.number)));
        }
        Ok(there > 0)
    }

    fn link(&self, from: u64, kind: LinkKind, to: u64) -> Link {
        Link { from: self.id(from), kind, to: self.id(to) }
    }

    fn is_linked(&self, from: u64, kind: LinkKind, to: u64) -> Result<bool> {
        match self.space.neighbourhood(self.me(), &self.id(from), 1, 10) {
            Ok(around) => Ok(around.links.contains(&self.link(from, kind, to))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn is_in(&self, item: u64, state: State) -> Result<bool> {
        Ok(self.cube(item)?.is_some_and(|cube| cube.header.lifecycle.state == state))
    }
}
