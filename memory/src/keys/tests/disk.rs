//! A disk that fails from a chosen step on, and remembers what was removed from it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile, MemoryDisk};

#[derive(Debug, Clone, Default)]
pub(super) struct BreakingDisk {
    memory: MemoryDisk,
    /// Steps that change something and still succeed; without a number, all do.
    pub(super) steps: Arc<Mutex<Option<usize>>>,
    /// What the removed files held at last.
    pub(super) removed: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl BreakingDisk {
    fn step(&self) -> io::Result<()> {
        match self.steps.lock().as_mut() {
            Some(0) => return Err(io::Error::other("power cut")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(())
    }
}

impl Disk for BreakingDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(BreakingFile { file: self.memory.open(path, create)?, disk: self.clone() }))
    }

    fn create_private(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.step()?;
        Ok(Box::new(BreakingFile { file: self.memory.create_private(path)?, disk: self.clone() }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.memory.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        self.memory.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        self.removed.lock().push(self.memory.read(path)?);
        self.memory.remove(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.memory.remove_folder(path)
    }

    fn exists(&self, path: &Path) -> bool {
        self.memory.exists(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.memory.is_folder(path)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        self.memory.size(path)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.memory.make_folder(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.memory.list(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        self.memory.sync_folder(path)
    }
}

#[derive(Debug)]
struct BreakingFile {
    file: Box<dyn DiskFile>,
    disk: BreakingDisk,
}

impl DiskFile for BreakingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, into)
    }

    /// Half of the bytes reach the disk before the power goes.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let step = self.disk.step();
        let written = if step.is_ok() { bytes.len() } else { bytes.len() / 2 };
        self.file.write_at(offset, &bytes[..written])?;
        step
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.step()?;
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.step()?;
        self.file.sync()
    }
}
