//! Where files are: what is kept goes through a [`Disk`], and nothing else touches the machine's.
//!
//! So a disk that fails, lies or loses its power can be put below a whole vault, and a vault can live in memory. A disk moves
//! bytes. It must never know what they mean, and it never mends: whatever fails is told, and what is torn is found above, by
//! digests.

mod memory;
mod system;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

pub use memory::MemoryDisk;
pub use system::SystemDisk;

/// Files in folders, and what of them is sure to outlive a power cut.
///
/// A name is sure after [`Disk::sync_folder`] of its folder, a file's bytes after [`DiskFile::sync`]. Until then a
/// power cut may leave any part of what was written, in any order.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file for reading and writing at any place, and makes it with `create`. It is held until it is dropped.
    ///
    /// # Errors
    /// `NotFound` when it is absent and not to be made; `WouldBlock` when it is held already.
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>>;

    /// Makes a new file that only its owner may read, and opens it as [`Disk::open`] does.
    ///
    /// # Errors
    /// `AlreadyExists` when there is a file already: others may have it open.
    fn create_private(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Returns a whole file. It need not be free.
    ///
    /// # Errors
    /// `NotFound` when it is absent.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Gives a file another name, in place of the file that had it.
    ///
    /// # Errors
    /// `NotFound` when it is absent.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` when it is absent.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    ///
    /// # Errors
    /// `NotFound` when it is absent.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;

    /// Returns whether there is a file or folder of this name.
    fn exists(&self, path: &Path) -> bool;

    /// Returns whether there is a folder of this name.
    fn is_folder(&self, path: &Path) -> bool;

    /// Returns the bytes of a file.
    ///
    /// # Errors
    /// `NotFound` when it is absent.
    fn size(&self, path: &Path) -> io::Result<u64>;

    /// Makes a folder and all above it that are not there, and returns when their names are durable.
    ///
    /// # Errors
    /// What the disk says.
    fn make_folder(&self, path: &Path) -> io::Result<()>;

    /// Returns the names of the files and folders in a folder, sorted.
    ///
    /// # Errors
    /// `NotFound` when it is absent.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Returns when the names in a folder are durable.
    ///
    /// # Errors
    /// What the disk says.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Puts the parts, one behind the other, in place of a file: it is the old one or the new one, whole, at any moment, and
    /// durably the new one on return.
    ///
    /// # Errors
    /// What the disk says. The file is the old one then, or the new one where only the last flush failed.
    fn replace(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let partial = partial_of(path);
        let file = self.open(&partial, true)?;
        file.set_len(0)?;
        finish(self, file, path, &partial, parts)
    }

    /// Does what [`Disk::replace`] does, with a file that only its owner may read.
    ///
    /// # Errors
    /// As [`Disk::replace`].
    fn replace_private(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let partial = partial_of(path);
        match self.remove(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.create_private(&partial)?;
        finish(self, file, path, &partial, parts)
    }
}

/// An open file.
///
/// Offsets are bytes from its beginning. Threads may share it.
pub trait DiskFile: Send + Sync + Debug {
    /// Returns its length in bytes.
    ///
    /// # Errors
    /// What the disk says.
    fn len(&self) -> io::Result<u64>;

    /// Returns whether it has no bytes.
    ///
    /// # Errors
    /// What the disk says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `into` from this place.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes all of the bytes to this place, and makes the file longer where it ends before.
    ///
    /// # Errors
    /// What the disk says. Any part may be written then.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to this length, or fills it up with zeros.
    ///
    /// # Errors
    /// What the disk says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns when all that was written is durable.
    ///
    /// # Errors
    /// What the disk says. Nothing is sure of what was written since the last flush then, whatever a later one says.
    fn sync(&self) -> io::Result<()>;
}

/// Returns where a file is written before it is whole.
fn partial_of(path: &Path) -> PathBuf {
    path.with_extension("partial")
}

fn finish<D: Disk + ?Sized>(
    disk: &D,
    file: Box<dyn DiskFile>,
    path: &Path,
    partial: &Path,
    parts: &[&[u8]],
) -> io::Result<()> {
    let mut offset = 0;
    for part in parts {
        file.write_at(offset, part)?;
        offset += part.len() as u64;
    }
    file.sync()?;
    // Closed before it gets its name: some systems do not rename what is open.
    drop(file);
    disk.rename(partial, path)?;
    path.parent().map_or(Ok(()), |folder| disk.sync_folder(folder))
}

#[cfg(test)]
mod tests;
