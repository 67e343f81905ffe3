//! MemVault: the spaces and their storage. A space is one ledger with its projections.
//!
//! A write goes one way: it is prepared where it is called (checked, embedded), validated by the one writer, made durable
//! in the ledger together with whatever else waits, applied to the projection, and only then acknowledged. A read takes
//! one consistent point of the projection and never waits for the disk of a writer. What a memory means for an answer is
//! the operator's business.

mod audit;
mod batch;
mod candidates;
mod charter;
mod commit;
mod erasure;
mod fork;
mod neighbourhood;
mod past;
mod prepare;
mod projection;
mod proof;
mod reading;
mod reembed;
mod registers;
mod snapshot;
mod space;
mod stage;
mod stats;
mod sweep;
mod verify;

pub use audit::AuditLine;
pub use batch::{Batch, Committed};
pub use erasure::{Erased, Erasure};
pub use fork::{Merged, OnConflict};
pub use neighbourhood::{NeighbourCube, Neighbourhood};
pub use past::{Changed, Comparison, Moved, Point};
pub use projection::{CubeHead, Projection};
pub use proof::{ProofOptions, check_proof};
#[cfg(fuzzing)]
pub(crate) use snapshot::fuzz_snapshot;
pub use space::Space;
pub use stats::SpaceStats;
pub use sweep::Swept;
pub(crate) use sweep::{CROWDED_OUT, Sweeping};
pub use verify::Verified;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::cube::{IdSource, RandomIds, SpaceName};
use crate::disk::{Disk, SystemDisk};
use crate::embed::{Embedder, builtin};
use crate::error::{Error, Result};
use crate::governance::{LayerPolicy, Policy};
use crate::keys::{Entropy, KeyRing, Keys, MasterKey, SystemEntropy};
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::time::{Clock, SystemClock};

const MASTER_KEY_FILE: &str = "master.key";
/// Stands in the folder of a space that is being erased, until all else there is gone.
const ERASED_FILE: &str = "erased";

/// What a vault works with. The defaults need no server, no key and no download.
#[derive(Clone)]
pub struct VaultOptions {
    /// Turns text into vectors.
    pub embedder: Arc<dyn Embedder>,
    /// Decides who may do what.
    pub policy: Arc<dyn Policy>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Hands out ids.
    pub ids: Arc<dyn IdSource>,
    /// Keeps the files.
    pub disk: Arc<dyn Disk>,
    /// From where the key comes by which everything is encrypted.
    pub master_key: MasterKeySource,
    /// Gives the randomness that keys are made of.
    pub entropy: Arc<dyn Entropy>,
    /// The bounds.
    pub limits: Limits,
}

impl VaultOptions {
    /// Returns the options with the built-in embedder, the three layers' policy, and the machine's clock, randomness
    /// and disk.
    ///
    /// # Errors
    /// `Corrupt` when the built-in embedder's table is damaged.
    pub fn builtin() -> Result<Self> {
        Ok(Self {
            embedder: builtin()?,
            policy: Arc::new(LayerPolicy),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            disk: Arc::new(SystemDisk),
            master_key: MasterKeySource::Folder,
            entropy: Arc::new(SystemEntropy),
            limits: Limits::default(),
        })
    }
}

/// From where a vault's master key comes.
#[derive(Debug, Clone, Default)]
pub enum MasterKeySource {
    /// The file `master.key` in the vault's own folder, made when there is none. It makes erasure final; it does not
    /// help when the whole folder is stolen.
    #[default]
    Folder,
    /// A key that is handed in.
    Given(Arc<MasterKey>),
    /// None: nothing is encrypted, and what is erased is gone only as far as the disk forgets.
    Unencrypted,
}

/// All spaces below one folder.
pub struct Vault {
    root: PathBuf,
    options: VaultOptions,
    keys: Keys,
    open: Mutex<HashMap<SpaceName, Weak<space::Shared>>>,
}

impl Vault {
    /// Opens the vault in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// `Unavailable` when the folder cannot be made.
    pub fn open(root: impl AsRef<Path>, options: VaultOptions) -> Result<Self> {
        let root = root.as_ref().to_path_buf();
        options.disk.make_folder(&root).map_err(|e| {
            Error::unavailable(format!("the data folder `{}` cannot be made: {e}", root.display())).with_source(e)
        })?;
        let keys = match &options.master_key {
            MasterKeySource::Unencrypted => Keys::Open,
            MasterKeySource::Given(key) => Keys::Master(key.clone()),
            MasterKeySource::Folder => Keys::Master(Arc::new(own_key(&root, &options)?)),
        };
        let vault = Self { root, options, keys, open: Mutex::default() };
        // What a program did not live to erase.
        for name in vault.folders()?.iter().filter(|name| vault.is_erased(name)) {
            vault.finish_erasure(name)?;
        }
        Ok(vault)
    }

    /// Opens a space, or begins it when it is not there.
    ///
    /// # Errors
    /// `Busy` when another program has it open, `Invalid` when it was made with another embedder, `Corrupt` when its
    /// ledger fails a check.
    pub fn space(&self, name: &SpaceName) -> Result<Space> {
        self.space_in(&mut self.open.lock(), name)
    }

    /// Opens a space, and the spaces that it was forked from.
    fn space_in(&self, open: &mut HashMap<SpaceName, Weak<space::Shared>>, name: &SpaceName) -> Result<Space> {
        if let Some(shared) = open.get(name).and_then(Weak::upgrade) {
            return Ok(Space::from_shared(shared));
        }
        if self.is_erased(name) {
            self.finish_erasure(name)?;
        }
        let opening = space::Opening { folder: &self.folder(name), name, options: &self.options, keys: &self.keys };
        let opened = Space::open(&opening, |origin| {
            if origin == name || !self.is_there(origin)? {
                return Err(Error::corrupt(format!("it was forked from `{origin}`, which is not there")));
            }
            self.space_in(open, origin)
        });
        let space = opened.map_err(|e| e.at(format!("space `{name}`")))?;
        open.retain(|_, shared| shared.strong_count() > 0);
        open.insert(name.clone(), Arc::downgrade(space.shared()));
        Ok(space)
    }

    /// Opens a space that is there.
    ///
    /// # Errors
    /// `NotFound` when it is not; else as [`Vault::space`].
    pub fn existing_space(&self, name: &SpaceName) -> Result<Space> {
        if self.is_there(name)? {
            return self.space(name);
        }
        let known: Vec<String> = self.spaces()?.iter().map(|name| format!("`{name}`")).collect();
        let hint =
            if known.is_empty() { "there is none yet".to_owned() } else { format!("there are {}", known.join(", ")) };
        Err(Error::not_found(format!("there is no space `{name}` in `{}`; {hint}", self.root.display())))
    }

    /// Makes all vectors of a space again with this vault's embedder, and returns how many. The space must not be open.
    /// `progress` is told how many of how many events are done.
    ///
    /// # Errors
    /// `NotFound` when there is no such space; `Busy` when it is open; `Unavailable` when the embedder or the disk fails.
    pub fn reembed(&self, name: &SpaceName, progress: impl FnMut(u64, u64)) -> Result<u64> {
        if !self.is_there(name)? {
            return self.existing_space(name).map(|_| 0);
        }
        if let Some(fork) = self.forks_of(name)?.first() {
            return Err(Error::conflict(format!(
                "space `{fork}` was forked from `{name}` and uses its vectors; merge it back and erase it first"
            )));
        }
        let opening = space::Opening { folder: &self.folder(name), name, options: &self.options, keys: &self.keys };
        reembed::reembed(&opening, progress)
    }

    /// Seals the keys of all spaces with another master key, and returns the spaces. Those that are sealed with it
    /// already are left as they are, so that a rotation that was cut off can be done again. The vault goes on with the
    /// new key; whoever opens it next must have it.
    ///
    /// # Errors
    /// `Denied` when a space is sealed with neither key; `Busy` when one is open elsewhere; `Unavailable` when the disk
    /// fails. Spaces before it are sealed with the new key then.
    pub fn rotate(&mut self, new: &MasterKey) -> Result<Vec<SpaceName>> {
        if matches!(self.keys, Keys::Open) {
            return Err(Error::invalid("nothing is encrypted here, so there is no key to change"));
        }
        let mut rotated = Vec::new();
        for name in self.spaces()? {
            let folder = self.folder(&name);
            let file = folder.join(space::RING_FILE);
            let disk = &self.options.disk;
            if !KeyRing::exists(&**disk, &file) || KeyRing::sealed_by(&**disk, &file)? == new.id() {
                continue;
            }
            let open = self.open.lock().get(&name).and_then(Weak::upgrade);
            match open {
                Some(shared) => shared.ring.rotate(new)?,
                // The ring alone: a fork cannot be opened while its origin is sealed with another key than it.
                None => {
                    let opening =
                        space::Opening { folder: &folder, name: &name, options: &self.options, keys: &self.keys };
                    let _held = Ledger::hold(&folder, &opening.ledger_options())?;
                    let entropy = self.options.entropy.clone();
                    self.keys.open(disk.clone(), &file, name.as_str(), entropy)?.rotate(new)?;
                }
            }
            rotated.push(name);
        }
        if matches!(self.options.master_key, MasterKeySource::Folder) {
            new.write(&*self.options.disk, &self.root.join(MASTER_KEY_FILE))?;
        }
        self.keys = Keys::Master(Arc::new(new.clone()));
        Ok(rotated)
    }

    /// Returns the names of all spaces, sorted.
    ///
    /// # Errors
    /// `Unavailable` when the folder cannot be read.
    pub fn spaces(&self) -> Result<Vec<SpaceName>> {
        let mut names = Vec::new();
        for name in self.folders()? {
            if self.is_there(&name)? {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Returns the names of all folders that may hold a space, sorted.
    fn folders(&self) -> Result<Vec<SpaceName>> {
        let mut names = Vec::new();
        for org in folders(&*self.options.disk, &self.root)? {
            for name in folders(&*self.options.disk, &self.root.join(&org))? {
                names.extend(format!("{org}/{name}").parse::<SpaceName>());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Returns whether there is a space. A program that dies while one begins, or while one is erased, leaves a folder
    /// that is none.
    fn is_there(&self, name: &SpaceName) -> Result<bool> {
        let (folder, disk) = (self.folder(name), &*self.options.disk);
        Ok(disk.is_folder(&folder) && !self.is_erased(name) && Ledger::is_begun(&folder, disk)?)
    }

    /// Returns whether a space was erased, but for what is left of its folder.
    fn is_erased(&self, name: &SpaceName) -> bool {
        self.options.disk.exists(&self.folder(name).join(ERASED_FILE))
    }

    /// Destroys the keys of a space that is marked as erased, and then all else that is left of it.
    fn finish_erasure(&self, name: &SpaceName) -> Result<()> {
        let (folder, disk) = (self.folder(name), &*self.options.disk);
        let failed = |e: std::io::Error| Error::unavailable(format!("`{}`: {e}", folder.display())).with_source(e);
        // The keys first: what is left of the rest, if a program dies on the way, says nothing.
        KeyRing::destroy(disk, &folder.join(space::RING_FILE))?;
        remove_all_in(disk, &folder, ERASED_FILE)?;
        // The mark goes when all else is sure to be gone.
        disk.sync_folder(&folder).map_err(failed)?;
        disk.remove(&folder.join(ERASED_FILE)).and_then(|()| disk.remove_folder(&folder)).map_err(failed)?;
        folder.parent().map_or(Ok(()), |above| disk.sync_folder(above)).map_err(failed)
    }

    /// Returns the bounds.
    pub fn limits(&self) -> &Limits {
        &self.options.limits
    }

    fn folder(&self, name: &SpaceName) -> PathBuf {
        self.root.join(name.as_str())
    }
}

/// Returns the key in the vault's own folder, and makes one where nothing was encrypted with another yet.
fn own_key(root: &Path, options: &VaultOptions) -> Result<MasterKey> {
    let (disk, file) = (&*options.disk, root.join(MASTER_KEY_FILE));
    if !disk.exists(&file) {
        for org in folders(disk, root)? {
            for name in folders(disk, &root.join(&org))? {
                if KeyRing::exists(disk, &root.join(&org).join(&name).join(space::RING_FILE)) {
                    return Err(Error::denied(format!(
                        "space `{org}/{name}` is encrypted, and its master key `{}` is not there; bring it back, or give the key",
                        file.display()
                    )));
                }
            }
        }
    }
    MasterKey::read_or_make(disk, &file, &*options.entropy)
}

/// Removes all that is in a folder, but for one file.
fn remove_all_in(disk: &dyn Disk, folder: &Path, but: &str) -> Result<()> {
    let failed = |e: std::io::Error| Error::unavailable(format!("`{}`: {e}", folder.display())).with_source(e);
    for name in disk.list(folder).map_err(failed)?.into_iter().filter(|name| name != but) {
        let entry = folder.join(name);
        if disk.is_folder(&entry) {
            remove_all_in(disk, &entry, but)?;
            disk.remove_folder(&entry).map_err(failed)?;
        } else {
            disk.remove(&entry).map_err(failed)?;
        }
    }
    Ok(())
}

fn folders(disk: &dyn Disk, path: &Path) -> Result<Vec<String>> {
    let unreadable = |e: std::io::Error| Error::unavailable(format!("`{}`: {e}", path.display())).with_source(e);
    let mut names = disk.list(path).map_err(unreadable)?;
    names.retain(|name| disk.is_folder(&path.join(name)));
    Ok(names)
}

#[cfg(test)]
mod tests;
