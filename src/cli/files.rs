//! Files that a command is given, and files that it makes.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind as IoErrorKind, Read, Write};
use std::path::Path;

use memos::{Error, Result};

/// Reads a text file of at most so many bytes.
pub(super) fn read_text(path: &Path, most: usize) -> Result<String> {
    let place = path.display();
    let unreadable = |e: std::io::Error| Error::invalid(format!("`{place}` cannot be read: {e}")).with_source(e);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > most {
        return Err(Error::invalid(format!("`{place}` is longer than {most} bytes, which is more than it may have")));
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid(format!("`{place}` is not text")))
}

/// Writes a file, in place of the one there is.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|e| unwritable(path, e))
}

/// Writes a new file that nobody but its owner may read; one that is there is left alone. The parts are written as they are, so
/// that no copy of a secret is made.
pub(super) fn write_secret(path: &Path, parts: &[&str]) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| {
        parts.iter().try_for_each(|part| file.write_all(part.as_bytes()))?;
        file.sync_all()
    });
    written.map_err(|e| match e.kind() {
        IoErrorKind::AlreadyExists => {
            Error::invalid(format!("`{}` is there already and is not overwritten; name another file", path.display()))
        }
        _ => unwritable(path, e),
    })
}

fn unwritable(path: &Path, e: std::io::Error) -> Error {
    Error::unavailable(format!("`{}` cannot be written: {e}", path.display())).with_source(e)
}
