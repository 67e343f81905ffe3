//! MemVault: the spaces and their storage. A space is one ledger with its projections.
//!
//! A write goes one way: it is prepared where it is called (checked, embedded), validated by the one writer, made durable
//! in the ledger together with whatever else waits, applied to the projection, and only then acknowledged. A read takes
//! one consistent point of the projection and never waits for the disk of a writer. What a memory means for an answer is
//! the operator's business.

mod batch;
mod commit;
mod neighbourhood;
mod projection;
mod reembed;
mod snapshot;
mod space;
mod stage;
mod stats;

pub use batch::{Batch, Committed};
pub use neighbourhood::{NeighbourCube, Neighbourhood};
pub use projection::{CubeHead, Projection};
pub use space::Space;
pub use stats::SpaceStats;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::cube::{IdSource, RandomIds, SpaceName};
use crate::embed::{Embedder, builtin};
use crate::error::{Error, Result};
use crate::governance::{LayerPolicy, Policy};
use crate::limits::Limits;
use crate::time::{Clock, SystemClock};

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
    /// The bounds.
    pub limits: Limits,
}

impl VaultOptions {
    /// Returns the options with the built-in embedder, the three layers' policy, and the machine's clock and randomness.
    ///
    /// # Errors
    /// `Corrupt` when the built-in embedder's table is damaged.
    pub fn builtin() -> Result<Self> {
        Ok(Self {
            embedder: builtin()?,
            policy: Arc::new(LayerPolicy),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            limits: Limits::default(),
        })
    }
}

/// All spaces below one folder.
pub struct Vault {
    root: PathBuf,
    options: VaultOptions,
    open: Mutex<HashMap<SpaceName, Weak<space::Shared>>>,
}

impl Vault {
    /// Opens the vault in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// `Unavailable` when the folder cannot be made.
    pub fn open(root: impl AsRef<Path>, options: VaultOptions) -> Result<Self> {
        let root = root.as_ref().to_path_buf();
        fs::create_dir_all(&root).map_err(|e| {
            Error::unavailable(format!("the data folder `{}` cannot be made: {e}", root.display())).with_source(e)
        })?;
        Ok(Self { root, options, open: Mutex::default() })
    }

    /// Opens a space, or begins it when it is not there.
    ///
    /// # Errors
    /// `Busy` when another program has it open, `Invalid` when it was made with another embedder, `Corrupt` when its
    /// ledger fails a check.
    pub fn space(&self, name: &SpaceName) -> Result<Space> {
        let mut open = self.open.lock();
        if let Some(shared) = open.get(name).and_then(Weak::upgrade) {
            return Ok(Space::from_shared(shared));
        }
        let space =
            Space::open(&self.folder(name), name, &self.options).map_err(|e| e.at(format!("space `{name}`")))?;
        open.retain(|_, shared| shared.strong_count() > 0);
        open.insert(name.clone(), Arc::downgrade(space.shared()));
        Ok(space)
    }

    /// Opens a space that is there.
    ///
    /// # Errors
    /// `NotFound` when it is not; else as [`Vault::space`].
    pub fn existing_space(&self, name: &SpaceName) -> Result<Space> {
        if self.folder(name).is_dir() {
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
        if !self.folder(name).is_dir() {
            return self.existing_space(name).map(|_| 0);
        }
        reembed::reembed(&self.folder(name), &self.options, progress)
    }

    /// Returns the names of all spaces, sorted.
    ///
    /// # Errors
    /// `Unavailable` when the folder cannot be read.
    pub fn spaces(&self) -> Result<Vec<SpaceName>> {
        let mut names = Vec::new();
        for org in folders(&self.root)? {
            for name in folders(&self.root.join(&org))? {
                names.extend(format!("{org}/{name}").parse::<SpaceName>());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Returns the bounds.
    pub fn limits(&self) -> &Limits {
        &self.options.limits
    }

    fn folder(&self, name: &SpaceName) -> PathBuf {
        self.root.join(name.as_str())
    }
}

fn folders(path: &Path) -> Result<Vec<String>> {
    let unreadable = |e: std::io::Error| Error::unavailable(format!("`{}`: {e}", path.display())).with_source(e);
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_type().map_err(unreadable)?.is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
