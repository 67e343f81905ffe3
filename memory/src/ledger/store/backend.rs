//! What the store keeps its pages in: a file of whichever disk.

use std::io;

use parking_lot::RwLock;
use redb::StorageBackend;

use crate::disk::DiskFile;

/// A file as the store wants it. The disk holds the file already, so the store's own locks are not offered.
#[derive(Debug)]
pub(super) struct StoreFile {
    /// None once it is closed: readers may outlive the store, and must not keep its file from others.
    open: RwLock<Option<Box<dyn DiskFile>>>,
}

impl StoreFile {
    pub(super) fn new(file: Box<dyn DiskFile>) -> Self {
        Self { open: RwLock::new(Some(file)) }
    }

    fn with<T>(&self, work: impl FnOnce(&dyn DiskFile) -> io::Result<T>) -> io::Result<T> {
        let open = self.open.read();
        work(open.as_deref().ok_or_else(|| io::Error::other("the store is closed"))?)
    }
}

impl StorageBackend for StoreFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|file| file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|file| file.read_at(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|file| file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|file| file.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|file| file.write_at(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        *self.open.write() = None;
        Ok(())
    }
}
