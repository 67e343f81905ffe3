//! What the store keeps its pages in: a file of whichever disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use redb::StorageBackend;

use crate::disk::DiskFile;

/// A file as the store wants it. The disk holds the file already, so the store's own locks are not offered.
#[derive(Debug)]
pub(super) struct StoreFile {
    /// None once it is closed: readers may outlive the store, and must not keep its file from others.
    open: RwLock<Option<Box<dyn DiskFile>>>,
    /// Set when the disk has failed. The store trusts its file no more then, until it is opened again.
    failed: Arc<AtomicBool>,
}

impl StoreFile {
    pub(super) fn new(file: Box<dyn DiskFile>) -> Self {
        Self { open: RwLock::new(Some(file)), failed: Arc::default() }
    }

    /// Returns where it stands that the disk has failed.
    pub(super) fn failed(&self) -> Arc<AtomicBool> {
        self.failed.clone()
    }

    fn with<T>(&self, work: impl FnOnce(&dyn DiskFile) -> io::Result<T>) -> io::Result<T> {
        let open = self.open.read();
        let done = work(open.as_deref().ok_or_else(|| io::Error::other("the store is closed"))?);
        if done.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        done
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
