//! The file with the tortured vault's master key, and how that key is changed so that a kill at any moment can be mended.
//!
//! Keys form a series that follows from the seed; the file names the place of the present one. Before a vault is told to
//! change its key, the place of the next one is written beside it. Whoever finds it there does the change once more.

use std::path::{Path, PathBuf};

use memos::keys::{MasterKey, SeededEntropy};
use memos::{Error, Result};

pub(super) struct KeyFile {
    path: PathBuf,
    seed: u64,
    present: u64,
}

impl KeyFile {
    /// Reads the file; without one the series is at its beginning.
    pub(super) fn read(path: PathBuf, seed: u64) -> Result<Self> {
        let present = read_number(&path)?.unwrap_or(0);
        Ok(Self { path, seed, present })
    }

    /// Returns the place of the present key.
    pub(super) fn place(&self) -> u64 {
        self.present
    }

    /// Returns the present key.
    pub(super) fn present(&self) -> Result<MasterKey> {
        self.key(self.present)
    }

    /// Changes to the key at a place of the series.
    pub(super) fn change(&mut self, place: u64, rotate: impl FnOnce(&MasterKey) -> Result<()>) -> Result<()> {
        write_number(&self.next_path(), place)?;
        self.go_on(rotate)
    }

    /// Brings a change to its end that was begun, if one was.
    pub(super) fn go_on(&mut self, rotate: impl FnOnce(&MasterKey) -> Result<()>) -> Result<()> {
        let Some(next) = read_number(&self.next_path())? else { return Ok(()) };
        rotate(&self.key(next)?)?;
        write_number(&self.path, next)?;
        self.present = next;
        std::fs::remove_file(self.next_path()).map_err(|e| failed(&self.next_path(), e))
    }

    fn key(&self, place: u64) -> Result<MasterKey> {
        MasterKey::make(&SeededEntropy::new(self.seed.rotate_left(32) ^ place))
    }

    fn next_path(&self) -> PathBuf {
        self.path.with_extension("next-key")
    }
}

fn read_number(path: &Path) -> Result<Option<u64>> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, error)),
        Ok(text) => text
            .trim()
            .parse()
            .map(Some)
            .map_err(|_| Error::corrupt(format!("`{}` does not name a key", path.display()))),
    }
}

/// Puts a number in place of the one that was there.
fn write_number(path: &Path, number: u64) -> Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, number.to_string())
        .and_then(|()| std::fs::rename(&partial, path))
        .map_err(|e| failed(path, e))
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::unavailable(format!("`{}`: {error}", path.display())).with_source(error)
}
