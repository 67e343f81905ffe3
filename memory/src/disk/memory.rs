//! A disk in memory: for vaults that are thrown away, and below the disks of tests.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::{Disk, DiskFile};

/// A folder tree in memory. A clone is the same disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    tree: Arc<Mutex<BTreeMap<PathBuf, Node>>>,
}

#[derive(Debug, Clone)]
enum Node {
    Folder,
    File(Arc<Content>),
}

/// A file without its name: it stays while it is open, whatever becomes of the name.
#[derive(Debug, Default)]
struct Content {
    bytes: Mutex<Vec<u8>>,
    held: AtomicBool,
}

type Tree<'a> = MutexGuard<'a, BTreeMap<PathBuf, Node>>;

impl MemoryDisk {
    /// Returns another disk with the same files. None of them is held.
    pub fn copy(&self) -> Self {
        let copied = |node: &Node| match node {
            Node::Folder => Node::Folder,
            Node::File(content) => {
                Node::File(Arc::new(Content { bytes: Mutex::new(content.bytes.lock().clone()), ..Content::default() }))
            }
        };
        let tree = self.tree.lock().iter().map(|(path, node)| (path.clone(), copied(node))).collect();
        Self { tree: Arc::new(Mutex::new(tree)) }
    }

    fn file(&self, path: &Path) -> io::Result<Arc<Content>> {
        match self.tree.lock().get(path) {
            Some(Node::File(content)) => Ok(content.clone()),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Returns an error unless a file of this name can be made. A path of one part stands in the root, which is always there.
fn check_place(tree: &Tree<'_>, path: &Path) -> io::Result<()> {
    match path.parent().map(|folder| (folder.parent().is_none(), tree.get(folder))) {
        None | Some((true, _) | (_, Some(Node::Folder))) => Ok(()),
        Some((_, Some(Node::File(_)))) => Err(io::ErrorKind::NotADirectory.into()),
        Some((_, None)) => Err(io::ErrorKind::NotFound.into()),
    }
}

fn hold(content: Arc<Content>) -> io::Result<Box<dyn DiskFile>> {
    if content.held.swap(true, Ordering::AcqRel) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(Box::new(MemoryFile(content)))
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>> {
        match self.file(path) {
            Err(error) if create && error.kind() == io::ErrorKind::NotFound => self.create_private(path),
            found => hold(found?),
        }
    }

    /// Nobody else reads what is in memory.
    fn create_private(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut tree = self.tree.lock();
        check_place(&tree, path)?;
        if tree.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = Arc::new(Content::default());
        tree.insert(path.to_owned(), Node::File(content.clone()));
        hold(content)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(self.file(path)?.bytes.lock().clone())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let content = self.file(from)?;
        let mut tree = self.tree.lock();
        check_place(&tree, to)?;
        if let Some(Node::Folder) = tree.get(to) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        tree.remove(from);
        tree.insert(to.to_owned(), Node::File(content));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        self.tree.lock().remove(path);
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        if !self.list(path)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.tree.lock().remove(path);
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        self.tree.lock().contains_key(path) || path.parent().is_none()
    }

    fn is_folder(&self, path: &Path) -> bool {
        matches!(self.tree.lock().get(path), Some(Node::Folder)) || path.parent().is_none()
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        Ok(self.file(path)?.bytes.lock().len() as u64)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree.lock();
        for folder in path.ancestors().filter(|folder| folder.parent().is_some()) {
            if let Node::File(_) = tree.entry(folder.to_owned()).or_insert(Node::Folder) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        if !self.is_folder(path) {
            let absent = if self.exists(path) { io::ErrorKind::NotADirectory } else { io::ErrorKind::NotFound };
            return Err(absent.into());
        }
        let tree = self.tree.lock();
        let inside = tree.keys().filter(|entry| entry.parent() == Some(path));
        Ok(inside.filter_map(|entry| Some(entry.file_name()?.to_str()?.to_owned())).collect())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        if self.is_folder(path) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

#[derive(Debug)]
struct MemoryFile(Arc<Content>);

/// Returns an offset as a place in memory.
fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.bytes.lock().len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.bytes.lock();
        let found = bytes.get(place(offset)?..).and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, written: &[u8]) -> io::Result<()> {
        let from = place(offset)?;
        let end = from.checked_add(written.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut bytes = self.0.bytes.lock();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes.get_mut(from..end).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(written);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.bytes.lock().resize(place(len)?, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        self.0.held.store(false, Ordering::Release);
    }
}
