//! Files read through the memory map: what is used is read, what is not costs nothing, and no byte is copied before its use.
//! What comes from elsewhere than a file, such as out of a seal, is held as it is and never laid on a disk.
//!
//! Nobody keeps a map for long: whoever opens a file takes tensors out of it and lets it go. It never knows what a file means.

use std::fs::File;
use std::io::ErrorKind as Io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::error::{Error, ErrorKind, Result};

/// A file that is read through the memory map.
#[derive(Debug)]
pub struct Mapped {
    path: PathBuf,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    /// An empty file, which cannot be mapped.
    None,
    File(Mmap),
    Held(Vec<u8>),
}

impl Mapped {
    /// Opens a file of at most so many bytes.
    ///
    /// # Errors
    /// `NotFound` where there is none, `Invalid` where it is larger or no file, `Unavailable` where it cannot be read.
    pub fn open(path: &Path, bytes_max: u64) -> Result<Self> {
        let shown = path.display();
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        let about = file.metadata().map_err(|error| unreadable(path, error))?;
        if !about.is_file() {
            return Err(Error::invalid(format!("`{shown}` is no file, give the path of one")));
        }
        if about.len() > bytes_max {
            return Err(Error::invalid(format!(
                "`{shown}` has {} bytes, a file of its kind has at most {bytes_max}",
                about.len()
            )));
        }
        let bytes = match about.len() {
            0 => Bytes::None,
            _ => Bytes::File(map(&file).map_err(|error| unreadable(path, error))?),
        };
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// Takes what a file would hold, under the name by which errors are to call it.
    pub fn held(name: &str, bytes: Vec<u8>) -> Self {
        Self { path: name.into(), bytes: Bytes::Held(bytes) }
    }

    /// Returns where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::None => &[],
            Bytes::File(map) => map,
            Bytes::Held(bytes) => bytes,
        }
    }
}

/// Reads a file of at most so many bytes as text.
///
/// # Errors
/// As [`Mapped::open`], and `Corrupt` where it is no UTF-8.
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> Result<String> {
    let bytes = Mapped::open(path, bytes_max)?.to_vec();
    String::from_utf8(bytes)
        .map_err(|error| Error::corrupt(format!("`{}` is no text, get it again", path.display())).with_source(error))
}

#[allow(
    unsafe_code,
    reason = "a map is unsound only where another program changes the file meanwhile; ours are replaced whole, never written in \
              place, and every byte is checked as it is taken"
)]
fn map(file: &File) -> std::io::Result<Mmap> {
    unsafe { Mmap::map(file) }
}

pub(crate) fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let shown = path.display();
    let (kind, message) = match error.kind() {
        Io::NotFound => (ErrorKind::NotFound, format!("there is no file `{shown}`")),
        _ => (ErrorKind::Unavailable, format!("`{shown}` cannot be read: {error}")),
    };
    Error::new(kind, message).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        for bytes in [&b""[..], b"a", &[7; 10_000]] {
            let path = folder.path().join(bytes.len().to_string());
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(&*Mapped::open(&path, 10_000).unwrap(), bytes);
        }
    }

    #[test]
    fn what_cannot_be_mapped_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let (large, text) = (folder.path().join("large"), folder.path().join("text"));
        std::fs::write(&large, [0; 11]).unwrap();
        std::fs::write(&text, [0xff, 0xfe]).unwrap();
        let check = |path: &Path, kind: ErrorKind, says: &str| {
            let error = Mapped::open(path, 10).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(says), "{error}");
        };
        check(&large, ErrorKind::Invalid, "has 11 bytes, a file of its kind has at most 10");
        check(folder.path(), ErrorKind::Invalid, "is no file");
        check(&folder.path().join("none"), ErrorKind::NotFound, "there is no file");
        assert_eq!(read_text(&text, 10).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
