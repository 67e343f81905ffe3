//! Opening the store: beginning a new one whole, waiting for one that is open elsewhere, and telling damage from failure.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase, ReadableTable};

use super::{BODIES, EVENTS, LedgerHead, META, META_FORMAT, META_HEAD, VECTORS};
use crate::cube::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::wire::event_digest;
use crate::limits::Limits;

/// The version of the store's tables.
const FORMAT: u32 = 1;

const STORE_FILE: &str = "ledger.redb";
/// Held while a ledger begins, so that two programs do not begin the same one.
const BEGIN_LOCK: &str = "begin.lock";

/// How long to wait before a store that is open elsewhere is tried again.
const OPEN_RETRY: Duration = Duration::from_millis(20);

/// The open store. It writes when it is closed, and may find damage then.
#[derive(Debug)]
pub(super) struct Store {
    database: Option<Database>,
}

impl Store {
    fn of(database: Database) -> Self {
        Self { database: Some(database) }
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

/// Opens the store in `folder`, or begins one there, and returns it with where its ledger ends. `bodies` is where the large
/// bodies of a ledger stand.
pub(super) fn open_store(folder: &Path, bodies: &Path, limits: &Limits) -> Result<(Store, LedgerHead)> {
    let file = folder.join(STORE_FILE);
    if !file.exists() {
        begin(folder, bodies, &file)?;
    }
    let store = Store::of(guarded(|| wait_for(&file, limits).map_err(|e| open_error(&file, e)))?);
    let head = guarded(|| prepare(&store)).map_err(|e| e.at(file.display()))?;
    Ok((store, head))
}

/// Opens the store's file. Programs that share a space hold it for a moment each, so one that is open is waited for.
fn wait_for(file: &Path, limits: &Limits) -> std::result::Result<Database, redb::DatabaseError> {
    let started = Instant::now();
    loop {
        match redb::Builder::new().set_cache_size(limits.cache_bytes).open(file) {
            Err(redb::DatabaseError::DatabaseAlreadyOpen)
                if started.elapsed() < Duration::from_millis(limits.open_wait_millis) =>
            {
                std::thread::sleep(OPEN_RETRY);
            }
            outcome => return outcome,
        }
    }
}

/// Makes the store of a new ledger. It gets its name when it is whole, so that a program that dies on the way leaves nothing
/// that cannot be opened.
fn begin(folder: &Path, bodies: &Path, file: &Path) -> Result<()> {
    let (lock, partial) = (folder.join(BEGIN_LOCK), file.with_extension("partial"));
    let failed = |e: std::io::Error| disk_error(file, e);
    let lock = fs::File::create(&lock).and_then(|lock| lock.lock().map(|()| lock)).map_err(|e| disk_error(&lock, e))?;
    if file.exists() {
        return Ok(());
    }
    if fs::read_dir(bodies).map_err(|e| disk_error(bodies, e))?.next().is_some() {
        return Err(Error::corrupt(format!(
            "`{}` is missing, and bodies of it are there; bring it back",
            file.display()
        )));
    }
    if partial.exists() {
        fs::remove_file(&partial).map_err(failed)?;
    }
    let store = Store::of(redb::Builder::new().create(&partial).map_err(|e| open_error(&partial, e))?);
    prepare(&store)?;
    // Closed before it gets its name.
    drop(store);
    fs::rename(&partial, file).and_then(|()| fs::File::open(folder)?.sync_all()).map_err(failed)?;
    lock.unlock().map_err(failed)
}

/// Makes the tables of a new store, checks the format of an old one, and returns where it ends.
fn prepare(store: &Store) -> Result<LedgerHead> {
    let transaction = store.write()?;
    let head = {
        let mut meta = transaction.open_table(META).map_err(store_error)?;
        let format = meta.get(META_FORMAT).map_err(read_error)?.map(|row| row.value().to_vec());
        match format.as_deref().map(<[u8; 4]>::try_from) {
            None => {
                meta.insert(META_FORMAT, FORMAT.to_le_bytes().as_slice()).map_err(store_error)?;
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
        let stored = meta.get(META_HEAD).map_err(read_error)?.map(|row| row.value().to_vec());
        let events = transaction.open_table(EVENTS).map_err(store_error)?;
        transaction.open_table(BODIES).map_err(store_error)?;
        transaction.open_table(VECTORS).map_err(store_error)?;
        let last = events.last().map_err(read_error)?;
        let head = last.map_or(LedgerHead { events: 0, digest: Digest::from_bytes([0; 32]) }, |(key, value)| {
            LedgerHead { events: key.value() + 1, digest: event_digest(value.value()) }
        });
        if stored.as_deref().is_some_and(|digest| digest != head.digest.as_bytes()) {
            return Err(Error::corrupt(format!(
                "the last event, {}, is not the one that was written last",
                head.events.saturating_sub(1)
            )));
        }
        head
    };
    transaction.commit().map_err(store_error)?;
    Ok(head)
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
