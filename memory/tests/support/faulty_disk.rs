//! A disk that fails when it is told to, and that can lose its power.
//!
//! It keeps what its user sees, and a record of every change with the flushes between them. From the record follows what may
//! be left after a power cut: what was flushed, and of the rest each change whole, in part, or not at all.
#![allow(dead_code)]

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::seeded::Random;
use memos_memory::disk::{Disk, DiskFile, MemoryDisk};

/// What a disk writes whole or not at all, even when its power goes.
const SECTOR: usize = 512;

/// How the disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Any operation fails and does nothing.
    Broken,
    /// What takes room fails and does nothing.
    Full,
    /// A write fails in the middle.
    Short,
    /// A write fails, and some of its sectors are written.
    Torn,
    /// A flush says that all is well and does nothing.
    LostSync,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] = [Self::Broken, Self::Full, Self::Short, Self::Torn, Self::LostSync];

    fn strikes(self, act: Act) -> bool {
        match self {
            Self::Broken => true,
            Self::Full => matches!(act, Act::Write | Act::Grow | Act::Name),
            Self::Short | Self::Torn => act == Act::Write,
            Self::LostSync => act == Act::Sync,
        }
    }

    fn error(self) -> io::Error {
        match self {
            Self::Full => io::ErrorKind::StorageFull.into(),
            _ => io::Error::other("the disk does not answer"),
        }
    }
}

/// When the disk fails: at this operation of those that the fault can strike, and if it lasts, at all behind it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) fault: Fault,
    pub(crate) at: usize,
    pub(crate) lasting: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Read,
    Write,
    Grow,
    /// A new name, or another one.
    Name,
    Remove,
    Sync,
}

/// A file, whatever its name is.
type Number = usize;

/// What happened to the files, and when it became sure.
#[derive(Debug, Clone)]
enum Record {
    Folder(PathBuf),
    Named(PathBuf, Number),
    Renamed(PathBuf, PathBuf, Number),
    Removed(PathBuf),
    Wrote(Number, u64, Vec<u8>),
    Length(Number, u64),
    SyncedFolder(PathBuf),
}

#[derive(Debug, Default)]
struct State {
    plan: Option<Plan>,
    met: usize,
    struck: usize,
    names: BTreeMap<PathBuf, Number>,
    files: usize,
    /// What is sure of each file: what was written before its last flush.
    sure: HashMap<Number, Vec<u8>>,
    /// All that happened to names, and what was written since the last flush of its file.
    records: Vec<Record>,
}

impl State {
    fn strike(&mut self, act: Act) -> Option<Fault> {
        let plan = self.plan.filter(|plan| plan.fault.strikes(act))?;
        let now = self.met;
        self.met += 1;
        if now == plan.at || (plan.lasting && now > plan.at) {
            self.struck += 1;
            return Some(plan.fault);
        }
        None
    }

    /// Makes sure of what was written to a file.
    fn flush(&mut self, number: Number) {
        let (file, records) = (self.sure.entry(number).or_default(), &mut self.records);
        records.retain(|record| match record {
            Record::Wrote(of, offset, bytes) if *of == number => {
                put(file, *offset, bytes);
                false
            }
            Record::Length(of, len) if *of == number => {
                file.resize(*len as usize, 0);
                false
            }
            _ => true,
        });
    }
}

/// A disk over one in memory. A clone is the same disk.
#[derive(Debug, Clone)]
pub(crate) struct FaultyDisk {
    seen: MemoryDisk,
    state: Arc<Mutex<State>>,
}

impl FaultyDisk {
    /// Makes an empty disk that fails as planned.
    pub(crate) fn new(plan: Option<Plan>) -> Self {
        Self { seen: MemoryDisk::default(), state: Arc::new(Mutex::new(State { plan, ..State::default() })) }
    }

    /// Makes a disk that fails as planned over the files of another one, all of which are sure.
    pub(crate) fn over(disk: MemoryDisk, plan: Option<Plan>) -> Self {
        let mut state = State { plan, ..State::default() };
        let mut folders = vec![PathBuf::from("/")];
        while let Some(folder) = folders.pop() {
            for path in disk.list(&folder).unwrap_or_default().into_iter().map(|name| folder.join(name)) {
                if disk.is_folder(&path) {
                    state.records.push(Record::Folder(path.clone()));
                    folders.push(path);
                } else {
                    let number = state.files;
                    state.files += 1;
                    state.sure.insert(number, disk.read(&path).unwrap());
                    state.records.push(Record::Named(path.clone(), number));
                    state.names.insert(path, number);
                }
            }
            state.records.push(Record::SyncedFolder(folder));
        }
        Self { seen: disk, state: Arc::new(Mutex::new(state)) }
    }

    /// Fails as planned from now on.
    pub(crate) fn plan(&self, plan: Plan) {
        let mut state = self.state();
        (state.plan, state.met) = (Some(plan), 0);
    }

    /// Ends the faults, and returns how often the disk failed.
    pub(crate) fn heal(&self) -> usize {
        let mut state = self.state();
        state.plan = None;
        state.struck
    }

    /// Returns how often the disk failed.
    pub(crate) fn struck(&self) -> usize {
        self.state().struck
    }

    /// Returns another disk with what may be left after a power cut now.
    pub(crate) fn power_cut(&self, seed: u64) -> MemoryDisk {
        let state = self.state();
        Cut { random: Random::new(seed), names: BTreeMap::new(), files: state.sure.clone() }.run(&state.records)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn strike(&self, act: Act) -> Option<Fault> {
        self.state().strike(act)
    }

    fn passes(&self, act: Act) -> io::Result<()> {
        self.strike(act).map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn note(&self, record: Record) {
        self.state().records.push(record);
    }

    /// Flushes in one step, so that a power cut in another thread comes before it or behind it.
    fn sync(&self, flush: impl FnOnce(&mut State)) -> io::Result<()> {
        let mut state = self.state();
        match state.strike(Act::Sync) {
            None => flush(&mut state),
            Some(Fault::LostSync) => {}
            Some(fault) => return Err(fault.error()),
        }
        Ok(())
    }

    fn opened(&self, path: &Path, inner: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let mut state = self.state();
        let number = match state.names.get(path) {
            Some(number) => *number,
            None => {
                let number = state.files;
                state.files += 1;
                state.names.insert(path.to_owned(), number);
                state.records.push(Record::Named(path.to_owned(), number));
                number
            }
        };
        Box::new(FaultyFile { disk: self.clone(), number, inner })
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>> {
        self.passes(if create && !self.seen.exists(path) { Act::Name } else { Act::Read })?;
        Ok(self.opened(path, self.seen.open(path, create)?))
    }

    fn create_private(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.passes(Act::Name)?;
        Ok(self.opened(path, self.seen.create_private(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.passes(Act::Read)?;
        self.seen.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.passes(Act::Name)?;
        self.seen.rename(from, to)?;
        let mut state = self.state();
        let number = state.names.remove(from).unwrap();
        state.names.insert(to.to_owned(), number);
        state.records.push(Record::Renamed(from.to_owned(), to.to_owned(), number));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.passes(Act::Remove)?;
        self.seen.remove(path)?;
        let mut state = self.state();
        state.names.remove(path);
        state.records.push(Record::Removed(path.to_owned()));
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.passes(Act::Remove)?;
        self.seen.remove_folder(path)?;
        self.note(Record::Removed(path.to_owned()));
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        self.seen.exists(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.seen.is_folder(path)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        self.passes(Act::Read)?;
        self.seen.size(path)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        let above: Vec<&Path> = path.ancestors().filter(|folder| folder.parent().is_some()).collect();
        for folder in above.into_iter().rev().filter(|folder| !self.seen.is_folder(folder)) {
            self.passes(Act::Name)?;
            self.seen.make_folder(folder)?;
            self.note(Record::Folder(folder.to_owned()));
            self.sync_folder(folder.parent().unwrap())?;
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.passes(Act::Read)?;
        self.seen.list(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.sync(|state| state.records.push(Record::SyncedFolder(path.to_owned())))?;
        self.seen.sync_folder(path)
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    number: Number,
    inner: Box<dyn DiskFile>,
}

impl FaultyFile {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)?;
        self.disk.note(Record::Wrote(self.number, offset, bytes.to_vec()));
        Ok(())
    }
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.passes(Act::Read)?;
        self.inner.len()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.disk.passes(Act::Read)?;
        self.inner.read_at(offset, into)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(fault) = self.disk.strike(Act::Write) else { return self.write(offset, bytes) };
        match fault {
            Fault::Short => self.write(offset, &bytes[..bytes.len() / 2])?,
            Fault::Torn => {
                let mut random = Random::new(offset ^ bytes.len() as u64);
                for (from, sector) in sectors(offset, bytes) {
                    if random.chance(1, 2) {
                        self.write(from, sector)?;
                    }
                }
            }
            _ => {}
        }
        Err(fault.error())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let grows = self.inner.len()? < len;
        self.disk.passes(if grows { Act::Grow } else { Act::Remove })?;
        self.inner.set_len(len)?;
        self.disk.note(Record::Length(self.number, len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync(|state| state.flush(self.number))
    }
}

/// Returns what of a write goes into each sector of the file.
fn sectors(offset: u64, bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let (mut at, mut rest, mut parts) = (offset, bytes, Vec::new());
    while !rest.is_empty() {
        let room = SECTOR - (at % SECTOR as u64) as usize;
        let (part, behind) = rest.split_at(room.min(rest.len()));
        parts.push((at, part));
        at += part.len() as u64;
        rest = behind;
    }
    parts
}

/// What a power cut leaves.
struct Cut {
    random: Random,
    /// A folder has no number.
    names: BTreeMap<PathBuf, Option<Number>>,
    files: HashMap<Number, Vec<u8>>,
}

impl Cut {
    fn run(mut self, records: &[Record]) -> MemoryDisk {
        // The place of the last flush of each folder.
        let mut synced_folders = HashMap::new();
        for (at, record) in records.iter().enumerate() {
            if let Record::SyncedFolder(folder) = record {
                synced_folders.insert(folder.clone(), at);
            }
        }
        for (at, record) in records.iter().enumerate() {
            let sure_name = |path: &Path| synced_folders.get(path.parent().unwrap()).is_some_and(|flush| *flush > at);
            let sure = match record {
                Record::Folder(path) | Record::Named(path, _) | Record::Removed(path) => sure_name(path),
                Record::Renamed(_, to, _) => sure_name(to),
                Record::Wrote(..) | Record::Length(..) => false,
                Record::SyncedFolder(_) => continue,
            };
            self.keep(record, sure);
        }
        let disk = MemoryDisk::default();
        for (path, number) in &self.names {
            // What stands in a folder that is lost is lost with it.
            if path.ancestors().skip(1).any(|above| above.parent().is_some() && !self.names.contains_key(above)) {
                continue;
            }
            match number {
                None => disk.make_folder(path).unwrap(),
                Some(number) => {
                    let bytes = self.files.get(number).map(Vec::as_slice).unwrap_or_default();
                    disk.open(path, true).unwrap().write_at(0, bytes).unwrap();
                }
            }
        }
        disk
    }

    fn keep(&mut self, record: &Record, sure: bool) {
        if !sure && self.random.chance(1, 3) {
            return;
        }
        match record {
            Record::Folder(path) => _ = self.names.insert(path.clone(), None),
            Record::Named(path, number) => _ = self.names.insert(path.clone(), Some(*number)),
            Record::Removed(path) => _ = self.names.remove(path),
            Record::Renamed(from, to, number) => {
                if self.names.get(from) == Some(&Some(*number)) {
                    self.names.remove(from);
                }
                self.names.insert(to.clone(), Some(*number));
            }
            Record::Length(number, len) => self.files.entry(*number).or_default().resize(*len as usize, 0),
            Record::Wrote(number, offset, bytes) => {
                let torn = !sure && self.random.chance(1, 2);
                for (from, part) in sectors(*offset, bytes) {
                    if torn && self.random.chance(1, 2) {
                        continue;
                    }
                    put(self.files.entry(*number).or_default(), from, part);
                }
            }
            Record::SyncedFolder(_) => {}
        }
    }
}

/// Writes into a file, which grows where it must.
fn put(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (from, until) = (offset as usize, offset as usize + bytes.len());
    file.resize(file.len().max(until), 0);
    file[from..until].copy_from_slice(bytes);
}
