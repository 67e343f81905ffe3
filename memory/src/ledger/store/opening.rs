//! Opening the store: beginning a new one whole, waiting for one that is open elsewhere, and telling damage from failure.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase, ReadableTable};

use super::backend::StoreFile;
use super::{
    EVENTS, ForkPoint, LedgerHead, META, META_FORK, META_FORMAT, META_HEAD, META_SEALED, RECORDS, TREE, VECTORS,
};
use crate::disk::{Disk, DiskFile};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::wire::event_digest;
use crate::limits::Limits;

/// The version of the store's tables.
const FORMAT: u32 = 1;

pub(super) const STORE_FILE: &str = "ledger.redb";
/// Held while a ledger begins, so that two programs do not begin the same one.
const BEGIN_LOCK: &str = "begin.lock";
/// The files of a ledger that did not live to have one.
pub(super) const LEFT_BY_A_BEGINNING: &[&str] = &[BEGIN_LOCK, "ledger.partial"];

/// How long to wait before a store that is open elsewhere is tried again.
const OPEN_RETRY: Duration = Duration::from_millis(20);

/// The open store. It writes when it is closed, and may find damage then.
#[derive(Debug)]
pub(super) struct Store {
    database: Option<Database>,
    /// Whether the disk has failed below it.
    failed: Arc<AtomicBool>,
}

impl Store {
    /// Opens the store in a file.
    fn over(file: Box<dyn DiskFile>, builder: &redb::Builder, path: &Path) -> Result<Self> {
        let file = StoreFile::new(file);
        let failed = file.failed();
        let database = guarded(|| builder.create_with_backend(file).map_err(|e| open_error(path, e)))?;
        Ok(Self { database: Some(database), failed })
    }

    /// Returns whether the disk has failed below it, after which it reads and writes nothing more.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(super) fn read(&self) -> Result<redb::ReadTransaction> {
        self.open()?.begin_read().map_err(store_error)
    }

    pub(super) fn write(&self) -> Result<redb::WriteTransaction> {
        self.open()?.begin_write().map_err(store_error)
    }

    fn open(&self) -> Result<&Database> {
        self.database.as_ref().ok_or_else(|| Error::unavailable("the ledger's store is closed"))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let database = self.database.take();
        // Whatever it finds while it closes, it will find and report when it is opened again.
        let _ = guarded(|| {
            drop(database);
            Ok(())
        });
    }
}

/// How a store begins when it is not there.
pub(super) struct Begin<'a> {
    pub(super) folder: &'a Path,
    /// Where the large bodies of a ledger stand.
    pub(super) bodies: &'a Path,
    /// Whether its records are encrypted.
    pub(super) sealed: bool,
    /// Where it leaves its origin, when it is a fork.
    pub(super) fork: Option<&'a ForkPoint>,
}

/// A store that is open, and what it says of itself.
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) head: LedgerHead,
    pub(super) sealed: bool,
    pub(super) fork: Option<ForkPoint>,
}

/// Opens a store, or begins one.
pub(super) fn open_store(disk: &Arc<dyn Disk>, begin: &Begin<'_>, limits: &Limits) -> Result<Opened> {
    let file = begin.folder.join(STORE_FILE);
    if !disk.exists(&file) {
        begin_store(disk, begin, &file, limits)?;
    }
    let store = guarded(|| open_file(&**disk, &file, limits))?;
    let (head, sealed, fork) = guarded(|| prepare(&store, begin)).map_err(|e| e.at(file.display()))?;
    Ok(Opened { store, head, sealed, fork })
}

/// Opens the store's file.
fn open_file(disk: &dyn Disk, file: &Path, limits: &Limits) -> Result<Store> {
    let opened = hold(disk, file, false, limits)?;
    if opened.is_empty().map_err(|e| disk_error(file, e))? {
        return Err(Error::corrupt(format!("`{}` is empty; bring the ledger back", file.display())));
    }
    let mut builder = redb::Builder::new();
    builder.set_cache_size(limits.cache_bytes);
    Store::over(opened, &builder, file)
}

/// Opens a file and holds it. Programs that share a space hold its files for a moment each, so one that is held is waited for.
fn hold(disk: &dyn Disk, file: &Path, create: bool, limits: &Limits) -> Result<Box<dyn DiskFile>> {
    let started = Instant::now();
    loop {
        match disk.open(file, create) {
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return Err(disk_error(file, error)),
            Err(_) if started.elapsed() >= Duration::from_millis(limits.open_wait_millis) => {
                let message = format!("`{}` is open in another program; wait until it is closed", file.display());
                return Err(Error::new(ErrorKind::Busy, message));
            }
            Err(_) => std::thread::sleep(OPEN_RETRY),
            Ok(opened) => return Ok(opened),
        }
    }
}

/// Makes the store of a new ledger. It gets its name when it is whole, so that a program that dies on the way leaves nothing
/// that cannot be opened.
fn begin_store(disk: &Arc<dyn Disk>, begin: &Begin<'_>, file: &Path, limits: &Limits) -> Result<()> {
    let (lock_file, partial) = (begin.folder.join(BEGIN_LOCK), file.with_extension("partial"));
    let failed = |e: std::io::Error| disk_error(file, e);
    let lock = hold(&**disk, &lock_file, true, limits)?;
    if disk.exists(file) {
        return Ok(());
    }
    if !disk.list(begin.bodies).map_err(|e| disk_error(begin.bodies, e))?.is_empty() {
        return Err(Error::corrupt(format!(
            "`{}` is missing, and bodies of it are there; bring it back",
            file.display()
        )));
    }
    if disk.exists(&partial) {
        disk.remove(&partial).map_err(failed)?;
    }
    let made = disk.open(&partial, true).map_err(failed)?;
    let store = Store::over(made, &redb::Builder::new(), &partial)?;
    guarded(|| prepare(&store, begin))?;
    // Closed before it gets its name.
    drop(store);
    disk.rename(&partial, file).and_then(|()| disk.sync_folder(begin.folder)).map_err(failed)?;
    drop(lock);
    Ok(())
}

/// Makes the tables of a new store, checks the format of an old one, and returns where it ends and where it began.
fn prepare(store: &Store, begin: &Begin<'_>) -> Result<(LedgerHead, bool, Option<ForkPoint>)> {
    let transaction = store.write()?;
    let prepared = {
        let mut meta = transaction.open_table(META).map_err(store_error)?;
        let read = |meta: &redb::Table<'_, &str, &[u8]>, key: &str| -> Result<Option<Vec<u8>>> {
            Ok(meta.get(key).map_err(read_error)?.map(|row| row.value().to_vec()))
        };
        match read(&meta, META_FORMAT)?.as_deref().map(<[u8; 4]>::try_from) {
            None => {
                meta.insert(META_FORMAT, FORMAT.to_le_bytes().as_slice()).map_err(store_error)?;
                meta.insert(META_SEALED, [u8::from(begin.sealed)].as_slice()).map_err(store_error)?;
                if let Some(fork) = begin.fork {
                    let bytes = postcard::to_stdvec(fork)
                        .map_err(|e| Error::invalid(format!("the fork cannot be written: {e}")))?;
                    meta.insert(META_FORK, bytes.as_slice()).map_err(store_error)?;
                }
            }
            Some(Ok(bytes)) if u32::from_le_bytes(bytes) == FORMAT => {}
            Some(Ok(bytes)) => {
                let found = u32::from_le_bytes(bytes);
                return Err(Error::invalid(format!(
                    "the store has format {found}, and this program reads {FORMAT}; use a newer one"
                )));
            }
            Some(Err(_)) => return Err(Error::corrupt("the store does not say its format")),
        }
        let sealed = match read(&meta, META_SEALED)?.as_deref() {
            Some([0]) => false,
            Some([1]) => true,
            _ => return Err(Error::corrupt("the store does not say whether it is encrypted")),
        };
        let fork = read(&meta, META_FORK)?.map(|bytes| {
            postcard::from_bytes::<ForkPoint>(&bytes)
                .map_err(|e| Error::corrupt("the store does not say where it left its origin").with_source(e))
        });
        let fork = fork.transpose()?;
        let begun =
            fork.as_ref().map_or(LedgerHead::EMPTY, |fork| LedgerHead { events: fork.events, digest: fork.digest });
        let stored = read(&meta, META_HEAD)?;
        let events = transaction.open_table(EVENTS).map_err(store_error)?;
        transaction.open_table(RECORDS).map_err(store_error)?;
        transaction.open_table(VECTORS).map_err(store_error)?;
        transaction.open_table(TREE).map_err(store_error)?;
        let last = events.last().map_err(read_error)?;
        let head = last
            .map_or(begun, |(key, value)| LedgerHead { events: key.value() + 1, digest: event_digest(value.value()) });
        if stored.as_deref().is_some_and(|digest| digest != head.digest.as_bytes()) {
            return Err(Error::corrupt(format!(
                "the last event, {}, is not the one that was written last",
                head.events.saturating_sub(1)
            )));
        }
        (head, sealed, fork)
    };
    transaction.commit().map_err(store_error)?;
    Ok(prepared)
}

/// Runs `work` on the store. The store panics on some damages that its own checks do not cover; those are damages too.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let damaged = |_| Err(Error::corrupt("the ledger's store is damaged and cannot be read"));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(damaged)
}

fn open_error(file: &Path, error: redb::DatabaseError) -> Error {
    let place = file.display();
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => {
            Error::new(ErrorKind::Busy, format!("`{place}` is open in another program; wait until it is closed"))
        }
        redb::DatabaseError::Storage(error) => read_error(error).at(place),
        other => Error::corrupt(format!("`{place}` is not a ledger: {other}")).with_source(other),
    }
}

pub(super) fn store_error(error: impl Into<redb::Error>) -> Error {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};

    let error = error.into();
    let kind = match error {
        redb::Error::Corrupted(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableDoesNotExist(_) => ErrorKind::Corrupt,
        // A file that is not the store's own, or that was cut.
        redb::Error::Io(ref error) if matches!(error.kind(), InvalidData | UnexpectedEof) => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("the ledger's store failed: {error}")).with_source(error)
}

pub(super) fn read_error(error: redb::StorageError) -> Error {
    store_error(error)
}

pub(super) fn disk_error(path: &Path, error: std::io::Error) -> Error {
    Error::unavailable(format!("`{}`: {error}", path.display())).with_source(error)
}
